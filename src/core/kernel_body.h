/*
 * kernel_body.h
 *	  The innermost loops. Included by kernel.c only, once for each instruction set.
 *
 * TARGET is the function attribute, LEVEL(name) the function's name, LANES the floats of a
 * register, TILE_ROWS x TILE_LINES the part of a product that stays in registers, LANE_COLS see
 * kernel_lanes.h. All are undefined again at the end.
 */

/*
 * A vector as wide as a register. A wider one would be correct, but the compiler keeps
 * it in memory: ten times slower.
 */
typedef float LEVEL(Vec) __attribute__((vector_size(4 * LANES), aligned(4 * LANES), may_alias));
#define Vec LEVEL(Vec)
#define PIECES (KPX_LANE / LANES) /* vectors of a line */

#define INLINE static inline __attribute__((always_inline)) TARGET

/* LEVEL(name)(arguments) confuses the formatter when the call breaks its line. */
#define CALL(name, ...) LEVEL(name)(__VA_ARGS__)

static TARGET void
LEVEL(scale)(const float *diagonal, size_t ld, float a, float ridge, float *scale)
{
	for (size_t k = 0; k < ld; k++)
		scale[k] = 1.0f / sqrtf(a * diagonal[k] + ridge);
}

#define AHEAD 12

static TARGET void
LEVEL(gather)(const float *matrix, size_t ld, const float *scale, const uint32_t *index, const float *weight,
			  size_t n, size_t known, float *gathered, float *root)
{
	const Vec *by = (const Vec *) scale;

	for (size_t j = 0; j < n; j++)
	{
		const Vec *from = (const Vec *) (matrix + (size_t) (index[j] & 0x7FFFFFFF) * ld);
		Vec *to = (Vec *) (gathered + j * ld);
		float w = sqrtf(weight[j]);

		if (j + AHEAD < known)
		{
			const float *ahead = matrix + (size_t) (index[j + AHEAD] & 0x7FFFFFFF) * ld;

			for (size_t k = 0; k < ld; k += KPX_LANE)
				__builtin_prefetch(ahead + k);
		}
		for (size_t k = 0; k < ld / LANES; k++)
			to[k] = from[k] * by[k] * w;
		root[j] = w;
	}
}

/* Eight rows of eight floats: swaps of 1, 2 and 4 columns. */
INLINE void
LEVEL(transpose_eight)(KpxHalf r[8])
{
	KpxHalf t[8];

	for (int i = 0; i < 8; i += 2)
	{
		t[i] = SHUFFLE(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
		t[i + 1] = SHUFFLE(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
	}
	for (int i = 0; i < 8; i += 4)
	{
		r[i] = SHUFFLE(t[i], t[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
		r[i + 1] = SHUFFLE(t[i], t[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
		r[i + 2] = SHUFFLE(t[i + 1], t[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
		r[i + 3] = SHUFFLE(t[i + 1], t[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
	}
	for (int i = 0; i < 4; i++)
	{
		t[i] = SHUFFLE(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
		t[i + 4] = SHUFFLE(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
	}
	for (int i = 0; i < 8; i++)
		r[i] = t[i];
}

INLINE void
LEVEL(transpose_block)(const float *from, size_t ld, float *to, size_t ldk)
{
	KpxHalf r[8];

	for (int i = 0; i < 8; i++)
		r[i] = *(const KpxHalf *) (from + (size_t) i * ld);
	CALL(transpose_eight, r);
	for (int i = 0; i < 8; i++)
		*(KpxHalf *) (to + (size_t) i * ldk) = r[i];
}

static TARGET void
LEVEL(transpose)(const float *from, size_t ld, size_t n, float *to, size_t ldk)
{
	size_t whole = n & ~(size_t) 7;

	for (size_t k = 0; k < ld; k += 8)
	{
		for (size_t j = 0; j < whole; j += 8)
			CALL(transpose_block, from + j * ld + k, ld, to + k * ldk + j, ldk);
		for (size_t i = k; i < k + 8; i++)
		{
			for (size_t j = whole; j < n; j++)
				to[i * ldk + j] = from[j * ld + i];
			for (size_t j = n; j < ldk; j++)
				to[i * ldk + j] = 0;
		}
	}
}

/* c[i][j] += or -= sum over rows of a[.][i] a[.][j], for a tile held in registers. */
INLINE void
LEVEL(tile)(const float *a, size_t lda, size_t rows, size_t i, size_t j, float *c, size_t ldc, const int lines,
			const bool subtract)
{
	Vec sum[TILE_ROWS][TILE_LINES * PIECES];
	const float *left = a + i;
	const float *right = a + j;

	for (int r = 0; r < TILE_ROWS; r++)
		for (int l = 0; l < lines * PIECES; l++)
			sum[r][l] = ((const Vec *) (c + (i + (size_t) r) * ldc + j))[l];
	for (size_t p = 0; p < rows; p++, left += lda, right += lda)
	{
		Vec v[TILE_LINES * PIECES];

		for (int l = 0; l < lines * PIECES; l++)
			v[l] = ((const Vec *) right)[l];
		for (int r = 0; r < TILE_ROWS; r++)
			for (int l = 0; l < lines * PIECES; l++)
			{
				if (subtract)
					sum[r][l] -= v[l] * left[r];
				else
					sum[r][l] += v[l] * left[r];
			}
	}
	for (int r = 0; r < TILE_ROWS; r++)
		for (int l = 0; l < lines * PIECES; l++)
			((Vec *) (c + (i + (size_t) r) * ldc + j))[l] = sum[r][l];
}

/* Asks memory for some rows, into the second level of the cache: the first is in use. */
INLINE void
LEVEL(fetch)(KpxAhead *ahead, size_t rows)
{
	for (; rows > 0 && ahead->next < ahead->end; rows--)
	{
		const float *row = ahead->matrix + (size_t) (ahead->index[ahead->next++] & 0x7FFFFFFF) * ahead->ld;

		for (size_t k = 0; k < ahead->ld; k += KPX_LANE)
			__builtin_prefetch(row + k, 0, 2);
	}
}

/* Columns [first, n) of c from the line of each row's diagonal on. ahead: NULL when nothing will be needed. */
INLINE void
LEVEL(update)(const float *a, size_t lda, size_t rows, size_t first, size_t n, float *c, size_t ldc, const bool subtract,
			  KpxAhead *ahead)
{
	/* About half the tiles of a square, shared out evenly. */
	size_t tiles = (n / TILE_ROWS + 1) * (n / KPX_LANE + 1) / 2 + 1;
	size_t each = ahead ? (ahead->end - ahead->next) / tiles + 1 : 0;

	for (size_t i = first; i < n; i += TILE_ROWS)
	{
		size_t j = i & ~(size_t) (KPX_LANE - 1);

		if (TILE_LINES == 2)
			for (; j + KPX_LANE < n; j += 2 * KPX_LANE)
			{
				CALL(tile, a, lda, rows, i, j, c, ldc, 2, subtract);
				if (ahead)
					CALL(fetch, ahead, 2 * each);
			}
		for (; j < n; j += KPX_LANE)
		{
			CALL(tile, a, lda, rows, i, j, c, ldc, 1, subtract);
			if (ahead)
				CALL(fetch, ahead, each);
		}
	}
	if (ahead)
		CALL(fetch, ahead, ahead->end - ahead->next);
}

static TARGET void
LEVEL(gram)(const float *a, size_t lda, size_t rows, size_t n, float *c, size_t ldc, KpxAhead *ahead)
{
	CALL(update, a, lda, rows, 0, n, c, ldc, false, ahead);
}

INLINE float
LEVEL(sum)(const Vec *v)
{
	float lane[LANES];

	memcpy(lane, v, sizeof(lane));
	for (int half = LANES / 2; half > 0; half /= 2)
		for (int i = 0; i < half; i++)
			lane[i] += lane[i + half];
	return lane[0];
}

static TARGET float
LEVEL(dot)(const float *a, const float *b, size_t ld)
{
	Vec sum = {0};

	for (size_t k = 0; k < ld; k += LANES)
		sum += *(const Vec *) (a + k) * *(const Vec *) (b + k);
	return CALL(sum, &sum);
}

/* Eight sums: in one every addition would wait for the one before it. */
static TARGET double
LEVEL(dot_wide)(const float *a, const double *b, size_t ld)
{
	double sum[8] = {0};

	for (size_t k = 0; k < ld; k += 8)
		for (size_t i = 0; i < 8; i++)
			sum[i] += (double) a[k + i] * b[k + i];
	return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

static TARGET void
LEVEL(gram_few)(const float *a, size_t ld, size_t n, float *c, size_t ldc)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = i; j < n; j++)
		{
			Vec sum = {0};

			for (size_t k = 0; k < ld; k += LANES)
				sum += *(const Vec *) (a + i * ld + k) * *(const Vec *) (a + j * ld + k);
			c[i * ldc + j] = CALL(sum, &sum);
		}
}

/*
 * Rows [first, last) among themselves, right-looking, in whole lines: what is left of a
 * diagonal in its line is overwritten by numbers that nothing depends on.
 */
INLINE bool
LEVEL(factor_panel)(float *a, size_t ld, size_t first, size_t last, size_t n)
{
	for (size_t p = first; p < last; p++)
	{
		float *row = a + p * ld;
		size_t line = p & ~(size_t) (KPX_LANE - 1);
		float inverse;

		if (!(row[p] > 0.0f) || !isfinite(row[p]))
			return false;
		inverse = 1.0f / sqrtf(row[p]);
		for (size_t j = line; j < n; j += LANES)
			*(Vec *) (row + j) *= inverse;
		for (size_t i = p + 1; i < last; i++)
		{
			float by = row[i];

			for (size_t j = line; j < n; j += LANES)
				*(Vec *) (a + i * ld + j) -= *(const Vec *) (row + j) * by;
		}
		row[p] = inverse;
	}
	return true;
}

static TARGET bool
LEVEL(cholesky)(float *a, size_t ld, size_t n)
{
	for (size_t first = 0; first < n; first += 8)
	{
		size_t last = first + 8 < n ? first + 8 : n;

		if (!CALL(factor_panel, a, ld, first, last, n))
			return false;
		if (last < n)
			CALL(update, a + first * ld, ld, 8, last, n, a, ld, true, NULL);
	}
	return true;
}

/* b[p] after all x behind its line are known: what is left are the columns of its own line. */
INLINE void
LEVEL(solve_line)(const float *u, size_t ld, size_t begin, size_t end, size_t n, float *b)
{
	for (size_t p = begin; p < end; p++)
	{
		Vec sum = {0};

		for (size_t j = begin + KPX_LANE; j < n; j += LANES)
			sum += *(const Vec *) (u + p * ld + j) * *(const Vec *) (b + j);
		b[p] -= CALL(sum, &sum);
	}
	for (size_t p = end; p-- > begin;)
	{
		b[p] *= u[p * ld + p];
		for (size_t i = begin; i < p; i++)
			b[i] -= u[i * ld + p] * b[p];
	}
}

static TARGET void
LEVEL(cholesky_solve)(const float *u, size_t ld, size_t n, float *b)
{
	for (size_t p = 0; p < n; p++)
	{
		const float *row = u + p * ld;
		size_t line = p & ~(size_t) (KPX_LANE - 1);
		float y = b[p] * row[p];
		size_t j = p + 1;

		b[p] = y;
		for (; j < n && j < line + KPX_LANE; j++)
			b[j] -= y * row[j];
		for (; j < n; j += LANES)
			*(Vec *) (b + j) -= *(const Vec *) (row + j) * y;
	}
	for (size_t j = n; j < kpx_ld((int) n); j++)
		b[j] = 0;
	for (size_t begin = (n - 1) & ~(size_t) (KPX_LANE - 1);; begin -= KPX_LANE)
	{
		CALL(solve_line, u, ld, begin, begin + KPX_LANE < n ? begin + KPX_LANE : n, n, b);
		if (begin == 0)
			break;
	}
}

static TARGET void
LEVEL(combine)(const float *s, size_t ld, size_t n, const float *z, float *v)
{
	size_t k = 0;

	for (; k + 4 * LANES <= ld; k += 4 * LANES)
	{
		Vec *to = (Vec *) (v + k);
		Vec sum0 = to[0];
		Vec sum1 = to[1];
		Vec sum2 = to[2];
		Vec sum3 = to[3];

		for (size_t j = 0; j < n; j++)
		{
			const Vec *from = (const Vec *) (s + j * ld + k);

			sum0 += from[0] * z[j];
			sum1 += from[1] * z[j];
			sum2 += from[2] * z[j];
			sum3 += from[3] * z[j];
		}
		to[0] = sum0;
		to[1] = sum1;
		to[2] = sum2;
		to[3] = sum3;
	}
	for (; k < ld; k += LANES)
	{
		Vec sum = *(Vec *) (v + k);

		for (size_t j = 0; j < n; j++)
			sum += *(const Vec *) (s + j * ld + k) * z[j];
		*(Vec *) (v + k) = sum;
	}
}

/* Four products with x: four chains of additions, the same for every row wherever it stands. */
INLINE void
LEVEL(four_scores)(const float *const row[4], size_t ld, const float *x, float *score)
{
	Vec sum[4] = {{0}, {0}, {0}, {0}};

	for (size_t k = 0; k < ld; k += LANES)
		for (size_t r = 0; r < 4; r++)
			sum[r] += *(const Vec *) (row[r] + k) * *(const Vec *) (x + k);
	for (size_t r = 0; r < 4; r++)
		score[r] = CALL(sum, &sum[r]);
}

static TARGET void
LEVEL(scores)(const float *items, size_t ld, size_t rows, const float *x, float *score)
{
	float last[4];
	size_t row = 0;

	for (; row + 4 <= rows; row += 4)
	{
		const float *item = items + row * ld;

		CALL(four_scores, (const float *[4]){item, item + ld, item + 2 * ld, item + 3 * ld}, ld, x, score + row);
	}
	if (row < rows)
	{
		const float *end = items + (rows - 1) * ld;
		const float *item = items + row * ld;

		CALL(four_scores, (const float *[4]){item, row + 1 < rows ? item + ld : end, row + 2 < rows ? item + 2 * ld : end, end},
			 ld, x, last);
		for (size_t r = 0; row + r < rows; r++)
			score[row + r] = last[r];
	}
}

static TARGET void
LEVEL(scores_at)(const float *items, size_t ld, const uint32_t *index, size_t n, size_t known, const float *x, float *score)
{
	for (size_t j = 0; j < n; j += 4)
	{
		const float *row[4];
		float four[4];

		for (size_t r = 0; r < 4; r++)
		{
			row[r] = items + index[j + r < n ? j + r : n - 1] * ld;
			if (j + r + AHEAD < known)
				for (size_t k = 0; k < ld; k += KPX_LANE)
					__builtin_prefetch(items + index[j + r + AHEAD] * ld + k);
		}
		CALL(four_scores, row, ld, x, four);
		for (size_t r = 0; r < 4 && j + r < n; r++)
			score[j + r] = four[r];
	}
}

static TARGET size_t
LEVEL(next_above)(const float *score, size_t begin, size_t n, float threshold)
{
	size_t i = begin;

	for (; i + KPX_LANE <= n; i += KPX_LANE)
	{
		int any = 0;

		for (int j = 0; j < KPX_LANE; j++)
			any |= score[i + (size_t) j] >= threshold;
		if (any)
			break;
	}
	return i;
}

static TARGET float
LEVEL(distance)(const float *a, const float *b, size_t ld)
{
	KpxHalf sum0 = {0};
	KpxHalf sum1 = {0};

	for (size_t k = 0; k < ld; k += KPX_LANE)
	{
		KpxHalf d0 = *(const KpxHalf *) (a + k) - *(const KpxHalf *) (b + k);
		KpxHalf d1 = *(const KpxHalf *) (a + k + 8) - *(const KpxHalf *) (b + k + 8);

		sum0 += d0 * d0;
		sum1 += d1 * d1;
	}
	sum0 += sum1;
	sum0 += SHUFFLE(sum0, sum0, 4, 5, 6, 7, 0, 1, 2, 3);
	sum0 += SHUFFLE(sum0, sum0, 2, 3, 0, 1, 6, 7, 4, 5);
	return sum0[0] + sum0[1];
}

static TARGET void
LEVEL(add_row)(const float *x, float by, size_t ld, double *sum)
{
	for (size_t k = 0; k < ld; k++)
		sum[k] += (double) (by * x[k]);
}

/* mask ? a : b, by lanes. */
#define CHOOSE(mask, a, b) ((KpxHalf) (((KpxHalfMask) (a) & (mask)) | ((KpxHalfMask) (b) & ~(mask))))

/* The two least so far, of 8 rows. */
typedef struct LEVEL(Two)
{
	KpxHalf best;
	KpxHalf second;
	KpxHalfMask which;
} LEVEL(Two);

/* 16 rows x against rows first .. first + rows - 1 of centre. */
INLINE void
LEVEL(nearer)(const float *x, size_t d, const float *centre, size_t ld, size_t first, const float *norm, const int rows,
			  LEVEL(Two) * two)
{
	KpxHalf sum[4][2] = {{{0}}};
	const float *c = centre + first * ld;

	for (size_t f = 0; f < d; f++)
	{
		KpxHalf v0 = *(const KpxHalf *) (x + f * KPX_LANE);
		KpxHalf v1 = *(const KpxHalf *) (x + f * KPX_LANE + 8);

		for (int r = 0; r < rows; r++)
		{
			sum[r][0] += v0 * c[(size_t) r * ld + f];
			sum[r][1] += v1 * c[(size_t) r * ld + f];
		}
	}
	for (int r = 0; r < rows; r++)
		for (int h = 0; h < 2; h++)
		{
			KpxHalf v = norm[first + (size_t) r] - 2.0f * sum[r][h];
			KpxHalfMask is = v < two[h].best;
			KpxHalf rest = CHOOSE(is, two[h].best, v);

			two[h].second = CHOOSE(rest < two[h].second, rest, two[h].second);
			two[h].best = CHOOSE(is, v, two[h].best);
			two[h].which = (is & (int) (first + (size_t) r)) | (two[h].which & ~is);
		}
}

static TARGET void
LEVEL(nearest_two)(const float *x, size_t d, const float *centre, size_t ld, size_t k, const float *norm, float *best,
				   float *second, uint32_t *which)
{
	KpxHalf far = (KpxHalf){0} + INFINITY;
	LEVEL(Two)
	two[2] = {{far, far, {0}}, {far, far, {0}}};
	size_t j = 0;

	for (; j + 4 <= k; j += 4)
		CALL(nearer, x, d, centre, ld, j, norm, 4, two);
	for (; j < k; j++)
		CALL(nearer, x, d, centre, ld, j, norm, 1, two);
	for (int h = 0; h < 2; h++)
	{
		*(KpxHalf *) (best + 8 * h) = two[h].best;
		*(KpxHalf *) (second + 8 * h) = two[h].second;
		*(KpxHalfMask *) (which + 8 * h) = two[h].which;
	}
}

#include "kernel_codes.h"
#include "kernel_lanes.h"

static const KpxKernels LEVEL(kernels) = {
	LEVEL_NAME, LEVEL(scale), LEVEL(gather), LEVEL(transpose), LEVEL(gram), LEVEL(gram_few), LEVEL(cholesky),
	LEVEL(cholesky_solve), LEVEL(combine), LEVEL(dot), LEVEL(dot_wide), LEVEL(scores), LEVEL(scores_at), LEVEL(next_above), LEVEL(largest), LEVEL(encode), LEVEL(code_products),
	LEVEL(distance), LEVEL(add_row), LEVEL(nearest_two), LEVEL(lanes_scale), LEVEL(lanes_gather), LEVEL(lanes_dual),
	LEVEL(lanes_combine)};

#undef AHEAD
#undef CHOOSE
#undef Vec
#undef PIECES
#undef LANES
#undef CALL
#undef INLINE
#undef TARGET
#undef LEVEL
#undef LEVEL_NAME
#undef TILE_ROWS
#undef TILE_LINES
#undef LANE_COLS
