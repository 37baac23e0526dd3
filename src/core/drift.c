/*
 * drift.c
 *	  How far two samples are apart: the population stability index.
 */
#include "drift.h"

#include <math.h>

typedef struct Totals
{
	double reference;
	double recent;
	double bins; /* that are not empty in both */
} Totals;

static Totals
add_up(const uint64_t *reference, const uint64_t *recent, size_t bins)
{
	Totals t = {0, 0, 0};

	for (size_t b = 0; b < bins; b++)
	{
		t.reference += (double) reference[b];
		t.recent += (double) recent[b];
		t.bins += reference[b] > 0 || recent[b] > 0;
	}
	return t;
}

double
kpx_psi(const uint64_t *reference, const uint64_t *recent, size_t bins)
{
	Totals t = add_up(reference, recent, bins);
	double psi = 0;

	if (bins < 2 || t.reference == 0 || t.recent == 0)
		return NAN;
	for (size_t b = 0; b < bins; b++)
		if (reference[b] > 0 || recent[b] > 0)
		{
			double a = ((double) reference[b] + 0.5) / (t.reference + 0.5 * t.bins);
			double c = ((double) recent[b] + 0.5) / (t.recent + 0.5 * t.bins);

			psi += (c - a) * log(c / a);
		}
	return psi;
}

double
kpx_psi_noise(const uint64_t *reference, const uint64_t *recent, size_t bins)
{
	Totals t = add_up(reference, recent, bins);

	if (bins < 2 || t.reference == 0 || t.recent == 0)
		return NAN;
	return fmax(t.bins - 1, 0) * (1 / t.reference + 1 / t.recent);
}
