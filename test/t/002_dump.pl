# pg_dump and restore keep modules, sources, models and what is active.
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
$node->start;
platform($node, 100, 50, 6);
$node->safe_psql('postgres', "SELECT * FROM kpx_train(ARRAY['courses', 'videos'], params => '{\"factors\": 8}')");
$node->safe_psql('postgres', "SELECT * FROM kpx_train('courses', params => '{\"factors\": 4}', activate => false)");
$node->safe_psql('postgres', "SELECT kpx_mine_rules(ARRAY['courses', 'videos'], 10, 0.1, 2), kpx_set_policy(params => '{\"lambda\": 0.5}');
	CREATE TABLE app.people AS SELECT u AS id, u % 90 AS age FROM generate_series(1, 100) u;
	SELECT kpx_add_user_attributes('app.people', 'id', ARRAY['age']), kpx_train('courses', name => 'links', algorithm => 'ease', activate => false);
	SELECT count(*) FROM generate_series(1, 60) u, kpx_recommend_slate(u, ARRAY['courses', 'videos'], 5, log => true);
	SELECT kpx_feedback(slate_id, item_id, 'click') FROM kpx.impression WHERE rank = 1;
	SELECT kpx_feedback(slate_id, item_id, 'conversion') FROM kpx.impression WHERE rank = 1 AND slate_id % 3 = 0");
is($node->safe_psql('postgres', q{SELECT trained FROM kpx_train_ranker(ARRAY['courses', 'videos'], '{"min_clicks": 1, "min_conversions": 1}')}), 't', 'a ranker is trained');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $state = q{SELECT module, items, item_id, event_sources, active_model FROM kpx_modules ORDER BY 1;
	SELECT source_id, module, relation, kind, user_id, item_id, weight, hides FROM kpx_event_sources ORDER BY 1;
	SELECT model, name, version, modules, active_for, params, loss FROM kpx_models ORDER BY 1;
	SELECT * FROM kpx_rules ORDER BY modules, antecedent, consequent; SELECT rank, item_id, antecedent FROM kpx_rules_for(3, 'courses');
	SELECT * FROM kpx_policies; SELECT kpx_user_profile(3); SELECT * FROM kpx_explain_slate(1);
	SELECT * FROM kpx.slate ORDER BY slate_id; SELECT * FROM kpx.impression ORDER BY slate_id, rank;
	SELECT * FROM kpx.feedback ORDER BY slate_id, rank, kind;
	SELECT * FROM kpx_ranker_report() ORDER BY 1, 2, 3, 4; SELECT * FROM kpx_training_log ORDER BY epoch;
	SELECT rank, module, item_id, p_click, p_convert FROM generate_series(1, 9) u, kpx_recommend_slate(u, ARRAY['courses', 'videos'], 4)};

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
	is($node->safe_psql($database, $state), $node->safe_psql('postgres', $state), "the same modules, sources and models, $format");
	is(answers($node, $database), answers($node), "the same answers, $format");
	is($node->safe_psql($database, "SELECT model > (SELECT max(model) FROM kpx_models) FROM kpx_train('courses', params => '{\"factors\": 4}')"), 't',
		"model numbers go on, $format");
	is($node->safe_psql($database, "SELECT kpx_add_events('courses', 'app.enrolments', 'view', 'user_id', 'course_id')"), 3, "so do those of sources, $format");
	is($node->safe_psql($database, "SELECT rules > 0 FROM kpx_mine_rules('courses', 5, 0.1, 2)"), 't', "rules are mined, $format");
	is($node->safe_psql($database, "SELECT min(slate_id) > 1 FROM kpx_recommend_slate(4, ARRAY['courses'], 2, log => true)"), 't', "slates are numbered on, $format");
	is($node->safe_psql($database, "DROP EXTENSION kpxrec; SELECT count(*) FROM pg_namespace WHERE nspname = 'kpx'"), 0, "dropping the extension leaves nothing, $format");
	is($node->safe_psql($database, "SELECT count(*) FROM app.enrolments"), 600, 'but the data');
}

# a relation that is gone when its registration is restored: no error, and a clear one later
$node->safe_psql('postgres', 'DROP TABLE app.plays');
$node->command_ok([ 'pg_dump', '-f', "$dir/gone", '-d', $node->connstr('postgres') ], 'pg_dump with a source that is gone');
$node->safe_psql('postgres', 'CREATE DATABASE gone');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/gone", '-d', $node->connstr('gone') ], 'is restored');
my ($ret, $out, $err) = $node->psql('gone', "SELECT * FROM kpx_recommend(1, 'courses')");
like($err, qr/"app.plays" of event source 2 of module "videos" does not exist any more/, 'and named when it is needed');
$node->stop;
done_testing();
