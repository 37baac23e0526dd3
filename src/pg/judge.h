/*
 * judge.h
 *	  Ranking all items for users with held-out interactions.
 */
#ifndef KPX_JUDGE_H
#define KPX_JUDGE_H

#include "algorithm.h"
#include "split.h"

#include "core/evaluate.h"

enum
{
	KPX_RECALL,
	KPX_HIT_RATE,
	KPX_NDCG,
	KPX_MRR,
	KPX_MAP,
	KPX_METRICS
};

extern const char *const kpx_metric_names[KPX_METRICS];

/* How one method did on one module. */
typedef struct KpxJudgement
{
	KpxMean mean[KPX_METRICS]; /* over users */
	double coverage; /* share of items that were in any list */
} KpxJudgement;

/*
 * Lists of k items from model, and from popularity, for the users of the module's held-out
 * pairs, whose history is what data has of them. share: of these users, a fixed random part
 * (1 = all); returns how many were judged. popular may be NULL.
 */
extern uint64 kpx_judge(const KpxData *data, const KpxModel *model, int module, const KpxPairs *pairs, size_t k,
						double share, KpxJudgement *own, KpxJudgement *popular);

#endif /* KPX_JUDGE_H */
