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
$other->quit;
my ($ret, $stdout, $stderr) = $node->psql('postgres', q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT kpx_forget_user('19')});
like($stderr, qr/kpx_forget_user must run at isolation level READ COMMITTED/, 'an older snapshot is refused');
$node->stop;
done_testing();
