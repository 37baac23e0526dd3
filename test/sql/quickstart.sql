-- What a person sees who tries kpxrec on two small tables. The README's quick start.
SET client_min_messages = warning;
CREATE EXTENSION kpxrec;
RESET client_min_messages;
CREATE SCHEMA shop;

-- Even users are cooks, odd users are gardeners; each likes most of the items of their kind.
CREATE TABLE shop.courses (course_id int PRIMARY KEY, title text, is_published boolean NOT NULL DEFAULT true);
CREATE TABLE shop.products (product_id int PRIMARY KEY, title text, price numeric);
INSERT INTO shop.courses SELECT n, (ARRAY['Cooking','Gardening'])[1 + n % 2] || ' course ' || n FROM generate_series(1, 10) n;
INSERT INTO shop.products SELECT n, (ARRAY['kitchen','garden'])[1 + n % 2] || ' product ' || n, 5 * n FROM generate_series(1, 10) n;
CREATE TABLE shop.enrolments (user_id int, course_id int, enrolled_at timestamptz NOT NULL);
CREATE TABLE shop.orders (user_id int, product_id int, ordered_at timestamptz NOT NULL);
INSERT INTO shop.enrolments SELECT u, c, timestamptz '2026-01-01 00:00+00' + u * interval '1 hour' + c * interval '1 day'
FROM generate_series(1, 40) u, generate_series(1, 10) c WHERE u % 2 = c % 2 AND (u * 7 + c * 3) % 5 < 3;
INSERT INTO shop.orders SELECT u, p, timestamptz '2026-02-01 00:00+00' + u * interval '1 hour' + p * interval '1 day'
FROM generate_series(1, 40) u, generate_series(1, 10) p WHERE u % 2 = p % 2 AND (u * 3 + p * 7) % 5 < 3;
CREATE INDEX ON shop.enrolments (user_id, enrolled_at);

-- Register.
SELECT kpx_add_module('courses', 'shop.courses', item_id => 'course_id', title => 'title', available => 'is_published');
SELECT kpx_add_module('products', 'shop.products', item_id => 'product_id', title => 'title', price => 'price');
SELECT kpx_add_events('courses', 'shop.enrolments', kind => 'enrolment', user_id => 'user_id', item_id => 'course_id',
	occurred_at => 'enrolled_at', weight => 3);
-- no index yet: the hint is the statement to run
SELECT kpx_add_events('products', 'shop.orders', kind => 'purchase', user_id => 'user_id', item_id => 'product_id',
	occurred_at => 'ordered_at');
CREATE INDEX ON shop.orders (user_id, ordered_at);
SELECT module, items, item_id, title, price, available, event_sources, active_model, enough_data FROM kpx_modules ORDER BY module;
SELECT source_id, module, relation, kind, user_id, item_id, occurred_at, weight, hides FROM kpx_event_sources ORDER BY source_id;

-- Train.
SELECT model, name, modules, users, items, interactions, iterations, loss > 0 AS has_loss
FROM kpx_train(ARRAY['courses', 'products'], params => '{"factors": 4, "iterations": 8, "seed": 7}');
SELECT model, name, version, modules, active_for, algorithm, params->'seed' AS seed, factors, users, items, interactions, iterations FROM kpx_models;
SELECT module, active_model, trained_items, trained_users, trained_interactions, enough_data FROM kpx_modules ORDER BY module;

-- Ask. User 2 is a cook; the gardening half never comes first.
SELECT r.rank, p.title, r.score > 0.5 AS likely, split_part(r.reason, '/', 1) IN ('courses', 'products') AS has_reason
FROM kpx_recommend(2, 'products', 2) r JOIN shop.products p ON p.product_id = r.item_id ORDER BY r.rank;
SELECT count(*), bool_and(o.user_id IS NULL) AS nothing_owned
FROM kpx_recommend(2, 'products', 100) r LEFT JOIN shop.orders o ON o.user_id = 2 AND o.product_id = r.item_id;

-- Somebody without any history gets what is popular.
INSERT INTO shop.orders SELECT 1000 + n, 4, '2026-03-01' FROM generate_series(1, 9) n;
SELECT model FROM kpx_train(ARRAY['courses', 'products'], params => '{"factors": 4, "iterations": 8, "seed": 7}');
SELECT rank, item_id, round(score::numeric, 3) AS score, reason FROM kpx_recommend(999, 'products', 2);

-- Items like an item, in its module and in the other.
SELECT s.rank, bool_and(c.title LIKE 'Cooking%') AS cooking, bool_and(s.score > 0.3) AS close
FROM kpx_similar(4, 'courses', 4) s JOIN shop.courses c ON c.course_id = s.item_id GROUP BY s.rank ORDER BY s.rank;
SELECT s.rank, bool_and(p.title LIKE 'kitchen%') AS kitchen
FROM kpx_similar(4, 'courses', 5, target => 'products') s JOIN shop.products p ON p.product_id = s.item_id GROUP BY s.rank ORDER BY s.rank;

-- Why? The parts sum to the score.
SELECT module, count(*), round(sum(contribution)::numeric, 1) > 0 AS speaks_for_it
FROM kpx_explain(2, 'products', (SELECT item_id FROM kpx_recommend(2, 'products', 1))) GROUP BY module ORDER BY module;
SELECT abs((SELECT sum(contribution) FROM kpx_explain(2, 'products', 8)) - kpx_score(2, 'products', 8)) < 1e-4 AS sums_up;

-- Is it any good? Better than popularity, here.
SELECT module, metric, value > popularity AS better, std_error < 0.2 AS sure, users
FROM kpx_evaluate(ARRAY['courses', 'products'], k => 3, params => '{"factors": 4, "iterations": 8, "seed": 7}')
WHERE metric IN ('hit_rate@3', 'ndcg@3') ORDER BY module, metric;

-- Remove it all: the tables of the shop stay.
SELECT kpx_drop_model(1), kpx_drop_model(2);
SELECT kpx_drop_module('courses'), kpx_drop_module('products');
SELECT count(*) FROM kpx_modules;
DROP EXTENSION kpxrec;
SELECT count(*) FROM shop.enrolments;
\set VERBOSITY terse
SET client_min_messages = warning;
DROP SCHEMA shop CASCADE;
