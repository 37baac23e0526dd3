/*
 * segment_train.c
 *	  k-means over encoded users, by this process and parallel workers.
 *
 * 1. Restarts, for each k in question, on a sample of the users: one restart is one job that
 *	  one process does alone (kpx_means_run); the least inertia wins.
 * 2. More than one k: the silhouette of each, on a smaller sample, decides.
 * 3. Lloyd's iterations over all users from the winner's centres, in slots of rows whose sums
 *	  are added up in order, so that the result does not depend on the number of workers.
 * 4. Segments of fewer than min_users users are dissolved: their users go to the nearest.
 *
 * All numbers lie in one arena, in dynamic shared memory when workers help; phases are
 * separated by a barrier, as in factor_train.c.
 */
#include "segment_arena.h"

#include <math.h>

#include "utils/wait_event.h"

#include "progress.h"
#include "shared_memory.h"
#include "workers.h"

/* Multiply-adds between looks at interrupts: a few milliseconds. */
#define BUDGET 1e8

/* ------------------------------------------------------------ cooperation */

static void
synchronise(KpxClusterProcess *p)
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
take(KpxClusterProcess *p, uint64 n, uint64 *which)
{
	CHECK_FOR_INTERRUPTS();
	*which = pg_atomic_fetch_add_u64(&p->shared->next, 1);
	return *which < n;
}

/* ------------------------------------------------------------ 1 and 2: centres to begin with */

static int
n_jobs(const KpxClusterRun *s)
{
	return (s->high_k - s->low_k + 1) * s->restarts;
}

static void
run_job(KpxClusterProcess *p, int job)
{
	KpxClusterRun *s = p->shared;
	KpxPoints points = kpx_cluster_points(p, &s->sample);
	KpxMeansRun run = p->run;
	int k = s->low_k + job / s->restarts;

	run.points = &points;
	run.means.k = k;
	run.seed = s->seed + (uint64) (job % s->restarts);
	run.iterations = s->iterations;
	run.tolerance = s->move_limit;
	run.phase = 0;
	while (kpx_means_run(&run, BUDGET) == KPX_MORE)
		CHECK_FOR_INTERRUPTS();
	((double *) kpx_cluster_at(p, s->jobs))[job] = run.inertia;
	((int *) kpx_cluster_at(p, s->found))[job] = run.means.k;
	memcpy(kpx_cluster_job_centres(p, job), run.means.centre, (size_t) run.means.k * s->ld * sizeof(float));
}

static int
best_job(const KpxClusterProcess *p, int k)
{
	const double *inertia = kpx_cluster_at(p, p->shared->jobs);
	int first = (k - p->shared->low_k) * p->shared->restarts;
	int best = first;

	for (int job = first + 1; job < first + p->shared->restarts; job++)
		if (inertia[job] < inertia[best])
			best = job;
	return best;
}

/* Silhouette of the small sample around these centres; NaN when all go to one. */
static double
silhouette(KpxClusterProcess *p, const float *centres, int k)
{
	KpxClusterRun *s = p->shared;
	KpxPoints points = kpx_cluster_points(p, &s->small);
	KpxMeans means = p->run.means;
	uint32 *label = palloc(sizeof(uint32) * points.n);
	double *size = palloc0(sizeof(double) * k);
	void *workspace = kpx_alloc_aligned(CurrentMemoryContext, kpx_silhouette_workspace_size(k), 1);
	double total = 0;
	int used = 0;

	means.k = k;
	memcpy(means.centre, centres, (size_t) k * s->ld * sizeof(float));
	for (size_t i = 0; i < points.n; i++)
	{
		double distance;

		if (i % 256 == 0)
			CHECK_FOR_INTERRUPTS();
		label[i] = (uint32) kpx_means_nearest(&means, points.x + i * s->ld, &distance);
		used += size[label[i]]++ == 0;
	}
	for (size_t i = 0; i < points.n; i += 32)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_silhouette_add(&points, label, size, k, i, Min(i + 32, points.n), workspace, &total);
	}
	return used > 1 ? total / points.n : NAN;
}

static void
judge_k(KpxClusterProcess *p)
{
	KpxClusterRun *s = p->shared;
	uint64 which;

	while (take(p, s->high_k - s->low_k + 1, &which))
	{
		int job = best_job(p, s->low_k + (int) which);

		((double *) kpx_cluster_at(p, s->scores))[which] = silhouette(p, kpx_cluster_job_centres(p, job), ((int *) kpx_cluster_at(p, s->found))[job]);
	}
}

/* The k of the best silhouette, the smaller of equals; its best centres become the means. */
static void
choose(KpxClusterProcess *p)
{
	KpxClusterRun *s = p->shared;
	const double *score = kpx_cluster_at(p, s->scores);
	int k = s->low_k;
	int job;
	KpxMeans means;

	for (int other = s->low_k + 1; other <= s->high_k; other++)
		if (score[other - s->low_k] > score[k - s->low_k] || (isnan(score[k - s->low_k]) && !isnan(score[other - s->low_k])))
			k = other;
	job = best_job(p, k);
	s->k = ((int *) kpx_cluster_at(p, s->found))[job];
	means = kpx_cluster_means(p);
	memcpy(means.centre, kpx_cluster_job_centres(p, job), (size_t) s->k * s->ld * sizeof(float));
	kpx_means_begin(&means);
	s->reset = true;
}

/* ------------------------------------------------------------ 3 and 4: all users */

static void
assign_slots(KpxClusterProcess *p)
{
	KpxClusterRun *s = p->shared;
	KpxPoints points = kpx_cluster_points(p, &s->all);
	KpxLabels labels = kpx_cluster_labels(p);
	KpxMeans means = kpx_cluster_means(p);
	size_t step = kpx_means_slice(s->k, s->features);
	uint64 slot;

	while (take(p, KPX_CLUSTER_SLOTS, &slot))
	{
		size_t begin = (size_t) (s->all.n * slot / KPX_CLUSTER_SLOTS);
		size_t end = (size_t) (s->all.n * (slot + 1) / KPX_CLUSTER_SLOTS);
		KpxMeansSums sums = kpx_cluster_sums(p, slot);

		if (s->reset)
			kpx_means_reset(&labels, begin, end);
		for (; begin < end; begin += step)
		{
			CHECK_FOR_INTERRUPTS();
			kpx_means_assign(&points, &means, &labels, begin, Min(begin + step, end), p->workspace, &sums);
		}
	}
}

static void
fill_empty(KpxClusterProcess *p, KpxMeans *means)
{
	KpxPoints points = kpx_cluster_points(p, &p->shared->all);
	KpxLabels labels = kpx_cluster_labels(p);
	int empty;

	while ((empty = kpx_means_empty(means)) >= 0)
	{
		size_t farthest = 0;
		float most = 0;

		for (size_t begin = 0; begin < points.n; begin += 32768)
		{
			float distance;
			size_t row = kpx_means_farthest(&points, means, &labels, begin, Min(begin + 32768, points.n), &distance);

			CHECK_FOR_INTERRUPTS();
			if (distance > most)
			{
				most = distance;
				farthest = row;
			}
		}
		if (most == 0)
			return;
		kpx_means_move(&points, means, &labels, farthest, empty);
	}
}

/* Takes away the segments that are too small; false when there were none. */
static bool
dissolve(KpxClusterProcess *p, KpxMeans *means)
{
	KpxClusterRun *s = p->shared;
	int kept = 0;
	int largest = 0;

	for (int j = 1; j < s->k; j++)
		if (means->count[j] > means->count[largest])
			largest = j;
	for (int j = 0; j < s->k; j++)
		if (means->count[j] >= s->min_users || j == largest)
		{
			memmove(means->centre + (size_t) kept * s->ld, means->centre + (size_t) j * s->ld, s->ld * sizeof(float));
			kept++;
		}
	if (kept == s->k)
		return false;
	s->k = means->k = kept;
	kpx_means_begin(means);
	s->reset = true;
	return true;
}

/* After all slots were assigned. */
static void
conclude(KpxClusterProcess *p)
{
	KpxClusterRun *s = p->shared;
	KpxMeans means = kpx_cluster_means(p);
	double changed = 0;

	s->reset = false;
	for (int slot = 0; slot < KPX_CLUSTER_SLOTS; slot++)
	{
		KpxMeansSums sums = kpx_cluster_sums(p, slot);

		CHECK_FOR_INTERRUPTS();
		changed += kpx_means_collect(&means, &sums);
	}
	if (!s->last)
		s->done++;
	kpx_progress_step((uint64) s->done);
	if (s->last || changed == 0)
	{
		s->last = true;
		s->stop = !dissolve(p, &means);
		return;
	}
	fill_empty(p, &means);
	s->last = kpx_means_recentre(&means) <= s->move_limit || s->done == s->iterations;
}

static void
iterate(KpxClusterProcess *p)
{
	KpxClusterRun *s = p->shared;
	uint64 job;

	if (p->leader)
		kpx_progress_phase("restarts", (uint64) n_jobs(s));
	while (take(p, n_jobs(s), &job))
	{
		kpx_progress_step(job); /* workers have none */
		run_job(p, (int) job);
	}
	LEADER_STEP(p, (void) 0);
	if (s->high_k > s->low_k)
		judge_k(p);
	LEADER_STEP(p, choose(p));
	if (p->leader)
		kpx_progress_phase("iterations", (uint64) s->iterations);
	do
	{
		assign_slots(p);
		LEADER_STEP(p, conclude(p));
	} while (!s->stop);
}

/* ------------------------------------------------------------ processes */

static void
prepare(KpxClusterProcess *p)
{
	KpxClusterRun *s = p->shared;
	MemoryContext context = CurrentMemoryContext;

	p->workspace = kpx_alloc_aligned(context, kpx_means_run_workspace_size(s->features), 1);
	p->run.workspace = p->workspace;
	p->run.means = kpx_means_at(kpx_alloc_aligned(context, kpx_means_size(s->high_k, s->features), 1), s->high_k, s->features);
	p->run.sums = kpx_means_sums_at(kpx_alloc_aligned(context, kpx_means_sums_size(s->high_k, s->features), 1), s->high_k, s->features);
	p->run.labels = (KpxLabels){kpx_alloc(context, s->sample.n, sizeof(uint32)), kpx_alloc(context, s->sample.n, sizeof(float)),
								kpx_alloc(context, s->sample.n, sizeof(float))};
}

PGDLLEXPORT void kpx_segment_worker(dsm_segment *seg, shm_toc *toc);

void
kpx_segment_worker(dsm_segment *seg, shm_toc *toc)
{
	dsm_segment *arena = kpx_worker_attach(toc, "clustering run");
	KpxClusterProcess p = {0};

	p.arena = dsm_segment_address(arena);
	p.shared = (KpxClusterRun *) p.arena;
	prepare(&p);
	ConditionVariablePrepareToSleep(&p.shared->go_changed);
	while (!((volatile KpxClusterRun *) p.shared)->go)
		ConditionVariableSleep(&p.shared->go_changed, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
	iterate(&p);
	kpx_worker_detach(arena);
}

/* Runs with up to workers helpers; returns how many came. */
static int
iterate_together(KpxClusterProcess *p, dsm_segment *segment, int workers)
{
	ParallelContext *pcxt = kpx_workers_launch("clustering", "kpx_segment_worker", segment, workers);
	int came = pcxt->nworkers_launched;

	if (came > 0)
		WaitForParallelWorkersToAttach(pcxt);
	p->alone = came == 0;
	BarrierInit(&p->shared->barrier, came + 1);
	p->shared->go = true;
	ConditionVariableBroadcast(&p->shared->go_changed);
	iterate(p);
	kpx_workers_finish(pcxt);
	return came;
}

/* ------------------------------------------------------------ the result */

static KpxClusters *
make_result(KpxClusterProcess *p, int workers)
{
	KpxClusterRun *s = p->shared;
	KpxClusters *result = palloc0(sizeof(KpxClusters));
	KpxPoints points = kpx_cluster_points(p, &s->all);
	KpxLabels labels = kpx_cluster_labels(p);
	KpxMeans means = kpx_cluster_means(p);

	result->k = s->k;
	result->means = kpx_means_at(kpx_alloc_aligned(CurrentMemoryContext, kpx_means_size(s->k, s->features), 1), s->k, s->features);
	memcpy(result->means.centre, means.centre, (size_t) s->k * s->ld * sizeof(float));
	memcpy(result->means.count, means.count, (size_t) s->k * sizeof(double));
	result->label = kpx_alloc(CurrentMemoryContext, points.n, sizeof(uint32));
	memcpy(result->label, labels.label, points.n * sizeof(uint32));
	for (size_t begin = 0; begin < points.n; begin += 32768)
	{
		CHECK_FOR_INTERRUPTS();
		result->inertia += kpx_means_inertia(&points, &means, &labels, begin, Min(begin + 32768, points.n));
	}
	result->silhouette = s->k > 1 ? silhouette(p, means.centre, s->k) : NAN;
	result->iterations = s->done;
	result->workers = workers;
	return result;
}

KpxClusters *
kpx_segment_train(KpxEncoded *data, int k, const KpxClusterParams *params)
{
	KpxClusterRun plan;
	KpxClusterProcess p = {.leader = true};
	dsm_segment *segment = NULL;
	char *memory = NULL;
	int workers = Min(kpx_workers_wanted(data->n), KPX_CLUSTER_SLOTS);
	KpxClusters *result;

	kpx_require_blas();
	Assert(data->points.ld == kpx_ld(data->points.features));
	kpx_cluster_layout(&plan, data, k, params);
	kpx_check_budget(plan.bytes + data->n * data->points.ld * sizeof(float), "clustering users");
	if (workers > 0)
		segment = kpx_workers_segment("clustering", plan.bytes);
	if (segment)
		p.arena = dsm_segment_address(segment);
	else
	{
		memory = kpx_alloc(CurrentMemoryContext, plan.bytes + 64, 1);
		p.arena = (char *) TYPEALIGN(64, memory);
	}
	p.shared = (KpxClusterRun *) p.arena;
	*p.shared = plan;
	pg_atomic_init_u64(&p.shared->next, 0);
	ConditionVariableInit(&p.shared->go_changed);
	kpx_cluster_fill(&p, data);
	prepare(&p);
	if (segment)
		workers = iterate_together(&p, segment, workers);
	else
	{
		p.alone = true;
		workers = 0;
		iterate(&p);
	}
	result = make_result(&p, workers);
	if (segment)
		dsm_detach(segment);
	if (memory)
		pfree(memory);
	return result;
}
