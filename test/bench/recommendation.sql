-- recommendation.sql: what keeping a table of recommendations costs: seconds, WAL and size of the
-- table, when nothing changed, when one user in a hundred did something, and after training anew.
--
--   createdb views && psql -Xd views -f test/bench/recommendation.sql

\set QUIET on
\pset footer off
SET client_min_messages = warning;
CREATE EXTENSION kpxrec;
\set name shop
\set users 20000
\set items 5000
\set events 400000
\ir generate.sql
SELECT model FROM kpx_train('shop', params => '{"factors": 32}') \g /dev/null
CREATE TABLE bench.cost (n serial, what text, seconds numeric, changed bigint, wal_mb numeric, table_mb numeric);
CREATE PROCEDURE bench.measure(what text, statement text) LANGUAGE plpgsql AS $$
DECLARE lsn pg_lsn := pg_current_wal_insert_lsn(); started timestamptz := clock_timestamp();
BEGIN
	EXECUTE statement;
	INSERT INTO bench.cost (what, seconds, changed, wal_mb, table_mb)
	SELECT what, extract(epoch FROM clock_timestamp() - started), v.changed, (pg_current_wal_insert_lsn() - lsn) / 1e6, pg_total_relation_size('recommended_shop_rows') / 1e6
	FROM kpx_recommendation_views v;
END $$;
CALL bench.measure('made and filled', $$SELECT kpx_create_recommendation_view('shop', 10)$$);
CHECKPOINT;
CALL bench.measure('refreshed, nothing new', $$SELECT kpx_refresh_recommendations('shop')$$);
INSERT INTO bench.shop SELECT u, 17, now() FROM generate_series(0, :users - 1, 100) u;
CALL bench.measure('1 % of users bought something', $$SELECT kpx_refresh_recommendations('shop')$$);
SELECT model FROM kpx_train('shop', params => '{"factors": 32, "seed": 2}') \g /dev/null
CALL bench.measure('after training anew', $$SELECT kpx_refresh_recommendations('shop')$$);
VACUUM recommended_shop_rows;
SELECT model FROM kpx_train('shop', params => '{"factors": 32, "seed": 3}') \g /dev/null
CALL bench.measure('after a vacuum and training again', $$SELECT kpx_refresh_recommendations('shop')$$);
VACUUM recommended_shop_rows;
SELECT model FROM kpx_train('shop', params => '{"factors": 32, "seed": 4}') \g /dev/null
CALL bench.measure('and once more', $$SELECT kpx_refresh_recommendations('shop')$$);
-- the other way: each time a whole new table in the place of the old
CALL bench.measure('for comparison: a whole new table', $$CREATE TABLE bench.new AS SELECT * FROM recommended_shop_rows; ALTER TABLE bench.new ADD PRIMARY KEY (user_id, rank)$$);
SELECT what, round(seconds, 2) AS seconds, CASE WHEN what NOT LIKE 'for%' THEN changed END AS "rows written", round(wal_mb, 1) AS "WAL, MB",
	CASE WHEN what NOT LIKE 'for%' THEN round(table_mb, 1) END AS "table and index, MB" FROM bench.cost ORDER BY n;
