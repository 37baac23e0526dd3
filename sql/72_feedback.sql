-- feedback: what a policy earned, and what another would have.

CREATE FUNCTION @extschema@.kpx_evaluate_policy(
	log regclass, action text DEFAULT 'action', propensity text DEFAULT 'propensity', reward text DEFAULT 'reward',
	probability text DEFAULT 'probability', context text DEFAULT NULL,
	predicted text DEFAULT NULL, baseline text DEFAULT NULL, unit text DEFAULT NULL,
	estimators text[] DEFAULT NULL, params jsonb DEFAULT '{}')
RETURNS TABLE (estimator text, value double precision, std_error double precision, low double precision,
	high double precision, effective_sample_size double precision, rows bigint)
AS 'MODULE_PATHNAME', 'kpx_evaluate_log' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 7;
COMMENT ON FUNCTION @extschema@.kpx_evaluate_policy(regclass, text, text, text, text, text, text, text, text, text[], jsonb) IS
'what a policy would have earned a row, from any relation that logs what another policy showed: off-policy estimates';

-- Versions of the policy are bigint. The integer form keeps a plain number from being taken for
-- the OID of a relation; since has no default, so that a lone literal names a relation.
CREATE FUNCTION @extschema@.kpx_evaluate_policy(
	policy bigint, since timestamptz, estimators text[] DEFAULT NULL, reward text DEFAULT 'revenue', params jsonb DEFAULT '{}')
RETURNS TABLE (estimator text, value double precision, std_error double precision, low double precision,
	high double precision, effective_sample_size double precision, rows bigint)
AS 'MODULE_PATHNAME', 'kpx_evaluate_policy' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 7;
COMMENT ON FUNCTION @extschema@.kpx_evaluate_policy(bigint, timestamptz, text[], text, jsonb) IS
'what a version of the policy would have earned a slate, from the slates logged since then';

CREATE FUNCTION @extschema@.kpx_evaluate_policy(
	policy integer, since timestamptz, estimators text[] DEFAULT NULL, reward text DEFAULT 'revenue', params jsonb DEFAULT '{}')
RETURNS TABLE (estimator text, value double precision, std_error double precision, low double precision,
	high double precision, effective_sample_size double precision, rows bigint)
AS 'MODULE_PATHNAME', 'kpx_evaluate_policy_int4' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 7;
COMMENT ON FUNCTION @extschema@.kpx_evaluate_policy(integer, timestamptz, text[], text, jsonb) IS
'kpx_evaluate_policy for a plain number';

-- What users did with impressions. One click, one conversion and one dismissal an impression.
CREATE TABLE kpx.feedback (
	slate_id bigint NOT NULL,
	rank integer NOT NULL,
	kind text COLLATE "C" NOT NULL,
	value double precision,
	occurred_at timestamptz NOT NULL,
	impression_at timestamptz NOT NULL,
	source_id integer NOT NULL,
	recorded_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	settled boolean NOT NULL DEFAULT false,
	PRIMARY KEY (slate_id, rank, kind)
);
CREATE INDEX ON kpx.feedback (impression_at);
COMMENT ON TABLE kpx.feedback IS 'clicks, conversions and dismissals of impressions';
COMMENT ON COLUMN kpx.feedback.source_id IS 'the event source it was attributed from; 0: kpx_feedback';
COMMENT ON COLUMN kpx.feedback.settled IS 'whether budgets in money have been charged with it';

CREATE TABLE kpx.feedback_count (
	day date NOT NULL,
	outcome text COLLATE "C" NOT NULL,
	n bigint NOT NULL,
	PRIMARY KEY (day, outcome)
);
COMMENT ON TABLE kpx.feedback_count IS 'feedback that was not recorded, by day and why';

CREATE TABLE kpx.attribution (
	source_id integer PRIMARY KEY,
	up_to timestamptz,
	events bigint NOT NULL DEFAULT 0,
	attributed bigint NOT NULL DEFAULT 0,
	last_run timestamptz NOT NULL
);
COMMENT ON TABLE kpx.attribution IS 'how far each event source has been attributed';

SELECT pg_catalog.pg_extension_config_dump('kpx.feedback', '');
SELECT pg_catalog.pg_extension_config_dump('kpx.feedback_count', '');
SELECT pg_catalog.pg_extension_config_dump('kpx.attribution', '');

CREATE FUNCTION @extschema@.kpx_feedback(
	slate_id bigint, item text, kind text, value double precision DEFAULT NULL, occurred_at timestamptz DEFAULT NULL,
	module text DEFAULT NULL, user_id text DEFAULT NULL)
RETURNS text AS 'MODULE_PATHNAME', 'kpx_feedback' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION @extschema@.kpx_feedback(bigint, text, text, double precision, timestamptz, text, text) IS
'records a click, conversion or dismissal of an item of a logged slate; returns recorded, duplicate, late, early or unknown';

CREATE FUNCTION @extschema@.kpx_attribute("window" interval DEFAULT NULL, rule text DEFAULT 'last_touch')
RETURNS TABLE (source_id integer, module text, kind text, as_kind text, events bigint, attributed bigint, unattributed bigint,
	already bigint)
AS 'MODULE_PATHNAME', 'kpx_attribute' LANGUAGE C VOLATILE ROWS 10;
COMMENT ON FUNCTION @extschema@.kpx_attribute(interval, text) IS
'joins new events of all registered sources to the impressions before them; run it again at any time';

CREATE VIEW @extschema@.kpx_unrecorded_feedback WITH (security_barrier) AS
SELECT c.day, c.outcome, c.n FROM kpx.feedback_count c WHERE EXISTS (SELECT FROM kpx.module m WHERE kpx.member_of(m.owner));
COMMENT ON VIEW @extschema@.kpx_unrecorded_feedback IS 'what kpx_feedback did not record, of all modules together, for owners of any';
COMMENT ON COLUMN @extschema@.kpx_unrecorded_feedback.day IS 'UTC day on which it was told';
COMMENT ON COLUMN @extschema@.kpx_unrecorded_feedback.outcome IS 'duplicate, late, early or unknown';
COMMENT ON COLUMN @extschema@.kpx_unrecorded_feedback.n IS 'how often';
GRANT SELECT ON @extschema@.kpx_unrecorded_feedback TO PUBLIC;

CREATE VIEW @extschema@.kpx_funnel WITH (security_barrier) AS
SELECT (i.occurred_at AT TIME ZONE 'UTC')::date AS day, h.name AS home_module, m.name AS module,
	pg_catalog.count(*) AS impressions,
	pg_catalog.count(*) FILTER (WHERE f.clicked OR f.converted) AS clicks,
	pg_catalog.count(*) FILTER (WHERE f.converted) AS conversions,
	pg_catalog.count(*) FILTER (WHERE f.dismissed) AS dismissals,
	coalesce(pg_catalog.sum(f.revenue), 0::double precision) AS revenue,
	pg_catalog.sum(i.expected_value) AS expected_revenue
FROM kpx.impression i
JOIN kpx.module m ON m.id OPERATOR(pg_catalog.=) i.module_id
LEFT JOIN kpx.module h ON h.id OPERATOR(pg_catalog.=) i.home_module_id
LEFT JOIN LATERAL (
	SELECT pg_catalog.bool_or(f.kind OPERATOR(pg_catalog.=) 'click') AS clicked,
		pg_catalog.bool_or(f.kind OPERATOR(pg_catalog.=) 'conversion') AS converted,
		pg_catalog.bool_or(f.kind OPERATOR(pg_catalog.=) 'dismissal') AS dismissed, pg_catalog.sum(f.value) AS revenue
	FROM kpx.feedback f
	WHERE f.slate_id OPERATOR(pg_catalog.=) i.slate_id AND f.rank OPERATOR(pg_catalog.=) i.rank) f ON true
WHERE kpx.member_of(m.owner)
GROUP BY 1, 2, 3;
COMMENT ON VIEW @extschema@.kpx_funnel IS
'impressions, clicks, conversions and revenue by day and pair of modules, for owners of the module shown';
COMMENT ON COLUMN @extschema@.kpx_funnel.day IS 'UTC day of the impressions; what came of them counts here, whenever it came';
COMMENT ON COLUMN @extschema@.kpx_funnel.home_module IS 'where they were shown; NULL: nowhere in particular';
COMMENT ON COLUMN @extschema@.kpx_funnel.module IS 'module of the item shown';
COMMENT ON COLUMN @extschema@.kpx_funnel.impressions IS 'items shown';
COMMENT ON COLUMN @extschema@.kpx_funnel.clicks IS 'impressions that were clicked or converted';
COMMENT ON COLUMN @extschema@.kpx_funnel.conversions IS 'impressions that converted';
COMMENT ON COLUMN @extschema@.kpx_funnel.dismissals IS 'impressions that were dismissed';
COMMENT ON COLUMN @extschema@.kpx_funnel.revenue IS 'value of the conversions';
COMMENT ON COLUMN @extschema@.kpx_funnel.expected_revenue IS 'what the ranking expected of the impressions';

CREATE VIEW @extschema@.kpx_policy_effect WITH (security_barrier) AS
SELECT p.policy, p.first_shown, p.last_shown, p.slates, p.users, p.impressions, p.cross_impressions, p.clicks, p.conversions, p.dismissals,
	p.revenue, p.mean AS revenue_per_slate,
	pg_catalog.sqrt((p.users::double precision OPERATOR(pg_catalog./) nullif(p.users OPERATOR(pg_catalog.-) 1, 0)::double precision)
		OPERATOR(pg_catalog.*) greatest(p.rr OPERATOR(pg_catalog.-) (p.mean OPERATOR(pg_catalog.*) ((2::double precision OPERATOR(pg_catalog.*) p.rs) OPERATOR(pg_catalog.-) (p.mean OPERATOR(pg_catalog.*) p.ss))), 0::double precision)) OPERATOR(pg_catalog./) p.slates::double precision AS revenue_std_error
FROM (
	SELECT u.policy, pg_catalog.min(u.first_shown) AS first_shown, pg_catalog.max(u.last_shown) AS last_shown, pg_catalog.sum(u.slates)::bigint AS slates,
		pg_catalog.count(*) AS users, pg_catalog.sum(u.impressions)::bigint AS impressions, pg_catalog.sum(u.cross_impressions)::bigint AS cross_impressions,
		pg_catalog.sum(u.clicks)::bigint AS clicks, pg_catalog.sum(u.conversions)::bigint AS conversions, pg_catalog.sum(u.dismissals)::bigint AS dismissals,
		pg_catalog.sum(u.revenue) AS revenue, pg_catalog.sum(u.revenue) OPERATOR(pg_catalog./) pg_catalog.sum(u.slates)::double precision AS mean,
		pg_catalog.sum(u.revenue OPERATOR(pg_catalog.*) u.revenue) AS rr, pg_catalog.sum(u.revenue OPERATOR(pg_catalog.*) u.slates::double precision) AS rs,
		pg_catalog.sum(u.slates::double precision OPERATOR(pg_catalog.*) u.slates::double precision) AS ss
	FROM (
		SELECT i.policy_id AS policy, pg_catalog.min(i.occurred_at) AS first_shown, pg_catalog.max(i.occurred_at) AS last_shown,
			pg_catalog.count(DISTINCT i.slate_id) AS slates, pg_catalog.count(*) AS impressions,
			pg_catalog.count(*) FILTER (WHERE i.module_id OPERATOR(pg_catalog.<>) i.home_module_id AND i.home_module_id OPERATOR(pg_catalog.<>) 0) AS cross_impressions,
			pg_catalog.count(*) FILTER (WHERE f.clicked OR f.converted) AS clicks,
			pg_catalog.count(*) FILTER (WHERE f.converted) AS conversions,
			pg_catalog.count(*) FILTER (WHERE f.dismissed) AS dismissals,
			coalesce(pg_catalog.sum(f.revenue), 0::double precision) AS revenue
		FROM kpx.impression i
		JOIN kpx.module m ON m.id OPERATOR(pg_catalog.=) i.module_id
		LEFT JOIN LATERAL (
			SELECT pg_catalog.bool_or(f.kind OPERATOR(pg_catalog.=) 'click') AS clicked,
				pg_catalog.bool_or(f.kind OPERATOR(pg_catalog.=) 'conversion') AS converted,
				pg_catalog.bool_or(f.kind OPERATOR(pg_catalog.=) 'dismissal') AS dismissed, pg_catalog.sum(f.value) AS revenue
			FROM kpx.feedback f
			WHERE f.slate_id OPERATOR(pg_catalog.=) i.slate_id AND f.rank OPERATOR(pg_catalog.=) i.rank) f ON true
		WHERE kpx.member_of(m.owner)
		GROUP BY i.policy_id, i.user_id) u
	GROUP BY u.policy) p;
COMMENT ON VIEW @extschema@.kpx_policy_effect IS
'what each version of the policy showed and earned, over the modules that the current role owns';
COMMENT ON COLUMN @extschema@.kpx_policy_effect.policy IS 'version of the policy';
COMMENT ON COLUMN @extschema@.kpx_policy_effect.first_shown IS 'its first impression';
COMMENT ON COLUMN @extschema@.kpx_policy_effect.last_shown IS 'its last impression';
COMMENT ON COLUMN @extschema@.kpx_policy_effect.slates IS 'lists that were shown';
COMMENT ON COLUMN @extschema@.kpx_policy_effect.users IS 'users who saw one';
COMMENT ON COLUMN @extschema@.kpx_policy_effect.impressions IS 'items shown';
COMMENT ON COLUMN @extschema@.kpx_policy_effect.cross_impressions IS 'items shown in another module than their own';
COMMENT ON COLUMN @extschema@.kpx_policy_effect.clicks IS 'impressions that were clicked or converted';
COMMENT ON COLUMN @extschema@.kpx_policy_effect.conversions IS 'impressions that converted';
COMMENT ON COLUMN @extschema@.kpx_policy_effect.dismissals IS 'impressions that were dismissed';
COMMENT ON COLUMN @extschema@.kpx_policy_effect.revenue IS 'value of the conversions';
COMMENT ON COLUMN @extschema@.kpx_policy_effect.revenue_per_slate IS 'revenue by slates';
COMMENT ON COLUMN @extschema@.kpx_policy_effect.revenue_std_error IS 'standard error of revenue_per_slate, over users; NULL: of one user';

-- Not by slate: a slate has items of several modules, and perhaps of several models.
CREATE VIEW @extschema@.kpx_model_effect WITH (security_barrier) AS
SELECT u.module, u.model, pg_catalog.min(u.first_shown) AS first_shown, pg_catalog.max(u.last_shown) AS last_shown,
	pg_catalog.count(*) AS users, pg_catalog.sum(u.impressions)::bigint AS impressions, pg_catalog.sum(u.clicks)::bigint AS clicks,
	pg_catalog.sum(u.conversions)::bigint AS conversions, pg_catalog.sum(u.dismissals)::bigint AS dismissals,
	pg_catalog.sum(u.revenue) AS revenue, pg_catalog.avg(u.revenue) AS revenue_per_user,
	pg_catalog.stddev_samp(u.revenue) OPERATOR(pg_catalog./) pg_catalog.sqrt(pg_catalog.count(*)::double precision) AS revenue_std_error
FROM (
	SELECT m.name AS module, i.model_id AS model, pg_catalog.min(i.occurred_at) AS first_shown, pg_catalog.max(i.occurred_at) AS last_shown,
		pg_catalog.count(*) AS impressions,
		pg_catalog.count(*) FILTER (WHERE f.clicked OR f.converted) AS clicks,
		pg_catalog.count(*) FILTER (WHERE f.converted) AS conversions,
		pg_catalog.count(*) FILTER (WHERE f.dismissed) AS dismissals,
		coalesce(pg_catalog.sum(f.revenue), 0::double precision) AS revenue
	FROM kpx.impression i
	JOIN kpx.module m ON m.id OPERATOR(pg_catalog.=) i.module_id
	LEFT JOIN LATERAL (
		SELECT pg_catalog.bool_or(f.kind OPERATOR(pg_catalog.=) 'click') AS clicked,
			pg_catalog.bool_or(f.kind OPERATOR(pg_catalog.=) 'conversion') AS converted,
			pg_catalog.bool_or(f.kind OPERATOR(pg_catalog.=) 'dismissal') AS dismissed, pg_catalog.sum(f.value) AS revenue
		FROM kpx.feedback f
		WHERE f.slate_id OPERATOR(pg_catalog.=) i.slate_id AND f.rank OPERATOR(pg_catalog.=) i.rank) f ON true
	WHERE kpx.member_of(m.owner)
	GROUP BY m.name, i.model_id, i.user_id) u
GROUP BY u.module, u.model;
COMMENT ON VIEW @extschema@.kpx_model_effect IS
'what each model showed and earned in each module, champions beside challengers, for owners of the module';
COMMENT ON COLUMN @extschema@.kpx_model_effect.module IS 'module of the item shown';
COMMENT ON COLUMN @extschema@.kpx_model_effect.first_shown IS 'its first impression';
COMMENT ON COLUMN @extschema@.kpx_model_effect.last_shown IS 'its last impression';
COMMENT ON COLUMN @extschema@.kpx_model_effect.impressions IS 'items shown';
COMMENT ON COLUMN @extschema@.kpx_model_effect.conversions IS 'impressions that converted';
COMMENT ON COLUMN @extschema@.kpx_model_effect.dismissals IS 'impressions that were dismissed';
COMMENT ON COLUMN @extschema@.kpx_model_effect.revenue IS 'value of the conversions';
COMMENT ON COLUMN @extschema@.kpx_model_effect.revenue_per_user IS 'revenue by users';
COMMENT ON COLUMN @extschema@.kpx_model_effect.revenue_std_error IS 'standard error of revenue_per_user, over users; NULL: of one user';
COMMENT ON COLUMN @extschema@.kpx_model_effect.model IS 'the model that answered; NULL: none was active';
COMMENT ON COLUMN @extschema@.kpx_model_effect.users IS 'different users who were shown something by it: the sample size, since users are what is split';
COMMENT ON COLUMN @extschema@.kpx_model_effect.clicks IS 'impressions that were clicked or led to a conversion';
GRANT SELECT ON @extschema@.kpx_funnel, @extschema@.kpx_policy_effect, @extschema@.kpx_model_effect TO PUBLIC;

CREATE FUNCTION @extschema@.kpx_optimize_policy(params jsonb DEFAULT '{}', since timestamptz DEFAULT NULL)
RETURNS TABLE (policy bigint, iterations integer, converged boolean, slates bigint, value_before double precision,
	value_after double precision, lift double precision, low double precision, high double precision,
	dismissal_before double precision, dismissal_after double precision, diversity_before double precision,
	diversity_after double precision, settings jsonb)
AS 'MODULE_PATHNAME', 'kpx_optimize_policy' LANGUAGE C VOLATILE COST 1000000 ROWS 1;
COMMENT ON FUNCTION @extschema@.kpx_optimize_policy(jsonb, timestamptz) IS
'proposes a version of the policy that earns more on the logged slates, within guard-rails; activates nothing';
