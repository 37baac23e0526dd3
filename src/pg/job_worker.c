/*
 * job_worker.c
 *	  A worker: one run of one job, connected as the job's owner.
 *
 * current_user and session_user are the owner, so that nothing a job does, nor any function or
 * trigger that it comes by, can do more than the owner could. However the task ends, the last
 * transaction says so in kpx.job_run; when the process is stopped, the scheduler does.
 */
#include "job.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "postmaster/interrupt.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "fault.h"
#include "progress.h"

/* Each transaction has its own now(): a process that is no session of a client must say when it begins. */
void
kpx_worker_begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
}

/* The job, its run marked with our process; NULL when it was unscheduled meanwhile. */
static KpxJob *
take_job(const KpxWorkerOrder *order, MemoryContext context)
{
	KpxJob *job;

	kpx_worker_begin();
	MemoryContextSwitchTo(context);
	job = kpx_job_load(order->job);
	/* Numbers start again when the extension is dropped and created. */
	if (job && get_role_oid(job->owner, true) != order->role)
		job = NULL;
	kpx_run_set_pid(order->run, MyProcPid);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return job;
}

/* Events are counted before the task reads them: what comes in between counts again, rather than never. */
static bool
has_new_events(const KpxJob *job, MemoryContext context, Jsonb **seen)
{
	bool due;

	if (job->when_new_events == 0 && job->when_new_share == 0)
		return true;
	kpx_worker_begin();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(context);
	*seen = kpx_job_events(job, &due);
	PopActiveSnapshot();
	CommitTransactionCommand();
	return due;
}

/*
 * A run's row is kept for weeks, and forgetting a user does not look into it: so of errors about
 * data (class 22, where messages quote values) it has the message without what was put into it.
 */
static char *
message_of(const ErrorData *error)
{
	const char *format = error->message_id;
	StringInfoData text;

	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION || error->sqlerrcode == ERRCODE_INVALID_PARAMETER_VALUE || format == NULL)
		return error->message;
	initStringInfo(&text);
	while (*format)
	{
		if (*format != '%')
			appendStringInfoChar(&text, *format++);
		else if (format[1] == '%')
		{
			appendStringInfoChar(&text, '%');
			format += 2;
		}
		else
		{
			appendStringInfoString(&text, "...");
			format += 1 + strspn(format + 1, "0123456789.*-+ #$hlzjt");
			format += *format != '\0';
		}
	}
	return text.data;
}

/* Likewise the detail of errors where it says what a role may not, what is missing or too much, and never shows a row. */
static const char *
detail_of(const ErrorData *error)
{
	static const int shown[] = {ERRCODE_FEATURE_NOT_SUPPORTED, ERRCODE_INVALID_TRANSACTION_STATE, ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION,
								ERRCODE_INSUFFICIENT_RESOURCES, ERRCODE_PROGRAM_LIMIT_EXCEEDED, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE};

	for (int i = 0; i < (int) lengthof(shown); i++)
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TO_CATEGORY(shown[i]))
			return error->detail;
	return error->sqlerrcode == ERRCODE_INVALID_PARAMETER_VALUE ? error->detail : NULL;
}

/* Runs the task and catches what it raises. */
static void
run_task(const KpxJob *job, bool requested, MemoryContext context, KpxOutcome *outcome, bool *due)
{
	PG_TRY();
	{
		/* Whoever wants a job to run now does not ask for new events. */
		*due = has_new_events(job, context, &outcome->events_seen) || requested;
		if (*due)
		{
			MemoryContextSwitchTo(context);
			kpx_task_run(job, context, outcome);
		}
	}
	PG_CATCH();
	{
		ErrorData *error;

		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		EmitErrorReport();
		FlushErrorState();
		AbortCurrentTransaction();
		MemoryContextSwitchTo(context);
		RESUME_INTERRUPTS();
		outcome->status = error->sqlerrcode == ERRCODE_QUERY_CANCELED ? "cancelled" : "failed";
		outcome->sqlstate = pstrdup(unpack_sql_state(error->sqlerrcode));
		outcome->message = message_of(error);
		if (detail_of(error))
			outcome->message = psprintf("%s (%s)", outcome->message, detail_of(error));
		outcome->events_seen = NULL;
	}
	PG_END_TRY();
}

static void
finish(const KpxWorkerOrder *order, const KpxOutcome *outcome, bool due)
{
	kpx_worker_begin();
	/* Nobody can be told where the extension was dropped. */
	if (OidIsValid(get_extension_oid("kpxrec", true)))
	{
		if (due)
			kpx_run_finish(order->run, outcome);
		else
			kpx_run_forget(order->run);
	}
	CommitTransactionCommand();
	KPX_FAULT("job told");
	kpx_run_told();
}

/* When max_runtime is over, the server cancels the statement as statement_timeout does. */
static void
limit_runtime(const KpxJob *job)
{
	if (job->max_runtime > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, (int) Min(Max(job->max_runtime / 1000, 1), INT_MAX));
}

void
kpx_worker_main(Datum argument)
{
	KpxWorkerOrder order;
	KpxOutcome outcome = {.status = "succeeded", .rows = -1};
	MemoryContext context;
	KpxJob *job;
	bool due = true;
	bool timed_out;

	memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof(order));
	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	if (!kpx_run_attach(order.place, order.run))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(order.database, order.role, 0);
	kpx_worker_pin_settings();
	context = AllocSetContextCreate(TopMemoryContext, "kpxrec job", ALLOCSET_DEFAULT_SIZES);
	job = take_job(&order, context);
	if (job == NULL)
	{
		outcome.status = "cancelled";
		outcome.message = "the job was unscheduled";
		finish(&order, &outcome, true);
		proc_exit(0);
	}
	KPX_FAULT("job taken");
	pgstat_report_appname(psprintf("kpxrec job %s", job->name));
	debug_query_string = psprintf("kpxrec job \"%s\": %s", job->name, job->task);
	pgstat_report_activity(STATE_RUNNING, debug_query_string);
	limit_runtime(job);
	run_task(job, order.requested, context, &outcome, &due);
	timed_out = outcome.sqlstate && job->max_runtime > 0 && !get_timeout_active(STATEMENT_TIMEOUT);
	disable_all_timeouts(false);
	QueryCancelPending = false; /* one that came when all was done; after the timeouts, as the server does */
	if (timed_out && strcmp(outcome.status, "cancelled") == 0)
	{
		outcome.status = "failed";
		outcome.message = "it ran longer than its max_runtime";
	}
	outcome.phase = kpx_progress()->phase[0] ? kpx_progress()->phase : NULL;
	outcome.peak_memory = (int64) kpx_progress()->peak_memory;
	KPX_FAULT("job done");
	finish(&order, &outcome, due);
	proc_exit(0);
}
