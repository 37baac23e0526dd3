-- model: versions, activation, dropping, stored blocks, caches.
BEGIN;
SELECT plan(52);
\ir fixture.psql
SELECT model AS one FROM kpx_train(ARRAY['courses', 'products'], params => app.small(), name => 'm') \gset
SELECT model AS two FROM kpx_train(ARRAY['courses', 'products'], params => app.small() || '{"seed": 2}', name => 'm') \gset
SELECT model AS three FROM kpx_train('courses', params => app.small(), activate => false) \gset

-- kpx_models, kpx_modules
SELECT results_eq('SELECT model, version, active_for FROM kpx_models ORDER BY model',
	format($$VALUES (%s::bigint, 1, NULL::text[]), (%s, 2, '{courses,products}'), (%s, 1, NULL)$$, :one, :two, :three), 'the second training of a name is version 2 and active');
SELECT results_eq($$SELECT active_model, trained_items, trained_users, enough_data FROM kpx_modules WHERE module = 'products'$$, format('VALUES (%s::bigint, 30::bigint, 60::bigint, false)', :two), 'kpx_modules says what answers, and that 180 interactions are little');
SELECT is((SELECT active_model FROM kpx_modules WHERE module = 'videos'), NULL, 'nothing for videos');

-- activation moves modules one by one
CREATE FUNCTION app.top(bigint DEFAULT NULL) RETURNS real[] LANGUAGE sql AS $$SELECT array_agg(score) FROM kpx_recommend(3::bigint, 'courses', 3, model => $1)$$;
SELECT is(app.top(), app.top(:two), 'the active model answers');
SELECT lives_ok(format('SELECT kpx_activate(%s)', :one), 'back to the first');
SELECT is(app.top(), app.top(:one), 'it answers at once');
SELECT isnt(app.top(:one), app.top(:two), 'and differs from the second');
SELECT kpx_activate(:three);
SELECT is(app.top(), app.top(:three), 'a model of one module');
SELECT is((SELECT active_model FROM kpx_modules WHERE module = 'products'), (:one)::bigint, 'leaves the other where it was');
SAVEPOINT s;
SELECT kpx_activate(:two);
ROLLBACK TO s;
SELECT is(app.top(), app.top(:three), 'activation rolls back');
SELECT model AS gone FROM kpx_train('courses', params => app.small()) \gset
SELECT app.top() \g /dev/null
ROLLBACK TO s;
SELECT throws_ok(format('SELECT app.top(%s)', :gone), '42704', NULL, 'a training that was rolled back is gone from the cache too');
SELECT is(app.top(), app.top(:three), 'and does not answer');

-- dropping
SELECT throws_ok('SELECT kpx_drop_model(999999)', '42704', NULL, 'no such model');
SELECT throws_ok('SELECT kpx_activate(999999)', '42704', NULL, 'no such model');
SELECT lives_ok(format('SELECT kpx_drop_model(%s)', :three), 'an active model can be dropped');
SELECT throws_ok('SELECT app.top()', '55000', 'module "courses" has no active model', 'then nothing answers');
SELECT is((SELECT count(*) FROM kpx.model_block WHERE model_id = :three), 0::bigint, 'its blocks are gone');
SELECT kpx_activate(:two);
SELECT kpx_drop_model(:one);
SELECT throws_ok(format('SELECT app.top(%s)', :one), '42704', NULL, 'nor is it answered from a cache');

-- kpx_item_factors
SELECT results_eq($$SELECT count(*), min(array_length(factors, 1)), max(array_length(factors, 1)) FROM kpx_item_factors('courses', item_type => NULL::bigint)$$, 'VALUES (30::bigint, 6, 6)', 'a vector for every item');
SELECT ok((SELECT abs(sum(a * b) / sqrt(sum(a * a) * sum(b * b)) - (SELECT score FROM kpx_similar(1::bigint, 'courses', 100) WHERE item_id = 2)) < 1e-5
	FROM kpx_item_factors('courses', item_type => NULL::bigint) x, kpx_item_factors('courses', item_type => NULL::bigint) y, unnest(x.factors, y.factors) t(a, b) WHERE x.item_id = 1 AND y.item_id = 2), 'whose cosine is kpx_similar');
SELECT set_eq($$SELECT item_id FROM kpx_item_factors('courses')$$, 'SELECT id::text FROM app.courses', 'as text without a witness');
SELECT throws_ok($$SELECT * FROM kpx_item_factors('videos')$$, '55000', NULL, 'no model');
SELECT is_empty($$SELECT * FROM kpx_item_factors(NULL)$$, 'NULL');
SELECT throws_ok(format($$SELECT * FROM kpx_item_factors('courses', item_type => NULL::%s)$$, t), '42804', NULL, 'ids as ' || t)
FROM unnest('{uuid,numeric,jsonb,bigint[],record,"char"}'::text[]) t;
CREATE DOMAIN app.course_id AS integer CHECK (VALUE > 0);
CREATE DOMAIN app.small_course AS integer CHECK (VALUE < 20);
SELECT set_eq($$SELECT item_id FROM kpx_item_factors('courses', item_type => NULL::app.course_id)$$, 'SELECT id FROM app.courses', 'ids as a domain');
SELECT throws_ok($$SELECT * FROM kpx_item_factors('courses', item_type => NULL::app.small_course)$$, '23514', NULL, 'whose constraint holds');
SELECT throws_ok($$SELECT * FROM kpx_recommend(3::bigint, 'courses', item_type => NULL::app.small_course, k => 100)$$, '23514', NULL, 'in answers too');

-- damaged blocks: an error that names the model, never a crash, whichever byte it is
SELECT kpx_drop_model(model) FROM kpx_models WHERE model <> :two \g /dev/null
CREATE SEQUENCE app.fresh START 1000000; -- an id that no cache has seen
CREATE FUNCTION app.damaged(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE got text; fresh bigint := nextval('app.fresh'); old bigint := (SELECT active_model FROM kpx_modules WHERE module = 'courses');
BEGIN
	EXECUTE sql USING old;
	-- a write to the registry makes every cache look again; the damaged model must be read again
	UPDATE kpx.model SET id = fresh WHERE id = old;
	UPDATE kpx.model_module SET model_id = fresh WHERE model_id = old;
	UPDATE kpx.model_part SET model_id = fresh WHERE model_id = old;
	UPDATE kpx.model_block SET model_id = fresh WHERE model_id = old;
	got := app.error(format('SELECT app.top(%s)', fresh));
	RAISE EXCEPTION USING ERRCODE = 'KPX00', MESSAGE = coalesce(replace(got, fresh::text, 'N'), 'no error');
EXCEPTION WHEN SQLSTATE 'KPX00' THEN
	RETURN SQLERRM;
END $$;
SELECT is(app.damaged('SELECT $1'), 'no error', 'undamaged, it is read');
SELECT is(left(app.damaged('UPDATE kpx.model_block SET data = substr(data, 1, length(data) - 1) WHERE model_id = $1'), 5), 'XX001', 'truncated blocks');
SELECT is(left(app.damaged($$UPDATE kpx.model_block SET data = '' WHERE model_id = $1$$), 5), 'XX001', 'empty blocks');
SELECT is(left(app.damaged($$UPDATE kpx.model_block SET data = data || '\x00' WHERE model_id = $1$$), 5), 'XX001', 'longer blocks');
SELECT is(left(app.damaged('DELETE FROM kpx.model_block WHERE model_id = $1'), 5), 'XX001', 'no blocks at all');
SELECT matches(app.damaged('UPDATE kpx.model_block SET data = set_byte(data, length(data) - 1, 255 - get_byte(data, length(data) - 1)) WHERE model_id = $1'), '^XX001 .*model N', 'a changed byte is named with the model');
SELECT set_eq($$SELECT left(app.damaged(format('UPDATE kpx.model_block SET data = set_byte(data, %s %% length(data), 255 - get_byte(data, %s %% length(data))) WHERE model_id = $1', n, n)), 5) FROM generate_series(0, 400) n$$,
	ARRAY['XX001', '0A000'], 'any byte of header and payload: corrupt, or of another version');
SELECT is(left(app.damaged('UPDATE kpx.model_part SET numbers[1] = numbers[1] + 1 WHERE model_id = $1'), 5), 'XX001', 'numbers that do not fit the blocks');
SELECT is(left(app.damaged('UPDATE kpx.model_part SET numbers = array_fill(1::float8, ARRAY[9]) WHERE model_id = $1'), 5), 'XX001', 'too many numbers');
SELECT is(left(app.damaged('UPDATE kpx.model_part SET numbers[2] = -1 WHERE model_id = $1'), 5), 'XX001', 'numbers that make no sense');
SELECT is(left(app.damaged('DELETE FROM kpx.model_part WHERE model_id = $1'), 5), 'XX001', 'a model without parts');
SELECT is(left(app.damaged($$UPDATE kpx.model_part SET algorithm = 'oracle' WHERE model_id = $1$$), 5), '0A000', 'a part of an algorithm we do not have');
SELECT is(left(app.damaged('UPDATE kpx.model_module SET items = items + 1 WHERE model_id = $1'), 5), 'XX001', 'a module with more items than its ids');
SELECT is(left(app.damaged('UPDATE kpx.model_module SET items = 2000000000 WHERE model_id = $1 AND position = 0'), 5), 'XX001', 'two milliards of items, before memory is asked for');
SELECT is(left(app.damaged('UPDATE kpx.model_module SET items = -1 WHERE model_id = $1'), 5), 'XX001', 'less than no items');
SELECT is(left(app.damaged($$UPDATE kpx.model_part SET numbers[3] = 'NaN' WHERE model_id = $1$$), 5), 'XX001', 'parameters that are no numbers');

-- the cache is bounded
SET LOCAL kpxrec.cache_size = '1MB';
SELECT lives_ok('SELECT app.top()', 'a small model fits into a small cache');
INSERT INTO app.courses SELECT n FROM generate_series(1000, 6000) n;
INSERT INTO app.enrolments SELECT 1, n FROM generate_series(1000, 6000) n;
SET LOCAL kpxrec.min_users = 1;
SELECT kpx_train('courses') \g /dev/null
SELECT throws_ok('SELECT app.top()', '53200', NULL, 'a larger one is refused, with the setting to change');
RESET kpxrec.cache_size;
SELECT lives_ok('SELECT app.top()', 'and answers when it may');
SELECT lives_ok($$SELECT app.top(m) FROM (SELECT (kpx_train('courses', params => '{"factors": 2, "iterations": 1}', name => 'n' || n)).model AS m FROM generate_series(1, 40) n) x$$, 'more models than the cache has places for');
SELECT * FROM finish();
ROLLBACK;
