/*
 * svd.c
 *	  The largest singular triplets of a sparse matrix, by randomized subspace iteration.
 */
#include "svd.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "factor.h"
#include "rng.h"

/* Multiply-adds of a sparse product, and rows of a dense one, in a tile. */
#define TILE_WORK 2000000
#define TILE_ROWS 512
#define GRAM_ROWS 128 /* made double at a time */

/*
 * Eigenvalues of a Gram matrix of floats below this share of the largest are rounding noise.
 * The sum is in double: multiplying by A'A squares the ratio of singular values, the Gram
 * matrix squares it again, and single precision would lose what is a hundredth of the largest.
 */
#define NOISE 1e-13

enum
{
	SKETCH,
	ORTHONORMALIZE_GRAM, /* twice: round counts halves */
	ORTHONORMALIZE_BASIS,
	ORTHONORMALIZE_ROTATE,
	FORWARD, /* left = a right */
	BACKWARD, /* right = a' left */
	FINAL_GRAM,
	FINAL_BASIS,
	FINAL_ROTATE_LEFT,
	FINAL_ROTATE_RIGHT,
	DONE
};

typedef struct Workspace
{
	double *gram; /* sketch x sketch */
	double *lapack;
	double *tile; /* GRAM_ROWS x sketch */
	float *basis; /* sketch x ld */
	float *diagonal; /* ld */
	float *scratch; /* KPX_ROTATE_ROWS x ld */
} Workspace;

static size_t
layout(int sketch, char *base, Workspace *ws)
{
	size_t d = (size_t) sketch;
	size_t ld = kpx_ld(sketch);
	size_t at = 0;

	ws->gram = (double *) (base + at);
	at = kpx_align(at + d * d * sizeof(double));
	ws->lapack = (double *) (base + at);
	at = kpx_align(at + kpx_gram_basis_workspace(sketch) * sizeof(double));
	ws->tile = (double *) (base + at);
	at = kpx_align(at + GRAM_ROWS * d * sizeof(double));
	ws->basis = (float *) (base + at);
	at = kpx_align(at + d * ld * sizeof(float));
	ws->diagonal = (float *) (base + at);
	at = kpx_align(at + ld * sizeof(float));
	ws->scratch = (float *) (base + at);
	return kpx_align(at + KPX_ROTATE_ROWS * ld * sizeof(float));
}

int
kpx_svd_sketch(const KpxSparse *a, int rank)
{
	size_t sketch = rank < 1 ? 0 : (size_t) rank + KPX_SVD_OVERSAMPLE;

	if (sketch > a->cols)
		sketch = a->cols;
	if (sketch > KPX_MAX_FACTORS)
		sketch = KPX_MAX_FACTORS;
	return a->rows ? (int) sketch : 0;
}

size_t
kpx_svd_workspace_size(int sketch)
{
	Workspace ws;

	return layout(sketch, NULL, &ws);
}

KpxStatus
kpx_svd_begin(KpxSvd *svd)
{
	if (svd->sketch < 1 || svd->sketch > KPX_MAX_FACTORS || svd->power < 0 || (size_t) svd->sketch > svd->a->cols)
		return KPX_BAD_ARGUMENT;
	svd->phase = SKETCH;
	svd->round = 0;
	svd->at = 0;
	memset(svd->singular, 0, kpx_ld(svd->sketch) * sizeof(float));
	return KPX_OK;
}

/* Rows from begin whose products take about a tile's work. */
static size_t
tile_end(const KpxSparse *a, size_t begin, size_t ld)
{
	uint64_t entries = TILE_WORK / ld + 1;
	size_t end = begin + 1;

	while (end < a->rows && a->offset[end + 1] - a->offset[begin] <= entries && end - begin < TILE_ROWS * 16)
		end++;
	return end;
}

static void
multiply(const KpxSparse *a, size_t begin, size_t end, const float *b, size_t ld, float *out)
{
	for (size_t i = begin; i < end; i++)
	{
		float *restrict to = out + i * ld;

		memset(to, 0, ld * sizeof(float));
		for (uint64_t e = a->offset[i]; e < a->offset[i + 1]; e++)
		{
			const float *restrict from = b + (size_t) a->index[e] * ld;
			float w = a->value[e];

			for (size_t k = 0; k < ld; k++)
				to[k] += w * from[k];
		}
	}
}

static void
multiply_transposed(const KpxSparse *a, size_t begin, size_t end, const float *b, size_t ld, float *out)
{
	for (size_t i = begin; i < end; i++)
	{
		const float *restrict from = b + i * ld;

		for (uint64_t e = a->offset[i]; e < a->offset[i + 1]; e++)
		{
			float *restrict to = out + (size_t) a->index[e] * ld;
			float w = a->value[e];

			for (size_t k = 0; k < ld; k++)
				to[k] += w * from[k];
		}
	}
}

static void
next(KpxSvd *svd, int phase)
{
	svd->phase = phase;
	svd->at = 0;
}

/* Rows [at, ...) of matrix added to the Gram matrix (its upper triangle until all are); true when all rows are. */
static bool
gram_tile(KpxSvd *svd, const Workspace *ws, const float *matrix, size_t rows)
{
	size_t d = (size_t) svd->sketch;
	size_t ld = kpx_ld(svd->sketch);
	size_t end = rows - svd->at < TILE_ROWS ? rows : svd->at + TILE_ROWS;

	if (svd->at == 0)
		memset(ws->gram, 0, d * d * sizeof(double));
	for (size_t begin = svd->at; begin < end; begin += GRAM_ROWS)
	{
		size_t n = end - begin < GRAM_ROWS ? end - begin : GRAM_ROWS;

		for (size_t i = 0; i < n; i++)
			for (size_t k = 0; k < d; k++)
				ws->tile[i * d + k] = matrix[(begin + i) * ld + k];
		cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, svd->sketch, (int) n, 1.0, ws->tile, svd->sketch, 1.0,
					ws->gram, svd->sketch);
	}
	svd->at = end;
	for (size_t i = 0; i < d && end == rows; i++)
		for (size_t j = 0; j < i; j++)
			ws->gram[i * d + j] = ws->gram[j * d + i];
	return end == rows;
}

/* Columns of right that were lost to rounding begin anew; orthonormalising once more makes them fit. */
static void
refill(KpxSvd *svd, const Workspace *ws, size_t begin, size_t end)
{
	for (int k = 0; k < svd->sketch; k++)
		if (!(ws->diagonal[k] > ws->diagonal[0] * NOISE))
			for (size_t j = begin; j < end; j++)
				svd->right[j * kpx_ld(svd->sketch) + k] =
					(float) (kpx_normal(svd->seed + 1 + (uint64_t) svd->round, j, (uint64_t) k) / sqrt((double) svd->a->cols));
}

static bool
rotate_tile(KpxSvd *svd, const Workspace *ws, float *matrix, size_t rows)
{
	size_t end = rows - svd->at < TILE_ROWS ? rows : svd->at + TILE_ROWS;

	kpx_rotate_rows(svd->sketch, ws->basis, svd->at, end, ws->scratch, matrix);
	svd->at = end;
	return end == rows;
}

/* Eigenvectors of the Gram matrix to basis; each divided by the root of its eigenvalue when whiten. KPX_MORE before the last step. */
static KpxStatus
basis(KpxSvd *svd, const Workspace *ws, bool whiten)
{
	size_t ld = kpx_ld(svd->sketch);
	KpxStatus status = kpx_gram_basis_step((int) svd->at++, svd->sketch, ws->gram, ws->lapack, ws->diagonal, ws->basis);

	if (status != KPX_OK)
		return status;
	for (int k = 0; k < svd->sketch && whiten; k++)
	{
		float scale = ws->diagonal[k] > ws->diagonal[0] * NOISE ? 1.0f / sqrtf(ws->diagonal[k]) : 0.0f;

		for (size_t j = 0; j < ld; j++)
			ws->basis[k * ld + j] *= scale;
	}
	return KPX_OK;
}

/* Columns of right that vanished against the noise stay zero: cut what is left of them. */
static void
take_singular(KpxSvd *svd, const Workspace *ws)
{
	for (int k = 0; k < svd->rank && k < svd->sketch; k++)
		svd->singular[k] = ws->diagonal[k] > ws->diagonal[0] * NOISE ? sqrtf(ws->diagonal[k]) : 0.0f;
}

KpxStatus
kpx_svd_step(KpxSvd *svd)
{
	const KpxSparse *a = svd->a;
	size_t ld = kpx_ld(svd->sketch);
	Workspace ws;
	KpxStatus status = KPX_OK;
	size_t end;

	(void) layout(svd->sketch, svd->workspace, &ws);
	switch (svd->phase)
	{
		case SKETCH:
			end = a->cols - svd->at < TILE_ROWS ? a->cols : svd->at + TILE_ROWS;
			kpx_init_rows(svd->sketch, svd->seed, svd->at, end, svd->right);
			svd->at = end;
			if (end == a->cols)
				next(svd, ORTHONORMALIZE_GRAM);
			break;
		case ORTHONORMALIZE_GRAM:
			if (gram_tile(svd, &ws, svd->right, a->cols))
				next(svd, ORTHONORMALIZE_BASIS);
			break;
		case ORTHONORMALIZE_BASIS:
			status = basis(svd, &ws, true);
			if (status == KPX_OK)
				next(svd, ORTHONORMALIZE_ROTATE);
			break;
		case ORTHONORMALIZE_ROTATE:
			end = svd->at;
			(void) rotate_tile(svd, &ws, svd->right, a->cols);
			if (svd->round % 2 == 0)
				refill(svd, &ws, end, svd->at);
			if (svd->at == a->cols)
				next(svd, svd->round++ % 2 == 0 ? ORTHONORMALIZE_GRAM : FORWARD);
			break;
		case FORWARD:
			end = tile_end(a, svd->at, ld);
			multiply(a, svd->at, end, svd->right, ld, svd->left);
			svd->at = end;
			if (end == a->rows)
				next(svd, svd->round / 2 <= svd->power + 1 ? BACKWARD : FINAL_GRAM);
			break;
		case BACKWARD:
			if (svd->at == 0)
				memset(svd->right, 0, a->cols * ld * sizeof(float));
			end = tile_end(a, svd->at, ld);
			multiply_transposed(a, svd->at, end, svd->left, ld, svd->right);
			svd->at = end;
			if (end == a->rows)
				next(svd, ORTHONORMALIZE_GRAM);
			break;
		case FINAL_GRAM:
			if (gram_tile(svd, &ws, svd->left, a->rows))
				next(svd, FINAL_BASIS);
			break;
		case FINAL_BASIS:
			status = basis(svd, &ws, false);
			if (status != KPX_OK)
				break;
			take_singular(svd, &ws);
			next(svd, FINAL_ROTATE_LEFT);
			break;
		case FINAL_ROTATE_LEFT:
			if (rotate_tile(svd, &ws, svd->left, a->rows))
				next(svd, FINAL_ROTATE_RIGHT);
			break;
		case FINAL_ROTATE_RIGHT:
			if (rotate_tile(svd, &ws, svd->right, a->cols))
				next(svd, DONE);
			break;
		default:
			break;
	}
	if (status != KPX_OK)
		return status;
	return svd->phase == DONE ? KPX_OK : KPX_MORE;
}

void
kpx_svd_project(const float *right, size_t ld, int rank, const uint32_t *index, const float *value, size_t n, float *x)
{
	memset(x, 0, kpx_ld(rank) * sizeof(float));
	for (size_t e = 0; e < n; e++)
	{
		const float *from = right + (size_t) index[e] * ld;

		for (int k = 0; k < rank; k++)
			x[k] += value[e] * from[k];
	}
}
