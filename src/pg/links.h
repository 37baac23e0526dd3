/*
 * links.h
 *	  What algorithms that learn links between items have in common.
 *
 * Numbers: entries, then the algorithm's own. Arrays: offset (items + 1), target and link
 * (entries), rows by source. A taste is a history that links are followed from.
 */
#ifndef KPX_PG_LINKS_H
#define KPX_PG_LINKS_H

#include "algorithm.h"
#include "link_train.h"

/* Where links are followed from. */
typedef struct KpxLinkTaste
{
	uint32 n;
	const uint32 *index;
	const float *weight;
} KpxLinkTaste;

/* Trains and makes fit->part a part of algorithm: entries and then the numbers own[n]. */
extern void kpx_links_fit(KpxFit *fit, const KpxAlgorithm *algorithm, const KpxLinkPlan *plan, const double *own, int n);

/* Functions of KpxAlgorithm. */
extern bool kpx_links_shape(const KpxModel *model, KpxPart *part);
extern bool kpx_links_open(KpxModel *model, int part);
extern void *kpx_links_fold_in(const KpxModel *model, int part, const KpxHistory *history, KpxScratch *scratch);
extern void kpx_links_scores(const KpxModel *model, int part, const void *taste, uint32 begin, uint32 end, float *score);
extern void kpx_links_contributions(const KpxModel *model, int part, const void *taste, const KpxHistory *history,
									uint32 item, double *contribution);
extern void kpx_links_similar(const KpxModel *model, int part, uint32 item, uint32 begin, uint32 end, float *score);

#endif /* KPX_PG_LINKS_H */
