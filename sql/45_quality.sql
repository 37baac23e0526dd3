-- quality: rows that cannot be, or hardly.

CREATE FUNCTION @extschema@.kpx_data_quality(module text, burst integer DEFAULT 60)
RETURNS TABLE (source_id integer, relation text, rule text, bad_rows bigint, of_rows bigint, example text, treatment text)
AS 'MODULE_PATHNAME', 'kpx_data_quality' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 20;
COMMENT ON FUNCTION @extschema@.kpx_data_quality(text, integer) IS
'counts rows of a module''s event sources that break a rule: missing ids, unknown items, impossible times, weights and values, duplicates, bursts of events in a minute';
