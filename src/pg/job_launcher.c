/*
 * job_launcher.c
 *	  The launcher: starts a scheduler in each database whose jobs are due soon.
 *
 * It is connected to no database, so that it is in nobody's way, and does no work. The postmaster
 * restarts the launcher, the launcher alone restarts schedulers; and nobody restarts a worker. A
 * scheduler that has nothing to do for a minute ends and leaves the time to start it again, so
 * that an idle database has no connection of ours that DROP DATABASE would have to wait for.
 */
#include "job.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#define STARTED_MOST 64 /* schedulers that are starting at the same time */
#define RETRY_SECONDS 10

void
kpx_worker_prepare(BackgroundWorker *worker, const char *function, const char *name)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_library_name, "kpxrec", sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, function, sizeof(worker->bgw_function_name));
	strlcpy(worker->bgw_name, name, sizeof(worker->bgw_name));
	strlcpy(worker->bgw_type, name, sizeof(worker->bgw_type));
}

void
kpx_worker_pin_settings(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
#if PG_VERSION_NUM >= 170000
		{"transaction_timeout", "0"},
#endif
		{"synchronous_commit", "local"},
	};

	for (int i = 0; i < (int) lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

/* ------------------------------------------------------------ databases */

/* Databases that one can connect to, in context. */
static List *
list_databases(MemoryContext context)
{
	List *databases = NIL;
	Relation relation;
	TableScanDesc scan;
	HeapTuple tuple;

	kpx_worker_begin();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old = MemoryContextSwitchTo(context);

		/* -2: dropping it was interrupted */
		if (database->datallowconn && database->datconnlimit != -2)
			databases = lappend_oid(databases, database->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
	return databases;
}

/* ------------------------------------------------------------ schedulers */

typedef struct Started
{
	Oid database; /* InvalidOid: free */
	BackgroundWorkerHandle *handle;
} Started;

static Started started[STARTED_MOST];

static void
forget_ended(void)
{
	for (int i = 0; i < STARTED_MOST; i++)
	{
		pid_t pid;

		if (started[i].database == InvalidOid || GetBackgroundWorkerPid(started[i].handle, &pid) != BGWH_STOPPED)
			continue;
		pfree(started[i].handle);
		started[i].database = InvalidOid;
	}
}

static Started *
find_started(Oid database)
{
	for (int i = 0; i < STARTED_MOST; i++)
		if (started[i].database == database)
			return &started[i];
	return NULL;
}

typedef enum StartResult
{
	STARTED,
	THERE, /* one that is coming or going */
	NO_ROOM /* for another worker */
} StartResult;

static StartResult
start_scheduler(Oid database, MemoryContext context)
{
	Started *place = find_started(InvalidOid);
	BackgroundWorker worker;
	MemoryContext old;
	bool registered;

	if (find_started(database))
		return THERE;
	if (place == NULL)
		return NO_ROOM;
	kpx_worker_prepare(&worker, "kpx_scheduler_main", "kpxrec scheduler");
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	old = MemoryContextSwitchTo(context);
	registered = RegisterDynamicBackgroundWorker(&worker, &place->handle);
	MemoryContextSwitchTo(old);
	if (!registered)
		return NO_ROOM;
	place->database = database;
	return STARTED;
}

/* ------------------------------------------------------------ the loop */

static void
wait(long milliseconds)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/* Starts what is due; milliseconds until there may be more. */
static long
start_due(MemoryContext context, bool *short_of_workers)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz look_again = 0;
	List *databases = NIL;
	StartResult result;
	Oid database;

	while ((database = kpx_launcher_next(now, &look_again)) != InvalidOid)
	{
		if (databases == NIL)
			databases = list_databases(context);
		if (!list_member_oid(databases, database))
		{
			kpx_launcher_remove(database);
			continue;
		}
		result = start_scheduler(database, context);
		if (result == THERE)
		{
			look_again = now + USECS_PER_SEC / 10;
			break;
		}
		kpx_launcher_defer(database, now + RETRY_SECONDS * USECS_PER_SEC);
		if (result == NO_ROOM && !*short_of_workers)
			ereport(WARNING,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("kpxrec jobs wait: no background worker is free"),
					 errhint("Increase max_worker_processes.")));
		*short_of_workers = result == NO_ROOM;
	}
	list_free(databases);
	return look_again == 0 ? 600 * 1000L : Max(TimestampDifferenceMilliseconds(now, look_again), 1);
}

/* Who has jobs is known only inside: every database is looked into once, one after the other. */
static void
look_into_all(MemoryContext context, bool *short_of_workers)
{
	List *databases = list_databases(context);
	ListCell *cell;

	foreach (cell, databases)
	{
		for (int tries = 0; tries < 100 && !kpx_launcher_add(lfirst_oid(cell)); tries++)
			wait(100);
		(void) start_due(context, short_of_workers);
		wait(10);
		forget_ended();
	}
	list_free(databases);
}

void
kpx_launcher_main(Datum argument)
{
	MemoryContext context;
	bool short_of_workers = false;
	bool looked = false;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	kpx_worker_pin_settings();
	pgstat_report_appname("kpxrec launcher");
	context = AllocSetContextCreate(TopMemoryContext, "kpxrec launcher", ALLOCSET_DEFAULT_SIZES);
	kpx_launcher_attach();

	for (;;)
	{
		forget_ended();
		if (kpx_jobs && !looked)
			look_into_all(context, &short_of_workers);
		looked = kpx_jobs;
		wait(kpx_jobs ? start_due(context, &short_of_workers) : 600 * 1000L);
	}
}
