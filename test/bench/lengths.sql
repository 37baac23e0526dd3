-- Interactions of every user and every item: what the work of an iteration is counted from. Argument: name.
\set length_table :name '_lengths'
SET work_mem = '1GB';
CREATE TABLE bench.:"length_table" AS
WITH pairs AS MATERIALIZED (SELECT user_id, item_id FROM bench.:"name" GROUP BY 1, 2)
SELECT count(*)::float8 AS n FROM pairs GROUP BY user_id UNION ALL SELECT count(*) FROM pairs GROUP BY item_id;
