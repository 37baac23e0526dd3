-- slate.sql: what a slate costs, and what logging it adds, in CPU time of the backend (a busy
-- machine stretches wall time, not this). Needs a superuser on Linux; makes its own platform.
--
--   createdb slates && psql -Xd slates -f test/bench/slate.sql

\set QUIET on
SET client_min_messages = warning;
CREATE EXTENSION kpxrec;
\ir ../pgtap/fixture.psql
SELECT model FROM kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small()) \g /dev/null
SELECT kpx_set_policy(params => '{"caps": {"n": 1000, "per": "1 day"}, "epsilon": 0.1}') \g /dev/null
CREATE FUNCTION app.cpu() RETURNS float8 LANGUAGE sql AS
$$SELECT (s[14]::float8 + s[15]::float8) * 10 FROM (SELECT string_to_array(pg_read_file('/proc/' || pg_backend_pid() || '/stat'), ' ') AS s) x$$;
CREATE FUNCTION app.slates(first int, logged boolean) RETURNS bigint LANGUAGE sql AS
$$SELECT count(*) FROM generate_series(first, first + 1999) u, kpx_recommend_slate(u, ARRAY['courses', 'products', 'videos'], 10, 'courses', log => logged)$$;
SELECT app.slates(1000000, true) \g /dev/null
SELECT app.cpu() AS a \gset
SELECT app.slates(2000000, false) \g /dev/null
SELECT app.cpu() AS b \gset
SELECT app.slates(3000000, true) \g /dev/null
SELECT app.cpu() AS c \gset
SELECT round((:b - :a) / 2000.0, 2) AS "slate, not logged, ms", round((:c - :b) / 2000.0, 2) AS "logged, ms", round((:c - 2 * :b + :a) / 2000.0, 2) AS "cost of logging, ms";
