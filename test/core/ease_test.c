/*
 * ease_test.c
 *	  The blocked inverse and both sides of EASE against Gauss-Jordan in double.
 */
#include "core/ease.h"
#include "sparse.h"

/* Inverse of a symmetric positive definite matrix, in place. */
static void
invert_double(double *a, size_t n)
{
	for (size_t k = 0; k < n; k++)
	{
		double pivot = 1 / a[k * n + k];

		a[k * n + k] = 1;
		for (size_t j = 0; j < n; j++)
			a[k * n + j] *= pivot;
		for (size_t i = 0; i < n; i++)
		{
			double by = a[i * n + k];

			if (i == k || by == 0)
				continue;
			a[i * n + k] = 0;
			for (size_t j = 0; j < n; j++)
				a[i * n + j] -= by * a[k * n + j];
		}
	}
}

static void
test_inverse(size_t n, double budget)
{
	double *exact = test_alloc(sizeof(double) * n * n + 1);
	float *a = test_alloc(sizeof(float) * n * n + 1);
	float *workspace = test_alloc(sizeof(float) * kpx_invert_workspace(n) + 1);
	KpxInvertCursor cursor = {0, 0};
	KpxStatus status;
	int calls = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j <= i; j++)
		{
			exact[i * n + j] = exact[j * n + i] = (i == j ? 3 * sqrt((double) n) : 0) + kpx_normal(1, i, j);
			a[i * n + j] = (float) exact[i * n + j]; /* the upper triangle is garbage */
		}
	invert_double(exact, n);
	while ((status = kpx_invert(a, n, &cursor, budget, workspace)) == KPX_MORE)
		calls++;
	CHECK_EQ(status, KPX_OK);
	CHECK(budget > 1e12 || calls > 0 || n == 0);
	for (size_t i = 0; i < n * n; i++)
		CHECK_NEAR(a[i], exact[i], 2e-6);
	free(exact);
	free(a);
	free(workspace);
}

static void
test_not_definite(void)
{
	size_t n = 300;
	float *a = test_alloc(sizeof(float) * n * n);
	float *workspace = test_alloc(sizeof(float) * kpx_invert_workspace(n));
	KpxInvertCursor cursor = {0, 0};

	memset(a, 0, sizeof(float) * n * n);
	for (size_t i = 0; i < n; i++)
		a[i * n + i] = i == 299 ? -1 : 1;
	CHECK_EQ(kpx_invert(a, n, &cursor, INFINITY, workspace), KPX_NOT_FINITE);
	memset(a, 0, sizeof(float) * n * n);
	cursor = (KpxInvertCursor){0, 0};
	CHECK_EQ(kpx_invert(a, n, &cursor, INFINITY, workspace), KPX_NOT_FINITE);
	free(a);
	free(workspace);
}

/* All rows, each in two steps. */
static void
outer_products(const KpxRows *rows, size_t n_rows, size_t n, float *a)
{
	for (size_t r = 0; r < n_rows; r++)
	{
		uint64_t middle = (rows->offset[r] + rows->offset[r + 1]) / 2;

		kpx_outer_add(rows, r, rows->offset[r], middle, n, a);
		kpx_outer_add(rows, r, middle, rows->offset[r + 1], n, a);
	}
}

/* B of a sparse matrix, from the items' and from the users' side. */
static void
test_ease(uint32_t users, uint32_t items, double density, double lambda, bool weighted)
{
	Sparse s = sparse_make(users, items, density, weighted, 11);
	double *p = test_alloc(sizeof(double) * items * items);
	float *a = test_alloc(sizeof(float) * items * items);
	float *c = test_alloc(sizeof(float) * users * users);
	float *combined = test_alloc(sizeof(float) * users * KPX_EASE_ROWS);
	float *dual = test_alloc(sizeof(float) * items * KPX_EASE_ROWS);
	float *workspace = test_alloc(sizeof(float) * kpx_invert_workspace(users > items ? users : items));
	float *link = test_alloc(sizeof(float) * items);
	float *compact = test_alloc(sizeof(float) * items);
	KpxHit hits[5];
	uint32_t index[5];
	float weight[5];
	uint32_t n;
	KpxInvertCursor cursor = {0, 0};

	memset(a, 0, sizeof(float) * items * items);
	memset(c, 0, sizeof(float) * users * users);
	for (size_t i = 0; i < items; i++)
		for (size_t j = 0; j < items; j++)
		{
			p[i * items + j] = i == j ? lambda : 0;
			for (size_t u = 0; u < users; u++)
				p[i * items + j] += s.x[u * items + i] * s.x[u * items + j];
		}
	invert_double(p, items);
	outer_products(&s.by_user, users, items, a);
	for (size_t i = 0; i < items; i++)
		a[i * items + i] += (float) lambda;
	CHECK_EQ(kpx_invert(a, items, &cursor, INFINITY, workspace), KPX_OK);
	outer_products(&s.by_item, items, users, c);
	for (size_t u = 0; u < users; u++)
		c[u * users + u] += (float) lambda;
	cursor = (KpxInvertCursor){0, 0};
	CHECK_EQ(kpx_invert(c, users, &cursor, INFINITY, workspace), KPX_OK);
	for (uint32_t t = 0; t < items; t++)
	{
		kpx_ease_row(a + (size_t) t * items, items, t, link);
		for (uint32_t j = 0; j < items; j++)
			CHECK_NEAR(link[j], j == t ? 0 : -p[j * items + t] / p[t * items + t], 2e-5);
		if (t % 3 == 0)
		{
			uint32_t together = items - t < 3 ? items - t : 3;

			kpx_ease_rows_dual(c, users, items, &s.by_item, t, together, combined, dual);
			for (uint32_t r = 0; r < together; r++)
				for (uint32_t j = 0; j < items; j++)
					CHECK_NEAR(dual[r * items + j], j == t + r ? 0 : -p[j * items + t + r] / p[(t + r) * items + t + r], 3e-5);
		}
		n = kpx_dense_best(link, items, 5, compact, hits, index, weight);
		for (uint32_t e = 0; e < n; e++)
		{
			uint32_t larger = 0;

			CHECK(index[e] != t && weight[e] == link[index[e]] && weight[e] != 0 && (e == 0 || index[e] > index[e - 1]));
			for (uint32_t j = 0; j < items; j++)
				larger += fabsf(link[j]) > fabsf(weight[e]);
			CHECK(larger < 5);
		}
	}
	free(link);
	free(compact);
	sparse_free(&s);
	free(p);
	free(a);
	free(c);
	free(combined);
	free(dual);
	free(workspace);
}

int
main(void)
{
	test_inverse(1, 1e15);
	test_inverse(100, 1e15);
	test_inverse(256, 1e15);
	test_inverse(257, 1);
	test_inverse(700, 1);
	test_inverse(0, 1);
	test_not_definite();
	test_ease(40, 25, 0.15, 2, false);
	test_ease(30, 60, 0.1, 5, true);
	test_ease(200, 270, 0.05, 20, false);
	test_ease(3, 5, 0, 1, false);
	return test_done();
}
