-- catalog: lint of what CREATE EXTENSION made.
BEGIN;
SELECT plan(28);
CREATE TEMP VIEW members AS
SELECT p.oid::regprocedure::text AS signature, p.*, n.nspname
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'kpxrec' JOIN pg_namespace n ON n.oid = p.pronamespace;
SELECT cmp_ok((SELECT count(*) FROM members), '>', 30::bigint, 'the view sees the functions');
SELECT is_empty($$SELECT signature FROM members WHERE obj_description(oid, 'pg_proc') IS NULL$$, 'every function has a comment');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'kpxrec' WHERE c.relkind IN ('r', 'v') AND obj_description(c.oid, 'pg_class') IS NULL$$,
	'every table and view has a comment');
SELECT is_empty($$SELECT a.attrelid::regclass || '.' || a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'v' AND a.attnum > 0
	JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'kpxrec'
	WHERE col_description(a.attrelid, a.attnum) IS NULL$$, 'every column of every view has a comment');
SELECT is_empty($$SELECT signature FROM members WHERE nspname <> 'kpx' AND proname !~ '^kpx_'$$, 'names outside schema kpx start with kpx_');
SELECT is_empty($$SELECT signature FROM members WHERE prosecdef AND NOT coalesce(array_to_string(proconfig, ',') ~ 'search_path=pg_catalog.*pg_temp', false)$$,
	'SECURITY DEFINER only with a pinned search_path');
SELECT is_empty($$SELECT signature FROM members WHERE prokind <> 'a' AND prosqlbody IS NULL AND prolang NOT IN (SELECT oid FROM pg_language WHERE lanname = 'c')$$, 'all functions are C, or SQL bound when created');
-- volatility and parallel safety
SELECT set_eq($$SELECT DISTINCT proname::text FROM members WHERE provolatile = 'v'$$,
	ARRAY['kpx_rollback', 'kpx_retain', 'kpx_set_traffic', 'kpx_import_model', 'kpx_refresh_trending', 'kpx_train_estimate', 'kpx_update_items',
		'kpx_cluster', 'kpx_drop_segments', 'kpx_add_module', 'kpx_drop_module', 'kpx_add_events', 'kpx_drop_events', 'kpx_add_user_attributes', 'kpx_drop_user_attributes',
		'kpx_activate', 'kpx_drop_model', 'kpx_forget_user', 'kpx_set_consent', 'kpx_add_consent_source', 'kpx_drop_consent_source', 'kpx_require_consent', 'kpx_publish', 'kpx_grant', 'kpx_refresh_items', 'kpx_train', 'kpx_evaluate', 'kpx_evaluate_model', 'kpx_tune', 'kpx_mine_rules', 'invalidate',
		'kpx_schedule', 'kpx_alter_job', 'kpx_unschedule', 'kpx_run_now', 'kpx_pause', 'kpx_resume',
		'stat_progress',
		'stat_recommend', 'kpx_stat_reset', 'kpx_measure',
		'kpx_create_recommendation_view', 'kpx_refresh_recommendations', 'kpx_drop_recommendation_view',
		'kpx_optimize_policy', 'kpx_set_policy', 'kpx_recommend_slate', 'kpx_feedback', 'kpx_attribute', 'kpx_expire_impressions', 'kpx_train_ranker'], 'what writes or trains is VOLATILE, and only that');
SELECT set_eq($$SELECT DISTINCT proname::text FROM members WHERE provolatile = 'i'$$,
	ARRAY['kpx_recall', 'kpx_hit_rate', 'kpx_ndcg', 'kpx_mrr', 'kpx_average_precision', 'kpx_interests', 'kpx_behaviour',
		'kpx_similarity', 'kpx_profile_agg', 'kpx_profile_agg_add', 'kpx_profile_agg_add_many', 'kpx_profile_agg_fuse', 'kpx_profile_agg_combine',
		'kpx_profile_agg_serialize', 'kpx_profile_agg_deserialize', 'kpx_profile_agg_final', 'kpx_profile_in', 'kpx_profile_out', 'kpx_profile_recv',
		'kpx_profile_send', 'kpx_profile_to_jsonb', 'kpx_profile_eq', 'kpx_profile_ne', 'kpx_profile_hash', 'kpx_profile_fuse', 'kpx_profile_distance',
		'html', 'report_plain', 'report_name', 'report_names', 'report_count', 'report_number', 'report_share', 'report_money', 'report_error', 'report_table', 'report_row', 'report_bar', 'report_step',
		'report_lines', 'report_columns', 'report_details', 'report_section', 'report_words', 'report_curve', 'report_status', 'report_style'],
	'metrics and what works on values are IMMUTABLE, and only they');
SELECT is_empty($$SELECT signature FROM members WHERE provolatile = 'v' AND proparallel <> 'u'$$, 'nothing VOLATILE runs in parallel plans');
SELECT is_empty($$SELECT signature FROM members WHERE proname IN ('kpx_recommend', 'kpx_recommend_from', 'kpx_recommend_for', 'kpx_similar', 'kpx_score', 'kpx_explain', 'kpx_rules_for', 'kpx_item_factors')
	AND (provolatile <> 's' OR proparallel <> 'r' OR proisstrict)$$, 'answers are STABLE, PARALLEL RESTRICTED, not strict (defaults are NULL)');
-- privileges
SELECT set_eq($$SELECT DISTINCT proname::text FROM members WHERE provolatile = 's' AND prokind = 'f' AND nspname <> 'kpx' AND has_function_privilege('public', oid, 'EXECUTE')$$,
	ARRAY['kpx_audience', 'kpx_best_params', 'kpx_data_quality', 'kpx_evaluate_policy', 'kpx_explain', 'kpx_explain_slate', 'kpx_export_model', 'kpx_health', 'kpx_item_factors',
		'kpx_model_for', 'kpx_policy_settings', 'kpx_profiles', 'kpx_ranker_report', 'kpx_recommend', 'kpx_recommend_for', 'kpx_recommend_from', 'kpx_report', 'kpx_rules_for', 'kpx_score',
		'kpx_segment_of', 'kpx_similar', 'kpx_similar_users', 'kpx_trending', 'kpx_user_profile', 'kpx_version'], 'PUBLIC reads by these, and by no other: each was thought about');
SELECT is_empty($$SELECT signature, kpx.function_level(oid) FROM members WHERE nspname <> 'kpx' AND has_function_privilege('public', oid, 'EXECUTE') <> (kpx.function_level(oid) = 'public')$$,
	'what PUBLIC may execute is what its level says');
SELECT is_empty($$SELECT proname FROM members WHERE nspname <> 'kpx' GROUP BY 1 HAVING count(DISTINCT kpx.function_level(oid)) <> 1$$, 'all forms of a function have one level');
SELECT set_eq($$SELECT DISTINCT proname::text FROM members WHERE kpx.function_level(oid) = 'admin'$$, ARRAY['kpx_set_consent', 'kpx_consent_of', 'kpx_require_consent',
	'kpx_add_consent_source', 'kpx_drop_consent_source', 'kpx_add_user_attributes', 'kpx_forget_user', 'kpx_publish', 'kpx_grant', 'kpx_stat_reset'], 'admins speak for users and for the database');
SELECT set_eq($$SELECT DISTINCT proname::text FROM members WHERE kpx.function_level(oid) = 'serve'$$, ARRAY['kpx_recommend_slate', 'kpx_feedback'], 'who serves writes what was shown, and what came of it');
SELECT is_empty($$SELECT signature FROM members WHERE provolatile = 'v' AND nspname <> 'kpx' AND has_function_privilege('public', oid, 'EXECUTE')$$, 'what writes or trains is not for PUBLIC');
SELECT is_empty($$SELECT signature FROM members WHERE prosecdef$$, 'no function runs with its owner''s rights');
SELECT is_empty($$SELECT signature FROM members m JOIN pg_roles r ON r.oid = m.proowner WHERE NOT r.rolsuper AND prolang = (SELECT oid FROM pg_language WHERE lanname = 'c')$$, 'C functions belong to superusers');
SELECT is((SELECT array_agg(DISTINCT (superuser, trusted, relocatable)::text) FROM pg_available_extension_versions WHERE name = 'kpxrec'), '{"(t,f,f)"}', 'only superusers install it, it is not trusted, and does not move');
SELECT set_eq($$SELECT proname::text FROM members WHERE nspname = 'kpx' AND proname !~ '^report_' AND has_function_privilege('public', oid, 'EXECUTE')$$,
	ARRAY['member_of', 'stat_progress', 'stat_recommend', 'may_use_model', 'may_use_rules', 'may_use_segmentation', 'html'], 'of schema kpx, PUBLIC may execute only what the views and the report call');
SELECT is_empty($$SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'kpx' AND c.relacl IS NOT NULL$$,
	'nobody but the owner has rights on the tables of schema kpx');
SELECT ok(NOT has_schema_privilege('public', 'kpx', 'USAGE') AND NOT has_schema_privilege('public', 'kpx', 'CREATE'), 'nor on the schema');
SELECT is_empty($$SELECT c.relname FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
	WHERE c.relkind = 'v' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'kpxrec') AND NOT coalesce(c.reloptions @> '{security_barrier=true}', false)$$,
	'views choose rows for the caller: all are security barriers');
-- dump
SELECT set_eq($$SELECT unnest(extconfig)::regclass::text FROM pg_extension WHERE extname = 'kpxrec'$$,
	$$SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'kpx' AND c.relkind IN ('r', 'S')$$,
	'every table and sequence of schema kpx is dumped');
-- replication
SELECT set_eq($$SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'kpx'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
	AND c.oid NOT IN (SELECT relation FROM kpx_serving_tables)$$, ARRAY['kpx.trial', 'kpx.forget_key', 'kpx.forgotten', 'kpx.slate', 'kpx.impression', 'kpx.dismissal', 'kpx.campaign', 'kpx.ranker_report', 'kpx.training_log',
	'kpx.feedback', 'kpx.feedback_count', 'kpx.attribution', 'kpx.release', 'kpx.release_count', 'kpx.job', 'kpx.job_run', 'kpx.module_stat', 'kpx.drift_stat', 'kpx.recommendation'],
	'every other table goes to clusters that serve (sql/86_replication.sql); these are each cluster''s own');
SELECT is_empty($$SELECT relation FROM kpx_serving_tables WHERE NOT EXISTS (SELECT FROM pg_index WHERE indrelid = relation AND indisprimary)$$, 'what is published has a primary key: without, rows could not be deleted where one trains');
SELECT is_empty($$SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE tgfoid = 'kpx.invalidate'::regproc GROUP BY 1, 2, 3 HAVING tgenabled <> CASE tgname WHEN 'invalidate' THEN 'A' ELSE 'R' END$$,
	'caches hear of rows that an apply worker writes');
SELECT * FROM finish();
ROLLBACK;
