-- audience: who would want an item.

CREATE FUNCTION @extschema@.kpx_audience(
	item_id anyelement, module text, k integer DEFAULT 100, users regclass DEFAULT NULL,
	keep_seen boolean DEFAULT false, model bigint DEFAULT NULL)
RETURNS TABLE (rank integer, user_id anyelement, score real)
AS 'MODULE_PATHNAME', 'kpx_audience' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 100;
COMMENT ON FUNCTION @extschema@.kpx_audience(anyelement, text, integer, regclass, boolean, bigint) IS
'the k users who score an item highest, of those in column user_id of users, or of all with events';

CREATE FUNCTION @extschema@.kpx_audience(
	item_id anyelement, module text, user_type anycompatible, k integer DEFAULT 100, users regclass DEFAULT NULL,
	keep_seen boolean DEFAULT false, model bigint DEFAULT NULL)
RETURNS TABLE (rank integer, user_id anycompatible, score real)
AS 'MODULE_PATHNAME', 'kpx_audience_typed' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 100;
COMMENT ON FUNCTION @extschema@.kpx_audience(anyelement, text, anycompatible, integer, regclass, boolean, bigint) IS
'kpx_audience for user ids of another type than item ids, given by the witness user_type';

CREATE FUNCTION @extschema@.kpx_audience(
	item_id text, module text, k integer DEFAULT 100, users regclass DEFAULT NULL,
	keep_seen boolean DEFAULT false, model bigint DEFAULT NULL)
RETURNS TABLE (rank integer, user_id text, score real)
AS 'MODULE_PATHNAME', 'kpx_audience_text' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 100;
COMMENT ON FUNCTION @extschema@.kpx_audience(text, text, integer, regclass, boolean, bigint) IS
'kpx_audience for untyped literals: ids are read and returned as text';
