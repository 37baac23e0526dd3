/*
 * svd.h
 *	  The largest singular triplets of a sparse matrix, by randomized subspace iteration.
 *
 * Halko, Martinsson, Tropp 2011, "Finding Structure with Randomness", algorithms 4.4 and
 * 5.1, applied to A' (the side of the columns is the smaller one here): Z = orth(A'A ...
 * A'A Omega), B = A Z, and the eigenvectors W of B'B give A ~ (B W) (Z W)'. Only the
 * side of the columns is kept orthonormal, by Gram matrices in double and twice each time
 * (Yamamoto et al. 2015, CholeskyQR2, with eigenvectors for Cholesky factors so that a
 * matrix of low rank is no special case).
 *
 * Work is cut into tiles: kpx_svd_step does one of at most some milliseconds.
 */
#ifndef KPX_SVD_H
#define KPX_SVD_H

#include "matrix.h"
#include "tfidf.h"

/* Extra columns of the sketch, and multiplications by A'A after the first. */
#define KPX_SVD_OVERSAMPLE 16
#define KPX_SVD_POWER 4

typedef struct KpxSvd
{
	const KpxSparse *a;
	int rank; /* triplets wanted */
	int sketch; /* columns of the iterate: rank + oversample, at most the columns of a and KPX_MAX_FACTORS */
	int power;
	uint64_t seed;
	float *left; /* rows x kpx_ld(sketch): B, in the end the left vectors times singular values */
	float *right; /* cols x kpx_ld(sketch): Z, in the end the right vectors */
	float *singular; /* kpx_ld(sketch): singular values, largest first; 0 where there are no more */
	void *workspace; /* kpx_svd_workspace_size(sketch) bytes, 64-byte aligned */
	/* state */
	int phase;
	int round;
	size_t at;
} KpxSvd;

/* Sketch for this rank and matrix; 0 when rank is below 1 or the matrix empty. */
extern int kpx_svd_sketch(const KpxSparse *a, int rank);
extern size_t kpx_svd_workspace_size(int sketch);

/* Begins; the caller has set the first part of svd. KPX_BAD_ARGUMENT when the shapes do not fit. */
extern KpxStatus kpx_svd_begin(KpxSvd *svd);

/*
 * One tile of work. KPX_MORE until done. Afterwards left[i] . right[j] ~ a[i][j] over the
 * first rank columns, columns of right are orthonormal or zero. KPX_NOT_FINITE when a is not.
 */
extern KpxStatus kpx_svd_step(KpxSvd *svd);

/* x (kpx_ld(rank) floats) = sum value[i] right[index[i]]: a new row in the space of the left vectors. */
extern void kpx_svd_project(const float *right, size_t ld, int rank, const uint32_t *index, const float *value, size_t n,
							float *x);

#endif /* KPX_SVD_H */
