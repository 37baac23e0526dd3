/*
 * factor_train.c
 *	  One run of iALS over ingested data, by this process and parallel workers.
 *
 * All numbers live in one arena: a dynamic shared memory segment when workers help,
 * ordinary memory when not. Work is cut into chunks that do not depend on the number
 * of workers, sums are kept a chunk or slot and added up in order by the leader, so the
 * model does not depend on it either. One iteration:
 *
 *	  items:  Gram slots | leader: basis | rotate    users: solve
 *	  users:  Gram slots | leader: basis | rotate    items: solve | leader: loss
 *
 * with a barrier at each bar and between steps.
 */
#include "factor_train.h"

#include "utils/wait_event.h"

#include "core/ingest.h"
#include "factor_arena.h"
#include "fault.h"
#include "progress.h"
#include "shared_memory.h"
#include "workers.h"

/* Multiply-adds between looks at interrupts: a few milliseconds. */
#define BUDGET 1e8

/* ------------------------------------------------------------ cooperation */

static void
synchronise(KpxFactorProcess *p)
{
	CHECK_FOR_INTERRUPTS();
	if (!p->alone)
		BarrierArriveAndWait(&p->shared->barrier, PG_WAIT_EXTENSION);
}

/* Everybody is here: the leader does its step and resets the queue, then all go on. */
#define LEADER_STEP(p, step) \
	do \
	{ \
		synchronise(p); \
		if ((p)->leader) \
		{ \
			step; \
			pg_atomic_write_u64(&(p)->shared->next, 0); \
		} \
		synchronise(p); \
	} while (0)

static bool
take(KpxFactorProcess *p, uint64 n, uint64 *which)
{
	CHECK_FOR_INTERRUPTS();
	*which = pg_atomic_fetch_add_u64(&p->shared->next, 1);
	return *which < n;
}

static void
check_status(KpxStatus status)
{
	if (status != KPX_OK)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("training diverged: the numbers are not finite any more"),
				 errhint("Increase regularization, or look for extreme weights in the event sources.")));
}

/* ------------------------------------------------------------ phases */

/* How rows [begin, end) of items are weighted in the users' Gram matrix, cut at modules. */
static void
gram_of_items(KpxFactorProcess *p, uint64 begin, uint64 end, double *gram)
{
	KpxFactorRun *s = p->shared;

	for (int m = 0; m < s->n_modules; m++)
	{
		uint64 from = Max(begin, s->item_base[m]);
		uint64 to = Min(end, s->item_base[m + 1]);

		for (; from < to; from += CHUNK_ROWS)
		{
			CHECK_FOR_INTERRUPTS();
			kpx_gram_add(s->factors, kpx_factor_at(p, s->items.matrix), from, Min(from + CHUNK_ROWS, to), s->unobserved[m],
						 p->scratch, gram);
		}
	}
}

static void
gram_slots(KpxFactorProcess *p, const KpxFactorSide *side)
{
	KpxFactorRun *s = p->shared;
	size_t dd = (size_t) s->factors * s->factors;
	uint64 slot;

	while (take(p, GRAM_SLOTS, &slot))
	{
		uint64 begin = side->rows * slot / GRAM_SLOTS;
		uint64 end = side->rows * (slot + 1) / GRAM_SLOTS;
		double *gram = (double *) kpx_factor_at(p, s->gram_slots) + slot * dd;

		memset(gram, 0, dd * sizeof(double));
		if (side == &s->items)
			gram_of_items(p, begin, end, gram);
		else
			for (; begin < end; begin += CHUNK_ROWS)
			{
				CHECK_FOR_INTERRUPTS();
				kpx_gram_add(s->factors, kpx_factor_at(p, side->matrix), begin, Min(begin + CHUNK_ROWS, end), 1.0, p->scratch, gram);
			}
	}
}

static void
leader_basis(KpxFactorProcess *p)
{
	KpxFactorRun *s = p->shared;
	size_t dd = (size_t) s->factors * s->factors;
	const double *slots = kpx_factor_at(p, s->gram_slots);
	KpxStatus status;

	memcpy(p->gram, slots, dd * sizeof(double));
	for (int slot = 1; slot < GRAM_SLOTS; slot++)
	{
		CHECK_FOR_INTERRUPTS();
		for (size_t k = 0; k < dd; k++)
			p->gram[k] += slots[slot * dd + k];
	}
	for (int step = 0; (status = kpx_gram_basis_step(step, s->factors, p->gram, p->basis_workspace,
													 kpx_factor_at(p, s->diagonal), kpx_factor_at(p, s->basis))) == KPX_MORE;
		 step++)
		CHECK_FOR_INTERRUPTS();
	check_status(status);
}

static void
rotate_side(KpxFactorProcess *p, const KpxFactorSide *side)
{
	KpxFactorRun *s = p->shared;
	uint64 step = 16 * KPX_ROTATE_ROWS;
	uint64 which;

	while (take(p, (side->rows + step - 1) / step, &which))
		kpx_rotate_rows(s->factors, kpx_factor_at(p, s->basis), which * step, Min((which + 1) * step, side->rows),
						p->scratch, kpx_factor_at(p, side->matrix));
}

/* Brings side's matrix into the basis of its Gram matrix. */
static void
diagonalise(KpxFactorProcess *p, const KpxFactorSide *side)
{
	gram_slots(p, side);
	LEADER_STEP(p, leader_basis(p));
	rotate_side(p, side);
	LEADER_STEP(p, (void) 0);
}

static void
solve_range(KpxFactorProcess *p, KpxFactorSide *side, const KpxFixed *fixed, uint64 begin, uint64 end, KpxSolveSums *sums)
{
	KpxRows rows = {kpx_factor_at(p, side->offset), kpx_factor_at(p, side->index), kpx_factor_at(p, side->weight)};
	KpxCursor cursor = {.row = begin};
	KpxStatus status;

	while ((status = kpx_solve_rows(fixed, &rows, end, &cursor, BUDGET, p->workspace, kpx_factor_at(p, side->matrix), sums)) == KPX_MORE)
		CHECK_FOR_INTERRUPTS();
	check_status(status);
}

/* Items of one module share their unobserved weight: a chunk is cut at module borders. */
static void
solve_item_chunk(KpxFactorProcess *p, KpxFixed *fixed, uint64 begin, uint64 end, KpxSolveSums *sums)
{
	KpxFactorRun *s = p->shared;

	for (int m = 0; m < s->n_modules; m++)
	{
		uint64 from = Max(begin, s->item_base[m]);
		uint64 to = Min(end, s->item_base[m + 1]);

		fixed->unobserved = s->unobserved_weight * s->unobserved[m];
		if (from < to)
			solve_range(p, &s->items, fixed, from, to, sums);
	}
}

static void
solve_side(KpxFactorProcess *p, KpxFactorSide *side, const KpxFactorSide *other)
{
	KpxFactorRun *s = p->shared;
	KpxFixed fixed = {s->factors, kpx_factor_at(p, other->matrix), kpx_factor_at(p, s->diagonal), s->unobserved_weight,
					  s->unobserved_items, s->regularization};
	const uint64 *chunk = kpx_factor_at(p, side->chunk);
	uint64 which;

	if (side == &s->items)
		fixed.unobserved_rows = (double) other->rows;
	while (take(p, side->n_chunks, &which))
	{
		KpxSolveSums sums = {0, 0};

		if (side == &s->items)
			solve_item_chunk(p, &fixed, chunk[which], chunk[which + 1], &sums);
		else
			solve_range(p, side, &fixed, chunk[which], chunk[which + 1], &sums);
		((KpxSolveSums *) kpx_factor_at(p, side->sums))[which] = sums;
	}
}

/* Loss after items were solved: their objective and the users' regularisation. */
static void
leader_loss(KpxFactorProcess *p)
{
	KpxFactorRun *s = p->shared;
	const KpxSolveSums *users = kpx_factor_at(p, s->users.sums);
	const KpxSolveSums *items = kpx_factor_at(p, s->items.sums);
	double before = s->loss;
	double loss = 0;

	for (uint64 c = 0; c < s->users.n_chunks; c++)
		loss += users[c].penalty;
	for (uint64 c = 0; c < s->items.n_chunks; c++)
		loss += items[c].objective;
	s->loss = loss;
	memcpy(p->user_diagonal, kpx_factor_at(p, s->diagonal), s->ld * sizeof(float));
	p->losses[s->done++] = loss;
	s->stop = s->done >= s->iterations ||
			  (s->tolerance > 0 && s->done > 1 && before - loss < s->tolerance * before);
	kpx_progress_loss((uint64) s->done, loss);
}

static void
iterate(KpxFactorProcess *p)
{
	KpxFactorRun *s = p->shared;

	do
	{
		if (p->leader)
			KPX_FAULT("iterate");
		else
			KPX_FAULT("worker");
		diagonalise(p, &s->items);
		solve_side(p, &s->users, &s->items);
		LEADER_STEP(p, (void) 0);
		diagonalise(p, &s->users);
		solve_side(p, &s->items, &s->users);
		LEADER_STEP(p, leader_loss(p));
	} while (!s->stop);
	diagonalise(p, &s->items);
}

static void
prepare(KpxFactorProcess *p)
{
	int factors = p->shared->factors;
	size_t ld = kpx_ld(factors);

	p->workspace = kpx_alloc_aligned(CurrentMemoryContext, kpx_solve_workspace_size(factors), 1);
	p->scratch = kpx_alloc_aligned(CurrentMemoryContext, Max((size_t) factors, KPX_ROTATE_ROWS) * ld, sizeof(float));
	if (p->leader)
	{
		p->gram = kpx_alloc(CurrentMemoryContext, (size_t) factors * factors, sizeof(double));
		p->user_diagonal = kpx_alloc(CurrentMemoryContext, ld, sizeof(float));
		p->basis_workspace = kpx_alloc(CurrentMemoryContext, kpx_gram_basis_workspace(factors), sizeof(double));
	}
}

/* ------------------------------------------------------------ workers */

PGDLLEXPORT void kpx_factor_worker(dsm_segment *seg, shm_toc *toc);

void
kpx_factor_worker(dsm_segment *seg, shm_toc *toc)
{
	dsm_segment *arena = kpx_worker_attach(toc, "training run");
	KpxFactorProcess p = {0};

	p.arena = dsm_segment_address(arena);
	p.shared = (KpxFactorRun *) p.arena;
	prepare(&p);
	ConditionVariablePrepareToSleep(&p.shared->go_changed);
	while (!((volatile KpxFactorRun *) p.shared)->go)
		ConditionVariableSleep(&p.shared->go_changed, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
	iterate(&p);
	kpx_worker_detach(arena);
}

static void
iterate_alone(KpxFactorProcess *p)
{
	p->alone = true;
	prepare(p);
	iterate(p);
}

/* Runs with up to workers helpers; returns how many came. */
static int
iterate_together(KpxFactorProcess *p, dsm_segment *segment, int workers)
{
	ParallelContext *pcxt = kpx_workers_launch("training", "kpx_factor_worker", segment, workers);
	int came = pcxt->nworkers_launched;

	if (came > 0)
		WaitForParallelWorkersToAttach(pcxt);
	p->alone = came == 0;
	BarrierInit(&p->shared->barrier, came + 1);
	p->shared->go = true;
	ConditionVariableBroadcast(&p->shared->go_changed);
	prepare(p);
	iterate(p);
	kpx_workers_finish(pcxt);
	return came;
}

/* ------------------------------------------------------------ the result */

/* The users' Gram matrix: diagonal where the items were solved last, then turned with the items. */
static void
put_user_gram(const KpxFactorProcess *p, float *to)
{
	const KpxFactorRun *s = p->shared;
	size_t d = (size_t) s->factors;
	double *workspace = kpx_alloc(CurrentMemoryContext, 2 * d * d, sizeof(double));

	memset(p->gram, 0, d * d * sizeof(double));
	for (size_t k = 0; k < d; k++)
		p->gram[k * d + k] = p->user_diagonal[k];
	kpx_gram_turn(s->factors, kpx_factor_at(p, s->basis), p->gram, workspace);
	for (size_t k = 0; k < d * d; k++)
		to[k] = (float) p->gram[k];
	pfree(workspace);
}

static void
make_part(const KpxFactorProcess *p, KpxFit *fit)
{
	float *blanks;

	const KpxFactorRun *s = p->shared;
	KpxFixed numbers = {s->factors, NULL, NULL, s->unobserved_weight, s->unobserved_items, s->regularization};
	KpxFixed *to = kpx_ials_part(fit, &numbers);

	memcpy((float *) to->matrix, kpx_factor_at(p, s->items.matrix), s->items.rows * s->ld * sizeof(float));
	memcpy((float *) to->gram, kpx_factor_at(p, s->diagonal), s->factors * sizeof(float));
	put_user_gram(p, kpx_part_array(&fit->model->part[fit->part], "user_gram"));
	blanks = kpx_part_array(&fit->model->part[fit->part], "blanks");
	for (int m = 0; m < s->n_modules; m++)
		blanks[m] = (float) s->unobserved[m];
	fit->iterations += s->done;
	fit->loss = s->loss;
	fit->losses = p->losses;
	fit->n_losses = s->done;
}

void
kpx_factor_train(KpxFit *fit)
{
	const KpxData *data = fit->data;
	KpxFactorRun plan;
	KpxFactorProcess p = {.leader = true};
	dsm_segment *segment = NULL;
	char *memory = NULL;
	int workers = kpx_workers_wanted(data->offset[data->users]);

	if (data->n_modules > KPX_FACTOR_MODULES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("a model can span at most %d modules", KPX_FACTOR_MODULES)));
	kpx_factor_layout(&plan, data, fit->params);
	kpx_check_budget(plan.bytes + data->offset[data->users] * 8, "training");
	if (workers > 0)
		segment = kpx_workers_segment("training", plan.bytes);
	if (segment)
		p.arena = dsm_segment_address(segment);
	else
	{
		memory = kpx_alloc(CurrentMemoryContext, plan.bytes + 64, 1);
		p.arena = (char *) TYPEALIGN(64, memory);
	}
	p.shared = (KpxFactorRun *) p.arena;
	*p.shared = plan;
	p.losses = kpx_alloc(CurrentMemoryContext, (size_t) plan.iterations, sizeof(double));
	pg_atomic_init_u64(&p.shared->next, 0);
	ConditionVariableInit(&p.shared->go_changed);
	kpx_factor_fill(&p, data, fit->params->seed);
	kpx_progress_phase("iterations", (uint64) plan.iterations);
	if (segment)
		fit->workers = iterate_together(&p, segment, workers);
	else
		iterate_alone(&p);
	make_part(&p, fit);
	if (segment)
		dsm_detach(segment);
	if (memory)
		pfree(memory);
}
