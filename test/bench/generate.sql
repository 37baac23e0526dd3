-- Events of :users users with :items items, :events rows: users uniform, items Zipf 0.9 (by the
-- continuous inverse), from a hash, so that every machine makes the same table. Weight 1; times
-- over a year. Arguments: name, users, items, events.
\set exponent 0.1::float8
CREATE SCHEMA IF NOT EXISTS bench;
CREATE FUNCTION bench.uniform(n bigint, stream bigint) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (hashint8extended(n, stream) & 9007199254740991) / 9007199254740992.0::float8 $$;
CREATE UNLOGGED TABLE bench.:"name" AS
SELECT (bench.uniform(n, 1) * :users)::int % :users AS user_id,
	power((power(:items::float8, :exponent) - 1) * bench.uniform(n, 2) + 1, 1 / (:exponent))::int % :items AS item_id,
	timestamptz '2026-01-01 00:00+00' + (bench.uniform(n, 3) * 365) * interval '1 day' AS at
FROM generate_series(1, :events) n;
CREATE INDEX ON bench.:"name" (user_id);
\set item_table :name '_items'
CREATE TABLE bench.:"item_table" AS SELECT i AS id FROM generate_series(0, :items - 1) i;
ALTER TABLE bench.:"item_table" ADD PRIMARY KEY (id);
VACUUM ANALYZE;
SELECT kpx_add_module(:'name', 'bench.' || :'item_table', 'id') \g /dev/null
SELECT kpx_add_events(:'name', 'bench.' || :'name', 'purchase', 'user_id', 'item_id', occurred_at => 'at') \g /dev/null
DROP FUNCTION bench.uniform;
