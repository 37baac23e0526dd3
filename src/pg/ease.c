/*
 * ease.c
 *	  Algorithm "ease": the closed-form regression of core/ease.h, from the smaller side.
 */
#include "links.h"

static const KpxParamSpec specs[] = {
	{"regularization", KPX_PARAM_FLOAT, 100, 1e-3, 1e7, NULL, 1, 1000},
	{"neighbours", KPX_PARAM_INT, 200, 0, 100000, NULL, 50, 500},
	{NULL},
};

static void
fit(KpxFit *fit)
{
	KpxLinkPlan plan = {.kind = fit->data->users < fit->data->items ? KPX_LINK_EASE_DUAL : KPX_LINK_EASE,
						.keep = (uint32) kpx_param(fit->params, "neighbours"),
						.regularization = kpx_param(fit->params, "regularization")};

	kpx_links_fit(fit, &kpx_ease, &plan, NULL, 0);
}

const KpxAlgorithm kpx_ease = {"ease", specs, false, fit, kpx_links_shape, kpx_links_open, kpx_links_fold_in,
							   kpx_links_scores, NULL, kpx_links_contributions, kpx_links_similar, NULL};
