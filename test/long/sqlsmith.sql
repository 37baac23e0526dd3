-- A database for sqlsmith: three modules with models, slates, a segmentation, rules and a job; and a role that owns nothing but may
-- execute what those who train may. sqlsmith calls functions that return one value: those of ours that
-- return rows, or take any type, are wrapped.
\set ON_ERROR_STOP on
\set QUIET on
CREATE EXTENSION kpxrec;
\ir ../pgtap/fixture.psql
SELECT count(*) FROM kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small()) \g /dev/null
SELECT count(*) FROM kpx_train('courses', algorithm => 'itemknn') \g /dev/null
SELECT count(*) FROM kpx_train('courses', algorithm => 'hybrid', activate => true) \g /dev/null
SELECT kpx_set_policy(params => '{"epsilon": 0.1}') \g /dev/null
SELECT count(*) FROM generate_series(1, 60) u, kpx_recommend_slate(u, ARRAY['courses', 'products', 'videos'], 4, 'courses', log => true) \g /dev/null
SELECT count(*) FROM kpx_cluster('groups', ARRAY['courses', 'products'], 3) \g /dev/null
SELECT count(*) FROM kpx_mine_rules(ARRAY['courses', 'products'], 0.05, 0.1) \g /dev/null

CREATE SCHEMA smith;
-- values that mean something to our functions, as columns to draw from
CREATE TABLE smith.word AS SELECT unnest('{courses,products,videos,ials,itemknn,content,hybrid,rules,groups,click,default,random,leave_one_out,1,v2,20 minutes}'::text[]) AS word;
CREATE TABLE smith.list AS SELECT '{courses}'::text[] AS modules, '{1,2,3}'::bigint[] AS items, '{"factors": 2, "iterations": 1}'::jsonb AS params UNION ALL SELECT '{courses,videos}', '{}', '{}';
CREATE TABLE smith.person AS SELECT n::bigint AS user_id, n AS k FROM generate_series(1, 60) n;
DO $$
DECLARE
	f record;
BEGIN
	FOR f IN SELECT row_number() OVER () AS n, p.oid::regprocedure AS function, p.pronamespace::regnamespace AS schema, p.proname,
			(SELECT string_agg(CASE WHEN t::regtype IN ('anyelement', 'anycompatible') THEN 'bigint' WHEN t::regtype IN ('anyarray', 'anycompatiblearray', '"any"') THEN 'bigint[]' ELSE t::regtype::text END, ', ' ORDER BY o)
				FROM unnest(p.proargtypes) WITH ORDINALITY a(t, o)) AS types,
			(SELECT string_agg('$' || o, ', ') FROM generate_series(1, p.pronargs) o) AS arguments
		FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'kpxrec'
		WHERE p.prokind = 'f' AND p.pronamespace <> 'kpx'::regnamespace AND NOT 'internal'::regtype = ANY (p.proargtypes) AND NOT 'cstring'::regtype = ANY (p.proargtypes)
	LOOP
		EXECUTE format('CREATE FUNCTION smith.%I(%s) RETURNS bigint LANGUAGE sql AS %L', f.proname || '_' || f.n, coalesce(f.types, ''),
			format('SELECT count(*) FROM %I.%I(%s)', f.schema, f.proname, coalesce(f.arguments, '')));
	END LOOP;
END $$;
CREATE ROLE smith LOGIN;
GRANT USAGE ON SCHEMA app, smith TO smith;
GRANT SELECT ON ALL TABLES IN SCHEMA app, smith TO smith;
ALTER ROLE smith SET statement_timeout = '2s';
ALTER ROLE smith SET lock_timeout = '1s';
ALTER SYSTEM SET log_error_verbosity = verbose;
SELECT pg_reload_conf() \g /dev/null
ANALYZE;
