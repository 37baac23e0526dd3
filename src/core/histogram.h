/*
 * histogram.h
 *	  Counts of values by logarithmic buckets, and quantiles from them.
 *
 * Values 0 .. 7 have a bucket each; above, every power of two is cut into 8 buckets of equal
 * width (as in HdrHistogram, with 3 bits kept). A bucket is at most 1/8 as wide as its lower
 * bound, so its middle is at most 1/16 (6.25 %) from any value in it. Values of 2^27 and more
 * share the last bucket.
 */
#ifndef KPX_HISTOGRAM_H
#define KPX_HISTOGRAM_H

#include "matrix.h"

#define KPX_BUCKETS 200

/* The bucket of a value: 0 .. KPX_BUCKETS - 1. */
static inline int
kpx_bucket(uint64_t value)
{
	int octave;

	if (value < 8)
		return (int) value;
	octave = 63 - __builtin_clzll(value);
	if (octave > 26)
		return KPX_BUCKETS - 1;
	return (octave - 2) * 8 + (int) ((value >> (octave - 3)) & 7);
}

/* Lower bound of a bucket, and the value that stands for it. */
extern uint64_t kpx_bucket_low(int bucket);
extern double kpx_bucket_middle(int bucket);

/* The q-quantile (0 < q <= 1) of what was counted in count[KPX_BUCKETS], as its bucket's middle; NaN when nothing was. */
extern double kpx_histogram_quantile(const uint64_t *count, double q);

#endif /* KPX_HISTOGRAM_H */
