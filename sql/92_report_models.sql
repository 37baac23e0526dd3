-- report: what is registered and trained. Each section is a function of the words and of the modules to speak
-- of (NULL: all); NULL when there is nothing.

CREATE FUNCTION kpx.report_names(names text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT '<span class="names">' || string_agg(kpx.report_name(n), ', ' ORDER BY o) || '</span>' FROM unnest(names) WITH ORDINALITY u(n, o);
END;
COMMENT ON FUNCTION kpx.report_names(text[]) IS 'names from data, as HTML, with commas';

CREATE FUNCTION kpx.report_of_modules(w jsonb, these text[]) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT kpx.report_table(w->>'c_modules', ARRAY[w->>'module', w->>'active_model', '#' || (w->>'items'), '#' || (w->>'users'), '#' || (w->>'interactions'),
			w->>'enough', '#' || (w->>'events'), w->>'owner'],
		string_agg(kpx.report_row('!' || kpx.report_name(m.module), coalesce(m.active_model::text, w->>'none'), '#' || coalesce(kpx.report_count(m.trained_items), U&'\2013'),
			'#' || coalesce(kpx.report_count(m.trained_users), U&'\2013'), '#' || coalesce(kpx.report_count(m.trained_interactions), U&'\2013'),
			CASE WHEN m.enough_data THEN w->>'yes' WHEN NOT m.enough_data THEN '<strong class="warn">' || (w->>'no') || '</strong>' END,
			'#' || m.event_sources, kpx.report_name(m.owner)), '' ORDER BY m.module))
		|| '<p class="note">' || (w->>'enough_note') || '</p>'
	FROM @extschema@.kpx_modules m WHERE these IS NULL OR m.module = ANY (these)
	HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_modules(jsonb, text[]) IS 'section of the report: modules';

CREATE FUNCTION kpx.report_of_models(w jsonb, these text[]) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT kpx.report_table(w->>'c_models', ARRAY['#' || (w->>'model'), w->>'modules', '#' || (w->>'version'), w->>'serves', w->>'algorithm', '#' || (w->>'users'), '#' || (w->>'items'),
			'#' || (w->>'interactions'), '#' || (w->>'loss'), '#' || (w->>'seconds'), '#' || (w->>'size'), w->>'trained'],
		string_agg(kpx.report_row('#' || m.model, '!' || kpx.report_name(m.name), '#' || m.version, kpx.report_names(m.active_for), kpx.report_name(m.algorithm), '#' || kpx.report_count(m.users),
			'#' || kpx.report_count(m.items), '#' || kpx.report_count(m.interactions), '#' || kpx.report_number(m.loss),
			'#' || kpx.report_number((SELECT sum(s.value::double precision) FROM jsonb_each_text(m.seconds) s WHERE s.value ~ '^[0-9.]+$')),
			'#' || kpx.html(m.size), kpx.report_time(m.created_at)), '' ORDER BY m.model DESC))
	FROM (SELECT * FROM @extschema@.kpx_models a WHERE these IS NULL OR a.modules && these ORDER BY a.model DESC LIMIT 20) m
	HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_models(jsonb, text[]) IS 'section of the report: models';

-- One curve. lines: names of its series; rows: of the table behind it.
CREATE FUNCTION kpx.report_curve(w jsonb, name text, active boolean, points jsonb, lines text[], x_label text, note text, rows text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT '<figure><figcaption>' || name || CASE WHEN active THEN ' <span class="tag">' || (w->>'active') || '</span>' ELSE '' END || '</figcaption>'
		|| coalesce(kpx.report_lines(name, points, lines, x_label), '') || '<p class="key">'
		|| (SELECT string_agg('<span class="s' || o - 1 || '">' || l || '</span>', ' ' ORDER BY o) FROM unnest(lines) WITH ORDINALITY u(l, o)) || coalesce(' ' || note, '') || '</p>'
		|| kpx.report_details(w->>'data', kpx.report_table(name, ARRAY['#' || x_label] || (SELECT array_agg('#' || l ORDER BY o) FROM unnest(lines) WITH ORDINALITY u(l, o)), rows)) || '</figure>';
END;
COMMENT ON FUNCTION kpx.report_curve(jsonb, text, boolean, jsonb, text[], text, text, text) IS 'a training curve, with its key and the table behind it';

-- Rankers are of all modules they learnt from: they are shown whatever modules the report is about.
CREATE FUNCTION kpx.report_of_curves(w jsonb, these text[]) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH model AS (
		SELECT m.model, kpx.report_curve(w, kpx.report_name(m.name) || ' ' || m.version, m.active_for IS NOT NULL,
			(SELECT jsonb_agg(jsonb_build_object('s', 0, 'x', i, 'y', l)) FROM unnest(m.losses) WITH ORDINALITY u(l, i) WHERE abs(l) < 'Infinity'),
			ARRAY[w->>'loss'], w->>'iteration', NULL,
			(SELECT string_agg(kpx.report_row('#' || i, '#' || kpx.report_number(l)), '' ORDER BY i) FROM unnest(m.losses) WITH ORDINALITY u(l, i))) AS curve
		FROM @extschema@.kpx_models m WHERE m.losses IS NOT NULL AND (these IS NULL OR m.modules && these) ORDER BY m.model DESC LIMIT 6
	), ranker AS (
		SELECT l.ranker, kpx.report_curve(w, (w->>'ranker') || ' ' || l.ranker, bool_or(l.active),
			jsonb_agg(jsonb_build_object('s', 0, 'x', l.epoch, 'y', l.train_loss)) FILTER (WHERE abs(l.train_loss) < 'Infinity')
				|| jsonb_agg(jsonb_build_object('s', 1, 'x', l.epoch, 'y', l.dev_loss)) FILTER (WHERE abs(l.dev_loss) < 'Infinity'),
			ARRAY[w->>'train_loss', w->>'dev_loss'], w->>'epoch', (w->>'kept') || ' ' || max(l.epoch) FILTER (WHERE l.kept),
			string_agg(kpx.report_row('#' || l.epoch, '#' || kpx.report_number(l.train_loss), '#' || kpx.report_number(l.dev_loss)), '' ORDER BY l.epoch)) AS curve
		FROM @extschema@.kpx_training_log l GROUP BY l.ranker ORDER BY l.ranker DESC LIMIT 6
	)
	SELECT '<p class="note">' || (w->>'n_curves') || '</p><div class="cards">' || string_agg(c.curve, '' ORDER BY c.n, c.id DESC) || '</div>'
	FROM (SELECT 1, model, curve FROM model UNION ALL SELECT 2, ranker, curve FROM ranker) c(n, id, curve)
	HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_curves(jsonb, text[]) IS 'section of the report: training curves';

CREATE FUNCTION kpx.report_of_trials(w jsonb, these text[]) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH trial AS MATERIALIZED (
		SELECT t.*, dense_rank() OVER (ORDER BY t.run DESC) AS recent, count(*) OVER (PARTITION BY t.run, t.algorithm) AS n,
			row_number() OVER (PARTITION BY t.run, t.algorithm ORDER BY t.share DESC, t.value DESC, t.trial) AS best
		FROM @extschema@.kpx_trials t WHERE these IS NULL OR t.modules && these
	)
	SELECT kpx.report_table(w->>'c_trials', ARRAY['#' || (w->>'run'), w->>'algorithm', w->>'modules', w->>'metric', '#' || (w->>'value'), '', '#' || (w->>'error'), '#' || (w->>'judged'), '#' || (w->>'trials'), w->>'time'],
		string_agg(kpx.report_row('#' || t.run, '!' || kpx.report_name(t.algorithm), kpx.report_names(t.modules), kpx.html(t.metric) || '@' || t.k, '#' || kpx.report_number(t.value),
			kpx.report_bar(t.value / greatest(t.high, 1e-12)), '#' || kpx.report_number(t.std_error), '#' || kpx.report_share(t.share), '#' || t.n, kpx.report_time(t.created_at)), ''
			ORDER BY t.run DESC, t.share DESC, t.value DESC))
	FROM (SELECT *, max(value) OVER (PARTITION BY run) AS high FROM trial WHERE recent <= 5 AND best = 1) t
	HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_trials(jsonb, text[]) IS 'section of the report: trials of kpx_tune';
