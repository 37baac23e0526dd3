-- rules: mining, what is stored, what is offered to whom.
BEGIN;
\ir fixture.psql
SET kpxrec.min_users = 1; -- cases small enough to count by hand
SELECT plan(103);

-- one transaction's mining of three modules: against SQL
SELECT rules, itemsets, baskets, items, min_count FROM kpx_mine_rules(ARRAY['courses', 'products', 'videos'], 8, 0.6, 3) \gset
CREATE TEMP TABLE basket AS
SELECT DISTINCT user_id AS b, 'courses/' || course_id AS i FROM app.enrolments UNION
SELECT user_id, 'products/' || product_id FROM app.orders UNION SELECT user_id, 'videos/' || video_id FROM app.plays;
CREATE TEMP TABLE one AS SELECT i, count(*) AS n FROM basket GROUP BY i HAVING count(*) >= 8;
CREATE TEMP TABLE two AS SELECT x.i AS i1, y.i AS i2, count(*) AS n FROM basket x JOIN basket y ON x.b = y.b AND x.i < y.i GROUP BY 1, 2 HAVING count(*) >= 8;
CREATE TEMP TABLE three AS SELECT x.i AS i1, y.i AS i2, z.i AS i3, count(*) AS n FROM basket x JOIN basket y ON x.b = y.b AND x.i < y.i
JOIN basket z ON x.b = z.b AND y.i < z.i GROUP BY 1, 2, 3 HAVING count(*) >= 8;
CREATE TEMP TABLE expected AS
SELECT ARRAY[l] AS antecedent, r AS consequent, n AS count, (SELECT o.n FROM one o WHERE o.i = l) AS a, (SELECT o.n FROM one o WHERE o.i = r) AS c
FROM (SELECT i1 AS l, i2 AS r, n FROM two UNION ALL SELECT i2, i1, n FROM two) p
UNION ALL
SELECT ARRAY[l1, l2], r, n, (SELECT t.n FROM two t WHERE t.i1 = l1 AND t.i2 = l2), (SELECT o.n FROM one o WHERE o.i = r)
FROM (SELECT i1 AS l1, i2 AS l2, i3 AS r, n FROM three UNION ALL SELECT i1, i3, i2, n FROM three UNION ALL SELECT i2, i3, i1, n FROM three) q;
DELETE FROM expected WHERE count * 10 < a * 6;
SELECT is(:baskets, 60, 'a basket a user');
SELECT is(:min_count, 8, 'min_support from 1 on is a count');
SELECT is(:items::bigint, (SELECT count(*) FROM one), 'frequent items');
SELECT is(:itemsets::bigint, (SELECT count(*) FROM one) + (SELECT count(*) FROM two) + (SELECT count(*) FROM three), 'as many itemsets as SQL finds');
SELECT cmp_ok(:rules, '>', 100, 'enough rules to compare');
SELECT is(:rules::bigint, (SELECT count(*) FROM expected), 'as many rules as SQL finds');
SELECT set_eq($$SELECT ARRAY(SELECT unnest(antecedent) ORDER BY 1) AS a, consequent, count, round(support::numeric, 9) AS s, round(confidence::numeric, 9) AS c, round(lift::numeric, 9) AS l, round(leverage::numeric, 9) AS v FROM kpx_rules$$,
	$$SELECT ARRAY(SELECT unnest(antecedent) ORDER BY 1) AS a, consequent, count, round(count / 60.0, 9) AS s, round(count::numeric / a, 9) AS c, round(count * 60.0 / (a * c), 9) AS l, round(count / 60.0 - a * c / 3600.0, 9) AS v FROM expected$$,
	'the same rules and the same measures');
SELECT is_empty($$SELECT * FROM kpx_rules r JOIN expected e ON ARRAY(SELECT unnest(r.antecedent) ORDER BY 1) = ARRAY(SELECT unnest(e.antecedent) ORDER BY 1) AND r.consequent = e.consequent
	WHERE CASE WHEN e.count = e.a THEN r.conviction <> 'Infinity' ELSE abs(r.conviction - (1 - e.c / 60.0) / (1 - e.count::float8 / e.a)) > 1e-9 END$$, 'and conviction, infinite for rules without exception');
SELECT isnt_empty($$SELECT * FROM kpx_rules WHERE conviction = 'Infinity'$$, 'of which there are some');
SELECT isnt_empty($$SELECT * FROM kpx_rules WHERE antecedent[1] LIKE 'courses/%' AND consequent_module = 'products'$$, 'rules run across modules');
SELECT isnt_empty($$SELECT * FROM kpx_rules WHERE antecedent[1] LIKE 'videos/%' AND consequent_module = 'videos' AND consequent_item LIKE 'v%'$$, 'and within');
SELECT is((SELECT array_agg(DISTINCT modules) FROM kpx_rules), ARRAY[ARRAY['courses', 'products', 'videos']], 'the view says which modules');
SELECT is((SELECT bool_and(owner = current_user AND baskets = 60) FROM kpx_rules), true, 'whose they are and of how many baskets');

-- thresholds are exact
CREATE TABLE app.things (id int PRIMARY KEY);
CREATE TABLE app.had (u int, i int, at timestamptz, w numeric);
INSERT INTO app.things SELECT generate_series(1, 20);
-- item 1 in 5 baskets, 4 of them with 2: confidence exactly 0.8; item 3 in 10 of 12 baskets
INSERT INTO app.had SELECT b, 1 FROM generate_series(1, 5) b UNION ALL SELECT b, 2 FROM generate_series(1, 4) b UNION ALL SELECT b, 3 FROM generate_series(3, 12) b;
SELECT kpx_add_module('things', 'app.things', 'id') \g /dev/null
SELECT kpx_add_events('things', 'app.had', 'purchase', 'u', 'i', occurred_at => 'at', weight_column => 'w') AS had \gset
SELECT is((SELECT r.rules FROM kpx_mine_rules('things', 4, 0.8, 2) r), 2::bigint, 'confidence on the threshold counts: 1 -> 2 (4 of 5), 2 -> 1 (4 of 4)');
SELECT is((SELECT string_agg(antecedent[1] || ' -> ' || consequent || ' ' || confidence, ', ' ORDER BY antecedent) FROM kpx_rules WHERE consequent_module = 'things'), 'things/1 -> things/2 0.8, things/2 -> things/1 1', 'they are these');
SELECT is((SELECT r.rules FROM kpx_mine_rules('things', 4, 0.800000001, 2) r), 1::bigint, 'a billionth above does not');
SELECT is((SELECT r.min_count FROM kpx_mine_rules('things', 0.25) r), 3::bigint, 'a fraction of 12 baskets: exactly 3');
SELECT is((SELECT r.min_count FROM kpx_mine_rules('things', 0.250000001) r), 4::bigint, 'a billionth more: 4');
SELECT is((SELECT r.min_count FROM kpx_mine_rules('things', 0.000000001) r), 2::bigint, 'a fraction is at least two baskets');
SELECT is((SELECT r.min_count FROM kpx_mine_rules('things', 1) r), 1::bigint, '1 is one basket, not all of them');
SELECT is((SELECT (r.itemsets, r.rules)::text FROM kpx_mine_rules('things', 1, 0, 1) r), '(3,0)', 'max_length 1: the frequent items, no rules');
SELECT is((SELECT (r.itemsets, r.rules)::text FROM kpx_mine_rules('things', 13) r), '(0,0)', 'nothing is frequent enough');
INSERT INTO app.had SELECT b, 1 FROM generate_series(1, 5) b;
INSERT INTO app.had SELECT b, 20 FROM generate_series(100, 103) b;
SELECT is((SELECT (r.itemsets, r.rules, r.baskets)::text FROM kpx_mine_rules('things', 4, 0.8) r), '(5,2,16)', 'repeated rows count once; a basket of one item is a basket');
INSERT INTO app.had VALUES (200, 7, NULL, 0), (201, 8, NULL, 0.001), (NULL, 9, NULL, 1), (202, NULL, NULL, 1);
SELECT is((SELECT r.items FROM kpx_mine_rules('things', 1) r), 5::bigint, 'weight zero does not count, any above does, NULL ids do not');
UPDATE app.had SET w = 'NaN' WHERE u = 201;
SELECT is(app.error($$SELECT * FROM kpx_mine_rules('things')$$), '22023 column "w" of relation app.had holds weights that are NaN, infinite, negative or too large | 1 rows of event source ' || :had || '. | Register a view that leaves them out or mends them.', 'NaN weights are refused');
DELETE FROM app.had WHERE u >= 200 OR u IS NULL;

-- baskets of a user in a period
SELECT is((SELECT (r.baskets, r.itemsets)::text FROM kpx_mine_rules('things', 1, 0.5, 4, 'user per 1 day') r), '(0,0)', 'events without a time belong to no basket');
UPDATE app.had SET at = '2026-03-01 23:30+00';
SELECT is((SELECT (r.baskets, r.rules)::text FROM kpx_mine_rules('things', 4, 0.8, 4, 'user per 1 day') r), '(16,2)', 'all on one day: as by user');
UPDATE app.had SET at = '2026-03-02 00:30+00' WHERE i = 2;
SELECT is((SELECT (r.baskets, r.rules)::text FROM kpx_mine_rules('things', 4, 0.8, 4, 'user per 1 day') r), '(20,0)', 'either side of midnight UTC: apart');
SELECT is((SELECT (r.baskets, r.rules)::text FROM kpx_mine_rules('things', 4, 0.8, 4, 'user per 2 days') r), '(16,2)', 'within two days: together again');
UPDATE app.had SET at = '1999-12-31 23:30+00' WHERE i = 1;
UPDATE app.had SET at = '2000-01-01 00:30+00' WHERE i = 2;
SELECT is((SELECT r.rules FROM kpx_mine_rules('things', 4, 0.8, 4, 'user per 2 hours') r), 0::bigint, 'before and after 2000 are not one period');
UPDATE app.had SET at = '1999-12-31 22:30+00' WHERE i = 2;
SELECT is((SELECT r.rules FROM kpx_mine_rules('things', 4, 0.8, 4, 'user per 2 hours') r), 2::bigint, 'before 2000 periods are as long');
CREATE VIEW app.timeless AS SELECT u, i FROM app.had;
SELECT kpx_add_events('things', 'app.timeless', 'view', 'u', 'i') AS timeless \gset
SELECT is(app.error($$SELECT * FROM kpx_mine_rules('things', basket => 'user per 1 day')$$), '55000 event source ' || :timeless || ' of module "things" has no times: its events belong to no basket | Register it with occurred_at, or make baskets by user alone.', 'a source without times is refused');
SELECT kpx_drop_events(:timeless) \g /dev/null

-- arguments
SELECT is(app.error($$SELECT * FROM kpx_mine_rules('things', 0)$$), '22023 argument "min_support" must be a fraction of the baskets or a whole number of them, found 0 | 0.01 is one basket in a hundred, 100 is a hundred baskets, 1 is one basket.', 'min_support 0');
SELECT is((SELECT array_agg(left(app.error(format('SELECT * FROM kpx_mine_rules(''things'', %s)', s)), 5)) FROM unnest(ARRAY['-1', '2.5', '''NaN''', '''Infinity''', '1e30', '1e-12']) s), array_fill('22023'::text, ARRAY[6]), 'min_support that is neither');
SELECT is(app.error($$SELECT * FROM kpx_mine_rules('things', 1, 1.01)$$), '22023 argument "min_confidence" must be between 0 and 1, found 1.01', 'min_confidence above 1');
SELECT is(left(app.error($$SELECT * FROM kpx_mine_rules('things', 1, -0.1)$$), 5), '22023', 'below 0');
SELECT is(app.error($$SELECT * FROM kpx_mine_rules('things', 1, 1, 65)$$), '22023 argument "max_length" must be between 1 and 64, found 65', 'max_length');
SELECT is(app.error($$SELECT * FROM kpx_mine_rules('things', basket => 'session')$$), '22023 argument "basket" is "session", expected user or user per <interval> | For instance ''user per 1 day''. Baskets with numbers of their own: register a view that gives them as user_id.', 'basket');
SELECT is(app.error($$SELECT * FROM kpx_mine_rules('things', basket => 'user per 1 month')$$), '22023 argument "basket": months and years have no fixed length | Say ''user per 30 days''.', 'months');
SELECT is(left(app.error($$SELECT * FROM kpx_mine_rules('things', basket => 'user per 0 days')$$), 5), '22023', 'no time at all');
SELECT is(left(app.error($$SELECT * FROM kpx_mine_rules('things', basket => 'user per moon')$$), 5), '22007', 'no interval');
SELECT is(app.error($$SELECT * FROM kpx_mine_rules('things', params => '{"max_rule": 1}')$$), '22023 parameter "max_rule" of "params" is not known | Known parameters: max_itemsets, max_rules.', 'unknown parameters');
SELECT is(left(app.error($$SELECT * FROM kpx_mine_rules('things', params => '{"max_rules": 1.5}')$$), 5), '22023', 'parameters that are no whole number');
SELECT is(left(app.error($$SELECT * FROM kpx_mine_rules('nothing')$$), 5), '42704', 'unknown modules');
SELECT is(left(app.error($$SELECT * FROM kpx_mine_rules(NULL::text[])$$), 5), '22004', 'NULL');
SELECT is(left(app.error($$SELECT * FROM kpx_mine_rules('things', NULL)$$), 5), '22004', 'NULL support');

-- caps fail early, and leave what was there
SELECT count(*) AS before FROM kpx_rules \gset
SELECT is(app.error($$SELECT * FROM kpx_mine_rules(ARRAY['courses', 'products', 'videos'], 1, 0.5, 64, params => '{"max_itemsets": 100000}')$$),
	'54000 there are at least 131071 frequent itemsets, 100000 are allowed | 17 items are together in 4 baskets, and so is every choice of at most 64 of them. | Raise min_support, lower max_length, or raise max_itemsets in params.', 'explosion is proved before any work');
SELECT is(app.error($$SELECT * FROM kpx_mine_rules(ARRAY['courses', 'products', 'videos'], 8, 0.5, 3, params => '{"max_itemsets": 500}')$$),
	'54000 more than 500 itemsets are in at least 8 baskets | Raise min_support, lower max_length, or raise max_itemsets in params.', 'or found on the way');
SELECT is(app.error($$SELECT * FROM kpx_mine_rules(ARRAY['courses', 'products', 'videos'], 8, 0.6, 3, params => '{"max_rules": 100}')$$),
	format('54000 there are %s rules, 100 are allowed | Raise min_confidence or min_support, lower max_length, or raise max_rules in params.', :rules), 'too many rules');
SET LOCAL maintenance_work_mem = '1MB';
SET LOCAL kpxrec.memory_factor = 1;
SELECT is(left(app.error($$SELECT * FROM kpx_mine_rules(ARRAY['courses', 'products', 'videos'], 2, 0.6, 6)$$), 5), '53200', 'memory is limited');
RESET maintenance_work_mem;
RESET kpxrec.memory_factor;
SELECT is((SELECT count(*) FROM kpx_rules), :before::bigint, 'the rules of before are still there');

-- replacing
SELECT kpx_mine_rules(ARRAY['videos', 'courses', 'products'], 8, 0.9, 2) \g /dev/null
SELECT is((SELECT min(confidence) >= 0.9 AND max(cardinality(antecedent)) = 1 FROM kpx_rules WHERE cardinality(modules) = 3), true, 'the same modules in any order: the new rules replace the old');
SELECT kpx_mine_rules(ARRAY['courses', 'products'], 8, 0.6, 2) \g /dev/null
SELECT is((SELECT count(DISTINCT modules) FROM kpx_rules WHERE consequent_module = 'products'), 2::bigint, 'other modules: both are there');

-- what is offered
CREATE TEMP VIEW offered AS
SELECT u.b, r.consequent_item::bigint AS item, max(round(r.confidence::numeric, 9)) AS confidence FROM (SELECT DISTINCT b FROM basket) u JOIN kpx_rules r ON r.consequent_module = 'products'
	AND r.antecedent <@ ARRAY(SELECT i FROM basket WHERE b = u.b) WHERE NOT EXISTS (SELECT FROM app.orders o WHERE o.user_id = u.b AND o.product_id = r.consequent_item::bigint) GROUP BY 1, 2;
SELECT set_eq($$SELECT u.b, f.item_id, round(f.confidence::numeric, 9) FROM (SELECT DISTINCT b FROM basket) u, kpx_rules_for(u.b, 'products', 1000) f$$,
	'SELECT b, item, confidence FROM offered', 'for every user: the best rule of each item whose antecedent the user has, without what was bought');
SELECT isnt_empty('SELECT * FROM offered', 'of which there are some');
SELECT is_empty($$SELECT * FROM (SELECT u.b, f.rank, f.confidence, lead(f.confidence) OVER (PARTITION BY u.b ORDER BY f.rank) AS next FROM (SELECT DISTINCT b FROM basket) u, kpx_rules_for(u.b, 'products', 1000) f) x WHERE next > confidence$$, 'most confident first');
SELECT is_empty($$SELECT * FROM kpx_rules_for(1000::bigint, 'products')$$, 'a user without history: nothing');
SELECT is_empty($$SELECT * FROM kpx_rules_for(NULL::bigint, 'products')$$, 'NULL: nothing');
INSERT INTO app.enrolments VALUES (1000, 3, now()), (1000, 6, now());
SELECT isnt_empty($$SELECT * FROM kpx_rules_for(1000::bigint, 'products')$$, 'two courses bought in this transaction: rules from them');
SELECT is((SELECT bool_and(antecedent <@ ARRAY['courses/3', 'courses/6']) FROM kpx_rules_for(1000::bigint, 'products', 100)), true, 'and from nothing else');
SELECT is((SELECT count(*) FROM kpx_rules_for(1000::bigint, 'products', 2)), 2::bigint, 'k');
SELECT item_id AS best FROM kpx_rules_for(1000::bigint, 'products', 1) \gset
DELETE FROM app.products WHERE id = :best;
SELECT is_empty(format('SELECT * FROM kpx_rules_for(1000::bigint, ''products'', 100) WHERE item_id = %s', :best), 'an item that is gone is not offered');
INSERT INTO app.products VALUES (:best);
INSERT INTO app.orders VALUES (1000, :best, now());
SELECT is_empty(format('SELECT * FROM kpx_rules_for(1000::bigint, ''products'', 100) WHERE item_id = %s', :best), 'an item bought a moment ago is not offered');
SELECT isnt_empty(format('SELECT * FROM kpx_rules_for(1000::bigint, ''products'', 100, keep_seen => true) WHERE item_id = %s', :best), 'unless asked for');
UPDATE app.courses SET on_sale = false WHERE id = 9;
SELECT is_empty($$SELECT * FROM kpx_rules_for(1000::bigint, 'courses', 100) WHERE item_id = 9$$, 'an unavailable item is not offered');
SELECT is(left(app.error($$SELECT * FROM kpx_rules_for(1000::bigint, 'videos')$$), 81), '42804 items of module "videos" have text ids, the answer would have type bigint |', 'item ids of another type need a witness');
SELECT isnt_empty($$SELECT * FROM kpx_rules_for(1000::bigint, 'videos', item_type => NULL::text)$$, 'with it they come');
SELECT results_eq($$SELECT item_id FROM kpx_rules_for('1000', 'products', 5)$$, $$SELECT item_id::text FROM kpx_rules_for(1000::bigint, 'products', 5)$$, 'untyped literals');
SELECT is(left(app.error($$SELECT * FROM kpx_rules_for('x'::text, 'products')$$), 5), '22P02', 'that must be ids');
SELECT is(left(app.error($$SELECT * FROM kpx_rules_for(1.5, 'products')$$), 5), '42804', 'of the right type');
SELECT kpx_add_module('empty', 'app.things', 'id') \g /dev/null
SELECT is(app.error($$SELECT * FROM kpx_rules_for(1::bigint, 'empty')$$), '55000 no rules are mined for module "empty" | Mine some: SELECT * FROM kpx_mine_rules(ARRAY[''empty'']);', 'a module without rules says so');

-- kpx_recommend: rules speak where there is no model
SELECT is((SELECT active_model FROM kpx_modules WHERE module = 'products'), NULL, 'no module has a model');
SELECT set_eq($$SELECT item_id, score FROM kpx_recommend(1000::bigint, 'products', 1000)$$, $$SELECT item_id, confidence::real FROM kpx_rules_for(1000::bigint, 'products', 1000)$$,
	'kpx_recommend without a model offers what rules offer, the score is the confidence');
SELECT results_eq($$SELECT score FROM kpx_recommend(1000::bigint, 'products', 5)$$, $$SELECT confidence::real FROM kpx_rules_for(1000::bigint, 'products', 5)$$, 'in the same order');
SELECT is_empty($$SELECT f.item_id, f.antecedent, r.reason FROM kpx_recommend(1000::bigint, 'products', 1000) r JOIN kpx_rules_for(1000::bigint, 'products', 1000) f USING (item_id)
	WHERE r.reason <> 'rule ' || array_to_string(f.antecedent, ' + ') || ' (' || to_char(f.confidence, 'FM0.00') || ')' OR r.reason !~ '^rule .+ \(\d\.\d\d\)$'$$, 'the reason is the rule');
SELECT isnt_empty($$SELECT * FROM kpx_recommend(1000::bigint, 'products', 5, keep_seen => true) EXCEPT SELECT * FROM kpx_recommend(1000::bigint, 'products', 5)$$, 'keep_seen');
SELECT set_eq($$SELECT item_id FROM kpx_recommend_from(ARRAY[3, 6]::bigint[], 'courses', 'products', 1000)$$,
	$$SELECT DISTINCT consequent_item::bigint FROM kpx_rules WHERE antecedent <@ '{courses/3,courses/6}' AND consequent_module = 'products'$$, 'kpx_recommend_from, a cart of courses: rules again');
SELECT is((SELECT count(DISTINCT user_id) FROM kpx_recommend_for(ARRAY[1, 2, 1000]::bigint[], 'products')), 3::bigint, 'kpx_recommend_for too');
SELECT is_empty($$SELECT * FROM kpx_recommend(2000::bigint, 'products')$$, 'who has done nothing is offered nothing');
SELECT is(left(app.error($$SELECT * FROM kpx_similar(1::bigint, 'products')$$), 5), '55000', 'rules are no factors: kpx_similar needs a model');
-- and beside one
SELECT kpx_train(ARRAY['products', 'videos'], params => app.small()) \g /dev/null
SELECT is((SELECT bool_or(reason LIKE 'rule %') FROM kpx_recommend(1::bigint, 'products', 3)), false, 'the model speaks first');
INSERT INTO app.enrolments VALUES (1001, 3, now()), (1001, 6, now());
SELECT matches((SELECT reason FROM kpx_recommend(1001::bigint, 'products', 1)), '^rule courses/', 'rules for who has only courses, which the model does not know');
SELECT is((SELECT string_agg(DISTINCT split_part(reason, ' ', 1), ',' ORDER BY split_part(reason, ' ', 1)) FROM kpx_recommend(1001::bigint, 'products', 30)), 'popular,rule', 'then what is popular');

-- whose rules, seen by whom
CREATE ROLE tap_rules_reader;
CREATE ROLE tap_rules_nobody;
GRANT USAGE ON SCHEMA app TO tap_rules_reader, tap_rules_nobody;
GRANT SELECT ON ALL TABLES IN SCHEMA app TO tap_rules_reader;
GRANT SELECT ON app.orders, app.products, app.courses TO tap_rules_nobody;
GRANT EXECUTE ON FUNCTION app.error(text) TO tap_rules_reader, tap_rules_nobody;
SET ROLE tap_rules_nobody;
SELECT is_empty('SELECT * FROM kpx_rules', 'who may not read all sources sees no rule');
SELECT is(left(app.error($$SELECT * FROM kpx_rules_for(1000::bigint, 'products')$$), 5), '42501', 'and is offered nothing');
SELECT throws_ok('SELECT * FROM kpx.rule', '42501', NULL, 'nor reads the tables');
SELECT is(left(app.error($$SELECT * FROM kpx_mine_rules('courses')$$), 5), '42501', 'nor mines');
SELECT rules AS own FROM kpx_mine_rules('products', 5, 0.5, 2) \gset
CREATE TEMP TABLE seen (rule text);
CREATE FUNCTION pg_temp.peep(rule text[]) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$BEGIN INSERT INTO seen VALUES (rule::text); RETURN true; END$$;
SELECT is((SELECT count(*) FROM (SELECT * FROM kpx_rules WHERE pg_temp.peep(antecedent) OFFSET 0) x), :own::bigint, 'who has rules of its own sees these');
SELECT is((SELECT count(*) FROM seen), :own::bigint, 'and a condition cheaper than the question who may is asked of no others');
SET ROLE tap_rules_reader;
SELECT isnt_empty('SELECT * FROM kpx_rules', 'who may read them sees the rules');
SELECT isnt_empty($$SELECT * FROM kpx_rules_for(1000::bigint, 'products')$$, 'and is offered from them');
SELECT kpx_mine_rules(ARRAY['courses', 'products'], 50) \g /dev/null
SELECT is((SELECT count(DISTINCT owner) FROM kpx_rules WHERE modules = ARRAY['courses', 'products']), 1::bigint, 'what a reader mines is its own and replaces nothing of the owner''s');
RESET ROLE;
SET ROLE tap_rules_reader;
SELECT kpx_mine_rules(ARRAY['courses', 'products'], 2, 0.01, 2) AS readers \gset
RESET ROLE;
SELECT kpx_mine_rules(ARRAY['courses', 'products', 'videos'], 1000), kpx_mine_rules(ARRAY['courses', 'products'], 1000) \g /dev/null
SELECT is_empty($$SELECT * FROM kpx_rules_for(1000::bigint, 'products')$$, 'rules of a role that does not own the module serve nobody else');
SET ROLE tap_rules_reader;
SELECT isnt_empty($$SELECT * FROM kpx_rules_for(1000::bigint, 'products')$$, 'but the role itself');
RESET ROLE;
SELECT kpx_mine_rules(ARRAY['courses', 'products'], 8, 0.6, 2) \g /dev/null

-- row-level security: rules are of the rows the role may see
ALTER TABLE app.had ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON app.had TO tap_rules_reader USING (u <= 3);
GRANT SELECT ON app.had, app.things TO tap_rules_reader;
SET ROLE tap_rules_reader;
SELECT is((SELECT r.baskets FROM kpx_mine_rules('things', 1) r), 3::bigint, 'row-level security decides which baskets there are');
RESET ROLE;

-- read-only, and gone with the module
SAVEPOINT before;
SET TRANSACTION READ ONLY;
SELECT isnt_empty($$SELECT * FROM kpx_rules_for(1000::bigint, 'products')$$, 'answers in a read-only transaction');
SELECT is(left(app.error($$SELECT * FROM kpx_mine_rules('things')$$), 5), '25006', 'where nothing is mined');
ROLLBACK TO before;
SELECT kpx_drop_module('products') \g /dev/null
SELECT is_empty($$SELECT * FROM kpx_rules WHERE 'products' = ANY (modules)$$, 'a module that is dropped takes its rules along');
SELECT is((SELECT count(*) FROM kpx.rule WHERE set_id NOT IN (SELECT id FROM kpx.rule_set)), 0::bigint, 'all of them');
SELECT is((SELECT array_agg(DISTINCT a.attname::text) FROM pg_attribute a WHERE a.attrelid IN ('kpx.rule'::regclass, 'kpx.rule_set'::regclass) AND a.attname ~ 'user'), NULL, 'no column for a user');

-- the Groceries set of R's arules: 13,492 itemsets of at most 10 items in at least 10 of 9,835 baskets, 410 rules at 0.8
\set have `test -f "$DATA_DIR/groceries.csv.gz" && echo true || echo false`
\if :have
\getenv dir DATA_DIR
CREATE TABLE app.grocery (basket int, item text);
\set load '\\copy app.grocery FROM PROGRAM ''gzip -dc \"' :dir '/groceries.csv.gz\"'' CSV HEADER'
:load
CREATE TABLE app.grocery_item AS SELECT DISTINCT item FROM app.grocery;
SELECT kpx_add_module('groceries', 'app.grocery_item', 'item') \g /dev/null
SELECT kpx_add_events('groceries', 'app.grocery', 'purchase', 'basket', 'item') \g /dev/null
SELECT is((SELECT (r.baskets, r.items, r.itemsets, r.rules, r.min_count)::text FROM kpx_mine_rules('groceries', 10, 0.8, 10) r), '(9835,157,13492,410,10)', 'Groceries: 13492 itemsets, 410 rules');
SELECT is((SELECT (r.itemsets, r.rules, r.min_count)::text FROM kpx_mine_rules('groceries', 0.001, 0.8, 10) r), '(13492,410,10)', 'the same by fraction: 0.001 of 9835 is 10 baskets');
SELECT is((SELECT (count, round(confidence::numeric, 6), round(lift::numeric, 5))::text FROM kpx_rules WHERE antecedent @> '{groceries/liquor,groceries/red/blush wine}' AND cardinality(antecedent) = 2), '(19,0.904762,11.23527)',
	'{liquor, red/blush wine} => {bottled beer}: count 19, confidence 0.9047619, lift 11.235269, as arules prints it');
\else
SELECT skip('the reference data are not here: set DATA_DIR to a directory with groceries.csv.gz', 3);
\endif
SELECT * FROM finish();
ROLLBACK;
