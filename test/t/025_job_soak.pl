# Many runs leave nothing behind: memory of the scheduler and the launcher, dynamic shared memory, worker slots. JOB_RUNS says how many (30).
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $runs = $ENV{JOB_RUNS} // 30;
my $node = job_node('node');
$node->append_conf('postgresql.conf', "kpxrec.max_running_jobs = 4\nmax_worker_processes = 10\nkpxrec.min_parallel_interactions = 0\nmax_parallel_maintenance_workers = 1\nfsync = off\n"
	# segments as files of this cluster, and none that stay for sessions to share
	. "dynamic_shared_memory_type = mmap\nkpxrec.shared_cache_size = 0");
$node->start;
job_platform($node, 300, 100, 8);
my $resident = sub {
	my ($type) = @_;
	my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = '$type'");
	my ($kb) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m;
	return ($pid, $kb);
};
my $segments = sub { scalar(() = glob($node->data_dir . '/pg_dynshmem/mmap.*')) };
my $done = sub { $node->safe_psql('postgres', "SELECT coalesce(sum(n), 0) FROM (SELECT job, count(*) AS n FROM kpx_job_runs WHERE status = 'succeeded' GROUP BY job) r") };
my $until = sub {
	my ($n) = @_;
	for (1 .. 6000) { return if $done->() >= $n; select(undef, undef, undef, 0.2); }
	die "only " . $done->() . " of $n runs";
};

my $segments_at_start = $segments->();

# trainings with a parallel worker, calls, and failures
as_app($node, q{SELECT kpx_schedule('train', 'train', '{"modules": ["courses"], "params": {"factors": 4, "iterations": 1}}', every => '1 second');
	SELECT kpx_schedule('call ' || n, 'attribute', every => '1 second') FROM generate_series(1, 2) n;
	SELECT kpx_schedule('fails', 'train', '{"modules": ["courses"], "params": {"seed": 1}, "name": "x", "algorithm": "content"}', every => '1 second', max_retries => 0)});
$until->(10);
my ($scheduler, $before) = $resident->('kpxrec scheduler');
my ($launcher, $launcher_before) = $resident->('kpxrec launcher');
$until->($runs);
my ($same, $after) = $resident->('kpxrec scheduler');
my ($same_launcher, $launcher_after) = $resident->('kpxrec launcher');
is($same, $scheduler, 'the same scheduler all the time');
is($same_launcher, $launcher, 'and launcher');
diag(sprintf('%d runs and %d that failed: scheduler %d to %d kB, launcher %d to %d kB', $done->(), $node->safe_psql('postgres', "SELECT count(*) FROM kpx_job_runs WHERE status = 'failed'"),
	$before, $after, $launcher_before, $launcher_after));
cmp_ok($after, '<', $before + 2048, 'the scheduler did not grow by 2 MB');
cmp_ok($launcher_after, '<', $launcher_before + 1024, 'nor the launcher by 1 MB');
$node->append_conf('postgresql.conf', 'kpxrec.jobs = off');
$node->reload;
wait_for($node, 'the end', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type IN ('kpxrec scheduler', 'kpxrec job', 'parallel worker')");
is($node->safe_psql('postgres', "SELECT count(*) FROM kpx_job_runs WHERE status = 'running'"), 0, 'none is left running');
is($node->safe_psql('postgres', "SELECT count(*) FROM kpx_job_runs WHERE status IN ('lost', 'cancelled')"), 0, 'none was lost');
is($segments->(), $segments_at_start, 'no segment of shared memory is left');
is($node->safe_psql('postgres', "SELECT count(*) FROM (SELECT job FROM kpx_job_runs GROUP BY job HAVING count(*) > 1000) r"), 0, 'at most 1000 rows a job');
$node->stop;
done_testing();
