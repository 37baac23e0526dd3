# Errors, exhausted memory and crashes at every place of src/pg/fault.h: what was committed before stays, nothing is there by
# half, and the same statement then works. LONG=1 crashes at every place, three times; else errors are raised at every place, and crashes happen at some.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{LONG} ? 3 : 1;
my $node = job_node('node');
$node->append_conf('postgresql.conf', "fsync = on\nrestart_after_crash = off\nkpxrec.jobs = off\nmax_parallel_maintenance_workers = 1\nkpxrec.min_parallel_interactions = 0\n"
	. "dynamic_shared_memory_type = mmap\nautovacuum = off\nkpxrec.job_retry_delay = 1\nshared_buffers = 32MB");
$node->start;
job_platform($node, 60, 40, 6);
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_visibility; CREATE EXTENSION amcheck;
	SELECT kpx_train(ARRAY['courses', 'videos'], params => '{"factors": 4}', name => 'first');
	SELECT kpx_train(ARRAY['courses', 'videos'], params => '{"factors": 4, "seed": 2}', name => 'second');
	SELECT kpx_create_recommendation_view('courses', 3, 'app.top');
	SELECT kpx_set_policy('videos', format('{"budget": {"impressions": 100000, "from": "%s", "to": "%s"}}', now() - interval '30 days', now() + interval '10 days')::jsonb);
	CREATE PROCEDURE public.old_month() LANGUAGE plpgsql AS $$ BEGIN
		IF to_regclass('kpx.slate_202001') IS NULL THEN
			CREATE TABLE kpx.slate_202001 (LIKE kpx.slate); CREATE TABLE kpx.impression_202001 (LIKE kpx.impression);
			ALTER TABLE kpx.slate ATTACH PARTITION kpx.slate_202001 FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-02-01 00:00+00');
			ALTER TABLE kpx.impression ATTACH PARTITION kpx.impression_202001 FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-02-01 00:00+00');
		END IF; END $$;
	CREATE PROCEDURE public.no_month() LANGUAGE plpgsql AS $$ DECLARE p regclass; BEGIN
		FOR p IN SELECT inhrelid FROM pg_inherits WHERE inhparent IN ('kpx.slate'::regclass, 'kpx.impression'::regclass) LOOP EXECUTE 'DROP TABLE ' || p; END LOOP;
		DELETE FROM kpx.feedback; END $$;
	-- whatever points nowhere, or is there without its other half
	CREATE FUNCTION public.halves() RETURNS bigint LANGUAGE sql AS $$ SELECT
		(SELECT count(*) FROM kpx.active_model a WHERE NOT EXISTS (SELECT FROM kpx.model m WHERE m.id = a.model_id)) +
		(SELECT count(*) FROM kpx.model_block b WHERE NOT EXISTS (SELECT FROM kpx.model m WHERE m.id = b.model_id)) +
		(SELECT count(*) FROM kpx.model m WHERE NOT EXISTS (SELECT FROM kpx.model_block b WHERE m.id = b.model_id)) +
		(SELECT count(*) FROM kpx.activation a WHERE NOT EXISTS (SELECT FROM kpx.model m WHERE m.id = a.model_id)) +
		(SELECT count(*) FROM kpx.slate s WHERE NOT EXISTS (SELECT FROM kpx.impression i WHERE i.slate_id = s.slate_id)) +
		(SELECT count(*) FROM kpx.impression s WHERE NOT EXISTS (SELECT FROM kpx.slate i WHERE i.slate_id = s.slate_id)) +
		(SELECT count(*) FROM kpx.feedback f WHERE NOT EXISTS (SELECT FROM kpx.impression i WHERE i.slate_id = f.slate_id AND i.rank = f.rank)) +
		(SELECT count(*) FROM kpx.segmentation g WHERE NOT EXISTS (SELECT FROM kpx.segment s WHERE s.segmentation_id = g.id)) +
		(SELECT count(*) FROM kpx.rule_set g WHERE g.rules > 0 AND NOT EXISTS (SELECT FROM kpx.rule s WHERE s.set_id = g.id)) +
		abs((SELECT count(*) FROM pg_inherits WHERE inhparent = 'kpx.slate'::regclass) - (SELECT count(*) FROM pg_inherits WHERE inhparent = 'kpx.impression'::regclass)) +
		(SELECT count(*) FROM kpx_health(deep => true) WHERE fault = 'model cannot be used') +
		(SELECT count(*) FROM kpx_models m WHERE length(kpx_export_model(m.model)) < 100) $$});

# A statement, the places it passes, and what is needed before it each time.
my $train = q{SELECT kpx_train(ARRAY['courses', 'videos'], params => '{"factors": 4}', name => 'new')};
my $slate = q{SELECT count(*) FROM kpx_recommend_slate(3, ARRAY['courses', 'videos'], 2, log => true)};
my @cases = (
	[ $train, '', 'read', 'compute', 'iterate', 'iterate:2', 'worker', 'model row', 'block', 'block:7', 'stored', 'lock', 'activation', 'active' ],
	[ q{SELECT kpx_activate(min(model)) FROM kpx_models}, '', 'activation' ],
	[ q{SELECT kpx_rollback(ARRAY['courses'])}, q{SELECT kpx_activate(min(model)), kpx_activate(max(model)) FROM kpx_models}, 'rollback' ],
	[ q{SELECT kpx_drop_model(max(model)) FROM kpx_models WHERE name = 'spare'}, q{SELECT kpx_train('courses', params => '{"factors": 4}', name => 'spare', activate => false)}, 'delete:1', 'delete:5' ],
	[ $slate, 'CALL no_month()', 'partition', 'partition:2' ],
	[ $slate, '', 'slate', 'impressions', 'spend' ],
	[ q{SELECT kpx_feedback(s.slate_id, i.item_id, 'dismiss_item') FROM kpx.slate s JOIN kpx.impression i USING (slate_id) ORDER BY s.slate_id DESC LIMIT 1}, $slate, 'feedback' ],
	[ 'SELECT kpx_attribute()', 'DELETE FROM app.enrolments WHERE user_id = 3; ' . $slate . q{; INSERT INTO app.enrolments (user_id, course_id, at) SELECT user_id::int, item_id::int, clock_timestamp() FROM kpx.impression WHERE item_id !~ 'v' ORDER BY slate_id DESC LIMIT 1},
		'attribute', 'rates' ],
	[ q{SELECT kpx_expire_impressions('1 year')}, 'CALL old_month()', 'expire' ],
	[ q{SELECT kpx_forget_user(7)}, '', 'bury' ],
	[ q{SELECT kpx_cluster('groups', ARRAY['courses', 'videos'], 2, '{"members": 1}')}, '', 'members' ],
	[ q{SELECT kpx_mine_rules(ARRAY['courses', 'videos'], 5, 0.1, 2)}, '', 'rules' ],
	[ q{SELECT kpx_refresh_recommendations('courses')}, '', 'refresh' ],
	[ q{SELECT kpx_set_policy(params => '{"lambda": 0.5}')}, '', 'policy' ],
	[ q{SELECT count(*) FROM kpx_item_factors('courses', NULL::int, (SELECT max(model) FROM kpx_models))}, $train =~ s/name =>/activate => false, name =>/r, 'attach', 'publish' ]);
# crashes take a second each, so without LONG only at these
my %crash = map { $_ => 1 } ('worker', 'block:7', 'stored', 'activation', 'active', 'rollback', 'delete:5', 'partition:2', 'slate', 'rates', 'expire', 'bury', 'members', 'rules', 'refresh', 'publish');
my %visited;
my $dsm = sub { return scalar(grep { !/^\.\.?$/ } do { opendir(my $d, $node->data_dir . '/pg_dynshmem') or die; readdir $d }) };
my $set = sub {
	my ($fault) = @_;
	my ($place, $n) = $fault =~ /^([^:]*)(:\d+)?$/;
	return sub { "$place:$_[0]" . ($n // '') };
};

# errors and exhausted memory: the session goes on, holds nothing, and does it the second time
my $left = q{SELECT (SELECT count(*) FROM pg_locks WHERE locktype IN ('advisory', 'tuple', 'transactionid') OR (locktype = 'relation' AND mode <> 'AccessShareLock')),
	(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'), (SELECT count(*) FROM pg_ls_tmpdir()), halves()};
foreach my $case (@cases)
{
	my ($statement, $before, @places) = @$case;
	my $script = '';
	foreach my $place (@places)
	{
		$visited{ $place =~ s/:\d+$//r } = 1;
		foreach my $action ('error', 'oom')
		{
			my $fault = $set->($place)->($action);
			# a session that has not read the model before publishes or attaches it
			$script .= "$before;\nSET kpxrec.fault = '$fault';\n" . ($statement =~ /kpx_item_factors/ ? "\\c - -\nSET kpxrec.fault = '$fault';\n" : '') .
				"\\echo fault $fault\n$statement;\nRESET kpxrec.fault;\n$left;\n\\echo again\n$statement;\n";
		}
	}
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'psql', '-XAtq', '-v', 'VERBOSITY=sqlstate', '-d', $node->connstr('postgres') ], '<', \$script, '>', \$out, '2>&1');
	foreach my $part (split /^fault /m, $out)
	{
		next unless $part =~ /^(\S.*?):(error|oom)(:\d+)?\n/;
		my ($name, $expected) = ("$1:$2" . ($3 // ''), $2 eq 'oom' ? '53200' : '58030');
		my ($failed, $then) = split /^again\n/m, $part;
		like($failed, qr/ERROR:  $expected\n0\|0\|0\|0\n\z/, "$name: raised, and nothing is left") or diag($part);
		unlike($then // 'ERROR', qr/ERROR|server closed/, "$name: the same session does it then") or diag($part);
	}
}
answers($node);
my $segments = $dsm->();
$node->safe_psql('postgres', q{SELECT kpx_drop_model(model) FROM kpx_models WHERE name = 'new' AND NOT status = 'active'});

# without shared memory: in one process
my ($ret, $out, $err) = $node->psql('postgres', "SET kpxrec.fault = 'segment:error'; $train");
like($err, qr/NOTICE:  training in one process: \d+ MB of shared memory are not to be had/, 'no shared memory: it trains in one process');
is($ret, 0, 'and succeeds');
is($node->safe_psql('postgres', "SET kpxrec.fault = 'segment:error:1'; SELECT count(*) FROM kpx_item_factors('courses', NULL::int, (SELECT max(model) FROM kpx_models))"), 40,
	'and a model is read by this session alone');
$visited{segment} = 1;

# crashes
sub state
{
	return $node->safe_psql('postgres', q{SELECT (SELECT string_agg(id || ' ' || name, ',' ORDER BY id) FROM kpx.model), (SELECT string_agg(module_id || ' ' || model_id, ',' ORDER BY module_id) FROM kpx.active_model),
		(SELECT count(*) FROM kpx.impression), (SELECT count(*) FROM kpx.feedback), (SELECT count(*) FROM kpx.item_rate), (SELECT count(*) FROM kpx.forgotten), (SELECT max(id) FROM kpx.policy WHERE active),
		(SELECT count(*) FROM kpx.segment_member), (SELECT count(*) FROM kpx.rule), (SELECT count(*) FROM kpx.dismissal)});
}

# After a crash: once the postmaster has ended, too; first with this setting.
sub recover
{
	my ($setting) = @_;
	for (1 .. 300)
	{
		last unless -e $node->data_dir . '/postmaster.pid';
		select(undef, undef, undef, 0.1);
	}
	ok(!-e $node->data_dir . '/postmaster.pid', 'the server is gone');
	$node->stop('immediate', fail_ok => 1);
	append_to_file($node->data_dir . '/postgresql.auto.conf', "$setting\n") if $setting;
	$node->start;
}

foreach my $round (1 .. $rounds)
{
	foreach my $case (@cases)
	{
		my ($statement, $before, @places) = @$case;
		foreach my $place (grep { $ENV{LONG} || $crash{$_} } @places)
		{
			my $fault = $set->($place)->('crash');
			$node->safe_psql('postgres', $before) if $before;
			my $was = state();
			my $answers = answers($node);
			my ($ret, $out, $err) = $node->psql('postgres', ($statement =~ /kpx_item_factors/ ? '\c - -' . "\n" : '') . "SET kpxrec.fault = '$fault';\n$statement");
			like($err, qr/server closed the connection|terminating connection because of crash|connection to server was lost/, "$fault: the server is gone") or diag("$ret $out $err");
			recover();
			is(state(), $was, "$fault: recovered, everything is as before");
			is($node->safe_psql('postgres', 'SELECT halves()'), 0, "$fault: nothing by half, every model is readable");
			is(answers($node), $answers, "$fault: answered by the model before");
			$node->safe_psql('postgres', $statement);
		}
	}
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_class c, LATERAL bt_index_check(c.oid, true) WHERE relkind = 'i' AND relam = 403 AND relnamespace = 'kpx'::regnamespace}) > 10, 1, 'all indexes are sound');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_class c, LATERAL pg_check_visible(c.oid) WHERE relkind = 'r' AND relnamespace = 'kpx'::regnamespace}), 0, 'and visibility maps');
is($dsm->() <= $segments + 1, 1, 'no segment of shared memory is left');

# jobs: whatever dies, the run is found, and the next one works
$node->append_conf('postgresql.conf', 'kpxrec.jobs = on');
$node->reload;
as_app($node, q{INSERT INTO app.enrolments (user_id, course_id, at) SELECT u, 1 + u % 40, clock_timestamp() + interval '1 second' FROM generate_series(1, 60) u, generate_series(1, 3) n;
	SELECT kpx_schedule('t', 'train', '{"modules": ["courses", "videos"], "params": {"factors": 4}, "name": "job"}', every => '1 day', max_retries => 0)});
my $finished = 1;
my $until = sub { my ($what) = @_; wait_for($node, $what, "SELECT count(*) >= $finished AND count(*) FILTER (WHERE status = 'running') = 0 FROM kpx_job_runs WHERE job = 't'") };
$until->('the first run');
my $last = sub { $node->safe_psql('postgres', "SELECT concat_ws(' ', status, sqlstate) FROM kpx_job_runs WHERE job = 't' ORDER BY run DESC LIMIT 1") };
is($last->(), 'succeeded', 'a job succeeds');
# How a run ends with an error, and with a crash; those in brackets only in the long test.
my @places = (
	[ 'run started', '(lost 58000)', 'lost 58000' ],
	[ 'job taken', 'failed 57P01', '(lost 58000)' ],
	[ 'read', '(failed 58030)', '(lost 58000)' ],
	[ 'compute', '(failed 58030)', '(lost 58000)' ],
	[ 'judge', 'failed 58030', '(lost 58000)' ],
	[ 'block', '(failed 58030)', 'lost 58000' ],
	[ 'active', '(failed 58030)', '(lost 58000)' ],
	[ 'job done', '(failed 57P01)', '(lost 58000)' ],
	[ 'job told', '(succeeded)', 'succeeded' ]);
foreach my $which (@places)
{
	my ($place, @how) = @$which;
	$visited{$place} = 1;
	foreach my $crash (0, 1)
	{
		my $fault = "$place:" . ($crash ? 'crash' : 'error');
		next if $how[$crash] =~ s/^\((.*)\)$/$1/ && !$ENV{LONG};
		$finished++;
		$node->safe_psql('postgres', "ALTER SYSTEM SET kpxrec.fault = '$fault'");
		$node->reload;
		wait_for($node, 'the setting', "SELECT current_setting('kpxrec.fault') = '$fault'");
		$node->psql('postgres', "SELECT kpx_run_now('t')", extra_params => [ '-U', 'app' ]);
		if ($crash)
		{
			recover("kpxrec.fault = ''");
		}
		else
		{
			wait_for($node, $fault, "SELECT count(*) >= $finished FROM kpx_job_runs WHERE job = 't'");
			$node->safe_psql('postgres', 'ALTER SYSTEM RESET kpxrec.fault');
			$node->reload;
		}
		$until->("the end of the run after $fault");
		is($last->(), $how[$crash], "$fault: how the run ended is known");
		is($node->safe_psql('postgres', 'SELECT halves()'), 0, "$fault: nothing by half");
		as_app($node, "SELECT kpx_resume('t')");
		$finished++;
		as_app($node, "SELECT kpx_run_now('t')");
		$until->("the run after $fault");
		is($last->(), 'succeeded', "$fault: the next run succeeds");
	}
}
is(join(', ', grep { !$visited{$_} } split /\n/, $ENV{KPX_FAULT_POINTS} // ''), '', 'every place was visited');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|XX000|terminated by signal (?!9)/, 'nothing else died');
$node->stop;
done_testing();
