-- upgrade: ALTER EXTENSION kpxrec UPDATE makes of an older version what CREATE EXTENSION makes, keeps what
-- is there, and until it is run the new library works with the older version's objects, or says what to do.
-- When the comparison fails: docs/architecture.md, "Changing what CREATE EXTENSION makes".
BEGIN;
SET client_min_messages = warning;
SELECT no_plan();

-- ---------------------------------------------------------------- everything the extension has, as text

CREATE TEMP VIEW member AS
SELECT d.classid, d.objid, i.type || ' ' || i.identity AS name
FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'kpxrec',
	LATERAL pg_identify_object(d.classid, d.objid, 0) i
WHERE d.deptype = 'e';

-- a right is its own line: the order in which rights were given does not matter
CREATE TEMP VIEW described AS
WITH relation AS (
	SELECT m.name, c.* FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
), function AS (
	SELECT m.name, p.* FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
)
SELECT name, 'exists' AS what, obj_description(objid, classid::regclass::name) AS how FROM member
UNION ALL SELECT name, 'definition', pg_get_functiondef(oid) FROM function WHERE prokind <> 'a'
UNION ALL SELECT f.name, 'definition', concat_ws(' ', f.proargnames, f.provolatile, f.proparallel, f.proisstrict, f.procost, a.aggkind, a.aggtransfn, a.aggfinalfn, a.aggcombinefn,
		a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggfinalextra, a.aggfinalmodify, a.aggsortop, format_type(a.aggtranstype, NULL), a.aggtransspace, a.agginitval)
	FROM function f JOIN pg_aggregate a ON a.aggfnoid = f.oid
UNION ALL SELECT name, 'right', a::text FROM function, unnest(coalesce(proacl, acldefault('f', proowner))) a
UNION ALL SELECT name, 'owner', pg_get_userbyid(relowner) FROM relation
UNION ALL SELECT name, 'right', a::text FROM relation, unnest(coalesce(relacl, acldefault('r', relowner))) a
UNION ALL SELECT name, 'storage', concat_ws(' ', relpersistence, reloptions, relrowsecurity, relforcerowsecurity, relreplident) FROM relation
UNION ALL SELECT name, 'definition', pg_get_viewdef(oid) FROM relation WHERE relkind = 'v'
UNION ALL SELECT name, 'columns in order', string_agg(attname, ', ' ORDER BY attnum) FROM relation JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND NOT attisdropped GROUP BY name
UNION ALL SELECT name, 'column ' || attname, concat_ws(' ', format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'NOT NULL' END, attidentity, attgenerated, attstorage, attcompression,
		attcollation::regcollation, attacl, pg_get_expr(d.adbin, d.adrelid), 'comment: ' || col_description(r.oid, attnum))
	FROM relation r JOIN pg_attribute ON attrelid = r.oid AND attnum > 0 AND NOT attisdropped LEFT JOIN pg_attrdef d ON d.adrelid = attrelid AND d.adnum = attnum
UNION ALL SELECT r.name, 'constraint ' || conname, concat_ws(' ', pg_get_constraintdef(k.oid), obj_description(k.oid, 'pg_constraint')) FROM relation r JOIN pg_constraint k ON k.conrelid = r.oid
UNION ALL SELECT r.name, 'index ' || x.indexrelid::regclass, concat_ws(' ', pg_get_indexdef(x.indexrelid), x.indisvalid, x.indisreplident, obj_description(x.indexrelid, 'pg_class'))
	FROM relation r JOIN pg_index x ON x.indrelid = r.oid
UNION ALL SELECT r.name, 'trigger ' || tgname, concat_ws(' ', pg_get_triggerdef(t.oid), tgenabled, obj_description(t.oid, 'pg_trigger')) FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT tgisinternal
UNION ALL SELECT r.name, 'rule ' || rulename, pg_get_ruledef(w.oid) FROM relation r JOIN pg_rewrite w ON w.ev_class = r.oid AND r.relkind <> 'v'
UNION ALL SELECT r.name, 'policy ' || polname, concat_ws(' ', polcmd, polpermissive, polroles::regrole[], pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
	FROM relation r JOIN pg_policy ON polrelid = r.oid
UNION ALL SELECT r.name, 'sequence', concat_ws(' ', format_type(seqtypid, NULL), seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle, pg_get_serial_sequence(d.refobjid::regclass::text, a.attname))
	FROM relation r JOIN pg_sequence ON seqrelid = r.oid LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.deptype IN ('a', 'i')
	LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
UNION ALL SELECT m.name, 'definition', concat_ws(' ', typtype, typcategory, typispreferred, typlen, typbyval, typalign, typstorage, typdelim, typinput, typoutput, typreceive, typsend, typmodin, typanalyze, typsubscript,
		typnotnull, format_type(typbasetype, typtypmod), typdefault, typacl)
	FROM member m JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
UNION ALL SELECT m.name, 'definition', concat_ws(' ', oprkind, oprcanmerge, oprcanhash, oprresult::regtype, nullif(oprcom, 0)::regoperator, nullif(oprnegate, 0)::regoperator, oprcode, oprrest, oprjoin)
	FROM member m JOIN pg_operator o ON m.classid = 'pg_operator'::regclass AND o.oid = m.objid
UNION ALL SELECT m.name, 'definition', concat_ws(' ', castfunc::regprocedure, castcontext, castmethod) FROM member m JOIN pg_cast c ON m.classid = 'pg_cast'::regclass AND c.oid = m.objid
UNION ALL SELECT m.name, 'definition', concat_ws(' ', opcdefault, opcintype::regtype, opckeytype::regtype, opcfamily = f.oid) FROM member m JOIN pg_opclass c ON m.classid = 'pg_opclass'::regclass AND c.oid = m.objid
	JOIN pg_opfamily f ON f.oid = c.opcfamily
UNION ALL SELECT m.name, 'operator ' || amopopr::regoperator, concat_ws(' ', amopstrategy, amoppurpose) FROM member m JOIN pg_amop a ON m.classid = 'pg_opfamily'::regclass AND a.amopfamily = m.objid
UNION ALL SELECT m.name, 'function ' || amproc::regprocedure, amprocnum::text FROM member m JOIN pg_amproc a ON m.classid = 'pg_opfamily'::regclass AND a.amprocfamily = m.objid
UNION ALL SELECT m.name, 'right', a::text FROM member m JOIN pg_namespace n ON m.classid = 'pg_namespace'::regclass AND n.oid = m.objid, unnest(coalesce(nspacl, acldefault('n', nspowner))) a
-- what pg_dump takes to be there from the start, and what it dumps of the tables
UNION ALL SELECT m.name, 'initial right', a::text FROM member m JOIN pg_init_privs p ON p.classoid = m.classid AND p.objoid = m.objid AND p.objsubid = 0, unnest(initprivs) a
UNION ALL SELECT 'extension', 'dumped ' || c::regclass, w FROM pg_extension, unnest(extconfig, extcondition) u(c, w) WHERE extname = 'kpxrec'
UNION ALL SELECT 'extension', 'is', concat_ws(' ', extversion, extrelocatable, extnamespace::regnamespace) FROM pg_extension WHERE extname = 'kpxrec';

-- C functions by symbol: two forms of one symbol would read each other's arguments
CREATE TEMP VIEW entry AS
SELECT p.prosrc AS symbol, p.oid::regprocedure::text AS signature, p.proname, p.pronargs, p.pronargdefaults, p.proargtypes::regtype[]::text AS arguments,
	concat_ws(' ', p.prorettype::regtype, p.proretset, p.proallargtypes::regtype[], p.proargmodes) AS result, p.provolatile, n.nspname
FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'c');

CREATE TEMP TABLE fresh AS TABLE described;
CREATE TEMP TABLE fresh_entry AS TABLE entry;
SELECT cmp_ok(count(*), '>', 1500::bigint, 'much is described') FROM fresh;
SELECT is_empty($$SELECT kind FROM member JOIN (SELECT objid, classid::regclass::text AS kind FROM member) k USING (objid)
	WHERE kind NOT IN ('pg_proc', 'pg_class', 'pg_type', 'pg_operator', 'pg_cast', 'pg_opclass', 'pg_opfamily', 'pg_namespace')$$, 'no object is of a kind that is not described');

-- ---------------------------------------------------------------- versions and ways

SELECT set_eq($$SELECT version FROM pg_available_extension_versions WHERE name = 'kpxrec'$$, ARRAY['0.1.0', '0.2.0'], 'these versions can be installed');
SELECT set_eq($$SELECT source || ' to ' || target FROM pg_extension_update_paths('kpxrec') WHERE path IS NOT NULL$$, ARRAY['0.1.0 to 0.2.0'], 'there is one way, forward');
SELECT is(library, extension, 'the library has the version that CREATE EXTENSION installs') FROM kpx_version();
SELECT is(extension, default_version, 'the default one') FROM kpx_version(), pg_available_extensions WHERE name = 'kpxrec';

-- ---------------------------------------------------------------- the older version, with something in it

DROP EXTENSION kpxrec;
CREATE EXTENSION kpxrec VERSION '0.1.0';
\ir ../upgrade/0.1.0.sql
RESET search_path;
SELECT is(extension, '0.1.0', 'the older version is installed') FROM kpx_version();

-- ---------------------------------------------------------------- its functions, called before the update

SELECT is_empty($$SELECT o.symbol, o.signature, f.signature AS now FROM entry o JOIN fresh_entry f USING (symbol)
	WHERE (o.arguments <> f.arguments OR o.result <> f.result)
	AND NOT EXISTS (SELECT FROM fresh_entry g WHERE g.symbol = o.symbol AND g.arguments = o.arguments AND g.result = o.result)$$,
	'no C function that the older script names has other arguments or results now: what changes them gets another symbol (docs/architecture.md)');

CREATE TEMP TABLE found (signature text, sql text, state text, message text, hint text);
CREATE FUNCTION app.call(signature text, sql text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE s text; m text; h text;
BEGIN
	BEGIN
		EXECUTE sql;
		RAISE EXCEPTION USING ERRCODE = 'KPX00'; -- nothing stays
	EXCEPTION
		WHEN OTHERS OR ASSERT_FAILURE THEN GET STACKED DIAGNOSTICS s := RETURNED_SQLSTATE, m := MESSAGE_TEXT, h := PG_EXCEPTION_HINT;
	END;
	INSERT INTO found VALUES (signature, sql, s, m, h);
END $$;
-- all of them, what has no default by a value of its type
CREATE TEMP VIEW calls AS
SELECT e.signature, format('SELECT * FROM %I(%s)', e.proname, (SELECT string_agg(CASE WHEN t = 'anyelement' THEN coalesce(v.value, '3') ELSE format('(%s)::%s', coalesce(v.value, 'NULL'), t) END, ', ' ORDER BY o)
		FROM unnest(e.arguments::regtype[]::text[]) WITH ORDINALITY a(t, o) LEFT JOIN (VALUES ('text', '''courses'''), ('text[]', '''{courses}'''), ('bigint', '1'), ('integer', '1'),
			('double precision', '0.5'), ('jsonb', '''{}'''), ('interval', '''1 day'''), ('name', '''postgres'''), ('regclass', '''app.enrolments'''), ('boolean', 'false'),
			('anyarray', 'ARRAY[1]::int[]'), ('kpx_profile', '''{"modules": {}}'''), ('anynonarray', '3')) v(type, value) ON v.type = t
		WHERE o <= e.pronargs - e.pronargdefaults)) AS sql
FROM entry e WHERE e.nspname <> 'kpx' AND e.arguments !~ 'internal|cstring';
SELECT app.call(signature, sql) FROM calls ORDER BY signature \g /dev/null
SELECT is_empty($$SELECT * FROM found WHERE state ~ '^(XX|58)' AND NOT (signature ~ '^kpx_import_model' AND state = 'XX001')$$, 'no internal error');
SELECT is_empty($$SELECT * FROM found WHERE state IN ('42703', '42P01', '42883') AND message ~ '\mkpx\.' AND hint !~ 'ALTER EXTENSION kpxrec UPDATE'$$, 'what misses something of the new version says what to do');
SELECT cmp_ok(count(*), '>', 20::bigint, 'many say so plainly') FROM found WHERE hint ~ 'ALTER EXTENSION kpxrec UPDATE';

-- ---------------------------------------------------------------- the update

ALTER EXTENSION kpxrec UPDATE;
SELECT is(library, extension, 'the update leads to the version of the library') FROM kpx_version();
SELECT is_empty($$(SELECT 'CREATE EXTENSION makes, the update does not: ' AS difference, * FROM (TABLE fresh EXCEPT TABLE described) f)
	UNION ALL (SELECT 'the update leaves, CREATE EXTENSION does not make: ', * FROM (TABLE described EXCEPT TABLE fresh) d) ORDER BY 2, 3, 1 LIMIT 40$$,
	'the update makes what CREATE EXTENSION makes. If not: what you changed in sql/NN_x.sql must be changed in sql/kpxrec--0.1.0--0.2.0.sql too, see docs/architecture.md, "Changing what CREATE EXTENSION makes"');
CREATE TEMP VIEW both_times AS
SELECT * FROM (SELECT *, concat_ws('|', what, user_id, rank, item_id) AS key FROM app.said) s FULL JOIN (SELECT number AS now, concat_ws('|', what, user_id, rank, item_id) AS key FROM app.answers) a USING (key)
WHERE key !~ '^(model|profile)';
SELECT cmp_ok(count(*), '>', 70::bigint, 'it had said much') FROM both_times;
SELECT is_empty($$SELECT * FROM both_times WHERE abs(number - now) > 1e-3 * abs(number) OR (number IS NULL) <> (now IS NULL) OR what IS NULL$$, 'models, rules and segments answer as they did');
SELECT is((SELECT count(*) FROM kpx.job) || ' ' || (SELECT count(*) FROM kpx.impression) || ' ' || (SELECT count(*) FROM kpx.feedback), '1 6 2', 'its job, slates and feedback are there');
SELECT lives_ok($$SELECT kpx_train(ARRAY['courses', 'videos'], params => '{"factors": 4, "iterations": 4}')$$, 'and training goes on');
SELECT * FROM finish();
ROLLBACK;
