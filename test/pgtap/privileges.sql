-- privileges: every read is the caller's; what is registered and trained is the owner's.
BEGIN;
SET client_min_messages = warning;
SELECT plan(55);
CREATE ROLE tap_shop;
CREATE ROLE tap_videos;
CREATE ROLE tap_nobody;
CREATE ROLE tap_app;
SELECT kpx_grant(r, 'train') FROM unnest(ARRAY['tap_shop', 'tap_videos', 'tap_nobody', 'tap_app']) r \g /dev/null
CREATE SCHEMA shop;
CREATE SCHEMA video;
GRANT USAGE ON SCHEMA shop, video TO tap_shop, tap_videos, tap_nobody, tap_app;
GRANT CREATE ON SCHEMA shop TO tap_shop;
GRANT CREATE ON SCHEMA video TO tap_videos;
CREATE FUNCTION public.error(sql text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE sql;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

-- an ordinary role does everything with its own tables
SET ROLE tap_shop;
CREATE TABLE shop.items (id int PRIMARY KEY);
CREATE TABLE shop.orders (u int, i int, secret text);
INSERT INTO shop.items SELECT generate_series(1, 12);
INSERT INTO shop.orders SELECT u, i FROM generate_series(1, 40) u, generate_series(1, 12) i WHERE (u + i) % 3 = 0 AND (u * 7 + i) % 4 > 0;
CREATE INDEX ON shop.orders (u);
SELECT lives_ok($$SELECT kpx_add_module('shop', 'shop.items', 'id')$$, 'an ordinary role registers its own items');
SELECT kpx_add_events('shop', 'shop.orders', 'purchase', 'u', 'i') AS orders \gset
SELECT model AS shop_model FROM kpx_train('shop', params => '{"factors": 4, "iterations": 4}') \gset
SELECT isnt_empty($$SELECT * FROM kpx_recommend(1, 'shop')$$, 'trains and is answered');
SELECT is((SELECT string_agg(module || ' of ' || owner, ' ') FROM kpx_modules), 'shop of tap_shop', 'sees its module');
SELECT isnt_empty('SELECT * FROM kpx_models', 'its model');
SELECT isnt_empty('SELECT * FROM kpx_event_sources', 'its source');
SELECT throws_ok('SELECT * FROM kpx.model', '42501', NULL, 'but not the tables beneath');
SELECT throws_ok('SELECT * FROM kpx.model_block', '42501', NULL, 'nor their blocks');
SELECT throws_ok('SELECT kpx.invalidate()', '42501', NULL, 'nor internal functions');
RESET ROLE;

-- a module whose sources were dropped has none whose privileges could open its model to others
SAVEPOINT sources;
SELECT kpx_drop_events(:orders) \g /dev/null
SET ROLE tap_nobody;
SELECT is(left(error($$SELECT * FROM kpx_item_factors('shop')$$), 5), '42501', 'a model without sources is its owner''s alone');
SELECT is_empty('SELECT * FROM kpx_models', 'and seen by nobody else');
ROLLBACK TO sources;
DROP TABLE shop.orders;
SET ROLE tap_nobody;
SELECT is(left(error($$SELECT * FROM kpx_item_factors('shop')$$), 5), '42501', 'nor when the tables are gone');
ROLLBACK TO sources;

-- another ordinary role: nothing of it
SET ROLE tap_nobody;
SELECT is_empty('SELECT * FROM kpx_modules', 'a role without rights sees no module');
SELECT is_empty('SELECT * FROM kpx_models', 'no model');
SELECT is_empty('SELECT * FROM kpx_event_sources', 'no source');
SELECT is(left(error($$SELECT * FROM kpx_recommend(1, 'shop')$$), 5), '42501', 'is not answered');
SELECT is(left(error($$SELECT * FROM kpx_recommend_from(ARRAY[1], 'shop', 'shop')$$), 5), '42501', 'not from items either');
SELECT is(left(error($$SELECT * FROM kpx_recommend_for(ARRAY[1], 'shop')$$), 5), '42501', 'nor for many');
SELECT is(left(error($$SELECT * FROM kpx_similar(1, 'shop')$$), 5), '42501', 'nor what is similar');
SELECT is(left(error($$SELECT kpx_score(1, 'shop', 1)$$), 5), '42501', 'nor a score');
SELECT is(left(error($$SELECT * FROM kpx_explain(1, 'shop', 1)$$), 5), '42501', 'nor an explanation');
SELECT is(left(error($$SELECT * FROM kpx_item_factors('shop')$$), 5), '42501', 'nor factors');
SELECT is(left(error($$SELECT kpx_train('shop', activate => false)$$), 5), '42501', 'cannot train on it');
SELECT is(left(error($$SELECT * FROM kpx_evaluate(ARRAY['shop'])$$), 5), '42501', 'cannot evaluate it');
SELECT is(left(error($$SELECT kpx_drop_module('shop')$$), 5), '42501', 'cannot drop the module');
SELECT is(left(error(format('SELECT kpx_drop_events(%s)', :orders)), 5), '42501', 'the source');
SELECT is(left(error(format('SELECT kpx_drop_model(%s)', :shop_model)), 5), '42501', 'the model');
SELECT is(left(error(format('SELECT kpx_activate(%s)', :shop_model)), 5), '42501', 'nor activate');
SELECT is(left(error($$SELECT kpx_add_module('mine', 'shop.items', 'id')$$), 5), '42501', 'cannot register tables it may not read');
SELECT is(left(error($$SELECT kpx_add_events('shop', 'shop.orders', 'view', 'u', 'i')$$), 5), '42501', 'nor add sources to the module of another');
SELECT ok(error($$SELECT kpx_recommend(1, 'nowhere')$$) !~ 'shop', 'and errors do not tell of it');
RESET ROLE;

-- granted on the columns that are registered, and no others
GRANT SELECT (id) ON shop.items TO tap_app;
GRANT SELECT (u, i) ON shop.orders TO tap_app;
SET ROLE tap_app;
SELECT isnt_empty($$SELECT * FROM kpx_recommend(1, 'shop')$$, 'column privileges are enough to be answered');
SELECT throws_ok('SELECT secret FROM shop.orders', '42501', NULL, 'and nothing more');
SELECT lives_ok($$SELECT kpx_train('shop', name => 'app''s own', activate => false)$$, 'or to train, without activating');
SELECT throws_ok($$SELECT kpx_train('shop')$$, '42501', NULL, 'which is the owner''s');
RESET ROLE;
REVOKE SELECT (u, i) ON shop.orders FROM tap_app;
SET ROLE tap_app;
SELECT is(left(error($$SELECT * FROM kpx_recommend(1, 'shop')$$), 5), '42501', 'a revoked privilege counts at once, in spite of cached plans');
SELECT is_empty(format('SELECT * FROM kpx_models WHERE model = %s', :shop_model), 'and hides the model');
RESET ROLE;

-- row-level security: what the role does not see did not happen
GRANT SELECT ON shop.items, shop.orders TO tap_app;
SET ROLE tap_app;
SELECT array_agg(item_id ORDER BY item_id) AS seen_all FROM kpx_recommend(2, 'shop', 100, keep_seen => false) \gset
RESET ROLE;
ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON shop.orders FOR SELECT TO tap_app USING (u % 2 = 1);
SET ROLE tap_app;
SELECT isnt((SELECT array_agg(item_id ORDER BY item_id) FROM kpx_recommend(2, 'shop', 100)), :'seen_all'::int[], 'a policy changes the answer at once');
SELECT is((SELECT array_agg(DISTINCT reason) FROM kpx_recommend(2, 'shop')), '{popular}', 'user 2 has no history any more');
SELECT isnt((SELECT array_agg(DISTINCT reason) FROM kpx_recommend(1, 'shop')), '{popular}', 'user 1 has');
SELECT is((SELECT users FROM kpx_train('shop', name => 'odd', activate => false)), (SELECT count(DISTINCT u) FROM shop.orders), 'training sees the same rows');
RESET ROLE;
SET ROLE tap_shop;
SELECT isnt((SELECT array_agg(DISTINCT reason) FROM kpx_recommend(2, 'shop')), '{popular}', 'the owner sees all, in the same session');
RESET ROLE;
SET ROLE tap_app;
SET LOCAL row_security = off;
SELECT is(left(error($$SELECT * FROM kpx_recommend(2, 'shop')$$), 5), '42501', 'row_security = off refuses instead of filtering');
SET LOCAL row_security = on;
RESET ROLE;

-- the owner's role may be granted
GRANT tap_shop TO tap_videos;
SET ROLE tap_videos;
SELECT lives_ok(format('SELECT kpx_activate(%s)', :shop_model), 'members of the owner''s role own too');
SELECT isnt_empty('SELECT * FROM kpx_models', 'and see');
RESET ROLE;

-- owners are names
ALTER ROLE tap_shop RENAME TO tap_store;
SET ROLE tap_store;
SELECT isnt_empty($$SELECT * FROM kpx_recommend(1, 'shop')$$, 'an owner that was renamed is answered, since it may read the sources');
SELECT is(left(error($$SELECT kpx_drop_module('shop')$$), 5), '42501', 'but owns nothing');
RESET ROLE;
ALTER ROLE tap_store RENAME TO tap_shop;
SET ROLE tap_shop;
SELECT lives_ok(format('SELECT kpx_activate(%s)', :shop_model), 'until it has its name again');
RESET ROLE;

-- names that try to be SQL
CREATE SCHEMA "x'; DROP TABLE y; --";
CREATE TABLE "x'; DROP TABLE y; --"."""items"" $1" ("id"";" int PRIMARY KEY, "on %s" bool DEFAULT true);
CREATE TABLE "x'; DROP TABLE y; --"."events%n" ("user" int, "select" int, "at\" timestamptz);
CREATE INDEX ON "x'; DROP TABLE y; --"."events%n" ("user");
INSERT INTO "x'; DROP TABLE y; --"."""items"" $1" SELECT generate_series(1, 9);
INSERT INTO "x'; DROP TABLE y; --"."events%n" SELECT u, i FROM generate_series(1, 9) u, generate_series(1, 9) i WHERE (u + i) % 2 = 0;
SELECT lives_ok($q$SELECT kpx_add_module('a''b"; --', '"x''; DROP TABLE y; --"."""items"" $1"', 'id";', available => 'on %s')$q$, 'odd names of everything');
SELECT lives_ok($q$SELECT kpx_add_events('a''b"; --', '"x''; DROP TABLE y; --"."events%n"', 'pur''chase', 'user', 'select', occurred_at => 'at\')$q$, 'and of events');
SELECT lives_ok($q$SELECT kpx_train('a''b"; --', params => '{"factors": 2, "module_weights": {"a''b\"; --": 1}}', name => '%s'';')$q$, 'train');
SELECT isnt_empty($q$SELECT * FROM kpx_recommend(1, 'a''b"; --', keep_seen => true)$q$, 'and are answered');

-- a hostile search_path: operators and tables of the same names
CREATE SCHEMA evil;
CREATE FUNCTION evil.eq(int, int) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE 'evil'; END $$;
CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.eq);
CREATE FUNCTION evil.unnest(anyarray) RETURNS SETOF anyelement LANGUAGE plpgsql AS $$BEGIN RAISE 'evil'; END $$;
CREATE TABLE evil.model (id int);
CREATE FUNCTION public.hostile(sql text) RETURNS text LANGUAGE plpgsql SET search_path = evil, pg_catalog, public AS $$
BEGIN
	EXECUTE sql;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLERRM;
END $$;
SELECT is(hostile('SELECT 1 = 1'), 'evil', 'the trap works');
SELECT is(hostile($$SELECT * FROM public.kpx_recommend(1, 'shop'), public.kpx_modules, public.kpx_models, public.kpx_event_sources$$), NULL, 'a hostile search_path changes nothing');
SELECT is(hostile($$SELECT public.kpx_train('shop', params => '{"factors": 2}'), public.kpx_evaluate(ARRAY['shop'])$$), NULL, 'for training too');
SELECT is(hostile($$SELECT public.kpx_drop_module('shop')$$), NULL, 'and for dropping');
SELECT * FROM finish();
ROLLBACK;
