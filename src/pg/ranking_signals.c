/*
 * ranking_signals.c
 *	  Signals of a user and a module's candidates, from the live history and the model.
 *
 * What needs a model is NaN without one.
 */
#include "ranking.h"

#include <math.h>

#include "utils/timestamp.h"

#include "algorithm.h"
#include "clock.h"
#include "history.h"
#include "ingest.h"

/* Entries of a history that likeness is computed to: the heaviest. */
#define NEIGHBOURS 50

/* What a user's history says, as one module sees it. */
typedef struct Past
{
	const KpxModel *model;
	const KpxModelModule *target;
	const KpxHistory *history;
	/* the part in the target module */
	uint32 begin;
	uint32 n;
	KpxItemFacts *facts; /* [n] */
	double in_module;
	double in_all;
	/* the heaviest of all */
	uint32 n_neighbours;
	uint32 neighbour[NEIGHBOURS];
	float neighbour_weight[NEIGHBOURS];
	double recency; /* days; NaN: not known */
	float *segment_share; /* [target->items] in the user's segment, NaN: none; NULL: no segment */
} Past;

typedef struct Weighted
{
	uint32 item;
	float weight;
} Weighted;

static int
heavier(const void *a, const void *b)
{
	const Weighted *x = a;
	const Weighted *y = b;

	if (x->weight != y->weight)
		return x->weight > y->weight ? -1 : 1;
	return x->item < y->item ? -1 : x->item > y->item;
}

static void
take_neighbours(Past *past)
{
	const KpxHistory *h = past->history;
	Weighted *all = kpx_alloc(CurrentMemoryContext, Max(h->n, 1), sizeof(Weighted));

	for (uint32 j = 0; j < h->n; j++)
		all[j] = (Weighted){h->index[j], h->weight[j]};
	qsort(all, h->n, sizeof(Weighted), heavier);
	past->n_neighbours = Min(h->n, NEIGHBOURS);
	for (uint32 j = 0; j < past->n_neighbours; j++)
	{
		past->neighbour[j] = all[j].item;
		past->neighbour_weight[j] = all[j].weight;
	}
	pfree(all);
}

/* The module's part of the history, and what its items cost and are. */
static void
take_module_part(Past *past, KpxModule *module)
{
	const KpxHistory *h = past->history;
	char **ids;

	while (past->begin < h->n && h->index[past->begin] < past->target->base)
		past->begin++;
	while (past->begin + past->n < h->n && h->index[past->begin + past->n] < past->target->base + past->target->items)
		past->n++;
	for (uint32 j = 0; j < h->n; j++)
	{
		past->in_all += h->weight[j];
		if (j >= past->begin && j < past->begin + past->n)
			past->in_module += h->weight[j];
	}
	ids = palloc(sizeof(char *) * Max(past->n, 1));
	for (uint32 j = 0; j < past->n; j++)
		ids[j] = kpx_id_to_cstring(past->target->ids.kind,
								   kpx_ids_get(&past->target->ids, h->index[past->begin + j] - past->target->base));
	past->facts = kpx_item_facts(module, NULL, ids, (int) past->n);
}

static double
days_since_newest(const KpxHistory *h)
{
	uint32 newest = 0;

	for (uint32 j = 0; h->time && j < h->n; j++)
		newest = Max(newest, h->time[j]);
	if (newest == 0)
		return NAN;
	return Max(0, (double) kpx_event_second(kpx_transaction_start()) - newest) / SECS_PER_DAY;
}

/* NULL without a trained model. */
static Past *
make_past(const KpxRequest *q, const KpxTaste *taste, KpxSegmentFound *segment)
{
	Past *past = palloc0(sizeof(Past));

	if (q->model->n_parts == 0)
		return NULL;
	past->model = q->model;
	past->target = q->target;
	past->history = &taste->history;
	take_neighbours(past);
	take_module_part(past, q->module);
	past->recency = days_since_newest(past->history);
	past->segment_share = kpx_alloc(CurrentMemoryContext, Max(q->target->items, 1), sizeof(float));
	if (kpx_segment_taste(q, taste, segment, past->segment_share) == NULL)
		past->segment_share = NULL;
	return past;
}

/* Likeness of item to the neighbours by one part of the model. */
static void
likeness(const Past *past, int part, uint32 item, float *mean, float *largest)
{
	const KpxAlgorithm *algorithm = past->model->part[part].algorithm;
	float similarity[NEIGHBOURS];

	*mean = *largest = NAN;
	if (algorithm->similar == NULL)
		return;
	for (uint32 j = 0; j < past->n_neighbours; j++)
		algorithm->similar(past->model, part, item, past->neighbour[j], past->neighbour[j] + 1, &similarity[j]);
	kpx_signal_similarity(similarity, past->neighbour_weight, past->n_neighbours, mean, largest);
}

static int
content_part(const KpxModel *model)
{
	for (int p = 0; p < model->n_parts; p++)
		if (strcmp(model->part[p].algorithm->name, "content") == 0)
			return p;
	return -1;
}

/* Weight of the module's part of the history in a category. */
static double
in_category(const Past *past, const char *category)
{
	double sum = 0;

	for (uint32 j = 0; j < past->n; j++)
		if (past->facts[j].category && strcmp(past->facts[j].category, category) == 0)
			sum += past->history->weight[past->begin + j];
	return sum;
}

/* Signals that need the model and the history. */
static void
signals_of_past(const Past *past, int modules, const KpxRankItem *item, float *signal)
{
	int64 index = kpx_ids_find(&past->target->ids, kpx_id_from_text(past->target->ids.kind, item->id));
	double *prices = palloc(sizeof(double) * Max(past->n, 1));
	int content = content_part(past->model);
	float mean;

	for (uint32 j = 0; j < past->n; j++)
		prices[j] = past->facts[j].price;
	signal[KPX_SIGNAL_MODULE_PREFERENCE] = kpx_signal_module(past->in_module, past->in_all, modules);
	if (item->category)
		signal[KPX_SIGNAL_CATEGORY_PREFERENCE] = kpx_signal_category(in_category(past, item->category), past->in_module);
	signal[KPX_SIGNAL_PRICE_PREFERENCE] =
		kpx_signal_price(item->price, prices, past->history->weight + past->begin, past->n);
	signal[KPX_SIGNAL_HISTORY] = kpx_signal_log(past->history->n);
	signal[KPX_SIGNAL_RECENCY] = kpx_signal_log(past->recency);
	pfree(prices);
	if (index < 0)
		return;
	if (past->model->popularity && past->segment_share)
		signal[KPX_SIGNAL_SEGMENT] = kpx_signal_segment(past->segment_share[index], past->model->popularity[past->target->base + index], past->target->items);
	if (past->model->popularity)
		signal[KPX_SIGNAL_POPULARITY] = kpx_signal_popularity(past->model->popularity[past->target->base + index], past->target->items);
	likeness(past, 0, past->target->base + (uint32) index, &signal[KPX_SIGNAL_USER_SIMILARITY], &signal[KPX_SIGNAL_ITEM_SIMILARITY]);
	if (content >= 0)
		likeness(past, content, past->target->base + (uint32) index, &mean, &signal[KPX_SIGNAL_CONTENT]);
}

void
kpx_rank_signals(const KpxRequest *q, const KpxTaste *taste, KpxSegmentFound *segment, int modules,
				 KpxRankItem *items, int n)
{
	Past *past = n > 0 ? make_past(q, taste, segment) : NULL;

	for (int i = 0; i < n; i++)
	{
		float *signal = palloc(sizeof(float) * KPX_SIGNALS);

		for (int s = 0; s < KPX_SIGNALS; s++)
			signal[s] = NAN;
		signal[KPX_SIGNAL_SCORE] = items[i].score;
		signal[KPX_SIGNAL_PLACE] = kpx_signal_log(items[i].place);
		signal[KPX_SIGNAL_PRICE] = kpx_signal_log(items[i].price);
		if (past)
			signals_of_past(past, modules, &items[i], signal);
		items[i].signal = signal;
	}
}
