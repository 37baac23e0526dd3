-- tune: kpx_tune, kpx_trials, kpx_best_params.
BEGIN;
SELECT plan(42);
\ir fixture.psql
CREATE FUNCTION app.three() RETURNS text[] LANGUAGE sql IMMUTABLE AS $$SELECT ARRAY['courses', 'products', 'videos']$$;
SELECT is(kpx_best_params(app.three()), NULL, 'before any run there are no best parameters');
CREATE TEMP TABLE first AS SELECT row_number() OVER () AS place, t.* FROM kpx_tune(app.three(), ARRAY['ials', 'itemknn', 'ease'], 9,
	'{"ials": {"factors": [2, 8], "iterations": 6}, "regularization": [0.01, 50], "weighting": ["cosine", "tfidf"], "neighbours": 20}', seed => 3) t;

-- what comes back
SELECT results_eq('SELECT count(*), count(DISTINCT trial), count(DISTINCT run) FROM first', 'VALUES (9::bigint, 9::bigint, 1::bigint)', 'a row a trial');
SELECT results_eq('SELECT share, count(*) FROM first GROUP BY 1 ORDER BY 1', $$VALUES (0.25::float8, 6::bigint), (0.5, 2), (1, 1)$$, 'nine trials, the best three again on half of the users, the best of them on all');
SELECT results_eq('SELECT trial FROM first ORDER BY place', 'SELECT trial FROM first ORDER BY share DESC, value DESC, trial', 'the best first');
SELECT is_empty('SELECT trial FROM first WHERE NOT (value BETWEEN 0 AND 1 AND std_error > 0 AND seconds > 0)', 'values with standard errors');
SELECT results_eq('SELECT algorithm, count(*) FROM first GROUP BY 1 ORDER BY 1', $$VALUES ('ease', 3::bigint), ('ials', 3), ('itemknn', 3)$$, 'as many trials of each algorithm');
SELECT is_empty($$SELECT trial FROM first WHERE algorithm = 'ials' AND NOT ((params->>'factors')::numeric BETWEEN 2 AND 8 AND params->>'factors' !~ '\.' AND params->>'iterations' = '6')$$, 'whole numbers in their range, values fixed');
SELECT is_empty($$SELECT trial FROM first WHERE algorithm IN ('ials', 'ease') AND NOT (params->>'regularization')::numeric BETWEEN 0.01 AND 50$$, 'a range for all that know the key');
SELECT is_empty($$SELECT trial FROM first WHERE algorithm = 'itemknn' AND NOT (params->>'weighting' IN ('cosine', 'tfidf') AND params->>'neighbours' = '20' AND (params->>'shrinkage')::numeric BETWEEN 0.1 AND 100)$$, 'choices, and the algorithm''s own range where none is given');
SELECT cmp_ok((SELECT count(DISTINCT params) FROM first), '>=', 9::bigint, 'trials differ');

-- the same seed, the same trials and values; another one others
CREATE TEMP TABLE again AS SELECT * FROM kpx_tune(app.three(), ARRAY['ials', 'itemknn', 'ease'], 9,
	'{"ials": {"factors": [2, 8], "iterations": 6}, "regularization": [0.01, 50], "weighting": ["cosine", "tfidf"], "neighbours": 20}', seed => 3);
SELECT results_eq('SELECT trial, params, share, value, std_error FROM first ORDER BY trial', 'SELECT trial, params, share, value, std_error FROM again ORDER BY trial', 'reproducible');
SELECT isnt((SELECT array_agg(params ORDER BY trial) FROM first), (SELECT array_agg(params ORDER BY trial) FROM kpx_tune(app.three(), ARRAY['ials', 'itemknn', 'ease'], 3, '{"iterations": 2, "factors": [2, 8]}', seed => 4)), 'another seed draws others');

-- what is kept
SELECT results_eq('SELECT trial, algorithm, value, share, params FROM kpx_trials WHERE run = (SELECT run FROM first LIMIT 1) ORDER BY trial',
	'SELECT trial, algorithm, value, share, params FROM first ORDER BY trial', 'kpx_trials keeps every trial');
SELECT ok((SELECT bool_and(abs(value - (by_module[1] + by_module[2] + by_module[3]) / 3) < 1e-12) FROM kpx_trials WHERE run = (SELECT run FROM first LIMIT 1)), 'the value is the mean over modules');
SELECT is(kpx_best_params(app.three(), run => (SELECT run FROM first LIMIT 1)), (SELECT params FROM first WHERE place = 1), 'kpx_best_params');
SELECT is(kpx_best_params(app.three(), 'ease', (SELECT run FROM first LIMIT 1))->>'algorithm', 'ease', 'of one algorithm');
SELECT isnt((SELECT max(run) FROM kpx_trials), (SELECT run FROM first LIMIT 1), 'there was a newer run');
SELECT is(kpx_best_params(app.three()), (SELECT params FROM kpx_trials WHERE run = (SELECT max(run) FROM kpx_trials) ORDER BY share DESC, value DESC LIMIT 1), 'which counts when none is named');
SELECT is(kpx_best_params('{videos}'), NULL, 'runs over other modules do not');

-- and used: the value is what kpx_evaluate says of these parameters, the method itself is chosen
SELECT params AS best, value AS best_value FROM first WHERE place = 1 \gset
SELECT ok((SELECT abs(avg(value) - :best_value) < 1e-9 FROM kpx_evaluate(app.three(), 10, params => :'best'::jsonb, seed => 3) WHERE metric = 'ndcg@10'), 'kpx_evaluate agrees');
SELECT lives_ok($$SELECT kpx_train(app.three(), params => kpx_best_params(app.three(), 'itemknn'))$$, 'kpx_train takes kpx_best_params');
SELECT is((SELECT algorithm FROM kpx_models ORDER BY model DESC LIMIT 1), 'itemknn', 'and the algorithm they name');
SELECT throws_ok($$SELECT kpx_train(app.three(), 'ease', params => kpx_best_params(app.three(), 'itemknn'))$$, '22023', NULL, 'not against another one asked for');

-- one module counts; weights of modules
CREATE TEMP TABLE aimed AS SELECT * FROM kpx_tune(app.three(), 'itemknn', 3, '{"module_weights": {"courses": [0.1, 1], "videos": {"weight": [2, 2], "half_life": 5}}}', target => 'products', metric => 'hit_rate');
SELECT ok((SELECT bool_and(t.value = k.by_module[2] AND k.target = 'products' AND k.metric = 'hit_rate') FROM aimed t JOIN kpx_trials k USING (run, trial)), 'target: one module counts');
SELECT ok((SELECT bool_and((params->'module_weights'->>'courses')::numeric BETWEEN 0.1 AND 1 AND params->'module_weights'->'videos' = '{"weight": 2, "half_life": 5}') FROM aimed), 'ranges for module_weights');

-- hybrid: ranges of its parts' parameters, and ranges of its own
CREATE TEMP TABLE mixed AS SELECT * FROM kpx_tune('{courses,products}', ARRAY['hybrid', 'itemknn'], 6,
	'{"itemknn": {"asymmetry": [0.1, 0.4], "weighting": ["cosine", "bm25"], "neighbours": 20}, "rules": [true, false], "iterations": 2, "factors": [2, 8]}');
SELECT ok((SELECT bool_and((params->'itemknn'->>'asymmetry')::numeric BETWEEN 0.1 AND 0.4 AND params->'itemknn'->>'weighting' IN ('cosine', 'bm25') AND params->'itemknn'->'neighbours' = '20'
	AND params->'rules' IN ('true', 'false')) FROM mixed WHERE algorithm = 'hybrid'), 'parameters of a part are drawn inside its object');
SELECT cmp_ok((SELECT count(DISTINCT params->'itemknn'->>'asymmetry') FROM mixed WHERE algorithm = 'hybrid'), '=', 3::bigint, 'by trial');
SELECT ok((SELECT bool_and((params->>'asymmetry')::numeric BETWEEN 0.1 AND 0.4 AND params->>'neighbours' = '20' AND params->'itemknn' IS NULL) FROM mixed WHERE algorithm = 'itemknn'), 'and serve the method alone beside it');
SELECT ok((SELECT bool_and((params->>'regularization')::numeric BETWEEN 0.003 AND 0.1 AND (params->>'unobserved_weight')::numeric BETWEEN 0.003 AND 0.1) FROM mixed WHERE algorithm = 'hybrid'), 'what is not given is drawn from ranges of its own');
SELECT lives_ok($$SELECT kpx_train('{courses,products}'::text[], params => (SELECT params FROM mixed WHERE algorithm = 'hybrid' LIMIT 1), activate => false)$$, 'kpx_train takes them');
SELECT is(app.error($$SELECT kpx_tune('{courses}', 'hybrid', params => '{"itemknn": {"charm": [1, 2]}}')$$), '22023 parameter "charm" is not known to algorithm "itemknn" | kpx_train lists what an algorithm knows.', 'a key the part does not know');
SELECT is(app.error($$SELECT kpx_tune('{courses}', 'hybrid', params => '{"itemknn": {"asymmetry": [2, 1]}}')$$), '22023 the range of parameter "asymmetry" ends before it begins', 'a bad range inside');

-- the budget ends it and keeps what there is
SET LOCAL client_min_messages = error;
SELECT cmp_ok((SELECT count(*) FROM kpx_tune('{courses}', 'ials', 1000, '{"factors": 64, "iterations": 50}', time_budget => '200 milliseconds')), '<', 1000::bigint, 'time_budget ends the search');
SELECT cmp_ok((SELECT count(*) FROM kpx_tune('{courses}', 'popular', 5, time_budget => '1 microsecond')), '=', 1::bigint, 'never without a result');

-- mistakes, before anything is read
SELECT is(app.error($$SELECT kpx_tune('{courses}', 'ials', params => '{"factor": [1, 2]}')$$), '22023 parameter "factor" is not known to any algorithm to be tried | kpx_train lists what an algorithm knows.', 'an unknown key');
SELECT is(left(app.error($$SELECT kpx_tune('{courses}', 'ials', params => '{"factors": [2000, 3000]}')$$), 5), '22023', 'a range out of range');
SELECT is(app.error($$SELECT kpx_tune('{courses}', 'ials', params => '{"factors": [8, 2]}')$$), '22023 the range of parameter "factors" ends before it begins', 'a range the wrong way round');
SELECT is(left(app.error($$SELECT kpx_tune('{courses}', 'ials', params => '{"factors": []}')$$), 5), '22023', 'an empty range');
SELECT is(left(app.error($$SELECT kpx_tune('{courses}', 'ials', params => '{"ease": {"regularization": 1}}')$$), 5), '22023', 'ranges of an algorithm that is not tried');
SELECT is(left(app.error($$SELECT kpx_tune('{courses}', 'ials', metric => 'clicks')$$), 5), '22023', 'an unknown metric');
SELECT is(left(app.error($$SELECT kpx_tune('{courses}', 'ials', target => 'videos')$$), 5), '22023', 'a target that is not tuned');
SELECT is(left(app.error($$SELECT kpx_tune('{courses}', 'ials', trials => 0)$$), 5), '22023', 'no trials');
SELECT * FROM finish();
ROLLBACK;
