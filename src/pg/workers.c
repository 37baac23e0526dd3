/*
 * workers.c
 *	  Parallel workers over a segment of shared memory: launching, attaching, ending.
 */
#include "workers.h"

#include "access/xact.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"

#define TOC_HANDLE UINT64CONST(0x4B50580000000001)
#define TOC_QUERY UINT64CONST(0x4B50580000000002)

ParallelContext *
kpx_workers_launch(const char *function, dsm_segment *segment, int workers)
{
	ParallelContext *pcxt;
	dsm_handle *handle;
	const char *query = debug_query_string ? debug_query_string : "";
	size_t query_bytes = strlen(query) + 1;

	EnterParallelMode();
	pcxt = CreateParallelContext("kpxrec", function, workers);
	shm_toc_estimate_chunk(&pcxt->estimator, sizeof(dsm_handle));
	shm_toc_estimate_chunk(&pcxt->estimator, query_bytes);
	shm_toc_estimate_keys(&pcxt->estimator, 2);
	InitializeParallelDSM(pcxt);
	handle = shm_toc_allocate(pcxt->toc, sizeof(dsm_handle));
	*handle = dsm_segment_handle(segment);
	shm_toc_insert(pcxt->toc, TOC_HANDLE, handle);
	shm_toc_insert(pcxt->toc, TOC_QUERY, memcpy(shm_toc_allocate(pcxt->toc, query_bytes), query, query_bytes));
	LaunchParallelWorkers(pcxt);
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
	dsm_handle *handle = shm_toc_lookup(toc, TOC_HANDLE, false);
	dsm_segment *segment = dsm_attach(*handle);

	debug_query_string = shm_toc_lookup(toc, TOC_QUERY, true);
	pgstat_report_activity(STATE_RUNNING, debug_query_string);
	if (segment == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("could not map the memory of the %s", what)));
	return segment;
}
