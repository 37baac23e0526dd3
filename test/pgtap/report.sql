-- report: the page as text. How it looks in a browser is tested in test/t/030_report.pl.
BEGIN;
SELECT plan(49);
-- nothing is there yet: every section says what would make it
CREATE FUNCTION pg_temp.full_sections() RETURNS text[] LANGUAGE sql AS
$$SELECT array_agg(t[1]) FROM regexp_matches(kpx_report(), '<section id="(?!health)([a-z]+)"[^>]*><h2[^>]*>[^<]*</h2>(?!<p class="empty">)', 'g') t$$;
SELECT is(pg_temp.full_sections(), NULL, 'in an empty database each section says that it has nothing');
SELECT matches(kpx_report(), '<section id="health"', 'health is always there');
SELECT matches(kpx_report(), '<code>' || f, 'and names ' || f) FROM unnest(ARRAY['kpx_add_module', 'kpx_train', 'kpx_evaluate_model', 'kpx_tune', 'kpx_set_traffic', 'kpx_cluster', 'kpx_mine_rules', 'kpx_recommend_slate', 'kpx_set_policy', 'kpx_create_recommendation_view', 'kpx_measure', 'kpx_schedule']) f;

-- words
SELECT set_eq($$SELECT jsonb_object_keys(kpx.report_words('en'))$$, $$SELECT jsonb_object_keys(kpx.report_words('zh'))$$, 'both languages have the same words');
SELECT is_empty($$SELECT w.key FROM jsonb_each_text(kpx.report_words('en')) w WHERE w.key <> 'lang' AND NOT EXISTS (
	SELECT FROM pg_proc p WHERE p.pronamespace = 'kpx'::regnamespace AND p.proname ~ '^report_' AND p.proname <> 'report_words' AND pg_get_functiondef(p.oid) ~ ('''' || w.key || ''''))
	AND NOT (w.key ~ '^(h|e)_')$$, 'none is left over');
SELECT is_empty($$SELECT w.key FROM jsonb_each_text(kpx.report_words('zh')) w WHERE w.value = kpx.report_words('en')->>w.key$$, 'and none is not translated');

-- numbers and texts
SELECT is(kpx.html(E'<a href="x" title=''y''>&\u0001\u009f\ufffe'), '&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;' || repeat(U&'\FFFD', 3), 'text as HTML');
SELECT is(array(SELECT kpx.report_number(x) FROM unnest(ARRAY[0, 1, 0.12345, -12.3456, 999.96, 1234.6, 1234567, 1e15, 1e-7, 'NaN', 'Infinity', '-Infinity', NULL]::float8[]) WITH ORDINALITY u(x, o) ORDER BY o),
	ARRAY['0', '1', '0.1235', '-12.35', '1000', '1,235', '1,234,567', '1.00e+15', '1.00e-07', U&'\2013', U&'\221E', U&'\2212\221E', U&'\2013'], 'numbers');
SELECT is(array(SELECT kpx.report_step(x) FROM unnest(ARRAY[0.9, 1, 1.1, 2.5, 51, 0.0031]::float8[]) WITH ORDINALITY u(x, o) ORDER BY o)::text, '{1,1,2,5,100,0.005}', 'steps of axes');
SELECT is(kpx.report_name(repeat('x', 70)), '<bdi>' || repeat('x', 59) || U&'\2026</bdi>', 'long names are cut');
-- drawings
SELECT is(kpx.report_lines('t', NULL, ARRAY['a'], 'x'), NULL, 'no points, no drawing');
SELECT is(kpx.report_lines('t', '[]', ARRAY['a'], 'x'), NULL, 'none either');
SELECT matches(kpx.report_lines('t', '[{"s": 0, "x": 1, "y": 5}]', ARRAY['a'], 'x'), '<polyline class="line s0" points="52.0,[0-9.]+"/>', 'one point');
SELECT matches(kpx.report_lines('t', '[{"s": 0, "x": 1, "y": 1}, {"s": 0, "x": 2, "y": 3}]', ARRAY['a'], 'x'), 'points="52.0,134.0 288.0,16.0"', 'the axes span the data');
SELECT matches(kpx.report_columns('t', '[{"x": 0, "y": 10, "t": "a"}, {"x": 9, "y": 5, "t": "b"}]', 0, 'f', 'l'), 'y="12.00" width="24.60" height="68.00".*y="46.00" width="24.60" height="34.00"', 'columns begin at zero');
SELECT matches(kpx.report_columns('t', '[{"x": 0, "y": 0, "t": "a"}]', 0, 'f', 'l'), '<text class="n" x="46" y="16">1</text>', 'nothing but zeros');
SELECT matches(kpx.report_columns('t', '[{"x": 0, "y": 10, "t": "a"}]', 20, 'f', 'l'), 'height="34.00"', 'on the scale of others');

-- a platform whose every text wants to be HTML
\ir fixture.psql
UPDATE app.courses SET title = E'<script>alert(1)</script>" onload="alert(2)" \u0001 ' || id;
UPDATE app.products SET title = '</title></svg></td>&amp;' || id;
ALTER TABLE app.products ADD shelf text DEFAULT '<img src=x onerror=alert(3)>';
SELECT kpx_add_module('<b onclick="x">&lt;', 'app.products', 'id', title => 'title', category => 'shelf') \g /dev/null
SELECT kpx_add_events('<b onclick="x">&lt;', 'app.orders', 'purchase', 'user_id', 'product_id', occurred_at => 'at') \g /dev/null
SELECT kpx_train(ARRAY['courses', 'videos', '<b onclick="x">&lt;'], params => app.small(), name => '<i>model') \g /dev/null
SELECT kpx_mine_rules('courses', 5, 0.1, 2) \g /dev/null
SELECT kpx_cluster('<u>groups', ARRAY['<b onclick="x">&lt;'], 3) \g /dev/null
SELECT kpx_set_policy(params => '{"lambda": 0.5}', comment => '<s>policy') \g /dev/null
SELECT count(s.*) FROM generate_series(1, 20) u, kpx_recommend_slate(u, ARRAY['courses', '<b onclick="x">&lt;'], 4, '<b onclick="x">&lt;', log => true) s \g /dev/null
SELECT kpx_feedback(i.slate_id, i.item_id, 'click', module => m.name) FROM kpx.impression i JOIN kpx.module m ON m.id = i.module_id WHERE i.rank = 1 \g /dev/null
UPDATE kpx.impression SET occurred_at = occurred_at - interval '1 day' WHERE slate_id % 2 = 0 AND occurred_at - interval '1 day' >= date_trunc('month', occurred_at);
SELECT kpx_create_recommendation_view('courses', 3, '"<em>view"') \g /dev/null
SELECT count(*) FROM kpx_evaluate_model((SELECT max(model) FROM kpx_models), 5) \g /dev/null
CREATE TEMP TABLE page AS SELECT language, kpx_report(language => language) AS html FROM unnest('{en,zh}'::text[]) language;
SELECT is_empty($$SELECT id FROM page, unnest('{modules,models,quality,curves,segments,rules,funnel,policies,effects,views}'::text[]) id WHERE html !~ ('<section id="' || id || '"') OR html ~ ('<section id="' || id || '"[^>]*><h2[^>]*>[^<]*</h2><p class="empty"')$$, 'everything is there now but trials and what is measured');
SELECT is_empty($$SELECT DISTINCT t[1] FROM page, regexp_matches(html, '<[/!]?([a-zA-Z0-9]+)', 'g') t
	WHERE t[1] NOT IN ('DOCTYPE', 'html', 'head', 'meta', 'title', 'style', 'body', 'header', 'h1', 'dl', 'div', 'dt', 'dd', 'bdi', 'time', 'p', 'nav', 'ul', 'li', 'a', 'main', 'section', 'h2',
		'table', 'caption', 'thead', 'tbody', 'tr', 'th', 'td', 'strong', 'span', 'svg', 'rect', 'figure', 'figcaption', 'desc', 'line', 'text', 'polyline', 'circle', 'details', 'summary', 'code', 'footer')$$,
	'no element that is not ours: no script, no img, no b, no i');
SELECT is_empty($$SELECT t[1] FROM page, regexp_matches(regexp_replace(html, '"[^"<>]*"', '', 'g'), '(<[a-zA-Z][^>]*\son[a-z]+=[^>]*>)', 'g') t$$, 'no handler');
SELECT is_empty($$SELECT t[1] FROM page, regexp_matches(html, '((?:src|href|url|@import)\s*[=(]?\s*["'']?(?:https?:|//|data:)[^ ]*)', 'g') t$$, 'nothing from elsewhere');
SELECT is((SELECT count(*) FROM page, regexp_matches(html, '<', 'g')), (SELECT count(*) FROM page, regexp_matches(html, '>', 'g')), 'tags that are opened are closed');
SELECT is((SELECT array_agg(DISTINCT t[1]) FROM page, regexp_matches(html, '(<script|alert\(2\)")', 'g') t), NULL, 'the title of an item does not get through');
SELECT ok((SELECT bool_and(html ~ '&lt;script&gt;alert\(1\)&lt;/script&gt;&quot; onload=&quot;alert\(2\)&quot;') FROM page), 'as a text it does');
SELECT ok((SELECT bool_and(html ~ '<title>[^<]*&lt;b onclick=&quot;x&quot;&gt;&amp;lt;[^<]*</title><desc>') FROM page), 'the name of a module in a drawing');
SELECT ok((SELECT bool_and(html ~ 'aria-label="[^"<]*&lt;u&gt;groups[^"<]*"') FROM page), 'the name of segments in an attribute');
SELECT is_empty($$SELECT t[1] FROM page, regexp_matches(html, '(<svg (?![^>]*(?:role="img"><title>[^<]+</title><desc>[^<]+</desc>|aria-hidden="true"))[^>]*>)', 'g') t WHERE t[1] !~ 'role="img"'$$, 'each drawing has a role, or is hidden');
SELECT ok((SELECT bool_and(html ~ format('<section id="quality".*>%s<.*>%s<.*<section id="curves"', kpx.report_error(m.value, m.std_error), kpx.report_error(m.popularity, NULL)))
	FROM page, kpx_model_metrics m WHERE m.metric = 'ndcg@5'), 'each module''s NDCG is there, and that of popularity');
SELECT is((SELECT count(*) FROM page, regexp_matches(html, '<svg class="chart"', 'g')), (SELECT count(*) FROM page, regexp_matches(html, '<svg class="chart" viewBox="[0-9 ]+" role="img"><title>[^<]+</title><desc>[^<]+</desc>', 'g')),
	'each has a title and says in words what it shows');
SELECT cmp_ok((SELECT min(length(html)) FROM page), '>', 20000, 'it is a page');

-- which modules; whose rights
SELECT ok(kpx_report('{videos}') ~ '<bdi>videos</bdi>' AND kpx_report('{videos}') !~ '<th scope="row"><bdi>courses', 'modules that were asked for, and no others');
SELECT matches(app.error($$SELECT kpx_report('{nothing}')$$), '^42704 module "nothing" is not registered', 'a module there is not');
SELECT matches(app.error($$SELECT kpx_report(language => 'fr')$$), '^22023 there is no report in language "fr" | Languages: en, zh', 'a language there is not');
SELECT matches(app.error($$SELECT kpx_report(language => NULL)$$), '^22004', 'none');
CREATE ROLE kpx_reader;
REVOKE EXECUTE ON FUNCTION kpx_health FROM PUBLIC; -- the fixture grants it
SET LOCAL ROLE kpx_reader;
SELECT matches(kpx_report(), 'This role may not call <code>kpx_health', 'who may not ask for faults is told so');
SELECT is((SELECT array_agg(t[1]) FROM regexp_matches(kpx_report(), '<section id="([a-z]+)"[^>]*><h2[^>]*>[^<]*</h2>(?!<p class="empty">)', 'g') t), NULL, 'who may see nothing gets a page without anything');
RESET ROLE;
GRANT USAGE ON SCHEMA app TO kpx_reader;
GRANT SELECT ON app.enrolments, app.orders, app.plays TO kpx_reader;
GRANT SELECT (id, price) ON app.products TO kpx_reader;
SET LOCAL ROLE kpx_reader;
SELECT ok(kpx_report() ~ 'courses/[0-9]+' AND kpx_report() !~ 'script', 'who may not read titles sees ids in their place');
SELECT ok(kpx_report() !~ '&lt;s&gt;policy', 'and no policy of others');
RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
