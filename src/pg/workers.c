/*
 * workers.c
 *	  Parallel workers over a segment of shared memory: launching, attaching, ending.
 *
 * The server hands its parallel workers a snapshot, and so holds back vacuum for as long as they
 * run. Ours look at no table. A leader that has no snapshot itself takes one to launch them with,
 * and lets go of it when all of them have let go of theirs.
 */
#include "workers.h"

#include "access/xact.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "shared_memory.h"

#define TOC_LAUNCH UINT64CONST(0x4B50580000000001)
#define TOC_QUERY UINT64CONST(0x4B50580000000002)

typedef struct Launch
{
	dsm_handle segment;
	bool without_snapshot;
	pg_atomic_uint32 arrived;
	ConditionVariable arrival;
} Launch;

static Launch *launch = NULL; /* in a worker: of the leader */

static void
wait_for_arrival(ParallelContext *pcxt, Launch *launched)
{
	if (pcxt->nworkers_launched > 0)
		WaitForParallelWorkersToAttach(pcxt); /* raises for those that could not start */
	ConditionVariablePrepareToSleep(&launched->arrival);
	while (pg_atomic_read_u32(&launched->arrived) < (uint32) pcxt->nworkers_launched)
		ConditionVariableSleep(&launched->arrival, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

int
kpx_workers_wanted(uint64 interactions)
{
	if (interactions < (uint64) kpx_min_parallel_interactions || IsInParallelMode())
		return 0;
	return Min(max_parallel_maintenance_workers, 64);
}

dsm_segment *
kpx_workers_segment(const char *work, size_t bytes)
{
	dsm_segment *segment = kpx_segment_create(bytes);

	if (segment == NULL)
		ereport(NOTICE,
				(errmsg("%s in one process: %zu MB of shared memory are not to be had", work, bytes >> 20),
				 errhint("Give the server more shared memory (in containers: --shm-size), or set max_parallel_maintenance_workers = 0.")));
	return segment;
}

ParallelContext *
kpx_workers_launch(const char *work, const char *function, dsm_segment *segment, int workers)
{
	ParallelContext *pcxt;
	Launch *launched;
	bool without_snapshot = !ActiveSnapshotSet();
	const char *query = debug_query_string ? debug_query_string : "";
	size_t query_bytes = strlen(query) + 1;

	if (without_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	EnterParallelMode();
	pcxt = CreateParallelContext("kpxrec", function, workers);
	shm_toc_estimate_chunk(&pcxt->estimator, sizeof(Launch));
	shm_toc_estimate_chunk(&pcxt->estimator, query_bytes);
	shm_toc_estimate_keys(&pcxt->estimator, 2);
	InitializeParallelDSM(pcxt);
	launched = shm_toc_allocate(pcxt->toc, sizeof(Launch));
	launched->segment = dsm_segment_handle(segment);
	launched->without_snapshot = without_snapshot;
	pg_atomic_init_u32(&launched->arrived, 0);
	ConditionVariableInit(&launched->arrival);
	shm_toc_insert(pcxt->toc, TOC_LAUNCH, launched);
	shm_toc_insert(pcxt->toc, TOC_QUERY, memcpy(shm_toc_allocate(pcxt->toc, query_bytes), query, query_bytes));
	LaunchParallelWorkers(pcxt);
	if (pcxt->nworkers_launched == 0)
		ereport(NOTICE,
				(errmsg("%s in one process: no parallel worker is free", work),
				 errhint("Increase max_worker_processes or max_parallel_workers.")));
	if (without_snapshot)
	{
		wait_for_arrival(pcxt, launched);
		PopActiveSnapshot();
	}
	return pcxt;
}

void
kpx_workers_finish(ParallelContext *pcxt)
{
	WaitForParallelWorkersToFinish(pcxt);
	DestroyParallelContext(pcxt);
	ExitParallelMode();
}

dsm_segment *
kpx_worker_attach(shm_toc *toc, const char *what)
{
	dsm_segment *segment;

	launch = shm_toc_lookup(toc, TOC_LAUNCH, false);
	segment = dsm_attach(launch->segment);
	debug_query_string = shm_toc_lookup(toc, TOC_QUERY, true);
	pgstat_report_activity(STATE_RUNNING, debug_query_string);
	if (segment == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("could not map the memory of the %s", what)));
	if (launch->without_snapshot)
	{
		InvalidateCatalogSnapshot();
		PopActiveSnapshot();
		pg_atomic_fetch_add_u32(&launch->arrived, 1);
		ConditionVariableBroadcast(&launch->arrival);
	}
	return segment;
}

void
kpx_worker_detach(dsm_segment *segment)
{
	dsm_detach(segment);
	if (launch->without_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot()); /* the server pops the one it pushed */
}
