/*
 * scorer.c
 *	  Who scores the items of an answer, in order; the model and popularity.
 */
#include "scorer.h"

static const float *
model_score(KpxRequest *q, KpxTaste *taste, void **note, float *buffer)
{
	if (taste->state == NULL)
		return NULL;
	if (taste->scores)
		return taste->scores;
	kpx_model_score(q->model, taste->state, q->target->base, q->target->base + q->target->items, buffer);
	return buffer;
}

/* "module/item" of the past item that contributed most. */
static char *
model_reason(KpxRequest *q, KpxTaste *taste, void *note, uint32 item)
{
	double *part = palloc(sizeof(double) * Max(taste->history.n, 1));
	const KpxModelModule *module = q->model->modules;
	uint32 best = 0;

	kpx_model_contributions(q->model, taste->state, &taste->history, q->target->base + item, part);
	for (uint32 i = 1; i < taste->history.n; i++)
		if (part[i] > part[best])
			best = i;
	pfree(part);
	while (taste->history.index[best] >= module->base + module->items)
		module++;
	return psprintf("%s/%s", module->name,
					kpx_id_to_cstring(module->ids.kind, kpx_ids_get(&module->ids, taste->history.index[best] - module->base)));
}

static bool
model_searches(const KpxRequest *q, const KpxTaste *taste)
{
	return taste->state != NULL && kpx_model_searches(q->model);
}

static const float *
popular_score(KpxRequest *q, KpxTaste *taste, void **note, float *buffer)
{
	return q->model->popularity ? q->model->popularity + q->target->base : NULL;
}

static char *
popular_reason(KpxRequest *q, KpxTaste *taste, void *note, uint32 item)
{
	return "popular";
}

static const KpxScorer model_scorer = {"model", NULL, model_score, model_reason, model_searches};
static const KpxScorer popular_scorer = {"popular", NULL, popular_score, popular_reason};

const KpxScorer *const kpx_scorers[] = {&model_scorer, &kpx_rules_scorer, &kpx_segment_scorer, &kpx_trending_scorer, &popular_scorer, NULL};
StaticAssertDecl(lengthof(kpx_scorers) - 1 <= KPX_MAX_SCORERS, "statistics have room for every scorer");
