/*
 * coherence.c
 *	  How much the documents that share a term are about the same thing.
 */
#include "coherence.h"

#include <math.h>

/* What is left of a document without one of its terms may be rounding noise only. */
#define LEAST_NORM 1e-8

/* to += (x - w v) / |x - w v|; false when that is zero. */
static bool
add_unit(const float *x, const float *v, float w, int rank, float *to)
{
	double norm = 0;
	float scale;

	for (int k = 0; k < rank; k++)
	{
		float z = x[k] - w * v[k];

		norm += (double) z * z;
	}
	if (!(norm > LEAST_NORM))
		return false;
	scale = (float) (1 / sqrt(norm));
	for (int k = 0; k < rank; k++)
		to[k] += (x[k] - w * v[k]) * scale;
	return true;
}

void
kpx_coherence_add(const KpxSparse *a, size_t rows_begin, size_t rows_end, const float *left, const float *right,
				  size_t ld, int rank, float *sum, uint32_t *n)
{
	size_t to = kpx_ld(rank);

	for (size_t i = rows_begin; i < rows_end; i++)
	{
		for (uint64_t e = a->offset[i]; e < a->offset[i + 1]; e++)
		{
			size_t t = a->index[e];

			n[t] += add_unit(left + i * ld, right + t * ld, a->value[e], rank, sum + t * to);
		}
		n[a->cols] += add_unit(left + i * ld, right, 0, rank, sum + a->cols * to);
	}
}

/* |sum|^2 - n: twice the sum over pairs. */
static double
pairs_sum(const float *sum, uint32_t n, int rank)
{
	double square = 0;

	for (int k = 0; k < rank; k++)
		square += (double) sum[k] * sum[k];
	return square - n;
}

void
kpx_coherence_weights(const float *sum, const uint32_t *n, size_t cols, int rank, double exponent, float *weight)
{
	size_t ld = kpx_ld(rank);
	double all = (double) n[cols] * (n[cols] - 1.0);
	double least = all > 0 ? pairs_sum(sum + cols * ld, n[cols], rank) / all : 0;
	double mean = 0;
	size_t counted = 0;

	for (size_t t = 0; t < cols; t++)
		if (n[t] >= 5)
		{
			mean += pairs_sum(sum + t * ld, n[t], rank) / ((double) n[t] * (n[t] - 1.0));
			counted++;
		}
	mean = counted ? mean / (double) counted : 0;
	least = fmax(least, 1e-3);
	mean = fmax(mean, least);
	for (size_t t = 0; t < cols; t++)
	{
		double pairs = n[t] ? (double) n[t] * (n[t] - 1.0) : 0;
		double c = n[t] ? pairs_sum(sum + t * ld, n[t], rank) : 0;

		c = (c + KPX_COHERENCE_PRIOR * mean) / (pairs + KPX_COHERENCE_PRIOR);
		weight[t] = (float) pow(fmax(c, least) / mean, exponent);
	}
}
