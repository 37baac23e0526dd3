# Statistics of answers: nothing is lost between processes; what a restart, a drop and a lock do to those who watch.
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
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'kpxrec'\nkpxrec.allow_superuser_jobs = on\n");
$node->start;
platform($node, 200, 100, 10);
$node->safe_psql('postgres', q{SELECT kpx_train(ARRAY['courses', 'videos'], params => '{"factors": 8, "iterations": 2}'); CREATE DATABASE other});
is($node->safe_psql('postgres', 'SELECT count(*) FROM kpx_health(true)'), 0, 'a healthy server has no faults');

# four processes at once
append_to_file($node->basedir . '/ask.sql', "\\set u random(1, 200)\nSELECT * FROM kpx_recommend(:u, 'courses', 5);\n");
command_ok([ 'pgbench', '-n', '-c', '4', '-t', '250', '-f', $node->basedir . '/ask.sql', '-h', $node->host, '-p', $node->port, 'postgres' ], 'pgbench');
is($node->safe_psql('postgres', q{SELECT calls, answers, items, session_hits + shared_hits + table_reads FROM kpx_stat_recommend WHERE function = 'kpx_recommend'}),
	'1000|1000|5000|1000', 'every call was counted once');
is($node->safe_psql('postgres', q{SELECT shared_hits + table_reads <= 8 FROM kpx_stat_recommend}), 't', 'each session fetched the model once');
diag($node->safe_psql('postgres', 'SELECT mean_ms, p50_ms, p95_ms, p99_ms, max_ms FROM kpx_stat_recommend'));

# another database, restarts
$node->safe_psql('other', 'CREATE EXTENSION kpxrec');
is($node->safe_psql('other', 'SELECT count(*) FROM kpx_stat_recommend'), 0, 'another database sees nothing of it');
$node->safe_psql('other', 'SELECT kpx_stat_reset()');
is($node->safe_psql('postgres', 'SELECT sum(calls) FROM kpx_stat_recommend'), 1000, 'and resets nothing of it');
$node->restart;
is($node->safe_psql('postgres', 'SELECT count(*) FROM kpx_stat_recommend'), 0, 'a restart begins anew');

# measured by a job
$node->safe_psql('postgres', q{SELECT kpx_schedule('measure', 'measure', '{"users": 50}', every => '1 day'); SELECT kpx_run_now('measure')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM kpx_stat_module WHERE newest}), 'a job measures');
ok($node->poll_query_until('postgres', q{SELECT last_status = 'succeeded' FROM kpx_jobs}), 'and succeeds');

# who watches does not wait for who alters a table
my ($out, $err) = ('', '');
my $locker = start_psql($node, 'BEGIN; LOCK app.enrolments IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)', \$out, \$err);
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'app.enrolments'::regclass}) or die;
is($node->safe_psql('postgres', q{SET statement_timeout = '20s'; SELECT count(*) FROM kpx_health()}), 0, 'a table that is locked is passed over');
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query ~ 'pg_sleep' AND pid <> pg_backend_pid()});
$locker->finish;
$node->stop;
done_testing();
