-- What every spec begins with: two modules with the same users, and three models of them, of which "first" answers.
-- Everything is made anew for each permutation, the extension too, so that numbers are the same each time.
CREATE SCHEMA test;
CREATE PROCEDURE test.fresh() LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL client_min_messages = warning;
	DROP EXTENSION IF EXISTS kpxrec CASCADE;
	DROP SCHEMA IF EXISTS app CASCADE;
	CREATE EXTENSION kpxrec;
	CREATE SCHEMA app;
	CREATE TABLE app.courses AS SELECT generate_series(1, 20) AS id;
	CREATE TABLE app.videos AS SELECT generate_series(1, 20) AS id;
	CREATE TABLE app.enrolments AS SELECT u AS user_id, 1 + (u % 2 + 2 * ((u + n) % 10)) AS item_id, now() - n * interval '1 hour' AS at
		FROM generate_series(1, 40) u, generate_series(1, 5) n;
	CREATE TABLE app.plays AS SELECT user_id, item_id, at FROM app.enrolments;
	CREATE INDEX ON app.enrolments (user_id);
	CREATE INDEX ON app.plays (user_id);
	ALTER TABLE app.courses ADD PRIMARY KEY (id);
	ALTER TABLE app.videos ADD PRIMARY KEY (id);
	PERFORM kpx_add_module('courses', 'app.courses', 'id'), kpx_add_module('videos', 'app.videos', 'id'),
		kpx_add_events('courses', 'app.enrolments', 'purchase', 'user_id', 'item_id', occurred_at => 'at'),
		kpx_add_events('videos', 'app.plays', 'view', 'user_id', 'item_id', occurred_at => 'at');
	PERFORM kpx_train('{courses,videos}'::text[], params => '{"factors": 4}', name => 'first');
	PERFORM kpx_train('{courses,videos}'::text[], algorithm => 'popular', name => 'second', activate => false);
	PERFORM kpx_train('{courses,videos}'::text[], params => '{"factors": 4, "seed": 3}', name => 'third', activate => false);
END $$;
-- The number of a model; which one answers; whether what kpxrec holds fits together.
CREATE FUNCTION test.model(name text) RETURNS bigint LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (SELECT m.id FROM kpx.model m WHERE m.name = $1); END $$;
CREATE FUNCTION test.answering(module text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT m.name FROM kpx.model m JOIN kpx.active_model a ON a.model_id = m.id
	JOIN kpx.module o ON o.id = a.module_id WHERE o.name = $1); END $$;
CREATE FUNCTION test.orphans() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN
	(SELECT count(*) FROM kpx.active_model a WHERE NOT EXISTS (SELECT FROM kpx.model m WHERE m.id = a.model_id) OR NOT EXISTS (SELECT FROM kpx.module m WHERE m.id = a.module_id)) +
	(SELECT count(*) FROM kpx.model_block b WHERE NOT EXISTS (SELECT FROM kpx.model m WHERE m.id = b.model_id)) +
	(SELECT count(*) FROM kpx.activation a WHERE NOT EXISTS (SELECT FROM kpx.model m WHERE m.id = a.model_id)) +
	(SELECT count(*) FROM kpx.feedback f WHERE NOT EXISTS (SELECT FROM kpx.impression i WHERE i.slate_id = f.slate_id AND i.rank = f.rank)); END $$;
