# kpx_stat_progress: what others see of a long statement while it runs, and after it.
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
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'kpxrec'\nmax_parallel_maintenance_workers = 0\nkpxrec.min_parallel_interactions = 0\n");
$node->start;
platform($node, 5000, 2000, 20);
$node->safe_psql('postgres', q{
	CREATE ROLE trainer LOGIN; CREATE ROLE stranger LOGIN; CREATE ROLE watcher LOGIN IN ROLE pg_read_all_stats;
	GRANT USAGE ON SCHEMA app TO trainer; GRANT SELECT ON ALL TABLES IN SCHEMA app TO trainer;
	CREATE DATABASE other});
$node->safe_psql('other', 'CREATE EXTENSION kpxrec');
my $seen = 'SELECT count(*) FROM kpx_stat_progress';
is($node->safe_psql('postgres', $seen), 0, 'nothing runs');

# a training of many iterations, polled
my ($out, $err) = ('', '');
my $long = q{SELECT users FROM kpx_train(ARRAY['courses', 'videos'], params => '{"factors": 64, "iterations": 1000}', name => 'long', activate => false)};
my $training = start_psql($node, "SET SESSION AUTHORIZATION trainer; $long", \$out, \$err);
ok($node->poll_query_until('postgres', "SELECT coalesce(max(done) >= 3, false) FROM kpx_stat_progress WHERE phase = 'iterations'"), 'iterations are counted while it runs')
	or die $err;
my $row = $node->safe_psql('postgres', q{
	SELECT what, object, database, username, phase, total, loss > 0, rows_read, peak_memory > 1e6, started_at < phase_started_at,
		remaining > '0' AND remaining < '1 day', p.pid = a.pid
	FROM kpx_stat_progress p JOIN pg_stat_activity a ON a.query ~ '^SET SESSION AUTHORIZATION trainer'});
is($row, 'kpx_train|long|postgres|trainer|iterations|1000|t|200000|t|t|t|t', 'what is seen of it');
my ($before, $loss) = split /\|/, $node->safe_psql('postgres', 'SELECT done, loss FROM kpx_stat_progress');
ok($node->poll_query_until('postgres', "SELECT done > $before AND loss < $loss FROM kpx_stat_progress"), 'it goes on, and the loss falls');

# who sees it
is($node->safe_psql('postgres', $seen, extra_params => [ '-U', 'trainer' ]), 1, 'one sees one\'s own');
is($node->safe_psql('postgres', $seen, extra_params => [ '-U', 'stranger' ]), 0, 'not that of others');
is($node->safe_psql('postgres', $seen, extra_params => [ '-U', 'watcher' ]), 1, 'pg_read_all_stats sees all');
is($node->safe_psql('other', 'SELECT database, object FROM kpx_stat_progress'), 'postgres|long', 'also from another database');

# it is gone with the statement, however that ends
$node->safe_psql('postgres', 'SELECT pg_cancel_backend(pid) FROM kpx_stat_progress');
$training->finish;
like($err, qr/57014/, 'cancelled');
is($node->safe_psql('postgres', $seen), 0, 'gone when cancelled');
$training = start_psql($node, $long, \$out, \$err);
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM kpx_stat_progress") or die;
$node->safe_psql('postgres', 'SELECT pg_terminate_backend(pid, 60000) FROM kpx_stat_progress');
$training->finish;
is($node->safe_psql('postgres', $seen), 0, 'gone when terminated');
my $caught = q{DO $$ BEGIN PERFORM kpx_train('courses', params => '{"factors": 8, "iterations": 2}', name => repeat('x', 300)); EXCEPTION WHEN invalid_name THEN NULL; END $$};
my $failing = q{DO $$ BEGIN PERFORM kpx_train('broken', params => '{"factors": 8, "iterations": 2}'); EXCEPTION WHEN invalid_parameter_value THEN NULL; END $$};
$node->safe_psql('postgres', q{
	CREATE VIEW app.broken AS SELECT user_id, course_id, 'NaN'::float8 AS weight FROM app.enrolments;
	SELECT kpx_add_module('broken', 'app.courses', 'id'); SELECT kpx_add_events('broken', 'app.broken', 'view', 'user_id', 'course_id', weight_column => 'weight')});
is($node->safe_psql('postgres', "$caught; $failing; $seen"), 0, 'gone when an error was caught');
is($node->safe_psql('postgres', "BEGIN; SELECT users FROM kpx_train('courses', params => '{\"factors\": 8, \"iterations\": 2}') \\g /dev/null\n$seen; COMMIT"), 0, 'gone when done, before the transaction ends');


# the others
my %other = (
	kpx_tune => q{SELECT kpx_tune(ARRAY['courses', 'videos'], 'ials', trials => 4, params => '{"factors": 32, "iterations": 100}')},
	kpx_evaluate => q{SELECT kpx_evaluate(ARRAY['courses', 'videos'], params => '{"factors": 32, "iterations": 200}')},
	kpx_cluster => q{SELECT kpx_cluster('all', ARRAY['courses', 'videos'], 20, '{"restarts": 100, "tolerance": 0, "min_users": 5}')},
	kpx_mine_rules => q{SELECT kpx_mine_rules(ARRAY['courses', 'videos'], 0.0005, 0.01, max_length => 3)},
);
foreach my $what (sort keys %other)
{
	($out, $err) = ('', '');
	my $run = start_psql($node, "SET statement_timeout = '120s'; $other{$what}", \$out, \$err);
	ok($node->poll_query_until('postgres', "SELECT coalesce(max(what) = '$what' AND max(phase) IS NOT NULL, false) FROM kpx_stat_progress"), "$what is seen") or diag($err);
	$node->safe_psql('postgres', 'SELECT pg_cancel_backend(pid) FROM kpx_stat_progress');
	$run->finish;
	is($node->safe_psql('postgres', $seen), 0, "$what is gone");
}

# phases and losses at debug1; without it, silence
my ($ret, $stdout, $stderr) = $node->psql('postgres', q{SELECT users FROM kpx_train('courses', params => '{"factors": 8, "iterations": 3}')});
is($stderr, '', 'no notice');
($ret, $stdout, $stderr) = $node->psql('postgres', q{SET client_min_messages = debug1; SELECT users FROM kpx_train('courses', params => '{"factors": 8, "iterations": 3}')});
is(scalar(() = $stderr =~ /DEBUG:  kpxrec: iteration \d+, loss [\d.e+]+$/mg), 3, 'a line an iteration at debug1');

# not preloaded: nothing to see, and nothing breaks
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->restart;
is($node->safe_psql('postgres', q{SELECT users FROM kpx_train('courses', params => '{"factors": 8, "iterations": 3}') \g /dev/null
	SELECT count(*) FROM kpx_stat_progress}), 0, 'not preloaded');
$node->stop;
done_testing();
