/*
 * job.h
 *	  Jobs: what the background worker runs by itself.
 *
 * job_launcher starts one job_scheduler for each database that has jobs to run soon, which starts
 * one job_worker for each run, connected as the job's owner. The tables kpx.job and kpx.job_run
 * (job_store) are the truth; what processes share in memory (job_shared) is there to wake one
 * another, to know who is alive, and to count.
 */
#ifndef KPX_JOB_H
#define KPX_JOB_H

#include "kpxrec.h"

#include "postmaster/bgworker.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "core/schedule.h"

/* Settings; documented in docs/reference.md. */
extern bool kpx_jobs;
extern bool kpx_allow_superuser_jobs;
extern int kpx_max_running_jobs;
extern int kpx_job_retry_delay; /* seconds */
extern int kpx_job_run_retention; /* seconds */

/* Asks for shared memory and registers the launcher; while the server preloads libraries. Defines the settings at any time. */
extern void kpx_job_init(void);

/* ------------------------------------------------------------ job_store: kpx.job and kpx.job_run */

/* A row of kpx.job, in the current memory context. */
typedef struct KpxJob
{
	int32 id;
	char *name;
	char *owner;
	char *task;
	Jsonb *arguments;
	Interval every;
	int64 at; /* microseconds of the day; -1 none */
	int64 until;
	char *time_zone;
	int64 when_new_events; /* 0 = not a condition */
	double when_new_share;
	int64 max_runtime; /* microseconds; 0 = none */
	char *catch_up;
	Interval jitter;
	TimestampTz anchor;
	bool enabled;
	bool elsewhere; /* made on another server or in another database */
	bool started; /* has a last_slot */
	TimestampTz last_slot;
	TimestampTz retry_at; /* 0 = none */
	TimestampTz next_start; /* 0 = none */
	bool run_requested;
	bool running;
	Jsonb *events_seen; /* or NULL */
} KpxJob;

/* How a run went. */
typedef struct KpxOutcome
{
	const char *status; /* succeeded, failed, cancelled, lost */
	const char *sqlstate; /* or NULL */
	const char *message; /* or NULL */
	const char *phase; /* or NULL */
	int64 rows; /* < 0 = not known */
	int64 peak_memory; /* < 0 = not known */
	Jsonb *events_seen; /* or NULL */
} KpxOutcome;

/* All of these run in the caller's transaction, as the extension's owner, and take a snapshot themselves. */
extern KpxJob *kpx_jobs_load(int *n); /* by when they are due */
extern KpxJob *kpx_job_load(int32 id); /* NULL when it is gone */
extern void kpx_job_set_next_start(int32 id, TimestampTz start); /* 0 = none */
extern void kpx_job_pass_over(int32 id, TimestampTz slot, int64 slots); /* counts them as skipped */
extern void kpx_job_stop(int32 id, const char *because);
/* A run begins: its number. retry: of the slot that failed last. */
extern int64 kpx_run_start(int32 job, TimestampTz slot, int64 missed, bool retry);
extern void kpx_run_set_pid(int64 run, int pid);
/* The run ends, unless it has ended already: its row, and the job's counters and retry. */
extern void kpx_run_finish(int64 run, const KpxOutcome *outcome);
/* The run never was; nor, with unstart, did its job start it: job as it was before. */
extern void kpx_run_forget(int64 run);
extern void kpx_run_unstart(int64 run, const KpxJob *job, int64 missed);
/* Runs that are running according to their rows. */
extern int64 *kpx_runs_running(int *n);
extern void kpx_runs_expire(void);
/* Whether the extension is here, in the version of this library. */
extern bool kpx_extension_matches(void);

/* ------------------------------------------------------------ job_schedule */

/* The schedule of a job; errors: 22023 for what cannot be. zone lives in the server's cache. */
extern KpxSchedule kpx_job_schedule(const KpxJob *job);
extern KpxZone kpx_zone(const char *name);
/* Its next start: kpx_schedule_next, or the retry before it. *retry: it is that. */
extern KpxDue kpx_job_due(const KpxJob *job, TimestampTz now, bool *retry);

/* ------------------------------------------------------------ job_task */

/* 22023 listing the tasks when there is none of this name, or its arguments cannot be; 42501 unless the current role may call it. */
extern void kpx_task_check(const char *task, Jsonb *arguments);
/* The call that the task is, as one would write it. */
extern char *kpx_task_sql(const char *task, Jsonb *arguments);
/* Runs it, in transactions of its own: to be called outside of any. */
extern void kpx_task_run(const KpxJob *job, MemoryContext context, KpxOutcome *outcome);

/* Members of arguments; NULL when they are not there. */
extern char *kpx_argument_text(Jsonb *arguments, const char *key);
extern ArrayType *kpx_argument_texts(Jsonb *arguments, const char *key);

/* ------------------------------------------------------------ job_train */

/* Task train: each phase in its own transaction, and the guard. */
extern void kpx_job_train(Jsonb *arguments, MemoryContext context, KpxOutcome *outcome);
extern double kpx_job_margin(Jsonb *arguments); /* < 0: no guard */

/* ------------------------------------------------------------ job_events */

/* Counts events of the job's modules as the current user, to be stored as seen; *due: enough of them are new. */
extern Jsonb *kpx_job_events(const KpxJob *job, bool *due);

/* ------------------------------------------------------------ job_shared */

extern bool kpx_job_shared(void); /* false: not preloaded */

/* The launcher looks at this database when the transaction commits. When too many databases have jobs it does not; 53400 if it is required. */
extern void kpx_job_wake_at_commit(bool required);

/* Of the launcher: its latch; databases to start a scheduler for now, and when to look again (0 = when woken). */
extern void kpx_launcher_attach(void);
extern Oid kpx_launcher_next(TimestampTz now, TimestampTz *look_again);
extern bool kpx_launcher_add(Oid database); /* false: as many have jobs as can */
extern void kpx_launcher_defer(Oid database, TimestampTz until);
extern void kpx_launcher_remove(Oid database);

/* Of a scheduler: false when there is one already. Woken by its latch. */
extern bool kpx_scheduler_attach(void);
extern void kpx_scheduler_sleep_until(TimestampTz wake_at); /* 0: until woken; the scheduler ends */
extern bool kpx_scheduler_woken(void);

/* A place among the running ones, -1 when all are taken. state of a run: */
typedef enum KpxRunState
{
	KPX_RUN_UNKNOWN, /* there is none of this number */
	KPX_RUN_STARTING,
	KPX_RUN_ALIVE,
	KPX_RUN_ENDED /* its process is no more */
} KpxRunState;

extern int kpx_run_reserve(void);
extern void kpx_run_number(int place, int64 run); /* the run it is for; until then -1 */
extern void kpx_run_release(int64 run);
extern bool kpx_run_attach(int place, int64 run); /* in the worker, before it connects; false: nobody waits for it any more */
extern void kpx_run_told(void); /* in the worker: how it ended is committed */
extern KpxRunState kpx_run_state(int64 run);
extern int kpx_runs_here(void);
extern void kpx_runs_terminate(void); /* those of this database */

/* ------------------------------------------------------------ job_hook */

extern void kpx_job_hook_init(void);

/* ------------------------------------------------------------ processes */

extern PGDLLEXPORT void kpx_launcher_main(Datum argument);
extern PGDLLEXPORT void kpx_scheduler_main(Datum argument);
extern PGDLLEXPORT void kpx_worker_main(Datum argument);

/* What a worker is told, in bgw_extra. */
typedef struct KpxWorkerOrder
{
	Oid database;
	Oid role;
	int32 job;
	int32 place;
	int64 run;
	bool requested; /* by kpx_run_now: conditions do not count */
} KpxWorkerOrder;

/* A worker of this library, filled in but for its order. */
extern void kpx_worker_prepare(BackgroundWorker *worker, const char *function, const char *name);
/* The first thing a process of ours does when it is connected: settings that it must not take from a role or database. */
extern void kpx_worker_pin_settings(void);
/* Begins a transaction of its own, at the time it is now. */
extern void kpx_worker_begin(void);

#endif /* KPX_JOB_H */
