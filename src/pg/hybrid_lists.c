/*
 * hybrid_lists.c
 *	  What the weights of a hybrid model are fitted on.
 *
 * Lists hold what competes for the first places, because weights are for ordering those: among items
 * drawn at random nearly all are beaten by any score, and what is fitted there is how to tell the
 * popular from the rest. So each method is asked for its best for a user, of items with events and of
 * new ones apart, and a list is all of these.
 */
#include "hybrid_lists.h"

#include <math.h>

#include "core/blend.h"
#include "core/ingest.h"
#include "core/rng.h"
#include "core/topk.h"

#define LISTS_A_MODULE 2500
#define COLD_SHARE 0.1
/* What each method and popularity put into a list. */
#define BEST 30
#define BEST_NEW 15
#define CANDIDATES ((KPX_VOICES + 1) * BEST + 2 * BEST_NEW + 1)

/* ------------------------------------------------------------ what is held out */

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

/*
 * The interaction of a user in a module that is held out, or -1: of as many users as make enough lists. Where times are
 * known the newest (of several the last), because what comes next is what an answer is about; else any.
 */
static int64
held_out(const KpxHolder *h, uint32 user, int m, uint64 seed)
{
	uint64 first;
	uint64 n = module_entries(h->data, user, m, &first);

	if (n < 2 || kpx_uniform(seed, (uint64) m + 1, user) > (double) LISTS_A_MODULE / Max(h->data->module_users[m], 1))
		return -1;
	if (h->data->time)
	{
		uint64 newest = first;

		for (uint64 j = first; j < first + n; j++)
			if (h->data->time[j] >= h->data->time[newest])
				newest = j;
		return (int64) newest;
	}
	return (int64) (first + kpx_random(seed, (uint64) m + 1000, user) % n);
}

void
kpx_holder_fill(KpxHolder *h, uint64 seed)
{
	const KpxData *data = h->data;
	uint64 n = data->offset[data->users];
	size_t pairs = 0;

	h->rest = *data;
	h->rest.offset = kpx_alloc(CurrentMemoryContext, (size_t) data->users + 1, sizeof(uint64));
	h->rest.index = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(uint32));
	h->rest.weight = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(float));
	h->rest.time = data->time ? kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(uint32)) : NULL;
	h->rest.module_interactions = palloc(sizeof(uint64) * data->n_modules);
	h->rest.module_users = palloc(sizeof(uint64) * data->n_modules);
	h->cold = kpx_alloc_aligned(CurrentMemoryContext, data->items, 1);
	h->begin = palloc0(sizeof(size_t) * (data->n_modules + 1));
	h->pair = kpx_alloc(CurrentMemoryContext, (size_t) data->n_modules * Min((uint64) data->users, 4 * LISTS_A_MODULE) + 1, sizeof(KpxHeldOut));
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
				h->pair[pairs++] = (KpxHeldOut){u, KPX_ITEM(data->index[entry])};
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
			if (data->time)
				h->rest.time[n] = data->time[j];
			h->rest.weight[n++] = data->weight[j];
		}
	}
	h->rest.offset[data->users] = n;
	kpx_data_count(&h->rest);
}

/* ------------------------------------------------------------ lists */

/* What is needed for one list after another. */
typedef struct Maker
{
	KpxLists *l;
	uint32 base; /* of the module */
	uint32 items;
	float *popularity; /* [items]: kpx_blend_popularity */
	float *score[KPX_VOICES]; /* [items] of the user in hand; NULL when the method says nothing */
	float *memory[KPX_VOICES];
	uint8 *not_warm; /* bits: what must not be taken among items with events, and among new ones */
	uint8 *not_new;
	uint8 *taken; /* bits */
	KpxHit *hits;
	uint32 *candidate; /* CANDIDATES */
	size_t n;
	KpxScratch scratch[KPX_VOICES];
	MemoryContext context; /* of one user */
} Maker;

static void
take(Maker *k, const float *score, const uint8 *excluded, size_t best)
{
	size_t found = kpx_topk(score, k->items, excluded, best, k->hits);

	for (size_t i = 0; i < found; i++)
		if (!kpx_bit_get(k->taken, k->hits[i].item))
		{
			kpx_bit_set(k->taken, k->hits[i].item);
			k->candidate[k->n++] = k->hits[i].item;
		}
}

/* Scores of all items by every method that knows something of the user's rest; false when none does. */
static bool
score_user(Maker *k, uint32 user)
{
	const KpxData *rest = &k->l->holder->rest;
	uint64 begin = rest->offset[user];
	uint64 length = rest->offset[user + 1] - begin;
	KpxHistory history = {.index = palloc(sizeof(uint32) * Max(length, 1)), .weight = palloc(sizeof(float) * Max(length, 1))};
	bool any = false;

	history.time = rest->time ? palloc(sizeof(uint32) * Max(length, 1)) : NULL;
	for (uint64 j = begin; j < begin + length; j++)
		if (rest->weight[j] > 0)
		{
			history.index[history.n] = KPX_ITEM(rest->index[j]);
			if (rest->time)
				history.time[history.n] = rest->time[j];
			history.weight[history.n++] = rest->weight[j];
		}
	kpx_history_fade(&history, k->l->trained);
	for (int v = 0; v < KPX_VOICES && history.n > 0; v++)
	{
		void *taste = k->l->of[v] ? kpx_voice_algorithm[v]->fold_in(k->l->of[v], k->l->part[v], &history, &k->scratch[v]) : NULL;

		k->score[v] = taste ? k->memory[v] : NULL;
		if (taste)
			kpx_voice_algorithm[v]->score(k->l->of[v], k->l->part[v], taste, k->base, k->base + k->items, k->memory[v]);
		any = any || taste;
	}
	return any;
}

/* Where events do not hide, what the user has is shown again and must be outranked, too. */
static void
exclude_seen(Maker *k, KpxHeldOut pair)
{
	const KpxData *data = k->l->holder->data;
	size_t bytes = k->items / 8 + 1;

	memset(k->taken, 0, bytes);
	memset(k->not_warm, 0, bytes);
	for (uint32 i = 0; i < k->items; i++)
		if (k->l->holder->cold[k->base + i])
			kpx_bit_set(k->not_warm, i);
	for (size_t i = 0; i < bytes; i++)
		k->not_new[i] = (uint8) ~k->not_warm[i];
	for (uint64 j = data->offset[pair.user]; j < data->offset[pair.user + 1]; j++)
	{
		uint32 item = KPX_ITEM(data->index[j]);

		if (!(data->index[j] & KPX_HIDES) || item == pair.item || item < k->base || item >= k->base + k->items)
			continue;
		kpx_bit_set(k->not_warm, item - k->base);
		kpx_bit_set(k->not_new, item - k->base);
	}
}

static void
put_scores(const Maker *k, uint32 item, float *to)
{
	KpxBlend scores = {{0}};
	bool cold = k->l->holder->cold[k->base + item];

	for (int v = 0; v < KPX_VOICES; v++)
	{
		float score = k->score[v] ? k->score[v][item] : NAN;

		if (isnan(score))
			continue;
		if (!cold)
			scores.warm[v] = score;
		else if (v == KPX_VOICE_IALS)
			scores.cold[0] = score;
		else if (v == KPX_VOICE_CONTENT)
			scores.cold[1] = score;
	}
	if (cold)
		scores.cold[2] = 1;
	else
		scores.warm[KPX_VOICES] = k->popularity[item];
	for (int s = 0; s < KPX_BLEND_SCORES; s++)
		to[s] = *kpx_blend_weight(&scores, s);
}

static void
add_list(Maker *k, KpxHeldOut pair)
{
	KpxLists *l = k->l;
	float *to = l->score + l->offset[l->lists] * KPX_BLEND_SCORES;
	uint32 chosen = pair.item - k->base;

	if (!score_user(k, pair.user))
		return;
	exclude_seen(k, pair);
	k->n = 0;
	take(k, k->popularity, k->not_warm, BEST);
	for (int v = 0; v < KPX_VOICES; v++)
	{
		if (k->score[v] == NULL)
			continue;
		take(k, k->score[v], k->not_warm, BEST);
		if (v == KPX_VOICE_IALS || v == KPX_VOICE_CONTENT)
			take(k, k->score[v], k->not_new, BEST_NEW);
	}
	if (!kpx_bit_get(k->taken, chosen))
		return;
	put_scores(k, chosen, to);
	for (size_t i = 0; i < k->n; i++)
		if (k->candidate[i] != chosen)
			put_scores(k, k->candidate[i], to += KPX_BLEND_SCORES);
	l->offset[l->lists + 1] = l->offset[l->lists] + k->n;
	l->lists++;
}

static Maker
make_maker(KpxLists *l)
{
	const KpxModelModule *module = &l->trained->modules[l->m];
	Maker k = {.l = l, .base = module->base, .items = module->items};
	double interactions = (double) module->interactions;
	double most = 0;

	k.popularity = kpx_alloc(CurrentMemoryContext, Max(k.items, 1), sizeof(float));
	for (uint32 i = 0; i < k.items; i++)
		most = Max(most, l->trained->popularity[k.base + i] * interactions);
	for (uint32 i = 0; i < k.items; i++)
		k.popularity[i] = kpx_blend_popularity(l->trained->popularity[k.base + i] * interactions, most);
	for (int v = 0; v < KPX_VOICES; v++)
	{
		k.memory[v] = kpx_alloc_aligned(CurrentMemoryContext, (size_t) k.items + 16, sizeof(float));
		k.scratch[v].context = CurrentMemoryContext;
	}
	k.not_warm = palloc(k.items / 8 + 1);
	k.not_new = palloc(k.items / 8 + 1);
	k.taken = palloc(k.items / 8 + 1);
	k.hits = palloc(sizeof(KpxHit) * BEST);
	k.candidate = palloc(sizeof(uint32) * CANDIDATES);
	k.context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec list", ALLOCSET_DEFAULT_SIZES);
	return k;
}

void
kpx_lists_make(KpxLists *l)
{
	const KpxHolder *h = l->holder;
	size_t most = h->begin[l->m + 1] - h->begin[l->m];
	Maker k = make_maker(l);
	MemoryContext old = CurrentMemoryContext;

	l->lists = 0;
	l->offset = kpx_alloc(CurrentMemoryContext, most + 1, sizeof(uint64));
	l->offset[0] = 0;
	l->score = kpx_alloc(CurrentMemoryContext, Max(most, 1) * CANDIDATES * KPX_BLEND_SCORES, sizeof(float));
	MemoryContextSwitchTo(k.context);
	for (size_t i = h->begin[l->m]; i < h->begin[l->m + 1]; i++)
	{
		CHECK_FOR_INTERRUPTS();
		add_list(&k, h->pair[i]);
		MemoryContextReset(k.context);
	}
	MemoryContextSwitchTo(old);
}
