-- noise: what is published, its ledger, and when it is refused. The distribution is tested in test/core/noise_test.c.
BEGIN;
SELECT plan(31);
\ir fixture.psql
SELECT kpx_cluster('groups', ARRAY['courses', 'products'], 3) \g /dev/null
SELECT kpx_mine_rules(ARRAY['courses', 'products'], 10, 0.1, 2) \g /dev/null
CREATE FUNCTION app.counts(release bigint) RETURNS TABLE (label text, count bigint) LANGUAGE sql AS $$SELECT c.label, c.count FROM kpx.release_count c WHERE release_id = $1$$;

SELECT throws_ok($$SELECT kpx_publish('segments', 'groups', 1)$$, '53400', 'the privacy budget is spent: 0 of 0, 1 more were asked for', 'without a budget nothing is published');
SET kpxrec.privacy_budget = 10000;
SELECT throws_ok($$SELECT kpx_publish(NULL, 'groups', 1)$$, '22004', NULL, 'what');
SELECT throws_ok($$SELECT kpx_publish('segments', NULL, 1)$$, '22004', NULL, 'of which name');
SELECT throws_ok(format('SELECT kpx_publish(''segments'', ''groups'', %s)', e), '22023', NULL, 'epsilon ' || e) FROM unnest(ARRAY['NULL', '0', '-1', '''NaN''', '''Infinity''', '0.0001', '0.5001', '1001']) e;
SELECT throws_ok($$SELECT kpx_publish('everything', 'groups', 1)$$, '22023', NULL, 'something that can be published');
SELECT throws_ok($$SELECT kpx_publish('segments', 'nothing', 1)$$, '42704', NULL, 'segments that are there');
SELECT throws_ok($$SELECT kpx_publish('popularity', 'nothing', 1)$$, '42704', NULL, 'a module that is there');
SELECT throws_ok($$SELECT kpx_publish('rules', 'videos', 1)$$, '42704', NULL, 'rules that are there');
SELECT is_empty('SELECT * FROM kpx.release', 'refusals cost nothing');
CREATE ROLE tap_noise;
GRANT EXECUTE ON FUNCTION kpx_publish(text, text, double precision, integer, integer) TO tap_noise;
SET ROLE tap_noise;
SELECT throws_ok($$SELECT kpx_publish('segments', 'groups', 1)$$, '42501', NULL, 'segments are published by their owner');
SELECT throws_ok($$SELECT kpx_publish('popularity', 'courses', 1)$$, '42501', NULL, 'modules, too');
SELECT throws_ok($$SELECT kpx_publish('rules', 'courses,products', 1)$$, '42704', NULL, 'and rules');
RESET ROLE;

-- with hardly any noise the counts are those that are there
SELECT kpx_publish('segments', 'groups', 1000) AS sizes, kpx_publish('rules', 'courses,products', 1000, "limit" => 20) AS rules, kpx_publish('popularity', 'courses', 1000, 30) AS popular,
	kpx_publish('popularity', 'courses', 1000, 2) AS two \gset
SELECT results_eq(format('SELECT sum(count) FROM app.counts(%s)', :sizes), 'SELECT sum(size) FROM kpx_segments', 'sizes of segments');
SELECT results_eq(format('SELECT count FROM app.counts(%s) ORDER BY 1 DESC', :rules), 'SELECT count FROM kpx_rules ORDER BY 1 DESC LIMIT 20', 'counts of rules');
SELECT set_eq(format('SELECT label, count FROM app.counts(%s)', :popular), 'SELECT course_id::text, count(DISTINCT user_id) FROM app.enrolments GROUP BY 1 HAVING count(DISTINCT user_id) >= 5', 'users of items');
SELECT cmp_ok((SELECT sum(count)::bigint FROM app.counts(:two)), '<=', (SELECT 2 * count(DISTINCT user_id) FROM app.enrolments), 'of each user no more than per_user items count');
SELECT is((SELECT sensitivity FROM kpx.release WHERE id = :rules), (SELECT count(*) FROM app.counts(:rules)), 'a user can be in every rule');
SELECT is((SELECT sensitivity FROM kpx.release WHERE id = :two), 2::bigint, 'and in per_user items');

-- noise: 300 releases of three sizes that are known, deviation of discrete Laplace at 0.5 (seeds cannot be set: six standard errors)
CREATE TEMP TABLE noisy AS SELECT c.label, c.count - s.size AS z FROM generate_series(1, 300) n, LATERAL (SELECT kpx_publish('segments', 'groups', 0.5 + 0 * n) AS r) p, app.counts(p.r) c
	JOIN kpx_segments s ON s.segment || ' ' || s.label = c.label WHERE s.size >= 15;
SELECT cmp_ok(abs((SELECT avg(z) FROM noisy))::float8, '<', (SELECT 6 * sqrt(2 * exp(-0.5)) / (1 - exp(-0.5)) / sqrt(count(*)) FROM noisy), 'noise has mean 0');
SELECT ok((SELECT abs(stddev(z)::float8 / (sqrt(2 * exp(-0.5)) / (1 - exp(-0.5))) - 1) < 0.25 FROM noisy), 'and its deviation');
SELECT is_empty('SELECT * FROM kpx_releases', 'the transaction that publishes does not see it: it could roll back');
SELECT is((SELECT spent FROM kpx_privacy_budget), 4150::float8, 'the ledger adds up');
SET kpxrec.privacy_budget = 4150.5;
SELECT lives_ok($$SELECT kpx_publish('segments', 'groups', 0.5)$$, 'to the last thousandth');
SELECT throws_ok($$SELECT kpx_publish('segments', 'groups', 0.001)$$, '53400', NULL, 'and no further');
SELECT * FROM finish();
ROLLBACK;
