-- feedback: what a policy earned, and what another would have.

CREATE FUNCTION @extschema@.kpx_evaluate_policy(
	log regclass, action text DEFAULT 'action', propensity text DEFAULT 'propensity', reward text DEFAULT 'reward',
	probability text DEFAULT 'probability', context text DEFAULT NULL,
	predicted text DEFAULT NULL, baseline text DEFAULT NULL, unit text DEFAULT NULL,
	estimators text[] DEFAULT NULL, params jsonb DEFAULT '{}')
RETURNS TABLE (estimator text, value double precision, std_error double precision, low double precision,
	high double precision, effective_sample_size double precision, rows bigint)
AS 'MODULE_PATHNAME', 'kpx_evaluate_log' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 7;
COMMENT ON FUNCTION @extschema@.kpx_evaluate_policy(regclass, text, text, text, text, text, text, text, text, text[], jsonb) IS
'what a policy would have earned a row, from any relation that logs what another policy showed: off-policy estimates';
