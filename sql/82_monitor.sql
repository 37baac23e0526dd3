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

CREATE FUNCTION kpx.stat_recommend(
	OUT module_id integer, OUT function text, OUT calls bigint, OUT mean_ms double precision, OUT p50_ms double precision,
	OUT p95_ms double precision, OUT p99_ms double precision, OUT max_ms double precision, OUT answers bigint, OUT empty bigint,
	OUT items bigint, OUT fell_back bigint, OUT fallbacks jsonb, OUT session_hits bigint, OUT shared_hits bigint,
	OUT table_reads bigint, OUT since timestamptz)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'kpx_stat_recommend' LANGUAGE C VOLATILE ROWS 20;
COMMENT ON FUNCTION kpx.stat_recommend() IS 'statistics of answers in this database, by module and function';

CREATE VIEW @extschema@.kpx_stat_recommend WITH (security_barrier) AS
SELECT m.name AS module, s.function, s.calls, s.mean_ms, s.p50_ms, s.p95_ms, s.p99_ms, s.max_ms, s.answers, s.empty, s.items,
	s.fell_back, s.fallbacks, s.session_hits, s.shared_hits, s.table_reads, s.since
FROM kpx.stat_recommend() s
LEFT JOIN kpx.module m ON m.id OPERATOR(pg_catalog.=) s.module_id
WHERE pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') OR kpx.member_of(m.owner);
COMMENT ON VIEW @extschema@.kpx_stat_recommend IS
'calls, latency and fallbacks by module and function since the last kpx_stat_reset or restart; for owners of the module and members of pg_read_all_stats; needs shared_preload_libraries';
COMMENT ON COLUMN @extschema@.kpx_stat_recommend.module IS 'module that was asked; of kpx_recommend_slate the home module, NULL: none';
COMMENT ON COLUMN @extschema@.kpx_stat_recommend.function IS 'function that answered';
COMMENT ON COLUMN @extschema@.kpx_stat_recommend.calls IS 'calls that succeeded';
COMMENT ON COLUMN @extschema@.kpx_stat_recommend.mean_ms IS 'mean time of a call in milliseconds';
COMMENT ON COLUMN @extschema@.kpx_stat_recommend.p50_ms IS 'half of the calls took at most this long; wrong by at most 6.25 %';
COMMENT ON COLUMN @extschema@.kpx_stat_recommend.p95_ms IS '95 % of the calls took at most this long; wrong by at most 6.25 %';
COMMENT ON COLUMN @extschema@.kpx_stat_recommend.p99_ms IS '99 % of the calls took at most this long; wrong by at most 6.25 %';
COMMENT ON COLUMN @extschema@.kpx_stat_recommend.max_ms IS 'the slowest call';
COMMENT ON COLUMN @extschema@.kpx_stat_recommend.answers IS 'lists: one a call, of kpx_recommend_for one a user, of kpx_recommend_slate one a module';
COMMENT ON COLUMN @extschema@.kpx_stat_recommend.empty IS 'answers without any item';
COMMENT ON COLUMN @extschema@.kpx_stat_recommend.items IS 'items in all answers; of a slate, candidates';
COMMENT ON COLUMN @extschema@.kpx_stat_recommend.fell_back IS 'answers that the model could not fill alone';
COMMENT ON COLUMN @extschema@.kpx_stat_recommend.fallbacks IS 'by what these were filled up, in how many answers: rules, segment, popular';
COMMENT ON COLUMN @extschema@.kpx_stat_recommend.session_hits IS 'models found in the session''s cache';
COMMENT ON COLUMN @extschema@.kpx_stat_recommend.shared_hits IS 'models mapped from shared memory: once a session and model';
COMMENT ON COLUMN @extschema@.kpx_stat_recommend.table_reads IS 'models read from tables: many mean that caches are too small';
COMMENT ON COLUMN @extschema@.kpx_stat_recommend.since IS 'when counting began';

CREATE FUNCTION @extschema@.kpx_stat_reset() RETURNS void
AS 'MODULE_PATHNAME', 'kpx_stat_reset' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION @extschema@.kpx_stat_reset() IS 'sets the counters of kpx_stat_recommend in this database to zero';
REVOKE ALL ON FUNCTION @extschema@.kpx_stat_reset() FROM PUBLIC;

GRANT SELECT ON @extschema@.kpx_stat_recommend TO PUBLIC;

-- What kpx_measure found, kept as a history.
CREATE TABLE kpx.module_stat (
	module_id integer NOT NULL,
	measured_at timestamptz NOT NULL,
	model_id bigint NOT NULL,
	users bigint NOT NULL,
	k integer NOT NULL,
	coverage double precision,
	gini double precision,
	novelty double precision,
	diversity double precision,
	fallback_share double precision,
	cold_share double precision,
	PRIMARY KEY (module_id, measured_at)
);
COMMENT ON TABLE kpx.module_stat IS 'what the lists of a module''s active model were like: one row a measurement';

CREATE TABLE kpx.drift_stat (
	module_id integer NOT NULL,
	measured_at timestamptz NOT NULL,
	model_id bigint NOT NULL,
	feature text COLLATE "C" NOT NULL,
	psi double precision,
	noise double precision,
	threshold double precision NOT NULL,
	reference bigint NOT NULL,
	recent bigint NOT NULL,
	PRIMARY KEY (module_id, measured_at, feature)
);
COMMENT ON TABLE kpx.drift_stat IS 'how far recent events are from those before training: one row a measurement and feature';

SELECT pg_catalog.pg_extension_config_dump('kpx.module_stat', '');
SELECT pg_catalog.pg_extension_config_dump('kpx.drift_stat', '');

CREATE FUNCTION @extschema@.kpx_measure(
	modules text[] DEFAULT NULL, users integer DEFAULT 1000, k integer DEFAULT 10, "window" interval DEFAULT '28 days')
RETURNS integer AS 'MODULE_PATHNAME', 'kpx_measure' LANGUAGE C VOLATILE COST 1000000;
COMMENT ON FUNCTION @extschema@.kpx_measure(text[], integer, integer, interval) IS
'measures the lists and the drift of modules (default: all of the current role''s that have a model) for kpx_stat_module and kpx_stat_drift; returns how many';

CREATE VIEW @extschema@.kpx_stat_module WITH (security_barrier) AS
SELECT m.name AS module, s.model_id AS model, s.measured_at,
	s.measured_at OPERATOR(pg_catalog.=) pg_catalog.max(s.measured_at) OVER (PARTITION BY s.module_id) AS newest,
	s.users, s.k, s.coverage, s.gini, s.novelty, s.diversity, s.fallback_share, s.cold_share
FROM kpx.module_stat s JOIN kpx.module m ON m.id OPERATOR(pg_catalog.=) s.module_id
WHERE kpx.member_of(m.owner);
COMMENT ON VIEW @extschema@.kpx_stat_module IS
'what the lists of each module were like when kpx_measure last looked, and before; for owners of the module';
COMMENT ON COLUMN @extschema@.kpx_stat_module.module IS 'the module';
COMMENT ON COLUMN @extschema@.kpx_stat_module.model IS 'the model that answered for it then';
COMMENT ON COLUMN @extschema@.kpx_stat_module.measured_at IS 'when it was measured';
COMMENT ON COLUMN @extschema@.kpx_stat_module.newest IS 'whether this is the module''s last measurement';
COMMENT ON COLUMN @extschema@.kpx_stat_module.users IS 'users whose lists were made: a sample of those with events';
COMMENT ON COLUMN @extschema@.kpx_stat_module.k IS 'length of the lists';
COMMENT ON COLUMN @extschema@.kpx_stat_module.coverage IS 'share of the model''s items of the module that were in any list';
COMMENT ON COLUMN @extschema@.kpx_stat_module.gini IS 'Gini coefficient of how often items are in lists: 0 all equally often, towards 1 few items take all';
COMMENT ON COLUMN @extschema@.kpx_stat_module.novelty IS 'mean of -log2(share of the module''s interactions) of listed items, in bits: higher, less popular';
COMMENT ON COLUMN @extschema@.kpx_stat_module.diversity IS 'one less the mean similarity of two items of a list; NULL when the model knows no similarity';
COMMENT ON COLUMN @extschema@.kpx_stat_module.fallback_share IS 'share of lists that the model could not fill alone';
COMMENT ON COLUMN @extschema@.kpx_stat_module.cold_share IS 'share of listed items that had no interaction when the model was trained';

CREATE VIEW @extschema@.kpx_stat_drift WITH (security_barrier) AS
SELECT m.name AS module, s.model_id AS model, s.measured_at,
	s.measured_at OPERATOR(pg_catalog.=) pg_catalog.max(s.measured_at) OVER (PARTITION BY s.module_id) AS newest,
	s.feature, s.psi, s.noise, s.threshold,
	(s.psi OPERATOR(pg_catalog.-) s.noise) OPERATOR(pg_catalog.>) s.threshold AS drifted, s.reference, s.recent
FROM kpx.drift_stat s JOIN kpx.module m ON m.id OPERATOR(pg_catalog.=) s.module_id
WHERE kpx.member_of(m.owner);
COMMENT ON VIEW @extschema@.kpx_stat_drift IS
'how far recent events are from those before training, as kpx_measure found last, and before; for owners of the module';
COMMENT ON COLUMN @extschema@.kpx_stat_drift.module IS 'the module';
COMMENT ON COLUMN @extschema@.kpx_stat_drift.model IS 'the active model then; its training ends the reference window';
COMMENT ON COLUMN @extschema@.kpx_stat_drift.measured_at IS 'when it was measured; it ends the recent window';
COMMENT ON COLUMN @extschema@.kpx_stat_drift.newest IS 'whether this is the module''s last measurement';
COMMENT ON COLUMN @extschema@.kpx_stat_drift.feature IS
'popularity (of items), new items (share of events), activity (events a user), recency (since a user''s last event), module mix (shares of a user''s events)';
COMMENT ON COLUMN @extschema@.kpx_stat_drift.psi IS 'population stability index, of new items the share of events; NULL: too few to say';
COMMENT ON COLUMN @extschema@.kpx_stat_drift.noise IS 'what chance alone is expected to make of it at these sizes';
COMMENT ON COLUMN @extschema@.kpx_stat_drift.threshold IS 'above this, beyond noise, it counts as drifted';
COMMENT ON COLUMN @extschema@.kpx_stat_drift.drifted IS 'psi less noise is above threshold';
COMMENT ON COLUMN @extschema@.kpx_stat_drift.reference IS 'events or users in the window before training';
COMMENT ON COLUMN @extschema@.kpx_stat_drift.recent IS 'events or users in the recent window';

GRANT SELECT ON @extschema@.kpx_stat_module, @extschema@.kpx_stat_drift TO PUBLIC;

CREATE FUNCTION @extschema@.kpx_health(
	deep boolean DEFAULT false, OUT severity text, OUT fault text, OUT object text, OUT detail text, OUT action text)
RETURNS SETOF record AS 'MODULE_PATHNAME', 'kpx_health' LANGUAGE C STABLE ROWS 5;
COMMENT ON FUNCTION @extschema@.kpx_health(boolean) IS
'one row a fault, with what to do; no row: nothing is known to be wrong. deep: also reads all blocks of the active models';
