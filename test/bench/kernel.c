/*
 * kernel.c
 *	  Microseconds a row of iALS takes by its length, and what share of sgemm that is.
 *
 * Arguments: factors, peak GFLOP/s. Fixed rows: 100,000 x factors (out of cache, as in
 * training); rows of one length at a time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/factor.h"
#include "core/rng.h"

#define ITEMS 100000

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

/* Floating point operations of a row of n entries: half of SS' or S'S, factorisation, products. */
static double
row_flops(double n, double d)
{
	double short_row = n * n * d + n * n * n / 3 + 4 * n * d;
	double long_row = n * d * d + d * d * d / 3 + 4 * n * d;

	return n < d ? short_row : long_row;
}

int
main(int argc, char **argv)
{
	static const uint64_t lengths[] = {1, 4, 8, 16, 24, 32, 48, 63, 64, 100, 200, 500, 2000};
	int factors = argc > 1 ? atoi(argv[1]) : 64;
	double peak = argc > 2 ? atof(argv[2]) : 0;
	size_t ld = kpx_ld(factors);
	float *items = aligned_alloc(64, ITEMS * ld * sizeof(float));
	float *gram = aligned_alloc(64, ld * sizeof(float));
	void *workspace = aligned_alloc(64, kpx_align(kpx_solve_workspace_size(factors)));
	KpxFixed fixed = {factors, items, gram, 0.02, ITEMS, 0.02};

	kpx_init_rows(factors, 1, 0, ITEMS, items);
	for (size_t k = 0; k < ld; k++)
		gram[k] = k < (size_t) factors ? 1000.0f / (float) (k + 1) : 0;
	for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++)
	{
		uint64_t n = lengths[l];
		uint64_t rows = 2000000 / (n * 8 + 50) + 16;
		uint64_t *offset = malloc((rows + 1) * sizeof(uint64_t));
		uint32_t *index = malloc(rows * n * sizeof(uint32_t));
		float *weight = malloc(rows * n * sizeof(float));
		float *out = aligned_alloc(64, rows * ld * sizeof(float));
		double best = 1e9;

		for (uint64_t r = 0; r <= rows; r++)
			offset[r] = r * n;
		for (uint64_t j = 0; j < rows * n; j++)
		{
			index[j] = (uint32_t) (kpx_random(2, 0, j) % ITEMS);
			weight[j] = 1;
		}
		for (int run = 0; run < 5; run++)
		{
			KpxRows sparse = {offset, index, weight};
			KpxCursor cursor = {0};
			KpxSolveSums sums = {0, 0};
			double start = now();
			double seconds;

			if (kpx_solve_rows(&fixed, &sparse, rows, &cursor, 1e30, workspace, out, &sums) != KPX_OK)
				return 1;
			seconds = (now() - start) / (double) rows;
			if (seconds < best)
				best = seconds;
		}
		printf("d=%d n=%-5llu %8.2f us/row %7.1f GFLOP/s", factors, (unsigned long long) n, best * 1e6,
			   row_flops((double) n, factors) / best / 1e9);
		if (peak > 0)
			printf(" %5.1f %% of sgemm", 100 * row_flops((double) n, factors) / best / 1e9 / peak);
		printf("\n");
		free(offset);
		free(index);
		free(weight);
		free(out);
	}
	return 0;
}
