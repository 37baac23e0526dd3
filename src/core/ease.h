/*
 * ease.h
 *	  EASE: the item-to-item regression in closed form.
 *
 * Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", eq. (8): with X users
 * x items and P = (X'X + lambda I)^-1, link(j, i) = B_ji = -P_ji / P_ii for j <> i.
 *
 * When there are fewer users than items the same B comes from the users' side (Woodbury):
 * with C = (XX' + lambda I)^-1 and s_ji = x_j' C x_i, P = (I - S) / lambda, so that
 * B_ji = s_ji / (1 - s_ii). The matrix to invert has min(users, items) rows.
 */
#ifndef KPX_EASE_H
#define KPX_EASE_H

#include "factor.h"
#include "links.h"

#define KPX_INVERT_BLOCK 256

/*
 * a (n x n, row-major) += the outer product of a row with itself, of the lower triangle the
 * lines of its entries [begin, end) among all; entries of rows are below n. X'X: rows of
 * users; XX': rows of items.
 */
extern void kpx_outer_add(const KpxRows *rows, size_t row, uint64_t begin, uint64_t end, size_t n, float *a);

/* Where kpx_invert is: start with zeroes. */
typedef struct KpxInvertCursor
{
	size_t pivot; /* block */
	size_t row; /* block; 0 = pivot not prepared yet */
} KpxInvertCursor;

/* Floats of workspace for kpx_invert. */
extern size_t kpx_invert_workspace(size_t n);

/*
 * Inverts a symmetric positive definite matrix in place from its lower triangle; at the
 * end both triangles are there. Blocks of KPX_INVERT_BLOCK are swept one after the other
 * (Goodnight 1979, "A Tutorial on the SWEEP Operator"), each pivot block inverted by its
 * Cholesky factorisation (LAPACK spotrf, spotri): n^3 flops in all, nearly all of them in
 * sgemm. Stops with KPX_MORE after about budget flops; call again with the same cursor
 * and workspace. KPX_NOT_FINITE when a is not positive definite in single precision.
 */
extern KpxStatus kpx_invert(float *a, size_t n, KpxInvertCursor *cursor, double budget, float *workspace);

/* link[j] of target from row target of P (items floats); link[target] is 0. */
extern void kpx_ease_row(const float *p, uint32_t items, uint32_t target, float *link);

/*
 * The same from C (users x users) for n <= KPX_EASE_ROWS targets from target on: link[t *
 * items + j]. by_item: X by item. combined: users x KPX_EASE_ROWS floats, 64-byte aligned.
 * Work: KPX_EASE_ROWS x entries of X, plus users for every entry of a target.
 */
#define KPX_EASE_ROWS 8
extern void kpx_ease_rows_dual(const float *c, uint32_t users, uint32_t items, const KpxRows *by_item, uint32_t target,
							   uint32_t n, float *combined, float *link);

#endif /* KPX_EASE_H */
