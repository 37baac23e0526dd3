-- content: items by their texts, attributes and embeddings.
BEGIN;
SELECT plan(44);
SET client_min_messages = warning;
CREATE FUNCTION error(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE m text; d text; h text;
BEGIN
	EXECUTE sql;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE || ' ' || m, nullif(d, ''), nullif(h, ''));
END $$;

-- Two subjects in two languages; who reads the titles can tell them apart, events there are none.
CREATE SCHEMA app;
CREATE TABLE app.books (id int PRIMARY KEY, title text, about text, shelf text, price numeric, tags text[], printed date, on_sale boolean NOT NULL DEFAULT true,
	cover real[], sound double precision[]);
INSERT INTO app.books (id, title, about, shelf, price, tags, printed) SELECT n,
	CASE n % 4 WHEN 0 THEN 'Baking bread with sourdough ' WHEN 1 THEN 'Repairing bicycles and wheels ' WHEN 2 THEN '烘焙面包与酸面团' ELSE '修理自行车与车轮' END || n,
	CASE n % 4 WHEN 0 THEN 'flour oven dough crust' WHEN 1 THEN 'chain brake spoke tyre' WHEN 2 THEN '面粉烤箱' ELSE '链条刹车' END,
	CASE WHEN n % 2 = 0 THEN 'kitchen' ELSE 'workshop' END, 10 + n, ARRAY['tag' || n % 3], '2020-01-01'::date + n
FROM generate_series(1, 40) n;
SELECT kpx_add_module('books', 'app.books', 'id', title => 'title', text_columns => '{about}', available => 'on_sale');
SELECT lives_ok($$SELECT kpx_train('books', algorithm => 'content')$$, 'content needs no event source');
SELECT is((SELECT items FROM kpx_models), 40::bigint, 'all items of the table are in the model');
SELECT is((SELECT count(*) FROM app.books b CROSS JOIN LATERAL kpx_similar(b.id, 'books', 9) s JOIN app.books o ON o.id = s.item_id WHERE o.id % 4 <> b.id % 4), 0::bigint,
	'the nine nearest books are about the same thing, in English and in Chinese');
SELECT ok((SELECT bool_and(score BETWEEN -1.0001 AND 1.0001) FROM kpx_similar(4, 'books', 39)), 'likeness is a cosine');
SELECT results_eq($$SELECT item_id, score FROM kpx_similar(4, 'books', 5)$$, $$SELECT item_id, score FROM kpx_similar(4, 'books', 5, by => 'content')$$, 'by content is what a content model does');
SELECT is(error($$SELECT kpx_similar(4, 'books', by => 'behaviour')$$), '55000 model ' || (SELECT max(model) FROM kpx_models) || ' does not know its items by behaviour | Train with algorithm => ''ials'' or ''hybrid''.', 'and by behaviour it cannot');
SELECT is(error($$SELECT kpx_similar(4, 'books', by => 'feeling')$$), '22023 argument "by" cannot be "feeling" | Write content, behaviour or both.', 'by says what there is');
UPDATE app.books SET on_sale = false WHERE id = 8;
SELECT is((SELECT count(*) FROM kpx_similar(4, 'books', 39) WHERE item_id = 8), 0::bigint, 'what is not on sale is not shown');
UPDATE app.books SET on_sale = true;

-- Users: what they took, ridge regression on content.
CREATE TABLE app.loans (user_id int, book_id int);
INSERT INTO app.loans SELECT u, b FROM generate_series(1, 20) u, generate_series(1, 20) b WHERE b % 4 = u % 4 AND (u + b / 4) % 3 <> 0;
SELECT kpx_add_events('books', 'app.loans', 'read', 'user_id', 'book_id');
SELECT kpx_train('books', algorithm => 'content');
SELECT is((SELECT count(*) FROM generate_series(1, 20) u CROSS JOIN LATERAL kpx_recommend(u, 'books', 5) r WHERE r.item_id % 4 <> u % 4), 0::bigint,
	'users are offered books like those they read');
SELECT is((SELECT count(*) FROM generate_series(1, 20) u CROSS JOIN LATERAL kpx_recommend(u, 'books', 5) r WHERE r.item_id > 20), (SELECT count(*) FROM generate_series(1, 20) u CROSS JOIN LATERAL kpx_recommend(u, 'books', 5) r WHERE r.item_id > 20 AND r.reason ~ '^books/'),
	'also books that no one has read, because of a book they did');
SELECT cmp_ok((SELECT count(*) FROM generate_series(1, 20) u CROSS JOIN LATERAL kpx_recommend(u, 'books', 5) r WHERE r.item_id > 20), '>', 50::bigint, 'and of these there are many');
SELECT is((SELECT round(sum(contribution)::numeric, 5) FROM kpx_explain(1, 'books', 21)), (SELECT round(kpx_score(1, 'books', 21)::numeric, 5)), 'contributions sum to the score');
SELECT is((SELECT array_agg(DISTINCT reason) FROM kpx_recommend(999, 'books', 3)), ARRAY['popular'], 'who read nothing gets what is popular');
SELECT is((SELECT value FROM kpx_evaluate(ARRAY['books'], algorithm => 'content') WHERE metric = 'coverage@10') > 0, true, 'kpx_evaluate judges it');

-- The server's own parser.
SELECT kpx_add_module('english', 'app.books', 'id', text_columns => '{title}', text_search_config => 'english');
SELECT is((SELECT text_search_config FROM kpx_modules WHERE module = 'english'), 'pg_catalog.english', 'the configuration is kept with its schema');
INSERT INTO app.books (id, title) VALUES (101, 'repaired bicycle wheel'), (102, 'a baked bread');
SELECT kpx_train('english', algorithm => 'content') \g /dev/null
SELECT is((SELECT count(*) FROM kpx_similar(101, 'english', 10) s WHERE item_id % 4 <> 1 OR item_id > 100), 0::bigint, 'english stems: repaired bicycle is like repairing bicycles');
SELECT kpx_train('books', algorithm => 'content') \g /dev/null
SELECT is(error($$SELECT kpx_add_module('klingon', 'app.books', 'id', text_search_config => 'klingon')$$) ~ '^42704', true, 'an unknown configuration is refused');

-- Attributes, numbers, times, arrays.
SELECT kpx_add_module('shelves', 'app.books', 'id', category => 'shelf', price => 'price', attributes => '{tags,printed}');
DELETE FROM app.books WHERE id > 100;
SELECT kpx_train('shelves', algorithm => 'content') \g /dev/null
SELECT is((SELECT count(*) FROM app.books b CROSS JOIN LATERAL kpx_similar(b.id, 'shelves', 3) s JOIN app.books o ON o.id = s.item_id WHERE o.shelf <> b.shelf AND o.tags <> b.tags), 0::bigint,
	'near in shelf, tags, price and date');
SELECT cmp_ok((SELECT score FROM kpx_similar(10, 'shelves', 39) WHERE item_id = 16), '>', (SELECT score FROM kpx_similar(10, 'shelves', 39) WHERE item_id = 40), 'with the same shelf and tag, the nearer price is nearer');

-- Embeddings: several columns, missing ones, projection of long ones.
UPDATE app.books SET cover = ARRAY(SELECT CASE WHEN k = id % 2 THEN 1 ELSE 0 END + sin(id * k + k) / 10 FROM generate_series(0, 99) k)::real[];
UPDATE app.books SET sound = ARRAY[id % 3 = 0, id % 3 = 1, id % 3 = 2]::int[]::float8[] WHERE id <> 5;
SELECT kpx_add_module('covers', 'app.books', 'id', embeddings => '{cover}'), kpx_add_module('both', 'app.books', 'id', embeddings => '{cover,sound}');
SELECT kpx_train('covers', algorithm => 'content') \g /dev/null
SELECT is((SELECT count(*) FROM app.books b CROSS JOIN LATERAL kpx_similar(b.id, 'covers', 10) s WHERE s.item_id % 2 <> b.id % 2), 0::bigint, 'covers alike, 100 numbers projected to 64');
SELECT kpx_train('both', algorithm => 'content') \g /dev/null
SELECT is((SELECT count(*) FROM app.books b CROSS JOIN LATERAL kpx_similar(b.id, 'both', 5) s WHERE b.id <> 5 AND (s.item_id % 2 <> b.id % 2 OR s.item_id % 3 <> b.id % 3) AND s.item_id <> 5), 0::bigint, 'cover and sound fused: alike in both');
SELECT is((SELECT count(*) FROM kpx_similar(5, 'both', 5) s WHERE s.item_id % 2 <> 1), 0::bigint, 'an item without sound is compared by its cover');
SELECT kpx_train('both', algorithm => 'content', params => '{"modality_weights": {"sound": 0}}') \g /dev/null
SELECT is((SELECT count(*) FROM app.books b CROSS JOIN LATERAL kpx_similar(b.id, 'both', 10) s WHERE s.item_id % 2 <> b.id % 2), 0::bigint, 'a modality of weight 0 does not count');
SELECT is(error($$SELECT kpx_train('both', algorithm => 'content', params => '{"modality_weights": {"smell": 1}}')$$),
	'22023 parameter "modality_weights": "smell" is not a modality of these modules, or 1 is not a weight | Modalities: text, attributes, cover, sound; weights are between 0 and 1e6.', 'modalities are named in the error');

-- What is wrong with an embedding is said with the item's id.
CREATE FUNCTION broken(wrong text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE found text;
BEGIN
	EXECUTE 'UPDATE app.books SET sound = ' || wrong || ' WHERE id = 17';
	found := error('SELECT kpx_train(''both'', algorithm => ''content'')');
	UPDATE app.books SET sound = NULL WHERE id = 17;
	RETURN found;
END $$;
SELECT is(broken($$'{1,2}'$$), '22023 column "sound" of app.books: the embedding of item 17 has 2 numbers, expected 3 as of the others | All embeddings of one name must have the same number of dimensions.', 'another dimension');
SELECT is(broken($$'{1,NaN,2}'$$), '22023 column "sound" of app.books: the embedding of item 17 holds NaN or infinity | Store NULL for an item without embedding.', 'NaN');
SELECT is(broken($$'{0,0,0}'$$), '22023 column "sound" of app.books: the embedding of item 17 is all zeroes | Store NULL for an item without embedding.', 'a zero vector');
SELECT is(broken($$'{1,NULL,2}'$$), '22023 column "sound" of app.books: the embedding of item 17 contains NULL | Store NULL for an item without embedding.', 'NULL inside');
SELECT is(broken($$'{}'$$), '22023 column "sound" of app.books: the embedding of item 17 is empty | Store NULL for an item without embedding.', 'no numbers');
SELECT is(broken($$'{{1,2,3}}'$$), '22023 column "sound" of app.books: the embedding of item 17 has more than one dimension | Store NULL for an item without embedding.', 'a matrix');

-- A type that casts to real[], as pgvector's does.
CREATE TYPE app.vec AS (x real, y real);
CREATE FUNCTION app.vec_to_array(app.vec) RETURNS real[] LANGUAGE sql IMMUTABLE AS 'SELECT ARRAY[($1).x, ($1).y]';
CREATE CAST (app.vec AS real[]) WITH FUNCTION app.vec_to_array(app.vec);
ALTER TABLE app.books ADD v app.vec;
UPDATE app.books SET v = ROW(id % 2, 1 - id % 2)::app.vec;
SELECT kpx_add_module('vecs', 'app.books', 'id', embeddings => '{v}');
SELECT kpx_train('vecs', algorithm => 'content') \g /dev/null
SELECT is((SELECT count(*) FROM app.books b CROSS JOIN LATERAL kpx_similar(b.id, 'vecs', 10) s WHERE s.item_id % 2 <> b.id % 2), 0::bigint, 'a type with a cast to real[] is an embedding');
SELECT is(error($$SELECT kpx_add_module('no', 'app.books', 'id', embeddings => '{tags}')$$) ~ '^42804', true, 'what does not cast to real[] is refused');

-- Registering and training without content.
SELECT kpx_add_module('bare', 'app.books', 'id');
SELECT is(error($$SELECT kpx_train('bare', algorithm => 'content')$$) ~ '^55000 no module to train has registered content', true, 'a module without content says what content is');
SELECT is(error($$SELECT kpx_train('books', algorithm => 'content', params => '{"stop_words": "the"}')$$), '22023 parameter "stop_words" must be an array of words, [] for none', 'stop words are an array');
SELECT lives_ok($$SELECT kpx_train('books', algorithm => 'content', params => '{"stop_words": ["dough", "crust"], "hashed_terms": 512, "weighting": "bm25", "coherence": 0, "smoothing": 1, "text_factors": 16}')$$, 'hashed vocabulary, BM25, own stop words');
SELECT is((SELECT count(*) FROM app.books b CROSS JOIN LATERAL kpx_similar(b.id, 'books', 9) s JOIN app.books o ON o.id = s.item_id WHERE o.id % 4 <> b.id % 4), 0::bigint, 'and they tell the subjects apart as well');

-- Item tables are read as who trains: privileges and row-level security count.
CREATE ROLE content_clerk;
SELECT kpx_grant('content_clerk', 'train') \g /dev/null
GRANT USAGE ON SCHEMA app TO content_clerk;
GRANT SELECT (id, title) ON app.books TO content_clerk;
SET LOCAL ROLE content_clerk;
SELECT kpx_add_module('clerk', 'app.books', 'id', title => 'title');
SELECT lives_ok($$SELECT kpx_train('clerk', algorithm => 'content')$$, 'SELECT on the registered columns is enough');
RESET ROLE;
REVOKE SELECT (title) ON app.books FROM content_clerk;
SET LOCAL ROLE content_clerk;
SELECT is(error($$SELECT kpx_train('clerk', algorithm => 'content')$$) ~ '^42501', true, 'and needed');
RESET ROLE;
GRANT SELECT ON app.books TO content_clerk;
ALTER TABLE app.books ENABLE ROW LEVEL SECURITY;
CREATE POLICY odd ON app.books TO content_clerk USING (id % 2 = 1);
SET LOCAL ROLE content_clerk;
SELECT is((SELECT items FROM kpx_train('clerk', algorithm => 'content')), 20::bigint, 'row-level security hides half of the items');
RESET ROLE;
SELECT is((SELECT kpx_refresh_items('clerk')), 20::bigint, 'which who may see them adds');
ALTER TABLE app.books DISABLE ROW LEVEL SECURITY;

-- Ids of text, new ones before, between and behind those of old; a second module in the model.
CREATE TABLE app.films (code text PRIMARY KEY, title text);
INSERT INTO app.films SELECT 'f' || n, CASE n % 2 WHEN 0 THEN 'desert western horses ' ELSE 'space station robots ' END || n FROM generate_series(10, 29) n;
SELECT kpx_add_module('films', 'app.films', 'code', title => 'title');
SELECT kpx_train(ARRAY['films', 'books'], algorithm => 'content') \g /dev/null
CREATE TEMP TABLE before AS SELECT f.code, s.* FROM app.films f CROSS JOIN LATERAL kpx_similar(f.code, 'films', 30) s;
INSERT INTO app.films VALUES ('a', 'a western with horses'), ('f15b', 'robots in a station'), ('z', 'horses and a desert'), ('nothing', NULL);
INSERT INTO app.books (id, title, about) VALUES (0, 'Baking bread with sourdough', 'flour oven');
SELECT is((SELECT kpx_refresh_items('films')), 5::bigint, 'new items of all modules of the model');
SELECT is((SELECT count(*) FROM before b JOIN LATERAL kpx_similar(b.code, 'films', 40) s ON s.item_id = b.item_id WHERE abs(s.score - b.score) > 1e-5), 0::bigint, 'items of old are as alike as before');
SELECT results_eq($$SELECT c, (SELECT bool_and(title ~ w) FROM kpx_similar(c, 'films', 8) s JOIN app.films ON code = s.item_id) FROM (VALUES ('a', 'western|desert'), ('f15b', 'station'), ('z', 'western|desert')) v(c, w)$$,
	$$VALUES ('a', true), ('f15b', true), ('z', true)$$, 'new ones are where they belong');
SELECT is((SELECT count(*) FROM kpx_similar('nothing'::text, 'films', 5) WHERE score <> 0), 0::bigint, 'an item without content is like none');
SELECT * FROM finish();
ROLLBACK;
