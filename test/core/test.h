/*
 * test.h
 *	  The few words in which the core's unit tests are written.
 *
 * A failed check prints where and what, and the program goes on; test_done() is the
 * exit status. Everything random comes from rng.h with fixed seeds.
 */
#ifndef KPX_TEST_H
#define KPX_TEST_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/matrix.h"
#include "core/rng.h"

static int test_failures;
static int test_checks;

#define CHECK(condition) test_check((condition), #condition, __FILE__, __LINE__)
#define CHECK_NEAR(actual, expected, tolerance) \
	test_near((actual), (expected), (tolerance), #actual, __FILE__, __LINE__)
#define CHECK_EQ(actual, expected) \
	test_eq((long long) (actual), (long long) (expected), #actual, __FILE__, __LINE__)

static inline void
test_check(bool good, const char *what, const char *file, int line)
{
	test_checks++;
	if (good)
		return;
	test_failures++;
	printf("%s:%d: not true: %s\n", file, line, what);
}

/* |actual - expected| <= tolerance * max(1, |expected|) */
static inline void
test_near(double actual, double expected, double tolerance, const char *what, const char *file, int line)
{
	test_checks++;
	if (fabs(actual - expected) <= tolerance * fmax(1.0, fabs(expected)))
		return;
	test_failures++;
	printf("%s:%d: %s is %.9g, expected %.9g (+- %g)\n", file, line, what, actual, expected, tolerance);
}

static inline void
test_eq(long long actual, long long expected, const char *what, const char *file, int line)
{
	test_checks++;
	if (actual == expected)
		return;
	test_failures++;
	printf("%s:%d: %s is %lld, expected %lld\n", file, line, what, actual, expected);
}

/* 64-byte aligned and filled with garbage, so that nothing relies on zeroes. */
static inline void *
test_alloc(size_t size)
{
	void *memory = aligned_alloc(64, kpx_align(size ? size : 1));

	if (!memory)
		abort();
	memset(memory, 0x5A, kpx_align(size ? size : 1));
	return memory;
}

/* A random whole number below n. */
static inline uint64_t
test_below(uint64_t seed, uint64_t position, uint64_t n)
{
	return kpx_random(seed, 99, position) % n;
}

static inline int
test_done(void)
{
	if (test_failures)
		printf("%d of %d checks failed\n", test_failures, test_checks);
	return test_failures || !test_checks ? 1 : 0;
}

#endif /* KPX_TEST_H */
