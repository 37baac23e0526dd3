-- trending: what is being taken up just now.

CREATE TABLE kpx.trending (
	module_id integer NOT NULL,
	item_id text COLLATE "C" NOT NULL,
	score double precision NOT NULL,
	good_until timestamptz NOT NULL,
	PRIMARY KEY (module_id, item_id)
);
COMMENT ON TABLE kpx.trending IS 'what was trending when kpx_refresh_trending last looked, for kpx_recommend';
COMMENT ON COLUMN kpx.trending.good_until IS 'when its window is over: then it is no trend any more';
SELECT pg_catalog.pg_extension_config_dump('kpx.trending', '');

CREATE FUNCTION @extschema@.kpx_trending(
	module text, k integer DEFAULT 10, "window" interval DEFAULT '7 days', half_life interval DEFAULT '1 day')
RETURNS TABLE (rank integer, item_id text, score double precision, events bigint, users bigint)
AS 'MODULE_PATHNAME', 'kpx_trending' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 10;
COMMENT ON FUNCTION @extschema@.kpx_trending(text, integer, interval, interval) IS
'the k items of a module with the most weight of events within the window, which halves every half_life; each user counts once an item';

CREATE FUNCTION @extschema@.kpx_trending(
	module text, item_type anyelement, k integer DEFAULT 10, "window" interval DEFAULT '7 days', half_life interval DEFAULT '1 day')
RETURNS TABLE (rank integer, item_id anyelement, score double precision, events bigint, users bigint)
AS 'MODULE_PATHNAME', 'kpx_trending_typed' LANGUAGE C STABLE PARALLEL RESTRICTED COST 100000 ROWS 10;
COMMENT ON FUNCTION @extschema@.kpx_trending(text, anyelement, integer, interval, interval) IS
'kpx_trending with item ids in the type of the witness item_type, e.g. NULL::bigint';

CREATE FUNCTION @extschema@.kpx_refresh_trending(
	module text, "window" interval DEFAULT '7 days', half_life interval DEFAULT '1 day', items integer DEFAULT 1000)
RETURNS bigint AS 'MODULE_PATHNAME', 'kpx_refresh_trending' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION @extschema@.kpx_refresh_trending(text, interval, interval, integer) IS
'keeps what is trending now for kpx_recommend to offer where neither model nor rules nor segments have an opinion; returns how many items';
