/*
 * rng.h
 *	  Random numbers that depend on (seed, stream, position) only, so that the
 *	  result does not depend on who draws them, in which order, on how many workers.
 *
 * SplitMix64 used as a counter-based hash (Steele, Lea, Flood 2014, "Fast
 * splittable pseudorandom number generators").
 */
#ifndef KPX_RNG_H
#define KPX_RNG_H

#include <math.h>
#include <stdint.h>

static inline uint64_t
kpx_mix64(uint64_t z)
{
	z += UINT64_C(0x9E3779B97F4A7C15);
	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

/* 64 random bits for a position of a stream. */
static inline uint64_t
kpx_random(uint64_t seed, uint64_t stream, uint64_t position)
{
	return kpx_mix64(kpx_mix64(kpx_mix64(seed) ^ stream) ^ position);
}

/* Uniform in (0, 1). */
static inline double
kpx_uniform(uint64_t seed, uint64_t stream, uint64_t position)
{
	return ((double) (kpx_random(seed, stream, position) >> 11) + 0.5) * 0x1.0p-53;
}

/* Standard normal (Box-Muller, cosine branch). */
static inline double
kpx_normal(uint64_t seed, uint64_t stream, uint64_t position)
{
	double u = kpx_uniform(seed, stream, 2 * position);
	double v = kpx_uniform(seed, stream, 2 * position + 1);

	return sqrt(-2.0 * log(u)) * cos(6.283185307179586476925286766559 * v);
}

#endif /* KPX_RNG_H */
