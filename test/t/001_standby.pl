# A hot standby and READ ONLY transactions answer as the primary does.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->start;
platform($primary, 200, 50, 6);
$primary->safe_psql('postgres', "SELECT * FROM kpx_train(ARRAY['courses', 'videos'], params => '{\"factors\": 8}')");
$primary->safe_psql('postgres', "SELECT kpx_mine_rules(ARRAY['courses', 'videos'], 10, 0.1, 2), kpx_set_policy(params => '{\"lambda\": 0.5}')");
my $first = answers($primary);
is(scalar(split /\n/, $first), 40, 'the primary answers');
my $others = q{SELECT * FROM kpx_rules_for(3, 'courses', 5);
	SELECT * FROM kpx_rules ORDER BY antecedent, consequent LIMIT 5;
	SELECT kpx_user_profile(3);
	SELECT user_id, kpx_similarity(profile, profile) FROM kpx_profiles(NULL::int) LIMIT 3;
	SELECT * FROM kpx_similar_users(3, 5);
	SELECT * FROM kpx_audience(3, 'courses', 5);
	SELECT * FROM kpx_data_quality('courses');
	SELECT rank, module, item_id, expected_value, reason FROM kpx_recommend_slate(3, ARRAY['courses', 'videos'], 5, log => false)};
my $more = $primary->safe_psql('postgres', $others);
cmp_ok(scalar(split /\n/, $more), '>=', 5 + 5 + 1 + 3 + 5 + 5 + 2 + 4, 'rules, profiles, audiences and slates too');

$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->start;
# to what is flushed: the last insert may be hint bits that nobody flushes for ten seconds
$primary->wait_for_catchup($standby);
is(answers($standby), $first, 'the standby answers the same');
is($standby->safe_psql('postgres', $others), $more, 'the same rules, profiles, audiences and slates');
is($primary->safe_psql('postgres', "BEGIN READ ONLY;\n$others"), $more, 'as in a read-only transaction');

# the standby sees new events, and a new model, as soon as they are replayed
$primary->safe_psql('postgres', "INSERT INTO app.plays SELECT 1, 'v' || n FROM generate_series(2, 50, 5) n");
$primary->wait_for_catchup($standby);
my $second = answers($primary);
isnt($second, $first, 'new events change the answer');
is(answers($standby), $second, 'on the standby too');
my ($out, $err);
my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $standby->connstr('postgres') ], '<', \(my $in = ''), '>', \$out, '2>', \$err,
	IPC::Run::timeout(60));
$in .= "SELECT 'top', array_agg(score) FROM kpx_recommend(3, 'courses', 3);\n";
$session->pump until $out =~ /top.*\n/;
my $before = $out;
$out = '';
$primary->safe_psql('postgres', "SELECT * FROM kpx_train(ARRAY['courses', 'videos'], params => '{\"factors\": 8, \"seed\": 2}')");
$primary->wait_for_catchup($standby);
$in .= "SELECT 'top', array_agg(score) FROM kpx_recommend(3, 'courses', 3);\n";
$session->pump until $out =~ /top.*\n/;
isnt($out, $before, 'a session of the standby that had the old model cached switches to the new one');
$in .= "\\q\n";
$session->finish;
is(answers($standby), answers($primary), 'both as the primary');

# what writes says so
foreach my $call ("kpx_train('courses')", 'kpx_activate(1)', 'kpx_drop_model(1)', "kpx_drop_module('courses')", 'kpx_drop_events(1)',
	"kpx_add_module('m', 'app.courses', 'id')", "kpx_add_events('courses', 'app.enrolments', 'view', 'user_id', 'course_id')",
	"kpx_mine_rules('courses')", "kpx_set_policy(params => '{}')", "kpx_add_user_attributes('app.enrolments', 'user_id', ARRAY['course_id'])",
	"kpx_drop_user_attributes(1)", "kpx_recommend_slate(3, ARRAY['courses'], log => true)", "kpx_feedback(1, '1', 'click')", "kpx_attribute()",
	"kpx_expire_impressions('1 day')")
{
	my ($ret, $o, $e) = $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");
	like($e, qr/ERROR:  25006/, "$call is refused on a standby");
	($ret, $o, $e) = $primary->psql('postgres', "\\set VERBOSITY verbose\nSET default_transaction_read_only = on;\nSELECT $call");
	like($e, qr/ERROR:  25006/, "$call is refused in a read-only transaction");
}
is($primary->safe_psql('postgres', "BEGIN READ ONLY; SELECT count(*) FROM kpx_recommend(3, 'courses', 4)"), 4, 'answers in a read-only transaction');
ok($standby->safe_psql('postgres', "SELECT count(*) FROM kpx_evaluate(ARRAY['courses'], params => '{\"factors\": 4}')") > 0, 'kpx_evaluate writes nothing, so it runs on a standby');

# promotion: the new primary trains
$standby->promote;
$standby->safe_psql('postgres', "SELECT * FROM kpx_train('courses', params => '{\"factors\": 4}')");
is($standby->safe_psql('postgres', "SELECT count(DISTINCT model) = count(*) FROM kpx_models"), 't', 'and numbers its models on');
$standby->stop;
$primary->stop;
done_testing();
