/*
 * ease.c
 *	  EASE: the item-to-item regression in closed form.
 */
#include "ease.h"

#include <math.h>
#include <string.h>

#include <cblas.h>

#define BLOCK ((size_t) KPX_INVERT_BLOCK)
#define ITEM(word) ((word) &UINT32_C(0x7FFFFFFF))

extern void spotrf_(const char *uplo, const int *n, float *a, const int *lda, int *info);
extern void spotri_(const char *uplo, const int *n, float *a, const int *lda, int *info);

void
kpx_outer_add(const KpxRows *rows, size_t row, uint64_t begin, uint64_t end, size_t n, float *a)
{
	for (uint64_t i = begin; i < end; i++)
	{
		float *line = a + (size_t) ITEM(rows->index[i]) * n;

		/* Entries of a row increase, so this is the lower triangle. */
		for (uint64_t j = rows->offset[row]; j <= i; j++)
			line[ITEM(rows->index[j])] += rows->weight[i] * rows->weight[j];
	}
}

size_t
kpx_invert_workspace(size_t n)
{
	return 2 * n * BLOCK + BLOCK * BLOCK;
}

static size_t
block_rows(size_t n, size_t block)
{
	return n - block * BLOCK < BLOCK ? n - block * BLOCK : BLOCK;
}

#define TILE ((size_t) 16) /* of transposing: a cache line of floats */

/* column (n x BLOCK) = the pivot's columns, all rows, from the lower triangle. */
static void
copy_column(const float *a, size_t n, size_t pivot, float *column)
{
	size_t k = pivot * BLOCK;
	size_t width = block_rows(n, pivot);

	for (size_t tile = 0; tile < k; tile += TILE) /* k is a multiple of it */
		for (size_t j = 0; j < width; j++)
			for (size_t i = tile; i < tile + TILE; i++)
				column[i * BLOCK + j] = a[(k + j) * n + i];
	for (size_t i = k; i < n; i++)
		memcpy(column + i * BLOCK, a + i * n + k, width * sizeof(float));
}

/* inverse (BLOCK x BLOCK, symmetric) of the pivot block, which is rows k.. of column. */
static KpxStatus
invert_pivot(const float *column, size_t n, size_t pivot, float *inverse)
{
	int width = (int) block_rows(n, pivot);
	int lda = KPX_INVERT_BLOCK;
	int info = 0;

	/* A row-major lower triangle is a column-major upper one. */
	for (size_t i = 0; i < (size_t) width; i++)
		memcpy(inverse + i * BLOCK, column + (pivot * BLOCK + i) * BLOCK, (i + 1) * sizeof(float));
	spotrf_("U", &width, inverse, &lda, &info);
	if (info == 0)
		spotri_("U", &width, inverse, &lda, &info);
	if (info != 0)
		return KPX_NOT_FINITE;
	for (size_t i = 0; i < (size_t) width; i++)
		for (size_t j = 0; j <= i; j++)
		{
			if (!isfinite(inverse[i * BLOCK + j]))
				return KPX_NOT_FINITE;
			inverse[j * BLOCK + i] = inverse[i * BLOCK + j];
		}
	return KPX_OK;
}

/* Block row i: w_i = c_i inverse to product, and a_ij -= w_i c_j' for all j <= i; columns of the pivot are put right by finish_pivot. */
static void
update_row(float *a, size_t n, size_t pivot, size_t block, const float *column, const float *inverse, float *product)
{
	size_t i = block * BLOCK;
	int rows = (int) block_rows(n, block);
	int width = (int) block_rows(n, pivot);

	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, width, width, 1.0f, column + i * BLOCK, KPX_INVERT_BLOCK,
				inverse, KPX_INVERT_BLOCK, 0.0f, product + i * BLOCK, KPX_INVERT_BLOCK);
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, (int) i + rows, width,
				-1.0f, product + i * BLOCK, KPX_INVERT_BLOCK, column, KPX_INVERT_BLOCK, 1.0f, a + i * n, (int) n);
}

static void
finish_pivot(float *a, size_t n, size_t pivot, const float *product, const float *inverse)
{
	size_t k = pivot * BLOCK;
	size_t width = block_rows(n, pivot);

	for (size_t tile = 0; tile < k; tile += TILE)
		for (size_t j = 0; j < width; j++)
			for (size_t i = tile; i < tile + TILE; i++)
				a[(k + j) * n + i] = product[i * BLOCK + j];
	for (size_t j = 0; j < width; j++)
		for (size_t i = 0; i < width; i++)
			a[(k + j) * n + k + i] = -inverse[j * BLOCK + i];
	for (size_t i = k + width; i < n; i++)
		memcpy(a + i * n + k, product + i * BLOCK, width * sizeof(float));
}

/* The sweeps leave the negative inverse in the lower triangle: rows of one block, and their mirror image. */
static void
mirror_row(float *a, size_t n, size_t block)
{
	size_t begin = block * BLOCK;
	size_t end = begin + block_rows(n, block);

	for (size_t from = 0; from < end; from += BLOCK)
		for (size_t i = begin; i < end; i++)
			for (size_t j = from; j < from + BLOCK && j <= i; j++)
			{
				a[i * n + j] = -a[i * n + j];
				a[j * n + i] = a[i * n + j];
			}
}

KpxStatus
kpx_invert(float *a, size_t n, KpxInvertCursor *cursor, double budget, float *workspace)
{
	size_t blocks = (n + BLOCK - 1) / BLOCK;
	float *column = workspace;
	float *product = column + n * BLOCK;
	float *inverse = product + n * BLOCK;
	double step = 2.0 * KPX_INVERT_BLOCK * KPX_INVERT_BLOCK * (double) n;

	while (cursor->pivot < blocks)
	{
		if (cursor->row == 0)
		{
			copy_column(a, n, cursor->pivot, column);
			if (invert_pivot(column, n, cursor->pivot, inverse) != KPX_OK)
				return KPX_NOT_FINITE;
		}
		while (cursor->row < blocks)
		{
			if (cursor->row != cursor->pivot)
				update_row(a, n, cursor->pivot, cursor->row, column, inverse, product);
			budget -= step * (double) (cursor->row + 2) / (double) blocks;
			cursor->row++;
			if (budget < 0 && cursor->row < blocks)
				return KPX_MORE;
		}
		finish_pivot(a, n, cursor->pivot, product, inverse);
		cursor->pivot++;
		cursor->row = 0;
		if (budget < 0)
			return KPX_MORE;
	}
	for (; cursor->row < blocks; cursor->row++)
	{
		if (budget < 0)
			return KPX_MORE;
		mirror_row(a, n, cursor->row);
		budget -= step;
	}
	return KPX_OK;
}

void
kpx_ease_row(const float *p, uint32_t items, uint32_t target, float *link)
{
	float by = -1.0f / p[target];

	for (uint32_t j = 0; j < items; j++)
		link[j] = p[j] * by;
	link[target] = 0;
}

/* sum[t] = x_j' combined[.][t]: the targets share the reading of x_j. */
static void
project(const KpxRows *by_item, uint32_t item, const float *combined, float sum[KPX_EASE_ROWS])
{
	float total[KPX_EASE_ROWS] = {0};

	for (uint64_t e = by_item->offset[item]; e < by_item->offset[item + 1]; e++)
	{
		const float *from = combined + (size_t) by_item->index[e] * KPX_EASE_ROWS;
		float weight = by_item->weight[e];

		for (int t = 0; t < KPX_EASE_ROWS; t++)
			total[t] += weight * from[t];
	}
	memcpy(sum, total, sizeof(total));
}

void
kpx_ease_rows_dual(const float *c, uint32_t users, uint32_t items, const KpxRows *by_item, uint32_t target, uint32_t n,
				   float *combined, float *link)
{
	float by[KPX_EASE_ROWS] = {0};
	float sum[KPX_EASE_ROWS];

	memset(combined, 0, (size_t) users * KPX_EASE_ROWS * sizeof(float));
	for (uint32_t t = 0; t < n; t++)
		for (uint64_t e = by_item->offset[target + t]; e < by_item->offset[target + t + 1]; e++)
			cblas_saxpy((int) users, by_item->weight[e], c + (size_t) by_item->index[e] * users, 1, combined + t, KPX_EASE_ROWS);
	for (uint32_t t = 0; t < n; t++)
	{
		project(by_item, target + t, combined, sum);
		by[t] = sum[t] < 1 ? 1 / (1 - sum[t]) : 0;
	}
	for (uint32_t j = 0; j < items; j++)
	{
		project(by_item, j, combined, sum);
		for (uint32_t t = 0; t < n; t++)
			link[(size_t) t * items + j] = by[t] * sum[t];
	}
	for (uint32_t t = 0; t < n; t++)
		link[(size_t) t * items + target + t] = 0;
}
