/*
 * simd.h
 *	  Vector arithmetic for the kernels: 16 floats at a time, one 64-byte line.
 *
 * GCC and clang lower the type to whatever the target has (one AVX-512 register,
 * two of AVX2, four of SSE or NEON). KPX_CLONES compiles a function for several
 * x86 levels and lets the loader pick by CPU; elsewhere, and under the sanitizers
 * (whose run time is not up yet when the loader asks), it does nothing.
 */
#ifndef KPX_SIMD_H
#define KPX_SIMD_H

#include "matrix.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KPX_NO_CLONES
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__clang_analyzer__) || defined(__cppcheck__)
#define KPX_NO_CLONES
#endif

#if defined(__x86_64__) && defined(__linux__) && !defined(KPX_NO_CLONES)
#define KPX_CLONES __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define KPX_CLONES
#endif

/* may_alias: these are views of float arrays. */
typedef float KpxVec __attribute__((vector_size(64), aligned(64), may_alias));

#define KPX_INLINE static inline __attribute__((always_inline))

/* Sum of the 16 floats of *v. */
KPX_INLINE float
kpx_vec_sum(const KpxVec *v)
{
	KpxVec a = *v;
	float half[8];

	for (int i = 0; i < 8; i++)
		half[i] = a[i] + a[i + 8];
	for (int i = 0; i < 4; i++)
		half[i] += half[i + 4];
	return (half[0] + half[2]) + (half[1] + half[3]);
}

#endif /* KPX_SIMD_H */
