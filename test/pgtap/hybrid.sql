-- hybrid: behaviour, content and popularity blended; items and users nobody knows yet.
BEGIN;
SELECT plan(40);
SET client_min_messages = warning;
CREATE FUNCTION error(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE m text; h text;
BEGIN
	EXECUTE sql;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, h = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE || ' ' || m, nullif(h, ''));
END $$;

-- 900 users of eight tastes; 240 courses and 80 products on eight subjects, which their titles name among
-- other words. A user takes mostly what is of their taste, the popular more often.
CREATE SCHEMA app;
CREATE FUNCTION app.u(VARIADIC k text[]) RETURNS float8 LANGUAGE sql IMMUTABLE AS
	$$SELECT ('x' || substr(md5(array_to_string(k, '/')), 1, 8))::bit(32)::int8 / 4294967296.0$$;
CREATE TABLE app.courses (id int PRIMARY KEY, title text, subject int);
CREATE TABLE app.products (id int PRIMARY KEY, title text, subject int);
CREATE FUNCTION app.title(subject int, n int, what text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT what || ' ' || (ARRAY['guitar','python','baking','yoga','chess','painting','gardening','astronomy'])[subject + 1] || ' ' ||
		(ARRAY['strings chords','code loops','dough oven','breath stretch','opening endgame','brush canvas','soil seeds','stars telescope'])[subject + 1] || ' ' ||
		(ARRAY['complete','practical','modern','essential','advanced'])[1 + n % 5] $$;
INSERT INTO app.courses SELECT n, app.title(n % 8, n, 'course'), n % 8 FROM generate_series(1, 240) n;
INSERT INTO app.products SELECT n, app.title(n % 8, n, 'product'), n % 8 FROM generate_series(1, 80) n;
CREATE TABLE app.enrolments (user_id int, course_id int);
CREATE TABLE app.orders (user_id int, product_id int);
INSERT INTO app.enrolments SELECT u, c.id FROM generate_series(1, 900) u, app.courses c
	WHERE app.u('e', u::text, c.id::text) < (CASE WHEN c.subject = u % 8 THEN 0.25 ELSE 0.008 END) * 2 * app.u('p', c.id::text);
INSERT INTO app.orders SELECT u, p.id FROM generate_series(1, 900) u, app.products p
	WHERE app.u('o', u::text, p.id::text) < (CASE WHEN p.subject = u % 8 THEN 0.25 ELSE 0.008 END) * 2 * app.u('q', p.id::text);
CREATE INDEX ON app.enrolments (user_id);
CREATE INDEX ON app.orders (user_id);
SELECT kpx_add_module('courses', 'app.courses', 'id', title => 'title'), kpx_add_module('products', 'app.products', 'id', title => 'title');
SELECT kpx_add_events('courses', 'app.enrolments', 'purchase', 'user_id', 'course_id'), kpx_add_events('products', 'app.orders', 'purchase', 'user_id', 'product_id');

-- Against its parts, everything ranked. The margin is one standard error of the difference, taken as if the two were independent.
CREATE TABLE judged AS SELECT a.algorithm, e.* FROM unnest(ARRAY['ials', 'itemknn', 'rules', 'content', 'hybrid']) a(algorithm)
	CROSS JOIN LATERAL kpx_evaluate(ARRAY['courses', 'products'], algorithm => a.algorithm) e WHERE metric = 'ndcg@10';
INSERT INTO judged SELECT 'popular', module, metric, popularity, popularity_std_error, popularity, popularity_std_error, users FROM judged WHERE algorithm = 'hybrid';
SELECT cmp_ok(h.value, '>=', b.value - sqrt(h.std_error ^ 2 + b.std_error ^ 2), format('%s: hybrid %s is not worse than the best of its parts, %s %s', h.module, round(h.value::numeric, 3), b.algorithm, round(b.value::numeric, 3)))
FROM judged h JOIN LATERAL (SELECT * FROM judged b WHERE b.module = h.module AND b.algorithm <> 'hybrid' ORDER BY value DESC LIMIT 1) b ON true
WHERE h.algorithm = 'hybrid' ORDER BY h.module;

-- A tenth of the items held out entirely: no one's events of them are in training.
CREATE TABLE cold_split AS
	SELECT 'courses'::text AS module, user_id, course_id AS item_id FROM app.enrolments WHERE app.u('cold', course_id::text) < 0.1
	UNION ALL SELECT 'products', user_id, product_id FROM app.orders WHERE app.u('cold', product_id::text) < 0.1;
SELECT cmp_ok((SELECT count(DISTINCT item_id) FROM cold_split WHERE module = 'courses'), '>', 12::bigint, 'there are cold courses');
CREATE TABLE cold AS SELECT * FROM kpx_evaluate(ARRAY['courses', 'products'], algorithm => 'hybrid', held_out => 'cold_split') WHERE metric = 'ndcg@10';
SELECT cmp_ok(value, '>', 2 * popularity + 2 * std_error, format('%s nobody has touched, all items ranked: hybrid %s, popularity %s', module, round(value::numeric, 3), round(popularity::numeric, 3)))
FROM cold ORDER BY module;
-- Popularity cannot know them. A fairer opponent ranks cold items alone, by chance.
SELECT kpx_drop_events(1), kpx_drop_events(2);
CREATE VIEW app.warm_enrolments AS SELECT * FROM app.enrolments WHERE app.u('cold', course_id::text) >= 0.1;
CREATE VIEW app.warm_orders AS SELECT * FROM app.orders WHERE app.u('cold', product_id::text) >= 0.1;
SELECT kpx_add_events('courses', 'app.warm_enrolments', 'purchase', 'user_id', 'course_id'), kpx_add_events('products', 'app.warm_orders', 'purchase', 'user_id', 'product_id');
SELECT kpx_train(ARRAY['courses', 'products'], algorithm => 'hybrid') \g /dev/null
SELECT is((SELECT items FROM kpx_models), 320::bigint, 'the model has cold items, too');
CREATE TABLE cold_courses AS SELECT id FROM app.courses WHERE app.u('cold', id::text) < 0.1;
SELECT cmp_ok((SELECT avg((EXISTS (SELECT FROM cold_split c WHERE c.module = 'courses' AND c.user_id = u AND c.item_id = r.item_id))::int)
		FROM generate_series(1, 200) u CROSS JOIN LATERAL kpx_recommend(u, 'courses', 1, candidates => ARRAY(SELECT id FROM cold_courses)) r), '>',
	2 * (SELECT count(*)::numeric / 900 / (SELECT count(*) FROM cold_courses) FROM cold_split WHERE module = 'courses'), 'among cold courses alone, the first one is right more than twice as often as by chance');

-- Weights: shown, given back, refused.
SELECT is((SELECT count(*) FROM kpx_models, jsonb_each(params -> 'weights') m, jsonb_each(m.value)), 16::bigint, 'kpx_models shows the weights of each module: three methods, content, popularity, new items');
SELECT ok((SELECT bool_and((m.value ->> k)::float8 >= 0) FROM kpx_models, jsonb_each(params -> 'weights') m, unnest(ARRAY['ials', 'itemknn', 'rules', 'content', 'popularity', 'new_ials', 'new_content']) k), 'none is negative but that of being new');
SELECT kpx_train(ARRAY['courses', 'products'], algorithm => 'hybrid', name => 'again', activate => false, params => (SELECT params - 'module_weights' FROM kpx_models)) \g /dev/null
SELECT is((SELECT params -> 'weights' FROM kpx_models WHERE name = 'again'), (SELECT params -> 'weights' FROM kpx_models WHERE name <> 'again'), 'weights that are given are not fitted again');
SELECT cmp_ok((SELECT max(abs(kpx_score(u, 'courses', i)::float8 - kpx_score(u, 'courses', i, model => (SELECT model FROM kpx_models WHERE name = 'again')))) FROM generate_series(1, 20) u, generate_series(1, 240, 13) i), '<', 1e-4::float8, 'and give the same scores');
SELECT is(error($$SELECT kpx_train('courses', algorithm => 'hybrid', params => '{"weights": {"courses": {"charm": 1}}}')$$) ~ '^22023 parameter "weights": a score is not known', true, 'unknown scores are refused');
SELECT is(error($$SELECT kpx_train('courses', algorithm => 'hybrid', params => '{"weights": {"jobs": {"content": 1}}}')$$) ~ '^22023', true, 'and unknown modules');

-- Where blending cannot help: everybody takes what is popular, titles are random, and the factors are overfitted.
CREATE TABLE app.hits (id int PRIMARY KEY, title text);
CREATE TABLE app.plays (user_id int, hit_id int);
INSERT INTO app.hits SELECT n, md5(n::text) FROM generate_series(1, 200) n;
INSERT INTO app.plays SELECT u, h.id FROM generate_series(1, 900) u, app.hits h WHERE app.u('h', u::text, h.id::text) < 0.3 * power(app.u('p', h.id::text), 4);
SELECT kpx_add_module('hits', 'app.hits', 'id', title => 'title'), kpx_add_events('hits', 'app.plays', 'purchase', 'user_id', 'hit_id');
SET kpxrec.min_users = 1; -- the rare items are what popularity is right about
SELECT kpx_train('hits', algorithm => 'hybrid', name => 'hits', params => '{"itemknn": false, "rules": false, "factors": 200, "regularization": 0.0001}') \g /dev/null
SELECT results_eq($$SELECT key, value::float8 FROM kpx_models, jsonb_each(params -> 'weights' -> 'hits') WHERE name = 'hits' AND key NOT LIKE 'new%' AND key <> 'popularity' ORDER BY 1$$,
	$$VALUES ('content', 0::float8), ('ials', 0)$$, 'what ranks worse than popularity gets no weight, and kpx_models shows it');
SELECT cmp_ok((SELECT (params -> 'weights' -> 'hits' ->> 'new')::float8 FROM kpx_models WHERE name = 'hits'), '>', 0::float8, 'a new item has its place');
SELECT cmp_ok(value, '>=', popularity - std_error, 'so hybrid is not worse than popularity') FROM kpx_evaluate(ARRAY['hits'], algorithm => 'hybrid', params => '{"factors": 200, "regularization": 0.0001}') WHERE metric = 'ndcg@10';
SELECT is((SELECT array_agg(item_id ORDER BY rank) FROM kpx_recommend(5001, 'hits', 5)), (SELECT array_agg(id ORDER BY n DESC) FROM (SELECT hit_id AS id, count(*) AS n FROM app.plays GROUP BY 1 ORDER BY 2 DESC LIMIT 5) x), 'what all get is what most took');
SELECT kpx_drop_model((SELECT model FROM kpx_models WHERE name = 'hits')) \g /dev/null
SELECT kpx_add_module('replays', 'app.hits', 'id', title => 'title'), kpx_add_events('replays', 'app.plays', 'play', 'user_id', 'hit_id', hides => false);
SELECT cmp_ok(value, '>=', popularity - std_error, 'nor where what was taken is shown again') FROM kpx_evaluate(ARRAY['replays'], algorithm => 'hybrid') WHERE metric = 'ndcg@10';

-- Explaining.
SELECT cmp_ok((SELECT max(abs(kpx_score(u, 'courses', i) - (SELECT sum(contribution) FROM kpx_explain(u, 'courses', i)))) FROM generate_series(1, 20) u, generate_series(1, 240, 37) i), '<', 1e-4::float8,
	'contributions sum to the score, of warm and cold items');
SELECT cmp_ok((SELECT count(*) FROM kpx_similar(1, 'courses', 10, by => 'content') s JOIN app.courses c ON c.id = s.item_id WHERE subject = 1), '=', 10::bigint, 'alike by content');
SELECT cmp_ok((SELECT count(*) FROM kpx_similar(1, 'courses', 10, by => 'behaviour') s JOIN app.courses c ON c.id = s.item_id WHERE subject = 1), '>=', 6::bigint, 'alike by behaviour');
SELECT cmp_ok((SELECT count(*) FROM kpx_similar(1, 'courses', 10, target => 'products', by => 'both') s JOIN app.products c ON c.id = s.item_id WHERE subject = 1), '>=', 8::bigint, 'products alike to a course, by both');

-- An item inserted after training.
INSERT INTO app.courses VALUES (1001, 'course guitar strings chords brilliant', 0), (1002, 'course chess opening endgame brilliant', 4), (1003, NULL, NULL);
SELECT is((SELECT count(*) FROM kpx_recommend(8, 'courses', 300) WHERE item_id > 1000), 0::bigint, 'the model does not know it yet');
SELECT is(kpx_refresh_items('courses'), 3::bigint, 'kpx_refresh_items adds what is new');
SELECT is(kpx_refresh_items('courses'), 0::bigint, 'once');
SELECT is((SELECT items FROM kpx_models WHERE name <> 'again'), 323::bigint, 'kpx_models counts them');
SELECT cmp_ok((SELECT avg((SELECT rank FROM kpx_recommend(u, 'courses', 300) WHERE item_id = 1001)) FROM generate_series(8, 160, 8) u), '<', 45::numeric, 'who likes guitars is offered the new guitar course early');
SELECT cmp_ok((SELECT avg((SELECT rank FROM kpx_recommend(u, 'courses', 300) WHERE item_id = 1002)) FROM generate_series(8, 160, 8) u), '>', 100::numeric, 'and the new chess course late');
SELECT is((SELECT count(*) FROM generate_series(8, 160, 8) u CROSS JOIN LATERAL kpx_recommend(u, 'courses', 300) r WHERE item_id = 1001 AND reason !~ '^(courses|products)/'), 0::bigint, 'the reason is a past item');
SELECT cmp_ok((SELECT max(abs(kpx_score(u, 'courses', i)::float8 - kpx_score(u, 'courses', i, model => (SELECT model FROM kpx_models WHERE name = 'again')))) FROM generate_series(1, 20) u, generate_series(1, 240, 13) i), '<', 1e-4::float8, 'items of old keep their scores');

-- Each method's part alone is the same as before, too: links and rules lead to the same items in their new places.
SELECT kpx_train(ARRAY['courses', 'products'], algorithm => 'hybrid', name => a, params => w) FROM (VALUES
	('knn', '{"weights": {"courses": {"itemknn": 1}, "products": {"rules": 1}}}'::jsonb)) v(a, w) \g /dev/null
CREATE TEMP TABLE before AS SELECT u, m.module, i, kpx_score(u, m.module, i) AS score FROM generate_series(1, 20) u, (VALUES ('courses', 240), ('products', 80)) m(module, n), generate_series(1, m.n, 3) i;
INSERT INTO app.courses VALUES (-5, 'course yoga breath stretch first', 3), (1004, 'course yoga breath stretch last', 3);
INSERT INTO app.products VALUES (-5, 'product yoga breath stretch', 3);
SELECT is((SELECT count(score) > 500 FROM before), true, 'links and rules speak');
SELECT is(kpx_refresh_items('courses'), 3::bigint, 'new items before, between and after the others');
SELECT is_empty($$SELECT * FROM before WHERE kpx_score(u, module, i) IS DISTINCT FROM score$$, 'no score changes');

-- Users nobody knows: another module speaks, then popularity.
INSERT INTO app.orders SELECT 5001, id FROM app.products WHERE subject = 3 AND id < 40 AND app.u('cold', id::text) >= 0.1;
SELECT cmp_ok((SELECT count(*) FROM kpx_recommend(5001, 'courses', 10) r JOIN app.courses c ON c.id = r.item_id WHERE subject = 3 AND reason ~ '^products/'), '>=', 8::bigint, 'a user of another module is known from there, and the reason says so');
SELECT is((SELECT array_agg(DISTINCT reason) FROM kpx_recommend(5002, 'courses', 10)), ARRAY['popular'], 'a user of none gets what is popular');

-- Methods are chosen, and content need not be there.
SELECT kpx_add_module('bare', 'app.courses', 'id'), kpx_add_events('bare', 'app.warm_enrolments', 'purchase', 'user_id', 'course_id');
SELECT kpx_train('bare', algorithm => 'hybrid', name => 'bare', params => '{"ease": {"regularization": 50}, "rules": false, "itemknn": true}') \g /dev/null
SELECT is((SELECT array_agg(key ORDER BY key) FROM kpx_models, jsonb_each(params -> 'weights' -> 'bare') WHERE name = 'bare'), '{ease,ials,itemknn,new,new_ials,popularity}', 'weights of the methods that take part');
SELECT is(error($$SELECT kpx_train('bare', algorithm => 'hybrid', params => '{"rules": 7}')$$), '22023 parameter "rules" must be true, false or an object of parameters of algorithm "rules"', 'neither yes, no nor parameters');
SELECT is(error($$SELECT kpx_train('bare', algorithm => 'hybrid', params => '{"rules": {"charm": 7}}')$$) ~ '^22023 parameter "charm" is not known to algorithm "rules"', true, 'their own parameters');

-- What cannot be refreshed.
SELECT kpx_train('courses') \g /dev/null
SELECT is(error($$SELECT kpx_refresh_items('courses')$$) ~ 'does not know its items by content | Train with algorithm => ''hybrid''', true, 'a model without content');
SELECT is(error($$SELECT kpx_refresh_items('nothing')$$) ~ '^42704', true, 'a module that is not registered');
SELECT * FROM finish();
ROLLBACK;
