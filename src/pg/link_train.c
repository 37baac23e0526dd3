/*
 * link_train.c
 *	  Making links between items: one run over ingested data, by this process and workers.
 *
 * All numbers live in one arena, shared memory when workers help. The leader prepares what
 * rows are made from (weighted interactions, the inverse of EASE, the order of events);
 * rows by target are then independent, so that everybody takes chunks of them until none
 * is left, and the result does not depend on who took which.
 */
#include "link_train.h"

#include <math.h>

#include "port/atomics.h"
#include "storage/condition_variable.h"

#include "core/ease.h"
#include "core/ingest.h"
#include "core/itemknn.h"
#include "core/transition.h"
#include "progress.h"
#include "shared_memory.h"
#include "workers.h"

#define CHUNK_ROWS 16
#define STEP_ENTRIES 65536
/* Between looks at interrupts: additions to rows, and flops in sgemm; some milliseconds. */
#define ROW_BUDGET 2e6
#define INVERT_BUDGET 1e9

/* Offsets are from the start of the arena. */
typedef struct Job
{
	pg_atomic_uint64 next; /* chunk to take */
	KpxLinkPlan plan;
	uint32 users;
	uint32 items;
	uint32 keep;
	size_t user_offset; /* uint64[users + 1]; both sides of the interactions */
	size_t user_index; /* uint32[entries] */
	size_t user_value; /* float[entries] */
	size_t item_offset;
	size_t item_index;
	size_t item_value;
	size_t norm; /* double[items] each, item-kNN: |v|^2a and |v|^2(1 - a) */
	size_t norm_by;
	size_t matrix; /* float[n][n], EASE: n items or users */
	size_t time; /* uint32[entries] each, transitions */
	size_t order;
	size_t place;
	size_t count; /* uint32[items]; the result */
	size_t index; /* uint32[items][keep] */
	size_t weight; /* float[items][keep] */
	size_t bytes;
} Job;

static void *
part(Job *job, size_t offset)
{
	return (char *) job + offset;
}

static KpxRows
by_user(Job *job)
{
	return (KpxRows){part(job, job->user_offset), part(job, job->user_index), part(job, job->user_value)};
}

static KpxRows
by_item(Job *job)
{
	return (KpxRows){part(job, job->item_offset), part(job, job->item_index), part(job, job->item_value)};
}

/* ------------------------------------------------------------ layout */

static size_t
reserve(size_t *total, size_t n, size_t size)
{
	size_t at = *total;
	size_t bytes;

	if (!kpx_mul_size(n, size, &bytes) || bytes > SIZE_MAX / 4 || at > SIZE_MAX / 4)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("training data is too large")));
	*total = at + kpx_align(bytes);
	return at;
}

static size_t
matrix_rows(const Job *job)
{
	return job->plan.kind == KPX_LINK_EASE ? job->items : job->plan.kind == KPX_LINK_EASE_DUAL ? job->users
																							   : 0;
}

static void
layout(Job *job, const KpxData *data, const KpxLinkPlan *plan)
{
	size_t total = kpx_align(sizeof(Job));
	uint64 entries = data->offset[data->users];
	uint64 timed = plan->kind == KPX_LINK_TRANSITION ? entries : 0;

	memset(job, 0, sizeof(*job));
	job->plan = *plan;
	job->users = data->users;
	job->items = data->items;
	job->keep = plan->keep == 0 ? Max(data->items, 1) : Min(plan->keep, Max(data->items, 1));
	job->user_offset = reserve(&total, (size_t) data->users + 1, sizeof(uint64));
	job->user_index = reserve(&total, entries, sizeof(uint32));
	job->user_value = reserve(&total, entries, sizeof(float));
	job->item_offset = reserve(&total, (size_t) data->items + 1, sizeof(uint64));
	job->item_index = reserve(&total, entries, sizeof(uint32));
	job->item_value = reserve(&total, entries, sizeof(float));
	job->norm = reserve(&total, plan->kind == KPX_LINK_KNN ? data->items : 0, sizeof(double));
	job->norm_by = reserve(&total, plan->kind == KPX_LINK_KNN ? data->items : 0, sizeof(double));
	job->matrix = reserve(&total, matrix_rows(job), matrix_rows(job) * sizeof(float));
	job->time = reserve(&total, timed, sizeof(uint32));
	job->order = reserve(&total, timed, sizeof(uint32));
	job->place = reserve(&total, timed, sizeof(uint32));
	job->count = reserve(&total, data->items, sizeof(uint32));
	job->index = reserve(&total, (size_t) data->items, job->keep * sizeof(uint32));
	job->weight = reserve(&total, (size_t) data->items, job->keep * sizeof(float));
	job->bytes = total;
}

/* ------------------------------------------------------------ preparing */

/* Interactions that only hide have no weight, and say nothing of liking. */
static void
fill_users(Job *job, const KpxData *data)
{
	uint64 *offset = part(job, job->user_offset);
	uint32 *index = part(job, job->user_index);
	float *value = part(job, job->user_value);
	uint32 *time = part(job, job->time);
	uint64 to = 0;

	for (uint32 user = 0; user < data->users; user++)
	{
		if (user % 4096 == 0)
			CHECK_FOR_INTERRUPTS();
		offset[user] = to;
		for (uint64 e = data->offset[user]; e < data->offset[user + 1]; e++)
		{
			if (!(data->weight[e] > 0))
				continue;
			index[to] = KPX_ITEM(data->index[e]);
			if (job->plan.kind == KPX_LINK_TRANSITION)
				time[to] = data->time[e];
			value[to++] = data->weight[e];
		}
	}
	offset[data->users] = to;
}

static void
fill_items(Job *job)
{
	KpxRows users = by_user(job);
	uint64 *offset = part(job, job->item_offset);
	uint64 entries = users.offset[job->users];
	uint64 *cursor;

	memset(offset, 0, sizeof(uint64) * ((size_t) job->items + 1));
	for (uint64 e = 0; e < entries; e += STEP_ENTRIES)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_csr_transpose_count(users.index + e, Min(STEP_ENTRIES, entries - e), offset);
	}
	(void) kpx_csr_offsets(offset, job->items);
	cursor = kpx_alloc(CurrentMemoryContext, Max(job->items, 1), sizeof(uint64));
	memcpy(cursor, offset, sizeof(uint64) * job->items);
	for (uint32 user = 0; user < job->users; user += 1024)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_csr_transpose_scatter(users.offset, users.index, users.weight, user, Min(user + 1024, job->users), cursor,
								  part(job, job->item_index), part(job, job->item_value));
	}
	pfree(cursor);
}

/* Both sides get weighted values, and norms. */
static void
prepare_knn(Job *job)
{
	KpxRows items;
	KpxRows users = by_user(job);
	double *length = part(job, job->norm); /* of use here before it holds norms */
	double total = 0;

	fill_items(job);
	items = by_item(job);
	for (uint32 i = 0; i < job->items; i++)
	{
		length[i] = 0;
		for (uint64 e = items.offset[i]; e < items.offset[i + 1]; e++)
			length[i] += items.weight[e];
		total += length[i];
	}
	for (uint32 user = 0; user < job->users; user += 1024)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_knn_weigh(&users, user, Min(user + 1024, job->users), job->items, (KpxWeighting) job->plan.weighting,
					  job->plan.k1, job->plan.b, length, total > 0 ? total / job->items : 1, part(job, job->user_value));
	}
	fill_items(job);
	for (uint32 i = 0; i < job->items; i++)
	{
		double norm = 0;

		for (uint64 e = items.offset[i]; e < items.offset[i + 1]; e++)
			norm += (double) items.weight[e] * items.weight[e];
		length[i] = pow(norm, job->plan.asymmetry);
		((double *) part(job, job->norm_by))[i] = pow(norm, 1 - job->plan.asymmetry);
	}
}

/* A row's work is the square of its length: long ones are added in steps. */
static void
add_outer_product(const KpxRows *rows, size_t r, size_t n, float *matrix)
{
	uint64 end = rows->offset[r + 1];
	uint64 step = 1 + (uint64) (ROW_BUDGET / (double) (end - rows->offset[r] + 1));

	for (uint64 e = rows->offset[r]; e < end; e += step)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_outer_add(rows, r, e, Min(e + step, end), n, matrix);
	}
}

static void
prepare_ease(Job *job)
{
	bool dual = job->plan.kind == KPX_LINK_EASE_DUAL;
	size_t n = matrix_rows(job);
	float *matrix = part(job, job->matrix);
	float *workspace = kpx_alloc_aligned(CurrentMemoryContext, kpx_invert_workspace(n), sizeof(float));
	KpxInvertCursor cursor = {0, 0};
	KpxStatus status;
	KpxRows rows;
	size_t n_rows = dual ? job->items : job->users;

	fill_items(job);
	rows = dual ? by_item(job) : by_user(job);
	for (size_t i = 0; i < n; i++)
	{
		if (i % 256 == 0)
			CHECK_FOR_INTERRUPTS();
		memset(matrix + i * n, 0, n * sizeof(float));
	}
	for (size_t r = 0; r < n_rows; r++)
		add_outer_product(&rows, r, n, matrix);
	for (size_t i = 0; i < n; i++)
		matrix[i * n + i] += (float) job->plan.regularization;
	while ((status = kpx_invert(matrix, n, &cursor, INVERT_BUDGET, workspace)) == KPX_MORE)
		CHECK_FOR_INTERRUPTS();
	if (status != KPX_OK)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("the Gram matrix cannot be inverted in single precision"),
				 errhint("Increase regularization, or look for extreme weights in the event sources.")));
}

static void
prepare_transitions(Job *job)
{
	KpxRows users = by_user(job);
	const uint32 *order = part(job, job->order);
	uint32 *place = part(job, job->place);

	fill_items(job);
	for (uint32 user = 0; user < job->users; user++)
	{
		uint64 begin = users.offset[user];

		CHECK_FOR_INTERRUPTS();
		kpx_time_order(&users, part(job, job->time), user, user + 1, part(job, job->order));
		for (uint64 e = begin; e < users.offset[user + 1]; e++)
			place[begin + order[e]] = (uint32) (e - begin);
	}
}

/* ------------------------------------------------------------ rows */

/* What one process needs for making rows. */
typedef struct Hand
{
	KpxRowSums row;
	float *dense; /* rows of EASE: KPX_EASE_ROWS */
	float *compact;
	KpxHit *hits;
	float *combined;
} Hand;

static Hand
make_hand(const Job *job)
{
	Hand hand;

	hand.row = (KpxRowSums){kpx_alloc_aligned(CurrentMemoryContext, job->items, sizeof(float)),
							kpx_alloc_aligned(CurrentMemoryContext, job->items, 1),
							kpx_alloc_aligned(CurrentMemoryContext, (size_t) job->items + 1, sizeof(uint32)), 0};
	hand.dense = matrix_rows(job) > 0 ? kpx_alloc_aligned(CurrentMemoryContext, (size_t) job->items * KPX_EASE_ROWS, sizeof(float)) : NULL;
	hand.compact = kpx_alloc_aligned(CurrentMemoryContext, job->items, sizeof(float));
	hand.hits = kpx_alloc_aligned(CurrentMemoryContext, job->keep, sizeof(KpxHit));
	hand.combined = job->plan.kind == KPX_LINK_EASE_DUAL ? kpx_alloc_aligned(CurrentMemoryContext, (size_t) job->users * KPX_EASE_ROWS, sizeof(float)) : NULL;
	return hand;
}

static void
sum_row(Job *job, Hand *hand, uint32 target)
{
	KpxRows users = by_user(job);
	KpxRows items = by_item(job);
	KpxCursor cursor = {.row = target};
	const float *matrix = part(job, job->matrix);

	switch (job->plan.kind)
	{
		case KPX_LINK_KNN:
			while (kpx_knn_row(&users, &items, &cursor, ROW_BUDGET, &hand->row) == KPX_MORE)
				CHECK_FOR_INTERRUPTS();
			kpx_knn_links(&hand->row, ((double *) part(job, job->norm))[target], part(job, job->norm_by), job->plan.shrinkage);
			break;
		case KPX_LINK_EASE:
			kpx_ease_row(matrix + (size_t) target * job->items, job->items, target, hand->dense);
			break;
		case KPX_LINK_EASE_DUAL: /* chunks begin at a multiple of KPX_EASE_ROWS */
			if (target % KPX_EASE_ROWS == 0)
				kpx_ease_rows_dual(matrix, job->users, job->items, &items, target, Min(KPX_EASE_ROWS, job->items - target),
								   hand->combined, hand->dense);
			break;
		case KPX_LINK_TRANSITION:
			kpx_transition_row(&users, part(job, job->time), part(job, job->order), part(job, job->place), &items, target,
							   job->plan.window, job->plan.decay, &hand->row);
			kpx_transition_links(&hand->row, &items, job->plan.shrinkage);
			break;
	}
}

static uint32
best_of_row(Job *job, Hand *hand, uint32 target)
{
	uint32 *index = (uint32 *) part(job, job->index) + (size_t) target * job->keep;
	float *weight = (float *) part(job, job->weight) + (size_t) target * job->keep;

	if (hand->dense)
		return kpx_dense_best(hand->dense + (job->plan.kind == KPX_LINK_EASE_DUAL ? target % KPX_EASE_ROWS : 0) * (size_t) job->items, job->items, job->keep, hand->compact, hand->hits, index, weight);
	return kpx_row_best(&hand->row, target, job->keep, hand->compact, hand->hits, index, weight);
}

static void
make_rows(Job *job)
{
	Hand hand = make_hand(job);
	uint32 *count = part(job, job->count);
	uint64 begin;

	while ((begin = pg_atomic_fetch_add_u64(&job->next, CHUNK_ROWS)) < job->items)
	{
		kpx_progress_step(begin); /* workers have none */
		for (uint64 t = begin; t < Min(begin + CHUNK_ROWS, job->items); t++)
		{
			CHECK_FOR_INTERRUPTS();
			sum_row(job, &hand, (uint32) t);
			count[t] = best_of_row(job, &hand, (uint32) t);
		}
	}
}

PGDLLEXPORT void kpx_link_worker(dsm_segment *seg, shm_toc *toc);

void
kpx_link_worker(dsm_segment *seg, shm_toc *toc)
{
	dsm_segment *arena = kpx_worker_attach(toc, "training run");

	make_rows(dsm_segment_address(arena));
	kpx_worker_detach(arena);
}

/* Rows by this process and up to workers others; how many came. */
static int
make_rows_together(Job *job, dsm_segment *segment, int workers)
{
	ParallelContext *pcxt = kpx_workers_launch("training", "kpx_link_worker", segment, workers);
	int came = pcxt->nworkers_launched;

	make_rows(job);
	kpx_workers_finish(pcxt);
	return came;
}

/* ------------------------------------------------------------ the run */

static void
take_result(Job *job, KpxLinkResult *result)
{
	size_t cells = (size_t) job->items * job->keep;
	const uint32 *count = part(job, job->count);

	result->keep = job->keep;
	result->count = kpx_alloc(CurrentMemoryContext, Max(job->items, 1), sizeof(uint32));
	result->index = kpx_alloc(CurrentMemoryContext, Max(cells, 1), sizeof(uint32));
	result->weight = kpx_alloc(CurrentMemoryContext, Max(cells, 1), sizeof(float));
	result->entries = 0;
	memcpy(result->count, count, job->items * sizeof(uint32));
	for (size_t t = 0; t < job->items; t++)
	{
		memcpy(result->index + t * job->keep, (uint32 *) part(job, job->index) + t * job->keep, count[t] * sizeof(uint32));
		memcpy(result->weight + t * job->keep, (float *) part(job, job->weight) + t * job->keep, count[t] * sizeof(float));
		result->entries += count[t];
	}
}

void
kpx_link_train(const KpxData *data, const KpxLinkPlan *plan, KpxLinkResult *result)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec links", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	int workers;
	dsm_segment *segment = NULL;
	Job shape;
	Job *job;

	layout(&shape, data, plan);
	kpx_check_budget(shape.bytes + kpx_invert_workspace(matrix_rows(&shape)) * sizeof(float) +
						 (size_t) data->items * shape.keep * 8,
					 "training");
	/*
	 * The inverse is one process's work, and what is left of EASE by items, picking the best of rows, is little: no
	 * workers, so that a matrix of gigabytes does not become shared memory, which the kernel fills in one
	 * call that cannot be cancelled.
	 */
	workers = shape.plan.kind == KPX_LINK_EASE ? 0 : kpx_workers_wanted(data->offset[data->users]);
	if (workers > 0)
		segment = kpx_workers_segment("training", shape.bytes);
	job = segment ? dsm_segment_address(segment) : (Job *) TYPEALIGN(64, kpx_alloc(context, shape.bytes + 64, 1));
	*job = shape;
	pg_atomic_init_u64(&job->next, 0);
	fill_users(job, data);
	if (plan->kind == KPX_LINK_KNN)
		prepare_knn(job);
	else if (plan->kind == KPX_LINK_TRANSITION)
		prepare_transitions(job);
	else
		prepare_ease(job);
	kpx_progress_phase("links of items", job->items);
	result->workers = 0;
	if (segment)
		result->workers = make_rows_together(job, segment, workers);
	else
		make_rows(job);
	MemoryContextSwitchTo(old);
	take_result(job, result);
	if (segment)
		dsm_detach(segment);
	MemoryContextDelete(context);
}
