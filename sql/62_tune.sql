-- tune: which algorithm and which parameters, by measurement.

CREATE SEQUENCE kpx.trial_run_seq;
CREATE TABLE kpx.trial (
	run bigint NOT NULL,
	trial integer NOT NULL,
	modules text[] NOT NULL,
	target text,
	algorithm text NOT NULL,
	params jsonb NOT NULL,
	split text NOT NULL,
	metric text NOT NULL,
	k integer NOT NULL,
	seed bigint NOT NULL,
	share double precision NOT NULL,
	value double precision NOT NULL,
	std_error double precision NOT NULL,
	by_module double precision[] NOT NULL,
	seconds double precision NOT NULL,
	owner name NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (run, trial)
);
COMMENT ON TABLE kpx.trial IS 'trials of kpx_tune: parameters and how they did';
COMMENT ON COLUMN kpx.trial.share IS 'share of the users with held-out events that the value was measured on; only those of 1 saw all';

SELECT pg_catalog.pg_extension_config_dump('kpx.trial', '');
SELECT pg_catalog.pg_extension_config_dump('kpx.trial_run_seq', '');

CREATE FUNCTION @extschema@.kpx_tune(
	modules text[], algorithm text[] DEFAULT '{ials,ease,itemknn}', trials integer DEFAULT 27, params jsonb DEFAULT '{}',
	split text DEFAULT 'leave_one_out', metric text DEFAULT 'ndcg', k integer DEFAULT 10,
	time_budget interval DEFAULT NULL, target text DEFAULT NULL, seed bigint DEFAULT 1)
RETURNS TABLE (run bigint, trial integer, algorithm text, value double precision, std_error double precision,
	share double precision, seconds double precision, params jsonb)
AS 'MODULE_PATHNAME', 'kpx_tune' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 27;
COMMENT ON FUNCTION @extschema@.kpx_tune(text[], text[], integer, jsonb, text, text, integer, interval, text, bigint) IS
'random search with successive halving over algorithms and parameters, on held-out events; the best first';

CREATE FUNCTION @extschema@.kpx_tune(
	modules text[], algorithm text, trials integer DEFAULT 27, params jsonb DEFAULT '{}',
	split text DEFAULT 'leave_one_out', metric text DEFAULT 'ndcg', k integer DEFAULT 10,
	time_budget interval DEFAULT NULL, target text DEFAULT NULL, seed bigint DEFAULT 1)
RETURNS TABLE (run bigint, trial integer, algorithm text, value double precision, std_error double precision,
	share double precision, seconds double precision, params jsonb)
AS 'MODULE_PATHNAME', 'kpx_tune_one' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 27;
COMMENT ON FUNCTION @extschema@.kpx_tune(text[], text, integer, jsonb, text, text, integer, interval, text, bigint) IS
'kpx_tune of one algorithm';

CREATE VIEW @extschema@.kpx_trials WITH (security_barrier) AS
SELECT t.run, t.trial, t.modules, t.target, t.algorithm, t.value, t.std_error, t.share, t.by_module, t.params, t.split,
	t.metric, t.k, t.seed, t.seconds, t.owner, t.created_at
FROM kpx.trial t
WHERE kpx.member_of(t.owner);
COMMENT ON VIEW @extschema@.kpx_trials IS 'trials of kpx_tune by roles the current role is a member of';
COMMENT ON COLUMN @extschema@.kpx_trials.run IS 'number of the call of kpx_tune';
COMMENT ON COLUMN @extschema@.kpx_trials.trial IS 'number of the trial in it';
COMMENT ON COLUMN @extschema@.kpx_trials.modules IS 'modules trained on';
COMMENT ON COLUMN @extschema@.kpx_trials.target IS 'the module it was judged on; NULL: all';
COMMENT ON COLUMN @extschema@.kpx_trials.algorithm IS 'what was tried';
COMMENT ON COLUMN @extschema@.kpx_trials.value IS 'the metric, mean over users';
COMMENT ON COLUMN @extschema@.kpx_trials.std_error IS 'of the value';
COMMENT ON COLUMN @extschema@.kpx_trials.share IS 'of the users with held-out events that it was judged on; trials with 1 saw all';
COMMENT ON COLUMN @extschema@.kpx_trials.by_module IS 'the metric by module, in the order of modules';
COMMENT ON COLUMN @extschema@.kpx_trials.params IS 'what was tried';
COMMENT ON COLUMN @extschema@.kpx_trials.split IS 'how events were held out';
COMMENT ON COLUMN @extschema@.kpx_trials.metric IS 'what was measured';
COMMENT ON COLUMN @extschema@.kpx_trials.k IS 'length of the list that was judged';
COMMENT ON COLUMN @extschema@.kpx_trials.seed IS 'of the split and of the search';
COMMENT ON COLUMN @extschema@.kpx_trials.seconds IS 'of training and judging';
COMMENT ON COLUMN @extschema@.kpx_trials.owner IS 'who tuned';
COMMENT ON COLUMN @extschema@.kpx_trials.created_at IS 'when';
GRANT SELECT ON @extschema@.kpx_trials TO PUBLIC;

CREATE FUNCTION @extschema@.kpx_best_params(modules text[], algorithm text DEFAULT NULL, run bigint DEFAULT NULL)
RETURNS jsonb LANGUAGE SQL STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
	SELECT t.params FROM @extschema@.kpx_trials t
	WHERE t.modules OPERATOR(pg_catalog.=) kpx_best_params.modules
		AND (kpx_best_params.algorithm IS NULL OR t.algorithm OPERATOR(pg_catalog.=) kpx_best_params.algorithm)
		AND (kpx_best_params.run IS NULL OR t.run OPERATOR(pg_catalog.=) kpx_best_params.run)
	ORDER BY t.run DESC, t.share DESC, t.value DESC, t.trial
	LIMIT 1;
END;
COMMENT ON FUNCTION @extschema@.kpx_best_params(text[], text, bigint) IS
'params of the best trial of the newest run of kpx_tune over these modules, for kpx_train and kpx_evaluate; NULL without one';
