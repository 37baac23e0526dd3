/*
 * scorer.h
 *	  Who scores the items of an answer: asked in order until there are enough items.
 *
 * The model speaks first. When it knows nothing of the user, or has an opinion of too few
 * items, the next scorer that can say something fills the list up, and so on down to
 * popularity. Scores of different scorers are not comparable; their order is.
 *
 * To add one: write a KpxScorer in the room it belongs to and put it into kpx_scorers
 * (scorer.c), at its place in the order: model, rules, segment, trending, popular.
 */
#ifndef KPX_SCORER_H
#define KPX_SCORER_H

#include "request.h"

typedef struct KpxScorer
{
	const char *name;

	/*
	 * For a module without active model: a model without parts, in the current context, that names
	 * the module's items (ids, increasing; popularity may be NULL) and those of the modules
	 * whose history is to be read; NULL: this scorer needs a model or knows nothing of the module.
	 * NULL function: it always needs one.
	 */
	KpxModel *(*stand_in)(KpxRegistry *registry, KpxModule *module);

	/*
	 * Scores of q->target's items: in buffer (floats, one an item), or elsewhere; NaN for items it has
	 * no opinion of. NULL when it has nothing to say about this user. *note is the scorer's own,
	 * NULL before, and handed to reason.
	 */
	const float *(*score)(KpxRequest *q, KpxTaste *taste, void **note, float *buffer);

	/* Why item (of q->target) is in the list: the answer's column reason. */
	char *(*reason)(KpxRequest *q, KpxTaste *taste, void *note, uint32 item);

	/* Need score not be called, because the model finds its best without it (kpx_request_best)? NULL: it must. */
	bool (*searches)(const KpxRequest *q, const KpxTaste *taste);
} KpxScorer;

/* Of other rooms. */
extern const KpxScorer kpx_rules_scorer;
extern const KpxScorer kpx_segment_scorer;
extern const KpxScorer kpx_trending_scorer;

/* In order; ends with NULL. */
extern const KpxScorer *const kpx_scorers[];

#endif /* KPX_SCORER_H */
