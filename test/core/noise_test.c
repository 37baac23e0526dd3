/*
 * noise_test.c
 *	  The discrete Laplace noise against its exact probabilities, from seeded bytes.
 *
 * Chi-square tests at alpha = 1e-4 each; seeds are fixed, so that a failure is a fault, not chance.
 */
#include "test.h"

#include "core/noise.h"

#define DRAWS 200000
#define REACH 30 /* |z| up to this has a bin of its own where 10 draws are expected, the rest one */

static bool
seeded(void *context, uint8_t *bytes, size_t n)
{
	uint64_t *state = context;

	for (size_t i = 0; i < n; i += 8)
	{
		uint64_t word = kpx_mix64((*state)++);

		memcpy(bytes + i, &word, 8);
	}
	return true;
}

static bool
none(void *context, uint8_t *bytes, size_t n)
{
	memset(bytes, 0, n);
	(*(int *) context)++;
	return false;
}

/* Quantile of chi square at 1 - 1e-4 (Wilson, Hilferty 1931; within 1 % for the degrees used here). */
static double
critical(double degrees)
{
	double z = 3.719;
	double a = 2 / (9 * degrees);

	return degrees * pow(1 - a + z * sqrt(a), 3);
}

static void
test_distribution(uint64_t numerator, uint64_t denominator, uint64_t sensitivity, uint64_t seed)
{
	double epsilon = (double) numerator / (double) denominator / (double) sensitivity;
	double norm = (1 - exp(-epsilon)) / (1 + exp(-epsilon));
	uint64_t state = seed << 40;
	KpxRandomBytes bytes = {seeded, &state, {0}, 0, false};
	static uint64_t seen[2 * REACH + 1];
	uint64_t rest = 0;
	double rest_expected = DRAWS;
	double chi = 0;
	double sum = 0;
	double squares = 0;
	int bins = 0;

	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < DRAWS; i++)
	{
		int64_t z = kpx_noise_laplace(numerator, denominator, sensitivity, &bytes);

		sum += (double) z;
		squares += (double) z * (double) z;
		if (z >= -REACH && z <= REACH)
			seen[z + REACH]++;
		else
			rest++;
	}
	CHECK(!bytes.failed);
	for (int z = -REACH; z <= REACH; z++)
	{
		double expected = DRAWS * norm * exp(-epsilon * abs(z));

		if (expected < 10)
		{
			rest += seen[z + REACH];
			continue;
		}
		rest_expected -= expected;
		chi += pow((double) seen[z + REACH] - expected, 2) / expected;
		bins++;
	}
	if (rest_expected >= 10)
	{
		chi += pow((double) rest - rest_expected, 2) / rest_expected;
		bins++;
	}
	CHECK(bins > 2);
	CHECK(chi < critical(bins - 1));
	/* mean 0, and the deviation that is promised: five standard errors */
	CHECK(fabs(sum / DRAWS) < 5 * kpx_noise_deviation(epsilon, 1) / sqrt(DRAWS));
	CHECK_NEAR(sqrt(squares / DRAWS) / kpx_noise_deviation((double) numerator / (double) denominator, (double) sensitivity), 1, 0.02);
}

/* A test that cannot fail is none: noise of another epsilon is told apart. */
static void
test_power(void)
{
	uint64_t state = 7;
	KpxRandomBytes bytes = {seeded, &state, {0}, 0, false};
	double expected = DRAWS * (1 - exp(-0.5)) / (1 + exp(-0.5));
	uint64_t zeros = 0;

	for (int i = 0; i < DRAWS; i++)
		zeros += kpx_noise_laplace(52, 100, 1, &bytes) == 0;
	CHECK(pow((double) zeros - expected, 2) / expected > critical(1));
}

static void
test_no_bytes(void)
{
	int calls = 0;
	KpxRandomBytes bytes = {none, &calls, {0}, 0, false};

	CHECK_EQ(kpx_noise_laplace(1, 10, 1, &bytes), 0);
	CHECK(bytes.failed);
	CHECK(calls > 0);
}

/* The ends of the range: no endless loop, no overflow. */
static void
test_ends(void)
{
	uint64_t state = 11;
	KpxRandomBytes bytes = {seeded, &state, {0}, 0, false};

	for (int i = 0; i < 1000; i++)
	{
		CHECK_EQ(kpx_noise_laplace(KPX_NOISE_MAX, 1, 1, &bytes), 0);
		CHECK(llabs(kpx_noise_laplace(1, KPX_NOISE_MAX, KPX_NOISE_MAX, &bytes)) < INT64_C(60000000000000));
	}
	CHECK(!bytes.failed);
}

int
main(void)
{
	test_distribution(1, 1, 1, 1);
	test_distribution(1, 2, 1, 2);
	test_distribution(1, 10, 1, 3);
	test_distribution(3, 1, 1, 4);
	test_distribution(1, 1, 4, 5);
	test_distribution(7, 10, 3, 6);
	test_power();
	test_no_bytes();
	test_ends();
	return test_done();
}
