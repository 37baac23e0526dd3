/*
 * job_guard.c
 *	  The guard: a model that a job trained is judged before it answers.
 */
#include "job_guard.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "core/ingest.h"
#include "core/rng.h"

#define USERS_A_MODULE 2000 /* to be judged by, about */
#define USERS_AT_LEAST 100 /* else their newest interactions say too little */
#define K 10

/* ------------------------------------------------------------ holding out */

/* The active model of each module, and when it was made. */
static void
read_active(KpxGuard *guard, const KpxTraining *training, uint32 *since)
{
	Oid types[] = {INT4OID};
	KpxCatalog catalog;
	bool null;

	kpx_catalog_begin(&catalog, true);
	for (int m = 0; m < training->n_modules; m++)
	{
		Datum values[] = {Int32GetDatum(training->modules[m]->id)};

		kpx_catalog_execute("SELECT m.id, m.created_at FROM kpx.active_model a JOIN kpx.model m ON m.id = a.model_id WHERE a.module_id = $1",
							1, types, values, NULL, true);
		if (SPI_processed == 0)
			continue;
		guard->active[m] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
		since[m] = kpx_event_second(DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null)));
	}
	kpx_catalog_end(&catalog);
}

typedef struct Chooser
{
	const KpxData *data;
	const KpxGuard *guard;
	const uint32 *since; /* [modules] */
	uint64 seed;
} Chooser;

/* The user's entry of module m, in begin .. end, that may be held out; -1 = none. */
static int64
choose(const Chooser *c, uint32 user, int m, uint64 begin, uint64 end)
{
	int64 chosen = -1;

	if (c->guard->active[m] == 0 || begin == end)
		return -1;
	if (!c->guard->newest)
		chosen = (int64) (begin + kpx_random(c->seed, (uint64) m + 1000, user) % (end - begin));
	for (uint64 e = begin; e < end && c->guard->newest; e++)
		if (c->data->time[e] > c->since[m] && (chosen < 0 || c->data->time[e] > c->data->time[chosen]))
			chosen = (int64) e;
	return chosen >= 0 && c->data->weight[chosen] > 0 ? chosen : -1;
}

/* What may be held out of a user's entries, one of each module: chosen[modules]. */
static void
choose_each(const Chooser *c, uint32 user, uint64 begin, uint64 end, int64 *chosen)
{
	const KpxData *data = c->data;
	bool has_others = end - begin >= 2;

	for (int m = 0; m < data->n_modules; m++)
	{
		uint64 first = begin;

		while (begin < end && KPX_ITEM(data->index[begin]) < data->item_base[m + 1])
			begin++;
		chosen[m] = has_others ? choose(c, user, m, first, begin) : -1;
	}
}

/* How many users have one, by module; all together. */
static uint64
count_choices(const Chooser *c, uint64 *found)
{
	const KpxData *data = c->data;
	int64 *chosen = palloc(sizeof(int64) * data->n_modules);
	uint64 total = 0;

	memset(found, 0, sizeof(uint64) * data->n_modules);
	for (uint32 user = 0; user < data->users; user++)
	{
		if (user % 4096 == 0)
			CHECK_FOR_INTERRUPTS();
		choose_each(c, user, data->offset[user], data->offset[user + 1], chosen);
		for (int m = 0; m < data->n_modules; m++)
		{
			found[m] += chosen[m] >= 0;
			total += chosen[m] >= 0;
		}
	}
	pfree(chosen);
	return total;
}

/* As many as are wanted, at most one a user so that each keeps a history, go from data to the guard's pairs. */
static void
take_out(const Chooser *c, KpxGuard *guard, KpxData *data, const uint64 *found)
{
	int64 *chosen = palloc(sizeof(int64) * data->n_modules);
	uint64 to = 0;
	uint64 begin = 0;

	for (uint32 user = 0; user < data->users; user++)
	{
		uint64 end = data->offset[user + 1];
		int64 taken = -1;

		if (user % 4096 == 0)
			CHECK_FOR_INTERRUPTS();
		choose_each(c, user, begin, end, chosen);
		for (int m = 0; m < data->n_modules && taken < 0; m++)
			if (chosen[m] >= 0 && kpx_uniform(c->seed, (uint64) m, user) * (double) found[m] <= USERS_A_MODULE)
			{
				taken = chosen[m];
				kpx_pairs_add(&guard->pairs[m], (KpxPair){user, KPX_ITEM(data->index[taken]), 0, 0});
			}
		data->offset[user] = to;
		for (uint64 e = begin; e < end; e++)
			if ((int64) e != taken)
				kpx_data_move(data, e, &to);
		begin = end;
	}
	data->offset[data->users] = to;
	pfree(chosen);
	kpx_data_count(data);
}

void
kpx_guard_hold_out(KpxGuard *guard, KpxTraining *training)
{
	KpxData *data = training->data;
	uint32 *since = palloc0(sizeof(uint32) * data->n_modules);
	uint64 *found = palloc0(sizeof(uint64) * data->n_modules);
	Chooser chooser = {.data = data, .guard = guard, .since = since, .seed = kpx_mix64((uint64) training->params->seed + 4711)};

	guard->active = palloc0(sizeof(int64) * data->n_modules);
	guard->pairs = palloc0(sizeof(KpxPairs) * data->n_modules);
	read_active(guard, training, since);
	guard->newest = true;
	if (count_choices(&chooser, found) < USERS_AT_LEAST)
	{
		guard->newest = false;
		(void) count_choices(&chooser, found);
	}
	take_out(&chooser, guard, data, found);
	training->report.interactions = data->offset[data->users];
}

/* ------------------------------------------------------------ judging */

typedef struct Entry
{
	uint32 index;
	float weight;
	uint32 time;
} Entry;

static int
by_index(const void *a, const void *b)
{
	uint32 x = ((const Entry *) a)->index;
	uint32 y = ((const Entry *) b)->index;

	return KPX_ITEM(x) < KPX_ITEM(y) ? -1 : KPX_ITEM(x) > KPX_ITEM(y);
}

static int
module_of(const KpxData *data, uint32 item)
{
	int m = 0;

	while (item >= data->item_base[m + 1])
		m++;
	return m;
}

/* Which module of another model a module of data is; -1 = none. */
static int
module_in(const KpxModel *model, int module_id)
{
	for (int m = 0; m < model->n_modules; m++)
		if (model->modules[m].module_id == module_id)
			return m;
	return -1;
}

/* An item of data as an item of another model; KPX_NO_ITEM when it does not know it. */
static uint32
item_in(const KpxModel *model, const KpxData *data, uint32 item)
{
	int m = module_of(data, item);
	int other = module_in(model, data->modules[m]->id);
	int64 at;

	if (other < 0 || model->modules[other].ids.kind != data->item_ids[m].kind)
		return KPX_NO_ITEM;
	at = kpx_ids_find(&model->modules[other].ids, kpx_ids_get(&data->item_ids[m], item - data->item_base[m]));
	return at < 0 ? KPX_NO_ITEM : model->modules[other].base + (uint32) at;
}

/*
 * The histories of the users of pairs, and the pairs, in the items of another model: user u
 * of the result is the u-th of the pairs. Weights are what that model makes of events.
 */
static KpxData *
as_seen_by(const KpxModel *model, const KpxTraining *training, const KpxPairs *pairs, KpxPairs *own)
{
	const KpxData *data = training->data;
	KpxData *result = palloc0(sizeof(KpxData));
	size_t most = 0;
	uint64 to = 0;

	for (size_t p = 0; p < pairs->n; p++)
		most += data->offset[pairs->pair[p].user + 1] - data->offset[pairs->pair[p].user];
	result->context = CurrentMemoryContext;
	result->users = (uint32) pairs->n;
	result->items = model->items;
	result->offset = kpx_alloc(CurrentMemoryContext, pairs->n + 1, sizeof(uint64));
	result->index = kpx_alloc(CurrentMemoryContext, most, sizeof(uint32));
	result->weight = kpx_alloc(CurrentMemoryContext, most, sizeof(float));
	result->time = kpx_alloc(CurrentMemoryContext, most, sizeof(uint32));
	for (size_t p = 0; p < pairs->n; p++)
	{
		uint32 user = pairs->pair[p].user;
		size_t n = 0;
		Entry *entries = palloc(sizeof(Entry) * (data->offset[user + 1] - data->offset[user] + 1));

		CHECK_FOR_INTERRUPTS();
		result->offset[p] = to;
		kpx_pairs_add(own, (KpxPair){(uint32) p, item_in(model, data, pairs->pair[p].item), 0, 0});
		for (uint64 e = data->offset[user]; e < data->offset[user + 1]; e++)
		{
			uint32 item = KPX_ITEM(data->index[e]);
			uint32 theirs = item_in(model, data, item);
			int m = module_of(data, item);
			double scale = theirs == KPX_NO_ITEM || training->params->observed[m] == 0
							   ? 0
							   : model->modules[module_in(model, data->modules[m]->id)].observed / training->params->observed[m];

			if (theirs != KPX_NO_ITEM)
				entries[n++] = (Entry){theirs | (data->index[e] & KPX_HIDES), (float) (data->weight[e] * scale), data->time[e]};
		}
		qsort(entries, n, sizeof(Entry), by_index);
		for (size_t e = 0; e < n; e++, to++)
		{
			result->index[to] = entries[e].index;
			result->weight[to] = entries[e].weight;
			result->time[to] = entries[e].time;
		}
		pfree(entries);
	}
	result->offset[pairs->n] = to;
	return result;
}

/* How a model, and popularity, do on the guard's pairs of module m; how many users. */
static uint64
judge(const KpxModel *model, const KpxGuard *guard, const KpxTraining *training, int m, KpxJudgement *own, KpxJudgement *popular)
{
	KpxPairs pairs = {0};
	KpxData *data = as_seen_by(model, training, &guard->pairs[m], &pairs);

	return kpx_judge(data, model, module_in(model, training->modules[m]->id), &pairs, K, 1, own, popular);
}

/*
 * Means over modules of the new model's NDCG and of what it is held against; all of its metrics go
 * into the guard's. An active model that was dropped meanwhile cannot be asked; *gone is one of
 * those, or 0.
 */
static uint64
measure(KpxGuard *guard, const KpxTraining *training, double *value, double *other, int64 *gone)
{
	KpxRegistry *registry = kpx_registry();
	uint64 users = 0;
	int judged = 0;

	*value = *other = 0;
	*gone = 0;
	for (int m = 0; m < training->n_modules; m++)
	{
		KpxJudgement own;
		KpxJudgement popular;
		KpxJudgement theirs;
		KpxJudgement unused;
		KpxModel *active;
		uint64 judged_here;

		if (guard->pairs[m].n == 0)
			continue;
		judged_here = judge(training->model, guard, training, m, &own, &popular);
		kpx_metrics_add(&guard->metrics, training->modules[m]->name, K, judged_here, &own, &popular);
		active = guard->newest ? kpx_model_if_exists(registry, guard->active[m]) : NULL;
		if (active)
			(void) judge(active, guard, training, m, &theirs, &unused);
		else if (guard->newest)
			*gone = guard->active[m];
		*value += own.mean[KPX_NDCG].mean;
		*other += (active ? &theirs : &popular)->mean[KPX_NDCG].mean;
		users += judged_here;
		judged++;
	}
	*value /= Max(judged, 1);
	*other /= Max(judged, 1);
	return users;
}

static char *
active_names(const KpxGuard *guard, int n)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int m = 0; m < n; m++)
	{
		bool before = guard->pairs[m].n == 0;

		for (int o = 0; o < m; o++)
			before |= guard->active[o] == guard->active[m];
		if (!before)
			appendStringInfo(&names, "%s" INT64_FORMAT, names.len ? ", " : "", guard->active[m]);
	}
	return names.data;
}

bool
kpx_guard_judge(KpxGuard *guard, const KpxTraining *training, char **why)
{
	double value;
	double other;
	uint64 users;
	int64 gone;
	const char *against;
	bool good;

	for (int m = 0;; m++)
	{
		if (m == training->n_modules)
		{
			*why = pstrdup("there was no active model to compare it with");
			return true;
		}
		if (guard->active[m] != 0)
			break;
	}
	users = measure(guard, training, &value, &other, &gone);
	if (users == 0)
	{
		*why = pstrdup("no user has two interactions to judge it by");
		return true;
	}
	against = guard->newest ? psprintf("active model %s", active_names(guard, training->n_modules)) : "popularity";
	if (gone)
		against = psprintf("popularity (model " INT64_FORMAT " was dropped while this one was being trained)", gone);
	good = value >= other * (1 - guard->margin);
	*why = psprintf("ndcg@%d %.4f, %s %.4f, on %s interactions of " UINT64_FORMAT " users%s", K, value, against, other,
					guard->newest ? "the newest" : "random", users,
					good ? "" : psprintf(": worse by more than the margin of %g", guard->margin));
	return good;
}

bool
kpx_guard_still_valid(const KpxGuard *guard, const KpxTraining *training)
{
	Oid types[] = {INT4OID};
	KpxCatalog catalog;
	bool valid = true;
	bool null;

	kpx_catalog_begin(&catalog, true);
	for (int m = 0; m < training->n_modules; m++)
	{
		Datum values[] = {Int32GetDatum(training->modules[m]->id)};

		kpx_catalog_execute("SELECT model_id FROM kpx.active_model WHERE module_id = $1", 1, types, values, NULL, true);
		valid &= SPI_processed == 0 || DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null)) == guard->active[m];
	}
	kpx_catalog_end(&catalog);
	return valid;
}
