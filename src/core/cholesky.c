/*
 * cholesky.c
 *	  Cholesky factorisation and solution of small dense systems.
 *
 * Right-looking, four pivot rows at a time: the trailing rows are updated by four
 * multiples of contiguous rows, which vectorises without any horizontal sums.
 * Golub, Van Loan, "Matrix Computations", 4th ed., algorithm 4.2.2 in outer product
 * form.
 */
#include "cholesky.h"

#include <math.h>

#include "simd.h"

extern void spotrf_(const char *uplo, const int *n, float *a, const int *lda, int *info);

#define PIVOTS 4

/* Factors rows [first, last) among themselves, columns up to n; false when a pivot is not positive. */
KPX_INLINE bool
factor_pivots(float *a, size_t ld, size_t first, size_t last, size_t n)
{
	for (size_t p = first; p < last; p++)
	{
		float *row = a + p * ld;
		float inverse;

		if (!(row[p] > 0.0f) || !isfinite(row[p]))
			return false;
		inverse = 1.0f / sqrtf(row[p]);
		row[p] = inverse;
		for (size_t j = p + 1; j < n; j++)
			row[j] *= inverse;
		for (size_t i = p + 1; i < last; i++)
		{
			float by = row[i];
			float *to = a + i * ld;

			for (size_t j = i; j < n; j++)
				to[j] -= by * row[j];
		}
	}
	return true;
}

/* Rows after the pivots: a[i] -= sum_p u[p][i] u[p], from the line that holds column i on. */
KPX_INLINE void
update_trailing(float *a, size_t ld, size_t first, size_t n)
{
	const float *u = a + first * ld;

	for (size_t i = first + PIVOTS; i < n; i++)
	{
		float by0 = u[i];
		float by1 = u[ld + i];
		float by2 = u[2 * ld + i];
		float by3 = u[3 * ld + i];

		for (size_t j = i & ~(size_t) (KPX_LANE - 1); j < n; j += KPX_LANE)
		{
			KpxVec *to = (KpxVec *) (a + i * ld + j);

			*to -= (*(const KpxVec *) (u + j) * by0 + *(const KpxVec *) (u + ld + j) * by1) +
				   (*(const KpxVec *) (u + 2 * ld + j) * by2 + *(const KpxVec *) (u + 3 * ld + j) * by3);
		}
	}
}

KPX_CLONES static bool
cholesky_small(float *a, size_t ld, size_t n)
{
	for (size_t first = 0; first < n; first += PIVOTS)
	{
		size_t last = first + PIVOTS < n ? first + PIVOTS : n;

		if (!factor_pivots(a, ld, first, last, n))
			return false;
		if (last < n)
			update_trailing(a, ld, first, n);
	}
	return true;
}

bool
kpx_cholesky(float *a, size_t ld, size_t n)
{
	int order = (int) n;
	int lda = (int) ld;
	int info = 0;

	if (n <= KPX_CHOLESKY_SMALL)
		return cholesky_small(a, ld, n);

	/* A row-major upper triangle is a column-major lower one. */
	spotrf_("L", &order, a, &lda, &info);
	if (info != 0)
		return false;
	for (size_t i = 0; i < n; i++)
	{
		if (!isfinite(a[i * ld + i]))
			return false;
		a[i * ld + i] = 1.0f / a[i * ld + i];
	}
	return true;
}

KPX_CLONES void
kpx_cholesky_solve(const float *u, size_t ld, size_t n, float *b)
{
	for (size_t p = 0; p < n; p++)
	{
		const float *row = u + p * ld;

		b[p] *= row[p];
		for (size_t j = p + 1; j < n; j++)
			b[j] -= b[p] * row[j];
	}
	for (size_t p = n; p-- > 0;)
	{
		const float *row = u + p * ld;
		float sum[KPX_LANE] = {0};
		float total = 0;
		size_t j = p + 1;

		for (; j + KPX_LANE <= n; j += KPX_LANE)
			for (size_t k = 0; k < KPX_LANE; k++)
				sum[k] += row[j + k] * b[j + k];
		for (; j < n; j++)
			total += row[j] * b[j];
		for (size_t k = 0; k < KPX_LANE; k++)
			total += sum[k];
		b[p] = (b[p] - total) * row[p];
	}
}
