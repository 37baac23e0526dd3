-- content_data: real titles. 3,672 courses of the Udemy catalogue of 2017; the subject is hidden from
-- training. Share of the ten nearest courses that have the same subject: TF-IDF cosine 80.6 % plain,
-- 82.3 % with stop words and sublinear counts, LSA of 32 to 256 dimensions 79 to 84 %.
BEGIN;
SET client_min_messages = warning;
\set have `test -f "$DATA_DIR/udemy_courses.csv.gz" && echo true || echo false`
\if :have
SELECT plan(2);
\getenv dir DATA_DIR
CREATE TABLE raw (course_id int, course_title text, url text, is_paid text, price text, num_subscribers int, num_reviews int,
	num_lectures int, level text, content_duration text, published_timestamp text, subject text);
\set load '\\copy raw FROM PROGRAM ''gzip -dc \"' :dir '/udemy_courses.csv.gz\"'' CSV HEADER'
:load
CREATE TABLE courses AS SELECT DISTINCT ON (course_id) course_id, course_title AS title FROM raw;
CREATE TABLE subjects AS SELECT DISTINCT ON (course_id) course_id, subject FROM raw;
ALTER TABLE courses ADD PRIMARY KEY (course_id);
ALTER TABLE subjects ADD PRIMARY KEY (course_id);
ANALYZE courses, subjects;
SELECT kpx_add_module('courses', 'courses', 'course_id', title => 'title');
SELECT kpx_train('courses', algorithm => 'content') \g /dev/null
SELECT round(100 * avg((a.subject = b.subject)::int), 2) AS share FROM subjects a CROSS JOIN LATERAL kpx_similar(a.course_id, 'courses', 10) s
	JOIN subjects b ON b.course_id = s.item_id \gset
SELECT cmp_ok(:share, '>=', 85.0, 'of the ten nearest courses, percent with the same subject: ' || :share);
-- what a plain LSA reaches with the same code
SELECT kpx_train('courses', algorithm => 'content', params => '{"coherence": 0, "smoothing": 1}') \g /dev/null
SELECT round(100 * avg((a.subject = b.subject)::int), 2) AS plain FROM subjects a CROSS JOIN LATERAL kpx_similar(a.course_id, 'courses', 10) s
	JOIN subjects b ON b.course_id = s.item_id WHERE a.course_id % 10 = 0 \gset
SELECT cmp_ok(:plain, '<', :share, 'latent semantic analysis without coherence and smoothing: ' || :plain);
SELECT * FROM finish();
\else
SELECT plan(1);
SELECT skip('the reference data are not here: set DATA_DIR to a directory with udemy_courses.csv.gz', 1);
SELECT * FROM finish();
\endif
ROLLBACK;
