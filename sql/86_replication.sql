-- replication: what a cluster that only serves needs of one that trains, by logical replication.

-- Apply workers fire no statement triggers, and only those triggers that are told to: a row trigger for what they
-- change row by row, the statement trigger for the first copy of a table and for TRUNCATE.
DO $$
DECLARE
	t pg_catalog.regclass;
BEGIN
	FOR t IN SELECT g.tgrelid FROM pg_catalog.pg_trigger g
		WHERE g.tgfoid OPERATOR(pg_catalog.=) 'kpx.invalidate'::pg_catalog.regproc ORDER BY g.tgrelid
	LOOP
		EXECUTE pg_catalog.format('ALTER TABLE %s ENABLE ALWAYS TRIGGER invalidate', t);
		EXECUTE pg_catalog.format('CREATE TRIGGER invalidate_replicated AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION kpx.invalidate()', t);
		EXECUTE pg_catalog.format('ALTER TABLE %s ENABLE REPLICA TRIGGER invalidate_replicated', t);
	END LOOP;
END $$;

CREATE VIEW @extschema@.kpx_serving_tables WITH (security_barrier) AS
SELECT c.oid::pg_catalog.regclass AS relation, pg_catalog.obj_description(c.oid, 'pg_class') AS holds
FROM pg_catalog.pg_class c
WHERE c.oid OPERATOR(pg_catalog.=) ANY (ARRAY[
	'kpx.module', 'kpx.event_source', 'kpx.attribute_source',
	'kpx.model', 'kpx.model_module', 'kpx.model_part', 'kpx.model_block', 'kpx.active_model', 'kpx.activation', 'kpx.traffic',
	'kpx.segmentation', 'kpx.segment_feature', 'kpx.segment', 'kpx.segment_item', 'kpx.segment_member',
	'kpx.rule_set', 'kpx.rule', 'kpx.rule_item', 'kpx.trending',
	'kpx.consent', 'kpx.consent_source', 'kpx.consent_rule',
	'kpx.policy', 'kpx.ranker', 'kpx.item_rate']::pg_catalog.regclass[]);
COMMENT ON VIEW @extschema@.kpx_serving_tables IS 'the tables that a publication names so that another cluster serves what this one trains';
COMMENT ON COLUMN @extschema@.kpx_serving_tables.relation IS 'the table';
COMMENT ON COLUMN @extschema@.kpx_serving_tables.holds IS 'what is in it';
GRANT SELECT ON @extschema@.kpx_serving_tables TO PUBLIC;
