\echo 'Groups of users, by what they do, like and are:'
SELECT segments, users, features, round(silhouette::numeric, 2) AS silhouette FROM kpx_cluster('groups', ARRAY['courses', 'products', 'videos', 'posts', 'jobs'],
	params => '{"max_k": 16}');

-- An interest in the platform's own words.
CREATE FUNCTION app.feature_title(feature text) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT coalesce((SELECT zh || ' · ' || en FROM app.topics WHERE 'interest ' || en = feature), feature)
$$;
\echo '× is how many times the mean of all users:'
SELECT segment, size, round(100 * share::numeric) || ' %' AS share, label,
	(SELECT string_agg(app.feature_title(title) || ' ×' || round(lift, 1), ', ' ORDER BY lift DESC)
	 FROM (SELECT f->>'feature' AS title, (f->>'lift')::numeric AS lift FROM jsonb_array_elements(features) f
		WHERE (f->>'lift')::numeric > 1 ORDER BY 2 DESC LIMIT 2) top) AS "most above average"
FROM kpx_segments WHERE name = 'groups' ORDER BY size DESC;

\echo 'User 42 is in:'
SELECT segment, label FROM kpx_segment_of(42::bigint, 'groups');

\echo 'Somebody who registered just now, and did nothing yet, gets what the group of such people likes:'
BEGIN;
INSERT INTO app.users (user_id, name, city, age) VALUES (9002, 'registered just now', 'Chengdu', 58);
SELECT r.rank, c.title AS course, r.reason FROM kpx_recommend(9002::bigint, 'courses', 3) r JOIN app.courses c ON c.course_id = r.item_id ORDER BY r.rank;
ROLLBACK;
