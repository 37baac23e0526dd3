/*
 * hybrid.h
 *	  Algorithm "hybrid": which methods it blends, fitting its weights, and what it makes of
 *	  items that came later.
 */
#ifndef KPX_HYBRID_H
#define KPX_HYBRID_H

#include "algorithm.h"

/* Methods whose scores are blended, popularity besides, in the order of their weights. */
typedef enum KpxVoice
{
	KPX_VOICE_IALS, /* always there: new items get factors of it */
	KPX_VOICE_ITEMKNN,
	KPX_VOICE_EASE,
	KPX_VOICE_RULES,
	KPX_VOICE_TRANSITION,
	KPX_VOICE_CONTENT, /* there when a module has content; the last: all others learn from events */
	KPX_VOICES
} KpxVoice;

extern const KpxAlgorithm *const kpx_voice_algorithm[KPX_VOICES];

/* One method of a hybrid model: its part and, while training, its own parameters. */
typedef struct KpxVoicePlan
{
	int part; /* -1 = it is left out */
	const KpxParams *params;
} KpxVoicePlan;

/* Which methods take part, by the hybrid's own parameters and the modules' content; parts from 1 on. 22023. */
extern void kpx_voices_plan(const KpxFit *fit, KpxVoicePlan plan[KPX_VOICES]);

/* Weights of one module's scores. */
typedef struct KpxBlend
{
	float warm[KPX_VOICES + 1]; /* items with events: of the methods, then of popularity */
	float cold[3]; /* items without: of ials (with predicted factors), of content, and what is added */
} KpxBlend;

#define KPX_BLEND_SCORES (KPX_VOICES + 4)

/* Weight k of a blend, 0..KPX_BLEND_SCORES - 1. */
extern float *kpx_blend_weight(KpxBlend *blend, int k);

/* Name of score k, as in params->weights. */
extern const char *kpx_blend_key(int k);

/* What a method's score of a new item is weighed by: 0 when it knows nothing of new items. */
extern float kpx_blend_cold(const KpxBlend *blend, KpxVoice voice);

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

/* Trains the methods begin .. end - 1 of a plan into fit->model. */
extern void kpx_voices_fit(KpxFit *fit, const KpxVoicePlan *plan, int begin, int end);

/* Weights for all modules, fitted on interactions held out of data; fit->model has its part of content already. */
extern void kpx_blend_fit(KpxFit *fit, const KpxVoicePlan *plan, KpxBlend *blends);

/* Makes items (indexes of a model whose parts hold their content) cold ones with predicted factors. */
extern void kpx_hybrid_add_items(KpxModel *model, const uint32 *items, uint32 n);

/* Weights as jsonb by module, of the methods that take part, and back (22023). */
extern Jsonb *kpx_blend_jsonb(const KpxModel *model, const KpxVoicePlan *plan, const KpxBlend *blends);
extern void kpx_blend_parse(Jsonb *json, const KpxModel *model, const KpxVoicePlan *plan, KpxBlend *blends);

#endif /* KPX_HYBRID_H */
