-- recommendation: the k best items of every active user, kept in a table of the creator's, with a
-- typed view over it for BI tools.
--
-- The table and the view are the creator's own, in a schema of theirs: ordinary privileges, pg_dump
-- and DROP hold. Here is only what is kept and how. The owner is that of the table, as the server
-- knows it, so that ALTER TABLE ... OWNER and REASSIGN OWNED work.

CREATE TABLE kpx.recommendation (
	view regclass NOT NULL,
	view_name text NOT NULL,
	rows regclass PRIMARY KEY,
	rows_name text NOT NULL,
	module text COLLATE "C" NOT NULL,
	k integer NOT NULL,
	active interval,
	model_id bigint,
	users bigint,
	rows_kept bigint,
	rows_changed bigint,
	seconds real,
	refreshed_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE kpx.recommendation IS 'recommendation views: their tables and what is kept in them';
COMMENT ON COLUMN kpx.recommendation.active IS 'users with an event in this time; NULL: with any event';
COMMENT ON COLUMN kpx.recommendation.model_id IS 'the model that answered when it was refreshed last; NULL: none';

SELECT pg_catalog.pg_extension_config_dump('kpx.recommendation', '');

CREATE FUNCTION @extschema@.kpx_create_recommendation_view(
	module text, k integer DEFAULT 10, name text DEFAULT NULL, active interval DEFAULT NULL)
RETURNS regclass AS 'MODULE_PATHNAME', 'kpx_create_recommendation_view' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION @extschema@.kpx_create_recommendation_view(text, integer, text, interval) IS
'makes and fills a table of the k best items of every active user, and a typed view over it with the items'' attributes; both belong to the caller';

CREATE FUNCTION @extschema@.kpx_refresh_recommendations(module text)
RETURNS TABLE (view text, users bigint, rows bigint, changed bigint, seconds real)
AS 'MODULE_PATHNAME', 'kpx_refresh_recommendations' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 1;
COMMENT ON FUNCTION @extschema@.kpx_refresh_recommendations(text) IS
'brings the recommendation views of a module that the caller owns up to date, as their owner, writing only what differs; readers are not blocked';

CREATE FUNCTION @extschema@.kpx_drop_recommendation_view(view regclass)
RETURNS void AS 'MODULE_PATHNAME', 'kpx_drop_recommendation_view' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION @extschema@.kpx_drop_recommendation_view(regclass) IS
'drops a recommendation view, given by itself or its table, with the table';

REVOKE ALL ON FUNCTION @extschema@.kpx_create_recommendation_view(text, integer, text, interval),
	@extschema@.kpx_refresh_recommendations(text), @extschema@.kpx_drop_recommendation_view(regclass) FROM PUBLIC;

CREATE VIEW @extschema@.kpx_recommendation_views WITH (security_barrier) AS
SELECT r.view::text AS view, r.rows::text AS "table", r.module, r.k, r.active, r.model_id AS model, r.users, r.rows_kept AS rows,
	r.rows_changed AS changed, r.seconds, r.refreshed_at, r.created_at, pg_catalog.pg_get_userbyid(c.relowner) AS owner
FROM kpx.recommendation r JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.rows
WHERE kpx.member_of(pg_catalog.pg_get_userbyid(c.relowner));
COMMENT ON VIEW @extschema@.kpx_recommendation_views IS 'recommendation views of the current role and when each was refreshed';
COMMENT ON COLUMN @extschema@.kpx_recommendation_views.view IS 'the view to read, by its name';
COMMENT ON COLUMN @extschema@.kpx_recommendation_views."table" IS 'the table under it, keyed by user_id and rank';
COMMENT ON COLUMN @extschema@.kpx_recommendation_views.module IS 'the module whose items are recommended';
COMMENT ON COLUMN @extschema@.kpx_recommendation_views.k IS 'items kept for each user';
COMMENT ON COLUMN @extschema@.kpx_recommendation_views.active IS 'users with an event in this time are kept; NULL: with any event';
COMMENT ON COLUMN @extschema@.kpx_recommendation_views.model IS 'the model that answered at the last refresh; NULL: popularity or rules, without a model';
COMMENT ON COLUMN @extschema@.kpx_recommendation_views.users IS 'active users at the last refresh';
COMMENT ON COLUMN @extschema@.kpx_recommendation_views.rows IS 'rows in the table after the last refresh';
COMMENT ON COLUMN @extschema@.kpx_recommendation_views.changed IS 'rows that the last refresh inserted, updated or deleted';
COMMENT ON COLUMN @extschema@.kpx_recommendation_views.seconds IS 'how long the last refresh took';
COMMENT ON COLUMN @extschema@.kpx_recommendation_views.refreshed_at IS 'when the last refresh began: what users did later is not in it';
COMMENT ON COLUMN @extschema@.kpx_recommendation_views.created_at IS 'when the view was made';
COMMENT ON COLUMN @extschema@.kpx_recommendation_views.owner IS 'owner of the table, whose rights the refresh has';
GRANT SELECT ON @extschema@.kpx_recommendation_views TO PUBLIC;
