-- transfer: a model as one value; whatever byte is changed, an error that says so, never a crash.
BEGIN;
SELECT plan(27);
\ir fixture.psql
SELECT model AS one FROM kpx_train(ARRAY['courses', 'videos'], params => app.small(), name => 'm') \gset
CREATE FUNCTION app.answers(bigint) RETURNS TABLE (u bigint, rank int, item text, score real, reason text) LANGUAGE sql AS $$
	SELECT u, r.rank, r.item_id, r.score, r.reason FROM generate_series(1::bigint, 60) u, kpx_recommend(u::text, 'courses', 5, model => $1) r
	UNION ALL SELECT u, r.rank, r.item_id, r.score, r.reason FROM generate_series(1::bigint, 60) u, kpx_recommend(u::text, 'videos', 5, model => $1) r$$;

SELECT kpx_import_model(kpx_export_model(:one)) AS two \gset
SELECT results_eq(format('SELECT * FROM app.answers(%s) ORDER BY item, u', :two), format('SELECT * FROM app.answers(%s) ORDER BY item, u', :one), 'it answers as the one that was exported, to the bit');
SELECT is((SELECT concat_ws(' ', name, version, status, owner) FROM kpx_models WHERE model = :two), 'm 2 ready ' || current_user, 'as the next version, active for nothing');
SELECT results_eq(format('SELECT modules, algorithm, params, factors, users, items, interactions, iterations, loss, oldest_event, newest_event, size FROM kpx_models WHERE model = %s', :two),
	format('SELECT modules, algorithm, params, factors, users, items, interactions, iterations, loss, oldest_event, newest_event, size FROM kpx_models WHERE model = %s', :one), 'what is known of it came along');
SELECT kpx_import_model(kpx_export_model(:one), name => 'other') AS three \gset
SELECT is((SELECT concat_ws(' ', name, version) FROM kpx_models WHERE model = :three), 'other 1', 'under another name');
SELECT lives_ok(format('SELECT kpx_activate(%s)', :three), 'it can be activated');
SELECT is((kpx_export_model(:one) = kpx_export_model(:one)), true, 'the same model is the same bytes');

-- every algorithm, with all its parts
CREATE FUNCTION app.travels(algorithm text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE a bigint; b bigint;
BEGIN
	SELECT model INTO a FROM kpx_train('courses', algorithm, CASE algorithm WHEN 'ials' THEN app.small() WHEN 'hybrid' THEN app.small() ELSE '{}' END, name => algorithm);
	b := kpx_import_model(kpx_export_model(a));
	RETURN NOT EXISTS (SELECT FROM generate_series(1::bigint, 20) u WHERE
		(SELECT array_agg((r.item_id, r.score)::text) FROM kpx_recommend(u, 'courses', 5, model => a) r) IS DISTINCT FROM
		(SELECT array_agg((r.item_id, r.score)::text) FROM kpx_recommend(u, 'courses', 5, model => b) r));
END $$;
SELECT ok(app.travels(a), a || ' travels') FROM unnest('{ials,ease,itemknn,transition,popular,content,hybrid}'::text[]) a;

-- damage: all bytes, one after the other; each bit is another value, and all that is missing
SELECT kpx_export_model(model) AS small FROM kpx_train('courses', params => '{"factors": 2, "iterations": 1}', name => 'small') \gset
CREATE FUNCTION app.state(data bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM kpx_import_model(data, 'damaged');
	RAISE EXCEPTION USING ERRCODE = 'KPX00';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT is(app.state(:'small'), 'KPX00', 'undamaged, it is read');
SELECT cmp_ok(length(:'small'::bytea), '<', 20000, 'a small model');
SELECT set_eq(format('SELECT app.state(set_byte(%1$L, n, 255 - get_byte(%1$L, n))) FROM generate_series(0, length(%1$L::bytea) - 1) n', :'small'), ARRAY['XX001', '0A000'], 'every byte inverted');
SELECT set_eq(format('SELECT app.state(set_byte(%1$L, n, get_byte(%1$L, n) # (1 << (n %% 8)))) FROM generate_series(0, length(%1$L::bytea) - 1) n', :'small'), ARRAY['XX001', '0A000'], 'a bit in every byte flipped');
SELECT set_eq(format('SELECT app.state(substr(%1$L::bytea, 1, n)) FROM generate_series(0, length(%1$L::bytea) - 1) n', :'small'), ARRAY['XX001'], 'every truncation');
SELECT is(app.state(:'small'::bytea || '\x00'::bytea), 'XX001', 'and what is longer');
SELECT is(app.state('\x'), 'XX001', 'nothing');
SELECT is(app.state(convert_to(repeat('something else', 1000), 'UTF8')), 'XX001', 'something else');
SELECT is_empty($$SELECT * FROM kpx_models WHERE name = 'damaged'$$, 'nothing of it is left');

-- who and what
SELECT throws_ok('SELECT kpx_export_model(999999)', '42704', NULL, 'no such model');
SELECT throws_ok('SELECT kpx_import_model(NULL)', '22004', NULL, 'NULL');
SELECT throws_ok(format('SELECT kpx_import_model(%L, name => %L)', :'small', ''), '42602', NULL, 'a name that is none');
UPDATE kpx.module SET name = 'lessons' WHERE name = 'courses';
SELECT throws_ok(format('SELECT kpx_import_model(%L)', :'small'), '42704', 'module "courses" is not registered', 'a module that is not registered here');
SELECT kpx_drop_module('products');
SELECT kpx_add_module('courses', 'app.videos', 'id');
SELECT throws_ok(format('SELECT kpx_import_model(%L)', :'small'), '42804', NULL, 'a module whose items have other ids here');
SELECT * FROM finish();
ROLLBACK;
