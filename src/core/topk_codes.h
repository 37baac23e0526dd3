/*
 * topk_codes.h
 *	  Vectors in eight bits, for upper bounds of products that cost a quarter of the memory.
 *
 * A row y is kept as y' = scale * code with whole numbers -127..127, and how far y' is from it: residual
 * >= |y - y'|. With x' the same of a user's vector x (Cauchy, Schwarz, twice)
 *
 *	  x.y <= x'.y' + |x| residual + |x - x'| (|y| + residual)
 *
 * so that who cannot be among the best by the right side cannot be by the left: the search stays exact. (Li, Chan,
 * Yiu, Mamoulis 2017, "FEXIPRO", bounds by integers in the same spirit.)
 */
#ifndef KPX_TOPK_CODES_H
#define KPX_TOPK_CODES_H

#include "kernel.h"

typedef struct KpxCodes
{
	const int8_t *codes; /* kpx_codes_size(rows, ld) bytes, 64-byte aligned, in groups as KpxKernels.code_products wants them */
	const float *scale; /* [rows] */
	const float *residual; /* [rows] */
} KpxCodes;

/* Bytes of the codes of so many rows; SIZE_MAX: too many. */
extern size_t kpx_codes_size(size_t rows, size_t ld);

/*
 * Codes of positions [begin, end) of rows, position j being row order[j] of items (ld floats a row) and no longer
 * than length[j]; all arrays by position. begin is a multiple of KPX_CODE_ROWS; what is left of the last group becomes zero.
 */
extern void kpx_codes_make(const float *items, size_t ld, const uint32_t *order, const float *length, size_t begin, size_t end,
						   int8_t *codes, float *scale, float *residual);

/* A user's vector in eight bits, and what bounds need of it. */
typedef struct KpxCodeQuery
{
	int8_t code[KPX_MAX_FACTORS];
	float scale;
	float by_residual; /* |x| + |x - x'| */
	float by_length; /* |x - x'|, and what products and bounds lose by rounding */
} KpxCodeQuery;

extern void kpx_code_query(const float *x, size_t ld, KpxCodeQuery *query);

/*
 * bound[j] >= the score, as KpxKernels.scores computes it, of position begin + j, for n of them; begin is a
 * multiple of KPX_CODE_ROWS, product has room for n and the rest of a group. longest: no row is longer.
 */
extern void kpx_code_bounds(const KpxCodes *codes, size_t ld, size_t begin, size_t n, const KpxCodeQuery *query, float longest,
							int32_t *product, float *bound);

#endif /* KPX_TOPK_CODES_H */
