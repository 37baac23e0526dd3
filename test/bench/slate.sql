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
-- 2,000 slates: of new users, or of the 60 who have a history
CREATE FUNCTION app.slates(first int, users int, logged boolean) RETURNS bigint LANGUAGE sql AS
$$SELECT count(*) FROM generate_series(first, first + 1999) u, kpx_recommend_slate(1 + u % users, ARRAY['courses', 'products', 'videos'], 10, 'courses', log => logged)$$;
SELECT app.slates(1000000, 100000000, true) \g /dev/null
SELECT app.cpu() AS a \gset
SELECT app.slates(2000000, 100000000, false) \g /dev/null
SELECT app.cpu() AS b \gset
SELECT app.slates(3000000, 100000000, true) \g /dev/null
SELECT app.cpu() AS c \gset
SELECT round((:b - :a)::numeric / 2000, 2) AS "new user: slate, not logged, ms", round((:c - :b)::numeric / 2000, 2) AS "logged, ms", round((:c - 2 * :b + :a)::numeric / 2000, 2) AS "cost of logging, ms";
SELECT kpx_set_policy(params => '{"caps": null}') \g /dev/null
SELECT app.cpu() AS a \gset
SELECT app.slates(0, 60, false) \g /dev/null
SELECT app.cpu() AS b \gset
SELECT app.slates(0, 60, true) \g /dev/null
SELECT app.cpu() AS c \gset
SELECT round((:b - :a)::numeric / 2000, 2) AS "known user, no caps: slate, not logged, ms", round((:c - :b)::numeric / 2000, 2) AS "logged, ms", round((:c - 2 * :b + :a)::numeric / 2000, 2) AS "cost of logging, ms";
SELECT kpx_set_policy(params => '{"thompson": true}') \g /dev/null
SELECT app.cpu() AS a \gset
SELECT app.slates(0, 60, false) \g /dev/null
SELECT app.cpu() AS b \gset
SELECT round((:b - :a)::numeric / 2000, 2) AS "the same with Thompson sampling over 20: not logged, ms";
