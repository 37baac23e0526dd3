-- attack: what roles without the right try, and what hostile objects wait for. A canary table tells
-- whether any of their code ever ran.
BEGIN;
SET client_min_messages = warning;
SELECT plan(71);
\ir fixture.psql
-- as CREATE EXTENSION leaves it: the fixture gives more
DO $$DECLARE f regprocedure; BEGIN
	FOR f IN SELECT p.oid FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid
		WHERE e.extname = 'kpxrec' AND p.pronamespace <> 'kpx'::regnamespace AND kpx.function_level(p.oid) <> 'public' LOOP
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
	END LOOP;
END$$;
SELECT kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small()) \g /dev/null
SELECT slate_id AS slate FROM kpx_recommend_slate(3, ARRAY['courses'], 3, log => true) LIMIT 1 \gset
CREATE ROLE tap_nobody;
CREATE ROLE tap_serve;
CREATE ROLE tap_train;
CREATE ROLE tap_admin;
GRANT USAGE ON SCHEMA app TO tap_nobody, tap_serve, tap_train, tap_admin;
GRANT EXECUTE ON FUNCTION app.error(text) TO PUBLIC;
CREATE TABLE app.canary (who name DEFAULT current_user, what text);
GRANT INSERT ON app.canary TO PUBLIC;
CREATE TEMP TABLE functions AS
SELECT p.oid::regprocedure AS f, p.proname, kpx.function_level(p.oid) AS level, p.proname || '(' || coalesce((SELECT string_agg('NULL::' || CASE format_type(t, NULL)
	WHEN 'anyelement' THEN 'bigint' WHEN 'anycompatible' THEN 'bigint' WHEN 'anyarray' THEN 'bigint[]' WHEN '"any"' THEN 'bigint[]' ELSE format_type(t, NULL) END, ', ' ORDER BY o)
	FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY u(t, o)), '') || ')' AS call
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'kpxrec'
WHERE p.pronamespace <> 'kpx'::regnamespace AND p.prokind = 'f' AND p.prorettype <> 'cstring'::regtype;
GRANT SELECT ON functions TO PUBLIC;

-- levels
SELECT throws_ok($$SELECT kpx_grant('tap_nobody', 'everything')$$, '22023', NULL, 'levels have names');
SELECT throws_ok($$SELECT kpx_grant('nobody at all', 'serve')$$, '42704', NULL, 'and roles are there');
SELECT cmp_ok(kpx_grant('tap_serve', 'serve'), '<', kpx_grant('tap_train', 'train'), 'who trains may more than who serves');
SELECT cmp_ok(kpx_grant('tap_train', 'train'), '<', kpx_grant('tap_admin', 'admin'), 'an admin still more');
SELECT set_eq($$SELECT level FROM functions$$, ARRAY['public', 'serve', 'train', 'admin'], 'every level has functions');
SELECT is_empty($$SELECT f FROM functions WHERE level <> 'public' AND has_function_privilege('public', f, 'EXECUTE')$$, 'only the reading ones are for PUBLIC');
SELECT is_empty($$SELECT f FROM functions WHERE (level IN ('train', 'admin') AND has_function_privilege('tap_serve', f, 'EXECUTE')) OR (level = 'admin' AND has_function_privilege('tap_train', f, 'EXECUTE'))$$,
	'no level has what is above it');
SELECT is_empty($$SELECT f FROM functions WHERE NOT has_function_privilege('tap_admin', f, 'EXECUTE')$$, 'an admin has all');
SELECT is(kpx_grant('tap_serve', 'serve'), (SELECT count(*)::int FROM functions WHERE level IN ('public', 'serve')) + (SELECT count(*)::int FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
	AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'kpxrec' WHERE p.pronamespace <> 'kpx'::regnamespace AND (p.prokind <> 'f' OR p.prorettype = 'cstring'::regtype)),
	'granting again grants the same');
SELECT is_empty($$SELECT f, a.grantee, count(*) FROM functions JOIN pg_proc p ON p.oid = f, aclexplode(p.proacl) a GROUP BY 1, 2 HAVING count(*) > 1$$, 'and nothing twice');
-- what was granted or revoked by hand does not move a level
SAVEPOINT by_hand;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC, tap_serve;
SELECT kpx_grant('public', 'train'), kpx_grant('tap_serve', 'serve') \g /dev/null
SELECT is_empty($$SELECT f FROM functions WHERE level <> kpx.function_level(f)$$, 'levels are what they were');
SELECT is_empty($$SELECT f FROM functions JOIN pg_proc p ON p.oid = f WHERE (level IN ('public', 'serve')) <> EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 'tap_serve'::regrole)$$,
	'and who serves gets what they always get');
ROLLBACK TO by_hand;

-- calling what one may not: refused before anything is looked at
SET ROLE tap_nobody;
SELECT is_empty($$SELECT f, app.error('SELECT ' || call) FROM functions WHERE level <> 'public' AND left(app.error('SELECT ' || call), 5) <> '42501'$$, 'nobody executes anything but the reading API');
SET ROLE tap_serve;
SELECT is_empty($$SELECT f FROM functions WHERE level IN ('train', 'admin') AND left(app.error('SELECT ' || call), 5) <> '42501'$$, 'who serves does not train');
SET ROLE tap_train;
SELECT is_empty($$SELECT f FROM functions WHERE level = 'admin' AND left(app.error('SELECT ' || call), 5) <> '42501'$$, 'who trains does not speak for users');
RESET ROLE;

-- our tables, whatever the level
CREATE TEMP TABLE ours AS SELECT c.oid::regclass AS name, c.relkind FROM pg_class c WHERE relnamespace = 'kpx'::regnamespace AND relkind IN ('r', 'p', 'S');
GRANT SELECT ON ours TO PUBLIC;
SELECT cmp_ok((SELECT count(*) FROM ours), '>', 40::bigint, 'there are tables to attack');
SET ROLE tap_admin;
SELECT throws_like($$SELECT kpx_add_user_attributes('pg_catalog.pg_class', 'oid')$$, 'must be owner of module %', 'attributes, which everybody reads as themselves, are registered by who owns all modules');
SELECT is_empty($$SELECT name FROM ours WHERE relkind <> 'S' AND left(app.error(format('SELECT FROM %s', name)), 5) <> '42501'$$, 'nobody reads them');
SELECT is_empty($$SELECT name FROM ours WHERE relkind <> 'S' AND left(app.error(format('INSERT INTO %s DEFAULT VALUES', name)), 5) <> '42501'$$, 'writes them');
SELECT is_empty($$SELECT name FROM ours WHERE relkind <> 'S' AND left(app.error(format('DELETE FROM %s', name)), 5) <> '42501'$$, 'deletes from them');
SELECT is_empty($$SELECT name FROM ours WHERE relkind <> 'S' AND left(app.error(format('LOCK TABLE %s', name)), 5) <> '42501'$$, 'locks them');
SELECT is_empty($$SELECT name FROM ours WHERE relkind = 'S' AND left(app.error(format('SELECT nextval(%L)', name)), 5) <> '42501'$$, 'or draws from their sequences');
SELECT throws_ok('CREATE TABLE kpx.mine ()', '42501', NULL, 'puts tables beside them');
SELECT throws_ok('CREATE FUNCTION kpx.mine() RETURNS int LANGUAGE sql AS ''SELECT 1''', '42501', NULL, 'or functions');
SELECT throws_ok('CREATE TEMP TABLE t (); CREATE TRIGGER t AFTER INSERT ON t EXECUTE FUNCTION kpx.invalidate()', '42501', NULL, 'or uses our trigger');
SELECT throws_ok(format('ALTER EXTENSION kpxrec ADD TABLE %s', 'app.canary'), '42501', NULL, 'joins the extension');
SELECT throws_ok(format('SET %s = 1', s), '42501', NULL, 'or sets ' || s) FROM unnest(ARRAY['kpxrec.require_consent', 'kpxrec.min_users', 'kpxrec.privacy_budget']) s;
RESET ROLE;

-- what the owner's session has cached is nobody else's
SELECT isnt_empty($$SELECT * FROM kpx_recommend(3, 'courses')$$, 'the owner is answered, the model is in the cache');
SET ROLE tap_serve;
SELECT is_empty($$SELECT c FROM unnest(ARRAY['kpx_recommend(3, ''courses'')', 'kpx_recommend_from(ARRAY[1::bigint], ''courses'', ''courses'')', 'kpx_recommend_for(ARRAY[3], ''courses'')',
	'kpx_similar(3, ''courses'')', 'kpx_score(3, ''courses'', 3)', 'kpx_explain(3, ''courses'', 3)', 'kpx_item_factors(''courses'')', 'kpx_audience(3, ''courses'')',
	'kpx_recommend_slate(3, ARRAY[''courses''])', 'kpx_user_profile(3, ARRAY[''courses''])', 'kpx_similar_users(3, modules => ARRAY[''courses''])']) c
	WHERE left(app.error('SELECT ' || c), 5) <> '42501'$$, 'a role without rights on the sources is refused by a warm cache, too');
SELECT is(left(app.error(format('SELECT * FROM kpx_explain_slate(%s)', :slate)), 5), '42501', 'slates of others are not explained');
SELECT is(left(app.error(format('SELECT kpx_feedback(%s, ''3'', ''click'')', :slate)), 5) IN ('42501', '') , true, 'nor is feedback given on them');
SELECT is_empty('SELECT * FROM kpx_models', 'and the views are empty');
RESET ROLE;
SELECT is_empty('SELECT * FROM kpx.feedback', 'nothing was written');

-- a role that may train, and whose views run code of its own: whoever reads all modules unasked reads them with that role's rights
CREATE ROLE tap_evil;
SELECT kpx_grant('tap_evil', 'train') \g /dev/null
CREATE SCHEMA lair AUTHORIZATION tap_evil;
GRANT USAGE ON SCHEMA app TO tap_evil;
SET ROLE tap_evil;
CREATE TABLE lair.things AS SELECT n::bigint AS id, 'thing ' || n AS title FROM generate_series(1, 30) n;
CREATE TABLE lair.uses AS SELECT u::bigint AS user_id, i::bigint AS thing_id, now() - (u * 37 + i * 11) % 1000 * interval '1 hour' AS at
	FROM generate_series(1, 60) u, generate_series(1, 30) i WHERE u % 3 = i % 3 AND (u / 3 + i / 3 * 3) % 5 < 3;
CREATE FUNCTION lair.strike(what text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN INSERT INTO app.canary (what) VALUES ($1); RETURN true; END$$;
CREATE VIEW lair.uses_view AS SELECT * FROM lair.uses WHERE lair.strike('uses');
CREATE VIEW lair.things_view AS SELECT * FROM lair.things WHERE lair.strike('things');
GRANT USAGE ON SCHEMA lair TO PUBLIC;
GRANT SELECT ON lair.uses_view, lair.things_view TO PUBLIC;
SELECT kpx_add_module('things', 'lair.things_view', 'id', title => 'title') \g /dev/null
SELECT kpx_add_events('things', 'lair.uses_view', 'purchase', 'user_id', 'thing_id', occurred_at => 'at') \g /dev/null
SELECT kpx_train('things', params => '{"factors": 4, "iterations": 4}'), kpx_mine_rules('things', 1, 0.1) \g /dev/null
RESET ROLE;
SELECT isnt_empty('SELECT * FROM app.canary', 'the trap is set');
TRUNCATE app.canary;
SELECT kpx_recommend_slate(6, ARRAY['courses'], 3, log => true) \g /dev/null
SELECT cmp_ok(kpx_measure(users => 20, k => 3), '>=', 2, 'a superuser measures all modules');
SELECT is((SELECT string_agg(DISTINCT who || ' ' || what, ', ') FROM app.canary), 'tap_evil things, tap_evil uses', 'of others with the rights of these');
TRUNCATE app.canary;
INSERT INTO lair.uses VALUES (6, 3, clock_timestamp());
SELECT kpx_attribute() \g /dev/null
SELECT is((SELECT string_agg(DISTINCT who || ' ' || what, ', ') FROM app.canary), 'tap_evil uses', 'so are events attributed');
TRUNCATE app.canary;
SELECT matches(kpx_report(), 'thing 1', 'a report shows titles of all modules');
SELECT is((SELECT string_agg(DISTINCT who || ' ' || what, ', ') FROM app.canary), 'tap_evil things', 'read with their owner''s rights');
TRUNCATE app.canary;
SELECT kpx_user_profile(3::bigint) IS NOT NULL AS profile, count(*) FROM kpx_profiles(), kpx_similar_users(3::bigint) \g /dev/null
SELECT is_empty('SELECT * FROM app.canary', 'a profile of a superuser is of the modules that are theirs');
SELECT kpx_user_profile(3::bigint, ARRAY['things']) \g /dev/null
SELECT is((SELECT string_agg(DISTINCT who, ', ') FROM app.canary), current_user::text, 'unless they name others');
GRANT tap_evil TO tap_admin;
TRUNCATE app.canary;
SET ROLE tap_admin;
SELECT kpx_measure(users => 20, k => 3), kpx_attribute(), kpx_report() \g /dev/null
RESET ROLE;
SELECT is((SELECT string_agg(DISTINCT who, ', ') FROM app.canary), 'tap_evil', 'a member of the owner is no more exposed than a superuser');
TRUNCATE app.canary;
SET ROLE tap_nobody;
SELECT kpx_report() \g /dev/null
RESET ROLE;
SELECT is_empty('SELECT * FROM app.canary', 'who only may read a view does not run it by asking for a report');
-- what else code of a view may try while a superuser asks
CREATE FUNCTION app.strike_with(code text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE OR REPLACE FUNCTION lair.strike(what text) RETURNS boolean LANGUAGE plpgsql AS %L', code);
	PERFORM kpx_measure(users => 5, k => 3);
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT is(app.strike_with(code), state, 'while a superuser measures: ' || code) FROM (VALUES
	('BEGIN RAISE EXCEPTION ''no''; END', 'P0001'),
	('BEGIN RESET ROLE; RETURN true; END', '42501'),
	('BEGIN SET SESSION AUTHORIZATION DEFAULT; RETURN true; END', '42501'),
	('BEGIN PERFORM set_config(''role'', ''none'', false); RETURN true; END', '42501'),
	('BEGIN CREATE TEMP TABLE t (); RETURN true; END', '42501'),
	('BEGIN ALTER ROLE tap_evil SUPERUSER; RETURN true; END', '42501'),
	('BEGIN DELETE FROM kpx.model; RETURN true; END', '42501'),
	('BEGIN COMMIT; RETURN true; END', '2D000'),
	('BEGIN PERFORM set_config(''search_path'', ''lair'', false), set_config(''row_security'', ''off'', false); RETURN true; END', NULL)) v(code, state);
SELECT is(current_user::text, session_user::text, 'the superuser is who they were');
SELECT isnt(current_setting('search_path'), 'lair', 'settings that it changed are what they were');
SELECT is(current_setting('row_security'), 'on', 'all of them');
CREATE OR REPLACE FUNCTION lair.strike(what text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN INSERT INTO app.canary (what) VALUES ($1); RETURN true; END$$;
-- an owner who is gone
UPDATE kpx.module SET owner = 'tap gone' WHERE name = 'things';
SELECT is(kpx_measure(users => 5, k => 3), (SELECT count(*)::int FROM kpx.active_model) - 1, 'a module whose owner is gone is passed over');
SELECT isnt_empty($$SELECT * FROM kpx_attribute() WHERE module <> 'things'$$, 'and the others are not held up');
SELECT kpx_drop_module('things'), count(*) FROM kpx_modules \g /dev/null
TRUNCATE app.canary;

-- hostile objects in front of ours: names of our tables in pg_temp, operators and functions first in the path
CREATE TEMP TABLE module AS SELECT 1 AS id;
CREATE TEMP TABLE model AS SELECT 1 AS id;
CREATE TEMP TABLE consent AS SELECT '3'::text AS user_id, true AS allowed;
CREATE TEMP TABLE forgotten AS SELECT ''::bytea AS tombstone;
CREATE SCHEMA evil;
CREATE FUNCTION evil.strike(text) RETURNS void LANGUAGE sql AS $$INSERT INTO app.canary (what) VALUES ($1)$$;
DO $$
DECLARE t text; o text;
BEGIN
	FOREACH t IN ARRAY ARRAY['int', 'bigint', 'text', 'name', 'oid', 'boolean', 'timestamptz', 'double precision', 'bytea', '"char"'] LOOP
		EXECUTE format('CREATE FUNCTION evil.eq(%1$s, %1$s) RETURNS boolean LANGUAGE plpgsql AS $f$BEGIN PERFORM evil.strike(%2$L); RETURN true; END$f$', t, '= ' || t);
		FOREACH o IN ARRAY ARRAY['=', '<>', '<', '>', '<=', '>='] LOOP
			EXECUTE format('CREATE OPERATOR evil.%1$s (LEFTARG = %2$s, RIGHTARG = %2$s, FUNCTION = evil.eq)', o, t);
		END LOOP;
	END LOOP;
END $$;
CREATE FUNCTION evil.count(anyelement) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN PERFORM evil.strike('count'); RETURN 1; END$$;
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS $$BEGIN PERFORM evil.strike('now'); RETURN clock_timestamp(); END$$;
CREATE FUNCTION evil.unnest(anyarray) RETURNS SETOF anyelement LANGUAGE plpgsql AS $$BEGIN PERFORM evil.strike('unnest'); END$$;
CREATE FUNCTION evil.nextval(regclass) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN PERFORM evil.strike('nextval'); RETURN 1; END$$;
CREATE FUNCTION evil.format(text, text) RETURNS text LANGUAGE plpgsql AS $$BEGIN PERFORM evil.strike('format'); RETURN ''; END$$;
CREATE FUNCTION evil.has_function_privilege(text, oid, text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN PERFORM evil.strike('has'); RETURN true; END$$;
CREATE FUNCTION public.hostile(sql text) RETURNS text LANGUAGE plpgsql SET search_path = evil, pg_temp, pg_catalog, public AS $$
BEGIN
	EXECUTE sql;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLERRM;
END $$;
SELECT is(hostile('SELECT 1 = 2'), NULL, 'the trap is set');
SELECT is((SELECT count(*) FROM app.canary), 1::bigint, 'and works');
TRUNCATE app.canary;
SET kpxrec.privacy_budget = 10;
SELECT is(hostile(c), NULL, 'no harm to ' || left(c, 60)) FROM unnest(ARRAY[
	$$SELECT kpx_train(ARRAY['courses', 'products'], params => '{"factors": 2}'), kpx_evaluate(ARRAY['courses']), kpx_mine_rules(ARRAY['courses', 'products']), kpx_cluster('c', ARRAY['courses'], 2)$$,
	$$SELECT kpx_recommend(3::bigint, 'courses'::text), kpx_recommend_slate(3::bigint, ARRAY['courses'], 3, log => true), kpx_attribute(), kpx_user_profile(3::bigint)$$,
	$$SELECT kpx_set_consent(4::bigint, 'courses'::text, 'products'), kpx_consent_of(4::bigint), kpx_require_consent('courses', 'products', true), kpx_forget_user(5::bigint)$$,
	$$SELECT kpx_publish('popularity', 'courses', 1), kpx_grant('tap_serve', 'serve'), kpx_expire_impressions('1 year'), kpx_set_policy(), kpx_data_quality('courses')$$,
	$$SELECT * FROM kpx_models, kpx_modules, kpx_event_sources, kpx_segments, kpx_rules, kpx_policies, kpx_funnel, kpx_policy_effect, kpx_releases, kpx_privacy_budget$$]) c;
SELECT is_empty('SELECT * FROM app.canary', 'no hostile code has run');

-- installing into a database where others may create things
DROP EXTENSION kpxrec CASCADE;
SAVEPOINT empty;
CREATE SCHEMA kpx AUTHORIZATION tap_nobody;
SELECT throws_ok('CREATE EXTENSION kpxrec', '42P06', NULL, 'a schema kpx of somebody else is refused');
ROLLBACK TO empty;
CREATE FUNCTION public.kpx_version(OUT library text, OUT extension text) RETURNS record LANGUAGE sql AS $$SELECT '', ''$$;
SELECT throws_ok('CREATE EXTENSION kpxrec', '42723', NULL, 'and so is a function that waits to be taken in');
ROLLBACK TO empty;
SELECT is(hostile('CREATE EXTENSION kpxrec SCHEMA public'), NULL, 'hostile operators in the path of the installation');
SELECT is_empty('SELECT * FROM app.canary', 'are not used');
SELECT * FROM finish();
ROLLBACK;
