# Slates: caps and budgets under concurrency, standby, dump of partitions, DROP EXTENSION.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init(allows_streaming => 1);
$node->start;
platform($node, 100, 50, 6);
$node->safe_psql('postgres', "SELECT * FROM kpx_train(ARRAY['courses', 'videos'], params => '{\"factors\": 8}')");
my $dir = PostgreSQL::Test::Utils::tempdir();

sub pgbench
{
	my ($name, $sql, @options) = @_;
	open(my $file, '>', "$dir/$name.sql") or die;
	print $file $sql;
	close $file;
	$node->command_ok([ 'pgbench', '-n', '-c', 8, '-j', 2, '-t', 40, @options, '-f', "$dir/$name.sql", $node->connstr('postgres') ], "pgbench: $name");
}

# 8 clients, 5 users, cap 3; the first slates also race for this month's partitions
$node->safe_psql('postgres', q{SELECT kpx_set_policy(params => '{"caps": {"n": 3, "per": "1 day"}}')});
my $slate = q{SELECT count(*) FROM kpx_recommend_slate(:u, ARRAY['courses', 'videos'], 2, 'courses', log => true);};
pgbench('cap', "\\set u random(1, 5)\n$slate\n");
is($node->safe_psql('postgres', 'SELECT user_id, count(*) FROM kpx.impression GROUP BY 1 ORDER BY 1'), join("\n", map { "$_|3" } 1 .. 5),
	'a cap of 3 is reached and never exceeded');
pgbench('cap in transactions', "\\set u random(11, 15)\nBEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT 1;\n$slate\nCOMMIT;\n");
is($node->safe_psql('postgres', "SELECT user_id, count(*) FROM kpx.impression WHERE length(user_id) = 2 GROUP BY 1 ORDER BY 1"), join("\n", map { "$_|3" } 11 .. 15),
	'nor in transactions with an older snapshot');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_inherits WHERE inhparent IN ('kpx.impression'::regclass, 'kpx.slate'::regclass)"), 2, 'one partition each');

# a budget of 50 impressions over many users
$node->safe_psql('postgres', q{SELECT kpx_set_policy(params => '{"caps": null}'),
	kpx_set_policy('videos', format('{"value": 1000, "budget": {"impressions": 50, "from": "%s", "to": "%s"}}', now() - interval '30 days', now() + interval '1 hour')::jsonb)});
pgbench('budget', "\\set u random(1000, 100000)\n$slate\n");
is($node->safe_psql('postgres', q{SELECT count(*) FROM kpx.impression i JOIN kpx.module m ON m.id = i.module_id AND m.name = 'videos' WHERE length(user_id) > 3}), 50,
	'a budget of 50 is spent and never overspent');

# money over many users, and a share of impressions
$node->safe_psql('postgres', q{SELECT kpx_set_policy('videos', format('{"value": 1000, "budget": {"spend": 5, "per_impression": 0.02, "per_click": 2, "from": "%s", "to": "%s"}}',
	now() - interval '40 days', now() + interval '1 hour')::jsonb)});
pgbench('money', "\\set u random(100000, 200000)\n$slate\n");
my $spent = $node->safe_psql('postgres', q{SELECT sum(0.02 + 2 * p_click) FROM kpx.impression i JOIN kpx.module m ON m.id = i.module_id AND m.name = 'videos' WHERE policy_id = (SELECT policy FROM kpx_policies WHERE active)});
cmp_ok($spent, '<=', 5 + 1e-6, 'a budget of 5 in money is never overspent');
cmp_ok($spent, '>', 4.5, 'but spent');
$node->safe_psql('postgres', q{SELECT kpx_set_policy('videos', format('{"value": 1000, "budget": null, "quota": {"max_share": 0.3, "from": "%s", "to": "%s"}}', now() - interval '1 day', now() + interval '1 hour')::jsonb)});
pgbench('share', "\\set u random(200000, 300000)\n$slate\n");
is($node->safe_psql('postgres', q{SELECT count(*) FILTER (WHERE name = 'videos') BETWEEN 0.25 * count(*) AND 0.3 * count(*) + 1 FROM kpx.impression i JOIN kpx.module m ON m.id = i.module_id
	WHERE policy_id = (SELECT policy FROM kpx_policies WHERE active)}), 't', 'a share of 30 % is reached and never exceeded');

# standby
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
$node->safe_psql('postgres', q{SELECT kpx_set_policy(params => '{"caps": {"n": 3, "per": "1 day"}}')});
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($standby->safe_psql('postgres', q{SELECT count(*) FROM kpx_recommend_slate(200, ARRAY['courses', 'videos'], 2)}), 2, 'a standby serves slates');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM kpx_recommend_slate(1, ARRAY['courses', 'videos'], 2)}), 0, 'and reads caps');
foreach my $call (q{kpx_recommend_slate(200, ARRAY['courses'], log => true)}, q{kpx_feedback(1, '1', 'click')}, 'kpx_attribute()',
	'kpx_set_policy()', q{kpx_expire_impressions('1 day')})
{
	my ($ret, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");
	like($err, qr/ERROR:  25006/, "$call is refused on a standby");
}
my ($ret, $out, $err) = $standby->psql('postgres', q{SELECT kpx_recommend_slate(200, ARRAY['courses'], log => true)});
like($err, qr/a slate cannot be logged on a standby\n.*Use log => false/s, 'with the way out');
isnt($standby->safe_psql('postgres', 'SELECT count(*) FROM kpx_explain_slate(1)'), 0, 'explanations work there');
$standby->stop;

# dump and restore
my $state = q{SELECT count(*), sum(propensity) FROM kpx.impression; SELECT count(*) FROM kpx.slate; SELECT policy, active, settings FROM kpx_policies ORDER BY 1;
	SELECT * FROM kpx_campaigns ORDER BY 1, 2, 3; SELECT sum(impressions) FROM kpx_funnel};
foreach my $format ('plain', 'custom')
{
	my $database = "restored_$format";
	$node->command_ok([ 'pg_dump', '-F', $format, '-f', "$dir/$format", '-d', $node->connstr('postgres') ], "pg_dump, $format");
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	if ($format eq 'plain')
	{
		$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/$format", '-d', $node->connstr($database) ], "restore, $format");
	}
	else
	{
		$node->command_ok([ 'pg_restore', '-e', '-j', 2, '-d', $node->connstr($database), "$dir/$format" ], "restore, $format");
	}
	is($node->safe_psql($database, $state), $node->safe_psql('postgres', $state), "the same policies, slates, impressions, budgets, $format");
	is($node->safe_psql($database, q{SELECT count(*) FROM kpx_recommend_slate(1, ARRAY['courses', 'videos'], 2)}), 0, "caps go on, $format");
	is($node->safe_psql($database, q{SELECT min(slate_id) > (SELECT max(slate_id) FROM kpx.slate WHERE occurred_at < now() - interval '0') FROM kpx_recommend_slate(300, ARRAY['courses', 'videos'], 2, log => true)}), 't',
		"and numbers of slates, $format");
	is($node->safe_psql($database, "DROP EXTENSION kpxrec; SELECT count(*) FROM pg_namespace WHERE nspname = 'kpx'"), 0, "dropping the extension takes the partitions along, $format");
}
$node->stop;
done_testing();
