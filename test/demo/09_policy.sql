-- What to show: slates over all modules, for five visits of 900 users in three groups of equal size.
-- People click what they like, and less once they were shown a lot from other modules; what they
-- buy goes into the platform's own tables.
\set QUIET on
CREATE TABLE app.shown (round int, who text, user_id bigint, home text, module text, item_id bigint, rank int, slate_id bigint,
	topic_match float8, tired float8, clicked boolean, bought boolean);
CREATE TABLE app.item_facts AS
	SELECT 'courses' AS module, course_id AS item_id, topic_id, price::float8 AS value FROM app.courses
	UNION ALL SELECT 'products', product_id, topic_id, 0.3 * price::float8 FROM app.products
	UNION ALL SELECT 'videos', video_id, topic_id, 0.5 FROM app.videos
	UNION ALL SELECT 'posts', post_id, topic_id, 0.2 FROM app.posts;
CREATE TABLE app.favourites AS
	SELECT module, item_id, row_number() OVER (PARTITION BY module ORDER BY n DESC, item_id) AS rank FROM (
		SELECT 'courses' AS module, course_id AS item_id, count(*) AS n FROM app.enrolments GROUP BY 2
		UNION ALL SELECT 'products', product_id, count(*) FROM app.orders GROUP BY 2
		UNION ALL SELECT 'videos', video_id, count(*) FROM app.watches GROUP BY 2
		UNION ALL SELECT 'posts', post_id, count(*) FROM app.post_reads GROUP BY 2) c;
CREATE INDEX ON app.shown (user_id, round);

-- The policy: what a conversion is worth, how much marketing a slate may hold, some exploration.
SELECT kpx_set_policy('products', '{"margin": 0.3}'), kpx_set_policy('videos', '{"value": 0.5}'), kpx_set_policy('posts', '{"value": 0.2}') \g /dev/null
SELECT kpx_set_policy(params => '{"lambda": 1}', comment => 'cross-sell everything always', activate => false) AS cross \gset
SELECT kpx_set_policy('courses', '{"max_per_slate": 1}', home), kpx_set_policy('products', '{"max_per_slate": 1}', home) FROM unnest('{videos,posts}'::text[]) home \g /dev/null
SELECT kpx_set_policy('products', '{"max_per_slate": 1}', 'courses') \g /dev/null
SELECT kpx_set_policy(params => '{"lambda": 0.5, "epsilon": 0.1, "top": 10, "caps": {"n": 40, "per": "7 days"}}', comment => 'with caps') AS ours \gset

CREATE FUNCTION app.home_of(user_id bigint, round int) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT (ARRAY['videos', 'posts', 'courses'])[1 + floor(3 * app.u('home', user_id, round))::int] $$;

-- One visit of everybody: serve, see what they do, tell.
CREATE PROCEDURE app.round(r int, cross_policy bigint) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO app.shown (round, who, user_id, home, module, item_id, rank, slate_id)
	SELECT r, 'policy', u, app.home_of(u, r), s.module, s.item_id::bigint, s.rank, s.slate_id
	FROM generate_series(1, 900, 3) u, kpx_recommend_slate(u::bigint, '{courses,products,videos,posts}', 4, app.home_of(u, r), log => true) s;
	INSERT INTO app.shown (round, who, user_id, home, module, item_id, rank, slate_id)
	SELECT r, 'cross-sell always', u, app.home_of(u, r), s.module, s.item_id::bigint, s.rank, s.slate_id
	FROM generate_series(2, 900, 3) u, kpx_recommend_slate(u::bigint, array_remove('{courses,products,videos,posts}'::text[], app.home_of(u, r)), 4,
		app.home_of(u, r), log => true, policy => cross_policy) s;
	INSERT INTO app.shown (round, who, user_id, home, module, item_id, rank)
	SELECT r, 'popular at home', u, app.home_of(u, r), f.module, f.item_id, f.rank
	FROM generate_series(3, 900, 3) u JOIN app.favourites f ON f.module = app.home_of(u, r) AND f.rank <= 4;
	UPDATE app.shown s SET
		topic_match = CASE WHEN f.topic_id = u.interest_1 THEN 0.3 WHEN f.topic_id = u.interest_2 THEN 0.18 ELSE 0.03 END,
		tired = greatest((SELECT count(*) FROM app.shown o WHERE o.user_id = s.user_id AND o.round BETWEEN r - 2 AND r - 1 AND o.module <> o.home AND o.module IN ('courses', 'products')) - 4, 0)
	FROM app.item_facts f, app.users u WHERE s.round = r AND f.module = s.module AND f.item_id = s.item_id AND u.user_id = s.user_id;
	UPDATE app.shown SET clicked = app.u('click ' || module || item_id, user_id, r) < topic_match * exp(-0.4 * tired) WHERE round = r;
	UPDATE app.shown SET bought = clicked AND app.u('buy ' || module || item_id, user_id, r) < 0.3 WHERE round = r;
	PERFORM kpx_feedback(slate_id, item_id::text, 'click', module => module, user_id => user_id::text) FROM app.shown WHERE round = r AND clicked AND slate_id IS NOT NULL;
	PERFORM kpx_feedback(slate_id, item_id::text, 'conversion', module => module, user_id => user_id::text)
	FROM app.shown WHERE round = r AND bought AND slate_id IS NOT NULL AND module IN ('videos', 'posts');
	INSERT INTO app.enrolments SELECT user_id, item_id, clock_timestamp(), f.value::numeric FROM app.shown s JOIN app.item_facts f USING (module, item_id) WHERE round = r AND bought AND s.module = 'courses';
	INSERT INTO app.orders SELECT user_id, item_id, clock_timestamp() FROM app.shown s WHERE round = r AND bought AND s.module = 'products';
	PERFORM kpx_attribute();
END $$;
CALL app.round(1, :cross);
CALL app.round(2, :cross);
CALL app.round(3, :cross);
CALL app.round(4, :cross);
CALL app.round(5, :cross);

\echo 'What to show: five visits of 900 users, three ways; revenue of a visit:'
SELECT coalesce(s.round::text, 'all') AS visit, round((sum(f.value) FILTER (WHERE bought AND who = 'policy') / 300)::numeric, 2) AS "kpxrec's policy",
	round((coalesce(sum(f.value) FILTER (WHERE bought AND who = 'popular at home'), 0) / 300)::numeric, 2) AS "popular at home",
	round((sum(f.value) FILTER (WHERE bought AND who = 'cross-sell always') / 300)::numeric, 2) AS "cross-sell always"
FROM app.shown s JOIN app.item_facts f USING (module, item_id) GROUP BY ROLLUP (s.round) ORDER BY s.round;

\echo 'From impressions to revenue, found by kpx_attribute in the orders and enrolments (kpx_funnel; the six pairs with most revenue):'
SELECT home_module AS "shown in", module AS "item of", impressions, clicks, conversions, round(revenue::numeric) AS revenue
FROM kpx_funnel ORDER BY kpx_funnel.revenue DESC LIMIT 6;

\echo 'Why a slate in the videos looks as it does, and what kept the strongest others out (kpx_explain_slate):'
SELECT rank, module, item_id AS item, regexp_replace(ranking, '^.*: ', '') AS ranking, regexp_replace(policy, '^.*: ', '') AS policy, slate FROM kpx_explain_slate((SELECT min(slate_id) FROM app.shown WHERE who = 'policy' AND home = 'videos' AND round = 5));

\echo 'Is there a better policy in the log (kpx_optimize_policy)? It would be proposed, not activated; lift is measured on slates it has not seen:'
SELECT policy, iterations, slates, round(value_before::numeric, 2) AS before, round(value_after::numeric, 2) AS after, round(lift::numeric, 2) AS lift,
	round(low::numeric, 2) AS low, round(high::numeric, 2) AS high, settings->'all' AS settings FROM kpx_optimize_policy();
