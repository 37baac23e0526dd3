/*
 * svd_test.c
 *	  Randomized SVD against LAPACK's full one in double, and coherence against pairs.
 */
#include "core/coherence.h"
#include "core/svd.h"
#include "test.h"

extern void dgesvd_(const char *jobu, const char *jobvt, const int *m, const int *n, double *a, const int *lda, double *s,
					double *u, const int *ldu, double *vt, const int *ldvt, double *work, const int *lwork, int *info,
					size_t a_length, size_t b_length);

/* A sparse matrix with decaying spectrum: topics plus noise; filled share of entries. */
static KpxSparse
sparse(size_t rows, size_t cols, int topics, double filled, uint64_t seed)
{
	KpxSparse a = {rows, cols, test_alloc((rows + 1) * 8), test_alloc(rows * cols * 4), test_alloc(rows * cols * 4)};
	uint64_t n = 0;

	for (size_t i = 0; i < rows; i++)
	{
		a.offset[i] = n;
		for (size_t j = 0; j < cols; j++)
		{
			double value = 0.02 * kpx_normal(seed, i, j);

			if (kpx_uniform(seed + 1, i, j) > filled)
				continue;
			for (int t = 0; t < topics; t++)
				value += kpx_normal(seed + 2, i, (uint64_t) t) * kpx_normal(seed + 3, j, (uint64_t) t) / (1 + t);
			a.index[n] = (uint32_t) j;
			a.value[n++] = (float) value;
		}
	}
	a.offset[rows] = n;
	return a;
}

static void
free_sparse(KpxSparse *a)
{
	free(a->offset);
	free(a->index);
	free(a->value);
}

static void
run(const KpxSparse *a, int rank, KpxSvd *svd)
{
	size_t ld;
	KpxStatus status;

	*svd = (KpxSvd){.a = a, .rank = rank, .sketch = kpx_svd_sketch(a, rank), .power = KPX_SVD_POWER, .seed = 7};
	ld = kpx_ld(svd->sketch);
	svd->left = test_alloc(a->rows * ld * sizeof(float));
	svd->right = test_alloc(a->cols * ld * sizeof(float));
	svd->singular = test_alloc(ld * sizeof(float));
	svd->workspace = test_alloc(kpx_svd_workspace_size(svd->sketch));
	CHECK_EQ(kpx_svd_begin(svd), KPX_OK);
	while ((status = kpx_svd_step(svd)) == KPX_MORE)
		;
	CHECK_EQ(status, KPX_OK);
}

static void
free_svd(KpxSvd *svd)
{
	free(svd->left);
	free(svd->right);
	free(svd->singular);
	free(svd->workspace);
}

/* Singular values by dgesvd, and the least error a matrix of this rank can have (Eckart, Young). */
static void
against_lapack(size_t rows, size_t cols, int topics, double filled, int rank)
{
	KpxSparse a = sparse(rows, cols, topics, filled, rows);
	KpxSvd svd;
	double *dense = test_alloc(rows * cols * sizeof(double));
	double *s = test_alloc((rows < cols ? rows : cols) * sizeof(double));
	int m = (int) cols; /* row-major a is column-major a' */
	int n = (int) rows;
	int lwork = 20 * (m + n) + 1000;
	double *work = test_alloc((size_t) lwork * sizeof(double));
	int info;
	size_t ld;
	double best = 0;
	double error = 0;

	memset(dense, 0, rows * cols * sizeof(double));
	for (size_t i = 0; i < rows; i++)
		for (uint64_t e = a.offset[i]; e < a.offset[i + 1]; e++)
			dense[i * cols + a.index[e]] = a.value[e];
	run(&a, rank, &svd);
	ld = kpx_ld(svd.sketch);
	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < cols; j++)
		{
			double sum = dense[i * cols + j];

			for (int k = 0; k < rank && k < svd.sketch; k++)
				sum -= (double) svd.left[i * ld + k] * svd.right[j * ld + k];
			error += sum * sum;
		}
	dgesvd_("N", "N", &m, &n, dense, &m, s, NULL, &m, NULL, &n, work, &lwork, &info, 1, 1);
	CHECK_EQ(info, 0);
	for (size_t k = (size_t) rank; k < (rows < cols ? rows : cols); k++)
		best += s[k] * s[k];
	for (int k = 0; k < rank && k < svd.sketch && (size_t) k < rows; k++)
		CHECK_NEAR(svd.singular[k] / s[0], s[k] / s[0], 2e-3);
	CHECK(sqrt(error) <= sqrt(best) * 1.01 + 1e-4 * s[0]);
	/* columns of right are orthonormal, or zero where the matrix has no such direction */
	for (int k = 0; k < rank && k < svd.sketch; k++)
		for (int l = 0; l <= k; l++)
		{
			double sum = 0;

			for (size_t j = 0; j < cols; j++)
				sum += (double) svd.right[j * ld + k] * svd.right[j * ld + l];
			if (k != l || svd.singular[k] > 1e-4f * svd.singular[0])
				CHECK_NEAR(sum, k == l, 1e-4);
		}
	/* a row projected is that row of left */
	if (a.offset[1] > 0)
	{
		float *x = test_alloc(kpx_ld(rank) * sizeof(float));

		kpx_svd_project(svd.right, ld, rank < svd.sketch ? rank : svd.sketch, a.index, a.value, a.offset[1], x);
		for (int k = 0; k < rank && k < svd.sketch; k++)
			CHECK_NEAR(x[k], svd.left[k], 1e-3 * s[0]);
		free(x);
	}
	free(dense);
	free(s);
	free(work);
	free_svd(&svd);
	free_sparse(&a);
}

/* The same numbers whatever the tiles: run twice, and an empty and a zero matrix do no harm. */
static void
test_edges(void)
{
	KpxSparse a = sparse(300, 40, 3, 0.3, 5);
	KpxSvd one;
	KpxSvd two;
	KpxSparse none = {5, 3, (uint64_t[]){0, 0, 0, 0, 0, 0}, NULL, NULL};
	KpxSvd svd;

	run(&a, 8, &one);
	run(&a, 8, &two);
	CHECK(memcmp(one.left, two.left, 300 * kpx_ld(one.sketch) * sizeof(float)) == 0);
	free_svd(&one);
	free_svd(&two);
	a.value[3] = NAN;
	svd = (KpxSvd){0};
	svd.sketch = kpx_svd_sketch(&none, 4);
	CHECK_EQ(svd.sketch, 3);
	run(&none, 3, &svd);
	for (int k = 0; k < 3; k++)
		CHECK_NEAR(svd.singular[k], 0, 0);
	free_svd(&svd);
	none.rows = 0;
	CHECK_EQ(kpx_svd_sketch(&none, 4), 0);
	CHECK_EQ(kpx_svd_sketch(&a, 0), 0);
	free_sparse(&a);
}

static void
test_not_finite(void)
{
	KpxSparse a = sparse(30, 20, 2, 0.5, 5);
	KpxSvd svd = {.a = &a, .rank = 3, .sketch = kpx_svd_sketch(&a, 3), .power = 1, .seed = 1};
	size_t ld = kpx_ld(svd.sketch);
	KpxStatus status;

	a.value[7] = NAN;
	svd.left = test_alloc(a.rows * ld * sizeof(float));
	svd.right = test_alloc(a.cols * ld * sizeof(float));
	svd.singular = test_alloc(ld * sizeof(float));
	svd.workspace = test_alloc(kpx_svd_workspace_size(svd.sketch));
	CHECK_EQ(kpx_svd_begin(&svd), KPX_OK);
	while ((status = kpx_svd_step(&svd)) == KPX_MORE)
		;
	CHECK_EQ(status, KPX_NOT_FINITE);
	svd.sketch = 0;
	CHECK_EQ(kpx_svd_begin(&svd), KPX_BAD_ARGUMENT);
	svd.sketch = KPX_MAX_FACTORS + 1;
	CHECK_EQ(kpx_svd_begin(&svd), KPX_BAD_ARGUMENT);
	svd.sketch = (int) a.cols + 1;
	CHECK_EQ(kpx_svd_begin(&svd), KPX_BAD_ARGUMENT);
	svd.sketch = 3;
	svd.power = -1;
	CHECK_EQ(kpx_svd_begin(&svd), KPX_BAD_ARGUMENT);
	a.cols = 2 * KPX_MAX_FACTORS;
	CHECK_EQ(kpx_svd_sketch(&a, KPX_MAX_FACTORS), KPX_MAX_FACTORS);
	free_svd(&svd);
	free_sparse(&a);
}

/* c_t of one term by all pairs in double. */
static double
coherence_of(const KpxSparse *a, const KpxSvd *svd, int rank, int64_t term, double *pairs)
{
	size_t ld = kpx_ld(svd->sketch);
	double *z = test_alloc(a->rows * (size_t) rank * sizeof(double));
	size_t n = 0;
	double sum = 0;

	for (size_t i = 0; i < a->rows; i++)
	{
		double w = term < 0 ? 0 : -1;
		double norm = 0;

		for (uint64_t e = a->offset[i]; e < a->offset[i + 1] && term >= 0; e++)
			if (a->index[e] == (uint32_t) term)
				w = a->value[e];
		if (w == -1)
			continue;
		for (int k = 0; k < rank; k++)
		{
			z[n * rank + k] = svd->left[i * ld + k] - (term < 0 ? 0 : w * svd->right[term * ld + k]);
			norm += z[n * rank + k] * z[n * rank + k];
		}
		if (norm <= 1e-8)
			continue;
		for (int k = 0; k < rank; k++)
			z[n * rank + k] /= sqrt(norm);
		n++;
	}
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			for (int k = 0; k < rank && i != j; k++)
				sum += z[i * rank + k] * z[j * rank + k];
	*pairs = (double) n * (n - 1.0);
	free(z);
	return sum;
}

static void
test_coherence(void)
{
	enum
	{
		rank = 6,
		cols = 30
	};
	KpxSparse a = sparse(120, cols, 4, 0.2, 11);
	KpxSvd svd;
	float *sum;
	uint32_t n[cols + 1] = {0};
	float weight[cols];
	double c[cols];
	double pairs[cols];
	double mean = 0;
	double least;
	double all;

	run(&a, rank, &svd);
	sum = test_alloc((cols + 1) * kpx_ld(rank) * sizeof(float));
	memset(sum, 0, (cols + 1) * kpx_ld(rank) * sizeof(float));
	kpx_coherence_add(&a, 0, 50, svd.left, svd.right, kpx_ld(svd.sketch), rank, sum, n);
	kpx_coherence_add(&a, 50, 120, svd.left, svd.right, kpx_ld(svd.sketch), rank, sum, n);
	kpx_coherence_weights(sum, n, cols, rank, 0.5, weight);
	least = coherence_of(&a, &svd, rank, -1, &all);
	least = fmax(least / all, 1e-3);
	for (int t = 0; t < cols; t++)
	{
		c[t] = coherence_of(&a, &svd, rank, t, &pairs[t]);
		mean += c[t] / pairs[t] / cols;
	}
	mean = fmax(mean, least);
	for (int t = 0; t < cols; t++)
		CHECK_NEAR(weight[t], sqrt(fmax((c[t] + 10 * mean) / (pairs[t] + 10), least) / mean), 1e-3);
	free(sum);
	free_svd(&svd);
	free_sparse(&a);
}

/* Words that too few documents have, or none, and a catalogue of no pairs. */
static void
test_coherence_of_little(void)
{
	enum
	{
		rank = 2
	};
	size_t ld = kpx_ld(rank);
	float sum[4 * KPX_LANE] = {0};
	uint32_t n[4] = {0, 1, 4, 5};
	float weight[3];

	sum[ld] = 1;
	sum[2 * ld] = 3;
	sum[3 * ld] = 3;
	kpx_coherence_weights(sum, n, 3, rank, 0.5, weight);
	CHECK(weight[0] > 0 && weight[1] > 0 && weight[2] > weight[1]);
	n[3] = 1; /* one document: no pairs */
	kpx_coherence_weights(sum, n, 3, rank, 0.5, weight);
	for (int t = 0; t < 3; t++)
		CHECK(isfinite(weight[t]) && weight[t] > 0);
}

int
main(void)
{
	against_lapack(60, 40, 5, 0.4, 8);
	against_lapack(200, 90, 10, 0.1, 20);
	against_lapack(30, 100, 4, 0.5, 12);
	against_lapack(1500, 50, 6, 0.2, 10);
	against_lapack(40, 10, 3, 1.0, 30); /* rank above the columns */
	against_lapack(80, 60, 2, 1.0, 5);
	test_edges();
	test_not_finite();
	test_coherence();
	test_coherence_of_little();
	return test_done();
}
