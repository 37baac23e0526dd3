/*
 * peak.c
 *	  The limits the product is measured against, on one core: sgemm and reading memory.
 *
 * Prints "GFLOP/s GB/s", medians of 7 runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cblas.h>

#define RUNS 7

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
	double x = *(const double *) a;
	double y = *(const double *) b;

	return x < y ? -1 : x > y;
}

static double
median(double *value)
{
	qsort(value, RUNS, sizeof(double), by_value);
	return value[RUNS / 2];
}

static double
sgemm_gflops(void)
{
	const int n = 1536;
	float *a = malloc(sizeof(float) * n * n);
	float *b = malloc(sizeof(float) * n * n);
	float *c = malloc(sizeof(float) * n * n);
	double rate[RUNS];

	for (int i = 0; i < n * n; i++)
	{
		a[i] = (float) (i % 17) - 8;
		b[i] = (float) (i % 13) - 6;
		c[i] = 0;
	}
	for (int run = 0; run < RUNS; run++)
	{
		double start = now();

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, n, 1.0f, a, n, b, n, 0.0f, c, n);
		rate[run] = 2.0 * n * n * n / (now() - start) / 1e9;
	}
	free(a);
	free(b);
	free(c);
	return median(rate);
}

static double
read_gbytes(void)
{
	typedef float Vec __attribute__((vector_size(64)));
	const size_t n = (size_t) 1 << 22; /* 256 MB */
	Vec *data = aligned_alloc(64, n * sizeof(Vec));
	double rate[RUNS];
	volatile float sink;

	for (size_t i = 0; i < n; i++)
		data[i] = (Vec){1, 2, 3};
	for (int run = 0; run < RUNS; run++)
	{
		Vec sum0 = {0},
			sum1 = {0},
			sum2 = {0},
			sum3 = {0};
		double start = now();

		for (size_t i = 0; i < n; i += 4)
		{
			sum0 += data[i];
			sum1 += data[i + 1];
			sum2 += data[i + 2];
			sum3 += data[i + 3];
		}
		sum0 += sum1 + sum2 + sum3;
		sink = sum0[0] + sum0[5];
		(void) sink;
		rate[run] = (double) (n * sizeof(Vec)) / (now() - start) / 1e9;
	}
	free(data);
	return median(rate);
}

int
main(void)
{
	printf("%.0f %.1f\n", sgemm_gflops(), read_gbytes());
	return 0;
}
