-- make demo DATA=file.csv: one module for each value of the column module in own.events.
CREATE INDEX ON own.events (module, user_id);
SELECT format('CREATE TABLE own.%I AS SELECT DISTINCT item_id FROM own.events WHERE module = %L AND item_id IS NOT NULL', 'items_' || module, module),
	format('ALTER TABLE own.%I ADD PRIMARY KEY (item_id)', 'items_' || module),
	format('CREATE TABLE own.%I AS SELECT user_id, item_id, weight, occurred_at FROM own.events WHERE module = %L', 'events_' || module, module),
	format('CREATE INDEX ON own.%I (user_id, occurred_at)', 'events_' || module),
	format('ANALYZE own.%I', 'events_' || module)
FROM (SELECT DISTINCT module FROM own.events) m \gexec
\o /dev/null
SELECT kpx_add_module(module, format('own.%I', 'items_' || module)::regclass, 'item_id'),
	kpx_add_events(module, format('own.%I', 'events_' || module)::regclass, 'purchase', 'user_id', 'item_id',
		occurred_at => CASE WHEN times > 0 THEN 'occurred_at' END, weight_column => 'weight')
FROM (SELECT module, count(occurred_at) AS times FROM own.events GROUP BY module) m;
\o

\echo 'What was read:'
SELECT module, count(DISTINCT user_id) AS users, count(DISTINCT item_id) AS items, count(*) AS events,
	count(*) FILTER (WHERE user_id IS NULL OR item_id IS NULL) AS "without an id (left out)",
	min(occurred_at)::date AS first, max(occurred_at)::date AS last
FROM own.events GROUP BY module ORDER BY module;
\echo 'One joint model:'
SELECT model, modules, users, items, interactions, iterations, round(loss::numeric) AS loss, round(read_seconds::numeric, 2) AS read_seconds, round(train_seconds::numeric, 2) AS train_seconds
FROM kpx_train(ARRAY(SELECT DISTINCT module FROM own.events ORDER BY module));
\echo 'One event of each user and module held out, all items ranked:'
SELECT module, metric, round(100 * value::numeric, 2) AS "kpxrec %", round(100 * std_error::numeric, 2) AS "+-",
	round(100 * popularity::numeric, 2) AS "popularity %", users
FROM kpx_evaluate(ARRAY(SELECT DISTINCT module FROM own.events ORDER BY module)) WHERE metric IN ('hit_rate@10', 'ndcg@10');
\echo 'The most active user:'
SELECT e.user_id, m.module, r.rank, r.item_id, round(r.score::numeric, 3) AS score, r.reason
FROM (SELECT user_id FROM own.events GROUP BY user_id ORDER BY count(*) DESC, user_id LIMIT 1) e
CROSS JOIN (SELECT DISTINCT module FROM own.events) m
CROSS JOIN LATERAL kpx_recommend(e.user_id, m.module, 5) r ORDER BY m.module, r.rank;
