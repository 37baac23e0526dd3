-- trending: what is being taken up just now, and its place among those who answer.
BEGIN;
SET kpxrec.min_users = 1; -- a few users are enough here
SELECT plan(30);
\ir fixture.psql
DELETE FROM app.enrolments;
-- half-life one day: item 1: 4 users now = 4; item 2: 6 users a day ago = 3; item 3: 20 users three days ago = 2.5;
-- item 4: one user, fifty times; item 5: 100 users last month; item 6: of the future, not on sale: 7
INSERT INTO app.enrolments SELECT u, 1, now() FROM generate_series(1, 4) u;
INSERT INTO app.enrolments SELECT u, 2, now() - interval '24 hours' FROM generate_series(1, 6) u;
INSERT INTO app.enrolments SELECT u, 3, now() - interval '72 hours' FROM generate_series(1, 20) u;
INSERT INTO app.enrolments SELECT 7, 4, now() - n * interval '1 minute' FROM generate_series(0, 49) n;
INSERT INTO app.enrolments SELECT u, 5, now() - interval '30 days' FROM generate_series(1, 100) u;
INSERT INTO app.enrolments VALUES (1, 6, now() + interval '1 day'), (1, 6, 'infinity'), (1, 6, NULL), (NULL, 6, now()), (1, NULL, now());
INSERT INTO app.enrolments SELECT u, 7, now() FROM generate_series(1, 50) u;
UPDATE app.courses SET on_sale = false WHERE id = 7;
SELECT results_eq($$SELECT rank, item_id, round(score::numeric, 4), events, users FROM kpx_trending('courses')$$,
	$$VALUES (1, '1', 4.0000, 4::bigint, 4::bigint), (2, '2', 3, 6, 6), (3, '3', 2.5, 20, 20), (4, '4', 1, 50, 1)$$, 'newer is weightier, a user counts once an item, what is not to be had is left out');
SELECT results_eq($$SELECT item_id FROM kpx_trending('courses', item_type => NULL::bigint, k => 2)$$, 'VALUES (1::bigint), (2)', 'in the type of the ids');
SELECT results_eq($$SELECT item_id FROM kpx_trending('courses', "window" => '2 days')$$, $$VALUES ('1'), ('2'), ('4')$$, 'in a window');
SELECT results_eq($$SELECT item_id FROM kpx_trending('courses', half_life => '30 days')$$, $$VALUES ('3'), ('2'), ('1'), ('4')$$, 'with a longer memory');
SELECT results_eq($$SELECT item_id FROM kpx_trending('courses', 1, "window" => '60 days', half_life => '10000 days')$$, $$VALUES ('5')$$, 'and a longer one');
SELECT is_empty($$SELECT * FROM kpx_trending('videos')$$, 'nothing of late');
INSERT INTO app.plays VALUES (1, 'v1', now()), (2, 'v1', now()), (1, 'v2', now());
SELECT results_eq($$SELECT item_id, users FROM kpx_trending('videos')$$, $$VALUES ('v1', 2::bigint), ('v2', 1)$$, 'text ids');
INSERT INTO app.courses SELECT n, 'no more', false FROM generate_series(1000, 1300) n;
INSERT INTO app.enrolments SELECT u, n, now() FROM generate_series(1000, 1300) n, generate_series(1, 5) u;
SELECT results_eq($$SELECT item_id FROM kpx_trending('courses', 2)$$, $$VALUES ('1'), ('2')$$, 'though 301 that are not to be had are stronger');
SELECT is((SELECT count(*) FROM kpx_trending('courses', 1000)), 4::bigint, 'fewer than asked for');

-- arguments
SELECT throws_ok($$SELECT * FROM kpx_trending('nothing')$$, '42704', NULL, 'no such module');
SELECT throws_ok($$SELECT * FROM kpx_trending('courses', 0)$$, '22023', NULL, 'k');
SELECT throws_ok($$SELECT * FROM kpx_trending('courses', "window" => '-1 day')$$, '22023', NULL, 'window');
SELECT throws_ok($$SELECT * FROM kpx_trending('courses', half_life => '0')$$, '22023', NULL, 'half_life');
SELECT throws_ok($$SELECT * FROM kpx_trending('courses', half_life => NULL)$$, '22004', NULL, 'NULL');
SELECT kpx_add_module('timeless', 'app.products', 'id');
SELECT kpx_add_events('timeless', 'app.orders', 'view', 'user_id', 'product_id');
SELECT throws_ok($$SELECT * FROM kpx_trending('timeless')$$, '55000', NULL, 'events without times');

-- kept for kpx_recommend
SELECT is(kpx_refresh_trending('courses'), 4::bigint, 'four items are kept');
SELECT results_eq($$SELECT item_id, reason FROM kpx_recommend(999::bigint, 'courses', 3)$$, $$VALUES (1::bigint, 'trending'), (2, 'trending'), (3, 'trending')$$, 'a module without a model answers with them');
SELECT kpx_train('courses', params => app.small()) \g /dev/null
SELECT results_eq($$SELECT item_id, reason FROM kpx_recommend(999::bigint, 'courses', 5)$$,
	$$VALUES (1::bigint, 'trending'), (2, 'trending'), (3, 'trending'), (4, 'trending'), (5, 'popular')$$, 'somebody new gets them before what is popular');
SELECT ok((SELECT bool_and(reason <> 'trending') FROM kpx_recommend(3::bigint, 'courses', 2)), 'who is known is answered by the model');
SELECT is(kpx_refresh_trending('courses', items => 1), 1::bigint, 'kept anew: one');
SELECT is((SELECT count(*) FROM kpx_recommend(999::bigint, 'courses', 5) WHERE reason = 'trending'), 1::bigint, 'one is offered');
-- the floor, and who was forgotten
SET kpxrec.min_users = 5;
SELECT is(kpx_refresh_trending('courses'), 2::bigint, 'what fewer users than the floor had is not kept');
SELECT set_eq('SELECT item_id FROM kpx.trending', ARRAY['2', '3'], 'but what six and twenty had is');
SELECT is((SELECT count(*) FROM kpx_trending('courses')), 4::bigint, 'the caller''s own tables are told whole');
SAVEPOINT forgotten;
SELECT kpx_forget_user(u) FROM generate_series(1::bigint, 2) u \g /dev/null
SELECT results_eq($$SELECT item_id, users FROM kpx_trending('courses')$$, $$VALUES ('3', 18::bigint), ('1', 2), ('2', 4), ('4', 1)$$, 'who was forgotten makes no trend');
SELECT is(kpx_refresh_trending('courses'), 1::bigint, 'and counts for no floor');
ROLLBACK TO forgotten;
SET kpxrec.min_users = 1;
SELECT kpx_refresh_trending('courses', items => 1) \g /dev/null
UPDATE kpx.trending SET good_until = now() - interval '1 second';
SELECT is((SELECT count(*) FROM kpx_recommend(999::bigint, 'courses', 5) WHERE reason = 'trending'), 0::bigint, 'none when its window is over');
SELECT kpx_refresh_trending('courses') \g /dev/null
SELECT kpx_drop_module('courses');
SELECT is((SELECT count(*) FROM kpx.trending), 0::bigint, 'they go with the module');

-- as the caller
CREATE ROLE kpx_test_stranger;
GRANT USAGE ON SCHEMA app TO kpx_test_stranger;
SET LOCAL ROLE kpx_test_stranger;
SELECT throws_ok($$SELECT * FROM kpx_trending('videos')$$, '42501', NULL, 'who may not read the events learns nothing of them');
SELECT throws_ok($$SELECT kpx_refresh_trending('videos')$$, '42501', NULL, 'and keeps nothing');
RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
