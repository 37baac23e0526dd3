/*
 * transition.c
 *	  Algorithm "transition": what comes next, from the newest items of a user.
 *
 * Numbers after those of links.h: window, decay.
 */
#include "links.h"

#include <math.h>

#include "core/transition.h"

enum
{
	WINDOW = 1,
	DECAY,
	N_NUMBERS
};

static const KpxParamSpec specs[] = {
	{"window", KPX_PARAM_INT, 5, 1, 1000, NULL, 1, 10},
	{"decay", KPX_PARAM_FLOAT, 0.7, 0.001, 1, NULL, 0.3, 1},
	{"shrinkage", KPX_PARAM_FLOAT, 5, 0, 1e6, NULL, 0.5, 50},
	{"neighbours", KPX_PARAM_INT, 100, 0, 100000},
	{NULL},
};

static void
require_times(const KpxData *data)
{
	for (int m = 0; m < data->n_modules; m++)
		for (int s = 0; s < data->modules[m]->n_sources; s++)
			if (data->modules[m]->sources[s].occurred_at)
				return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("algorithm \"transition\" needs times, no event source of these modules has any"),
			 errhint("Register sources with occurred_at.")));
}

static void
fit(KpxFit *fit)
{
	double own[] = {kpx_param(fit->params, "window"), kpx_param(fit->params, "decay")};
	KpxLinkPlan plan = {.kind = KPX_LINK_TRANSITION,
						.keep = (uint32) kpx_param(fit->params, "neighbours"),
						.window = (uint32) own[0],
						.decay = own[1],
						.shrinkage = kpx_param(fit->params, "shrinkage")};

	require_times(fit->data);
	kpx_links_fit(fit, &kpx_transition, &plan, own, 2);
}

static bool
shape(const KpxModel *model, KpxPart *part)
{
	return part->n_numbers == N_NUMBERS && part->number[WINDOW] >= 1 && part->number[WINDOW] <= 1000 &&
		   part->number[DECAY] > 0 && part->number[DECAY] <= 1 && kpx_links_shape(model, part);
}

static void *
fold_in(const KpxModel *model, int part, const KpxHistory *history, KpxScratch *scratch)
{
	const double *number = model->part[part].number;
	KpxLinkTaste *taste;
	float *weight;

	if (history->n == 0)
		return NULL;
	weight = kpx_alloc(CurrentMemoryContext, history->n, sizeof(float));
	kpx_transition_start(history->time, history->n, (uint32) number[WINDOW], number[DECAY], weight);
	for (uint32 j = 0; j < history->n; j++)
		weight[j] *= history->weight[j];
	taste = palloc(sizeof(KpxLinkTaste));
	*taste = (KpxLinkTaste){history->n, history->index, weight};
	return taste;
}

const KpxAlgorithm kpx_transition = {"transition", specs, true, fit, shape, kpx_links_open, fold_in, kpx_links_scores,
									 NULL, kpx_links_contributions, kpx_links_similar, NULL};
