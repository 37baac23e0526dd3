/*
 * fuse.c
 *	  Numbers and embeddings of items made comparable, and several modalities made one vector.
 */
#include "fuse.h"

#include <math.h>

int
kpx_quantile_knots(const double *value, size_t n, double *knot)
{
	int knots = 0;

	for (int q = 0; q < KPX_KNOTS && n > 0; q++)
	{
		double x = value[(n - 1) * (size_t) q / (KPX_KNOTS - 1)];

		if (knots == 0 || x > knot[knots - 1])
			knot[knots++] = x;
	}
	return knots;
}

void
kpx_rank_point(const double *knot, int n, double x, float point[2])
{
	double t = 0;
	int k = 0;

	while (k + 2 < n && x >= knot[k + 1])
		k++;
	if (x >= knot[k + 1])
		t = 1;
	else if (x > knot[0])
		t = (k + (x - knot[k]) / (knot[k + 1] - knot[k])) / (n - 1);
	point[0] = (float) cos(3.14159265358979323846 * t);
	point[1] = (float) sin(3.14159265358979323846 * t);
}

KpxStatus
kpx_embedding_check(const float *x, size_t n)
{
	bool zero = true;

	for (size_t i = 0; i < n; i++)
	{
		if (!isfinite(x[i]))
			return KPX_NOT_FINITE;
		zero = zero && x[i] == 0;
	}
	return zero ? KPX_BAD_ARGUMENT : KPX_OK;
}

bool
kpx_centre_unit(float *x, const float *mean, size_t n)
{
	double before = 0;
	double norm = 0;

	for (size_t i = 0; i < n; i++)
	{
		before += (double) x[i] * x[i];
		x[i] -= mean ? mean[i] : 0;
		norm += (double) x[i] * x[i];
	}
	/* What centring leaves of an embedding that is the mean is rounding. */
	norm = norm > before * 1e-12 ? sqrt(norm) : 0;
	for (size_t i = 0; i < n; i++)
		x[i] = norm > 0 ? (float) (x[i] / norm) : 0;
	return norm > 0;
}

bool
kpx_fuse(float *x, const uint32_t *begin, const float *weight, int modalities)
{
	double total = 0;

	for (int pass = 0; pass < 2; pass++)
		for (int m = 0; m < modalities; m++)
		{
			double norm = 0;

			for (uint32_t i = begin[m]; i < begin[m + 1]; i++)
				norm += (double) x[i] * x[i];
			if (norm < 0.25)
				continue;
			if (pass == 0)
				total += weight[m];
			for (uint32_t i = begin[m]; i < begin[m + 1] && pass == 1 && total > 0; i++)
				x[i] = (float) (x[i] * sqrt(weight[m] / total));
		}
	return total > 0;
}
