-- ranking: signals, training on logged impressions, serving, report, privileges.
BEGIN;
SET client_min_messages = warning;
SELECT plan(43);
\ir fixture.psql
SELECT model FROM kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small()) \gset
SELECT id AS courses FROM kpx.module WHERE name = 'courses' \gset
SELECT id AS products FROM kpx.module WHERE name = 'products' \gset

-- signals
CREATE TEMP TABLE shown AS SELECT * FROM kpx_recommend_slate(3::bigint, ARRAY['products', 'courses'], 6, 'courses', log => true);
CREATE TEMP VIEW logged AS SELECT i.*, m.name AS module FROM kpx.impression i JOIN kpx.module m ON m.id = i.module_id;
SELECT is((SELECT count(*) FROM logged WHERE array_length(signals, 1) = 15 AND array_lower(signals, 1) = 1), (SELECT count(*) FROM shown), 'every impression has its signals');
SELECT ok((SELECT bool_and(signals[1] = score AND abs(signals[9] - ln(p_click / (1 - p_click))) < 1e-4) FROM logged), 'the score, and the logit of the smoothed rate');
SELECT ok((SELECT bool_and(signals[3] BETWEEN -1 AND signals[4] AND signals[4] <= 1.0001) FROM logged), 'likeness to the whole history is at most that to the nearest item');
SELECT ok((SELECT bool_and((signals[11] <> 'NaN') = (module = 'products')) FROM logged), 'the price, where the module has one');
SELECT is((SELECT max(signals[12]) FROM logged), (SELECT ln(1 + count(DISTINCT (m, item)))::real FROM (SELECT 'c' AS m, course_id::text FROM app.enrolments WHERE user_id = 3
	UNION ALL SELECT 'p', product_id::text FROM app.orders WHERE user_id = 3 UNION ALL SELECT 'v', video_id FROM app.plays WHERE user_id = 3) e(m, item)), 'the length of the history');
SELECT kpx_recommend_slate(9999::bigint, ARRAY['products'], 3, 'courses', log => true) \g /dev/null
SELECT ok((SELECT bool_and(signals[3] = 'NaN' AND signals[4] = 'NaN' AND signals[7] = 'NaN' AND signals[12] = 0) FROM logged WHERE user_id = '9999'), 'of a new user nothing is known');
SELECT is((SELECT DISTINCT ranker FROM kpx.slate), 'smoothed rates', 'without a ranker smoothed rates rank');
SELECT is((SELECT DISTINCT signals[15] FROM logged), 'NaN', 'without segments their signal is not known');
SELECT kpx_cluster('groups', ARRAY['courses', 'products', 'videos'], 3) \g /dev/null
CREATE TEMP TABLE seen AS SELECT * FROM kpx_recommend_slate(3::bigint, ARRAY['products', 'courses'], 6, 'courses', log => true);
SELECT is((SELECT count(*) FROM logged i JOIN seen USING (slate_id, rank)
	LEFT JOIN kpx.segment_item t ON t.module_id = i.module_id AND t.item_id = i.item_id AND t.segment = (SELECT segment FROM kpx_segment_of(3::bigint))
	WHERE abs(signals[15] - (ln(coalesce(share, 0) * 30 + 0.1) - signals[8])) < 1e-3), (SELECT count(*) FROM seen), 'with them it is the lift of the item in the user''s segment');
SELECT ok((SELECT bool_and((signals[15] > 0) = (i.item_id::int % 3 = 0)) FROM logged i JOIN seen USING (slate_id, rank)), 'which goes for what suits the user');
SELECT kpx_drop_segments('groups') \g /dev/null

-- too little
SET client_min_messages = error;
SELECT trained AS trained, ranker AS ranker FROM kpx_train_ranker(ARRAY['courses', 'products']) \gset few_
SET client_min_messages = warning;
SELECT is(:'few_trained'::bool, false, 'too few clicks: not trained');
SELECT is((SELECT count(*) FROM kpx.ranker WHERE active), 0::bigint, 'and not active');
SELECT is_empty(format('SELECT * FROM kpx_ranker_report(%s)', :few_ranker), 'nothing to report');
SELECT matches(app.error('SELECT * FROM kpx_ranker_report()'), '^55000 there is no active ranker .* kpx_train_ranker', 'nor an active one to report on');

-- planted: clicks by likeness, popularity and position, conversions by price preference; 5,000 users of 8 impressions
CREATE FUNCTION app.u(k text) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$SELECT (('x' || left(md5(k), 8))::bit(32)::bigint + 0.5) / 4294967296.0$$;
CREATE TEMP TABLE planted AS
SELECT s, r, 1.5 * (a - 0.5) * 2 + 0.8 * (b - 0.5) * 2 - 0.25 * (r - 1) - 1.2 + CASE WHEN s % 2 = 0 THEN 0.4 ELSE 0 END AS click,
	2 * (c - 0.5) * 2 - 0.5 AS convert, a, b, c
FROM generate_series(1, 5000) s, generate_series(1, 8) r, LATERAL (SELECT app.u(s || 'a' || r) AS a, app.u(s || 'b' || r) AS b, app.u(s || 'c' || r) AS c) x;
INSERT INTO kpx.impression (slate_id, rank, occurred_at, user_id, home_module_id, module_id, item_id, policy_id, score, p_click, p_convert, expected_value, propensity, explored, signals)
SELECT 1000000 + s, r, now(), s::text, :courses, CASE WHEN s % 2 = 0 THEN :products ELSE :courses END, r::text, 0, 0.5, 0.1, 0.1, 0, 1, false,
	ARRAY[0.5, 1, a, 'NaN', 0, 0, c, b, -2, -2, 1, 2, 'NaN', 'NaN', 'NaN']::real[] FROM planted;
INSERT INTO kpx.feedback (slate_id, rank, kind, occurred_at, impression_at, source_id)
SELECT 1000000 + s, r, 'click', now(), now(), 0 FROM planted WHERE app.u(s || 'k' || r) < 1 / (1 + exp(-click));
INSERT INTO kpx.feedback (slate_id, rank, kind, value, occurred_at, impression_at, source_id)
SELECT 1000000 + s, r, 'conversion', 1, now(), now(), 0 FROM planted WHERE app.u(s || 'k' || r) < 1 / (1 + exp(-click)) AND app.u(s || 'v' || r) < 1 / (1 + exp(-convert));
CREATE TEMP TABLE run AS SELECT * FROM kpx_train_ranker(ARRAY['courses', 'products']);
SELECT ok((SELECT trained FROM run), 'enough to learn from');
SELECT is((SELECT ARRAY[impressions, clicks, conversions] FROM run), (SELECT ARRAY[(SELECT count(*) FROM logged), count(DISTINCT (slate_id, rank)), count(*) FILTER (WHERE kind = 'conversion')] FROM kpx.feedback), 'what it learnt from');
SELECT ranker FROM run \gset
-- the planted probabilities' own AUC, on all users; the test users' differs by sampling: 6,000 impressions, standard error 0.008
CREATE TEMP TABLE truth AS SELECT sum(CASE WHEN k THEN (rank - 1 - before) END) / (count(*) FILTER (WHERE k) * count(*) FILTER (WHERE NOT k)) AS auc FROM
	(SELECT k, row_number() OVER w AS rank, count(*) FILTER (WHERE k) OVER w - 1 AS before FROM
		(SELECT click, app.u(s || 'k' || r) < 1 / (1 + exp(-click)) AS k FROM planted) p WINDOW w AS (ORDER BY click ROWS UNBOUNDED PRECEDING)) q;
SELECT cmp_ok((SELECT click_auc FROM run), '>', (SELECT auc - 0.03 FROM truth)::float8, 'clicks are told apart as well as can be: ' || (SELECT round(click_auc::numeric, 3) || ', planted ' || round(auc, 3) FROM run, truth));
SELECT cmp_ok((SELECT convert_auc FROM run), '>', 0.75::float8, 'conversions, too');
SELECT cmp_ok((SELECT abs(sum(o.value * o.n) / sum(o.n) - sum(p.value * p.n) / sum(p.n)) FROM kpx_ranker_report() p JOIN kpx_ranker_report() o USING (split, head, label)
	WHERE split = 'test' AND head = 'click' AND p.metric = 'predicted' AND o.metric = 'observed'), '<', 0.02::float8, 'calibrated on average');
SELECT cmp_ok((SELECT max(abs(o.value - p.value)) FROM kpx_ranker_report() p JOIN kpx_ranker_report() o USING (split, head, label)
	WHERE split = 'test' AND head = 'click' AND p.metric = 'predicted' AND o.metric = 'observed'), '<', 0.08::float8, 'and by decile: 600 impressions each, three standard errors are 0.06');
SELECT set_eq('SELECT DISTINCT head, metric FROM kpx_ranker_report()', $$SELECT h, m FROM unnest(ARRAY['click', 'click_and_convert', 'convert']) h,
	unnest(ARRAY['auc', 'log_loss', 'threshold', 'precision', 'recall', 'f1', 'predicted', 'observed']) m$$, 'the report has it all');
SELECT is((SELECT count(DISTINCT label) FROM kpx_ranker_report() WHERE metric = 'f1'), 2::bigint, 'for both classes');
SELECT is((SELECT sum(n) FROM kpx_ranker_report() WHERE split = 'test' AND head = 'click' AND metric = 'recall'), (SELECT n::numeric FROM kpx_ranker_report() WHERE split = 'test' AND head = 'click' AND metric = 'auc'), 'whose support adds up');
SELECT is((SELECT count(*) FROM kpx_training_log WHERE kept AND ranker = :ranker), 1::bigint, 'one epoch was kept');
SELECT is((SELECT dev_loss FROM kpx_training_log WHERE kept), (SELECT min(dev_loss) FROM kpx_training_log), 'that of the lowest loss on dev users');
SELECT is((SELECT count(*)::int FROM kpx_training_log), (SELECT epochs FROM run), 'every epoch is logged');
SELECT cmp_ok((SELECT train_loss FROM kpx_training_log WHERE kept), '<', (SELECT train_loss FROM kpx_training_log WHERE epoch = 1), 'the loss fell');
SELECT is((SELECT dev_loss FROM kpx_train_ranker(ARRAY['courses', 'products'], activate => false)), (SELECT dev_loss FROM run), 'the same seed, the same ranker');
SELECT is((SELECT id FROM kpx.ranker WHERE active), :ranker::bigint, 'activate => false leaves the active one');
SELECT ok((SELECT click_auc > (SELECT auc - 0.04 FROM truth) FROM kpx_train_ranker(ARRAY['courses', 'products'], '{"factors": 4}', activate => false)), 'a factorization machine learns it, too');

-- serving
SELECT kpx_recommend_slate(6::bigint, ARRAY['products', 'videos'], 60, 'courses', log => true) \g /dev/null
SELECT is((SELECT ranker FROM kpx.slate ORDER BY slate_id DESC LIMIT 1), 'ranker ' || :ranker, 'the ranker ranks now');
SELECT ok((SELECT bool_and(abs(signals[9] - ln(p_click / (1 - p_click))) > 1e-3) FROM logged WHERE user_id = '6' AND module = 'products' AND slate_id < 1000000), 'what it says is not the smoothed rate, which stays a signal');
SELECT ok((SELECT bool_and(abs(signals[9] - ln(p_click / (1 - p_click))) < 1e-4) FROM logged WHERE user_id = '6' AND module = 'videos'), 'modules it was not trained for keep theirs');
SELECT ok((SELECT bool_and(p_click BETWEEN 0 AND 1 AND p_convert BETWEEN 0 AND 1) FROM kpx_recommend_slate(9998::bigint, ARRAY['products', 'courses'], 6, 'courses')), 'for a new user, too');
-- position-free: the first positions' rate, not the mean over all
SELECT cmp_ok((SELECT count(*) FILTER (WHERE f.kind = 'click')::float8 / 5000 FROM kpx.feedback f WHERE rank = 1 AND slate_id > 1000000), '>',
	(SELECT count(*) FILTER (WHERE f.kind = 'click')::float8 / 40000 FROM kpx.feedback f WHERE slate_id > 1000000) + 0.05, 'first positions are clicked more');
CREATE TEMP TABLE effects AS SELECT parameters[3 + p] AS effect, p FROM kpx.ranker, generate_series(0, 7) p WHERE active;
SELECT cmp_ok((SELECT regr_slope(effect, p) FROM effects)::numeric, '<', -0.15, 'and the ranker knows by how much: planted -0.25 a position');

-- mistakes and privileges
SELECT matches(app.error($$SELECT kpx_train_ranker(ARRAY['courses'], '{"epoch": 3}')$$), '^22023 .*epoch.*epochs', 'an unknown parameter');
SELECT matches(app.error($$SELECT kpx_train_ranker(ARRAY['courses'], '{"factors": 65}')$$), '^22023', 'one out of range');
SELECT matches(app.error('SELECT kpx_train_ranker(NULL)'), '^22004', 'no modules');
SELECT matches(app.error('SELECT * FROM kpx_ranker_report(-1)'), '^42704', 'no such ranker');
CREATE ROLE ranking_stranger;
GRANT USAGE ON SCHEMA app TO ranking_stranger;
GRANT SELECT ON ALL TABLES IN SCHEMA app TO ranking_stranger;
SET ROLE ranking_stranger;
SELECT matches(app.error($$SELECT kpx_train_ranker(ARRAY['courses'])$$), '^42501', 'another''s modules');
SELECT matches(app.error(format('SELECT * FROM kpx_ranker_report(%s)', :ranker)), '^42501', 'another''s ranker');
SELECT is_empty('SELECT * FROM kpx_training_log', 'another''s training log');
RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
