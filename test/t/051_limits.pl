# What a server can run out of (disk, memory, processes, temporary files, time to wait), and what changes between two statements.
# Each is a clean error of the right class, nothing is stored by half, the session goes on, and a second try works.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = job_node('node');
$node->append_conf('postgresql.conf', "kpxrec.jobs = off\nlog_min_messages = warning");
my $dir = PostgreSQL::Test::Utils::tempdir();
my $shim = "$dir/full.so";

# A disk that is full while a file of this name is there: files of relations do not grow, or are written, any more.
open(my $source, '>', "$dir/full.c") or die;
print $source <<'C';
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
static int full(int fd)
{
	char name[64], path[1024];
	ssize_t n;
	if (access("disk_is_full", F_OK) != 0) return 0;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	n = readlink(name, path, sizeof(path) - 1);
	if (n < 0) return 0;
	path[n] = '\0';
	if (!strstr(path, "/base/")) return 0;
	errno = ENOSPC;
	return 1;
}
ssize_t pwrite(int fd, const void *b, size_t n, off_t o)
{ static ssize_t (*f)(int, const void *, size_t, off_t); if (!f) f = dlsym(RTLD_NEXT, "pwrite"); return full(fd) ? -1 : f(fd, b, n, o); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o)
{ static ssize_t (*f)(int, const void *, size_t, off64_t); if (!f) f = dlsym(RTLD_NEXT, "pwrite64"); return full(fd) ? -1 : f(fd, b, n, o); }
ssize_t pwritev(int fd, const struct iovec *v, int n, off_t o)
{ static ssize_t (*f)(int, const struct iovec *, int, off_t); if (!f) f = dlsym(RTLD_NEXT, "pwritev"); return full(fd) ? -1 : f(fd, v, n, o); }
int posix_fallocate(int fd, off_t o, off_t n)
{ static int (*f)(int, off_t, off_t); if (!f) f = dlsym(RTLD_NEXT, "posix_fallocate"); return full(fd) ? ENOSPC : f(fd, o, n); }
C
close $source;
my $shimmed = system('gcc', '-shared', '-fPIC', '-O1', '-o', $shim, "$dir/full.c", '-ldl') == 0;
{
	local $ENV{LD_PRELOAD} = $shimmed ? $shim : '';
	$node->start;
}
job_platform($node, 3000, 2000, 10);
my $big = q{SELECT kpx_train(ARRAY['courses', 'videos'], params => '{"factors": 128, "iterations": 2}', name => 'big')};
my $small = q{SELECT kpx_train(ARRAY['courses', 'videos'], params => '{"factors": 8, "iterations": 2}', name => 'small')};
$node->safe_psql('postgres', $small);
my $before = answers($node);
my $stored = q{SELECT count(*) FROM kpx.model WHERE name = 'big' UNION ALL SELECT count(*) FROM kpx.model_block b WHERE NOT EXISTS (SELECT FROM kpx.model m WHERE m.id = b.model_id)};

# Statements in one session; what they said, errors as their codes.
sub session
{
	my (@statements) = @_;
	my ($script, $out) = (join(";\n", @statements) . ";\n", '');
	IPC::Run::run([ 'psql', '-XAtq', '-v', 'VERBOSITY=sqlstate', '-d', $node->connstr('postgres') ], '<', \$script, '>', \$out, '2>&1');
	return $out;
}

# disk full: 53100
SKIP:
{
	skip('no gcc', 4) unless $shimmed;
	append_to_file($node->data_dir . '/disk_is_full', '');
	like(session($big, 'SELECT 1'), qr/ERROR:  53100\n1\n\z/, 'disk full: an error of its own, the session goes on');
	unlink($node->data_dir . '/disk_is_full');
	is($node->safe_psql('postgres', $stored), "0\n0", 'nothing of the model is left');
	is(answers($node), $before, 'the model before answers');
	unlike(session($big, q{SELECT kpx_drop_model(model) FROM kpx_models WHERE name = 'big'}), qr/ERROR/, 'with room, it works');
	$node->safe_psql('postgres', q{SELECT kpx_activate(min(model)) FROM kpx_models});
}

# out of memory, wherever that is: 53200 from malloc, in every phase; the limit comes while the session is idle
SKIP:
{
	skip('no prlimit', 1) if system('prlimit --version >/dev/null 2>&1') != 0;
	my (%said, $odd);
	foreach my $what ($big, q{SELECT count(*) FROM kpx_cluster('groups', ARRAY['courses', 'videos'], 4)}, q{SELECT count(*) FROM kpx_mine_rules(ARRAY['courses', 'videos'], 20, 0.1, 2)},
		q{SELECT count(*) FROM kpx_recommend_slate(3, ARRAY['courses', 'videos'], 5, log => true)},
		q{SELECT count(*) FROM kpx_train('courses', algorithm => 'ease', name => 'e', activate => false)})
	{
		foreach my $room (ROOM())
		{
			my $script = "SELECT 1;\n\\set pid `cat /dev/null`\nSELECT pg_backend_pid() AS pid \\gset\n\\setenv PID :pid\n"
				. "\\! prlimit --pid \$PID --as=\$(( \$(awk '/VmSize/ { print \$2 }' /proc/\$PID/status) * 1024 + $room * 1024 )):\n"
				. "$what;\n\\! prlimit --pid \$PID --as=unlimited:\nSELECT 'alive';\n$stored;\n";
			my $out = session($script);
			my ($code) = $out =~ /ERROR:  (\w+)/;
			$said{ $code // 'done' }++;
			$odd .= "$room kB: $what\n$out\n" unless $out =~ /^alive\n/m && ($code // '53200') =~ /^53[12]00$/ && $out =~ /\n0\n\z/;
		}
	}
	is($odd, undef, 'out of memory: 53200 or done, never another error, never the end of the session');
	cmp_ok($said{53200} // 0, '>=', 5, 'and it was');
	diag(join(', ', map { "$_: $said{$_}" } sort keys %said));
}
sub ROOM { return $ENV{LONG} ? (map { 256 * 1.5**$_ } 0 .. 16) : (300, 3000, 12000, 40000) }
$node->safe_psql('postgres', q{SELECT kpx_drop_model(model) FROM kpx_models WHERE name IN ('big', 'e')});
$node->safe_psql('postgres', q{SELECT kpx_activate(min(model)) FROM kpx_models});

# temporary files: 53400
like(session("CREATE VIEW app.sorted AS SELECT user_id, course_id FROM (SELECT user_id, course_id, row_number() OVER (ORDER BY md5(user_id::text || course_id)) AS n FROM app.enrolments) e WHERE n > 0",
	q{SELECT kpx_add_module('sorted', 'app.courses', 'id'), kpx_add_events('sorted', 'app.sorted', 'view', 'user_id', 'course_id')},
	q{SET maintenance_work_mem = '1MB'; SET work_mem = '64kB'; SET kpxrec.memory_factor = 1000; SET temp_file_limit = '1MB'}, q{SELECT kpx_train('sorted')}, 'RESET temp_file_limit', q{SELECT count(*) FROM pg_ls_tmpdir()}, q{SELECT kpx_drop_module('sorted'); DROP VIEW app.sorted}),
	qr/ERROR:  53400\n0\n\s*\z/, 'temp_file_limit: refused, no file is left');

# somebody alters a source: waits no longer than lock_timeout, 55P03
my $other = $node->background_psql('postgres');
$other->query_safe('BEGIN; ALTER TABLE app.enrolments ADD note text;');
is(session(q{SET lock_timeout = '200ms'}, $big, q{SELECT * FROM kpx_recommend(3, 'courses', 3)}, 'SELECT 1'), "ERROR:  55P03\nERROR:  55P03\n1\n", 'lock_timeout while a source is altered: 55P03');
$other->query_safe('ROLLBACK');
$other->quit;
is($node->safe_psql('postgres', $stored), "0\n0", 'nothing is left');

# terminated: no model
my ($out, $err) = ('', '');
my $long = start_psql($node, q{SELECT kpx_train(ARRAY['courses', 'videos'], params => '{"factors": 128, "iterations": 1000, "tolerance": 0}', name => 'big')}, \$out, \$err);
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM kpx_stat_progress WHERE phase LIKE 'iter%'") or die;
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 10000) FROM kpx_stat_progress");
$long->finish;
like($err, qr/57P01|server closed the connection/, 'pg_terminate_backend ends a training');
is($node->safe_psql('postgres', $stored), "0\n0", 'and nothing of it is stored');
is($node->safe_psql('postgres', "SELECT count(*) FROM kpx_stat_progress"), 0, 'nor shown as running');

# transactions: what a session trained and took back; a table emptied just before; statements prepared before
is(session('BEGIN', 'SAVEPOINT s', $big =~ s/SELECT (.*)/SELECT count(*) FROM $1/r, 'ROLLBACK TO s', "SELECT count(*) FROM kpx_models WHERE name = 'big'", q{SELECT count(*) FROM kpx_recommend(3, 'courses', 3)}, 'COMMIT')
	=~ s/^NOTICE.*\n//rgm, "1\n0\n3\n", 'ROLLBACK TO takes a model back, the one before answers');
is(session('BEGIN', 'TRUNCATE app.plays', q{SELECT users, interactions FROM kpx_train('videos', name => 'empty', activate => false)}, 'ROLLBACK') =~ s/^NOTICE.*\n//rgm, "0|0\n",
	'a table emptied in the same transaction is empty');
is(session('BEGIN ISOLATION LEVEL SERIALIZABLE', q{SELECT users FROM kpx_train('courses', params => '{"factors": 4, "iterations": 1}', name => 'big', activate => false)}, 'ROLLBACK') =~ s/^NOTICE.*\n//rgm, "3000\n",
	'training at SERIALIZABLE');
my $prepared = session(q{PREPARE p AS SELECT DISTINCT reason FROM kpx_recommend(3, 'courses', 3)}, 'EXECUTE p',
	q{SELECT interactions > 0 FROM kpx_train('courses', algorithm => 'popular', name => 'p')}, 'EXECUTE p',
	'ALTER TABLE app.enrolments RENAME course_id TO c', 'EXECUTE p', 'ALTER TABLE app.enrolments RENAME c TO course_id', 'EXECUTE p',
	'ALTER TABLE app.enrolments ALTER user_id TYPE numeric', 'EXECUTE p');
my ($old, $new) = (split /\n/, $prepared)[0, 2];
isnt($new, $old, 'a prepared statement is answered by the new model');
is($prepared, "$old\nt\n$new\nERROR:  42703\n$new\nERROR:  42804\n", 'and sees a renamed column (42703), its old name again, a column of another type (42804)');
$node->safe_psql('postgres', q{DROP TABLE app.enrolments CASCADE});
like(session(q{SELECT count(*) FROM kpx_recommend(3, 'courses', 3)}, q{SELECT kpx_train('courses')}), qr/^ERROR:  42P01\nERROR:  42P01\n\z/, 'a source that is gone: 42P01');
$node->safe_psql('postgres', q{SELECT kpx_drop_events(source_id) FROM kpx_event_sources WHERE module = 'courses'; SELECT kpx_activate(min(model)) FROM kpx_models});

# no background process at all: sessions do everything alone, jobs wait, and kpx_health says so
my $videos = q{SELECT rank, item_id, score FROM kpx_recommend(3, 'videos', item_type => NULL::text, k => 4)};
$before = $node->safe_psql('postgres', $videos);
$node->append_conf('postgresql.conf', "max_worker_processes = 0\nkpxrec.jobs = on\nkpxrec.min_parallel_interactions = 0");
$node->restart;
is($node->safe_psql('postgres', $videos), $before, 'max_worker_processes = 0: it answers');
like(session("\\set VERBOSITY default\n" . q{SELECT users FROM kpx_train('videos', params => '{"factors": 4}', name => 'alone', activate => false)}), qr/NOTICE:  training in one process: no parallel worker is free\n.*^3000$/ms,
	'and trains, in one process');
is($node->safe_psql('postgres', q{SELECT string_agg(fault, ', ') FROM kpx_health() WHERE fault ~ 'worker'}), 'too few worker slots', 'kpx_health says that there are too few');

# settings of the session change nothing of what is computed
my $trained = q{SELECT round(loss::numeric, 3), interactions FROM kpx_train('videos', params => '{"factors": 4}', name => 'set', activate => false)};
my @strange = (q{SET datestyle = 'German'; SET intervalstyle = 'sql_standard'; SET bytea_output = 'escape'; SET extra_float_digits = -5; SET quote_all_identifiers = on; SET timezone = 'Asia/Kathmandu'},
	'SET standard_conforming_strings = off; SET escape_string_warning = off; SET backslash_quote = off; SET array_nulls = off');
is(session(@strange, 'SET extra_float_digits = 1', $videos, $trained), session($videos, $trained), 'strange settings: the same answers, the same model');
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|XX000|terminated by signal/, 'nothing crashed');
$node->stop;
done_testing();
