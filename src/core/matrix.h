/*
 * matrix.h
 *	  Shapes, status codes and sizes shared by all of src/core.
 *
 * A matrix of factors has one row an item (or user) and kpx_ld(factors) floats a
 * row, row-major; the padding columns are zero. Rows start on 64-byte boundaries
 * when the matrix does.
 */
#ifndef KPX_MATRIX_H
#define KPX_MATRIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a core function says about how it went. */
typedef enum KpxStatus
{
	KPX_OK = 0,
	KPX_MORE, /* budget used up: call again with the same cursor */
	KPX_BAD_ARGUMENT, /* a size or range that the caller should have checked */
	KPX_TOO_BIG, /* a size that does not fit */
	KPX_NOT_FINITE, /* NaN or infinity where a number was needed */
	KPX_CORRUPT, /* stored bytes that cannot be what they claim */
	KPX_UNSUPPORTED, /* stored bytes of another version or machine */
	KPX_OVER_LIMIT /* a limit that the caller set would be passed */
} KpxStatus;

#define KPX_MAX_FACTORS 1024
#define KPX_LANE 16 /* floats in a 64-byte line */

/* Leading dimension: floats from one row to the next. */
static inline size_t
kpx_ld(int factors)
{
	return ((size_t) factors + (KPX_LANE - 1)) & ~(size_t) (KPX_LANE - 1);
}

/* a * b and a + b, false when they do not fit into size_t. */
static inline bool
kpx_mul_size(size_t a, size_t b, size_t *result)
{
	return !__builtin_mul_overflow(a, b, result);
}

static inline bool
kpx_add_size(size_t a, size_t b, size_t *result)
{
	return !__builtin_add_overflow(a, b, result);
}

/* n rounded up to a multiple of 64, the alignment of every array in an arena. */
static inline size_t
kpx_align(size_t n)
{
	return (n + 63) & ~(size_t) 63;
}

#endif /* KPX_MATRIX_H */
