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

CREATE FUNCTION kpx.report_error(value double precision, std_error double precision) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN value IS NULL THEN U&'\2013' ELSE to_char(value, 'FM990.0000') || coalesce(U&'\202F\00B1\202F' || to_char(std_error, 'FM990.0000'), '') END;
END;
COMMENT ON FUNCTION kpx.report_error(double precision, double precision) IS 'a value from 0 to 1 and its standard error';

CREATE FUNCTION kpx.report_of_quality(w jsonb, these text[]) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH measured AS (
		SELECT q.model, q.name, q.version, q.measured_by, q.split, q.module, split_part(min(q.metric), '@', 2) AS k, max(q.users) AS users, max(q.measured_at) AS measured_at,
			max(q.value) FILTER (WHERE q.metric ~ '^ndcg@') AS ndcg, max(q.std_error) FILTER (WHERE q.metric ~ '^ndcg@') AS ndcg_error,
			max(q.popularity) FILTER (WHERE q.metric ~ '^ndcg@') AS popular_ndcg,
			max(q.value) FILTER (WHERE q.metric ~ '^recall@') AS recall, max(q.popularity) FILTER (WHERE q.metric ~ '^recall@') AS popular_recall,
			string_agg(kpx.report_row('!' || kpx.html(q.metric), '#' || kpx.report_error(q.value, q.std_error), '#' || kpx.report_error(q.popularity, q.popularity_std_error)), '' ORDER BY q.metric) AS rows
		FROM @extschema@.kpx_model_metrics q WHERE these IS NULL OR q.module = ANY (these)
		GROUP BY q.model, q.name, q.version, q.measured_by, q.split, q.module ORDER BY max(q.measured_at) DESC, q.module LIMIT 20
	), scaled AS MATERIALIZED (
		SELECT *, greatest(max(greatest(ndcg, popular_ndcg)) OVER (PARTITION BY module), 1e-12) AS high FROM measured
	)
	SELECT '<p class="note">' || (w->>'n_quality') || '</p>'
		|| kpx.report_table(w->>'c_quality', ARRAY[w->>'module', '#' || (w->>'model'), '#k', '#NDCG', '#' || (w->>'popularity'), '', '#' || (w->>'recall'), '#' || (w->>'popularity'),
				'#' || (w->>'users'), w->>'held_out', w->>'time'],
			string_agg(kpx.report_row('!' || kpx.report_name(q.module), '#' || q.model, '#' || kpx.html(q.k), '#' || kpx.report_error(q.ndcg, q.ndcg_error), '#' || kpx.report_error(q.popular_ndcg, NULL),
				kpx.report_bar(q.ndcg / q.high) || kpx.report_bar(q.popular_ndcg / q.high, 'muted'), '#' || kpx.report_error(q.recall, NULL), '#' || kpx.report_error(q.popular_recall, NULL),
				'#' || kpx.report_count(q.users), kpx.html(q.measured_by) || ', ' || kpx.html(q.split),
				kpx.report_time(q.measured_at)), '' ORDER BY q.measured_at DESC, q.module))
		|| kpx.report_details(w->>'data', string_agg(kpx.report_table(kpx.report_name(q.name) || ' ' || q.version || ', ' || kpx.report_name(q.module) || ', ' || kpx.html(q.measured_by),
			ARRAY[w->>'metric', '#' || (w->>'value'), '#' || (w->>'popularity')], q.rows), '' ORDER BY q.measured_at DESC, q.module))
	FROM scaled q HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_quality(jsonb, text[]) IS 'section of the report: metrics of models against popularity';

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
