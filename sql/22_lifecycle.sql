-- lifecycle: from one model to the next, and back.

CREATE FUNCTION @extschema@.kpx_rollback(modules text[])
RETURNS TABLE (module text, model bigint, was bigint)
AS 'MODULE_PATHNAME', 'kpx_rollback' LANGUAGE C VOLATILE ROWS 5;
COMMENT ON FUNCTION @extschema@.kpx_rollback(text[]) IS
'makes the model that answered for each of these modules before the active one answer again';

CREATE FUNCTION @extschema@.kpx_retain(versions integer, name text DEFAULT NULL)
RETURNS TABLE (model bigint, name text, version integer, bytes bigint)
AS 'MODULE_PATHNAME', 'kpx_retain' LANGUAGE C VOLATILE ROWS 10;
COMMENT ON FUNCTION @extschema@.kpx_retain(integer, text) IS
'deletes the models of the current role that are not among the newest versions of their name and of no use any more; returns them';

CREATE FUNCTION @extschema@.kpx_set_traffic(model bigint, share double precision, modules text[] DEFAULT NULL)
RETURNS void AS 'MODULE_PATHNAME', 'kpx_set_traffic' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION @extschema@.kpx_set_traffic(bigint, double precision, text[]) IS
'lets a model answer a fixed share of the users of its modules (default: all its modules) in place of the active one; 0 ends it';

CREATE FUNCTION @extschema@.kpx_model_for(user_id text, module text)
RETURNS bigint AS 'MODULE_PATHNAME', 'kpx_model_for' LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION @extschema@.kpx_model_for(text, text) IS
'the model that answers this user in this module: the active one or a challenger; NULL: none';
