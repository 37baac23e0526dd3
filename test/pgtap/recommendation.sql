-- recommendation: tables of recommendations with typed views, refreshed by differences.
BEGIN;
SELECT plan(51);
\ir fixture.psql
ALTER TABLE app.products ADD category text DEFAULT 'tools', ADD colour text, ADD title_en text;
UPDATE app.products SET colour = 'c' || id % 4;
SELECT kpx_add_module('gifts', 'app.products', 'id', title => 'title', category => 'category', price => 'price', attributes => ARRAY['colour', 'title', 'title_en']) \g /dev/null
SELECT kpx_add_events('gifts', 'app.orders', 'purchase', 'user_id', 'product_id', occurred_at => 'at') \g /dev/null
SELECT kpx_train(ARRAY['courses', 'products', 'videos', 'gifts'], params => app.small()) \g /dev/null

-- making one
CREATE SCHEMA bi;
CREATE FUNCTION app.everybody() RETURNS bigint[] LANGUAGE sql AS $$SELECT array_agg(u::bigint) FROM generate_series(1, 60) u$$;
SELECT is(kpx_create_recommendation_view('courses', 5, 'bi.courses')::text, 'bi.courses', 'a view is made under the name that was given');
SELECT is((SELECT array_agg(format('%s %s', attname, format_type(atttypid, atttypmod)) ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'bi.courses'::regclass AND attnum > 0),
	ARRAY['user_id bigint', 'rank integer', 'item_id bigint', 'title text', 'score real', 'reason text'], 'typed, with the item''s title');
SELECT is_empty($$SELECT attname FROM pg_attribute WHERE attrelid = 'bi.courses'::regclass AND attnum > 0 AND col_description(attrelid, attnum) IS NULL$$, 'each column with a comment');
SELECT results_eq($$SELECT user_id, rank, item_id, title, score, reason FROM bi.courses ORDER BY 1, 2$$,
	$$SELECT r.user_id, r.rank, r.item_id, i.title, r.score, r.reason FROM kpx_recommend_for(app.everybody(), 'courses', 5) r JOIN app.courses i ON i.id = r.item_id ORDER BY 1, 2$$,
	'it says what kpx_recommend_for says of each user');
SELECT is((SELECT ROW(view, "table", module, k, users, rows, changed, owner)::text FROM kpx_recommendation_views),
	(SELECT ROW('bi.courses', 'bi.courses_rows', 'courses', 5, 60, count(*), count(*), current_user)::text FROM bi.courses_rows), 'and is on the list');
SELECT is(kpx_create_recommendation_view('gifts', 3)::text, 'recommended_gifts', 'without a name it is called after the module, in the current schema');
SELECT is((SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'recommended_gifts'::regclass AND attnum > 0),
	'user_id rank item_id title category price colour title_en score reason', 'all that was registered of the item, each name once');
SELECT is(kpx_create_recommendation_view('videos', 2, 'bi."Odd name"')::text, 'bi."Odd name"', 'items with text ids, and a name to be quoted');
SELECT results_eq($$SELECT user_id, rank, item_id, title FROM bi."Odd name" ORDER BY 1, 2$$,
	$$SELECT r.user_id, r.rank, r.item_id, i.title FROM kpx_recommend_for(app.everybody(), 'videos', NULL::text, 2) r JOIN app.videos i ON i.id = r.item_id ORDER BY 1, 2$$,
	'say the same, too');

-- refreshing writes differences only
SELECT results_eq($$SELECT view, users, rows, changed FROM kpx_refresh_recommendations('courses')$$,
	$$SELECT 'bi.courses', 60::bigint, (SELECT count(*) FROM bi.courses_rows), 0::bigint$$, 'nothing happened: nothing is written');
CREATE TEMP TABLE before AS SELECT ctid::text AS place, * FROM bi.courses_rows;
INSERT INTO app.enrolments SELECT 7, item_id, '2026-03-01' FROM bi.courses WHERE user_id = 7 AND rank = 1;
SELECT cmp_ok((SELECT changed FROM kpx_refresh_recommendations('courses')), '<=', 5::bigint, 'one user bought: their rows are written');
SELECT is_empty($$SELECT * FROM before b WHERE user_id <> 7 AND NOT EXISTS (SELECT FROM bi.courses_rows n WHERE n.ctid::text = b.place AND n.user_id = b.user_id AND n.rank = b.rank)$$,
	'and no others');
SELECT results_eq($$SELECT rank, item_id FROM bi.courses WHERE user_id = 7 ORDER BY 1$$, $$SELECT rank, item_id FROM kpx_recommend(7::bigint, 'courses', 5)$$, 'as kpx_recommend has them now');
DELETE FROM app.enrolments WHERE user_id IN (1, 30, 60);
DELETE FROM app.orders WHERE user_id IN (1, 30, 60);
DELETE FROM app.plays WHERE user_id IN (1, 30, 60);
INSERT INTO app.enrolments VALUES (61, 3, '2026-03-01');
SELECT is((SELECT users FROM kpx_refresh_recommendations('courses')), 58::bigint, 'three users are gone, the first and the last among them, one has come');
SELECT is((SELECT array_agg(DISTINCT user_id) FROM bi.courses_rows), (SELECT array_agg(u::bigint) FROM generate_series(2, 61) u WHERE u NOT IN (30, 60)), 'so are their rows');
SELECT is((SELECT changed FROM kpx_refresh_recommendations('courses')), 0::bigint, 'and then it is quiet again');
-- fewer answers than before: ranks that nobody has any more go
UPDATE app.courses SET on_sale = id > 28;
SELECT is((SELECT count(*) FROM bi.courses WHERE item_id <= 28), 0::bigint, 'an item that is taken off the market goes from the view at once');
SELECT is((SELECT changed > 0 FROM kpx_refresh_recommendations('courses')), true, 'and from the table when it is refreshed');
SELECT is((SELECT max(rank) FROM bi.courses_rows) <= 2 AND (SELECT min(item_id) FROM bi.courses_rows) > 28, true, 'no rank is left over');
UPDATE app.courses SET on_sale = true;

-- who is active
SELECT kpx_create_recommendation_view('courses', 2, 'bi.lately', '30 days') \g /dev/null
SELECT is((SELECT count(*) FROM bi.lately_rows), 0::bigint, 'nobody did anything lately');
INSERT INTO app.plays VALUES (12, 'v3', now() - interval '2 days'), (13, 'v3', now() - interval '31 days');
SELECT is((SELECT users FROM kpx_refresh_recommendations('courses') WHERE view = 'bi.lately'), 1::bigint, 'now one did, in another module of the model');
SELECT is((SELECT array_agg(DISTINCT user_id) FROM bi.lately), ARRAY[12::bigint], 'and is there');

-- arguments
SELECT is(app.error($$SELECT kpx_create_recommendation_view('course')$$), '42704 module "course" is not registered | Registered modules: courses, products, videos, gifts. | Register it with kpx_add_module.', 'an unknown module');
SELECT matches(app.error($$SELECT kpx_create_recommendation_view('courses', 0)$$), '^22023 .*k', 'no items');
SELECT matches(app.error($$SELECT kpx_create_recommendation_view('courses', 5, 'bi.courses')$$), '^42P07', 'a name that is taken');
SELECT matches(app.error($$SELECT kpx_create_recommendation_view('courses', 5, 'pg_temp.courses')$$), '^0A000 a recommendation view cannot be temporary', 'a temporary one');
SELECT matches(app.error($$SELECT kpx_create_recommendation_view('courses', 5, 'nowhere.courses')$$), '^3F000', 'a schema that does not exist');
SELECT matches(app.error($$SELECT kpx_create_recommendation_view('courses', active => '-1 day')$$), '^22023 argument "active" must be longer than zero', 'a negative time');
SELECT is(app.error($$SELECT kpx_refresh_recommendations('products')$$), '55000 module "products" has no recommendation view of role "' || current_user || '" | Make one with kpx_create_recommendation_view.', 'nothing to refresh');
SELECT matches(app.error($$SELECT kpx_drop_recommendation_view('app.courses')$$), '^42704 app.courses is no recommendation view', 'nothing to drop');

-- rights: an analyst makes a view of what she may read, a BI role reads the view and nothing else
CREATE ROLE kpx_analyst;
CREATE ROLE kpx_bi;
CREATE SCHEMA ours AUTHORIZATION kpx_analyst;
GRANT EXECUTE ON FUNCTION kpx_create_recommendation_view, kpx_refresh_recommendations, kpx_drop_recommendation_view TO kpx_analyst, kpx_bi;
GRANT USAGE ON SCHEMA app TO kpx_analyst, kpx_bi; -- its function app.error
GRANT SELECT ON app.courses, app.products, app.videos, app.enrolments, app.orders TO kpx_analyst;
SET LOCAL ROLE kpx_analyst;
SELECT matches(app.error($$SELECT kpx_create_recommendation_view('courses', 2, 'ours.courses')$$), '^42501', 'who may not read all event sources of the model makes no view');
RESET ROLE;
ALTER TABLE app.enrolments ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON app.enrolments FOR SELECT TO kpx_analyst USING (user_id < 20);
GRANT SELECT ON app.plays TO kpx_analyst;
SELECT kpx_train('courses', name => 'alone', params => app.small()) \g /dev/null
SET LOCAL ROLE kpx_analyst;
SELECT kpx_create_recommendation_view('courses', 2, 'ours.courses') \g /dev/null
SELECT is((SELECT max(user_id) < 20 FROM ours.courses), true, 'whom she may not see is not in it');
GRANT USAGE ON SCHEMA ours TO kpx_bi;
GRANT SELECT ON ours.courses TO kpx_bi;
SELECT is((SELECT count(*) FROM kpx_recommendation_views), 1::bigint, 'she sees her own on the list');
RESET ROLE;
SELECT is((SELECT count(*) FROM kpx_refresh_recommendations('courses')), 3::bigint, 'a superuser refreshes all views of a module');
SELECT is((SELECT max(user_id) < 20 FROM ours.courses), true, 'and hers still shows what she may see, not what he may');
CREATE FUNCTION ours.peek() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN CREATE TABLE IF NOT EXISTS ours.peeked AS SELECT current_user::text AS who; RETURN NEW; END$$;
ALTER FUNCTION ours.peek() OWNER TO kpx_analyst;
CREATE TRIGGER peek BEFORE INSERT OR UPDATE ON ours.courses_rows FOR EACH ROW EXECUTE FUNCTION ours.peek();
DELETE FROM ours.courses_rows WHERE user_id = 2;
SELECT lives_ok($$SELECT kpx_refresh_recommendations('courses')$$, 'a trigger of hers on the table');
SELECT is((SELECT who FROM ours.peeked), 'kpx_analyst', 'runs with her rights');
SET LOCAL ROLE kpx_bi;
SELECT ok((SELECT count(*) > 0 FROM ours.courses), 'the BI role reads the view');
SELECT matches(app.error('SELECT * FROM ours.courses_rows'), '^42501', 'not the table');
SELECT matches(app.error($$SELECT kpx_refresh_recommendations('courses')$$), '^55000', 'and refreshes nothing');
SELECT matches(app.error($$SELECT kpx_drop_recommendation_view('ours.courses')$$), '^42501', 'nor drops it');
RESET ROLE;

-- forgetting
SELECT is((SELECT removed FROM kpx_forget_user(4) WHERE relation = 'recommendation views'), 12::bigint, 'a user is taken out of all views, whoever owns them');
SELECT lives_ok($$SELECT kpx_refresh_recommendations('courses')$$, 'a refresh');
SELECT is((SELECT count(*) FROM ours.courses_rows WHERE user_id = 4) + (SELECT count(*) FROM bi.courses_rows WHERE user_id = 4), 0::bigint, 'does not bring the user back, though there are events');

-- dropping
SELECT lives_ok($$SELECT kpx_drop_recommendation_view('ours.courses_rows')$$, 'dropped by the table');
DROP TABLE bi.courses_rows CASCADE;
SELECT is((SELECT array_agg(view ORDER BY view) FROM kpx_refresh_recommendations('courses')), ARRAY['bi.lately'], 'one that was dropped by hand is forgotten');
-- more users than one batch, text ids in their own order
CREATE TABLE app.many (id text PRIMARY KEY, title text);
CREATE TABLE app.seen (user_id text, item text, at timestamptz);
INSERT INTO app.many SELECT 'i' || n, 'item ' || n FROM generate_series(1, 20) n;
INSERT INTO app.seen SELECT chr(97 + u % 26) || u, 'i' || 1 + (u * 7 + n * 3) % 20, '2026-01-01' FROM generate_series(1, 2500) u, generate_series(1, 3) n;
INSERT INTO app.seen VALUES ('', 'i1', '2026-01-01'), ('Ärger', 'i1', '2026-01-01'), ('Zebra', 'i1', '2026-01-01');
SELECT kpx_drop_module(module) FROM kpx_modules \g /dev/null
SELECT kpx_add_module('many', 'app.many', 'id', title => 'title'), kpx_add_events('many', 'app.seen', 'view', 'user_id', 'item', occurred_at => 'at') \g /dev/null
SELECT kpx_train('many', params => app.small()) \g /dev/null
SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0; -- users might be read by workers
ANALYZE app.seen;
SELECT lives_ok($$SELECT kpx_create_recommendation_view('many', 2, 'bi.many')$$, 'users with text ids, in three batches');
SELECT is((SELECT count(DISTINCT user_id) FROM bi.many_rows), 2503::bigint, 'none is missing');
SELECT is((SELECT changed FROM kpx_refresh_recommendations('many')), 0::bigint, 'and nothing changes without a reason');
INSERT INTO bi.many_rows SELECT 'm-gone', 1, 'i1', 0, 'x' UNION ALL SELECT '~gone', 1, 'i1', 0, 'x' UNION ALL SELECT ' gone', 1, 'i1', 0, 'x';
SELECT is((SELECT changed FROM kpx_refresh_recommendations('many')), 3::bigint, 'rows of users who are not active go: between batches, behind the last, before the first');
SELECT lives_ok($$SELECT kpx_drop_recommendation_view('bi.many')$$, 'dropped by the view');
SELECT * FROM finish();
ROLLBACK;
