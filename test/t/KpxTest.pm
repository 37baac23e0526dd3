# Two modules and a training set of a chosen size, for tests that need a cluster of their own.
package KpxTest;
use strict;
use warnings;
use Exporter 'import';
use IPC::Run ();
our @EXPORT = qw(platform answers start_psql job_node job_platform as_app wait_for LONG);

# Users like the items of their own group; deterministic.
sub platform
{
	my ($node, $users, $items, $per_user) = @_;
	$node->safe_psql('postgres', qq{
		CREATE EXTENSION kpxrec;
		SELECT kpx_grant('public', 'train'); -- roles of the tests; attack.sql is about less
		CREATE SCHEMA app;
		CREATE TABLE app.courses (id int PRIMARY KEY);
		CREATE TABLE app.videos (id text PRIMARY KEY);
		INSERT INTO app.courses SELECT generate_series(1, $items);
		INSERT INTO app.videos SELECT 'v' || generate_series(1, $items);
		CREATE TABLE app.enrolments AS SELECT u AS user_id, 1 + (u % 5 + 5 * ((u * 7919 + n * 104729) % ($items / 5)))::int AS course_id
			FROM generate_series(1, $users) u, generate_series(1, $per_user) n;
		CREATE TABLE app.plays AS SELECT u AS user_id, 'v' || 1 + (u % 5 + 5 * ((u * 6271 + n * 7907) % ($items / 5)))::int AS video_id
			FROM generate_series(1, $users) u, generate_series(1, $per_user) n;
		CREATE INDEX ON app.enrolments (user_id);
		CREATE INDEX ON app.plays (user_id);
		ANALYZE;
		SELECT kpx_add_module('courses', 'app.courses', 'id');
		SELECT kpx_add_module('videos', 'app.videos', 'id');
		SELECT kpx_add_events('courses', 'app.enrolments', 'purchase', 'user_id', 'course_id');
		SELECT kpx_add_events('videos', 'app.plays', 'view', 'user_id', 'video_id');
	});
}

# What some users are told, as one string.
sub answers
{
	my ($node, $database) = @_;
	return $node->safe_psql($database // 'postgres', q{
		SELECT u, r.rank, r.item_id, r.score, r.reason FROM generate_series(1, 5) u, kpx_recommend(u, 'courses', 4) r
		UNION ALL SELECT u, r.rank, r.item_id::int, r.score, r.reason
		FROM generate_series(1, 5) u, LATERAL (SELECT rank, substr(item_id, 2) AS item_id, score, reason FROM kpx_recommend(u, 'videos', item_type => NULL::text, k => 4)) r
		ORDER BY 1, 2, 3, 5});
}

# A cluster with the background worker.
sub job_node
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(%options);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'kpxrec'\nkpxrec.job_retry_delay = 1\nmax_worker_processes = 12\n"
		. "kpxrec.min_parallel_interactions = 1000000000\ntimezone = 'UTC'\nlog_line_prefix = '%m [%p] %b '\n");
	return $node;
}

# Role app owns two modules whose events have times, and may have jobs.
sub job_platform
{
	my ($node, $users, $items, $per_user) = @_;
	$node->safe_psql('postgres', 'CREATE ROLE app LOGIN');
	platform($node, $users, $items, $per_user);
	$node->safe_psql('postgres', q{
		SELECT kpx_drop_module('courses'); SELECT kpx_drop_module('videos');
		ALTER TABLE app.enrolments ADD at timestamptz DEFAULT now();
		UPDATE app.enrolments SET at = now() - interval '1 day' * random();
		ALTER SCHEMA app OWNER TO app;
		ALTER TABLE app.courses OWNER TO app; ALTER TABLE app.videos OWNER TO app;
		ALTER TABLE app.enrolments OWNER TO app; ALTER TABLE app.plays OWNER TO app;
		SELECT kpx_grant('app', 'train');
		SET ROLE app;
		SELECT kpx_add_module('courses', 'app.courses', 'id');
		SELECT kpx_add_module('videos', 'app.videos', 'id');
		SELECT kpx_add_events('courses', 'app.enrolments', 'purchase', 'user_id', 'course_id', occurred_at => 'at');
		SELECT kpx_add_events('videos', 'app.plays', 'view', 'user_id', 'video_id');
	});
}

sub as_app
{
	my ($node, $sql) = @_;
	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', 'app' ]);
}

# Until the query says so; dies with what it said last.
sub wait_for
{
	my ($node, $what, $sql, $expected) = @_;
	my $said;
	for (1 .. 600)
	{
		$said = $node->safe_psql('postgres', $sql);
		return 1 if $said eq ($expected // 't');
		select(undef, undef, undef, 0.1);
	}
	die "$what: waited in vain, the last answer was: $said\n" . $node->safe_psql('postgres', 'TABLE kpx_job_runs') . "\n" . $node->safe_psql('postgres', 'TABLE kpx_jobs');
}

# Arguments of a training that takes a minute or more.
use constant LONG => '{"modules": ["courses", "videos"], "name": "long", "params": {"factors": 128, "iterations": 1000}}';

# A psql that runs in the background; ->finish waits for it. Output goes to the two references.
sub start_psql
{
	my ($node, $sql, $out, $err) = @_;
	return IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'), '-c', $sql ],
		'>', $out, '2>', $err);
}
1;
