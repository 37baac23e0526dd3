# Every query of docs/dashboards runs as a BI role that has what bi.sql grants, and nothing else.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dashboards = "$FindBin::RealBin/../docs/dashboards";
my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'kpxrec'");
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE owner LOGIN; CREATE ROLE bi LOGIN; CREATE ROLE other LOGIN; GRANT CREATE ON DATABASE postgres TO owner');
platform($node, 100, 50, 6);
$node->safe_psql('postgres', q{GRANT ALL ON SCHEMA app TO owner; GRANT ALL ON ALL TABLES IN SCHEMA app TO owner;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO owner;
	UPDATE kpx.module SET owner = 'owner';
	SET ROLE owner;
	SELECT kpx_train(ARRAY['courses', 'videos'], params => '{"factors": 8}');
	SELECT count(*) FROM kpx_evaluate_model((SELECT max(model) FROM kpx_models));
	SELECT kpx_mine_rules(ARRAY['courses', 'videos'], 5, 0.1, 2), kpx_cluster('groups', ARRAY['courses', 'videos'], 4), kpx_set_policy(params => '{"lambda": 0.5}', comment => 'first');
	SELECT count(*) FROM kpx_tune(ARRAY['courses'], ARRAY['itemknn', 'ease'], 2);
	SELECT count(*) FROM generate_series(1, 30) u, kpx_recommend_slate(u, ARRAY['courses', 'videos'], 5, 'videos', log => true);
	SELECT kpx_feedback(i.slate_id, i.item_id, 'click', module => CASE WHEN i.item_id ~ '^v' THEN 'videos' ELSE 'courses' END)
		FROM (SELECT s.slate_id, s.item_id, s.rank FROM generate_series(31, 60) u, kpx_recommend_slate(u, ARRAY['courses', 'videos'], 5, 'videos', log => true) s) i WHERE i.rank = 1});

# twice: it is to be run again after an update
for my $time (1, 2)
{
	$node->command_ok([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' user=owner', '-v', 'role=bi', '-v', 'schema=bi', '-f', "$dashboards/bi.sql" ], "bi.sql, time $time");
}

my @queries;
my $grafana = JSON::PP->new->utf8->decode(slurp_file("$dashboards/grafana.json"));
for my $panel (@{ $grafana->{panels} })
{
	push @queries, [ "grafana, $panel->{title}", $_->{rawSql}, $_->{format} ] for @{ $panel->{targets} };
}
my $grafana_queries = @queries;
my $metabase = slurp_file("$dashboards/metabase.sql");
push @queries, [ "metabase, $1", $2 ] while $metabase =~ /^-- ([^\n]+)\n((?:SELECT|WITH)[^;]+);/mg;
cmp_ok($grafana_queries, '>=', 15, 'the dashboard has queries');
cmp_ok(@queries - $grafana_queries, '>=', 15, 'and the list, too');
is(scalar(() = $metabase =~ /;\s*$/mg), @queries - $grafana_queries, 'none of which is missed');

my %empty;
for (@queries)
{
	my ($name, $sql, $format) = @$_;
	$sql =~ s/\$__timeFilter\(([^()]+)\)/$1 BETWEEN now() - interval '30 days' AND now() + interval '1 day'/g;
	$sql =~ s/\{\{from\}\}/(current_date - 30)/g;
	$sql =~ s/\{\{to\}\}/(current_date + 1)/g;
	unlike($sql, qr/\$__|\{\{/, "$name: every macro is known");
	my ($ret, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', 'bi', '-v', 'ON_ERROR_STOP=1', '-P', 'tuples_only=off' ]);
	is($ret, 0, "$name: runs") or diag($err);
	my @lines = split /\n/, $out;
	like($lines[0], qr/^time\|/, "$name: a series of times") if ($format // '') eq 'time_series';
	$empty{$name} = 1 if @lines < 2 || $lines[1] =~ /^\(0 rows/;
}
# what takes more than this platform has: measurements by a job, enough impressions to rank by, jobs
my @expected = grep { !/Coverage of lists|What lists are like|Drift|ranker|Modules with too little|Recommendation views|job|Job|fault|Faults/ } sort keys %empty;
is_deeply(\@expected, [], 'and finds something');

# what the role may not
for my $sql ('SELECT * FROM app.enrolments', 'SELECT * FROM app.courses', 'SELECT * FROM kpx.impression', 'CREATE TABLE bi.x (i int)')
{
	my ($ret, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', 'bi' ]);
	like($err, qr/permission denied/, "not: $sql");
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM kpx_funnel', extra_params => [ '-U', 'bi' ]), 0, 'the views themselves show it nothing');
my ($ret, $out, $err) = $node->psql('postgres', 'SELECT * FROM bi.funnel', extra_params => [ '-U', 'other' ]);
like($err, qr/permission denied/, 'nor does bi.sql show others anything');
$node->stop;
done_testing();
