/*
 * hybrid.c
 *	  Algorithm "hybrid": several methods and popularity blended, with a place for new items.
 *
 * Part 0 is this one, part 1 implicit ALS over all items, further parts the other methods that
 * take part (hybrid.h). Items without events at training, or that came later (kpx_refresh_items),
 * are cold: their factors are what the ridge map makes of their content (core/ridge.h), and
 * their scores are weighed apart.
 *
 * Numbers: modules, p (0 = no content) and d of the map, its penalty, slope and r2. Arrays:
 * weights (modules x KPX_BLEND_SCORES), map ((p + 2) x d), cold (items).
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
	{"factors", KPX_PARAM_INT, 64, 1, KPX_MAX_FACTORS, NULL, 32, 128},
	{"iterations", KPX_PARAM_INT, 12, 1, 1000},
	{"regularization", KPX_PARAM_FLOAT, 0.02, 1e-6, 1e6, NULL, 0.003, 0.1},
	{"unobserved_weight", KPX_PARAM_FLOAT, 0.02, 1e-6, 1e3, NULL, 0.003, 0.1},
	{"tolerance", KPX_PARAM_FLOAT, 0, 0, 1},
	KPX_CONTENT_PARAMS,
	{"itemknn", KPX_PARAM_JSON},
	{"ease", KPX_PARAM_JSON},
	{"rules", KPX_PARAM_JSON},
	{"transition", KPX_PARAM_JSON},
	{"weights", KPX_PARAM_JSON},
	{NULL},
};

/* What the functions below need of a user: tastes of the methods, NULL where one is not asked or knows nothing. */
typedef struct Tastes
{
	void *of[KPX_VOICES];
} Tastes;

typedef struct Derived
{
	KpxBlend *blends; /* by module */
	int part[KPX_VOICES]; /* -1 = left out */
	bool heard[KPX_VOICES]; /* some module gives it a weight */
	const uint8 *cold; /* [items] */
	float *popularity; /* [items]: kpx_blend_popularity */
} Derived;

/* ------------------------------------------------------------ training */

void
kpx_voices_fit(KpxFit *fit, const KpxVoicePlan *plan, int begin, int end)
{
	for (int v = begin; v < end; v++)
	{
		KpxFit sub = *fit;

		if (plan[v].part < 0)
			continue;
		sub.part = plan[v].part;
		sub.params = plan[v].params;
		kpx_voice_algorithm[v]->fit(&sub);
		(void) kpx_voice_algorithm[v]->open(fit->model, plan[v].part);
		if (v == KPX_VOICE_IALS)
		{
			fit->iterations = sub.iterations;
			fit->loss = sub.loss;
			fit->losses = sub.losses;
			fit->n_losses = sub.n_losses;
		}
		fit->workers = Max(fit->workers, sub.workers);
	}
}

static void
set_weights(KpxFit *fit, const KpxVoicePlan *plan, KpxBlend *blends)
{
	Jsonb *given = kpx_param_json(fit->params, "weights");
	const KpxParamSpec *all = fit->params->algorithm->params;

	if (given)
	{
		kpx_blend_parse(given, fit->model, plan, blends);
		return;
	}
	kpx_blend_fit(fit, plan, blends);
	for (int i = 0; all[i].name; i++)
		if (strcmp(all[i].name, "weights") == 0)
			fit->params->json[i] = kpx_blend_jsonb(fit->model, plan, blends);
}

/* The part of its own, once those of the methods are there. */
static void
make_part(KpxFit *fit, const KpxVoicePlan *plan, const KpxBlend *blends)
{
	KpxModel *model = fit->model;
	uint32 *count = kpx_item_counts(fit->data);
	uint8 *cold = kpx_alloc_aligned(CurrentMemoryContext, model->items, 1);
	float *factors = kpx_part_array(&model->part[plan[KPX_VOICE_IALS].part], "factors");
	KpxItemMap map = {0};
	KpxPart *part;
	int d = 1;

	(void) kpx_ials.vector(model, plan[KPX_VOICE_IALS].part, 0, &d);
	for (uint32 i = 0; i < model->items; i++)
		cold[i] = count[i] == 0;
	if (plan[KPX_VOICE_CONTENT].part >= 0)
	{
		const float *content = kpx_content_vectors(model, plan[KPX_VOICE_CONTENT].part);

		map = kpx_item_map_fit(content, kpx_content_dim(model, plan[KPX_VOICE_CONTENT].part), factors, d, count, model->items);
		kpx_item_map_apply(&map, content, cold, model->items, factors);
	}
	part = kpx_part_add(fit, &kpx_hybrid, (const double[]){model->n_modules, map.p, d, map.lambda, map.slope, map.r2}, N_NUMBERS);
	for (int m = 0; m < model->n_modules; m++)
	{
		KpxBlend blend = blends[m];

		for (int k = 0; k < KPX_BLEND_SCORES; k++)
			((float *) kpx_part_array(part, "weights"))[m * KPX_BLEND_SCORES + k] = *kpx_blend_weight(&blend, k);
	}
	memcpy(kpx_part_array(part, "cold"), cold, model->items);
	for (int k = 0; k < map.p + 2 && map.p > 0; k++)
		memcpy((float *) kpx_part_array(part, "map") + (size_t) k * d, map.map + k * kpx_ld(d), sizeof(float) * d);
}

/* Unlike algorithm "content" it can do without. */
static KpxContent *
read_content(const KpxData *data, const KpxParams *params)
{
	return kpx_any_content(data) ? kpx_content_of(data, params) : NULL;
}

static void
fit(KpxFit *fit)
{
	KpxBlend *blends = palloc0(sizeof(KpxBlend) * fit->model->n_modules);
	KpxVoicePlan plan[KPX_VOICES];

	kpx_voices_plan(fit, plan);
	/* Content knows nothing of events: it is made once, and used for fitting the weights, too. */
	kpx_voices_fit(fit, plan, KPX_VOICE_CONTENT, KPX_VOICES);
	set_weights(fit, plan, blends);
	kpx_voices_fit(fit, plan, 0, KPX_VOICE_CONTENT);
	make_part(fit, plan, blends);
}

/* ------------------------------------------------------------ the model's functions */

static bool
shape(const KpxModel *model, KpxPart *part)
{
	double p = part->number[CONTENT_DIM];
	double d = part->number[FACTORS];

	if (part->n_numbers != N_NUMBERS || part->number[MODULES] != model->n_modules || !(p >= 0 && p <= KPX_MAX_FACTORS) ||
		p != rint(p) || !(d >= 1 && d <= KPX_MAX_FACTORS) || d != rint(d))
		return false;
	return kpx_part_declare(part, "weights", KPX_BLOCK_FLOATS, (uint64) model->n_modules, KPX_BLEND_SCORES) &&
		   kpx_part_declare(part, "map", KPX_BLOCK_FLOATS, (uint64) p + 2, (uint32) d) &&
		   kpx_part_declare(part, "cold", KPX_BLOCK_BYTES, model->items, 1);
}

/* Which part is which method; false when a part is none, or one is there twice. */
static bool
find_voices(const KpxModel *model, Derived *derived)
{
	for (int v = 0; v < KPX_VOICES; v++)
		derived->part[v] = -1;
	for (int p = 1; p < model->n_parts; p++)
	{
		int v = 0;

		while (v < KPX_VOICES && model->part[p].algorithm != kpx_voice_algorithm[v])
			v++;
		if (v == KPX_VOICES || derived->part[v] >= 0)
			return false;
		derived->part[v] = p;
	}
	return derived->part[KPX_VOICE_IALS] >= 0;
}

static void
read_weights(const KpxModel *model, const float *weights, Derived *derived)
{
	derived->blends = MemoryContextAllocZero(model->context, sizeof(KpxBlend) * Max(model->n_modules, 1));
	for (int m = 0; m < model->n_modules; m++)
	{
		KpxBlend *blend = &derived->blends[m];

		for (int k = 0; k < KPX_BLEND_SCORES; k++)
			*kpx_blend_weight(blend, k) = weights[m * KPX_BLEND_SCORES + k];
		for (int v = 0; v < KPX_VOICES; v++)
			derived->heard[v] = derived->heard[v] || (derived->part[v] >= 0 && (blend->warm[v] != 0 || kpx_blend_cold(blend, v) != 0));
	}
}

static bool
open_part(KpxModel *model, int number)
{
	KpxPart *part = &model->part[number];
	Derived *derived = MemoryContextAllocZero(model->context, sizeof(Derived));
	int content;

	/* The parts it blends must be there, whatever the tables say. */
	if (number != 0 || !find_voices(model, derived))
		return false;
	content = derived->part[KPX_VOICE_CONTENT];
	if ((content >= 0 ? kpx_content_dim(model, content) : 0) != (int) part->number[CONTENT_DIM])
		return false;
	read_weights(model, kpx_part_array(part, "weights"), derived);
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
	float *factors = kpx_part_array(&model->part[kpx_behaviour_part(model)], "factors");
	const float *content = kpx_content_vectors(model, kpx_content_part(model));
	uint8 *cold = kpx_part_array(part, "cold");

	for (int k = 0; k < p + 2; k++)
		memcpy(map + k * kpx_ld(d), (float *) kpx_part_array(part, "map") + (size_t) k * d, sizeof(float) * d);
	for (uint32 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		cold[items[i]] = 1;
		kpx_ridge_predict(map, p, d, content + items[i] * kpx_ld(p), factors + items[i] * kpx_ld(d));
	}
}

static void *
fold_in(const KpxModel *model, int part, const KpxHistory *history, KpxScratch *scratch)
{
	const Derived *derived = model->part[0].derived;
	Tastes *tastes;

	if (history->n == 0)
		return NULL;
	/* Of a history that no method knows anything about popularity is left, and what new items are given. */
	tastes = palloc0(sizeof(Tastes));
	for (int v = 0; v < KPX_VOICES; v++)
		if (derived->heard[v])
			tastes->of[v] = kpx_voice_algorithm[v]->fold_in(model, derived->part[v], history, scratch);
	return tastes;
}

/* Scores of a method for n users, user u's at to[u * ld]; NaN for those it knows nothing of. */
static void
score_voice(const KpxModel *model, int voice, void *const *taste, int n, uint32 begin, uint32 end, float *to)
{
	const KpxAlgorithm *algorithm = kpx_voice_algorithm[voice];
	int part = ((const Derived *) model->part[0].derived)->part[voice];
	size_t ld = end - begin;
	void **known = palloc(sizeof(void *) * n);
	int k = 0;

	for (int u = 0; u < n; u++)
		if (taste[u])
			known[k++] = taste[u];
	if (k == n && algorithm->score_batch)
		algorithm->score_batch(model, part, known, n, begin, end, to);
	else
		for (int u = 0; u < n; u++)
		{
			if (taste[u])
				algorithm->score(model, part, taste[u], begin, end, to + u * ld);
			for (size_t i = 0; i < ld && taste[u] == NULL; i++)
				to[u * ld + i] = NAN;
		}
	pfree(known);
}

/* Items begin .. end of one module for n users, user u's scores at to[u * ld]. */
static void
score_module(const KpxModel *model, void *const *tastes, int n, int m, uint32 begin, uint32 end, float *to, size_t ld)
{
	const Derived *derived = model->part[0].derived;
	const KpxBlend *blend = &derived->blends[m];
	size_t items = end - begin;
	float *own = kpx_alloc(CurrentMemoryContext, items * n + 16, sizeof(float));
	void **taste = palloc(sizeof(void *) * n);

	for (int u = 0; u < n; u++)
		kpx_blend_begin(derived->popularity + begin, blend->warm[KPX_VOICES], blend->cold[2], derived->cold + begin, items, to + u * ld);
	for (int v = 0; v < KPX_VOICES; v++)
	{
		if (blend->warm[v] == 0 && kpx_blend_cold(blend, v) == 0)
			continue;
		for (int u = 0; u < n; u++)
			taste[u] = ((const Tastes *) tastes[u])->of[v];
		score_voice(model, v, taste, n, begin, end, own);
		for (int u = 0; u < n; u++)
			kpx_blend_add(own + u * items, blend->warm[v], kpx_blend_cold(blend, v), derived->cold + begin, items, to + u * ld);
	}
	pfree(taste);
	pfree(own);
}

static void
score_batch(const KpxModel *model, int part, void *const *tastes, int n, uint32 begin, uint32 end, float *score)
{
	for (int m = 0; m < model->n_modules; m++)
	{
		const KpxModelModule *module = &model->modules[m];
		uint32 from = Max(begin, module->base);
		uint32 to = Min(end, module->base + module->items);

		if (from < to)
			score_module(model, tastes, n, m, from, to, score + (from - begin), end - begin);
	}
}

static void
score(const KpxModel *model, int part, const void *taste, uint32 begin, uint32 end, float *score)
{
	void *tastes[] = {(void *) taste};

	score_batch(model, part, tastes, 1, begin, end, score);
}

/* Popularity, and what is added for a new item, speak for no past item: they are spread evenly. */
static void
contributions(const KpxModel *model, int part, const void *taste, const KpxHistory *history, uint32 item, double *contribution)
{
	const Derived *derived = model->part[0].derived;
	const Tastes *tastes = taste;
	const KpxModelModule *module = model->modules;
	const KpxBlend *blend = derived->blends;
	double *own = palloc0(sizeof(double) * Max(history->n, 1));
	bool cold = derived->cold[item];

	while (item >= module->base + module->items)
	{
		module++;
		blend++;
	}
	for (uint32 j = 0; j < history->n; j++)
		contribution[j] = (cold ? blend->cold[2] : blend->warm[KPX_VOICES] * derived->popularity[item]) / history->n;
	for (int v = 0; v < KPX_VOICES; v++)
	{
		double weight = cold ? kpx_blend_cold(blend, v) : blend->warm[v];

		if (tastes->of[v] == NULL || weight == 0)
			continue;
		kpx_voice_algorithm[v]->contributions(model, derived->part[v], tastes->of[v], history, item, own);
		for (uint32 j = 0; j < history->n; j++)
			contribution[j] += weight * own[j];
	}
	pfree(own);
}

/* As alike as behaviour and content say on average. */
static void
similar(const KpxModel *model, int part, uint32 item, uint32 begin, uint32 end, float *score)
{
	const Derived *derived = model->part[0].derived;
	float *content;

	kpx_ials.similar(model, derived->part[KPX_VOICE_IALS], item, begin, end, score);
	if (derived->part[KPX_VOICE_CONTENT] < 0)
		return;
	content = kpx_alloc(CurrentMemoryContext, end - begin + 16, sizeof(float));
	kpx_content.similar(model, derived->part[KPX_VOICE_CONTENT], item, begin, end, content);
	kpx_mean_score(score, content, end - begin);
	pfree(content);
}

static const float *
vector(const KpxModel *model, int part, uint32 item, int *length)
{
	return kpx_ials.vector(model, kpx_behaviour_part(model), item, length);
}

const KpxAlgorithm kpx_hybrid = {"hybrid", specs, false, fit, shape, open_part, fold_in, score, score_batch,
								 contributions, similar, vector, true, read_content};
