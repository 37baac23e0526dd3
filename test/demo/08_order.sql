\echo 'Does order say something? The last event of each user and module held out, NDCG@10 in %:'
SELECT a.label AS method, max(v) FILTER (WHERE module = 'courses') AS courses, max(v) FILTER (WHERE module = 'products') AS products,
	max(v) FILTER (WHERE module = 'videos') AS videos, max(v) FILTER (WHERE module = 'posts') AS posts, max(v) FILTER (WHERE module = 'jobs') AS jobs
FROM (VALUES (1, 'ials', '{"factors": 32}'::jsonb),
	(2, 'ials, half-life 30 days', jsonb_build_object('factors', 32, 'module_weights',
		(SELECT jsonb_object_agg(module, '{"half_life": 30}'::jsonb) FROM kpx_modules))),
	(3, 'transition', '{"algorithm": "transition"}')) a(n, label, params)
CROSS JOIN LATERAL (SELECT module, round(100 * value::numeric, 1) AS v
	FROM kpx_evaluate(ARRAY['courses', 'products', 'videos', 'posts', 'jobs'], 10, 'last_by_time', params => a.params) WHERE metric = 'ndcg@10') e
GROUP BY a.n, a.label ORDER BY a.n;
