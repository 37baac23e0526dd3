/*
 * model.c
 *	  Trained models: activation, privileges and the session's cache of them.
 *
 * A model is immutable once stored, so a cached copy can be wrong only by not existing
 * any more: whenever the registry was invalidated, that is looked up again. Copies that
 * lose their place in the cache live until the transaction ends, because a function
 * further up the stack may still use them.
 */
#include "model.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "algorithm.h"
#include "calls.h"
#include "fault.h"
#include "model_block.h"
#include "model_share.h"

#define CACHED_MODELS 32

static KpxModel *cached[CACHED_MODELS];
static KpxModel *evicted = NULL;
static uint64 clock_hand = 0;
static bool callback_registered = false;

static void
free_model(KpxModel *model)
{
	kpx_share_release(model);
	MemoryContextDelete(model->context);
}

static void
transaction_ended(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	while (evicted)
	{
		KpxModel *next = evicted->next_evicted;

		free_model(evicted);
		evicted = next;
	}
}

static void
evict(int slot)
{
	KpxModel *model = cached[slot];

	cached[slot] = NULL;
	model->next_evicted = evicted;
	evicted = model;
}

void
kpx_model_check_size(int64 id, size_t needed)
{
	size_t limit = (size_t) kpx_cache_size * 1024;

	if (needed > limit)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("model " INT64_FORMAT " takes %zu MB, kpxrec.cache_size allows %zu MB",
						id, needed >> 20, limit >> 20),
				 errhint("Increase kpxrec.cache_size.")));
}

/* A free slot, after evicting the least recently used models until needed bytes fit. */
static int
make_room(size_t needed, int64 id)
{
	size_t limit = (size_t) kpx_cache_size * 1024;

	kpx_model_check_size(id, needed);
	for (;;)
	{
		size_t total = 0;
		int oldest = -1;
		int vacant = -1;

		for (int i = 0; i < CACHED_MODELS; i++)
		{
			if (cached[i] == NULL)
			{
				vacant = i;
				continue;
			}
			total += cached[i]->bytes;
			if (oldest < 0 || cached[i]->used < cached[oldest]->used)
				oldest = i;
		}
		if (total + needed <= limit && vacant >= 0)
			return vacant;
		evict(oldest);
	}
}

static void
check_privilege(KpxRegistry *registry, const KpxModel *model)
{
	if (kpx_has_role(model->owner))
		return;
	for (int m = 0; m < model->n_modules; m++)
	{
		KpxModule *module = kpx_find_module_by_id(registry, model->modules[m].module_id);

		if (module == NULL || !kpx_may_read_sources(module))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied for model " INT64_FORMAT, model->id),
					 errdetail("The current role neither owns it nor may select from all event sources of module \"%s\".",
							   model->modules[m].name),
					 errhint("Grant SELECT on them, or membership in the owner's role.")));
	}
}

KpxModel *
kpx_model_if_exists(KpxRegistry *registry, int64 id)
{
	KpxModel *model = NULL;
	int slot;

	if (!callback_registered)
	{
		RegisterXactCallback(transaction_ended, NULL);
		callback_registered = true;
	}
	for (slot = 0; slot < CACHED_MODELS; slot++)
		if (cached[slot] && cached[slot]->id == id)
		{
			model = cached[slot];
			break;
		}
	if (model && model->generation != registry->generation)
	{
		if (kpx_model_is_current(model))
			model->generation = registry->generation;
		else
		{
			evict(slot);
			model = NULL;
		}
	}
	if (model)
		kpx_models_found[KPX_FROM_SESSION]++;
	else
	{
		model = kpx_model_load(id);
		if (model == NULL)
			return NULL;
		kpx_models_found[model->segment ? KPX_FROM_SHARED : KPX_FROM_TABLES]++;
		model->generation = registry->generation;
		model->bytes = MemoryContextMemAllocated(model->context, true);
		PG_TRY();
		{
			slot = make_room(model->bytes, id);
		}
		PG_CATCH();
		{
			free_model(model);
			PG_RE_THROW();
		}
		PG_END_TRY();
		cached[slot] = model;
	}
	model->used = ++clock_hand;
	check_privilege(registry, model);
	return model;
}

static void
say_missing(int64 id)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("model " INT64_FORMAT " does not exist", id), errhint("See the view kpx_models.")));
}

KpxModel *
kpx_model(KpxRegistry *registry, int64 id)
{
	KpxModel *model = kpx_model_if_exists(registry, id);

	if (model == NULL)
		say_missing(id);
	return model;
}

KpxModelModule *
kpx_model_module(KpxModel *model, const char *name)
{
	for (int m = 0; m < model->n_modules; m++)
		if (strcmp(model->modules[m].name, name) == 0)
			return &model->modules[m];
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("model " INT64_FORMAT " was not trained on module \"%s\"", model->id, name),
			 errhint("See modules in the view kpx_models.")));
}

/* Owner and module ids of a model; false when it does not exist. */
static bool
model_metadata(int64 id, char **owner, int **modules, int *n)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(id)};
	KpxCatalog catalog;
	MemoryContext context = CurrentMemoryContext;
	bool null;

	*n = 0;
	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT m.owner, mm.module_id FROM kpx.model m JOIN kpx.model_module mm ON mm.model_id = m.id"
						" WHERE m.id = $1 ORDER BY mm.position",
						1, types, values, NULL, true);
	if (SPI_processed > 0)
	{
		*owner = MemoryContextStrdup(context, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
		*modules = MemoryContextAlloc(context, sizeof(int) * SPI_processed);
		for (*n = 0; *n < (int) SPI_processed; (*n)++)
			(*modules)[*n] = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[*n], SPI_tuptable->tupdesc, 2, &null));
	}
	kpx_catalog_end(&catalog);
	return *n > 0;
}

static void
require_model(int64 id, char **owner, int **modules, int *n)
{
	if (!model_metadata(id, owner, modules, n))
		say_missing(id);
}

void
kpx_model_lock(int64 id)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(id)};
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("SELECT FROM kpx.model WHERE id = $1 FOR KEY SHARE", 1, types, values, NULL, false);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("model " INT64_FORMAT " was dropped just now", id)));
	kpx_catalog_end(&catalog);
}

void
kpx_model_lock_modules(int64 id)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(id)};
	KpxCatalog catalog;

	kpx_model_lock(id);
	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("SELECT FROM kpx.module WHERE id IN (SELECT module_id FROM kpx.model_module WHERE model_id = $1)"
						" ORDER BY id FOR NO KEY UPDATE",
						1, types, values, NULL, false);
	kpx_catalog_end(&catalog);
}

void
kpx_model_activate(int64 id)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(id)};
	KpxCatalog catalog;

	kpx_model_lock_modules(id);
	KPX_FAULT("lock");
	kpx_catalog_begin(&catalog, false);
	/* Who challenged the active model is a challenger no more; and what kpx_rollback goes back to. */
	kpx_catalog_execute("DELETE FROM kpx.traffic WHERE model_id = $1", 1, types, values, NULL, false);
	kpx_catalog_execute("INSERT INTO kpx.activation (module_id, model_id)"
						" SELECT mm.module_id, mm.model_id FROM kpx.model_module mm JOIN kpx.module m ON m.id = mm.module_id"
						" LEFT JOIN kpx.active_model a ON a.module_id = mm.module_id"
						" WHERE mm.model_id = $1 AND a.model_id IS DISTINCT FROM $1 ORDER BY mm.module_id",
						1, types, values, NULL, false);
	KPX_FAULT("activation");
	kpx_catalog_execute("INSERT INTO kpx.active_model (module_id, model_id)"
						" SELECT mm.module_id, mm.model_id FROM kpx.model_module mm JOIN kpx.module m ON m.id = mm.module_id"
						" WHERE mm.model_id = $1 ORDER BY mm.module_id"
						" ON CONFLICT (module_id) DO UPDATE SET model_id = excluded.model_id,"
						" activated_at = clock_timestamp(), activated_by = excluded.activated_by",
						1, types, values, NULL, false);
	kpx_catalog_end(&catalog);
	KPX_FAULT("active");
}

PG_FUNCTION_INFO_V1(kpx_activate);
Datum
kpx_activate(PG_FUNCTION_ARGS)
{
	int64 id = PG_GETARG_INT64(0);
	KpxRegistry *registry = kpx_registry();
	char *owner;
	int *modules;
	int n;

	PreventCommandIfReadOnly("kpx_activate()");
	require_model(id, &owner, &modules, &n);
	kpx_require_owner(owner, "model", psprintf(INT64_FORMAT, id));
	for (int i = 0; i < n; i++)
	{
		KpxModule *module = kpx_find_module_by_id(registry, modules[i]);

		if (module)
			kpx_require_owner(module->owner, "module", module->name);
	}
	kpx_model_activate(id);
	PG_RETURN_VOID();
}

void
kpx_model_delete(int64 id)
{
	/* The lock first: it waits for those who are activating it. */
	static const char *const statements[] = {
		"SELECT FROM kpx.model WHERE id = $1 FOR UPDATE",
		"DELETE FROM kpx.active_model WHERE model_id = $1",
		"DELETE FROM kpx.traffic WHERE model_id = $1",
		"DELETE FROM kpx.activation WHERE model_id = $1",
		"DELETE FROM kpx.model_block WHERE model_id = $1",
		"DELETE FROM kpx.model_part WHERE model_id = $1",
		"DELETE FROM kpx.model_module WHERE model_id = $1",
		"DELETE FROM kpx.model WHERE id = $1",
	};
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(id)};
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	for (int i = 0; i < (int) lengthof(statements); i++)
	{
		KPX_FAULT("delete");
		kpx_catalog_execute(statements[i], 1, types, values, NULL, false);
	}
	kpx_catalog_end(&catalog);
}

char *
kpx_model_owner(int64 id)
{
	char *owner;
	int *modules;
	int n;

	require_model(id, &owner, &modules, &n);
	return owner;
}

PG_FUNCTION_INFO_V1(kpx_drop_model);
Datum
kpx_drop_model(PG_FUNCTION_ARGS)
{
	int64 id = PG_GETARG_INT64(0);

	PreventCommandIfReadOnly("kpx_drop_model()");
	kpx_require_owner(kpx_model_owner(id), "model", psprintf(INT64_FORMAT, id));
	kpx_model_delete(id);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(kpx_may_use_model);
Datum
kpx_may_use_model(PG_FUNCTION_ARGS)
{
	char *owner;
	int *modules;
	int n;
	KpxRegistry *registry = kpx_registry();

	if (!model_metadata(PG_GETARG_INT64(0), &owner, &modules, &n))
		PG_RETURN_BOOL(false);
	if (kpx_has_role(owner))
		PG_RETURN_BOOL(true);
	for (int i = 0; i < n; i++)
	{
		KpxModule *module = kpx_find_module_by_id(registry, modules[i]);

		if (module == NULL || !kpx_may_read_sources(module))
			PG_RETURN_BOOL(false);
	}
	PG_RETURN_BOOL(true);
}

static Datum
item_factors(FunctionCallInfo fcinfo, Oid type, int model_argument)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	KpxRegistry *registry = kpx_registry();
	char *name;
	int64 id;
	KpxModel *model;
	KpxModelModule *module;
	const KpxAlgorithm *algorithm;
	MemoryContext row_context;
	Datum *elements;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	id = PG_ARGISNULL(model_argument) ? kpx_find_module(registry, name)->active_model : PG_GETARG_INT64(model_argument);
	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("module \"%s\" has no active model", name), errhint("Train one with kpx_train.")));
	model = kpx_model(registry, id);
	module = kpx_model_module(model, name);
	algorithm = model->part[0].algorithm;
	row_context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec factors", ALLOCSET_SMALL_SIZES);
	if (algorithm->vector == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model " INT64_FORMAT " has no vectors: its algorithm is \"%s\"", id, algorithm->name)));
	for (uint32 i = 0; i < module->items; i++)
	{
		int length;
		const float *row = algorithm->vector(model, 0, module->base + i, &length);
		Datum values[2];
		bool nulls[2] = {false, false};
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		old = MemoryContextSwitchTo(row_context);
		elements = palloc(sizeof(Datum) * length);
		for (int k = 0; k < length; k++)
			elements[k] = Float4GetDatum(row[k]);
		values[0] = kpx_id_to_datum(module->ids.kind, kpx_ids_get(&module->ids, i), type);
		values[1] = PointerGetDatum(construct_array(elements, length, FLOAT4OID, 4, true, TYPALIGN_INT));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_context);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(kpx_item_factors);
Datum
kpx_item_factors(PG_FUNCTION_ARGS)
{
	return item_factors(fcinfo, get_fn_expr_argtype(fcinfo->flinfo, 1), 2);
}

PG_FUNCTION_INFO_V1(kpx_item_factors_text);
Datum
kpx_item_factors_text(PG_FUNCTION_ARGS)
{
	return item_factors(fcinfo, TEXTOID, 1);
}
