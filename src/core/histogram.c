/*
 * histogram.c
 *	  Counts of values by logarithmic buckets, and quantiles from them.
 */
#include "histogram.h"

#include <math.h>

uint64_t
kpx_bucket_low(int bucket)
{
	if (bucket < 8)
		return (uint64_t) bucket;
	return (uint64_t) (8 + bucket % 8) << (bucket / 8 - 1);
}

double
kpx_bucket_middle(int bucket)
{
	return ((double) kpx_bucket_low(bucket) + (double) kpx_bucket_low(bucket + 1)) / 2;
}

double
kpx_histogram_quantile(const uint64_t *count, double q)
{
	uint64_t total = 0;
	uint64_t passed = 0;

	for (int b = 0; b < KPX_BUCKETS; b++)
		total += count[b];
	if (total == 0)
		return NAN;
	for (int b = 0; b < KPX_BUCKETS; b++)
	{
		passed += count[b];
		if ((double) passed >= q * (double) total)
			return kpx_bucket_middle(b);
	}
	return kpx_bucket_middle(KPX_BUCKETS - 1);
}
