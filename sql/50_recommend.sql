-- recommend: the answers. All read the user's history live, as the caller.
--
-- Each answer comes in up to three forms, by the type of the ids:
--   anyelement           items have ids of the type the user (or item) has
--   item_type witness    items have another type: pass e.g. NULL::text
--   text                 untyped literals; ids come back as text
--
-- candidates and exclude are arrays of item ids. They are declared "any" because a
-- polymorphic array cannot have a default; the library checks them, and reads untyped
-- literals such as '{1,2}'.

CREATE FUNCTION @extschema@.kpx_recommend(
	user_id anyelement, module text, k integer DEFAULT 10,
	keep_seen boolean DEFAULT false, candidates "any" DEFAULT NULL, exclude "any" DEFAULT NULL,
	skip integer DEFAULT 0, model bigint DEFAULT NULL)
RETURNS TABLE (rank integer, item_id anyelement, score real, reason text)
AS 'MODULE_PATHNAME', 'kpx_recommend' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;
COMMENT ON FUNCTION @extschema@.kpx_recommend(anyelement, text, integer, boolean, "any", "any", integer, bigint) IS
'the k best items of a module for a user, most relevant first, with the reason: the past item that spoke loudest, or popular';

CREATE FUNCTION @extschema@.kpx_recommend(
	user_id anyelement, module text, item_type anycompatible, k integer DEFAULT 10,
	keep_seen boolean DEFAULT false, candidates "any" DEFAULT NULL, exclude "any" DEFAULT NULL,
	skip integer DEFAULT 0, model bigint DEFAULT NULL)
RETURNS TABLE (rank integer, item_id anycompatible, score real, reason text)
AS 'MODULE_PATHNAME', 'kpx_recommend_typed' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;
COMMENT ON FUNCTION @extschema@.kpx_recommend(anyelement, text, anycompatible, integer, boolean, "any", "any", integer, bigint) IS
'kpx_recommend for modules whose item ids have another type than user ids, given by the witness item_type';

CREATE FUNCTION @extschema@.kpx_recommend(
	user_id text, module text, k integer DEFAULT 10,
	keep_seen boolean DEFAULT false, candidates "any" DEFAULT NULL, exclude "any" DEFAULT NULL,
	skip integer DEFAULT 0, model bigint DEFAULT NULL)
RETURNS TABLE (rank integer, item_id text, score real, reason text)
AS 'MODULE_PATHNAME', 'kpx_recommend_text' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;
COMMENT ON FUNCTION @extschema@.kpx_recommend(text, text, integer, boolean, "any", "any", integer, bigint) IS
'kpx_recommend for untyped literals: ids are read and returned as text';

CREATE FUNCTION @extschema@.kpx_recommend_from(
	items anyarray, source_module text, module text, k integer DEFAULT 10,
	keep_seen boolean DEFAULT false, candidates "any" DEFAULT NULL, exclude "any" DEFAULT NULL,
	skip integer DEFAULT 0, model bigint DEFAULT NULL)
RETURNS TABLE (rank integer, item_id anyelement, score real, reason text)
AS 'MODULE_PATHNAME', 'kpx_recommend_from' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;
COMMENT ON FUNCTION @extschema@.kpx_recommend_from(anyarray, text, text, integer, boolean, "any", "any", integer, bigint) IS
'the k best items of a module for a visitor or cart known only by these items of source_module';

CREATE FUNCTION @extschema@.kpx_recommend_from(
	items anyarray, source_module text, module text, item_type anycompatible, k integer DEFAULT 10,
	keep_seen boolean DEFAULT false, candidates "any" DEFAULT NULL, exclude "any" DEFAULT NULL,
	skip integer DEFAULT 0, model bigint DEFAULT NULL)
RETURNS TABLE (rank integer, item_id anycompatible, score real, reason text)
AS 'MODULE_PATHNAME', 'kpx_recommend_from_typed' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;
COMMENT ON FUNCTION @extschema@.kpx_recommend_from(anyarray, text, text, anycompatible, integer, boolean, "any", "any", integer, bigint) IS
'kpx_recommend_from for a target module whose item ids have another type, given by the witness item_type';

CREATE FUNCTION @extschema@.kpx_recommend_for(
	user_ids anyarray, module text, k integer DEFAULT 10, keep_seen boolean DEFAULT false, model bigint DEFAULT NULL)
RETURNS TABLE (user_id anyelement, rank integer, item_id anyelement, score real, reason text)
AS 'MODULE_PATHNAME', 'kpx_recommend_for' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 1000;
COMMENT ON FUNCTION @extschema@.kpx_recommend_for(anyarray, text, integer, boolean, bigint) IS
'kpx_recommend for many users at once, by matrix products';

CREATE FUNCTION @extschema@.kpx_recommend_for(
	user_ids anyarray, module text, item_type anycompatible, k integer DEFAULT 10, keep_seen boolean DEFAULT false, model bigint DEFAULT NULL)
RETURNS TABLE (user_id anyelement, rank integer, item_id anycompatible, score real, reason text)
AS 'MODULE_PATHNAME', 'kpx_recommend_for_typed' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 1000;
COMMENT ON FUNCTION @extschema@.kpx_recommend_for(anyarray, text, anycompatible, integer, boolean, bigint) IS
'kpx_recommend_for with item ids of another type than user ids, given by the witness item_type';

CREATE FUNCTION @extschema@.kpx_similar(
	item_id anyelement, module text, k integer DEFAULT 10, target text DEFAULT NULL, model bigint DEFAULT NULL, by text DEFAULT NULL)
RETURNS TABLE (rank integer, item_id anyelement, score real)
AS 'MODULE_PATHNAME', 'kpx_similar' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;
COMMENT ON FUNCTION @extschema@.kpx_similar(anyelement, text, integer, text, bigint, text) IS
'the k items of the target module (default: the same) nearest to an item, by content, behaviour or both, as far as the model has them';

CREATE FUNCTION @extschema@.kpx_similar(
	item_id anyelement, module text, item_type anycompatible, k integer DEFAULT 10, target text DEFAULT NULL, model bigint DEFAULT NULL, by text DEFAULT NULL)
RETURNS TABLE (rank integer, item_id anycompatible, score real)
AS 'MODULE_PATHNAME', 'kpx_similar_typed' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;
COMMENT ON FUNCTION @extschema@.kpx_similar(anyelement, text, anycompatible, integer, text, bigint, text) IS
'kpx_similar for a target module whose item ids have another type, given by the witness item_type';

CREATE FUNCTION @extschema@.kpx_similar(
	item_id text, module text, k integer DEFAULT 10, target text DEFAULT NULL, model bigint DEFAULT NULL, by text DEFAULT NULL)
RETURNS TABLE (rank integer, item_id text, score real)
AS 'MODULE_PATHNAME', 'kpx_similar_text' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 10;
COMMENT ON FUNCTION @extschema@.kpx_similar(text, text, integer, text, bigint, text) IS
'kpx_similar for untyped literals: ids are read and returned as text';

CREATE FUNCTION @extschema@.kpx_score(
	user_id anyelement, module text, item_id anycompatible, model bigint DEFAULT NULL)
RETURNS real
AS 'MODULE_PATHNAME', 'kpx_score' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000;
COMMENT ON FUNCTION @extschema@.kpx_score(anyelement, text, anycompatible, bigint) IS
'the score kpx_recommend would give this item for this user; 0 for an item the model does not know';

CREATE FUNCTION @extschema@.kpx_score(
	user_id text, module text, item_id anycompatible, model bigint DEFAULT NULL)
RETURNS real
AS 'MODULE_PATHNAME', 'kpx_score_text' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000;
COMMENT ON FUNCTION @extschema@.kpx_score(text, text, anycompatible, bigint) IS
'kpx_score for untyped literals';

CREATE FUNCTION @extschema@.kpx_explain(
	user_id anyelement, module text, item_id anycompatible, model bigint DEFAULT NULL)
RETURNS TABLE (module text, item_id text, weight real, contribution double precision)
AS 'MODULE_PATHNAME', 'kpx_explain' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 100;
COMMENT ON FUNCTION @extschema@.kpx_explain(anyelement, text, anycompatible, bigint) IS
'how much each past item of the user, of any module, contributed to the score of an item; the parts sum to the score';

CREATE FUNCTION @extschema@.kpx_explain(
	user_id text, module text, item_id anycompatible, model bigint DEFAULT NULL)
RETURNS TABLE (module text, item_id text, weight real, contribution double precision)
AS 'MODULE_PATHNAME', 'kpx_explain_text' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 100;
COMMENT ON FUNCTION @extschema@.kpx_explain(text, text, anycompatible, bigint) IS
'kpx_explain for untyped literals';
