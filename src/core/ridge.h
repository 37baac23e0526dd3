/*
 * ridge.h
 *	  A linear map from what an item is (content vector c, p numbers) to what it means to
 *	  users (factors y, d numbers), for items that no one has touched yet.
 *
 *	  minimise  sum_i w_i |y_i - m - W'(c_i - b)|^2 + lambda |W|^2
 *
 * with b and m the weighted means of c and y. The penalty is the one of a grid that has
 * the least leave-one-out error, which ridge regression gives without refitting (Golub,
 * Heath, Wahba 1979; Hastie, Tibshirani, Friedman 2009, section 7.10.1): with h_i the
 * leverage of row i, its residual when left out is its residual / (1 - h_i).
 *
 * Shrinkage: a map fitted on noise predicts too boldly. slope is the factor in [0, 1]
 * that leave-one-out predictions should have been multiplied by, and is applied to every
 * prediction; where content says nothing of behaviour it is near 0 and a new item gets
 * the mean. r2 is the share of variance explained by predictions that were left out.
 *
 * Use: kpx_ridge_begin; kpx_ridge_add over all rows; kpx_ridge_factor; kpx_ridge_check
 * over all rows; kpx_ridge_finish.
 */
#ifndef KPX_RIDGE_H
#define KPX_RIDGE_H

#include "matrix.h"

#define KPX_RIDGE_GRID 9 /* penalties tried: 10^-2 .. 10^2 of the mean eigenvalue, half a decade apart */
#define KPX_RIDGE_TILE 256 /* rows that add and check should be called with at most, for interrupts */

typedef struct KpxRidge
{
	int p; /* of content: 1..KPX_MAX_FACTORS */
	int d; /* of factors: 1..KPX_MAX_FACTORS */
	void *workspace; /* kpx_ridge_workspace_size bytes, 64-byte aligned */
	int step; /* of kpx_ridge_factor */
	/* results */
	double lambda;
	double slope;
	double r2;
} KpxRidge;

extern size_t kpx_ridge_workspace_size(int p, int d);
extern KpxStatus kpx_ridge_begin(KpxRidge *ridge);

/* Rows [rows_begin, rows_end): c (kpx_ld(p) floats a row), y (kpx_ld(d)), weight >= 0 a row. */
extern void kpx_ridge_add(KpxRidge *ridge, const float *c, const float *y, const float *weight, size_t rows_begin,
						  size_t rows_end);
/* To be called until it is not KPX_MORE. KPX_NOT_FINITE when a sum is not; KPX_BAD_ARGUMENT when the weights sum to 0. */
extern KpxStatus kpx_ridge_factor(KpxRidge *ridge);
extern void kpx_ridge_check(KpxRidge *ridge, const float *c, const float *y, const float *weight, size_t rows_begin,
							size_t rows_end);

/*
 * Sets the results and writes map ((p + 2) x kpx_ld(d) floats): row k < p is slope W[k], row
 * p the intercept m - slope W'b, row p + 1 the mean m, for items of which nothing is known.
 */
extern void kpx_ridge_finish(KpxRidge *ridge, float *map);

/* y (kpx_ld(d) floats) = intercept + map'c; the mean when c is all zeroes. */
extern void kpx_ridge_predict(const float *map, int p, int d, const float *c, float *y);

#endif /* KPX_RIDGE_H */
