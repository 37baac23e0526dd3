/*
 * drift_test.c
 *	  PSI against its definition and by simulation; spread against its definitions written out.
 */
#include "core/drift.h"
#include "core/spread.h"
#include "test.h"

static void
test_psi(void)
{
	static const uint64_t a[] = {100, 200, 300, 400};
	static const uint64_t b[] = {400, 300, 200, 100};
	static const uint64_t none[4];
	double expected = 0;

	for (int i = 0; i < 4; i++)
	{
		double p = (a[i] + 0.5) / 1002;
		double q = (b[i] + 0.5) / 1002;

		expected += (q - p) * log(q / p);
	}
	CHECK_NEAR(kpx_psi(a, b, 4), expected, 1e-12);
	CHECK_NEAR(kpx_psi(a, b, 4), 0.9112, 5e-3); /* 0.6 ln 4 + 0.2 ln 1.5 without the halves */
	CHECK_NEAR(kpx_psi(a, b, 4), kpx_psi(b, a, 4), 1e-12);
	CHECK_NEAR(kpx_psi(a, a, 4), 0, 0);
	CHECK(isnan(kpx_psi(a, none, 4)));
	CHECK(isnan(kpx_psi(a, b, 1)));
	CHECK(isnan(kpx_psi(none, a, 4)));
	CHECK(isnan(kpx_psi_noise(none, b, 4)));
	CHECK(isnan(kpx_psi_noise(a, none, 4)));
	CHECK(isnan(kpx_psi_noise(a, b, 1)));
	CHECK_NEAR(kpx_psi_noise(a, b, 4), 3 * 2.0 / 1000, 1e-12);
	{
		/* bins that are empty in both samples change nothing */
		uint64_t wide_a[8] = {0};
		uint64_t wide_b[8] = {0};

		for (int i = 0; i < 4; i++)
		{
			wide_a[2 * i] = a[i];
			wide_b[2 * i] = b[i];
		}
		CHECK_NEAR(kpx_psi(wide_a, wide_b, 8), expected, 1e-12);
		CHECK_NEAR(kpx_psi_noise(wide_a, wide_b, 8), 3 * 2.0 / 1000, 1e-12);
	}
}

/* Two samples of one distribution: the mean of PSI is the noise that is promised, within 4 standard errors and 5 %. */
static void
test_noise(void)
{
	enum
	{
		TRIALS = 2000,
		BINS = 20,
		N = 4000,
		M = 2000
	};
	double sum = 0;
	double squares = 0;
	double promised = 0;

	for (uint64_t trial = 0; trial < TRIALS; trial++)
	{
		uint64_t a[BINS] = {0};
		uint64_t b[BINS] = {0};
		double psi;

		for (uint64_t i = 0; i < N; i++)
			a[(int) (BINS * pow(kpx_uniform(1, trial, i), 1.5))]++;
		for (uint64_t i = 0; i < M; i++)
			b[(int) (BINS * pow(kpx_uniform(2, trial, i), 1.5))]++;
		psi = kpx_psi(a, b, BINS);
		sum += psi;
		squares += psi * psi;
		promised += kpx_psi_noise(a, b, BINS) / TRIALS;
	}
	CHECK(fabs(sum / TRIALS - promised) <= 4 * sqrt((squares / TRIALS - pow(sum / TRIALS, 2)) / TRIALS) + 0.05 * promised);
}

static void
test_spread(void)
{
	static uint32_t shown[300];
	static float popularity[300];
	static uint64_t tally[41];

	for (uint64_t trial = 0; trial < 200; trial++)
	{
		size_t n = 1 + test_below(1, trial, 300);
		double total = 0;
		double differences = 0;
		double bits = 0;
		double cold = 0;
		double covered = 0;
		KpxSpread s;

		for (size_t i = 0; i < n; i++)
		{
			shown[i] = kpx_uniform(2, trial, i) < 0.4 ? 0 : (uint32_t) test_below(3, trial * 1000 + i, 41);
			popularity[i] = kpx_uniform(4, trial, i) < 0.2 ? 0 : (float) kpx_uniform(5, trial, i);
		}
		for (size_t i = 0; i < n; i++)
		{
			total += shown[i];
			covered += shown[i] > 0;
			cold += popularity[i] == 0 ? shown[i] : 0;
			bits -= shown[i] ? shown[i] * log2(popularity[i] > 0.01 ? popularity[i] : 0.01) : 0;
			for (size_t j = 0; j < n; j++)
				differences += fabs((double) shown[i] - (double) shown[j]);
		}
		s = kpx_spread(shown, popularity, n, 40, 0.01, tally);
		if (total == 0)
		{
			CHECK(isnan(s.gini) && isnan(s.coverage) && isnan(s.novelty) && isnan(s.cold_share));
			continue;
		}
		/* Gini: mean absolute difference by twice the mean */
		CHECK_NEAR(s.gini, differences / (2 * n * total), 1e-9);
		CHECK_NEAR(s.coverage, covered / n, 1e-12);
		CHECK_NEAR(s.novelty, bits / total, 1e-6);
		CHECK_NEAR(s.cold_share, cold / total, 1e-12);
	}
	CHECK(isnan(kpx_spread(shown, popularity, 0, 40, 0.01, tally).gini));
}

int
main(void)
{
	test_psi();
	test_noise();
	test_spread();
	return test_done();
}
