# Preloaded: sessions share the numbers of models.
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
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'kpxrec'\nkpxrec.shared_cache_size = '3MB'\nkpxrec.min_users = 1\nrestart_after_crash = on\n");
$node->start;
platform($node, 2000, 5000, 10);
$node->safe_psql('postgres', "SELECT kpx_train(ARRAY['courses', 'videos'], params => '{\"factors\": 32, \"iterations\": 2}')");

# private memory of a session after an answer
my $private = q{SELECT count(*) FROM kpx_recommend(3, 'courses') \g /dev/null
	SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name = 'kpxrec model'};
my $first = $node->safe_psql('postgres', $private);
my $second = $node->safe_psql('postgres', $private);
cmp_ok($first, '>', 1000000, 'the session that reads a model keeps its own copy');
cmp_ok($second, '<', 20000, 'the next one only points to the shared one');
my $answers = answers($node);
$node->safe_psql('postgres', 'ALTER SYSTEM SET kpxrec.shared_cache_size = 0');
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('kpxrec.shared_cache_size') = '0'") or die;
is(answers($node), $answers, 'the answers are those of a private copy');
cmp_ok($node->safe_psql('postgres', $private), '>', 1000000, 'which 0 asks for');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET kpxrec.shared_cache_size');
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('kpxrec.shared_cache_size') = '3MB'") or die;

# more models than there is room for: the oldest goes, who uses it is not disturbed
my ($in, $out, $err) = ('', '', '');
my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(120));
my $ask = sub {
	$out = '';
	$in .= "SELECT array_agg(score) FROM kpx_recommend(3, 'courses', 3, model => 1);\nSELECT 'done';\n";
	$session->pump until $out =~ /done\n/;
	return $out;
};
my $model_one = $ask->();
foreach my $seed (2 .. 6)
{
	$node->safe_psql('postgres', "SELECT kpx_train(ARRAY['courses', 'videos'], params => '{\"factors\": 32, \"iterations\": 2, \"seed\": $seed}')");
	$node->safe_psql('postgres', $private);
	cmp_ok($node->safe_psql('postgres', $private), '<', 20000, "model $seed is shared");
}
is($ask->(), $model_one, 'a session that uses an evicted model goes on');
is($node->safe_psql('postgres', "SELECT array_agg(score) FROM kpx_recommend(3, 'courses', 3, model => 1)") . "\ndone\n", $model_one, 'and another one reads it again');

# the same number, another model
my $before = $node->safe_psql('postgres', "SELECT array_agg(score) FROM kpx_recommend(3, 'courses', 3)");
$in .= "DROP EXTENSION kpxrec;\nDROP SCHEMA app CASCADE;\n\\q\n";
$session->finish;
platform($node, 2000, 5000, 10);
is($node->safe_psql('postgres', "SELECT model FROM kpx_train(ARRAY['courses', 'videos'], params => '{\"factors\": 32, \"iterations\": 2, \"seed\": 77}')"), 1, 'numbers start again with the extension');
isnt($node->safe_psql('postgres', "SELECT array_agg(score) FROM kpx_recommend(3, 'courses', 3)"), $before, 'and nobody is answered from the model that had the number');

# crash: shared memory is new, models are read again
my $top = $node->safe_psql('postgres', "SELECT array_agg(score) FROM kpx_recommend(3, 'courses', 3)");
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', "SELECT array_agg(score) FROM kpx_recommend(3, 'courses', 3)"), $top, 'after a crash the same answers');
cmp_ok($node->safe_psql('postgres', $private), '<', 20000, 'and they are shared again');

# kill -9 of a session that has models mapped: the server restarts its processes, nothing is left behind
my ($ret, $o, $e) = $node->psql('postgres', "SELECT * FROM kpx_recommend(3, 'courses'); DO \$\$ BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''kill -9 ' || pg_backend_pid() || ''''; END \$\$");
$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die;
is($node->safe_psql('postgres', "SELECT array_agg(score) FROM kpx_recommend(3, 'courses', 3)"), $top, 'after a killed session too');
$node->stop;
done_testing();
