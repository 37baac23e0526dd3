/*
 * cholesky_test.c
 *	  Factorisation and solution against the matrix they came from.
 */
#include "core/cholesky.h"
#include "test.h"

/* I + SS' of random S, as iALS makes them; double, full. */
static double *
spd(size_t n, uint64_t seed)
{
	double *s = test_alloc(n * n * sizeof(double));
	double *a = test_alloc(n * n * sizeof(double));

	for (size_t i = 0; i < n * n; i++)
		s[i] = kpx_normal(seed, n, i) * 0.3;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
		{
			a[i * n + j] = i == j;
			for (size_t k = 0; k < n; k++)
				a[i * n + j] += s[i * n + k] * s[j * n + k];
		}
	free(s);
	return a;
}

/* The upper triangle of a in kpx_ld(n) rows, zero elsewhere. */
static float *
upper(const double *a, size_t n, size_t ld)
{
	float *u = test_alloc(ld * ld * sizeof(float));

	for (size_t i = 0; i < ld; i++)
		for (size_t j = 0; j < ld; j++)
			u[i * ld + j] = i >= n || j < i || j >= n ? 0 : (float) a[i * n + j];
	return u;
}

static void
test_size(size_t n)
{
	size_t ld = kpx_ld((int) n);
	double *a = spd(n, 11);
	float *u = upper(a, n, ld);
	float *b = test_alloc(ld * sizeof(float));
	double worst = 0;

	CHECK(kpx_cholesky(u, ld, n));
	for (size_t i = 0; i < n; i++)
		for (size_t j = i; j < n; j++)
		{
			double sum = 0;

			for (size_t k = 0; k <= i; k++)
				sum += (k == i ? 1.0 / u[k * ld + i] : u[k * ld + i]) *
					   (k == j ? 1.0 / u[k * ld + j] : u[k * ld + j]);
			worst = fmax(worst, fabs(sum - a[i * n + j]) / fmax(1, fabs(a[i * n + j])));
		}
	CHECK_NEAR(worst, 0, 1e-4);

	for (size_t i = 0; i < n; i++)
		b[i] = (float) kpx_normal(12, n, i);
	kpx_cholesky_solve(u, ld, n, b);
	worst = 0;
	for (size_t i = 0; i < n; i++)
	{
		double sum = 0;

		for (size_t j = 0; j < n; j++)
			sum += a[i * n + j] * b[j];
		worst = fmax(worst, fabs(sum - (float) kpx_normal(12, n, i)));
	}
	CHECK_NEAR(worst, 0, 2e-3);
	free(a);
	free(u);
	free(b);
}

static void
test_refusals(size_t n)
{
	size_t ld = kpx_ld((int) n);
	double *a = spd(n, 13);
	float *u = upper(a, n, ld);

	u[(n - 1) * ld + n - 1] = -1e6f;
	CHECK(!kpx_cholesky(u, ld, n));
	free(u);
	u = upper(a, n, ld);
	u[0] = 0;
	CHECK(!kpx_cholesky(u, ld, n));
	free(u);
	u = upper(a, n, ld);
	u[(n / 2) * ld + n / 2] = NAN;
	CHECK(!kpx_cholesky(u, ld, n));
	free(u);
	u = upper(a, n, ld);
	u[0] = INFINITY;
	CHECK(!kpx_cholesky(u, ld, n));
	free(u);
	free(a);
}

int
main(void)
{
	static const size_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 47, 48, 49,
								   63, 64, 65, 96, 100, 127, 128, 129, 160, 200};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		test_size(sizes[i]);
	test_refusals(5);
	test_refusals(64);
	test_refusals(150);
	return test_done();
}
