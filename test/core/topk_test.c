/*
 * topk_test.c
 *	  Scores and the k best against sorting all of them.
 */
#include "core/topk.h"
#include "test.h"

static const float *sort_score;

static int
by_score(const void *a, const void *b)
{
	uint32_t i = *(const uint32_t *) a;
	uint32_t j = *(const uint32_t *) b;

	if (sort_score[i] != sort_score[j])
		return sort_score[i] > sort_score[j] ? -1 : 1;
	return i < j ? -1 : i > j;
}

/* levels > 0 makes many ties. */
static void
test_search(size_t n, size_t k, int levels, double excluded_share)
{
	float *score = test_alloc(n * sizeof(float));
	uint8_t *excluded = test_alloc(n / 8 + 1);
	uint32_t *order = test_alloc(n * sizeof(uint32_t));
	KpxHit *hits = test_alloc(k * sizeof(KpxHit));
	size_t left = 0;
	size_t found;

	memset(excluded, 0, n / 8 + 1);
	for (size_t i = 0; i < n; i++)
	{
		score[i] = levels ? (float) test_below(1, i, (uint64_t) levels) : (float) kpx_normal(2, n, i);
		if (i % 97 == 5)
			score[i] = NAN;
		if (kpx_uniform(3, n, i) < excluded_share)
			kpx_bit_set(excluded, i);
		if (score[i] == score[i] && !kpx_bit_get(excluded, i))
			order[left++] = (uint32_t) i;
	}
	sort_score = score;
	qsort(order, left, sizeof(uint32_t), by_score);
	found = kpx_topk(score, n, excluded_share > 0 ? excluded : NULL, k, hits);
	CHECK_EQ(found, k < left ? k : left);
	for (size_t i = 0; i < found; i++)
	{
		CHECK_EQ(hits[i].item, order[i]);
		CHECK(hits[i].score == score[order[i]]);
	}
	for (size_t i = 0; i < left && i < 20; i++)
		CHECK_EQ(kpx_rank(score, n, excluded, order[i]), i);
	free(score);
	free(excluded);
	free(order);
	free(hits);
}

static void
test_scores(int factors, size_t rows, size_t users)
{
	size_t ld = kpx_ld(factors);
	float *items = test_alloc(rows * ld * sizeof(float));
	float *x = test_alloc(users * ld * sizeof(float));
	float *score = test_alloc(rows * sizeof(float));
	float *batch = test_alloc(users * rows * sizeof(float));

	for (size_t i = 0; i < rows * ld; i++)
		items[i] = i % ld < (size_t) factors ? (float) kpx_normal(4, 0, i) : 0;
	for (size_t i = 0; i < users * ld; i++)
		x[i] = i % ld < (size_t) factors ? (float) kpx_normal(5, 0, i) : 0;
	/* In two ranges of items. */
	kpx_scores_batch(items, ld, rows / 3, x, users, batch, rows);
	kpx_scores_batch(items + rows / 3 * ld, ld, rows - rows / 3, x, users, batch + rows / 3, rows);
	for (size_t u = 0; u < users; u++)
	{
		kpx_scores(items, ld, 0, rows, x + u * ld, score);
		for (size_t i = 0; i < rows; i++)
		{
			double sum = 0;

			for (int f = 0; f < factors; f++)
				sum += (double) items[i * ld + (size_t) f] * x[u * ld + (size_t) f];
			CHECK_NEAR(score[i], sum, 1e-5);
			CHECK_NEAR(batch[u * rows + i], sum, 1e-5);
		}
	}
	kpx_scores(items, ld, rows / 2, rows, x, score);
	CHECK_NEAR(score[0], batch[rows / 2], 1e-5);
	free(items);
	free(x);
	free(score);
	free(batch);
}

static void
test_cosines(int factors, size_t rows, size_t item)
{
	size_t ld = kpx_ld(factors);
	float *matrix = test_alloc(rows * ld * sizeof(float));
	float *score = test_alloc(rows * sizeof(float));

	memset(matrix, 0, rows * ld * sizeof(float));
	for (size_t i = 1; i < rows; i++) /* row 0 stays zero */
		for (int k = 0; k < factors; k++)
			matrix[i * ld + (size_t) k] = (float) kpx_normal(8, i, (uint64_t) k);
	kpx_cosines(matrix, ld, item, 0, rows, score);
	for (size_t i = 0; i < rows; i++)
	{
		double xy = 0;
		double xx = 0;
		double yy = 0;

		for (int k = 0; k < factors; k++)
		{
			double x = matrix[item * ld + (size_t) k];
			double y = matrix[i * ld + (size_t) k];

			xy += x * y;
			xx += x * x;
			yy += y * y;
		}
		CHECK_NEAR(score[i], xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0, 1e-5);
	}
	kpx_cosines(matrix, ld, item, rows - 1, rows, score);
	CHECK_EQ(rows - 1 == item && item > 0, fabs(score[0] - 1) < 1e-6);
	free(matrix);
	free(score);
}

static void
test_mean(void)
{
	float a[4] = {1, NAN, 3, NAN};
	const float b[4] = {2, 5, NAN, NAN};

	kpx_mean_score(a, b, 4);
	CHECK_NEAR(a[0], 1.5, 0);
	CHECK_NEAR(a[1], 5, 0);
	CHECK_NEAR(a[2], 3, 0);
	CHECK(isnan(a[3]));
}

int
main(void)
{
	test_mean();
	static const size_t sizes[] = {1, 7, 15, 16, 17, 100, 1000, 4096};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (int levels = 0; levels <= 5; levels += 5)
		{
			test_search(sizes[i], 1, levels, 0);
			test_search(sizes[i], 10, levels, 0.3);
			test_search(sizes[i], 2000, levels, 0.5);
			test_search(sizes[i], 3, levels, 1.1);
		}
	CHECK_EQ(kpx_topk(NULL, 0, NULL, 0, NULL), 0);
	test_scores(1, 3, 2);
	test_scores(16, 17, 3);
	test_scores(17, 33, 2);
	test_scores(64, 100, 5);
	test_cosines(1, 4, 3);
	test_cosines(17, 40, 5);
	test_cosines(64, 9, 0);
	kpx_scores_batch(NULL, 16, 0, NULL, 0, NULL, 0);
	return test_done();
}
