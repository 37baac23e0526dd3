-- monitor: what goes on, how well it goes, and what is wrong.

CREATE FUNCTION kpx.stat_progress(
	OUT pid integer, OUT database name, OUT username name, OUT what text, OUT object text, OUT phase text,
	OUT done bigint, OUT total bigint, OUT loss double precision, OUT rows_read bigint, OUT peak_memory bigint,
	OUT started_at timestamptz, OUT phase_started_at timestamptz, OUT remaining interval)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'kpx_stat_progress' LANGUAGE C VOLATILE ROWS 5;
COMMENT ON FUNCTION kpx.stat_progress() IS
'what long statements of kpxrec are under way in this server, as far as the current role may see them';

CREATE VIEW @extschema@.kpx_stat_progress WITH (security_barrier) AS
SELECT p.pid, p.database, p.username, p.what, p.object, p.phase, p.done, p.total, p.loss, p.rows_read, p.peak_memory,
	p.started_at, p.phase_started_at, p.remaining
FROM kpx.stat_progress() p;
COMMENT ON VIEW @extschema@.kpx_stat_progress IS
'long statements of kpxrec under way: one''s own, or all for members of pg_read_all_stats; needs shared_preload_libraries';
COMMENT ON COLUMN @extschema@.kpx_stat_progress.pid IS 'process id, as in pg_stat_activity';
COMMENT ON COLUMN @extschema@.kpx_stat_progress.database IS 'database it works in';
COMMENT ON COLUMN @extschema@.kpx_stat_progress.username IS 'role it works as';
COMMENT ON COLUMN @extschema@.kpx_stat_progress.what IS 'the function that is running';
COMMENT ON COLUMN @extschema@.kpx_stat_progress.object IS 'what it makes: a model, segments; or the modules it works on';
COMMENT ON COLUMN @extschema@.kpx_stat_progress.phase IS 'what it is doing now';
COMMENT ON COLUMN @extschema@.kpx_stat_progress.done IS 'steps of the phase that are done: iterations, trials, rows, users, ...';
COMMENT ON COLUMN @extschema@.kpx_stat_progress.total IS 'steps the phase will have at most, an estimate while rows are read; NULL: not known';
COMMENT ON COLUMN @extschema@.kpx_stat_progress.loss IS 'the loss after the last iteration; NULL: none yet';
COMMENT ON COLUMN @extschema@.kpx_stat_progress.rows_read IS 'rows of the platform''s tables read so far';
COMMENT ON COLUMN @extschema@.kpx_stat_progress.peak_memory IS
'bytes the process had resident at most since it began, shared memory it touched among them';
COMMENT ON COLUMN @extschema@.kpx_stat_progress.started_at IS 'when the function began';
COMMENT ON COLUMN @extschema@.kpx_stat_progress.phase_started_at IS 'when the phase began';
COMMENT ON COLUMN @extschema@.kpx_stat_progress.remaining IS
'until the end of the phase, if it goes on as it went; NULL before its first step and when total is not known';

GRANT SELECT ON @extschema@.kpx_stat_progress TO PUBLIC;
