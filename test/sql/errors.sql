-- What a person sees who makes a mistake: the message, the detail and the next step.
SET client_min_messages = warning;
CREATE EXTENSION kpxrec;
RESET client_min_messages;
SET kpxrec.min_users = 1; -- nine users are all there are
CREATE SCHEMA oops;
CREATE TABLE oops.items (id int PRIMARY KEY, title text, flag text, price text);
CREATE TABLE oops.events (user_id int, item_id int, at text, weight text, other numeric);
INSERT INTO oops.items SELECT n FROM generate_series(1, 5) n;
INSERT INTO oops.events SELECT u, i FROM generate_series(1, 9) u, generate_series(1, 5) i WHERE (u + i) % 2 = 0;
CREATE INDEX ON oops.events (user_id);

-- registering
SELECT kpx_add_module('oops', 'oops.nothing', 'id');
SELECT kpx_add_module('oops', 'oops.items', 'item_id');
SELECT kpx_add_module('oops', 'oops.items', 'id', available => 'flag');
SELECT kpx_add_module('oops', 'oops.items', 'id', price => 'price');
SELECT kpx_add_module('', 'oops.items', 'id');
SELECT kpx_add_events('oops', 'oops.events', 'view', 'user_id', 'item_id');
SELECT kpx_add_module('oops', 'oops.items', 'id');
SELECT kpx_add_module('oops', 'oops.items', 'id');
SELECT kpx_add_events('oops', 'oops.events', 'view', 'other', 'item_id');
SELECT kpx_add_events('oops', 'oops.events', 'view', 'user_id', 'item_id', occurred_at => 'at');
SELECT kpx_add_events('oops', 'oops.events', 'view', 'user_id', 'item_id', weight_column => 'weight');
SELECT kpx_add_events('oops', 'oops.events', 'view', 'user_id', 'item_id', half_life => '30 days');
SELECT kpx_add_events('oops', 'oops.events', 'view', 'user_id', 'item_id', weight => -1);

-- training and answering
SELECT * FROM kpx_train('oops');
SELECT kpx_add_events('oops', 'oops.events', 'purchase', 'user_id', 'item_id') > 0 AS registered;
SELECT * FROM kpx_recommend(1, 'oops');
SELECT * FROM kpx_train('ooops');
SELECT * FROM kpx_train('{oops,shop}');
SELECT * FROM kpx_train('oops', params => '{"factor": 8}');
SELECT * FROM kpx_train('oops', params => '{"factors": 9000}');
SELECT * FROM kpx_train('oops', algorithm => 'magic');
SELECT users, items, interactions FROM kpx_train('oops', params => '{"factors": 2}');
SELECT * FROM kpx_recommend(1.5, 'oops');
SELECT * FROM kpx_recommend('one', 'oops');
SELECT * FROM kpx_recommend(1, 'oops', 0);
SELECT * FROM kpx_recommend(1, 'oops', candidates => 3);
SELECT * FROM kpx_recommend_from(ARRAY['a'], 'oops', 'oops');
SELECT * FROM kpx_recommend(1, 'oops', model => 12345);

-- relations that changed underneath
ALTER TABLE oops.events RENAME item_id TO thing_id;
SELECT * FROM kpx_recommend(1, 'oops');
ALTER TABLE oops.events RENAME thing_id TO item_id;
SELECT count(*) FROM kpx_recommend(1, 'oops');
ALTER TABLE oops.events ALTER item_id TYPE text;
SELECT * FROM kpx_train('oops');
ALTER TABLE oops.events ALTER item_id TYPE int USING item_id::int;
SELECT count(*) FROM kpx_recommend(1, 'oops');
DROP TABLE oops.events;
SELECT * FROM kpx_recommend(1, 'oops');
SELECT * FROM kpx_train('oops');
DROP TABLE oops.items;
SELECT * FROM kpx_recommend(1, 'oops');
SELECT module, items, event_sources FROM kpx_modules WHERE module = 'oops';
SELECT kpx_drop_module('oops');
SELECT kpx_drop_module('oops');
DROP SCHEMA oops;
DROP EXTENSION kpxrec;
