-- report: one page about everything, as HTML. Here: text, numbers and drawings; 91 the words, 92 and 93 what
-- is said, 94 the page. All are SQL functions bound when they are created, and run as the caller.
--
-- What comes from data goes through kpx.html, in texts, attributes and drawings alike; words of ours
-- are HTML already.

CREATE FUNCTION kpx.report_modules(modules text[], language text) RETURNS text[]
AS 'MODULE_PATHNAME', 'kpx_report_modules' LANGUAGE C STABLE;
COMMENT ON FUNCTION kpx.report_modules(text[], text) IS 'the modules to report on, NULL for all; raises for those that are not registered, and for languages there are not';

CREATE FUNCTION kpx.report_titles(module text, items text[]) RETURNS text[]
AS 'MODULE_PATHNAME', 'kpx_report_titles' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION kpx.report_titles(text, text[]) IS 'titles of these items, as far as the caller may read them';

CREATE FUNCTION kpx.html(t text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT replace(replace(replace(replace(replace(
		regexp_replace(t, '[\u0001-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\ufdd0-\ufdef\ufffe\uffff]', U&'\FFFD', 'g'),
		'&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;');
END;
COMMENT ON FUNCTION kpx.html(text) IS 'text as HTML, also within attributes and SVG; control characters become U+FFFD';

-- At most 60 characters of somebody's text, turned round or not, beside ours.
CREATE FUNCTION kpx.report_name(t text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT '<bdi>' || kpx.html(CASE WHEN length(t) > 60 THEN left(t, 59) || U&'\2026' ELSE t END) || '</bdi>';
END;
COMMENT ON FUNCTION kpx.report_name(text) IS 'a name from data, as HTML';

-- For attributes and drawings, where there are no tags: < is there only in tags of ours.
CREATE FUNCTION kpx.report_plain(h text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT regexp_replace(h, '<[^>]*>', '', 'g');
END;
COMMENT ON FUNCTION kpx.report_plain(text) IS 'HTML without its tags';

CREATE FUNCTION kpx.report_count(n numeric) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT to_char(n, 'FM999,999,999,999,999,990');
END;
COMMENT ON FUNCTION kpx.report_count(numeric) IS 'a whole number, in threes';

-- Four digits that count; - for what is not a number.
CREATE FUNCTION kpx.report_number(x double precision) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE
		WHEN x IS NULL OR x = 'NaN' THEN U&'\2013'
		WHEN abs(x) = 'Infinity' THEN CASE WHEN x < 0 THEN U&'\2212' ELSE '' END || U&'\221E'
		WHEN x = 0 THEN '0'
		WHEN abs(x) >= 1e15 OR abs(x) < 1e-6 THEN ltrim(to_char(x::numeric, '9.99EEEE'))
		WHEN abs(x) >= 1000 THEN to_char(x, 'FM999,999,999,999,999,990')
		ELSE trim_scale(round(x::numeric, greatest(0, 3 - floor(log(abs(x)))::integer)))::text END;
END;
COMMENT ON FUNCTION kpx.report_number(double precision) IS 'a number with about four digits';

CREATE FUNCTION kpx.report_share(x double precision) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN x IS NULL OR x = 'NaN' THEN U&'\2013' ELSE to_char(100 * x, 'FM999,990.0') || U&'\202F%' END;
END;
COMMENT ON FUNCTION kpx.report_share(double precision) IS 'a share in per cent';

CREATE FUNCTION kpx.report_time(t timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce('<time>' || CASE WHEN isfinite(t) THEN to_char(t, 'YYYY-MM-DD HH24:MI') ELSE t::text END || '</time>', U&'\2013');
END;
COMMENT ON FUNCTION kpx.report_time(timestamptz) IS 'a time in the session''s time zone, to the minute';

CREATE FUNCTION kpx.report_period(from_time timestamptz, to_time timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT '<time>' || to_char(from_time, 'YYYY-MM-DD') || U&'</time> \2013 <time>' || to_char(to_time, 'YYYY-MM-DD') || '</time>';
END;
COMMENT ON FUNCTION kpx.report_period(timestamptz, timestamptz) IS 'from when to when, to the day';

CREATE FUNCTION kpx.report_money(x double precision) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN abs(x) < 1e15 THEN to_char(x, 'FM999,999,999,999,990.00') ELSE kpx.report_number(x) END;
END;
COMMENT ON FUNCTION kpx.report_money(double precision) IS 'a sum of money, or another number with two decimals';

-- head: names of columns, as HTML; those that begin with # hold numbers. rows: the <tr>s.
CREATE FUNCTION kpx.report_table(caption text, head text[], rows text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT '<div class="scroll" role="region" tabindex="0" aria-label="' || kpx.report_plain(caption) || '"><table><caption>' || caption || '</caption><thead><tr>'
		|| (SELECT string_agg('<th scope="col"' || CASE WHEN h LIKE '#%' THEN ' class="n">' || substr(h, 2) ELSE '>' || h END || '</th>', '' ORDER BY o)
			FROM unnest(head) WITH ORDINALITY u(h, o))
		|| '</tr></thead><tbody>' || rows || '</tbody></table></div>';
END;
COMMENT ON FUNCTION kpx.report_table(text, text[], text) IS 'a table of HTML';

-- cells: as HTML; # before those that are numbers, ! before the one that names the row.
CREATE FUNCTION kpx.report_row(VARIADIC cells text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT '<tr>' || string_agg(CASE WHEN c LIKE '!%' THEN '<th scope="row">' || substr(c, 2) || '</th>'
		WHEN c LIKE '#%' THEN '<td class="n">' || substr(c, 2) || '</td>'
		ELSE '<td>' || coalesce(c, U&'\2013') || '</td>' END, '' ORDER BY o) || '</tr>'
	FROM unnest(cells) WITH ORDINALITY u(c, o);
END;
COMMENT ON FUNCTION kpx.report_row(text[]) IS 'a row of a table of HTML';

-- A bar in a table beside the number it draws, so that readers of the screen need not hear it.
CREATE FUNCTION kpx.report_bar(share double precision, class text DEFAULT 'a') RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" focusable="false"><rect class="' || class || '" width="'
		|| CASE WHEN share > 0 THEN round(100 * least(share, 1)::numeric, 2) ELSE 0 END || '" height="10"/></svg>';
END;
COMMENT ON FUNCTION kpx.report_bar(double precision, text) IS 'a bar, share of the width';

-- 1, 2 or 5 times a power of ten, at least x.
CREATE FUNCTION kpx.report_step(x double precision) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN x / m <= 1 THEN m WHEN x / m <= 2 THEN 2 * m WHEN x / m <= 5 THEN 5 * m ELSE 10 * m END
	FROM (SELECT power(10::double precision, floor(log(greatest(x, 1e-12))))) p(m);
END;
COMMENT ON FUNCTION kpx.report_step(double precision) IS 'a round distance between the marks of an axis';

-- Lines: points [{"s": series, "x": number, "y": number}]; series: their names, as HTML, by number from 0. The
-- axis of y begins where the data do, and says so by its marks: what lines show is change, not size.
CREATE FUNCTION kpx.report_lines(title text, points jsonb, series text[], x_label text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH point AS MATERIALIZED (
		SELECT (p->>'s')::integer AS s, (p->>'x')::double precision AS x, (p->>'y')::double precision AS y FROM jsonb_array_elements(points) p
		WHERE abs((p->>'y')::double precision) < 1e300
	), span AS (
		SELECT min(x) AS x0, greatest(max(x), min(x) + 1) AS x1, min(y) AS low, max(y) AS high FROM point
	), step AS (
		SELECT *, kpx.report_step(greatest(high - low, abs(high) * 1e-3, 1e-9) / 3) AS d FROM span
	), axis AS (
		SELECT *, floor(low / d) * d AS y0, greatest(ceil(high / d) * d, floor(low / d) * d + d) AS y1 FROM step
	), placed AS (
		SELECT s, p.x, p.y, round((52 + 236 * (p.x - x0) / (x1 - x0))::numeric, 1) AS px, round((134 - 118 * (p.y - y0) / (y1 - y0))::numeric, 1) AS py FROM point p, axis
	)
	SELECT '<svg class="chart" viewBox="0 0 320 164" role="img"><title>' || kpx.report_plain(title) || '</title><desc>'
		|| (SELECT string_agg(series[s + 1] || ': ' || kpx.report_number(y_first) || U&' \2192 ' || kpx.report_number(y_last), '; ' ORDER BY s)
			FROM (SELECT DISTINCT s, first_value(y) OVER (PARTITION BY s ORDER BY x) AS y_first, first_value(y) OVER (PARTITION BY s ORDER BY x DESC) AS y_last FROM placed) e)
		|| '</desc>'
		|| (SELECT string_agg(format('<line class="grid" x1="52" x2="288" y1="%1$s" y2="%1$s"/><text class="n" x="46" y="%2$s">%3$s</text>', py, py + 4,
				kpx.report_number(y0 + i * d)), '' ORDER BY i)
			FROM (SELECT i, y0, d, round((134 - 118 * i * d / (y1 - y0))::numeric, 1) AS py FROM axis, generate_series(0, round((y1 - y0) / d)::integer) i) t)
		|| format('<text x="52" y="152">%s %s</text><text class="n" x="288" y="152">%s</text>', x_label, kpx.report_number(x0), kpx.report_number((SELECT max(x) FROM point)))
		|| (SELECT string_agg(format('<polyline class="line s%s" points="%s"/>', s, line)
				|| format('<circle class="dot s%s" cx="%s" cy="%s" r="2.5"/>', s, x_last, y_last), '' ORDER BY s)
			FROM (SELECT s, string_agg(px || ',' || py, ' ' ORDER BY x) AS line, (array_agg(px ORDER BY x DESC))[1] AS x_last, (array_agg(py ORDER BY x DESC))[1] AS y_last
				FROM placed GROUP BY s) l)
		|| '</svg>'
	FROM axis WHERE x0 IS NOT NULL;
END;
COMMENT ON FUNCTION kpx.report_lines(text, jsonb, text[], text) IS 'a drawing of lines';

-- Columns from zero: bars [{"x": place from 0, "y": number, "c": class, "t": what it is}]; high: the top of the axis is
-- no lower, so that drawings beside each other can be compared; share: y are shares.
CREATE FUNCTION kpx.report_columns(title text, bars jsonb, high double precision, first_label text, last_label text, share boolean DEFAULT false) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH bar AS MATERIALIZED (
		SELECT (b->>'x')::integer AS x, (b->>'y')::double precision AS y, coalesce(b->>'c', 'a') AS c, b->>'t' AS t FROM jsonb_array_elements(bars) b
	), span AS (
		SELECT greatest(max(x) + 1, 8) AS n, greatest(max(y), high) AS h FROM bar WHERE abs(y) < 1e300
	), axis AS (
		SELECT n, h, CASE WHEN h > 0 THEN ceil(h / kpx.report_step(h / 4)) * kpx.report_step(h / 4) ELSE 1 END AS top FROM span
	)
	SELECT '<svg class="chart" viewBox="0 0 320 104" role="img"><title>' || kpx.report_plain(title) || '</title><desc>'
		|| (SELECT string_agg(t, '; ' ORDER BY x) FROM bar) || '</desc>'
		|| format('<line class="grid" x1="52" x2="308" y1="12" y2="12"/><text class="n" x="46" y="16">%s</text><text class="n" x="46" y="84">0</text>',
			CASE WHEN share THEN kpx.report_number(100 * top) || U&'\202F%' ELSE kpx.report_number(top) END)
		|| coalesce((SELECT string_agg(format('<rect class="%s" x="%s" y="%s" width="%s" height="%s"/>', c, round((52 + 256.0 * x / n)::numeric, 2),
				round((80 - 68 * y / top)::numeric, 2), round(greatest(256.0 / n - 1, 0.5)::numeric, 2), round((68 * y / top)::numeric, 2)), '' ORDER BY x)
			FROM bar WHERE y > 0 AND y < 1e300), '')
		|| '<line class="axis" x1="52" x2="308" y1="80" y2="80"/>'
		|| format('<text x="52" y="97">%s</text><text class="n" x="308" y="97">%s</text></svg>', first_label, last_label)
	FROM axis WHERE h IS NOT NULL;
END;
COMMENT ON FUNCTION kpx.report_columns(text, jsonb, double precision, text, text, boolean) IS 'a drawing of columns';

-- The table behind a drawing, folded away.
CREATE FUNCTION kpx.report_details(word text, t text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT '<details><summary>' || word || '</summary>' || t || '</details>';
END;
COMMENT ON FUNCTION kpx.report_details(text, text) IS 'something to unfold';

CREATE FUNCTION kpx.report_section(id text, heading text, body text, empty text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT '<section id="' || id || '" aria-labelledby="' || id || '-h"><h2 id="' || id || '-h">' || heading || '</h2>'
		|| coalesce(body, '<p class="empty">' || empty || '</p>') || '</section>';
END;
COMMENT ON FUNCTION kpx.report_section(text, text, text, text) IS 'a section of the page: its body, or why there is none';
