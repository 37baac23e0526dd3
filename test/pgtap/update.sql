-- update: items with new events, and new items, between trainings.
BEGIN;
SELECT plan(52);
\ir fixture.psql
SELECT model FROM kpx_train(ARRAY['courses', 'products'], params => app.small(), name => 'm') \gset
CREATE FUNCTION app.scores(u bigint, module text) RETURNS SETOF real LANGUAGE sql AS $$SELECT score FROM kpx_recommend($1, $2, 30, keep_seen => true) ORDER BY item_id$$;
CREATE TABLE app.before AS SELECT u, s, row_number() OVER () AS n FROM generate_series(1::bigint, 9) u, app.scores(u, 'products') s;

-- nothing new
SELECT results_eq($$SELECT model, events, users, items_updated, items_added FROM kpx_update_items('courses')$$, format('VALUES (%s::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint)', :model), 'no news, nothing to do');
SELECT is((SELECT refreshed_at FROM kpx_models), NULL, 'and nothing is written');

-- a new course that the first group takes to, and one more event of an old one
INSERT INTO app.courses VALUES (31, 'new');
INSERT INTO app.enrolments SELECT u, 31, '2026-03-01 00:00+00' FROM generate_series(3, 36, 3) u;
INSERT INTO app.enrolments VALUES (1, 2, '2026-03-01 00:00+00');
SELECT results_eq($$SELECT events, items_updated, items_added FROM kpx_update_items('courses')$$, 'VALUES (13::bigint, 1::bigint, 1::bigint)', 'one item is new, one has a new event');
SELECT results_eq('SELECT newest_event, items FROM kpx_models', $$VALUES ('2026-03-01 00:00+00'::timestamptz, 61::bigint)$$, 'the model has seen them');
SELECT isnt((SELECT refreshed_at FROM kpx_models), NULL, 'and says when');
SELECT is((SELECT rank FROM kpx_recommend(45::bigint, 'courses', 30) WHERE item_id = 31) <= 5, true, 'somebody of the group is offered the new course');
SELECT ok(kpx_score(46::bigint, 'courses', 31) < 0.3 * kpx_score(45::bigint, 'courses', 31), 'somebody of another much less');
SELECT matches((SELECT reason FROM kpx_recommend(45::bigint, 'courses', 30) WHERE item_id = 31), '/', 'by the model');
SELECT ok((SELECT avg(abs(b.s - s.s)) < 0.1 FROM app.before b JOIN (SELECT s, row_number() OVER () AS n FROM generate_series(1::bigint, 9) u, app.scores(u, 'products') s) s USING (n)), 'scores of what has no news hardly move');
SELECT is_empty($$SELECT * FROM kpx_update_items('courses') WHERE events <> 0 OR items_updated <> 0$$, 'again: no news');

-- the Gram matrix that answers rely on is that of the vectors
SELECT ok((WITH f AS (SELECT factors FROM kpx_item_factors('courses') UNION ALL SELECT factors FROM kpx_item_factors('products')),
	g AS (SELECT i, j, sum(factors[i] * factors[j]) AS g FROM f, generate_series(1, 6) i, generate_series(1, 6) j GROUP BY 1, 2)
	SELECT max(abs(g)) FILTER (WHERE i <> j) < 1e-4 * max(g) AND bool_and(g >= 0) FILTER (WHERE i = j) FROM g), 'the items'' Gram matrix is diagonal');
SELECT ok((SELECT abs(sum(contribution) - max(s)) < 1e-4 FROM kpx_explain(45::bigint, 'courses', 31) e, (SELECT kpx_score(45::bigint, 'courses', 31) AS s) s), 'and an explanation sums to the score');

-- as training would: the same events trained on, and what the update made of them, order items alike
SELECT model AS again FROM kpx_train(ARRAY['courses', 'products'], params => app.small() || '{"iterations": 30}', activate => false) \gset
SELECT ok((SELECT avg(c) > 0.9 FROM (SELECT corr(a.score, b.score) AS c FROM generate_series(1::bigint, 60) u, kpx_recommend(u, 'courses', 31, keep_seen => true) a
	JOIN LATERAL kpx_recommend(u, 'courses', 31, keep_seen => true, model => :again) b ON b.item_id = a.item_id GROUP BY u) x), 'scores go with those of a training on the same events');

-- how much must be new
SAVEPOINT s;
INSERT INTO app.orders VALUES (2, 5, '2026-03-02 00:00+00');
SELECT results_eq($$SELECT events, items_updated FROM kpx_update_items('courses', growth => 0.9)$$, 'VALUES (1::bigint, 0::bigint)', 'an item that has hardly grown stays');
SELECT results_eq($$SELECT events, items_updated FROM kpx_update_items('courses', growth => 0)$$, 'VALUES (1::bigint, 1::bigint)', 'unless it is wanted; all modules of the model are looked at');
INSERT INTO app.orders VALUES (3, 6, '2026-03-02 00:00+00');
SELECT results_eq($$SELECT events, items_updated FROM kpx_update_items('products', growth => 0)$$, 'VALUES (2::bigint, 2::bigint)', 'one more of the very same time is noticed');
INSERT INTO app.orders VALUES (3, 7, '2026-02-15 00:00+00');
SELECT is((SELECT events FROM kpx_update_items('products', growth => 0)), 0::bigint, 'a late one is not');
SELECT cmp_ok((SELECT events FROM kpx_update_items('products', growth => 0, since => '2026-02-14 00:00+00')), '>=', 1::bigint, 'unless one looks further back');
INSERT INTO app.orders VALUES (777, 8, '2026-03-03 00:00+00'), (3, 9, now() + interval '1 day');
SELECT results_eq($$SELECT events, users > 1 FROM kpx_update_items('products', growth => 0)$$, 'VALUES (1::bigint, true)', 'somebody new; the future waits');
SELECT ok((SELECT bool_and(score <> 'NaN') FROM kpx_recommend(777::bigint, 'products', 30)), 'who is answered');
ROLLBACK TO s;

-- the floor: what fewer than kpxrec.min_users users had joins no model
SAVEPOINT floor;
INSERT INTO app.courses VALUES (32, 'a secret of four');
INSERT INTO app.enrolments SELECT u, 32, '2026-03-02 00:00+00' FROM generate_series(3, 12, 3) u;
SELECT results_eq($$SELECT events, users, items_updated, items_added FROM kpx_update_items('courses')$$, 'VALUES (4::bigint, 0::bigint, 0::bigint, 0::bigint)', 'an item of four users does not join');
SELECT is((SELECT refreshed_at FROM kpx_models WHERE model = :model), (SELECT refreshed_at FROM kpx_models WHERE model = :model AND newest_event = '2026-03-01 00:00+00'), 'and the model stays as it was');
INSERT INTO app.courses VALUES (33, 'everybody''s');
INSERT INTO app.enrolments SELECT u, 33, '2026-03-02 00:00+00' FROM generate_series(3, 36, 3) u;
SELECT results_eq($$SELECT events, items_added FROM kpx_update_items('courses', growth => 0)$$, 'VALUES (16::bigint, 1::bigint)', 'not beside one of twelve, either');
SELECT is_empty($$SELECT * FROM kpx_item_factors('courses', item_type => NULL::bigint) WHERE item_id = 32$$, 'nothing is told of it');
SELECT is((SELECT score > 0 FROM kpx_recommend(45::bigint, 'courses', 1, candidates => ARRAY[33])), true, 'the other one has its own row');
INSERT INTO app.enrolments VALUES (15, 32, '2026-03-03 00:00+00');
SELECT results_eq($$SELECT events, items_added FROM kpx_update_items('courses', growth => 0)$$, 'VALUES (1::bigint, 1::bigint)', 'with a fifth user it joins');
ROLLBACK TO floor;
-- who was forgotten, or has not consented, is not counted
INSERT INTO app.courses VALUES (32, 'five had it');
INSERT INTO app.enrolments SELECT u, 32, '2026-03-02 00:00+00' FROM generate_series(3, 15, 3) u;
SELECT kpx_forget_user(15::bigint) \g /dev/null
SELECT results_eq($$SELECT events, items_added FROM kpx_update_items('courses')$$, 'VALUES (4::bigint, 0::bigint)', 'who was forgotten is not one of the five');
ROLLBACK TO floor;
INSERT INTO app.courses VALUES (32, 'five had it');
INSERT INTO app.enrolments SELECT u, 32, '2026-03-02 00:00+00' FROM generate_series(3, 15, 3) u;
SET LOCAL kpxrec.require_consent = on;
SELECT results_eq($$SELECT events, users, items_added FROM kpx_update_items('courses')$$, 'VALUES (0::bigint, 0::bigint, 0::bigint)', 'nor is who has not consented');
SELECT kpx_set_consent(u, 'courses'::text, 'products') FROM generate_series(3::bigint, 12, 3) u \g /dev/null
SELECT results_eq($$SELECT events, items_added FROM kpx_update_items('courses')$$, 'VALUES (4::bigint, 0::bigint)', 'four have');
SELECT kpx_set_consent(15::bigint, 'courses'::text, 'products') \g /dev/null
SELECT results_eq($$SELECT events, users, items_added FROM kpx_update_items('courses')$$, 'VALUES (5::bigint, 5::bigint, 1::bigint)', 'all five have');
ROLLBACK TO floor;
-- an old item whose users have all but left keeps its row
CREATE TEMP TABLE had_it AS SELECT user_id, row_number() OVER (ORDER BY user_id) AS n FROM (SELECT DISTINCT user_id FROM app.enrolments WHERE course_id = 3) u;
SELECT kpx_forget_user(user_id) FROM had_it WHERE n > 4 \g /dev/null
INSERT INTO app.enrolments SELECT user_id, 3, '2026-03-02 00:00+00' FROM had_it WHERE n = 1;
SELECT results_eq($$SELECT items_updated FROM kpx_update_items('courses', growth => 0)$$, 'VALUES (0::bigint)', 'an item with four users left is not solved anew');
SET LOCAL kpxrec.min_users = 4;
SELECT results_eq($$SELECT items_updated FROM kpx_update_items('courses', growth => 0)$$, 'VALUES (1::bigint)', 'unless four are enough');
ROLLBACK TO floor;

-- patches: only what changed is written, beside what was there; the vectors of all else are turned, and so their products stay
SAVEPOINT p;
SELECT kpx_train(ARRAY['courses', 'videos'], params => app.small(), name => 'p') AS trained \gset
SELECT active_model AS p FROM kpx_modules WHERE module = 'videos' \gset
CREATE FUNCTION app.products() RETURNS TABLE (a text, b text, product float8) LANGUAGE sql AS $$
	WITH f AS MATERIALIZED (SELECT 'c' || item_id AS id, factors FROM kpx_item_factors('courses') UNION ALL SELECT item_id, factors FROM kpx_item_factors('videos'))
	SELECT a.id, b.id, (SELECT sum(x * y) FROM unnest(a.factors, b.factors) u(x, y)) FROM f a, f b WHERE a.id <= b.id$$;
CREATE TABLE app.products_before AS SELECT * FROM app.products();
CREATE VIEW app.patches AS SELECT count(DISTINCT seq) AS n, count(*) AS blocks, sum(length(data)) AS bytes FROM kpx.model_block WHERE model_id = :p AND kind ~ '^patch_(ids|rows|popularity)$';
CREATE TEMP TABLE rows_before AS SELECT data FROM kpx.model_block WHERE model_id = :p AND kind = 'factors';
INSERT INTO app.videos VALUES ('a first of all'), ('zz last');
INSERT INTO app.plays SELECT u, v, '2026-03-01 00:00+00' FROM generate_series(3, 36, 3) u, unnest('{a first of all,zz last,v6}'::text[]) v;
SELECT results_eq($$SELECT items_updated, items_added FROM kpx_update_items('videos')$$, 'VALUES (1::bigint, 2::bigint)', 'new items before and behind all others, and one that has grown');
SELECT results_eq('SELECT n, blocks FROM app.patches', 'VALUES (1::bigint, 3::bigint)', 'are one patch of one module');
SELECT results_eq(format('SELECT data FROM kpx.model_block WHERE model_id = %s AND kind = %L', :p, 'factors'), 'TABLE rows_before', 'and nothing else of the items is written');
CREATE VIEW app.moved AS SELECT max(abs(n.product - o.product)) AS by, count(*) AS pairs FROM app.products() n JOIN app.products_before o USING (a, b) WHERE 'v6' NOT IN (a, b);
SELECT ok((SELECT by < 1e-5 AND pairs = (SELECT count(*) FROM app.products_before WHERE 'v6' NOT IN (a, b)) FROM app.moved), 'products of the vectors of all others stay');
SELECT cmp_ok((SELECT sum((n.product - o.product) ^ 2) FROM app.products() n JOIN app.products_before o USING (a, b) WHERE 'v6' IN (a, b)), '>', 0.001::float8, 'those of the one that has grown do not');
SELECT is((SELECT array_agg(item_id ORDER BY item_id COLLATE "C") FROM kpx_item_factors('videos') WHERE item_id !~ '^v[0-9]'), ARRAY['a first of all', 'zz last'], 'new items have their places');
SELECT cmp_ok((SELECT rank FROM kpx_recommend('45', 'videos', 40) WHERE item_id = 'zz last'), '<=', 12, 'and are recommended to the group');
SELECT is((SELECT trained_items FROM kpx_modules WHERE module = 'videos'), 32::bigint, 'and counted');
SELECT kpx_import_model(kpx_export_model(:p), 'travelled') AS travelled \gset
SELECT results_eq(format($$SELECT item_id, score FROM kpx_recommend('45', 'videos', 40, model => %s)$$, :travelled), $$SELECT item_id, score FROM kpx_recommend('45', 'videos', 40)$$, 'patches travel');
-- again and again, by one item of each module, until all is written anew; what became of it does not depend on that
CREATE FUNCTION app.again(n int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE most bigint := 0;
BEGIN
	FOR i IN 1..n LOOP
		INSERT INTO app.plays VALUES (3 * i, 'v9', '2026-03-02 00:00+00'::timestamptz + i * interval '1 minute');
		INSERT INTO app.enrolments VALUES (3 * i, 9, '2026-03-02 00:00+00'::timestamptz + i * interval '1 minute');
		PERFORM kpx_update_items('videos', growth => 0);
		most := greatest(most, (SELECT p.n FROM app.patches p));
	END LOOP;
	RETURN most;
END $$;
SELECT cmp_ok(app.again(12), '>', 4::bigint, 'patch after patch');
SELECT cmp_ok((SELECT n FROM app.patches), '<', 8::bigint, 'until they are a quarter of the model');
SELECT ok((SELECT max(abs(n.product - o.product)) < 1e-4 FROM app.products() n JOIN app.products_before o USING (a, b) WHERE NOT ARRAY['v6', 'v9', 'c9'] && ARRAY[a, b]), 'and after 13 updates all others are what they were');
UPDATE kpx.model_block SET data = set_byte(data, length(data) - 1, 255 - get_byte(data, length(data) - 1)) WHERE model_id = :p AND kind = 'patch_rows';
UPDATE kpx.model SET refreshed_at = clock_timestamp() WHERE id = :p;
SELECT is((SELECT max(app.error($$SELECT kpx_score('1', 'videos', 'v1')$$)) FROM app.patches WHERE n > 0), format('XX001 model %s is corrupt: a checksum does not match | Activate another model with kpx_activate, or train again.', :p), 'a damaged patch is found');
ROLLBACK TO p;

-- who and what
SELECT throws_ok($$SELECT kpx_update_items('videos')$$, '55000', NULL, 'no active model');
SELECT throws_ok($$SELECT kpx_update_items(NULL)$$, '22004', NULL, 'NULL');
SELECT throws_ok($$SELECT kpx_update_items('nothing')$$, '42704', NULL, 'no such module');
SELECT throws_ok($$SELECT kpx_update_items('courses', growth => -1)$$, '22023', NULL, 'growth below zero');
SELECT kpx_train('videos', 'itemknn') \g /dev/null
SELECT throws_ok($$SELECT kpx_update_items('videos')$$, '55000', NULL, 'an algorithm that cannot');
SELECT lives_ok($$SELECT kpx_import_model(kpx_export_model((SELECT active_model FROM kpx_modules WHERE module = 'courses')))$$, 'an updated model travels');
CREATE ROLE kpx_test_stranger;
SET LOCAL ROLE kpx_test_stranger;
SELECT throws_ok($$SELECT kpx_update_items('courses')$$, '42501', NULL, 'for its owner');
RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
