-- report: the page.

-- Colours have a contrast of at least 4.5 : 1 to their ground in both schemes (WCAG AA), those of drawings 3 : 1.
CREATE FUNCTION kpx.report_style() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT '
:root { color-scheme: light dark; --ground: #fff; --text: #1c2330; --muted: #566072; --rule: #dfe3e9; --strong-rule: #aab2bf; --a: #1f6fb4; --b: #b4540a; --good: #1a6b3c; --warn: #9a3b00; --bad: #b3261e; --soft: #f4f6f9; }
@media (prefers-color-scheme: dark) {
:root { --ground: #13171d; --text: #e4e8ee; --muted: #a2adbd; --rule: #2b323d; --strong-rule: #566072; --a: #62aef0; --b: #f0a05a; --good: #6fcf97; --warn: #f5b56b; --bad: #ff8f86; --soft: #1b2129; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--text); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; }
main, header, footer { max-width: 70rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .75rem; font-weight: 650; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 0 0 .75rem; font-weight: 650; }
section { padding: 1.75rem 0 1.25rem; border-top: 1px solid var(--rule); }
dl { display: flex; flex-wrap: wrap; gap: .25rem 2rem; margin: 0 0 .75rem; }
dt { color: var(--muted); font-size: .8125rem; }
dd { margin: 0; overflow-wrap: anywhere; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; margin: 1rem 0 1.5rem; padding: 0; }
a { color: var(--a); text-underline-offset: .2em; }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--a); outline-offset: 2px; }
p { margin: 0 0 .75rem; max-width: 46rem; }
.note, .muted, .empty, figcaption .muted { color: var(--muted); }
.note { font-size: .875rem; }
.empty { background: var(--soft); padding: .75rem 1rem; border-radius: .375rem; }
code { font: .9em ui-monospace, "SF Mono", Menlo, Consolas, "Noto Sans Mono", monospace; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 0 0 .75rem; }
table { border-collapse: collapse; min-width: 100%; font-size: .875rem; }
caption { text-align: left; font-weight: 600; padding: .25rem 0 .5rem; }
th, td { text-align: left; vertical-align: top; padding: .375rem 1rem .375rem 0; border-bottom: 1px solid var(--rule); }
thead th { color: var(--muted); font-weight: 500; border-bottom-color: var(--strong-rule); vertical-align: bottom; white-space: nowrap; }
.names { display: inline-block; min-width: 9rem; }
tbody th { font-weight: 500; min-width: 9rem; max-width: 24rem; overflow-wrap: break-word; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
time { font-variant-numeric: tabular-nums; white-space: nowrap; }
.tag { display: inline-block; font-size: .75rem; line-height: 1.4; padding: 0 .4rem; border: 1px solid currentColor; border-radius: 1rem; color: var(--good); white-space: nowrap; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.bar { display: block; width: 7rem; height: .8rem; margin-top: .3rem; background: var(--soft); }
svg .a { fill: var(--a); } svg .b { fill: var(--b); } svg .bad { fill: var(--bad); } svg .warn { fill: var(--warn); } svg .muted { fill: var(--muted); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); gap: 1.5rem 2rem; margin-top: 1rem; }
figure { margin: 0; min-width: 0; }
figcaption { font-weight: 600; font-size: .875rem; margin-bottom: .25rem; overflow-wrap: anywhere; }
.chart { display: block; width: 100%; height: auto; }
.chart text { fill: var(--muted); font-size: 11px; font-variant-numeric: tabular-nums; }
.chart text.n { text-anchor: end; }
.grid { stroke: var(--rule); stroke-width: 1; } .axis { stroke: var(--muted); stroke-width: 1; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .line.s0 { stroke: var(--a); } .line.s1 { stroke: var(--b); stroke-dasharray: 5 3; }
.dot.s0 { fill: var(--a); } .dot.s1 { fill: var(--b); }
.key { font-size: .8125rem; color: var(--muted); margin: .25rem 0; }
.key span::before { content: ""; display: inline-block; width: 1.25rem; margin-right: .375rem; vertical-align: middle; border-top: 2px solid var(--a); }
.key .s1::before { border-top: 2px dashed var(--b); }
.key span { margin-right: .75rem; }
details { font-size: .875rem; margin-top: .25rem; }
summary { cursor: pointer; color: var(--a); width: fit-content; }
footer { color: var(--muted); font-size: .8125rem; padding-top: 1rem; padding-bottom: 3rem; }
@media (max-width: 40rem) { body { font-size: 14px; } h1 { font-size: 1.5rem; } header { padding-top: 1.5rem; } th, td { padding-right: .75rem; } .bar { width: 4rem; } tbody th { min-width: 7rem; } }
@media print { :root { color-scheme: light; --ground: #fff; --text: #000; --muted: #444; --rule: #ccc; --strong-rule: #aab2bf; --a: #1f6fb4; --b: #b4540a; --good: #1a6b3c; --warn: #9a3b00; --bad: #b3261e; --soft: #f4f6f9; } nav, details { display: none; } section, figure, tr { break-inside: avoid; } .scroll { overflow: visible; } body { font-size: 10pt; } table { font-size: 8pt; } }
';
END;
COMMENT ON FUNCTION kpx.report_style() IS 'the style sheet of the report';

CREATE FUNCTION kpx.report_page(w jsonb, these text[]) RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH section(n, id, body) AS MATERIALIZED (VALUES
		(0, 'health', CASE WHEN (SELECT bool_and(has_function_privilege(p.oid, 'EXECUTE')) FROM pg_proc p
			JOIN pg_extension e ON e.extnamespace = p.pronamespace AND e.extname = 'kpxrec' WHERE p.proname = 'kpx_health') THEN kpx.report_of_health(w) ELSE '<p class="empty">' || (w->>'r_health') || '</p>' END),
		(1, 'modules', kpx.report_of_modules(w, these)),
		(2, 'models', kpx.report_of_models(w, these)),
		(3, 'quality', kpx.report_of_quality(w, these)),
		(4, 'curves', kpx.report_of_curves(w, these)),
		(5, 'trials', kpx.report_of_trials(w, these)),
		(6, 'segments', kpx.report_of_segments(w, these)),
		(7, 'rules', kpx.report_of_rules(w, these)),
		(8, 'funnel', kpx.report_of_funnel(w, these)),
		(9, 'policies', kpx.report_of_policies(w)),
		(10, 'effects', kpx.report_of_effects(w, these)),
		(11, 'views', kpx.report_of_views(w, these)),
		(12, 'lists', kpx.report_of_lists(w, these)),
		(13, 'drift', kpx.report_of_drift(w, these)),
		(14, 'calls', kpx.report_of_calls(w, these)),
		(15, 'jobs', kpx.report_of_jobs(w))
	), installed AS (
		SELECT v.library FROM @extschema@.kpx_version() v
	)
	SELECT '<!DOCTYPE html>
<html lang="' || (w->>'lang') || '">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''unsafe-inline''">
<title>' || (w->>'title') || U&' \2013 ' || kpx.html(current_database()) || '</title>
<style>' || kpx.report_style() || '</style>
</head>
<body>
<header>
<h1>' || (w->>'title') || '</h1>
<dl>'
		|| (SELECT string_agg('<div><dt>' || (w->>k) || '</dt><dd>' || v || '</dd></div>', '' ORDER BY n) FROM (VALUES
			(1, 'database', kpx.report_name(current_database())),
			(2, 'modules', coalesce(kpx.report_names(these), w->>'all')),
			(3, 'written', kpx.report_time(now()) || ' ' || kpx.html(current_setting('TimeZone'))),
			(4, 'role', kpx.report_name(current_user)),
			(5, 'library', 'kpxrec ' || kpx.html((SELECT i.library FROM installed i)))) d(n, k, v))
		|| '</dl>
<p class="note">' || (w->>'role_note') || '</p>
<nav aria-label="' || (w->>'contents') || '"><ul>'
		|| (SELECT string_agg('<li><a href="#' || id || '">' || (w->>('h_' || id)) || '</a></li>', '' ORDER BY n) FROM section)
		|| '</ul></nav>
</header>
<main>
'
		|| (SELECT string_agg(kpx.report_section(id, w->>('h_' || id), body, w->>('e_' || id)), E'\n' ORDER BY n) FROM section)
		|| '
</main>
<footer><p>' || (w->>'footer') || '</p></footer>
</body>
</html>
';
END;
COMMENT ON FUNCTION kpx.report_page(jsonb, text[]) IS 'the whole report in these words';

CREATE FUNCTION @extschema@.kpx_report(modules text[] DEFAULT NULL, language text DEFAULT 'en') RETURNS text LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT kpx.report_page(kpx.report_words(language), kpx.report_modules(modules, language));
END;
COMMENT ON FUNCTION @extschema@.kpx_report(text[], text) IS
'one self-contained HTML page about modules, models, users, rules, what was shown and how things run, as far as the caller may see it; languages: en, zh';
