-- update: between trainings.

CREATE FUNCTION @extschema@.kpx_update_items(
	module text, growth double precision DEFAULT 0.05, since timestamptz DEFAULT NULL,
	OUT model bigint, OUT events bigint, OUT users bigint, OUT items_updated bigint, OUT items_added bigint)
RETURNS record AS 'MODULE_PATHNAME', 'kpx_update_items' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION @extschema@.kpx_update_items(text, double precision, timestamptz) IS
'solves the vectors of items with new events, and of new items, of the module''s active model of algorithm ials, without training again';
