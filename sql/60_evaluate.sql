-- evaluate: how good the answers are, by full ranking of all items a user has not seen.

CREATE FUNCTION @extschema@.kpx_evaluate(
	modules text[], k integer DEFAULT 10, split text DEFAULT 'leave_one_out',
	algorithm text DEFAULT 'ials', params jsonb DEFAULT '{}',
	held_out regclass DEFAULT NULL, seed bigint DEFAULT 1)
RETURNS TABLE (module text, metric text, value double precision, std_error double precision,
	popularity double precision, popularity_std_error double precision, users bigint)
AS 'MODULE_PATHNAME', 'kpx_evaluate' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 12;
COMMENT ON FUNCTION @extschema@.kpx_evaluate(text[], integer, text, text, jsonb, regclass, bigint) IS
'trains without held-out events and ranks all items for their users: metrics at k by module, next to popularity';

CREATE FUNCTION @extschema@.kpx_recall(recommended anyarray, relevant anyarray, k integer DEFAULT NULL)
RETURNS double precision
AS 'MODULE_PATHNAME', 'kpx_recall' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_recall(anyarray, anyarray, integer) IS
'share of the relevant items that are among the first k recommended; k NULL = the whole list';

CREATE FUNCTION @extschema@.kpx_hit_rate(recommended anyarray, relevant anyarray, k integer DEFAULT NULL)
RETURNS double precision
AS 'MODULE_PATHNAME', 'kpx_hit_rate' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_hit_rate(anyarray, anyarray, integer) IS
'1 when any of the first k recommended items is relevant, else 0; k NULL = the whole list';

CREATE FUNCTION @extschema@.kpx_ndcg(recommended anyarray, relevant anyarray, k integer DEFAULT NULL)
RETURNS double precision
AS 'MODULE_PATHNAME', 'kpx_ndcg' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_ndcg(anyarray, anyarray, integer) IS
'normalised discounted cumulative gain of the first k recommended items, binary relevance; k NULL = the whole list';

CREATE FUNCTION @extschema@.kpx_mrr(recommended anyarray, relevant anyarray, k integer DEFAULT NULL)
RETURNS double precision
AS 'MODULE_PATHNAME', 'kpx_mrr' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_mrr(anyarray, anyarray, integer) IS
'reciprocal rank of the first relevant item among the first k recommended, else 0; k NULL = the whole list';

CREATE FUNCTION @extschema@.kpx_average_precision(recommended anyarray, relevant anyarray, k integer DEFAULT NULL)
RETURNS double precision
AS 'MODULE_PATHNAME', 'kpx_average_precision' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.kpx_average_precision(anyarray, anyarray, integer) IS
'average precision of the first k recommended items; k NULL = the whole list';
