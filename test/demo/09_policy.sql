-- What to show: a slate over all modules, what the user says to it, and why the next one looks as it does.
\set QUIET on
SELECT kpx_set_policy('products', '{"margin": 0.3}'), kpx_set_policy('videos', '{"value": 0.5}'), kpx_set_policy('posts', '{"value": 0.2}') \g /dev/null
SELECT kpx_set_policy('courses', '{"max_per_slate": 1}', home), kpx_set_policy('products', '{"max_per_slate": 1}', home) FROM unnest('{videos,posts}'::text[]) home \g /dev/null
SELECT kpx_set_policy(params => '{"lambda": 0.5, "caps": {"n": 40, "per": "7 days"}}', comment => 'with caps') \g /dev/null

\echo 'What to show user 42 among the videos, of everything there is (kpx_recommend_slate):'
CREATE TEMP TABLE slate AS SELECT * FROM kpx_recommend_slate(42::bigint, '{courses,products,videos,posts}', 4, 'videos', log => true);
SELECT s.rank, s.module, t.title, round(p_click::numeric, 3) AS p_click, round(p_convert::numeric, 3) AS p_convert, round(s.expected_value::numeric, 2) AS expected_value
FROM slate s JOIN app.titles t ON t.module = s.module AND t.item_id = s.item_id::bigint ORDER BY s.rank;
SELECT kpx_feedback(slate_id, item_id, 'dismiss_item', module => module) FROM slate WHERE rank = 1 \g /dev/null

\echo 'User 42 is not interested in the first one. The next slate, and what kept the strongest others out (kpx_explain_slate):'
SELECT slate_id AS next FROM kpx_recommend_slate(42::bigint, '{courses,products,videos,posts}', 4, 'videos', log => true) LIMIT 1 \gset
SELECT rank, module, item_id AS item, regexp_replace(ranking, '^.*: ', '') AS ranking, regexp_replace(policy, '^.*: ', '') AS policy, slate FROM kpx_explain_slate(:next);
