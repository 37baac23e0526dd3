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

-- One event: 60 % first interest, 25 % second, 15 % anything; within a topic the items are
-- skewed (squared uniform). m: items in the module; every 12th item is of one topic.
CREATE FUNCTION app.pick(stream text, user_id bigint, n bigint, m int, first int, second int) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN topic = 0 THEN 12 ELSE topic END + 12 * floor(power(app.u(stream || ' rank', user_id, n), 2) * (m / 12))::bigint
	FROM (SELECT CASE WHEN app.u(stream || ' kind', user_id, n) < 0.60 THEN first
		WHEN app.u(stream || ' kind', user_id, n) < 0.85 THEN second
		ELSE (12 * app.u(stream || ' any', user_id, n))::int % 12 END AS topic) t
$$;

CREATE FUNCTION app.moment(stream text, user_id bigint, n bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT timestamptz '2025-11-01 00:00+00' + interval '365 days' * app.u(stream || ' time', user_id, n) $$;

-- How active a user is: a few are, most are not.
CREATE FUNCTION app.activity(user_id bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 0.4 + 1.8 * power(app.u('activity', user_id), 2) $$;

CREATE TABLE app.enrolments AS
SELECT user_id, app.pick('enrol', user_id, n, 360, interest_1, interest_2) AS course_id,
	app.moment('enrol', user_id, n) AS enrolled_at
FROM app.users, generate_series(1, (8 * app.activity(user_id))::int) n;
ALTER TABLE app.enrolments ADD COLUMN paid numeric;
UPDATE app.enrolments e SET paid = c.price FROM app.courses c WHERE c.course_id = e.course_id;

CREATE TABLE app.orders AS
SELECT user_id, app.pick('order', user_id, n, 480, interest_1, interest_2) AS product_id,
	app.moment('order', user_id, n) AS ordered_at
FROM app.users, generate_series(1, (8 * app.activity(user_id))::int) n;

CREATE TABLE app.product_views AS
SELECT user_id, app.pick('view', user_id, n, 480, interest_1, interest_2) AS product_id,
	app.moment('view', user_id, n) AS viewed_at
FROM app.users, generate_series(1, (20 * app.activity(user_id))::int) n;

CREATE TABLE app.watches AS
SELECT user_id, app.pick('watch', user_id, n, 420, interest_1, interest_2) AS video_id,
	app.moment('watch', user_id, n) AS watched_at, (600 * app.u('seconds', user_id, n))::int AS seconds
FROM app.users, generate_series(1, (22 * app.activity(user_id))::int) n;

CREATE TABLE app.post_reads AS
SELECT user_id, app.pick('read', user_id, n, 300, interest_1, interest_2) AS post_id,
	app.moment('read', user_id, n) AS read_at
FROM app.users, generate_series(1, (11 * app.activity(user_id))::int) n;

CREATE TABLE app.applications AS
SELECT user_id, app.pick('apply', user_id, n, 180, interest_1, interest_2) AS job_id,
	app.moment('apply', user_id, n) AS applied_at
FROM app.users, generate_series(1, (3 * app.activity(user_id))::int) n;

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
