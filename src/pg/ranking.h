/*
 * ranking.h
 *	  What each candidate is expected to do: P(click) and P(convert | click).
 *
 * The seam between candidates and policy: kpx_rank_candidates fills the two probabilities of all
 * candidates of one user. What ranks when nothing is trained is smoothed rates.
 */
#ifndef KPX_PG_RANKING_H
#define KPX_PG_RANKING_H

#include "kpxrec.h"

#include "core/signals.h"
#include "item_facts.h"
#include "registry.h"
#include "request.h"
#include "segment.h"

/* One candidate with what is known of it. */
typedef struct KpxRankItem
{
	int module; /* number in the request's modules */
	char *id; /* as text */
	char *category; /* or NULL */
	double price; /* of the item table; NaN: none */
	float score; /* of the candidate step; comparable within a module */
	int place; /* in its module's candidates, from 0 */
	float *signal; /* [KPX_SIGNALS], core/signals.h; NULL: not asked for */
	double p_click; /* out */
	double p_convert; /* out: given a click */
	double spread; /* out: standard deviation of what is known of p_click p_convert */
} KpxRankItem;

typedef struct KpxRankRequest
{
	KpxRegistry *registry;
	const char *user_id; /* as text */
	KpxModule *home; /* where the slate is shown; NULL: nowhere in particular */
	KpxModule **modules;
	int n_modules;
	KpxRankItem *items; /* a module's items stand together, best score first */
	int n;
} KpxRankRequest;

/*
 * Signals of a module's candidates for a user with this taste (of the request's model): all but
 * the two rates, which kpx_rank_candidates sets. Item tables are read as the caller. modules: how
 * many take part. segment: the same for all modules of a slate.
 */
extern void kpx_rank_signals(const KpxRequest *q, const KpxTaste *taste, KpxSegmentFound *segment,
							 int modules, KpxRankItem *items, int n);

/* Is there a trained ranker to answer? */
extern bool kpx_ranker_is_active(KpxRegistry *registry);

/* Fills p_click and p_convert, in (0, 1); returns the name of what ranked, for the log. */
extern const char *kpx_rank_candidates(KpxRankRequest *request);

#endif /* KPX_PG_RANKING_H */
