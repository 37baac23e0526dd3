-- quality: rows that cannot be, or hardly.
BEGIN;
SELECT plan(16);
\ir fixture.psql
CREATE FUNCTION app.bad() RETURNS TABLE (rule text, bad_rows bigint) LANGUAGE sql AS $$SELECT rule, bad_rows FROM kpx_data_quality('courses') WHERE bad_rows > 0 ORDER BY rule COLLATE "C"$$;
SELECT is_empty($$SELECT * FROM app.bad()$$, 'good data');
SELECT set_eq($$SELECT rule FROM kpx_data_quality('courses')$$, ARRAY['no user or item', 'unknown item', 'no time', 'impossible time', 'duplicate', 'burst'], 'every rule that applies is listed');
SELECT ok((SELECT bool_and(of_rows = (SELECT count(*) FROM app.enrolments) AND relation = 'app.enrolments' AND source_id = :enrolments AND example IS NULL AND treatment <> '') FROM kpx_data_quality('courses')), 'with all rows beside');
ALTER TABLE app.enrolments ADD COLUMN w float8, ADD COLUMN paid numeric;
SELECT kpx_drop_events(:enrolments) \g /dev/null
SELECT kpx_add_events('courses', 'app.enrolments', 'purchase', 'user_id', 'course_id', occurred_at => 'at', weight_column => 'w', value => 'paid') AS enrolments \gset
INSERT INTO app.enrolments (user_id, course_id, at) VALUES (NULL, 1, now()), (1, NULL, now()), (1, 12345, now()), (1, 12345, NULL);
SELECT results_eq($$SELECT * FROM app.bad()$$, $$VALUES ('no time', 1::bigint), ('no user or item', 2), ('unknown item', 2)$$, 'missing ids and times, unknown items');
SELECT is((SELECT example FROM kpx_data_quality('courses') WHERE rule = 'no time'), 'user 1, item 12345, at ', 'an example');
INSERT INTO app.enrolments (user_id, course_id, at, w, paid) VALUES (2, 1, 'infinity', 1, 1), (2, 1, '-infinity', 0, 1), (2, 1, '1969-12-31', 1, 1), (2, 1, now() + interval '2 days', 1, 1), (2, 1, now() + interval '1 hour', 1, 1);
SELECT results_eq($$SELECT * FROM app.bad()$$, $$VALUES ('impossible time', 4::bigint), ('no time', 1), ('no user or item', 2), ('unknown item', 2)$$, 'impossible times');
INSERT INTO app.enrolments (user_id, course_id, at, w, paid) SELECT 3, n, '2026-02-01 00:00+00', w, paid FROM (VALUES (1, -1, 0), (2, 'NaN', 'NaN'), (3, 'Infinity', 'Infinity'), (4, 1e30, -1e20), (5, 0, NULL)) v(n, w, paid);
SELECT results_eq($$SELECT * FROM app.bad() WHERE rule ~ 'weight|value'$$, $$VALUES ('impossible value', 3::bigint), ('impossible weight', 3)$$, 'impossible weights and values');
DELETE FROM app.enrolments WHERE w IS NOT NULL OR user_id IS NULL OR course_id IS NULL OR course_id > 1000;
INSERT INTO app.enrolments (user_id, course_id, at) SELECT 4, 5, '2026-02-01 00:00+00' FROM generate_series(1, 4);
INSERT INTO app.enrolments (user_id, course_id, at) SELECT 4, 5, '2026-02-01 00:00:01+00' FROM generate_series(1, 2);
SELECT results_eq($$SELECT * FROM app.bad()$$, $$VALUES ('duplicate', 4::bigint)$$, 'duplicates: all but the first of each');
INSERT INTO app.enrolments (user_id, course_id, at) SELECT 5, n % 30 + 1, '2026-03-01 10:00+00'::timestamptz + n * interval '0.9 seconds' FROM generate_series(0, 60) n;
SELECT results_eq($$SELECT rule, bad_rows, example FROM kpx_data_quality('courses') WHERE rule = 'burst'$$,
	$$VALUES ('burst', 61::bigint, 'user 5, 61 events in the minute of 2026-03-01 10:00:00+00')$$, 'more than 60 events of a user in a minute');
SELECT is((SELECT bad_rows FROM kpx_data_quality('courses', 61) WHERE rule = 'burst'), 0::bigint, 'or another number');
SELECT is((SELECT count(*) FROM app.enrolments WHERE user_id = 5 AND at::date = '2026-03-01'), 61::bigint, 'nothing is changed');
SELECT set_eq($$SELECT rule FROM kpx_data_quality('videos')$$, ARRAY['no user or item', 'unknown item', 'no time', 'impossible time', 'duplicate', 'burst'], 'text ids');
SELECT throws_ok($$SELECT * FROM kpx_data_quality('nowhere')$$, '42704', NULL, 'an unknown module');
SELECT throws_ok($$SELECT * FROM kpx_data_quality(NULL)$$, '22004', NULL, 'a NULL module');
SELECT throws_ok($$SELECT * FROM kpx_data_quality('courses', 0)$$, '22023', NULL, 'burst = 0');
CREATE ROLE kpx_test_quality;
GRANT USAGE ON SCHEMA app TO kpx_test_quality;
SET LOCAL ROLE kpx_test_quality;
SELECT throws_ok($$SELECT * FROM kpx_data_quality('courses')$$, '42501', NULL, 'as the caller');
RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
