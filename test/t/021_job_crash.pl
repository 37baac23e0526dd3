# Runs that are killed, terminated, or taken down by a crash or a shutdown: each is seen afterwards, none is left running.
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
$node->append_conf('postgresql.conf', "restart_after_crash = on");
$node->start;
job_platform($node, 4000, 2000, 20);
as_app($node, q{SELECT kpx_schedule('short', 'train', '{"modules": ["courses", "videos"], "params": {"factors": 8}}', every => '1 day')});
wait_for($node, 'the first model', "SELECT last_status = 'succeeded' FROM kpx_jobs WHERE job = 'short'");
my $before = answers($node);
my $running = "SELECT count(*) = 1 FROM kpx_job_runs r JOIN kpx_stat_progress p USING (pid) WHERE r.job = 'long' AND r.status = 'running' AND p.phase LIKE 'iter%'";
my $pid = "SELECT pid FROM kpx_job_runs WHERE job = 'long' AND status = 'running'";
my $start = sub {
	as_app($node, "SELECT kpx_run_now('long')");
	wait_for($node, 'a run that computes', $running);
	return $node->safe_psql('postgres', $pid);
};
my $last = sub { $node->safe_psql('postgres', "SELECT status, sqlstate FROM kpx_job_runs WHERE job = 'long' ORDER BY run DESC LIMIT 1") };
as_app($node, q{SELECT kpx_schedule('long', 'train', '} . LONG . q{', every => '1 day', max_retries => 0)});
wait_for($node, 'its first run', $running);

# pg_terminate_backend
my $began = time;
$node->safe_psql('postgres', "SELECT pg_terminate_backend(($pid), 10000)");
my $ended = time - $began;
wait_for($node, 'the terminated run', "SELECT count(*) = 0 FROM kpx_job_runs WHERE status = 'running'");
is($last->(), 'failed|57P01', 'a terminated run has failed');
diag(sprintf('pg_terminate_backend took %.0f ms', 1000 * $ended));

# the scheduler is terminated: another takes over, the run goes on
$start->();
my $scheduler = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'kpxrec scheduler'");
$node->safe_psql('postgres', "SELECT pg_terminate_backend($scheduler, 10000)");
wait_for($node, 'another scheduler', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'kpxrec scheduler' AND pid <> $scheduler");
is($node->safe_psql('postgres', $running), 't', 'the run of the scheduler before goes on');
is($node->safe_psql('postgres', "SELECT count(*) FROM kpx_job_runs WHERE status = 'running'"), 1, 'and is not started twice');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(($pid), 10000)");
wait_for($node, 'its end is seen by the new one', "SELECT count(*) = 0 FROM kpx_job_runs WHERE status = 'running'");
is($last->(), 'failed|57P01', 'a run whose scheduler was another one is accounted for');

# the launcher, too, comes back
my $launcher = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'kpxrec launcher'");
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher, 10000)");
wait_for($node, 'another launcher', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'kpxrec launcher' AND pid <> $launcher");

# kill -9: the whole server recovers, and the run is lost, not forgotten and not started again at once
my $victim = $start->();
kill 'KILL', $victim;
sleep 1;
$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die;
wait_for($node, 'the lost run', "SELECT count(*) = 0 FROM kpx_job_runs WHERE status = 'running'");
is($last->(), 'lost|58000', 'killed: the run is lost');
is($node->safe_psql('postgres', "SELECT count(*) FROM kpx_models WHERE name = 'long'"), 0, 'nothing of it was stored');
is(answers($node), $before, 'the model before answers');

# a crash of everything; then a retry, later than after a failure
as_app($node, q{SELECT kpx_alter_job('long', '{"max_retries": 1}')});
$start->();
$node->stop('immediate');
$node->start;
wait_for($node, 'the run of the crash', "SELECT count(*) = 0 FROM kpx_job_runs WHERE status = 'running'");
is($last->(), 'lost|58000', 'crashed: the run is lost');
is($node->safe_psql('postgres', "SELECT status FROM kpx_jobs WHERE job = 'long'"), 'retrying', 'and tried again');
is($node->safe_psql('postgres', "SELECT retry_at - (SELECT max(finished_at) FROM kpx.job_run WHERE status = 'lost') BETWEEN '4 s' AND '6 s' FROM kpx.job WHERE name = 'long'"), 't', 'after five times the delay');
wait_for($node, 'the retry', $running);

# three in a row: it stops by itself
foreach my $n (2, 3)
{
	$start->() if $node->safe_psql('postgres', $running) ne 't';
	$node->stop('immediate');
	$node->start;
	wait_for($node, 'the run of the crash', "SELECT count(*) = 0 FROM kpx_job_runs WHERE status = 'running'");
}
is($node->safe_psql('postgres', "SELECT status, paused_because FROM kpx_jobs WHERE job = 'long'"), 'paused|3 runs in a row were lost: the server stopped, or the worker died', 'three losses in a row pause it');

# fast shutdown
is(as_app($node, "SELECT kpx_resume('long')"), 1, 'resumed');
$start->();
$began = time;
$node->stop('fast');
$ended = time - $began;
diag(sprintf('fast shutdown with a training took %.0f ms', 1000 * $ended));
cmp_ok($ended, '<', 10, 'fast shutdown does not wait for the training');
$node->start;
wait_for($node, 'the run of the shutdown', "SELECT count(*) = 0 FROM kpx_job_runs WHERE status = 'running'");
is($last->(), 'lost|58000', 'shut down: the run is lost');
$node->stop;
done_testing();
