-- fuzz: every public function with every bad value at every argument. Whatever comes back, it is an
-- answer or an error of the kinds listed below: never XX000, never a crash.
BEGIN;
SELECT plan(6);
\ir fixture.psql
SELECT kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small()) AS trained \g /dev/null
CREATE DOMAIN app.positive AS int CHECK (VALUE > 0);
CREATE DOMAIN app.ids AS int[];
CREATE TABLE app.held_out AS SELECT 'courses' AS module, 3 AS user_id, 1 AS item_id;

-- one call of each function that works; each argument is replaced in turn by each value of its class
CREATE TEMP TABLE calls (n serial, name text, arguments text[]);
INSERT INTO calls (name, arguments) VALUES
	('kpx_version', '{}'),
	('kpx_add_module', ARRAY['name => ''fuzz''', 'items => ''app.courses''', 'item_id => ''id''', 'title => ''title''', 'text_columns => ''{title}''::text[]',
		'category => ''title''', 'price => ''id''', 'available => ''on_sale''', 'repeat_after => ''1 day''']),
	('kpx_drop_module', ARRAY['name => ''videos''']),
	('kpx_add_events', ARRAY['module => ''courses''', 'relation => ''app.enrolments''', 'kind => ''view''', 'user_id => ''user_id''', 'item_id => ''course_id''',
		'occurred_at => ''at''', 'value => ''user_id''', 'weight => 1', 'weight_column => ''user_id''', 'hides => true', 'half_life => ''1 day''']),
	('kpx_drop_events', ARRAY['source_id => 1']),
	('kpx_add_user_attributes', ARRAY['relation => ''app.enrolments''', 'user_id => ''user_id''', 'columns => ''{at}''::text[]']),
	('kpx_drop_user_attributes', ARRAY['source_id => 1']),
	('kpx_train', ARRAY['modules => ''{courses}''::text[]', 'algorithm => ''ials''', 'params => ''{"factors": 2, "iterations": 1}''', 'name => ''fuzz''', 'activate => false']),
	('kpx_train', ARRAY['module => ''courses''::text', 'algorithm => ''ials''', 'params => ''{"factors": 2, "iterations": 1}''', 'name => ''fuzz''', 'activate => false']),
	('kpx_activate', ARRAY['model => 1']),
	('kpx_drop_model', ARRAY['model => 1']),
	('kpx_item_factors', ARRAY['module => ''courses''', 'item_type => NULL::bigint', 'model => NULL']),
	('kpx_item_factors', ARRAY['module => ''courses''', 'model => NULL']),
	('kpx_recommend', ARRAY['user_id => 3', 'module => ''courses''', 'k => 2', 'keep_seen => true', 'candidates => ARRAY[1]', 'exclude => ARRAY[2]', 'skip => 0', 'model => NULL']),
	('kpx_recommend', ARRAY['user_id => 3', 'module => ''courses''', 'item_type => NULL::int', 'k => 2', 'keep_seen => true', 'candidates => ''{1}''', 'exclude => ARRAY[2]', 'skip => 0', 'model => NULL']),
	('kpx_recommend_from', ARRAY['items => ARRAY[1]', 'source_module => ''products''', 'module => ''courses''', 'k => 2', 'keep_seen => true', 'candidates => ARRAY[1]', 'exclude => ARRAY[2]', 'skip => 0', 'model => NULL']),
	('kpx_recommend_from', ARRAY['items => ARRAY[1]', 'source_module => ''products''', 'module => ''courses''', 'item_type => NULL::int', 'k => 2', 'keep_seen => true', 'candidates => ARRAY[1]', 'exclude => ARRAY[2]', 'skip => 0', 'model => NULL']),
	('kpx_recommend_for', ARRAY['user_ids => ARRAY[3]', 'module => ''courses''', 'k => 2', 'keep_seen => true', 'model => NULL']),
	('kpx_recommend_for', ARRAY['user_ids => ARRAY[3]', 'module => ''courses''', 'item_type => NULL::int', 'k => 2', 'keep_seen => true', 'model => NULL']),
	('kpx_similar', ARRAY['item_id => 1', 'module => ''courses''', 'k => 2', 'target => ''products''', 'model => NULL']),
	('kpx_similar', ARRAY['item_id => 1', 'module => ''courses''', 'item_type => NULL::text', 'k => 2', 'target => ''videos''', 'model => NULL']),
	('kpx_score', ARRAY['user_id => 3', 'module => ''courses''', 'item_id => 1', 'model => NULL']),
	('kpx_explain', ARRAY['user_id => 3', 'module => ''courses''', 'item_id => 1', 'model => NULL']),
	('kpx_evaluate', ARRAY['modules => ''{courses}''::text[]', 'k => 2', 'split => ''random''', 'algorithm => ''ials''', 'params => ''{"factors": 2, "iterations": 1}''', 'held_out => NULL', 'seed => 1']),
	('kpx_evaluate', ARRAY['modules => ''{courses}''::text[]', 'params => ''{"factors": 2, "iterations": 1}''', 'held_out => ''app.held_out''']),
	('kpx_profiles', ARRAY['modules => ''{courses}''::text[]', 'half_life => ''1 day''']),
	('kpx_profiles', ARRAY['user_type => NULL::bigint', 'modules => ''{courses}''::text[]', 'half_life => ''1 day''']),
	('kpx_user_profile', ARRAY['user_id => 3', 'modules => ''{courses}''::text[]', 'half_life => ''1 day''']),
	('kpx_similar_users', ARRAY['user_id => 3', 'k => 2', 'modules => ''{courses}''::text[]', 'half_life => ''1 day''', 'model => NULL']),
	('kpx_audience', ARRAY['item_id => 3', 'module => ''courses''', 'k => 2', 'users => NULL', 'keep_seen => true', 'model => NULL']),
	('kpx_audience', ARRAY['item_id => 3', 'module => ''courses''', 'user_type => NULL::int', 'k => 2', 'users => NULL', 'keep_seen => true', 'model => NULL']),
	('kpx_data_quality', ARRAY['module => ''courses''', 'burst => 2']),
	('kpx_interests', ARRAY['profile => ''{"modules": {}}''::kpx_profile', 'module => ''courses''', 'n => 2']),
	('kpx_behaviour', ARRAY['profile => ''{"modules": {}}''::kpx_profile']),
	('kpx_similarity', ARRAY['a => ''{"modules": {}}''', 'b => ''{"modules": {}}''']),
	('kpx_recall', ARRAY['recommended => ARRAY[1]', 'relevant => ARRAY[1]', 'k => 1']),
	('kpx_hit_rate', ARRAY['recommended => ARRAY[1]', 'relevant => ARRAY[1]', 'k => 1']),
	('kpx_ndcg', ARRAY['recommended => ARRAY[1]', 'relevant => ARRAY[1]', 'k => 1']),
	('kpx_mrr', ARRAY['recommended => ARRAY[1]', 'relevant => ARRAY[1]', 'k => 1']),
	('kpx_average_precision', ARRAY['recommended => ARRAY[1]', 'relevant => ARRAY[1]', 'k => 1']);

CREATE TEMP TABLE bad (value text);
INSERT INTO bad VALUES
	-- nothing, untyped, numbers and their ends
	('NULL'), ('NULL::text'), ('NULL::int[]'), ('''''::text'), ('''x'''), ('0'), ('-1'), ('-2147483648'), ('2147483647'), ('32768::smallint'),
	('(-32768)::smallint'), ('9223372036854775807'), ('(-9223372036854775808)::bigint'), ('1.5'), ('1e400::numeric'),
	('''NaN''::float8'), ('''Infinity''::float8'), ('''-Infinity''::float8'), ('1e300::float8'), ('''NaN''::real'), ('''NaN''::numeric'), ('1e-310::float8'),
	-- times
	('''infinity''::timestamptz'), ('''294276-01-01''::timestamptz'), ('''4713-01-01 BC''::timestamp'), ('''-infinity''::date'), ('''178000000 years''::interval'), ('''-1 year 362 days''::interval'), ('''0''::interval'),
	-- other types
	('true'), ('''{}''::jsonb'), ('''[1]''::json'), ('''{"factors": 1e400}''::jsonb'), ('''{"factors": 2, "factors": null}''::jsonb'), ('gen_random_uuid()'), ('point(1, 1)'), ('''\x00ff''::bytea'), ('''a''::"char"'), ('''a''::name'), ('''a''::char(3)'),
	('B''101'''), ('''1''::money'), ('''10.0.0.1''::inet'), ('ROW(1, 2)'), ('int4range(1, 2)'), ('42::oid'), ('''pg_class''::regclass'), ('''app.courses''::regclass'), ('999999999::regclass'), ('''int4''::regtype'), ('''x''::cstring'), ('NULL::record'),
	-- domains, arrays of all shapes
	('5::app.positive'), ('''{1,2}''::app.ids'), ('''{}''::int[]'), ('ARRAY[NULL]::int[]'), ('ARRAY[1, NULL]'), ('ARRAY[[1, 2], [3, 4]]'), ('''[-5:-3]={1,2,3}''::int[]'), ('ARRAY[1, 1, 1]'),
	('''{a,b}''::text[]'), ('''{NULL}''::text[]'), ('''{{courses}}''::text[]'), ('''{courses,courses}''::text[]'), ('ARRAY[1.5]'), ('ARRAY[gen_random_uuid()]'), ('ARRAY[''{}''::jsonb]'), ('ARRAY[ROW(1, 2)]'), ('''1 2''::int2vector'),
	('ARRAY[5::app.positive]'), ('array_fill(1, ARRAY[100000])'), ('array_fill(NULL::text, ARRAY[10, 10])'),
	-- texts
	('''courses'''), ('''videos'''), ('''app.courses'''), ('''app.enrolments_user_id_idx'''), ('''pg_toast.pg_toast_2604'''), ('''"; DROP TABLE app.courses; --'''), ('''%s%n%1$s'''), ('repeat(''x'', 63)'), ('repeat(''x'', 64)'), ('repeat(''x'', 1000000)'),
	('repeat(''é'', 40)'), ('E''\u0001\n\t'''), ('''ctid'''), ('''tableoid'''), ('''id'''), ('''user_id'''), ('''{1,2}'''), ('''{'''), ('''-9223372036854775809'''),
	('(''{"module_weights": '' || repeat(''{"x": '', 1000) || ''1'' || repeat(''}'', 1001))::jsonb'), ('''{"module_weights": {"courses": {"observed": {"observed": 1}}}}''::jsonb'), ('''{"module_weights": {"courses": [1, {"a": 2}]}}''::jsonb'), ('''{"seed": 9007199254740993}''::jsonb'), ('''null''::jsonb');

-- what may come back
CREATE TEMP TABLE allowed (state text, why text);
INSERT INTO allowed VALUES ('22004', 'NULL'), ('22023', 'out of range, unknown keys'), ('2202E', 'dimensions'), ('22003', 'number too large'), ('22008', 'time'), ('22P02', 'a text that is not of the type'), ('22007', 'nor a time'),
	('42602', 'names'), ('42703', 'columns'), ('42704', 'modules, models'), ('42710', 'registered twice'), ('42804', 'types'), ('42809', 'kinds of relations'), ('42P01', 'relations'),
	('54000', 'limits'), ('54001', 'depth'), ('53200', 'memory'), ('55000', 'no model, no source'), ('23514', 'domains'),
	('42883', 'no such function of these types, no equality'), ('42725', 'which of the forms'), ('42846', 'casts'), ('42P18', 'polymorphism'), ('42601', 'a subscript of text for names'), ('22P03', 'binary'), ('0A000', 'pseudo-types'), ('22015', 'intervals');

CREATE TEMP TABLE found (name text, sql text, state text, message text);
CREATE FUNCTION app.fuzz(name text, sql text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE s text; m text;
BEGIN
	BEGIN
		EXECUTE sql;
		RAISE EXCEPTION USING ERRCODE = 'KPX00'; -- nothing stays
	EXCEPTION
		WHEN OTHERS OR ASSERT_FAILURE THEN s := SQLSTATE; m := SQLERRM;
	END;
	INSERT INTO found VALUES (name, left(sql, 300), s, left(m, 300));
END $$;

-- as they are; each argument replaced; pairs of arguments NULL
SELECT app.fuzz(name, format('SELECT * FROM %s(%s)', name, array_to_string(arguments, ', '))) FROM calls ORDER BY n \g /dev/null
SELECT is_empty($$SELECT * FROM found WHERE state <> 'KPX00' AND sql !~ 'drop_user_attributes|activate|drop_model|drop_events'$$, 'all calls work as they are written');
TRUNCATE found;
SELECT app.fuzz(name, format('SELECT * FROM %s(%s)', name, (SELECT string_agg(CASE WHEN o = i THEN regexp_replace(a, '=>.*', '=> ') || value ELSE a END, ', ' ORDER BY o)
	FROM unnest(arguments) WITH ORDINALITY u(a, o))))
FROM calls, generate_series(1, cardinality(arguments)) i, bad ORDER BY n, i \g /dev/null
SELECT app.fuzz(name, format('SELECT * FROM %s(%s)', name, (SELECT string_agg(CASE WHEN o IN (i, j) THEN regexp_replace(a, '=>.*', '=> NULL') ELSE a END, ', ' ORDER BY o)
	FROM unnest(arguments) WITH ORDINALITY u(a, o))))
FROM calls, generate_series(1, cardinality(arguments)) i, generate_series(1, i - 1) j ORDER BY n, i, j \g /dev/null
SELECT is_empty($$SELECT DISTINCT state, message, sql FROM found WHERE state <> 'KPX00' AND state NOT IN (SELECT state FROM allowed) ORDER BY 1, 2 LIMIT 20$$, 'no error of a kind that is not allowed');
SELECT cmp_ok((SELECT count(*) FROM found), '>', 12000::bigint, 'many calls were made');
SELECT cmp_ok((SELECT count(*) FROM found WHERE state = 'KPX00'), '>', 500::bigint, 'of which many work');
SELECT is((SELECT count(*) FROM kpx_modules WHERE module IN ('courses', 'products', 'videos')), 3::bigint, 'nothing was changed by them');

-- functions that are not among the calls: every argument in turn, the others by their defaults or NULL
TRUNCATE found;
WITH f AS (
	SELECT p.oid, p.proname::text AS name, a.o, format('%I => ', a.argument) AS argument, a.o > p.pronargs - p.pronargdefaults AS optional
	FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'kpxrec' JOIN pg_namespace n ON n.oid = p.pronamespace,
	unnest(p.proargnames[:p.pronargs]) WITH ORDINALITY a(argument, o)
	WHERE n.nspname <> 'kpx' AND p.prokind = 'f' AND p.proname NOT IN (SELECT name FROM calls) AND p.proargmodes IS DISTINCT FROM '{i,o}')
SELECT app.fuzz(f.name, format('SELECT * FROM %s(%s)', f.name, (SELECT string_agg(CASE WHEN g.o = f.o THEN g.argument || value ELSE g.argument || 'NULL' END, ', ' ORDER BY g.o)
	FROM f g WHERE g.oid = f.oid AND (g.o = f.o OR NOT g.optional))))
FROM f, bad ORDER BY f.oid, f.o \g /dev/null
SELECT is_empty($$SELECT DISTINCT state, message, sql FROM found WHERE state ~ '^(XX|58)' AND NOT (name = 'kpx_import_model' AND state = 'XX001') ORDER BY 1, 2 LIMIT 20$$, 'no internal error in any other function (bytes that are no model are corrupt data)');
SELECT * FROM finish();
ROLLBACK;
