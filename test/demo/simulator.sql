-- A platform with hidden truths, for policies to be tried on. psql variable: seed.
--
-- Videos, products and courses of eight topics. A person loves one topic and likes another;
-- clicks by taste, the item's appeal, the place in the slate and the season; buys by how dear it
-- is to them; and tires: each item from another module than the one they came for adds to
-- "tired", which fades by a fifth a day. The tired click less, dismiss more, and come less often.
-- Everything is a hash of the seed, a name and numbers, whatever order rows are computed in.
CREATE SCHEMA sim;

-- Uniform in [0, 1) from (seed, stream, a, b).
SELECT format($sql$
CREATE FUNCTION sim.u(stream text, a bigint, b bigint DEFAULT 0) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
'SELECT (hashtextextended(stream || '':'' || a::text || '':'' || b::text, %s) & 1048575) / 1048576.0'
$sql$, :seed::bigint) \gexec

-- Per module: items, clicks of a loved item, conversions of a click, what is earned of the price.
CREATE TABLE sim.module (module text PRIMARY KEY, items int, click float8, convert float8, margin float8, low float8, high float8);
INSERT INTO sim.module VALUES
	('videos', 160, 0.50, 0.45, 1, 1, 4),
	('products', 160, 0.30, 0.25, 0.3, 10, 160),
	('courses', 120, 0.26, 0.16, 1, 20, 110);

-- id / 8 is the rank within the topic: low ones appeal to more people.
CREATE TABLE sim.item AS
SELECT module, n AS item_id, 'topic ' || n % 8 AS topic,
	(0.35 + 0.65 * (1 - (n / 8) / (items / 8.0))) * (0.7 + 0.6 * sim.u(module || ' appeal', n)) AS appeal,
	round((low * power(high / low, sim.u(module || ' price', n)))::numeric, 2) AS price
FROM sim.module, generate_series(0, items - 1) n;
ALTER TABLE sim.item ADD PRIMARY KEY (module, item_id);
CREATE TABLE sim.videos AS SELECT item_id AS id, topic, price FROM sim.item WHERE module = 'videos';
CREATE TABLE sim.products AS SELECT item_id AS id, topic, price FROM sim.item WHERE module = 'products';
CREATE TABLE sim.courses AS SELECT item_id AS id, topic, price FROM sim.item WHERE module = 'courses';
ALTER TABLE sim.videos ADD PRIMARY KEY (id);
ALTER TABLE sim.products ADD PRIMARY KEY (id);
ALTER TABLE sim.courses ADD PRIMARY KEY (id);

-- The platform's tables of what people did.
CREATE TABLE sim.watches (user_id bigint, video_id bigint, at timestamptz);
CREATE TABLE sim.tips (user_id bigint, video_id bigint, at timestamptz, paid float8);
CREATE TABLE sim.orders (user_id bigint, product_id bigint, at timestamptz, paid float8);
CREATE TABLE sim.enrolments (user_id bigint, course_id bigint, at timestamptz, paid float8);
CREATE INDEX ON sim.watches (user_id, at);
CREATE INDEX ON sim.tips (user_id, at);
CREATE INDEX ON sim.orders (user_id, at);
CREATE INDEX ON sim.enrolments (user_id, at);

-- People, and what a policy cannot see of them. purse: the price they think twice about.
CREATE TABLE sim.person (user_id bigint PRIMARY KEY, loves int, likes int, purse float8, tired float8 NOT NULL DEFAULT 0, tired_at timestamptz);

-- Past events of a person: 60 % of the loved topic, 25 % of the liked, within a topic by appeal.
CREATE FUNCTION sim.past(stream text, module text, per_person int, first bigint, last bigint)
RETURNS TABLE (user_id bigint, item_id bigint, at timestamptz, paid float8) LANGUAGE sql AS $$
	SELECT DISTINCT ON (p.user_id, i.item_id) p.user_id, i.item_id, timestamptz '2026-12-31' - interval '200 days' * sim.u(stream || ' at', p.user_id, n), m.margin * i.price
	FROM sim.person p CROSS JOIN generate_series(1, per_person) n JOIN sim.module m ON m.module = past.module
	CROSS JOIN LATERAL (SELECT CASE WHEN sim.u(stream || ' topic', p.user_id, n) < 0.60 THEN p.loves WHEN sim.u(stream || ' topic', p.user_id, n) < 0.85 THEN p.likes
		ELSE floor(8 * sim.u(stream || ' any', p.user_id, n))::int END AS topic) t
	JOIN sim.item i ON i.module = m.module AND i.item_id = t.topic + 8 * floor(power(sim.u(stream || ' rank', p.user_id, n), 1.6) * (m.items / 8))::bigint
	WHERE p.user_id BETWEEN first AND last AND sim.u(stream || ' active', p.user_id, n) < 0.3 + 0.7 * sim.u('active', p.user_id)
	ORDER BY p.user_id, i.item_id, n
$$;

-- More people, with what they did before.
CREATE PROCEDURE sim.people(first bigint, last bigint) LANGUAGE sql AS $$
	INSERT INTO sim.person (user_id, loves, likes, purse)
	SELECT n, floor(8 * sim.u('loves', n)), floor(8 * sim.u('likes', n)), 40 * exp(1.2 * (sim.u('purse', n) - 0.5)) FROM generate_series(first, last) n;
	INSERT INTO sim.watches SELECT user_id, item_id, at FROM sim.past('watch', 'videos', 16, first, last);
	INSERT INTO sim.orders SELECT * FROM sim.past('order', 'products', 7, first, last);
	INSERT INTO sim.enrolments SELECT * FROM sim.past('enrol', 'courses', 6, first, last);
$$;

-- The module a person comes for.
CREATE FUNCTION sim.home(user_id bigint, visit int) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (ARRAY['videos', 'videos', 'products', 'courses'])[1 + floor(4 * sim.u('home', user_id, visit))::int] $$;

-- How tired a person is by now; above 1.5 it shows.
CREATE FUNCTION sim.tiredness(tired float8, tired_at timestamptz, now timestamptz) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN tired_at IS NULL THEN 0 ELSE greatest(tired * power(0.8, extract(epoch FROM now - tired_at)::float8 / 86400) - 1.5, 0) END $$;

CREATE FUNCTION sim.comes(user_id bigint, visit int, tired float8) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT sim.u('comes', user_id, visit) < 0.8 * exp(-0.15 * tired) $$;

-- Ten weeks from one high season to the next.
CREATE FUNCTION sim.season(now timestamptz) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT 1 + 0.25 * sin(2 * pi() * extract(epoch FROM now - timestamptz '2027-01-01 00:00+00')::float8 / (70 * 86400)) $$;

CREATE FUNCTION sim.p_click(person sim.person, item sim.item, rank int, tired float8, season float8) RETURNS float8 LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT least(0.95, m.click * item.appeal * season * exp(-0.4 * tired) / (1 + 0.2 * (rank - 1)) *
		CASE substr(item.topic, 7)::int WHEN person.loves THEN 1 WHEN person.likes THEN 0.5 ELSE 0.06 END)
	FROM sim.module m WHERE m.module = item.module
$$;

-- Given a click.
CREATE FUNCTION sim.p_convert(person sim.person, item sim.item) RETURNS float8 LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT m.convert * 1.4 * exp(-item.price::float8 / (2 * person.purse)) FROM sim.module m WHERE m.module = item.module
$$;

CREATE FUNCTION sim.earned(item sim.item) RETURNS float8 LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT m.margin * item.price::float8 FROM sim.module m WHERE m.module = item.module $$;

-- What was shown, and what came of it.
CREATE TABLE sim.shown (visit int, at timestamptz, user_id bigint, home text, rank int, module text, item_id bigint, slate_id bigint,
	tired float8, clicked boolean, bought boolean, dismissed boolean, earned float8);

CREATE PROCEDURE sim.set_clock(now timestamptz) LANGUAGE sql AS
$$ SELECT set_config('kpxrec.simulated_time', extract(epoch FROM now)::text, false) $$;

-- People react to what was shown to them at a visit; their reactions reach the platform by the ways of
-- a real one: watches, tips, orders and enrolments are rows of its tables, clicks and dismissals of
-- products and courses are told to kpx_feedback by the application.
CREATE PROCEDURE sim.react(v int, now timestamptz) LANGUAGE plpgsql AS $$
BEGIN
	UPDATE sim.shown s SET tired = sim.tiredness(p.tired, p.tired_at, now),
		clicked = sim.u('click ' || s.module || s.item_id, s.user_id, v) < sim.p_click(p, i, s.rank, sim.tiredness(p.tired, p.tired_at, now), sim.season(now)),
		bought = sim.u('buy ' || s.module || s.item_id, s.user_id, v) < sim.p_convert(p, i),
		dismissed = s.module <> s.home AND sim.u('dismiss ' || s.module || s.item_id, s.user_id, v) < 0.01 + 0.03 * sim.tiredness(p.tired, p.tired_at, now)
	FROM sim.person p, sim.item i WHERE s.visit = v AND p.user_id = s.user_id AND i.module = s.module AND i.item_id = s.item_id;
	UPDATE sim.shown s SET bought = bought AND clicked, dismissed = dismissed AND NOT clicked,
		earned = CASE WHEN bought AND clicked THEN sim.earned(i) ELSE 0 END
	FROM sim.item i WHERE s.visit = v AND i.module = s.module AND i.item_id = s.item_id;
	INSERT INTO sim.watches SELECT user_id, item_id, now + interval '1 minute' FROM sim.shown WHERE visit = v AND clicked AND module = 'videos' ORDER BY user_id, rank;
	INSERT INTO sim.tips SELECT user_id, item_id, now + interval '2 minutes', earned FROM sim.shown WHERE visit = v AND bought AND module = 'videos' ORDER BY user_id, rank;
	INSERT INTO sim.orders SELECT user_id, item_id, now + interval '3 minutes', earned FROM sim.shown WHERE visit = v AND bought AND module = 'products' ORDER BY user_id, rank;
	INSERT INTO sim.enrolments SELECT user_id, item_id, now + interval '3 minutes', earned FROM sim.shown WHERE visit = v AND bought AND module = 'courses' ORDER BY user_id, rank;
	PERFORM kpx_feedback(slate_id, item_id::text, CASE WHEN clicked THEN 'click' ELSE 'dismiss_item' END, occurred_at => now + interval '1 minute', module => module, user_id => user_id::text)
	FROM sim.shown WHERE visit = v AND slate_id IS NOT NULL AND (clicked AND module <> 'videos' OR dismissed);
	UPDATE sim.person p SET tired = n + coalesce(p.tired * power(0.8, extract(epoch FROM now - tired_at)::float8 / 86400), 0), tired_at = now
	FROM (SELECT user_id, count(*) FILTER (WHERE module <> home) AS n FROM sim.shown WHERE visit = v GROUP BY 1) s WHERE s.user_id = p.user_id;
END $$;

-- Registering it.
SELECT kpx_add_module('videos', 'sim.videos', 'id', category => 'topic', price => 'price'),
	kpx_add_module('products', 'sim.products', 'id', category => 'topic', price => 'price'),
	kpx_add_module('courses', 'sim.courses', 'id', category => 'topic', price => 'price') \g /dev/null
SELECT kpx_add_events('videos', 'sim.watches', 'watch', 'user_id', 'video_id', occurred_at => 'at'),
	kpx_add_events('videos', 'sim.tips', 'purchase', 'user_id', 'video_id', occurred_at => 'at', value => 'paid', weight => 2),
	kpx_add_events('products', 'sim.orders', 'purchase', 'user_id', 'product_id', occurred_at => 'at', value => 'paid', weight => 3),
	kpx_add_events('courses', 'sim.enrolments', 'purchase', 'user_id', 'course_id', occurred_at => 'at', value => 'paid', weight => 3) \g /dev/null

-- What a version of the policy earns a slate in truth, of people who are not tired: the expectation
-- over what they do, a mean over people and one draw of the slate.
CREATE FUNCTION sim.truth(version bigint, first bigint, last bigint, v int, now timestamptz, OUT value float8, OUT std_error float8, OUT slates bigint) LANGUAGE sql AS $$
	SELECT avg(e), stddev(e) / sqrt(count(*)), count(*) FROM (
		SELECT sum(sim.p_click(p, i, s.rank, 0, sim.season(now)) * sim.p_convert(p, i) * sim.earned(i)) AS e
		FROM sim.person p, kpx_recommend_slate(p.user_id, '{videos,products,courses}', 4, sim.home(p.user_id, v), policy => version) s, sim.item i
		WHERE p.user_id BETWEEN first AND last AND i.module = s.module AND i.item_id = s.item_id::bigint
		GROUP BY p.user_id) x
$$;
