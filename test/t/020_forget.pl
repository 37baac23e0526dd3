# Forgetting: a byte search of a full dump finds nothing of a user; nothing is written behind its back.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $canary = 'canary-5f2e9c';
my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->start;
platform($node, 100, 50, 6);
$node->safe_psql('postgres', qq{
	ALTER TABLE app.enrolments ALTER user_id TYPE text;
	ALTER TABLE app.plays ALTER user_id TYPE text;
	INSERT INTO app.enrolments SELECT '$canary', 1 + 5 * n FROM generate_series(0, 5) n;
	INSERT INTO app.plays SELECT '$canary', 'v' || 1 + 5 * n FROM generate_series(0, 5) n;
	CREATE TABLE app.people AS SELECT DISTINCT user_id AS id, 30 AS age FROM app.enrolments});
$node->safe_psql('postgres', q{
	SELECT kpx_add_user_attributes('app.people', 'id', ARRAY['age']);
	SELECT kpx_train(ARRAY['courses', 'videos'], params => '{"factors": 8}');
	SELECT kpx_train(ARRAY['courses', 'videos'], name => 'links', algorithm => 'ease', activate => false);
	SELECT kpx_mine_rules(ARRAY['courses', 'videos'], 10, 0.1, 2);
	SELECT kpx_cluster('groups', ARRAY['courses', 'videos'], 3, '{"members": 1}');
	SELECT kpx_set_consent('canary-5f2e9c', 'courses', NULL);
	SELECT kpx_set_policy(params => '{"caps": {"n": 3, "per": "1 day"}}')});
my $slate = qq{SELECT slate_id FROM kpx_recommend_slate('$canary', ARRAY['courses', 'videos'], 2, log => true)};
$node->safe_psql('postgres', qq{
	SELECT kpx_feedback(slate_id, item_id, 'click'), kpx_feedback(slate_id, item_id, 'dismiss_item')
	FROM kpx_recommend_slate('$canary', ARRAY['courses', 'videos'], 2, log => true)});
# a slate of another month
$node->safe_psql('postgres', q{
	CREATE TABLE kpx.impression_202601 (LIKE kpx.impression);
	ALTER TABLE kpx.impression ATTACH PARTITION kpx.impression_202601 FOR VALUES FROM ('2026-01-01 00:00+00') TO ('2026-02-01 00:00+00');
	INSERT INTO kpx.impression_202601 SELECT slate_id, rank, '2026-01-15', user_id, home_module_id, module_id, item_id, category, policy_id, score, p_click,
		p_convert, expected_value, propensity, explored, reason, signals FROM kpx.impression});

# How often the canary is in a full dump.
sub sightings
{
	my ($name) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . "/$name.sql";
	$node->command_ok([ 'pg_dump', '-f', $file, '-d', $node->connstr('postgres') ], "pg_dump $name");
	my $dump = slurp_file($file);
	return scalar(() = $dump =~ /\Q$canary\E/g);
}
# the platform's own rows are the platform's to delete
$node->safe_psql('postgres', "DELETE FROM app.$_ WHERE user_id = '$canary'") foreach ('enrolments', 'plays');
$node->safe_psql('postgres', "DELETE FROM app.people WHERE id = '$canary'");
cmp_ok(sightings('before'), '>=', 8, 'kpxrec holds the user');
is($node->safe_psql('postgres', "SELECT sum(removed) >= 10 FROM kpx_forget_user('$canary')"), 't', 'and forgets it, in every month');
is(sightings('after'), 0, 'nothing of it is in a full dump');

# a dump keeps the tombstone
my $file = PostgreSQL::Test::Utils::tempdir() . '/restore.sql';
$node->command_ok([ 'pg_dump', '-f', $file, '-d', $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $file, '-d', $node->connstr('restored') ], 'restore');
is($node->safe_psql('restored', $slate), "\n", 'a restored database refuses the user, too');

# slates that are being logged when the user is forgotten go with it
my $other = $node->background_psql('postgres');
$slate =~ s/\Q$canary\E/17/;
$other->query_safe("BEGIN; $slate;");
my ($out, $err) = ('', '');
my $forget = start_psql($node, q{SELECT sum(removed) FROM kpx_forget_user('17')}, \$out, \$err);
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%kpx_forget_user%'})
	or die 'forgetting does not wait';
$other->query_safe('COMMIT');
$forget->finish;
cmp_ok($out, '>=', 3, 'forgetting waits for a slate that is being logged, and removes it');
# and the other way round
$other->query_safe(q{BEGIN; SELECT kpx_forget_user('18');});
$slate =~ s/17/18/;
my $late = start_psql($node, $slate, \$out, \$err);
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%kpx_recommend_slate%'})
	or die 'the slate does not wait';
$other->query_safe('COMMIT');
$late->finish;
is($out, "\n\n", 'a slate that comes while a user is being forgotten is not logged');
is($node->safe_psql('postgres', q{SELECT count(*) FROM kpx.slate WHERE user_id IN ('17', '18')}), 0, 'nothing of either is left');

# clicks and attribution of somebody who is being forgotten
$node->safe_psql('postgres', q{
	ALTER TABLE app.enrolments ADD at timestamptz;
	SELECT kpx_drop_events(source_id) FROM kpx_event_sources WHERE module = 'courses';
	SELECT kpx_add_events('courses', 'app.enrolments', 'purchase', 'user_id', 'course_id', occurred_at => 'at')});
my $n_forgotten = 19;
foreach my $write (q{SELECT kpx_feedback(%d, '%s', 'click')}, q{SELECT sum(attributed) FROM kpx_attribute()})
{
	$n_forgotten++;
	my $name = $write =~ /(kpx_\w+)/ ? $1 : '';
	(my $shown = $slate) =~ s/'18'/'$n_forgotten'/;
	$shown =~ s/slate_id FROM/slate_id || ' ' || item_id FROM/;
	my ($id, $item) = split / /, (split /\n/, $node->safe_psql('postgres', $shown))[0];
	my $feedback = sprintf($write, $id, $item);
	$node->safe_psql('postgres', "INSERT INTO app.enrolments SELECT '$n_forgotten', i.item_id::int, clock_timestamp() FROM kpx.impression i JOIN kpx.module m ON m.id = i.module_id WHERE i.slate_id = $id AND m.name = 'courses'");
	$other->query_safe("BEGIN; SELECT kpx_forget_user('$n_forgotten');");
	my $late = start_psql($node, $feedback, \$out, \$err);
	$node->poll_query_until('postgres', qq{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%$name%'})
	  or die "$name does not wait";
	$other->query_safe('COMMIT');
	$late->finish;
	is($node->safe_psql('postgres', "SELECT count(*) FROM kpx.feedback WHERE slate_id = $id"), 0, "nothing comes from $name while a user is being forgotten");
}

# owners of recommendation tables have no veto
$node->safe_psql('postgres', q{
	CREATE ROLE owner; GRANT USAGE ON SCHEMA app TO owner; GRANT SELECT ON ALL TABLES IN SCHEMA app TO owner; CREATE SCHEMA bi AUTHORIZATION owner;
	SELECT kpx_grant('owner', 'train');
	SET ROLE owner;
	SELECT kpx_create_recommendation_view('courses', 2, 'bi.raises'), kpx_create_recommendation_view('courses', 2, 'bi.keeps'),
		kpx_create_recommendation_view('courses', 2, 'bi.locked'), kpx_create_recommendation_view('courses', 2, 'bi.hides'), kpx_create_recommendation_view('courses', 2, 'bi.good');
	CREATE FUNCTION bi.no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$I will not$$; END';
	CREATE FUNCTION bi.skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
	CREATE TRIGGER no BEFORE DELETE ON bi.raises_rows FOR EACH ROW EXECUTE FUNCTION bi.no();
	CREATE TRIGGER skip BEFORE DELETE ON bi.keeps_rows FOR EACH ROW EXECUTE FUNCTION bi.skip();
	ALTER TABLE bi.hides_rows ENABLE ROW LEVEL SECURITY;
	ALTER TABLE bi.hides_rows FORCE ROW LEVEL SECURITY});
$other->query_safe('BEGIN; LOCK TABLE bi.locked_rows IN SHARE MODE');
my ($code, $rows, $warnings) = $node->psql('postgres', q{SELECT relation, removed FROM kpx_forget_user('30') WHERE relation ~ '^recommendation|bi' ORDER BY relation});
is($code, 0, 'a user is forgotten');
is($rows, "bi.hides_rows|\nbi.keeps_rows|\nbi.locked_rows|\nbi.raises_rows|\nrecommendation views|2", 'what is still there is named');
like($warnings, qr/raises_rows: I will not/, 'with its reason: an error');
like($warnings, qr/keeps_rows: a trigger of table bi.keeps_rows keeps the rows/, 'a trigger');
like($warnings, qr/locked_rows: canceling statement due to lock timeout/, 'a lock');
like($warnings, qr/hides_rows: query would be affected by row-level security/, 'a policy');
$other->query_safe('ROLLBACK');
$node->safe_psql('postgres', q{SET ROLE owner; DROP TRIGGER no ON bi.raises_rows; DROP TRIGGER skip ON bi.keeps_rows; ALTER TABLE bi.hides_rows NO FORCE ROW LEVEL SECURITY;
	SELECT kpx_refresh_recommendations('courses')});
is($node->safe_psql('postgres', join(' UNION ALL ', map { "SELECT user_id FROM bi.${_}_rows WHERE user_id = '30'" } qw(raises keeps locked hides good))), '', 'the next refresh takes the rest out');
$other->quit;
my ($ret, $stdout, $stderr) = $node->psql('postgres', q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT kpx_forget_user('19')});
like($stderr, qr/kpx_forget_user must run at isolation level READ COMMITTED/, 'an older snapshot is refused');
$node->stop;
done_testing();
