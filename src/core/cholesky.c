/*
 * cholesky.c
 *	  Cholesky factorisation and solution of small dense systems.
 *
 * Right-looking, a panel of eight rows at a time (Golub, Van Loan, "Matrix
 * Computations", 4th ed., section 4.2.9); the loops are in kernel_body.h.
 */
#include "cholesky.h"

#include <math.h>

#include "kernel.h"

extern void spotrf_(const char *uplo, const int *n, float *a, const int *lda, int *info);

bool
kpx_cholesky(float *a, size_t ld, size_t n)
{
	int order = (int) n;
	int lda = (int) ld;
	int info = 0;

	if (n <= KPX_CHOLESKY_SMALL)
		return kpx_kernels()->cholesky(a, ld, n);

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

void
kpx_cholesky_solve(const float *u, size_t ld, size_t n, float *b)
{
	kpx_kernels()->cholesky_solve(u, ld, n, b);
}
