/*
 * ingest.c
 *	  Reading the event sources of modules into interactions.
 *
 * ingest_read.c reads them; core/ingest.c turns events into compressed rows.
 */
#include "ingest_reader.h"

#include "items.h"
#include "progress.h"

/* Renames users and items of all events to sorted order. */
static void
rename_events(KpxEventReader *r, const uint32 *user_position, const uint32 *item_position)
{
	for (int b = 0; b < r->n_blocks; b++)
	{
		CHECK_FOR_INTERRUPTS();
		for (size_t i = 0; i < r->blocks[b].n; i++)
		{
			KpxEvent *e = &r->blocks[b].events[i];

			e->user = user_position[e->user];
			e->item = item_position[KPX_ITEM(e->item)] | (e->item & KPX_HIDES);
		}
	}
}

#define ROWS_A_STEP 8192

/* Events to deduplicated rows. Memory of the blocks is freed. */
static void
build_rows(KpxEventReader *r, KpxData *data)
{
	size_t users = data->users;
	uint64 *cursor = kpx_alloc(data->context, users + 1, sizeof(uint64));

	data->offset = kpx_alloc(data->context, users + 1, sizeof(uint64));
	memset(data->offset, 0, (users + 1) * sizeof(uint64));
	for (int b = 0; b < r->n_blocks; b++)
	{
		CHECK_FOR_INTERRUPTS();
		if (kpx_csr_count(r->blocks[b].events, r->blocks[b].n, data->users, data->items, data->offset) != KPX_OK)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("too many users or items")));
	}
	(void) kpx_csr_offsets(data->offset, users);
	memcpy(cursor, data->offset, users * sizeof(uint64));
	data->index = kpx_alloc(data->context, Max(r->n_events, 1), sizeof(uint32));
	data->weight = kpx_alloc(data->context, Max(r->n_events, 1), sizeof(float));
	for (int b = 0; b < r->n_blocks; b++)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_csr_scatter(r->blocks[b].events, r->blocks[b].n, NULL, cursor, data->index, data->weight);
		if (!r->want_times)
			pfree(r->blocks[b].events);
	}
	for (size_t begin = 0; begin < users; begin += ROWS_A_STEP)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_csr_dedupe(data->offset, begin, Min(begin + ROWS_A_STEP, users), data->index, data->weight, cursor);
	}
	(void) kpx_csr_compact(data->offset, cursor, users, data->index, data->weight);
	pfree(cursor);
}

/* The times of the interactions that build_rows made. */
static void
build_times(KpxEventReader *r, KpxData *data)
{
	uint64 n = data->offset[data->users];

	data->time = kpx_alloc(data->context, Max(n, 1), sizeof(uint32));
	memset(data->time, 0, n * sizeof(uint32));
	for (int b = 0; b < r->n_blocks; b++)
	{
		for (size_t begin = 0; begin < r->blocks[b].n; begin += 65536)
		{
			CHECK_FOR_INTERRUPTS();
			kpx_csr_times(r->blocks[b].events + begin, r->blocks[b].times + begin, Min(65536, r->blocks[b].n - begin),
						  data->offset, data->index, data->time);
		}
		pfree(r->blocks[b].events);
		pfree(r->blocks[b].times);
	}
}

void
kpx_data_count(KpxData *data)
{
	memset(data->module_interactions, 0, sizeof(uint64) * data->n_modules);
	memset(data->module_users, 0, sizeof(uint64) * data->n_modules);
	for (size_t u = 0; u < data->users; u++)
	{
		int m = 0;
		int seen = -1;

		if (u % ROWS_A_STEP == 0)
			CHECK_FOR_INTERRUPTS();
		for (uint64 j = data->offset[u]; j < data->offset[u + 1]; j++)
		{
			while (KPX_ITEM(data->index[j]) >= data->item_base[m + 1])
				m++;
			data->module_interactions[m]++;
			if (seen != m)
				data->module_users[m]++;
			seen = m;
		}
	}
}

/* Bytes turning events into rows takes; what an algorithm needs it checks itself. */
static size_t
training_bytes(const KpxEventReader *r, const KpxData *data)
{
	return r->n_events * (sizeof(uint32) + sizeof(float)) * 3 + (r->want_times ? r->n_events * 2 * sizeof(uint32) : 0) +
		   ((size_t) data->users + data->items) * 4 * sizeof(uint64);
}

static uint32 *
last_items(KpxEventReader *r, uint32 users)
{
	uint32 *items = kpx_alloc(r->context, Max(users, 1), sizeof(uint32));

	for (uint32 u = 0; u < users; u++)
		items[u] = u < r->last_size ? r->last[u].item : KPX_NO_ITEM;
	for (uint32 u = 0; u < r->last_size; u++)
		r->last[u].item = KPX_NO_ITEM;
	return items;
}

/* Puts the items remembered as last into sorted users and items. */
static void
rename_last(KpxData *data, uint32 **arrived, const uint32 *counts, const uint32 *user_position, const uint32 *item_position)
{
	data->last_item = MemoryContextAlloc(data->context, sizeof(uint32 *) * data->n_modules);
	for (int m = 0; m < data->n_modules; m++)
	{
		data->last_item[m] = kpx_alloc(data->context, Max(data->users, 1), sizeof(uint32));
		for (uint32 u = 0; u < data->users; u++)
			data->last_item[m][u] = KPX_NO_ITEM;
		for (uint32 u = 0; u < counts[m]; u++)
			if (arrived[m][u] != KPX_NO_ITEM)
				data->last_item[m][user_position[u]] = item_position[data->item_base[m] + arrived[m][u]];
	}
}

/* basket_length < 0: users, not baskets. */
static KpxData *
ingest(KpxModule **modules, int n_modules, const double *observed, int want, int64 basket_length)
{
	KpxData *data = palloc0(sizeof(KpxData));
	KpxEventReader r = {0};
	uint32 **item_positions = palloc(sizeof(uint32 *) * n_modules);
	uint32 **arrived = palloc(sizeof(uint32 *) * n_modules);
	uint32 *arrived_counts = palloc0(sizeof(uint32) * n_modules);
	bool want_last = (want & KPX_WANT_LAST) != 0;
	uint32 *item_position;
	uint32 *user_position;

	data->context = CurrentMemoryContext;
	data->n_modules = n_modules;
	data->modules = modules;
	data->item_ids = palloc0(sizeof(KpxIds) * n_modules);
	data->item_base = palloc0(sizeof(uint32) * (n_modules + 1));
	data->module_interactions = palloc0(sizeof(uint64) * n_modules);
	data->module_users = palloc0(sizeof(uint64) * n_modules);
	data->window = palloc(sizeof(KpxWindow) * n_modules);
	r.context = CurrentMemoryContext;
	r.want_last = want_last;
	r.want_times = (want & KPX_WANT_TIMES) != 0;
	r.as_baskets = basket_length >= 0;
	r.basket_length = basket_length;
	if (basket_length > 0)
	{
		r.periods = kpx_idmap_create(CurrentMemoryContext, KPX_ID_INT);
		r.baskets = kpx_idmap_create(CurrentMemoryContext, KPX_ID_INT);
	}
	r.user_kind = kpx_user_kind(modules, n_modules);
	r.consents = kpx_consents_read(kpx_registry(), KPX_FOR_TRAINING, modules, n_modules, r.user_kind, NULL, 0);
	r.open = kpx_consents_open(r.consents);
	r.users = kpx_idmap_create(CurrentMemoryContext, r.user_kind);
	kpx_progress_phase("reading events", kpx_estimated_rows(modules, n_modules));
	for (int m = 0; m < n_modules; m++)
	{
		r.items = kpx_idmap_create(CurrentMemoryContext, kpx_module_item_kind(modules[m]));
		r.item_base = data->item_base[m];
		r.window = &data->window[m];
		*r.window = KPX_NO_WINDOW;
		r.module = modules[m];
		for (int s = 0; s < modules[m]->n_sources; s++)
			kpx_reader_read(&r, &modules[m]->sources[s], observed[m]);
		if (want & KPX_WANT_CATALOGUE)
			kpx_items_add_ids(modules[m], r.items);
		if ((uint64) data->item_base[m] + kpx_idmap_count(r.items) >= PG_INT32_MAX)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("more than %d items", PG_INT32_MAX - 1)));
		data->item_base[m + 1] = data->item_base[m] + kpx_idmap_count(r.items);
		data->item_ids[m] = kpx_idmap_sorted(r.items, data->context, &item_positions[m]);
		r.map_bytes += kpx_idmap_count(r.items) * sizeof(uint64) * 2;
		kpx_idmap_free(r.items);
		arrived_counts[m] = kpx_idmap_count(r.users);
		if (want_last)
			arrived[m] = last_items(&r, arrived_counts[m]);
	}
	kpx_reader_report(&r);
	kpx_progress_phase("sorting events", 0);
	data->items = data->item_base[n_modules];
	if (r.baskets)
	{
		kpx_idmap_free(r.users);
		kpx_idmap_free(r.periods);
		r.users = r.baskets;
	}
	data->users = kpx_idmap_count(r.users);
	kpx_check_budget(training_bytes(&r, data), r.as_baskets ? "mining" : "training");
	data->user_ids = kpx_idmap_sorted(r.users, data->context, &user_position);
	kpx_idmap_free(r.users);
	item_position = kpx_alloc(data->context, Max(data->items, 1), sizeof(uint32));
	for (int m = 0; m < n_modules; m++)
		for (uint32 i = data->item_base[m]; i < data->item_base[m + 1]; i++)
			item_position[i] = data->item_base[m] + item_positions[m][i - data->item_base[m]];
	if (want_last)
		rename_last(data, arrived, arrived_counts, user_position, item_position);
	rename_events(&r, user_position, item_position);
	build_rows(&r, data);
	if (r.want_times)
		build_times(&r, data);
	kpx_data_count(data);
	return data;
}

KpxData *
kpx_ingest(KpxModule **modules, int n_modules, const double *observed, int want)
{
	return ingest(modules, n_modules, observed, want, -1);
}

static void
require_times(KpxModule **modules, int n_modules)
{
	for (int m = 0; m < n_modules; m++)
		for (int s = 0; s < modules[m]->n_sources; s++)
			if (modules[m]->sources[s].occurred_at == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						 errmsg("event source %d of module \"%s\" has no times: its events belong to no basket",
								modules[m]->sources[s].id, modules[m]->name),
						 errhint("Register it with occurred_at, or make baskets by user alone.")));
}

KpxData *
kpx_ingest_baskets(KpxModule **modules, int n_modules, int64 basket_length)
{
	double *observed = palloc(sizeof(double) * n_modules);
	KpxData *data;

	for (int m = 0; m < n_modules; m++)
		observed[m] = 1;
	if (basket_length > 0)
		require_times(modules, n_modules);
	data = ingest(modules, n_modules, observed, 0, basket_length);
	pfree(data->weight);
	data->weight = NULL;
	return data;
}
