/*
 * noise.h
 *	  Noise for differential privacy, from given random bytes: exact, without floating point.
 *
 * The discrete Laplace (two-sided geometric) distribution of Ghosh, Roughgarden, Sundararajan 2009,
 * drawn as by Canonne, Kamath, Steinke 2020 ("The discrete Gaussian for differential privacy", algorithm 2):
 * every decision is a comparison of integers, so that no rounding leaks the true value (Mironov 2012).
 */
#ifndef KPX_NOISE_H
#define KPX_NOISE_H

#include "matrix.h"

/* Bytes from a cryptographic generator, drawn from as they are needed. */
typedef struct KpxRandomBytes
{
	bool (*refill)(void *context, uint8_t *bytes, size_t n); /* false: there are none */
	void *context;
	uint8_t byte[256];
	size_t left; /* 0 at first */
	bool failed;
} KpxRandomBytes;

/* Epsilon is given as a fraction: numerator / denominator, both 1 .. KPX_NOISE_MAX. */
#define KPX_NOISE_MAX UINT64_C(1000000)

/*
 * An integer z with probability proportional to exp(-|z| * numerator / (denominator * sensitivity)):
 * added to a count that one person can change by at most sensitivity (1 .. KPX_NOISE_MAX), it makes the sum
 * epsilon-differentially private. 0 when the bytes have failed: look at that before using it.
 */
extern int64_t kpx_noise_laplace(uint64_t numerator, uint64_t denominator, uint64_t sensitivity, KpxRandomBytes *bytes);

/* Standard deviation of that noise. */
extern double kpx_noise_deviation(double epsilon, double sensitivity);

#endif /* KPX_NOISE_H */
