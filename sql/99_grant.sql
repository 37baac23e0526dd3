-- grant: who may execute what. Last, because it looks at all functions above.
--
-- What writes or trains is not for PUBLIC: such functions are VOLATILE, and all of them are revoked here,
-- so that none is forgotten (those of schema kpx are called by views, and revoke for themselves). kpx_grant gives them to roles by level.

CREATE FUNCTION @extschema@.kpx_grant(role name, level text)
RETURNS integer AS 'MODULE_PATHNAME', 'kpx_grant' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION @extschema@.kpx_grant(name, text) IS
'lets a role execute what its level may: serve, train (and serve), or admin (and train); returns the number of functions';

CREATE FUNCTION kpx.function_level(function regprocedure)
RETURNS text AS 'MODULE_PATHNAME', 'kpx_function_level' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION kpx.function_level(regprocedure) IS
'the lowest level of kpx_grant that may execute a function of the extension: public, serve, train or admin';
REVOKE ALL ON FUNCTION kpx.function_level(regprocedure) FROM PUBLIC;

DO $$
DECLARE
	f pg_catalog.regprocedure;
BEGIN
	FOR f IN SELECT p.oid FROM pg_catalog.pg_proc p
		JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
			AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'
		JOIN pg_catalog.pg_extension e ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
			AND e.oid OPERATOR(pg_catalog.=) d.refobjid AND e.extname OPERATOR(pg_catalog.=) 'kpxrec'
		WHERE p.provolatile OPERATOR(pg_catalog.=) 'v' AND p.pronamespace OPERATOR(pg_catalog.<>) 'kpx'::pg_catalog.regnamespace
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
	END LOOP;
END $$;
