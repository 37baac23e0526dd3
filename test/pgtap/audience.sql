-- audience: who would want an item.
BEGIN;
SELECT plan(24);
\ir fixture.psql
SELECT throws_ok($$SELECT * FROM kpx_audience(3::bigint, 'courses')$$, '55000', NULL, 'before training');
SELECT model FROM kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small()) \gset
SELECT ok((SELECT bool_and(user_id % 3 = 0) FROM kpx_audience(3::bigint, 'courses', 8)), 'the group that likes such items');
SELECT results_eq($$SELECT rank, user_id, score FROM kpx_audience(3::bigint, 'courses', 10)$$,
	$$SELECT row_number() OVER (ORDER BY s DESC, u)::int, u, s FROM (SELECT u, kpx_score(u, 'courses', 3) AS s FROM generate_series(1::bigint, 60) u
		WHERE u NOT IN (SELECT user_id FROM app.enrolments WHERE course_id = 3)) x ORDER BY 1 LIMIT 10$$, 'exactly the best by kpx_score among those without it');
SELECT results_eq($$SELECT rank, user_id, score FROM kpx_audience(3::bigint, 'courses', 100, keep_seen => true)$$,
	$$SELECT row_number() OVER (ORDER BY s DESC, u)::int, u, s FROM (SELECT u, kpx_score(u, 'courses', 3) AS s FROM generate_series(1::bigint, 60) u) x ORDER BY 1$$, 'keep_seen: all of them');
CREATE TABLE app.campaign AS SELECT u AS user_id FROM unnest('{3,6,9,10,10,NULL,777}'::bigint[]) u;
SELECT set_eq($$SELECT user_id FROM kpx_audience(3::bigint, 'courses', users => 'app.campaign', keep_seen => true)$$, 'VALUES (3), (6), (9), (10)', 'among these users; those without history are left out');
SELECT results_eq($$SELECT user_id FROM kpx_audience('3', 'courses', 5)$$, $$SELECT user_id::text FROM kpx_audience(3::bigint, 'courses', 5)$$, 'an untyped literal');
SELECT ok((SELECT count(*) = 5 AND bool_and(user_id % 3 = 0) FROM kpx_audience('v3'::text, 'videos', user_type => NULL::bigint, k => 5)), 'a witness for the type of users');
SELECT is_empty($$SELECT * FROM kpx_audience(12345::bigint, 'courses')$$, 'an unknown item');
SELECT is_empty($$SELECT * FROM kpx_audience(NULL::bigint, 'courses')$$, 'a NULL item');
SELECT throws_ok($$SELECT * FROM kpx_audience(3::bigint, 'courses', 0)$$, '22023', NULL, 'k = 0');
SELECT lives_ok($$SELECT * FROM kpx_audience(3::bigint, 'courses', 2147483647)$$, 'the largest k');
SELECT throws_ok($$SELECT * FROM kpx_audience('v3'::text, 'videos', user_type => NULL::uuid)$$, '42804', NULL, 'a wrong witness');
SELECT throws_ok($$SELECT * FROM kpx_audience('x', 'courses')$$, '22P02', NULL, 'not an id');
SELECT throws_ok($$SELECT * FROM kpx_audience(3::bigint, 'courses', users => 'app.courses')$$, '42703', NULL, 'users without user_id');
SELECT throws_ok($$SELECT * FROM kpx_audience(3::bigint, 'courses', users => 'app.nowhere')$$, '42P01', NULL, 'users that are not there');
CREATE VIEW app.text_users AS SELECT user_id::text FROM app.campaign;
SELECT throws_ok($$SELECT * FROM kpx_audience(3::bigint, 'courses', users => 'app.text_users')$$, '42804', NULL, 'users of another kind of id');
INSERT INTO app.orders SELECT 778, n, now() FROM unnest('{3,6,9}'::int[]) n;
SELECT is((SELECT count(*) FROM kpx_audience(3::bigint, 'courses', 100) WHERE user_id = 778), 1::bigint, 'rows of this transaction count');
INSERT INTO app.enrolments SELECT 1000 + n, 3 * (1 + n % 9) + n % 2, now() FROM generate_series(1, 600) n;
SELECT is((SELECT count(*) FROM kpx_audience(3::bigint, 'courses', 10000, keep_seen => true)), 661::bigint, 'more users than a batch');

-- consent: without it only the module's own history speaks
CREATE TABLE app.consent (user_id bigint, source text, target text);
INSERT INTO app.consent SELECT u, 'courses', 'products' FROM generate_series(1, 30) u;
CREATE TEMP TABLE free AS SELECT * FROM kpx_audience(6::bigint, 'products', 10000, keep_seen => true);
SELECT kpx_add_consent_source('app.consent') \g /dev/null
SET kpxrec.require_consent = on;
CREATE TEMP TABLE bound AS SELECT * FROM kpx_audience(6::bigint, 'products', 10000, keep_seen => true);
SELECT is((SELECT count(*) FROM bound WHERE user_id > 1000), 0::bigint, 'who has only courses and has not let them speak for products is not reached');
SELECT cmp_ok((SELECT count(*) FROM free WHERE user_id > 1000), '=', 600::bigint, 'without the consent relation they were');
DELETE FROM app.plays;
DELETE FROM app.enrolments;
SELECT results_eq($$SELECT user_id, score FROM kpx_audience(6::bigint, 'products', 10000, keep_seen => true) WHERE user_id > 30 AND user_id <= 60 ORDER BY 1$$,
	$$SELECT user_id, score FROM bound WHERE user_id > 30 AND user_id <= 60 ORDER BY 1$$, 'as if the others were not there');

-- as the caller
CREATE ROLE kpx_test_audience;
GRANT USAGE ON SCHEMA app TO kpx_test_audience;
GRANT SELECT ON ALL TABLES IN SCHEMA app TO kpx_test_audience;
ALTER TABLE app.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON app.orders TO kpx_test_audience USING (user_id <= 12);
SET LOCAL ROLE kpx_test_audience;
SELECT ok((SELECT max(user_id) <= 12 AND count(*) > 0 FROM kpx_audience(6::bigint, 'products', 100, keep_seen => true)), 'only users whose rows the role may see');
RESET ROLE;
REVOKE SELECT ON app.orders FROM kpx_test_audience;
SET LOCAL ROLE kpx_test_audience;
SELECT throws_ok($$SELECT * FROM kpx_audience(6::bigint, 'products')$$, '42501', NULL, 'a role that may not read the sources');
RESET ROLE;
SET LOCAL transaction_read_only = on;
SELECT lives_ok($$SELECT * FROM kpx_audience(6::bigint, 'products')$$, 'in a read-only transaction');
SELECT * FROM finish();
ROLLBACK;
