/*
 * kernel_lanes.h
 *	  Eight small systems at a time, one in each lane of a vector. Included by kernel_body.h only.
 *
 * A single system of twenty rows wastes most of a register on the lines its triangle cuts, and its
 * factorisation is one long chain. Eight of them side by side have no lines and no chains: every
 * operation is the same for all lanes, and a lane's result does not depend on its neighbours'.
 *
 * LANE_COLS is how many columns of a system's tile are kept in registers.
 */

/* gathered[j][k][lane] = root[j][lane] scale[k][lane] matrix[index[j][lane]][k]. */
static TARGET void
LEVEL(lanes_gather)(const float *matrix, size_t ld, const float *scale, const uint32_t *index, const float *root, size_t n,
					float *gathered)
{
	for (size_t j = 0; j < n; j++)
	{
		KpxHalf by = ((const KpxHalf *) root)[j];
		const float *from[KPX_LANES];
		KpxHalf *to = (KpxHalf *) (gathered + j * ld * KPX_LANES);

		for (int r = 0; r < KPX_LANES; r++)
			from[r] = matrix + (size_t) (index[j * KPX_LANES + (size_t) r] & 0x7FFFFFFF) * ld;
		for (size_t k = 0; k < ld; k += KPX_LANES)
		{
			KpxHalf v[KPX_LANES];

			for (int r = 0; r < KPX_LANES; r++)
				v[r] = *(const KpxHalf *) (from[r] + k);
			CALL(transpose_eight, v);
			for (int r = 0; r < KPX_LANES; r++)
				to[k + (size_t) r] = v[r] * by * ((const KpxHalf *) scale)[k + (size_t) r];
		}
	}
}

/*
 * system[i .. i + 4)[j .. j + LANE_COLS) of I + SS' less what the i rows of its root above have taken,
 * which is what is left to factor of it: Golub, Van Loan, section 4.2.5, by blocks.
 */
INLINE void
LEVEL(lanes_tile)(const KpxHalf *s, size_t ld, const KpxHalf *root, size_t n, size_t i, size_t j, KpxHalf *system)
{
	KpxHalf sum[4][LANE_COLS];
	const KpxHalf *left = s + i * ld;
	const KpxHalf *right = s + j * ld;

	for (int r = 0; r < 4; r++)
		for (int c = 0; c < LANE_COLS; c++)
			sum[r][c] = (KpxHalf){0};
	for (size_t k = 0; k < ld; k++)
		for (int c = 0; c < LANE_COLS; c++)
			for (int r = 0; r < 4; r++)
				sum[r][c] += left[(size_t) r * ld + k] * right[(size_t) c * ld + k];
	for (size_t p = 0; p < i; p++)
		for (int c = 0; c < LANE_COLS; c++)
			for (int r = 0; r < 4; r++)
				sum[r][c] -= root[p * n + i + (size_t) r] * root[p * n + j + (size_t) c];
	for (int r = 0; r < 4; r++)
		for (int c = 0; c < LANE_COLS; c++)
			system[(i + (size_t) r) * n + j + (size_t) c] = sum[r][c];
}

/* Rows i .. i + 4 of the root among themselves; fine becomes 0 in lanes whose diagonal is not positive. */
INLINE void
LEVEL(lanes_panel)(KpxHalf *system, size_t n, size_t i, KpxHalfMask *fine)
{
	for (size_t p = i; p < i + 4; p++)
	{
		KpxHalf *row = system + p * n;
		KpxHalf inverse;

		row[p] += 1.0f;
		*fine &= (row[p] > 0.0f) & (row[p] < INFINITY);
		for (int r = 0; r < KPX_LANES; r++)
			inverse[r] = sqrtf(row[p][r]);
		inverse = 1.0f / inverse;
		for (size_t j = p + 1; j < n; j++)
			row[j] *= inverse;
		row[p] = inverse;
		for (size_t q = p + 1; q < i + 4; q++)
			for (size_t j = q; j < n; j++)
				system[q * n + j] -= row[q] * row[j];
	}
}

/* The root U of I + SS' = U'U, inverses on its diagonal. */
INLINE void
LEVEL(lanes_root)(const float *gathered, size_t ld, size_t n, float *system, KpxAhead *ahead, KpxHalfMask *fine)
{
	KpxHalf *root = (KpxHalf *) system;
	size_t each = (ahead->end - ahead->next) * 2 * 4 * LANE_COLS / (n * n) + 1;

	for (size_t i = 0; i < n; i += 4)
	{
		for (size_t j = i; j < n; j += LANE_COLS)
		{
			/* the last tile overlaps the one before */
			CALL(lanes_tile, (const KpxHalf *) gathered, ld, root, n, i, j + LANE_COLS < n ? j : n - LANE_COLS, root);
			CALL(fetch, ahead, each);
		}
		CALL(lanes_panel, root, n, i, fine);
	}
	CALL(fetch, ahead, ahead->end - ahead->next);
}

/* z = U^-1 U'^-1 b, in place of b. */
INLINE void
LEVEL(lanes_solve)(const float *system, size_t n, KpxHalf *b)
{
	const KpxHalf *root = (const KpxHalf *) system;

	for (size_t p = 0; p < n; p++)
	{
		b[p] *= root[p * n + p];
		for (size_t j = p + 1; j < n; j++)
			b[j] -= root[p * n + j] * b[p];
	}
	for (size_t p = n; p-- > 0;)
	{
		KpxHalf sum[4] = {{0}};
		size_t j = p + 1;

		for (; j + 4 <= n; j += 4)
			for (size_t c = 0; c < 4; c++)
				sum[c] += root[p * n + j + c] * b[j + c];
		/* which of the sums depends on the place only, not on n: the rest of a longer neighbour is zeros */
		for (size_t c = 0; j < n; c++, j++)
			sum[c] += root[p * n + j] * b[j];
		b[p] = (b[p] - ((sum[0] + sum[1]) + (sum[2] + sum[3]))) * root[p * n + p];
	}
}

static TARGET uint32_t
LEVEL(lanes_dual)(const float *gathered, size_t ld, size_t n, float *system, float *right, KpxAhead *ahead)
{
	KpxHalfMask fine = ~(KpxHalfMask){0};
	uint32_t lanes = 0;

	CALL(lanes_root, gathered, ld, n, system, ahead, &fine);
	CALL(lanes_solve, system, n, (KpxHalf *) right);
	for (int r = 0; r < KPX_LANES; r++)
		lanes |= (fine[r] ? UINT32_C(1) : 0) << r;
	return lanes;
}

/* out[lane][k] = scale[k][lane] sum of gathered[j][k][lane] z[j][lane]; square[lane] = sum of out^2. */
static TARGET void
LEVEL(lanes_combine)(const float *gathered, size_t ld, size_t n, const float *z, const float *scale, float *const out[KPX_LANES],
					 float *square)
{
	KpxHalf squares = {0};

	for (size_t k = 0; k < ld; k += KPX_LANES)
	{
		KpxHalf sum[KPX_LANES] = {{0}};

		for (size_t j = 0; j < n; j++)
			for (size_t c = 0; c < KPX_LANES; c++)
				sum[c] += ((const KpxHalf *) gathered)[j * ld + k + c] * ((const KpxHalf *) z)[j];
		for (size_t c = 0; c < KPX_LANES; c++)
		{
			sum[c] *= ((const KpxHalf *) scale)[k + c];
			squares += sum[c] * sum[c];
		}
		CALL(transpose_eight, sum);
		for (int r = 0; r < KPX_LANES; r++)
			*(KpxHalf *) (out[r] + k) = sum[r];
	}
	*(KpxHalf *) square = squares;
}

/* scale[k][lane] = 1 / sqrt(a * diagonal[k] + ridge[lane]). */
static TARGET void
LEVEL(lanes_scale)(const float *diagonal, size_t ld, float a, const float *ridge, float *scale)
{
	for (size_t k = 0; k < ld; k++)
	{
		KpxHalf v = a * diagonal[k] + *(const KpxHalf *) ridge;

		for (int r = 0; r < KPX_LANES; r++)
			v[r] = sqrtf(v[r]);
		((KpxHalf *) scale)[k] = 1.0f / v;
	}
}
