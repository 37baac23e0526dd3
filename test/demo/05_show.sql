\echo 'What user 42 did lately:'
SELECT at::date, module, title FROM (
	SELECT 'courses' AS module, course_id AS item_id, enrolled_at AS at FROM app.enrolments WHERE user_id = 42
	UNION ALL SELECT 'products', product_id, ordered_at FROM app.orders WHERE user_id = 42
	UNION ALL SELECT 'products', product_id, viewed_at FROM app.product_views WHERE user_id = 42
	UNION ALL SELECT 'videos', video_id, watched_at FROM app.watches WHERE user_id = 42
	UNION ALL SELECT 'posts', post_id, read_at FROM app.post_reads WHERE user_id = 42
	UNION ALL SELECT 'jobs', job_id, applied_at FROM app.applications WHERE user_id = 42) e
JOIN app.titles USING (module, item_id) ORDER BY at DESC LIMIT 12;

\echo 'The profile of user 42 across the platform: attributes, behaviour, interests'
SELECT key AS attribute, value FROM jsonb_each_text(kpx_user_profile(42::bigint)->'basic') ORDER BY 1;
SELECT module, kind, events, last_at::date, round(per_week::numeric, 2) AS "per week", value AS paid, items AS "different items"
FROM kpx_profiles(NULL::bigint) p, kpx_behaviour(p.profile) WHERE user_id = 42;
SELECT coalesce((SELECT module || ': ' || title FROM app.titles WHERE feature = 'item:' || module || '/' || item_id), feature) AS interest, round(weight::numeric, 2) AS weight
FROM jsonb_to_recordset(kpx_user_profile(42::bigint)->'interests') i(feature text, weight float8) ORDER BY i.weight DESC, 1 LIMIT 8;

\echo 'What kpx_recommend(42, module, 3) says, in each module:'
SELECT m.module, r.rank, t.title, round(r.score::numeric, 3) AS score, app.because(r.reason) AS reason
FROM unnest(ARRAY['courses', 'products', 'videos', 'posts', 'jobs']) WITH ORDINALITY m(module, n)
CROSS JOIN LATERAL kpx_recommend(42::bigint, m.module, 3) r
JOIN app.titles t ON t.module = m.module AND t.item_id = r.item_id
ORDER BY m.n, r.rank;

\echo 'Course -> product: what goes with course 12'
SELECT (SELECT title FROM app.courses WHERE course_id = 12) AS course, s.rank, p.title AS product, round(s.score::numeric, 3) AS score
FROM kpx_similar(12::bigint, 'courses', 5, target => 'products') s JOIN app.products p ON p.product_id = s.item_id ORDER BY s.rank;

\echo 'Product -> course: what goes with product 15'
SELECT (SELECT title FROM app.products WHERE product_id = 15) AS product, s.rank, c.title AS course, round(s.score::numeric, 3) AS score
FROM kpx_similar(15::bigint, 'products', 5, target => 'courses') s JOIN app.courses c ON c.course_id = s.item_id ORDER BY s.rank;

\echo 'Video -> course: a visitor who watched videos 14 and 26, without any user id:'
SELECT r.rank, c.title AS course, app.because(r.reason) AS reason
FROM kpx_recommend_from(ARRAY[14, 26]::bigint[], 'videos', 'courses', 5) r JOIN app.courses c ON c.course_id = r.item_id ORDER BY r.rank;

\echo 'A new user, known only from three courses, gets products:'
SELECT r.rank, p.title AS product, app.because(r.reason) AS reason
FROM kpx_recommend(9001::bigint, 'products', 5) r JOIN app.products p ON p.product_id = r.item_id ORDER BY r.rank;

\echo 'The same user orders two things from another shelf:'
BEGIN;
INSERT INTO app.orders VALUES (9001, 14, now()), (9001, 26, now());
SELECT title AS ordered FROM app.products WHERE product_id IN (14, 26);
\echo 'and the next statement of the same transaction knows:'
SELECT r.rank, p.title AS product, app.because(r.reason) AS reason
FROM kpx_recommend(9001::bigint, 'products', 5) r JOIN app.products p ON p.product_id = r.item_id ORDER BY r.rank;
ROLLBACK;
