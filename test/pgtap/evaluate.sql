-- evaluate: the metrics alone, and kpx_evaluate.
BEGIN;
SELECT plan(53);
\ir fixture.psql

-- metrics over any list. Expected values by hand from the definitions in docs/evaluate.md.
SELECT is(kpx_recall(ARRAY[1, 2, 3, 4], ARRAY[2, 4, 9]), 2.0::float8 / 3, 'recall of the whole list');
SELECT is(kpx_recall(ARRAY[1, 2, 3, 4], ARRAY[2, 4, 9], 2), 1.0::float8 / 3, 'recall at 2');
SELECT is(kpx_hit_rate(ARRAY[1, 2, 3, 4], ARRAY[4]), 1::float8, 'hit');
SELECT is(kpx_hit_rate(ARRAY[1, 2, 3, 4], ARRAY[4], 3), 0::float8, 'no hit within 3');
SELECT is(kpx_mrr(ARRAY['a', 'b', 'c'], ARRAY['c', 'b']), 0.5::float8, 'the first relevant item is second');
SELECT is(round(kpx_ndcg(ARRAY[1, 2, 3], ARRAY[1, 3], 3)::numeric, 12), round(((1 + 0.5) / (1 + 1 / (ln(3.0) / ln(2.0))))::numeric, 12), 'ndcg');
SELECT is(kpx_ndcg(ARRAY[1, 3, 2], ARRAY[1, 3], 3), 1::float8, 'a perfect list');
SELECT is(kpx_average_precision(ARRAY[1, 2, 3], ARRAY[1, 3]), (1 + 2.0::float8 / 3) / 2, 'average precision');
SELECT is(kpx_recall(ARRAY[1, 1, 1], ARRAY[1, 2]), 0.5::float8, 'an item recommended twice counts once');
SELECT is(kpx_recall(ARRAY[1, 2], ARRAY[1, 1, 1]), 1::float8, 'a relevant item named twice too');
SELECT is(kpx_recall('{}'::int[], ARRAY[1]), 0::float8, 'nothing recommended');
SELECT is(kpx_recall(ARRAY[1], '{}'::int[]), NULL::float8, 'nothing relevant: no value, so that avg() leaves it out');
SELECT is(kpx_recall(NULL::int[], ARRAY[1]), NULL::float8, 'NULL in, NULL out');
SELECT is(kpx_recall(ARRAY[1], NULL), NULL::float8, 'NULL in, NULL out');
SELECT throws_ok('SELECT kpx_recall(ARRAY[NULL, 1], ARRAY[1])', '22004', NULL, 'a NULL in a list');
SELECT is(kpx_recall(ARRAY['2020-01-01'::date], ARRAY['2020-01-01'::date]), 1::float8, 'any type with equality');
SELECT throws_ok('SELECT kpx_recall(ARRAY[1], ARRAY[1], 0)', '22023', NULL, 'k = 0');
SELECT throws_ok($$SELECT kpx_recall(ARRAY['{"a":1}'::json], ARRAY['{"a":1}'::json])$$, '42883', NULL, 'a type without equality');
SELECT throws_ok('SELECT kpx_recall(ARRAY[[1]], ARRAY[1])', '2202E', NULL, 'two dimensions');

-- kpx_evaluate: its rows
CREATE TEMP TABLE e AS SELECT * FROM kpx_evaluate(ARRAY['courses', 'products', 'videos'], 5, params => app.small(), seed => 3);
SELECT set_eq('SELECT DISTINCT metric FROM e', ARRAY['recall@5', 'hit_rate@5', 'ndcg@5', 'mrr@5', 'map@5', 'coverage@5'], 'six metrics');
SELECT set_eq('SELECT DISTINCT module FROM e', ARRAY['courses', 'products', 'videos'], 'of each module');
SELECT ok((SELECT bool_and(value BETWEEN 0 AND 1 AND popularity BETWEEN 0 AND 1 AND users = 60) FROM e), 'between 0 and 1, of all users');
SELECT ok((SELECT bool_and(value > popularity + 3 * std_error) FROM e WHERE metric = 'hit_rate@5'), 'on groups this clear it beats popularity');
SELECT ok((SELECT bool_and(abs(r.value - h.value) < 1e-12) FROM e r JOIN e h USING (module) WHERE r.metric = 'recall@5' AND h.metric = 'hit_rate@5'), 'with one held-out item, recall is hit rate');
SELECT ok((SELECT bool_and(abs(std_error - sqrt(value * (1 - value) / (users - 1))) < 1e-9) FROM e WHERE metric = 'hit_rate@5'), 'the standard error of a share');
SELECT results_eq($$SELECT * FROM kpx_evaluate(ARRAY['courses', 'products', 'videos'], 5, params => app.small(), seed => 3)$$, 'SELECT * FROM e', 'the same seed, the same result');
SELECT isnt((SELECT array_agg(value ORDER BY module, metric) FROM kpx_evaluate(ARRAY['courses', 'products', 'videos'], 5, params => app.small(), seed => 4)), (SELECT array_agg(value ORDER BY module, metric) FROM e), 'another seed, another split');
SELECT is_empty('SELECT 1 FROM kpx_models', 'it leaves no model behind');

-- splits
SELECT ok((SELECT bool_and(value >= 0 AND users > 30) FROM kpx_evaluate(ARRAY['courses', 'videos'], 5, 'last_by_time', params => app.small())), 'last_by_time');
SELECT ok((SELECT bool_and(value >= 0 AND users > 30) FROM kpx_evaluate(ARRAY['courses', 'videos'], 5, 'random', params => app.small())), 'random');
CREATE TEMP TABLE shuffled AS SELECT * FROM kpx_evaluate(ARRAY['courses', 'videos'], 5, 'last_by_time', params => app.small()) WITH NO DATA;
UPDATE app.enrolments SET at = date_trunc('month', at);
UPDATE app.plays SET at = date_trunc('month', at);
INSERT INTO shuffled SELECT * FROM kpx_evaluate(ARRAY['courses', 'videos'], 5, 'last_by_time', params => app.small());
CREATE TEMP TABLE e2 AS SELECT * FROM app.enrolments ORDER BY course_id DESC;
CREATE TEMP TABLE p2 AS SELECT * FROM app.plays ORDER BY video_id DESC;
TRUNCATE app.enrolments, app.plays;
INSERT INTO app.enrolments SELECT * FROM e2;
INSERT INTO app.plays SELECT * FROM p2;
SELECT results_eq($$SELECT module, metric, round(value::numeric, 6) FROM kpx_evaluate(ARRAY['courses', 'videos'], 5, 'last_by_time', params => app.small())$$,
	'SELECT module, metric, round(value::numeric, 6) FROM shuffled', 'which of two at the same time was last does not depend on the order of rows');
SELECT throws_ok($$SELECT * FROM kpx_evaluate(ARRAY['courses'], split => 'k_fold')$$, '22023', NULL, 'an unknown split');
SELECT throws_ok($$SELECT * FROM kpx_evaluate(ARRAY['courses'], 0)$$, '22023', NULL, 'k = 0');
SELECT throws_ok($$SELECT * FROM kpx_evaluate(ARRAY['courses'], params => '{"nope": 1}')$$, '22023', NULL, 'unknown parameters');

-- a relation of held-out pairs: moved out of the orders, and judged by hand through kpx_recommend
CREATE TABLE app.held_out (module text, user_id bigint, item_id bigint);
WITH gone AS (DELETE FROM app.orders o USING (SELECT user_id, min(product_id) AS p FROM app.orders GROUP BY 1) x
	WHERE o.user_id = x.user_id AND o.product_id = x.p RETURNING o.*)
INSERT INTO app.held_out SELECT 'products', user_id, product_id FROM gone;
CREATE TEMP TABLE h AS SELECT * FROM kpx_evaluate(ARRAY['courses', 'products'], 4, params => app.small(), held_out => 'app.held_out');
SELECT ok((SELECT bool_and(users = 0 AND value IS NULL AND popularity IS NULL) FROM h WHERE module = 'courses'), 'a module without held-out pairs: no users, no values');
INSERT INTO app.held_out SELECT * FROM app.held_out;
SELECT results_eq($$SELECT * FROM kpx_evaluate(ARRAY['courses', 'products'], 4, params => app.small(), held_out => 'app.held_out')$$, 'SELECT * FROM h', 'a pair named twice is held out once');
INSERT INTO app.held_out SELECT 'products', user_id, 5000 + n % 2 FROM (SELECT DISTINCT user_id FROM app.held_out) u, generate_series(1, 4) n;
SELECT is((SELECT round(value::numeric, 9) FROM kpx_evaluate(ARRAY['courses', 'products'], 30, params => app.small(), held_out => 'app.held_out') WHERE module = 'products' AND metric = 'recall@30'),
	(SELECT round(avg(CASE WHEN EXISTS (SELECT FROM app.orders o WHERE o.product_id = h.item_id) THEN 1.0 / 3 ELSE 0 END), 9)
		FROM (SELECT DISTINCT * FROM app.held_out WHERE item_id < 5000) h), 'items that training does not know are missed, each once');
DELETE FROM app.held_out WHERE item_id >= 5000;
CREATE TEMP TABLE once AS SELECT DISTINCT * FROM app.held_out;
TRUNCATE app.held_out;
INSERT INTO app.held_out SELECT * FROM once;
SELECT kpx_train(ARRAY['courses', 'products'], params => app.small()) \g /dev/null
SELECT is((SELECT round(value::numeric, 9) FROM h WHERE module = 'products' AND metric = 'ndcg@4'),
	(SELECT round(avg(kpx_ndcg(ARRAY(SELECT item_id FROM kpx_recommend(user_id, 'products', 4)), ARRAY[item_id], 4))::numeric, 9) FROM app.held_out), 'as kpx_recommend and kpx_ndcg say');
SELECT is((SELECT round(value::numeric, 9) FROM h WHERE module = 'products' AND metric = 'coverage@4'),
	(SELECT round(count(DISTINCT r.item_id)::numeric / (SELECT trained_items FROM kpx_modules WHERE module = 'products'), 9) FROM app.held_out o, kpx_recommend(o.user_id, 'products', 4) r), 'coverage: share of the items it knows that somebody is shown');
SELECT throws_ok($$SELECT * FROM kpx_evaluate(ARRAY['courses'], held_out => 'app.courses')$$, '42703', NULL, 'held-out pairs need their columns');
TRUNCATE app.held_out;
SELECT throws_ok($$SELECT * FROM kpx_evaluate(ARRAY['courses'], held_out => 'app.held_out')$$, '55000', NULL, 'and rows');

-- kept with a stored model
SELECT model FROM kpx_train(ARRAY['courses', 'videos'], params => app.small() || '{"module_weights": {"videos": 0.5}}', activate => false) \gset
SELECT is_empty('SELECT * FROM kpx_model_metrics', 'nothing was measured yet');
CREATE TEMP TABLE kept AS SELECT * FROM kpx_evaluate_model(:model, 4, 'random', seed => 9);
SELECT results_eq($$SELECT * FROM kpx_evaluate(ARRAY['courses', 'videos'], 4, 'random', params => app.small() || '{"module_weights": {"videos": 0.5}}', seed => 9)$$, 'SELECT * FROM kept', 'the model''s modules, algorithm and parameters are judged');
SELECT set_eq('SELECT module, metric, value, std_error, popularity, popularity_std_error, users FROM kpx_model_metrics WHERE model = ' || :model, 'SELECT * FROM kept', 'and kept as they are');
SELECT is((SELECT array_agg(DISTINCT concat_ws(' ', measured_by, split, version)) FROM kpx_model_metrics), ARRAY['evaluation random 1'], 'with how it was done');
SELECT is((SELECT count(*) FROM kpx_evaluate_model(:model, 4, held_out => NULL)), 12::bigint, 'again');
SELECT is((SELECT array_agg(DISTINCT split) FROM kpx_model_metrics), ARRAY['leave_one_out'], 'the last counts');
SELECT lives_ok(format('SELECT kpx_import_model(kpx_export_model(%s), %L)', :model, 'copy'), 'they travel with the model');
SELECT set_eq($$SELECT module, metric, value FROM kpx_model_metrics WHERE name = 'copy'$$, $$SELECT module, metric, value FROM kpx_model_metrics WHERE name <> 'copy'$$, 'and arrive');
UPDATE kpx.model SET metrics = '{"guard": "text of 0.1.0", "evaluation": {"rows": null}}' WHERE name = 'copy';
SELECT is_empty($$SELECT * FROM kpx_model_metrics WHERE name = 'copy'$$, 'what is no row is none');
UPDATE kpx.model SET metrics = '{"guard": {"rows": [{"value": "much"}]}}' WHERE name = 'copy';
SELECT throws_ok($$SELECT kpx_import_model(kpx_export_model((SELECT id FROM kpx.model WHERE name = 'copy')))$$, '22P02', NULL, 'what could not be shown is not taken in');
SELECT throws_ok('SELECT kpx_evaluate_model(NULL)', '22004', NULL, 'no model');
CREATE ROLE kpx_test_other;
SET LOCAL ROLE kpx_test_other;
SELECT throws_ok(format('SELECT kpx_evaluate_model(%s)', :model), '42501', NULL, 'for its owner');
RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
