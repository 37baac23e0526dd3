# One cluster trains, two serve: logical replication of what kpx_serving_tables names, and of the events. A third gets a model as one value.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $trains = PostgreSQL::Test::Cluster->new('trains');
$trains->init(allows_streaming => 'logical');
$trains->start;
$trains->safe_psql('postgres', 'CREATE ROLE app');
platform($trains, 200, 50, 6);
# with times, so that there are news
my $times = q{SELECT kpx_add_events('courses', 'app.enrolments', 'purchase', 'user_id', 'course_id', occurred_at => 'at')};
$trains->safe_psql('postgres', "ALTER TABLE app.enrolments ADD at timestamptz DEFAULT '2026-01-01 00:00+00'; SELECT kpx_drop_events(1); $times");
my $small = q{params => '{"factors": 8, "iterations": 5}'};
$trains->safe_psql('postgres', qq{
	SELECT kpx_train(ARRAY['courses', 'videos'], $small), kpx_mine_rules(ARRAY['courses', 'videos'], 10, 0.1, 2), kpx_cluster('groups', ARRAY['courses', 'videos'], 3),
		kpx_set_policy(params => '{"lambda": 0.5}');
	SELECT kpx_train('courses', algorithm => 'ease', name => 'links', activate => false);
	ALTER TABLE app.enrolments REPLICA IDENTITY FULL; ALTER TABLE app.plays REPLICA IDENTITY FULL;
	CREATE PUBLICATION events FOR TABLES IN SCHEMA app});
# as docs/operations.md has it
$trains->safe_psql('postgres', $trains->safe_psql('postgres', q{SELECT format('CREATE PUBLICATION kpxrec FOR TABLE %s', string_agg(relation::text, ', ')) FROM kpx_serving_tables}));

my $tables = q{CREATE SCHEMA app;
	CREATE TABLE app.courses (id int PRIMARY KEY);
	CREATE TABLE app.videos (id text PRIMARY KEY);
	CREATE TABLE app.enrolments (user_id int, course_id int, at timestamptz);
	CREATE TABLE app.plays (user_id int, video_id text);
	CREATE INDEX ON app.enrolments (user_id);
	CREATE INDEX ON app.plays (user_id)};
my @serve;
foreach my $preload ('kpxrec', '')
{
	my $node = PostgreSQL::Test::Cluster->new($preload ? 'shared_cache' : 'own_caches');
	$node->init;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = '$preload'");
	$node->start;
	$node->safe_psql('postgres', "CREATE ROLE app; CREATE EXTENSION kpxrec; $tables");
	my $name = $node->name;
	$node->safe_psql('postgres', "CREATE SUBSCRIPTION $name CONNECTION '" . $trains->connstr . " dbname=postgres' PUBLICATION events, kpxrec");
	push @serve, $node;
}

sub caught_up
{
	foreach my $node (@serve)
	{
		$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_subscription_rel WHERE srsubstate NOT IN ('r', 's')") or die $node->name;
		$trains->wait_for_catchup($node->name);
	}
}

my $more = q{SELECT * FROM kpx_similar(3, 'courses', 5);
	SELECT * FROM kpx_rules_for(3, 'courses', 5, true);
	SELECT u, segment, label FROM generate_series(1, 9) u, kpx_segment_of(u, 'groups');
	SELECT u, rank, module, item_id, expected_value FROM generate_series(1, 5) u, kpx_recommend_slate(u, ARRAY['courses', 'videos'], 5, log => false);
	SELECT u, rank, item_id, score FROM generate_series(1, 5) u, kpx_recommend(u, 'courses', 4, model => 2);
	SELECT * FROM kpx_user_profile(3);
	SELECT * FROM kpx_audience(3, 'courses', 5);
	SELECT model, name, version, modules, active_for, status, traffic, loss FROM kpx_models ORDER BY 1;
	SELECT module, items, item_id, active_model FROM kpx_modules ORDER BY 1; SELECT * FROM kpx_event_sources ORDER BY 1;
	SELECT * FROM kpx_rules ORDER BY modules, antecedent, consequent};

my $last = '';
sub agree
{
	my ($what) = @_;
	caught_up();
	my $said = answers($trains) . $trains->safe_psql('postgres', $more);
	ok($said ne $last, "$what: the answers are others");
	is(answers($_) . $_->safe_psql('postgres', $more), $said, "$what: $_->{_name} answers the same") foreach @serve;
	$last = $said;
}

agree('as it was copied');
my $n = scalar(split /\n/, $trains->safe_psql('postgres', $more));
cmp_ok($n, '>', 80, "rules, segments and slates too ($n rows)");

# sessions that have everything in their caches, and stay
my @sessions = map { { node => $_, in => '', out => '' } } @serve;
foreach my $s (@sessions)
{
	$s->{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $s->{node}->connstr('postgres') ], '<', \$s->{in}, '>', \$s->{out}, '2>&1', IPC::Run::timeout(180));
}
sub said_by
{
	my ($s) = @_;
	$s->{out} = '';
	$s->{in} .= "SELECT r.rank, r.item_id, r.score FROM generate_series(1, 5) u, kpx_recommend(u, 'courses', 3) r;\nSELECT segment FROM kpx_segment_of(3, 'groups');\n\\echo end\n";
	$s->{run}->pump until $s->{out} =~ /end\n/;
	return $s->{out} =~ s/end\n//r;
}
my $before;
sub sessions_see
{
	my ($what) = @_;
	caught_up();
	my $now = $trains->safe_psql('postgres', "SELECT r.rank, r.item_id, r.score FROM generate_series(1, 5) u, kpx_recommend(u, 'courses', 3) r;\nSELECT segment FROM kpx_segment_of(3, 'groups');\n") . "\n";
	isnt($now, $before, "$what changes the answers") if defined $before;
	is(said_by($_), $now, "$what: a session of $_->{node}->{_name} sees it") foreach @sessions;
	$before = $now;
}
sessions_see('at first');
$trains->safe_psql('postgres', "INSERT INTO app.plays SELECT 1, 'v' || n FROM generate_series(2, 50, 5) n");
agree('new events');
sessions_see('new events');
$trains->safe_psql('postgres', "SELECT kpx_train(ARRAY['courses', 'videos'], params => '{\"factors\": 8, \"seed\": 2}')");
sessions_see('a model that was trained and activated');
agree('a new model');
$trains->safe_psql('postgres', q{SELECT kpx_rollback('{courses}')});
sessions_see('going back');
$trains->safe_psql('postgres', q{SELECT kpx_set_traffic(2, 0.5)});
sessions_see('a challenger');
agree('a challenger');
$trains->safe_psql('postgres', q{SELECT kpx_set_traffic(2, 0), kpx_mine_rules(ARRAY['courses', 'videos'], 5, 0.1, 2), kpx_cluster('groups', ARRAY['courses', 'videos'], 2), kpx_set_policy(params => '{"lambda": 0.9}')});
agree('rules, segments and a policy anew');
$trains->safe_psql('postgres', q{INSERT INTO app.courses VALUES (1000); INSERT INTO app.enrolments SELECT u, 1000, '2026-01-02 00:00+00' FROM generate_series(6, 200) u; SELECT kpx_update_items('courses')});
agree('an item that a model has learnt since');
sessions_see('an item that a model has learnt since');
$trains->safe_psql('postgres', q{SELECT kpx_require_consent('courses', 'videos', true), kpx_require_consent('videos', 'courses', true)});
agree('consent that is required');
sessions_see('consent that is required');
$trains->safe_psql('postgres', q{SELECT kpx_set_consent(3, 'videos', 'courses')});
agree('consent that was given');
$trains->safe_psql('postgres', q{SELECT kpx_drop_model(2), kpx_drop_events(2)});
caught_up();
is($_->safe_psql('postgres', 'SELECT model FROM kpx_models ORDER BY 1; SELECT source_id FROM kpx_event_sources'), "1\n3\n3", "$_->{_name}: a model and a source that were dropped are gone") foreach @serve;
is($_->safe_psql('postgres', "SELECT count(*) FROM kpx_recommend_slate(3, ARRAY['courses'], 3, log => true)"), 3, "$_->{_name} logs its slates") foreach @serve;
is($_->safe_psql('postgres', q{SELECT count(*) FROM (SELECT kpx_feedback(slate_id, item_id, 'click') FROM kpx.impression WHERE rank = 1) f}), 1, "$_->{_name} takes feedback on them") foreach @serve;
$_->{run}->finish foreach map { $_->{in} .= "\\q\n"; $_ } @sessions;

# another cluster, with modules of its own registration and other numbers, gets a model as one value
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init;
$other->start;
$other->safe_psql('postgres', "CREATE EXTENSION kpxrec; $tables; CREATE TABLE app.songs (id int)");
foreach my $table ('courses', 'videos', 'enrolments', 'plays')
{
	my $rows = $trains->safe_psql('postgres', "COPY app.$table TO STDOUT");
	$other->safe_psql('postgres', "COPY app.$table FROM STDIN;\n$rows\n\\.\n");
}
$other->safe_psql('postgres', q{SELECT kpx_add_module('songs', 'app.songs', 'id'), kpx_add_module('videos', 'app.videos', 'id'), kpx_add_module('courses', 'app.courses', 'id'),
	kpx_add_events('videos', 'app.plays', 'view', 'user_id', 'video_id')} . "; $times");
my $model = $trains->safe_psql('postgres', "SELECT kpx_add_events('videos', 'app.plays', 'view', 'user_id', 'video_id') \\g /dev/null
	SELECT kpx_require_consent('courses', 'videos', false), kpx_require_consent('videos', 'courses', false), kpx_activate(3) \\g /dev/null
	SELECT encode(kpx_export_model(3), 'base64')");
$other->safe_psql('postgres', "SELECT kpx_activate(kpx_import_model(decode('$model', 'base64')))");
is(answers($other), answers($trains), 'a model that came as one value answers the same there');
unlike(slurp_file($_->logfile), qr/PANIC|TRAP|XX000|terminated by signal 11/, "no crash of $_->{_name}") foreach $trains, @serve, $other;
$_->stop foreach @serve, $trains, $other;
done_testing();
