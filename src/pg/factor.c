/*
 * factor.c
 *	  kpx_train: read, compute, store.
 *
 * All in the caller's transaction: the model is there, and active, when it commits.
 */
#include "kpxrec.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "portability/instr_time.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "core/ingest.h"
#include "algorithm.h"
#include "factor.h"
#include "ingest.h"
#include "model.h"
#include "registry.h"

/*
 * One training of a model name at a time. Lock tag field 4 is one that SQL's advisory
 * locks cannot use, so nobody can block us from there.
 */
static void
lock_name(const char *name)
{
	LOCKTAG tag;
	uint64 hash = hash_bytes_extended((const unsigned char *) name, (int) strlen(name), 0);

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, 0x4B50);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("model \"%s\" is being trained by another session", name),
				 errhint("Wait for it, or train under another name.")));
}

KpxModule **
kpx_modules_argument(ArrayType *array, KpxRegistry *registry, int *n)
{
	Datum *elements;
	bool *nulls;
	KpxModule **modules;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("argument \"modules\" must be a one-dimensional array")));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, n);
	if (*n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"modules\" must name at least one module")));
	modules = palloc(sizeof(KpxModule *) * *n);
	for (int i = 0; i < *n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"modules\" must not contain NULL")));
		modules[i] = kpx_find_module(registry, TextDatumGetCString(elements[i]));
		for (int j = 0; j < i; j++)
			if (modules[j] == modules[i])
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("argument \"modules\" names \"%s\" twice", modules[i]->name)));
	}
	return modules;
}

void
kpx_require_sources(KpxModule **modules, int n)
{
	for (int m = 0; m < n; m++)
		if (modules[m]->n_sources == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("module \"%s\" has no event source", modules[m]->name),
					 errhint("Register one with kpx_add_events.")));
}

char **
kpx_module_names(KpxModule **modules, int n)
{
	char **names = palloc(sizeof(char *) * n);

	for (int m = 0; m < n; m++)
		names[m] = modules[m]->name;
	return names;
}

static char *
default_name(KpxModule **modules, int n)
{
	StringInfoData name;

	initStringInfo(&name);
	for (int m = 0; m < n; m++)
		appendStringInfo(&name, "%s%s", m ? "+" : "", modules[m]->name);
	return name.data;
}

static void
check_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) > 255)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("a model name must have 1 to 255 bytes, found %zu", strlen(name))));
}

static double
seconds_since(instr_time *start)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, *start);
	INSTR_TIME_SET_CURRENT(*start);
	return INSTR_TIME_GET_DOUBLE(now);
}

static Datum
result_row(FunctionCallInfo fcinfo, const KpxModel *model, const KpxTrainingReport *report, double store_seconds)
{
	TupleDesc desc;
	Datum values[11];
	bool nulls[11] = {false};
	Datum *names = palloc(sizeof(Datum) * model->n_modules);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("kpx_train must be called for a record")));
	for (int m = 0; m < model->n_modules; m++)
		names[m] = CStringGetTextDatum(model->modules[m].name);
	values[0] = Int64GetDatum(model->id);
	values[1] = CStringGetTextDatum(model->name);
	values[2] = PointerGetDatum(construct_array(names, model->n_modules, TEXTOID, -1, false, TYPALIGN_INT));
	values[3] = Int64GetDatum(report->users);
	values[4] = Int64GetDatum(model->items);
	values[5] = Int64GetDatum(report->interactions);
	values[6] = Int32GetDatum(report->iterations);
	values[7] = Float8GetDatum(report->loss);
	nulls[7] = isnan(report->loss);
	values[8] = Float4GetDatum((float) report->read_seconds);
	values[9] = Float4GetDatum((float) report->train_seconds);
	values[10] = Float4GetDatum((float) store_seconds);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

static Datum
train(FunctionCallInfo fcinfo, KpxModule **modules, int n)
{
	Datum given = PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2);
	const KpxAlgorithm *algorithm = kpx_algorithm_argument(fcinfo, 1, given);
	KpxParams *params = kpx_params_parse(algorithm, given, kpx_module_names(modules, n), n);
	char *name = PG_ARGISNULL(3) ? default_name(modules, n) : text_to_cstring(PG_GETARG_TEXT_PP(3));
	bool activate = PG_ARGISNULL(4) || PG_GETARG_BOOL(4);
	KpxTrainingReport report = {.algorithm = algorithm->name};
	KpxFit fit;
	KpxData *data;
	KpxModel *model;
	instr_time clock;

	PreventCommandIfReadOnly("kpx_train()");
	if (!algorithm->catalogue)
		kpx_require_sources(modules, n);
	check_name(name);
	if (activate)
		for (int m = 0; m < n; m++)
			kpx_require_owner(modules[m]->owner, "module", modules[m]->name);
	lock_name(name);
	INSTR_TIME_SET_CURRENT(clock);
	data = kpx_ingest(modules, n, params->observed,
					  (algorithm->times ? KPX_WANT_TIMES : 0) | (algorithm->catalogue ? KPX_WANT_CATALOGUE : 0));
	report.read_seconds = seconds_since(&clock);
	report.users = data->users;
	report.interactions = data->offset[data->users];
	if (report.interactions == 0 && !algorithm->catalogue)
		ereport(NOTICE, (errmsg("there are no events: the model is empty and recommends nothing")));
	model = kpx_fit(data, params, &fit);
	report.train_seconds = seconds_since(&clock);
	report.iterations = fit.iterations;
	report.loss = fit.loss;
	if (algorithm->vector && model->items > 0)
		(void) algorithm->vector(model, 0, 0, &report.factors);
	report.params = kpx_params_jsonb(params, kpx_module_names(modules, n));
	model->name = name;
	model->owner = GetUserNameFromId(GetUserId(), false);
	kpx_model_store(model, &report);
	if (activate)
		kpx_model_activate(model->id);
	if (IsTransactionBlock())
		ereport(NOTICE,
				(errmsg("model " INT64_FORMAT " becomes visible to other sessions when this transaction commits", model->id)));
	return result_row(fcinfo, model, &report, seconds_since(&clock));
}

PG_FUNCTION_INFO_V1(kpx_train);
Datum
kpx_train(PG_FUNCTION_ARGS)
{
	int n;
	KpxModule **modules;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"modules\" must not be NULL")));
	modules = kpx_modules_argument(PG_GETARG_ARRAYTYPE_P(0), kpx_registry(), &n);
	return train(fcinfo, modules, n);
}

PG_FUNCTION_INFO_V1(kpx_train_module);
Datum
kpx_train_module(PG_FUNCTION_ARGS)
{
	Datum name;
	int n;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"module\" must not be NULL")));
	name = PG_GETARG_DATUM(0);
	return train(fcinfo, kpx_modules_argument(construct_array(&name, 1, TEXTOID, -1, false, TYPALIGN_INT), kpx_registry(), &n), 1);
}
