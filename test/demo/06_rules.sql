\echo 'Rules between modules: what comes together in the hands of at least 1 % of the users'
SELECT rules, itemsets, baskets, min_count, round(seconds::numeric, 2) AS seconds
FROM kpx_mine_rules(ARRAY['courses', 'products', 'videos', 'posts', 'jobs'], min_support => 0.01, min_confidence => 0.3, max_length => 3);

\echo 'The five strongest across modules:'
SELECT (SELECT string_agg(split_part(a.key, '/', 1) || ': ' || t.title, ' + ' ORDER BY a.n) FROM unnest(r.antecedent) WITH ORDINALITY a(key, n)
		JOIN app.titles t ON t.module = split_part(a.key, '/', 1) AND t.item_id = split_part(a.key, '/', 2)::bigint) AS who_has,
	r.consequent_module || ': ' || c.title AS also_has, round(r.confidence::numeric, 2) AS confidence, round(r.lift::numeric, 1) AS lift, r.count
FROM kpx_rules r JOIN app.titles c ON c.module = r.consequent_module AND c.item_id = r.consequent_item::bigint
WHERE NOT EXISTS (SELECT FROM unnest(r.antecedent) a(key) WHERE split_part(a.key, '/', 1) = r.consequent_module)
ORDER BY r.lift DESC, r.count DESC, r.antecedent, r.consequent LIMIT 5;
