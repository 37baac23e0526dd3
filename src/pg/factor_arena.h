/*
 * factor_arena.h
 *	  The memory one run of iALS works in, shared by its processes.
 *
 * Offsets are from the start of the arena, which each process may have mapped elsewhere.
 */
#ifndef KPX_FACTOR_ARENA_H
#define KPX_FACTOR_ARENA_H

#include "ingest.h"
#include "params.h"

#include "port/atomics.h"
#include "storage/barrier.h"
#include "storage/condition_variable.h"

#define GRAM_SLOTS 16
#define CHUNK_ENTRIES 16384
#define CHUNK_ROWS 4096
#define KPX_FACTOR_MODULES 64 /* a model can span */

/* One side: users or items. Offsets are from the start of the arena. */
typedef struct KpxFactorSide
{
	uint64 rows;
	uint64 n_chunks;
	size_t offset; /* uint64[rows + 1] */
	size_t index; /* uint32[entries] */
	size_t weight; /* float[entries] */
	size_t matrix; /* float[rows][ld] */
	size_t chunk; /* uint64[n_chunks + 1]: first row of each chunk */
	size_t sums; /* KpxSolveSums[n_chunks] */
} KpxFactorSide;

typedef struct KpxFactorRun
{
	int factors;
	size_t ld;
	int n_modules;
	uint32 item_base[KPX_FACTOR_MODULES + 1];
	double unobserved[KPX_FACTOR_MODULES];
	double unobserved_weight;
	double regularization;
	double tolerance;
	double unobserved_items; /* sum over modules of unobserved x items */
	int iterations;
	KpxFactorSide users;
	KpxFactorSide items;
	size_t gram_slots; /* double[GRAM_SLOTS][factors][factors] */
	size_t diagonal; /* float[ld] */
	size_t basis; /* float[factors][ld] */
	size_t bytes;
	/* progress */
	int done; /* iterations */
	bool stop;
	double loss;
	/* cooperation */
	bool go;
	ConditionVariable go_changed;
	Barrier barrier;
	pg_atomic_uint64 next; /* chunk or slot to take */
} KpxFactorRun;

/* What one process needs. */
typedef struct KpxFactorProcess
{
	KpxFactorRun *shared;
	char *arena;
	bool leader;
	bool alone;
	void *workspace;
	float *scratch;
	double *gram; /* leader */
	float *user_diagonal; /* leader: the users' Gram matrix where the items were solved last */
	double *basis_workspace; /* leader */
	double *losses; /* leader: [iterations] */
} KpxFactorProcess;

static inline void *
kpx_factor_at(const KpxFactorProcess *p, size_t offset)
{
	return p->arena + offset;
}

/* Fills in the sizes and offsets of a run over data; ->bytes is what the arena takes. 54000. */
extern void kpx_factor_layout(KpxFactorRun *s, const KpxData *data, const KpxParams *params);

/* Puts data and the first, random item factors into an arena that was laid out. */
extern void kpx_factor_fill(KpxFactorProcess *p, const KpxData *data, int64 seed);

#endif /* KPX_FACTOR_ARENA_H */
