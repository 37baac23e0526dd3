/*
 * measure.c
 *	  kpx_measure: what the lists of modules are like, and how far their events have drifted.
 *
 * Both cost too much to be found whenever a view is read, so a call stores them, and the views
 * kpx_stat_module and kpx_stat_drift show what was found; the history of a module is bounded.
 */
#include "measure.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "factor.h"
#include "identity.h"
#include "progress.h"
#include "request.h"
#include "users.h"

/* What is asked for. */
typedef struct Measurement
{
	int users;
	int k;
	int64 length; /* of windows */
} Measurement;

#define MAX_USERS 100000
#define MAX_K 1000

/* Measurements of a module that are kept. */
#define KEPT "400"

/* NaN is stored as NULL. */
static Datum
number(double value, char *null)
{
	*null = isnan(value) ? 'n' : ' ';
	return Float8GetDatum(value);
}

static void
store_lists(const KpxModule *module, const KpxModel *model, TimestampTz at, const KpxListMeasure *m)
{
	Oid types[] = {INT4OID, TIMESTAMPTZOID, INT8OID, INT8OID, INT4OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, FLOAT8OID};
	char nulls[] = "           ";
	Datum values[] = {Int32GetDatum(module->id), TimestampTzGetDatum(at), Int64GetDatum(model->id), Int64GetDatum((int64) m->users),
					  Int32GetDatum(m->k), number(m->spread.coverage, &nulls[5]), number(m->spread.gini, &nulls[6]),
					  number(m->spread.novelty, &nulls[7]), number(m->diversity, &nulls[8]), number(m->fallback_share, &nulls[9]),
					  number(m->spread.cold_share, &nulls[10])};

	kpx_catalog_execute("INSERT INTO kpx.module_stat (module_id, measured_at, model_id, users, k, coverage, gini, novelty, diversity,"
						" fallback_share, cold_share) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
						11, types, values, nulls, false);
}

static void
store_drift(const KpxModule *module, const KpxModel *model, TimestampTz at, const KpxDrift *d)
{
	Oid types[] = {INT4OID, TIMESTAMPTZOID, INT8OID, TEXTOID, FLOAT8OID, FLOAT8OID, FLOAT8OID, INT8OID, INT8OID};
	char nulls[] = "         ";
	Datum values[] = {Int32GetDatum(module->id), TimestampTzGetDatum(at), Int64GetDatum(model->id), CStringGetTextDatum(d->feature),
					  number(d->psi, &nulls[4]), number(d->noise, &nulls[5]), Float8GetDatum(d->threshold),
					  Int64GetDatum((int64) d->reference), Int64GetDatum((int64) d->recent)};

	kpx_catalog_execute("INSERT INTO kpx.drift_stat (module_id, measured_at, model_id, feature, psi, noise, threshold, reference, recent)"
						" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
						9, types, values, nulls, false);
}

static void
store(const KpxModule *module, const KpxModel *model, const KpxListMeasure *lists, const KpxDrift *drift)
{
	/* a measurement of the same moment, and those that are too old */
	static const char *const statements[] = {
		"DELETE FROM kpx.module_stat WHERE module_id = $1 AND (measured_at = $2 OR measured_at < (SELECT measured_at FROM kpx.module_stat"
		" WHERE module_id = $1 ORDER BY measured_at DESC OFFSET " KEPT " - 2 LIMIT 1))",
		"DELETE FROM kpx.drift_stat WHERE module_id = $1 AND (measured_at = $2 OR measured_at < (SELECT DISTINCT measured_at FROM kpx.drift_stat"
		" WHERE module_id = $1 ORDER BY measured_at DESC OFFSET " KEPT " - 2 LIMIT 1))",
	};
	TimestampTz at = kpx_now();
	Oid types[] = {INT4OID, TIMESTAMPTZOID};
	Datum values[] = {Int32GetDatum(module->id), TimestampTzGetDatum(at)};
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	for (int i = 0; i < (int) lengthof(statements); i++)
		kpx_catalog_execute(statements[i], 2, types, values, NULL, false);
	store_lists(module, model, at, lists);
	for (int f = 0; f < KPX_DRIFT_FEATURES; f++)
		store_drift(module, model, at, &drift[f]);
	kpx_catalog_end(&catalog);
}

/* What the model has seen ends there: its newest event in the module, or else when it was trained. */
static TimestampTz
trained_until(const KpxModule *module, const KpxModel *model)
{
	Oid types[] = {INT8OID, INT4OID};
	Datum values[] = {Int64GetDatum(model->id), Int32GetDatum(module->id)};
	KpxCatalog catalog;
	TimestampTz until = model->created_at;
	bool null;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT coalesce(mm.newest_event, m.created_at) FROM kpx.model m JOIN kpx.model_module mm ON mm.model_id = m.id"
						" WHERE m.id = $1 AND mm.module_id = $2",
						2, types, values, NULL, true);
	if (SPI_processed == 1)
		until = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	kpx_catalog_end(&catalog);
	return until;
}

static int64
window_argument(FunctionCallInfo fcinfo, int n)
{
	Interval *interval;
	double length;

	if (PG_ARGISNULL(n))
		return 28 * USECS_PER_DAY;
	interval = PG_GETARG_INTERVAL_P(n);
	length = (double) interval->time + (interval->month * (double) DAYS_PER_MONTH + interval->day) * (double) USECS_PER_DAY;
	if (!(length >= (double) USECS_PER_MINUTE && length <= 3660.0 * (double) USECS_PER_DAY))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"window\" must be between a minute and ten years")));
	return (int64) length;
}

static int
bounded_argument(FunctionCallInfo fcinfo, int n, const char *name, int otherwise, int high)
{
	int value = kpx_count_argument(fcinfo, n, name, otherwise, 1);

	if (value > high)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"%s\" must be at most %d, found %d", name, high, value)));
	return value;
}

/* Those named, which must be the caller's and have a model; or all that are and have. */
static KpxModule **
modules_argument(FunctionCallInfo fcinfo, KpxRegistry *registry, int *n)
{
	KpxModule **modules;

	if (PG_ARGISNULL(0))
	{
		modules = palloc(sizeof(KpxModule *) * Max(registry->n_modules, 1));
		*n = 0;
		for (int m = 0; m < registry->n_modules; m++)
			if (registry->modules[m].active_model != 0 && kpx_has_role(registry->modules[m].owner))
				modules[(*n)++] = &registry->modules[m];
		return modules;
	}
	modules = kpx_modules_argument(PG_GETARG_ARRAYTYPE_P(0), registry, n);
	for (int m = 0; m < *n; m++)
	{
		kpx_require_owner(modules[m]->owner, "module", modules[m]->name);
		if (modules[m]->active_model == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("module \"%s\" has no active model", modules[m]->name),
					 errhint("Train one: SELECT * FROM kpx_train(%s);", quote_literal_cstr(modules[m]->name))));
	}
	return modules;
}

/* May the current user read the events of all modules that the model was trained on? */
static bool
reads_all(KpxRegistry *registry, const KpxModel *model)
{
	KpxModule **modules;
	int n = kpx_registered_modules(registry, model, &modules);

	for (int m = 0; m < n; m++)
		if (!kpx_may_read_sources(modules[m]))
			return false;
	return true;
}

/* As the owner of the module, whoever asks; false, with a WARNING: they cannot. */
static bool
measure(KpxRegistry *registry, KpxModule *module, const Measurement *what)
{
	KpxModel *model = kpx_model(registry, module->active_model);
	KpxWindows windows = {{trained_until(module, model), kpx_now()}, what->length};
	KpxListMeasure lists;
	KpxDrift drift[KPX_DRIFT_FEATURES];
	KpxIdentity before;

	if (!kpx_identity_enter_owner(&before, module->owner, module->name))
		return false;
	if (before.guc_level != 0 && !reads_all(registry, model))
	{
		kpx_identity_leave(&before);
		ereport(WARNING,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("module \"%s\" is passed over: its owner, role \"%s\", may not read all modules of its model", module->name, module->owner),
				 errhint("A module is measured with the rights of its owner: grant SELECT on the event sources.")));
		return false;
	}
	lists = kpx_measure_lists(registry, module, model, what->users, what->k, windows.end[1] - what->length);
	kpx_measure_drift(registry, module, model, &windows, drift);
	kpx_identity_leave(&before);
	store(module, model, &lists, drift);
	return true;
}

PG_FUNCTION_INFO_V1(kpx_measure);
Datum
kpx_measure(PG_FUNCTION_ARGS)
{
	KpxRegistry *registry = kpx_registry();
	int n;
	KpxModule **modules = modules_argument(fcinfo, registry, &n);
	Measurement what = {bounded_argument(fcinfo, 1, "users", 1000, MAX_USERS), bounded_argument(fcinfo, 2, "k", 10, MAX_K),
						window_argument(fcinfo, 3)};
	int measured = 0;
	MemoryContext context;

	PreventCommandIfReadOnly("kpx_measure()");
	kpx_progress_begin("kpx_measure", kpx_modules_label(modules, n));
	context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec measurement", ALLOCSET_DEFAULT_SIZES);
	for (int m = 0; m < n; m++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		measured += measure(registry, modules[m], &what);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
	kpx_progress_end();
	PG_RETURN_INT32(measured);
}
