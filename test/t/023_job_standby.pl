# A standby runs no jobs; promoted, it does, and the runs of the primary that died are lost. Copies from a dump wait.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = job_node('primary', allows_streaming => 1);
$primary->start;
job_platform($primary, 3000, 1000, 20);
$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->start;
as_app($primary, q{SELECT kpx_schedule('tick', 'attribute', every => '1 second'); SELECT kpx_schedule('long', 'train', '} . LONG . q{', every => '1 day')});
wait_for($primary, 'runs', "SELECT count(*) >= 2 FROM kpx_job_runs WHERE job = 'tick' AND status = 'succeeded'");
wait_for($primary, 'a long run', "SELECT count(*) = 1 FROM kpx_job_runs WHERE job = 'long' AND status = 'running' AND pid IS NOT NULL");
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'kpxrec%'"), 0, 'no process of ours on the standby');
is($standby->safe_psql('postgres', "SELECT count(*) FROM kpx_jobs"), 2, 'but its views');
foreach my $call ("kpx_schedule('x', 'attribute', every => '1 day')", "kpx_pause('tick')", "kpx_run_now('tick')", "kpx_unschedule('tick')", "kpx_resume()", "kpx_alter_job('tick', '{}')")
{
	my ($ret, $o, $e) = $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");
	like($e, qr/ERROR:  25006/, "$call is refused there");
}

# a dump of the primary, restored elsewhere and beside it
my $dump = $primary->basedir . '/dump.sql';
$primary->command_ok([ 'pg_dump', '-f', $dump, '-d', $primary->connstr('postgres') ], 'dumped');
my $copy = job_node('copy');
$copy->start;
foreach my $where ([ $copy, 'another server' ], [ $primary, 'another database' ])
{
	my ($node, $what) = @$where;
	$node->safe_psql('postgres', 'CREATE ROLE app LOGIN') if $node == $copy;
	$node->safe_psql('postgres', 'CREATE DATABASE restored');
	command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ], "restored into $what");
	$node->safe_psql('restored', "SELECT kpx_grant('app', 'train')");
	$node->safe_psql('restored', 'SELECT kpx_run_now(\'tick\')'); # wakes the scheduler
	$node->poll_query_until('restored', "SELECT count(*) = 2 FROM kpx_jobs WHERE status = 'paused'") or die $node->safe_psql('restored', 'TABLE kpx_jobs');
	is($node->safe_psql('restored', 'SELECT DISTINCT paused_because FROM kpx_jobs'), 'it came with a copy of the database from elsewhere; kpx_resume lets it run here', "$what: jobs are paused");
	$node->safe_psql('restored', "SELECT kpx_unschedule('long')");
	is($node->safe_psql('restored', 'SELECT kpx_resume()', extra_params => [ '-U', 'app' ]), 1, 'and can be resumed');
	my $runs = $node->safe_psql('restored', "SELECT count(*) FROM kpx_job_runs WHERE job = 'tick'");
	$node->poll_query_until('restored', "SELECT count(*) > $runs + 1 FROM kpx_job_runs WHERE job = 'tick'") or die;
	pass('then they run');
	is($node->safe_psql('restored', "SELECT count(*) FROM kpx_job_runs WHERE job = 'long' AND status = 'lost'"), 1, 'a run that was under way in the dump is lost');
}
$copy->stop;

# promotion
$primary->stop('immediate');
$standby->promote;
wait_for($standby, 'the lost run', "SELECT status = 'lost' FROM kpx_job_runs WHERE job = 'long'");
my $runs = $standby->safe_psql('postgres', "SELECT count(*) FROM kpx_job_runs WHERE job = 'tick' AND status = 'succeeded'");
wait_for($standby, 'runs on the promoted', "SELECT count(*) > $runs FROM kpx_job_runs WHERE job = 'tick' AND status = 'succeeded'");
pass('promoted, it runs jobs');
$standby->stop;
done_testing();
