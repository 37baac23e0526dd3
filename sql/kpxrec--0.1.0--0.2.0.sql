\echo Use "ALTER EXTENSION kpxrec UPDATE" to load this file. \quit
-- From 0.1.0 to 0.2.0: what is changed in a file of sql/ is changed here too, under the name of that file.
-- How, and what to heed: docs/architecture.md, "Changing what CREATE EXTENSION makes". test/pgtap/upgrade.sql
-- compares the outcome with an installation from nothing.

SET LOCAL search_path = pg_catalog, pg_temp;

-- ---------------------------------------------------------------- 00_kpxrec.sql


-- ---------------------------------------------------------------- 10_module.sql


-- ---------------------------------------------------------------- 20_model.sql


-- ---------------------------------------------------------------- 22_lifecycle.sql


-- ---------------------------------------------------------------- 24_transfer.sql


-- ---------------------------------------------------------------- 30_factor.sql


-- ---------------------------------------------------------------- 32_estimate.sql


-- ---------------------------------------------------------------- 35_content.sql


-- ---------------------------------------------------------------- 36_update.sql


-- ---------------------------------------------------------------- 40_profile.sql


-- ---------------------------------------------------------------- 42_segment.sql


-- ---------------------------------------------------------------- 45_quality.sql


-- ---------------------------------------------------------------- 45_rules.sql


-- ---------------------------------------------------------------- 50_recommend.sql


-- ---------------------------------------------------------------- 52_trending.sql


-- ---------------------------------------------------------------- 55_audience.sql


-- ---------------------------------------------------------------- 60_evaluate.sql


-- ---------------------------------------------------------------- 62_tune.sql


-- ---------------------------------------------------------------- 66_forget.sql


-- ---------------------------------------------------------------- 68_consent.sql


-- ---------------------------------------------------------------- 70_policy.sql


-- ---------------------------------------------------------------- 71_ranking.sql


-- ---------------------------------------------------------------- 72_feedback.sql


-- ---------------------------------------------------------------- 74_noise.sql


-- ---------------------------------------------------------------- 80_job.sql


-- ---------------------------------------------------------------- 82_monitor.sql


-- ---------------------------------------------------------------- 84_recommendation.sql


-- ---------------------------------------------------------------- 90_report.sql


-- ---------------------------------------------------------------- 91_report_words.sql


-- ---------------------------------------------------------------- 92_report_models.sql


-- ---------------------------------------------------------------- 93_report_operations.sql


-- ---------------------------------------------------------------- 93_report_users.sql


-- ---------------------------------------------------------------- 94_report_page.sql


-- ---------------------------------------------------------------- 99_grant.sql

-- As in 99_grant.sql, for what is new.
DO $$
DECLARE
	f pg_catalog.regprocedure;
BEGIN
	FOR f IN SELECT p.oid FROM pg_catalog.pg_proc p
		JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
			AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'
		JOIN pg_catalog.pg_extension e ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
			AND e.oid OPERATOR(pg_catalog.=) d.refobjid AND e.extname OPERATOR(pg_catalog.=) 'kpxrec'
		WHERE p.provolatile OPERATOR(pg_catalog.=) 'v' AND p.pronamespace OPERATOR(pg_catalog.<>) 'kpx'::pg_catalog.regnamespace
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
	END LOOP;
END $$;
