# Training with workers, against other sessions, against cancel and crash.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf', "kpxrec.min_parallel_interactions = 0\nmax_parallel_maintenance_workers = 0\nmax_worker_processes = 8\nmax_parallel_workers = 8\n");
$node->start;
platform($node, 5000, 2000, 20);

# the same model whoever computes it
my %model;
foreach my $workers (0, 1, 2)
{
	my $sql = "SET max_parallel_maintenance_workers = $workers; SELECT model FROM kpx_train(ARRAY['courses', 'videos'], params => '{\"factors\": 24, \"iterations\": 3}', name => 'w$workers', activate => false)";
	my ($ret, $out, $err) = $node->psql('postgres', $sql);
	is($err, '', "$workers workers: no notice");
	$model{$workers} = $out;
}
foreach my $workers (1, 2)
{
	is($node->safe_psql('postgres', "SELECT max(abs(x - y)) < 1e-5 FROM kpx_item_factors('courses', item_type => NULL::int, model => $model{0}) a
		JOIN kpx_item_factors('courses', item_type => NULL::int, model => $model{$workers}) b USING (item_id), unnest(a.factors, b.factors) t(x, y)"), 't', "$workers workers: the same model");
}
is($node->safe_psql('postgres', "SET max_parallel_maintenance_workers = 2; SELECT model FROM kpx_train('courses', params => '{\"factors\": 8}', activate => false) \\g /dev/null
	SELECT count(*) FROM pg_ls_dir('/proc/' || pg_backend_pid() || '/task')"), 1, 'one task in the backend after training');

# no worker, no shared memory: alone, with a notice
my ($ret, $out, $err);
foreach my $how ("'ials', '{\"factors\": 8}'", "'itemknn'")
{
	($ret, $out, $err) = $node->psql('postgres', "SET max_parallel_maintenance_workers = 2; SET max_parallel_workers = 0;
		SELECT users FROM kpx_train('courses', $how, activate => false)");
	is($out, 5000, "$how trained without workers");
	like($err, qr/NOTICE:  training in one process: no parallel worker is free/, 'and says so');
}

# in a transaction, in a function, in a subtransaction
($ret, $out, $err) = $node->psql('postgres', "SET max_parallel_maintenance_workers = 1; BEGIN; SELECT users FROM kpx_train('courses', params => '{\"factors\": 8}'); ROLLBACK;");
like($err, qr/NOTICE:  model \d+ becomes visible to other sessions when this transaction commits/, 'inside a transaction block it says when others will see it');
is($node->safe_psql('postgres', 'SELECT count(*) FROM kpx.active_model'), 0, 'rolled back');
$node->safe_psql('postgres', "SET max_parallel_maintenance_workers = 2; DO \$\$ BEGIN BEGIN PERFORM kpx_train('courses', params => '{\"factors\": 8}'); RAISE 'no'; EXCEPTION WHEN raise_exception THEN NULL; END; END \$\$");
is($node->safe_psql('postgres', 'SELECT count(*) FROM kpx.active_model'), 0, 'rolled back by a subtransaction');

# another training of the same name fails at once; of another name does not
my $long = "SELECT users FROM kpx_train(ARRAY['courses', 'videos'], params => '{\"factors\": 128, \"iterations\": 1000}', name => 'long')";
my ($o1, $e1) = ('', '');
my $training = start_psql($node, "SET max_parallel_maintenance_workers = 1; $long", \$o1, \$e1);
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND granted") or die;
my $start = time;
($ret, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$long");
like($err, qr/ERROR:  55P03: model "long" is being trained by another session/, 'the second training of a name is refused');
diag(sprintf('refused after %.0f ms', 1000 * (time - $start)));
is($node->safe_psql('postgres', "SELECT users FROM kpx_train('courses', params => '{\"factors\": 8}', name => 'short')"), 5000, 'another name is not');

# cancel, in whatever phase: at many moments. How late it was is printed; only absurd delays fail.
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_locks WHERE locktype = 'advisory'");
$training->finish;
like($e1, qr/57014/, 'cancelled');
my $worst = 0;
foreach my $workers (0, 1)
{
	foreach my $timeout (2, 5, 10, 15, 20, 30, 50, 75, 125, 200, 300, 400)
	{
		my $start = time;
		my ($ret, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSET max_parallel_maintenance_workers = $workers; SET statement_timeout = $timeout; $long");
		my $late = time - $start - $timeout / 1000;
		like($err, qr/57014/, "statement_timeout after $timeout ms, $workers workers");
		$worst = $late if $late > $worst;
	}
}
diag(sprintf('the latest reaction to statement_timeout took %.0f ms (with connecting)', 1000 * $worst));
cmp_ok($worst, '<', 5, 'never absurdly late');
is($node->safe_psql('postgres', "SELECT count(*) FROM kpx.model WHERE name = 'long'"), 0, 'nothing of it was stored');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'"), 0, 'no worker is left');

# a worker that dies takes the statement with it, not the model before
$node->safe_psql('postgres', "SELECT kpx_train(ARRAY['courses', 'videos'], params => '{\"factors\": 8}')");
my $before = answers($node);
$training = start_psql($node, "SET max_parallel_maintenance_workers = 1; $long", \$o1, \$e1);
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'parallel worker' AND query LIKE '%long%'") or die;
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'parallel worker'");
$training->finish;
like($e1, qr/ERROR/, 'a terminated worker ends the training with an error');
is(answers($node), $before, 'the model before answers');

# crash: killed in the middle, then recovery
$training = start_psql($node, "SET max_parallel_maintenance_workers = 1; $long", \$o1, \$e1);
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'parallel worker' AND query LIKE '%long%'") or die;
$node->stop('immediate');
$training->finish;
$node->start;
is(answers($node), $before, 'after a crash the model before answers');
is($node->safe_psql('postgres', "SELECT count(*) FROM kpx.model WHERE name = 'long'"), 0, 'and nothing is half there');
$node->safe_psql('postgres', "SELECT kpx_train(ARRAY['courses', 'videos'], params => '{\"factors\": 8, \"seed\": 3}')");
isnt(answers($node), $before, 'and it trains again');

# other sessions switch when the transaction commits, not before
my ($in, $o2, $e2) = ('', '', '');
my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$o2, '2>', \$e2, IPC::Run::timeout(120));
my $ask = sub {
	$o2 = '';
	$in .= shift() . ";\nSELECT 'done';\n";
	$session->pump until $o2 =~ /done\n/;
	return $o2;
};
my $top = "SELECT array_agg(score) FROM kpx_recommend(3, 'courses', 3)";
my $committed = $ask->($top);
$ask->('BEGIN');
$ask->("SELECT kpx_train(ARRAY['courses', 'videos'], params => '{\"factors\": 8, \"seed\": 4}')");
isnt($ask->($top), $committed, 'the session that trained sees it at once');
is($node->safe_psql('postgres', $top) . "\ndone\n", $committed, 'others do not');
$ask->('ROLLBACK');
is($ask->($top), $committed, 'nor itself after ROLLBACK');
$node->safe_psql('postgres', "SELECT kpx_train(ARRAY['courses', 'videos'], params => '{\"factors\": 8, \"seed\": 5}')");
is($ask->($top), $node->safe_psql('postgres', $top) . "\ndone\n", 'a session with the old model cached switches');
$node->safe_psql('postgres', "SELECT kpx_drop_module('courses')");
$ask->($top);
like($e2, qr/module "courses" is not registered/, 'and sees a dropped module gone');
$in .= "\\q\n";
$session->finish;
$node->stop;
done_testing();
