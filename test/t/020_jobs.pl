# Jobs from end to end: data arrive, a worker retrains, the guard judges, the application sees it. And what must not stop them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = job_node('node');
$node->start;
job_platform($node, 1000, 200, 10);
my $last = sub { my ($column, $job) = @_; $node->safe_psql('postgres', "SELECT $column FROM kpx_job_runs WHERE job = '$job' AND status <> 'running' ORDER BY run DESC LIMIT 1") };
my $runs = sub { my ($job) = @_; $node->safe_psql('postgres', "SELECT count(*) FROM kpx_job_runs WHERE job = '$job' AND status <> 'running'") };

# an application that stays connected
my ($in, $out, $err) = ('', '', '');
my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-U', 'app' ], '<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(180));
my $ask = sub {
	$out = '';
	$in .= "SELECT array_agg(score) FROM kpx_recommend(3, 'courses', 3);\nSELECT 'done';\n";
	$session->pump until $out =~ /done\n/;
	return $out;
};

# every, at once; then when events have come
as_app($node, q{SELECT kpx_schedule('first', 'train', '{"modules": ["courses", "videos"], "params": {"factors": 8}}', every => '1 day')});
wait_for($node, 'the first training', "SELECT last_status = 'succeeded' FROM kpx_jobs WHERE job = 'first'");
like($last->('message', 'first'), qr/^model 1 is active: there was no active model/, 'the first model has nothing to be held against');
my $before = $ask->();
as_app($node, q{SELECT kpx_schedule('retrain', 'train', '{"modules": ["courses", "videos"], "params": {"factors": 8, "seed": 5}}',
	every => '1 second', when_new_events => 600)});
wait_for($node, 'its first look, which counts all events', "SELECT last_status = 'succeeded' FROM kpx_jobs WHERE job = 'retrain'");
my $after_first = $node->safe_psql('postgres', "SELECT max(model) FROM kpx_models");
sleep 3;
is($node->safe_psql('postgres', 'SELECT max(model) FROM kpx_models'), $after_first, 'no new events, no training');
is($runs->('retrain'), 1, 'and no row of a run');
as_app($node, "INSERT INTO app.enrolments SELECT u, 1 + (u % 5 + 5 * ((u * 7919 + 11 * 104729) % 40))::int, clock_timestamp() + interval '1 second' FROM generate_series(1, 700) u");
wait_for($node, 'training after events', "SELECT max(model) > $after_first FROM kpx_models");
wait_for($node, 'its end', "SELECT count(*) = 2 FROM kpx_job_runs WHERE job = 'retrain' AND status = 'succeeded'");
like($last->('message', 'retrain'), qr/^model \d+ is active: ndcg\@10 0\.\d+, active model $after_first 0\.\d+, on the newest interactions of 700 users$/, 'judged on what neither model had seen');
is($node->safe_psql('postgres', "SELECT string_agg(DISTINCT concat_ws(' ', measured_by, split, module, users), ',') FROM kpx_model_metrics WHERE metric = 'ndcg\@10' AND split = 'newest' AND value > popularity"),
	'guard newest courses 700', 'what the guard found, beside popularity, is kept with the model');
isnt($ask->(), $before, 'the application, still connected, is answered from it');
my $n = $runs->('retrain');
as_app($node, "SELECT kpx_run_now('retrain')");
wait_for($node, 'a run without new events', "SELECT count(*) > $n FROM kpx_job_runs WHERE job = 'retrain' AND status = 'succeeded'");
pass('kpx_run_now does not wait for events');
as_app($node, "SELECT kpx_pause('retrain')");

# the guard: a model that knows popularity only stays ready
my $active = $node->safe_psql('postgres', "SELECT active_model FROM kpx_modules WHERE module = 'courses'");
as_app($node, "INSERT INTO app.enrolments SELECT u, 1 + (u % 5 + 5 * ((u * 7919 + 12 * 104729) % 40))::int, clock_timestamp() + interval '1 second' FROM generate_series(1, 500) u");
as_app($node, q{SELECT kpx_schedule('bad', 'train', '{"modules": ["courses", "videos"], "algorithm": "popular"}', every => '1 day')});
wait_for($node, 'the bad training', "SELECT last_status = 'succeeded' FROM kpx_jobs WHERE job = 'bad'");
like($last->('message', 'bad'), qr/is ready, not activated: ndcg\@10 .* worse by more than the margin of 0\.05$/, 'a worse model is ready, not active, and says why');
is($node->safe_psql('postgres', "SELECT active_model FROM kpx_modules WHERE module = 'courses'"), $active, 'the old one answers');
as_app($node, q{SELECT kpx_alter_job('bad', '{"arguments": {"modules": ["courses", "videos"], "margin": null, "algorithm": "popular"}}'), kpx_run_now('bad')});
wait_for($node, 'without a guard', "SELECT count(*) = 2 FROM kpx_job_runs WHERE job = 'bad' AND status = 'succeeded'");
like($last->('message', 'bad'), qr/is active$/, 'without a margin it is active');

# who runs it, and what it may do
$node->safe_psql('postgres', q{
	CREATE FUNCTION app.who() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'session %, current %, superuser %, path %, timeout %',
		session_user, current_user, (SELECT rolsuper FROM pg_roles WHERE rolname = session_user), current_setting('search_path'), current_setting('statement_timeout'); END $$;
	CREATE VIEW app.spy AS SELECT app.who() AS user_id, 1 AS course_id; GRANT SELECT ON app.spy TO app;
	ALTER ROLE app SET search_path = app, public; ALTER ROLE app SET statement_timeout = '1ms';
	SET ROLE app;});
as_app($node, q{SET statement_timeout = 0; SELECT kpx_add_module('spied', 'app.courses', 'id'); SELECT kpx_add_events('spied', 'app.spy', 'view', 'user_id', 'course_id');
	SELECT kpx_schedule('spy', 'train', '{"modules": ["spied"]}', every => '1 day', max_retries => 0)});
wait_for($node, 'the spy', "SELECT last_status = 'failed' FROM kpx_jobs WHERE job = 'spy'");
is($last->('message', 'spy'), 'session app, current app, superuser f, path pg_catalog, pg_temp, timeout 0', 'the session is that of the owner, its settings are pinned');
is($last->('sqlstate', 'spy'), 'P0001', 'the code of the error is kept');
is($node->safe_psql('postgres', "SELECT status, consecutive_failures FROM kpx_jobs WHERE job = 'spy'"), 'waiting|1', 'max_retries => 0: it waits for its next slot');
$node->safe_psql('postgres', 'ALTER ROLE app RESET ALL');

# retries: after 1, 2 seconds, then no more
as_app($node, q{SELECT kpx_schedule('retried', 'train', '{"modules": ["spied"]}', every => '1 day', max_retries => 2)});
wait_for($node, 'retries', "SELECT count(*) = 3 FROM kpx_job_runs WHERE job = 'retried' AND status = 'failed'");
is($node->safe_psql('postgres', "SELECT string_agg(attempt::text, ',' ORDER BY run) FROM kpx_job_runs WHERE job = 'retried'"), '0,1,2', 'two retries');
is($node->safe_psql('postgres', "SELECT max(started_at) - min(started_at) BETWEEN '2.5 s' AND '20 s' FROM kpx_job_runs WHERE job = 'retried'"), 't', 'after 1 and 2 seconds');
is($node->safe_psql('postgres', "SELECT status FROM kpx_jobs WHERE job = 'retried'"), 'waiting', 'then no more');

# what is poisoned stops by itself, not the others
$node->safe_psql('postgres', q{CREATE ROLE gone LOGIN; CREATE ROLE locked LOGIN; CREATE ROLE outside LOGIN; SELECT kpx_grant(r, 'train') FROM unnest('{gone,locked,outside}'::name[]) r});
foreach my $role (qw(gone locked outside))
{
	$node->safe_psql('postgres', "SELECT kpx_schedule('of $role', 'attribute', every => '1 second')", extra_params => [ '-U', $role ]);
}
as_app($node, q{SELECT kpx_schedule('poisoned', 'attribute', every => '1 day', at => '00:00'); SELECT kpx_schedule('good', 'attribute', every => '1 second')});
$node->safe_psql('postgres', q{DROP OWNED BY gone; DROP ROLE gone; ALTER ROLE locked NOLOGIN; REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; GRANT CONNECT ON DATABASE postgres TO app;
	UPDATE kpx.job SET time_zone = 'Mars/Phobos' WHERE name = 'poisoned'});
wait_for($node, 'the dropped role', "SELECT bool_and(status = 'paused') FROM kpx_jobs WHERE job LIKE 'of %' OR job = 'poisoned'");
is($node->safe_psql('postgres', "SELECT string_agg(paused_because, '; ' ORDER BY job) FROM kpx_jobs WHERE status = 'paused' AND job <> 'retrain'"),
	'its owner "gone" does not exist any more; its owner "locked" may not log in; its owner "outside" may not connect to this database; time zone "Mars/Phobos" is not known', 'each says why');
is($node->safe_psql('postgres', "SELECT string_agg(DISTINCT sqlstate, ',') FROM kpx_job_runs WHERE job LIKE 'of %' AND status = 'failed'"), '28000', 'with a code');
my $good = $runs->('good');
wait_for($node, 'the good one goes on', "SELECT count(*) > $good + 2 FROM kpx_job_runs WHERE job = 'good' AND status = 'succeeded'");

# the switch, without a restart; pause; runs on request
$node->append_conf('postgresql.conf', 'kpxrec.jobs = off');
$node->reload;
wait_for($node, 'the switch', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'kpxrec scheduler'");
$good = $runs->('good');
sleep 2;
is($runs->('good'), $good, 'kpxrec.jobs = off: nothing starts');
$node->append_conf('postgresql.conf', 'kpxrec.jobs = on');
$node->reload;
wait_for($node, 'the switch back', "SELECT count(*) > $good FROM kpx_job_runs WHERE job = 'good'");
as_app($node, "SELECT kpx_pause('good')");
wait_for($node, 'the pause', "SELECT status = 'paused' FROM kpx_jobs WHERE job = 'good'");
$good = $runs->('good');
as_app($node, "SELECT kpx_run_now('good')");
wait_for($node, 'a run on request', "SELECT count(*) = $good + 1 FROM kpx_job_runs WHERE job = 'good' AND status = 'succeeded'");
sleep 2;
is($runs->('good'), $good + 1, 'a paused job runs on request, once');
is(as_app($node, "SELECT kpx_resume('good')"), 1, 'resumed');
wait_for($node, 'the resumed job', "SELECT count(*) > $good + 2 FROM kpx_job_runs WHERE job = 'good' AND status = 'succeeded'");

# limits: time, and that runs do not overlap
as_app($node, q{SELECT kpx_pause('good'); SELECT kpx_schedule('slow', 'train', '} . LONG . q{', every => '1 second', max_runtime => '3 seconds', max_retries => 0)});
wait_for($node, 'max_runtime', "SELECT last_status = 'failed' FROM kpx_jobs WHERE job = 'slow'");
is($last->("sqlstate || ' ' || message", 'slow'), '57014 it ran longer than its max_runtime', 'stopped after max_runtime');
is($node->safe_psql('postgres', "SELECT bool_and(seconds BETWEEN 2.9 AND 6) FROM kpx_job_runs WHERE job = 'slow' AND status = 'failed'"), 't', 'in time');
cmp_ok($node->safe_psql('postgres', "SELECT skipped FROM kpx_jobs WHERE job = 'slow'"), '>=', 1, 'slots that passed meanwhile are counted, not queued');
as_app($node, "SELECT kpx_unschedule('slow')");
wait_for($node, 'the end of slow', "SELECT count(*) = 0 FROM kpx_job_runs WHERE status = 'running'");

# a cancelled run, by its owner; a superuser's job
as_app($node, q{SELECT kpx_schedule('cancelled', 'train', '} . LONG . q{', every => '1 day')});
wait_for($node, 'its start', "SELECT status = 'running' AND pid IS NOT NULL FROM kpx_job_runs WHERE job = 'cancelled'");
is(as_app($node, "SELECT pg_cancel_backend(pid) FROM kpx_job_runs WHERE job = 'cancelled'"), 't', 'the owner may cancel it');
wait_for($node, 'the cancel', "SELECT last_status = 'cancelled' FROM kpx_jobs WHERE job = 'cancelled'");
is($node->safe_psql('postgres', "SELECT status FROM kpx_jobs WHERE job = 'cancelled'"), 'waiting', 'no retry after a cancel');
my ($ret, $o, $e) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT kpx_schedule('root', 'attribute', every => '1 day')");
like($e, qr/ERROR:  42501: superusers may not have jobs/, 'superusers may not');
is($node->safe_psql('postgres', "SELECT count(*) FROM kpx_jobs", extra_params => [ '-U', 'app' ]), $node->safe_psql('postgres', "SELECT count(*) FROM kpx.job WHERE owner = 'app'"), 'a user sees the own jobs');

$in .= "\\q\n";
$session->finish;
$node->stop('fast');
done_testing();
