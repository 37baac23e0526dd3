\echo 'Groups of users, by what they do, like and are:'
SELECT segments, users, features, round(silhouette::numeric, 2) AS silhouette FROM kpx_cluster('groups', ARRAY['courses', 'products', 'videos', 'posts', 'jobs']);
SELECT segment, size, round(100 * share::numeric) || ' %' AS share, label FROM kpx_segments WHERE name = 'groups' ORDER BY size DESC;

\echo 'User 42 is in:'
SELECT segment, label FROM kpx_segment_of(42::bigint, 'groups');

\echo 'Somebody who registered just now, and did nothing yet, gets what the group of such people likes:'
BEGIN;
INSERT INTO app.users (user_id, name, city, age) VALUES (9002, 'registered just now', 'Chengdu', 58);
SELECT r.rank, c.title AS course, r.reason FROM kpx_recommend(9002::bigint, 'courses', 3) r JOIN app.courses c ON c.course_id = r.item_id ORDER BY r.rank;
ROLLBACK;
