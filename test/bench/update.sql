-- What kpx_update_items gains and costs beside training again, on events in order of time. 20,000 users in 20 groups; :items (3,000) items of
-- these groups, some of them new in the last day, when two events in five are with these; four in five with items of the own group that are out by then. Trained on all but
-- the last day; its first half comes in, hour by hour; judged by the first item new to them of 2,000 users in its second half.
\if :{?items} \else \set items 3000 \endif
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE SCHEMA fresh;
CREATE TABLE fresh.items AS SELECT i AS id, i % 20 AS grp, CASE WHEN (i / 20) % 10 = 3 THEN 99 + ((i * 7919) % 97) / 200.0 ELSE (i * 7919) % 90 END AS day FROM generate_series(1, :items) i;
ALTER TABLE fresh.items ADD PRIMARY KEY (id);
CREATE FUNCTION fresh.u(n bigint, s bigint) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$SELECT (hashint8extended(n, s) & 1048575) / 1048576.0::float8$$;
CREATE TABLE fresh.all_events AS
SELECT e.user_id, i.id AS item_id, timestamptz '2026-01-01 00:00+00' + e.day * interval '1 day' AS at FROM (
	SELECT x.*, day > 99 AND fresh.u(n, 6) < 0.4 AS fresh FROM (
		SELECT n, (fresh.u(n, 1) * 20000)::int AS user_id, 100 * CASE WHEN n % 8 = 0 THEN 0.99 + 0.01 * fresh.u(n, 2) ELSE fresh.u(n, 2) END AS day,
			power(fresh.u(n, 3), 1.5) AS place, fresh.u(n, 4) < 0.8 AS own, floor(fresh.u(n, 5) * 20)::int AS other FROM generate_series(1, 600000) n) x) e
JOIN (SELECT id, grp, day, day > 99 AS fresh, row_number() OVER w - 1 AS place, count(*) OVER (PARTITION BY grp, day > 99) AS places
	FROM fresh.items WINDOW w AS (PARTITION BY grp, day > 99 ORDER BY hashint4(id))) i
	ON i.grp = CASE WHEN e.own THEN e.user_id % 20 ELSE e.other END AND i.fresh = e.fresh AND i.place = floor(e.place * i.places) AND i.day <= e.day;
CREATE TABLE fresh.events AS SELECT * FROM fresh.all_events WHERE at < '2026-04-10';
CREATE INDEX ON fresh.events (user_id);
CREATE INDEX ON fresh.events (item_id);
CREATE INDEX ON fresh.events (at);
ANALYZE fresh.events;
SELECT kpx_add_module('fresh', 'fresh.items', 'id') \g /dev/null
SELECT kpx_add_events('fresh', 'fresh.events', 'view', 'user_id', 'item_id', occurred_at => 'at', hides => true) \g /dev/null
CREATE TABLE fresh.judged AS
SELECT DISTINCT ON (a.user_id) a.user_id, a.item_id, (SELECT i.day > 99 FROM fresh.items i WHERE i.id = a.item_id) AS fresh FROM fresh.all_events a
WHERE a.at >= '2026-04-10 12:00' AND a.user_id <= 2000
AND NOT EXISTS (SELECT FROM fresh.all_events e WHERE e.user_id = a.user_id AND e.item_id = a.item_id AND e.at < '2026-04-10 12:00') ORDER BY a.user_id, a.at;
-- of all items, and of new ones for those whose next item is new: a shelf of what is new
CREATE FUNCTION fresh.judge(model bigint) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s | %s', (SELECT round(100 * avg((j.item_id IN (SELECT r.item_id FROM kpx_recommend(j.user_id, 'fresh', 20, model => $1) r))::int), 2) FROM fresh.judged j),
		(SELECT round(100 * avg((j.item_id IN (SELECT r.item_id FROM kpx_recommend(j.user_id, 'fresh', 20, model => $1,
			candidates => (SELECT array_agg(i.id) FROM fresh.items i WHERE i.day > 99)) r))::int), 2) FROM fresh.judged j WHERE j.fresh)) $$;
SELECT model AS stale, round((read_seconds + train_seconds + store_seconds)::numeric, 2) AS seconds, users, items, interactions FROM kpx_train('fresh', params => '{"factors": 64, "regularization": 0.02, "unobserved_weight": 0.02}') \gset
\echo trained: :users users, :items items, :interactions interactions
INSERT INTO fresh.events SELECT * FROM fresh.all_events WHERE at >= '2026-04-10' AND at < '2026-04-10 12:00';
ANALYZE fresh.events;
SELECT fresh.judge(:stale) AS stale_hits \gset
SELECT kpx_import_model(kpx_export_model(:stale), 'updated') AS updated \gset
DELETE FROM fresh.events WHERE at >= '2026-04-10';
SELECT kpx_activate(:updated);
CREATE TABLE fresh.cost (step text, hour numeric, events bigint, users bigint, updated bigint, added bigint, seconds float8, wal numeric, next_answer float8);
CREATE PROCEDURE fresh.replay(step text, steps int, every interval, first timestamptz) LANGUAGE plpgsql AS $$
DECLARE
	r record; t timestamptz; w pg_lsn; f timestamptz := first;
BEGIN
	FOR h IN 1..steps LOOP
		INSERT INTO fresh.events SELECT * FROM fresh.all_events WHERE at >= f AND at < f + every;
		f := f + every;
		COMMIT;
		t := clock_timestamp(); w := pg_current_wal_insert_lsn();
		SELECT * INTO r FROM kpx_update_items('fresh');
		COMMIT;
		INSERT INTO fresh.cost VALUES (step, extract(epoch FROM f - first) / 3600, r.events, r.users, r.items_updated, r.items_added, extract(epoch FROM clock_timestamp() - t), pg_current_wal_insert_lsn() - w);
		t := clock_timestamp();
		PERFORM kpx_recommend(1, 'fresh', 10); -- loads what was written
		UPDATE fresh.cost c SET next_answer = extract(epoch FROM clock_timestamp() - t) WHERE c.next_answer IS NULL;
	END LOOP;
END $$;
CALL fresh.replay('hour', 11, '1 hour', '2026-04-10');
CALL fresh.replay('minute', 60, '1 minute', '2026-04-10 11:00');
SELECT fresh.judge(:updated) AS updated_hits \gset
SELECT model AS again, round((read_seconds + train_seconds + store_seconds)::numeric, 2) AS again_seconds FROM kpx_train('fresh', params => '{"factors": 64, "regularization": 0.02, "unobserved_weight": 0.02}', name => 'again') \gset
SELECT fresh.judge(:again) AS again_hits \gset
\echo '| model | HR@20 of all items, % | HR@20 among new items, % | seconds | WAL MB |'
\echo '|---|---:|---:|---:|---:|'
\echo '| as it was the day before |' :stale_hits '| | |'
SELECT format('| updated, eleven times an hour''s events, then sixty times a minute''s | %s | | |', :'updated_hits');
\echo '| trained again |' :again_hits '|' :again_seconds '| |'
SELECT format('| an update, %s %s: %s events, %s people, %s items | | | %s (%s to %s) | %s |', count(*), step || 's', round(avg(events)), round(avg(users)), round(avg(updated + added)),
	round(percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds)::numeric, 3), round(min(seconds)::numeric, 3), round(max(seconds)::numeric, 3), round(avg(wal) / 1048576, 3)) FROM fresh.cost GROUP BY step ORDER BY step;
SELECT step, round(hour, 2) AS hour, events, users, updated, added, round(seconds::numeric, 3) AS seconds, round(wal / 1048576, 3) AS wal_mb, round(1000 * next_answer::numeric, 1) AS next_answer_ms FROM fresh.cost ORDER BY 1, 2;
