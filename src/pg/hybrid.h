/*
 * hybrid.h
 *	  Algorithm "hybrid": fitting its weights, and what it makes of items that came later.
 */
#ifndef KPX_HYBRID_H
#define KPX_HYBRID_H

#include "algorithm.h"

/* Parts of a hybrid model. */
#define KPX_HYBRID_BEHAVIOUR 1
#define KPX_HYBRID_CONTENT 2

/* Weights of one module's scores, see kpx_blend_scores. */
typedef struct KpxBlend
{
	float warm[3];
	float cold[3];
} KpxBlend;

/* The map from content vectors (p numbers) to factors (d numbers) of core/ridge.h. */
typedef struct KpxItemMap
{
	int p;
	int d;
	float *map; /* (p + 2) x kpx_ld(d) */
	double lambda;
	double slope;
	double r2;
} KpxItemMap;

/* Fitted on the items for which count is not 0. */
extern KpxItemMap kpx_item_map_fit(const float *content, int p, const float *factors, int d, const uint32 *count, uint32 items);

/* Factors of the items for which cold is set. */
extern void kpx_item_map_apply(const KpxItemMap *map, const float *content, const uint8 *cold, uint32 items, float *factors);

/* Interactions of each item. */
extern uint32 *kpx_item_counts(const KpxData *data);

/* Weights for all modules, fitted on interactions held out of data; content is part KPX_HYBRID_CONTENT of fit->model. */
extern void kpx_blend_fit(KpxFit *fit, KpxBlend *blends);

/* Makes items (indexes of a model whose parts hold their content) cold ones with predicted factors. */
extern void kpx_hybrid_add_items(KpxModel *model, const uint32 *items, uint32 n);

/* Weights as jsonb by module, and back (22023). */
extern Jsonb *kpx_blend_jsonb(const KpxModel *model, const KpxBlend *blends);
extern void kpx_blend_parse(Jsonb *json, const KpxModel *model, KpxBlend *blends);

#endif /* KPX_HYBRID_H */
