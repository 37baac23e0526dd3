-- One platform under one way of deciding what to show, for some weeks: serve, log, feed
-- back, attribute, train, optimise. After simulator.sql; psql variables: people, weeks, way.
--
-- Ways: popular     the most popular items of the module people came for
--       cross       items of other modules, always (lambda 1), learning as ours does
--       start       our first policy, with a model but neither ranker nor optimisation
--       ranked      with the ranker, without optimisation
--       loop        all of it
--       off         ranked, from a policy that is badly off: the wrong modules are pushed
--       mended      the same, with optimisation
CREATE TABLE sim.history (week int, policy bigint, value_before float8, lift float8, low float8, high float8, activated boolean,
	click_auc float8, settings jsonb);

-- Most popular of each module: people who did something with an item.
CREATE VIEW sim.popular AS
SELECT module, item_id, row_number() OVER (PARTITION BY module ORDER BY count(DISTINCT user_id) DESC, item_id) AS place FROM (
	SELECT 'videos' AS module, video_id AS item_id, user_id FROM sim.watches
	UNION ALL SELECT 'products', product_id, user_id FROM sim.orders
	UNION ALL SELECT 'courses', course_id, user_id FROM sim.enrolments) e GROUP BY 1, 2;

CREATE FUNCTION sim.had(module text, item_id bigint, user_id bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
	SELECT CASE module WHEN 'videos' THEN EXISTS (SELECT FROM sim.watches w WHERE w.user_id = had.user_id AND video_id = item_id)
		WHEN 'products' THEN EXISTS (SELECT FROM sim.orders o WHERE o.user_id = had.user_id AND product_id = item_id)
		ELSE EXISTS (SELECT FROM sim.enrolments e WHERE e.user_id = had.user_id AND course_id = item_id) END
$$;

-- Everybody who comes gets a slate of four.
CREATE PROCEDURE sim.serve(v int, now timestamptz, way text) LANGUAGE plpgsql AS $$
DECLARE
	everything text[] := '{videos,products,courses}';
BEGIN
	CREATE TEMP TABLE IF NOT EXISTS visitor (user_id bigint, home text);
	CREATE TEMP TABLE IF NOT EXISTS popular AS SELECT * FROM sim.popular LIMIT 0;
	TRUNCATE visitor, popular;
	INSERT INTO visitor SELECT user_id, sim.home(user_id, v) FROM sim.person WHERE sim.comes(user_id, v, sim.tiredness(tired, tired_at, now)) ORDER BY user_id;
	IF way = 'popular' THEN
		INSERT INTO popular SELECT * FROM sim.popular WHERE place <= 60;
		INSERT INTO sim.shown (visit, at, user_id, home, rank, module, item_id)
		SELECT v, now, user_id, home, row_number() OVER (PARTITION BY user_id ORDER BY place), home, item_id
		FROM visitor CROSS JOIN LATERAL (SELECT item_id, place FROM popular p WHERE p.module = home
			AND NOT sim.had(home, item_id, user_id) ORDER BY place LIMIT 4) p;
	ELSE
		INSERT INTO sim.shown (visit, at, user_id, home, rank, module, item_id, slate_id)
		SELECT v, now, user_id, home, s.rank, s.module, s.item_id::bigint, s.slate_id FROM visitor,
			kpx_recommend_slate(user_id, CASE way WHEN 'cross' THEN array_remove(everything, home) ELSE everything END, 4, home, log => true) s;
	END IF;
END $$;

CREATE PROCEDURE sim.week(n int, way text) LANGUAGE plpgsql AS $$
DECLARE
	monday timestamptz := timestamptz '2027-01-04 00:00+00' + (n - 1) * interval '7 days';
	at timestamptz;
BEGIN
	FOR visit IN 1..2 LOOP
		at := monday + (visit - 1) * interval '3 days' + interval '10 hours';
		CALL sim.set_clock(at);
		CALL sim.serve(2 * n + visit - 2, at, way);
		CALL sim.react(2 * n + visit - 2, at);
		CALL sim.set_clock(at + interval '1 day');
		PERFORM kpx_attribute();
		COMMIT;
	END LOOP;
	IF way = 'popular' THEN
		RETURN;
	END IF;
	PERFORM kpx_train('{videos,products,courses}'::text[], params => '{"factors": 16, "iterations": 8}');
	COMMIT;
	IF way <> 'start' THEN
		INSERT INTO sim.history (week, click_auc) SELECT n, click_auc FROM kpx_train_ranker('{videos,products,courses}');
		COMMIT;
	END IF;
	IF way IN ('loop', 'mended') THEN
		CALL sim.improve(n);
	END IF;
END $$;

-- The operator takes what the log proposes.
CREATE PROCEDURE sim.improve(n int) LANGUAGE plpgsql AS $$
DECLARE
	o record;
	good boolean;
BEGIN
	SELECT * INTO o FROM kpx_optimize_policy('{"max_dismissal": 0.03}', since => timestamptz '2027-01-04 00:00+00' + (n - 2) * interval '7 days');
	good := o.policy IS NOT NULL;
	IF good THEN
		PERFORM kpx_set_policy(based_on => o.policy);
	END IF;
	UPDATE sim.history SET policy = o.policy, value_before = o.value_before, lift = o.lift, low = o.low, high = o.high, activated = good,
		settings = o.settings WHERE history.week = n;
	COMMIT;
END $$;

CALL sim.people(1, :people);
ANALYZE sim.watches, sim.orders, sim.enrolments, sim.person;
CALL sim.set_clock('2027-01-01 00:00+00');
SELECT kpx_train('{videos,products,courses}'::text[], params => '{"factors": 16, "iterations": 8}') \g /dev/null
SELECT kpx_set_policy('products', '{"margin": 0.3}') \g /dev/null
SELECT kpx_set_policy(params => CASE WHEN :'way' = 'cross' THEN '{"lambda": 1, "epsilon": 0.1}'::jsonb
	WHEN :'way' IN ('off', 'mended') THEN '{"lambda": 0.95, "epsilon": 0.2, "top": 5}' ELSE '{"lambda": 0.8, "epsilon": 0.2, "top": 5}' END) \g /dev/null
SELECT kpx_set_policy('products', '{"weight": 8}'), kpx_set_policy('courses', '{"weight": 0.3}') WHERE :'way' IN ('off', 'mended') \g /dev/null
-- The operator's own judgement: at most one item of each other module at a visit.
SELECT count(kpx_set_policy(module, '{"max_per_slate": 1}', home)) FROM sim.module, (SELECT module AS home FROM sim.module) h
WHERE module <> home AND :'way' NOT IN ('cross', 'off', 'mended') \g /dev/null
CREATE TABLE sim.first AS SELECT policy FROM kpx_policies WHERE active;
SELECT format('CALL sim.week(%s, %L)', r, :'way') FROM generate_series(1, :weeks) r \gexec
