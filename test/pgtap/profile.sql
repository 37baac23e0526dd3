-- profile: the type, its aggregate, and profiles of users.
BEGIN;
SELECT plan(136);
\ir fixture.psql
CREATE TABLE app.e AS
SELECT n, n % 50 AS u, (ARRAY['courses', 'products', 'videos'])[1 + n % 3] AS m, (ARRAY['view', 'purchase'])[1 + n % 7 / 6] AS k,
	'item:' || (n * n) % 40 AS f, 1 + n % 4 AS w, CASE WHEN n % 5 > 0 THEN n * 0.1 END AS v, n * 0.5 AS d,
	CASE WHEN n % 11 > 0 THEN timestamptz '2025-01-01 00:00+00' + n % 997 * interval '13 hours' END AS at
FROM generate_series(1, 20000) n;
ANALYZE app.e;
CREATE FUNCTION app.p(text) RETURNS kpx_profile LANGUAGE sql IMMUTABLE AS $$SELECT $1::kpx_profile$$;

-- the aggregate against plain SQL
CREATE TEMP TABLE whole AS SELECT kpx_profile_agg(m, k, f, w, v, at, NULL, d) AS p FROM app.e;
SELECT results_eq($$SELECT module, kind, events, first_at, last_at, value, duration FROM whole, kpx_behaviour(p) WHERE kind IS NOT NULL ORDER BY 1, 2$$,
	$$SELECT m, k, count(*), min(at), max(at), sum(v), sum(d)::float8 FROM app.e GROUP BY 1, 2 ORDER BY 1, 2$$, 'counts, times, values and durations by module and kind');
SELECT results_eq($$SELECT module, events, items, hours, weekdays FROM whole, kpx_behaviour(p) WHERE kind IS NULL ORDER BY 1$$,
	$$SELECT m, count(*), count(DISTINCT f),
		(SELECT array_agg((SELECT count(*) FROM app.e x WHERE x.m = e.m AND extract(hour FROM at AT TIME ZONE 'UTC') = h) ORDER BY h) FROM generate_series(0, 23) h),
		(SELECT array_agg((SELECT count(*) FROM app.e x WHERE x.m = e.m AND extract(isodow FROM at AT TIME ZONE 'UTC') = day) ORDER BY day) FROM generate_series(1, 7) day)
		FROM app.e GROUP BY m ORDER BY 1$$, 'items, hours and weekdays of a module');
SELECT results_eq($$SELECT feature, weight FROM whole, kpx_interests(p, 'courses')$$,
	$$SELECT f, sum(w)::float8 FROM app.e WHERE m = 'courses' GROUP BY 1 ORDER BY 2 DESC, f COLLATE "C"$$, 'interests of a module, strongest first');
SELECT results_eq($$SELECT feature, weight FROM whole, kpx_interests(p, n => 5)$$,
	$$SELECT f, sum(w)::float8 FROM app.e GROUP BY 1 ORDER BY 2 DESC, f COLLATE "C" LIMIT 5$$, 'over all modules, the first 5');
SELECT is_empty($$SELECT * FROM whole, kpx_interests(p, 'nowhere')$$, 'none of a module that is not there');
SELECT throws_ok($$SELECT * FROM whole, kpx_interests(p, n => 0)$$, '22023', NULL, 'n = 0');
SELECT ok((SELECT per_week = (events - 1) / 2 FROM (SELECT kpx_profile_agg('m', 'k', 'f', 1, 1, timestamptz '2026-01-01' + n * interval '7 days') p FROM generate_series(0, 2) n) x,
	LATERAL (SELECT per_week, events FROM kpx_behaviour(p) WHERE kind = 'k') b), 'purchase frequency');
SELECT is((SELECT per_week FROM (SELECT kpx_profile_agg('m', 'k', 'f', 1, 1, timestamptz '2026-01-01' + n * interval '1 hour') p FROM generate_series(0, 2) n) x,
	LATERAL (SELECT per_week FROM kpx_behaviour(p) WHERE kind = 'k') b), NULL, 'no frequency from the events of one afternoon');

-- decay: forward, so that late rows and merging need nothing
SELECT ok((SELECT bool_and(abs(i.weight / s.weight - 1) < 1e-9) FROM
		(SELECT kpx_profile_agg(m, k, f, w, v, at, '10 days') p FROM app.e WHERE at IS NOT NULL) x,
		LATERAL kpx_interests(p, 'videos') i JOIN
		(SELECT f, sum(w * 2 ^ (extract(epoch FROM at)::float8 / 864000 - (SELECT extract(epoch FROM (kpx_profile_to_jsonb(kpx_profile_agg(m, k, f, w, v, at, '10 days'))->>'as_of')::timestamptz)::float8 / 864000 FROM app.e WHERE at IS NOT NULL))) AS weight
		 FROM app.e WHERE m = 'videos' AND at IS NOT NULL GROUP BY 1) s ON s.f = i.feature), 'weights are as of as_of, halved every half-life');
SELECT ok((SELECT abs(weight - 1.5) < 1e-12 FROM kpx_interests((SELECT kpx_profile_agg('m', 'k', 'f', 1, NULL, at, '1 day')
	FROM (VALUES (timestamptz '2026-01-03 23:59:59.999999+00'), ('2026-01-02 23:59:59.999999+00')) v(at))) WHERE abs(weight - 1.5) < 1e-6) IS NOT NULL, 'an event a half-life older counts half');
SELECT is((SELECT weight FROM kpx_interests((SELECT kpx_profile_agg('m', 'k', f, 1, NULL, at, '1 day') FROM (VALUES ('a', NULL), ('b', timestamptz '2026-01-01')) v(f, at))) WHERE feature = 'a'),
	1.0::float8, 'an event without a time does not age');
SELECT is((SELECT array_agg(feature ORDER BY feature) FROM kpx_interests((SELECT kpx_profile_agg('m', 'k', 'f' || n, 1, NULL, timestamptz '1990-01-01' + n * interval '4 years', '1 minute') FROM generate_series(0, 9) n))),
	'{f0,f1,f2,f3,f4,f5,f6,f7,f8,f9}', 'decades of one-minute half-lives neither overflow nor vanish');

-- parallel, partition-wise, serial: the same
CREATE TABLE app.parts (LIKE app.e) PARTITION BY HASH (u);
CREATE TABLE app.part_0 PARTITION OF app.parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE app.part_1 PARTITION OF app.parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO app.parts SELECT * FROM app.e ORDER BY n DESC;
ANALYZE app.parts;
CREATE FUNCTION app.plan(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; plan text = '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF, VERBOSE) ' || sql LOOP plan = plan || line || E'\n'; END LOOP;
	RETURN plan;
END $$;
CREATE TEMP TABLE serial AS SELECT u, kpx_profile_agg(m, k, f, w, v, at, NULL, d) AS p FROM app.e GROUP BY u;
CREATE TEMP TABLE serial_all AS SELECT kpx_profile_agg(m, k, f, w, v, at, '90 days') AS p FROM app.e;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL max_parallel_workers_per_gather = 2;
SELECT alike(app.plan('SELECT kpx_profile_agg(m, k, f, w, v, at) FROM app.e'), '%Partial Aggregate%Parallel Seq Scan%', 'a parallel plan');
SELECT alike(app.plan('SELECT u, kpx_profile_agg(m, k, f, w, v, at) FROM app.e GROUP BY u'), '%Finalize%Gather%Partial%', 'also with groups');
SELECT ok((SELECT kpx_profile_agg(m, k, f, w, v, at, NULL, d) FROM app.e) = (SELECT p FROM whole), 'parallel = serial, to the byte');
SELECT results_eq($$SELECT u, kpx_profile_agg(m, k, f, w, v, at, NULL, d)::text FROM app.e GROUP BY u ORDER BY u$$, $$SELECT u, p::text FROM serial ORDER BY u$$, 'for every group');
SELECT ok((SELECT abs(a.p <=> b.p) < 1e-12 FROM (SELECT kpx_profile_agg(m, k, f, w, v, at, '90 days') AS p FROM app.e) a, serial_all b), 'with decay: to rounding');
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL enable_partitionwise_aggregate = on;
SELECT alike(app.plan('SELECT m, kpx_profile_agg(m, k, f, w, v, at) FROM app.parts GROUP BY m'), '%Finalize%Append%Partial%Partial%', 'a partition-wise plan');
SELECT results_eq($$SELECT u, kpx_profile_agg(m, k, f, w, v, at, NULL, d)::text FROM app.parts GROUP BY u ORDER BY u$$, $$SELECT u, p::text FROM serial ORDER BY u$$, 'partition-wise = serial');
SELECT ok((SELECT kpx_profile_agg(p ORDER BY m) FROM (SELECT m, kpx_profile_agg(m, k, f, w, v, at, NULL, d) p FROM app.parts GROUP BY m) x) = (SELECT p FROM whole), 'partial, finalized, fused');
SET LOCAL enable_partitionwise_aggregate = off;

-- DISTINCT, FILTER, GROUPING SETS, windows, nothing, NULLs
SELECT is((SELECT events FROM kpx_behaviour((SELECT kpx_profile_agg(DISTINCT m, k, f, w::float8, NULL::float8, NULL::timestamptz) FROM app.e WHERE n <= 100)) WHERE module = 'courses' AND kind IS NULL),
	(SELECT count(*) FROM (SELECT DISTINCT m, k, f, w FROM app.e WHERE n <= 100) x WHERE m = 'courses'), 'DISTINCT');
SELECT is((SELECT events FROM kpx_behaviour((SELECT kpx_profile_agg(m, k, f, w, v, at) FILTER (WHERE u = 7) FROM app.e)) WHERE module = 'courses' AND kind IS NULL),
	(SELECT count(*) FROM app.e WHERE u = 7 AND m = 'courses'), 'FILTER');
SELECT results_eq($$SELECT u, p::text FROM (SELECT u, kpx_profile_agg(m, k, f, w, v, at, NULL, d) p FROM app.e GROUP BY GROUPING SETS ((u), ())) x ORDER BY u NULLS LAST$$,
	$$SELECT u, p::text FROM serial UNION ALL SELECT NULL, p::text FROM whole ORDER BY u NULLS LAST$$, 'GROUPING SETS');
SELECT is((SELECT array_agg((SELECT sum(events) FROM kpx_behaviour(p) WHERE kind IS NULL) ORDER BY n) FROM (SELECT n, kpx_profile_agg(m, k, f, w, v, at) OVER (ORDER BY n) p FROM app.e WHERE n <= 4) x), '{1,2,3,4}'::numeric[], 'a window');
SELECT is((SELECT kpx_profile_agg(m, k, f, w, v, at) FROM app.e WHERE false), NULL, 'no rows: NULL');
SELECT is((SELECT kpx_profile_agg(NULL::text, NULL, NULL::text, NULL, NULL, NULL) FROM app.e), NULL, 'all NULL: NULL');
SELECT is((SELECT kpx_profile_agg(NULL::kpx_profile) FROM app.e), NULL, 'NULL profiles: NULL');
SELECT is((SELECT p::jsonb FROM (SELECT kpx_profile_agg('m', NULL, 'f', NULL, NULL, NULL) p) x), '{"modules": {"m": {"events": {}, "interests": {"f": 1}}}}', 'no kind: an interest only; no weight: 1');
SELECT is((SELECT p::jsonb FROM (SELECT kpx_profile_agg('m', 'k', NULL::text, 5, 0.1, NULL) p FROM generate_series(1, 3)) x),
	'{"modules": {"m": {"events": {"k": {"count": 3, "values": 3, "value": 0.3}}, "interests": {}}}}', 'no feature: counted only; 0.1 three times is 0.3');
SELECT is((SELECT p::jsonb#>'{modules,m,interests}' FROM (SELECT kpx_profile_agg('m', 'k', ARRAY['a', NULL, 'b'], 2, NULL, NULL, NULL, NULL) p) x), '{"a": 2, "b": 2}', 'an array of features, NULLs passed over');
SELECT is((SELECT p::jsonb#>'{modules,m,interests}' FROM (SELECT kpx_profile_agg('m', 'k', 'f', 0, NULL, NULL) p) x), '{}', 'weight 0 is no interest');

-- bounds
SELECT is((SELECT count(*) FROM kpx_interests((SELECT kpx_profile_agg('m', 'k', 'item:' || n, 1 + n % 3, NULL, NULL) FROM generate_series(1, 5000) n))), 64::bigint, '64 interests a module stay');
SELECT ok((SELECT abs(items / 5000.0 - 1) < 0.27 FROM kpx_behaviour((SELECT kpx_profile_agg('m', 'k', 'item:' || n, 1, NULL, NULL) FROM generate_series(1, 5000) n)) WHERE kind IS NULL), 'items are estimated then');
SELECT is((SELECT items FROM kpx_behaviour((SELECT kpx_profile_agg('m', 'k', 'item:' || n, 1, NULL, NULL) FROM generate_series(1, 120) n)) WHERE kind IS NULL), 120::bigint, 'up to 128 exactly');
SELECT is((SELECT feature FROM kpx_interests((SELECT kpx_profile_agg('m', 'k', CASE WHEN n % 50 = 0 THEN 'heavy' ELSE 'item:' || n END, 1, NULL, NULL) FROM generate_series(1, 100000) n), n => 1)), 'heavy', 'a heavy feature survives 98,000 light ones');
SELECT cmp_ok((SELECT pg_column_size(kpx_profile_agg('m', 'k', 'item:' || n, 1, NULL, NULL)) FROM generate_series(1, 100000) n), '<', 3000, 'a profile of 100,000 items takes less than 3 kB');

-- errors
SELECT throws_ok($$SELECT kpx_profile_agg('m', 'k', 'f', -1, NULL, NULL)$$, '22023', 'argument "weight" must lie between 0 and 1e+30, found -1', 'a negative weight');
SELECT throws_ok($$SELECT kpx_profile_agg('m', 'k', 'f', 'NaN', NULL, NULL)$$, '22023', NULL, 'NaN');
SELECT throws_ok($$SELECT kpx_profile_agg('m', 'k', 'f', 'Infinity', NULL, NULL)$$, '22023', NULL, 'infinite');
SELECT throws_ok($$SELECT kpx_profile_agg('m', 'k', 'f', 1, 'NaN', NULL)$$, '22023', NULL, 'a NaN value');
SELECT throws_ok($$SELECT kpx_profile_agg('m', 'k', 'f', 1, 1e13, NULL)$$, '22023', NULL, 'a huge value');
SELECT throws_ok($$SELECT kpx_profile_agg('m', 'k', 'f', 1, 9e12, NULL) FROM generate_series(1, 2)$$, '54000', NULL, 'a huge sum');
SELECT throws_ok($$SELECT kpx_profile_agg('m', 'k', 'f', 1, NULL, 'infinity')$$, '22008', NULL, 'an infinite time');
SELECT throws_ok($$SELECT kpx_profile_agg('m', 'k', 'f', 1, NULL, '0044-03-15 BC')$$, '22008', NULL, 'a time before year 1');
SELECT throws_ok($$SELECT kpx_profile_agg('', 'k', 'f', 1, NULL, NULL)$$, '22023', NULL, 'an empty module');
SELECT throws_ok($$SELECT kpx_profile_agg('m', repeat('k', 64), 'f', 1, NULL, NULL)$$, '22023', NULL, 'a long kind');
SELECT throws_ok($$SELECT kpx_profile_agg('m', 'k', repeat('f', 1281), 1, NULL, NULL)$$, '22023', NULL, 'a long feature');
SELECT throws_ok($$SELECT kpx_profile_agg('m', 'k', ARRAY[''], 1, NULL, NULL)$$, '22023', NULL, 'an empty feature in an array');
SELECT throws_ok($$SELECT kpx_profile_agg('m', 'k', 'f', 1, NULL, NULL, '1 second'::interval)$$, '22023', NULL, 'a short half-life');
SELECT throws_ok($$SELECT kpx_profile_agg('m', 'k', 'f', 1, NULL, NULL, '-1 day'::interval)$$, '22023', NULL, 'a negative one');
SELECT throws_ok($$SELECT kpx_profile_agg('m', 'k', 'f', 1, NULL, NULL, n * interval '1 day') FROM generate_series(1, 2) n$$, '22023', NULL, 'half-lives that differ');
SELECT throws_ok($$SELECT kpx_profile_agg('m', 'kind ' || n, 'f', 1, NULL, NULL) FROM generate_series(1, 65) n$$, '54000', NULL, 'too many kinds');
SELECT throws_ok($$SELECT kpx_profile_agg('m' || n, 'k', 'f', 1, NULL, NULL) FROM generate_series(1, 256) n$$, '54000', NULL, 'too many modules');

-- operators
SELECT ok((SELECT a.p + b.p = w.p AND b.p + a.p = w.p FROM whole w,
	(SELECT kpx_profile_agg(m, k, f, w, v, at, NULL, d) p FROM app.e WHERE n % 3 = 0) a, (SELECT kpx_profile_agg(m, k, f, w, v, at, NULL, d) p FROM app.e WHERE n % 3 > 0) b), '+ is what the aggregate of both says');
SELECT ok((SELECT p = p AND NOT p <> p AND (p <=> p) = 0 AND kpx_similarity(p, p) = 1 FROM whole), 'a profile is itself');
SELECT is(round((app.p('{"modules": {"a": {"interests": {"x": 3, "y": 4}}}}') <=> app.p('{"modules": {"b": {"interests": {"x": 1}}}}'))::numeric, 9), 0.4, 'cosine distance, across modules');
SELECT is(app.p('{"modules": {}}') <=> app.p('{"modules": {"b": {"interests": {"x": 1}}}}'), 1::float8, 'nothing in common');
SELECT throws_ok($$SELECT app.p('{"half_life": 86400, "modules": {}}') + app.p('{"modules": {}}')$$, '22023', 'profiles of different half-lives cannot be fused', 'half-lives must agree');
SELECT is((SELECT count(*) FROM (SELECT p FROM (SELECT p FROM whole UNION ALL SELECT p FROM whole) x GROUP BY p) y), 1::bigint, 'GROUP BY profile');

-- text, jsonb, binary
SELECT ok((SELECT bool_and(p::text::kpx_profile = p AND (p::jsonb)::text::kpx_profile = p) FROM (SELECT p FROM serial UNION ALL SELECT p FROM serial_all UNION ALL
	SELECT kpx_profile_agg('m', 'k', 'item:' || n, n, NULL, at, '1 hour') FROM app.e UNION ALL
	SELECT kpx_profile_agg(E'"\\\u00e9\t', E'\n', E'item:"\\\u6210', 1e-300, -0.000001, '0001-01-01 00:00+00', '100 years'::interval, 0.000001)) x), 'text and jsonb come back the same');
SET LOCAL extra_float_digits = 0;
SET LOCAL DateStyle = 'German';
SET LOCAL TimeZone = 'Asia/Shanghai';
SELECT ok((SELECT p::text::kpx_profile = p FROM serial_all), 'whatever the session''s settings');
RESET extra_float_digits;
RESET DateStyle;
RESET TimeZone;
SELECT throws_ok(format('SELECT %L::kpx_profile', t), '22P02', NULL, 'refused: ' || t) FROM (VALUES (''), ('null'), ('[]'), ('1'), ('{"a": 1}'), ('{"modules": []}'), ('{"modules": {"": {}}}'),
	('{"modules": {"m": {"events": {"k": {"count": 0}}}}}'), ('{"modules": {"m": {"events": {"k": {"count": -1}}}}}'), ('{"modules": {"m": {"events": {"k": {"count": 1.5}}}}}'), ('{"modules": {"m": {"events": {"k": {"count": 1, "dated": 2}}}}}'),
	('{"modules": {"m": {"events": {"k": {"count": 1, "dated": 1, "first": "now", "last": "now"}}}}}'), ('{"modules": {"m": {"events": {"k": {"count": 1, "dated": 1, "first": "2026-01-02T00:00:00+00:00", "last": "2026-01-01T00:00:00+00:00"}}}}}'),
	('{"modules": {"m": {"interests": {"f": -1}}}}'), ('{"modules": {"m": {"interests": {"f": 0}}}}'), ('{"modules": {"m": {"interests": {"f": [1, 1]}}}}'), ('{"modules": {"m": {"interests": {"f": "x"}}}}'),
	('{"modules": {"m": {"hours": [1]}}}'), ('{"modules": {"m": {"other": 1}}}'), ('{"half_life": 1, "modules": {}}'), ('{"half_life": 86400, "as_of": "2026-01-01T12:00:00+00:00", "modules": {}}'), ('{"as_of": "2026-01-01T00:00:00+00:00", "modules": {}}'),
	('{"modules": {"m": {"lost": [1, 0], "minima": [2, 1]}}}')) v(t);
SELECT throws_ok(format('SELECT %L::kpx_profile', '{"modules": {"m": {"interests": {"f": 1e400}}}}'), '22003', NULL, 'too large for a double');

-- binary: COPY out and in; then every byte of the file changed: an error of the right kind or a profile
CREATE TEMP TABLE binary_profiles (p kpx_profile);
INSERT INTO binary_profiles SELECT kpx_profile_agg('m' || n % 2, 'k', 'item:' || n, 1, n, CASE WHEN n < 5 THEN timestamptz '2026-01-01' + n * interval '1 day' END, '1 day') FROM generate_series(1, 6) n;
SELECT current_setting('data_directory') || '/profile_test.bin' AS file \gset
COPY binary_profiles TO :'file' (FORMAT binary);
CREATE TEMP TABLE copied (LIKE binary_profiles);
COPY copied FROM :'file' (FORMAT binary);
SELECT ok((SELECT a.p = b.p FROM copied a, binary_profiles b), 'binary output and input');
CREATE FUNCTION app.mutate(file text, source bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	odd text = '';
	o oid;
BEGIN
	FOR i IN 21 .. length(source) - 3 LOOP
		FOR b IN 0 .. 2 LOOP
			o = lo_from_bytea(0, set_byte(source, i, (get_byte(source, i) # (ARRAY[1, 128, 255])[b + 1])));
			PERFORM lo_export(o, file);
			PERFORM lo_unlink(o);
			BEGIN
				EXECUTE format('COPY copied FROM %L (FORMAT binary)', file);
			EXCEPTION WHEN OTHERS THEN
				IF SQLSTATE NOT IN ('22P03', '22P04', '0A000') THEN odd = odd || i || ':' || SQLSTATE || ' ' || SQLERRM || E'\n'; END IF;
			END;
		END LOOP;
	END LOOP;
	RETURN odd;
END $$;
SELECT is(app.mutate(:'file', pg_read_binary_file(:'file')), '', 'changed bytes are refused or a profile');
SELECT cmp_ok((SELECT count(*) FROM copied WHERE length(p::text) > 0), '>', 1::bigint, 'and what was taken can be read');
SELECT lives_ok($$SELECT kpx_profile_agg(p) FROM copied GROUP BY p::jsonb->'half_life'$$, 'and fused');
COPY (SELECT 1 WHERE false) TO :'file';

-- profiles of users
UPDATE app.courses SET title = 'topic ' || id % 2;
SELECT kpx_drop_module('courses'), kpx_add_module('courses', 'app.courses', 'id', title => 'title', category => 'title') \g /dev/null
ALTER TABLE app.enrolments ADD COLUMN paid numeric, ADD COLUMN spent interval;
UPDATE app.enrolments SET paid = course_id + 0.5, spent = course_id * interval '1 minute';
SELECT kpx_add_events('courses', 'app.enrolments', 'purchase', 'user_id', 'course_id', occurred_at => 'at', value => 'paid', duration => 'spent', weight => 2) AS enrolments \gset
CREATE TABLE app.people (user_id bigint, city text, age numeric, member boolean, born date, seen timestamptz);
INSERT INTO app.people SELECT u, 'city ' || u % 3, 20 + u, u % 2 = 0, date '2000-01-01' + u::int, timestamptz '2026-01-01 00:00+00' FROM generate_series(1, 50) u;
INSERT INTO app.people VALUES (3, NULL, 'NaN', NULL, 'infinity', NULL);
SELECT kpx_add_user_attributes('app.people', 'user_id') AS people \gset
SELECT results_eq($$SELECT user_id FROM kpx_profiles(NULL::bigint)$$,
	$$SELECT user_id FROM app.enrolments UNION SELECT user_id FROM app.orders UNION SELECT user_id FROM app.plays ORDER BY 1$$, 'all users with events, in order');
SELECT results_eq($$SELECT p.user_id, b.module, b.events, b.value, b.duration FROM kpx_profiles(NULL::bigint) p, kpx_behaviour(p.profile) b WHERE kind IS NULL ORDER BY 1, 2$$,
	$$SELECT user_id, m, count(*), sum(paid), sum(s) FROM (SELECT user_id, 'courses' m, paid, extract(epoch FROM spent)::float8 s FROM app.enrolments UNION ALL SELECT user_id, 'products', NULL, NULL FROM app.orders
		UNION ALL SELECT user_id, 'videos', NULL, NULL FROM app.plays) x GROUP BY 1, 2 ORDER BY 1, 2$$, 'what each did in each module');
SELECT results_eq($$SELECT feature, weight FROM kpx_profiles(NULL::bigint, half_life => NULL) p, kpx_interests(p.profile) i WHERE user_id = 7 AND feature ~ '^category:' ORDER BY 1$$,
	$$SELECT 'category:' || c.title, sum(2)::float8 FROM app.enrolments e JOIN app.courses c ON c.id = course_id WHERE user_id = 7 GROUP BY 1 ORDER BY 1$$, 'categories from the item table, with the weight of the source');
SELECT ok((SELECT bool_and(p.profile = s.profile) FROM kpx_profiles() s JOIN kpx_profiles(NULL::bigint) p ON p.user_id::text = s.user_id), 'as text');
SELECT throws_ok($$SELECT * FROM kpx_profiles(NULL::uuid)$$, '42804', NULL, 'of another type');
SELECT throws_ok($$SELECT * FROM kpx_profiles(ARRAY['nowhere'])$$, '42704', NULL, 'an unknown module');
SELECT is_empty($$SELECT * FROM kpx_profiles('{}'::text[])$$, 'of no module');
SELECT is((SELECT count(*) FROM kpx_profiles(ARRAY['courses', 'courses']), kpx_behaviour(profile) WHERE module <> 'courses'), 0::bigint, 'of one module');
SELECT is(kpx_user_profile(7)->'basic', '{"city": "city 1", "age": 27, "member": false, "born": "2000-01-08", "seen": "2026-01-01 00:00:00+00"}', 'attributes');
SELECT is(kpx_user_profile(3)->'basic', '{"city": "city 0", "age": 23, "member": false, "born": "2000-01-04", "seen": "2026-01-01 00:00:00+00"}', 'two rows of a user: the first value that is there');
SELECT is(kpx_user_profile(999), '{"basic": {"city": null, "age": null, "member": null, "born": null, "seen": null}, "behaviour": {}, "interests": []}', 'nobody: missing values are explicit');
SELECT is(kpx_user_profile('7'), kpx_user_profile(7::bigint), 'an untyped literal');
SELECT is(kpx_user_profile(NULL::bigint), NULL, 'a NULL user');
SELECT throws_ok($$SELECT kpx_user_profile('x')$$, '22P02', NULL, 'not an id');
SELECT is((kpx_user_profile(7)#>>'{behaviour,courses,events,purchase,count}')::bigint, (SELECT count(*) FROM app.enrolments WHERE user_id = 7), 'behaviour');
SELECT results_eq($$SELECT i->>'feature', round((i->>'weight')::numeric, 9) FROM jsonb_array_elements(kpx_user_profile(7)->'interests') i$$,
	$$SELECT feature, round(weight::numeric, 9) FROM kpx_profiles(NULL::bigint) p, kpx_interests(p.profile, n => 20) WHERE user_id = 7$$, 'interests are those of kpx_profiles');
INSERT INTO app.enrolments VALUES (7, 1, '2026-02-01', 1000), (7, 1, 'infinity', 1), (7, 1, '1900-01-01', 1), (7, NULL, now(), 1), (NULL, 1, now(), 1);
SELECT is((kpx_user_profile(7)#>>'{behaviour,courses,events,purchase,value}')::numeric, (SELECT sum(paid) FROM app.enrolments WHERE user_id = 7 AND course_id IS NOT NULL), 'rows of this transaction count');
SELECT is((kpx_user_profile(7)#>>'{behaviour,courses,events,purchase,dated}')::bigint, (SELECT count(*) - 2 FROM app.enrolments WHERE user_id = 7 AND course_id IS NOT NULL), 'impossible times are no times');
INSERT INTO app.people SELECT 1000 + n FROM generate_series(1, 3) n;

-- a parallel plan inside kpx_profiles gives the same
CREATE TEMP TABLE alone AS SELECT user_id, profile FROM kpx_profiles(NULL::bigint, half_life => NULL);
SET LOCAL max_parallel_workers_per_gather = 2;
SELECT results_eq($$SELECT user_id, profile::text FROM kpx_profiles(NULL::bigint, half_life => NULL)$$, $$SELECT user_id, profile::text FROM alone$$, 'kpx_profiles with workers');

-- similar users
SELECT model FROM kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small()) \gset
SELECT ok((SELECT bool_and(user_id % 3 = 0) AND count(*) = 8 FROM kpx_similar_users(3::bigint, 8)), 'users of the same group are most similar');
SELECT results_eq($$SELECT rank, user_id FROM kpx_similar_users(3::bigint, 60)$$, $$SELECT row_number() OVER (ORDER BY similarity DESC, user_id)::int, user_id FROM kpx_similar_users(3::bigint, 60)$$, 'ranked, ties by id');
SELECT ok((SELECT bool_and(abs(interests - kpx_similarity(a.profile, b.profile)) < 1e-12) FROM kpx_similar_users(3::bigint, 60) s
	JOIN kpx_profiles(NULL::bigint) a ON a.user_id = s.user_id JOIN kpx_profiles(NULL::bigint) b ON b.user_id = 3), 'interests: kpx_similarity of the profiles');
SELECT ok((SELECT bool_and(similarity = (interests + factors) / 2 AND factors BETWEEN -1 AND 1) FROM kpx_similar_users(3::bigint, 60)), 'similarity: the mean of both cosines');
SELECT is((SELECT count(*) FROM kpx_similar_users(3::bigint, 1000)), 59::bigint, 'all others when asked for more');
SELECT results_eq($$SELECT user_id FROM kpx_similar_users('3', 5)$$, $$SELECT user_id::text FROM kpx_similar_users(3::bigint, 5)$$, 'an untyped literal');
SELECT is_empty($$SELECT * FROM kpx_similar_users(999::bigint)$$, 'nobody');
SELECT is_empty($$SELECT * FROM kpx_similar_users(NULL::bigint)$$, 'NULL');
SELECT throws_ok($$SELECT * FROM kpx_similar_users(3::bigint, 0)$$, '22023', NULL, 'k = 0');
SELECT throws_ok($$SELECT * FROM kpx_similar_users(3::bigint, model => 99999)$$, '42704', NULL, 'no such model');
SELECT kpx_drop_model(:model) \g /dev/null
SELECT ok((SELECT bool_and(similarity = interests AND factors IS NULL) AND count(*) = 10 FROM kpx_similar_users(3::bigint)), 'without a model: interests alone');

-- as the caller
CREATE ROLE kpx_test_profile;
GRANT USAGE ON SCHEMA app TO kpx_test_profile;
GRANT SELECT ON app.courses, app.enrolments, app.products, app.orders TO kpx_test_profile;
GRANT SELECT (user_id, city, age) ON app.people TO kpx_test_profile;
ALTER TABLE app.enrolments ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON app.enrolments TO kpx_test_profile USING (user_id <= 10);
ALTER TABLE app.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON app.orders TO kpx_test_profile USING (user_id <= 10);
SET LOCAL ROLE kpx_test_profile;
SELECT is((SELECT array_agg(user_id ORDER BY user_id) FROM kpx_profiles(NULL::bigint)), ARRAY(SELECT generate_series(1, 10)::bigint), 'only users whose rows the role may see');
SELECT is((SELECT count(*) FROM kpx_profiles(NULL::bigint), kpx_behaviour(profile) WHERE module = 'videos'), 0::bigint, 'only modules it may read');
SELECT throws_ok($$SELECT * FROM kpx_profiles(ARRAY['videos'])$$, '42501', NULL, 'a module it may not read, by name');
SELECT is(kpx_user_profile(7)->'basic', '{}', 'attributes need all their columns to be readable');
SELECT is(kpx_user_profile(30)->'behaviour', '{}', 'nothing of a hidden user');
SELECT ok((SELECT max(user_id) <= 10 AND count(*) = 9 FROM kpx_similar_users(3::bigint, 100)), 'similar users are among those the role may see');
RESET ROLE;

-- attributes that are not there any more
ALTER TABLE app.people DROP COLUMN born;
SELECT throws_ok($$SELECT kpx_user_profile(7)$$, '42703', NULL, 'a dropped attribute column');
DROP TABLE app.people;
SELECT throws_ok($$SELECT kpx_user_profile(7)$$, '42P01', NULL, 'a dropped attribute relation');
SELECT kpx_drop_user_attributes(:people) \g /dev/null
SELECT throws_ok($$SELECT kpx_add_events('courses', 'app.enrolments', 'x', 'user_id', 'course_id', duration => 'at')$$, '42804', NULL, 'a duration that is a time');

-- text ids are told apart by their bytes, whatever the collations of their columns
CREATE COLLATION app.blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE app.blind (u text COLLATE app.blind, i bigint);
CREATE TABLE app.danish (u text COLLATE "da-x-icu", i bigint);
INSERT INTO app.blind VALUES ('a', 1), ('A', 2), ('b', 1);
INSERT INTO app.danish SELECT * FROM app.blind;
CREATE TABLE app.texts (u text COLLATE app.blind, age int);
INSERT INTO app.texts VALUES ('a', 3), ('A', 99);
SAVEPOINT texts;
SELECT kpx_drop_module(module) FROM kpx_modules \g /dev/null
SELECT kpx_add_module('texts', 'app.courses', 'id') \g /dev/null
SELECT kpx_add_events('texts', 'app.blind', 'x', 'u', 'i'), kpx_add_events('texts', 'app.danish', 'x', 'u', 'i') \g /dev/null
SELECT kpx_add_user_attributes('app.texts', 'u', ARRAY['age']) \g /dev/null
SELECT is((SELECT string_agg(user_id || (SELECT events FROM kpx_behaviour(profile) WHERE kind IS NULL), ' ') FROM kpx_profiles(ARRAY['texts'])), 'A2 a2 b2', 'A and a are two users, their columns'' collations may differ');
SELECT is(kpx_user_profile('a', ARRAY['texts']) -> 'interests' -> 'texts' ->> 'item:texts/2', NULL, 'a profile has nothing of another user');
SELECT is(kpx_user_profile('A', ARRAY['texts']) -> 'behaviour' -> 'texts' ->> 'items', '1', 'one item of A');
SELECT is(kpx_user_profile('a', ARRAY['texts']) -> 'basic', '{"age": 3}', 'attributes of a');
SELECT is(kpx_user_profile('A', ARRAY['texts']) -> 'basic', '{"age": 99}', 'attributes of A');
SELECT results_eq($$SELECT user_id, round(similarity::numeric, 9) FROM kpx_similar_users('a', modules => ARRAY['texts'])$$, $$VALUES ('b', 1::numeric), ('A', 0)$$, 'b is like a, A is not');
SELECT is((SELECT count(*) FROM kpx_data_quality('texts') WHERE bad_rows > 0), 0::bigint, 'and nothing is wrong with that');
ROLLBACK TO texts;

-- read only
SET LOCAL transaction_read_only = on;
SELECT lives_ok($$SELECT count(*), (SELECT kpx_user_profile(7)), (SELECT count(*) FROM kpx_similar_users(3::bigint)) FROM kpx_profiles()$$, 'in a read-only transaction');
SELECT * FROM finish();
ROLLBACK;
