\echo 'Is it better than popularity? One event of each user and module held out, all items ranked:'
SELECT module, metric, round(100 * value::numeric, 1) AS "kpxrec %", round(100 * std_error::numeric, 1) AS "+-",
	round(100 * popularity::numeric, 1) AS "popularity %", round(100 * popularity_std_error::numeric, 1) AS "+- ", users
FROM kpx_evaluate(ARRAY['courses', 'products', 'videos', 'posts', 'jobs'], params => '{"factors": 32}')
WHERE metric IN ('hit_rate@10', 'ndcg@10');
