/*
 * cholesky.h
 *	  Cholesky factorisation and solution of small dense systems.
 *
 * LAPACK's overhead (16 us for a 64 x 64 sposv) is several times the arithmetic at
 * the sizes of iALS rows; above KPX_CHOLESKY_SMALL its spotrf is used.
 */
#ifndef KPX_CHOLESKY_H
#define KPX_CHOLESKY_H

#include "matrix.h"

#define KPX_CHOLESKY_SMALL 128

/*
 * Overwrites the upper triangle of a (kpx_ld(n) rows, row-major, leading dimension ld, a
 * multiple of 16; 64-byte aligned) by U, a = U'U, with the reciprocals of its diagonal on
 * the diagonal. The strict lower triangle and the rows and columns after n may be
 * overwritten by anything. False when a is not positive definite or not finite.
 */
extern bool kpx_cholesky(float *a, size_t ld, size_t n);

/*
 * Solves U'U x = b in place, with U of kpx_cholesky, whose columns after n are finite.
 * b has kpx_ld(n) floats, 64-byte aligned; those after n become zero.
 */
extern void kpx_cholesky_solve(const float *u, size_t ld, size_t n, float *b);

#endif /* KPX_CHOLESKY_H */
