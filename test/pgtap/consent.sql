-- consent: which module's events of a user may be used for which other module, in training and in answers.
BEGIN;
SELECT plan(70);
\ir fixture.psql
SELECT model FROM kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small()) \gset
-- the modules whose events of a user speak in answers about products
CREATE FUNCTION app.speak(u bigint) RETURNS text LANGUAGE sql AS $$SELECT string_agg(DISTINCT module, ' ' ORDER BY module) FROM kpx_explain(u, 'products', 30::bigint)$$;
CREATE FUNCTION app.allowed(u bigint, purpose text DEFAULT 'answers') RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(c.source_module || '>' || c.target_module, ' ' ORDER BY 1), '') FROM (SELECT * FROM kpx_consent_of(u) ORDER BY 1, 2) c WHERE c.allowed AND c.purpose = $2
$$;

-- arguments and rights
SELECT throws_ok($$SELECT kpx_set_consent(NULL::bigint, 'courses', 'products')$$, '22004', NULL, 'somebody must consent');
SELECT throws_ok($$SELECT kpx_set_consent(3, 'courses', 'products', 'all', NULL)$$, '22004', NULL, 'or not');
SELECT throws_ok($$SELECT kpx_set_consent(3, 'nowhere', 'products')$$, '42704', NULL, 'to the use of a module');
SELECT throws_ok($$SELECT kpx_set_consent(3, 'courses', 'courses')$$, '22023', NULL, 'for another one');
SELECT throws_ok($$SELECT kpx_set_consent(3, 'courses', 'products', 'fun')$$, '22023', NULL, 'for a purpose that is known');
SELECT throws_ok($$SELECT kpx_set_consent('x', 'courses', 'products')$$, '22P02', NULL, 'with an id as users have');
SELECT throws_ok($$SELECT kpx_require_consent('courses', 'courses', true)$$, '22023', NULL, 'a module may use its own events');
SELECT throws_ok($$SELECT kpx_require_consent(NULL, 'courses', true)$$, '22004', NULL, 'pairs are named');
SELECT throws_ok('SELECT kpx_drop_consent_source(77)', '42704', NULL, 'a source that is not there');
CREATE ROLE tap_consent;
SET ROLE tap_consent;
SELECT throws_ok($$SELECT kpx_set_consent(3, 'courses', 'products')$$, '42501', NULL, 'not everybody may speak for users');
SELECT throws_ok('SELECT * FROM kpx_consent_of(3)', '42501', NULL, 'or ask');
SELECT throws_ok($$SELECT kpx_require_consent('courses', 'products', false)$$, '42501', NULL, 'or say what is required');
SELECT throws_ok($$SET kpxrec.require_consent = off$$, '42501', NULL, 'nor change the setting');
RESET ROLE;
GRANT EXECUTE ON FUNCTION kpx_require_consent(text, text, boolean), kpx_add_consent_source(regclass, text, text, text, text, text) TO tap_consent;
SET ROLE tap_consent;
SELECT throws_ok($$SELECT kpx_require_consent('courses', 'products', false)$$, '42501', NULL, 'who may, still needs to own the module');
SELECT throws_ok($$SELECT kpx_add_consent_source('pg_class')$$, '42501', NULL, 'and all modules, to register consent');
RESET ROLE;

-- off: nothing is asked
SELECT is(app.speak(3), 'courses products videos', 'without the setting all modules speak');
SELECT is(app.allowed(3), 'courses>products courses>videos products>courses products>videos videos>courses videos>products', 'since all are allowed');
SELECT is((SELECT bool_or(required) FROM kpx_consent_of(3)), false, 'and nothing is required');

-- on: absence is no
SET kpxrec.require_consent = on;
SELECT is(app.speak(3), 'products', 'with it, only the module itself');
SELECT is(app.allowed(3), '', 'nothing is allowed');
SELECT ok((SELECT bool_and(reason LIKE 'products/%' OR reason = 'popular') FROM kpx_recommend(3, 'products', 10)), 'kpx_recommend obeys');
SELECT ok((SELECT bool_and(reason LIKE 'products/%' OR reason = 'popular') FROM kpx_recommend_for(ARRAY[3, 4, 5], 'products', 10)), 'kpx_recommend_for, too');
SELECT ok((SELECT bool_and(reason LIKE 'products/%' OR reason = 'popular') FROM kpx_recommend_slate(3, ARRAY['products'], 10)), 'and slates');
SELECT is((SELECT round(kpx_score(3, 'products', 30::bigint)::numeric, 4)), (SELECT round(sum(contribution)::numeric, 4) FROM kpx_explain(3, 'products', 30::bigint)), 'scores are of what speaks');
SELECT is_empty('SELECT * FROM kpx_similar_users(3)', 'nobody is like a user whose modules may not be joined');
SELECT isnt_empty($$SELECT * FROM kpx_similar_users(3, modules => ARRAY['courses'])$$, 'but in one module');
SELECT is_empty('SELECT * FROM kpx_profiles()', 'nor are there profiles over modules');
SELECT is((SELECT count(*) FROM kpx_profiles(ARRAY['courses'])), (SELECT count(DISTINCT user_id) FROM app.enrolments), 'there are of one');
SELECT ok(NOT kpx_user_profile(3) ? 'behaviour' OR kpx_user_profile(3)->>'behaviour' IS NULL OR kpx_user_profile(3)->'behaviour' = '{}', 'a profile over modules has no behaviour');
SELECT isnt(kpx_user_profile(3, ARRAY['courses'])->'behaviour', NULL, 'one of a module has');

-- a word opens one way, for one user, at once
SELECT kpx_set_consent(3, 'courses', 'products') \g /dev/null
SELECT is(app.speak(3), 'courses products', 'what was said counts in the next statement');
SELECT is(app.allowed(3), 'courses>products', 'one way');
SELECT is(app.speak(6), 'products', 'of nobody else');
SELECT is((SELECT count(DISTINCT reason) FROM kpx_recommend_for(ARRAY[6, 3], 'products', 20) WHERE user_id = 6 AND reason LIKE 'courses/%'), 0::bigint, 'in one call for many, each has their own');
SELECT kpx_set_consent(3, 'courses', 'products', 'all', false) \g /dev/null
SELECT is(app.speak(3), 'products', 'revoked: no more');
SELECT kpx_set_consent('3', NULL, NULL) \g /dev/null
SELECT is(app.speak(3), 'courses products videos', 'to any use of any module, by the id as text');
SELECT kpx_set_consent(3, 'videos', NULL, 'answers', false) \g /dev/null
SELECT is(app.allowed(3), 'courses>products courses>videos products>courses products>videos', 'less all of one, the newest word counts');
SELECT is(app.allowed(3, 'training'), 'courses>products courses>videos products>courses products>videos videos>courses videos>products', 'for one purpose');
SELECT is(kpx_user_profile(3), kpx_user_profile(3, ARRAY['courses', 'products']), 'profiles are over what is shared with all the others');
SELECT is((SELECT count(*) FROM kpx.consent WHERE user_id = '3'), 4::bigint, 'every word is kept');

-- pairs
SELECT kpx_require_consent('courses', 'products', false) \g /dev/null
SELECT is(app.speak(6), 'courses products', 'a pair that requires none');
SET kpxrec.require_consent = off;
SELECT kpx_require_consent('courses', 'products', true) \g /dev/null
SELECT is(app.speak(6), 'products videos', 'or alone requires it');
SELECT is((SELECT string_agg(source_module || '>' || target_module, ' ') FROM kpx_consent_of(6) WHERE required AND purpose = 'answers'), 'courses>products', 'as kpx_consent_of says');
SELECT kpx_require_consent('courses', 'products', NULL) \g /dev/null
SELECT is(app.speak(6), 'courses products videos', 'until the setting rules again');
SET kpxrec.require_consent = on;

-- tables of the platform
CREATE TABLE app.consents (who bigint, of text, for_module text, what text, yes boolean);
INSERT INTO app.consents VALUES (6, 'courses', 'products', NULL, true), (6, 'videos', 'products', 'training', true), (6, 'videos', 'courses', NULL, false), (9, NULL, 'products', 'answers', true);
SELECT throws_ok($$SELECT kpx_add_consent_source('app.consents')$$, '42703', NULL, 'columns have their names');
SELECT throws_ok($$SELECT kpx_add_consent_source('app.consents', 'who', 'of', 'who')$$, '42804', NULL, 'and types');
SELECT throws_ok($$SELECT kpx_add_consent_source('app.consents', 'yes', 'of', 'of')$$, '42804', NULL, 'ids, too');
SELECT kpx_add_consent_source('app.consents', 'who', 'of', 'for_module', purpose => 'what', allowed => 'yes') AS source \gset
SELECT is(app.allowed(6), 'courses>products', 'a row is a yes, if it says so');
SELECT is(app.allowed(6, 'training'), 'courses>products videos>products', 'for its purpose');
SELECT is(app.allowed(9), 'courses>products videos>products', 'NULL is any module');
UPDATE app.consents SET yes = false WHERE who = 9;
SELECT is(app.allowed(9), '', 'it is read on every call');
SELECT kpx_set_consent(6, 'courses', 'products', 'all', false) \g /dev/null
SELECT is(app.allowed(6), '', 'the word said to kpx_set_consent goes before it');
GRANT USAGE ON SCHEMA app TO tap_consent;
GRANT SELECT ON app.courses, app.products, app.videos, app.enrolments, app.orders, app.plays TO tap_consent;
SET ROLE tap_consent;
SELECT throws_ok($$SELECT * FROM kpx_recommend(9, 'products')$$, '42501', NULL, 'it is read as the caller: who may not see consent has none');
RESET ROLE;
SELECT kpx_drop_consent_source(:source) \g /dev/null
SET ROLE tap_consent;
SELECT isnt_empty($$SELECT * FROM kpx_recommend(9, 'products')$$, 'until it is dropped');
RESET ROLE;
TRUNCATE kpx.consent;

-- training
SELECT kpx_set_consent(u, NULL, NULL, 'training') FROM generate_series(1, 30) u \g /dev/null
SELECT users AS some_users, loss AS some_loss FROM kpx_train(ARRAY['courses', 'products'], params => app.small(), name => 'some', activate => false) \gset
SELECT is(:some_users::bigint, 30::bigint, 'joint training is of those who let it');
SELECT is((SELECT users FROM kpx_train('courses', params => app.small(), name => 'one', activate => false)), (SELECT count(DISTINCT user_id) FROM app.enrolments), 'one module alone may use all its events');
SELECT is((SELECT baskets FROM kpx_mine_rules(ARRAY['courses', 'products'])), 30::bigint, 'so it is with rules');
SELECT is((SELECT users FROM kpx_cluster('shared', ARRAY['courses', 'products'], 2)), 30::bigint, 'and segments');
SELECT is_empty($$SELECT * FROM kpx_segment_of(40)$$, 'which know nobody else');
SAVEPOINT fewer;
SET kpxrec.require_consent = off;
DELETE FROM app.enrolments WHERE user_id > 30;
DELETE FROM app.orders WHERE user_id > 30;
SELECT is((SELECT loss FROM kpx_train(ARRAY['courses', 'products'], params => app.small(), name => 'fewer', activate => false)), :some_loss::float8, 'as if the others were not there');
ROLLBACK TO fewer;
SELECT kpx_set_consent(u, 'products', 'courses', 'training', false) FROM generate_series(1, 30) u \g /dev/null
SELECT results_eq($$SELECT interactions FROM kpx_train(ARRAY['courses', 'products'], params => app.small(), name => 'half', activate => false)$$,
	'SELECT count(*) FROM (SELECT DISTINCT user_id, course_id FROM app.enrolments WHERE user_id <= 30) e', 'a module that is not shared is left out, the others stay');
SELECT matches(app.error($$SELECT kpx_train(ARRAY['courses', 'products'], params => '{"factors": 2}'); SELECT kpx_recommend('x', 'products')$$), '22P02', 'an error of an answer is its own');

-- who was forgotten
SET kpxrec.require_consent = off;
SELECT kpx_forget_user(12) \g /dev/null
SELECT is((SELECT users FROM kpx_train('courses', params => app.small(), name => 'one', activate => false)), (SELECT count(DISTINCT user_id) - 1 FROM app.enrolments), 'forgotten users are left out of all training');
SELECT is(app.speak(12), NULL, 'nothing of theirs speaks');
SELECT is((SELECT array_agg(DISTINCT reason) FROM kpx_recommend(12, 'courses')), '{popular}', 'they are new to us');
SELECT is_empty('SELECT * FROM kpx_profiles(NULL::bigint) WHERE user_id = 12', 'no profile is made of them');
SELECT is_empty('SELECT * FROM kpx_audience(12, ''courses'', 100, keep_seen => true) WHERE user_id = 12', 'they are nobody''s audience');
SELECT is_empty('SELECT * FROM kpx_similar_users(15, 100) WHERE user_id = 12', 'and like nobody');
SELECT throws_ok($$SELECT kpx_set_consent(12, NULL, NULL)$$, '55000', NULL, 'nor can they consent again');
SELECT is((SELECT count(*) FROM kpx.consent WHERE user_id = '12'), 0::bigint, 'what they said is gone');
SELECT * FROM finish();
ROLLBACK;
