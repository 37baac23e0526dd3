-- factor: training.

CREATE FUNCTION @extschema@.kpx_train(
	modules text[], algorithm text DEFAULT 'ials', params jsonb DEFAULT '{}',
	name text DEFAULT NULL, activate boolean DEFAULT true,
	OUT model bigint, OUT name text, OUT modules text[], OUT users bigint, OUT items bigint,
	OUT interactions bigint, OUT iterations integer, OUT loss double precision,
	OUT read_seconds real, OUT train_seconds real, OUT store_seconds real)
RETURNS record AS 'MODULE_PATHNAME', 'kpx_train' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION @extschema@.kpx_train(text[], text, jsonb, text, boolean) IS
'trains one joint model over these modules from their event sources, as the caller; returns one row about it';

CREATE FUNCTION @extschema@.kpx_train(
	module text, algorithm text DEFAULT 'ials', params jsonb DEFAULT '{}',
	name text DEFAULT NULL, activate boolean DEFAULT true,
	OUT model bigint, OUT name text, OUT modules text[], OUT users bigint, OUT items bigint,
	OUT interactions bigint, OUT iterations integer, OUT loss double precision,
	OUT read_seconds real, OUT train_seconds real, OUT store_seconds real)
RETURNS record AS 'MODULE_PATHNAME', 'kpx_train_module' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION @extschema@.kpx_train(text, text, jsonb, text, boolean) IS
'trains a model of one module';
