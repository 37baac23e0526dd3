/*
 * histogram_test.c
 *	  Buckets against the values they hold, quantiles against sorting.
 */
#include "core/histogram.h"
#include "test.h"

static void
test_buckets(void)
{
	for (int b = 0; b < KPX_BUCKETS; b++)
	{
		uint64_t low = kpx_bucket_low(b);

		CHECK(kpx_bucket(low) == b);
		CHECK(b == 0 || kpx_bucket(low - 1) == b - 1);
		CHECK(kpx_bucket_low(b + 1) > low);
	}
	CHECK(kpx_bucket(UINT64_MAX) == KPX_BUCKETS - 1);
	CHECK(kpx_bucket((uint64_t) 1 << 27) == KPX_BUCKETS - 1);
	CHECK(kpx_bucket_low(KPX_BUCKETS) == (uint64_t) 1 << 27);
	/* the promised error, on all values below 2^16 and some above */
	for (uint64_t v = 8; v < (uint64_t) 1 << 27; v += v < 65536 ? 1 : 997)
		CHECK(fabs(kpx_bucket_middle(kpx_bucket(v)) - (double) v) <= (double) v / 16);
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *) a;
	uint64_t y = *(const uint64_t *) b;

	return x < y ? -1 : x > y;
}

static void
test_quantiles(void)
{
	static const double quantile[] = {0.01, 0.5, 0.95, 0.99, 1};
	static uint64_t value[10000];
	uint64_t count[KPX_BUCKETS];

	for (uint64_t trial = 0; trial < 50; trial++)
	{
		size_t n = 1 + test_below(1, trial, 10000);

		memset(count, 0, sizeof(count));
		for (size_t i = 0; i < n; i++)
		{
			/* over five powers of ten */
			value[i] = (uint64_t) pow(10, 1 + 5 * kpx_uniform(2, trial, i));
			count[kpx_bucket(value[i])]++;
		}
		qsort(value, n, sizeof(uint64_t), compare);
		for (int q = 0; q < 5; q++)
		{
			double exact = (double) value[(size_t) ceil(quantile[q] * (double) n) - 1];

			CHECK(fabs(kpx_histogram_quantile(count, quantile[q]) - exact) <= exact / 16);
		}
	}
	memset(count, 0, sizeof(count));
	CHECK(isnan(kpx_histogram_quantile(count, 0.5)));
}

int
main(void)
{
	test_buckets();
	test_quantiles();
	return test_done();
}
