# A refresh of a recommendation view beside readers, and its table through dump and restore.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 2');
$node->start;
platform($node, 100, 50, 6);
$node->safe_psql('postgres', q{SELECT kpx_train(ARRAY['courses', 'videos'], params => '{"factors": 8}');
	CREATE SCHEMA bi; CREATE ROLE analyst; GRANT USAGE, CREATE ON SCHEMA bi TO analyst; GRANT USAGE ON SCHEMA app TO analyst;
	GRANT SELECT ON ALL TABLES IN SCHEMA app TO analyst;
	CREATE ROLE bi; GRANT USAGE ON SCHEMA bi TO bi;
	GRANT EXECUTE ON FUNCTION kpx_create_recommendation_view, kpx_refresh_recommendations, kpx_drop_recommendation_view TO analyst;
	SET ROLE analyst; SELECT kpx_create_recommendation_view('courses', 4, 'bi.courses'); GRANT SELECT ON bi.courses TO bi});
my $all = 'SELECT * FROM bi.courses ORDER BY user_id, rank';
my $old = $node->safe_psql('postgres', $all);

# a refresh that has written everything and is not committed
$node->safe_psql('postgres', q{SELECT kpx_train(ARRAY['courses', 'videos'], params => '{"factors": 8, "seed": 2}');
	BEGIN; SELECT kpx_refresh_recommendations('courses'); PREPARE TRANSACTION 'refresh'});
is($node->safe_psql('postgres', "SET lock_timeout = '2s'; SET ROLE bi; $all"), $old, 'readers are not blocked and see the old rows');
my ($ret, $out, $err) = $node->psql('postgres', "SELECT kpx_refresh_recommendations('courses')");
like($err, qr/recommendation view "bi.courses" is being refreshed by another session/, 'a second refresh is refused');
$node->safe_psql('postgres', "COMMIT PREPARED 'refresh'");
my $new = $node->safe_psql('postgres', $all);
isnt($new, $old, 'after the commit they see the new ones');
is($new, $node->safe_psql('postgres', q{SELECT u, rank, item_id, score, reason FROM kpx_recommend_for(ARRAY(SELECT u::bigint FROM generate_series(1, 100) u), 'courses', 4) r(u)
	ORDER BY u, rank}), 'all of them');

# dump and restore: the view, its rows, its rights, and that it is to be refreshed
# given away while a refresh waits for it: whose it is then counts, and not whose it was
$node->safe_psql('postgres', q{SET ROLE analyst; SELECT kpx_create_recommendation_view('courses', 2, 'bi.given')});
my $giver = $node->background_psql('postgres');
$giver->query_safe('BEGIN; ALTER TABLE bi.given_rows OWNER TO bi; ALTER TABLE bi.given_rows RENAME TO taken');
my ($refreshed, $failure) = ('', '');
my $refresh = start_psql($node, q{SET ROLE analyst; SELECT view FROM kpx_refresh_recommendations('courses')}, \$refreshed, \$failure);
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%kpx_refresh_recommendations%'})
  or die 'the refresh does not wait';
$giver->query_safe('COMMIT');
$giver->quit;
$refresh->finish;
like($failure, qr/must be owner of recommendation view "bi.given".*It was given to role "bi" just now/s, 'a refresh does not write as an owner of old');
$node->safe_psql('postgres', 'DROP TABLE bi.taken CASCADE');
my $dir = PostgreSQL::Test::Utils::tempdir();
$node->command_ok([ 'pg_dump', '-F', 'custom', '-f', "$dir/dump", '-d', $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-e', '-j', 2, '-d', $node->connstr('restored'), "$dir/dump" ], 'restore');
is($node->safe_psql('restored', "SET ROLE bi; $all"), $new, 'the same rows, for the BI role, too');
my $list = 'SELECT view, "table", module, k, users, rows, owner, refreshed_at FROM kpx_recommendation_views';
is($node->safe_psql('restored', $list), $node->safe_psql('postgres', $list), 'and the same on the list');
is($node->safe_psql('restored', q{SELECT view, users, changed FROM kpx_refresh_recommendations('courses')}), 'bi.courses|100|0', 'a refresh finds nothing to write');
is($node->safe_psql('restored', q{DELETE FROM app.enrolments WHERE user_id = 100; DELETE FROM app.plays WHERE user_id = 100; SET ROLE analyst;
	SELECT users FROM kpx_refresh_recommendations('courses');
	SELECT count(*), max(user_id) FROM bi.courses_rows}), "99\n396|99", 'its owner refreshes it, and a user who is gone goes');
is($node->safe_psql('restored', q{SET ROLE analyst; SELECT kpx_drop_recommendation_view('bi.courses'); RESET ROLE;
	SELECT count(*) FROM pg_class WHERE relnamespace = 'bi'::regnamespace}), "\n0", 'and drops it');
$node->stop;
done_testing();
