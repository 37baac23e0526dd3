/*
 * measure_lists.c
 *	  What the lists of a module are like, for a sample of users.
 */
#include "measure.h"

#include <math.h>

#include "common/hashfn.h"
#include "utils/timestamp.h"

#include "core/evaluate.h"
#include "progress.h"
#include "recommend.h"
#include "users.h"

#define USERS_A_QUERY 256
#define DIVERSE 10 /* of each list so many items are compared with each other */

typedef struct Sample
{
	KpxIdKind kind;
	KpxBestUsers best;
	uint64 users;
} Sample;

/* Users with the largest hashes: which ones does not depend on how many there are besides. */
static void
offer_user(void *state, KpxId id)
{
	Sample *s = state;
	uint64 hash = s->kind == KPX_ID_INT ? hash_bytes_extended((const unsigned char *) &id.number, sizeof(id.number), 0)
										: hash_bytes_extended((const unsigned char *) id.bytes, (int) id.length, 0);

	if (++s->users % 4096 == 0)
		kpx_progress_step(s->users);
	kpx_best_users_offer(&s->best, id, (double) hash, NULL);
}

static Sample
draw_users(KpxRegistry *registry, const KpxModel *model, int n, TimestampTz since)
{
	KpxModule **modules;
	int n_modules = kpx_registered_modules(registry, model, &modules);
	Sample s = {.kind = kpx_model_user_kind(registry, model), .best = {.context = CurrentMemoryContext, .k = n}};

	kpx_progress_phase("drawing users", 0);
	kpx_users_read(modules, n_modules, InvalidOid, s.kind, since, offer_user, &s);
	kpx_progress_rows(s.users);
	kpx_best_users_sort(&s.best);
	return s;
}

/* One less the mean similarity of the first items of a list, two by two; NaN when there are no two. */
static double
diversity(const KpxRequest *q, const KpxListed *list, size_t n)
{
	const KpxAlgorithm *algorithm = q->model->part[0].algorithm;
	double sum = 0;
	int pairs = 0;

	n = Min(n, DIVERSE);
	for (size_t i = 0; q->model->n_parts > 0 && i < n; i++)
		for (size_t j = 0; j < i; j++)
		{
			uint32 other = q->target->base + list[j].hit.item;
			float similarity;

			algorithm->similar(q->model, 0, q->target->base + list[i].hit.item, other, other + 1, &similarity);
			if (!isnan(similarity))
			{
				sum += similarity;
				pairs++;
			}
		}
	return pairs > 0 ? 1 - sum / pairs : NAN;
}

static void
measure_user(KpxRequest *q, KpxTaste *taste, int k, uint32 *shown, KpxMean *diverse)
{
	KpxListed *list;
	size_t n;
	double d;

	kpx_request_fold_in(q, taste);
	n = kpx_list(q, taste, (uint64) k, &list);
	for (size_t i = 0; i < n; i++)
		shown[list[i].hit.item]++;
	d = diversity(q, list, n);
	if (!isnan(d))
		kpx_mean_add(diverse, d);
}

KpxListMeasure
kpx_measure_lists(KpxRegistry *registry, KpxModule *module, KpxModel *model, int n_users, int k, TimestampTz since)
{
	Sample sample = draw_users(registry, model, n_users, since);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec measured users", ALLOCSET_DEFAULT_SIZES);
	KpxRequest q = {0};
	KpxMean diverse = {0};
	uint32 *shown;
	KpxListMeasure result = {.users = (uint64) sample.best.n, .k = k};
	KpxId *ids = kpx_alloc(CurrentMemoryContext, Max(sample.best.n, 1), sizeof(KpxId));

	kpx_request_begin(&q, registry, module, model->id);
	shown = kpx_alloc(CurrentMemoryContext, Max(q.target->items, 1), sizeof(uint32));
	memset(shown, 0, sizeof(uint32) * q.target->items);
	for (int u = 0; u < sample.best.n; u++)
		ids[u] = sample.best.users[u].id;
	kpx_progress_phase("making lists", (uint64) sample.best.n);
	for (int begin = 0; begin < sample.best.n; begin += USERS_A_QUERY)
	{
		int n = Min(USERS_A_QUERY, sample.best.n - begin);
		MemoryContext old = MemoryContextSwitchTo(context);
		KpxHistory *histories = kpx_history_read(registry, model, NULL, ids + begin, n, sample.kind, KPX_FOR_ANSWERS);

		for (int u = 0; u < n; u++)
		{
			KpxTaste taste = {.has_user = true, .user = ids[begin + u], .user_kind = sample.kind, .history = histories[u]};

			CHECK_FOR_INTERRUPTS();
			measure_user(&q, &taste, k, shown, &diverse);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
		kpx_progress_step((uint64) (begin + n));
	}
	MemoryContextDelete(context);
	result.spread = kpx_spread(shown, model->popularity + q.target->base, q.target->items, (uint32) sample.best.n,
							   0.5 / Max((double) q.target->interactions, 1),
							   kpx_alloc(CurrentMemoryContext, (size_t) sample.best.n + 1, sizeof(uint64)));
	result.diversity = diverse.n > 0 ? diverse.mean : NAN;
	result.fallback_share = q.call.lists > 0 ? (double) q.call.fell_back / q.call.lists : NAN;
	return result;
}
