# A training by a worker holds no snapshot and no table lock while it computes: nobody waits for it, whatever is dropped.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = job_node('node');
$node->append_conf('postgresql.conf', "kpxrec.min_parallel_interactions = 0\nmax_parallel_maintenance_workers = 1");
$node->start;
job_platform($node, 4000, 2000, 20);
my $computing = "SELECT count(*) = 1 FROM kpx_job_runs r JOIN kpx_stat_progress p USING (pid) WHERE r.job = 'long' AND r.status = 'running' AND p.phase LIKE 'iter%' AND p.done >= 1";
as_app($node, q{SELECT kpx_schedule('long', 'train', '} . LONG . q{', every => '1 day', max_retries => 0)});
wait_for($node, 'a run that computes', $computing);
my $processes = "pg_stat_activity WHERE backend_type = 'kpxrec job' OR (backend_type = 'parallel worker' AND query LIKE 'kpxrec job%')";
is($node->safe_psql('postgres', "SELECT count(*) FROM $processes"), 2, 'a worker and its parallel worker compute');
is($node->safe_psql('postgres', "SELECT count(*) FROM (SELECT * FROM $processes) p WHERE backend_xmin IS NOT NULL OR backend_xid IS NOT NULL"), 0, 'neither holds a snapshot');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND pid IN (SELECT pid FROM $processes)"), 0, 'nor a lock on any relation');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND pid IN (SELECT pid FROM $processes)"), 1, 'but the one on the name of the model');

# vacuum removes what has died since, and a column's type changes at once
$node->safe_psql('postgres', 'DELETE FROM app.plays WHERE user_id > 3000');
like($node->safe_psql('postgres', 'VACUUM (VERBOSE) app.plays; SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = \'plays\''), qr/^0$/m, 'vacuum removes rows that died after it began');
my ($ret, $out, $err) = $node->psql('postgres', "SET lock_timeout = '1s'; ALTER TABLE app.enrolments ADD note text; DROP TABLE app.plays CASCADE");
is($err =~ /lock timeout/ ? 1 : 0, 0, 'ALTER TABLE and DROP TABLE do not wait');

# the source is gone when it wants to store
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 10000) FROM kpx_job_runs WHERE status = 'running'");
wait_for($node, 'its end', "SELECT count(*) = 0 FROM kpx_job_runs WHERE status = 'running'");
as_app($node, q{CREATE TABLE app.plays AS SELECT user_id, 'v' || course_id AS video_id FROM app.enrolments; SELECT kpx_add_events('videos', 'app.plays', 'view', 'user_id', 'video_id');
	SELECT kpx_drop_events(min(source_id)) FROM kpx_event_sources WHERE module = 'videos';
	SELECT kpx_schedule('dropped', 'train', '{"modules": ["videos"], "name": "d", "params": {"factors": 64, "iterations": 60}}', every => '1 day', max_retries => 0)});
wait_for($node, 'a run that computes', "SELECT count(*) = 1 FROM kpx_job_runs r JOIN kpx_stat_progress p USING (pid) WHERE r.job = 'dropped' AND p.phase LIKE 'iter%'");
as_app($node, 'DROP TABLE app.plays');
wait_for($node, 'its end', "SELECT last_status <> '' FROM kpx_jobs WHERE job = 'dropped'");
is($node->safe_psql('postgres', "SELECT status, sqlstate FROM kpx_job_runs WHERE job = 'dropped'"), 'failed|42P01', 'it stores nothing when a source was dropped meanwhile');
is($node->safe_psql('postgres', "SELECT count(*) FROM kpx_models"), 0, 'no model');

# DROP EXTENSION, DROP DATABASE
as_app($node, q{SELECT kpx_alter_job('long', '{"arguments": {"modules": ["courses"], "name": "long", "params": {"factors": 128, "iterations": 1000}}}'), kpx_run_now('long')});
wait_for($node, 'a run that computes', $computing);
my $began = time;
$node->safe_psql('postgres', 'DROP EXTENSION kpxrec CASCADE');
diag(sprintf('DROP EXTENSION during a training took %.0f ms', 1000 * (time - $began)));
cmp_ok(time - $began, '<', 10, 'DROP EXTENSION does not wait for the training');
wait_for($node, 'the scheduler', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'kpxrec scheduler' OR backend_type = 'kpxrec job'");
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', q{CREATE EXTENSION kpxrec; CREATE SCHEMA app AUTHORIZATION app; SELECT kpx_grant('app', 'train'); SET ROLE app;
	CREATE TABLE app.courses AS SELECT generate_series(1, 2000) AS id;
	CREATE TABLE app.enrolments AS SELECT u AS user_id, 1 + (u * 7919 + n * 104729) % 2000 AS course_id FROM generate_series(1, 4000) u, generate_series(1, 20) n;
	SELECT kpx_add_module('courses', 'app.courses', 'id'), kpx_add_events('courses', 'app.enrolments', 'view', 'user_id', 'course_id')});
$node->safe_psql('other', q{SELECT kpx_schedule('long', 'train', '{"modules": ["courses"], "params": {"factors": 128, "iterations": 1000}}', every => '1 day')}, extra_params => [ '-U', 'app' ]);
wait_for($node, 'a run there', "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = 'other' AND backend_type = 'kpxrec job'");
$began = time;
$node->safe_psql('postgres', 'DROP DATABASE other WITH (FORCE)');
diag(sprintf('DROP DATABASE WITH (FORCE) during a training took %.0f ms', 1000 * (time - $began)));
cmp_ok(time - $began, '<', 10, 'DROP DATABASE WITH (FORCE) ends the training');
# idle databases are nobody's business
$node->safe_psql('postgres', 'CREATE DATABASE idle');
$node->safe_psql('idle', q{CREATE EXTENSION kpxrec; SELECT kpx_grant('app', 'train')});
$node->safe_psql('idle', q{SELECT kpx_schedule('daily', 'attribute', every => '1 day')}, extra_params => [ '-U', 'app' ]);
$node->poll_query_until('idle', "SELECT count(*) = 1 FROM kpx_job_runs WHERE status = 'succeeded'") or die;
wait_for($node, 'the scheduler leaves', "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'idle'");
$node->safe_psql('postgres', 'DROP DATABASE idle');
pass('a database whose next job is far off can be dropped without FORCE');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal 11/, 'no crash');
$node->stop;
done_testing();
