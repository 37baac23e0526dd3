/*
 * kernel_codes.h
 *	  Products of eight-bit numbers. Included by kernel_body.h only, once for each instruction set.
 */

static TARGET float
LEVEL(largest)(const float *x, size_t ld)
{
	KpxHalf most = {0};
	float one = 0;

	for (size_t k = 0; k < ld; k += 8)
	{
		KpxHalf size = (KpxHalf) (*(const KpxHalfMask *) (x + k) & 0x7FFFFFFF);

		most = CHOOSE(size > most, size, most);
	}
	for (int i = 0; i < 8; i++)
		one = most[i] > one ? most[i] : one;
	return one;
}

static TARGET float
LEVEL(encode)(const float *x, size_t ld, float by, float scale, int8_t *code)
{
	const KpxHalfMask sign = {INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN};
	const KpxHalf half = {0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f};
	KpxHalf square = {0};
	float sum = 0;

	for (size_t k = 0; k < ld; k += 8)
	{
		KpxHalf v = *(const KpxHalf *) (x + k);
		KpxHalf scaled = v * by;
		KpxHalfMask whole = __builtin_convertvector(scaled + CHOOSE(sign, scaled, half), KpxHalfMask);
		KpxHalf lost = v - scale * __builtin_convertvector(whole, KpxHalf);
		KpxHalfBytes bytes = __builtin_convertvector(whole, KpxHalfBytes);

		memcpy(code + k, &bytes, sizeof(bytes));
		square += lost * lost;
	}
	for (int i = 0; i < 8; i++)
		sum += square[i];
	return sum;
}

#if LANES == 4

static TARGET void
LEVEL(code_products)(const int8_t *codes, size_t ld, size_t groups, const int8_t *x, int32_t *product)
{
	for (size_t g = 0; g < groups; g++)
	{
		int32_t sum[KPX_CODE_ROWS] = {0};

		for (size_t k = 0; k < ld; k += 4, codes += 4 * KPX_CODE_ROWS)
			for (size_t r = 0; r < KPX_CODE_ROWS; r++)
				sum[r] += x[k] * codes[4 * r] + x[k + 1] * codes[4 * r + 1] + x[k + 2] * codes[4 * r + 2] + x[k + 3] * codes[4 * r + 3];
		memcpy(product + g * KPX_CODE_ROWS, sum, sizeof(sum));
	}
}

#else

/* Some groups at once, whose rows meet the same four numbers of x. */
INLINE void
LEVEL(code_groups)(const int8_t *codes, size_t ld, const int8_t *x, int32_t *product, const int groups)
{
	const __m256i *code = (const __m256i *) codes;
	__m256i *to = (__m256i *) product;
	__m256i sum[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};

	for (size_t k = 0; k < ld / 4; k++)
	{
		int32_t four;
		__m256i by;
		__m256i size;

		memcpy(&four, x + 4 * k, sizeof(four));
		by = _mm256_set1_epi32(four);
		size = _mm256_abs_epi8(by);
		/* Unsigned times signed, two of them at most 2 * 127 * 127: sums of 16 bits cannot overflow. */
		for (int g = 0; g < groups; g++)
			sum[g] = _mm256_add_epi32(sum[g], _mm256_madd_epi16(_mm256_maddubs_epi16(size, _mm256_sign_epi8(code[(size_t) g * ld / 4 + k], by)),
																_mm256_set1_epi16(1)));
	}
	for (int g = 0; g < groups; g++)
		_mm256_storeu_si256(to + g, sum[g]);
}

static TARGET void
LEVEL(code_products)(const int8_t *codes, size_t ld, size_t groups, const int8_t *x, int32_t *product)
{
	size_t g = 0;

	for (; g + 4 <= groups; g += 4)
		CALL(code_groups, codes + g * KPX_CODE_ROWS * ld, ld, x, product + g * KPX_CODE_ROWS, 4);
	for (; g < groups; g++)
		CALL(code_groups, codes + g * KPX_CODE_ROWS * ld, ld, x, product + g * KPX_CODE_ROWS, 1);
}

#endif
