/*
 * evaluate.c
 *	  Ranking metrics with binary relevance.
 */
#include "evaluate.h"

#include <math.h>

static size_t
hits_within(const uint64_t *hit_ranks, size_t hits, size_t k)
{
	size_t n = 0;

	while (n < hits && hit_ranks[n] < k)
		n++;
	return n;
}

double
kpx_metric_recall(const uint64_t *hit_ranks, size_t hits, size_t relevant, size_t k)
{
	return relevant ? (double) hits_within(hit_ranks, hits, k) / (double) relevant : 0;
}

double
kpx_metric_hit_rate(const uint64_t *hit_ranks, size_t hits, size_t relevant, size_t k)
{
	return relevant && hits > 0 && hit_ranks[0] < k ? 1 : 0;
}

double
kpx_metric_ndcg(const uint64_t *hit_ranks, size_t hits, size_t relevant, size_t k)
{
	double gain = 0;
	double ideal = 0;

	for (size_t i = 0; i < hits_within(hit_ranks, hits, k); i++)
		gain += 1 / log2((double) hit_ranks[i] + 2);
	for (size_t i = 0; i < relevant && i < k; i++)
		ideal += 1 / log2((double) i + 2);
	return ideal > 0 ? gain / ideal : 0;
}

double
kpx_metric_mrr(const uint64_t *hit_ranks, size_t hits, size_t relevant, size_t k)
{
	return relevant && hits > 0 && hit_ranks[0] < k ? 1 / ((double) hit_ranks[0] + 1) : 0;
}

double
kpx_metric_average_precision(const uint64_t *hit_ranks, size_t hits, size_t relevant, size_t k)
{
	double sum = 0;
	size_t most = relevant < k ? relevant : k;

	for (size_t i = 0; i < hits_within(hit_ranks, hits, k); i++)
		sum += (double) (i + 1) / ((double) hit_ranks[i] + 1);
	return most ? sum / (double) most : 0;
}

void
kpx_mean_add(KpxMean *mean, double value)
{
	double difference = value - mean->mean;

	mean->n++;
	mean->mean += difference / (double) mean->n;
	mean->m2 += difference * (value - mean->mean);
}

double
kpx_mean_std_error(const KpxMean *mean)
{
	return mean->n < 2 ? 0 : sqrt(mean->m2 / (double) (mean->n - 1) / (double) mean->n);
}
