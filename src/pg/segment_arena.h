/*
 * segment_arena.h
 *	  The memory one clustering run works in, shared by its processes.
 *
 * Offsets are from the start of the arena, which each process may have mapped elsewhere.
 */
#ifndef KPX_PG_SEGMENT_ARENA_H
#define KPX_PG_SEGMENT_ARENA_H

#include "segment.h"

#include "port/atomics.h"
#include "storage/barrier.h"
#include "storage/condition_variable.h"

#define KPX_CLUSTER_SLOTS 32 /* ranges of rows with sums of their own */

typedef struct KpxClusterRows
{
	size_t n;
	size_t x; /* float[n][ld] */
	size_t norm; /* float[n] */
} KpxClusterRows;

typedef struct KpxClusterRun
{
	int features;
	size_t ld;
	int low_k; /* in question: low_k .. high_k */
	int high_k;
	int restarts;
	int iterations;
	double tolerance; /* share of the mean variance of a feature */
	double move_limit; /* sum of squared moves that stops */
	double min_users;
	uint64 seed;
	KpxClusterRows all;
	KpxClusterRows sample;
	KpxClusterRows small; /* for silhouettes */
	size_t label; /* uint32[all.n] */
	size_t upper; /* float[all.n] */
	size_t lower; /* float[all.n] */
	size_t means; /* kpx_means_size(high_k) */
	size_t sums; /* [KPX_CLUSTER_SLOTS] of sums_bytes */
	size_t sums_bytes;
	size_t jobs; /* double[jobs]: inertia; int[jobs]: centres found; float[jobs][high_k][ld] */
	size_t found;
	size_t centres;
	size_t scores; /* double[high_k - low_k + 1]: silhouettes */
	size_t bytes;
	/* progress */
	int k;
	int done; /* iterations */
	bool reset; /* labels are to be forgotten first */
	bool last; /* the centres are final */
	bool stop;
	/* cooperation */
	bool go;
	ConditionVariable go_changed;
	Barrier barrier;
	pg_atomic_uint64 next;
} KpxClusterRun;

typedef struct KpxClusterProcess
{
	KpxClusterRun *shared;
	char *arena;
	bool leader;
	bool alone;
	void *workspace;
	KpxMeansRun run; /* memory for a job */
} KpxClusterProcess;

static inline void *
kpx_cluster_at(const KpxClusterProcess *p, size_t offset)
{
	return p->arena + offset;
}

static inline KpxPoints
kpx_cluster_points(const KpxClusterProcess *p, const KpxClusterRows *rows)
{
	return (KpxPoints){rows->n, p->shared->features, p->shared->ld, kpx_cluster_at(p, rows->x), kpx_cluster_at(p, rows->norm)};
}

static inline KpxLabels
kpx_cluster_labels(const KpxClusterProcess *p)
{
	return (KpxLabels){kpx_cluster_at(p, p->shared->label), kpx_cluster_at(p, p->shared->upper), kpx_cluster_at(p, p->shared->lower)};
}

static inline KpxMeans
kpx_cluster_means(const KpxClusterProcess *p)
{
	KpxMeans means = kpx_means_at(kpx_cluster_at(p, p->shared->means), p->shared->high_k, p->shared->features);

	means.k = p->shared->k;
	return means;
}

static inline KpxMeansSums
kpx_cluster_sums(const KpxClusterProcess *p, uint64 slot)
{
	return kpx_means_sums_at((char *) kpx_cluster_at(p, p->shared->sums) + slot * p->shared->sums_bytes, p->shared->high_k, p->shared->features);
}

static inline float *
kpx_cluster_job_centres(const KpxClusterProcess *p, int job)
{
	return (float *) kpx_cluster_at(p, p->shared->centres) + (size_t) job * p->shared->high_k * p->shared->ld;
}

/* Fills in the sizes and offsets of a run over data; ->bytes is what the arena takes. k 0: in question. 54000. */
extern void kpx_cluster_layout(KpxClusterRun *s, const KpxEncoded *data, int k, const KpxClusterParams *params);

/* Puts data and samples of it into an arena that was laid out. 22003. */
extern void kpx_cluster_fill(KpxClusterProcess *p, const KpxEncoded *data);

#endif /* KPX_PG_SEGMENT_ARENA_H */
