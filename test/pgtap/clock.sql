-- Simulated time: caps, feedback and attribution see it, and exploration can be repeated.
\set QUIET on
BEGIN;
SELECT plan(15);
\ir fixture.psql
SELECT model FROM kpx_train(ARRAY['courses', 'products', 'videos'], params => app.small()) \g /dev/null
SELECT kpx_set_policy(params => '{"epsilon": 1, "top": 15, "caps": {"n": 2, "per": "1 day"}}') \g /dev/null
CREATE FUNCTION app.at(t timestamptz) RETURNS text LANGUAGE sql AS
$$SELECT set_config('kpxrec.simulated_time', extract(epoch FROM t)::text, true)$$;
CREATE FUNCTION app.slate(u bigint, logged boolean DEFAULT false) RETURNS text LANGUAGE sql AS
$$SELECT string_agg(module || item_id, ' ' ORDER BY rank) FROM kpx_recommend_slate(u, ARRAY['courses', 'products', 'videos'], 2, log => logged)$$;

SELECT app.at('2027-03-01 10:00+00') \g /dev/null
SELECT is(app.slate(1), app.slate(1), 'a moment and a user draw the same slate');
SELECT is((SELECT count(DISTINCT app.slate(u)) > 5 FROM generate_series(100, 120) u), true, 'another user another one');
SELECT app.slate(1, true) AS shown \gset
SELECT is((SELECT occurred_at FROM kpx.slate), '2027-03-01 10:00+00'::timestamptz, 'a slate is logged at the simulated moment');
SELECT is(app.slate(1), NULL, 'which its cap counts from');
SELECT app.at('2027-03-02 09:59+00') \g /dev/null
SELECT is(app.slate(1), NULL, 'a day later, almost');
SELECT app.at('2027-03-02 10:01+00') \g /dev/null
SELECT isnt(app.slate(1), NULL, 'a day later');
SELECT isnt(app.slate(1), :'shown', 'another moment draws another slate');

SELECT is(kpx_feedback(slate_id, i.item_id, 'click', module => m.name), 'recorded', 'feedback is of the simulated moment')
FROM kpx.impression i JOIN kpx.module m ON m.id = i.module_id WHERE rank = 1;
SELECT is((SELECT occurred_at FROM kpx.feedback), '2027-03-02 10:01+00'::timestamptz, 'and so is recorded');
INSERT INTO app.orders SELECT 2, 3, '2027-03-02 10:00+00';
SELECT is((SELECT sum(events) FROM kpx_attribute('1 hour')), 1::numeric, 'events up to the moment are attributed');
INSERT INTO app.orders SELECT 2, 3, '2027-03-03 10:00+00';
SELECT is((SELECT sum(events) FROM kpx_attribute('1 hour')), 1::numeric, 'later ones are not yet');
SELECT is(kpx_expire_impressions('2 months'), 0::bigint, 'impressions of yesterday stay');
SELECT app.at('2027-06-15 10:00+00') \g /dev/null
SELECT is(kpx_expire_impressions('2 months'), 1::bigint, 'they expire by the simulated clock');
RESET kpxrec.simulated_time;
SELECT is((SELECT count(DISTINCT app.slate(3)) > 5 FROM generate_series(1, 20)), true, 'without it every slate is drawn anew');
CREATE ROLE kpx_test_clock;
SET LOCAL ROLE kpx_test_clock;
SELECT throws_ok('SET kpxrec.simulated_time = 1', '42501', NULL, 'only superusers set the clock');
RESET ROLE;
SELECT * FROM finish();
ROLLBACK;
