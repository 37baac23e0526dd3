\echo 'Hybrid against its parts, blended with weights fitted on held-out events; NDCG@10 in %:'
SELECT module, max(popularity) FILTER (WHERE algorithm = 'hybrid') AS popularity, max(value) FILTER (WHERE algorithm = 'content') AS content,
	max(value) FILTER (WHERE algorithm = 'rules') AS rules, max(value) FILTER (WHERE algorithm = 'ials') AS ials, max(value) FILTER (WHERE algorithm = 'itemknn') AS itemknn, max(value) FILTER (WHERE algorithm = 'hybrid') AS hybrid, max(error) FILTER (WHERE algorithm = 'hybrid') AS "+-"
FROM (SELECT a.algorithm, e.module, round(100 * e.value::numeric, 1) AS value, round(100 * e.std_error::numeric, 1) AS error, round(100 * e.popularity::numeric, 1) AS popularity
	FROM unnest(ARRAY['content', 'rules', 'ials', 'itemknn', 'hybrid']) a(algorithm) CROSS JOIN LATERAL kpx_evaluate(ARRAY['courses', 'products'], algorithm => a.algorithm) e
	WHERE metric = 'ndcg@10') e GROUP BY module ORDER BY module;

SELECT model AS hybrid FROM kpx_train(ARRAY['courses', 'products'], algorithm => 'hybrid', name => 'hybrid') \gset
SELECT m.key AS module, (SELECT string_agg(w.key || ' ' || round(w.value::numeric, 2), ', ' ORDER BY w.key) FROM jsonb_each_text(m.value) w WHERE w.value <> '0') AS weights
FROM kpx_models, jsonb_each(params -> 'weights') m WHERE model = :hybrid ORDER BY 1;

\echo 'A course that was published just now, on what user 42 likes most, and nobody has seen yet:'
INSERT INTO app.courses (course_id, title, description, topic, price, is_published)
	SELECT 99001, 'New: ' || title, description, topic, price, true FROM app.courses
	WHERE course_id = (SELECT c.course_id FROM app.courses c JOIN app.users u ON u.user_id = 42 AND u.interest_1 = c.topic_id
		LEFT JOIN app.enrolments e USING (course_id) GROUP BY 1 ORDER BY count(e.user_id) DESC, 1 LIMIT 1);
SELECT kpx_refresh_items('courses') AS items_added;
SELECT r.rank, c.title, round(r.score::numeric, 3) AS score, app.because(r.reason) AS reason
FROM kpx_recommend(42::bigint, 'courses', 1000) r JOIN app.courses c ON c.course_id = r.item_id WHERE r.item_id = 99001;
