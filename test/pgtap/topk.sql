-- The search that looks at few items finds what scoring all of them finds, in every module of a model.
BEGIN;
SET client_min_messages = warning;
SET kpxrec.min_users = 1;
SELECT plan(5);

CREATE SCHEMA app;
-- three modules whose items do not come in groups of eight, the second of several blocks of the search
CREATE TABLE app.few AS SELECT i AS id FROM generate_series(1, 13) i;
CREATE TABLE app.many AS SELECT i AS id FROM generate_series(1, 1501) i;
CREATE TABLE app.some AS SELECT i AS id FROM generate_series(1, 301) i;
CREATE TABLE app.ev AS
SELECT m, u AS user_id, 1 + (u % 7 * 211 + (hashint8extended(u * 1000 + n, 1) & 1023) * (hashint8extended(u * 1000 + n, 2) & 1023) / 1024)::int % size AS item_id
FROM (VALUES ('few', 13), ('many', 1501), ('some', 301)) module(m, size), generate_series(1, 400) u, generate_series(1, 12) n;
SELECT kpx_add_module(m, 'app.' || m, 'id') FROM unnest('{few,many,some}'::text[]) m;
CREATE VIEW app.few_ev AS SELECT * FROM app.ev WHERE m = 'few';
CREATE VIEW app.many_ev AS SELECT * FROM app.ev WHERE m = 'many';
CREATE VIEW app.some_ev AS SELECT * FROM app.ev WHERE m = 'some';
SELECT kpx_add_events(m, 'app.' || m || '_ev', 'purchase', 'user_id', 'item_id') FROM unnest('{few,many,some}'::text[]) m;
SELECT FROM kpx_train(ARRAY['few', 'many', 'some'], params => '{"factors": 20, "iterations": 4}');

CREATE FUNCTION app.best(module text, users int) RETURNS TABLE (user_id int, rank bigint, item_id int, score real) LANGUAGE sql AS $$
	SELECT * FROM (SELECT u, row_number() OVER (PARTITION BY u ORDER BY s.score DESC, i.item_id) AS rank, i.item_id, s.score
		FROM generate_series(1, users) u, (SELECT DISTINCT item_id FROM app.ev WHERE m = module) i, LATERAL (SELECT kpx_score(u, module, i.item_id)::real AS score) s
		WHERE NOT EXISTS (SELECT FROM app.ev e WHERE e.m = module AND e.user_id = u AND e.item_id = i.item_id)) x
	WHERE x.rank <= 10 ORDER BY u, rank
$$;
SELECT cmp_ok((SELECT count(DISTINCT item_id) FROM app.ev WHERE m = 'many'), '>', 600::bigint, 'more than two blocks of the search');
SELECT results_eq(format($$SELECT u, r.rank::bigint, r.item_id, r.score FROM generate_series(1, 4) u, kpx_recommend(u, %L, 10) r ORDER BY 1, 2$$, m),
	format($$SELECT * FROM app.best(%L, 4)$$, m), 'exactly the best of ' || m)
FROM unnest('{few,many,some}'::text[]) m;
SELECT is_empty($$SELECT * FROM kpx_recommend_for(ARRAY[1, 2, 3, 4], 'many', 10) b FULL JOIN app.best('many', 4) a USING (user_id, rank)
	WHERE (a.item_id = b.item_id AND a.score = b.score) IS NOT TRUE$$, 'and for many users at once');

SELECT * FROM finish();
ROLLBACK;
