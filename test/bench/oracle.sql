-- What optimising could gain and what it did, on a simulated platform after some weeks (test/demo/loop.sql, ways
-- loop and mended), by the simulator's own truth of people who are not tired: the first policy, the one
-- that is active now, and the best of a grid, which is chosen on 300 new people; all judged on 1,000 others.
-- Prints "first,active,best,settings of best".
CALL sim.set_clock('2027-03-01 10:00+00');
CALL sim.people(1000001, 1001300);
CREATE FUNCTION sim.version(lambda float8, epsilon float8, products float8, courses float8, base bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	v bigint := kpx_set_policy(params => jsonb_build_object('lambda', lambda, 'epsilon', epsilon), activate => false, based_on => base);
BEGIN
	v := kpx_set_policy('videos', '{"weight": 1}', activate => false, based_on => v);
	v := kpx_set_policy('products', jsonb_build_object('weight', products), activate => false, based_on => v);
	RETURN kpx_set_policy('courses', jsonb_build_object('weight', courses), activate => false, based_on => v);
END $$;
CREATE TABLE sim.grid AS
SELECT l AS lambda, p AS products, c AS courses, sim.version(l, 0.02, p, c, first.policy) AS version
FROM sim.first, unnest('{0.3,0.4,0.5,0.65,0.8}'::float8[]) l, (VALUES (1, 1), (0.5, 1), (1, 2), (2, 1), (1, 0.5)) w(p, c);
SELECT version AS best, format('lambda %s, weights 1 : %s : %s', lambda, products, courses) AS settings
FROM sim.grid, sim.truth(version, 1000001, 1000300, 1, '2027-03-01 10:00+00') t ORDER BY t.value DESC LIMIT 1 \gset
SELECT concat_ws(',', a.value, b.value, c.value, quote_literal(:'settings'))
FROM sim.first, kpx_policies p, sim.truth(first.policy, 1000301, 1001300, 1, '2027-03-01 10:00+00') a,
	sim.truth(p.policy, 1000301, 1001300, 1, '2027-03-01 10:00+00') b, sim.truth(:best, 1000301, 1001300, 1, '2027-03-01 10:00+00') c WHERE p.active;
