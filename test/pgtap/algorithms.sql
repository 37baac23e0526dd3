-- algorithms: all of them behind the same calls.
BEGIN;
SELECT plan(55);
\ir fixture.psql
CREATE FUNCTION app.three() RETURNS text[] LANGUAGE sql IMMUTABLE AS $$SELECT ARRAY['courses', 'products', 'videos']$$;
CREATE TEMP TABLE algorithms AS SELECT * FROM (VALUES ('ials', app.small()), ('ease', '{"regularization": 5}'), ('itemknn', '{}'),
	('itemknn', '{"weighting": "bm25", "asymmetry": 0.3}'), ('itemknn', '{"weighting": "tfidf", "neighbours": 0}'), ('transition', '{}'), ('popular', '{}'), ('rules', '{}')) v(algorithm, params);

-- every one trains, is stored with its parameters, read again, and answers all calls
CREATE TEMP TABLE models AS SELECT row_number() OVER () AS n, a.*, (kpx_train(app.three(), a.algorithm, a.params, activate => false)).* FROM algorithms a;
SELECT results_eq('SELECT count(DISTINCT model), bool_and(items = 90 AND users = 60) FROM models', 'VALUES (8::bigint, true)', 'eight models');
SELECT results_eq('SELECT algorithm, params->>''weighting'', params->>''neighbours'' FROM kpx_models WHERE model = (SELECT model FROM models WHERE n = 4)',
	$$VALUES ('itemknn', 'bm25', '100')$$, 'kpx_models has algorithm and parameters as used');
SELECT results_eq($$SELECT algorithm, factors, loss > 0 FROM kpx_models WHERE model IN (SELECT model FROM models) AND algorithm IN ('ials', 'ease', 'popular') ORDER BY model$$,
	$$VALUES ('ials', 6, true), ('ease', NULL, NULL), ('popular', NULL, NULL)$$, 'factors and loss only where there are any');
SELECT is_empty($$SELECT n FROM models WHERE (SELECT count(*) FROM kpx_recommend(3::bigint, 'courses', 10, model => model)) <> 10$$, 'ten courses from each');
SELECT is_empty($$SELECT n FROM models WHERE (SELECT array_agg(item_id ORDER BY rank) FROM kpx_recommend(3::bigint, 'courses', 8, model => model))
	IS DISTINCT FROM (SELECT array_agg(item_id ORDER BY rank) FROM kpx_recommend_for(ARRAY[3]::bigint[], 'courses', 8, model => model))$$, 'one by one and in a batch alike');
SELECT is_empty($$SELECT n, r.item_id FROM models, kpx_recommend(3::bigint, 'courses', 5, model => model) r
	WHERE r.reason <> 'popular' AND abs(r.score - kpx_score(3::bigint, 'courses', r.item_id, model => model)) > 1e-5$$, 'kpx_score is the score in the list');
SELECT is_empty($$SELECT n, r.item_id FROM models, kpx_recommend(3::bigint, 'courses', 5, model => model) r
	WHERE r.reason <> 'popular' AND abs(r.score - (SELECT sum(contribution) FROM kpx_explain(3::bigint, 'courses', r.item_id, model => model))) > 1e-5$$, 'the parts of kpx_explain sum to it');
SELECT is_empty($$SELECT n FROM models WHERE algorithm <> 'popular' AND NOT EXISTS (SELECT FROM kpx_recommend(3::bigint, 'courses', 3, model => model) WHERE reason LIKE '%/%')$$, 'with past items as reasons');
SELECT is((SELECT array_agg(DISTINCT reason) FROM models m, kpx_recommend(3::bigint, 'courses', 3, model => model) WHERE m.algorithm = 'popular'), ARRAY['popular'], 'except from popular');
SELECT is_empty($$SELECT n FROM models WHERE algorithm NOT IN ('popular', 'transition') AND NOT (SELECT bool_and(item_id % 3 = 0) FROM kpx_recommend(3::bigint, 'courses', 3, model => model))$$, 'interests are found: group 0 gets courses of group 0');
SELECT is_empty($$SELECT n FROM models WHERE algorithm IN ('ease', 'itemknn') AND NOT EXISTS (SELECT FROM kpx_recommend_from(ARRAY['v3', 'v6'], 'videos', 'courses', item_type => NULL::bigint, k => 3, model => model) WHERE item_id % 3 = 0 AND reason LIKE 'videos/%')$$, 'across modules');
SELECT is_empty($$SELECT n FROM models WHERE algorithm <> 'popular' AND NOT EXISTS (SELECT FROM kpx_similar(3::bigint, 'courses', 3, model => model))$$, 'kpx_similar');
SELECT throws_ok(format($$SELECT * FROM kpx_item_factors('courses', model => %s)$$, (SELECT model FROM models WHERE n = 2)), '55000', NULL, 'no factors but from factors');
SELECT is_empty($$SELECT n FROM models WHERE (SELECT array_agg(DISTINCT reason) FROM kpx_recommend(12345::bigint, 'courses', 3, model => model)) <> ARRAY['popular']$$, 'a stranger gets what is popular from each');
SELECT is_empty($$SELECT a.algorithm FROM algorithms a WHERE (SELECT count(*) FROM kpx_evaluate(app.three(), 5, 'last_by_time', a.algorithm, a.params) WHERE value IS NOT NULL) <> 18$$, 'kpx_evaluate judges each');
SELECT is_empty($$SELECT a.algorithm FROM algorithms a WHERE a.algorithm <> 'popular' AND (SELECT bool_or(value <= popularity) FROM kpx_evaluate(app.three(), 5, algorithm => a.algorithm, params => a.params) WHERE metric = 'ndcg@5' AND a.algorithm <> 'transition')$$, 'and each but transition beats popularity on every module of the fixture');
SELECT is_empty($$SELECT module FROM kpx_evaluate(app.three(), 5, algorithm => 'popular') WHERE value <> popularity$$, 'popular is the baseline itself');

-- item-kNN: the shrunk cosine, counted in SQL
SELECT model AS knn FROM models WHERE n = 3 \gset
CREATE TEMP VIEW took AS SELECT user_id, course_id, count(*) AS w FROM app.enrolments GROUP BY 1, 2;
SELECT is_empty($$SELECT s.item_id FROM kpx_similar(1::bigint, 'courses', 30, model => $$ || :knn || $$) s WHERE abs(s.score -
	(SELECT sum(a.w * b.w) FROM took a JOIN took b USING (user_id) WHERE a.course_id = 1 AND b.course_id = s.item_id)
	/ (sqrt((SELECT sum(w * w) FROM took WHERE course_id = 1)) * sqrt((SELECT sum(w * w) FROM took WHERE course_id = s.item_id)) + 5)) > 1e-5$$, 'itemknn: kpx_similar is the cosine with shrinkage 5');
SELECT is((SELECT count(*) FROM kpx_similar(1::bigint, 'courses', 30, model => :knn)),
	(SELECT count(DISTINCT b.course_id) FROM took a JOIN took b USING (user_id) WHERE a.course_id = 1 AND b.course_id <> 1), 'of all courses that share a user');
-- the score of a user is the sum over their history
INSERT INTO app.enrolments VALUES (900, 1, now()), (900, 4, now());
SELECT ok(abs(kpx_score(900::bigint, 'courses', 7::bigint, model => :knn) - (SELECT sum(score) FROM unnest(ARRAY[1, 4]::bigint[]) h, kpx_similar(h, 'courses', 90, model => :knn) s WHERE s.item_id = 7)) < 1e-5, 'scores add up over the history');
DELETE FROM app.enrolments WHERE user_id = 900;

-- rules: the most confident of those that kpx_mine_rules finds with the same thresholds and the history covers
SELECT model AS rules FROM models WHERE algorithm = 'rules' \gset
SELECT kpx_mine_rules(app.three(), 5, 0.02, 3) \g /dev/null
CREATE TEMP VIEW history AS SELECT user_id, array_agg(DISTINCT item) AS items FROM (
	SELECT user_id, 'courses/' || course_id AS item FROM app.enrolments UNION ALL SELECT user_id, 'products/' || product_id FROM app.orders
	UNION ALL SELECT user_id, 'videos/' || video_id FROM app.plays) x GROUP BY 1;
CREATE TEMP TABLE expected AS SELECT h.user_id, r.consequent, max(confidence) AS best FROM history h JOIN kpx_rules r ON r.antecedent <@ h.items WHERE r.consequent LIKE 'courses/%' GROUP BY 1, 2;
SELECT cmp_ok((SELECT count(*) FROM expected WHERE user_id <= 20), '>', 100::bigint, 'rules speak');
SELECT is_empty($$SELECT user_id, consequent FROM expected WHERE user_id <= 20 AND abs(best - kpx_score(user_id, 'courses', split_part(consequent, '/', 2)::bigint, model => $$ || :rules || $$)) > 1e-6$$, 'rules: the score is the confidence of the best rule that the history covers');
SELECT is((SELECT numbers[1] FROM kpx.model_part WHERE model_id = :rules), (SELECT count(*)::float8 FROM kpx_rules), 'and all rules are in the model');
SELECT model AS fifty FROM kpx_train(app.three(), 'rules', '{"max_rules": 50}', activate => false) \gset
SELECT ok((SELECT numbers[1] <= 50 AND numbers[3] > 5 FROM kpx.model_part WHERE model_id = :fifty), 'where there would be more than max_rules the support is raised');

-- neighbours: a target keeps so many links
SELECT model AS few FROM kpx_train('courses', 'itemknn', '{"neighbours": 2}', activate => false) \gset
SELECT is((SELECT max(n) FROM (SELECT s.item_id, count(*) AS n FROM app.courses c, kpx_similar(c.id, 'courses', 90, model => :few) s GROUP BY 1) x), 2::bigint, 'two links lead to any item');

-- transition: sequences of one user after another
CREATE TABLE app.steps (user_id bigint, course_id bigint, at timestamptz);
INSERT INTO app.steps SELECT u, 1 + (u + s) % 5, now() - interval '1 day' * (10 - s) FROM generate_series(1, 40) u, generate_series(0, 2) s;
SELECT kpx_add_module('chain', 'app.courses', 'id'), kpx_add_events('chain', 'app.steps', 'step', 'user_id', 'course_id', occurred_at => 'at', hides => false) \g /dev/null
SELECT model AS chain FROM kpx_train('chain', 'transition', '{"window": 1, "shrinkage": 0}') \gset
INSERT INTO app.steps VALUES (77, 3, now() - interval '9 days'), (77, 2, now());
SELECT results_eq('SELECT item_id, reason FROM kpx_recommend(77::bigint, ''chain'', 1)', $$VALUES (3::bigint, 'chain/2')$$, 'after course 2 comes course 3, whatever was before');
SELECT ok(abs(kpx_score(77::bigint, 'chain', 3::bigint) - 16.0 / 24) < 1e-5, 'with the share of people who did so');
SELECT model AS blended FROM kpx_train('chain', 'hybrid', '{"factors": 4, "transition": {"window": 1, "shrinkage": 0}, "itemknn": false, "rules": false}', activate => false) \gset
SELECT ok((SELECT (params->'weights'->'chain'->>'transition')::float8 > 0 FROM kpx_models WHERE model = :blended), 'hybrid listens to it when asked: the newest events are held out to find its weight');
SELECT is((SELECT item_id FROM kpx_recommend(77::bigint, 'chain', 1, model => :blended)), 3::bigint, 'and follows it');
SELECT kpx_add_module('timeless', 'app.courses', 'id') \g /dev/null
SELECT kpx_add_events('timeless', 'app.steps', 'step', 'user_id', 'course_id') \g /dev/null
SELECT throws_ok($$SELECT kpx_train('timeless', 'hybrid', '{"transition": true}')$$, '55000', NULL, 'nor in a hybrid');
SELECT throws_ok($$SELECT kpx_train('timeless', 'transition')$$, '55000', 'algorithm "transition" needs times, no event source of these modules has any', 'without times there are no transitions');

-- half_life: what is long ago counts less when a user is folded in
INSERT INTO app.steps VALUES (78, 5, now() - interval '100 days'), (78, 2, now());
SELECT model AS flat FROM kpx_train('chain', 'itemknn', activate => false) \gset
SELECT model AS fading FROM kpx_train('chain', 'itemknn', '{"module_weights": {"chain": {"half_life": 10}}}', activate => false) \gset
SELECT results_eq('SELECT item_id, weight FROM kpx_explain(78::bigint, ''chain'', 1::bigint, model => ' || :flat || ') ORDER BY 1', $$VALUES ('2', 1::real), ('5', 1)$$, 'without half_life all count alike');
SELECT ok((SELECT abs(weight - 2 ^ -10.0) < 1e-5 FROM kpx_explain(78::bigint, 'chain', 1::bigint, model => :fading) WHERE item_id = '5'), 'a hundred days at a half-life of ten: 2^-10');
SELECT is((SELECT weight FROM kpx_explain(78::bigint, 'chain', 1::bigint, model => :fading) WHERE item_id = '2'), 1::real, 'the newest counts in full, whenever it was');
SELECT is((SELECT params->'module_weights'->'chain'->>'half_life' FROM kpx_models WHERE model = :fading), '10', 'kpx_models shows it');

-- with workers the same links
SET LOCAL kpxrec.min_parallel_interactions = 0;
SET LOCAL max_parallel_maintenance_workers = 2;
SELECT model AS together FROM kpx_train(app.three(), 'itemknn', activate => false) \gset
SELECT is_empty(format('SELECT item_id, score FROM kpx_similar(1::bigint, ''courses'', 90, model => %s) EXCEPT SELECT item_id, score FROM kpx_similar(1::bigint, ''courses'', 90, model => %s)', :knn, :together), 'with workers the same links, bit by bit');
RESET kpxrec.min_parallel_interactions;
RESET max_parallel_maintenance_workers;

-- parameters are each algorithm's own
CREATE FUNCTION app.refused(algorithm text, params text) RETURNS text LANGUAGE sql AS $$SELECT app.error(format('SELECT * FROM kpx_train(''courses'', %L, params => %L)', algorithm, params))$$;
SELECT is(app.refused('ease', '{"factors": 3}'), '22023 parameter "factors" is not known to algorithm "ease" | Known parameters: regularization, neighbours, module_weights, seed.', 'unknown keys list the known ones of the algorithm');
SELECT is(app.refused('itemknn', '{"weighting": "l2"}'), '22023 parameter "weighting" must be one of "cosine", "tfidf", "bm25"', 'choices');
SELECT is(left(app.refused('itemknn', '{"weighting": 1}'), 5), '22023', 'a number is no choice');
SELECT is(app.refused('popular', '{"x": 1}'), '22023 parameter "x" is not known to algorithm "popular" | Known parameters: module_weights, seed.', 'no parameters');
SELECT is(left(app.refused('ease', '{"regularization": 0}'), 5), '22023', 'no regularization');
SELECT is(left(app.refused('itemknn', '{"asymmetry": 1.5}'), 5), '22023', 'asymmetry beyond 1');
SELECT is(left(app.refused('transition', '{"window": 0}'), 5), '22023', 'no window');
SELECT is(left(app.refused('bpr', '{}'), 5), '22023', 'an algorithm there is not');

-- memory is checked before
SET LOCAL maintenance_work_mem = '1MB';
SET LOCAL kpxrec.memory_factor = 1;
CREATE TABLE app.wide (user_id bigint, course_id bigint);
INSERT INTO app.wide SELECT n, n % 1500 FROM generate_series(1, 3000) n;
SELECT kpx_add_module('wide', 'app.courses', 'id') \g /dev/null
SELECT kpx_add_events('wide', 'app.wide', 'x', 'user_id', 'course_id') \g /dev/null
SELECT throws_ok($$SELECT kpx_train('wide', 'ease')$$, '53200', NULL, 'EASE over the budget: refused before it is tried');
RESET maintenance_work_mem;
RESET kpxrec.memory_factor;
SELECT lives_ok($$SELECT kpx_train('wide', 'ease', '{"neighbours": 3}')$$, 'from the items'' side, which is the smaller one here');
TRUNCATE app.wide;
SELECT lives_ok(format('SELECT kpx_train(''wide'', %L)', a), a || ' of no events') FROM unnest('{ease,itemknn,popular,rules}'::text[]) a;

-- damaged links: an error, never a read out of bounds
SELECT model AS links FROM kpx_train('courses', 'itemknn') \gset
CREATE SEQUENCE app.fresh START 2000000;
CREATE FUNCTION app.damaged(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE got text; fresh bigint := nextval('app.fresh'); old bigint := (SELECT active_model FROM kpx_modules WHERE module = 'courses');
BEGIN
	EXECUTE sql USING old;
	UPDATE kpx.model SET id = fresh WHERE id = old;
	UPDATE kpx.model_module SET model_id = fresh WHERE model_id = old;
	UPDATE kpx.model_part SET model_id = fresh WHERE model_id = old;
	UPDATE kpx.model_block SET model_id = fresh WHERE model_id = old;
	got := app.error(format('SELECT * FROM kpx_recommend(3::bigint, ''courses'', model => %s)', fresh));
	RAISE EXCEPTION USING ERRCODE = 'KPX00', MESSAGE = coalesce(replace(got, fresh::text, 'N'), 'no error');
EXCEPTION WHEN SQLSTATE 'KPX00' THEN
	RETURN SQLERRM;
END $$;
SELECT is(app.damaged('SELECT $1'), 'no error', 'undamaged, it is read');
SELECT is(left(app.damaged('UPDATE kpx.model_part SET numbers[1] = numbers[1] + 1 WHERE model_id = $1'), 5), 'XX001', 'more entries than there are');
SELECT is(left(app.damaged($$UPDATE kpx.model_block SET kind = 'link2' WHERE model_id = $1 AND kind = 'link'$$), 5), 'XX001', 'an array that is missing');
SELECT is(left(app.damaged($$UPDATE kpx.model_part SET algorithm = 'transition' WHERE model_id = $1$$), 5), 'XX001', 'another algorithm''s numbers');
SELECT kpx_train('courses', 'rules') \g /dev/null
SELECT is(left(app.damaged($$UPDATE kpx.model_part SET numbers[2] = numbers[2] + 1 WHERE model_id = $1$$), 5), 'XX001', 'more of the rules than there is');
SELECT * FROM finish();
ROLLBACK;
