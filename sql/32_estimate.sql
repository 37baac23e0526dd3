-- estimate: what a training would take.

CREATE FUNCTION @extschema@.kpx_train_estimate(
	modules text[], algorithm text DEFAULT 'ials', params jsonb DEFAULT '{}', exact boolean DEFAULT false,
	OUT events bigint, OUT users bigint, OUT items bigint, OUT interactions bigint, OUT rows_from text,
	OUT memory_bytes bigint, OUT memory_limit bigint, OUT model_bytes bigint,
	OUT read_seconds double precision, OUT train_seconds double precision, OUT workers integer, OUT refused text)
RETURNS record AS 'MODULE_PATHNAME', 'kpx_train_estimate' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000;
COMMENT ON FUNCTION @extschema@.kpx_train_estimate(text[], text, jsonb, boolean) IS
'rows, memory and seconds that kpx_train with these arguments would take, and what would be refused, without training';
