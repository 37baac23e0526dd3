/*
 * evaluate.h
 *	  Ranking metrics with binary relevance, and how to split events.
 *
 * Definitions: Manning, Raghavan, Schuetze 2008, "Introduction to Information
 * Retrieval", ch. 8; NDCG: Jaervelin, Kekaelaeinen 2002, with gain 1 and discount
 * log2(rank + 1).
 */
#ifndef KPX_EVALUATE_H
#define KPX_EVALUATE_H

#include "matrix.h"

/*
 * A list of length shown, seen through which of its positions are relevant:
 * hit_ranks[hits] are the positions (from 0, increasing) of relevant items, relevant
 * is how many relevant items there are in all. Only positions < k count. All return
 * 0 when relevant is 0. Precondition: hits <= relevant.
 */
extern double kpx_metric_recall(const uint64_t *hit_ranks, size_t hits, size_t relevant, size_t k);
extern double kpx_metric_hit_rate(const uint64_t *hit_ranks, size_t hits, size_t relevant, size_t k);
/* The ideal list has min(relevant, k) relevant items first. */
extern double kpx_metric_ndcg(const uint64_t *hit_ranks, size_t hits, size_t relevant, size_t k);
extern double kpx_metric_mrr(const uint64_t *hit_ranks, size_t hits, size_t relevant, size_t k);
/* Sum of precision at each hit, over min(relevant, k). */
extern double kpx_metric_average_precision(const uint64_t *hit_ranks, size_t hits, size_t relevant, size_t k);

/* Mean and standard error of the mean, one value at a time (Welford 1962). */
typedef struct KpxMean
{
	uint64_t n;
	double mean;
	double m2;
} KpxMean;

extern void kpx_mean_add(KpxMean *mean, double value);
/* sqrt(sample variance / n); 0 for n < 2. */
extern double kpx_mean_std_error(const KpxMean *mean);

#endif /* KPX_EVALUATE_H */
