/*
 * itemset_and.c
 *	  Intersections of bitsets with their sizes, with and without the CPU's own bit counting.
 */
#include "itemset.h"

#define INLINE static inline __attribute__((always_inline))

INLINE uint64_t
and_all(const uint64_t *a, const uint64_t *b, size_t n, uint64_t *out)
{
	uint64_t count = 0;

	for (size_t i = 0; i < n; i++)
	{
		uint64_t both = a[i] & b[i];

		out[i] = both;
		count += (uint64_t) __builtin_popcountll(both);
	}
	return count;
}

INLINE uint64_t
count_all(const uint64_t *a, const uint64_t *b, size_t n)
{
	uint64_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += (uint64_t) __builtin_popcountll(a[i] & b[i]);
	return count;
}

INLINE uint64_t
and_some(const uint64_t *a, const uint64_t *b, const uint32_t *word, size_t n, uint64_t *out)
{
	uint64_t count = 0;

	for (size_t i = 0; i < n; i++)
	{
		uint64_t both = a[word[i]] & b[word[i]];

		if (out)
			out[i] = both;
		count += (uint64_t) __builtin_popcountll(both);
	}
	return count;
}

INLINE uint64_t
and_count(const uint64_t *a, const uint64_t *b, const uint32_t *word, size_t n, uint64_t *out)
{
	return word ? and_some(a, b, word, n, out) : out ? and_all(a, b, n, out)
													 : count_all(a, b, n);
}

static uint64_t
and_count_portable(const uint64_t *a, const uint64_t *b, const uint32_t *word, size_t n, uint64_t *out)
{
	return and_count(a, b, word, n, out);
}

#if defined(__x86_64__)

static __attribute__((target("popcnt"))) uint64_t
and_count_popcnt(const uint64_t *a, const uint64_t *b, const uint32_t *word, size_t n, uint64_t *out)
{
	return and_count(a, b, word, n, out);
}

#endif

KpxAndCount
kpx_and_count(int level)
{
#if defined(__x86_64__)
	if (level >= 1 && __builtin_cpu_supports("popcnt"))
		return and_count_popcnt;
#endif
	return and_count_portable;
}
