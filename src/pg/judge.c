/*
 * judge.c
 *	  Ranking all items for users with held-out interactions.
 *
 * All items the user may be shown are ranked, never a sample (Krichene, Rendle 2020, "On
 * Sampled Metrics for Item Recommendation"); what the model has no opinion of is filled up
 * by popularity, as answers are (scorer.h).
 */
#include "judge.h"

#include <math.h>

#include "core/ingest.h"
#include "core/rng.h"
#include "core/topk.h"
#include "progress.h"

const char *const kpx_metric_names[KPX_METRICS] = {"recall", "hit_rate", "ndcg", "mrr", "map"};

typedef double (*Metric)(const uint64_t *, size_t, size_t, size_t);

static const Metric metrics[] = {kpx_metric_recall, kpx_metric_hit_rate, kpx_metric_ndcg, kpx_metric_mrr,
								 kpx_metric_average_precision};

#define BATCH 32

/* One user of a batch. */
typedef struct Judged
{
	const KpxPair *pairs;
	size_t relevant;
	KpxHistory history;
	const float *score; /* by the model, or NULL */
} Judged;

typedef struct Judge
{
	const KpxData *data;
	const KpxModel *model;
	const KpxModelModule *module;
	size_t k;
	KpxScratch scratch;
	MemoryContext context; /* of one batch */
	float *score; /* BATCH x items of the module */
	uint8 *excluded;
	KpxHit *hits;
} Judge;

static void
judge_list(Judge *j, size_t n, const KpxPair *pairs, size_t relevant, KpxJudgement *judgement, uint8 *shown)
{
	uint64_t *ranks = palloc(sizeof(uint64_t) * Max(relevant, 1));
	size_t found = 0;

	for (size_t r = 0; r < n; r++)
	{
		kpx_bit_set(shown, j->hits[r].item);
		for (size_t i = 0; i < relevant; i++)
			if (pairs[i].item == j->module->base + j->hits[r].item)
			{
				ranks[found++] = r;
				break;
			}
	}
	for (int m = 0; m < KPX_METRICS; m++)
		kpx_mean_add(&judgement->mean[m], metrics[m](ranks, found, relevant, j->k));
}

/* Bits of what the user must not be shown. */
static void
exclude_seen(Judge *j, uint32 user)
{
	memset(j->excluded, 0, j->module->items / 8 + 1);
	if (user == KPX_NO_ITEM)
		return;
	for (uint64 e = j->data->offset[user]; e < j->data->offset[user + 1]; e++)
	{
		uint32 item = KPX_ITEM(j->data->index[e]);

		if ((j->data->index[e] & KPX_HIDES) && item >= j->module->base && item < j->module->base + j->module->items)
			kpx_bit_set(j->excluded, item - j->module->base);
	}
}

/* What data has of a user. */
static KpxHistory
history_of(Judge *j, uint32 user)
{
	KpxHistory history = {0};
	uint64 begin;
	uint64 n;

	if (user == KPX_NO_ITEM)
		return history;
	begin = j->data->offset[user];
	n = j->data->offset[user + 1] - begin;
	history.index = palloc(sizeof(uint32) * Max(n, 1));
	history.weight = palloc(sizeof(float) * Max(n, 1));
	history.time = j->data->time ? palloc(sizeof(uint32) * Max(n, 1)) : NULL;
	for (uint64 e = begin; e < begin + n; e++)
	{
		if (!(j->data->weight[e] > 0))
			continue;
		history.index[history.n] = KPX_ITEM(j->data->index[e]);
		if (history.time)
			history.time[history.n] = j->data->time[e];
		history.weight[history.n++] = j->data->weight[e];
	}
	kpx_history_fade(&history, j->model);
	return history;
}

/* The k best by the model, filled up by popularity; how many. */
static size_t
list_of(Judge *j, const float *score, const float *popularity)
{
	size_t n = score ? kpx_topk(score, j->module->items, j->excluded, j->k, j->hits) : 0;

	if (n < j->k)
	{
		for (size_t r = 0; r < n; r++)
			kpx_bit_set(j->excluded, j->hits[r].item);
		n += kpx_topk(popularity, j->module->items, j->excluded, j->k - n, j->hits + n);
	}
	return n;
}

/* Scores of all users of a batch by one call of the model. */
static void
score_batch(Judge *j, Judged *batch, int n)
{
	void *tastes[BATCH];
	int spoken = 0;

	for (int u = 0; u < n; u++)
	{
		void *taste = kpx_model_fold_in(j->model, &batch[u].history, &j->scratch);

		batch[u].score = taste ? j->score + (size_t) spoken * j->module->items : NULL;
		if (taste)
			tastes[spoken++] = taste;
	}
	if (spoken > 0)
		kpx_model_score_batch(j->model, tastes, spoken, j->module->base, j->module->base + j->module->items, j->score);
}

/* Reads a batch of users beginning at pairs *at; how many. */
static int
take_batch(Judge *j, const KpxPairs *pairs, double share, size_t *at, Judged *batch)
{
	int n = 0;

	while (*at < pairs->n && n < BATCH)
	{
		const KpxPair *first = &pairs->pair[*at];
		size_t end = *at + 1;

		while (end < pairs->n && pairs->pair[end].user == first->user &&
			   pairs->pair[end].unknown_user == first->unknown_user)
			end++;
		if (share >= 1 || kpx_uniform(77, first->user, first->unknown_user) < share)
			batch[n++] = (Judged){first, end - *at, history_of(j, first->user), NULL};
		*at = end;
	}
	return n;
}

static double
share_shown(const uint8 *shown, uint32 items)
{
	uint32 n = 0;

	for (uint32 i = 0; i < items; i++)
		n += kpx_bit_get(shown, i);
	return items ? (double) n / items : 0;
}

uint64
kpx_judge(const KpxData *data, const KpxModel *model, int module, const KpxPairs *pairs, size_t k, double share,
		  KpxJudgement *own, KpxJudgement *popular)
{
	const KpxModelModule *target = &model->modules[module];
	const float *popularity = model->popularity + target->base;
	Judge j = {.data = data, .model = model, .module = target};
	uint8 *own_shown = palloc0(target->items / 8 + 1);
	uint8 *popular_shown = palloc0(target->items / 8 + 1);
	uint64 users = 0;
	size_t at = 0;

	j.k = Min(k, Max(target->items, 1));
	j.scratch.context = CurrentMemoryContext;
	j.context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec judged users", ALLOCSET_DEFAULT_SIZES);
	j.score = kpx_alloc_aligned(CurrentMemoryContext, (size_t) target->items * BATCH, sizeof(float));
	j.excluded = palloc0(target->items / 8 + 1);
	j.hits = kpx_alloc(CurrentMemoryContext, j.k, sizeof(KpxHit));
	memset(own, 0, sizeof(*own));
	if (popular)
		memset(popular, 0, sizeof(*popular));
	kpx_progress_phase("ranking for held-out users", pairs->n);
	while (at < pairs->n)
	{
		MemoryContext old = MemoryContextSwitchTo(j.context);
		Judged batch[BATCH];
		int n = take_batch(&j, pairs, share, &at, batch);

		CHECK_FOR_INTERRUPTS();
		score_batch(&j, batch, n);
		for (int u = 0; u < n; u++)
		{
			CHECK_FOR_INTERRUPTS();
			exclude_seen(&j, batch[u].pairs[0].user);
			if (popular)
				judge_list(&j, kpx_topk(popularity, target->items, j.excluded, j.k, j.hits), batch[u].pairs,
						   batch[u].relevant, popular, popular_shown);
			judge_list(&j, list_of(&j, batch[u].score, popularity), batch[u].pairs, batch[u].relevant, own, own_shown);
		}
		users += n;
		kpx_progress_step(at);
		MemoryContextSwitchTo(old);
		MemoryContextReset(j.context);
	}
	own->coverage = share_shown(own_shown, target->items);
	if (popular)
		popular->coverage = share_shown(popular_shown, target->items);
	MemoryContextDelete(j.context);
	return users;
}
