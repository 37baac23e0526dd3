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

SELECT is_empty('SELECT * FROM kpx_stat_progress', 'nothing is under way');
SELECT is_empty($$SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
	WHERE c.relname ~ '^kpx_stat_' AND c.relkind = 'v' AND a.attnum > 0 AND col_description(c.oid, a.attnum) IS NULL$$, 'every column of these views is explained');
SELECT * FROM finish();
ROLLBACK;
