-- metabase.sql: questions for Metabase, or any tool that runs SQL, on the schema that bi.sql makes. Each begins with
-- its title; {{from}} and {{to}} are Metabase's variables of type date (others: put dates there).

-- Impressions, clicks and conversions by day
SELECT day, sum(impressions) AS impressions, sum(clicks) AS clicks, sum(conversions) AS conversions, sum(revenue) AS revenue
FROM bi.funnel WHERE day BETWEEN {{from}} AND {{to}} GROUP BY day ORDER BY day;

-- Click and conversion rates by pair of modules
SELECT coalesce(home_module, '(anywhere)') AS shown_in, module AS item_of, sum(impressions) AS impressions,
	round(sum(clicks) / sum(impressions), 4) AS clicked, round(sum(conversions) / nullif(sum(clicks), 0), 4) AS converted,
	round(sum(revenue)::numeric, 2) AS revenue, round(sum(expected_revenue)::numeric, 2) AS expected
FROM bi.funnel WHERE day BETWEEN {{from}} AND {{to}} GROUP BY 1, 2 ORDER BY impressions DESC;

-- What came to the modules from elsewhere
SELECT day, module, round(sum(revenue) FILTER (WHERE home_module <> module)::numeric, 2) AS cross_sold, round(sum(revenue)::numeric, 2) AS all_recommended
FROM bi.funnel WHERE day BETWEEN {{from}} AND {{to}} GROUP BY day, module ORDER BY day, module;

-- Versions of the policy
SELECT e.policy, p.comment, p.active, e.first_shown, e.last_shown, e.slates, e.users, round(e.clicks::numeric / e.impressions, 4) AS clicked, e.conversions,
	round(e.revenue::numeric, 2) AS revenue, round(e.revenue_per_slate::numeric, 4) AS revenue_a_slate
FROM bi.policy_effect e LEFT JOIN bi.policies p USING (policy) ORDER BY e.policy DESC;

-- Champions and challengers
SELECT module, model, users, impressions, round(clicks::numeric / impressions, 4) AS clicked, round(revenue_per_user::numeric, 4) AS revenue_a_user,
	round(revenue_std_error::numeric, 4) AS std_error
FROM bi.model_effect ORDER BY module, impressions DESC;

-- Models that answer now
SELECT model, name, version, active_for, algorithm, users, items, interactions, loss, created_at FROM bi.models WHERE active_for IS NOT NULL ORDER BY model DESC;

-- Models against popularity
SELECT module, model, measured_by, split, metric, round(value::numeric, 4) AS value, round(std_error::numeric, 4) AS std_error, round(popularity::numeric, 4) AS popularity,
	round((value / nullif(popularity, 0))::numeric, 2) AS times_popularity, users, measured_at
FROM bi.model_metrics WHERE metric ~ '^(ndcg|recall|coverage)@' ORDER BY module, model DESC, metric;

-- Modules with too little data, or no model
SELECT module, active_model, trained_users, trained_interactions FROM bi.modules WHERE enough_data IS NOT TRUE ORDER BY module;

-- Segments by size
SELECT name, segment, label, size, round(share::numeric, 4) AS share, features->0->>'feature' AS most_typical FROM bi.segments ORDER BY name, size DESC;

-- Strongest rules across modules
SELECT array_to_string(antecedent, ' + ') AS who_has, consequent AS also_has, round(confidence::numeric, 3) AS confidence, round(lift::numeric, 2) AS lift, count
FROM bi.rules WHERE count >= 5 AND NOT EXISTS (SELECT FROM unnest(antecedent) a WHERE a LIKE consequent_module || '/%') ORDER BY lift DESC, count DESC LIMIT 100;

-- Best trials of tuning
SELECT DISTINCT ON (run, algorithm) run, algorithm, metric, k, value, std_error, params FROM bi.trials ORDER BY run DESC, algorithm, share DESC, value DESC;

-- Training of the ranker
SELECT ranker, epoch, train_loss, dev_loss, kept FROM bi.training_log ORDER BY ranker, epoch;

-- Latency of answers
SELECT module, function, calls, p50_ms, p95_ms, p99_ms, max_ms, round(empty::numeric / nullif(answers, 0), 4) AS empty, round(fell_back::numeric / nullif(answers, 0), 4) AS fell_back
FROM bi.stat_recommend ORDER BY p99_ms DESC;

-- What lists are like
SELECT module, model, measured_at, coverage, gini, novelty, diversity, fallback_share, cold_share FROM bi.stat_module WHERE newest ORDER BY module;

-- Drift
SELECT module, feature, psi, noise, threshold, drifted, measured_at FROM bi.stat_drift WHERE newest ORDER BY drifted DESC NULLS LAST, module, feature;

-- Jobs: what is planned, and how the last run went
SELECT job, task, status, next_start, last_status, last_start, last_seconds, consecutive_failures, last_message FROM bi.jobs ORDER BY consecutive_failures DESC, job;

-- Job runs that failed
SELECT started_at, job, task, status, phase, sqlstate, message FROM bi.job_runs WHERE status IN ('failed', 'cancelled', 'lost') ORDER BY started_at DESC LIMIT 100;

-- Recommendation views
SELECT view, module, k, users, rows, refreshed_at FROM bi.recommendation_views ORDER BY view;
