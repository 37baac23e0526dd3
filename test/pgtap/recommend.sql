-- recommend: answers and all their options.
BEGIN;
SELECT plan(83);
\ir fixture.psql
SELECT throws_ok($$SELECT * FROM kpx_recommend(3::bigint, 'courses')$$, '55000', 'module "courses" has no active model', 'before training');
SELECT model FROM kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small()) \gset

-- kpx_recommend: what it should say
SELECT results_eq($$SELECT rank, reason ~ '^(courses|products|videos)/' FROM kpx_recommend(3::bigint, 'courses', 3)$$, 'VALUES (1, true), (2, true), (3, true)', 'ranks from 1, reasons are module/item');
SELECT ok((SELECT bool_and(item_id % 3 = 0) FROM kpx_recommend(3::bigint, 'courses', 4)), 'what the group likes first');
SELECT is_empty($$SELECT item_id FROM kpx_recommend(3::bigint, 'courses', 1000) INTERSECT SELECT course_id FROM app.enrolments WHERE user_id = 3$$, 'nothing bought before');
SELECT is((SELECT count(*) FROM kpx_recommend(3::bigint, 'courses', 1000)), 30 - (SELECT count(*) FROM app.enrolments WHERE user_id = 3), 'and everything else, when asked for more than there is');
SELECT results_eq($$SELECT item_id FROM kpx_recommend(3::bigint, 'courses', 1000)$$, $$SELECT item_id FROM kpx_recommend(3::bigint, 'courses', 1000) ORDER BY score DESC, item_id$$, 'best first, ties by item id');
SELECT results_eq($$SELECT item_id, score FROM kpx_recommend(3::bigint, 'courses', 5)$$,
	$$SELECT id, kpx_score(3::bigint, 'courses', id) s FROM app.courses WHERE id NOT IN (SELECT course_id FROM app.enrolments WHERE user_id = 3) ORDER BY s DESC, id LIMIT 5$$, 'exactly the best by kpx_score');
SELECT is((SELECT count(*) FROM kpx_recommend(3::bigint, 'courses')), 10::bigint, 'k is 10 by default');

-- keep_seen, candidates, exclude, skip, model
SELECT is((SELECT count(*) FROM kpx_recommend(3::bigint, 'courses', 1000, keep_seen => true)), 30::bigint, 'keep_seen');
SELECT set_eq($$SELECT item_id FROM kpx_recommend(3::bigint, 'courses', candidates => ARRAY[1, 2, 4]::bigint[])$$, 'VALUES (1), (2), (4)', 'candidates limit the answer');
SELECT set_eq($$SELECT item_id FROM kpx_recommend(3, 'courses', candidates => '{1,2,4}')$$, 'VALUES (1), (2), (4)', 'as an untyped literal');
SELECT throws_ok($$SELECT item_id FROM kpx_recommend(3, 'courses', candidates => '{1,x}')$$, '22P02', NULL, 'a literal that is no array of integers');
SELECT set_eq($$SELECT item_id FROM kpx_recommend('3', 'courses', candidates => '{1,2,4}', exclude => ARRAY[4])$$, $$VALUES ('1'), ('2')$$, 'all literals, and a typed array');
SELECT set_eq($$SELECT item_id FROM kpx_recommend(3::bigint, 'courses', candidates => ARRAY[1, 2, 99999])$$, 'VALUES (1), (2)', 'unknown candidates are ignored, integer arrays taken');
SELECT is_empty($$SELECT * FROM kpx_recommend(3::bigint, 'courses', candidates => '{}'::bigint[])$$, 'no candidates, no answer');
SELECT is((SELECT count(*) FROM kpx_recommend(3::bigint, 'courses', candidates => NULL::bigint[])), 10::bigint, 'NULL candidates are no restriction');
SELECT is_empty($$SELECT 1 FROM kpx_recommend(3::bigint, 'courses', 1000, exclude => ARRAY[1, 2]) WHERE item_id IN (1, 2)$$, 'exclude');
SELECT is_empty($$SELECT * FROM kpx_recommend(3::bigint, 'courses', candidates => ARRAY[1, 2], exclude => ARRAY[1, 2])$$, 'exclude beats candidates');
SELECT results_eq($$SELECT rank, item_id FROM kpx_recommend(3::bigint, 'courses', 4) UNION ALL SELECT rank, item_id FROM kpx_recommend(3::bigint, 'courses', 4, skip => 4)$$,
	$$SELECT rank, item_id FROM kpx_recommend(3::bigint, 'courses', 8)$$, 'skip is the next page');
SELECT is_empty($$SELECT * FROM kpx_recommend(3::bigint, 'courses', skip => 1000)$$, 'skipping everything');
SELECT model AS shadow FROM kpx_train(ARRAY['courses', 'products'], params => app.small() || '{"seed": 9}', name => 'shadow', activate => false) \gset
SELECT isnt((SELECT array_agg(score) FROM kpx_recommend(3::bigint, 'courses', model => :shadow)), (SELECT array_agg(score) FROM kpx_recommend(3::bigint, 'courses')), 'another model');
SELECT is((SELECT array_agg(score) FROM kpx_recommend(3::bigint, 'courses', model => :model)), (SELECT array_agg(score) FROM kpx_recommend(3::bigint, 'courses')), 'the active one by number');
SELECT throws_ok(format($$SELECT * FROM kpx_recommend(3::bigint, 'videos', NULL::text, model => %s)$$, :shadow), '42704', NULL, 'a model without this module');
SELECT throws_ok($$SELECT * FROM kpx_recommend(3::bigint, 'courses', model => 999999)$$, '42704', NULL, 'no such model');

-- id types
SELECT ok((SELECT bool_and(item_id ~ '^v') FROM kpx_recommend(3::bigint, 'videos', item_type => NULL::text)), 'text items for bigint users');
SELECT ok((SELECT bool_and(item_id ~ '^v') FROM kpx_recommend('3', 'videos', 5, candidates => '{v1,v2}')), 'untyped literals');
SELECT results_eq($$SELECT item_id FROM kpx_recommend('3', 'courses')$$, $$SELECT item_id::text FROM kpx_recommend(3::bigint, 'courses')$$, 'text form of integer ids');
SELECT results_eq($$SELECT item_id FROM kpx_recommend(3, 'courses')$$, $$SELECT item_id::int FROM kpx_recommend(3::bigint, 'courses')$$, 'a plain integer user id');
SELECT throws_ok($$SELECT * FROM kpx_recommend(3::bigint, 'videos')$$, '42804', NULL, 'text items do not fit into bigint');
SELECT throws_ok($$SELECT * FROM kpx_recommend('x', 'courses')$$, '22P02', NULL, 'a literal that is no integer');
SELECT throws_ok($$SELECT * FROM kpx_recommend(gen_random_uuid(), 'courses')$$, '42804', NULL, 'a uuid user');
SELECT throws_ok($$SELECT * FROM kpx_recommend(1.5, 'courses')$$, '42804', NULL, 'a numeric user');
SELECT throws_ok($$SELECT * FROM kpx_recommend(3::bigint, 'courses', 2::bigint)$$, '22023', NULL, 'k as a bigint is not taken for item_type');
SELECT throws_ok($$SELECT * FROM kpx_similar(3, 'courses', 2.0)$$, '22023', NULL, 'nor is a numeric one');
SELECT throws_ok($$SELECT * FROM kpx_recommend(3::bigint, 'courses', candidates => 7)$$, '42804', NULL, 'candidates that are no array');
SELECT throws_ok($$SELECT * FROM kpx_recommend(3::bigint, 'courses', candidates => '{a}'::text[])$$, '42804', NULL, 'candidates of another type');
SELECT throws_ok($$SELECT * FROM kpx_recommend(3::bigint, 'courses', candidates => ARRAY[1, NULL])$$, '22004', NULL, 'a NULL candidate');
SELECT throws_ok($$SELECT * FROM kpx_recommend(3::bigint, 'courses', exclude => ARRAY[[1], [2]])$$, '2202E', NULL, 'two dimensions');
CREATE DOMAIN app.id_list AS bigint[];
SELECT set_eq($$SELECT item_id FROM kpx_recommend(3::bigint, 'courses', candidates => '{1,2}'::app.id_list)$$, 'VALUES (1), (2)', 'a domain over an array');
SELECT throws_ok($$SELECT * FROM kpx_recommend(3::bigint, 'courses', exclude => array_fill(1::smallint, ARRAY[10000001]))$$, '54000', NULL, 'more than ten million');
SELECT throws_ok($$SELECT * FROM kpx_recommend(3::bigint, 'courses', 0)$$, '22023', NULL, 'k = 0');
SELECT throws_ok($$SELECT * FROM kpx_recommend(3::bigint, 'courses', -1)$$, '22023', NULL, 'k < 0');
SELECT throws_ok($$SELECT * FROM kpx_recommend(3::bigint, 'courses', skip => -1)$$, '22023', NULL, 'skip < 0');
SELECT lives_ok($$SELECT * FROM kpx_recommend(3::bigint, 'courses', 2147483647, skip => 2147483647)$$, 'the largest k and skip');
SELECT throws_ok($$SELECT * FROM kpx_recommend(3::bigint, 'nowhere')$$, '42704', NULL, 'an unknown module');
SELECT throws_ok($$SELECT * FROM kpx_recommend(3::bigint, NULL)$$, '22004', NULL, 'a NULL module');
SELECT is_empty($$SELECT * FROM kpx_recommend(NULL::bigint, 'courses')$$, 'a NULL user');

-- a user without history: popularity
SELECT results_eq($$SELECT item_id FROM kpx_recommend(777::bigint, 'courses', 30)$$,
	$$SELECT course_id FROM app.enrolments GROUP BY 1 ORDER BY count(*) DESC, course_id$$, 'an unknown user gets the most popular first');
SELECT is((SELECT array_agg(DISTINCT reason) FROM kpx_recommend(777::bigint, 'courses')), '{popular}', 'and is told so');

-- live: this very transaction
INSERT INTO app.orders SELECT 777, n, now() FROM unnest('{2,5,8}'::int[]) n;
SELECT ok((SELECT bool_and(item_id % 3 = 2) FROM kpx_recommend(777::bigint, 'courses', 5)), 'rows of the same transaction count; product -> course');
SELECT is_empty($$SELECT 1 FROM kpx_recommend(777::bigint, 'products', 100) WHERE item_id IN (2, 5, 8)$$, 'and hide');
UPDATE app.courses SET on_sale = false WHERE id % 3 = 2;
SELECT is_empty($$SELECT 1 FROM kpx_recommend(777::bigint, 'courses', 100) WHERE item_id % 3 = 2$$, 'unavailable items are not offered');
SELECT is((SELECT count(*) FROM kpx_recommend(777::bigint, 'courses', 100)), 20::bigint, 'the others are');
UPDATE app.courses SET on_sale = true;
DELETE FROM app.courses WHERE id = 5;
SELECT is_empty($$SELECT 1 FROM kpx_recommend(777::bigint, 'courses', 100) WHERE item_id = 5$$, 'nor deleted ones');
INSERT INTO app.courses VALUES (5, 'again');
UPDATE app.courses SET on_sale = false;
SELECT is_empty($$SELECT * FROM kpx_recommend(3::bigint, 'courses')$$, 'nothing available, nothing offered');
UPDATE app.courses SET on_sale = true;

-- hides and repeat_after
INSERT INTO app.plays VALUES (777, 'v2', now());
SELECT isnt_empty($$SELECT 1 FROM kpx_recommend(777::bigint, 'videos', NULL::text, 100) WHERE item_id = 'v2'$$, 'a view does not hide');
SAVEPOINT s;
SELECT kpx_drop_events(:plays), kpx_add_events('videos', 'app.plays', 'view', 'user_id', 'video_id', hides => true) \g /dev/null
SELECT is_empty($$SELECT 1 FROM kpx_recommend(777::bigint, 'videos', NULL::text, 100) WHERE item_id = 'v2'$$, 'unless it is told to');
ROLLBACK TO s;
SELECT kpx_drop_module('products');
SELECT kpx_add_module('products', 'app.products', 'id', repeat_after => '30 days'),
	kpx_add_events('products', 'app.orders', 'purchase', 'user_id', 'product_id', occurred_at => 'at') \g /dev/null
UPDATE app.orders SET at = now() - interval '31 days' WHERE user_id = 777 AND product_id = 5;
UPDATE app.orders SET at = now() - interval '29 days' WHERE user_id = 777 AND product_id = 8;
SELECT kpx_train('products', params => app.small()) \g /dev/null
SELECT set_eq($$SELECT item_id FROM kpx_recommend(777::bigint, 'products', 100) WHERE item_id IN (2, 5, 8)$$, 'VALUES (5)', 'repeat_after brings an item back');
INSERT INTO app.orders VALUES (777, 5, now());
SELECT is_empty($$SELECT 1 FROM kpx_recommend(777::bigint, 'products', 100) WHERE item_id IN (2, 5, 8)$$, 'until it is bought again');
ROLLBACK TO s;

-- history_limit takes the newest
INSERT INTO app.orders SELECT 778, n, now() - interval '1 day' FROM unnest('{1,4,7}'::int[]) n;
INSERT INTO app.orders SELECT 778, n, now() FROM unnest('{3,6,9}'::int[]) n;
SET LOCAL kpxrec.history_limit = 3;
SELECT set_eq($$SELECT item_id FROM kpx_explain(778::bigint, 'courses', 1::bigint)$$, $$VALUES ('3'), ('6'), ('9')$$, 'history_limit keeps the newest');
SAVEPOINT times;
INSERT INTO app.orders VALUES (778, 2, NULL), (778, 5, NULL), (778, 8, '-infinity');
SELECT set_eq($$SELECT item_id FROM kpx_explain(778::bigint, 'courses', 1::bigint)$$, $$VALUES ('3'), ('6'), ('9')$$, 'rows without a time are not the newest');
RESET kpxrec.history_limit;
DELETE FROM app.orders WHERE user_id = 778;
INSERT INTO app.orders VALUES (778, 2, '-infinity'), (778, 5, 'infinity');
SELECT lives_ok($$SELECT kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small())$$, 'infinite times are trained on where times do not count');
SELECT set_eq($$SELECT item_id FROM kpx_explain(778::bigint, 'courses', 1::bigint)$$, $$VALUES ('2'), ('5')$$, 'and answered');
ROLLBACK TO times;
RESET kpxrec.history_limit;

-- kpx_explain sums to the score
SELECT ok((SELECT bool_and(abs((SELECT sum(contribution) FROM kpx_explain(3::bigint, 'courses', id)) - kpx_score(3::bigint, 'courses', id)) < 1e-5) FROM app.courses), 'the parts sum to the score');
SELECT set_eq($$SELECT DISTINCT module FROM kpx_explain(3::bigint, 'courses', 1::bigint)$$, $$VALUES ('courses'), ('products'), ('videos')$$, 'of all modules');
SELECT results_eq($$SELECT (SELECT module || '/' || item_id FROM kpx_explain(3::bigint, 'courses', r.item_id) ORDER BY contribution DESC LIMIT 1) FROM kpx_recommend(3::bigint, 'courses') r$$,
	$$SELECT reason FROM kpx_recommend(3::bigint, 'courses')$$, 'the reason is the largest part');
SELECT is_empty($$SELECT * FROM kpx_explain(999::bigint, 'courses', 1::bigint)$$, 'no history, no parts');
SELECT is_empty($$SELECT * FROM kpx_explain(3::bigint, 'courses', 4444::bigint)$$, 'an unknown item neither');
SELECT is(kpx_score(3::bigint, 'courses', 4444::bigint), 0::real, 'kpx_score of an unknown item is 0');
SELECT is(kpx_score(3::bigint, 'videos', 'v3'::text), (SELECT score FROM kpx_recommend(3::bigint, 'videos', NULL::text, 100, candidates => ARRAY['v3'])), 'kpx_score of text items');

-- kpx_score keeps a user's vector within a statement only: PL/pgSQL keeps the call between statements
CREATE FUNCTION app.scores() RETURNS real[] LANGUAGE plpgsql AS $$
DECLARE s real; all_scores real[];
BEGIN
	FOR n IN 1..3 LOOP
		INSERT INTO app.orders VALUES (888, n * 3, now());
		s := kpx_score(888::bigint, 'courses', 3::bigint);
		all_scores := all_scores || s;
	END LOOP;
	RETURN all_scores;
END $$;
CREATE TEMP TABLE looped AS SELECT app.scores() AS x;
SELECT ok(x[1] <> x[2] AND x[2] <> x[3] AND x[3] = kpx_score(888::bigint, 'courses', 3::bigint), 'each row of the loop counts') FROM looped;

-- kpx_recommend_from: the same fold-in without a user
SELECT ok((SELECT bool_and(item_id % 3 = 1) FROM kpx_recommend_from(ARRAY[1, 4]::bigint[], 'products', 'courses', 5)), 'a cart of products gets courses');
SELECT is_empty($$SELECT 1 FROM kpx_recommend_from(ARRAY[1, 4]::bigint[], 'products', 'products', 100) WHERE item_id IN (1, 4)$$, 'what is in the cart is not offered');
INSERT INTO app.orders VALUES (779, 1, now()), (779, 4, now());
SELECT results_eq($$SELECT item_id, score FROM kpx_recommend_from(ARRAY[1, 4]::bigint[], 'products', 'courses')$$, $$SELECT item_id, score FROM kpx_recommend(779::bigint, 'courses')$$, 'as a user with these purchases gets');
SELECT is((SELECT array_agg(DISTINCT reason) FROM kpx_recommend_from('{}'::bigint[], 'products', 'courses')), '{popular}', 'an empty cart gets popularity');
SELECT ok((SELECT bool_and(item_id ~ '^v') FROM kpx_recommend_from(ARRAY[1]::bigint[], 'products', 'videos', NULL::text)), 'another item type');

-- kpx_recommend_for: a batch is what single calls are
SELECT results_eq($$SELECT user_id, rank, item_id, reason FROM kpx_recommend_for(ARRAY[5, 3, 777, 60]::bigint[], 'courses', 4)$$,
	$$SELECT u, r.rank, r.item_id, r.reason FROM unnest(ARRAY[5, 3, 777, 60]::bigint[]) WITH ORDINALITY t(u, n), kpx_recommend(u, 'courses', 4) r ORDER BY n, r.rank$$, 'users in order, each as by itself');
SELECT is((SELECT count(*) FROM kpx_recommend_for(ARRAY(SELECT n::bigint FROM generate_series(1, 2000) n), 'videos', NULL::text, 3)), 6000::bigint, 'more users than a batch has');
SELECT is_empty($$SELECT * FROM kpx_recommend_for('{}'::bigint[], 'courses')$$, 'no users');

-- kpx_similar
SELECT ok((SELECT bool_and(item_id % 3 = 1 AND score BETWEEN -1.0001 AND 1.0001) FROM kpx_similar(1::bigint, 'courses', 5)), 'similar courses');
SELECT ok((SELECT bool_and(item_id % 3 = 1) FROM kpx_similar(1::bigint, 'courses', 5, target => 'products')), 'products that go with a course');
SELECT is_empty($$SELECT 1 FROM kpx_similar(1::bigint, 'courses', 100) WHERE item_id = 1$$, 'not the item itself');
SELECT ok((SELECT bool_and(item_id::int % 3 = 1) FROM kpx_similar('1', 'courses', 5)), 'untyped literals');
SELECT * FROM finish();
ROLLBACK;
