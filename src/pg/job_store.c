/*
 * job_store.c
 *	  kpx.job and kpx.job_run: the state of jobs.
 *
 * Everything that must survive is here, in ordinary tables: after a crash, a failover or a restore
 * the same code goes on from what they say.
 */
#include "job.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "utils/date.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define RUNS_KEPT 1000 /* of each job */
#define LOSSES 3 /* in a row pause a job */

typedef struct Access
{
	KpxCatalog catalog;
} Access;

static void
begin(Access *access)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	kpx_catalog_begin(&access->catalog, false);
}

static void
end(Access *access)
{
	kpx_catalog_end(&access->catalog);
	PopActiveSnapshot();
}

static void
write_row(const char *sql, int n, Oid *types, Datum *values, const char *nulls)
{
	Access access;

	begin(&access);
	kpx_catalog_execute(sql, n, types, values, nulls, false);
	end(&access);
}

/* ------------------------------------------------------------ reading */

static Datum
field(uint64 row, int column, bool *null)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, null);
}

static char *
text_field(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

static Jsonb *
jsonb_field(uint64 row, int column)
{
	bool null;
	Datum value = field(row, column, &null);

	return null ? NULL : DatumGetJsonbPCopy(value);
}

static int64
number_field(uint64 row, int column, int64 otherwise)
{
	bool null;
	Datum value = field(row, column, &null);

	return null ? otherwise : DatumGetInt64(value);
}

#define JOB_COLUMNS \
	"id::bigint, name, owner, task, arguments, every, at, until, time_zone, when_new_events, when_new_share," \
	" (extract(epoch FROM max_runtime) * 1000000)::bigint, catch_up, jitter, anchor, enabled," \
	" system_identifier <> (SELECT system_identifier FROM pg_control_system())" \
	" OR database <> (SELECT oid FROM pg_database WHERE datname = current_database())," \
	" last_slot, retry_at, next_start, run_requested," \
	" EXISTS (SELECT FROM kpx.job_run r WHERE r.job_id = job.id AND r.status = 'running'), events_seen"

/* Times and timestamps are 64-bit integers, like bigint. */
static void
take_job(uint64 row, KpxJob *job)
{
	bool null;
	Datum value;

	job->id = (int32) number_field(row, 1, 0);
	job->name = text_field(row, 2);
	job->owner = text_field(row, 3);
	job->task = text_field(row, 4);
	job->arguments = jsonb_field(row, 5);
	job->every = *DatumGetIntervalP(field(row, 6, &null));
	job->at = number_field(row, 7, -1);
	job->until = number_field(row, 8, -1);
	job->time_zone = text_field(row, 9);
	job->when_new_events = number_field(row, 10, 0);
	value = field(row, 11, &null);
	job->when_new_share = null ? 0 : DatumGetFloat8(value);
	job->max_runtime = number_field(row, 12, 0);
	job->catch_up = text_field(row, 13);
	job->jitter = *DatumGetIntervalP(field(row, 14, &null));
	job->anchor = number_field(row, 15, 0);
	job->enabled = DatumGetBool(field(row, 16, &null));
	job->elsewhere = DatumGetBool(field(row, 17, &null));
	job->last_slot = number_field(row, 18, 0);
	(void) field(row, 18, &null);
	job->started = !null;
	job->retry_at = number_field(row, 19, 0);
	job->next_start = number_field(row, 20, 0);
	job->run_requested = DatumGetBool(field(row, 21, &null));
	job->running = DatumGetBool(field(row, 22, &null));
	job->events_seen = jsonb_field(row, 23);
}

static KpxJob *
load(const char *sql, int nargs, Datum *values, int *n)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	Oid types[] = {INT4OID};
	Access access;
	KpxJob *jobs;

	begin(&access);
	kpx_catalog_execute(sql, nargs, types, values, NULL, true);
	old = MemoryContextSwitchTo(context);
	*n = (int) SPI_processed;
	jobs = palloc0(sizeof(KpxJob) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		take_job((uint64) i, &jobs[i]);
	MemoryContextSwitchTo(old);
	end(&access);
	return jobs;
}

KpxJob *
kpx_jobs_load(int *n)
{
	/* Those that wait longest first, lest one that is always due keep others from running. */
	return load("SELECT " JOB_COLUMNS " FROM kpx.job ORDER BY least(next_start, retry_at), id", 0, NULL, n);
}

KpxJob *
kpx_job_load(int32 id)
{
	Datum values[] = {Int32GetDatum(id)};
	int n;
	KpxJob *job = load("SELECT " JOB_COLUMNS " FROM kpx.job WHERE id = $1", 1, values, &n);

	return n ? job : NULL;
}

int64 *
kpx_runs_running(int *n)
{
	MemoryContext context = CurrentMemoryContext;
	Access access;
	int64 *runs;

	begin(&access);
	kpx_catalog_execute("SELECT id FROM kpx.job_run WHERE status = 'running' ORDER BY id", 0, NULL, NULL, NULL, true);
	*n = (int) SPI_processed;
	runs = MemoryContextAlloc(context, sizeof(int64) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		runs[i] = number_field((uint64) i, 1, 0);
	end(&access);
	return runs;
}

bool
kpx_extension_matches(void)
{
	Access access;
	char *version;
	bool matches;

	if (!OidIsValid(get_extension_oid("kpxrec", true)))
		return false;
	begin(&access);
	kpx_catalog_execute("SELECT extversion FROM pg_extension WHERE extname = 'kpxrec'", 0, NULL, NULL, NULL, true);
	version = SPI_processed == 1 ? text_field(0, 1) : NULL;
	matches = version && strcmp(version, KPX_VERSION) == 0;
	if (version && !matches)
		ereport(LOG,
				(errmsg("kpxrec runs no jobs: its library is version %s, the extension in this database version %s", KPX_VERSION, version),
				 errhint("Run ALTER EXTENSION kpxrec UPDATE.")));
	end(&access);
	return matches;
}

/* ------------------------------------------------------------ writing jobs */

void
kpx_job_set_next_start(int32 id, TimestampTz start)
{
	Oid types[] = {INT4OID, TIMESTAMPTZOID};
	Datum values[] = {Int32GetDatum(id), TimestampTzGetDatum(start)};

	write_row("UPDATE kpx.job SET next_start = $2 WHERE id = $1", 2, types, values, start == 0 ? " n" : NULL);
}

void
kpx_job_pass_over(int32 id, TimestampTz slot, int64 slots)
{
	Oid types[] = {INT4OID, TIMESTAMPTZOID, INT8OID};
	Datum values[] = {Int32GetDatum(id), TimestampTzGetDatum(slot), Int64GetDatum(slots)};

	write_row("UPDATE kpx.job SET last_slot = $2, skipped = skipped + $3 WHERE id = $1", 3, types, values, NULL);
}

void
kpx_job_stop(int32 id, const char *because)
{
	Oid types[] = {INT4OID, TEXTOID};
	Datum values[] = {Int32GetDatum(id), CStringGetTextDatum(because)};

	write_row("UPDATE kpx.job SET enabled = false, paused_because = $2, retry_at = NULL, run_requested = false WHERE id = $1",
			  2, types, values, NULL);
}

/* ------------------------------------------------------------ writing runs */

int64
kpx_run_start(int32 job, TimestampTz slot, int64 missed, bool retry)
{
	Oid types[] = {INT4OID, TIMESTAMPTZOID, INT8OID, BOOLOID};
	Datum values[] = {Int32GetDatum(job), TimestampTzGetDatum(slot), Int64GetDatum(missed), BoolGetDatum(retry)};
	Access access;
	int64 run;

	begin(&access);
	kpx_catalog_execute("WITH j AS (UPDATE kpx.job SET last_slot = $2, skipped = skipped + $3, retry_at = NULL,"
						" run_requested = false, attempt = CASE WHEN $4 THEN attempt ELSE 0 END WHERE id = $1 RETURNING *)"
						" INSERT INTO kpx.job_run (job_id, job, owner, task, attempt, status, scheduled_for)"
						" SELECT id, name, owner, task, attempt, 'running', $2 FROM j RETURNING id",
						4, types, values, NULL, false);
	run = SPI_processed == 1 ? number_field(0, 1, 0) : 0;
	end(&access);
	return run;
}

void
kpx_run_set_pid(int64 run, int pid)
{
	Oid types[] = {INT8OID, INT4OID};
	Datum values[] = {Int64GetDatum(run), Int32GetDatum(pid)};

	write_row("UPDATE kpx.job_run SET pid = $2 WHERE id = $1", 2, types, values, NULL);
}

void
kpx_run_forget(int64 run)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(run)};

	write_row("DELETE FROM kpx.job_run WHERE id = $1", 1, types, values, NULL);
}

void
kpx_run_unstart(int64 run, const KpxJob *job, int64 missed)
{
	Oid types[] = {INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID, INT8OID};
	Datum values[] = {Int32GetDatum(job->id), TimestampTzGetDatum(job->last_slot), TimestampTzGetDatum(job->retry_at),
					  BoolGetDatum(job->run_requested), Int64GetDatum(missed)};
	char nulls[] = "     ";

	nulls[1] = job->started ? ' ' : 'n';
	nulls[2] = job->retry_at ? ' ' : 'n';
	kpx_run_forget(run);
	write_row("UPDATE kpx.job SET last_slot = $2, retry_at = $3, run_requested = $4, skipped = skipped - $5 WHERE id = $1",
			  5, types, values, nulls);
}

/*
 * A failed run is tried again after a delay that doubles from one retry to the next, at most an
 * hour, a little more or less so that jobs do not fail in step; a lost one, which may have taken
 * the server with it, after at least five of them; a cancelled one not before its next slot.
 */
void
kpx_run_finish(int64 run, const KpxOutcome *o)
{
	Oid types[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, INT8OID, JSONBOID, INT4OID, INT4OID};
	Datum values[] = {Int64GetDatum(run), CStringGetTextDatum(o->status), o->sqlstate ? CStringGetTextDatum(o->sqlstate) : (Datum) 0,
					  o->message ? CStringGetTextDatum(o->message) : (Datum) 0, o->phase ? CStringGetTextDatum(o->phase) : (Datum) 0,
					  Int64GetDatum(o->rows), Int64GetDatum(o->peak_memory), PointerGetDatum(o->events_seen),
					  Int32GetDatum(kpx_job_retry_delay), Int32GetDatum(LOSSES)};
	char nulls[] = "          ";

	nulls[2] = o->sqlstate ? ' ' : 'n';
	nulls[3] = o->message ? ' ' : 'n';
	nulls[4] = o->phase ? ' ' : 'n';
	nulls[5] = o->rows >= 0 ? ' ' : 'n';
	nulls[6] = o->peak_memory >= 0 ? ' ' : 'n';
	nulls[7] = o->events_seen ? ' ' : 'n';
	write_row("WITH r AS (UPDATE kpx.job_run SET status = $2, finished_at = clock_timestamp(), sqlstate = $3, message = $4,"
			  " phase = $5, rows = $6, peak_memory = $7 WHERE id = $1 AND status = 'running' RETURNING id, job_id)"
			  " UPDATE kpx.job j SET consecutive_failures = CASE WHEN $2 = 'succeeded' THEN 0 ELSE consecutive_failures + 1 END,"
			  " consecutive_losses = CASE WHEN $2 = 'lost' THEN consecutive_losses + 1 ELSE 0 END,"
			  " events_seen = CASE WHEN $2 = 'succeeded' THEN coalesce($8, events_seen) ELSE events_seen END,"
			  " attempt = CASE WHEN $2 = 'succeeded' THEN 0 ELSE attempt + 1 END,"
			  " retry_at = CASE WHEN $2 IN ('failed', 'lost') AND enabled AND (max_retries IS NULL OR attempt < max_retries)"
			  " THEN clock_timestamp() + least($9 * 2.0 ^ least(attempt, 20), 3600) * CASE $2 WHEN 'lost' THEN 5 ELSE 1 END"
			  " * (0.87 + 0.26 * (abs(hashint8(r.id)::bigint) % 1000) / 1000.0) * interval '1 second' END,"
			  " enabled = enabled AND NOT ($2 = 'lost' AND consecutive_losses + 1 >= $10),"
			  " paused_because = CASE WHEN $2 = 'lost' AND consecutive_losses + 1 >= $10 AND enabled"
			  " THEN format('%s runs in a row were lost: the server stopped, or the worker died', $10) ELSE paused_because END"
			  " FROM r WHERE j.id = r.job_id",
			  10, types, values, nulls);
}

void
kpx_runs_expire(void)
{
	Oid types[] = {INT4OID, INT4OID};
	Datum values[] = {Int32GetDatum(kpx_job_run_retention), Int32GetDatum(RUNS_KEPT)};

	write_row("DELETE FROM kpx.job_run WHERE status <> 'running' AND (started_at < now() - $1 * interval '1 second'"
			  " OR id IN (SELECT o.id FROM (SELECT DISTINCT job_id FROM kpx.job_run) j,"
			  " LATERAL (SELECT id FROM kpx.job_run r WHERE r.job_id = j.job_id ORDER BY id DESC OFFSET $2) o))",
			  2, types, values, NULL);
}
