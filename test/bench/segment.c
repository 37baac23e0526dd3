/*
 * segment.c
 *	  Seconds and inertia of k-means on rows and first centres read from files.
 *
 * Arguments: file of rows (float[n][features]), n, features, file of centres
 * (float[k][features]), k, iterations. Prints seconds of CPU time, iterations done, inertia.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/segment.h"

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static void *
allocate(size_t size)
{
	void *memory = aligned_alloc(64, kpx_align(size));

	if (!memory)
		abort();
	memset(memory, 0, kpx_align(size));
	return memory;
}

static void
read_rows(const char *name, size_t n, int features, float *to)
{
	FILE *file = fopen(name, "rb");

	for (size_t i = 0; file && i < n; i++)
		if (fread(to + i * kpx_ld(features), sizeof(float), (size_t) features, file) != (size_t) features)
			abort();
	if (!file)
		abort();
	fclose(file);
}

/* Iterations until no row changes its centre, and a last assignment otherwise; returns how many. */
static int
lloyd(const KpxPoints *points, KpxMeans *means, KpxLabels *labels, KpxMeansSums *sums, void *workspace, int iterations)
{
	kpx_means_begin(means);
	kpx_means_reset(labels, 0, points->n);
	for (int done = 1;; done++)
	{
		kpx_means_assign(points, means, labels, 0, points->n, workspace, sums);
		if (kpx_means_collect(means, sums) == 0 || done > iterations)
			return done < iterations ? done : iterations;
		kpx_means_recentre(means);
	}
}

int
main(int argc, char **argv)
{
	size_t n = argc == 7 ? (size_t) atol(argv[2]) : 0;
	int features = n ? atoi(argv[3]) : 0;
	int k = n ? atoi(argv[5]) : 0;
	float *x = allocate(n * kpx_ld(features) * sizeof(float));
	KpxPoints points = {n, features, kpx_ld(features), x, allocate(n * sizeof(float))};
	KpxLabels labels = {allocate(n * sizeof(uint32_t)), allocate(n * sizeof(float)), allocate(n * sizeof(float))};
	KpxMeans means = kpx_means_at(allocate(kpx_means_size(k, features)), k, features);
	KpxMeansSums sums = kpx_means_sums_at(allocate(kpx_means_sums_size(k, features)), k, features);
	void *workspace = allocate(kpx_means_workspace_size(features));
	double begin;
	int done;
	double inertia;

	if (n == 0)
		return 2;
	read_rows(argv[1], n, features, x);
	read_rows(argv[4], (size_t) k, features, means.centre);
	begin = now();
	kpx_means_norms(&points, 0, n);
	done = lloyd(&points, &means, &labels, &sums, workspace, atoi(argv[6]));
	inertia = kpx_means_inertia(&points, &means, &labels, 0, n);
	printf("%.4f %d %.9g\n", now() - begin, done, inertia);
	return 0;
}
