-- segment: groups of users, their segment live, and what is popular in it.
BEGIN;
SELECT plan(79);
\i test/pgtap/fixture.psql
-- Every group has its topic, city and age; users 61 to 70 have attributes and no events.
ALTER TABLE app.courses ADD topic text;
UPDATE app.courses SET topic = (ARRAY['python', 'music', 'law'])[id % 3 + 1];
SELECT kpx_drop_module('courses') \g /dev/null
SELECT kpx_add_module('courses', 'app.courses', 'id', available => 'on_sale', category => 'topic') \g /dev/null
SELECT kpx_add_events('courses', 'app.enrolments', 'purchase', 'user_id', 'course_id', occurred_at => 'at') \g /dev/null
CREATE TABLE app.users (user_id bigint PRIMARY KEY, city text, age int, vip boolean, joined date);
INSERT INTO app.users SELECT u, (ARRAY['Paris', 'Rome', 'Oslo'])[u % 3 + 1], 20 + 15 * (u % 3), u % 2 = 0, '2025-01-01'::date + u
FROM generate_series(1, 70) u;
UPDATE app.users SET city = 'Atlantis' WHERE user_id = 7;
UPDATE app.users SET city = NULL WHERE user_id IN (8, 9, 10, 11, 12, 13);
SELECT kpx_add_user_attributes('app.users', 'user_id') \g /dev/null
SELECT kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small()) \g /dev/null

-- making them
CREATE TEMP TABLE made AS SELECT * FROM kpx_cluster('groups', ARRAY['courses', 'products', 'videos']);
SELECT is((SELECT segments FROM made), 3, 'the silhouette finds the three groups');
SELECT is((SELECT users FROM made), 60::bigint, 'all users with events were clustered');
SELECT cmp_ok((SELECT silhouette FROM made), '>', 0.3::float8, 'and they lie apart');
SELECT results_eq('SELECT segment, size FROM kpx_segments ORDER BY 1', 'VALUES (1, 20::bigint), (2, 20), (3, 20)', 'kpx_segments: sizes');
SELECT is((SELECT sum(share) FROM kpx_segments), 1::real, 'shares sum to 1');
SELECT is((SELECT count(DISTINCT label) FROM kpx_segments), 3::bigint, 'labels differ');
SELECT set_eq($$SELECT (centroid->>'age')::numeric FROM kpx_segments$$, 'VALUES (20::numeric), (35), (50)', 'centroids are in original units: age');
SELECT set_eq($$SELECT (centroid->>'interest python')::numeric FROM kpx_segments$$, 'VALUES (0::numeric), (1)', 'and shares of interests');
SELECT ok((SELECT bool_and((centroid->>'joined')::date BETWEEN '2025-01-25' AND '2025-02-05') FROM kpx_segments), 'and dates');
SELECT ok((SELECT bool_and((centroid->>'courses days since last')::float8 BETWEEN 1 AND 100000) FROM kpx_segments), 'and days since');
SELECT ok((SELECT label ~ 'python' FROM kpx_segments WHERE (centroid->>'age')::int = 20), 'a label names what sets a segment apart');
SELECT ok((SELECT bool_and(label !~ '^(many|few|lately|long ago)') FROM kpx_segments), 'before how much they do');
SELECT is_empty($$SELECT block, sum(weight ^ 2) FROM (SELECT weight, CASE kind WHEN 'interest' THEN 'interests' WHEN 'factor' THEN 'factors'
	WHEN 'number' THEN 'attributes' WHEN 'boolean' THEN 'attributes' WHEN 'date' THEN 'attributes' WHEN 'level' THEN 'attributes' WHEN 'other' THEN 'attributes'
	WHEN 'missing' THEN 'attributes' ELSE 'behaviour' END AS block FROM kpx.segment_feature) f GROUP BY 1
	HAVING sum(weight ^ 2) > 1.0001 * CASE block WHEN 'behaviour' THEN 2 ELSE 4 END$$, 'no block of features outvotes the others');
SELECT is((SELECT f->>'lift' FROM kpx_segments, jsonb_array_elements(features) f WHERE (centroid->>'age')::int = 50 AND f->>'feature' = 'interest law'), '3',
	'lift: share in the segment over share of all');
SELECT ok((SELECT bool_and(abs((features->0->>'z')::float8) >= abs((features->1->>'z')::float8)) FROM kpx_segments), 'features come strongest first');
SELECT is((SELECT centroid ? 'city missing' FROM kpx_segments LIMIT 1), true, 'missing values are a feature of their own');
SELECT is((SELECT count(*) FROM kpx.segment_feature WHERE level = 'Atlantis'), 0::bigint, 'a level of one user is not stored');
SELECT is((SELECT count(*) FROM kpx.segment_member), 0::bigint, 'no user is stored');

-- the brute truth: nearest centre by distance of all users is the group they were made from
SELECT is((SELECT count(*) FROM (SELECT u % 3, count(DISTINCT s.segment) FROM generate_series(1::bigint, 60) u, kpx_segment_of(u) s GROUP BY 1 HAVING count(DISTINCT s.segment) > 1) x), 0::bigint,
	'kpx_segment_of: users of a group have one segment');
SELECT is((SELECT count(DISTINCT s.segment) FROM generate_series(1::bigint, 3) u, kpx_segment_of(u) s), 3::bigint, 'and groups different ones');
SELECT is((SELECT s::text FROM kpx_segment_of(5) s), (SELECT s::text FROM kpx_segment_of('5') s), 'integer and text ids agree');
SELECT is((SELECT s.label FROM kpx_segment_of(5::bigint, name => 'groups') s), (SELECT g.label FROM kpx_segments g JOIN kpx_segment_of(5::bigint) s USING (segment)), 'by name; the label is the view''s');
SELECT is_empty('SELECT * FROM kpx_segment_of(4711::bigint)', 'no row for a user nothing is known of');
SELECT is_empty('SELECT * FROM kpx_segment_of(NULL::bigint)', 'nor for NULL');
SELECT is((SELECT segment FROM kpx_segment_of(61::bigint)), (SELECT segment FROM kpx_segment_of(1::bigint)), 'attributes alone are enough');

-- live: the same transaction, the next statement
SAVEPOINT live;
INSERT INTO app.users VALUES (500, 'Oslo', 50, true, '2025-01-30');
SELECT is((SELECT segment FROM kpx_segment_of(500::bigint)), (SELECT segment FROM kpx_segment_of(2::bigint)), 'a new user has a segment at once');
UPDATE app.users SET city = 'Paris', age = 20 WHERE user_id = 500;
INSERT INTO app.enrolments SELECT 500, i, '2026-01-20' FROM generate_series(3, 30, 3) i;
SELECT is((SELECT segment FROM kpx_segment_of(500::bigint)), (SELECT segment FROM kpx_segment_of(3::bigint)), 'and changes it with the profile');
ROLLBACK TO live;

-- answers for users without history
SELECT ok((SELECT bool_and(reason = 'segment ' || (SELECT label FROM kpx_segment_of(62::bigint))) FROM kpx_recommend(62::bigint, 'courses', 5)),
	'kpx_recommend: a user with a profile and no history is offered what the segment likes, and told so');
SELECT ok((SELECT bool_and(item_id % 3 = 62 % 3) FROM kpx_recommend(62::bigint, 'courses', 5)), 'items of the group');
SELECT ok((SELECT bool_and(item_id % 3 = 61 % 3) FROM kpx_recommend(61::bigint, 'products', 5)), 'in each module');
SELECT ok((SELECT bool_and(substr(item_id, 2)::int % 3 = 63 % 3) FROM kpx_recommend(63::bigint, 'videos', NULL::text, 5)), 'with ids of any type');
SELECT ok((SELECT bool_and(reason = 'popular') FROM kpx_recommend(4711::bigint, 'courses', 5)), 'who has no profile gets what is popular');
SELECT ok((SELECT bool_and(reason LIKE '%/%') FROM kpx_recommend(5::bigint, 'courses', 5)), 'who has a history gets the model''s answer');
SELECT ok((SELECT bool_and(reason LIKE 'segment %') FROM kpx_recommend_for(ARRAY[64, 65]::bigint[], 'courses', 3)), 'many users at once, too');
SELECT is((SELECT count(*) FROM kpx_recommend(62::bigint, 'courses', 20)), 20::bigint, 'the rest of a long list is popular');
SELECT is((SELECT count(*) FROM kpx_recommend(62::bigint, 'courses', 10, exclude => ARRAY[2, 5]::bigint[]) WHERE item_id IN (2, 5)), 0::bigint, 'exclude holds');

-- the same seed, whoever helps
CREATE FUNCTION app.centres(n text) RETURNS text LANGUAGE sql AS
$$SELECT string_agg(s.segment || ':' || s.size || ':' || (SELECT string_agg(round(c::numeric, 3)::text, ' ') FROM unnest(s.centre) c), ' | ' ORDER BY s.segment)
FROM kpx.segment s JOIN kpx.segmentation n ON n.id = s.segmentation_id WHERE n.name = $1$$;
SELECT kpx_cluster('a', ARRAY['courses', 'products'], 4, '{"seed": 7}') \g /dev/null
SELECT kpx_cluster('b', ARRAY['courses', 'products'], 4, '{"seed": 7}') \g /dev/null
SELECT is(app.centres('a'), app.centres('b'), 'the same seed gives the same segments');
SET LOCAL kpxrec.min_parallel_interactions = 0;
SET LOCAL max_parallel_maintenance_workers = 2;
CREATE TEMP TABLE helped AS SELECT * FROM kpx_cluster('b', ARRAY['courses', 'products'], 4, '{"seed": 7}');
SELECT is(app.centres('a'), app.centres('b'), 'with parallel workers, too');
RESET kpxrec.min_parallel_interactions;
SELECT is((SELECT count(*) FROM kpx.segmentation WHERE name = 'b'), 1::bigint, 'a name is replaced');
SELECT is((SELECT count(*) FROM kpx.segment s WHERE NOT EXISTS (SELECT FROM kpx.segmentation n WHERE n.id = s.segmentation_id)), 0::bigint, 'and nothing of the old one stays');

-- members only when asked for
SELECT kpx_cluster('stored', ARRAY['courses', 'products', 'videos'], 3, '{"members": 1}') \g /dev/null
SELECT is((SELECT count(*) FROM kpx_segment_members), 60::bigint, 'members are stored when asked for');
SELECT is((SELECT count(*) FROM kpx_segment_members m, kpx_segment_of(m.user_id::bigint, 'stored') s WHERE s.segment <> m.segment), 0::bigint, 'kpx_segment_of agrees with them');
SELECT lives_ok($$SELECT kpx_drop_segments('stored')$$, 'kpx_drop_segments');
SELECT is((SELECT count(*) FROM kpx.segment_member), 0::bigint, 'takes the members with it');
SELECT is(app.error($$SELECT kpx_drop_segments('stored')$$), '42704 segments "stored" do not exist | See the view kpx_segments.', 'twice is an error');

-- the encoding is kept in the session, but never for longer than it is true
SELECT kpx_cluster('kept', ARRAY['courses', 'products', 'videos'], 1) \g /dev/null
CREATE TEMP TABLE one AS SELECT * FROM kpx_segment_of(5::bigint, 'kept');
SELECT is((SELECT s::text FROM kpx_segment_of(5::bigint, 'kept') s), (SELECT o::text FROM one o), 'a second answer is the first');
SAVEPOINT again;
SELECT kpx_cluster('kept', ARRAY['courses', 'products', 'videos'], 3) \g /dev/null
SELECT cmp_ok((SELECT distance FROM kpx_segment_of(5::bigint, 'kept')), '<', (SELECT distance FROM one), 'made again: answered by the new centres at once');
SELECT is((SELECT s.label FROM kpx_segment_of(5::bigint, 'kept') s), (SELECT g.label FROM kpx_segments g JOIN kpx_segment_of(5::bigint, 'kept') s USING (name, segment)), 'with the new labels');
ROLLBACK TO again;
SELECT is((SELECT s::text FROM kpx_segment_of(5::bigint, 'kept') s), (SELECT o::text FROM one o), 'rolled back: by the old ones');
SELECT is((SELECT name FROM kpx_segment_of(5::bigint)), 'kept', 'the newest answer when there is no name');
SELECT kpx_drop_segments('kept') \g /dev/null
SELECT is(left(app.error($$SELECT * FROM kpx_segment_of(5::bigint, 'kept')$$), 5), '42704', 'dropped: gone at once');
SELECT isnt((SELECT name FROM kpx_segment_of(5::bigint)), 'kept', 'and others are the newest');

-- no segment of a few users
SELECT cmp_ok((SELECT segments FROM kpx_cluster('large', ARRAY['courses'], 3, '{"min_users": 20}')), '<=', 3, 'too small segments are dissolved');
SELECT cmp_ok((SELECT min(size) FROM kpx_segments WHERE name = 'large'), '>=', 20::bigint, 'so that none is smaller');
SELECT is((SELECT sum(size) FROM kpx_segments WHERE name = 'large'), 60::numeric, 'and nobody is lost');

-- mistakes
SELECT is(app.error($$SELECT kpx_cluster('x', ARRAY['courses'], 0)$$), '22023 argument "k" must be at least 1, found 0', 'k too small');
SELECT is(app.error($$SELECT kpx_cluster('x', ARRAY['courses'], 3, '{"colour": 1}')$$),
	'22023 parameter "colour" of "params" is not known | Known parameters: min_k, max_k, restarts, iterations, tolerance, sample, interests, factors, min_users, members, seed.', 'unknown parameter');
SELECT is(app.error($$SELECT kpx_cluster('x', ARRAY['courses'], NULL, '{"min_k": 5, "max_k": 4}')$$), '22023 parameter "min_k" must not be above "max_k": 5 and 4', 'a range upside down');
SELECT is(left(app.error($$SELECT kpx_cluster('', ARRAY['courses'])$$), 5), '42602', 'a name of nothing');
SELECT is(left(app.error($$SELECT kpx_cluster(NULL, ARRAY['courses'])$$), 5), '22004', 'NULL for a name');
SELECT is(left(app.error($$SELECT kpx_cluster('x', ARRAY['nowhere'])$$), 5), '42704', 'unknown module');
SELECT matches(app.error($$SELECT kpx_cluster('x', ARRAY['courses'], 13)$$), '^55000 too few users to cluster: 60 with events', 'more segments than there are users for');
SELECT is(left(app.error($$SELECT * FROM kpx_segment_of(5::bigint, 'nothing')$$), 5), '42704', 'unknown segments');
SELECT is(left(app.error($$SELECT * FROM kpx_segment_of(gen_random_uuid())$$), 5), '42804', 'a user id of another type');

-- rights
CREATE ROLE kpx_test_other;
GRANT USAGE ON SCHEMA app TO kpx_test_other;
SET LOCAL ROLE kpx_test_other;
SELECT is_empty('SELECT * FROM kpx_segments', 'who may not read the sources sees no segments');
RESET ROLE;
GRANT SELECT ON ALL TABLES IN SCHEMA app TO kpx_test_other;
GRANT EXECUTE ON FUNCTION app.error(text) TO kpx_test_other;
SET LOCAL ROLE kpx_test_other;
SELECT isnt_empty('SELECT * FROM kpx_segments', 'who may read them does');
SELECT is((SELECT count(*) FROM kpx_segment_of(5::bigint, 'groups')), 1::bigint, 'and asks for a user''s');
RESET ROLE;
REVOKE SELECT ON app.enrolments FROM kpx_test_other;
SET LOCAL ROLE kpx_test_other;
SELECT is(left(app.error($$SELECT * FROM kpx_segment_of(5::bigint, 'groups')$$), 5), '42501', 'a right that was revoked is missed at once, though the centres are kept in the session');
RESET ROLE;
SELECT is((SELECT count(*) FROM kpx_segment_of(5::bigint, 'groups')), 1::bigint, 'by that role only');
GRANT SELECT ON app.enrolments TO kpx_test_other;
SET LOCAL ROLE kpx_test_other;
SELECT is(app.error($$SELECT kpx_cluster('groups', ARRAY['courses'], 2)$$), '42501 must be owner of segments "groups" | It belongs to role "postgres".', 'and may not replace them');
SELECT is(app.error($$SELECT kpx_drop_segments('groups')$$), '42501 must be owner of segments "groups" | It belongs to role "postgres".', 'nor drop them');
RESET ROLE;

-- none
SAVEPOINT none;
SELECT kpx_drop_segments('large') \g /dev/null
SELECT ok((SELECT bool_and(reason LIKE 'segment %') FROM kpx_recommend(62::bigint, 'courses', 5)), 'kpx_recommend goes by the newest segments there are');
SELECT kpx_drop_segments(name) FROM (SELECT DISTINCT name FROM kpx_segments) n \g /dev/null
SELECT ok((SELECT bool_and(reason NOT LIKE 'segment %') FROM kpx_recommend(62::bigint, 'courses', 5)), 'and names none when the last ones were dropped');
ROLLBACK TO none;

-- limits
CREATE TABLE app.many AS SELECT u::bigint AS user_id, (u * 7 + i * i) % 30 + 1 AS course_id, '2026-01-01 00:00+00'::timestamptz + (u * 37 % 9000 + i) * interval '1 hour' AS at
FROM generate_series(1, 20000) u, generate_series(1, 3) i;
SELECT kpx_add_events('courses', 'app.many', 'view', 'user_id', 'course_id', occurred_at => 'at') \g /dev/null
SET LOCAL maintenance_work_mem = '1MB';
SET LOCAL kpxrec.memory_factor = 1;
SELECT is(left(app.error($$SELECT kpx_cluster('x', ARRAY['courses'], 5)$$), 5), '53200', 'the memory budget holds');
RESET maintenance_work_mem;
RESET kpxrec.memory_factor;
CREATE FUNCTION app.cancelled(sql text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE sql;
	RETURN false;
EXCEPTION WHEN query_canceled THEN RETURN true;
END $$;
SET LOCAL statement_timeout = '400ms';
SELECT ok(app.cancelled($$SELECT kpx_cluster('x', ARRAY['courses'], 200, '{"restarts": 100, "iterations": 10000, "tolerance": 0}')$$), 'a run can be cancelled');
RESET statement_timeout;
SELECT is((SELECT count(*) FROM kpx.segmentation WHERE name = 'x'), 0::bigint, 'and leaves nothing');
SAVEPOINT reading;
SET LOCAL transaction_read_only = on;
SELECT is(left(app.error($$SELECT kpx_cluster('x', ARRAY['courses'], 2)$$), 5), '25006', 'read-only transactions cannot make segments');
SELECT is((SELECT count(*) FROM kpx_segment_of(5::bigint, 'groups')), 1::bigint, 'but read them');
ROLLBACK TO reading;

-- what it was made from may go
SELECT kpx_drop_model(model) FROM kpx_models \g /dev/null
SELECT is((SELECT count(*) FROM kpx_segment_of(5::bigint, 'groups')), 1::bigint, 'segments outlive the model');
SELECT * FROM finish();
ROLLBACK;
