/*
 * factor.c
 *	  kpx_train: the phases of training.h, one after the other.
 *
 * All in the caller's transaction: the model is there, and active, when it commits.
 */
#include "kpxrec.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "portability/instr_time.h"
#include "utils/array.h"

#include "factor.h"
#include "progress.h"
#include "training.h"

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

char *
kpx_modules_label(KpxModule **modules, int n)
{
	StringInfoData name;

	initStringInfo(&name);
	for (int m = 0; m < n; m++)
		appendStringInfo(&name, "%s%s", m ? "+" : "", modules[m]->name);
	return name.data;
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
	bool activate = PG_ARGISNULL(4) || PG_GETARG_BOOL(4);
	KpxTraining training;
	instr_time clock;

	PreventCommandIfReadOnly("kpx_train()");
	kpx_training_begin(&training, modules, n, kpx_algorithm_argument(fcinfo, 1, given), given,
					   PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3)));
	if (activate)
		kpx_training_require_owner(&training);
	kpx_training_lock(&training, false);
	kpx_progress_begin("kpx_train", training.name);
	kpx_training_read(&training, 0);
	if (training.report.interactions == 0 && !training.params->algorithm->catalogue)
		ereport(NOTICE, (errmsg("there are no events: the model is empty and recommends nothing")));
	kpx_training_compute(&training);
	INSTR_TIME_SET_CURRENT(clock);
	kpx_training_store(&training);
	if (activate)
		kpx_model_activate(training.model->id);
	if (IsTransactionBlock())
		ereport(NOTICE,
				(errmsg("model " INT64_FORMAT " becomes visible to other sessions when this transaction commits", training.model->id)));
	kpx_progress_end();
	return result_row(fcinfo, training.model, &training.report, kpx_seconds_since(&clock));
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
