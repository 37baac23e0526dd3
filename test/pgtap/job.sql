-- job: what can be scheduled, what it refuses. Jobs that run are in test/t.
BEGIN;
SELECT plan(45);
\ir fixture.psql
CREATE ROLE job_owner LOGIN;
CREATE ROLE job_other LOGIN;
CREATE ROLE job_nologin;
GRANT EXECUTE ON FUNCTION kpx_schedule, kpx_alter_job, kpx_unschedule, kpx_run_now, kpx_pause, kpx_resume, kpx_attribute TO job_owner, job_other, job_nologin;
SELECT current_setting('shared_preload_libraries') ~ 'kpxrec' AS preloaded \gset

\if :preloaded
\else
-- without the background worker: an error that says what to set, and the line for pg_cron
SELECT throws_ok($$SELECT kpx_schedule('n', 'train', '{"modules": ["courses"]}', at => '02:30')$$, '55000',
	'jobs need the background worker of kpxrec, which is not there', 'not preloaded: refused');
CREATE FUNCTION pg_temp.hint(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE h text; BEGIN EXECUTE sql; EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS h = PG_EXCEPTION_HINT; RETURN h; END $$;
SELECT is(pg_temp.hint(c.sql), c.hint, c.sql) FROM (VALUES
	($$SELECT kpx_schedule('n', 'train', '{"modules": ["courses"], "margin": 0.1}', at => '02:30')$$,
	 $$Or have pg_cron do it: SELECT cron.schedule('n', '30 2 * * *', 'SELECT * FROM public.kpx_train(modules => ARRAY[''courses''])');$$),
	($$SELECT kpx_schedule('n''x', 'attribute', every => '5 minutes')$$,
	 $$Or have pg_cron do it: SELECT cron.schedule('n''x', '*/5 * * * *', 'SELECT * FROM public.kpx_attribute()');$$),
	($$SELECT kpx_schedule('n', 'refresh segments', '{"name": "a''b", "modules": ["courses"], "k": 3, "params": {"x": [1]}}', every => '7 days', at => '00:05')$$,
	 $$Or have pg_cron do it: SELECT cron.schedule('n', '5 0 * * 0', 'SELECT * FROM public.kpx_cluster(k => 3, name => ''a''''b'', params => ''{"x": [1]}'', modules => ARRAY[''courses''])');$$),
	($$SELECT kpx_schedule('n', 'attribute', every => '3 hours')$$,
	 $$Or have pg_cron do it: SELECT cron.schedule('n', '0 */3 * * *', 'SELECT * FROM public.kpx_attribute()');$$),
	($$SELECT kpx_schedule('n', 'expire impressions', '{"older_than": "1 year"}', every => '1 month')$$,
	 $$Or have pg_cron do it: SELECT cron.schedule('n', '0 3 1 * *', 'SELECT * FROM public.kpx_expire_impressions(older_than => ''1 year'')');$$)) c(sql, hint);
SELECT throws_ok($$SELECT kpx_run_now('n')$$, '55000', NULL, 'kpx_run_now likewise');
SELECT is(kpx_resume(), 0, 'kpx_resume works without');
SELECT pass('preloaded only') FROM generate_series(1, 36);
\endif

\if :preloaded
SET ROLE job_owner;
SELECT lives_ok($$SELECT kpx_schedule('nightly', 'attribute', at => '02:30', until => '05:00', time_zone => 'Europe/Berlin')$$, 'a nightly job');
SELECT is((SELECT (every, status, next_start AT TIME ZONE 'Europe/Berlin')::text ~ '^\("1 day",waiting,"\d+-\d+-\d+ 02:30:00"\)$' FROM kpx_jobs), true,
	'at alone is every day, at this local time');
SELECT throws_ok($$SELECT kpx_schedule('nightly', 'attribute', every => '1 day')$$, '42710', 'job "nightly" exists already', 'names are unique');
SELECT throws_ok(c.sql, c.code, c.message, c.sql) FROM (VALUES
	($$SELECT kpx_schedule(NULL, 'attribute', every => '1 day')$$, '22004', 'argument "name" must not be NULL'),
	($$SELECT kpx_schedule('x', NULL, every => '1 day')$$, '22004', 'argument "task" must not be NULL'),
	($$SELECT kpx_schedule('x', 'dance', every => '1 day')$$, '22023', 'task "dance" is not known'),
	($$SELECT kpx_schedule('x', 'attribute')$$, '22023', 'a job needs a time: "every", "at", "when_new_events" or "when_new_share"'),
	($$SELECT kpx_schedule('', 'attribute', every => '1 day')$$, '42602', 'a job''s name must have 1 to 63 bytes'),
	($$SELECT kpx_schedule('x', 'attribute', every => '0')$$, '22023', 'job "x": "every" must be at least a second'),
	($$SELECT kpx_schedule('x', 'attribute', every => '-1 day')$$, '22023', 'job "x": "every" must be longer than nothing, with no part negative, and at most a hundred years'),
	($$SELECT kpx_schedule('x', 'attribute', every => '1 day -1 hour')$$, '22023', NULL),
	($$SELECT kpx_schedule('x', 'attribute', every => '1000 years')$$, '22023', NULL),
	($$SELECT kpx_schedule('x', 'attribute', at => '02:00', time_zone => 'Mars/Phobos')$$, '22023', 'time zone "Mars/Phobos" is not known'),
	($$SELECT kpx_schedule('x', 'attribute', every => '1 day', until => '02:00')$$, '22023', NULL),
	($$SELECT kpx_schedule('x', 'attribute', at => '02:00', until => '02:00')$$, '22023', NULL),
	($$SELECT kpx_schedule('x', 'attribute', at => '24:00')$$, '22023', NULL),
	($$SELECT kpx_schedule('x', 'attribute', every => '1 day', catch_up => 'thrice')$$, '22023', 'job "x": catch_up must be once or skip'),
	($$SELECT kpx_schedule('x', 'attribute', when_new_events => -5)$$, '22023', NULL),
	($$SELECT kpx_schedule('x', 'attribute', when_new_share => 'NaN')$$, '22023', NULL),
	($$SELECT kpx_schedule('x', 'attribute', every => '1 day', max_runtime => '-1 s')$$, '22023', NULL),
	($$SELECT kpx_schedule('x', 'attribute', every => '1 day', jitter => '-1 s')$$, '22023', NULL),
	($$SELECT kpx_schedule('x', 'attribute', '[]', every => '1 day')$$, '22023', 'argument "arguments" must be a JSON object'),
	($$SELECT kpx_schedule('x', 'attribute', '{"widow": "1 day"}', every => '1 day')$$, '42883', NULL),
	($$SELECT kpx_schedule('x', 'attribute', '{"window": "a day or so"}', every => '1 day')$$, '22007', NULL),
	($$SELECT kpx_schedule('x', 'train', '{"modules": ["courses"], "margin": "much"}', every => '1 day')$$, '22023', '"margin" must be a number from 0 to 1, or null'),
	($$SELECT kpx_alter_job('nightly', '{"colour": 1}')$$, '22023', 'argument "changes": key "colour" is not known'),
	($$SELECT kpx_alter_job('nightly', '[1]')$$, '22023', NULL),
	($$SELECT kpx_alter_job('nightly', '{"every": "soon"}')$$, '22007', NULL),
	($$SELECT kpx_pause('none')$$, '42704', 'job "none" does not exist')) c(sql, code, message);
-- changes
SELECT kpx_alter_job('nightly', '{"at": "04:00", "until": null, "max_runtime": "1 hour", "max_retries": null}');
SELECT is((SELECT (at, until, max_runtime, max_retries, next_start AT TIME ZONE 'Europe/Berlin')::text ~ '^\(04:00:00,,01:00:00,,"\d+-\d+-\d+ 04:00:00"\)$' FROM kpx_jobs), true,
	'kpx_alter_job changes what it is given, null takes away');
SELECT kpx_alter_job('nightly', '{"at": null, "every": "3 hours"}');
SELECT is((SELECT next_start - now() BETWEEN '2 hours' AND '3 hours 1 minute' FROM kpx_jobs), true, 'a changed schedule without at starts a period on');
SELECT kpx_pause('nightly');
SELECT is((SELECT status || next_start::text FROM kpx_jobs), NULL, 'a paused job has no next start');
SELECT is((SELECT paused_because ~ 'kpx_pause' FROM kpx_jobs), true, 'and says why');
SELECT is(kpx_resume(), 1, 'kpx_resume without a name resumes all');
-- others
SET ROLE job_other;
SELECT is_empty('SELECT * FROM kpx_jobs', 'others do not see it');
SELECT throws_ok($$SELECT kpx_unschedule('nightly')$$, '42501', 'must be owner of job "nightly"', 'nor delete it');
SELECT is(kpx_resume(), 0, 'nor resume it');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION kpx_train(text[], text, jsonb, text, boolean) FROM PUBLIC;
SET ROLE job_other;
SELECT throws_ok($$SELECT kpx_schedule('x', 'train', '{"modules": ["courses"]}', every => '1 day')$$, '42501', 'permission denied for function kpx_train',
	'what a role may not call it may not schedule');
RESET ROLE;
-- members: from 16 on a membership can be without SET ROLE, and a job does what its owner may
SELECT current_setting('server_version_num')::int >= 160000 AS set_option \gset
\if :set_option
GRANT job_owner TO job_other WITH INHERIT TRUE, SET FALSE;
SET ROLE job_other;
SELECT throws_ok($$SELECT kpx_alter_job('nightly', '{"arguments": {}}')$$, '42501', 'must be able to SET ROLE "job_owner" to change job "nightly"', 'a member that may not SET ROLE changes no job');
SELECT is(kpx_resume(), 0, 'nor resumes it');
RESET ROLE;
GRANT job_owner TO job_other WITH SET TRUE;
\else
GRANT job_owner TO job_other;
SELECT pass('16 and later only') FROM generate_series(1, 2);
\endif
SET ROLE job_other;
SELECT lives_ok($$SELECT kpx_alter_job('nightly', '{"arguments": {}}')$$, 'a member changes it');
SET ROLE job_nologin;
SELECT throws_ok($$SELECT kpx_schedule('x', 'attribute', every => '1 day')$$, '28000', NULL, 'a role that may not log in has no jobs');
RESET ROLE;
SELECT throws_ok($$SELECT kpx_schedule('x', 'attribute', every => '1 day')$$, '42501', 'superusers may not have jobs', 'nor has a superuser');
SELECT lives_ok($$SELECT kpx_unschedule('nightly')$$, 'deleted');
\endif
SELECT is_empty('SELECT * FROM kpx_jobs', 'none is left');
SELECT * FROM finish();
ROLLBACK;
