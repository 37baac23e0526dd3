/*
 * topk_codes.c
 *	  Vectors in eight bits, for upper bounds of products that cost a quarter of the memory.
 */
#include "topk_codes.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define LARGEST 127

size_t
kpx_codes_size(size_t rows, size_t ld)
{
	size_t bytes;

	if (!kpx_add_size(rows, KPX_CODE_ROWS - 1, &rows) || !kpx_mul_size(rows / KPX_CODE_ROWS * KPX_CODE_ROWS, ld, &bytes))
		return SIZE_MAX;
	return bytes;
}

static float
up(double x)
{
	return nextafterf((float) x, FLT_MAX);
}

/* Squares of what is lost of numbers below this would vanish: they are not encoded. */
#define SMALLEST 1e-12f

/* x to whole numbers times the scale that is returned; *residual >= |x - scale * code|. length >= |x|. */
static float
encode(const float *x, size_t ld, double length, int8_t *code, float *residual)
{
	const KpxKernels *kernels = kpx_kernels();
	float largest = kernels->largest(x, ld);
	float scale = largest / LARGEST;
	float square;

	if (!(largest > SMALLEST))
	{
		memset(code, 0, ld);
		*residual = up(length);
		return 0;
	}
	square = kernels->encode(x, ld, LARGEST / largest, scale, code);
	/* Each of the differences is off by a few units of the last place of x, their sum by less than its ten thousandth. */
	*residual = up(sqrt(square) * (1 + 1e-4) + length * FLT_EPSILON * 4);
	return scale;
}

#define AHEAD 8

void
kpx_codes_make(const float *items, size_t ld, const uint32_t *order, const float *length, size_t begin, size_t end, int8_t *codes,
			   float *scale, float *residual)
{
	int8_t code[KPX_MAX_FACTORS];

	for (size_t j = begin; j < end; j++)
	{
		const float *row = items + order[j] * ld;
		int8_t *to = codes + j / KPX_CODE_ROWS * KPX_CODE_ROWS * ld + 4 * (j % KPX_CODE_ROWS);

		for (size_t k = 0; k < ld && j + AHEAD < end; k += KPX_LANE)
			__builtin_prefetch(items + order[j + AHEAD] * ld + k);
		scale[j] = encode(row, ld, length[j], code, &residual[j]);
		for (size_t k = 0; k < ld; k += 4)
			memcpy(to + k * KPX_CODE_ROWS, code + k, 4);
	}
	for (size_t j = end; j % KPX_CODE_ROWS != 0; j++)
		for (size_t k = 0; k < ld; k += 4)
			memset(codes + j / KPX_CODE_ROWS * KPX_CODE_ROWS * ld + 4 * (j % KPX_CODE_ROWS) + k * KPX_CODE_ROWS, 0, 4);
}

void
kpx_code_query(const float *x, size_t ld, KpxCodeQuery *query)
{
	double square = 0;
	double length;
	float error;

	for (size_t k = 0; k < ld; k++)
		square += (double) x[k] * x[k];
	length = sqrt(square);
	query->scale = encode(x, ld, length, query->code, &error);
	query->by_residual = up(length + error);
	/*
	 * A product of ld terms in floats is off by at most about ld / 2 units of the last place of |x||y|;
	 * the bound's own few operations by a few units: four times that for good measure.
	 */
	query->by_length = up(error + length * (double) (ld + KPX_LANE) * FLT_EPSILON * 2);
}

void
kpx_code_bounds(const KpxCodes *codes, size_t ld, size_t begin, size_t n, const KpxCodeQuery *query, float longest,
				int32_t *product, float *bound)
{
	const float *scale = codes->scale + begin;
	const float *residual = codes->residual + begin;
	float least = query->by_length * longest + FLT_MIN; /* what is lost below it does not follow |x||y| */

	kpx_kernels()->code_products(codes->codes + begin * ld, ld, (n + KPX_CODE_ROWS - 1) / KPX_CODE_ROWS, query->code, product);
	/* Products of up to 1024 columns are below 2^24: as floats they are exact. */
	for (size_t j = 0; j < n; j++)
		bound[j] = (float) product[j] * query->scale * scale[j] + (query->by_residual * residual[j] + least);
}
