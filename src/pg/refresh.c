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

/* New items' content vectors, and, of a hybrid model, their factors. */
static void
fill_new(KpxRefresh *r, int content)
{
	uint32 n = r->x.fresh_base[r->x.old->n_modules];
	int p = kpx_content_dim(r->x.old, content);
	float *vectors = kpx_content_encode_new(r->x.old, content, r->modules, r->x.old->n_modules, r->x.fresh, r->x.fresh_base);
	float *to = kpx_part_array(&r->x.model->part[content], "factors");
	const KpxPart *hybrid = &r->x.model->part[0];

	for (uint32 i = 0; i < n; i++)
		memcpy(to + r->x.fresh_place[i] * kpx_ld(p), vectors + i * kpx_ld(p), kpx_ld(p) * sizeof(float));
	if (hybrid->algorithm == &kpx_hybrid)
		kpx_hybrid_add_items(r->x.model, r->x.fresh_place, n);
}

/* All numbers of a model are copied, and those of an item are as many for a new one. */
static void
check_budget(const KpxExtension *x)
{
	size_t bytes = x->old->items * (sizeof(float) + sizeof(KpxId));

	for (int p = 0; p < x->old->n_parts; p++)
		for (int a = 0; a < x->old->part[p].n_arrays; a++)
		{
			const KpxArray *array = &x->old->part[p].array[a];

			bytes += array->rows * array->ld * kpx_block_element(array->kind);
		}
	kpx_check_budget(bytes + bytes / Max(x->old->items, 1) * x->fresh_base[x->old->n_modules], "adding items to a model");
}

void
kpx_refresh_lay_out(KpxRefresh *r)
{
	check_budget(&r->x);
	kpx_extension_lay_out(&r->x);
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
	r.x.old = kpx_model(r.registry, id);
	r.x.fresh = palloc0(sizeof(KpxIds) * r.x.old->n_modules);
	r.x.fresh_base = palloc0(sizeof(uint32) * (r.x.old->n_modules + 1));
	r.modules = palloc0(sizeof(KpxModule *) * r.x.old->n_modules);
	for (int m = 0; m < r.x.old->n_modules; m++)
	{
		KpxModule *registered = kpx_find_module_by_id(r.registry, r.x.old->modules[m].module_id);

		r.x.fresh[m].kind = r.x.old->modules[m].ids.kind;
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
	content = kpx_content_part(r.x.old);
	if (content < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model " INT64_FORMAT " does not know its items by content", r.x.old->id),
				 errdetail("Nothing could be said of items that came after training."),
				 errhint("Train with algorithm => 'hybrid' or 'content'.")));
	for (int m = 0; m < r.x.old->n_modules; m++)
	{
		if (OidIsValid(r.modules[m]->items))
			r.x.fresh[m] = new_ids(r.modules[m], &r.x.old->modules[m]);
		kpx_extension_count(&r.x, m);
	}
	if (r.x.fresh_base[r.x.old->n_modules] > 0)
	{
		kpx_refresh_lay_out(&r);
		kpx_extension_copy(&r.x);
		fill_new(&r, content);
		kpx_model_replace(r.x.model);
	}
	PG_RETURN_INT64(r.x.fresh_base[r.x.old->n_modules]);
}
