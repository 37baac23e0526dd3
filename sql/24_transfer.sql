-- transfer: a model as one value, from one cluster to another.

CREATE FUNCTION @extschema@.kpx_export_model(model bigint)
RETURNS bytea AS 'MODULE_PATHNAME', 'kpx_export_model' LANGUAGE C STABLE PARALLEL RESTRICTED STRICT;
COMMENT ON FUNCTION @extschema@.kpx_export_model(bigint) IS
'a whole model as one checksummed value, for kpx_import_model in another database or cluster';

CREATE FUNCTION @extschema@.kpx_import_model(data bytea, name text DEFAULT NULL)
RETURNS bigint AS 'MODULE_PATHNAME', 'kpx_import_model' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION @extschema@.kpx_import_model(bytea, text) IS
'stores a model that kpx_export_model wrote, under its name or another, as the next version; activates nothing; returns its number';
