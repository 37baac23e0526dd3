-- feedback: explicit signals, attribution from event sources, rates, views, expiry.
BEGIN;
SET client_min_messages = warning;
SELECT plan(61);
\ir fixture.psql
ALTER TABLE app.products ADD shelf text;
UPDATE app.products SET shelf = 's' || id % 4;
SELECT kpx_drop_module('products') \g /dev/null
SELECT kpx_add_module('products', 'app.products', 'id', title => 'title', price => 'price', category => 'shelf') \g /dev/null
ALTER TABLE app.orders ADD paid numeric;
SELECT kpx_add_events('products', 'app.orders', 'purchase', 'user_id', 'product_id', occurred_at => 'at', value => 'paid') AS orders \gset
SELECT model FROM kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small()) \gset
SELECT kpx_set_policy(params => '{"diversity": 0, "attribution_window": "2 days"}') AS policy \gset
CREATE FUNCTION app.log_slate(u bigint, modules text[] DEFAULT '{products}', k int DEFAULT 3) RETURNS bigint LANGUAGE sql AS
$$SELECT slate_id FROM kpx_recommend_slate(u, modules, k, 'courses', log => true) LIMIT 1$$;
CREATE FUNCTION app.item(slate bigint, r int) RETURNS text LANGUAGE sql AS $$SELECT item_id FROM kpx.impression WHERE slate_id = slate AND rank = r$$;

-- explicit
SELECT app.log_slate(3) AS s \gset
SELECT is(kpx_feedback(:s, app.item(:s, 1), 'click'), 'recorded', 'a click');
SELECT is(kpx_feedback(:s, app.item(:s, 1), 'click'), 'duplicate', 'the same again');
SELECT is(kpx_feedback(:s, app.item(:s, 1), 'conversion', 12.5), 'recorded', 'a conversion with its value');
SELECT is(kpx_feedback(:s, app.item(:s, 2), 'conversion'), 'recorded', 'and one without');
SELECT is((SELECT value FROM kpx.feedback WHERE slate_id = :s AND rank = 2), (SELECT price::float8 FROM app.products WHERE id::text = app.item(:s, 2)), 'is worth what the policy says');
SELECT is(kpx_feedback(:s, 'no such item', 'click'), 'unknown', 'an item that was not shown');
SELECT is(kpx_feedback(-1, '1', 'click'), 'unknown', 'a slate that was not logged');
SELECT is(kpx_feedback(:s, app.item(:s, 3), 'click', occurred_at => now() - interval '1 day'), 'early', 'before the impression');
UPDATE kpx.impression SET occurred_at = occurred_at - interval '3 days' WHERE slate_id = :s AND occurred_at - interval '3 days' >= date_trunc('month', occurred_at);
SELECT CASE WHEN (SELECT occurred_at < now() - interval '1 day' FROM kpx.impression WHERE slate_id = :s LIMIT 1) THEN 'late' END AS moved \gset
UPDATE kpx.slate SET occurred_at = occurred_at - interval '3 days' WHERE slate_id = :s AND occurred_at - interval '3 days' >= date_trunc('month', occurred_at);
SELECT is(CASE WHEN :'moved' = 'late' THEN kpx_feedback(:s, app.item(:s, 3), 'click') ELSE 'late' END, 'late', 'after the attribution window');
SELECT set_eq('SELECT outcome, n FROM kpx_unrecorded_feedback', CASE WHEN :'moved' = 'late' THEN $$VALUES ('duplicate' COLLATE "C", 1::bigint), ('unknown', 2), ('early', 1), ('late', 1)$$
	ELSE $$VALUES ('duplicate' COLLATE "C", 1::bigint), ('unknown', 2), ('early', 1)$$ END, 'what is not recorded is counted');
SELECT is(kpx_feedback(app.log_slate(4), '1', 'click', user_id => '4') IN ('recorded', 'unknown'), true, 'in the name of the slate''s user');
SELECT app.log_slate(4) AS s4 \gset
SELECT matches(app.error(format('SELECT kpx_feedback(%s, app.item(%s, 1), ''click'', user_id => ''5'')', :s4, :s4)), '^42501 .*was not shown to user "5"', 'another user''s slate is refused');
SELECT is(left(app.error(format('SELECT kpx_feedback(%s, app.item(%s, 1), ''wink'')', :s4, :s4)), 5), '22023', 'an unknown kind');
SELECT is(left(app.error(format('SELECT kpx_feedback(%s, app.item(%s, 1), ''click'', 5)', :s4, :s4)), 5), '22023', 'a click with a value');
SELECT is(left(app.error(format('SELECT kpx_feedback(%s, app.item(%s, 1), ''conversion'', ''NaN'')', :s4, :s4)), 5), '22023', 'a value that is none');
SELECT is(left(app.error(format('SELECT kpx_feedback(%s, app.item(%s, 1), ''conversion'', -1)', :s4, :s4)), 5), '22023', 'a negative one');
SELECT is(left(app.error(format('SELECT kpx_feedback(%s, app.item(%s, 1), ''click'', occurred_at => now() + ''1 day'')', :s4, :s4)), 5), '22023', 'from the future');
SELECT is(left(app.error(format('SELECT kpx_feedback(%s, app.item(%s, 1), ''click'', occurred_at => ''infinity'')', :s4, :s4)), 5), '22023', 'or never');
SELECT is(left(app.error('SELECT kpx_feedback(NULL, ''1'', ''click'')'), 5), '22004', 'no slate');
SELECT kpx_set_policy(params => '{"lambda": 0.5}') \g /dev/null

-- dismissals
SELECT app.log_slate(7) AS s7 \gset
SELECT app.item(:s7, 1) AS dropped, app.item(:s7, 2) AS second \gset
SELECT is(kpx_feedback(:s7, :'dropped', 'dismiss_item'), 'recorded', 'not interested in an item');
SELECT is_empty(format($$SELECT 1 FROM kpx_recommend_slate(7::bigint, ARRAY['products'], 30) WHERE item_id = %L$$, :'dropped'), 'it is not shown again');
SELECT is(kpx_feedback(:s7, :'second', 'dismiss_category'), 'recorded', 'nor in a category');
SELECT is_empty(format($$SELECT 1 FROM kpx_recommend_slate(7::bigint, ARRAY['products'], 30) s JOIN app.products p ON p.id::text = s.item_id WHERE shelf = (SELECT shelf FROM app.products WHERE id::text = %L)$$, :'second'), 'nothing of it is shown again');
SELECT isnt_empty($$SELECT 1 FROM kpx_recommend_slate(7::bigint, ARRAY['products'], 30)$$, 'other categories are');
SELECT is(kpx_feedback(:s7, :'dropped', 'dismiss_module'), 'recorded', 'nor in a module');
SELECT is_empty($$SELECT 1 FROM kpx_recommend_slate(7::bigint, ARRAY['products'], 30)$$, 'which is not shown again');
SELECT isnt_empty($$SELECT 1 FROM kpx_recommend_slate(8::bigint, ARRAY['products'], 30)$$, 'to this user');
SELECT isnt_empty(format($$SELECT 1 FROM kpx_recommend_slate(7::bigint, ARRAY['products'], 30, policy => %s)$$, kpx_set_policy(params => '{"dismissed_for": "0"}', activate => false)), 'for as long as the policy says');
SELECT is((SELECT count(*) FROM kpx.feedback WHERE slate_id = :s7 AND kind = 'dismissal'), 2::bigint, 'dismissals are feedback, too');

-- attribution
SELECT set_eq('SELECT source_id, as_kind FROM kpx_attribute()', format($$SELECT source_id, CASE kind WHEN 'purchase' THEN 'conversion' ELSE 'click' END FROM kpx_event_sources$$), 'one row a source; purchases are conversions');
SELECT app.log_slate(10, '{products,videos}', 6) AS s10 \gset
SELECT pg_sleep(0.01) \g /dev/null
SELECT item_id AS bought, rank AS bought_rank FROM kpx.impression WHERE slate_id = :s10 AND reason IS NOT NULL AND module_id = (SELECT id FROM kpx.module WHERE name = 'products') ORDER BY rank LIMIT 1 \gset
INSERT INTO app.orders VALUES (10, :bought, clock_timestamp(), 99), (10, 9999, clock_timestamp(), 1), (10, :bought, clock_timestamp() - interval '1 year', 1);
SELECT pg_sleep(0.01) \g /dev/null
CREATE TEMP TABLE run AS SELECT * FROM kpx_attribute();
SELECT is((SELECT attributed FROM run WHERE source_id = :orders), 1::bigint, 'a purchase of a shown item');
SELECT is((SELECT unattributed FROM run WHERE source_id = :orders), 1::bigint, 'one of another item is nobody''s');
SELECT is((SELECT value FROM kpx.feedback WHERE slate_id = :s10 AND rank = :bought_rank AND kind = 'conversion'), 99::float8, 'with its value');
SELECT is((SELECT (attributed, already)::text FROM kpx_attribute() WHERE source_id = :orders), '(0,1)', 'running it again changes nothing');
SELECT is((SELECT count(*) FROM kpx.feedback WHERE slate_id = :s10), 1::bigint, 'indeed');
-- last touch, or the best position
SELECT app.log_slate(11, k => 9) AS first_slate \gset
SELECT app.item(:first_slate, 1) AS touched \gset
SELECT pg_sleep(0.01) \g /dev/null
SELECT app.log_slate(11, k => 9) AS second_slate \gset
UPDATE kpx.impression SET rank = 20 WHERE slate_id = :second_slate AND item_id = :'touched';
INSERT INTO app.orders VALUES (11, :touched, clock_timestamp(), 5);
SELECT pg_sleep(0.01) \g /dev/null
SAVEPOINT rule;
SELECT kpx_attribute() \g /dev/null
SELECT is((SELECT slate_id FROM kpx.feedback WHERE slate_id IN (:first_slate, :second_slate)), :second_slate::bigint, 'last touch');
ROLLBACK TO rule;
SELECT kpx_attribute(rule => 'position') \g /dev/null
SELECT is((SELECT slate_id FROM kpx.feedback WHERE slate_id IN (:first_slate, :second_slate)), :first_slate::bigint, 'or the best position');
-- late arrivals, within a window of the newest
SELECT app.log_slate(12) AS s12 \gset
SELECT pg_sleep(0.01) \g /dev/null
SELECT clock_timestamp() AS before \gset
INSERT INTO app.orders VALUES (13, 9999, clock_timestamp(), 1);
SELECT kpx_attribute() \g /dev/null
INSERT INTO app.orders SELECT 12, app.item(:s12, 1)::int, :'before', 7;
SELECT is((SELECT attributed FROM kpx_attribute() WHERE source_id = :orders), 1::bigint, 'an event that arrives after a newer one was attributed');
SELECT is((SELECT attributed FROM kpx_attribute('1 second') WHERE source_id = :orders), 0::bigint, 'an interval as the window');
SELECT is(left(app.error($$SELECT kpx_attribute('-1 day')$$), 5), '22023', 'a negative window');
SELECT is(left(app.error($$SELECT kpx_attribute(rule => 'first_touch')$$), 5), '22023', 'an unknown rule');
SELECT kpx_set_policy('products', '{"conversions": ["lease"]}') \g /dev/null
SELECT is((SELECT as_kind FROM kpx_attribute() WHERE source_id = :orders), 'click', 'which kinds are conversions is the policy''s');

-- rates
SELECT is((SELECT (impressions, clicks, conversions)::text FROM kpx.item_rate WHERE item_id = '' AND module_id = (SELECT id FROM kpx.module WHERE name = 'products')),
	(SELECT (count(*), count(*) FILTER (WHERE f.k && '{click,conversion}'), count(*) FILTER (WHERE 'conversion' = ANY (f.k)))::text
	 FROM kpx.impression i LEFT JOIN (SELECT slate_id, rank, array_agg(kind::text) AS k FROM kpx.feedback GROUP BY 1, 2) f USING (slate_id, rank)
	 WHERE module_id = (SELECT id FROM kpx.module WHERE name = 'products')), 'rates are counted');
UPDATE kpx.item_rate SET impressions = impressions + 1000, month = month - 120 WHERE item_id = :'second' AND counted_at = (SELECT max(counted_at) FROM kpx.item_rate);
SELECT kpx_attribute() \g /dev/null
SELECT is((SELECT count(*) FROM kpx.item_rate WHERE item_id = :'second' AND impressions >= 1000), 1::bigint, 'months that nothing can have happened to are not counted again');
SELECT is((SELECT sum(impressions) FROM kpx.item_rate WHERE item_id = ''), (SELECT count(*)::numeric FROM kpx.impression), 'the others are');
DELETE FROM kpx.item_rate WHERE impressions >= 1000;
SELECT ok((SELECT bool_and(p_click > 0 AND p_click < 1 AND p_convert > 0 AND p_convert < 1) FROM kpx_recommend_slate(3::bigint, ARRAY['products'], 30, 'courses')), 'and stay probabilities');
UPDATE kpx.item_rate SET impressions = 100000, clicks = 70000, conversions = 30000 WHERE item_id = :'second';
SELECT ok((SELECT abs(p_click - 0.7) < 0.01 AND abs(p_convert - 3.0 / 7) < 0.01 FROM kpx_recommend_slate(3::bigint, ARRAY['products'], 30, 'courses') WHERE item_id = :'second') IS NOT FALSE, 'many impressions outweigh the prior');

-- views
SELECT is((SELECT sum(impressions) FROM kpx_funnel WHERE module = 'products' AND home_module = 'courses'), (SELECT count(*)::numeric FROM kpx.impression WHERE module_id = (SELECT id FROM kpx.module WHERE name = 'products')), 'the funnel counts impressions');
SELECT is((SELECT sum(revenue) FROM kpx_funnel), (SELECT sum(value) FROM kpx.feedback), 'and revenue');
SELECT is((SELECT sum(conversions) FROM kpx_funnel), (SELECT count(*)::numeric FROM kpx.feedback WHERE kind = 'conversion'), 'and conversions');
SELECT results_eq('SELECT policy, round(revenue_std_error::numeric, 9) FROM kpx_policy_effect ORDER BY 1', $$
	WITH u AS (SELECT policy_id, user_id, count(DISTINCT slate_id) AS s, coalesce(sum(value), 0) AS r FROM kpx.impression LEFT JOIN (SELECT slate_id, rank, value FROM kpx.feedback WHERE kind = 'conversion') f USING (slate_id, rank) GROUP BY 1, 2),
	v AS (SELECT policy_id, sum(r) / sum(s)::float8 AS v, sum(s)::float8 AS slates, count(*) AS n FROM u GROUP BY 1)
	SELECT policy_id, round((sqrt(n / nullif(n - 1, 0)::float8 * sum((r - v * s) ^ 2)) / slates)::numeric, 9) FROM u JOIN v USING (policy_id) GROUP BY policy_id, n, slates ORDER BY 1$$, 'with the standard error of what a slate earned, over users');
SELECT is((SELECT sum(slates) FROM kpx_policy_effect), (SELECT count(DISTINCT slate_id)::numeric FROM kpx.impression), 'the effect of each policy');
CREATE ROLE tap_nobody;
SET ROLE tap_nobody;
SELECT is_empty('SELECT * FROM kpx_funnel', 'not for everybody');
SELECT is_empty('SELECT * FROM kpx_policy_effect', 'nor this');
SELECT is_empty('SELECT * FROM kpx_unrecorded_feedback', 'nor what was not recorded');
SELECT is((SELECT count(*) FROM kpx_attribute()), 0::bigint, 'who owns no module attributes nothing');
RESET ROLE;
SELECT app.item(:s4, 1) AS item4 \gset
SET ROLE tap_nobody;
SELECT throws_ok(format('SELECT kpx_feedback(%s, %L, ''click'')', :s4, :'item4'), '42501', NULL, 'nor gives feedback on slates of others');
RESET ROLE;

-- expiry
SELECT is(kpx_expire_impressions('1 year'), 0::bigint, 'nothing is a year old');
CREATE TABLE kpx.slate_200101 (LIKE kpx.slate);
ALTER TABLE kpx.slate ATTACH PARTITION kpx.slate_200101 FOR VALUES FROM ('2001-01-01 00:00+00') TO ('2001-02-01 00:00+00');
CREATE TABLE kpx.impression_200101 (LIKE kpx.impression);
ALTER TABLE kpx.impression ATTACH PARTITION kpx.impression_200101 FOR VALUES FROM ('2001-01-01 00:00+00') TO ('2001-02-01 00:00+00');
SELECT is(kpx_expire_impressions('1 year'), 1::bigint, 'a month that is');
SELECT is(to_regclass('kpx.impression_200101')::text, NULL, 'is dropped');
SELECT is(left(app.error($$SELECT kpx_expire_impressions('-1 day')$$), 5), '22023', 'the future does not expire');
SELECT * FROM finish();
ROLLBACK;
