-- report: users and what is shown to them.

CREATE FUNCTION kpx.report_of_segments(w jsonb, these text[]) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH segment AS MATERIALIZED (
		SELECT s.*, (SELECT string_agg(kpx.report_name(f->>'feature') || ' ' || kpx.report_money((f->>'segment')::double precision) || ' <span class="muted">('
				|| kpx.report_money((f->>'all')::double precision) || ')</span>', ', ' ORDER BY o)
			FROM jsonb_array_elements(s.features) WITH ORDINALITY u(f, o) WHERE o <= 3) AS apart
		FROM @extschema@.kpx_segments s WHERE these IS NULL OR s.modules && these
	)
	SELECT '<p class="note">' || (w->>'n_segments') || '</p>' || string_agg(n.body, '' ORDER BY n.name)
	FROM (SELECT s.name, kpx.report_table(replace(w->>'c_segments', '{}', kpx.report_name(s.name))
				|| ' <span class="muted">' || (w->>'silhouette') || ' ' || kpx.report_number(min(s.silhouette)) || '</span>',
			ARRAY['#' || (w->>'segment'), '', '#' || (w->>'users'), '#' || (w->>'share'), '', w->>'features'],
			string_agg(kpx.report_row('#' || s.segment, '!' || kpx.report_name(s.label), '#' || kpx.report_count(s.size), '#' || kpx.report_share(s.share), kpx.report_bar(s.share), s.apart), ''
				ORDER BY s.size DESC, s.segment)) AS body
		FROM segment s GROUP BY s.name ORDER BY max(s.created_at) DESC LIMIT 3) n
	HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_segments(jsonb, text[]) IS 'section of the report: segments';

-- Items as their titles, where the caller may read them. Of each rule, the parts module/item of both sides.
CREATE FUNCTION kpx.report_of_rules(w jsonb, these text[]) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH rule AS MATERIALIZED (
		SELECT r.*, row_number() OVER (ORDER BY r.lift DESC, r.count DESC, r.antecedent, r.consequent) AS n
		FROM @extschema@.kpx_rules r WHERE r.count >= 5 AND (these IS NULL OR r.consequent_module = ANY (these))
		ORDER BY r.lift DESC, r.count DESC, r.antecedent, r.consequent LIMIT 20
	), item AS MATERIALIZED (
		SELECT DISTINCT i.full_name, (SELECT m.module FROM @extschema@.kpx_modules m WHERE starts_with(i.full_name, m.module || '/') ORDER BY length(m.module) DESC LIMIT 1) AS module
		FROM rule r, unnest(r.antecedent || r.consequent) i(full_name)
	), titled AS MATERIALIZED (
		SELECT u.full_name, u.title FROM (
			SELECT array_agg(i.full_name ORDER BY i.full_name) AS names, kpx.report_titles(i.module, array_agg(substr(i.full_name, length(i.module) + 2) ORDER BY i.full_name)) AS titles
			FROM item i WHERE i.module IS NOT NULL GROUP BY i.module) m, unnest(m.names, m.titles) u(full_name, title)
	), named AS MATERIALIZED (
		SELECT i.full_name, coalesce(kpx.report_name(t.title) || ' <span class="muted">' || kpx.report_name(i.module) || '</span>', kpx.report_name(i.full_name)) AS name
		FROM item i LEFT JOIN titled t ON t.full_name = i.full_name
	)
	SELECT '<p class="note">' || (w->>'n_rules') || '</p>' || kpx.report_table(w->>'c_rules',
		ARRAY[w->>'antecedent', w->>'consequent', '#' || (w->>'confidence'), '', '#' || (w->>'lift'), '#' || (w->>'support'), '#' || (w->>'count')],
		string_agg(kpx.report_row('!' || (SELECT string_agg(a.name, ' + ' ORDER BY a.full_name) FROM named a WHERE a.full_name = ANY (r.antecedent)),
			(SELECT c.name FROM named c WHERE c.full_name = r.consequent), '#' || kpx.report_share(r.confidence), kpx.report_bar(r.confidence), '#' || kpx.report_money(r.lift),
			'#' || kpx.report_share(r.support), '#' || kpx.report_count(r.count)), '' ORDER BY r.n))
	FROM rule r HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_rules(jsonb, text[]) IS 'section of the report: association rules';

CREATE FUNCTION kpx.report_of_funnel(w jsonb, these text[]) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH daily AS MATERIALIZED (
		SELECT f.*, coalesce(kpx.report_name(f.home_module), w->>'anywhere') || U&' \2192 ' || kpx.report_name(f.module) AS pair
		FROM @extschema@.kpx_funnel f WHERE these IS NULL OR f.module = ANY (these)
	), span AS (
		SELECT greatest(min(day), max(day) - 59) AS first_day, max(day) AS last_day FROM daily
	), pair AS (
		SELECT d.pair, sum(d.impressions) AS impressions, sum(d.clicks) AS clicks, sum(d.conversions) AS conversions, sum(d.dismissals) AS dismissals,
			sum(d.revenue) AS revenue, sum(d.expected_revenue) AS expected_revenue, first_day, last_day,
			max(max(d.impressions)) OVER () AS most, max(max(d.clicks::double precision / d.impressions)) OVER () AS highest,
			jsonb_agg(jsonb_build_object('x', d.day - first_day, 'y', d.impressions, 't', d.day || ' ' || kpx.report_count(d.impressions))) AS shown,
			jsonb_agg(jsonb_build_object('x', d.day - first_day, 'y', d.clicks::double precision / d.impressions, 'c', 'b',
				't', d.day || ' ' || kpx.report_share(d.clicks::double precision / d.impressions))) AS clicked,
			string_agg(kpx.report_row('!' || d.day, '#' || kpx.report_count(d.impressions), '#' || kpx.report_count(d.clicks), '#' || kpx.report_share(d.clicks::double precision / d.impressions),
				'#' || kpx.report_count(d.conversions), '#' || kpx.report_count(d.dismissals), '#' || kpx.report_money(d.revenue)), '' ORDER BY d.day) AS rows
		FROM daily d, span WHERE d.day >= first_day GROUP BY d.pair, first_day, last_day ORDER BY 2 DESC, 1 LIMIT 12
	)
	SELECT '<p class="note">' || (w->>'n_funnel') || '</p>' || kpx.report_table(w->>'c_funnel',
			ARRAY[w->>'pair', '#' || (w->>'impressions'), '#' || (w->>'clicks'), '#' || (w->>'ctr'), '#' || (w->>'conversions'), '#' || (w->>'cvr'), '#' || (w->>'dismissals'), '#' || (w->>'revenue'), '#' || (w->>'expected')],
			string_agg(kpx.report_row('!' || p.pair, '#' || kpx.report_count(p.impressions), '#' || kpx.report_count(p.clicks), '#' || kpx.report_share(p.clicks::double precision / p.impressions::double precision),
				'#' || kpx.report_count(p.conversions), '#' || kpx.report_share(p.conversions::double precision / nullif(p.clicks, 0)::double precision), '#' || kpx.report_count(p.dismissals),
				'#' || kpx.report_money(p.revenue), '#' || kpx.report_money(p.expected_revenue)), '' ORDER BY p.impressions DESC, p.pair))
		|| '<p class="note">' || (w->>'per_click') || '</p>'
		|| coalesce('<p class="note">' || (w->>'n_days') || '</p><div class="cards">' || string_agg('<figure><figcaption>' || p.pair || '</figcaption>'
			|| kpx.report_columns((w->>'impressions') || ', ' || p.pair, p.shown, p.most, to_char(first_day, 'MM-DD'), to_char(last_day, 'MM-DD'))
			|| kpx.report_columns((w->>'ctr') || ', ' || p.pair, p.clicked, p.highest, to_char(first_day, 'MM-DD'), to_char(last_day, 'MM-DD'), true)
			|| kpx.report_details(w->>'data', kpx.report_table(p.pair, ARRAY[w->>'day', '#' || (w->>'impressions'), '#' || (w->>'clicks'), '#' || (w->>'ctr'), '#' || (w->>'conversions'),
				'#' || (w->>'dismissals'), '#' || (w->>'revenue')], p.rows)) || '</figure>', '' ORDER BY p.impressions DESC, p.pair) FILTER (WHERE first_day < last_day) || '</div>', '')
	FROM pair p HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_funnel(jsonb, text[]) IS 'section of the report: from impressions to revenue';

CREATE FUNCTION kpx.report_of_policies(w jsonb) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT kpx.report_table(w->>'c_policies', ARRAY['#' || (w->>'policy'), w->>'comment', '#' || (w->>'slates'), '#' || (w->>'users'), '#' || (w->>'ctr'), '#' || (w->>'conversions'), '#' || (w->>'dismissals'),
			'#' || (w->>'revenue'), '#' || (w->>'per_slate'), '', w->>'period'],
		string_agg(kpx.report_row('#' || e.policy, '!' || coalesce(kpx.report_name(e.comment), '') || CASE WHEN e.active THEN ' <span class="tag">' || (w->>'active') || '</span>' ELSE '' END,
			'#' || kpx.report_count(e.slates), '#' || kpx.report_count(e.users), '#' || kpx.report_share(e.clicks::double precision / e.impressions), '#' || kpx.report_count(e.conversions),
			'#' || kpx.report_count(e.dismissals), '#' || kpx.report_money(e.revenue), '#' || kpx.report_money(e.revenue_per_slate), kpx.report_bar(e.revenue_per_slate / greatest(e.high, 1e-12)),
			kpx.report_period(e.first_shown, e.last_shown)), '' ORDER BY e.policy DESC))
	FROM (SELECT e.*, p.comment, p.active, max(e.revenue_per_slate) OVER () AS high
		FROM @extschema@.kpx_policy_effect e LEFT JOIN @extschema@.kpx_policies p ON p.policy = e.policy ORDER BY e.policy DESC LIMIT 20) e
	HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_policies(jsonb) IS 'section of the report: versions of the policy';

CREATE FUNCTION kpx.report_of_effects(w jsonb, these text[]) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT '<p class="note">' || (w->>'n_effects') || '</p>' || kpx.report_table(w->>'c_effects', ARRAY[w->>'module', '#' || (w->>'model'), w->>'status', '#' || (w->>'users'), '#' || (w->>'impressions'), '#' || (w->>'ctr'),
			'#' || (w->>'conversions'), '#' || (w->>'revenue'), '#' || (w->>'per_user'), '', w->>'period'],
		string_agg(kpx.report_row('!' || kpx.report_name(e.module), '#' || coalesce(e.model::text, U&'\2013'),
			CASE WHEN e.module = ANY (m.active_for) THEN '<span class="tag">' || (w->>'active') || '</span>'
				WHEN m.traffic ? e.module THEN (w->>'challenger') || ' ' || kpx.report_share((m.traffic->>e.module)::double precision) ELSE '' END,
			'#' || kpx.report_count(e.users), '#' || kpx.report_count(e.impressions), '#' || kpx.report_share(e.clicks::double precision / e.impressions), '#' || kpx.report_count(e.conversions),
			'#' || kpx.report_money(e.revenue), '#' || kpx.report_money(e.revenue_per_user) || coalesce(U&'\202F\00B1\202F' || kpx.report_money(e.revenue_std_error), ''), kpx.report_bar(e.revenue_per_user / greatest(e.high, 1e-12)),
			kpx.report_period(e.first_shown, e.last_shown)), '' ORDER BY e.module, e.model DESC))
	FROM (SELECT x.*, max(x.revenue_per_user) OVER (PARTITION BY x.module) AS high, row_number() OVER (PARTITION BY x.module ORDER BY x.model DESC) AS n
		FROM @extschema@.kpx_model_effect x WHERE these IS NULL OR x.module = ANY (these)) e
	LEFT JOIN @extschema@.kpx_models m ON m.model = e.model
	WHERE e.n <= 5 HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_effects(jsonb, text[]) IS 'section of the report: what models showed and earned';

CREATE FUNCTION kpx.report_of_views(w jsonb, these text[]) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT kpx.report_table(w->>'c_views', ARRAY[w->>'view', w->>'module', '#k', '#' || (w->>'users'), '#' || (w->>'rows'), '#' || (w->>'changed'), '#' || (w->>'seconds'), w->>'refreshed'],
		string_agg(kpx.report_row('!' || kpx.report_name(v.view), kpx.report_name(v.module), '#' || v.k, '#' || kpx.report_count(v.users), '#' || kpx.report_count(v.rows),
			'#' || kpx.report_count(v.changed), '#' || kpx.report_number(v.seconds), kpx.report_time(v.refreshed_at)), '' ORDER BY v.view))
	FROM @extschema@.kpx_recommendation_views v WHERE these IS NULL OR v.module = ANY (these)
	HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_views(jsonb, text[]) IS 'section of the report: recommendation views';
