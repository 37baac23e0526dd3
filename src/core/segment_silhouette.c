/*
 * segment_silhouette.c
 *	  How well rows lie in their clusters: Rousseeuw 1987, "Silhouettes".
 *
 * With a the mean distance of a row to the others of its cluster and b the least mean
 * distance to another cluster's rows, its coefficient is (b - a) / max(a, b).
 */
#include "segment.h"

#include <math.h>
#include <string.h>

#include <cblas.h>

/* Rows whose distances to all others are summed at a time, and others a product. */
#define ROWS 32
#define OTHERS 256

size_t
kpx_silhouette_workspace_size(int k)
{
	return kpx_align(ROWS * OTHERS * sizeof(float)) + kpx_align(ROWS * (size_t) k * sizeof(double));
}

/* sum[r][c] += distances of rows first + r to those of the others in cluster c. */
static void
add_distances(const KpxPoints *points, const uint32_t *label, size_t first, size_t rows, size_t other, size_t n, int k,
			  float *product, double *sum)
{
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int) rows, (int) n, points->features, -2.0f,
				points->x + first * points->ld, (int) points->ld, points->x + other * points->ld, (int) points->ld, 0.0f,
				product, OTHERS);
	for (size_t r = 0; r < rows; r++)
	{
		float *d = product + r * OTHERS;
		double *to = sum + r * (size_t) k;

		for (size_t i = 0; i < n; i++)
			d[i] = sqrtf(fmaxf(d[i] + points->norm[first + r] + points->norm[other + i], 0.0f));
		if (first + r >= other && first + r < other + n)
			d[first + r - other] = 0; /* itself */
		for (size_t i = 0; i < n; i++)
			to[label[other + i]] += d[i];
	}
}

static double
coefficient(const double *sum, const double *size, int k, uint32_t own)
{
	double a;
	double b = INFINITY;

	if (size[own] < 1.5)
		return 0;
	a = sum[own] / (size[own] - 1);
	for (int c = 0; c < k; c++)
		if (c != (int) own && size[c] > 0.5)
			b = fmin(b, sum[c] / size[c]);
	return isfinite(b) && fmax(a, b) > 0 ? (b - a) / fmax(a, b) : 0;
}

void
kpx_silhouette_add(const KpxPoints *points, const uint32_t *label, const double *size, int k, size_t begin, size_t end,
				   void *workspace, double *total)
{
	float *product = workspace;
	double *sum = (void *) (product + ROWS * OTHERS);

	for (; begin < end; begin += ROWS)
	{
		size_t rows = end - begin < ROWS ? end - begin : ROWS;

		memset(sum, 0, rows * (size_t) k * sizeof(double));
		for (size_t other = 0; other < points->n; other += OTHERS)
			add_distances(points, label, begin, rows, other, points->n - other < OTHERS ? points->n - other : OTHERS, k,
						  product, sum);
		for (size_t r = 0; r < rows; r++)
			*total += coefficient(sum + r * (size_t) k, size, k, label[begin + r]);
	}
}
