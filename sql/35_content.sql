-- content: items that came after training.

CREATE FUNCTION @extschema@.kpx_refresh_items(module text)
RETURNS bigint AS 'MODULE_PATHNAME', 'kpx_refresh_items' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 100000;
COMMENT ON FUNCTION @extschema@.kpx_refresh_items(text) IS
'adds the items of the item tables that the module''s active model does not have, by their content; returns how many';
