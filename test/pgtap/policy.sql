-- policy: settings and their versions, slates, what the policy allows, explanations.
BEGIN;
SET client_min_messages = warning;
SELECT plan(112);
\ir fixture.psql
SELECT model FROM kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small()) \gset
CREATE FUNCTION app.slate(u bigint, home text DEFAULT 'courses', k int DEFAULT 6, logged boolean DEFAULT true) RETURNS SETOF record LANGUAGE sql AS
$$SELECT s.module, s.item_id, s.rank, s.slate_id FROM kpx_recommend_slate(u, ARRAY['courses', 'products', 'videos'], k, home, log => logged) s$$;

-- without any policy
SELECT is((SELECT count(*) FROM kpx_policies), 0::bigint, 'there is no policy to begin with');
SELECT results_eq($$SELECT rank, slate_id IS NULL, propensity FROM kpx_recommend_slate(3::bigint, ARRAY['courses', 'products'], 4)$$,
	'SELECT n, true, 1::float8 FROM generate_series(1, 4) n', 'the defaults show k items, without exploration, and log nothing');
SELECT is((SELECT count(*) FROM kpx.slate), 0::bigint, 'log => false writes nothing');
SELECT results_eq($$SELECT module, item_id, p_click FROM kpx_recommend_slate('3', '{courses,products}', 5)$$,
	$$SELECT module, item_id, p_click FROM kpx_recommend_slate(3, ARRAY['courses', 'products'], 5)$$, 'untyped literals and typed ids get the same slate');
SELECT is((SELECT count(*) FROM kpx_recommend_slate(3::bigint, ARRAY['courses', 'products', 'videos'], 100)), (SELECT sum(n)::bigint FROM (
	SELECT count(*) AS n FROM kpx_recommend('3', 'courses', 30) UNION ALL SELECT count(*) FROM kpx_recommend('3', 'products', 30) UNION ALL SELECT count(*) FROM kpx_recommend('3', 'videos', 30)) c),
	'candidates are the best 30 of each module');
SELECT is_empty($$SELECT 1 FROM kpx_recommend_slate(3::bigint, ARRAY['courses', 'products'], 10) GROUP BY module, item_id HAVING count(*) > 1$$, 'no item twice');
SELECT ok((SELECT bool_and(abs(expected_value - p_click * p_convert * p.price) < 1e-12) FROM kpx_recommend_slate(3::bigint, ARRAY['products'], 10) s JOIN app.products p ON p.id::text = s.item_id), 'expected value is P(click) P(convert) price');
SELECT is_empty($$SELECT * FROM kpx_recommend_slate(NULL::bigint, ARRAY['courses'])$$, 'no user, no slate');

-- setting: versions, merging, taking out
SELECT kpx_set_policy(params => '{"lambda": 1, "diversity": 0}', comment => 'cross only') AS first \gset
SELECT is((SELECT active FROM kpx_policies WHERE policy = :first), true, 'a policy is active at once');
SELECT kpx_set_policy('products', '{"value": 2}') AS second \gset
SELECT results_eq(format('SELECT active, based_on, settings FROM kpx_policies WHERE policy = %s', :second),
	format($$VALUES (true, %s::bigint, '{"all": {"lambda": 1, "diversity": 0}, "modules": {"products": {"value": 2}}}'::jsonb)$$, :first), 'a version is the one before with the change');
SELECT is((SELECT count(*) FROM kpx_policies WHERE active), 1::bigint, 'one version is active');
SELECT kpx_set_policy('products', '{"value": 3}', home_module => 'courses') AS third \gset
SELECT is((SELECT settings#>>'{pairs,courses,products,value}' FROM kpx_policies WHERE policy = :third), '3', 'settings of a pair');
SELECT results_eq($$SELECT setting, value, set_for, default_value FROM kpx_policy_settings('products', 'courses') WHERE set_for <> 'default'$$,
	$$VALUES ('lambda', '1', 'everything', '0.5'), ('value', '3', 'pair', NULL), ('diversity', '0', 'everything', '0.1')$$, 'the settings in force for a pair');
SELECT is((SELECT value FROM kpx_policy_settings('products') WHERE setting = 'value'), '2', 'for a module');
SELECT is((SELECT count(*) FILTER (WHERE setting IN ('budget', 'quota', 'boost')) || ' ' || count(*) FROM kpx_policy_settings()), '0 20', 'for everything: what can be set for everything');
SELECT is((SELECT value || ' ' || set_for FROM kpx_policy_settings(policy => :first) WHERE setting = 'attribution_window'), '7 days default', 'and the defaults');
SELECT kpx_set_policy('products', '{"value": null}') AS out \gset
SELECT is((SELECT settings->'modules' FROM kpx_policies WHERE policy = :out), '{"products": {}}'::jsonb, 'null takes a setting out');
SELECT kpx_set_policy(based_on => :second) AS back \gset
SELECT is((SELECT settings FROM kpx_policies WHERE policy = :back), (SELECT settings FROM kpx_policies WHERE policy = :second), 'based_on brings an older version back');
SELECT kpx_set_policy(params => '{"lambda": 0}', activate => false) AS proposed \gset
SELECT is((SELECT active FROM kpx_policies WHERE policy = :proposed), false, 'activate => false proposes');

SELECT results_eq(format($$SELECT value, set_for FROM kpx_policy_settings('products', 'courses', %s) WHERE setting = 'caps'$$, kpx_set_policy('products', '{"caps": {"n": 1, "per": "1 day"}}',
	based_on => kpx_set_policy(params => '{"caps": {"n": 3, "per": "1 day"}}', activate => false), activate => false)),
	$$VALUES ('{"n": 1, "per": "1 day"}', 'module'), ('{"n": 3, "per": "1 day"}', 'everything')$$, 'caps of all scopes count');
SELECT is(left(app.error($$SELECT * FROM kpx_policy_settings(home_module => 'courses')$$), 5), '22004', 'half a pair');
SELECT is(left(app.error($$SELECT * FROM kpx_policy_settings('nope')$$), 5), '42704', 'an unknown module');

-- lambda
SELECT kpx_set_policy(params => '{"lambda": 1, "diversity": 0}', based_on => :first) \g /dev/null
SELECT is((SELECT array_agg(DISTINCT module) FROM app.slate(3) AS s(module text, item text, rank int, id bigint) WHERE module = 'courses'), NULL, 'lambda 1: nothing of the home module while others have value');
SELECT is((SELECT array_agg(DISTINCT module) FROM kpx_recommend_slate(3::bigint, ARRAY['courses', 'products', 'videos'], 6, 'courses', policy => :proposed)), '{courses}', 'lambda 0, by the policy''s number: only the home module');
SELECT is((SELECT array_agg(DISTINCT module) FROM kpx_recommend_slate(3::bigint, ARRAY['courses', 'products'], 3, policy => kpx_set_policy('courses', '{"value": 1000}', activate => false))), '{courses}', 'value');
SELECT is((SELECT round(max(expected_value / (p_click * p_convert))::numeric, 9) FROM kpx_recommend_slate(3::bigint, ARRAY['products'], 9, policy => kpx_set_policy('products', '{"margin": 0.25, "value": null}', activate => false))),
	(SELECT round(0.25 * max(price), 9) FROM app.products p JOIN kpx_recommend_slate(3::bigint, ARRAY['products'], 9) s ON s.item_id = p.id::text), 'margin');

-- rooms
SELECT is((SELECT count(*) FILTER (WHERE module = 'products') FROM kpx_recommend_slate(3::bigint, ARRAY['courses', 'products', 'videos'], 9, policy => kpx_set_policy('products', '{"max_per_slate": 2, "value": 100}', activate => false))), 2::bigint, 'max_per_slate');
ALTER TABLE app.products ADD shelf text, ADD push float8 DEFAULT 1;
UPDATE app.products SET shelf = 's' || id % 6;
SELECT kpx_drop_module('products') \g /dev/null
SELECT kpx_add_module('products', 'app.products', 'id', title => 'title', price => 'price', category => 'shelf') \g /dev/null
SELECT kpx_add_events('products', 'app.orders', 'purchase', 'user_id', 'product_id', occurred_at => 'at') \g /dev/null
SELECT model FROM kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small()) \gset
SELECT is((SELECT max(n) FROM (SELECT count(*) AS n FROM kpx_recommend_slate(3::bigint, ARRAY['products'], 8, policy => kpx_set_policy(params => '{"max_per_category": 1}', activate => false)) s
	JOIN app.products p ON p.id::text = s.item_id GROUP BY shelf) c), 1::bigint, 'max_per_category');
SELECT cmp_ok((SELECT count(DISTINCT shelf) FROM kpx_recommend_slate(3::bigint, ARRAY['products'], 4, policy => kpx_set_policy(params => '{"diversity": 5}', activate => false)) s JOIN app.products p ON p.id::text = s.item_id), '>',
	(SELECT count(DISTINCT shelf) FROM kpx_recommend_slate(3::bigint, ARRAY['products'], 4, policy => kpx_set_policy(params => '{"diversity": 0}', activate => false)) s JOIN app.products p ON p.id::text = s.item_id), 'diversity shows more shelves');
SELECT cmp_ok((SELECT count(DISTINCT module) FROM kpx_recommend_slate(3::bigint, ARRAY['courses', 'products', 'videos'], 6, policy => kpx_set_policy(params => '{"calibration": 20}', activate => false))), '=', 3::bigint, 'calibration shows the modules the user uses');
UPDATE app.products SET push = 50 WHERE id = 21;
SELECT is((SELECT item_id FROM kpx_recommend_slate(3::bigint, ARRAY['courses', 'products'], 3, policy => kpx_set_policy('products', '{"boost": "push"}', activate => false)) WHERE rank = 1), '21', 'boost multiplies value');

-- caps, counted from logged impressions
SELECT kpx_set_policy(params => '{"lambda": 0.5, "diversity": 0, "caps": [{"n": 10, "per": "1 day"}, {"n": 1000, "per": "30 days"}]}') \g /dev/null
SELECT is((SELECT count(*) FROM app.slate(5) AS s(m text, i text, r int, id bigint)), 6::bigint, 'a cap of 10: six');
SELECT is((SELECT count(*) FROM app.slate(5) AS s(m text, i text, r int, id bigint)), 4::bigint, 'then four');
SELECT is((SELECT count(*) FROM app.slate(5) AS s(m text, i text, r int, id bigint)), 0::bigint, 'then none');
SELECT is((SELECT count(*) FROM app.slate(5, logged => false) AS s(m text, i text, r int, id bigint)), 0::bigint, 'log => false looks at caps');
SELECT is((SELECT count(*) FROM app.slate(6, logged => false) AS s(m text, i text, r int, id bigint)), 6::bigint, 'caps are each user''s');
SELECT kpx_set_policy('products', '{"caps": {"n": 1, "per": "7 days"}, "value": 1000}') \g /dev/null
SELECT is((SELECT count(*) FILTER (WHERE m = 'products') FROM app.slate(7) AS s(m text, i text, r int, id bigint)), 1::bigint, 'a module''s cap binds within a slate');
SELECT is((SELECT count(*) FILTER (WHERE m = 'products') FROM app.slate(7, k => 3) AS s(m text, i text, r int, id bigint)), 0::bigint, 'and across slates');
SELECT kpx_set_policy(params => '{"caps": null}', based_on => :first) \g /dev/null
SELECT kpx_set_policy('videos', '{"caps": {"n": 0, "per": "1 day"}}', home_module => 'courses') \g /dev/null
SELECT is((SELECT count(*) FROM kpx_recommend_slate(8::bigint, ARRAY['videos'], 3, 'courses')), 0::bigint, 'a pair''s cap');
SELECT is((SELECT count(*) FROM kpx_recommend_slate(8::bigint, ARRAY['videos'], 3, 'products')), 3::bigint, 'counts for that pair only');
SELECT kpx_set_policy(params => '{"item_caps": {"n": 1, "per": "1 day"}}', based_on => :first) \g /dev/null
SELECT array_agg(i) AS items FROM app.slate(9) AS s(m text, i text, r int, id bigint) \gset
SELECT is_empty(format($$SELECT 1 FROM app.slate(9) AS s(m text, i text, r int, id bigint) WHERE i = ANY (%L)$$, :'items'), 'an item''s cap');
SELECT kpx_set_policy(params => '{"min_gap": "1 hour"}', based_on => :first) \g /dev/null
SELECT is((SELECT count(*) FROM app.slate(9) AS s(m text, i text, r int, id bigint)), 0::bigint, 'min_gap');

-- quiet hours
SELECT to_char(now() AT TIME ZONE 'Asia/Shanghai' - interval '1 hour', 'HH24:MI') AS from, to_char(now() AT TIME ZONE 'Asia/Shanghai' + interval '1 hour', 'HH24:MI') AS to \gset
SELECT kpx_set_policy('products', format('{"quiet_hours": {"from": "%s", "to": "%s", "timezone": "Asia/Shanghai"}}', :'from', :'to')::jsonb, based_on => :first) \g /dev/null
SELECT is((SELECT array_agg(DISTINCT module ORDER BY module) FROM kpx_recommend_slate(10::bigint, ARRAY['courses', 'products', 'videos'], 50)), '{courses,videos}', 'quiet hours close a module');
SELECT kpx_set_policy('products', format('{"quiet_hours": {"from": "%s", "to": "%s", "timezone": "Asia/Shanghai"}}', :'to', :'from')::jsonb, based_on => :first) \g /dev/null
SELECT ok((SELECT bool_or(module = 'products') FROM kpx_recommend_slate(10::bigint, ARRAY['courses', 'products', 'videos'], 50)), 'and open it outside, over midnight too');

-- budgets
SELECT kpx_set_policy('products', format('{"value": 100, "budget": {"impressions": 5, "from": "%s", "to": "%s"}}', now() - interval '1 day', now() + interval '1 day')::jsonb, based_on => :first) \g /dev/null
SELECT is((SELECT count(*) FILTER (WHERE m = 'products') FROM generate_series(20, 29) u, app.slate(u, 'courses', 2) AS s(m text, i text, r int, id bigint)), 5::bigint, 'a budget is spent and not overspent');
SELECT is((SELECT (module, kind, spent, price > 0)::text FROM kpx_campaigns), '(products,budget,5,t)', 'and its price has risen');
SELECT kpx_set_policy('products', format('{"value": 100, "budget": {"spend": 2, "per_impression": 0.1, "per_click": 4, "per_conversion": 1, "from": "%s", "to": "%s"}}', (now() - interval '2 days')::timestamp, now() + interval '1 day')::jsonb, based_on => :first) AS money \gset
SET TIME ZONE 'Asia/Shanghai';
SELECT is((SELECT count(*) FROM kpx_campaigns WHERE terms IS NOT NULL), 0::bigint, 'a campaign that has not begun to count');
SELECT count(*) AS zoned FROM app.slate(199, 'courses', 2) AS s(m text, i text, r int, id bigint) WHERE m = 'products' \gset
SET TIME ZONE DEFAULT;
SELECT count(*) + :zoned AS shown FROM generate_series(200, 240) u, app.slate(u, 'courses', 2) AS s(m text, i text, r int, id bigint) WHERE m = 'products' \gset
SELECT is((SELECT count(*) FROM kpx.impression WHERE policy_id = :money AND module_id = (SELECT id FROM kpx.module WHERE name = 'products')), :shown::bigint, 'a budget in money shows some');
SELECT ok((SELECT abs(sum(0.1 + 4 * p_click + p_click * p_convert) - (SELECT spent + reserved FROM kpx_campaigns WHERE starts_at = now() - interval '2 days')) < 1e-9 FROM kpx.impression
	WHERE policy_id = :money AND module_id = (SELECT id FROM kpx.module WHERE name = 'products')), 'and spends what they are expected to cost');
SELECT ok((SELECT spent + reserved > 1 AND spent + reserved <= 2 + 1e-8 FROM kpx_campaigns WHERE starts_at = now() - interval '2 days'), 'within the limit');
SELECT is((SELECT count(*) FROM kpx_campaigns), 2::bigint, 'sessions of all time zones spend from one');
SELECT matches((SELECT rule FROM kpx.slate, unnest(c_rule) AS rule WHERE policy_id = :money AND rule LIKE 'budget%' LIMIT 1), '^budget: [0-9.]+ of 2 spent or reserved$', 'until it is spent');

-- settling: what clicks and conversions cost, instead of what they were expected to
CREATE VIEW app.money AS SELECT spent, reserved FROM kpx_campaigns WHERE starts_at = now() - interval '2 days';
CREATE TEMP TABLE bought AS SELECT row_number() OVER (ORDER BY slate_id, rank) AS n, i.* FROM kpx.impression i WHERE policy_id = :money AND module_id = (SELECT id FROM kpx.module WHERE name = 'products');
SELECT ok((SELECT abs(spent - 0.1 * :shown) < 1e-9 AND reserved > 0 FROM app.money), 'impressions are spent at once, the rest is reserved');
SELECT is((SELECT kpx_feedback(slate_id, item_id, 'click', module => 'products') FROM bought WHERE n = 1), 'recorded', 'a click');
SELECT is((SELECT kpx_feedback(slate_id, item_id, 'conversion', 9, module => 'products') FROM bought WHERE n = 2), 'recorded', 'a conversion, which is a click');
SELECT count(*) FROM kpx_attribute() \g /dev/null
SELECT ok((SELECT abs(spent - (0.1 * :shown + 4 + 5)) < 1e-9 FROM app.money), 'both are charged');
SELECT ok((SELECT abs(reserved - (SELECT sum(4 * p_click * (n > 2)::int + p_click * p_convert * (n <> 2)::int) FROM bought)) < 1e-9 FROM app.money), 'and their reserves given back');
SELECT is((SELECT kpx_feedback(slate_id, item_id, 'click', module => 'products') FROM bought WHERE n = 2), 'recorded', 'the click of what was charged already');
SELECT is((SELECT kpx_feedback(slate_id, item_id, 'conversion', 9, module => 'products') FROM bought WHERE n = 1), 'recorded', 'the conversion of a click');
SELECT count(*) FROM kpx_attribute() \g /dev/null
SELECT ok((SELECT abs(spent - (0.1 * :shown + 8 + 2)) < 1e-9 FROM app.money), 'nothing twice');
SELECT ok((SELECT abs(reserved - (SELECT sum(4 * p_click + p_click * p_convert) FROM bought WHERE n > 2)) < 1e-9 FROM app.money), 'on either side');
SELECT count(*) FROM kpx_attribute('1 microsecond') \g /dev/null
SELECT ok((SELECT abs(spent - (0.1 * :shown + 10)) < 1e-9 AND abs(reserved) < 1e-9 FROM app.money), 'when the window has passed, what did not happen is given back');
SELECT is((SELECT kpx_feedback(slate_id, item_id, 'click', module => 'products') FROM bought WHERE n = 3), 'recorded', 'a click after all');
SELECT count(*) FROM kpx_attribute() \g /dev/null
SELECT ok((SELECT abs(spent - (0.1 * :shown + 14)) < 1e-9 AND abs(reserved) < 1e-9 FROM app.money), 'is charged in full');
SELECT kpx_set_policy('products', format('{"value": 100, "budget": {"spend": 2, "per_impression": 0.001, "per_click": 4, "from": "%s", "to": "%s"}}', now() - interval '3 days', now() + interval '1 day')::jsonb, based_on => :first) \g /dev/null
SELECT count(*) FROM generate_series(250, 290) u, app.slate(u, 'courses', 2) AS s(m text, i text, r int, id bigint) WHERE m = 'products' \g /dev/null
SELECT is((SELECT count(*) FROM app.slate(291, 'courses', 2) AS s(m text, i text, r int, id bigint) WHERE m = 'products'), 0::bigint, 'a budget that is reserved is closed');
SELECT count(*) FROM kpx_attribute('1 microsecond') \g /dev/null
SELECT cmp_ok((SELECT count(*) FROM app.slate(292, 'courses', 2) AS s(m text, i text, r int, id bigint) WHERE m = 'products'), '>', 0::bigint, 'and open again when nobody clicked');

-- quotas
SELECT kpx_set_policy('products', format('{"value": 100, "quota": {"max_share": 0.25, "from": "%s", "to": "%s"}}', now() - interval '1 day', now() + interval '1 day')::jsonb, based_on => :first) AS most \gset
SELECT kpx_set_policy('videos', format('{"value": 0, "quota": {"min_share": 0.3, "from": "%s", "to": "%s"}}', now() - interval '1 day', now() + interval '1 day')::jsonb) AS both \gset
SELECT count(*) FILTER (WHERE m = 'products') AS products, count(*) FILTER (WHERE m = 'videos') AS videos, count(*) AS all FROM generate_series(300, 359) u, app.slate(u, 'courses', 4) AS s(m text, i text, r int, id bigint) \gset
SELECT ok(:products BETWEEN 0.2 * :all AND 0.25 * :all + 1, 'at most a share of all impressions, however much an item is worth');
SELECT ok(:videos BETWEEN 0.2 * :all AND 0.45 * :all, format('or at least one, of what is worth nothing: %s of %s', :videos, :all));
SELECT is((SELECT array_agg((spent, offered)::text ORDER BY module) FROM kpx_campaigns WHERE kind = 'quota'), ARRAY[format('(%s,%s)', :products, :all), format('(%s,%s)', :videos, :all)], 'and the campaign says so');

-- consent
CREATE TABLE app.consent (user_id bigint, source text, target text);
INSERT INTO app.consent VALUES (3, 'courses', 'products');
SELECT kpx_set_policy(based_on => :first), kpx_add_consent_source('app.consent') \g /dev/null
SET kpxrec.require_consent = on;
SELECT is((SELECT array_agg(DISTINCT split_part(reason, '/', 1)) FROM kpx_recommend_slate(4::bigint, ARRAY['products'], 10)), '{products}', 'without consent a module''s offers come from its own events');
SELECT ok((SELECT bool_and(split_part(reason, '/', 1) IN ('courses', 'products')) FROM kpx_recommend_slate(3::bigint, ARRAY['products'], 10)), 'with it, from those allowed as well');
SELECT ok((SELECT bool_and(split_part(reason, '/', 1) IN ('courses', 'products')) FROM kpx_recommend('3', 'products', 30)), 'plain answers obey, too');
SELECT kpx_set_policy(params => '{"calibration": 1}', based_on => :first, activate => false) AS calibrated \gset
SELECT slate_id AS mixed FROM kpx_recommend_slate(3::bigint, ARRAY['products', 'courses'], 2, log => true, policy => :calibrated) LIMIT 1 \gset
SELECT is((SELECT mix FROM kpx.slate WHERE slate_id = :mixed), '{0.5,0.5}', 'nor does one module''s calibration see what was done in the others');
INSERT INTO app.consent VALUES (3, 'products', 'courses');
INSERT INTO app.orders VALUES (3, 30, now()), (3, 27, now()), (3, 24, now());
SELECT slate_id AS mixed FROM kpx_recommend_slate(3::bigint, ARRAY['products', 'courses'], 2, log => true, policy => :calibrated) LIMIT 1 \gset
SELECT isnt((SELECT mix FROM kpx.slate WHERE slate_id = :mixed), '{0.5,0.5}', 'unless all of them may');
-- who only ever ordered, and allows nothing: neither the model nor rules nor segments may tell courses
SAVEPOINT others;
INSERT INTO app.orders SELECT 500, id, now() FROM app.products WHERE id % 3 = 1 AND id < 15;
SET kpxrec.require_consent = off;
SELECT kpx_mine_rules(ARRAY['courses', 'products']) \g /dev/null
SELECT kpx_cluster('all', ARRAY['courses', 'products', 'videos'], 3) \g /dev/null
SELECT isnt((SELECT segment FROM kpx_segment_of(500::bigint)), NULL, 'a user with a segment');
SET kpxrec.require_consent = on;
SELECT is((SELECT array_agg(DISTINCT reason) FROM kpx_recommend_slate(500::bigint, ARRAY['courses'], 5)), '{popular}', 'whose orders say nothing about courses');
INSERT INTO app.consent VALUES (500, 'products', 'courses');
SELECT ok((SELECT bool_and(reason LIKE 'products/%') FROM kpx_recommend_slate(500::bigint, ARRAY['courses'], 5)), 'until they may');
ROLLBACK TO others;
SET kpxrec.require_consent = off;

-- exploration: shares are the propensities
SELECT kpx_set_policy(params => '{"epsilon": 0.5, "top": 5, "diversity": 0}', based_on => :first) \g /dev/null
CREATE TEMP TABLE drawn AS SELECT s.* FROM generate_series(1, 600) n, kpx_recommend_slate(11 + 0 * n::bigint, ARRAY['courses', 'products'], 1, 'courses') s;
SELECT is((SELECT count(DISTINCT propensity) FROM drawn), 2::bigint, 'epsilon 0.5 over 5: two propensities');
SELECT results_eq('SELECT DISTINCT round(propensity::numeric, 12) FROM drawn ORDER BY 1', 'VALUES (0.1), (0.6)', '0.5 / 5, and 0.5 + 0.5 / 5');
SELECT ok((SELECT sum((n - 600 * propensity) ^ 2 / (600 * propensity)) < 20 FROM (SELECT item_id, module, propensity, count(*) AS n FROM drawn GROUP BY 1, 2, 3) c), 'they are what 600 draws show (chi square, 4 degrees of freedom, 0.05 %)');

SELECT kpx_set_policy(params => '{"thompson": true, "top": 5, "diversity": 0}', based_on => :first) AS thompson \gset
CREATE TEMP TABLE matched AS SELECT s.* FROM generate_series(1, 600) n, kpx_recommend_slate(11 + 0 * n::bigint, ARRAY['courses', 'products'], 1, 'courses') s;
SELECT cmp_ok((SELECT count(DISTINCT propensity) FROM matched), '>', 2::bigint, 'Thompson sampling: what may be better is tried more');
SELECT ok((SELECT sum((n - 600 * propensity) ^ 2 / (600 * propensity)) < 24 FROM (SELECT item_id, module, propensity, count(*) AS n FROM matched GROUP BY 1, 2, 3) c WHERE 600 * propensity >= 5), 'as often as the propensities say (chi square, 4 degrees of freedom, 0.01 %)');
INSERT INTO kpx.item_rate SELECT h.id, m.id, s.item_id, '2026-01-01', 1e9, 1e9 * s.p_click, 1e9 * s.p_click * s.p_convert, now() FROM kpx_recommend_slate(11::bigint, ARRAY['courses', 'products'], 60, 'courses', policy => :first) s
	JOIN kpx.module m ON m.name = s.module, kpx.module h WHERE h.name = 'courses';
SELECT ok((SELECT propensity > 0.9 FROM kpx_recommend_slate(11::bigint, ARRAY['courses', 'products'], 1, 'courses', policy => :thompson) WHERE rank = 1), 'what is known well is not');
DELETE FROM kpx.item_rate;

-- categories of the user's
SELECT kpx_set_policy(params => '{"diversity": 0, "category_calibration": 50}', based_on => :first) AS shelves \gset
INSERT INTO app.orders SELECT 600, id, now() FROM app.products WHERE id IN (1, 7, 2);
SELECT slate_id AS shelved FROM kpx_recommend_slate(600::bigint, ARRAY['products'], 3, log => true) LIMIT 1 \gset
SELECT results_eq(format('SELECT category, count(*) FROM kpx.impression WHERE slate_id = %s GROUP BY 1 ORDER BY 1', :shelved), 'VALUES (''s1''::text, 2::bigint), (''s2'', 1)', 'a slate has the shares of categories that the user has');
SELECT ok((SELECT bool_and(abs(share - CASE category WHEN 's1' THEN 2.0 / 3 WHEN 's2' THEN 1.0 / 3 ELSE 0 END) < 1e-6) FROM kpx.slate, unnest(c_category, c_share) AS c(category, share) WHERE slate_id = :shelved), 'which are logged');

-- the log
SELECT kpx_set_policy('products', '{"max_per_slate": 1, "value": 50}', based_on => :first) AS logged_policy \gset
SELECT slate_id AS slate FROM kpx_recommend_slate(12::bigint, ARRAY['courses', 'products', 'videos'], 4, 'courses', log => true, context => '{"page": "home"}') LIMIT 1 \gset
SELECT results_eq(format('SELECT rank, user_id COLLATE "C", policy_id FROM kpx.impression WHERE slate_id = %s ORDER BY rank', :slate), format($$SELECT n, '12'::text COLLATE "C", %s::bigint FROM generate_series(1, 4) n$$, :logged_policy), 'one row an impression');
SELECT is((SELECT context->>'page' FROM kpx.slate WHERE slate_id = :slate), 'home', 'with the context');
SELECT is((SELECT array_length(c_item, 1) FROM kpx.slate WHERE slate_id = :slate), (SELECT array_length(c_rule, 1) FROM kpx.slate WHERE slate_id = :slate), 'and the candidates');
SELECT is((SELECT count(*) FROM kpx_explain_slate(:slate) WHERE rank IS NOT NULL), 4::bigint, 'each shown item is explained');
SELECT ok((SELECT bool_and(candidate ~ 'candidate' AND ranking ~ 'P\(click\)' AND policy ~ 'worth' AND slate ~ 'probability') FROM kpx_explain_slate(:slate) WHERE rank IS NOT NULL), 'in four steps');
SELECT matches((SELECT slate FROM kpx_explain_slate(:slate) WHERE rank IS NULL AND module = 'products' LIMIT 1), 'the module has its 1 places', 'and what kept the strongest other out');
SELECT throws_ok('SELECT * FROM kpx_explain_slate(987654)', '42704', NULL, 'a slate that is not there');

-- mistakes
SELECT is(left(app.error($$SELECT kpx_recommend_slate(3, NULL)$$), 5), '22004', 'no modules');
SELECT is(left(app.error($$SELECT kpx_recommend_slate(3, '{}')$$), 5), '22023', 'none named');
SELECT is(left(app.error($$SELECT kpx_recommend_slate(3, '{courses,courses}')$$), 5), '22023', 'one twice');
SELECT is(left(app.error($$SELECT kpx_recommend_slate(3, '{courses}', 101)$$), 5), '22023', 'k above 100');
SELECT is(left(app.error($$SELECT kpx_recommend_slate(3, '{courses}', home_module => 'nope')$$), 5), '42704', 'an unknown home module');
SELECT is(left(app.error($$SELECT kpx_recommend_slate(3, '{courses}', policy => 999)$$), 5), '42704', 'an unknown policy');
SELECT is(left(app.error($$SELECT kpx_recommend_slate(1.5, '{courses}')$$), 5), '42804', 'a numeric user');
SELECT matches(app.error($$SELECT kpx_set_policy(params => '{"lamda": 1}')$$), '^22023 .*Known settings: lambda', 'an unknown setting');
SELECT is(left(app.error(format('SELECT kpx_set_policy(params => %L)', p)), 5), '22023', p) FROM unnest(ARRAY['{"lambda": 2}', '{"caps": {"n": 3}}', '{"min_gap": 5}', '{"quiet_hours": {"from": "10:00", "to": "10:00"}}', '[]']) p;
SELECT is(left(app.error($$SELECT kpx_set_policy('courses', '{"boost": "title"}')$$), 5), '42804', 'a boost that is no number');
CREATE ROLE tap_nobody;
SET ROLE tap_nobody;
SELECT throws_ok($$SELECT kpx_set_policy(params => '{}')$$, '42501', NULL, 'only owners of modules set policies');
SELECT is_empty('SELECT * FROM kpx_policies', 'or see them');
SELECT throws_ok(format('SELECT * FROM kpx_explain_slate(%s)', :slate), '42501', NULL, 'or slates of others');
SELECT throws_ok($$SELECT kpx_expire_impressions('1 day')$$, '42501', NULL, 'or expire them');
RESET ROLE;
SET TRANSACTION READ ONLY;
SELECT isnt_empty($$SELECT * FROM kpx_recommend_slate(3::bigint, ARRAY['courses'])$$, 'log => false in a read-only transaction');
SELECT throws_ok($$SELECT * FROM kpx_recommend_slate(3::bigint, ARRAY['courses'], log => true)$$, '25006', 'a slate cannot be logged in a read-only transaction', 'log => true is refused there');
SELECT * FROM finish();
ROLLBACK;
