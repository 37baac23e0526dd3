/*
 * itemknn.c
 *	  Algorithm "itemknn": nearest neighbours of core/itemknn.h.
 */
#include "links.h"

static const char *const weightings[] = {"cosine", "tfidf", "bm25", NULL};

static const KpxParamSpec specs[] = {
	{"weighting", KPX_PARAM_CHOICE, 0, 0, 0, weightings},
	{"neighbours", KPX_PARAM_INT, 100, 0, 100000, NULL, 30, 500},
	{"shrinkage", KPX_PARAM_FLOAT, 5, 0, 1e6, NULL, 0.1, 100},
	{"asymmetry", KPX_PARAM_FLOAT, 0.5, 0, 1, NULL, 0.1, 0.6},
	{"k1", KPX_PARAM_FLOAT, 1.2, 0, 1000, NULL, 0.5, 5},
	{"b", KPX_PARAM_FLOAT, 0.75, 0, 1, NULL, 0.1, 0.9},
	{NULL},
};

static void
fit(KpxFit *fit)
{
	KpxLinkPlan plan = {.kind = KPX_LINK_KNN,
						.keep = (uint32) kpx_param(fit->params, "neighbours"),
						.weighting = (int) kpx_param(fit->params, "weighting"),
						.k1 = kpx_param(fit->params, "k1"),
						.b = kpx_param(fit->params, "b"),
						.asymmetry = kpx_param(fit->params, "asymmetry"),
						.shrinkage = kpx_param(fit->params, "shrinkage")};

	kpx_links_fit(fit, &kpx_itemknn, &plan, NULL, 0);
}

const KpxAlgorithm kpx_itemknn = {"itemknn", specs, false, fit, kpx_links_shape, kpx_links_open, kpx_links_fold_in,
								  kpx_links_scores, NULL, kpx_links_contributions, kpx_links_similar, NULL};
