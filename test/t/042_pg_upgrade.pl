# pg_upgrade, to this version of PostgreSQL from the same one, or from the older one in OLD_INSTALL (where kpxrec is installed too); and a base backup
# that becomes a cluster of its own.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $older = $ENV{OLD_INSTALL};
my $old = PostgreSQL::Test::Cluster->new('old', $older ? (install_path => $older) : ());
my @options = ('-k', '--encoding=UTF8', '--locale=C'); # checksums: the default of PostgreSQL 18
$old->init(allows_streaming => 1, extra => \@options);
# preloaded, jobs allowed and due all the time: pg_upgrade starts both servers, and no job may run then
my $settings = "shared_preload_libraries = 'kpxrec'\ntimezone = 'UTC'\nkpxrec.job_retry_delay = 1\n";
$old->append_conf('postgresql.conf', $settings);
$old->start;
job_platform($old, 200, 50, 6);
as_app($old, q{SELECT kpx_train(ARRAY['courses', 'videos'], params => '{"factors": 8, "iterations": 5}'), kpx_train('courses', algorithm => 'ease', name => 'links', activate => false),
		kpx_mine_rules(ARRAY['courses', 'videos'], 10, 0.1, 2), kpx_cluster('groups', ARRAY['courses', 'videos'], 3), kpx_set_policy(params => '{"lambda": 0.5}');
	SELECT count(*) FROM generate_series(1, 20) u, kpx_recommend_slate(u, ARRAY['courses', 'videos'], 3, log => true);
	SELECT kpx_schedule('often', 'attribute', every => '1 second')});
$old->safe_psql('postgres', "SELECT kpx_feedback(slate_id, item_id, 'click') FROM kpx.impression WHERE rank = 1");
wait_for($old, 'a run', "SELECT count(*) > 0 FROM kpx_job_runs WHERE status = 'succeeded'");
$old->safe_psql('postgres', "ALTER SYSTEM SET kpxrec.jobs = off; SELECT pg_reload_conf()");
wait_for($old, 'no run', "SELECT count(*) = 0 FROM kpx_job_runs WHERE status = 'running'");
$old->safe_psql('postgres', "SELECT pg_sleep(1.5); ALTER SYSTEM RESET ALL");

my $state = q{SELECT u, r.* FROM generate_series(1, 9) u, kpx_recommend(u, 'courses', 4) r; SELECT u, r.* FROM generate_series(1, 9) u, kpx_recommend(u, 'courses', 4, model => 2) r;
	SELECT rank, item_id, score, reason FROM kpx_recommend(3, 'videos', NULL::text, 4); SELECT * FROM kpx_similar(3, 'courses', 5); SELECT * FROM kpx_rules_for(3, 'courses', 5, true);
	SELECT u, segment FROM generate_series(1, 9) u, kpx_segment_of(u, 'groups'); SELECT * FROM kpx_user_profile(3);
	SELECT * FROM kpx_models ORDER BY model; SELECT * FROM kpx_modules ORDER BY module; SELECT * FROM kpx_event_sources ORDER BY source_id; SELECT * FROM kpx_rules ORDER BY modules, antecedent, consequent;
	SELECT slate_id, rank, item_id, propensity FROM kpx.impression ORDER BY 1, 2; SELECT slate_id, rank, kind FROM kpx.feedback ORDER BY 1, 2; SELECT count(*) FROM kpx.job_run};
my $before = $old->safe_psql('postgres', $state);
cmp_ok(scalar(split /\n/, $before), '>', 200, 'the old cluster has models, rules, segments, slates and feedback');

# a base backup that is started as what it is
$old->backup('copy');
my $copy = PostgreSQL::Test::Cluster->new('copy', $older ? (install_path => $older) : ());
$copy->init_from_backup($old, 'copy');
$copy->append_conf('postgresql.conf', 'kpxrec.jobs = off');
$copy->start;
is($copy->safe_psql('postgres', $state), $before, 'a base backup answers the same');
is(as_app($copy, "SELECT model FROM kpx_train('courses', params => '{\"factors\": 4}')"), 3, 'and trains on');
$copy->stop;
$old->stop;

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init(extra => \@options);
$new->append_conf('postgresql.conf', $settings);
my $bin = $new->config_data('--bindir');
my $old_bin = $older ? "$older/bin" : $bin;
command_ok([ "$bin/pg_upgrade", '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $old_bin, '-B', $bin, '-s', $new->host, '-p', $old->port, '-P', $new->port ], 'pg_upgrade');
$new->append_conf('postgresql.conf', 'kpxrec.jobs = off');
$new->start;
is($new->safe_psql('postgres', $state), $before, 'the same answers, models, registrations, rules, slates and feedback; no job has run meanwhile');
is($new->safe_psql('postgres', 'SELECT library = extension FROM kpx_version()'), 't', 'the library is of the version of the extension');
is(as_app($new, "SELECT model FROM kpx_train('courses', params => '{\"factors\": 4}')"), 3, 'training numbers on');
is(as_app($new, "SELECT count(*) FROM kpx_recommend_slate(4, ARRAY['courses'], 2, log => true)"), 2, 'slates are logged on');
$new->append_conf('postgresql.conf', 'kpxrec.jobs = on');
$new->reload;
my $runs = $new->safe_psql('postgres', 'SELECT max(run) FROM kpx_job_runs');
ok(wait_for($new, 'jobs to be paused', "SELECT status = 'paused' AND paused_because ~ 'elsewhere' FROM kpx_jobs"), 'jobs wait: a cluster that was upgraded might be a trial');
as_app($new, 'SELECT kpx_resume()');
ok(wait_for($new, 'a run', "SELECT count(*) > 0 FROM kpx_job_runs WHERE run > $runs AND status = 'succeeded'"), 'jobs go on');
unlike(slurp_file($_->logfile), qr/PANIC|TRAP|XX000|terminated by signal 11/, "no crash of $_->{_name}") foreach $old, $copy, $new;
$new->stop;
done_testing();
