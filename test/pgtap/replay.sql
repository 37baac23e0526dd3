-- replay: versions of the policy judged from the log of another, against a planted truth; optimising.
BEGIN;
SET client_min_messages = error;
SELECT plan(25);
\ir fixture.psql
SET client_min_messages = error;
SELECT model FROM kpx_train(ARRAY['courses', 'products'], params => app.small()) \gset
SELECT kpx_set_policy(params => '{"epsilon": 0.8, "top": 12, "diversity": 0, "value": 1}') AS logging \gset
SELECT kpx_set_policy(params => '{"lambda": 0.9, "epsilon": 0.1}', activate => false) AS other \gset
SELECT kpx_set_policy('courses', '{"max_per_slate": 0}', activate => false) AS tight \gset
SELECT throws_ok('SELECT kpx_optimize_policy()', '55000', '0 logged slates of 0 users are too few to optimise on, expected at least 100 of 20', 'nothing to optimise on');
SELECT is((SELECT count(*) FROM kpx_evaluate_policy(:logging, NULL) WHERE value IS NULL AND rows = 0), 7::bigint, 'nothing to judge from');

-- planted: what an impression earns in the mean; products earn four times as much as courses, and every item its own
CREATE FUNCTION app.planted(module text, item text) RETURNS float8 LANGUAGE sql IMMUTABLE AS
$$SELECT (CASE module WHEN 'products' THEN 0.4 ELSE 0.1 END) * (0.5 + (hashtext(module || item) & 1023) / 1023.0)$$;
CREATE TEMP TABLE shown AS SELECT s.* FROM generate_series(1, 1800) n, kpx_recommend_slate((1 + n % 60)::bigint, ARRAY['courses', 'products'], 1, 'courses', log => true) s;
SELECT setseed(0.25) \g /dev/null
CREATE TEMP TABLE earned AS SELECT slate_id, rank, module, item_id FROM shown WHERE random() < app.planted(module, item_id);
SELECT is((SELECT count(*) FROM earned WHERE kpx_feedback(slate_id, item_id, 'conversion', 1, module => module) <> 'recorded'), 0::bigint, 'conversions as planted');

-- the logging policy itself: weights of 1
SELECT is((SELECT (rows, round(effective_sample_size))::text FROM kpx_evaluate_policy(:logging, NULL) WHERE estimator = 'ips'), '(1800,1800)', 'a policy judged from its own log: every row counts fully');
SELECT is((SELECT round(value::numeric, 9) FROM kpx_evaluate_policy(:logging, NULL, '{ips}')), (SELECT round(count(*) / 1800.0, 9) FROM earned), 'and the value is what a slate earned');
SELECT is((SELECT round(value::numeric, 9) FROM kpx_evaluate_policy(:logging, NULL, '{snips}', 'click')), (SELECT round(count(*) / 1800.0, 9) FROM earned), 'clicks: conversions are clicks');
SELECT is((SELECT count(*) FROM kpx_evaluate_policy(:logging, now() + interval '1 hour') WHERE rows = 0), 7::bigint, 'since');

-- another policy: its truth by what it shows
CREATE TEMP TABLE truth AS SELECT sum(app.planted(module, item_id)) / 1200 AS value
FROM generate_series(1, 1200) n, kpx_recommend_slate((1 + n % 60)::bigint, ARRAY['courses', 'products'], 1, 'courses', policy => :other) s;
CREATE TEMP TABLE judged AS SELECT e.*, t.value AS truth FROM kpx_evaluate_policy(:other, NULL) e, truth t;
SELECT ok(abs(value - truth) < 3.5 * std_error + 0.02, format('%s of another policy: %s +- %s, in truth %s', estimator, round(value::numeric, 3), round(std_error::numeric, 3), round(truth::numeric, 3)))
FROM judged WHERE estimator IN ('ips', 'snips', 'dr');
SELECT ok((SELECT truth - count / 1800.0 > 0.05 FROM truth t(truth), (SELECT count(*) FROM earned) c), 'which differs from the logging one''s');
SELECT ok((SELECT effective_sample_size < 1000 FROM judged WHERE estimator = 'ips'), 'at a smaller effective sample size');
SELECT ok((SELECT std_error FROM judged WHERE estimator = 'clipped_ips') <= (SELECT std_error + 1e-9 FROM judged WHERE estimator = 'ips'), 'clipping does not widen');
SELECT ok((SELECT value < (SELECT value FROM judged WHERE estimator = 'ips') FROM kpx_evaluate_policy(:tight, NULL, '{ips}')), 'rooms are tightened by the judged policy');
SELECT results_eq(format('SELECT estimator, value, low FROM kpx_evaluate_policy(%s::int, NULL)', :other), format('SELECT estimator, value, low FROM kpx_evaluate_policy(%s::bigint, NULL)', :other), 'integer or bigint');

-- optimising
SELECT setseed(0.5) \g /dev/null
CREATE TEMP TABLE proposed AS SELECT * FROM kpx_optimize_policy('{"iterations": 12}');
SELECT ok((SELECT policy IS NOT NULL AND converged FROM proposed), 'a version is proposed');
SELECT ok((SELECT lift > 0 AND low < lift AND lift < high FROM proposed), 'with its lift and interval, measured on the other half');
SELECT is((SELECT active FROM kpx_policies WHERE policy = (SELECT policy FROM proposed)), false, 'it is not active');
SELECT is((SELECT policy FROM kpx_policies WHERE active), :logging::bigint, 'the one in charge still is');
SELECT ok((SELECT (expected->>'lift')::float8 > 0 AND settings#>>'{all,value}' = '1' FROM kpx_policies WHERE policy = (SELECT policy FROM proposed)), 'it says what is expected, and keeps other settings');
SELECT policy AS best FROM proposed \gset
SELECT ok((SELECT sum(app.planted(module, item_id)) / 600 FROM generate_series(1, 600) n, kpx_recommend_slate((1 + n % 60)::bigint, ARRAY['courses', 'products'], 1, 'courses', policy => :best) s)
	> (SELECT count(*) / 1800.0 + 0.05 FROM earned), 'and it does earn more');
SELECT ok((SELECT diversity_after >= diversity_before * 0.85 FROM proposed), 'within its guard-rail of diversity');
SELECT is(left(app.error($$SELECT kpx_optimize_policy('{"iterations": 0}')$$), 5), '22023', 'a parameter out of range');
CREATE ROLE tap_nobody;
SET ROLE tap_nobody;
SELECT throws_ok('SELECT kpx_optimize_policy()', '42501', NULL, 'only owners of all modules optimise');
SELECT is((SELECT max(rows) FROM kpx_evaluate_policy(1, NULL)), 0::bigint, 'others see no slates');
RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
