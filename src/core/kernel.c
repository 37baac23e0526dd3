/*
 * kernel.c
 *	  The innermost loops, compiled for several instruction sets and chosen at run time.
 */
#include "kernel.h"

#include <math.h>
#include <string.h>

/* may_alias: these are views of float arrays. */
typedef float KpxHalf __attribute__((vector_size(32), aligned(32), may_alias));
typedef int KpxHalfMask __attribute__((vector_size(32), may_alias));
typedef int8_t KpxHalfBytes __attribute__((vector_size(8)));

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (KpxHalfMask){__VA_ARGS__})
#endif

#define TARGET
#define LEVEL(name) name##_portable
#define LEVEL_NAME "portable"
#define LANES 4
#define TILE_ROWS 2
#define TILE_LINES 1
#define LANE_COLS 1
#include "kernel_body.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma")))
#define LEVEL(name) name##_avx2
#define LEVEL_NAME "avx2"
#define LANES 8
#define TILE_ROWS 4
#define TILE_LINES 1
#define LANE_COLS 3
#include "kernel_body.h"

#define TARGET __attribute__((target("avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")))
#define LEVEL(name) name##_avx512
#define LEVEL_NAME "avx512"
#define LANES 16
#define TILE_ROWS 8
#define TILE_LINES 2
#define LANE_COLS 4
#include "kernel_body.h"

#endif

const KpxKernels *
kpx_kernels_level(int level)
{
	if (level == 0)
		return &kernels_portable;
#if defined(__x86_64__)
	if (level == 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return &kernels_avx2;
	if (level == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
		__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma"))
		return &kernels_avx512;
#endif
	return NULL;
}

const KpxKernels *
kpx_kernels(void)
{
	static const KpxKernels *best = NULL;

	if (best == NULL)
		for (int level = 0; level <= 2; level++)
			if (kpx_kernels_level(level))
				best = kpx_kernels_level(level);
	return best;
}
