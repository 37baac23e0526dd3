/*
 * evaluate_test.c
 *	  Ranking metrics against worked examples and the definitions written out.
 */
#include "core/evaluate.h"
#include "test.h"

/* Three relevant items at ranks 1, 3 and 7 (from 1), four relevant in all. */
static void
test_worked_example(void)
{
	static const uint64_t ranks[] = {0, 2, 6};

	CHECK_NEAR(kpx_metric_recall(ranks, 3, 4, 5), 2.0 / 4, 1e-12);
	CHECK_NEAR(kpx_metric_recall(ranks, 3, 4, 10), 3.0 / 4, 1e-12);
	CHECK_NEAR(kpx_metric_hit_rate(ranks, 3, 4, 1), 1, 0);
	CHECK_NEAR(kpx_metric_mrr(ranks, 3, 4, 10), 1, 1e-12);
	/* DCG = 1 + 1/log2(4), ideal = 1 + 1/log2(3) + 1/log2(4) + 1/log2(5) */
	CHECK_NEAR(kpx_metric_ndcg(ranks, 3, 4, 5), 1.5 / 2.5616063116448504, 1e-12);
	/* (1/1 + 2/3) / 4 and (1/1 + 2/3 + 3/7) / 4 */
	CHECK_NEAR(kpx_metric_average_precision(ranks, 3, 4, 5), (1 + 2.0 / 3) / 4, 1e-12);
	CHECK_NEAR(kpx_metric_average_precision(ranks, 3, 4, 10), (1 + 2.0 / 3 + 3.0 / 7) / 4, 1e-12);
	/* The ideal is cut at k: one relevant item on top of a list of one is perfect. */
	CHECK_NEAR(kpx_metric_ndcg(ranks, 3, 4, 1), 1, 1e-12);
	CHECK_NEAR(kpx_metric_average_precision(ranks, 3, 4, 1), 1, 1e-12);
}

static void
test_edges(void)
{
	static const uint64_t late[] = {9};

	CHECK_NEAR(kpx_metric_hit_rate(late, 1, 1, 9), 0, 0);
	CHECK_NEAR(kpx_metric_hit_rate(late, 1, 1, 10), 1, 0);
	CHECK_NEAR(kpx_metric_mrr(late, 1, 1, 10), 0.1, 1e-12);
	CHECK_NEAR(kpx_metric_mrr(late, 1, 1, 9), 0, 0);
	CHECK_NEAR(kpx_metric_ndcg(late, 1, 1, 10), 1 / log2(11), 1e-12);
	CHECK_NEAR(kpx_metric_recall(NULL, 0, 0, 10), 0, 0);
	CHECK_NEAR(kpx_metric_ndcg(NULL, 0, 0, 10), 0, 0);
	CHECK_NEAR(kpx_metric_ndcg(NULL, 0, 3, 0), 0, 0);
	CHECK_NEAR(kpx_metric_average_precision(NULL, 0, 0, 10), 0, 0);
	CHECK_NEAR(kpx_metric_average_precision(NULL, 0, 2, 10), 0, 0);
	CHECK_NEAR(kpx_metric_mrr(NULL, 0, 2, 10), 0, 0);
}

/* Every metric lies in 0..1, and a list of relevant items only is perfect. */
static void
test_bounds(void)
{
	for (uint64_t trial = 0; trial < 500; trial++)
	{
		uint64_t ranks[64];
		size_t hits = 0;
		size_t relevant;
		size_t k = 1 + test_below(1, trial, 40);

		for (uint64_t at = 0; at < 60; at++)
			if (kpx_uniform(2, trial, at) < 0.3)
				ranks[hits++] = at;
		relevant = hits + test_below(3, trial, 5);
		CHECK(kpx_metric_ndcg(ranks, hits, relevant, k) <= 1 + 1e-12);
		CHECK(kpx_metric_average_precision(ranks, hits, relevant, k) <= 1 + 1e-12);
		CHECK(kpx_metric_recall(ranks, hits, relevant, k) <= 1);
		for (size_t i = 0; i < hits; i++)
			ranks[i] = i;
		if (hits)
		{
			CHECK_NEAR(kpx_metric_ndcg(ranks, hits, hits, k), 1, 1e-12);
			CHECK_NEAR(kpx_metric_average_precision(ranks, hits, hits, k), 1, 1e-12);
		}
	}
}

static void
test_mean(void)
{
	KpxMean mean = {0, 0, 0};
	double sum = 0,
		   squares = 0;

	CHECK_NEAR(kpx_mean_std_error(&mean), 0, 0);
	for (uint64_t i = 0; i < 1000; i++)
	{
		double value = 1e6 + kpx_normal(5, 0, i);

		kpx_mean_add(&mean, value);
		sum += value;
	}
	for (uint64_t i = 0; i < 1000; i++)
		squares += pow(1e6 + kpx_normal(5, 0, i) - sum / 1000, 2);
	CHECK_NEAR(mean.mean, sum / 1000, 1e-12);
	CHECK_NEAR(kpx_mean_std_error(&mean), sqrt(squares / 999 / 1000), 1e-9);
}

int
main(void)
{
	test_worked_example();
	test_edges();
	test_bounds();
	test_mean();
	return test_done();
}
