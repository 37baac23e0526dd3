/*
 * hybrid.c
 *	  Algorithm "hybrid": behaviour, content and popularity blended, with a place for new items.
 *
 * Part 0 is this one, part 1 implicit ALS over all items, part 2 their content. Items without
 * events at training, or that came later (kpx_refresh_items), are cold: their factors are
 * what the ridge map makes of their content (core/ridge.h), and their scores are weighed apart.
 *
 * Numbers: modules, p and d of the map, its penalty, slope and r2. Arrays: weights (modules x
 * 6), map ((p + 2) x d), cold (items).
 */
#include "hybrid.h"

#include <math.h>

#include "content.h"
#include "core/blend.h"
#include "core/ridge.h"
#include "core/topk.h"

enum
{
	MODULES,
	CONTENT_DIM,
	FACTORS,
	LAMBDA,
	SLOPE,
	R2,
	N_NUMBERS
};

static const KpxParamSpec specs[] = {
	{"factors", KPX_PARAM_INT, 64, 1, KPX_MAX_FACTORS},
	{"iterations", KPX_PARAM_INT, 12, 1, 1000},
	{"regularization", KPX_PARAM_FLOAT, 0.02, 1e-6, 1e6},
	{"unobserved_weight", KPX_PARAM_FLOAT, 0.02, 1e-6, 1e3},
	{"tolerance", KPX_PARAM_FLOAT, 0, 0, 1},
	KPX_CONTENT_PARAMS,
	{"weights", KPX_PARAM_JSON},
	{NULL},
};

/* What the functions below need of a user. */
typedef struct Taste
{
	void *behaviour; /* or NULL */
	void *content; /* or NULL */
} Taste;

typedef struct Derived
{
	KpxBlend *blends; /* by module */
	const uint8 *cold; /* [items] */
	float *popularity; /* [items]: kpx_blend_popularity */
} Derived;

static void
set_weights(KpxFit *fit, KpxBlend *blends)
{
	Jsonb *given = kpx_param_json(fit->params, "weights");
	const KpxParamSpec *all = fit->params->algorithm->params;

	if (given)
	{
		kpx_blend_parse(given, fit->model, blends);
		return;
	}
	kpx_blend_fit(fit, blends);
	for (int i = 0; all[i].name; i++)
		if (strcmp(all[i].name, "weights") == 0)
			fit->params->json[i] = kpx_blend_jsonb(fit->model, blends);
}

static void
fit(KpxFit *fit)
{
	KpxModel *model = fit->model;
	KpxFit sub = *fit;
	KpxBlend *blends = palloc0(sizeof(KpxBlend) * model->n_modules);
	uint32 *count = kpx_item_counts(fit->data);
	uint8 *cold = palloc0(Max(model->items, 1));
	KpxItemMap map;
	KpxPart *part;
	double number[N_NUMBERS];
	const float *content;
	int p;
	int d = 1;

	sub.part = KPX_HYBRID_CONTENT;
	kpx_content.fit(&sub);
	(void) kpx_content.open(model, KPX_HYBRID_CONTENT);
	set_weights(fit, blends);
	sub.part = KPX_HYBRID_BEHAVIOUR;
	kpx_ials.fit(&sub);
	(void) kpx_ials.open(model, KPX_HYBRID_BEHAVIOUR);
	(void) kpx_ials.vector(model, KPX_HYBRID_BEHAVIOUR, 0, &d);
	fit->iterations = sub.iterations;
	fit->loss = sub.loss;
	fit->workers = sub.workers;

	p = kpx_content_dim(model, KPX_HYBRID_CONTENT);
	content = kpx_content_vectors(model, KPX_HYBRID_CONTENT);
	for (uint32 i = 0; i < model->items; i++)
		cold[i] = count[i] == 0;
	map = kpx_item_map_fit(content, p, kpx_part_array(&model->part[KPX_HYBRID_BEHAVIOUR], "factors"), d, count, model->items);
	kpx_item_map_apply(&map, content, cold, model->items, kpx_part_array(&model->part[KPX_HYBRID_BEHAVIOUR], "factors"));
	number[MODULES] = model->n_modules;
	number[CONTENT_DIM] = p;
	number[FACTORS] = d;
	number[LAMBDA] = map.lambda;
	number[SLOPE] = map.slope;
	number[R2] = map.r2;
	part = kpx_part_add(fit, &kpx_hybrid, number, N_NUMBERS);
	memcpy(kpx_part_array(part, "weights"), blends, sizeof(KpxBlend) * model->n_modules);
	memcpy(kpx_part_array(part, "cold"), cold, model->items);
	for (int k = 0; k < p + 2; k++)
		memcpy((float *) kpx_part_array(part, "map") + (size_t) k * d, map.map + k * kpx_ld(d), sizeof(float) * d);
}

static bool
shape(const KpxModel *model, KpxPart *part)
{
	double p = part->number[CONTENT_DIM];
	double d = part->number[FACTORS];

	if (part->n_numbers != N_NUMBERS || part->number[MODULES] != model->n_modules || !(p >= 1 && p <= KPX_MAX_FACTORS) ||
		p != rint(p) || !(d >= 1 && d <= KPX_MAX_FACTORS) || d != rint(d))
		return false;
	return kpx_part_declare(part, "weights", KPX_BLOCK_FLOATS, (uint64) model->n_modules, 6) &&
		   kpx_part_declare(part, "map", KPX_BLOCK_FLOATS, (uint64) p + 2, (uint32) d) &&
		   kpx_part_declare(part, "cold", KPX_BLOCK_BYTES, model->items, 1);
}

static bool
open_part(KpxModel *model, int number)
{
	KpxPart *part = &model->part[number];
	Derived *derived = MemoryContextAllocZero(model->context, sizeof(Derived));

	/* The parts it blends must be there, whatever the tables say. */
	if (number != 0 || model->n_parts != 3 || model->part[KPX_HYBRID_BEHAVIOUR].algorithm != &kpx_ials ||
		model->part[KPX_HYBRID_CONTENT].algorithm != &kpx_content ||
		kpx_content_dim(model, KPX_HYBRID_CONTENT) != (int) part->number[CONTENT_DIM])
		return false;
	derived->blends = kpx_part_array(part, "weights");
	derived->cold = kpx_part_array(part, "cold");
	derived->popularity = kpx_alloc(model->context, Max(model->items, 1), sizeof(float));
	for (int m = 0; m < model->n_modules; m++)
	{
		const KpxModelModule *module = &model->modules[m];
		double most = 0;

		for (uint32 i = module->base; i < module->base + module->items; i++)
			most = Max(most, model->popularity[i] * (double) module->interactions);
		for (uint32 i = module->base; i < module->base + module->items; i++)
			derived->popularity[i] = kpx_blend_popularity(model->popularity[i] * (double) module->interactions, most);
	}
	part->derived = derived;
	return true;
}

void
kpx_hybrid_add_items(KpxModel *model, const uint32 *items, uint32 n)
{
	KpxPart *part = &model->part[0];
	int p = (int) part->number[CONTENT_DIM];
	int d = (int) part->number[FACTORS];
	float *map = kpx_alloc_aligned(CurrentMemoryContext, ((size_t) p + 2) * kpx_ld(d), sizeof(float));
	float *factors = kpx_part_array(&model->part[KPX_HYBRID_BEHAVIOUR], "factors");
	uint8 *cold = kpx_part_array(part, "cold");

	for (int k = 0; k < p + 2; k++)
		memcpy(map + k * kpx_ld(d), (float *) kpx_part_array(part, "map") + (size_t) k * d, sizeof(float) * d);
	for (uint32 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		cold[items[i]] = 1;
		kpx_ridge_predict(map, p, d, kpx_content_vectors(model, KPX_HYBRID_CONTENT) + items[i] * kpx_ld(p), factors + items[i] * kpx_ld(d));
	}
}

static void *
fold_in(const KpxModel *model, int part, const KpxHistory *history, KpxScratch *scratch)
{
	Taste *taste = palloc(sizeof(Taste));

	taste->behaviour = kpx_ials.fold_in(model, KPX_HYBRID_BEHAVIOUR, history, scratch);
	taste->content = kpx_content.fold_in(model, KPX_HYBRID_CONTENT, history, scratch);
	return taste->behaviour || taste->content ? taste : NULL;
}

/* Items begin .. end of one module. */
static void
score_module(const KpxModel *model, const Taste *taste, int m, uint32 begin, uint32 end, float *score)
{
	const Derived *derived = model->part[0].derived;
	float *content = taste->content ? kpx_alloc(CurrentMemoryContext, end - begin + 16, sizeof(float)) : NULL;

	if (taste->behaviour)
		kpx_ials.score(model, KPX_HYBRID_BEHAVIOUR, taste->behaviour, begin, end, score);
	if (content)
		kpx_content.score(model, KPX_HYBRID_CONTENT, taste->content, begin, end, content);
	kpx_blend_scores(derived->blends[m].warm, derived->blends[m].cold, taste->behaviour ? score : NULL, content,
					 derived->popularity + begin, derived->cold + begin, end - begin, score);
	if (content)
		pfree(content);
}

static void
score(const KpxModel *model, int part, const void *taste, uint32 begin, uint32 end, float *score)
{
	for (int m = 0; m < model->n_modules; m++)
	{
		const KpxModelModule *module = &model->modules[m];
		uint32 from = Max(begin, module->base);
		uint32 to = Min(end, module->base + module->items);

		if (from < to)
			score_module(model, taste, m, from, to, score + (from - begin));
	}
}

/* Popularity, and what is added for a new item, speak for no past item: they are spread evenly. */
static void
contributions(const KpxModel *model, int part, const void *state, const KpxHistory *history, uint32 item, double *contribution)
{
	const Derived *derived = model->part[0].derived;
	const Taste *taste = state;
	const KpxModelModule *module = model->modules;
	const KpxBlend *blend = derived->blends;
	const float *w;
	double *content = palloc0(sizeof(double) * Max(history->n, 1));
	double rest;

	while (item >= module->base + module->items)
	{
		module++;
		blend++;
	}
	w = derived->cold[item] ? blend->cold : blend->warm;
	rest = derived->cold[item] ? w[2] : w[2] * derived->popularity[item];
	memset(contribution, 0, sizeof(double) * history->n);
	if (taste->behaviour)
		kpx_ials.contributions(model, KPX_HYBRID_BEHAVIOUR, taste->behaviour, history, item, contribution);
	if (taste->content)
		kpx_content.contributions(model, KPX_HYBRID_CONTENT, taste->content, history, item, content);
	for (uint32 j = 0; j < history->n; j++)
		contribution[j] = w[0] * contribution[j] + w[1] * content[j] + rest / history->n;
	pfree(content);
}

/* As alike as behaviour and content say on average. */
static void
similar(const KpxModel *model, int part, uint32 item, uint32 begin, uint32 end, float *score)
{
	float *content = kpx_alloc(CurrentMemoryContext, end - begin + 16, sizeof(float));

	kpx_ials.similar(model, KPX_HYBRID_BEHAVIOUR, item, begin, end, score);
	kpx_content.similar(model, KPX_HYBRID_CONTENT, item, begin, end, content);
	kpx_mean_score(score, content, end - begin);
	pfree(content);
}

static const float *
vector(const KpxModel *model, int part, uint32 item, int *length)
{
	return kpx_ials.vector(model, KPX_HYBRID_BEHAVIOUR, item, length);
}

const KpxAlgorithm kpx_hybrid = {"hybrid", specs, false, fit, shape, open_part, fold_in, score, NULL,
								 contributions, similar, vector, true, kpx_content_of};
