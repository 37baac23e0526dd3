/*
 * ridge_test.c
 *	  The ridge map against normal equations and refits in double.
 */
#include "core/ridge.h"
#include "test.h"

/* Solves a x = b (n x n, m right sides) by Gauss with pivoting, in place of b. */
static void
gauss(int n, int m, double *a, double *b)
{
	for (int j = 0; j < n; j++)
	{
		int pivot = j;

		for (int i = j; i < n; i++)
			if (fabs(a[i * n + j]) > fabs(a[pivot * n + j]))
				pivot = i;
		for (int k = 0; k < n; k++)
		{
			double t = a[j * n + k];

			a[j * n + k] = a[pivot * n + k];
			a[pivot * n + k] = t;
		}
		for (int k = 0; k < m; k++)
		{
			double t = b[j * m + k];

			b[j * m + k] = b[pivot * m + k];
			b[pivot * m + k] = t;
		}
		for (int i = 0; i < n; i++)
		{
			double f = i == j ? 0 : a[i * n + j] / a[j * n + j];

			for (int k = j; k < n && f != 0; k++)
				a[i * n + k] -= f * a[j * n + k];
			for (int k = 0; k < m && f != 0; k++)
				b[i * m + k] -= f * b[j * m + k];
		}
	}
	for (int i = 0; i < n; i++)
		for (int k = 0; k < m; k++)
			b[i * m + k] /= a[i * n + i];
}

typedef struct Problem
{
	int n;
	int p;
	int d;
	float *c;
	float *y;
	float *w;
} Problem;

static Problem
problem(int n, int p, int d, double noise, double signal)
{
	Problem q = {n, p, d, test_alloc((size_t) n * kpx_ld(p) * 4), test_alloc((size_t) n * kpx_ld(d) * 4), test_alloc((size_t) n * 4)};

	memset(q.c, 0, (size_t) n * kpx_ld(p) * 4);
	memset(q.y, 0, (size_t) n * kpx_ld(d) * 4);
	for (int i = 0; i < n; i++)
	{
		q.w[i] = (float) (0.2 + kpx_uniform(1, 0, (uint64_t) i));
		for (int k = 0; k < p; k++)
			q.c[i * kpx_ld(p) + k] = (float) (0.3 + kpx_normal(2, (uint64_t) i, (uint64_t) k));
		for (int k = 0; k < d; k++)
		{
			double y = 2 + k + noise * kpx_normal(3, (uint64_t) i, (uint64_t) k);

			for (int l = 0; l < p; l++)
				y += signal * q.c[i * kpx_ld(p) + l] * kpx_normal(4, (uint64_t) l, (uint64_t) k);
			q.y[i * kpx_ld(d) + k] = (float) y;
		}
	}
	return q;
}

/*
 * Means, slopes W (p x d) for a penalty, by normal equations without row skip (the centred
 * ones: the intercept is not penalised). skip < 0: all rows. The means are those of all
 * rows only when all are in; leave-one-out refits use their own.
 */
static void
refit(const Problem *q, double lambda, int skip, double *b, double *m, double *w)
{
	int p = q->p;
	int d = q->d;
	double *a = test_alloc((size_t) p * p * sizeof(double));
	double total = 0;

	memset(b, 0, sizeof(double) * p);
	memset(m, 0, sizeof(double) * d);
	memset(a, 0, sizeof(double) * p * p);
	memset(w, 0, sizeof(double) * p * d);
	for (int i = 0; i < q->n; i++)
	{
		if (i == skip)
			continue;
		total += q->w[i];
		for (int k = 0; k < p; k++)
			b[k] += q->w[i] * q->c[i * kpx_ld(p) + k];
		for (int k = 0; k < d; k++)
			m[k] += q->w[i] * q->y[i * kpx_ld(d) + k];
	}
	for (int k = 0; k < p; k++)
		b[k] /= total;
	for (int k = 0; k < d; k++)
		m[k] /= total;
	for (int i = 0; i < q->n; i++)
	{
		if (i == skip)
			continue;
		for (int k = 0; k < p; k++)
		{
			double ck = q->w[i] * (q->c[i * kpx_ld(p) + k] - b[k]);

			for (int l = 0; l < p; l++)
				a[k * p + l] += ck * (q->c[i * kpx_ld(p) + l] - b[l]);
			for (int l = 0; l < d; l++)
				w[k * d + l] += ck * (q->y[i * kpx_ld(d) + l] - m[l]);
		}
	}
	for (int k = 0; k < p; k++)
		a[k * p + k] += lambda;
	gauss(p, d, a, w);
	free(a);
}

static KpxStatus
factor(KpxRidge *ridge)
{
	KpxStatus status;

	while ((status = kpx_ridge_factor(ridge)) == KPX_MORE)
		;
	return status;
}

static void
check(int n, int p, int d, double noise, double signal, double least_slope, double most_slope)
{
	Problem q = problem(n, p, d, noise, signal);
	KpxRidge ridge = {.p = p, .d = d, .workspace = test_alloc(kpx_ridge_workspace_size(p, d))};
	float *map = test_alloc(((size_t) p + 2) * kpx_ld(d) * sizeof(float));
	float *y = test_alloc(kpx_ld(d) * sizeof(float));
	double *b = test_alloc(sizeof(double) * p);
	double *m = test_alloc(sizeof(double) * d);
	double *w = test_alloc(sizeof(double) * p * d);
	double *mean = test_alloc(sizeof(double) * d);
	double error = 0;
	double spread = 0;
	double agree = 0;
	double size = 0;

	CHECK_EQ(kpx_ridge_begin(&ridge), KPX_OK);
	kpx_ridge_add(&ridge, q.c, q.y, q.w, 0, (size_t) n / 3);
	kpx_ridge_add(&ridge, q.c, q.y, q.w, (size_t) n / 3, (size_t) n);
	CHECK_EQ(factor(&ridge), KPX_OK);
	kpx_ridge_check(&ridge, q.c, q.y, q.w, 0, (size_t) n);
	kpx_ridge_finish(&ridge, map);
	CHECK(ridge.slope >= least_slope && ridge.slope <= most_slope);

	/* Leave-one-out by refitting, at the penalty that was chosen. */
	refit(&q, ridge.lambda, -1, b, mean, w);
	for (int i = 0; i < n; i++)
	{
		refit(&q, ridge.lambda, i, b, m, w);
		for (int k = 0; k < d; k++)
		{
			double target = q.y[i * kpx_ld(d) + k] - mean[k];
			double predicted = m[k] - mean[k];

			for (int l = 0; l < p; l++)
				predicted += w[l * d + k] * (q.c[i * kpx_ld(p) + l] - b[l]);
			error += q.w[i] * (target - predicted) * (target - predicted);
			spread += q.w[i] * target * target;
			agree += q.w[i] * predicted * target;
			size += q.w[i] * predicted * predicted;
		}
	}
	CHECK_NEAR(ridge.r2, 1 - error / spread, 2e-3);
	CHECK_NEAR(ridge.slope, fmin(1, fmax(0, agree / size)), 5e-3);

	/* The map itself. */
	refit(&q, ridge.lambda, -1, b, m, w);
	for (int i = 0; i < 5 && i < n; i++)
	{
		kpx_ridge_predict(map, p, d, q.c + i * kpx_ld(p), y);
		for (int k = 0; k < d; k++)
		{
			double expected = m[k];

			for (int l = 0; l < p; l++)
				expected += ridge.slope * w[l * d + k] * (q.c[i * kpx_ld(p) + l] - b[l]);
			CHECK_NEAR(y[k], expected, 1e-4);
		}
	}
	memset(q.c, 0, kpx_ld(p) * sizeof(float));
	kpx_ridge_predict(map, p, d, q.c, y);
	for (int k = 0; k < d; k++)
		CHECK_NEAR(y[k], m[k], 1e-4);
	free(ridge.workspace);
	free(map);
	free(y);
	free(b);
	free(m);
	free(w);
	free(mean);
	free(q.c);
	free(q.y);
	free(q.w);
}

static void
test_errors(void)
{
	KpxRidge ridge = {.p = 0, .d = 3};
	Problem q = problem(4, 2, 2, 1, 1);

	CHECK_EQ(kpx_ridge_begin(&ridge), KPX_BAD_ARGUMENT);
	CHECK_EQ(kpx_ridge_begin(&(KpxRidge){.p = KPX_MAX_FACTORS + 1, .d = 3}), KPX_BAD_ARGUMENT);
	CHECK_EQ(kpx_ridge_begin(&(KpxRidge){.p = 3, .d = 0}), KPX_BAD_ARGUMENT);
	CHECK_EQ(kpx_ridge_begin(&(KpxRidge){.p = 3, .d = KPX_MAX_FACTORS + 1}), KPX_BAD_ARGUMENT);
	ridge = (KpxRidge){.p = 2, .d = 2, .workspace = test_alloc(kpx_ridge_workspace_size(2, 2))};
	CHECK_EQ(kpx_ridge_begin(&ridge), KPX_OK);
	CHECK_EQ(factor(&ridge), KPX_BAD_ARGUMENT);
	q.c[0] = NAN;
	kpx_ridge_add(&ridge, q.c, q.y, q.w, 0, 4);
	CHECK_EQ(factor(&ridge), KPX_NOT_FINITE);
	free(ridge.workspace);
	free(q.c);
	free(q.y);
	free(q.w);
}

int
main(void)
{
	check(60, 5, 3, 0.5, 1, 0.9, 1); /* content says it all */
	check(80, 12, 20, 3, 0.4, 0.5, 1);
	check(60, 20, 2, 1, 0, 0, 0.6); /* content says nothing */
	check(300, 17, 5, 2, 0.3, 0.3, 1);
	test_errors();
	return test_done();
}
