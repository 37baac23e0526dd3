-- kpxrec: the schema of our state, and the version.
--
-- Functions and views live in the schema that CREATE EXTENSION was given; state
-- lives in schema kpx, which nobody but the extension's owner may read directly.
-- CREATE SCHEMA without IF NOT EXISTS: a schema kpx made by someone else is refused.

SET LOCAL search_path = pg_catalog, pg_temp;

CREATE SCHEMA kpx;
COMMENT ON SCHEMA kpx IS 'kpxrec: registered modules, event sources and trained models';

CREATE FUNCTION @extschema@.kpx_version(OUT library text, OUT extension text)
RETURNS record AS 'MODULE_PATHNAME', 'kpx_version' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_version() IS
'versions of the loaded kpxrec library and of the installed extension';

-- Statement triggers on the tables below call this, so that every backend forgets
-- what it has cached of them at commit, however they are changed.
CREATE FUNCTION kpx.invalidate() RETURNS trigger
AS 'MODULE_PATHNAME', 'kpx_invalidate' LANGUAGE C;
COMMENT ON FUNCTION kpx.invalidate() IS
'trigger: tells all backends to forget their cached copy of the kpxrec registry';
REVOKE ALL ON FUNCTION kpx.invalidate() FROM PUBLIC;
