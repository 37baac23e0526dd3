-- lifecycle: going back, keeping a few versions, champions and challengers, what kpx_models says.
BEGIN;
SELECT plan(59);
\ir fixture.psql
SELECT model AS one FROM kpx_train(ARRAY['courses', 'products'], params => app.small(), name => 'm') \gset
SELECT model AS two FROM kpx_train(ARRAY['courses', 'products'], params => app.small() || '{"seed": 2}', name => 'm') \gset
SELECT model AS three FROM kpx_train('courses', params => app.small() || '{"seed": 3}', name => 'm') \gset
CREATE FUNCTION app.top(u bigint, bigint DEFAULT NULL) RETURNS real[] LANGUAGE sql AS $$SELECT array_agg(score ORDER BY rank) FROM kpx_recommend($1, 'courses', 3, model => $2)$$;
CREATE FUNCTION app.active(text) RETURNS bigint LANGUAGE sql AS $$SELECT active_model FROM kpx_modules WHERE module = $1$$;

-- what kpx_models says
SELECT results_eq('SELECT model, status FROM kpx_models ORDER BY model', format($$VALUES (%s::bigint, 'ready'), (%s, 'active'), (%s, 'active')$$, :one, :two, :three), 'status');
SELECT results_eq(format('SELECT oldest_event, newest_event FROM kpx_models WHERE model = %s', :three), 'SELECT min(at), max(at) FROM app.enrolments', 'the window of one module''s data');
SELECT results_eq(format('SELECT oldest_event, newest_event FROM kpx_models WHERE model = %s', :two),
	'SELECT min(at), max(at) FROM (SELECT at FROM app.enrolments UNION ALL SELECT at FROM app.orders) x', 'and of two');
SELECT results_eq(format('SELECT events_at_newest FROM kpx.model_module WHERE model_id = %s', :three),
	'SELECT count(*) FROM app.enrolments WHERE at = (SELECT max(at) FROM app.enrolments)', 'with how many events there are at its end');
SELECT is((SELECT trained_by FROM kpx_models WHERE model = :one), session_user, 'who trained');
SELECT ok((SELECT bytes > 1000 AND traffic IS NULL AND metrics IS NULL FROM kpx_models WHERE model = :one), 'bytes; no traffic, nothing measured');
SAVEPOINT future;
INSERT INTO app.enrolments VALUES (1, 1, now() + interval '1 year'), (2, 2, NULL), (4, 4, 'infinity');
SELECT model AS of_future FROM kpx_train('courses', params => app.small(), activate => false) \gset
SELECT results_eq(format('SELECT newest_event FROM kpx_models WHERE model = %s', :of_future), 'SELECT max(at) FROM app.enrolments WHERE at < now()', 'events of the future, and without time, are not its end');
DELETE FROM app.enrolments;
SELECT model AS of_nothing FROM kpx_train('courses', params => app.small(), activate => false) \gset
SELECT results_eq(format('SELECT oldest_event, newest_event FROM kpx_models WHERE model = %s', :of_nothing), 'SELECT NULL::timestamptz, NULL::timestamptz', 'no events, no window');
ROLLBACK TO future;

-- going back
SELECT results_eq($$SELECT * FROM kpx_rollback('{courses}')$$, format($$VALUES ('courses', %s::bigint, %s::bigint)$$, :two, :three), 'back to the model before');
SELECT is(app.top(3), app.top(3, :two), 'it answers at once');
SELECT results_eq($$SELECT * FROM kpx_rollback('{courses,products}')$$, format($$VALUES ('courses', %s::bigint, %s::bigint), ('products', %1$s, %2$s)$$, :one, :two), 'and to the one before that, in two modules');
SELECT throws_ok($$SELECT * FROM kpx_rollback('{courses}')$$, '55000', 'module "courses" has no earlier model to go back to', 'there is an end to it');
SELECT is(app.active('courses'), (:one)::bigint, 'and nothing has changed then');
SELECT kpx_activate(:three);
SELECT results_eq($$SELECT model FROM kpx_rollback('{courses}')$$, format('VALUES (%s::bigint)', :one), 'after going forward, back is where one came from');
SELECT kpx_activate(:two);
SELECT kpx_activate(:three);
SELECT kpx_drop_model(:three);
SELECT is(app.active('courses'), NULL, 'the active one was dropped');
SELECT results_eq($$SELECT * FROM kpx_rollback('{courses}')$$, format($$VALUES ('courses', %s::bigint, NULL::bigint)$$, :two), 'back from nothing');
SELECT throws_ok($$SELECT * FROM kpx_rollback('{videos}')$$, '55000', NULL, 'a module that never had one');
SELECT throws_ok($$SELECT * FROM kpx_rollback(NULL)$$, '22004', NULL, 'NULL');
SELECT throws_ok($$SELECT * FROM kpx_rollback('{nothing}')$$, '42704', NULL, 'no such module');

-- champion and challengers
SELECT kpx_activate(:one);
SELECT lives_ok(format('SELECT kpx_set_traffic(%s, 0.3, %L)', :two, '{courses}'), 'a share for a challenger');
SELECT results_eq(format('SELECT status, traffic FROM kpx_models WHERE model = %s', :two), $$VALUES ('challenger', '{"courses": 0.3}'::jsonb)$$, 'kpx_models says so');
CREATE TABLE app.answer AS SELECT u::bigint AS u, kpx_model_for(u::text, 'courses') AS model FROM generate_series(1, 10000) u;
SELECT ok((SELECT abs(avg((model = :two)::int) - 0.3) < 5 * sqrt(0.3 * 0.7 / 10000) FROM app.answer), 'it has three users in ten, within five standard errors');
SELECT is_empty('SELECT u FROM app.answer WHERE u <= 60 AND app.top(u) IS DISTINCT FROM app.top(u, model)', 'everybody is answered by the model that is theirs');
SELECT cmp_ok((SELECT count(*) FROM app.answer WHERE u <= 60 AND model = :two), '>', 5::bigint, 'some of them by the challenger');
SELECT results_eq($$SELECT user_id, rank, round(score::numeric, 4) FROM kpx_recommend_for((SELECT array_agg(u) FROM generate_series(1::bigint, 60) u), 'courses', 3) ORDER BY 1, 2$$,
	$$SELECT u, r.rank, round(r.score::numeric, 4) FROM generate_series(1::bigint, 60) u, kpx_recommend(u, 'courses', 3) r ORDER BY 1, 2$$, 'kpx_recommend_for agrees with kpx_recommend');
SELECT is_empty($$SELECT u, r.item_id FROM generate_series(1::bigint, 60) u, kpx_recommend(u, 'courses', 3) r WHERE kpx_score(u, 'courses', r.item_id) <> r.score$$, 'and kpx_score');
SELECT is_empty($$SELECT u FROM generate_series(1::bigint, 60) u, kpx_recommend(u, 'courses', 1) r
	WHERE abs((SELECT sum(contribution) FROM kpx_explain(u, 'courses', r.item_id)) - r.score) > 1e-4$$, 'and kpx_explain');
SELECT is(kpx_model_for('007', 'courses'), kpx_model_for('7', 'courses'), 'an id is who it names, however it is written');
SELECT results_eq($$SELECT item_id FROM kpx_recommend('7', 'courses', 3)$$, $$SELECT item_id::text FROM kpx_recommend(7::bigint, 'courses', 3)$$, 'as text too');
SELECT is(kpx_model_for('7', 'products'), (:one)::bigint, 'the other module has no challenger');
SELECT is_empty($$SELECT u FROM generate_series(1, 60) u WHERE kpx_model_for(u::text, 'products') <> app.active('products')$$, 'nobody is its');
SELECT kpx_set_traffic(:two, 0.6, '{courses}');
SELECT is_empty(format($$SELECT u FROM app.answer WHERE model = %s AND kpx_model_for(u::text, 'courses') <> model$$, :two), 'who is its stays its while the share grows');
SELECT model AS other FROM kpx_train('courses', params => app.small() || '{"seed": 4}', activate => false) \gset
SELECT throws_ok(format('SELECT kpx_set_traffic(%s, 0.5)', :other), '22023', NULL, 'together not more than all');
SELECT lives_ok(format('SELECT kpx_set_traffic(%s, 0.4)', :other), 'all users may be the challengers''');
SELECT is_empty(format($$SELECT u FROM app.answer WHERE kpx_model_for(u::text, 'courses') = %s$$, :one), 'then none is the champion''s');
SELECT ok((SELECT abs(avg((kpx_model_for(u::text, 'courses') = :other)::int) - 0.4) < 0.03 FROM app.answer), 'and each has its share');
SELECT kpx_set_traffic(:other, 0);
SELECT is((SELECT status FROM kpx_models WHERE model = :other), 'ready', '0 ends it');
SELECT throws_ok(format('SELECT kpx_set_traffic(%s, 0.1)', :one), '55000', NULL, 'the champion cannot challenge itself');
SELECT throws_ok(format('SELECT kpx_set_traffic(%s, %s)', :two, v), '22023', NULL, 'share ' || v) FROM unnest(ARRAY['-0.1', '1.1', '''NaN''']) v;
SELECT throws_ok('SELECT kpx_set_traffic(999999, 0.1)', '42704', NULL, 'no such model');
SELECT throws_ok(format('SELECT kpx_set_traffic(%s, 0.1, ARRAY[%L])', :two, 'videos'), '42704', NULL, 'a module that it does not have');
SELECT throws_ok('SELECT kpx_set_traffic(NULL, 0.1)', '22004', NULL, 'NULL');

-- slates carry the model that answered
SELECT kpx_set_policy(params => '{"epsilon": 0, "value": 1}') \g /dev/null
SELECT kpx_recommend_slate(u, '{courses,products}', 4, log => true) FROM generate_series(1::bigint, 20) u \g /dev/null
SELECT is_empty($$SELECT i.user_id FROM kpx.impression i JOIN kpx.module m ON m.id = i.module_id WHERE i.model_id IS DISTINCT FROM kpx_model_for(i.user_id, m.name)$$, 'impressions carry the model that answered');
SELECT is_empty($$SELECT slate_id FROM kpx.slate WHERE models <> ARRAY[kpx_model_for(user_id, 'courses'), kpx_model_for(user_id, 'products')]$$, 'and slates');
SELECT results_eq('SELECT module, model, users, impressions FROM kpx_model_effect ORDER BY 1, 2',
	'SELECT m.name, i.model_id, count(DISTINCT i.user_id), count(*) FROM kpx.impression i JOIN kpx.module m ON m.id = i.module_id GROUP BY 1, 2 ORDER BY 1, 2', 'kpx_model_effect compares them');
SELECT results_eq('SELECT module, model, revenue_std_error FROM kpx_model_effect ORDER BY 1, 2',
	'SELECT module, model, stddev_samp(revenue) / sqrt(count(*)) FROM (SELECT m.name AS module, i.model_id AS model, i.user_id, coalesce(sum(f.value), 0::float8) AS revenue FROM kpx.impression i JOIN kpx.module m ON m.id = i.module_id LEFT JOIN kpx.feedback f USING (slate_id, rank) GROUP BY 1, 2, 3) u GROUP BY 1, 2 ORDER BY 1, 2', 'with the standard error over users');
SELECT cmp_ok((SELECT count(DISTINCT model) FROM kpx_model_effect WHERE module = 'courses'), '=', 2::bigint, 'two in courses');

-- who wins
SELECT kpx_activate(:two);
SELECT results_eq(format('SELECT status, traffic FROM kpx_models WHERE model = %s', :two), $$VALUES ('active', NULL::jsonb)$$, 'activated, it challenges no more');

-- keeping a few
SELECT kpx_train('courses', params => app.small() || '{"iterations": 1}', name => 'n') FROM generate_series(1, 5) \g /dev/null
SELECT kpx_set_traffic((SELECT model FROM kpx_models WHERE name = 'n' AND version = 1), 0.1);
SELECT results_eq($$SELECT version FROM kpx_retain(2, 'n')$$, 'VALUES (2), (3)', 'the two newest stay, and the challenger');
SELECT is_empty($$SELECT * FROM kpx_retain(2, 'n')$$, 'and that is all');
SELECT kpx_activate((SELECT model FROM kpx_models WHERE name = 'n' AND version = 4));
SELECT kpx_set_traffic((SELECT model FROM kpx_models WHERE name = 'n' AND version = 1), 0);
SELECT results_eq($$SELECT name, version FROM kpx_retain(1) ORDER BY 1, 2$$, $$VALUES ('n', 1)$$, 'what is active, and what one would go back to, stay');
SELECT lives_ok($$SELECT * FROM kpx_rollback('{courses}')$$, 'so that one can go back');
SELECT throws_ok('SELECT * FROM kpx_retain(0)', '22023', NULL, 'not less than one');
SELECT throws_ok('SELECT * FROM kpx_retain(NULL)', '22023', NULL, 'nor nothing');

-- who may
CREATE ROLE kpx_test_stranger;
GRANT USAGE ON SCHEMA app TO kpx_test_stranger;
GRANT SELECT ON ALL TABLES IN SCHEMA app TO kpx_test_stranger;
SET LOCAL ROLE kpx_test_stranger;
SELECT throws_ok(format('SELECT kpx_set_traffic(%s, 0.1)', :two), '42501', NULL, 'a stranger gives no traffic');
SELECT throws_ok($$SELECT * FROM kpx_rollback('{courses}')$$, '42501', NULL, 'nor goes back');
SELECT is_empty('SELECT * FROM kpx_retain(1)', 'and deletes nothing');
RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
