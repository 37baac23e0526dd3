/*
 * factor.h
 *	  Implicit ALS: solving one side's factors exactly while the other is fixed.
 *
 * Rendle, Krichene, Zhang, Koren 2021, "Revisiting the Performance of iALS on Item
 * Recommendation Benchmarks", eq. (1)-(3) and (9). With x a row to solve, y the
 * fixed rows, w the observed weights, a the unobserved weight, all sums over rows:
 *
 *	  sum_observed w (x.y - 1)^2 + a sum_all u (x.y)^2 + lambda (W + a U) |x|^2
 *
 * where u weighs fixed rows (1, or their module's unobserved weight), U = sum_all u
 * and W = sum_observed w: the frequency-scaled regularisation.
 *
 * The fixed matrix is kept in the basis of the eigenvectors of its weighted Gram
 * matrix sum_all u y y', so that all but the observed part is a diagonal
 * D = a gram + lambda (W + a U). With S = sqrt(w) y D^-1/2 and s = sqrt(w) the
 * solution is x = D^-1/2 v, (I + S'S) v = S's, or, when there are fewer observed
 * rows than factors, v = S'z, (I + SS') z = s (the push-through identity): n^2 d
 * instead of n d^2 work, and a matrix whose smallest eigenvalue is 1 either way.
 * Scores are dot products and do not notice the change of basis.
 */
#ifndef KPX_FACTOR_H
#define KPX_FACTOR_H

#include "matrix.h"

/* Interactions of one side in compressed sparse rows. */
typedef struct KpxRows
{
	const uint64_t *offset; /* rows + 1 */
	const uint32_t *index; /* row of the fixed matrix; bit 31 is ignored */
	const float *weight; /* > 0 */
} KpxRows;

/* What rows are solved against. */
typedef struct KpxFixed
{
	int factors;
	const float *matrix; /* rows x kpx_ld(factors), 64-byte aligned, in the Gram basis */
	const float *gram; /* kpx_ld(factors): diagonal of sum u y y'; padding 0 */
	double unobserved; /* a */
	double unobserved_rows; /* U */
	double regularization; /* lambda > 0 */
} KpxFixed;

/* Where kpx_solve_rows is: start with {rows_begin}. */
typedef struct KpxCursor
{
	size_t row;
	uint64_t done; /* observed entries of row already accumulated */
	size_t lanes_end; /* short rows before it are solved already */
} KpxCursor;

/* Sums over solved rows. */
typedef struct KpxSolveSums
{
	double objective; /* of the minimised function above */
	double penalty; /* its part lambda (W + a U) |x|^2 */
} KpxSolveSums;

/* Bytes of workspace (64-byte aligned) for the solvers; 0 when factors is out of range. */
extern size_t kpx_solve_workspace_size(int factors);

/*
 * Solves rows [cursor->row, rows_end) into out (row-major, kpx_ld floats a row,
 * indexed by row). Stops with KPX_MORE after about budget multiply-adds, also in the
 * middle of a long row; call again with the same cursor and untouched workspace.
 * sums is added to. KPX_NOT_FINITE when a weight is not finite. A row without
 * entries becomes zero. A row's solution does not depend on the range it is solved in.
 */
extern KpxStatus kpx_solve_rows(const KpxFixed *fixed, const KpxRows *rows, size_t rows_end,
								KpxCursor *cursor, double budget, void *workspace,
								float *out, KpxSolveSums *sums);

/* Solves one row alone: n observed entries (index, weight) to x (kpx_ld floats); among others it may differ by rounding. */
extern KpxStatus kpx_fold_in(const KpxFixed *fixed, const uint32_t *index, const float *weight, size_t n,
							 void *workspace, float *x);

/*
 * contribution[j] = w_j (1 - x.y_j) (y_j' D^-1 target): how much entry j adds to the
 * score x.target of the folded-in x; by the normal equations they sum to the score.
 */
extern void kpx_contributions(const KpxFixed *fixed, const uint32_t *index, const float *weight, size_t n,
							  const float *x, const float *target, double *contribution);

/* Row r of [rows_begin, rows_end) becomes normal(0, 0.1 / sqrt(factors)) numbers of (seed, r). */
extern void kpx_init_rows(int factors, uint64_t seed, size_t rows_begin, size_t rows_end, float *matrix);

/*
 * gram (double[factors * factors], symmetric, all of it) += scale * sum of y y' over
 * rows [rows_begin, rows_end). scratch: factors * kpx_ld(factors) floats.
 */
extern void kpx_gram_add(int factors, const float *matrix, size_t rows_begin, size_t rows_end,
						 double scale, float *scratch, double *gram);

/* Doubles of workspace for kpx_gram_basis. */
extern size_t kpx_gram_basis_workspace(int factors);

/*
 * Eigenvalues of gram, largest first, to diagonal (kpx_ld floats, padding 0, never
 * negative) and its eigenvectors as rows of basis (factors x kpx_ld, padding 0; the
 * largest component of each is positive). gram is overwritten. LAPACK.
 */
extern KpxStatus kpx_gram_basis(int factors, double *gram, double *workspace, float *diagonal, float *basis);

/*
 * The same in steps 0, 1 and 2, each of which but the last returns KPX_MORE: none can be
 * interrupted, and at 1024 factors all of them take half a second. Nothing is touched between.
 */
extern KpxStatus kpx_gram_basis_step(int step, int factors, double *gram, double *workspace, float *diagonal,
									 float *basis);

/* gram (double[factors * factors], symmetric) := basis gram basis'. workspace: 2 * factors * factors doubles. */
extern void kpx_gram_turn(int factors, const float *basis, double *gram, double *workspace);

/* matrix rows [rows_begin, rows_end) := row . basis'. scratch: KPX_ROTATE_ROWS * kpx_ld floats. */
#define KPX_ROTATE_ROWS 256
extern void kpx_rotate_rows(int factors, const float *basis, size_t rows_begin, size_t rows_end,
							float *scratch, float *matrix);

/* Whether BLAS and LAPACK compute what plain loops do on this CPU (small fixed cases). */
extern bool kpx_blas_works(void);

#endif /* KPX_FACTOR_H */
