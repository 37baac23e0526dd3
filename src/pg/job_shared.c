/*
 * job_shared.c
 *	  What the processes of jobs share in memory: who is alive, who is to be woken when.
 *
 * Nothing here must survive: when the server crashes or stops, all of it is gone with the
 * processes it speaks of, and the tables say what was under way.
 */
#include "job.h"

#include <signal.h>

#include "access/xact.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "utils/guc.h"

#include "shared_memory.h"

#define DATABASES 128 /* that have jobs */
#define RUNS 64

typedef struct Database
{
	Oid oid; /* InvalidOid: free */
	Latch *scheduler; /* NULL: there is none */
	bool wake;
	TimestampTz wake_at; /* 0: only when woken */
} Database;

typedef struct Run
{
	int64 run; /* 0: free */
	Oid database;
	int pid; /* while its process is alive */
	KpxRunState state;
} Run;

typedef struct Shared
{
	Latch *launcher;
	Database database[DATABASES];
	Run run[RUNS];
} Shared;

bool kpx_jobs = true;
bool kpx_allow_superuser_jobs = false;
int kpx_max_running_jobs = 2;
int kpx_job_retry_delay = 60;
int kpx_job_run_retention = 30 * SECS_PER_DAY;

static Shared *shared = NULL;
static LWLock *lock = NULL;
static int my_place = -1;
static bool told = false; /* a worker: its end is in the table */
static bool wake_at_commit = false;

static size_t
shared_bytes(void)
{
	return sizeof(Shared);
}

static void
shared_init(void *memory, LWLockPadded *locks)
{
	shared = memory;
	lock = &locks[0].lock;
}

static KpxShared request = {"kpxrec jobs", shared_bytes, 1, shared_init};

void
kpx_job_init(void)
{
	BackgroundWorker launcher;

	DefineCustomBoolVariable("kpxrec.jobs", "Whether jobs start.",
							 "Off, no job starts; those that run end as they would.",
							 &kpx_jobs, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("kpxrec.allow_superuser_jobs", "Whether jobs may belong to superusers.",
							 NULL, &kpx_allow_superuser_jobs, false, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("kpxrec.max_running_jobs", "How many jobs of all databases run at a time.",
							NULL, &kpx_max_running_jobs, 2, 1, RUNS, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("kpxrec.job_retry_delay", "How long after a failure a job is tried again for the first time.",
							"The delay doubles from one retry to the next, up to an hour.",
							&kpx_job_retry_delay, 60, 1, SECS_PER_HOUR, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("kpxrec.job_run_retention", "How long runs of jobs stay in kpx_job_runs.",
							NULL, &kpx_job_run_retention, 30 * SECS_PER_DAY, 60, INT_MAX, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	kpx_shared_request(&request);
	kpx_job_hook_init();
	kpx_worker_prepare(&launcher, "kpx_launcher_main", "kpxrec launcher");
	launcher.bgw_restart_time = 10;
	RegisterBackgroundWorker(&launcher);
}

bool
kpx_job_shared(void)
{
	return shared != NULL;
}

/* ------------------------------------------------------------ databases */

static Database *
find_database(Oid oid)
{
	for (int i = 0; i < DATABASES; i++)
		if (shared->database[i].oid == oid)
			return &shared->database[i];
	return NULL;
}

/* The entry of a database, a new one if need be; NULL when all are taken. Under the lock. */
static Database *
claim_database(Oid oid)
{
	Database *database = find_database(oid);

	if (database)
		return database;
	database = find_database(InvalidOid);
	/* An entry may wait for a commit that will wake it, so only when there is no free one. */
	for (int i = 0; i < DATABASES && database == NULL; i++)
		if (shared->database[i].scheduler == NULL && !shared->database[i].wake && shared->database[i].wake_at == 0)
			database = &shared->database[i];
	if (database)
		*database = (Database){.oid = oid};
	return database;
}

static void
wake(Latch *latch)
{
	if (latch)
		SetLatch(latch);
}

static void
transaction_ended(XactEvent event, void *arg)
{
	Database *database;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	if (wake_at_commit && event == XACT_EVENT_COMMIT)
	{
		LWLockAcquire(lock, LW_EXCLUSIVE);
		database = claim_database(MyDatabaseId);
		if (database)
		{
			database->wake = true;
			wake(database->scheduler ? database->scheduler : shared->launcher);
		}
		LWLockRelease(lock);
	}
	wake_at_commit = false;
}

void
kpx_job_wake_at_commit(bool required)
{
	static bool registered = false;
	bool claimed;

	if (!registered)
		RegisterXactCallback(transaction_ended, NULL);
	registered = true;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	claimed = claim_database(MyDatabaseId) != NULL;
	LWLockRelease(lock);
	if (!claimed && required)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("%d databases of this server have jobs already, more cannot", DATABASES)));
	wake_at_commit = true;
}

/* ------------------------------------------------------------ launcher */

static void
launcher_gone(int code, Datum argument)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	shared->launcher = NULL;
	LWLockRelease(lock);
}

void
kpx_launcher_attach(void)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	shared->launcher = MyLatch;
	LWLockRelease(lock);
	before_shmem_exit(launcher_gone, (Datum) 0);
}

Oid
kpx_launcher_next(TimestampTz now, TimestampTz *look_again)
{
	Oid found = InvalidOid;

	*look_again = 0;
	LWLockAcquire(lock, LW_SHARED);
	for (int i = 0; i < DATABASES && found == InvalidOid; i++)
	{
		const Database *d = &shared->database[i];

		if (d->oid == InvalidOid || d->scheduler)
			continue;
		if (d->wake || (d->wake_at != 0 && d->wake_at <= now))
			found = d->oid;
		else if (d->wake_at != 0 && (*look_again == 0 || d->wake_at < *look_again))
			*look_again = d->wake_at;
	}
	LWLockRelease(lock);
	return found;
}

bool
kpx_launcher_add(Oid oid)
{
	Database *database;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	database = claim_database(oid);
	if (database)
		database->wake = true;
	LWLockRelease(lock);
	return database != NULL;
}

void
kpx_launcher_defer(Oid oid, TimestampTz until)
{
	Database *database;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	database = find_database(oid);
	if (database)
	{
		database->wake = false;
		database->wake_at = until;
	}
	LWLockRelease(lock);
}

void
kpx_launcher_remove(Oid oid)
{
	Database *database;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	database = find_database(oid);
	if (database && database->scheduler == NULL)
		database->oid = InvalidOid;
	LWLockRelease(lock);
}

/* ------------------------------------------------------------ scheduler */

static void
scheduler_gone(int code, Datum argument)
{
	Database *database;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	database = find_database(MyDatabaseId);
	if (database && database->scheduler == MyLatch)
		database->scheduler = NULL;
	wake(shared->launcher);
	LWLockRelease(lock);
}

bool
kpx_scheduler_attach(void)
{
	Database *database;
	bool attached;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	database = claim_database(MyDatabaseId);
	attached = database && database->scheduler == NULL;
	if (attached)
	{
		database->scheduler = MyLatch;
		database->wake = false;
		/* Should it die, the launcher starts another after a while. */
		database->wake_at = GetCurrentTimestamp() + 10 * USECS_PER_SEC;
		/* What a scheduler that died was about to start is nobody's. */
		for (int i = 0; i < RUNS; i++)
			if (shared->run[i].database == MyDatabaseId && shared->run[i].state == KPX_RUN_STARTING)
				shared->run[i].run = 0;
	}
	LWLockRelease(lock);
	if (attached)
		before_shmem_exit(scheduler_gone, (Datum) 0);
	return attached;
}

bool
kpx_scheduler_woken(void)
{
	Database *database;
	bool woken;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	database = find_database(MyDatabaseId);
	woken = database && database->wake;
	if (database)
		database->wake = false;
	LWLockRelease(lock);
	return woken;
}

void
kpx_scheduler_sleep_until(TimestampTz wake_at)
{
	Database *database;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	database = find_database(MyDatabaseId);
	if (database)
		database->wake_at = wake_at;
	LWLockRelease(lock);
}

/* ------------------------------------------------------------ runs */

int
kpx_run_reserve(void)
{
	int place = -1;
	int taken = 0;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int i = 0; i < RUNS; i++)
	{
		const Database *database = find_database(shared->run[i].database);

		/* Of a database that was dropped, or lost the extension, while it ran: nobody else frees it. */
		if (shared->run[i].run != 0 && shared->run[i].state != KPX_RUN_ALIVE && (database == NULL || database->scheduler == NULL))
			shared->run[i].run = 0;
		taken += shared->run[i].run != 0;
		if (place < 0 && shared->run[i].run == 0)
			place = i;
	}
	if (taken >= kpx_max_running_jobs)
		place = -1;
	if (place >= 0)
		shared->run[place] = (Run){-1, MyDatabaseId, 0, KPX_RUN_STARTING};
	LWLockRelease(lock);
	return place;
}

void
kpx_run_number(int place, int64 run)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	shared->run[place].run = run;
	LWLockRelease(lock);
}

void
kpx_run_release(int64 run)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int i = 0; i < RUNS; i++)
		if (shared->run[i].run == run && shared->run[i].database == MyDatabaseId)
			shared->run[i].run = 0;
	LWLockRelease(lock);
}

void
kpx_run_told(void)
{
	told = true;
}

/* Its place is freed by itself when the table says how it ended; else by the scheduler, if there is one, which finds out. */
static void
worker_gone(int code, Datum argument)
{
	Run *run = &shared->run[my_place];
	const Database *database;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	database = find_database(run->database);
	run->state = KPX_RUN_ENDED;
	if (told || database == NULL || database->scheduler == NULL)
		run->run = 0;
	if (database)
		wake(database->scheduler);
	LWLockRelease(lock);
}

bool
kpx_run_attach(int place, int64 run)
{
	bool attached;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	attached = shared->run[place].run == run && shared->run[place].state == KPX_RUN_STARTING;
	if (attached)
	{
		my_place = place;
		shared->run[place].pid = MyProcPid;
		shared->run[place].state = KPX_RUN_ALIVE;
	}
	LWLockRelease(lock);
	if (attached)
		before_shmem_exit(worker_gone, (Datum) 0);
	return attached;
}

KpxRunState
kpx_run_state(int64 run)
{
	KpxRunState state = KPX_RUN_UNKNOWN;

	LWLockAcquire(lock, LW_SHARED);
	for (int i = 0; i < RUNS; i++)
		if (shared->run[i].run == run && shared->run[i].database == MyDatabaseId)
			state = shared->run[i].state;
	LWLockRelease(lock);
	return state;
}

void
kpx_runs_terminate(void)
{
	LWLockAcquire(lock, LW_SHARED);
	for (int i = 0; i < RUNS; i++)
		if (shared->run[i].run != 0 && shared->run[i].database == MyDatabaseId && shared->run[i].state == KPX_RUN_ALIVE)
			kill(shared->run[i].pid, SIGTERM);
	LWLockRelease(lock);
}

int
kpx_runs_here(void)
{
	int n = 0;

	LWLockAcquire(lock, LW_SHARED);
	for (int i = 0; i < RUNS; i++)
		n += shared->run[i].run != 0 && shared->run[i].database == MyDatabaseId;
	LWLockRelease(lock);
	return n;
}
