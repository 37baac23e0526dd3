-- ingest: from rows to interactions. Weights are observed through kpx_explain.weight.
BEGIN;
SET kpxrec.min_users = 1; -- a few users are enough here
SET client_min_messages = warning;
SELECT plan(42);
CREATE SCHEMA app;
CREATE TABLE app.items (id bigint PRIMARY KEY);
INSERT INTO app.items SELECT generate_series(1, 9);
CREATE TABLE app.e (u bigint, i bigint, at timestamptz, w float8);
CREATE INDEX ON app.e (u);
SELECT kpx_add_module('m', 'app.items', 'id');
SELECT kpx_add_events('m', 'app.e', 'view', 'u', 'i', occurred_at => 'at', weight => 2, weight_column => 'w') AS source \gset
-- users, items, interactions of a training, as a row
CREATE FUNCTION app.trained(VARIADIC text[]) RETURNS text LANGUAGE sql AS
$$ SELECT format('%s users, %s items, %s interactions', users, items, interactions) FROM kpx_train($1, params => '{"factors": 2, "iterations": 2}') $$;
-- a text of the notices a statement raised cannot be caught in SQL: count through messages
CREATE FUNCTION app.error(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE m text; d text; h text;
BEGIN
	EXECUTE sql;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ' ' || m || ' | ' || d;
END $$;

-- nothing, NULLs, duplicates
SELECT is(app.trained('m'), '0 users, 0 items, 0 interactions', 'no events: an empty model');
SELECT is_empty($$SELECT * FROM kpx_recommend(1::bigint, 'm')$$, 'an empty model recommends nothing');
INSERT INTO app.e VALUES (1, 1, NULL, NULL), (NULL, 1, NULL, NULL), (1, NULL, NULL, NULL), (NULL, NULL, NULL, NULL);
SELECT is(app.trained('m'), '1 users, 1 items, 1 interactions', 'NULL ids are skipped; one user, one item, one event trains');
SELECT results_eq($$SELECT weight FROM kpx_explain(1::bigint, 'm', 1::bigint)$$, 'VALUES (2::real)', 'a NULL weight counts as the source''s weight');
INSERT INTO app.e VALUES (1, 1, NULL, 3), (1, 1, NULL, 0.5), (1, 2, NULL, 1), (2, 1, NULL, 1);
SELECT is(app.trained('m'), '2 users, 2 items, 3 interactions', 'duplicates are one interaction');
SELECT results_eq($$SELECT item_id, weight FROM kpx_explain(1::bigint, 'm', 1::bigint) ORDER BY 1$$,
	$$VALUES ('1', 9::real), ('2', 2::real)$$, 'their weights are added: 2 + 2*3 + 2*0.5');

-- bad weights: the column, the relation, the count
SAVEPOINT clean;
INSERT INTO app.e VALUES (3, 1, NULL, 'NaN'), (3, 2, NULL, 'NaN');
SELECT is(app.error($$SELECT app.trained('m')$$), format('22023 column "w" of relation app.e holds weights that are NaN, infinite, negative or too large | 2 rows of event source %s.', :source), 'NaN');
SELECT throws_ok($$SELECT * FROM kpx_recommend(3::bigint, 'm')$$, '22023', NULL, 'NaN in the history of an answer too');
ROLLBACK TO clean;
INSERT INTO app.e VALUES (3, 1, NULL, 'Infinity');
SELECT is(left(app.error($$SELECT app.trained('m')$$), 5), '22023', 'Infinity');
ROLLBACK TO clean;
INSERT INTO app.e VALUES (3, 1, NULL, '-Infinity');
SELECT is(left(app.error($$SELECT app.trained('m')$$), 5), '22023', '-Infinity');
ROLLBACK TO clean;
INSERT INTO app.e VALUES (3, 1, NULL, -1);
SELECT is(left(app.error($$SELECT app.trained('m')$$), 5), '22023', 'a negative weight');
ROLLBACK TO clean;
INSERT INTO app.e VALUES (3, 1, NULL, 1e300);
SELECT is(left(app.error($$SELECT app.trained('m')$$), 5), '22023', 'a weight beyond float4');
ROLLBACK TO clean;
INSERT INTO app.e VALUES (3, 1, NULL, 1e-310), (3, 2, NULL, '-0');
SELECT is(left(app.error($$SELECT app.trained('m')$$), 5), NULL, 'subnormal weights and -0 are no error');
ROLLBACK TO clean;
INSERT INTO app.e VALUES (3, 1, NULL, 0), (3, 2, NULL, 1);
SELECT app.trained('m') \g /dev/null
SELECT results_eq($$SELECT item_id FROM kpx_explain(3::bigint, 'm', 1::bigint)$$, $$VALUES ('2')$$, 'a weight of 0 says nothing');
ROLLBACK TO clean;

-- time
INSERT INTO app.e VALUES (3, 1, 'infinity', 1);
SELECT kpx_drop_events(:source);
SELECT kpx_add_events('m', 'app.e', 'view', 'u', 'i', occurred_at => 'at', half_life => '10 days') AS source2 \gset
SELECT is(left(app.error($$SELECT app.trained('m')$$), 5), '22008', 'an infinite time');
DELETE FROM app.e;
INSERT INTO app.e VALUES (1, 1, now(), 1), (1, 2, now() - interval '10 days', 1), (1, 3, now() - interval '20 days', 1), (1, 4, now() + interval '9 days', 1),
	(1, 5, NULL, 1), (1, 6, now() - interval '5 days', 1), (1, 7, '4713-01-01 BC', 1), (2, 1, now(), 1);
SELECT is(app.trained('m'), '2 users, 7 items, 7 interactions', 'times in the future and BC; what decayed to nothing is no interaction');
SELECT results_eq($$SELECT item_id, round(weight::numeric, 4) FROM kpx_explain(1::bigint, 'm', 1::bigint) ORDER BY 1$$,
	$$VALUES ('1', 1.0), ('2', 0.5), ('3', 0.25), ('4', 1.0), ('5', 1.0), ('6', round(power(0.5, 0.5)::numeric, 4))$$,
	'half_life halves; the future and the unknown count in full; the very old vanishes');
ROLLBACK TO clean;

-- kinds and their weights; several sources of one module add up
CREATE TABLE app.buys (u bigint, i bigint);
INSERT INTO app.buys VALUES (1, 1), (2, 2);
CREATE INDEX ON app.buys (u);
SELECT kpx_add_events('m', 'app.buys', 'purchase', 'u', 'i', weight => 5);
SELECT is(app.trained('m'), '2 users, 2 items, 4 interactions', 'two sources');
SELECT results_eq($$SELECT item_id, weight FROM kpx_explain(1::bigint, 'm', 1::bigint) ORDER BY 1$$,
	$$VALUES ('1', 14::real), ('2', 2::real)$$, 'a purchase of 5 on top of views of 9');
SELECT results_eq($$SELECT item_id FROM kpx_recommend(1::bigint, 'm') ORDER BY 1$$, 'VALUES (2::bigint)', 'the purchased item is hidden, the viewed one is offered');
SELECT * FROM kpx_train('m', params => '{"factors": 2, "iterations": 2, "module_weights": {"m": 0.5}}') \g /dev/null
SELECT results_eq($$SELECT weight FROM kpx_explain(1::bigint, 'm', 1::bigint) ORDER BY item_id LIMIT 1$$, 'VALUES (7::real)', 'module_weights scales what was observed');
ROLLBACK TO clean;

-- id types: each of users and items; mixed
CREATE FUNCTION app.types(user_type text, item_type text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE ids text[]; got text;
BEGIN
	ids := CASE WHEN item_type = 'uuid' THEN ARRAY(SELECT md5(n::text)::uuid::text FROM generate_series(1, 3) n) ELSE '{7,8,9}' END;
	EXECUTE format('CREATE TABLE app.ti (id %s)', item_type);
	EXECUTE format('CREATE TABLE app.te (u %s, i %s)', user_type, item_type);
	EXECUTE format('INSERT INTO app.ti SELECT unnest(%L::text[])::%s', ids, item_type);
	EXECUTE format('INSERT INTO app.te SELECT %s::%s, i::%s FROM generate_series(1, 3) u, unnest(%L::text[]) WITH ORDINALITY x(i, n) WHERE u <> n',
		CASE user_type WHEN 'uuid' THEN 'md5(u::text)' ELSE 'u' END, user_type, item_type, ids);
	PERFORM kpx_drop_module(module) FROM kpx_modules;
	PERFORM kpx_add_module('types', 'app.ti', 'id');
	PERFORM kpx_add_events('types', 'app.te', 'purchase', 'u', 'i');
	got := app.trained('types');
	EXECUTE format('SELECT %L || '': '' || (item_id = (%L::text[])[2]::%s) || '' '' || pg_typeof(item_id) FROM kpx_recommend(%s::%s, ''types'', item_type => NULL::%s)', got, ids, item_type,
		CASE user_type WHEN 'uuid' THEN 'md5(''2'')' ELSE '2' END, user_type, item_type) INTO got;
	PERFORM kpx_drop_module('types');
	DROP TABLE app.ti, app.te;
	RETURN got;
END $$;
SELECT is(app.types(u, i), '3 users, 3 items, 6 interactions: true ' || CASE i WHEN 'varchar' THEN 'character varying' ELSE i END, format('%s users, %s items', u, i))
FROM (VALUES ('smallint', 'smallint'), ('integer', 'integer'), ('bigint', 'bigint'), ('text', 'text'), ('varchar', 'varchar'), ('uuid', 'uuid'),
	('bigint', 'text'), ('uuid', 'integer'), ('text', 'uuid')) t(u, i);
ROLLBACK TO clean;

-- integers are one kind, whatever their width; kinds of users must agree over modules
CREATE TABLE app.s (u smallint, i smallint);
INSERT INTO app.s VALUES (1, 3);
SELECT kpx_add_events('m', 'app.s', 'view', 'u', 'i');
SELECT is(app.trained('m'), '2 users, 3 items, 4 interactions', 'smallint and bigint ids are one id space');
CREATE TABLE app.t (u text, i bigint);
INSERT INTO app.t VALUES ('1', 1);
SELECT kpx_add_module('n', 'app.items', 'id');
SELECT matches(app.error($$SELECT kpx_add_events('n', 'app.t', 'view', 'u', 'i')$$), '^42804 .*text ids of users, those of app.e are integer ids', 'text and integer users do not mix');
ALTER TABLE app.t ALTER u TYPE bigint USING u::bigint;
SELECT kpx_add_events('n', 'app.t', 'view', 'u', 'i');
ALTER TABLE app.t ALTER u TYPE text;
SELECT is(left(app.error($$SELECT app.trained('m', 'n')$$), 5), '42804', 'nor when a type was changed later');
ROLLBACK TO clean;
INSERT INTO app.e VALUES (-9223372036854775808, 9223372036854775807, NULL, 1), (9223372036854775807, -9223372036854775808, NULL, 1);
SELECT is(app.trained('m'), '4 users, 4 items, 5 interactions', 'the smallest and largest bigint');
ROLLBACK TO clean;
CREATE TABLE app.ti (id text);
CREATE TABLE app.te (u text, i text);
INSERT INTO app.te VALUES ('a', 'A'), ('a', 'a'), ('a', 'a '), ('A', E'e\u0301'), ('A', E'\u00e9'), ('', '');
SELECT kpx_drop_module(module) FROM kpx_modules;
SELECT kpx_add_module('txt', 'app.ti', 'id');
SELECT kpx_add_events('txt', 'app.te', 'view', 'u', 'i') AS txt \gset
SELECT is(app.trained('txt'), '3 users, 6 items, 6 interactions', 'text ids are told apart by their bytes');
INSERT INTO app.te VALUES (repeat('x', 10000000), 'a');
SELECT is(left(app.error($$SELECT app.trained('txt')$$), 5), '54000', 'an id of 10 MB');

-- also when the column's own = says that they are the same
CREATE COLLATION app.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE app.ci (id text COLLATE app.any_case);
CREATE TABLE app.ce (u text COLLATE app.any_case, i text);
INSERT INTO app.ci VALUES ('x'), ('y'), ('Z');
INSERT INTO app.ce VALUES ('ann', 'x'), ('ANN', 'y'), ('bob', 'z'), ('bob', 'x');
SELECT kpx_add_module('ci', 'app.ci', 'id'), kpx_add_events('ci', 'app.ce', 'view', 'u', 'i') \g /dev/null
SELECT is(app.trained('ci'), '3 users, 3 items, 4 interactions', 'users and items of a collation that knows no case');
SELECT results_eq($$SELECT item_id FROM kpx_explain('ann'::text, 'ci', 'x'::text)$$, $$VALUES ('x')$$, 'a user has her own history');
SELECT results_eq($$SELECT DISTINCT reason FROM kpx_recommend_for(ARRAY['ANN'], 'ci')$$, $$VALUES ('ci/y')$$, 'in batches too');
SELECT set_eq($$SELECT item_id FROM kpx_recommend('ann'::text, 'ci')$$, $$VALUES ('x'), ('y')$$, 'and z is not available because Z is');
ROLLBACK TO clean;

-- integer ids lie in an array as far as they are dense, and in a hash table else: neither twice nor lost
TRUNCATE app.e;
INSERT INTO app.e SELECT CASE WHEN n % 100 = 0 THEN 30000 + n % 1000 WHEN n % 100 = 1 THEN -n ELSE n / 2 END, (n * 7919) % 50000 FROM generate_series(1, 60000) n;
INSERT INTO app.e SELECT 30000 + n, 40000000000 + n % 10 FROM generate_series(0, 999) n;
INSERT INTO app.e SELECT 60000000, n FROM generate_series(0, 49999) n;
SELECT is(app.trained('m'), (SELECT format('%s users, %s items, %s interactions', count(DISTINCT u), count(DISTINCT i), count(DISTINCT (u, i))) FROM app.e),
	'dense, sparse, negative and huge integers');
SELECT results_eq('SELECT item_id::bigint FROM kpx_item_factors(''m'') ORDER BY 1', 'SELECT DISTINCT i FROM app.e ORDER BY 1', 'every id is itself again');
SELECT * FROM finish();
ROLLBACK;
