/*
 * spread.c
 *	  How lists spread over the items of a catalogue.
 */
#include "spread.h"

#include <math.h>
#include <string.h>

/*
 * With counts x in increasing order, G = sum_i (2 i - n - 1) x_i / (n sum x), i from 1. Equal counts
 * are taken together: ranks r + 1 .. r + c sum to c (2 r + c + 1) / 2.
 */
static double
gini(const uint64_t *tally, uint32_t most, double n, double total)
{
	double before = 0;
	double sum = 0;

	for (uint32_t x = 0; x <= most; x++)
	{
		double c = (double) tally[x];

		sum += c * (2 * before + c - n) * (double) x;
		before += c;
	}
	return sum / (n * total);
}

KpxSpread
kpx_spread(const uint32_t *shown, const float *popularity, size_t n, uint32_t most, double least, uint64_t *tally)
{
	KpxSpread s = {NAN, NAN, NAN, NAN};
	double total = 0;
	double bits = 0;
	double cold = 0;

	memset(tally, 0, ((size_t) most + 1) * sizeof(uint64_t));
	for (size_t i = 0; i < n; i++)
	{
		double x = shown[i];

		tally[shown[i]]++;
		total += x;
		if (shown[i] > 0)
			bits -= x * log2(fmax(popularity[i], least));
		if (!(popularity[i] > 0))
			cold += x;
	}
	if (total == 0)
		return s;
	s.coverage = 1 - (double) tally[0] / (double) n;
	s.gini = gini(tally, most, (double) n, total);
	s.novelty = bits / total;
	s.cold_share = cold / total;
	return s;
}
