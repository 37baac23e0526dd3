-- forget: nothing of a user is left, and nothing comes back.
BEGIN;
SELECT plan(27);
\ir fixture.psql
SELECT kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small()) AS trained \g /dev/null
SELECT kpx_set_policy(params => '{"caps": {"n": 100, "per": "1 day"}}') \g /dev/null

-- what kpxrec comes to hold of users: slates, impressions, feedback, dismissals, members of segments
SELECT slate_id AS slate, item_id AS item FROM kpx_recommend_slate(7, ARRAY['courses', 'products'], 4, log => true) LIMIT 1 \gset
SELECT slate_id AS other FROM kpx_recommend_slate(8, ARRAY['courses', 'products'], 4, log => true) LIMIT 1 \gset
SELECT kpx_feedback(:slate, :'item', 'click'), kpx_feedback(:slate, :'item', 'dismiss_item'), kpx_feedback(:other, item_id, 'click'), kpx_feedback(:other, item_id, 'dismiss_item')
FROM kpx.impression WHERE slate_id = :other AND rank = 1 \g /dev/null
SELECT kpx_cluster('groups', ARRAY['courses', 'products'], 3, '{"members": 1}') \g /dev/null
SELECT kpx_set_consent(7, 'courses', 'products') \g /dev/null
CREATE FUNCTION app.held(who text) RETURNS bigint LANGUAGE sql AS $$
	SELECT (SELECT count(*) FROM kpx.slate WHERE user_id = who) + (SELECT count(*) FROM kpx.impression WHERE user_id = who)
		+ (SELECT count(*) FROM kpx.dismissal WHERE user_id = who) + (SELECT count(*) FROM kpx.consent WHERE user_id = who) + (SELECT count(*) FROM kpx.segment_member WHERE user_id = who)
$$;

SELECT kpx_create_recommendation_view('courses', 2, 'app.best') \g /dev/null
SELECT app.held('8') AS of_other \gset
SELECT cmp_ok(app.held('7'), '>=', 5::bigint, 'kpxrec holds something of the user');

-- every table that names users is found by kpx_forget_user, and serves it by an index
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
	WHERE c.relnamespace = 'kpx'::regnamespace AND c.relkind IN ('r', 'p') AND a.attname ~ 'user_?id' AND a.atttypid <> 'name'::regtype AND NOT (a.attname = 'user_id' AND a.atttypid = 'text'::regtype)$$,
	'user ids are in columns user_id of type text (names are those of columns)');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
	WHERE c.relnamespace = 'kpx'::regnamespace AND c.relkind = 'r' AND a.attname = 'user_id' AND a.atttypid = 'text'::regtype
	AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum)$$,
	'with an index that begins with it');

-- arguments and rights
SELECT throws_ok('SELECT kpx_forget_user(NULL::bigint)', '22004', NULL, 'somebody must be named');
SELECT throws_ok('SELECT kpx_forget_user(1.5)', '42804', NULL, 'by an id');
SELECT throws_ok($$SELECT kpx_forget_user('x')$$, '22P02', NULL, 'of the kind that users have');
CREATE ROLE tap_forget;
SET ROLE tap_forget;
SELECT throws_ok('SELECT kpx_forget_user(7)', '42501', NULL, 'by a role that may');
RESET ROLE;
SELECT is_empty('SELECT * FROM kpx.forgotten', 'nothing was forgotten so far');

SELECT results_eq('SELECT * FROM kpx_forget_user(7)',
	$$VALUES ('kpx.feedback', 2::bigint), ('kpx.consent', 1), ('kpx.dismissal', 1), ('kpx.impression', 4), ('kpx.segment_member', 1), ('kpx.slate', 1), ('recommendation views', 2)$$, 'counts by table');
SELECT is(app.held('7'), 0::bigint, 'nothing is left');
SELECT is_empty('SELECT * FROM kpx.feedback WHERE slate_id = ' || :slate, 'no feedback either');
SELECT is(app.held('8'), :of_other::bigint, 'of others all is left');
SELECT is((SELECT count(*) FROM kpx.feedback WHERE slate_id = :other), 2::bigint, 'their feedback, too');
SELECT is((SELECT tombstone FROM kpx.forgotten), (SELECT hmac FROM (
	-- RFC 2104 in SQL: the key is one of 32 bytes
	SELECT sha256(decode(string_agg(lpad(to_hex((coalesce(get_byte(key, n), 0) # 92)), 2, '0'), '' ORDER BY n), 'hex') || sha256(decode(string_agg(lpad(to_hex((coalesce(get_byte(key, n), 0) # 54)), 2, '0'), '' ORDER BY n), 'hex') || '7'::bytea)) AS hmac
	FROM (SELECT CASE WHEN n < 32 THEN key END AS key, n FROM kpx.forget_key, generate_series(0, 63) n) k) h), 'the tombstone is HMAC-SHA256 of the id');
SELECT is((SELECT count(*) FROM kpx.forgotten f, generate_series(1, 1000) u WHERE f.tombstone IN (sha256(u::text::bytea), sha256(('7'::bytea || (SELECT key FROM kpx.forget_key))))), 0::bigint,
	'which hashes of guesses do not find');
SELECT results_eq('SELECT sum(removed) FROM kpx_forget_user(7)', 'VALUES (0::numeric)', 'forgetting again finds nothing');
SELECT is((SELECT count(*) FROM kpx.forgotten), 1::bigint, 'and makes no second tombstone');
SELECT is(octet_length(key), 32, 'under one key') FROM kpx.forget_key;

-- nothing comes back
SELECT set_eq('SELECT DISTINCT slate_id FROM kpx_recommend_slate(7, ARRAY[''courses'', ''products''], 4, log => true)', 'VALUES (NULL::bigint)', 'a slate is shown, but not logged');
SELECT set_eq('SELECT DISTINCT slate_id FROM kpx_recommend_slate(''7'', ARRAY[''courses'', ''products''], 4, log => true)', 'VALUES (NULL::bigint)', 'nor under the id as text');
SELECT isnt((SELECT min(slate_id) FROM kpx_recommend_slate(9, ARRAY['courses', 'products'], 4, log => true)), NULL, 'those of others are');
SELECT is(kpx_feedback(:slate, :'item', 'click'), 'unknown', 'feedback on what was shown before finds nothing');
SELECT kpx_cluster('groups', ARRAY['courses', 'products'], 3, '{"members": 1}') \g /dev/null
SELECT is((SELECT count(*) FROM kpx.segment_member), 59::bigint, 'segments name everybody else');
SELECT is(app.held('7'), 0::bigint, 'nothing has come back');

-- text and uuid ids
SELECT results_eq('SELECT sum(removed) FROM kpx_forget_user(''8'')', format('VALUES (%s::numeric)', :of_other + 4), 'an untyped literal is read as users'' ids are');
SELECT is(app.held('8'), 0::bigint, 'and is the same user');
SELECT kpx_drop_module(module) FROM kpx_modules \g /dev/null
SELECT lives_ok('SELECT kpx_forget_user(''anything''), kpx_forget_user(gen_random_uuid())', 'with no modules, any id will do');
SELECT * FROM finish();
ROLLBACK;
