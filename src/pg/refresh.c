/*
 * refresh.c
 *	  kpx_refresh_items: items that came after training join a model.
 *
 * Reading every item table in every answer to find what is new would cost each answer what
 * only new items need, and a standby could not keep the result. So it is a call: it compares
 * ids, encodes the contents of new items by what training learned, predicts their factors,
 * and stores the model under its number with these items in their places. Items of old are
 * not computed again, so their scores stay.
 */
#include "kpxrec.h"

#include <math.h>

#include "catalog/pg_type.h"

#include "content.h"
#include "core/ridge.h"
#include "factor.h"
#include "hybrid.h"
#include "items.h"
#include "refresh.h"
#include "registry.h"

/* Locks the model's row against others who refresh or drop it. */
static void
lock_model(int64 id)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(id)};
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("SELECT FROM kpx.model WHERE id = $1 FOR UPDATE", 1, types, values, NULL, false);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("model " INT64_FORMAT " does not exist", id),
				 errhint("See the view kpx_models.")));
	kpx_catalog_end(&catalog);
}

/* Ids of the module's item table that the model does not have. */
static KpxIds
new_ids(const KpxModule *module, const KpxModelModule *trained)
{
	KpxIdMap *all = kpx_idmap_create(CurrentMemoryContext, trained->ids.kind);
	KpxIdMap *unknown = kpx_idmap_create(CurrentMemoryContext, trained->ids.kind);
	uint32 *position;
	KpxIds ids;

	if (kpx_module_item_kind(module) != trained->ids.kind && trained->items > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("item ids of module \"%s\" are of another kind than when the model was trained", module->name),
				 errhint("Train again, or mend the type.")));
	kpx_items_add_ids(module, all);
	ids = kpx_idmap_sorted(all, CurrentMemoryContext, &position);
	for (uint64 i = 0; i < ids.n; i++)
	{
		KpxId id = kpx_ids_get(&ids, i);

		if (i % 4096 == 0)
			CHECK_FOR_INTERRUPTS();
		if (kpx_ids_find(&trained->ids, id) < 0)
			(void) kpx_idmap_add(unknown, id);
	}
	ids = kpx_idmap_sorted(unknown, CurrentMemoryContext, &position);
	kpx_idmap_free(all);
	kpx_idmap_free(unknown);
	return ids;
}

/* Old and new ids of a module in order, and where each goes. */
static KpxIds
merge_ids(const KpxIds *old, const KpxIds *fresh, uint32 base, uint32 *place, uint32 *fresh_place)
{
	KpxIdMap *map = kpx_idmap_create(CurrentMemoryContext, old->kind);
	uint32 *position;
	KpxIds ids;

	for (uint64 i = 0; i < old->n; i++)
		(void) kpx_idmap_add(map, kpx_ids_get(old, i));
	for (uint64 i = 0; i < fresh->n; i++)
		(void) kpx_idmap_add(map, kpx_ids_get(fresh, i));
	ids = kpx_idmap_sorted(map, CurrentMemoryContext, &position);
	for (uint64 i = 0; i < old->n; i++)
		place[i] = base + position[i];
	for (uint64 i = 0; i < fresh->n; i++)
		fresh_place[i] = base + position[old->n + i];
	kpx_idmap_free(map);
	return ids;
}

/* All numbers of a model are copied, and those of an item are as many for a new one. */
static void
check_budget(const KpxRefresh *r)
{
	size_t bytes = r->old->items * (sizeof(float) + sizeof(KpxId));

	for (int p = 0; p < r->old->n_parts; p++)
		for (int a = 0; a < r->old->part[p].n_arrays; a++)
		{
			const KpxArray *array = &r->old->part[p].array[a];

			bytes += array->rows * array->ld * kpx_block_element(array->kind);
		}
	kpx_check_budget(bytes + bytes / Max(r->old->items, 1) * r->fresh_base[r->old->n_modules], "adding items to a model");
}

void
kpx_refresh_lay_out(KpxRefresh *r)
{
	const KpxModel *old = r->old;
	KpxModel *model = palloc0(sizeof(KpxModel));

	check_budget(r);
	model->id = old->id;
	model->context = CurrentMemoryContext;
	model->n_modules = old->n_modules;
	model->modules = palloc(sizeof(KpxModelModule) * old->n_modules);
	model->items = old->items + r->fresh_base[old->n_modules];
	r->place = kpx_alloc(CurrentMemoryContext, Max(old->items, 1), sizeof(uint32));
	r->fresh_place = kpx_alloc(CurrentMemoryContext, model->items, sizeof(uint32));
	for (int m = 0; m < old->n_modules; m++)
	{
		KpxModelModule *module = &model->modules[m];

		*module = old->modules[m];
		module->base = old->modules[m].base + r->fresh_base[m];
		module->items = old->modules[m].items + (uint32) r->fresh[m].n;
		module->ids = merge_ids(&old->modules[m].ids, &r->fresh[m], module->base, r->place + old->modules[m].base,
								r->fresh_place + r->fresh_base[m]);
	}
	model->popularity = kpx_alloc_aligned(CurrentMemoryContext, model->items, sizeof(float));
	for (uint32 i = 0; i < old->items; i++)
		model->popularity[r->place[i]] = old->popularity[i];
	r->model = model;
}

/* Rows of links by item: those of old items in their new places, none of new ones. */
static void
copy_offsets(const KpxRefresh *r, const KpxArray *from, KpxArray *to)
{
	const uint64 *old = from->data;
	uint64 *offset = to->data;

	memset(offset, 0, to->rows * sizeof(uint64));
	for (uint32 i = 0; i < r->old->items; i++)
		offset[r->place[i] + 1] = old[i + 1] - old[i];
	for (uint64 i = 0; i + 1 < to->rows; i++)
		offset[i + 1] += offset[i];
}

/* Copies an array; one with a row an item has its rows put in their new places, and items are named by these. */
static void
copy_array(const KpxRefresh *r, const KpxArray *from, KpxArray *to)
{
	size_t row = from->ld * kpx_block_element(from->kind);

	if (strcmp(from->name, "offset") == 0)
		copy_offsets(r, from, to);
	else if (from->kind == KPX_BLOCK_INDEXES)
		for (uint64 i = 0; i < from->rows; i++)
			((uint32 *) to->data)[i] = r->place[((const uint32 *) from->data)[i]];
	else if (strcmp(from->name, "factors") == 0 || strcmp(from->name, "cold") == 0)
		for (uint32 i = 0; i < r->old->items; i++)
			memcpy((char *) to->data + r->place[i] * row, (const char *) from->data + i * row, row);
	else
		memcpy(to->data, from->data, from->rows * row);
}

static void
copy_part(const KpxRefresh *r, int p)
{
	const KpxPart *from = &r->old->part[p];
	double number[KPX_PART_NUMBERS];
	KpxFit fit = {.model = r->model, .part = p};
	KpxPart *to;

	memcpy(number, from->number, sizeof(number));
	to = kpx_part_add(&fit, from->algorithm, number, from->n_numbers);
	for (int a = 0; a < from->n_arrays; a++)
		if (!from->array[a].derived)
			copy_array(r, &from->array[a], &to->array[a]);
}

/* New items' content vectors, and, of a hybrid model, their factors. */
static void
fill_new(KpxRefresh *r, int content)
{
	uint32 n = r->fresh_base[r->old->n_modules];
	int p = kpx_content_dim(r->old, content);
	float *vectors = kpx_content_encode_new(r->old, content, r->modules, r->old->n_modules, r->fresh, r->fresh_base);
	float *to = kpx_part_array(&r->model->part[content], "factors");
	const KpxPart *hybrid = &r->model->part[0];

	for (uint32 i = 0; i < n; i++)
		memcpy(to + r->fresh_place[i] * kpx_ld(p), vectors + i * kpx_ld(p), kpx_ld(p) * sizeof(float));
	if (hybrid->algorithm == &kpx_hybrid)
		kpx_hybrid_add_items(r->model, r->fresh_place, n);
}

void
kpx_refresh_copy(KpxRefresh *r)
{
	for (int p = 0; p < r->old->n_parts; p++)
		copy_part(r, p);
}

void
kpx_refresh_count(KpxRefresh *r, int m)
{
	if ((uint64) r->old->items + r->fresh_base[m] + r->fresh[m].n >= PG_INT32_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("more than %d items", PG_INT32_MAX - 1)));
	r->fresh_base[m + 1] = r->fresh_base[m] + (uint32) r->fresh[m].n;
}

KpxRefresh
kpx_refresh_begin(const KpxModule *module)
{
	KpxRefresh r = {0};
	int64 id = module->active_model;

	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("module \"%s\" has no active model", module->name), errhint("Train one with kpx_train.")));
	kpx_require_owner(kpx_model_owner(id), "model", psprintf(INT64_FORMAT, id));
	lock_model(id);
	r.registry = kpx_registry(); /* again: what others did while we waited */
	r.old = kpx_model(r.registry, id);
	r.fresh = palloc0(sizeof(KpxIds) * r.old->n_modules);
	r.fresh_base = palloc0(sizeof(uint32) * (r.old->n_modules + 1));
	r.modules = palloc0(sizeof(KpxModule *) * r.old->n_modules);
	for (int m = 0; m < r.old->n_modules; m++)
	{
		KpxModule *registered = kpx_find_module_by_id(r.registry, r.old->modules[m].module_id);

		r.fresh[m].kind = r.old->modules[m].ids.kind;
		/* A module that is registered no more gets no items, but its place. */
		r.modules[m] = registered ? registered : palloc0(sizeof(KpxModule));
	}
	return r;
}

PG_FUNCTION_INFO_V1(kpx_refresh_items);
Datum
kpx_refresh_items(PG_FUNCTION_ARGS)
{
	KpxRefresh r;
	int content;

	PreventCommandIfReadOnly("kpx_refresh_items()");
	r = kpx_refresh_begin(kpx_find_module(kpx_registry(), text_to_cstring(PG_GETARG_TEXT_PP(0))));
	content = kpx_content_part(r.old);
	if (content < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model " INT64_FORMAT " does not know its items by content", r.old->id),
				 errdetail("Nothing could be said of items that came after training."),
				 errhint("Train with algorithm => 'hybrid' or 'content'.")));
	for (int m = 0; m < r.old->n_modules; m++)
	{
		if (OidIsValid(r.modules[m]->items))
			r.fresh[m] = new_ids(r.modules[m], &r.old->modules[m]);
		kpx_refresh_count(&r, m);
	}
	if (r.fresh_base[r.old->n_modules] > 0)
	{
		kpx_refresh_lay_out(&r);
		kpx_refresh_copy(&r);
		fill_new(&r, content);
		kpx_model_replace(r.model);
	}
	PG_RETURN_INT64(r.fresh_base[r.old->n_modules]);
}
