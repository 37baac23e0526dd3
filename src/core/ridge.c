/*
 * ridge.c
 *	  A linear map from content vectors to item factors.
 */
#include "ridge.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "factor.h"

typedef struct Workspace
{
	double *gram; /* p x p: sum w c c', later its eigenvectors' work space */
	double *cross; /* p x d: sum w c y' */
	double *lapack;
	double *c_sum; /* p */
	double *y_sum; /* d */
	double *total; /* [1]: sum w */
	double *spread; /* [1]: sum w |y|^2 */
	double *error; /* [grid]: leave-one-out sums of squares */
	double *agree; /* [grid]: sum w prediction . y */
	double *size; /* [grid]: sum w |prediction|^2 */
	float *basis; /* p x ldp: rows are eigenvectors */
	float *diagonal; /* ldp: eigenvalues */
	float *rotated; /* p x ldd: basis . cross */
	float *tile_c; /* tile x ldp */
	float *tile_z; /* tile x ldp */
	float *tile_s; /* tile x ldp */
	float *tile_y; /* tile x ldd */
	float *tile_p; /* tile x ldd */
} Workspace;

static size_t
layout(int p, int d, char *base, Workspace *ws)
{
	size_t P = (size_t) p;
	size_t ldp = kpx_ld(p);
	size_t ldd = kpx_ld(d);
	size_t at = 0;

#define PLACE(array, type, n) (ws->array = (type *) (base + at), at = kpx_align(at + (n) * sizeof(type)))
	PLACE(gram, double, P *P);
	PLACE(cross, double, P *ldd);
	PLACE(lapack, double, kpx_gram_basis_workspace(p));
	PLACE(c_sum, double, P);
	PLACE(y_sum, double, (size_t) d);
	PLACE(total, double, 1);
	PLACE(spread, double, 1);
	PLACE(error, double, KPX_RIDGE_GRID);
	PLACE(agree, double, KPX_RIDGE_GRID);
	PLACE(size, double, KPX_RIDGE_GRID);
	PLACE(basis, float, P *ldp);
	PLACE(diagonal, float, ldp);
	PLACE(rotated, float, P *ldd);
	PLACE(tile_c, float, KPX_RIDGE_TILE *ldp);
	PLACE(tile_z, float, KPX_RIDGE_TILE *ldp);
	PLACE(tile_s, float, (P > KPX_RIDGE_TILE ? P : KPX_RIDGE_TILE) * (ldp > ldd ? ldp : ldd));
	PLACE(tile_y, float, KPX_RIDGE_TILE *ldd);
	PLACE(tile_p, float, KPX_RIDGE_TILE *ldd);
#undef PLACE
	return at;
}

size_t
kpx_ridge_workspace_size(int p, int d)
{
	Workspace ws;

	return layout(p, d, NULL, &ws);
}

KpxStatus
kpx_ridge_begin(KpxRidge *ridge)
{
	Workspace ws;

	if (ridge->p < 1 || ridge->p > KPX_MAX_FACTORS || ridge->d < 1 || ridge->d > KPX_MAX_FACTORS)
		return KPX_BAD_ARGUMENT;
	ridge->step = 0;
	memset(ridge->workspace, 0, layout(ridge->p, ridge->d, ridge->workspace, &ws));
	return KPX_OK;
}

/* Means so far; zeroes before there is weight. */
static double
mean(double sum, const Workspace *ws)
{
	return ws->total[0] > 0 ? sum / ws->total[0] : 0;
}

static void
add_tile(const KpxRidge *ridge, Workspace *ws, const float *c, const float *y, const float *weight, size_t n)
{
	size_t ldp = kpx_ld(ridge->p);
	size_t ldd = kpx_ld(ridge->d);

	for (size_t i = 0; i < n; i++)
	{
		float root = sqrtf(weight[i]);

		for (size_t k = 0; k < ldp; k++)
			ws->tile_c[i * ldp + k] = root * c[i * ldp + k];
		for (size_t k = 0; k < ldd; k++)
			ws->tile_y[i * ldd + k] = root * y[i * ldd + k];
		for (int k = 0; k < ridge->p; k++)
			ws->c_sum[k] += (double) weight[i] * c[i * ldp + k];
		for (int k = 0; k < ridge->d; k++)
		{
			ws->y_sum[k] += (double) weight[i] * y[i * ldd + k];
			ws->spread[0] += (double) weight[i] * y[i * ldd + k] * y[i * ldd + k];
		}
		ws->total[0] += weight[i];
	}
	kpx_gram_add(ridge->p, ws->tile_c, 0, n, 1.0, ws->tile_s, ws->gram);
	cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, ridge->p, (int) ldd, (int) n, 1.0f, ws->tile_c, (int) ldp,
				ws->tile_y, (int) ldd, 0.0f, ws->tile_s, (int) ldd);
	for (size_t k = 0; k < (size_t) ridge->p * ldd; k++)
		ws->cross[k] += ws->tile_s[k];
}

void
kpx_ridge_add(KpxRidge *ridge, const float *c, const float *y, const float *weight, size_t rows_begin, size_t rows_end)
{
	Workspace ws;

	(void) layout(ridge->p, ridge->d, ridge->workspace, &ws);
	for (size_t i = rows_begin; i < rows_end; i += KPX_RIDGE_TILE)
		add_tile(ridge, &ws, c + i * kpx_ld(ridge->p), y + i * kpx_ld(ridge->d), weight + i,
				 rows_end - i < KPX_RIDGE_TILE ? rows_end - i : KPX_RIDGE_TILE);
}

/* Sums to sums around the means. */
static void
centre(const KpxRidge *ridge, Workspace *ws)
{
	size_t ldd = kpx_ld(ridge->d);
	int p = ridge->p;

	for (int i = 0; i < p; i++)
	{
		for (int j = 0; j < p; j++)
			ws->gram[(size_t) i * p + j] -= ws->c_sum[i] * ws->c_sum[j] / ws->total[0];
		for (int k = 0; k < ridge->d; k++)
			ws->cross[i * ldd + k] -= ws->c_sum[i] * ws->y_sum[k] / ws->total[0];
	}
	for (int k = 0; k < ridge->d; k++)
		ws->spread[0] -= ws->y_sum[k] * ws->y_sum[k] / ws->total[0];
}

/* rotated = basis . cross */
static void
rotate(const KpxRidge *ridge, Workspace *ws)
{
	size_t ldp = kpx_ld(ridge->p);
	size_t ldd = kpx_ld(ridge->d);

	for (int i = 0; i < ridge->p; i++)
		for (size_t k = 0; k < ldd; k++)
		{
			double sum = 0;

			for (int j = 0; j < ridge->p; j++)
				sum += ws->basis[i * ldp + j] * ws->cross[j * ldd + k];
			ws->rotated[i * ldd + k] = (float) sum;
		}
}

KpxStatus
kpx_ridge_factor(KpxRidge *ridge)
{
	Workspace ws;
	KpxStatus status;

	(void) layout(ridge->p, ridge->d, ridge->workspace, &ws);
	if (ridge->step == 0)
	{
		if (!isfinite(ws.total[0]) || !isfinite(ws.spread[0]))
			return KPX_NOT_FINITE;
		if (!(ws.total[0] > 0))
			return KPX_BAD_ARGUMENT;
		centre(ridge, &ws);
	}
	status = kpx_gram_basis_step(ridge->step++, ridge->p, ws.gram, ws.lapack, ws.diagonal, ws.basis);
	if (status == KPX_OK)
		rotate(ridge, &ws);
	return status;
}

/* Penalty number g of the grid: relative to the mean eigenvalue, so to the scale of c and w. */
static double
penalty(const KpxRidge *ridge, const Workspace *ws, int g)
{
	double trace = 0;

	for (int k = 0; k < ridge->p; k++)
		trace += ws->diagonal[k];
	return fmax(trace / ridge->p, 1e-12) * pow(10, -2 + 0.5 * g);
}

/* Sums of penalty g over one tile, whose centred rows are tile_c, their rotation tile_z. */
static void
check_penalty(const KpxRidge *ridge, Workspace *ws, const float *y, const float *weight, size_t n, int g)
{
	size_t ldp = kpx_ld(ridge->p);
	size_t ldd = kpx_ld(ridge->d);
	double lambda = penalty(ridge, ws, g);

	for (size_t i = 0; i < n; i++)
		for (int k = 0; k < ridge->p; k++)
			ws->tile_s[i * ldp + k] = (float) (ws->tile_z[i * ldp + k] / (ws->diagonal[k] + lambda));
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int) n, (int) ldd, ridge->p, 1.0f, ws->tile_s, (int) ldp,
				ws->rotated, (int) ldd, 0.0f, ws->tile_p, (int) ldd);
	for (size_t i = 0; i < n; i++)
	{
		double leverage = weight[i] / ws->total[0];

		for (int k = 0; k < ridge->p; k++)
			leverage += weight[i] * (double) ws->tile_z[i * ldp + k] * ws->tile_s[i * ldp + k];
		leverage = fmin(leverage, 1 - 1e-6);
		for (int k = 0; k < ridge->d; k++)
		{
			double target = y[i * ldd + k] - mean(ws->y_sum[k], ws);
			double residual = (target - ws->tile_p[i * ldd + k]) / (1 - leverage);
			double left_out = target - residual;

			ws->error[g] += weight[i] * residual * residual;
			ws->agree[g] += weight[i] * left_out * target;
			ws->size[g] += weight[i] * left_out * left_out;
		}
	}
}

void
kpx_ridge_check(KpxRidge *ridge, const float *c, const float *y, const float *weight, size_t rows_begin, size_t rows_end)
{
	Workspace ws;
	size_t ldp = kpx_ld(ridge->p);

	(void) layout(ridge->p, ridge->d, ridge->workspace, &ws);
	for (size_t i = rows_begin; i < rows_end; i += KPX_RIDGE_TILE)
	{
		size_t n = rows_end - i < KPX_RIDGE_TILE ? rows_end - i : KPX_RIDGE_TILE;

		for (size_t r = 0; r < n; r++)
			for (int k = 0; k < ridge->p; k++)
				ws.tile_c[r * ldp + k] = (float) (c[(i + r) * ldp + k] - mean(ws.c_sum[k], &ws));
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int) n, ridge->p, ridge->p, 1.0f, ws.tile_c, (int) ldp,
					ws.basis, (int) ldp, 0.0f, ws.tile_z, (int) ldp);
		for (int g = 0; g < KPX_RIDGE_GRID; g++)
			check_penalty(ridge, &ws, y + i * kpx_ld(ridge->d), weight + i, n, g);
	}
}

void
kpx_ridge_finish(KpxRidge *ridge, float *map)
{
	Workspace ws;
	int p = ridge->p;
	size_t ldp = kpx_ld(p);
	size_t ldd = kpx_ld(ridge->d);
	int best = 0;

	(void) layout(p, ridge->d, ridge->workspace, &ws);
	for (int g = 1; g < KPX_RIDGE_GRID; g++)
		if (ws.error[g] < ws.error[best])
			best = g;
	ridge->lambda = penalty(ridge, &ws, best);
	ridge->slope = ws.size[best] > 0 ? fmin(1, fmax(0, ws.agree[best] / ws.size[best])) : 0;
	ridge->r2 = ws.spread[0] > 0 ? 1 - ws.error[best] / ws.spread[0] : 0;
	memset(map, 0, ((size_t) p + 2) * ldd * sizeof(float));
	for (int k = 0; k < ridge->d; k++)
	{
		double intercept = mean(ws.y_sum[k], &ws);

		for (int i = 0; i < p; i++)
		{
			double w = 0;

			for (int j = 0; j < p; j++)
				w += ws.basis[j * ldp + i] * (double) ws.rotated[j * ldd + k] / (ws.diagonal[j] + ridge->lambda);
			map[i * ldd + k] = (float) (ridge->slope * w);
			intercept -= ridge->slope * w * mean(ws.c_sum[i], &ws);
		}
		map[p * ldd + k] = (float) intercept;
		map[(p + 1) * ldd + k] = (float) mean(ws.y_sum[k], &ws);
	}
}

void
kpx_ridge_predict(const float *map, int p, int d, const float *c, float *y)
{
	size_t ldd = kpx_ld(d);

	bool known = false;

	for (int i = 0; i < p; i++)
		known = known || c[i] != 0;
	memcpy(y, map + ((size_t) p + !known) * ldd, ldd * sizeof(float));
	for (int i = 0; i < p; i++)
		for (size_t k = 0; k < ldd; k++)
			y[k] += c[i] * map[i * ldd + k];
}
