/*
 * svd.c
 *	  Randomized SVD of term rows: seconds, what share of sgemm and of the memory's bandwidth
 *	  that is, and the longest step, which is how late an interrupt can be.
 *
 * Arguments: documents, terms, rank, peak GFLOP/s, bandwidth GB/s. Documents of 12 terms,
 * drawn by Zipf's law with exponent 1.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/rng.h"
#include "core/svd.h"

#define TERMS 12

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static int
by_value(const void *a, const void *b)
{
	return (*(const uint32_t *) a > *(const uint32_t *) b) - (*(const uint32_t *) a < *(const uint32_t *) b);
}

static KpxSparse
documents(size_t rows, size_t cols)
{
	KpxSparse a = {rows, cols, malloc((rows + 1) * 8), malloc(rows * TERMS * 4), malloc(rows * TERMS * 4)};
	uint64_t n = 0;

	for (size_t i = 0; i < rows; i++)
	{
		uint32_t term[TERMS];

		a.offset[i] = n;
		for (int t = 0; t < TERMS; t++)
			term[t] = (uint32_t) (pow((double) cols + 1, kpx_uniform(3, i, (uint64_t) t)) - 1) % (uint32_t) cols;
		qsort(term, TERMS, sizeof(uint32_t), by_value);
		for (int t = 0; t < TERMS; t++)
			if (t == 0 || term[t] != term[t - 1])
			{
				a.index[n] = term[t];
				a.value[n++] = (float) (0.1 + kpx_uniform(4, i, (uint64_t) t));
			}
	}
	a.offset[rows] = n;
	kpx_sparse_normalize(&a, 0, rows);
	return a;
}

int
main(int argc, char **argv)
{
	size_t rows = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
	size_t cols = argc > 2 ? strtoul(argv[2], NULL, 10) : 20000;
	int rank = argc > 3 ? atoi(argv[3]) : 128;
	double peak = argc > 4 ? atof(argv[4]) : 0;
	double bandwidth = argc > 5 ? atof(argv[5]) : 0;
	KpxSparse a = documents(rows, cols);
	KpxSvd svd = {.a = &a, .rank = rank, .sketch = kpx_svd_sketch(&a, rank), .power = KPX_SVD_POWER, .seed = 1};
	double l = svd.sketch;
	size_t ld = kpx_ld(svd.sketch);
	double products = 2 * KPX_SVD_POWER + 3; /* by A and by A' */
	double orthonormal = 2 * (KPX_SVD_POWER + 2); /* of the terms' side: Gram matrix and turn each */
	double flops = 2 * products * (double) a.offset[rows] * l + orthonormal * (double) cols * (l * l + 2 * l * l) + (double) rows * 3 * l * l +
				   (double) cols * 2 * l * l;
	double bytes = products * (double) a.offset[rows] * (double) ld * sizeof(float);
	double best = 1e9;
	double longest = 0;

	svd.left = aligned_alloc(64, rows * ld * sizeof(float));
	svd.right = aligned_alloc(64, cols * ld * sizeof(float));
	svd.singular = aligned_alloc(64, ld * sizeof(float));
	svd.workspace = aligned_alloc(64, kpx_svd_workspace_size(svd.sketch));
	for (int run = 0; run < 3; run++)
	{
		double start = now();
		KpxStatus status = kpx_svd_begin(&svd);

		for (status = KPX_MORE; status == KPX_MORE;)
		{
			double before = now();

			status = kpx_svd_step(&svd);
			longest = fmax(longest, now() - before);
		}
		if (status != KPX_OK)
			return 1;
		best = fmin(best, now() - start);
	}
	printf("%zu x %zu, %llu entries, rank %d: %.2f s, %.1f GFLOP/s", rows, cols, (unsigned long long) a.offset[rows], rank, best,
		   flops / best / 1e9);
	if (peak > 0 && bandwidth > 0)
		printf(", %.0f %% of sgemm; rows gathered by the products alone: %.1f GB/s, %.0f %% of the bandwidth", 100 * flops / best / 1e9 / peak,
			   bytes / best / 1e9, 100 * bytes / best / 1e9 / bandwidth);
	printf("; longest step %.0f ms\n", longest * 1e3);
	return 0;
}
