/*
 * job.c
 *	  kpx_schedule and the other functions that make and change jobs.
 */
#include "job.h"

#include <math.h>

#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "pgtime.h"
#include "utils/acl.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "registry.h"

#define MIN_EVERY 1.0 /* seconds */

/* ------------------------------------------------------------ without the background worker */

/* A schedule in five fields, as near as cron comes. */
static char *
cron_fields(const Interval *every, const TimeADT *at)
{
	int64 minutes = every->time / KPX_MINUTE;
	int hour = at ? (int) (*at / KPX_HOUR) : 3;
	int minute = at ? (int) (*at / KPX_MINUTE % 60) : 0;

	if (every->month > 0)
		return psprintf("%d %d 1 * *", minute, hour);
	if (every->day >= 7)
		return psprintf("%d %d * * 0", minute, hour);
	if (every->day > 0 || minutes >= 24 * 60)
		return psprintf("%d %d * * *", minute, hour);
	if (minutes >= 60)
		return psprintf("0 */" INT64_FORMAT " * * *", minutes / 60);
	return minutes > 1 ? psprintf("*/" INT64_FORMAT " * * * *", minutes) : pstrdup("* * * * *");
}

static void
require_worker(const char *name, const char *task, Jsonb *arguments, const Interval *every, const TimeADT *at)
{
	if (kpx_job_shared())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("jobs need the background worker of kpxrec, which is not there"),
			 errdetail("Set shared_preload_libraries = 'kpxrec' in postgresql.conf and restart the server."),
			 errhint("Or have pg_cron do it: SELECT cron.schedule(%s, '%s', %s);", quote_literal_cstr(name), cron_fields(every, at),
					 quote_literal_cstr(kpx_task_sql(task, arguments)))));
}

/* ------------------------------------------------------------ checks */

/* The current role, if it may own jobs. */
static char *
owner_name(void)
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool may_login;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("the current role was dropped")));
	may_login = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	if (!may_login)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("role \"%s\" may not log in, so that no worker can run its jobs", GetUserNameFromId(GetUserId(), false)),
				 errhint("ALTER ROLE ... LOGIN; a password is not needed.")));
	if (superuser() && !kpx_allow_superuser_jobs)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("superusers may not have jobs"),
				 errdetail("A job runs with all rights of its owner."),
				 errhint("SET ROLE to the owner of the modules first, or set kpxrec.allow_superuser_jobs = on.")));
	return GetUserNameFromId(GetUserId(), false);
}

/*
 * A job does whatever its owner may, so changing one takes what SET ROLE takes. From 16 on a
 * membership can give its privileges without that.
 */
static bool
may_change_jobs_of(const char *owner)
{
#if PG_VERSION_NUM >= 160000
	Oid role = get_role_oid(owner, true);

	if (!superuser() && !(OidIsValid(role) && member_can_set_role(GetUserId(), role)))
		return false;
#endif
	return kpx_has_role(owner);
}

static void
bad(const char *format, const char *name, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg(format, name), hint ? errhint("%s", hint) : 0));
}

static void
wake_if_preloaded(void)
{
	if (kpx_job_shared())
		kpx_job_wake_at_commit(true);
}

/* What a row says must make sense; then when it starts next. */
static void
check_job(int32 id)
{
	KpxJob *job = kpx_job_load(id);
	KpxDue due;
	bool retry;

	if (job->name[0] == '\0' || strlen(job->name) > 63)
		ereport(ERROR, (errcode(ERRCODE_INVALID_NAME), errmsg("a job's name must have 1 to 63 bytes")));
	if (strcmp(job->catch_up, "once") != 0 && strcmp(job->catch_up, "skip") != 0)
		bad("job \"%s\": catch_up must be once or skip", job->name, NULL);
	if (job->until >= 0 && (job->at < 0 || job->at == job->until))
		bad("job \"%s\": \"until\" needs an \"at\" that differs from it", job->name, "Runs start between the two; at alone is when a daily job starts.");
	if (job->at >= KPX_DAY || job->until >= KPX_DAY)
		bad("job \"%s\": 24:00 is no time of day", job->name, "Write 00:00.");
	if (job->every.month == 0 && job->every.day == 0 && (double) job->every.time < MIN_EVERY * KPX_SECOND)
		bad("job \"%s\": \"every\" must be at least a second", job->name, NULL);
	if (job->when_new_events < 0 || isnan(job->when_new_share) || job->when_new_share < 0)
		bad("job \"%s\": \"when_new_events\" and \"when_new_share\" must be above 0", job->name, NULL);
	if (job->max_runtime < 0)
		bad("job \"%s\": \"max_runtime\" must be longer than nothing", job->name, NULL);
	kpx_task_check(job->task, job->arguments);
	due = kpx_job_due(job, GetCurrentTimestamp(), &retry);
	kpx_job_set_next_start(id, due.start);
	wake_if_preloaded();
}

/* ------------------------------------------------------------ making and changing */

static int32
one_number(const char *sql, int n, Oid *types, Datum *values, const char *nulls)
{
	KpxCatalog catalog;
	int32 number = 0;
	bool null = true;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute(sql, n, types, values, nulls, false);
	if (SPI_processed == 1)
		number = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	kpx_catalog_end(&catalog);
	return null ? 0 : number;
}

/* The anchor of a new or changed schedule: its first at, or now; changed, now is not a slot. */
static void
set_anchor(int32 id, bool changed)
{
	KpxJob *job = kpx_job_load(id);
	TimestampTz now = GetCurrentTimestamp();
	bool timed = job->at >= 0 && job->at < KPX_DAY;
	Oid types[] = {INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum values[] = {Int32GetDatum(id), 0, TimestampTzGetDatum(now)};

	values[1] = TimestampTzGetDatum(timed ? kpx_time_of_day_after(kpx_zone(job->time_zone), job->at, now) : now);
	(void) one_number("UPDATE kpx.job SET anchor = $2, last_slot = $3, retry_at = NULL WHERE id = $1 RETURNING id", 3, types, values,
					  changed && !timed ? NULL : "  n");
}

static Interval *
default_every(FunctionCallInfo fcinfo)
{
	Interval *every = palloc0(sizeof(Interval));

	if (!PG_ARGISNULL(3))
		return PG_GETARG_INTERVAL_P(3);
	if (!PG_ARGISNULL(7) || !PG_ARGISNULL(8))
		every->time = 5 * KPX_MINUTE;
	else if (!PG_ARGISNULL(4))
		every->day = 1;
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("a job needs a time: \"every\", \"at\", \"when_new_events\" or \"when_new_share\"")));
	return every;
}

PG_FUNCTION_INFO_V1(kpx_schedule);
Datum
kpx_schedule(PG_FUNCTION_ARGS)
{
	Oid types[] = {TEXTOID, NAMEOID, TEXTOID, JSONBOID, INTERVALOID, TIMEOID, TIMEOID, TEXTOID, INT8OID, FLOAT8OID,
				   INTERVALOID, INT4OID, TEXTOID, INTERVALOID, INT8OID, OIDOID};
	Datum values[16];
	char nulls[] = "                ";
	char *name;
	char *task;
	char *owner;
	Jsonb *arguments;
	Interval *every;
	int32 id;

	for (int i = 0; i < 2; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"%s\" must not be NULL", i ? "task" : "name")));
	PreventCommandIfReadOnly("kpx_schedule()");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	task = text_to_cstring(PG_GETARG_TEXT_PP(1));
	arguments = PG_ARGISNULL(2) ? DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))) : PG_GETARG_JSONB_P(2);
	every = default_every(fcinfo);
	kpx_task_check(task, arguments);
	require_worker(name, task, arguments, every, PG_ARGISNULL(4) ? NULL : &(TimeADT){PG_GETARG_TIMEADT(4)});
	owner = owner_name();
	values[0] = PG_GETARG_DATUM(0);
	values[1] = DirectFunctionCall1(namein, CStringGetDatum(owner));
	values[2] = PG_GETARG_DATUM(1);
	values[3] = JsonbPGetDatum(arguments);
	values[4] = IntervalPGetDatum(every);
	for (int i = 5; i < 14; i++)
	{
		values[i] = PG_ARGISNULL(i - 1) ? (Datum) 0 : PG_GETARG_DATUM(i - 1);
		nulls[i] = PG_ARGISNULL(i - 1) ? 'n' : ' ';
	}
	if (nulls[7] == 'n')
		values[7] = CStringGetTextDatum(pg_get_timezone_name(session_timezone));
	if (nulls[12] == 'n')
		values[12] = CStringGetTextDatum("once");
	if (nulls[13] == 'n')
		values[13] = IntervalPGetDatum(palloc0(sizeof(Interval)));
	nulls[7] = nulls[12] = nulls[13] = ' ';
	values[14] = Int64GetDatum((int64) GetSystemIdentifier());
	values[15] = ObjectIdGetDatum(MyDatabaseId);
	id = one_number("INSERT INTO kpx.job (name, owner, task, arguments, every, at, until, time_zone, when_new_events, when_new_share,"
					" max_runtime, max_retries, catch_up, jitter, anchor, system_identifier, database)"
					" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, now(), $15, $16)"
					" ON CONFLICT (name) DO NOTHING RETURNING id",
					16, types, values, nulls);
	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("job \"%s\" exists already", name),
				 errhint("Change it with kpx_alter_job, or delete it with kpx_unschedule.")));
	CommandCounterIncrement();
	set_anchor(id, false);
	CommandCounterIncrement();
	check_job(id);
	PG_RETURN_INT32(id);
}

/* The job of this name, which the current user must own, its row locked. */
static int32
require_job(Datum name)
{
	Oid types[] = {TEXTOID};
	char *owner = NULL;
	int32 id = 0;
	bool null;
	KpxCatalog catalog;
	MemoryContext context = CurrentMemoryContext;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("SELECT id, owner FROM kpx.job WHERE name = $1 FOR UPDATE", 1, types, &name, NULL, false);
	if (SPI_processed == 1)
	{
		id = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
		owner = MemoryContextStrdup(context, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2));
	}
	kpx_catalog_end(&catalog);
	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("job \"%s\" does not exist", TextDatumGetCString(name)),
				 errhint("See the view kpx_jobs.")));
	kpx_require_owner(owner, "job", TextDatumGetCString(name));
	if (!may_change_jobs_of(owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("must be able to SET ROLE \"%s\" to change job \"%s\"", owner, TextDatumGetCString(name)),
				 errdetail("The job runs with all rights of its owner.")));
	return id;
}

/* One UPDATE or DELETE of a job that the current user owns. */
static void
change(FunctionCallInfo fcinfo, const char *function, const char *sql)
{
	Oid types[] = {INT4OID};
	Datum values[1];

	PreventCommandIfReadOnly(function);
	values[0] = Int32GetDatum(require_job(PG_GETARG_DATUM(0)));
	(void) one_number(sql, 1, types, values, NULL);
	wake_if_preloaded();
}

PG_FUNCTION_INFO_V1(kpx_unschedule);
Datum
kpx_unschedule(PG_FUNCTION_ARGS)
{
	change(fcinfo, "kpx_unschedule()", "DELETE FROM kpx.job WHERE id = $1 RETURNING id");
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(kpx_pause);
Datum
kpx_pause(PG_FUNCTION_ARGS)
{
	change(fcinfo, "kpx_pause()",
		   "UPDATE kpx.job SET enabled = false, paused_because = 'kpx_pause by ' || session_user, retry_at = NULL WHERE id = $1 RETURNING id");
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(kpx_run_now);
Datum
kpx_run_now(PG_FUNCTION_ARGS)
{
	if (!kpx_job_shared())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("jobs need the background worker of kpxrec, which is not there"),
				 errhint("Set shared_preload_libraries = 'kpxrec' in postgresql.conf and restart the server.")));
	change(fcinfo, "kpx_run_now()", "UPDATE kpx.job SET run_requested = true WHERE id = $1 RETURNING id");
	if (!kpx_jobs)
		ereport(NOTICE, (errmsg("it runs when kpxrec.jobs is on again")));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(kpx_resume);
Datum
kpx_resume(PG_FUNCTION_ARGS)
{
	Oid types[] = {INT8OID, OIDOID, INT4OID};
	Datum values[] = {Int64GetDatum((int64) GetSystemIdentifier()), ObjectIdGetDatum(MyDatabaseId), 0};
	KpxJob *jobs;
	int n;
	int32 only = 0;
	int32 resumed = 0;

	PreventCommandIfReadOnly("kpx_resume()");
	if (!PG_ARGISNULL(0))
		only = require_job(PG_GETARG_DATUM(0));
	jobs = kpx_jobs_load(&n);
	for (int i = 0; i < n; i++)
	{
		if ((only != 0 && jobs[i].id != only) || (jobs[i].enabled && !jobs[i].elsewhere) || !may_change_jobs_of(jobs[i].owner))
			continue;
		values[2] = Int32GetDatum(jobs[i].id);
		resumed += one_number("UPDATE kpx.job SET enabled = true, paused_because = NULL, retry_at = NULL, attempt = 0, consecutive_losses = 0,"
							  " last_slot = greatest(last_slot, now()), system_identifier = $1, database = $2 WHERE id = $3 RETURNING 1",
							  3, types, values, NULL);
	}
	wake_if_preloaded();
	PG_RETURN_INT32(resumed);
}

/* Keys of changes are columns that kpx_schedule has as arguments. */
static bool
check_changes(Jsonb *changes)
{
	static const char *const keys[] = {"arguments", "every", "at", "until", "time_zone", "when_new_events", "when_new_share",
									   "max_runtime", "max_retries", "catch_up", "jitter"};
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;
	bool schedule = false;

	if (!JB_ROOT_IS_OBJECT(changes))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"changes\" must be a JSON object")));
	it = JsonbIteratorInit(&changes->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		int k = 0;
		char *key;

		if (token != WJB_KEY)
			continue;
		key = pnstrdup(value.val.string.val, value.val.string.len);
		while (k < (int) lengthof(keys) && strcmp(keys[k], key) != 0)
			k++;
		if (k == lengthof(keys))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"changes\": key \"%s\" is not known", key),
					 errhint("Known keys: arguments, every, at, until, time_zone, when_new_events, when_new_share, max_runtime, max_retries, catch_up, jitter.")));
		schedule |= k >= 1 && k <= 4;
	}
	return schedule;
}

PG_FUNCTION_INFO_V1(kpx_alter_job);
Datum
kpx_alter_job(PG_FUNCTION_ARGS)
{
	Oid types[] = {INT4OID, JSONBOID};
	Datum values[] = {0, PG_GETARG_DATUM(1)};
	bool schedule = check_changes(PG_GETARG_JSONB_P(1));
	int32 id;

	PreventCommandIfReadOnly("kpx_alter_job()");
	id = require_job(PG_GETARG_DATUM(0));
	values[0] = Int32GetDatum(id);
	(void) one_number("UPDATE kpx.job j SET (arguments, every, at, until, time_zone, when_new_events, when_new_share, max_runtime,"
					  " max_retries, catch_up, jitter) = (SELECT coalesce(n.arguments, '{}'), coalesce(n.every, j.every), n.at, n.until, coalesce(n.time_zone, j.time_zone),"
					  " n.when_new_events, n.when_new_share, n.max_runtime, n.max_retries, coalesce(n.catch_up, 'once'),"
					  " coalesce(n.jitter, '0') FROM jsonb_populate_record(j, $2) n) WHERE id = $1 RETURNING id",
					  2, types, values, NULL);
	CommandCounterIncrement();
	if (schedule)
		set_anchor(id, true);
	CommandCounterIncrement();
	check_job(id);
	PG_RETURN_VOID();
}
