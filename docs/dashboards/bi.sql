-- bi.sql: lets a BI role read what kpxrec knows of your modules, and nothing else of theirs.
--
--   psql -v role=bi -v schema=bi -f docs/dashboards/bi.sql     as the owner of the modules
--
-- The views of kpxrec show each role what it owns. A member of the owner's role would see them, and all
-- raw events, too. So the owner makes functions here that look with the owner's eyes, and views over
-- them; the BI role may read these. Run it again after an update of kpxrec.
\set ON_ERROR_STOP on
BEGIN;
SELECT n.nspname AS kpxrec FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'kpxrec' \gset
CREATE SCHEMA IF NOT EXISTS :"schema";
GRANT USAGE ON SCHEMA :"schema" TO :"role";
SELECT format($f$
	DROP FUNCTION IF EXISTS %1$I.%2$I() CASCADE;
	CREATE FUNCTION %1$I.%2$I() RETURNS SETOF %3$I.%4$I LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
		AS 'SELECT * FROM %3$I.%4$I';
	REVOKE ALL ON FUNCTION %1$I.%2$I() FROM PUBLIC;
	GRANT EXECUTE ON FUNCTION %1$I.%2$I() TO %5$I;
	CREATE VIEW %1$I.%2$I AS SELECT * FROM %1$I.%2$I();
	GRANT SELECT ON %1$I.%2$I TO %5$I;
$f$, :'schema', substr(v, 5), :'kpxrec', v, :'role')
FROM unnest('{kpx_modules,kpx_models,kpx_model_metrics,kpx_model_effect,kpx_training_log,kpx_trials,kpx_segments,kpx_rules,kpx_policies,kpx_policy_effect,kpx_funnel,kpx_recommendation_views,kpx_stat_recommend,kpx_stat_module,kpx_stat_drift,kpx_jobs,kpx_job_runs}'::text[]) v
WHERE to_regclass(format('%I.%I', :'kpxrec', v)) IS NOT NULL \gexec
COMMIT;
