-- consent.sql: what consent and forgetting cost, in joint training and in an answer, in CPU time of the backend (a busy
-- machine stretches wall time, not this). Needs a superuser on Linux.
--
--   createdb consent && psql -Xd consent -f test/bench/consent.sql      (-v events=1000000; default 5 M events of 500,000 users)

\set QUIET on
\if :{?events} \else \set events 5000000 \endif
SET client_min_messages = error;
CREATE EXTENSION kpxrec;
CREATE SCHEMA bench;
CREATE TABLE bench.items (id int PRIMARY KEY);
INSERT INTO bench.items SELECT generate_series(1, 20000);
SELECT setseed(0.5) \g /dev/null
CREATE TABLE bench.a AS SELECT (random() * :events / 10)::int AS user_id, 1 + (20000 * random() ^ 2)::int % 20000 AS item_id FROM generate_series(1, :events / 2);
CREATE TABLE bench.b AS SELECT (random() * :events / 10)::int AS user_id, 1 + (20000 * random() ^ 2)::int % 20000 AS item_id FROM generate_series(1, :events / 2);
CREATE INDEX ON bench.a (user_id);
CREATE INDEX ON bench.b (user_id);
CREATE TABLE bench.consent (user_id int, source text, target text, PRIMARY KEY (user_id, source, target));
INSERT INTO bench.consent SELECT u, s, t FROM generate_series(0, :events / 10) u, (VALUES ('a', 'b'), ('b', 'a')) p(s, t) WHERE u % 10 > 0;
VACUUM ANALYZE;
SELECT kpx_add_module('a', 'bench.items', 'id'), kpx_add_module('b', 'bench.items', 'id'),
	kpx_add_events('a', 'bench.a', 'view', 'user_id', 'item_id'), kpx_add_events('b', 'bench.b', 'view', 'user_id', 'item_id') \g /dev/null
CREATE FUNCTION bench.cpu() RETURNS float8 LANGUAGE sql AS
$$SELECT (s[14]::float8 + s[15]::float8) / 100 FROM (SELECT string_to_array(pg_read_file('/proc/' || pg_backend_pid() || '/stat'), ' ') AS s) x$$;
-- seconds of a training of one iteration and 8 factors; milliseconds of one of 2,000 answers
CREATE FUNCTION bench.measure(what text, OUT "case" text, OUT users bigint, OUT train_s numeric, OUT answer_ms numeric) LANGUAGE plpgsql AS $$
DECLARE began float8 := bench.cpu(); m bigint;
BEGIN
	"case" := what;
	SELECT t.model, t.users INTO m, users FROM kpx_train(ARRAY['a', 'b'], params => '{"factors": 8, "iterations": 1}') t;
	train_s := round((bench.cpu() - began)::numeric, 2);
	PERFORM kpx_recommend(1, 'a');
	began := bench.cpu();
	FOR i IN 1 .. 2000 LOOP PERFORM kpx_recommend(7 * i, 'a'); END LOOP;
	answer_ms := round(((bench.cpu() - began) / 2)::numeric, 3);
END $$;
SET maintenance_work_mem = '1GB';
SET max_parallel_maintenance_workers = 0;
SELECT * FROM bench.measure('nothing asked');
SELECT kpx_forget_user(u) FROM generate_series(-1000, -1) u \g /dev/null
SELECT * FROM bench.measure('1,000 were forgotten');
DELETE FROM kpx.forget_key;
SET kpxrec.require_consent = on;
INSERT INTO kpx.consent (user_id, source_module_id, target_module_id, purpose, allowed) SELECT u, 0, 0, 'all', true FROM generate_series(0, :events / 10) u WHERE u % 10 > 0;
VACUUM ANALYZE kpx.consent;
SELECT * FROM bench.measure('9 of 10 in kpx.consent');
TRUNCATE kpx.consent;
SELECT kpx_add_consent_source('bench.consent') \g /dev/null
SELECT * FROM bench.measure('9 of 10 in a consent source');
