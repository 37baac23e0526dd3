-- report: how it runs.

-- Shares of calls that could not be answered by the model alone, or at all, are of answers: a call may have several.
CREATE FUNCTION kpx.report_of_calls(w jsonb, these text[]) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT '<p class="note">' || (w->>'n_calls') || ' ' || kpx.report_time(min(c.since)) || '</p>'
		|| kpx.report_table(w->>'c_calls', ARRAY[w->>'module', w->>'function', '#' || (w->>'calls'), '#p50', '#p95', '#p99', '', '#' || (w->>'slowest'), '#' || (w->>'empty'), '#' || (w->>'fell_back')],
		string_agg(kpx.report_row('!' || coalesce(kpx.report_name(c.module), w->>'anywhere'), kpx.html(c.function), '#' || kpx.report_count(c.calls), '#' || kpx.report_money(c.p50_ms), '#' || kpx.report_money(c.p95_ms),
			'#' || kpx.report_money(c.p99_ms), kpx.report_bar(c.p99_ms / greatest(c.high, 1e-9)), '#' || kpx.report_money(c.max_ms), '#' || kpx.report_share(c.empty::double precision / nullif(c.answers, 0)),
			'#' || kpx.report_share(c.fell_back::double precision / nullif(c.answers, 0))), '' ORDER BY c.p99_ms DESC, c.module, c.function))
	FROM (SELECT s.*, max(s.p99_ms) OVER () AS high FROM @extschema@.kpx_stat_recommend s WHERE s.calls > 0 AND (these IS NULL OR s.module = ANY (these)) ORDER BY s.p99_ms DESC LIMIT 30) c
	HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_calls(jsonb, text[]) IS 'section of the report: slow calls';

CREATE FUNCTION kpx.report_of_lists(w jsonb, these text[]) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT '<p class="note">' || (w->>'n_lists') || '</p>' || kpx.report_table(w->>'c_lists', ARRAY[w->>'module', '#' || (w->>'model'), '#' || (w->>'coverage'), '', '#Gini', '#' || (w->>'novelty'), '#' || (w->>'diversity'),
			'#' || (w->>'fell_back'), '#' || (w->>'cold'), '#' || (w->>'users'), w->>'time'],
		string_agg(kpx.report_row('!' || kpx.report_name(s.module), '#' || s.model, '#' || kpx.report_share(s.coverage), kpx.report_bar(s.coverage), '#' || kpx.report_money(s.gini), '#' || kpx.report_money(s.novelty),
			'#' || kpx.report_money(s.diversity), '#' || kpx.report_share(s.fallback_share), '#' || kpx.report_share(s.cold_share), '#' || kpx.report_count(s.users), kpx.report_time(s.measured_at)), '' ORDER BY s.module))
	FROM @extschema@.kpx_stat_module s WHERE s.newest AND (these IS NULL OR s.module = ANY (these))
	HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_lists(jsonb, text[]) IS 'section of the report: what lists are like';

CREATE FUNCTION kpx.report_of_drift(w jsonb, these text[]) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT '<p class="note">' || (w->>'n_drift') || '</p>' || kpx.report_table(w->>'c_drift', ARRAY[w->>'module', w->>'feature', '#' || (w->>'psi'), '#' || (w->>'noise'), '#' || (w->>'threshold'), '', w->>'drifted', w->>'time'],
		string_agg(kpx.report_row('!' || kpx.report_name(d.module), kpx.html(d.feature), '#' || coalesce(kpx.report_money(d.psi), U&'\2013'), '#' || coalesce(kpx.report_money(d.noise), U&'\2013'), '#' || kpx.report_money(d.threshold),
			kpx.report_bar(greatest(d.psi - d.noise, 0) / nullif(2 * d.threshold, 0), CASE WHEN d.drifted THEN 'warn' ELSE 'a' END),
			CASE WHEN d.drifted THEN '<strong class="warn">' || (w->>'yes') || '</strong>' WHEN NOT d.drifted THEN w->>'no' END, kpx.report_time(d.measured_at)), '' ORDER BY d.module, d.feature))
	FROM @extschema@.kpx_stat_drift d WHERE d.newest AND (these IS NULL OR d.module = ANY (these))
	HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_drift(jsonb, text[]) IS 'section of the report: drift';

CREATE FUNCTION kpx.report_status(status text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN status = ANY ('{failed,lost,cancelled,error}') THEN '<strong class="bad">' WHEN status = ANY ('{retrying,paused,warning}') THEN '<strong class="warn">' ELSE '<span>' END
		|| kpx.html(status) || CASE WHEN status = ANY ('{failed,lost,cancelled,error,retrying,paused,warning}') THEN '</strong>' ELSE '</span>' END;
END;
COMMENT ON FUNCTION kpx.report_status(text) IS 'how something went, as HTML';

-- Jobs are of the platform, whatever modules the report is about.
CREATE FUNCTION kpx.report_of_jobs(w jsonb) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT kpx.report_table(w->>'c_jobs', ARRAY[w->>'job', w->>'task', w->>'status', w->>'next', w->>'last', w->>'last_start', '#' || (w->>'seconds'), '#' || (w->>'failures'), w->>'message'],
			string_agg(kpx.report_row('!' || kpx.report_name(j.job), kpx.html(j.task), kpx.report_status(j.status) || coalesce(' <span class="muted">' || kpx.html(j.paused_because) || '</span>', ''), kpx.report_time(j.next_start),
				kpx.report_status(j.last_status), kpx.report_time(j.last_start), '#' || kpx.report_number(j.last_seconds), '#' || j.consecutive_failures, kpx.report_name(j.last_message)), '' ORDER BY j.job))
		|| coalesce((SELECT '<p class="note">' || (w->>'n_jobs') || '</p><div class="cards">' || string_agg('<figure><figcaption>' || kpx.report_name(r.job) || '</figcaption>'
				|| kpx.report_columns((w->>'seconds') || ', ' || kpx.report_name(r.job), r.bars, 0, to_char(r.first_start, 'MM-DD HH24:MI'), to_char(r.last_start, 'MM-DD HH24:MI'))
				|| kpx.report_details(w->>'data', kpx.report_table(kpx.report_name(r.job), ARRAY[w->>'time', w->>'status', '#' || (w->>'seconds'), w->>'phase', w->>'message'], r.rows)) || '</figure>', '' ORDER BY r.job) || '</div>'
			FROM (
				SELECT n.job, min(n.started_at) AS first_start, max(n.started_at) AS last_start,
					jsonb_agg(jsonb_build_object('x', n.last - n.n, 'y', n.seconds, 'c', CASE WHEN n.status = ANY ('{failed,lost,cancelled}') THEN 'bad' ELSE 'a' END,
						't', to_char(n.started_at, 'YYYY-MM-DD HH24:MI') || ' ' || n.status || ' ' || kpx.report_number(n.seconds))) AS bars,
					string_agg(kpx.report_row(kpx.report_time(n.started_at), kpx.report_status(n.status), '#' || kpx.report_number(n.seconds), kpx.html(n.phase), kpx.html(n.message)), '' ORDER BY n.run DESC) AS rows
				FROM (SELECT r.*, row_number() OVER (PARTITION BY r.job ORDER BY r.run DESC) AS n, least(40, count(*) OVER (PARTITION BY r.job)) AS last FROM @extschema@.kpx_job_runs r) n
				WHERE n.n <= 40 GROUP BY n.job) r), '')
	FROM @extschema@.kpx_jobs j HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_jobs(jsonb) IS 'section of the report: jobs and how they went';

CREATE FUNCTION kpx.report_of_health(w jsonb) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT kpx.report_table(w->>'c_health', ARRAY[w->>'severity', w->>'fault', w->>'object', w->>'detail', w->>'action'],
		string_agg(kpx.report_row(kpx.report_status(h.severity), '!' || kpx.html(h.fault), kpx.report_name(h.object), kpx.html(h.detail), kpx.html(h.action)), ''))
	FROM @extschema@.kpx_health() h HAVING count(*) > 0;
END;
COMMENT ON FUNCTION kpx.report_of_health(jsonb) IS 'section of the report: what is wrong';
