-- What the loop earned, beside plainer ways; in the database of the way "loop".
\echo 'A platform with hidden tastes that can be tired (test/demo/simulator.sql), five weeks under four ways; earned a week:'
SELECT coalesce(week::text, 'all') AS week, round(sum(earned) FILTER (WHERE way = 'loop')) AS "kpxrec, learning from feedback",
	round(sum(earned) FILTER (WHERE way = 'start')) AS "its first policy, kept", round(sum(earned) FILTER (WHERE way = 'cross')) AS "cross-sell always",
	round(sum(earned) FILTER (WHERE way = 'popular')) AS "popular at home"
FROM simulated GROUP BY ROLLUP (week) ORDER BY simulated.week;

\echo 'Every week: slates, feedback, kpx_attribute, kpx_train, kpx_train_ranker, kpx_optimize_policy; what it proposes is activated, if anything:'
SELECT week, round(click_auc::numeric, 3) AS "AUC of clicks", round(value_before::numeric, 2) AS "a slate earns", round(lift::numeric, 2) AS "expected lift",
	'[' || round(low::numeric, 2) || ', ' || round(high::numeric, 2) || ']' AS "95 % interval", activated,
	(SELECT string_agg(key || ' ' || round(value::numeric, 2), ', ' ORDER BY key DESC) FROM jsonb_each_text(settings->'all')) AS proposed
FROM sim.history ORDER BY week;

\echo 'How people came to buy, by where they were and what was shown (kpx_funnel):'
SELECT home_module AS "shown in", module AS "item of", sum(impressions) AS impressions, sum(clicks) AS clicks, sum(conversions) AS conversions,
	sum(dismissals) AS dismissals, round(sum(revenue)) AS revenue FROM kpx_funnel GROUP BY 1, 2 ORDER BY 7 DESC;

\echo 'What each version of the policy showed and earned (kpx_policy_effect):'
SELECT policy, slates, round(cross_impressions::numeric / impressions, 2) AS "share of other modules", round(clicks::numeric / impressions, 3) AS "click rate",
	round(revenue_per_slate::numeric, 2) AS "a slate earned" FROM kpx_policy_effect ORDER BY policy;
