-- cold start: who or what is new gets an answer, and its reason says where from.
BEGIN;
SELECT plan(22);
\i test/pgtap/fixture.psql
-- Topics and ages go with the groups. Users 61 to 70 have attributes and no events; 81 to 83 events of other modules only.
ALTER TABLE app.courses ADD topic text;
UPDATE app.courses SET topic = (ARRAY['python', 'music', 'law'])[id % 3 + 1];
SELECT kpx_drop_module('courses') \g /dev/null
SELECT kpx_add_module('courses', 'app.courses', 'id', available => 'on_sale', category => 'topic') \g /dev/null
SELECT kpx_add_events('courses', 'app.enrolments', 'purchase', 'user_id', 'course_id', occurred_at => 'at') \g /dev/null
CREATE TABLE app.users (user_id bigint PRIMARY KEY, city text, age int);
INSERT INTO app.users SELECT u, (ARRAY['Paris', 'Rome', 'Oslo'])[u % 3 + 1], 20 + 15 * (u % 3) FROM generate_series(1, 70) u;
SELECT kpx_add_user_attributes('app.users', 'user_id') \g /dev/null
SELECT kpx_train(ARRAY['courses', 'products', 'videos'], 'hybrid', '{"factors": 6, "iterations": 8}') \g /dev/null

-- a new user with attributes: the segment, if there are segments
SELECT is((SELECT array_agg(DISTINCT reason) FROM kpx_recommend(62::bigint, 'courses', 5)), ARRAY['popular'], 'attributes, no segmentation: popular');
SELECT is((SELECT array_agg(item_id ORDER BY rank) FROM kpx_recommend(62::bigint, 'courses', 5)), (SELECT array_agg(item_id ORDER BY rank) FROM kpx_recommend(4711::bigint, 'courses', 5)), 'what anybody gets');
SELECT kpx_cluster('groups', ARRAY['courses', 'products', 'videos']) \g /dev/null
SELECT is((SELECT array_agg(DISTINCT u || ' ' || reason) FROM unnest(ARRAY[61, 62, 63]::bigint[]) u, kpx_recommend(u, 'courses', 5) r),
	(SELECT array_agg(u || ' segment ' || label ORDER BY u) FROM unnest(ARRAY[61, 62, 63]::bigint[]) u, kpx_segment_of(u) s), 'attributes, kpx_cluster done: the user''s segment, and the reason names it');
SELECT ok((SELECT bool_and(item_id % 3 = u % 3) FROM generate_series(61::bigint, 70) u, kpx_recommend(u, 'courses', 5)), 'with what the group likes');
SELECT is((SELECT array_agg(DISTINCT reason) FROM kpx_recommend(4711::bigint, 'courses', 5)), ARRAY['popular'], 'no attributes either: popular');
SELECT results_eq('SELECT DISTINCT ON (left(reason, 7)) left(reason, 7) FROM kpx_recommend(62::bigint, ''courses'', 30) ORDER BY 1', $$VALUES ('popular'), ('segment')$$, 'a list longer than what the segment took ends with what is popular');
SELECT cmp_ok((SELECT max(rank) FROM kpx_recommend(62::bigint, 'courses', 30) WHERE reason <> 'popular'), '<', (SELECT min(rank) FROM kpx_recommend(62::bigint, 'courses', 30) WHERE reason = 'popular'), 'in this order');

-- a user of another module: joint fold-in
INSERT INTO app.orders SELECT 81, i, now() FROM generate_series(3, 12, 3) i;
INSERT INTO app.plays SELECT 82, 'v' || i, now() FROM generate_series(1, 10, 3) i;
SELECT is((SELECT array_agg(DISTINCT split_part(reason, '/', 1)) FROM kpx_recommend(81::bigint, 'courses', 5)), ARRAY['products'], 'orders only: courses, because of a product');
SELECT ok((SELECT bool_and(split_part(reason, '/', 2)::bigint IN (3, 6, 9, 12) AND item_id % 3 = 0) FROM kpx_recommend(81::bigint, 'courses', 5)), 'one the user ordered, and courses of that group');
SELECT is((SELECT array_agg(DISTINCT split_part(reason, '/', 1)) FROM kpx_recommend(82::bigint, 'courses', 5)), ARRAY['videos'], 'plays only: because of a video');
SELECT ok((SELECT bool_and(item_id % 3 = 1) FROM kpx_recommend(82::bigint, 'courses', 5)), 'courses of that group');
INSERT INTO app.users VALUES (83, 'Rome', 35);
INSERT INTO app.orders SELECT 83, i, now() FROM generate_series(3, 12, 3) i;
SELECT ok((SELECT bool_and(reason LIKE 'products/%' AND item_id % 3 = 0) FROM kpx_recommend(83::bigint, 'courses', 5)), 'events say more than attributes');
SELECT is((SELECT array_agg(DISTINCT module || '/' || item_id) FROM kpx_explain(81::bigint, 'courses', 3::bigint)), ARRAY['products/12', 'products/3', 'products/6', 'products/9'], 'kpx_explain: all of it is the products''');

-- a new item, and a user who knows nothing else
INSERT INTO app.courses VALUES (101, 'new law', true, 'law'), (102, 'new music', true, 'music');
INSERT INTO app.enrolments VALUES (84, 101, now());
SELECT is((SELECT count(*) FROM generate_series(1::bigint, 60) u, kpx_recommend(u, 'courses', 40) WHERE item_id > 100), 0::bigint, 'a new item is not offered before kpx_refresh_items');
SELECT ok((SELECT bool_and(reason LIKE 'segment law%') FROM kpx_recommend(84::bigint, 'courses', 5)), 'who took nothing but it has a profile, so a segment');
SELECT is(kpx_refresh_items('courses'), 2::bigint, 'kpx_refresh_items finds it');
SELECT is((SELECT count(DISTINCT item_id) FROM kpx_recommend(5::bigint, 'courses', 40) WHERE item_id > 100 AND reason ~ '^(courses|products|videos)/'), 2::bigint, 'then it is offered, with a past item as reason');
SELECT cmp_ok((SELECT avg(kpx_score(u, 'courses', 101::bigint) - kpx_score(u, 'courses', 102::bigint)) FROM generate_series(2::bigint, 60, 3) u), '>', 0::float8, 'new law ranks above new music for who likes law');
SELECT cmp_ok((SELECT avg(kpx_score(u, 'courses', 101::bigint) - kpx_score(u, 'courses', 102::bigint)) FROM generate_series(1::bigint, 60, 3) u), '<', 0::float8, 'and below for who likes music');
SELECT is((SELECT array_agg(DISTINCT reason) FROM kpx_recommend(84::bigint, 'courses', 5)), ARRAY['courses/101'], 'who took nothing but it is known by it');

-- without segments again
SELECT kpx_drop_segments('groups') \g /dev/null
SELECT is((SELECT array_agg(DISTINCT reason) FROM kpx_recommend(62::bigint, 'courses', 5)), ARRAY['popular'], 'segments dropped: popular again');
SELECT is((SELECT array_agg(DISTINCT reason) FROM kpx_recommend_for(ARRAY[62, 4711]::bigint[], 'courses', 3)), ARRAY['popular'], 'for many users at once, too');
SELECT * FROM finish();
ROLLBACK;
