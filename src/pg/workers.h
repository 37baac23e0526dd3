/*
 * workers.h
 *	  Parallel workers over a segment of shared memory: launching, attaching, ending.
 */
#ifndef KPX_WORKERS_H
#define KPX_WORKERS_H

#include "kpxrec.h"

#include "access/parallel.h"
#include "storage/dsm.h"

/* How many may help with so many interactions: none with few, or from within parallel mode. */
extern int kpx_workers_wanted(uint64 interactions);

/* Shared memory for work ("training") by several processes; NULL, and a NOTICE, when there is none to be had. */
extern dsm_segment *kpx_workers_segment(const char *work, size_t bytes);

/*
 * Enters parallel mode and launches up to workers of this library's function, which will find
 * the segment by kpx_worker_attach; nworkers_launched says how many came,
 * a NOTICE that none did. When the caller has no
 * active snapshot, neither has it afterwards, nor have they.
 */
extern ParallelContext *kpx_workers_launch(const char *work, const char *function, dsm_segment *segment, int workers);

/* Waits for all of them and leaves parallel mode. */
extern void kpx_workers_finish(ParallelContext *pcxt);

/*
 * In a worker: shows the leader's query in pg_stat_activity and the log, and maps the segment.
 * 55000 when it cannot be mapped; what: whose memory, for instance "training run".
 */
extern dsm_segment *kpx_worker_attach(shm_toc *toc, const char *what);

/* The last thing a worker's function does. */
extern void kpx_worker_detach(dsm_segment *segment);

#endif /* KPX_WORKERS_H */
