-- floor: nothing is stored of items, rules and segments that rest on fewer than kpxrec.min_users users.
BEGIN;
SELECT plan(31);
\ir fixture.psql
SELECT is(current_setting('kpxrec.min_users'), '5', 'five users, unless it is said otherwise');
-- courses 101 and 102 with 4 and 5 users; 103 and 104 are the secret of one
INSERT INTO app.courses SELECT n, 'rare course ' || n FROM generate_series(101, 104) n;
INSERT INTO app.enrolments SELECT u, 101, '2026-02-01' FROM generate_series(1, 4) u;
INSERT INTO app.enrolments SELECT u, 102, '2026-02-01' FROM generate_series(1, 5) u;
INSERT INTO app.enrolments SELECT 999, c, '2026-02-01' FROM unnest(ARRAY[103, 104, 104, 104]) c;

-- every algorithm that learns from interactions
CREATE FUNCTION app.items(algorithm text, min_users int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE m bigint; found text;
BEGIN
	PERFORM set_config('kpxrec.min_users', min_users::text, true);
	m := (kpx_train(ARRAY['courses', 'products'], algorithm, CASE algorithm WHEN 'ials' THEN app.small() ELSE '{}' END, name => 'floor ' || algorithm, activate => false)).model;
	SELECT string_agg(c::text, ' ' ORDER BY c) INTO found FROM generate_series(101, 104) c
	WHERE EXISTS (SELECT FROM kpx_recommend(NULL::bigint, 'courses', 1, candidates => ARRAY[c], keep_seen => true, model => m)) OR
		EXISTS (SELECT FROM kpx_recommend(20::bigint, 'courses', 1, candidates => ARRAY[c], keep_seen => true, model => m));
	PERFORM set_config('kpxrec.min_users', '5', true);
	RETURN found;
END $$;
SELECT is(app.items(a, 5), '102', a || ': only what five users had') FROM unnest(ARRAY['ials', 'ease', 'itemknn', 'transition', 'popular']) a;
SELECT is(app.items(a, 4), '101 102', a || ': or four') FROM unnest(ARRAY['ials', 'ease', 'itemknn', 'transition', 'popular']) a;
SELECT is(app.items(a, 1), '101 102 103 104', a || ': or anybody') FROM unnest(ARRAY['ials', 'ease', 'itemknn', 'transition', 'popular']) a;
SELECT model AS m FROM kpx_train(ARRAY['courses', 'products'], params => app.small()) \gset
SELECT is_empty($$SELECT * FROM kpx_similar(103::bigint, 'courses', 5)$$, 'the neighbours of a secret are not told');
SELECT is_empty($$SELECT * FROM kpx_item_factors('courses', item_type => NULL::bigint) WHERE item_id IN (101, 103, 104)$$, 'nor are there factors');
SELECT is((SELECT count(*) FROM kpx_item_factors('courses', item_type => NULL::bigint)), 31::bigint, 'the others have theirs');
SELECT is((SELECT items FROM kpx_models WHERE model = :m), (SELECT count(*) FROM (SELECT course_id FROM app.enrolments GROUP BY 1 HAVING count(DISTINCT user_id) >= 5) c)
	+ (SELECT count(*) FROM (SELECT product_id FROM app.orders GROUP BY 1 HAVING count(DISTINCT user_id) >= 5) p), 'and are counted');
SELECT isnt((SELECT score FROM kpx_recommend(1, 'courses', 1, candidates => ARRAY[102], keep_seen => true)), NULL, 'an item is answered under its own number');

-- as if those events had not been there
SELECT loss AS floored FROM kpx_train('courses', params => app.small(), name => 'floored', activate => false) \gset
SAVEPOINT without;
DELETE FROM app.enrolments WHERE course_id IN (101, 103, 104);
SELECT is((SELECT loss FROM kpx_train('courses', params => app.small(), name => 'without', activate => false)), :floored::float8, 'the model is the one without them');
ROLLBACK TO without;
CREATE TEMP TABLE judged AS SELECT metric, value FROM kpx_evaluate(ARRAY['courses'], params => app.small());
SET kpxrec.min_users = 1;
SELECT results_eq($$SELECT metric, value FROM kpx_evaluate(ARRAY['courses'], params => app.small())$$, 'TABLE judged', 'evaluation stores nothing, and judges without the floor');
SET kpxrec.min_users = 5;

-- content knows items that nobody had
SELECT kpx_drop_module('courses'), kpx_add_module('courses', 'app.courses', 'id', title => 'title', available => 'on_sale'), kpx_add_events('courses', 'app.enrolments', 'purchase', 'user_id', 'course_id', occurred_at => 'at') \g /dev/null
SELECT kpx_train('courses', 'content') \g /dev/null
SELECT isnt_empty($$SELECT * FROM kpx_similar(103::bigint, 'courses', 5)$$, 'what an item is, is no secret');

-- rules: of users
DELETE FROM app.enrolments;
INSERT INTO app.enrolments SELECT u, c, '2026-03-01' FROM generate_series(1, 5) u, unnest(ARRAY[1, 2]) c;
INSERT INTO app.enrolments SELECT u, c, '2026-03-01' FROM generate_series(1, 4) u, unnest(ARRAY[3, 4]) c;
SELECT kpx_mine_rules('courses', 1, 0.1, 2) \g /dev/null
SELECT set_eq($$SELECT consequent_item FROM kpx_rules$$, ARRAY['1', '2'], 'rules of five users, whatever support was asked for');
-- one user in many baskets
DELETE FROM app.enrolments;
INSERT INTO app.enrolments SELECT 1, c, '2026-03-01'::timestamptz + d * interval '1 day' FROM generate_series(1, 20) d, unnest(ARRAY[1, 2]) c;
INSERT INTO app.enrolments SELECT u, c, '2026-03-01'::timestamptz + u * interval '1 day' FROM generate_series(1, 5) u, unnest(ARRAY[3, 4]) c;
SELECT kpx_mine_rules('courses', 1, 0.1, 2, 'user per 1 day') AS mined \gset
SELECT set_eq($$SELECT consequent_item FROM kpx_rules$$, ARRAY['3', '4'], 'twenty baskets of one user are one user');
SELECT is((SELECT rules FROM kpx.rule_set), 2::bigint, 'and are not counted');
SELECT set_eq($$SELECT item FROM kpx.rule_item$$, ARRAY['3', '4'], 'nor are their items named');
SET kpxrec.min_users = 1;
SELECT kpx_mine_rules('courses', 1, 0.1, 2, 'user per 1 day') \g /dev/null
SELECT set_eq($$SELECT consequent_item FROM kpx_rules$$, ARRAY['1', '2', '3', '4'], 'unless everything may be told');
SET kpxrec.min_users = 7;
SELECT throws_ok($$SELECT kpx_cluster('x', ARRAY['products'], 2, '{"min_users": 6}')$$, '22023', NULL, 'segments may ask for more, not for less');
SELECT kpx_cluster('y', ARRAY['products'], 3) \g /dev/null
SELECT cmp_ok((SELECT min(size) FROM kpx_segments), '>=', 7::bigint, 'and have as many');
SELECT * FROM finish();
ROLLBACK;
