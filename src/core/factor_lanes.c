/*
 * factor_lanes.c
 *	  Short rows of implicit ALS, eight at a time.
 *
 * The dual form of factor.h for eight rows side by side (kernel_lanes.h says why). Rows of a window are sorted by length,
 * so that the eight are alike; the vectors that the next eight need are asked of memory while these are solved.
 */
#include "factor_lanes.h"

#include <math.h>
#include <string.h>

#include "kernel.h"

#define MOST_ENTRIES 64
#define MOST_FLOATS 8192 /* of gathered vectors, a lane */

/* Eight rows or fewer: what there is of each, entry by entry. */
typedef struct Batch
{
	size_t row[KPX_LANES];
	size_t rows;
	size_t n; /* entries of the longest, rounded up to a multiple of 4 */
	uint32_t *index; /* [n][lane] */
	float *root; /* [n][lane]: square roots of weights, 0 where a row has ended */
} Batch;

typedef struct Workspace
{
	float *gathered; /* [n][ld][lane] */
	float *system; /* [n][n][lane] */
	float *scale; /* [ld][lane] */
	float *z; /* [n][lane] */
	float *nowhere; /* ld: the solution of a lane without a row */
	Batch batch[2]; /* this one and the next */
	uint32_t *order; /* rows of the window, by length */
} Workspace;

size_t
kpx_lanes_longest(int factors)
{
	size_t n = MOST_FLOATS / kpx_ld(factors);

	if (n > MOST_ENTRIES)
		n = MOST_ENTRIES;
	return n < (size_t) factors ? n : (size_t) factors - 1;
}

/* Entries that a batch has room for. */
static size_t
room(int factors)
{
	return (kpx_lanes_longest(factors) + 3) & ~(size_t) 3;
}

size_t
kpx_lanes_workspace_size(int factors)
{
	size_t ld = kpx_ld(factors);
	size_t n = room(factors);

	return sizeof(float) * KPX_LANES * (n * ld + n * n + ld + n + ld / KPX_LANES + 4 * n) + sizeof(uint32_t) * KPX_LANES_WINDOW;
}

static Workspace
workspace_parts(int factors, void *memory)
{
	Workspace ws;
	size_t ld = kpx_ld(factors);
	size_t n = room(factors);

	ws.gathered = memory;
	ws.system = ws.gathered + n * ld * KPX_LANES;
	ws.scale = ws.system + n * n * KPX_LANES;
	ws.nowhere = ws.scale + ld * KPX_LANES;
	ws.z = ws.nowhere + ld;
	for (int b = 0; b < 2; b++)
	{
		ws.batch[b].root = ws.z + (size_t) (2 * b + 1) * n * KPX_LANES;
		ws.batch[b].index = (void *) (ws.z + (size_t) (2 * b + 2) * n * KPX_LANES);
	}
	ws.order = (void *) (ws.z + 5 * n * KPX_LANES);
	return ws;
}

/* Rows of the window with 1 .. longest entries, by length, then as they stand; returns how many. */
static size_t
sort_rows(const KpxRows *rows, size_t begin, size_t end, size_t longest, uint32_t *order)
{
	uint32_t place[MOST_ENTRIES + 2] = {0};
	size_t count = 0;

	for (size_t row = begin; row < end; row++)
	{
		uint64_t n = rows->offset[row + 1] - rows->offset[row];

		if (n >= 1 && n <= longest)
		{
			place[n + 1]++;
			count++;
		}
	}
	for (size_t n = 1; n <= longest + 1; n++)
		place[n] += place[n - 1];
	for (size_t row = begin; row < end; row++)
	{
		uint64_t n = rows->offset[row + 1] - rows->offset[row];

		if (n >= 1 && n <= longest)
			order[place[n]++] = (uint32_t) (row - begin);
	}
	return count;
}

/* The next rows of order, at most eight; the last is the longest. */
static void
fill_batch(const KpxRows *rows, size_t begin, const uint32_t *order, size_t count, Batch *batch)
{
	batch->rows = count < KPX_LANES ? count : KPX_LANES;
	batch->n = 0;
	for (size_t r = 0; r < batch->rows; r++)
	{
		batch->row[r] = begin + order[r];
		batch->n = (size_t) (rows->offset[batch->row[r] + 1] - rows->offset[batch->row[r]]);
	}
	batch->n = (batch->n + 3) & ~(size_t) 3;
	for (size_t r = 0; r < KPX_LANES; r++)
	{
		uint64_t from = r < batch->rows ? rows->offset[batch->row[r]] : 0;
		size_t n = r < batch->rows ? (size_t) (rows->offset[batch->row[r] + 1] - from) : 0;

		for (size_t j = 0; j < n; j++)
		{
			batch->index[j * KPX_LANES + r] = rows->index[from + j];
			batch->root[j * KPX_LANES + r] = sqrtf(rows->weight[from + j]);
		}
		for (size_t j = n; j < batch->n; j++)
		{
			batch->index[j * KPX_LANES + r] = 0;
			batch->root[j * KPX_LANES + r] = 0;
		}
	}
}

/* lambda (W + a U) of each row. */
static void
ridges(const KpxFixed *fixed, const KpxRows *rows, const Batch *batch, double *ridge)
{
	for (size_t r = 0; r < KPX_LANES; r++)
	{
		double total = 0;

		for (uint64_t j = r < batch->rows ? rows->offset[batch->row[r]] : 0, end = r < batch->rows ? rows->offset[batch->row[r] + 1] : 0; j < end; j++)
			total += rows->weight[j];
		ridge[r] = fixed->regularization * (total + fixed->unobserved * fixed->unobserved_rows);
	}
}

static KpxStatus
solve_batch(const KpxFixed *fixed, const KpxRows *rows, const Workspace *ws, const Batch *batch, KpxAhead *ahead, float *out,
			KpxSolveSums *sums)
{
	const KpxKernels *kernels = kpx_kernels();
	size_t ld = kpx_ld(fixed->factors);
	double ridge[KPX_LANES];
	double objective[KPX_LANES] = {0};
	float ridge_floats[KPX_LANES] __attribute__((aligned(32)));
	float square[KPX_LANES] __attribute__((aligned(32)));
	float *to[KPX_LANES];
	uint32_t fine;

	ridges(fixed, rows, batch, ridge);
	for (size_t r = 0; r < KPX_LANES; r++)
	{
		ridge_floats[r] = (float) ridge[r];
		to[r] = r < batch->rows ? out + batch->row[r] * ld : ws->nowhere;
	}
	kernels->lanes_scale(fixed->gram, ld, (float) fixed->unobserved, ridge_floats, ws->scale);
	kernels->lanes_gather(fixed->matrix, ld, ws->scale, batch->index, batch->root, batch->n, ws->gathered);
	memcpy(ws->z, batch->root, batch->n * KPX_LANES * sizeof(float));
	fine = kernels->lanes_dual(ws->gathered, ld, batch->n, ws->system, ws->z, ahead);
	kernels->lanes_combine(ws->gathered, ld, batch->n, ws->z, ws->scale, to, square);
	for (size_t j = 0; j < batch->n; j++)
		for (size_t r = 0; r < KPX_LANES; r++)
			objective[r] += (double) batch->root[j * KPX_LANES + r] * ws->z[j * KPX_LANES + r];
	for (size_t r = 0; r < batch->rows; r++)
	{
		sums->objective += objective[r];
		sums->penalty += ridge[r] * square[r];
		if (!(fine & UINT32_C(1) << r))
			return KPX_NOT_FINITE;
	}
	return isfinite(sums->objective) && isfinite(sums->penalty) ? KPX_OK : KPX_NOT_FINITE;
}

KpxStatus
kpx_solve_lanes(const KpxFixed *fixed, const KpxRows *rows, size_t begin, size_t end, void *workspace, float *out,
				KpxSolveSums *sums, double *spent)
{
	Workspace ws = workspace_parts(fixed->factors, workspace);
	size_t ld = kpx_ld(fixed->factors);
	size_t count = sort_rows(rows, begin, end, kpx_lanes_longest(fixed->factors), ws.order);

	*spent = 0;
	if (count > 0)
		fill_batch(rows, begin, ws.order, count, &ws.batch[0]);
	for (size_t done = 0; done < count; done += KPX_LANES)
	{
		const Batch *batch = &ws.batch[done / KPX_LANES % 2];
		Batch *next = &ws.batch[(done / KPX_LANES + 1) % 2];
		KpxAhead ahead = {fixed->matrix, ld, next->index, 0, 0};
		KpxStatus status;

		if (done + KPX_LANES < count)
		{
			fill_batch(rows, begin, ws.order + done + KPX_LANES, count - done - KPX_LANES, next);
			ahead.end = next->n * KPX_LANES;
		}
		status = solve_batch(fixed, rows, &ws, batch, &ahead, out, sums);
		if (status != KPX_OK)
			return status;
		*spent += KPX_LANES * (double) batch->n * ((double) batch->n * ((double) ld / 2 + (double) batch->n / 6) + 4 * (double) ld);
	}
	return KPX_OK;
}
