\echo 'Which method, with which parameters? Twelve trials on held-out events, the best judged on all users:'
SELECT algorithm, round(100 * value::numeric, 1) AS "ndcg@10 %", round(100 * std_error::numeric, 1) AS "+-", share AS "of users",
	(SELECT string_agg(key || ' ' || round(value::numeric, 3), ', ' ORDER BY key) FROM jsonb_each_text(params)
	 WHERE key IN ('factors', 'regularization', 'unobserved_weight', 'shrinkage', 'asymmetry', 'neighbours')) AS parameters
FROM kpx_tune(ARRAY['courses', 'products', 'videos', 'posts', 'jobs'], ARRAY['ials', 'ease', 'itemknn'], trials => 12,
	params => '{"factors": [16, 64], "weighting": "cosine"}', time_budget => '30 s')
LIMIT 6;
