-- factor: kpx_train, its parameters and its row.
BEGIN;
SELECT plan(40);
\ir fixture.psql

-- the row it returns
SELECT results_eq($$SELECT name, modules, users, items, interactions, iterations, loss > 0, read_seconds >= 0 AND train_seconds >= 0 AND store_seconds >= 0
	FROM kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small())$$,
	$$VALUES ('courses+products+videos', ARRAY['courses', 'products', 'videos'], 60::bigint, 90::bigint,
		((SELECT count(*) FROM app.enrolments) + (SELECT count(*) FROM app.orders) + (SELECT count(*) FROM app.plays)), 8, true, true)$$, 'one row about the model');
SELECT results_eq($$SELECT name, modules FROM kpx_train('courses', params => app.small())$$, $$VALUES ('courses', '{courses}'::text[])$$, 'one module as text');
SELECT results_eq($$SELECT name, params->>'factors', params->>'regularization' FROM kpx_models ORDER BY model DESC LIMIT 1$$,
	$$VALUES ('courses' COLLATE "C", '6', '0.02')$$, 'kpx_models keeps the parameters as used');
SELECT model FROM kpx_train('videos', NULL, NULL, NULL, NULL) \gset
SELECT results_eq('SELECT factors, iterations, name, active_for FROM kpx_models WHERE model = ' || :model, $$VALUES (64, 12, 'videos' COLLATE "C", '{videos}'::text[])$$, 'defaults, which NULL means too');

-- parameters
CREATE FUNCTION app.refused(params text) RETURNS text LANGUAGE sql AS $$SELECT app.error(format('SELECT * FROM kpx_train(''courses'', params => %L)', params))$$;
SELECT is(app.refused('{"factor": 3}'), '22023 parameter "factor" is not known to algorithm "ials" | Known parameters: factors, iterations, regularization, unobserved_weight, tolerance, module_weights, seed.', 'an unknown key');
SELECT is(app.refused('[1]'), '22023 parameter "params" must be a JSON object', 'an array');
SELECT is(app.refused('3'), '22023 parameter "params" must be a JSON object', 'a scalar');
SELECT is(app.refused('{"factors": "64"}'), '22023 parameter "factors" must be a number', 'a string');
SELECT is(app.refused('{"factors": null}'), '22023 parameter "factors" must be a number', 'null');
SELECT is(app.refused('{"factors": [64]}'), '22023 parameter "factors" must be a number', 'a nested array');
SELECT is(app.refused('{"factors": 2.5}'), '22023 parameter "factors" must be a whole number', 'a fraction');
SELECT is(app.refused('{"factors": 0}'), '22023 parameter "factors" is out of range: 0 | It must be between 1 and 1024.', 'no factors');
SELECT is(app.refused('{"factors": 1025}'), '22023 parameter "factors" is out of range: 1025 | It must be between 1 and 1024.', 'too many factors');
SELECT is(app.refused('{"factors": 1e400}'), '22023 parameter "factors" is out of range: Infinity | It must be between 1 and 1024.', 'a number beyond float8');
SELECT is(left(app.refused('{"iterations": 0}'), 5), '22023', 'no iterations');
SELECT is(left(app.refused('{"regularization": 0}'), 5), '22023', 'no regularization');
SELECT is(left(app.refused('{"regularization": -1}'), 5), '22023', 'negative regularization');
SELECT is(left(app.refused('{"unobserved_weight": 0}'), 5), '22023', 'no unobserved weight');
SELECT is(left(app.refused('{"tolerance": 2}'), 5), '22023', 'tolerance over 1');
SELECT is(left(app.refused('{"module_weights": 2}'), 5), '22023', 'module_weights is an object');
SELECT is(app.refused('{"module_weights": {"shop": 2}}'), '22023 parameter "module_weights" names "shop", which is not among the modules to train', 'a module that is not trained');
SELECT is(app.refused('{"module_weights": {"courses": {"seen": 2}}}'), '22023 parameter "module_weights" has no part "seen" | Known parts: weight, observed, unobserved, half_life.', 'an unknown part');
SELECT model FROM kpx_train('courses', params => '{"factors": 2, "module_weights": {"courses": {"observed": 2, "unobserved": 0.5}}, "tolerance": 0.1}') \gset
SELECT results_eq($$SELECT params->'module_weights'->'courses' FROM kpx_models WHERE model = $$ || :model,
	$$VALUES ('{"observed": 2, "unobserved": 0.5}'::jsonb)$$, 'module_weights in full');
SELECT cmp_ok((SELECT iterations FROM kpx_train('courses', params => '{"factors": 4, "iterations": 200, "tolerance": 0.01}')), '<', 200, 'tolerance stops early');
SELECT lives_ok($$SELECT kpx_train('courses', params => format('{"factors": %s, "iterations": 1}', d)::jsonb) FROM unnest('{1,2,15,16,17,33,130,256}'::int[]) d$$, 'odd numbers of factors, more than items too');

-- other arguments
SELECT throws_ok($$SELECT kpx_train('courses', 'bpr')$$, '22023', 'algorithm "bpr" is not known', 'algorithm');
SELECT throws_ok($$SELECT kpx_train(NULL::text)$$, '22004', NULL, 'NULL module');
SELECT throws_ok($$SELECT kpx_train(NULL::text[])$$, '22004', NULL, 'NULL modules');
SELECT throws_ok($$SELECT kpx_train('{}'::text[])$$, '22023', NULL, 'no module');
SELECT throws_ok($$SELECT kpx_train('{courses,NULL}'::text[])$$, '22004', NULL, 'a NULL among the modules');
SELECT throws_ok($$SELECT kpx_train('{courses,courses}'::text[])$$, '22023', NULL, 'a module twice');
SELECT throws_ok($$SELECT kpx_train('{{courses},{videos}}'::text[])$$, '2202E', NULL, 'two dimensions');
SELECT throws_ok($$SELECT kpx_train('nowhere')$$, '42704', NULL, 'an unknown module');
SELECT throws_ok($$SELECT kpx_train('courses', name => '')$$, '42602', NULL, 'an empty name');
SELECT throws_ok($$SELECT kpx_train('courses', name => repeat('x', 256))$$, '42602', NULL, 'a long name');
SET LOCAL maintenance_work_mem = '1MB';
SET LOCAL kpxrec.memory_factor = 1;
SELECT is(left(app.refused('{"factors": 1024}'), 5), '53200', 'the memory budget is kept');
RESET maintenance_work_mem;
RESET kpxrec.memory_factor;

-- the same seed, the same model; in one process and with workers
CREATE TEMP TABLE runs (run text, item_id bigint, factors real[]);
CREATE FUNCTION app.run(name text, params jsonb) RETURNS void LANGUAGE sql AS $$
	WITH m AS MATERIALIZED (SELECT model FROM kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small() || params, activate => false))
	INSERT INTO runs SELECT $1, f.* FROM m, kpx_item_factors('courses', NULL::bigint, m.model) f $$;
SELECT app.run('a', '{"seed": 5}'), app.run('b', '{"seed": 5}'), app.run('c', '{"seed": 6}') \g /dev/null
SELECT ok((SELECT bool_and(a.factors = b.factors) FROM runs a JOIN runs b USING (item_id) WHERE a.run = 'a' AND b.run = 'b'), 'the same seed gives the same model, bit by bit');
SELECT ok((SELECT NOT bool_or(a.factors = c.factors) FROM runs a JOIN runs c USING (item_id) WHERE a.run = 'a' AND c.run = 'c'), 'another seed another one');

-- the process stays single-threaded, whatever BLAS is linked
SELECT is((SELECT count(*) FROM pg_ls_dir(format('/proc/%s/task', pg_backend_pid()))), 1::bigint, 'a backend has one task after training');

-- training joins modules: group 0 is told apart from one video play alone
SELECT kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small()) \g /dev/null
INSERT INTO app.plays VALUES (900, 'v3', now()), (900, 'v6', now());
SELECT ok((SELECT bool_and(item_id % 3 = 0) FROM kpx_recommend(900::bigint, 'courses', 5)), 'video -> course: a user of videos only gets courses of the same interest');
SELECT * FROM finish();
ROLLBACK;
