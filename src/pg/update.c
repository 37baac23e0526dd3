/*
 * update.c
 *	  kpx_update_items: between trainings, the vectors of items with new events, and of new items.
 *
 * Which items these are, and who had to do with them; update_solve.c solves their rows.
 */
#include "update.h"

#include "access/htup_details.h"
#include "utils/timestamp.h"

#include "core/factor.h"
#include "algorithm.h"
#include "floor.h"
#include "idmap.h"
#include "ingest.h"
#include "model_patch.h"

#define USERS_A_QUERY 1024

/* ------------------------------------------------------------ which items */

/* Has the item so many new events that its row is worth solving? Large ones hardly move, and are dear. */
static bool
has_grown(const KpxUpdate *u, int m, uint64 i, double growth)
{
	const KpxModelModule *old = &u->r.x.old->modules[m];
	int64 known = kpx_ids_find(&old->ids, kpx_ids_get(&u->news[m].items, i));

	if (u->news[m].events[i] == 0)
		return false;
	return known < 0 || u->news[m].events[i] >= growth * u->r.x.old->popularity[old->base + known] * (double) old->interactions;
}

/* Reads the news of all modules. */
static void
read_news(KpxUpdate *u, TimestampTz since)
{
	const KpxModel *old = u->r.x.old;

	u->news = palloc0(sizeof(KpxNews) * old->n_modules);
	for (int m = 0; m < old->n_modules; m++)
	{
		u->news[m].window = old->modules[m].window;
		if (u->r.modules[m]->n_sources == 0)
			continue;
		if (kpx_module_item_kind(u->r.modules[m]) != old->modules[m].ids.kind && old->modules[m].items > 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("item ids of module \"%s\" are of another kind than when the model was trained", old->modules[m].name),
					 errhint("Train again, or mend the type.")));
		u->news[m] = kpx_news_read(u->r.registry, old, m, since);
		u->events += u->news[m].all;
	}
}

/* Lays the new model out, with the new items among those that have grown; is there any to solve? */
static bool
find_grown(KpxUpdate *u, double growth)
{
	const KpxModel *old = u->r.x.old;
	bool any = false;

	for (int m = 0; m < old->n_modules; m++)
	{
		KpxIdMap *unknown = kpx_idmap_create(CurrentMemoryContext, old->modules[m].ids.kind);
		uint32 *position;

		for (uint64 i = 0; i < u->news[m].items.n; i++)
			if (has_grown(u, m, i, growth))
			{
				any = true;
				if (kpx_ids_find(&old->modules[m].ids, kpx_ids_get(&u->news[m].items, i)) < 0)
					(void) kpx_idmap_add(unknown, kpx_ids_get(&u->news[m].items, i));
			}
		u->r.x.fresh[m] = kpx_idmap_sorted(unknown, CurrentMemoryContext, &position);
		kpx_idmap_free(unknown);
		kpx_extension_count(&u->r.x, m);
	}
	return any;
}

static void
find_changed(KpxUpdate *u, double growth)
{
	KpxModel *model = u->r.x.model;

	u->n_changed = 0;
	u->row = kpx_alloc(CurrentMemoryContext, Max(model->items, 1), sizeof(uint32));
	u->changed = kpx_alloc(CurrentMemoryContext, Max(model->items, 1), sizeof(uint32));
	for (uint32 i = 0; i < model->items; i++)
		u->row[i] = KPX_NO_ROW;
	for (int m = 0; m < model->n_modules; m++)
		for (uint64 i = 0; i < u->news[m].items.n; i++)
			if (has_grown(u, m, i, growth))
			{
				uint32 item = model->modules[m].base +
							  (uint32) kpx_ids_find(&model->modules[m].ids, kpx_ids_get(&u->news[m].items, i));

				u->row[item] = u->n_changed;
				u->changed[u->n_changed++] = item;
			}
	u->fresh = kpx_alloc(CurrentMemoryContext, Max(u->n_changed, 1), sizeof(bool));
	memset(u->fresh, 0, sizeof(bool) * u->n_changed);
	for (uint32 i = 0; i < u->r.x.fresh_base[model->n_modules]; i++)
		u->fresh[u->row[u->r.x.fresh_place[i]]] = true;
}

/* ------------------------------------------------------------ who had to do with them */

static void
find_users(KpxUpdate *u)
{
	size_t ld = kpx_ld((int) u->r.x.old->part[0].number[0]);
	const KpxModel *model = u->r.x.model;
	KpxIdKind kind = kpx_model_user_kind(u->r.registry, model);
	KpxIdMap *map = kpx_idmap_create(CurrentMemoryContext, kind);
	uint32 *position;
	KpxIds ids;
	KpxId *id;
	uint32 at = 0;

	for (int m = 0; m < model->n_modules; m++)
	{
		const KpxModelModule *module = &model->modules[m];
		KpxId *items = kpx_alloc(CurrentMemoryContext, Max(u->n_changed, 1), sizeof(KpxId));
		int n = 0;

		for (; at < u->n_changed && u->changed[at] < module->base + module->items; at++)
			items[n++] = kpx_ids_get(&module->ids, u->changed[at] - module->base);
		kpx_news_users(u->r.modules[m], module->ids.kind, items, n, map, kind);
	}
	ids = kpx_idmap_sorted(map, CurrentMemoryContext, &position);
	kpx_idmap_free(map);
	u->n_users = (uint32) ids.n;
	kpx_check_budget((size_t) u->n_users * (3 * ld * sizeof(float) + 64 * 16), "folding in the users of the changed items");
	u->histories = kpx_alloc(CurrentMemoryContext, Max(u->n_users, 1), sizeof(KpxHistory));
	id = kpx_alloc(CurrentMemoryContext, USERS_A_QUERY, sizeof(KpxId));
	for (uint32 begin = 0; begin < u->n_users; begin += USERS_A_QUERY)
	{
		uint32 n = Min(USERS_A_QUERY, u->n_users - begin);

		CHECK_FOR_INTERRUPTS();
		for (uint32 i = 0; i < n; i++)
			id[i] = kpx_ids_get(&ids, begin + i);
		memcpy(u->histories + begin, kpx_history_read(u->r.registry, model, NULL, id, (int) n, kind, KPX_FOR_TRAINING), sizeof(KpxHistory) * n);
	}
}

/* ------------------------------------------------------------ the floor */

/* Those who let nothing be used, or had to do with nothing of the model, say nothing. */
static void
drop_empty_histories(KpxUpdate *u)
{
	uint32 kept = 0;

	for (uint32 i = 0; i < u->n_users; i++)
		if (u->histories[i].n > 0)
			u->histories[kept++] = u->histories[i];
	u->n_users = kept;
}

/*
 * What rests on fewer than kpxrec.min_users users is not solved, as it would not be trained: a new item
 * waits outside, an old one, whose users have left, keeps its row. Was there any?
 */
static bool
leave_out_rare(KpxUpdate *u, double growth)
{
	const KpxModel *model = u->r.x.model;
	uint32 *users = kpx_alloc(CurrentMemoryContext, Max(u->n_changed, 1), sizeof(uint32));
	uint32 rare = 0;

	memset(users, 0, sizeof(uint32) * u->n_changed);
	for (uint32 i = 0; i < u->n_users; i++)
		for (uint32 j = 0; j < u->histories[i].n; j++)
			if (u->row[u->histories[i].index[j]] != KPX_NO_ROW)
				users[u->row[u->histories[i].index[j]]]++;
	for (int m = 0; m < model->n_modules; m++)
		for (uint64 i = 0; i < u->news[m].items.n; i++)
			if (has_grown(u, m, i, growth))
			{
				const KpxModelModule *module = &model->modules[m];
				int64 item = module->base + kpx_ids_find(&module->ids, kpx_ids_get(&u->news[m].items, i));

				if (users[u->row[item]] >= (uint32) kpx_min_users)
					continue;
				u->news[m].events[i] = 0;
				rare++;
			}
	pfree(users);
	return rare > 0;
}

/* Histories that name items as they are in one layout of the model, as they are in another with fewer. */
static void
rename_items(KpxUpdate *u, const KpxModel *from)
{
	const KpxModel *to = u->r.x.model;

	for (uint32 i = 0; i < u->n_users; i++)
	{
		KpxHistory *history = &u->histories[i];
		uint32 kept = 0;
		int m = 0;

		for (uint32 j = 0; j < history->n; j++)
		{
			int64 item;

			while (history->index[j] >= from->modules[m].base + from->modules[m].items)
				m++;
			item = kpx_ids_find(&to->modules[m].ids, kpx_ids_get(&from->modules[m].ids, history->index[j] - from->modules[m].base));
			if (item < 0)
				continue;
			history->index[kept] = to->modules[m].base + (uint32) item;
			history->weight[kept] = history->weight[j];
			history->time[kept++] = history->time[j];
		}
		history->n = kept;
	}
}

/* Makes the new model, with what has grown and who had to do with it; is there anything to solve? */
static bool
prepare(KpxUpdate *u, double growth)
{
	const KpxModel *wide;

	if (!find_grown(u, growth))
		return false;
	kpx_refresh_lay_out(&u->r);
	find_changed(u, growth);
	find_users(u);
	drop_empty_histories(u);
	if (!leave_out_rare(u, growth))
		return true;
	if (!find_grown(u, growth))
		return false;
	wide = u->r.x.model;
	kpx_refresh_lay_out(&u->r);
	find_changed(u, growth);
	rename_items(u, wide);
	drop_empty_histories(u);
	return true;
}

/* ------------------------------------------------------------ kpx_update_items */

static void
require_ials(const KpxModel *model)
{
	if (model->n_parts != 1 || model->part[0].algorithm != &kpx_ials)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("items of model " INT64_FORMAT " cannot be updated: its algorithm is \"%s\"", model->id, model->part[0].algorithm->name),
				 errhint("Only models of \"ials\" can. kpx_refresh_items adds new items to those of \"content\" and \"hybrid\"; else train again.")));
}

PG_FUNCTION_INFO_V1(kpx_update_items);
Datum
kpx_update_items(PG_FUNCTION_ARGS)
{
	KpxUpdate u = {0};
	TupleDesc desc;
	Datum values[5];
	bool nulls[5] = {false};
	double growth = PG_ARGISNULL(1) ? 0.05 : PG_GETARG_FLOAT8(1);
	uint32 fresh;

	PreventCommandIfReadOnly("kpx_update_items()");
	kpx_require_blas();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("kpx_update_items must be called for a record")));
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"module\" must not be NULL")));
	if (!(growth >= 0 && growth <= 1e9))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"growth\" must be 0 or more, found %g", growth)));
	u.r = kpx_refresh_begin(kpx_find_module(kpx_registry(), text_to_cstring(PG_GETARG_TEXT_PP(0))));
	require_ials(u.r.x.old);
	fresh = 0;
	read_news(&u, PG_ARGISNULL(2) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(2));
	if (prepare(&u, growth))
	{
		kpx_extension_copy(&u.r.x);
		u.axes = kpx_patch_axes(u.r.x.old);
		kpx_update_solve(&u);
		fresh = u.r.x.fresh_base[u.r.x.old->n_modules];
		kpx_patch_store(u.r.x.model, u.changed, u.n_changed, u.axes);
	}
	else
		u.n_changed = u.n_users = 0;
	values[0] = Int64GetDatum(u.r.x.old->id);
	values[1] = Int64GetDatum((int64) u.events);
	values[2] = Int64GetDatum(u.n_users);
	values[3] = Int64GetDatum(u.n_changed - fresh);
	values[4] = Int64GetDatum(fresh);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
