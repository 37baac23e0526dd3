-- Events of :users users with :items items, :events rows: users uniform, items Zipf 0.9 (by the
-- continuous inverse), from a hash, so that every machine makes the same table. Weight 1; times
-- over a year. Arguments: name, users, items, events; taste, 0 by default: the share of events that follow the
-- user's taste, in three of 400 topics (eight to a category), whose items are Zipf 0.9 among themselves.
\set exponent 0.1::float8
\if :{?taste}
\else
\set taste 0
\endif
CREATE SCHEMA IF NOT EXISTS bench;
CREATE FUNCTION bench.uniform(n bigint, stream bigint) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (hashint8extended(n, stream) & 9007199254740991) / 9007199254740992.0::float8 $$;
CREATE UNLOGGED TABLE bench.:"name" AS
SELECT user_id,
	CASE WHEN bench.uniform(n, 4) >= :taste THEN power((power(:items::float8, :exponent) - 1) * bench.uniform(n, 2) + 1, 1 / (:exponent))::int % :items
	ELSE (400 * floor(power((power(:items / 400.0::float8, :exponent) - 1) * bench.uniform(n, 2) + 1, 1 / (:exponent)))
		+ 8 * floor(50 * power(bench.uniform(favourite, 6), 2))
		+ floor(8 * CASE WHEN bench.uniform(n, 7) < 0.7 THEN bench.uniform(favourite, 8) ELSE bench.uniform(n, 9) END))::int % :items END AS item_id,
	timestamptz '2026-01-01 00:00+00' + (bench.uniform(n, 3) * 365) * interval '1 day' AS at
FROM (SELECT n, user_id, 3 * user_id + floor(3 * bench.uniform(n, 5))::int AS favourite
	FROM (SELECT n, (bench.uniform(n, 1) * :users)::int % :users AS user_id FROM generate_series(1, :events) n) u) x;
CREATE INDEX ON bench.:"name" (user_id);
\set item_table :name '_items'
CREATE TABLE bench.:"item_table" AS SELECT i AS id FROM generate_series(0, :items - 1) i;
ALTER TABLE bench.:"item_table" ADD PRIMARY KEY (id);
VACUUM ANALYZE;
SELECT kpx_add_module(:'name', 'bench.' || :'item_table', 'id') \g /dev/null
SELECT kpx_add_events(:'name', 'bench.' || :'name', 'purchase', 'user_id', 'item_id', occurred_at => 'at') \g /dev/null
DROP FUNCTION bench.uniform;
