-- Of simulated(seed, way, week, earned, visits): what each way earns, and how much more ours does, by seeds.
WITH total AS (SELECT seed, way, sum(earned) AS earned, sum(visits) AS visits FROM simulated GROUP BY 1, 2),
ours AS (SELECT seed, earned FROM total WHERE way = 'loop'),
paired AS (SELECT way, count(*) AS n, avg(t.earned) AS earned, avg(t.visits) AS visits, avg(o.earned - t.earned) AS more, stddev(o.earned - t.earned) / sqrt(count(*)) AS std_error,
	count(*) FILTER (WHERE o.earned > t.earned) AS won FROM total t JOIN ours o USING (seed) GROUP BY 1),
-- 97.5 % quantile of Student's t with n - 1 degrees of freedom, by Cornish and Fisher
bounded AS (SELECT *, std_error * (1.959964 + 2.372 / (n - 1) + 2.823 / (n - 1) ^ 2) AS half FROM paired WHERE n > 1)
SELECT format('| %s | %s | %s | %s | %s | %s of %s |', CASE way WHEN 'loop' THEN 'kpxrec, learning from feedback' WHEN 'start' THEN 'its first policy, kept' WHEN 'ranked' THEN 'the same with the ranker, not optimised'
	WHEN 'cross' THEN 'cross-sell always' ELSE 'popular at home' END, round(earned), round(visits),
	CASE WHEN way = 'loop' THEN '' ELSE format('%s ± %s', round(more), round(half)) END,
	CASE WHEN way = 'loop' THEN '' ELSE format('%s %% ± %s %%', round((100 * more / earned)::numeric, 1), round((100 * half / earned)::numeric, 1)) END,
	won, n)
FROM bounded ORDER BY earned DESC;
