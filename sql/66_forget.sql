-- forget: users who are to leave nothing behind. Every table of schema kpx that names users does so
-- in a column user_id of type text with an index on it: kpx_forget_user finds them by that.

-- One row: the key of the tombstones, drawn at the first forgetting in this database.
CREATE TABLE kpx.forget_key (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	key bytea NOT NULL
);
COMMENT ON TABLE kpx.forget_key IS 'the secret key of the tombstones of forgotten users';

CREATE TABLE kpx.forgotten (
	tombstone bytea PRIMARY KEY,
	forgotten_on date NOT NULL DEFAULT (pg_catalog.now() AT TIME ZONE 'UTC')::date
);
COMMENT ON TABLE kpx.forgotten IS 'forgotten users, as HMAC-SHA256 of their id under the key: enough to refuse them, not to name them';

-- What hangs on whether anybody was ever forgotten is cached in sessions.
CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON kpx.forget_key
	FOR EACH STATEMENT EXECUTE FUNCTION kpx.invalidate();

SELECT pg_catalog.pg_extension_config_dump('kpx.forget_key', '');
SELECT pg_catalog.pg_extension_config_dump('kpx.forgotten', '');

CREATE FUNCTION @extschema@.kpx_forget_user(user_id anyelement)
RETURNS TABLE (relation text, removed bigint)
AS 'MODULE_PATHNAME', 'kpx_forget_user' LANGUAGE C VOLATILE ROWS 10;
COMMENT ON FUNCTION @extschema@.kpx_forget_user(anyelement) IS
'removes all that kpxrec holds of a user and refuses the user from then on; returns how many rows of which table went';
REVOKE ALL ON FUNCTION @extschema@.kpx_forget_user(anyelement) FROM PUBLIC;

CREATE FUNCTION @extschema@.kpx_forget_user(user_id text)
RETURNS TABLE (relation text, removed bigint)
AS 'MODULE_PATHNAME', 'kpx_forget_user' LANGUAGE C VOLATILE ROWS 10;
COMMENT ON FUNCTION @extschema@.kpx_forget_user(text) IS
'kpx_forget_user for untyped literals and text ids';
REVOKE ALL ON FUNCTION @extschema@.kpx_forget_user(text) FROM PUBLIC;
