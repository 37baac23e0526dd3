-- policy: settings and their versions, slates, what the policy allows, explanations.
BEGIN;
SET client_min_messages = warning;
SELECT plan(77);
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
SELECT kpx_set_policy('products', '{"value": null}') AS out \gset
SELECT is((SELECT settings->'modules' FROM kpx_policies WHERE policy = :out), '{"products": {}}'::jsonb, 'null takes a setting out');
SELECT kpx_set_policy(based_on => :second) AS back \gset
SELECT is((SELECT settings FROM kpx_policies WHERE policy = :back), (SELECT settings FROM kpx_policies WHERE policy = :second), 'based_on brings an older version back');
SELECT kpx_set_policy(params => '{"lambda": 0}', activate => false) AS proposed \gset
SELECT is((SELECT active FROM kpx_policies WHERE policy = :proposed), false, 'activate => false proposes');

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
SELECT ok((SELECT spent = 5 AND price > 0 FROM kpx.budget), 'and its price has risen');

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
INSERT INTO app.orders SELECT 500, id, now() FROM app.products WHERE id % 3 = 1 AND id < 15;
SET kpxrec.require_consent = off;
SELECT kpx_mine_rules(ARRAY['courses', 'products']) \g /dev/null
SELECT kpx_cluster('all', ARRAY['courses', 'products', 'videos'], 3) \g /dev/null
SELECT isnt((SELECT segment FROM kpx_segment_of(500::bigint)), NULL, 'a user with a segment');
SET kpxrec.require_consent = on;
SELECT is((SELECT array_agg(DISTINCT reason) FROM kpx_recommend_slate(500::bigint, ARRAY['courses'], 5)), '{popular}', 'whose orders say nothing about courses');
INSERT INTO app.consent VALUES (500, 'products', 'courses');
SELECT ok((SELECT bool_and(reason LIKE 'products/%') FROM kpx_recommend_slate(500::bigint, ARRAY['courses'], 5)), 'until they may');
SET kpxrec.require_consent = off;

-- exploration: shares are the propensities
SELECT kpx_set_policy(params => '{"epsilon": 0.5, "top": 5, "diversity": 0}', based_on => :first) \g /dev/null
CREATE TEMP TABLE drawn AS SELECT s.* FROM generate_series(1, 600) n, kpx_recommend_slate(11 + 0 * n::bigint, ARRAY['courses', 'products'], 1, 'courses') s;
SELECT is((SELECT count(DISTINCT propensity) FROM drawn), 2::bigint, 'epsilon 0.5 over 5: two propensities');
SELECT results_eq('SELECT DISTINCT round(propensity::numeric, 12) FROM drawn ORDER BY 1', 'VALUES (0.1), (0.6)', '0.5 / 5, and 0.5 + 0.5 / 5');
SELECT ok((SELECT sum((n - 600 * propensity) ^ 2 / (600 * propensity)) < 20 FROM (SELECT item_id, module, propensity, count(*) AS n FROM drawn GROUP BY 1, 2, 3) c), 'they are what 600 draws show (chi square, 4 degrees of freedom, 0.05 %)');

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
