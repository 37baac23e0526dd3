# Answers go on while a job trains and activates: no error. Latencies with and without are printed.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{LOAD_SECONDS} // 6;
my $node = job_node('node');
$node->start;
job_platform($node, 3000, 1000, 20);
as_app($node, q{SELECT kpx_schedule('train', 'train', '{"modules": ["courses", "videos"], "params": {"factors": 64, "iterations": 6}}', every => '1 second')});
wait_for($node, 'the first model', "SELECT count(*) > 0 FROM kpx_models WHERE active_for IS NOT NULL");
my $script = $node->basedir . '/recommend.sql';
append_to_file($script, "\\set u random(1, 3000)\nSELECT * FROM kpx_recommend(:u::bigint, 'courses', 10);\n");

sub load
{
	my ($what) = @_;
	my $log = $node->basedir . "/$what";
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'pgbench', '-n', '-c', '2', '-T', $seconds, '-R', '100', '-f', $script, '-l', "--log-prefix=$log", '-U', 'app', '-d', $node->connstr('postgres') ], '>', \$out, '2>', \$err);
	my ($failed) = $out =~ /number of failed transactions: (\d+)/;
	is($failed // 0, 0, "$what: no failed transaction");
	unlike($err, qr/ERROR|abort/, "$what: no error");
	# what it took from when it was sent, without the wait for a client to be free
	my @times = sort { $a <=> $b } map { my @field = split; $field[2] - $field[6] } map { split /\n/, slurp_file($_) } glob("$log.*");
	ok(@times > 50, "$what: " . scalar(@times) . ' answers');
	return map { $times[ int($_ * $#times) ] / 1000 } (0.5, 0.99);
}

my $models = "SELECT count(*) FROM kpx.job_run WHERE status = 'succeeded'";
my $before = $node->safe_psql('postgres', $models);
my ($p50, $p99) = load('training');
my $trained = $node->safe_psql('postgres', $models) - $before;
cmp_ok($trained, '>=', 1, "$trained models were trained and activated meanwhile");
as_app($node, "SELECT kpx_pause('train')");
wait_for($node, 'the last run', "SELECT count(*) = 0 FROM kpx_job_runs WHERE status = 'running'");
my ($idle50, $idle99) = load('idle');
diag(sprintf('p50 %.1f ms and p99 %.1f ms while %d models were trained and activated, %.1f and %.1f ms without', $p50, $p99, $trained, $idle50, $idle99));
$node->stop;
done_testing();
