-- How often 95 % intervals of kpx_evaluate_policy cover the truth, on a simulated platform after some
-- weeks (test/demo/loop.sql, way start). psql variables: logs, slates (of each log).
--
-- Every log is of people the platform has not seen before, served by a policy with exploration;
-- what they click and buy is fed back. The truth is what the judged policy earns in expectation of
-- 4,000 other new people. Ranking and policies stay as they are all the time.
CALL sim.set_clock('2027-03-01 10:00+00');
SELECT kpx_set_policy(params => '{"lambda": 0.6, "epsilon": 0.2, "top": 5}') AS logging \gset
SELECT kpx_set_policy(params => '{"epsilon": 0.1}', activate => false) AS near \gset
SELECT kpx_set_policy(params => '{"lambda": 0.5, "epsilon": 0.15}', activate => false) AS far \gset
CALL sim.people(1000001, 1004000);
CREATE TEMP TABLE truth AS SELECT judged, t.* FROM (VALUES ('itself', :logging), ('near', :near), ('far', :far)) v(judged, version),
	LATERAL sim.truth(version::bigint, 1000001, 1004000, 1, '2027-03-01 10:00+00') t;
CREATE TEMP TABLE estimate (log int, judged text, estimator text, value float8, std_error float8, low float8, high float8, effective_sample_size float8);

CREATE PROCEDURE sim.one_log(log int, slates int, versions jsonb) LANGUAGE plpgsql AS $$
DECLARE
	first bigint := 2000001 + 10000 * log;
	now timestamptz := timestamptz '2027-03-01 10:00+00' + log * interval '1 second';
BEGIN
	CALL sim.set_clock(now);
	CALL sim.people(first, first + slates - 1);
	INSERT INTO sim.shown (visit, at, user_id, home, rank, module, item_id, slate_id)
	SELECT 100 + log, now, user_id, sim.home(user_id, 1), s.rank, s.module, s.item_id::bigint, s.slate_id
	FROM generate_series(first, first + slates - 1) user_id, kpx_recommend_slate(user_id, '{videos,products,courses}', 4, sim.home(user_id, 1), log => true) s;
	UPDATE sim.shown s SET clicked = sim.u('click ' || s.module || s.item_id, s.user_id) < sim.p_click(p, i, s.rank, 0, sim.season('2027-03-01 10:00+00')),
		bought = sim.u('buy ' || s.module || s.item_id, s.user_id) < sim.p_convert(p, i), earned = sim.earned(i)
	FROM sim.person p, sim.item i WHERE s.visit = 100 + log AND p.user_id = s.user_id AND i.module = s.module AND i.item_id = s.item_id;
	PERFORM kpx_feedback(slate_id, item_id::text, 'click', module => module) FROM sim.shown WHERE visit = 100 + log AND clicked;
	PERFORM kpx_feedback(slate_id, item_id::text, 'conversion', earned, module => module) FROM sim.shown WHERE visit = 100 + log AND clicked AND bought;
	INSERT INTO estimate SELECT log, key, e.estimator, e.value, e.std_error, e.low, e.high, e.effective_sample_size
	FROM jsonb_each_text(versions), kpx_evaluate_policy(value::bigint, now, params => '{"bootstrap": 500}') e;
	COMMIT;
END $$;
SELECT format('CALL sim.one_log(%s, %s, %L)', n, :slates, jsonb_build_object('itself', :logging, 'near', :near, 'far', :far)) FROM generate_series(1, :logs) n \gexec

SELECT format('| %s | %s | %s | %s ± %s | %s | %s %% ± %s %% | %s |', t.judged, estimator, round(t.value::numeric, 3), round(avg(e.value)::numeric, 3),
	round((1.96 * stddev(e.value) / sqrt(count(*)))::numeric, 3), round(avg(e.std_error)::numeric, 3),
	round((100 * avg((t.value BETWEEN low AND high)::int))::numeric, 1), round((100 * 1.96 * sqrt(0.95 * 0.05 / count(*)))::numeric, 1), round(avg(effective_sample_size)))
FROM estimate e JOIN truth t USING (judged) GROUP BY t.judged, t.value, estimator ORDER BY array_position('{itself,near,far}', t.judged),
	array_position('{ips,clipped_ips,snips,clipped_snips,direct,dr,switch_dr}', estimator);
