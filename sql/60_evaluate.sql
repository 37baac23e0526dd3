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

CREATE FUNCTION @extschema@.kpx_evaluate_model(
	model bigint, k integer DEFAULT 10, split text DEFAULT 'leave_one_out', held_out regclass DEFAULT NULL, seed bigint DEFAULT 1)
RETURNS TABLE (module text, metric text, value double precision, std_error double precision,
	popularity double precision, popularity_std_error double precision, users bigint)
AS 'MODULE_PATHNAME', 'kpx_evaluate_model' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 12;
COMMENT ON FUNCTION @extschema@.kpx_evaluate_model(bigint, integer, text, regclass, bigint) IS
'kpx_evaluate of a stored model''s modules, algorithm and parameters, kept with it for kpx_model_metrics';

CREATE VIEW @extschema@.kpx_model_metrics WITH (security_barrier) AS
SELECT m.id AS model, m.name, m.version, j.key AS measured_by, j.value OPERATOR(pg_catalog.->>) 'split' AS split, r.module, r.metric,
	r.value, r.std_error, r.popularity, r.popularity_std_error, r.users,
	(j.value OPERATOR(pg_catalog.->>) 'measured_at')::timestamptz AS measured_at
FROM kpx.model m, pg_catalog.jsonb_each(m.metrics) j,
	pg_catalog.jsonb_to_recordset(CASE pg_catalog.jsonb_typeof(j.value OPERATOR(pg_catalog.->) 'rows') WHEN 'array' THEN j.value OPERATOR(pg_catalog.->) 'rows' END) r(
		module text, metric text, value double precision, std_error double precision, popularity double precision,
		popularity_std_error double precision, users bigint)
WHERE kpx.may_use_model(m.id);
COMMENT ON VIEW @extschema@.kpx_model_metrics IS
'what models reached on held-out events, beside popularity; the last measurement of each kind, of models that the current role may use';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.model IS 'number of the model';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.name IS 'what it is trained under';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.version IS 'counts the trainings of this name';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.measured_by IS
'evaluation: kpx_evaluate_model, a model of the same parameters trained without the held-out events; guard: the model itself, when a job trained it';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.split IS
'what was held out: leave_one_out, last_by_time, random, held_out (a relation), or newest (what came after the model before it was made)';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.module IS 'module that was ranked';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.metric IS 'metric@k, as kpx_evaluate returns it';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.value IS 'of the model, mean over users; NULL: nobody had anything held out';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.std_error IS 'of value; NULL for coverage';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.popularity IS 'the same of recommending the most popular items, for the same users';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.popularity_std_error IS 'of popularity; NULL for coverage';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.users IS 'users who had something held out';
COMMENT ON COLUMN @extschema@.kpx_model_metrics.measured_at IS 'when it was measured';
GRANT SELECT ON @extschema@.kpx_model_metrics TO PUBLIC;

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
