/*
 * hybrid_fit.c
 *	  Weights of a hybrid model's scores, from interactions held out of a training of its own.
 *
 * Some users' random interaction and all interactions with a tenth of the items are held out,
 * the behaviour part is trained on the rest, and the items nobody has touched then get their
 * factors from the ridge map: what the weights are fitted on is what the model will meet. Each
 * held-out interaction makes a list: the item chosen and others that the user may be shown.
 *
 * A blend that ranks worse than one of its parts alone gives way to it: both are judged on the
 * same lists, the blend by cross-fitting, so that it is not judged on what it was fitted on.
 */
#include "hybrid.h"

#include <math.h>

#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "content.h"
#include "core/blend.h"
#include "core/ingest.h"
#include "core/ridge.h"
#include "core/rng.h"

#define LISTS_A_MODULE 3000
#define CANDIDATES 100 /* of a list, the chosen one first */
#define COLD_SHARE 0.1
#define SCORES 6
#define PARTS 3 /* behaviour, content, popularity */
#define FOLDS 5
#define DEPTH 10 /* of the NDCG that the blend and its parts are judged by */

static const char *const blend_keys[] = {"behaviour", "content", "popularity", "new_behaviour", "new_content", "new"};

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

/* ------------------------------------------------------------ what is held out */

typedef struct HeldOut
{
	uint32 user;
	uint32 item;
} HeldOut;

typedef struct Holder
{
	const KpxData *data;
	KpxData rest; /* data without what is held out */
	uint8 *cold; /* [items] */
	HeldOut *pair; /* by module, then user */
	size_t *begin; /* [n_modules + 1] */
} Holder;

static uint64
module_entries(const KpxData *data, uint32 user, int m, uint64 *first)
{
	uint64 begin = data->offset[user];
	uint64 end = data->offset[user + 1];

	while (begin < end && KPX_ITEM(data->index[begin]) < data->item_base[m])
		begin++;
	*first = begin;
	while (begin < end && KPX_ITEM(data->index[begin]) < data->item_base[m + 1])
		begin++;
	return begin - *first;
}

/* The interaction of a user in a module that is held out, or -1: of as many users as make enough lists. */
static int64
held_out(const Holder *h, uint32 user, int m, uint64 seed)
{
	uint64 first;
	uint64 n = module_entries(h->data, user, m, &first);

	if (n < 2 || kpx_uniform(seed, (uint64) m + 1, user) > (double) LISTS_A_MODULE / Max(h->data->module_users[m], 1))
		return -1;
	return (int64) (first + kpx_random(seed, (uint64) m + 1000, user) % n);
}

static void
hold_out(Holder *h, uint64 seed)
{
	const KpxData *data = h->data;
	uint64 n = data->offset[data->users];
	size_t pairs = 0;

	h->rest = *data;
	h->rest.offset = kpx_alloc(CurrentMemoryContext, (size_t) data->users + 1, sizeof(uint64));
	h->rest.index = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(uint32));
	h->rest.weight = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(float));
	h->rest.time = NULL;
	h->rest.module_interactions = palloc(sizeof(uint64) * data->n_modules);
	h->rest.module_users = palloc(sizeof(uint64) * data->n_modules);
	h->cold = kpx_alloc_aligned(CurrentMemoryContext, data->items, 1);
	h->begin = palloc0(sizeof(size_t) * (data->n_modules + 1));
	h->pair = kpx_alloc(CurrentMemoryContext, (size_t) data->n_modules * Min((uint64) data->users, 4 * LISTS_A_MODULE) + 1, sizeof(HeldOut));
	for (uint32 i = 0; i < data->items; i++)
		h->cold[i] = kpx_uniform(seed, 0, i) < COLD_SHARE;
	for (int m = 0; m < data->n_modules; m++)
	{
		h->begin[m] = pairs;
		for (uint32 u = 0; u < data->users && pairs - h->begin[m] < 4 * LISTS_A_MODULE; u++)
		{
			int64 entry = held_out(h, u, m, seed);

			if (u % 4096 == 0)
				CHECK_FOR_INTERRUPTS();
			if (entry >= 0)
				h->pair[pairs++] = (HeldOut){u, KPX_ITEM(data->index[entry])};
		}
	}
	h->begin[data->n_modules] = pairs;
	n = 0;
	for (uint32 u = 0; u < data->users; u++)
	{
		if (u % 4096 == 0)
			CHECK_FOR_INTERRUPTS();
		h->rest.offset[u] = n;
		for (uint64 j = data->offset[u]; j < data->offset[u + 1]; j++)
		{
			uint32 item = KPX_ITEM(data->index[j]);
			int m = 0;

			while (item >= data->item_base[m + 1])
				m++;
			if (h->cold[item] || held_out(h, u, m, seed) == (int64) j)
				continue;
			h->rest.index[n] = data->index[j];
			h->rest.weight[n++] = data->weight[j];
		}
	}
	h->rest.offset[data->users] = n;
	kpx_data_count(&h->rest);
}

/* ------------------------------------------------------------ lists */

typedef struct Lists
{
	KpxModel *trained; /* on the rest; its part 0 is behaviour */
	const KpxModel *content; /* has part KPX_HYBRID_CONTENT */
	const Holder *holder;
	int m;
	double most; /* interactions of the module's most popular item */
	double usual; /* mean popularity, as scored, of its items that are not cold */
	double interactions;
	uint64 *offset;
	float *score;
	size_t lists;
	KpxScratch trained_scratch;
	KpxScratch content_scratch;
} Lists;

static void
put_candidate(Lists *l, uint32 item, const void *behaviour, const void *content, float *to)
{
	const KpxAlgorithm *by = l->trained->part[0].algorithm;
	float b = 0;
	float c = 0;
	bool cold = l->holder->cold[item];

	if (behaviour)
		by->score(l->trained, 0, behaviour, item, item + 1, &b);
	if (content)
		kpx_content.score(l->content, KPX_HYBRID_CONTENT, content, item, item + 1, &c);
	memset(to, 0, sizeof(float) * SCORES);
	to[cold ? 3 : 0] = b;
	to[cold ? 4 : 1] = c;
	if (cold)
		to[5] = 1;
	else
		to[2] = kpx_blend_popularity(l->trained->popularity[item] * l->interactions, l->most);
}

static double
usual_popularity(const Lists *l)
{
	const uint32 *base = l->holder->rest.item_base;
	double sum = 0;
	uint32 n = 0;

	for (uint32 i = base[l->m]; i < base[l->m + 1]; i++)
		if (!l->holder->cold[i])
		{
			sum += kpx_blend_popularity(l->trained->popularity[i] * l->interactions, l->most);
			n++;
		}
	return n ? sum / n : 0;
}

/* Where events do not hide, what the user has is shown again and must be outranked, too. */
static bool
hidden_from(const KpxData *data, uint32 user, uint32 item)
{
	for (uint64 j = data->offset[user]; j < data->offset[user + 1]; j++)
		if (data->index[j] == (item | KPX_HIDES))
			return true;
	return false;
}

/* One list; none when nothing is left of the user's history. */
static void
add_list(Lists *l, HeldOut pair, uint64 seed)
{
	const KpxData *rest = &l->holder->rest;
	uint32 base = rest->item_base[l->m];
	uint32 items = rest->item_base[l->m + 1] - base;
	KpxHistory history = {.n = (uint32) (rest->offset[pair.user + 1] - rest->offset[pair.user])};
	float *to = l->score + l->offset[l->lists] * SCORES;
	void *behaviour;
	void *content;
	size_t n = 1;

	history.index = palloc(sizeof(uint32) * Max(history.n, 1));
	history.weight = rest->weight + rest->offset[pair.user];
	for (uint32 j = 0; j < history.n; j++)
		history.index[j] = KPX_ITEM(rest->index[rest->offset[pair.user] + j]);
	behaviour = l->trained->part[0].algorithm->fold_in(l->trained, 0, &history, &l->trained_scratch);
	content = kpx_content.fold_in(l->content, KPX_HYBRID_CONTENT, &history, &l->content_scratch);
	if (behaviour == NULL && content == NULL)
		return;
	put_candidate(l, pair.item, behaviour, content, to);
	for (int draw = 0; draw < 2 * CANDIDATES && n < CANDIDATES; draw++)
	{
		uint32 item = base + (uint32) (kpx_random(seed, pair.user, (uint64) draw) % items);

		if (item != pair.item && !hidden_from(l->holder->data, pair.user, item))
			put_candidate(l, item, behaviour, content, to + n++ * SCORES);
	}
	l->lists++;
	l->offset[l->lists] = l->offset[l->lists - 1] + n;
}

/* Columns of lists divided by their deviation, which goes to scale. */
static void
standardize(Lists *l, double *scale)
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
		scale[k] = k == 5 || square == 0 ? 1 : sqrt(square / used);
		for (size_t c = 0; c < n; c++)
			l->score[c * SCORES + k] = (float) (l->score[c * SCORES + k] / scale[k]);
	}
}

/* Minimises the loss of all lists but every FOLDS-th from left_out (-1: none) by Newton steps; weights that would be negative (but the last) are held at 0. */
static void
minimise(const Lists *l, int left_out, double *beta)
{
	KpxBlendLists lists = {SCORES, l->lists, l->offset, l->score};
	const double prior[SCORES] = {1, 0.5, 0.2, 1, 0.5, 0};
	bool at_zero[SCORES] = {false};

	memcpy(beta, prior, sizeof(prior));
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
			if (k < 5 && beta[k] < 0)
			{
				beta[k] = 0;
				at_zero[k] = true;
			}
		}
		if (largest < 1e-7)
			return;
	}
}

/*
 * What a list's scores, divided by scale, are multiplied by to rank by one part alone, new items by the same
 * part: a new item's popularity is taken to be the mean, lest it never be shown.
 */
static void
alone(const Lists *l, int part, const double *scale, double *beta)
{
	memset(beta, 0, sizeof(double) * SCORES);
	beta[part] = scale[part];
	beta[part + 3] = part < 2 ? scale[part + 3] : l->usual;
}

/* The fitted weights, or those of the part that ranks the lists better alone, by more than a standard error. */
static void
fit_weights(const Lists *l, const char *module, const double *scale, double *beta)
{
	KpxBlendLists lists = {SCORES, l->lists, l->offset, l->score};
	float *value = kpx_alloc(CurrentMemoryContext, Max(l->lists, 1) * (1 + PARTS), sizeof(float));
	double fold[FOLDS][SCORES];
	double part[PARTS][SCORES];
	int better;

	for (int f = 0; f < FOLDS && l->lists > 1; f++)
		minimise(l, f, fold[f]);
	for (int k = 0; k < PARTS; k++)
		alone(l, k, scale, part[k]);
	for (size_t i = 0; i < l->lists; i++)
	{
		if (i % 100 == 0)
			CHECK_FOR_INTERRUPTS();
		kpx_blend_ndcg(&lists, i, i + 1, fold[i % FOLDS], DEPTH, &value[i]);
		for (int k = 0; k < PARTS; k++)
			kpx_blend_ndcg(&lists, i, i + 1, part[k], DEPTH, &value[((size_t) k + 1) * l->lists + i]);
	}
	better = kpx_blend_beaten_by(value, l->lists, PARTS);
	if (better < 0)
		minimise(l, -1, beta);
	else
	{
		memcpy(beta, part[better], sizeof(part[better]));
		elog(DEBUG1, "module \"%s\": %s alone ranks held-out interactions better than the blend", module, blend_keys[better]);
	}
	pfree(value);
}

void
kpx_blend_fit(KpxFit *fit, KpxBlend *blends)
{
	MemoryContext result = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(result, "kpxrec blend", ALLOCSET_DEFAULT_SIZES);
	Holder h = {.data = fit->data};
	KpxFit sub = *fit;
	KpxModel *trained;
	const float *content = kpx_content_vectors(fit->model, KPX_HYBRID_CONTENT);
	int p = kpx_content_dim(fit->model, KPX_HYBRID_CONTENT);
	uint64 seed = kpx_mix64((uint64) fit->params->seed + 77);
	KpxItemMap map;
	int d;

	MemoryContextSwitchTo(work);
	hold_out(&h, seed);
	trained = kpx_model_of(&h.rest, fit->params);
	sub.data = &h.rest;
	sub.model = trained;
	sub.part = 0;
	kpx_ials.fit(&sub);
	(void) kpx_ials.open(trained, 0);
	(void) kpx_ials.vector(trained, 0, 0, &d);
	map = kpx_item_map_fit(content, p, kpx_part_array(&trained->part[0], "factors"), d, kpx_item_counts(&h.rest), h.rest.items);
	kpx_item_map_apply(&map, content, h.cold, h.rest.items, kpx_part_array(&trained->part[0], "factors"));
	for (int m = 0; m < fit->data->n_modules; m++)
	{
		size_t most = h.begin[m + 1] - h.begin[m];
		Lists l = {.trained = trained, .content = fit->model, .holder = &h, .m = m};
		double scale[SCORES];
		double beta[SCORES];

		l.trained_scratch.context = l.content_scratch.context = work;
		l.interactions = (double) h.rest.module_interactions[m];
		for (uint32 i = h.rest.item_base[m]; i < h.rest.item_base[m + 1]; i++)
			l.most = Max(l.most, trained->popularity[i] * l.interactions);
		l.usual = usual_popularity(&l);
		l.offset = kpx_alloc(work, most + 1, sizeof(uint64));
		l.offset[0] = 0;
		l.score = kpx_alloc(work, Max(most, 1) * CANDIDATES * SCORES, sizeof(float));
		for (size_t i = h.begin[m]; i < h.begin[m + 1]; i++)
		{
			CHECK_FOR_INTERRUPTS();
			add_list(&l, h.pair[i], seed);
		}
		standardize(&l, scale);
		fit_weights(&l, fit->model->modules[m].name, scale, beta);
		for (int k = 0; k < 3; k++)
		{
			blends[m].warm[k] = (float) (beta[k] / scale[k]);
			blends[m].cold[k] = (float) (beta[k + 3] / scale[k + 3]);
		}
	}
	MemoryContextSwitchTo(result);
	MemoryContextDelete(work);
}

/* ------------------------------------------------------------ jsonb */

Jsonb *
kpx_blend_jsonb(const KpxModel *model, const KpxBlend *blends)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int m = 0; m < model->n_modules; m++)
	{
		if (m)
			appendStringInfoString(&json, ", ");
		escape_json(&json, model->modules[m].name);
		appendStringInfoString(&json, ": {");
		for (int k = 0; k < SCORES; k++)
			appendStringInfo(&json, "%s\"%s\": %.7g", k ? ", " : "", blend_keys[k], k < 3 ? blends[m].warm[k] : blends[m].cold[k - 3]);
		appendStringInfoChar(&json, '}');
	}
	appendStringInfoChar(&json, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}

static void
bad_weights(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("parameter \"weights\": %s", what),
			 errhint("Write {\"module\": {\"behaviour\": 1, \"content\": 1, \"popularity\": 0, \"new_behaviour\": 1, \"new_content\": 1, \"new\": 0}}, or leave it out to have them fitted.")));
}

static void
parse_blend(JsonbContainer *object, KpxBlend *blend)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbValue value;
	JsonbIteratorToken token;
	int k = SCORES;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		double number;

		if (token == WJB_KEY)
			for (k = 0; k < SCORES; k++)
				if (strlen(blend_keys[k]) == (size_t) value.val.string.len && memcmp(blend_keys[k], value.val.string.val, value.val.string.len) == 0)
					break;
		if (token != WJB_VALUE)
			continue;
		if (k == SCORES || value.type != jbvNumeric)
			bad_weights("a score is not known, or a weight not a number");
		number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value.val.numeric)));
		if (!(fabs(number) <= 1e6))
			bad_weights("a weight is out of range");
		if (k < 3)
			blend->warm[k] = (float) number;
		else
			blend->cold[k - 3] = (float) number;
	}
}

void
kpx_blend_parse(Jsonb *json, const KpxModel *model, KpxBlend *blends)
{
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;
	char *key = NULL;

	for (int m = 0; m < model->n_modules; m++)
		blends[m] = (KpxBlend){{1, 1, 0}, {1, 1, 0}};
	if (!JB_ROOT_IS_OBJECT(json))
		bad_weights("it must be an object");
	it = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		int m = 0;

		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		if (token != WJB_VALUE)
			continue;
		while (m < model->n_modules && strcmp(model->modules[m].name, key) != 0)
			m++;
		if (m == model->n_modules || value.type != jbvBinary || !JsonContainerIsObject(value.val.binary.data))
			bad_weights("a key is not a module to train, or its value not an object");
		parse_blend(value.val.binary.data, &blends[m]);
	}
}
