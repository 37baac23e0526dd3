-- module: what can be registered, what is refused and how, and what happens when tables change later.
BEGIN;
SET kpxrec.min_users = 1; -- a few users are enough here
SELECT plan(73);
SET client_min_messages = warning;
CREATE SCHEMA app;
CREATE DOMAIN app.small_id AS integer;
CREATE TABLE app.items (id int PRIMARY KEY, title text, price numeric, ok boolean, j jsonb, at timestamptz, "Odd Name" varchar(9));
CREATE TABLE app.events (u int, i int, at timestamptz, day date, w float8, t text, b boolean);
CREATE INDEX ON app.events (u);
CREATE VIEW app.v AS SELECT * FROM app.items;
CREATE MATERIALIZED VIEW app.mv AS SELECT * FROM app.items;
CREATE TABLE app.part (id int, title text) PARTITION BY RANGE (id);
CREATE TABLE app.part_1 PARTITION OF app.part FOR VALUES FROM (0) TO (1000);
CREATE SEQUENCE app.seq;
CREATE TYPE app.composite AS (id int);
CREATE EXTENSION file_fdw;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE app.ft (u int, i int) SERVER files OPTIONS (program 'printf "1,1\n1,2\n2,1\n2,3\n"', format 'csv');

-- a library of another version than the extension
SAVEPOINT version;
UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'kpxrec';
SELECT throws_ok($$SELECT kpx_add_module('t', 'app.items', 'id')$$, '55000', NULL, 'says so');
ROLLBACK TO version;

-- relations
SELECT lives_ok($$SELECT kpx_add_module('t', 'app.items', 'id', title => 'title', text_columns => '{title,"Odd Name"}',
	category => 'j', price => 'price', available => 'ok', repeat_after => '30 days')$$, 'a table, every option');
SELECT lives_ok($$SELECT kpx_add_module('v', 'app.v', 'id')$$, 'a view');
SELECT lives_ok($$SELECT kpx_add_module('mv', 'app.mv', 'id')$$, 'a materialized view');
SELECT lives_ok($$SELECT kpx_add_module('part', 'app.part', 'id')$$, 'a partitioned table');
SELECT lives_ok($$SELECT kpx_add_module('ft', 'app.ft', 'i')$$, 'a foreign table');
SELECT lives_ok($$SELECT kpx_add_events('ft', 'app.ft', 'view', 'u', 'i')$$, 'events of a foreign table');
SELECT results_eq($$SELECT interactions FROM kpx_train('ft', params => '{"factors": 2}')$$, 'VALUES (4::bigint)', 'a foreign table is read');
SELECT is((SELECT row(module, items, item_id, title, text_columns, category, price, available, repeat_after)::text FROM kpx_modules WHERE module = 't'),
	'(t,app.items,id,title,"{title,""Odd Name""}",j,price,ok,"30 days")', 'kpx_modules shows what was said');
SELECT throws_ok($$SELECT kpx_add_module('x', 'app.nope', 'id')$$, '42P01', NULL, 'no such table');
SELECT throws_ok($$SELECT kpx_add_module('x', 999999::regclass, 'id')$$, '42P01', 'relation with OID 999999 does not exist', 'an OID of nothing');
SELECT throws_ok($$SELECT kpx_add_module('x', 'app.seq', 'last_value')$$, '42809', NULL, 'a sequence');
SELECT throws_ok($$SELECT kpx_add_module('x', 'app.items_pkey', 'id')$$, '42809', NULL, 'an index');
SELECT throws_ok($$SELECT kpx_add_module('x', 'app.composite', 'id')$$, '42809', NULL, 'a composite type');

-- columns
SELECT throws_ok($$SELECT kpx_add_module('x', 'app.items', 'nope')$$, '42703', 'column "nope" of relation "items" does not exist', 'no such item_id');
SELECT throws_ok($$SELECT kpx_add_module('x', 'app.items', 'ID')$$, '42703', NULL, 'names are case-sensitive');
SELECT throws_ok($$SELECT kpx_add_module('x', 'app.items', 'id', title => 'nope')$$, '42703', NULL, 'no such title');
SELECT throws_ok($$SELECT kpx_add_module('x', 'app.items', 'id', text_columns => '{title,nope}')$$, '42703', NULL, 'no such text column');
SELECT throws_ok($$SELECT kpx_add_module('x', 'app.items', 'id', text_columns => '{title,NULL}')$$, '22004', NULL, 'NULL among text columns');
SELECT throws_ok($$SELECT kpx_add_module('x', 'app.items', 'j')$$, '42804', NULL, 'a jsonb id');
SELECT throws_ok($$SELECT kpx_add_module('x', 'app.items', 'price')$$, '42804', NULL, 'a numeric id');
SELECT throws_ok($$SELECT kpx_add_module('x', 'app.items', 'id', title => 'price')$$, '42804', NULL, 'a numeric title');
SELECT throws_ok($$SELECT kpx_add_module('x', 'app.items', 'id', price => 'title')$$, '42804', NULL, 'a text price');
SELECT throws_ok($$SELECT kpx_add_module('x', 'app.items', 'id', available => 'title')$$, '42804', NULL, 'a text for available');
SELECT throws_ok($$SELECT kpx_add_module('x', 'app.items', 'id', repeat_after => '-1 day')$$, '22023', NULL, 'a negative repeat_after');
SELECT throws_ok($$SELECT kpx_add_module('x', 'app.items', 'id', repeat_after => '-1 year 362 days')$$, '22023', NULL, 'one that is negative by extract(epoch), whose years have 365.25 days');
SELECT lives_ok($$SELECT kpx_add_module('year', 'app.items', 'id', repeat_after => '1 year -361 days')$$, 'and one that is positive');
SELECT throws_ok($$SELECT kpx_add_module('t', 'app.items', 'id')$$, '42710', 'module "t" is already registered', 'a name twice');
SELECT throws_ok($$SELECT kpx_add_module(NULL, 'app.items', 'id')$$, '22004', NULL, 'NULL name');
SELECT throws_ok($$SELECT kpx_add_module('x', NULL, 'id')$$, '22004', NULL, 'NULL relation');
SELECT throws_ok($$SELECT kpx_add_module('', 'app.items', 'id')$$, '42602', NULL, 'an empty name');
SELECT throws_ok(format($$SELECT kpx_add_module(%L, 'app.items', 'id')$$, repeat('x', 64)), '42602', NULL, 'a name of 64 bytes is refused, not cut');
SELECT lives_ok(format($$SELECT kpx_add_module(%L, 'app.items', 'id')$$, 'it''s "quoted"; DROP TABLE app.items'), 'an odd name is only a name');
SELECT has_table('app', 'items', 'nothing was dropped by it');

-- events
SELECT throws_ok($$SELECT kpx_add_events('nope', 'app.events', 'view', 'u', 'i')$$, '42704', 'module "nope" is not registered', 'no such module');
SELECT throws_ok($$SELECT kpx_add_events('t', 'app.events', 'view', 'nope', 'i')$$, '42703', NULL, 'no such user column');
SELECT throws_ok($$SELECT kpx_add_events('t', 'app.events', 'view', 'u', 't')$$, '42804',
	'column "t" of relation app.events holds text ids, the items of module "t" have integer ids', 'item ids of another kind than the items');
SELECT throws_ok($$SELECT kpx_add_events('t', 'app.events', 'view', 'b', 'i')$$, '42804', NULL, 'a boolean user id');
SELECT throws_ok($$SELECT kpx_add_events('t', 'app.events', 'view', 'u', 'i', occurred_at => 't')$$, '42804', NULL, 'a text time');
SELECT throws_ok($$SELECT kpx_add_events('t', 'app.events', 'view', 'u', 'i', value => 't')$$, '42804', NULL, 'a text value');
SELECT throws_ok($$SELECT kpx_add_events('t', 'app.events', 'view', 'u', 'i', weight_column => 't')$$, '42804', NULL, 'a text weight');
SELECT throws_ok($$SELECT kpx_add_events('t', 'app.events', 'view', 'u', 'i', weight => -1)$$, '22023', NULL, 'a negative weight');
SELECT throws_ok($$SELECT kpx_add_events('t', 'app.events', 'view', 'u', 'i', weight => 'NaN')$$, '22023', NULL, 'a weight of NaN');
SELECT throws_ok($$SELECT kpx_add_events('t', 'app.events', 'view', 'u', 'i', half_life => '1 day')$$, '22023', NULL, 'half_life without a time');
SELECT throws_ok($$SELECT kpx_add_events('t', 'app.events', 'view', 'u', 'i', occurred_at => 'at', half_life => '0')$$, '22023', NULL, 'a half_life of nothing');
SELECT lives_ok($$SELECT kpx_add_events('t', 'app.events', k, 'u', 'i', occurred_at => 'day', hides => h)
	FROM (VALUES (1, 'purchase', NULL), (2, 'view', NULL), (3, 'view', true), (4, 'Order', false)) k(n, k, h) ORDER BY n$$, 'several sources of one module');
SELECT is((SELECT string_agg(kind || ' ' || hides, ', ' ORDER BY source_id) FROM kpx_event_sources WHERE module = 't'),
	'purchase true, view false, view true, Order false', 'hides: by kind, unless said');

-- attributes
SELECT lives_ok($$SELECT kpx_add_user_attributes('app.events', 'u')$$, 'user attributes, all columns');
SELECT is((SELECT columns::text FROM kpx.attribute_source), '{i,at,day,w,t,b}', 'all but the user id');
SELECT throws_ok($$SELECT kpx_add_user_attributes('app.events', 'u', '{nope}')$$, '42703', NULL, 'no such attribute');
SELECT lives_ok($$SELECT kpx_drop_user_attributes((SELECT id FROM kpx.attribute_source))$$, 'attributes dropped');
SELECT throws_ok($$SELECT kpx_drop_user_attributes(1)$$, '42704', NULL, 'dropped only once');

-- later changes of the tables
INSERT INTO app.items (id, ok) SELECT n, true FROM generate_series(1, 6) n;
INSERT INTO app.events SELECT u, i, now(), now(), 1 FROM generate_series(1, 6) u, generate_series(1, 6) i WHERE (u + i) % 3 > 0;
CREATE TABLE app.gone AS SELECT * FROM app.events;
SELECT kpx_add_module('g', 'app.items', 'id');
SELECT kpx_add_events('g', 'app.gone', 'view', 'u', 'i', weight_column => 'w');
SELECT model FROM kpx_train('g', params => '{"factors": 2}');
SAVEPOINT before;
ALTER TABLE app.gone RENAME TO moved;
SELECT isnt_empty($$SELECT * FROM kpx_recommend(1, 'g', keep_seen => true)$$, 'a renamed relation is still read');
ALTER TABLE app.moved RENAME COLUMN u TO who;
SELECT throws_ok($$SELECT * FROM kpx_train('g')$$, '42703', NULL, 'a renamed column: training says so');
ROLLBACK TO before;
DROP TABLE app.gone;
SELECT throws_ok($$SELECT * FROM kpx_train('g')$$, '42P01', NULL, 'a dropped relation: training says so');
SELECT throws_ok($$SELECT * FROM kpx_recommend(1, 'g')$$, '42P01', NULL, 'a dropped relation: answers say so');
ROLLBACK TO before;
ALTER TABLE app.gone ALTER COLUMN w TYPE text USING 'heavy';
SELECT throws_ok($$SELECT * FROM kpx_train('g')$$, '42804', NULL, 'a weight that became text');
ROLLBACK TO before;

-- the same when this session has answered before: plans are kept, and must not outlive what they name
SELECT count(*) FROM kpx_recommend(1, 'g', keep_seen => true) \g /dev/null
ALTER TABLE app.gone RENAME TO moved;
SELECT isnt_empty($$SELECT * FROM kpx_recommend(1, 'g', keep_seen => true)$$, 'a renamed source is still read');
CREATE TABLE app.gone (u int, i int, w float8);
SELECT isnt_empty($$SELECT 1 FROM kpx_recommend(1, 'g', keep_seen => true) WHERE reason <> 'popular'$$, 'and not another one that took its name');
ALTER TABLE app.items RENAME TO goods;
SELECT isnt_empty($$SELECT * FROM kpx_recommend(1, 'g', keep_seen => true)$$, 'renamed items are still read');
ALTER SCHEMA app RENAME TO shop;
SELECT isnt_empty($$SELECT * FROM kpx_recommend(1, 'g', keep_seen => true)$$, 'in a renamed schema');
ROLLBACK TO before;
SELECT isnt_empty($$SELECT * FROM kpx_recommend(1, 'g', keep_seen => true)$$, 'and after a rollback');
ALTER TABLE app.gone ALTER COLUMN i TYPE text;
SELECT throws_ok($$SELECT * FROM kpx_recommend(1, 'g')$$, '42804', NULL, 'item ids that became text');
ROLLBACK TO before;
SELECT count(*) FROM kpx_recommend(1, 'g') \g /dev/null
ALTER TABLE app.gone ALTER COLUMN u TYPE text;
SELECT throws_ok($$SELECT * FROM kpx_recommend(1, 'g')$$, '42804', NULL, 'user ids that became text');
ROLLBACK TO before;
SELECT count(*) FROM kpx_recommend(1, 'g') \g /dev/null
ALTER TABLE app.gone DROP COLUMN i;
SELECT throws_ok($$SELECT * FROM kpx_recommend(1, 'g')$$, '42703', NULL, 'a dropped column');
ROLLBACK TO before;
SELECT count(*) FROM kpx_recommend(1, 'g') \g /dev/null
DROP TABLE app.gone;
SELECT throws_ok($$SELECT * FROM kpx_recommend(1, 'g')$$, '42P01', NULL, 'a dropped source');
ROLLBACK TO before;

-- dropping
SELECT throws_ok($$SELECT kpx_drop_events(99)$$, '42704', NULL, 'no such source');
SELECT throws_ok($$SELECT kpx_drop_module('nope')$$, '42704', NULL, 'no such module to drop');
SELECT lives_ok($$SELECT kpx_drop_events(source_id) FROM kpx_event_sources WHERE module = 'g'$$, 'a source dropped');
SELECT throws_ok($$SELECT * FROM kpx_train('g')$$, '55000', 'module "g" has no event source', 'a module without sources cannot be trained');
SELECT lives_ok($$SELECT kpx_drop_module('g')$$, 'a module dropped');
SELECT throws_ok($$SELECT * FROM kpx_recommend(1, 'g')$$, '42704', NULL, 'it answers nothing any more');
SELECT isnt_empty($$SELECT 1 FROM app.gone$$, 'its tables stay');
SELECT * FROM finish();
ROLLBACK;
