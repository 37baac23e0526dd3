-- monitor: statistics of answers, measurements, faults. Counters are there only when preloaded.
BEGIN;
SELECT * FROM no_plan();
\ir fixture.psql
SELECT current_setting('shared_preload_libraries') ~ 'kpxrec' AS preloaded \gset
SELECT model AS model FROM kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small(), name => 'all') \gset
SELECT kpx_train('courses', 'popular', name => 'other', activate => false) \g /dev/null

-- kpx_stat_recommend
\if :preloaded
SELECT kpx_stat_reset();
SELECT is_empty('SELECT * FROM kpx_stat_recommend', 'nothing was asked yet');
SELECT count(*) FROM generate_series(1, 20) u, kpx_recommend(u::bigint, 'courses', 5) \g /dev/null
SELECT count(*) FROM kpx_recommend(12345::bigint, 'courses', 5) \g /dev/null
SELECT count(*) FROM kpx_recommend_for(ARRAY[1, 2, 999]::bigint[], 'courses', 5) \g /dev/null
SELECT count(*) FROM kpx_recommend_from(ARRAY[3]::bigint[], 'products', 'courses', 30) \g /dev/null
SELECT count(*) FROM kpx_similar(3::bigint, 'courses', 4, 'products') \g /dev/null
SELECT count(*) FROM kpx_recommend_slate(3::bigint, ARRAY['courses', 'products'], 4, 'courses', false) \g /dev/null
SELECT count(*) FROM kpx_recommend_slate(3::bigint, ARRAY['courses', 'products'], 4, log => false) \g /dev/null
SELECT count(*) FROM kpx_recommend(NULL::bigint, 'courses') \g /dev/null
SELECT app.error($$SELECT kpx_recommend(3::bigint, 'courses', -1)$$) \g /dev/null
SELECT results_eq($$SELECT module, function, calls, answers, empty FROM kpx_stat_recommend ORDER BY 1, 2$$, $$VALUES
	('courses' COLLATE "C", 'kpx_recommend', 21::bigint, 21::bigint, 0::bigint),
	('courses', 'kpx_recommend_for', 1, 3, 0),
	('courses', 'kpx_recommend_from', 1, 1, 0),
	('courses', 'kpx_recommend_slate', 1, 2, 0),
	('products', 'kpx_similar', 1, 1, 0),
	(NULL, 'kpx_recommend_slate', 1, 2, 0)$$, 'calls that succeeded, by module and function; not those without a user or with an error');
SELECT results_eq($$SELECT function, items, fell_back, fallbacks FROM kpx_stat_recommend WHERE module = 'courses' AND function ~ 'for|nd$' ORDER BY 1$$,
	$$VALUES ('kpx_recommend', 105::bigint, 1::bigint, '{"popular": 1}'::jsonb), ('kpx_recommend_for', 15, 1, '{"popular": 1}')$$,
	'items, and the users the model does not know');
SELECT is_empty($$SELECT * FROM kpx_stat_recommend WHERE NOT (p50_ms > 0 AND p50_ms <= p95_ms AND p95_ms <= p99_ms AND p99_ms <= max_ms * 1.07
	AND mean_ms <= max_ms AND mean_ms > 0 AND since BETWEEN now() AND clock_timestamp())$$, 'times are in order');
SELECT is((SELECT sum(session_hits) FROM kpx_stat_recommend WHERE module = 'courses' AND function = 'kpx_recommend'), 20::numeric, 'the model was in the session''s cache, but for the first time');
SELECT count(*) FROM kpx_recommend(3::bigint, 'courses', model => (SELECT max(id) FROM kpx.model)) \g /dev/null
SELECT is((SELECT shared_hits + table_reads FROM kpx_stat_recommend WHERE module = 'courses' AND function = 'kpx_recommend'), 2::bigint, 'as it was fetched then, so is another now');
-- who sees them
CREATE ROLE kpx_stranger;
CREATE ROLE kpx_watcher IN ROLE pg_read_all_stats;
SET ROLE kpx_stranger;
SELECT is_empty('SELECT * FROM kpx_stat_recommend', 'strangers see nothing');
SELECT throws_ok('SELECT kpx_stat_reset()', '42501', NULL, 'and reset nothing');
SET ROLE kpx_watcher;
SELECT is((SELECT count(*) FROM kpx_stat_recommend), 6::bigint, 'pg_read_all_stats sees all');
RESET ROLE;
SELECT kpx_stat_reset();
SELECT is_empty('SELECT * FROM kpx_stat_recommend', 'reset');
\else
SELECT count(*) FROM kpx_recommend(3::bigint, 'courses', 5) \g /dev/null
SELECT is_empty('SELECT * FROM kpx_stat_recommend', 'nothing is counted when not preloaded');
SELECT matches(app.error('SELECT kpx_stat_reset()'), '^55000 there are no statistics of calls: the library is not preloaded | Set shared_preload', 'and reset says so');
\endif

-- kpx_measure: lists against their definitions, by SQL
SELECT is(kpx_measure(ARRAY['courses', 'products'], users => 60, k => 5, "window" => '10 years'), 2, 'two modules measured');
CREATE TEMP TABLE listed AS SELECT u AS user_id, r.* FROM generate_series(1, 60) u, kpx_recommend(u::bigint, 'courses', 5) r;
CREATE TEMP TABLE shown AS SELECT c.id, count(l.item_id) AS n FROM app.courses c LEFT JOIN listed l ON l.item_id = c.id GROUP BY 1;
SELECT is((SELECT format('%s %s %s %s %s %s', model, users, k, coverage, fallback_share, cold_share) FROM kpx_stat_module WHERE module = 'courses'),
	(SELECT format('%s 60 5 %s 0 0', :model, avg((n > 0)::int)::float8) FROM shown), 'coverage and what was measured');
SELECT cmp_ok((SELECT abs(gini - (SELECT sum(abs(a.n - b.n)) / (2 * 30 * (SELECT sum(n) FROM shown)) FROM shown a, shown b)) FROM kpx_stat_module WHERE module = 'courses'), '<', 1e-9::float8, 'gini');
SELECT cmp_ok((SELECT abs(novelty - (SELECT -avg(log(2, p.share)) FROM listed l JOIN (SELECT course_id, count(*)::numeric / sum(count(*)) OVER () AS share FROM app.enrolments GROUP BY 1) p ON p.course_id = l.item_id))
	FROM kpx_stat_module WHERE module = 'courses'), '<', 1e-4::float8, 'novelty');
SELECT cmp_ok((SELECT abs(diversity - (SELECT avg(d) FROM (SELECT a.user_id, 1 - avg(s.score) AS d FROM listed a JOIN listed b USING (user_id), kpx_similar(a.item_id, 'courses', 30) s
	WHERE a.rank < b.rank AND s.item_id = b.item_id GROUP BY 1) x)) FROM kpx_stat_module WHERE module = 'courses'), '<', 1e-4::float8, 'diversity: one less the mean similarity within lists');
SELECT is((SELECT count(*) FROM kpx_stat_module WHERE newest), 2::bigint, 'one newest row a module');
SELECT kpx_measure(ARRAY['courses'], users => 10, "window" => '10 years') \g /dev/null
SELECT results_eq($$SELECT users, newest FROM kpx_stat_module WHERE module = 'courses' ORDER BY measured_at$$, 'VALUES (60::bigint, false), (10, true)', 'earlier measurements stay');
SELECT is(kpx_measure(), 3, 'by default all modules with a model');
-- arguments
SELECT throws_ok($$SELECT kpx_measure(ARRAY['no'])$$, '42704', NULL, 'no such module');
SELECT throws_ok($$SELECT kpx_measure(users => 0)$$, '22023', NULL, 'too few users');
SELECT throws_ok($$SELECT kpx_measure(users => 100001)$$, '22023', NULL, 'too many users');
SELECT throws_ok($$SELECT kpx_measure(k => 1001)$$, '22023', NULL, 'too long lists');
SELECT throws_ok($$SELECT kpx_measure("window" => '0')$$, '22023', NULL, 'no window');

-- drift: the same in both windows, then other users, other items, other habits
CREATE TABLE app.pages (id int PRIMARY KEY);
INSERT INTO app.pages SELECT generate_series(1, 50);
CREATE TABLE app.visits (user_id bigint, page_id int, at timestamptz);
CREATE FUNCTION app.visit(until timestamptz, seed text, pages text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO app.visits SELECT u, %s, %L::timestamptz - interval ''1 second'' - h.t * interval ''27 days''
		FROM generate_series(1, 400) u, generate_series(1, 6) n, LATERAL (SELECT (hashtextextended(%L || u || n, 1) & 1048575) / 1048576.0 AS x, (hashtextextended(%L || u || n, 2) & 1048575) / 1048576.0 AS t) h',
		pages, until, seed, seed);
END $$;
SELECT app.visit('2026-03-01 00:00+00', 'a', '1 + floor(50 * h.x * h.x)::int');
SELECT kpx_add_module('pages', 'app.pages', 'id') \g /dev/null
SELECT kpx_add_events('pages', 'app.visits', 'view', 'user_id', 'page_id', 'at') \g /dev/null
CREATE INDEX ON app.visits (user_id);
SELECT kpx_train('pages', params => app.small()) \g /dev/null
SET kpxrec.simulated_time = 1775001600; -- 2026-04-01
SELECT app.visit('2026-04-01 00:00+00', 'b', '1 + floor(50 * h.x * h.x)::int');
SELECT kpx_measure(ARRAY['pages']) \g /dev/null
SELECT results_eq($$SELECT feature COLLATE "C", drifted, psi < 0.1, reference > 300, recent > 300 FROM kpx_stat_drift WHERE module = 'pages' AND newest AND feature <> 'module mix' ORDER BY 1$$, $$VALUES
	('activity' COLLATE "C", false, true, true, true), ('new items', false, true, true, true), ('popularity', false, true, true, true), ('recency', false, true, true, true)$$,
	'another sample of the same: no drift');
SELECT is((SELECT psi FROM kpx_stat_drift WHERE module = 'pages' AND newest AND feature = 'module mix'), NULL, 'one module has no mix');
SELECT cmp_ok((SELECT abs(psi - (SELECT sum((b - a) * ln(b / a)) FROM (SELECT
		(count(DISTINCT user_id) FILTER (WHERE at <= e) + 0.5) / ((SELECT count(DISTINCT (user_id, page_id)) FROM app.visits WHERE at <= e) + 25) AS a,
		(count(DISTINCT user_id) FILTER (WHERE at > e) + 0.5) / ((SELECT count(DISTINCT (user_id, page_id)) FROM app.visits WHERE at > e) + 25) AS b
		FROM app.visits, (VALUES ('2026-03-01 00:00+00'::timestamptz)) w(e) GROUP BY page_id, e) x))
	FROM kpx_stat_drift WHERE module = 'pages' AND newest AND feature = 'popularity'), '<', 1e-6::float8, 'the index by its definition, of interactions');
DELETE FROM app.visits WHERE at > '2026-03-02';
INSERT INTO app.pages VALUES (99);
SELECT app.visit('2026-04-01 00:00+00', 'c', 'CASE WHEN u % 3 = 0 THEN 99 ELSE 50 - floor(50 * h.x * h.x)::int END');
DELETE FROM app.visits WHERE at > '2026-03-02' AND (at < '2026-03-25' OR user_id % 4 > 0 AND hashint8(user_id + date_part('hour', at)::int) % 2 = 0);
SELECT kpx_measure(ARRAY['pages']) \g /dev/null
SELECT results_eq($$SELECT feature COLLATE "C", drifted FROM kpx_stat_drift WHERE module = 'pages' AND newest AND feature <> 'module mix' ORDER BY 1$$, $$VALUES
	('activity' COLLATE "C", true), ('new items', true), ('popularity', true), ('recency', true)$$, 'other items, new items, fewer and later visits: drift');
RESET kpxrec.simulated_time;
SELECT kpx_measure(ARRAY['pages']) \g /dev/null
SELECT is((SELECT count(psi) FROM kpx_stat_drift WHERE module = 'pages' AND newest), 0::bigint, 'nothing recent: nothing can be said');
-- whose they are
CREATE ROLE kpx_other;
GRANT USAGE ON SCHEMA app TO kpx_other;
SET ROLE kpx_other;
SELECT throws_ok($$SELECT kpx_measure(ARRAY['pages'])$$, '42501', NULL, 'only owners measure');
SELECT is(kpx_measure(), 0, 'by default one''s own');
SELECT is_empty('SELECT * FROM kpx_stat_module', 'only owners see it');
SELECT is_empty('SELECT * FROM kpx_stat_drift', 'nor drift');
RESET ROLE;

SAVEPOINT measured;
SELECT kpx_drop_module('pages') \g /dev/null
SELECT is((SELECT count(*) FROM kpx.module_stat s FULL JOIN kpx.drift_stat d USING (module_id) WHERE NOT EXISTS (SELECT FROM kpx.module m WHERE m.id = module_id)), 0::bigint, 'measurements go with the module');
ROLLBACK TO measured;

-- kpx_health: every fault, provoked and mended
CREATE FUNCTION app.faults(deep boolean DEFAULT false) RETURNS text LANGUAGE sql AS
$$SELECT coalesce(string_agg(concat_ws(' ', severity, fault, object), ', ' ORDER BY fault COLLATE "C", object COLLATE "C"), 'healthy') FROM kpx_health(deep) WHERE fault <> 'not preloaded'$$;
SELECT is((SELECT count(*) FROM kpx_health() WHERE fault = 'not preloaded'), CASE WHEN :'preloaded'::boolean THEN 0 ELSE 1 END::bigint, 'not preloaded');
SELECT is(app.faults(true), 'healthy', 'nothing else is wrong');
SELECT is_empty('SELECT * FROM kpx_health(true) WHERE severity IS NULL OR fault IS NULL OR detail IS NULL OR action IS NULL', 'every fault is explained');
SAVEPOINT healthy;
SET max_parallel_maintenance_workers = 100;
SELECT is(app.faults(), 'warning too few worker slots', 'worker slots');
SELECT matches((SELECT action FROM kpx_health() WHERE fault = 'too few worker slots'), '^Set max_worker_processes to 10[0-9] or more, and max_parallel_workers to 100 or more', 'with the numbers');
ROLLBACK TO healthy;
DELETE FROM kpx.active_model WHERE module_id = (SELECT id FROM kpx.module WHERE name = 'pages');
SELECT is(app.faults(), 'warning no active model pages', 'no active model');
ROLLBACK TO healthy;
DROP TABLE app.visits CASCADE;
SELECT is(app.faults(), 'error relation is gone pages', 'event source gone');
ROLLBACK TO healthy;
DROP TABLE app.pages CASCADE;
SELECT is(app.faults(), 'error relation is gone pages', 'item table gone');
ROLLBACK TO healthy;
ALTER TABLE app.visits RENAME page_id TO page;
ALTER TABLE app.courses DROP on_sale CASCADE;
SELECT is(app.faults(), 'error column is gone courses, error column is gone pages', 'columns gone');
ROLLBACK TO healthy;
UPDATE kpx.module SET owner = 'kpx_other' WHERE name = 'pages';
SELECT is(app.faults(), 'warning owner may not read pages, warning owner may not read pages', 'the owner may not read items nor events');
UPDATE kpx.module SET owner = 'kpx_nobody' WHERE name = 'pages';
SELECT is(app.faults(), 'error owner is gone pages', 'owner gone');
ROLLBACK TO healthy;
DROP INDEX app.visits_user_id_idx;
ALTER TABLE app.pages DROP CONSTRAINT pages_pkey;
SELECT is(app.faults(), 'healthy', 'small tables need no index');
INSERT INTO app.visits SELECT 1, 1, '2026-01-01' FROM generate_series(1, 10000);
INSERT INTO app.pages SELECT generate_series(1000, 20000);
ANALYZE app.visits, app.pages;
SELECT is(app.faults(), 'warning index is missing pages, warning index is missing pages', 'large ones do');
SELECT is((SELECT action FROM kpx_health() WHERE detail ~ 'visits'), 'CREATE INDEX CONCURRENTLY ON app.visits (user_id);', 'which');
CREATE INDEX half ON app.visits (user_id) WHERE page_id > 5;
CREATE INDEX other ON app.visits (page_id, user_id);
CREATE INDEX ON app.pages (id);
SELECT is(app.faults(), 'warning index is missing pages', 'partial ones and those that begin with another column do not help');
CREATE INDEX ON app.visits (user_id, page_id);
SELECT is(app.faults(), 'healthy', 'this one does');
ROLLBACK TO healthy;
INSERT INTO app.visits SELECT 1, 1, '2026-04-01' FROM generate_series(1, 1000);
ANALYZE app.visits;
SELECT is(app.faults(), 'warning model is stale pages', 'many events since training');
SELECT kpx_train('pages', params => app.small()) \g /dev/null
SELECT is(app.faults(), 'healthy', 'trained again');
ROLLBACK TO healthy;
UPDATE kpx.model_block SET data = set_byte(data, 90, get_byte(data, 90) # 1) WHERE kind = 'factors' AND model_id = :model;
SELECT is(app.faults(), 'healthy', 'a damaged block is not seen from afar');
SELECT is(app.faults(true), 'error model cannot be used courses', 'but by a deep look, once a model');
SELECT matches((SELECT detail FROM kpx_health(true) WHERE fault = 'model cannot be used'), 'is corrupt', 'and says so');
ROLLBACK TO healthy;
SET kpxrec.simulated_time = 1775001600;
DELETE FROM kpx.drift_stat;
SELECT kpx_measure(ARRAY['pages']) \g /dev/null
SELECT is(app.faults(), 'warning drift pages, warning drift pages, warning drift pages, warning drift pages', 'drift');
SELECT matches((SELECT detail FROM kpx_health() WHERE detail ~ '^popularity'), '^popularity moved since model [0-9]+ was trained: [0-9.]+, above 0.25 and what chance makes of it', 'how much');
ROLLBACK TO healthy;
UPDATE kpx.model SET bytes = 400 * 1024 * 1024::bigint WHERE id = :model;
SELECT is((SELECT string_agg(fault, ', ' ORDER BY fault) FROM kpx_health() WHERE fault <> 'not preloaded'), CASE WHEN :'preloaded'::boolean THEN 'model is too large, shared cache is too small' ELSE 'model is too large' END, 'caches');
ROLLBACK TO healthy;
SET kpxrec.simulated_time = 1775001600;
SELECT count(*) FROM kpx_recommend_slate(3::bigint, ARRAY['courses', 'products'], 4, 'courses', true) \g /dev/null
SELECT is(app.faults(), 'healthy', 'a slate just logged');
SET kpxrec.simulated_time = 1775201600;
SELECT is(app.faults(), 'warning attribution lags', 'and never attributed');
ROLLBACK TO healthy;
-- jobs
INSERT INTO kpx.job (name, owner, task, arguments, every, time_zone, catch_up, jitter, anchor, system_identifier, database, consecutive_failures)
SELECT name, 'kpx_other', 'attribute', '{}', '1 hour', 'UTC', 'once', '0', now(), 1, 1, failures FROM (VALUES ('fine', 0), ('unlucky', 1), ('broken', 3)) j(name, failures);
INSERT INTO kpx.job_run (job_id, job, owner, task, attempt, status, scheduled_for, message) SELECT id, name, owner, task, 0, 'failed', now(), 'why ' || name FROM kpx.job WHERE consecutive_failures > 0;
SELECT is(app.faults(), 'error job fails broken, warning job fails unlucky' || CASE WHEN :'preloaded'::boolean THEN '' ELSE ', error jobs do not run' END, 'failing jobs, and jobs that nothing runs');
SELECT is((SELECT detail FROM kpx_health() WHERE object = 'broken'), '3 runs failed one after the other, the last with: why broken', 'why');
UPDATE kpx.job SET consecutive_failures = 0, enabled = false, paused_because = 'restored elsewhere';
SELECT is(app.faults(), 'warning job is paused broken, warning job is paused fine, warning job is paused unlucky', 'paused jobs');
ROLLBACK TO healthy;
-- who sees what
SELECT ok(has_function_privilege('public', 'kpx_health(boolean)', 'EXECUTE'), 'anyone may ask');
SET ROLE kpx_other;
SELECT is_empty($$SELECT * FROM kpx_health(true) WHERE object IS NOT NULL$$, 'faults of modules are for their owners');
RESET ROLE;
ALTER TABLE app.visits RENAME page_id TO page;
GRANT pg_read_all_stats TO kpx_other;
SET ROLE kpx_other;
SELECT is(app.faults(), 'error column is gone pages', 'and for pg_read_all_stats');
RESET ROLE;
ROLLBACK TO healthy;

SELECT is_empty('SELECT * FROM kpx_stat_progress', 'nothing is under way');
SELECT is_empty($$SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
	WHERE c.relname ~ '^kpx_stat_' AND c.relkind = 'v' AND a.attnum > 0 AND col_description(c.oid, a.attnum) IS NULL$$, 'every column of these views is explained');
SELECT * FROM finish();
ROLLBACK;
