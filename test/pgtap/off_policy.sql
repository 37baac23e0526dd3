-- off_policy: kpx_evaluate_policy over any relation: reference values, every estimator by plain SQL, what cannot be used.
BEGIN;
SET client_min_messages = error;
\set have `test -f "$DATA_DIR/obd_men_bts.csv.gz" && echo true || echo false`
SELECT plan(34);
CREATE FUNCTION error(sql text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE sql;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

-- Open Bandit Dataset, campaign Men: the uniform policy's value from the Bernoulli Thompson sampling log
\if :have
\getenv dir DATA_DIR
CREATE TABLE obd (occurred_at timestamptz, item_id int, position int, click int, propensity float8, f0 text, f1 text, f2 text, f3 text);
\set load '\\copy obd FROM PROGRAM ''gzip -dc \"' :dir '/obd_men_bts.csv.gz\"'' CSV HEADER'
:load
CREATE VIEW obd_log AS SELECT item_id AS action, position, click AS reward, propensity, 1 / 34.0::float8 AS probability FROM obd;
CREATE TEMP TABLE result AS SELECT * FROM kpx_evaluate_policy(log => 'obd_log');
CREATE FUNCTION near(which text, what text, expected float8, within float8 DEFAULT 1e-8) RETURNS text LANGUAGE sql AS $$
	SELECT ok(abs((to_jsonb(r)->>what)::float8 - expected) <= within, format('%s %s is %s, expected %s', which, what, to_jsonb(r)->>what, expected))
	FROM result r WHERE estimator = which $$;
SELECT near('ips', 'value', 0.00300863);
SELECT near('ips', 'std_error', 0.00077394);
SELECT near('snips', 'value', 0.00318942);
SELECT near('snips', 'std_error', 0.00082782);
SELECT near('clipped_ips', 'value', 0.00300863);
SELECT near('clipped_snips', 'value', 0.00383108);
SELECT near('ips', 'effective_sample_size', 655.71, 0.005);
SELECT is((SELECT count(*) FROM result WHERE 0.0046 NOT BETWEEN low - 2 * std_error AND high + 2 * std_error), 0::bigint, 'the value measured on policy, 0.0046 +- 0.0007, is within reach of all');
SELECT is((SELECT count(*) FROM result WHERE low < value AND value < high AND rows = 10000), 7::bigint, 'bootstrap intervals enclose the values');
\else
SELECT skip('no data in ../shared/data', 9);
\endif

-- every estimator by plain SQL
CREATE TABLE log AS
SELECT n, n % 4 AS a, (n / 7) % 3 AS x, (ARRAY[0.4, 0.3, 0.2, 0.1])[1 + n % 4]::float8 AS p,
	(ARRAY[0.1, 0.1, 0.1, 0.7])[1 + n % 4]::float8 AS pi, ((n * 37) % 11)::numeric / 10 AS r, 0.3 + 0.1 * (n % 4) AS q, 0.5::real AS b, n / 5 AS visit
FROM generate_series(0, 999) n;
CREATE TEMP TABLE own AS SELECT * FROM kpx_evaluate_policy('log', 'a', 'p', 'r', 'pi', predicted => 'q', baseline => 'b',
	params => '{"clip": 2, "switch_at": 3, "bootstrap": 200}');
CREATE TEMP TABLE plain AS
WITH l AS (SELECT r::float8 AS r, pi / p AS w, least(pi / p, 2) AS c, q::float8 AS q, b::float8 AS b FROM log)
SELECT 'ips' AS estimator, avg(w * r) AS value, stddev(w * r) / sqrt(1000) AS std_error FROM l
UNION ALL SELECT 'clipped_ips', avg(c * r), stddev(c * r) / sqrt(1000) FROM l
UNION ALL SELECT 'snips', sum(w * r) / sum(w), NULL FROM l
UNION ALL SELECT 'clipped_snips', sum(c * r) / sum(c), NULL FROM l
UNION ALL SELECT 'direct', avg(b), 0 FROM l
UNION ALL SELECT 'dr', avg(b + w * (r - q)), stddev(b + w * (r - q)) / sqrt(1000) FROM l
UNION ALL SELECT 'switch_dr', avg(b + CASE WHEN w <= 3 THEN w * (r - q) ELSE 0 END), stddev(b + CASE WHEN w <= 3 THEN w * (r - q) ELSE 0 END) / sqrt(1000) FROM l;
SELECT is_empty($$SELECT * FROM own JOIN plain p USING (estimator) WHERE abs(own.value - p.value) > 1e-12 OR abs(own.std_error - p.std_error) > 1e-12$$, 'all estimators and standard errors as plain SQL says');
SELECT is((SELECT count(*) FROM own JOIN plain USING (estimator)), 7::bigint, 'all seven');
SELECT ok((SELECT bool_and(abs((high - low) / (2 * 1.96 * std_error) - 1) < 0.3) FROM own WHERE estimator <> 'direct'), 'bootstrap intervals are about as wide as +- 1.96 standard errors');
SELECT results_eq($$SELECT low, high FROM kpx_evaluate_policy('log', 'a', 'p', 'r', 'pi', estimators => '{snips}', params => '{"seed": 5, "bootstrap": 100}')$$,
	$$SELECT low, high FROM kpx_evaluate_policy('log', 'a', 'p', 'r', 'pi', estimators => '{snips}', params => '{"seed": 5, "bootstrap": 100}')$$, 'the same seed, the same interval');
SELECT is((SELECT low IS NULL AND high IS NULL AND value IS NOT NULL FROM kpx_evaluate_policy('log', 'a', 'p', 'r', 'pi', estimators => '{ips}', params => '{"bootstrap": 0}')), true, 'no replicates, no interval');
SELECT ok((SELECT abs(d.value - (SELECT sum(pi * m) FROM (SELECT a, avg(r) AS m, min(pi) AS pi FROM log GROUP BY a) c)) < 1e-3
	FROM kpx_evaluate_policy('log', 'a', 'p', 'r', 'pi', estimators => '{direct}') d), 'direct without a model: the policy''s mean of the actions'' means');
SELECT ok((SELECT bool_and(value IS NOT NULL) FROM kpx_evaluate_policy('log', 'a', 'p', 'r', 'pi', context => 'x')), 'within contexts');
SELECT is((SELECT count(*) FROM kpx_evaluate_policy('log', NULL, 'p', 'r', 'pi') WHERE value IS NULL), 3::bigint, 'without actions no reward model');
CREATE VIEW doubled AS SELECT l.* FROM log l, generate_series(1, 2);
SELECT ok((SELECT abs(a.std_error - b.std_error) < 1e-12 AND abs(a.value - b.value) < 1e-12
	FROM kpx_evaluate_policy('doubled', 'a', 'p', 'r', 'pi', unit => 'n', estimators => '{snips}', params => '{"bootstrap": 0}') a,
		kpx_evaluate_policy('log', 'a', 'p', 'r', 'pi', unit => 'n', estimators => '{snips}', params => '{"bootstrap": 0}') b), 'rows of one unit are one observation: copying them changes nothing');
CREATE VIEW typed AS SELECT a::text AS action, p::numeric AS propensity, r > 0.5 AS reward, pi::real AS probability FROM log;
SELECT ok((SELECT abs(value - (SELECT avg((r > 0.5)::int * pi::real / p) FROM log)) < 1e-9 FROM kpx_evaluate_policy('typed', estimators => '{ips}')), 'other types: numeric, real, boolean, text');

-- what cannot be used
CREATE VIEW zero AS SELECT a AS action, CASE WHEN n < 3 THEN 0 ELSE p END AS propensity, r AS reward, pi AS probability FROM log;
SELECT is(error($$SELECT kpx_evaluate_policy('zero')$$), '22023 3 rows of public.zero have a propensity that is not above 0', 'zero propensities are counted');
CREATE VIEW nan AS SELECT a AS action, p AS propensity, CASE WHEN n < 2 THEN 'NaN' ELSE r END::float8 AS reward, pi AS probability FROM log;
SELECT is(error($$SELECT kpx_evaluate_policy('nan')$$), '22023 2 rows of public.nan hold NaN or an infinite number', 'so is NaN');
CREATE VIEW above AS SELECT a AS action, p * 5 AS propensity, r AS reward, pi AS probability FROM log;
SELECT is(error($$SELECT kpx_evaluate_policy('above')$$), '22023 500 rows of public.above have a propensity above 1', 'propensities above 1');
CREATE VIEW outside AS SELECT a AS action, p AS propensity, r AS reward, pi - 0.5 AS probability FROM log;
SELECT is(error($$SELECT kpx_evaluate_policy('outside')$$), '22023 750 rows of public.outside have a policy probability outside 0 to 1', 'negative probabilities');
CREATE VIEW missing AS SELECT a AS action, p AS propensity, nullif(r, 0) AS reward, pi AS probability FROM log;
SELECT matches(error($$SELECT kpx_evaluate_policy('missing')$$), '^22004 91 rows of public.missing hold NULL', 'NULL');
CREATE VIEW empty AS SELECT a AS action, p AS propensity, r AS reward, pi AS probability FROM log WHERE false;
SELECT is((SELECT count(*) FROM kpx_evaluate_policy('empty') WHERE value IS NULL AND rows = 0), 7::bigint, 'an empty log says nothing');
CREATE VIEW weightless AS SELECT a AS action, p AS propensity, r AS reward, 0 AS probability FROM log;
SELECT is((SELECT count(*) FROM kpx_evaluate_policy('weightless', estimators => '{ips,clipped_ips,snips,clipped_snips,dr,switch_dr}') WHERE value IS NULL AND std_error IS NULL), 6::bigint, 'nor does one without weight');
SELECT is(left(error($$SELECT kpx_evaluate_policy('log', 'a', 'nope', 'r', 'pi')$$), 5), '42703', 'a column that is not there');
CREATE VIEW dated AS SELECT 1 AS action, now() AS propensity, 1 AS reward, 1 AS probability;
SELECT is(left(error($$SELECT kpx_evaluate_policy('dated')$$), 5), '42804', 'a column of another type');
SELECT is(left(error($$SELECT kpx_evaluate_policy('log', 'a', 'p', 'r', 'pi', estimators => '{magic}')$$), 5), '22023', 'an unknown estimator');
SELECT is(left(error($$SELECT kpx_evaluate_policy('log', 'a', 'p', 'r', 'pi', params => '{"clips": 1}')$$), 5), '22023', 'an unknown parameter');
SELECT is(left(error($$SELECT kpx_evaluate_policy('log', 'a', 'p', 'r', 'pi', params => '{"clip": 0}')$$), 5), '22023', 'a parameter out of range');
SELECT is(left(error($$SELECT kpx_evaluate_policy('log', 'a', 'p', 'r', 'pi', predicted => 'q')$$), 5), '22023', 'half a model');
CREATE ROLE tap_reader;
SET ROLE tap_reader;
SELECT is(left(error($$SELECT public.kpx_evaluate_policy('public.log', 'a', 'p', 'r', 'pi')$$), 5), '42501', 'a log the role may not read');
RESET ROLE;
SELECT ok((SELECT effective_sample_size < 600 FROM kpx_evaluate_policy('log', 'a', 'p', 'r', 'pi', estimators => '{ips}')), 'the effective sample size is below the number of rows');
SELECT * FROM finish();
ROLLBACK;
