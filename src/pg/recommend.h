/*
 * recommend.h
 *	  The list of an answer, for kpx_recommend and for slates.
 */
#ifndef KPX_PG_RECOMMEND_H
#define KPX_PG_RECOMMEND_H

#include "scorer.h"

/* One item of a list, and who put it there. */
typedef struct KpxListed
{
	KpxHit hit; /* item of q->target */
	const KpxScorer *scorer;
	void *note; /* the scorer's */
} KpxListed;

/* The first wanted items for this user, best first: scorer after scorer until there are enough. Returns how many. */
extern size_t kpx_list(KpxRequest *q, KpxTaste *taste, uint64 wanted, KpxListed **list);

/* Why an item is in the list: costs more than finding it, so ask about those that are shown. */
extern char *kpx_listed_reason(KpxRequest *q, KpxTaste *taste, const KpxListed *listed);

#endif /* KPX_PG_RECOMMEND_H */
