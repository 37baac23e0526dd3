/*
 * split.c
 *	  Which interactions are held out of training, to judge with.
 */
#include "split.h"

#include "common/hashfn.h"

#include "core/ingest.h"
#include "core/rng.h"

void
kpx_pairs_add(KpxPairs *pairs, KpxPair pair)
{
	if (pairs->n == pairs->size)
	{
		size_t size = Max(1024, pairs->size * 2);
		KpxPair *bigger = kpx_alloc(CurrentMemoryContext, size, sizeof(KpxPair));

		if (pairs->n)
		{
			memcpy(bigger, pairs->pair, pairs->n * sizeof(KpxPair));
			pfree(pairs->pair);
		}
		pairs->pair = bigger;
		pairs->size = size;
	}
	pairs->pair[pairs->n++] = pair;
}

KpxSplit
kpx_parse_split(const char *name)
{
	if (strcmp(name, "leave_one_out") == 0)
		return KPX_SPLIT_LEAVE_ONE_OUT;
	if (strcmp(name, "last_by_time") == 0)
		return KPX_SPLIT_LAST_BY_TIME;
	if (strcmp(name, "random") == 0)
		return KPX_SPLIT_RANDOM;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("split \"%s\" is not known", name),
			 errhint("Known splits: leave_one_out, last_by_time, random.")));
}

/* Is entry j (the n-th of count of this user in module m) held out? */
static bool
held_out(const KpxData *data, KpxSplit split, int m, uint32 user, uint64 n, uint64 count, uint32 item, uint64 seed)
{
	if (count < 2)
		return false;
	if (split == KPX_SPLIT_LEAVE_ONE_OUT)
		return kpx_random(seed, (uint64) m, user) % count == n;
	if (split == KPX_SPLIT_LAST_BY_TIME)
		return data->last_item[m][user] == item;
	return kpx_uniform(seed, user, item) < 0.2;
}

void
kpx_data_move(KpxData *data, uint64 from, uint64 *to)
{
	data->index[*to] = data->index[from];
	data->weight[*to] = data->weight[from];
	if (data->time)
		data->time[*to] = data->time[from];
	(*to)++;
}

/* Moves held-out entries of one user from data (written back at *to) to pairs. */
static void
split_user(KpxData *data, KpxSplit split, uint32 user, uint64 begin, uint64 end, uint64 seed, uint64 *to, KpxPairs *pairs)
{
	int m = 0;

	for (uint64 j = begin; j < end;)
	{
		uint64 first = j;
		uint64 last;

		while (KPX_ITEM(data->index[j]) >= data->item_base[m + 1])
			m++;
		for (last = j; last < end && KPX_ITEM(data->index[last]) < data->item_base[m + 1]; last++)
			;
		for (; j < last; j++)
		{
			uint32 item = KPX_ITEM(data->index[j]);

			if (held_out(data, split, m, user, j - first, last - first, item, seed))
				kpx_pairs_add(&pairs[m], (KpxPair){user, item, 0, 0});
			else
			{
				kpx_data_move(data, j, to);
			}
		}
	}
}

void
kpx_split_data(KpxData *data, KpxSplit split, uint64 seed, KpxPairs *pairs)
{
	uint64 to = 0;
	uint64 begin = 0;

	for (uint32 user = 0; user < data->users; user++)
	{
		uint64 end = data->offset[user + 1];

		if (user % 4096 == 0)
			CHECK_FOR_INTERRUPTS();
		data->offset[user] = to;
		split_user(data, split, user, begin, end, seed, &to, pairs);
		begin = end;
	}
	data->offset[data->users] = to;
	kpx_data_count(data);
}

static int
compare_pairs(const void *a, const void *b)
{
	const KpxPair *x = a;
	const KpxPair *y = b;

	CHECK_FOR_INTERRUPTS();
	if (x->user != y->user)
		return x->user < y->user ? -1 : 1;
	if (x->unknown_user != y->unknown_user)
		return x->unknown_user < y->unknown_user ? -1 : 1;
	if (x->item != y->item)
		return x->item < y->item ? -1 : 1;
	return x->unknown_item < y->unknown_item ? -1 : x->unknown_item > y->unknown_item;
}

/* A pair held out twice is held out once. */
static void
sort_pairs(KpxPairs *pairs)
{
	size_t to = 0;

	if (pairs->n < 2)
		return;
	qsort(pairs->pair, pairs->n, sizeof(KpxPair), compare_pairs);
	for (size_t i = 1; i < pairs->n; i++)
		if (compare_pairs(&pairs->pair[to], &pairs->pair[i]) != 0)
			pairs->pair[++to] = pairs->pair[i];
	pairs->n = to + 1;
}

static uint64
hash_text(const char *text)
{
	return hash_bytes_extended((const unsigned char *) text, (int) strlen(text), 0);
}

/* A pair of module m; what training does not know stays unknown. */
static KpxPair
find_pair(const KpxData *data, int m, const char *user, const char *item)
{
	int64 u = kpx_ids_find(&data->user_ids, kpx_id_from_text(data->user_ids.kind, user));
	int64 i = kpx_ids_find(&data->item_ids[m], kpx_id_from_text(data->item_ids[m].kind, item));

	return (KpxPair){u >= 0 ? (uint32) u : KPX_NO_ITEM, i >= 0 ? data->item_base[m] + (uint32) i : KPX_NO_ITEM,
					 u >= 0 ? 0 : hash_text(user), i >= 0 ? 0 : hash_text(item)};
}

static bool
is_pair(const KpxPairs *pairs, uint32 user, uint32 item)
{
	KpxPair key = {user, item, 0, 0};

	return pairs->n > 0 && bsearch(&key, pairs->pair, pairs->n, sizeof(KpxPair), compare_pairs) != NULL;
}

/* Takes pairs out of the training data, so that a held-out relation may overlap it. */
static void
remove_pairs(KpxData *data, const KpxPairs *pairs)
{
	uint64 to = 0;
	uint64 begin = 0;

	for (uint32 user = 0; user < data->users; user++)
	{
		uint64 end = data->offset[user + 1];
		int m = 0;

		if (user % 4096 == 0)
			CHECK_FOR_INTERRUPTS();
		data->offset[user] = to;
		for (uint64 j = begin; j < end; j++)
		{
			while (KPX_ITEM(data->index[j]) >= data->item_base[m + 1])
				m++;
			if (is_pair(&pairs[m], user, KPX_ITEM(data->index[j])))
				continue;
			kpx_data_move(data, j, &to);
		}
		begin = end;
	}
	data->offset[data->users] = to;
}

/* Reads (module, user_id, item_id) rows as the caller. */
static void
read_pairs(KpxData *data, Oid relation, KpxPairs *pairs)
{
	char *name = kpx_relation_sql(relation, "held_out", "argument", "held_out");
	MemoryContext context = CurrentMemoryContext;
	size_t total = 0;
	uint64 nulls = 0;

	for (int i = 0; i < 3; i++)
		(void) kpx_column_type(relation, ((const char *const[]){"module", "user_id", "item_id"})[i]);
	SPI_connect();
	if (SPI_execute(psprintf("SELECT module::pg_catalog.text, user_id::pg_catalog.text, item_id::pg_catalog.text FROM %s", name),
					true, 0) != SPI_OK_SELECT)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("cannot read %s", name)));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		char *module = SPI_getvalue(tuple, desc, 1);
		char *user = SPI_getvalue(tuple, desc, 2);
		char *item = SPI_getvalue(tuple, desc, 3);
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		if (module == NULL || user == NULL || item == NULL)
		{
			nulls++;
			continue;
		}
		old = MemoryContextSwitchTo(context);
		for (int m = 0; m < data->n_modules; m++)
			if (strcmp(module, data->modules[m]->name) == 0)
				kpx_pairs_add(&pairs[m], find_pair(data, m, user, item));
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	if (nulls)
		ereport(NOTICE, (errmsg(UINT64_FORMAT " rows of %s were skipped: module, user or item is NULL", nulls, name)));
	for (int m = 0; m < data->n_modules; m++)
	{
		sort_pairs(&pairs[m]);
		total += pairs[m].n;
	}
	if (total == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relation %s holds no pairs of the modules to evaluate", name),
				 errhint("Its column module must hold registered names, for instance \"%s\".", data->modules[0]->name)));
}

void
kpx_hold_out(KpxData *data, Oid relation, KpxPairs *pairs)
{
	read_pairs(data, relation, pairs);
	remove_pairs(data, pairs);
	kpx_data_count(data);
}

int
kpx_split_needs(KpxSplit split, KpxModule **modules, int n)
{
	if (split != KPX_SPLIT_LAST_BY_TIME)
		return 0;
	for (int m = 0; m < n; m++)
		for (int s = 0; s < modules[m]->n_sources; s++)
			if (modules[m]->sources[s].occurred_at == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						 errmsg("split \"last_by_time\" needs times, event source %d of module \"%s\" has none",
								modules[m]->sources[s].id, modules[m]->name),
						 errhint("Register the source with occurred_at, or use split => 'leave_one_out'.")));
	return KPX_WANT_LAST;
}
