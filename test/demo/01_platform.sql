-- A made-up knowledge-payment platform: 2,400 users, five modules, 1,700 items, events
-- of a year. Interests run across modules, so what somebody buys in one says something
-- about the others. No random(): everything is a hash of a seed, a name and numbers.

CREATE SCHEMA app;

-- Uniform in [0, 1) from (seed, stream, a, b). With the casts it is immutable all through, so that the planner inlines it.
CREATE FUNCTION app.u(stream text, a bigint, b bigint DEFAULT 0) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (hashtextextended(stream || ':' || a::text || ':' || b::text, 20261124) & 1048575) / 1048576.0 $$;

CREATE TABLE app.topics (id int PRIMARY KEY, en text, zh text, noun_en text[], noun_zh text[]);
INSERT INTO app.topics VALUES
	(0, 'Python', 'Python编程', '{keyboard,monitor,USB hub,laptop stand}', '{机械键盘,显示器,扩展坞,笔记本支架}'),
	(1, 'Data Science', '数据科学', '{statistics handbook,whiteboard,tablet,SSD drive}', '{统计学手册,白板,平板电脑,固态硬盘}'),
	(2, 'Photography', '摄影', '{tripod,camera bag,lens filter,ring light}', '{三脚架,相机包,滤镜,环形灯}'),
	(3, 'Cooking', '烹饪', '{chef knife,cast-iron pan,spice set,kitchen scale}', '{主厨刀,铸铁锅,香料套装,厨房秤}'),
	(4, 'Fitness', '健身', '{yoga mat,dumbbells,resistance bands,foam roller}', '{瑜伽垫,哑铃,弹力带,泡沫轴}'),
	(5, 'Guitar', '吉他', '{capo,guitar strings,music stand,tuner}', '{变调夹,吉他弦,谱架,调音器}'),
	(6, 'Investing', '投资理财', '{planner,calculator,annual report guide,budget book}', '{理财手账,计算器,年报指南,记账本}'),
	(7, 'English', '英语学习', '{dictionary pen,vocabulary cards,headphones,grammar book}', '{词典笔,单词卡,耳机,语法书}'),
	(8, 'Design', '设计', '{drawing tablet,colour cards,sketchbook,stylus}', '{数位板,色卡,速写本,触控笔}'),
	(9, 'Gardening', '园艺', '{seed box,watering can,pruning shears,plant lamp}', '{种子盒,洒水壶,修枝剪,植物灯}'),
	(10, 'Parenting', '亲子教育', '{picture books,building blocks,growth chart,puzzle}', '{绘本,积木,身高尺,拼图}'),
	(11, 'Career', '职业发展', '{briefcase,desk lamp,business card holder,notebook}', '{公文包,台灯,名片夹,笔记本}');

-- Items: topic t, rank r within topic and module (lower = more popular).
CREATE FUNCTION app.topic_of(n bigint) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT (n % 12)::int $$;

CREATE TABLE app.courses AS
SELECT n AS course_id, app.topic_of(n) AS topic_id,
	t.zh || (ARRAY['入门','实战','进阶','大师课','项目营'])[1 + n / 12 % 5] || ' · ' || t.en || ' ' ||
	(ARRAY['for Beginners','in Practice','Advanced','Masterclass','Project Camp'])[1 + n / 12 % 5] || ' ' || (1 + n / 60) AS title,
	'A course about ' || lower(t.en) || '. 系统学习' || t.zh || '。' AS description,
	t.en AS topic, round((49 + 450 * app.u('course price', n))::numeric, 2) AS price,
	app.u('course published', n) > 0.04 AS is_published
FROM generate_series(1, 360) n JOIN app.topics t ON t.id = app.topic_of(n);

CREATE TABLE app.products AS
SELECT n AS product_id, app.topic_of(n) AS topic_id,
	t.noun_zh[1 + n / 12 % 4] || ' · ' || t.noun_en[1 + n / 12 % 4] || ' ' || chr(65 + (n / 48)::int % 26) AS title,
	'For people who love ' || lower(t.en) || '. 适合' || t.zh || '爱好者。' AS description,
	t.en AS category, round((9 + 290 * app.u('product price', n))::numeric, 2) AS price,
	app.u('product on sale', n) > 0.05 AS on_sale
FROM generate_series(1, 480) n JOIN app.topics t ON t.id = app.topic_of(n);

CREATE TABLE app.videos AS
SELECT n AS video_id, app.topic_of(n) AS topic_id,
	t.zh || '十分钟 · ' || t.en || ' in ten minutes #' || n AS title,
	'Short video on ' || lower(t.en) || '. ' || t.zh || '短视频。' AS description, t.en AS topic, true AS is_public
FROM generate_series(1, 420) n JOIN app.topics t ON t.id = app.topic_of(n);

CREATE TABLE app.posts AS
SELECT n AS post_id, app.topic_of(n) AS topic_id,
	t.zh || '交流：经验与问题 · ' || t.en || ' talk ' || n AS title,
	'Community discussion of ' || lower(t.en) || '. ' || t.zh || '社区讨论。' AS body, t.en AS topic, true AS is_visible
FROM generate_series(1, 300) n JOIN app.topics t ON t.id = app.topic_of(n);

CREATE TABLE app.jobs AS
SELECT n AS job_id, app.topic_of(n) AS topic_id,
	t.zh || (ARRAY['助理','专员','主管','讲师'])[1 + n / 12 % 4] || ' · ' || t.en || ' ' ||
	(ARRAY['assistant','specialist','lead','instructor'])[1 + n / 12 % 4] || ' ' || n AS title,
	'Work with ' || lower(t.en) || '. ' || t.zh || '岗位。' AS description, t.en AS field,
	round((6000 + 24000 * app.u('salary', n))::numeric, 0) AS salary, app.u('job open', n) > 0.1 AS is_open
FROM generate_series(1, 180) n JOIN app.topics t ON t.id = app.topic_of(n);

ALTER TABLE app.courses ADD PRIMARY KEY (course_id);
ALTER TABLE app.products ADD PRIMARY KEY (product_id);
ALTER TABLE app.videos ADD PRIMARY KEY (video_id);
ALTER TABLE app.posts ADD PRIMARY KEY (post_id);
ALTER TABLE app.jobs ADD PRIMARY KEY (job_id);

CREATE TABLE app.users AS
SELECT n AS user_id, 'user ' || n AS name, (ARRAY['Beijing','Shanghai','Chengdu','Shenzhen','Hangzhou'])[1 + (5 * app.u('city', n))::int % 5] AS city,
	(18 + 42 * app.u('age', n))::int AS age,
	(12 * app.u('interest 1', n))::int % 12 AS interest_1, (12 * app.u('interest 2', n))::int % 12 AS interest_2
FROM generate_series(1, 2400) n;
ALTER TABLE app.users ADD PRIMARY KEY (user_id);

-- How active a user is: a few are, most are not.
CREATE FUNCTION app.activity(user_id bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 0.4 + 1.8 * power(app.u('activity', user_id), 2) $$;

-- What a user's event n of total is about, by itself: 15 % anything, else the first interest, which gives way to the
-- second over time (75 % to 35 %); within a topic the items are skewed (squared uniform). m: items in the module;
-- every 12th item is of one topic. One expression, which the planner inlines.
CREATE FUNCTION app.fresh(stream text, user_id bigint, n bigint, total int, m int, first int, second int) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT 1 + (CASE WHEN app.u(stream || ' kind', user_id, n) < 0.75 - 0.4 * n::float8 / total THEN first
		WHEN app.u(stream || ' kind', user_id, n) < 0.85 THEN second
		ELSE (12 * app.u(stream || ' any', user_id, n))::int END + 11) % 12 +
		12 * floor(power(app.u(stream || ' rank', user_id, n), 2) * (m / 12))::bigint
$$;

-- All events of a stream, often times a user's activity. Three events make a session: its second and third follow the
-- first with a chance of follow, by the next of the topic's items and the one after that, which are the levels of a
-- course, the parts of a series of videos. Users join in the first eight months, their sessions are spread over what is
-- left of the year, minutes lie between the events of one.
CREATE FUNCTION app.events(stream text, often int, m int, follow float8) RETURNS TABLE (user_id bigint, item bigint, at timestamptz, n bigint)
LANGUAGE sql STABLE AS $$
	SELECT user_id, CASE WHEN item + 12 * back <= m THEN item + 12 * back ELSE item END,
		timestamptz '2025-11-01 00:00+00' + interval '7 minutes' * ((n - 1) % 3 + app.u(stream || ' minute', user_id, n)) +
		interval '364 days' * (joined + (1 - joined) * ((n - 1) / 3 + app.u(stream || ' day', user_id, (n - 1) / 3)) / ((total + 2) / 3)), n
	FROM (SELECT user_id, n, total, joined, back, app.fresh(stream, user_id, begun, total, m, first, second) AS item
		FROM (SELECT *, n - back AS begun
			FROM (SELECT *, CASE WHEN app.u(stream || ' follow', user_id, n) < follow THEN (n - 1) % 3 ELSE 0 END AS back
				FROM (SELECT user_id::bigint, interest_1 AS first, interest_2 AS second, 0.67 * app.u('joined', user_id) AS joined,
					(often * app.activity(user_id))::int AS total FROM app.users OFFSET 0) u, generate_series(1::bigint, total) n OFFSET 0) b OFFSET 0) s OFFSET 0) i
$$;

CREATE TABLE app.enrolments AS SELECT e.user_id, item AS course_id, at AS enrolled_at, price AS paid
FROM app.events('enrol', 8, 360, 0.7) e JOIN app.courses ON course_id = item;
CREATE TABLE app.orders AS SELECT user_id, item AS product_id, at AS ordered_at FROM app.events('order', 8, 480, 0);
CREATE TABLE app.product_views AS SELECT user_id, item AS product_id, at AS viewed_at FROM app.events('view', 20, 480, 0);
CREATE TABLE app.watches AS SELECT user_id, item AS video_id, at AS watched_at, (600 * app.u('seconds', user_id, n))::int AS seconds
FROM app.events('watch', 22, 420, 0.6);
CREATE TABLE app.post_reads AS SELECT user_id, item AS post_id, at AS read_at FROM app.events('read', 11, 300, 0.2);
CREATE TABLE app.applications AS SELECT user_id, item AS job_id, at AS applied_at FROM app.events('apply', 3, 180, 0);

-- Somebody new, who has only bought two Python courses and one on data science.
INSERT INTO app.users VALUES (9001, 'a new user', 'Chengdu', 27, 0, 1);
INSERT INTO app.enrolments SELECT 9001, course_id, '2026-10-30 12:00+00', price FROM app.courses WHERE course_id IN (12, 24, 13);

CREATE INDEX ON app.enrolments (user_id, enrolled_at);
CREATE INDEX ON app.orders (user_id, ordered_at);
CREATE INDEX ON app.product_views (user_id, viewed_at);
CREATE INDEX ON app.watches (user_id, watched_at);
CREATE INDEX ON app.post_reads (user_id, read_at);
CREATE INDEX ON app.applications (user_id, applied_at);
ANALYZE app.enrolments, app.orders, app.product_views, app.watches, app.post_reads, app.applications;

-- Titles of all items, to show answers.
CREATE VIEW app.titles AS
	SELECT 'courses' AS module, course_id AS item_id, title FROM app.courses
	UNION ALL SELECT 'products', product_id, title FROM app.products
	UNION ALL SELECT 'videos', video_id, title FROM app.videos
	UNION ALL SELECT 'posts', post_id, title FROM app.posts
	UNION ALL SELECT 'jobs', job_id, title FROM app.jobs;

-- "courses/17" to a title, "popular" stays.
CREATE FUNCTION app.because(reason text) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT CASE WHEN reason = 'popular' THEN reason
		ELSE (SELECT 'because of ' || module || ': ' || title FROM app.titles WHERE module || '/' || item_id = reason) END
$$;

\echo
\echo 'A knowledge-payment platform:'
SELECT (SELECT count(*) FROM app.users) AS users, (SELECT count(*) FROM app.titles) AS items,
	(SELECT count(*) FROM app.enrolments) + (SELECT count(*) FROM app.orders) + (SELECT count(*) FROM app.product_views) +
	(SELECT count(*) FROM app.watches) + (SELECT count(*) FROM app.post_reads) + (SELECT count(*) FROM app.applications) AS events;
