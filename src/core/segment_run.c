/*
 * segment_run.c
 *	  A run of k-means on one process: first centres by greedy k-means++, then iterations.
 *
 * Each centre after the first is the best of 2 + log k rows drawn with probability
 * proportional to their squared distance from the centres so far: the one that leaves the
 * least sum of squared distances.
 */
#include "segment.h"

#include <math.h>
#include <string.h>

#include <cblas.h>

#include "kernel.h"
#include "rng.h"

/* Rows of one matrix product. */
#define TILE 256

enum Phase
{
	START,
	NEAR, /* distances to the newest centre */
	TRY, /* what each candidate would leave */
	ASSIGN,
	LAST_ASSIGN,
	INERTIA,
	DONE
};

size_t
kpx_means_run_workspace_size(int features)
{
	size_t seeding = KPX_SEED_TRIES * (kpx_ld(features) + TILE) * sizeof(float);
	size_t assigning = kpx_means_workspace_size(features);

	return seeding > assigning ? seeding : assigning;
}

/* ------------------------------------------------------------ k-means++ */

/* |x - y|^2; 0 when rounding cannot tell it from that, so that copies of a centre are not drawn. */
static inline float
square(float x_norm, float y_norm, float product, float error)
{
	float d = x_norm + y_norm - 2 * product;

	return d > error * (x_norm + y_norm) ? d : 0;
}

static float
rounding(int features)
{
	return (float) (features + 4) * 0x1.0p-23f;
}

static int
tries(int k)
{
	int n = 2 + (int) log(k);

	return n < KPX_SEED_TRIES ? n : KPX_SEED_TRIES;
}

static void
take_centre(KpxMeansRun *run, size_t row)
{
	const KpxPoints *points = run->points;

	memcpy(run->means.centre + (size_t) run->seeded * points->ld, points->x + row * points->ld, points->ld * sizeof(float));
	run->means.norm[run->seeded++] = points->norm[row];
}

/* lower: squared distance to the nearest centre, now that the newest came. */
static void
near(KpxMeansRun *run, size_t end)
{
	const KpxPoints *points = run->points;
	int newest = run->seeded - 1;
	const float *centre = run->means.centre + (size_t) newest * points->ld;
	float norm = run->means.norm[newest];
	float error = rounding(points->features);
	float *product = run->workspace;

	for (size_t begin = run->row; begin < end; begin += TILE)
	{
		size_t n = end - begin < TILE ? end - begin : TILE;

		kpx_kernels()->scores(points->x + begin * points->ld, points->ld, n, centre, product);
		for (size_t i = 0; i < n; i++)
		{
			float d = square(points->norm[begin + i], norm, product[i], error);

			if (newest == 0 || d < run->labels.lower[begin + i])
				run->labels.lower[begin + i] = d;
			run->total += run->labels.lower[begin + i];
		}
	}
}

/* A row with probability lower / total. */
static size_t
draw(const KpxMeansRun *run, int t)
{
	double target = kpx_uniform(run->seed, (uint64_t) run->seeded, (uint64_t) t) * run->total;
	size_t row = 0;
	size_t last = 0;

	for (; row < run->points->n; row++)
	{
		if (!(run->labels.lower[row] > 0))
			continue;
		last = row;
		target -= run->labels.lower[row];
		if (target < 0)
			break;
	}
	return last;
}

/* Adds what each candidate would leave of rows [row, end). */
static void
try_candidates(KpxMeansRun *run, size_t end)
{
	const KpxPoints *points = run->points;
	int n_tries = tries(run->means.k);
	float error = rounding(points->features);
	float *y = run->workspace;
	float *product = y + KPX_SEED_TRIES * points->ld;

	for (int t = 0; t < n_tries; t++)
		memcpy(y + (size_t) t * points->ld, points->x + run->candidate[t] * points->ld, points->ld * sizeof(float));
	for (size_t begin = run->row; begin < end; begin += TILE)
	{
		size_t n = end - begin < TILE ? end - begin : TILE;

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n_tries, (int) n, points->features, 1.0f, y,
					(int) points->ld, points->x + begin * points->ld, (int) points->ld, 0.0f, product, TILE);
		for (int t = 0; t < n_tries; t++)
		{
			const float *to = product + (size_t) t * TILE;
			float y_norm = points->norm[run->candidate[t]];
			float sum = 0;

			for (size_t i = 0; i < n; i++)
			{
				float d = square(points->norm[begin + i], y_norm, to[i], error);

				sum += d < run->labels.lower[begin + i] ? d : run->labels.lower[begin + i];
			}
			run->potential[t] += sum;
		}
	}
}

static size_t
best_candidate(const KpxMeansRun *run)
{
	int best = 0;

	for (int t = 1; t < tries(run->means.k); t++)
		if (run->potential[t] < run->potential[best])
			best = t;
	return run->candidate[best];
}

/* ------------------------------------------------------------ phases */

static void
enter(KpxMeansRun *run, int phase)
{
	run->phase = phase;
	run->row = 0;
	run->total = 0;
	memset(run->potential, 0, sizeof(run->potential));
}

static void
start(KpxMeansRun *run)
{
	size_t row = (size_t) (kpx_uniform(run->seed, 0, 0) * (double) run->points->n);

	run->seeded = 0;
	run->done = 0;
	run->inertia = 0;
	memset(run->sums.sum, 0, (size_t) run->means.k * run->means.ld * sizeof(double));
	memset(run->sums.count, 0, (size_t) run->means.k * sizeof(double));
	*run->sums.changed = 0;
	take_centre(run, row < run->points->n ? row : run->points->n - 1);
	enter(run, NEAR);
}

static void
start_iterations(KpxMeansRun *run)
{
	kpx_means_begin(&run->means);
	kpx_means_reset(&run->labels, 0, run->points->n);
	enter(run, ASSIGN);
}

/* All rows know their nearest centre: the candidates for the next, if there is to be one. */
static void
finish_near(KpxMeansRun *run)
{
	if (!(run->total > 0))
		run->means.k = run->seeded; /* every row lies on a centre */
	if (run->seeded == run->means.k)
	{
		start_iterations(run);
		return;
	}
	for (int t = 0; t < tries(run->means.k); t++)
		run->candidate[t] = draw(run, t);
	enter(run, TRY);
}

static void
fill_empty(KpxMeansRun *run)
{
	int empty;

	while ((empty = kpx_means_empty(&run->means)) >= 0)
	{
		float distance;
		size_t row = kpx_means_farthest(run->points, &run->means, &run->labels, 0, run->points->n, &distance);

		if (!(distance > 0))
			return;
		kpx_means_move(run->points, &run->means, &run->labels, row, empty);
	}
}

static void
finish_assign(KpxMeansRun *run)
{
	double changed = kpx_means_collect(&run->means, &run->sums);

	run->done++;
	if (changed == 0)
		enter(run, INERTIA);
	else
	{
		fill_empty(run);
		enter(run, kpx_means_recentre(&run->means) <= run->tolerance || run->done == run->iterations ? LAST_ASSIGN : ASSIGN);
	}
}

/* One slice of the phase; after its last, what comes next. */
static void
slice(KpxMeansRun *run, size_t end)
{
	bool last = end == run->points->n;

	switch (run->phase)
	{
		case NEAR:
			near(run, end);
			if (last)
				finish_near(run);
			break;
		case TRY:
			try_candidates(run, end);
			if (last)
			{
				take_centre(run, best_candidate(run));
				enter(run, NEAR);
			}
			break;
		case ASSIGN:
		case LAST_ASSIGN:
			kpx_means_assign(run->points, &run->means, &run->labels, run->row, end, run->workspace, &run->sums);
			if (last && run->phase == ASSIGN)
				finish_assign(run);
			else if (last)
			{
				(void) kpx_means_collect(&run->means, &run->sums);
				enter(run, INERTIA);
			}
			break;
		default:
			run->inertia += kpx_means_inertia(run->points, &run->means, &run->labels, run->row, end);
			if (last)
				run->phase = DONE;
	}
	if (!last)
		run->row = end;
}

KpxStatus
kpx_means_run(KpxMeansRun *run, double budget)
{
	size_t rows = kpx_means_slice(run->means.k, run->points->features);
	double work = (double) rows * run->points->features;

	if (run->points->n == 0 || run->iterations < 1)
		return KPX_BAD_ARGUMENT;
	if (run->phase == START)
		start(run);
	while (run->phase != DONE)
	{
		size_t left = run->points->n - run->row;

		if (budget <= 0)
			return KPX_MORE;
		budget -= work * (run->phase == ASSIGN || run->phase == LAST_ASSIGN ? run->means.k : KPX_SEED_TRIES);
		slice(run, left > rows ? run->row + rows : run->points->n);
	}
	return KPX_OK;
}
