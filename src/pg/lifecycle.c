/*
 * lifecycle.c
 *	  From one model to the next: challengers, going back, deleting what is old.
 */
#include "lifecycle.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/array.h"

#include "factor.h"
#include "fault.h"
#include "model.h"
#include "request.h"

/* ------------------------------------------------------------ champion and challengers */

/* A number in [0, 1) that depends on the user and the challenger alone. */
static double
place_of(const char *user_id, int64 model)
{
	uint64 hash = hash_bytes_extended((const unsigned char *) user_id, (int) strlen(user_id), (uint64) model);

	return ldexp((double) (hash >> 11), -53);
}

/*
 * Challengers are asked in order, each for its share of the users that those before left over.
 * Each has its own hash: who was in one experiment says nothing about who is in the next.
 */
int64
kpx_model_for_user(const KpxModule *module, KpxIdKind kind, KpxId user)
{
	const char *user_id = module->n_traffic ? kpx_id_to_cstring(kind, user) : "";
	double left = 1;

	for (int t = 0; t < module->n_traffic; t++)
	{
		if (place_of(user_id, module->traffic[t].model) * left < module->traffic[t].share)
			return module->traffic[t].model;
		left -= module->traffic[t].share;
	}
	return module->active_model;
}

int64
kpx_model_for_text(KpxRegistry *registry, const KpxModule *module, const char *user_id)
{
	KpxIdKind kind;

	if (module->n_traffic == 0)
		return module->active_model;
	kind = kpx_model_user_kind(registry, kpx_model(registry, module->traffic[0].model));
	return kpx_model_for_user(module, kind, kpx_id_from_text(kind, user_id));
}

PG_FUNCTION_INFO_V1(kpx_model_for);
Datum
kpx_model_for(PG_FUNCTION_ARGS)
{
	KpxRegistry *registry = kpx_registry();
	int64 model;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	model = kpx_model_for_text(registry, kpx_find_module(registry, text_to_cstring(PG_GETARG_TEXT_PP(1))),
							   text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (model == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(model);
}

/* Of the model's modules that are registered, those named in argument n, or all when it is NULL. */
static KpxModule **
modules_of(FunctionCallInfo fcinfo, int n, int64 id, int *count)
{
	KpxRegistry *registry = kpx_registry();
	KpxModel *model = kpx_model(registry, id);
	KpxModule **modules;

	if (!PG_ARGISNULL(n))
	{
		modules = kpx_modules_argument(PG_GETARG_ARRAYTYPE_P(n), registry, count);
		for (int m = 0; m < *count; m++)
			(void) kpx_model_module(model, modules[m]->name);
		return modules;
	}
	modules = palloc(sizeof(KpxModule *) * model->n_modules);
	*count = 0;
	for (int m = 0; m < model->n_modules; m++)
		if ((modules[*count] = kpx_find_module_by_id(registry, model->modules[m].module_id)) != NULL)
			(*count)++;
	return modules;
}

/* Until the transaction ends nobody else changes which models answer for this module, or drops it. */
static void
lock_module(const KpxModule *module)
{
	Oid types[] = {INT4OID};
	Datum values[] = {Int32GetDatum(module->id)};
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("SELECT FROM kpx.module WHERE id = $1 FOR NO KEY UPDATE", 1, types, values, NULL, false);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("module \"%s\" was dropped just now", module->name)));
	kpx_catalog_end(&catalog);
}

static int
by_id(const void *a, const void *b)
{
	return (*(KpxModule *const *) a)->id - (*(KpxModule *const *) b)->id;
}

/* In one order everywhere, against deadlocks; whoever calls must own them. */
static void
lock_modules(KpxModule **modules, int n)
{
	KpxModule **sorted = palloc(sizeof(KpxModule *) * Max(n, 1));

	memcpy(sorted, modules, sizeof(KpxModule *) * n);
	qsort(sorted, n, sizeof(KpxModule *), by_id);
	for (int m = 0; m < n; m++)
	{
		kpx_require_owner(sorted[m]->owner, "module", sorted[m]->name);
		lock_module(sorted[m]);
	}
}

/* What other challengers of the module have, as committed now. */
static double
others_share(const KpxModule *module, int64 model, int64 *active)
{
	Oid types[] = {INT4OID, INT8OID};
	Datum values[] = {Int32GetDatum(module->id), Int64GetDatum(model)};
	KpxCatalog catalog;
	bool null;
	double share;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT coalesce(sum(share), 0)::float8, (SELECT model_id FROM kpx.active_model WHERE module_id = $1)"
						" FROM kpx.traffic WHERE module_id = $1 AND model_id <> $2",
						2, types, values, NULL, true);
	share = DatumGetFloat8(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	*active = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null));
	if (null)
		*active = 0;
	kpx_catalog_end(&catalog);
	return share;
}

static void
set_share(const KpxModule *module, int64 model, double share)
{
	Oid types[] = {INT4OID, INT8OID, FLOAT8OID};
	Datum values[] = {Int32GetDatum(module->id), Int64GetDatum(model), Float8GetDatum(share)};
	KpxCatalog catalog;
	int64 active;
	double others = others_share(module, model, &active);

	if (share > 0 && active == model)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model " INT64_FORMAT " answers for module \"%s\" already", model, module->name),
				 errhint("A challenger is a model that is not active. Activate another one first, or name the modules in which this one is to have a share.")));
	if (share > 0 && active == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("module \"%s\" has no active model to challenge", module->name), errhint("Activate one with kpx_activate.")));
	if (share + others > 1 + 1e-9)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("challengers of module \"%s\" would have more than all users: %g, and %g of others", module->name, share, others),
				 errhint("See traffic in the view kpx_models.")));
	kpx_catalog_begin(&catalog, false);
	if (share > 0)
		kpx_catalog_execute("INSERT INTO kpx.traffic (module_id, model_id, share) VALUES ($1, $2, $3)"
							" ON CONFLICT (module_id, model_id) DO UPDATE SET share = excluded.share,"
							" set_at = excluded.set_at, set_by = excluded.set_by",
							3, types, values, NULL, false);
	else
		kpx_catalog_execute("DELETE FROM kpx.traffic WHERE module_id = $1 AND model_id = $2", 2, types, values, NULL, false);
	kpx_catalog_end(&catalog);
}

PG_FUNCTION_INFO_V1(kpx_set_traffic);
Datum
kpx_set_traffic(PG_FUNCTION_ARGS)
{
	int64 id;
	double share;
	KpxModule **modules;
	int n;

	PreventCommandIfReadOnly("kpx_set_traffic()");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be NULL", PG_ARGISNULL(0) ? "model" : "share")));
	id = PG_GETARG_INT64(0);
	share = PG_GETARG_FLOAT8(1);
	if (!(share >= 0 && share <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"share\" must be from 0 to 1, found %g", share),
				 errhint("0.1 lets the model answer one user in ten.")));
	kpx_require_owner(kpx_model_owner(id), "model", psprintf(INT64_FORMAT, id));
	modules = modules_of(fcinfo, 2, id, &n);
	kpx_model_lock(id);
	lock_modules(modules, n);
	for (int m = 0; m < n; m++)
		set_share(modules[m], id, share);
	PG_RETURN_VOID();
}

/* ------------------------------------------------------------ going back */

/* The model that was active before active (0 = none is), and still exists; 0 = none. */
static int64
previous_model(const KpxModule *module, int64 active)
{
	Oid types[] = {INT4OID, INT8OID};
	Datum values[] = {Int32GetDatum(module->id), Int64GetDatum(active)};
	KpxCatalog catalog;
	int64 previous = 0;
	bool null;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT a.model_id FROM kpx.activation a"
						" WHERE a.module_id = $1 AND a.rolled_back_at IS NULL AND a.model_id <> $2"
						" AND EXISTS (SELECT FROM kpx.model_module mm WHERE mm.model_id = a.model_id AND mm.module_id = $1)"
						" ORDER BY a.id DESC LIMIT 1",
						2, types, values, NULL, true);
	if (SPI_processed == 1)
		previous = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	kpx_catalog_end(&catalog);
	return previous;
}

/* Takes active off the top of the module's activations; previous answers. */
static void
go_back(const KpxModule *module, int64 active, int64 previous)
{
	Oid types[] = {INT4OID, INT8OID, INT8OID};
	Datum values[] = {Int32GetDatum(module->id), Int64GetDatum(active), Int64GetDatum(previous)};
	KpxCatalog catalog;

	kpx_model_lock(previous);
	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("UPDATE kpx.activation SET rolled_back_at = clock_timestamp()"
						" WHERE module_id = $1 AND model_id = $2 AND rolled_back_at IS NULL"
						" AND id > (SELECT max(id) FROM kpx.activation WHERE module_id = $1 AND model_id = $3 AND rolled_back_at IS NULL)",
						3, types, values, NULL, false);
	KPX_FAULT("rollback");
	kpx_catalog_execute("DELETE FROM kpx.traffic WHERE module_id = $1 AND model_id = $3", 3, types, values, NULL, false);
	kpx_catalog_execute("INSERT INTO kpx.active_model (module_id, model_id) VALUES ($1, $3)"
						" ON CONFLICT (module_id) DO UPDATE SET model_id = excluded.model_id,"
						" activated_at = clock_timestamp(), activated_by = excluded.activated_by",
						3, types, values, NULL, false);
	kpx_catalog_end(&catalog);
}

PG_FUNCTION_INFO_V1(kpx_rollback);
Datum
kpx_rollback(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	KpxModule **modules;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	PreventCommandIfReadOnly("kpx_rollback()");
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"modules\" must not be NULL")));
	modules = kpx_modules_argument(PG_GETARG_ARRAYTYPE_P(0), kpx_registry(), &n);
	lock_modules(modules, n);
	for (int m = 0; m < n; m++)
	{
		int64 active;
		int64 previous;
		Datum values[3];
		bool nulls[3] = {false};

		(void) others_share(modules[m], 0, &active);
		previous = previous_model(modules[m], active);
		if (previous == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("module \"%s\" has no earlier model to go back to", modules[m]->name),
					 errhint("See the view kpx_models; kpx_activate makes any of them answer.")));
		kpx_require_owner(kpx_model_owner(previous), "model", psprintf(INT64_FORMAT, previous));
		go_back(modules[m], active, previous);
		values[0] = CStringGetTextDatum(modules[m]->name);
		values[1] = Int64GetDatum(previous);
		values[2] = Int64GetDatum(active);
		nulls[2] = active == 0;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* ------------------------------------------------------------ deleting what is old */

/*
 * Not among the newest $1 versions of its name, and nobody needs it: it answers for no module, whole
 * or in part, is what no module would go back to, and no segmentation was made with it.
 */
static const char old_models[] =
	"SELECT m.id, m.name, m.version, m.bytes, m.owner FROM"
	" (SELECT *, row_number() OVER (PARTITION BY name ORDER BY version DESC) AS place FROM kpx.model) m"
	" WHERE m.place > $1 AND ($2 IS NULL OR m.name = $2) AND ($3 IS NULL OR m.id = $3)"
	" AND NOT EXISTS (SELECT FROM kpx.active_model a WHERE a.model_id = m.id)"
	" AND NOT EXISTS (SELECT FROM kpx.traffic t WHERE t.model_id = m.id)"
	" AND NOT EXISTS (SELECT FROM kpx.segmentation s WHERE s.model_id = m.id)"
	" AND NOT EXISTS (SELECT FROM kpx.active_model now WHERE m.id ="
	" (SELECT a.model_id FROM kpx.activation a WHERE a.module_id = now.module_id AND a.rolled_back_at IS NULL"
	" AND a.model_id <> now.model_id ORDER BY a.id DESC LIMIT 1))"
	" ORDER BY m.id";

/* Is it still old, now that nobody can give it work any more? */
static bool
lock_old(int32 versions, int64 id)
{
	Oid types[] = {INT4OID, TEXTOID, INT8OID};
	Datum values[] = {Int32GetDatum(versions), (Datum) 0, Int64GetDatum(id)};
	KpxCatalog catalog;
	bool old;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("SELECT FROM kpx.model WHERE id = $3 FOR UPDATE", 3, types, values, " n ", false);
	kpx_catalog_end(&catalog);
	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute(old_models, 3, types, values, " n ", true);
	old = SPI_processed == 1;
	kpx_catalog_end(&catalog);
	return old;
}

PG_FUNCTION_INFO_V1(kpx_retain);
Datum
kpx_retain(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid types[] = {INT4OID, TEXTOID, INT8OID};
	Datum values[3] = {0};
	KpxCatalog catalog;
	MemoryContext context = CurrentMemoryContext;
	HeapTuple *rows;
	TupleDesc desc;
	uint64 n;

	InitMaterializedSRF(fcinfo, 0);
	PreventCommandIfReadOnly("kpx_retain()");
	values[0] = Int32GetDatum(kpx_count_argument(fcinfo, 0, "versions", 0, 1));
	values[1] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute(old_models, 3, types, values, PG_ARGISNULL(1) ? " nn" : "  n", true);
	n = SPI_processed;
	MemoryContextSwitchTo(context);
	desc = CreateTupleDescCopy(SPI_tuptable->tupdesc);
	rows = kpx_alloc(context, n, sizeof(HeapTuple));
	for (uint64 i = 0; i < n; i++)
		rows[i] = heap_copytuple(SPI_tuptable->vals[i]);
	kpx_catalog_end(&catalog);
	for (uint64 i = 0; i < n; i++)
	{
		Datum row[5];
		bool nulls[5];

		CHECK_FOR_INTERRUPTS();
		heap_deform_tuple(rows[i], desc, row, nulls);
		if (!kpx_has_role(NameStr(*DatumGetName(row[4]))) || !lock_old(DatumGetInt32(values[0]), DatumGetInt64(row[0])))
			continue;
		kpx_model_delete(DatumGetInt64(row[0]));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row, nulls);
	}
	return (Datum) 0;
}
