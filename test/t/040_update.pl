# ALTER EXTENSION kpxrec UPDATE while a job runs and the scheduler is up: it waits for neither, and jobs go on afterwards.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = job_node('node');
$node->start;
job_platform($node, 4000, 2000, 20);
my $version = $node->safe_psql('postgres', 'SELECT library FROM kpx_version()');

# a version that comes next and changes every table, the way back, and one whose script fails; the server's files are a copy of this run's
my $alter = q{SET LOCAL search_path = pg_catalog, pg_temp;
DO $$ DECLARE t regclass; BEGIN
	FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'kpx'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition LOOP
		EXECUTE format('ALTER TABLE %s %s', t, 'CHANGE');
	END LOOP;
END $$;
};
my %scripts = ("$version--next" => $alter =~ s/CHANGE/ADD COLUMN of_next integer NOT NULL DEFAULT 1/r,
	"next--$version" => $alter =~ s/CHANGE/DROP COLUMN of_next/r, "$version--broken" => $alter =~ s/CHANGE/ADD COLUMN of_next integer/r . 'SELECT 1 / 0;');
my $directory = $node->config_data('--sharedir') . '/extension';
PostgreSQL::Test::Utils::append_to_file("$directory/kpxrec--$_.sql", $scripts{$_}) foreach keys %scripts;

as_app($node, q{SELECT kpx_schedule('long', 'train', '} . LONG . q{', every => '1 day', max_retries => 3), kpx_schedule('often', 'attribute', every => '1 second')});
my $computing = "SELECT count(*) = 1 FROM kpx_job_runs r JOIN kpx_stat_progress p USING (pid) WHERE r.job = 'long' AND r.status = 'running' AND p.phase LIKE 'iter%'";
my $run = "SELECT max(run) FROM kpx_job_runs WHERE job = 'often' AND status = 'succeeded'";
my $schedulers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'kpxrec scheduler'";

sub goes_on
{
	my ($what) = @_;
	my $last = $node->safe_psql('postgres', "SELECT coalesce(($run), 0)");
	ok(wait_for($node, $what, "SELECT ($run) > $last"), $what);
	ok(wait_for($node, "$what: the training", $computing), 'a training that was ended starts again');
}

sub update_to
{
	my ($to) = @_;
	my $began = time;
	my ($ret, $out, $err) = $node->psql('postgres', "ALTER EXTENSION kpxrec UPDATE TO '$to'");
	my $seconds = time - $began;
	diag(sprintf('ALTER EXTENSION kpxrec UPDATE TO %s took %.0f ms', $to, 1000 * $seconds));
	cmp_ok($seconds, '<', 10, "the update to $to waits for no training and no scheduler");
	return $err;
}

goes_on('jobs run before');
is($node->safe_psql('postgres', $schedulers), 1, 'the scheduler is up');
is(update_to('next'), '', 'the update changes every table');
is($node->safe_psql('postgres', "SELECT status || ' ' || sqlstate FROM kpx.job_run WHERE job = 'long' ORDER BY id DESC LIMIT 1"), 'failed 57P01', 'the training was ended');
wait_for($node, 'the scheduler leaves', $schedulers, 0);
like(slurp_file($node->logfile), qr/kpxrec runs no jobs: its library is version \Q$version\E, the extension in this database version next/, 'no job runs where the extension is not of the library\'s version, and the log says why');
my ($ret, $out, $err) = $node->psql('postgres', "SELECT * FROM kpx_recommend(1, 'courses')");
like($err, qr/the kpxrec library is version \Q$version\E, the extension in this database is version next/, 'who asks is told');
is(update_to($version), '', 'the next update leads to the version of the library');
goes_on('jobs run again, without a restart');
like(update_to('broken'), qr/division by zero/, 'an update that fails');
is($node->safe_psql('postgres', "SELECT extension FROM kpx_version()"), $version, 'changes nothing');
goes_on('jobs run after it');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|XX000|terminated by signal 11/, 'no crash');
$node->stop;
done_testing();
