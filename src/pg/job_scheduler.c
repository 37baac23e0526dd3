/*
 * job_scheduler.c
 *	  A scheduler: decides which jobs of its database start, and sees how runs ended that cannot say.
 *
 * It runs fixed statements on schema kpx only, never anything of a user's: whatever a job does is
 * done by its worker, as its owner. No transaction is open while it sleeps. A job that cannot be
 * (a time zone that is gone, an owner that was dropped) is paused with the reason; the others go
 * on. When nothing is due for a minute it ends, see job_launcher.c.
 */
#include "job.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/wait_event.h"

#include "fault.h"
#include "registry.h"

#define STAY (60 * USECS_PER_SEC) /* what is due within this time is waited for */
#define EXPIRE_EVERY (300 * USECS_PER_SEC)
#define CROWDED (2 * USECS_PER_SEC) /* until the next try when no worker is free */

/* Runs that this process started. */
typedef struct Started
{
	int64 run; /* 0: free */
	BackgroundWorkerHandle *handle;
} Started;

static Started started[64];
static bool crowded = false; /* said so in the log already */

/* ------------------------------------------------------------ transactions */

static void
commit(void)
{
	CommitTransactionCommand();
}

/* ------------------------------------------------------------ ends of runs */

static void
end_run(int64 run, const char *status, const char *sqlstate, const char *message)
{
	KpxOutcome outcome = {status, sqlstate, message, NULL, -1, -1, NULL};

	kpx_worker_begin();
	kpx_run_finish(run, &outcome);
	commit();
}

/* Workers that this process started and that have ended; one that has not said how it went was stopped. */
static void
reap_own(void)
{
	for (int i = 0; i < (int) lengthof(started); i++)
	{
		Started *s = &started[i];
		pid_t pid;

		if (s->run == 0 || GetBackgroundWorkerPid(s->handle, &pid) != BGWH_STOPPED)
			continue;
		end_run(s->run, "failed", "57P01", "the worker was terminated, or could not start: see the server's log");
		kpx_run_release(s->run);
		pfree(s->handle);
		s->run = 0;
	}
}

static bool
is_own(int64 run)
{
	for (int i = 0; i < (int) lengthof(started); i++)
		if (started[i].run == run)
			return true;
	return false;
}

/* Runs of the tables that no process works on: of a scheduler before this one, or of a server that stopped. */
static void
reap_others(MemoryContext context)
{
	int64 *runs;
	int n;

	kpx_worker_begin();
	MemoryContextSwitchTo(context);
	runs = kpx_runs_running(&n);
	commit();
	for (int i = 0; i < n; i++)
	{
		KpxRunState state = kpx_run_state(runs[i]);

		if (is_own(runs[i]))
			continue;
		if (state == KPX_RUN_UNKNOWN)
			end_run(runs[i], "lost", "58000", "the server stopped, or the worker died, before it ended");
		if (state == KPX_RUN_ENDED)
		{
			end_run(runs[i], "failed", "57P01", "the worker was terminated: see the server's log");
			kpx_run_release(runs[i]);
		}
	}
}

/* ------------------------------------------------------------ starting */

/* Why the owner's jobs cannot run, or NULL. */
static const char *
owner_fault(const char *owner, Oid *role)
{
	HeapTuple tuple = SearchSysCache1(AUTHNAME, CStringGetDatum(owner));
	Form_pg_authid form;
	const char *fault = NULL;

	if (!HeapTupleIsValid(tuple))
		return psprintf("its owner \"%s\" does not exist any more", owner);
	form = (Form_pg_authid) GETSTRUCT(tuple);
	*role = form->oid;
	if (!form->rolcanlogin)
		fault = psprintf("its owner \"%s\" may not log in", owner);
	else if (form->rolsuper && !kpx_allow_superuser_jobs)
		fault = psprintf("its owner \"%s\" is a superuser, and kpxrec.allow_superuser_jobs is off", owner);
	ReleaseSysCache(tuple);
#if PG_VERSION_NUM >= 160000
	if (fault == NULL && object_aclcheck(DatabaseRelationId, MyDatabaseId, *role, ACL_CONNECT) != ACLCHECK_OK)
#else
	if (fault == NULL && pg_database_aclcheck(MyDatabaseId, *role, ACL_CONNECT) != ACLCHECK_OK)
#endif
		fault = psprintf("its owner \"%s\" may not connect to this database", owner);
	return fault;
}

static Started *
free_place(void)
{
	for (int i = 0; i < (int) lengthof(started); i++)
		if (started[i].run == 0)
			return &started[i];
	return NULL;
}

static bool
launch(Started *s, const KpxJob *job, Oid role, int64 run, int place)
{
	KpxWorkerOrder order = {MyDatabaseId, role, job->id, place, run, job->run_requested};
	BackgroundWorker worker;
	MemoryContext old;
	bool registered;

	kpx_worker_prepare(&worker, "kpx_worker_main", "kpxrec job");
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "kpxrec job %d", job->id);
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &order, sizeof(order));
	old = MemoryContextSwitchTo(TopMemoryContext);
	registered = RegisterDynamicBackgroundWorker(&worker, &s->handle);
	MemoryContextSwitchTo(old);
	if (registered)
		s->run = run;
	return registered;
}

static void
say_crowded(const char *what)
{
	if (!crowded)
		ereport(LOG, (errmsg("kpxrec jobs wait: %s", what), errhint("Increase %s.", kpx_runs_here() ? "kpxrec.max_running_jobs, or max_worker_processes" : "max_worker_processes")));
	crowded = true;
}

/* Starts a run; false when there is no room now. The row is committed before there is a worker. */
static bool
start(const KpxJob *job, const KpxDue *due, bool retry)
{
	Started *s = free_place();
	Oid role = InvalidOid;
	const char *fault;
	int64 run;
	int place;

	kpx_worker_begin();
	fault = owner_fault(job->owner, &role);
	if (fault)
	{
		KpxOutcome outcome = {"failed", "28000", fault, NULL, -1, -1, NULL};

		run = kpx_run_start(job->id, due->slot, (int64) due->missed, retry);
		kpx_run_finish(run, &outcome);
		kpx_job_stop(job->id, fault);
		ereport(WARNING, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION), errmsg("kpxrec job \"%s\" is paused: %s", job->name, fault)));
		commit();
		return true;
	}
	commit();
	place = s ? kpx_run_reserve() : -1;
	if (place < 0)
	{
		say_crowded("as many run as may");
		return false;
	}
	kpx_worker_begin();
	run = kpx_run_start(job->id, due->slot, (int64) due->missed, retry);
	kpx_run_number(place, run); /* 0, which frees it, when the job was unscheduled just now */
	commit();
	if (run == 0)
		return true;
	KPX_FAULT("run started");
	if (launch(s, job, role, run, place))
	{
		crowded = false;
		return true;
	}
	kpx_run_release(run);
	kpx_worker_begin();
	kpx_run_unstart(run, job, (int64) due->missed);
	commit();
	say_crowded("no background worker is free");
	return false;
}

/* ------------------------------------------------------------ one look at all jobs */

/* What one job does now; when to look at it again goes to *next (0 = not before it changes). */
static void
look_at(const KpxJob *job, TimestampTz now, TimestampTz *next)
{
	KpxDue due;
	bool retry;

	*next = 0;
	if (!job->enabled && !job->run_requested)
		return;
	due = kpx_job_due(job, now, &retry);
	if (due.clock_was_wrong)
	{
		kpx_worker_begin();
		kpx_job_pass_over(job->id, now, 0);
		commit();
	}
	if (job->running)
	{
		/* What comes due meanwhile is passed over, not queued. */
		if (job->enabled && !retry && due.start <= now)
		{
			kpx_worker_begin();
			kpx_job_pass_over(job->id, due.slot, (int64) due.missed + 1);
			commit();
		}
		return;
	}
	if (job->run_requested || due.start <= now)
	{
		/* A run on request is for no slot. */
		if (job->run_requested && due.start > now)
			due = (KpxDue){now, job->started ? job->last_slot : job->anchor - 1, 0, false};
		if (!start(job, &due, retry))
			*next = now + CROWDED;
		return;
	}
	*next = due.start;
	if (job->next_start != due.start && !retry)
	{
		kpx_worker_begin();
		kpx_job_set_next_start(job->id, due.start);
		commit();
	}
}

static void
stop_poisoned(const KpxJob *job, const char *because)
{
	kpx_worker_begin();
	kpx_job_stop(job->id, because);
	commit();
	ereport(WARNING, (errmsg("kpxrec job \"%s\" is paused: %s", job->name, because)));
}

/* look_at, but an error pauses the job; that a process is to end is no error of the job's. */
static void
look_at_safely(const KpxJob *job, TimestampTz now, MemoryContext context, TimestampTz *next)
{
	char *volatile because = NULL;

	PG_TRY();
	{
		look_at(job, now, next);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		/* What the job's row says cannot be: of all else, this process dies, and is started again. */
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
		AbortCurrentTransaction();
		MemoryContextSwitchTo(context);
		because = error->message;
	}
	PG_END_TRY();
	if (because)
		stop_poisoned(job, because);
}

/* When to look again: the earliest start. Jobs made elsewhere are paused first. */
static TimestampTz
look_at_all(MemoryContext context)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz earliest = 0;
	KpxJob *jobs;
	int n;

	kpx_worker_begin();
	MemoryContextSwitchTo(context);
	jobs = kpx_jobs_load(&n);
	commit();
	for (int i = 0; i < n; i++)
	{
		TimestampTz next = 0;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(context);
		if (jobs[i].elsewhere && (jobs[i].enabled || jobs[i].run_requested))
			stop_poisoned(&jobs[i], "it came with a copy of the database from elsewhere; kpx_resume lets it run here");
		else if (!jobs[i].elsewhere)
			look_at_safely(&jobs[i], now, context, &next);
		if (next != 0 && (earliest == 0 || next < earliest))
			earliest = next;
	}
	return earliest;
}

/* ------------------------------------------------------------ the loop */

/* Old rows of runs go, every few minutes. */
static void
expire_runs(TimestampTz *expired_at)
{
	if (*expired_at + EXPIRE_EVERY > GetCurrentTimestamp())
		return;
	kpx_worker_begin();
	kpx_runs_expire();
	commit();
	*expired_at = GetCurrentTimestamp();
}

static bool
has_extension(void)
{
	bool there;

	kpx_worker_begin();
	there = kpx_extension_matches();
	commit();
	return there;
}

static void
sleep_until(TimestampTz next)
{
	long milliseconds = next == 0 ? 60000 : TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next);

	pgstat_report_activity(STATE_IDLE, NULL);
	(void) pgstat_report_stat(true); /* nobody else does for a process that goes on: autovacuum would not see our updates */
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Min(milliseconds + 1, 60000), PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

void
kpx_scheduler_main(Datum argument)
{
	MemoryContext context;
	TimestampTz next = 0;
	TimestampTz expired_at = 0;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(argument), InvalidOid, 0);
	kpx_worker_pin_settings();
	pgstat_report_appname("kpxrec scheduler");
	if (RecoveryInProgress() || !kpx_scheduler_attach())
		proc_exit(0);
	context = AllocSetContextCreate(TopMemoryContext, "kpxrec scheduler", ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		bool woken = kpx_scheduler_woken();

		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		if (!has_extension())
		{
			kpx_scheduler_sleep_until(0);
			proc_exit(0);
		}
		reap_own();
		reap_others(context);
		expire_runs(&expired_at);
		next = kpx_jobs ? look_at_all(context) : 0;
		if (kpx_runs_here() == 0 && !woken && (next == 0 || next > GetCurrentTimestamp() + STAY))
		{
			kpx_scheduler_sleep_until(next);
			proc_exit(0);
		}
		sleep_until(next);
	}
}
