/*
 * hybrid_fit.c
 *	  Weights of a hybrid model's scores, from interactions held out of a training of its own.
 *
 * Some users' random interaction and all interactions with a tenth of the items are held out,
 * the behaviour part is trained on the rest, and the items nobody has touched then get their
 * factors from the ridge map: what the weights are fitted on is what the model will meet. Each
 * held-out interaction makes a list: the item chosen and others that the user may be shown.
 *
 * A blend that does not rank clearly better than the best of its parts alone gives way to it: both
 * are judged on the same lists, the blend by cross-fitting, so that it is not judged on what it was
 * fitted on.
 */
#include "hybrid.h"

#include <math.h>

#include "content.h"
#include "core/blend.h"
#include "core/ingest.h"
#include "core/ridge.h"
#include "core/rng.h"
#include "hybrid_lists.h"

#define SCORES KPX_BLEND_SCORES
#define PARTS (KPX_VOICES + 1) /* the methods, then popularity: the first scores */
#define NEW PARTS /* scores of new items: ials, content, being new */
#define IS_NEW (SCORES - 1)
#define FEWEST_LISTS 100 /* fewer say less than the prior does */
#define FOLDS 5
#define DEPTH 10 /* of the NDCG that the blend and its parts are judged by */

/* ------------------------------------------------------------ the map */

uint32 *
kpx_item_counts(const KpxData *data)
{
	uint32 *count = kpx_alloc_aligned(CurrentMemoryContext, data->items, sizeof(uint32));

	for (uint64 j = 0; j < data->offset[data->users]; j++)
	{
		if (j % 1000000 == 0)
			CHECK_FOR_INTERRUPTS();
		if (data->weight[j] > 0)
			count[KPX_ITEM(data->index[j])]++;
	}
	return count;
}

KpxItemMap
kpx_item_map_fit(const float *content, int p, const float *factors, int d, const uint32 *count, uint32 items)
{
	KpxItemMap map = {.p = p, .d = d, .map = kpx_alloc_aligned(CurrentMemoryContext, ((size_t) p + 2) * kpx_ld(d), sizeof(float))};
	KpxRidge ridge = {.p = p, .d = d, .workspace = kpx_alloc_aligned(CurrentMemoryContext, kpx_ridge_workspace_size(p, d), 1)};
	float *weight = kpx_alloc(CurrentMemoryContext, Max(items, 1), sizeof(float));
	KpxStatus status;

	/* Factors of items with few interactions are drawn to 0 themselves and say less. */
	for (uint32 i = 0; i < items; i++)
		weight[i] = (float) count[i] / (count[i] + 5.0f);
	(void) kpx_ridge_begin(&ridge);
	for (uint32 i = 0; i < items; i += KPX_RIDGE_TILE)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_ridge_add(&ridge, content, factors, weight, i, Min(i + KPX_RIDGE_TILE, items));
	}
	while ((status = kpx_ridge_factor(&ridge)) == KPX_MORE)
		CHECK_FOR_INTERRUPTS();
	if (status == KPX_BAD_ARGUMENT) /* no item has an event: nothing is known, all is zero */
		return map;
	if (status != KPX_OK)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("the items' factors or content are too extreme")));
	for (uint32 i = 0; i < items; i += KPX_RIDGE_TILE)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_ridge_check(&ridge, content, factors, weight, i, Min(i + KPX_RIDGE_TILE, items));
	}
	kpx_ridge_finish(&ridge, map.map);
	map.lambda = ridge.lambda;
	map.slope = ridge.slope;
	map.r2 = ridge.r2;
	return map;
}

void
kpx_item_map_apply(const KpxItemMap *map, const float *content, const uint8 *cold, uint32 items, float *factors)
{
	for (uint32 i = 0; i < items; i++)
	{
		if (i % 256 == 0)
			CHECK_FOR_INTERRUPTS();
		if (cold[i])
			kpx_ridge_predict(map->map, map->p, map->d, content + i * kpx_ld(map->p), factors + i * kpx_ld(map->d));
	}
}

/* ------------------------------------------------------------ the weights */

/* Columns of lists divided by their deviation, which goes to scale. */
static void
standardize(KpxLists *l, double *scale, bool *silent)
{
	size_t n = (size_t) l->offset[l->lists];

	for (int k = 0; k < SCORES; k++)
	{
		double square = 0;
		size_t used = 0;

		for (size_t c = 0; c < n; c++)
		{
			square += (double) l->score[c * SCORES + k] * l->score[c * SCORES + k];
			used += l->score[c * SCORES + k] != 0;
		}
		silent[k] = square == 0;
		scale[k] = k == IS_NEW || square == 0 ? 1 : sqrt(square / used);
		for (size_t c = 0; c < n; c++)
			l->score[c * SCORES + k] = (float) (l->score[c * SCORES + k] / scale[k]);
	}
}

/* Where a weight is drawn to that the lists say little about, of scores divided by their deviation. */
static const double prior[SCORES] = {[KPX_VOICE_IALS] = 1, [KPX_VOICE_ITEMKNN] = 0.5, [KPX_VOICE_CONTENT] = 0.5, [KPX_VOICES] = 0.2, [NEW] = 1, [NEW + 1] = 0.5};

/*
 * Minimises the loss of all lists but every FOLDS-th from left_out (-1: none) by Newton steps from start; weights that
 * would be negative (but the last) are held at 0.
 */
static void
minimise(const KpxLists *l, const bool *silent, int left_out, const double *start, double *beta)
{
	KpxBlendLists lists = {SCORES, l->lists, l->offset, l->score};
	bool at_zero[SCORES];

	memcpy(at_zero, silent, sizeof(at_zero));
	for (int k = 0; k < SCORES; k++)
		beta[k] = at_zero[k] ? 0 : start[k];
	for (int step = 0; step < 40; step++)
	{
		double gradient[SCORES] = {0};
		double hessian[SCORES * SCORES] = {0};
		double move[SCORES];
		double largest = 0;

		for (size_t i = 0; i < l->lists; i++)
		{
			if (i % 100 == 0)
				CHECK_FOR_INTERRUPTS();
			if ((int) (i % FOLDS) != left_out)
				(void) kpx_blend_loss(&lists, i, i + 1, beta, gradient, hessian);
		}
		for (int k = 0; k < SCORES; k++)
			for (int j = 0; j < SCORES && at_zero[k]; j++)
				hessian[k * SCORES + j] = hessian[j * SCORES + k] = 0;
		if (!kpx_blend_step(SCORES, beta, gradient, hessian, 2.0, prior, move))
			return;
		for (int k = 0; k < SCORES; k++)
		{
			move[k] = at_zero[k] ? 0 : fmax(-2, fmin(2, move[k]));
			largest = fmax(largest, fabs(move[k]));
			beta[k] += move[k];
			if (k != IS_NEW && beta[k] < 0)
			{
				beta[k] = 0;
				at_zero[k] = true;
			}
		}
		if (largest < 1e-4)
			return;
	}
}

/* Whether list i's chosen item is a new one. */
static bool
chosen_is_new(const KpxLists *l, size_t i)
{
	return l->score[l->offset[i] * SCORES + IS_NEW] != 0;
}

/*
 * Which part ranks so well that the blend gives way to it, or -1. Judged on items with events, chosen and not: new ones
 * are a tenth of what was held out, far more than of what people take, and their place among the others would decide.
 */
static int
best_alone(const KpxLists *l, const bool *silent, const double *beta)
{
	KpxBlendLists lists = {SCORES, l->lists, l->offset, l->score};
	float *value = kpx_alloc(CurrentMemoryContext, Max(l->lists, 1) * (1 + PARTS), sizeof(float));
	double fold[FOLDS][SCORES];
	double part[PARTS][SCORES] = {{0}};
	int number[PARTS];
	int parts = 0;
	size_t warm = 0;
	size_t n = 0;
	int best;

	for (size_t i = 0; i < l->lists; i++)
		warm += !chosen_is_new(l, i);
	if (warm < FEWEST_LISTS)
		return -1;
	for (int f = 0; f < FOLDS; f++)
		minimise(l, silent, f, beta, fold[f]); /* which is near by */
	for (int k = 0; k < PARTS; k++)
		if (!silent[k])
		{
			part[parts][k] = 1;
			number[parts++] = k;
		}
	for (size_t i = 0; i < l->lists; i++)
	{
		if (i % 100 == 0)
			CHECK_FOR_INTERRUPTS();
		if (chosen_is_new(l, i))
			continue;
		kpx_blend_ndcg(&lists, i, i + 1, fold[i % FOLDS], DEPTH, IS_NEW, &value[n]);
		for (int k = 0; k < parts; k++)
			kpx_blend_ndcg(&lists, i, i + 1, part[k], DEPTH, IS_NEW, &value[((size_t) k + 1) * warm + n]);
		n++;
	}
	best = kpx_blend_gives_way(value, warm, parts);
	return best < 0 ? -1 : number[best];
}

/* The fitted weights, or those of one part and of new items beside it. */
static void
fit_weights(KpxLists *l, const char *module, KpxBlend *blend)
{
	bool silent[SCORES];
	double scale[SCORES];
	double beta[SCORES];
	int alone;

	standardize(l, scale, silent);
	minimise(l, silent, -1, prior, beta);
	alone = best_alone(l, silent, beta);
	if (alone >= 0)
	{
		elog(DEBUG1, "module \"%s\": %s alone ranks held-out interactions as well as the blend", module, kpx_blend_key(alone));
		for (int k = 0; k < PARTS; k++)
			silent[k] = silent[k] || k != alone;
		minimise(l, silent, -1, prior, beta);
		if (!(beta[alone] > 0))
			beta[alone] = 1;
	}
	for (int k = 0; k < SCORES; k++)
		*kpx_blend_weight(blend, k) = (float) (beta[k] / scale[k]);
}

/* Factors of the items that were held out, from the content that part of model has. */
static void
predict_cold(KpxFit *fit, const KpxVoicePlan *plan, const KpxModel *model, const uint8 *cold)
{
	float *factors = kpx_part_array(&fit->model->part[plan[KPX_VOICE_IALS].part], "factors");
	int content = plan[KPX_VOICE_CONTENT].part;
	KpxItemMap map;
	int d;

	if (content < 0)
		return;
	(void) kpx_ials.vector(fit->model, plan[KPX_VOICE_IALS].part, 0, &d);
	map = kpx_item_map_fit(kpx_content_vectors(model, content), kpx_content_dim(model, content), factors, d,
						   kpx_item_counts(fit->data), fit->data->items);
	kpx_item_map_apply(&map, kpx_content_vectors(model, content), cold, fit->data->items, factors);
}

void
kpx_blend_fit(KpxFit *fit, const KpxVoicePlan *plan, KpxBlend *blends)
{
	MemoryContext result = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(result, "kpxrec blend", ALLOCSET_DEFAULT_SIZES);
	MemoryContext module = AllocSetContextCreate(work, "kpxrec blend of a module", ALLOCSET_DEFAULT_SIZES);
	KpxHolder h = {.data = fit->data};
	KpxFit sub = *fit;
	uint64 seed = kpx_mix64((uint64) fit->params->seed + 77);

	MemoryContextSwitchTo(work);
	kpx_holder_fill(&h, seed);
	sub.data = &h.rest;
	sub.model = kpx_model_of(&h.rest, fit->params);
	kpx_voices_fit(&sub, plan, 0, KPX_VOICE_CONTENT);
	predict_cold(&sub, plan, fit->model, h.cold);
	for (int m = 0; m < fit->data->n_modules; m++)
	{
		KpxLists l = {.trained = sub.model, .holder = &h, .m = m};

		for (int v = 0; v < KPX_VOICES; v++)
		{
			l.part[v] = plan[v].part;
			l.of[v] = plan[v].part < 0 ? NULL : v == KPX_VOICE_CONTENT ? fit->model
																	   : sub.model;
		}
		MemoryContextSwitchTo(module);
		kpx_lists_make(&l);
		fit_weights(&l, fit->model->modules[m].name, &blends[m]);
		MemoryContextReset(module);
	}
	MemoryContextSwitchTo(result);
	MemoryContextDelete(work);
}
