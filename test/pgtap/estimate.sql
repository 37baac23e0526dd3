-- estimate: what a training would take, without training.
BEGIN;
SELECT plan(21);
\ir fixture.psql
INSERT INTO app.enrolments SELECT u, i, now() FROM generate_series(100, 1099) u, generate_series(1, 30) i WHERE (u * 7 + i * 13) % 5 < 2;
ANALYZE app.enrolments, app.orders, app.plays;
-- counted: what training finds
SELECT results_eq($$SELECT users, items, interactions, rows_from FROM kpx_train_estimate('{courses,products}', params => app.small(), exact => true)$$,
	$$SELECT users, items, interactions, 'counted' FROM kpx_train('{courses,products}'::text[], params => app.small(), activate => false)$$, 'counted, the rows are those of the training');
SELECT results_eq($$SELECT events FROM kpx_train_estimate('{courses,products}', params => app.small(), exact => true)$$,
	'SELECT (SELECT count(*) FROM app.enrolments) + (SELECT count(*) FROM app.orders)', 'and the events');
-- guessed: near it
SELECT ok((SELECT abs(users - 1060) < 110 AND items = 30 AND abs(interactions - 12360) < 1300 AND rows_from = 'planner statistics' FROM kpx_train_estimate('{courses}', params => app.small())), 'the planner''s guess is within a tenth');
SELECT is((SELECT count(*) FROM kpx_models), 1::bigint, 'nothing was trained by it');
-- seconds and memory are there, and grow
SELECT ok((SELECT read_seconds > 0 AND train_seconds > 0 AND memory_bytes > 0 AND model_bytes > 0 AND workers = 0 AND refused IS NULL FROM kpx_train_estimate('{courses}', params => app.small())), 'a small training, refused by nobody');
SELECT ok((SELECT a.memory_bytes < b.memory_bytes AND a.model_bytes < b.model_bytes FROM kpx_train_estimate('{courses}', params => '{"factors": 16}') a, kpx_train_estimate('{courses}', params => '{"factors": 512}') b), 'more factors take more memory');
SELECT ok((SELECT train_seconds IS NULL AND memory_bytes IS NULL AND interactions > 0 FROM kpx_train_estimate('{courses}', 'content')), 'what texts take is not estimated, and says so');
SELECT ok((SELECT train_seconds >= 0 AND memory_bytes > 0 FROM kpx_train_estimate('{courses}', a)), a) FROM unnest('{ials,ease,itemknn,transition,popular}'::text[]) a;
-- what would be refused is, and for the memory that was named
SET LOCAL maintenance_work_mem = '1MB';
SET LOCAL kpxrec.memory_factor = 1;
SELECT matches((SELECT refused FROM kpx_train_estimate('{courses}', params => '{"factors": 256}')), '^training: .*1 MB are allowed', 'too much memory is named beforehand');
CREATE TABLE app.refusal AS SELECT app.error($$SELECT kpx_train('courses', params => '{"factors": 256}')$$) AS said, memory_bytes FROM kpx_train_estimate('{courses}', params => '{"factors": 256}', exact => true);
SELECT ok((SELECT abs(substring(said FROM 'needs about (\d+) MB')::int - memory_bytes / 1048576) <= 1 FROM app.refusal), 'and is what the training says when it refuses');
SELECT is((SELECT left(said, 5) FROM app.refusal), '53200', 'which it does');
RESET maintenance_work_mem;
RESET kpxrec.memory_factor;
-- arguments
SELECT throws_ok($$SELECT * FROM kpx_train_estimate(NULL)$$, '22004', NULL, 'NULL');
SELECT throws_ok($$SELECT * FROM kpx_train_estimate('{nothing}')$$, '42704', NULL, 'no such module');
SELECT throws_ok($$SELECT * FROM kpx_train_estimate('{courses}', 'oracle')$$, '22023', NULL, 'no such algorithm');
SELECT throws_ok($$SELECT * FROM kpx_train_estimate('{courses}', params => '{"factors": 0}')$$, '22023', NULL, 'parameters out of range');
TRUNCATE app.enrolments;
SELECT is((SELECT interactions FROM kpx_train_estimate('{courses}', exact => true)), 0::bigint, 'no events');
CREATE ROLE kpx_test_stranger;
SET LOCAL ROLE kpx_test_stranger;
SELECT throws_ok($$SELECT * FROM kpx_train_estimate('{courses}')$$, '42501', NULL, 'as the caller');
RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
