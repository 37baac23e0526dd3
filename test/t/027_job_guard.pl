# What can change between the phases of a job's training: the active model, the owner's rights; and what is kept of its errors.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = job_node('node');
$node->append_conf('postgresql.conf', 'autovacuum_naptime = 1000s');
$node->start;
job_platform($node, 2000, 1000, 10);
my $message = sub { my ($job) = @_; $node->safe_psql('postgres', "SELECT concat_ws(' ', status, sqlstate, message) FROM kpx_job_runs WHERE job = '$job' ORDER BY run DESC LIMIT 1") };
my $ended = sub { my ($job, $n) = @_; wait_for($node, "the end of $job", "SELECT count(*) = " . ($n // 1) . " FROM kpx_job_runs WHERE job = '$job' AND status <> 'running'") };
my $computing = sub {
	my ($job) = @_;
	wait_for($node, "$job computes", "SELECT count(*) = 1 FROM kpx_job_runs r JOIN kpx_stat_progress p USING (pid) WHERE r.job = '$job' AND r.status = 'running' AND p.phase LIKE 'iter%'");
};
my $newer = "INSERT INTO app.enrolments SELECT u, 1 + (u % 5 + 5 * ((u * 7919 + 11 * 104729) % 200))::int, clock_timestamp() + interval '1 second' FROM generate_series(1, 700) u";
my $slow = '{"modules": ["courses"], "name": "m", "params": {"factors": 96, "iterations": 60, "tolerance": 0}}';

# the active model is dropped while the next one is being trained
as_app($node, q{SELECT kpx_train('courses', params => '{"factors": 8}')});
as_app($node, $newer);
as_app($node, "SELECT kpx_schedule('dropped', 'train', '$slow', every => '1 day', max_retries => 0)");
$computing->('dropped');
as_app($node, 'SELECT kpx_drop_model(1)');
$ended->('dropped');
like($message->('dropped'), qr/^succeeded model 2 is active: ndcg\@10 [\d.]+, popularity \(model 1 was dropped while this one was being trained\) [\d.]+, on the newest interactions of 700 users$/,
	'a training whose rival was dropped is judged by popularity, activated, and says so');

# another model is being activated when the job wants to
as_app($node, q{SELECT kpx_train('courses', name => 'other', params => '{"factors": 8}', activate => false)});
as_app($node, "SELECT kpx_schedule('late', 'train', '$slow', every => '1 day', max_retries => 0)");
$computing->('late');
my $other = $node->background_psql('postgres');
$other->query_safe('BEGIN; SELECT kpx_activate(3);');
wait_for($node, 'the job waits', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'kpxrec job' AND wait_event_type = 'Lock'");
is($node->safe_psql('postgres', "SELECT xact_start > backend_start + interval '0.2 s' FROM pg_stat_activity WHERE backend_type = 'kpxrec job'"), 't', 'its transaction began when it wanted to store, not with its process');
$other->query_safe('COMMIT');
$other->quit;
$ended->('late');
like($message->('late'), qr/^succeeded model 4 is ready, not activated: another model was activated while it was being trained/, 'an activation that came first is not overwritten');
is($node->safe_psql('postgres', "SELECT active_model FROM kpx_modules WHERE module = 'courses'"), 3, 'it stands');

# a role that may train no more
$node->safe_psql('postgres', q{REVOKE EXECUTE ON FUNCTION kpx_train(text[], text, jsonb, text, boolean), kpx_train(text, text, jsonb, text, boolean) FROM public, app});
as_app($node, "SELECT kpx_run_now('late')");
$ended->('late', 2);
is($message->('late'), 'failed 42501 permission denied for function kpx_train', 'a job does not train for who may not');
$node->safe_psql('postgres', q{SELECT kpx_grant('app', 'train')});

# errors: the row of a run outlives a user who is forgotten
my $try = sub {
	my ($job, $view) = @_;
	$node->safe_psql('postgres', "SET ROLE app; CREATE VIEW app.v_$job AS $view; SELECT kpx_add_module('$job', 'app.courses', 'id'); SELECT kpx_add_events('$job', 'app.v_$job', 'view', 'user_id', 'course_id')");
	as_app($node, qq{SELECT kpx_schedule('$job', 'train', '{"modules": ["$job"]}', every => '1 day', max_retries => 0)});
	$ended->($job);
	return $message->($job);
};
$node->safe_psql('postgres', q{CREATE TABLE app.mail AS SELECT 'carol@example.org'::text AS address, 1 AS course_id; ALTER TABLE app.mail OWNER TO app;
	CREATE FUNCTION app.tell(address text) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
		RAISE unique_violation USING MESSAGE = 'duplicate key value violates unique constraint "mail_pkey"', DETAIL = format('Key (address)=(%s) already exists.', address); END $$});
is($try->('cast', 'SELECT address::bigint AS user_id, course_id FROM app.mail'), 'failed 22P02 invalid input syntax for type ...: "..."', 'what an error quotes is not kept');
is($try->('key', 'SELECT app.tell(address) AS user_id, course_id FROM app.mail'), 'failed 23505 duplicate key value violates unique constraint "mail_pkey"', 'nor details that show rows');
like($try->('memory', 'SELECT user_id, course_id FROM app.enrolments, (SELECT set_config(\'maintenance_work_mem\', \'1MB\', false), set_config(\'kpxrec.memory_factor\', \'1\', false)) s'),
	qr/^failed 53200 .* needs about \d+ MB of memory, 1 MB are allowed \(The limit is maintenance_work_mem/, 'details of what is too much are');
is($node->safe_psql('postgres', "SELECT count(*) FROM kpx.job_run WHERE message LIKE '%carol%'"), 0, 'the user is nowhere');
like(slurp_file($node->logfile), qr/carol/, 'but in the log of the server');

# autovacuum sees what a scheduler that goes on writes
as_app($node, q{SELECT kpx_schedule('often', 'attribute', every => '1 second')});
wait_for($node, 'the statistics', "SELECT n_tup_upd > 10 FROM pg_stat_all_tables WHERE relid = 'kpx.job'::regclass AND (SELECT count(*) = 1 AND min(backend_start) < now() - interval '3 s' FROM pg_stat_activity WHERE backend_type = 'kpxrec scheduler')");
pass('a scheduler reports its updates while it goes on');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal|XX000/, 'no crash');
$node->stop;
done_testing();
