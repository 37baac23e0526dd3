/*
 * noise.c
 *	  Noise for differential privacy: the discrete Laplace distribution, drawn exactly.
 */
#include "noise.h"

#include <math.h>
#include <string.h>

static uint64_t
random_word(KpxRandomBytes *bytes)
{
	uint64_t word;

	if (bytes->left < sizeof(word))
	{
		bytes->failed |= !bytes->refill(bytes->context, bytes->byte, sizeof(bytes->byte));
		bytes->left = sizeof(bytes->byte);
	}
	memcpy(&word, bytes->byte + sizeof(bytes->byte) - bytes->left, sizeof(word));
	bytes->left -= sizeof(word);
	return word;
}

/* Uniform below n: words of the incomplete last round are thrown away. */
static uint64_t
below(uint64_t n, KpxRandomBytes *bytes)
{
	uint64_t limit = UINT64_MAX - UINT64_MAX % n;
	uint64_t word;

	do
		word = random_word(bytes);
	while (word >= limit && !bytes->failed);
	return word % n;
}

/*
 * True with probability exp(-numerator / denominator), numerator <= denominator: k is drawn such that
 * P(k > i) = (numerator / denominator)^i / i!, and is odd with just that probability (von Neumann 1951).
 */
static bool
bernoulli_exp_below_1(uint64_t numerator, uint64_t denominator, KpxRandomBytes *bytes)
{
	uint64_t k = 1;

	while (!bytes->failed && below(denominator, bytes) < numerator && below(k, bytes) == 0)
		k++;
	return k % 2 == 1;
}

int64_t
kpx_noise_laplace(uint64_t numerator, uint64_t denominator, uint64_t sensitivity, KpxRandomBytes *bytes)
{
	/* scale t / s: exp(-|z| s / t) */
	uint64_t s = numerator;
	uint64_t t = denominator * sensitivity;

	while (!bytes->failed)
	{
		uint64_t u = below(t, bytes);
		uint64_t v = 0;
		uint64_t size;
		bool negative;

		if (!bernoulli_exp_below_1(u, t, bytes))
			continue;
		while (bernoulli_exp_below_1(1, 1, bytes) && !bytes->failed)
			v++;
		size = (u + t * v) / s;
		negative = below(2, bytes) == 1;
		if (negative && size == 0)
			continue; /* else 0 would be twice as likely */
		return negative ? -(int64_t) size : (int64_t) size;
	}
	return 0;
}

double
kpx_noise_deviation(double epsilon, double sensitivity)
{
	double a = exp(-epsilon / sensitivity);

	return sqrt(2 * a) / (1 - a);
}
