/*
 * ranker.h
 *	  Trained rankers: stored in kpx.ranker, the active one cached in the session.
 */
#ifndef KPX_RANKER_H
#define KPX_RANKER_H

#include "kpxrec.h"

#include "core/classify.h"
#include "core/ranking.h"
#include "ranking.h"
#include "registry.h"

/* A ranker as it is used. Its categorical feature is the pair of modules. */
typedef struct KpxTrainedRanker
{
	int64 id;
	int n_modules;
	int *modules; /* ids of those it was trained for */
	bool convert_trained; /* false: too few conversions, P(convert | click) stays a smoothed rate */
	int n_pairs;
	char **pairs;
	double mean[KPX_SIGNALS];
	double sd[KPX_SIGNALS];
	KpxPlatt platt[2]; /* click; click with conversion */
	KpxRanker ranker;
} KpxTrainedRanker;

/* The active ranker, or NULL; valid until the next call. XX001 when what is stored does not fit together. */
extern const KpxTrainedRanker *kpx_active_ranker(KpxRegistry *registry);

/* Name of the level of a pair of modules; home NULL: none. */
extern char *kpx_ranker_pair(int home_module, int module);

/* Feature number of a pair, or KPX_NO_CATEGORY when the ranker does not know it. */
extern uint32 kpx_ranker_level(const KpxTrainedRanker *ranker, const char *pair);

/* Calibrated probabilities of a row of impressions whose dense features are standardised. */
extern void kpx_ranker_probabilities(const KpxTrainedRanker *ranker, const KpxImpressions *impressions, size_t row,
									 bool at_position, double *click, double *both);

#endif /* KPX_RANKER_H */
