/*
 * evaluate.c
 *	  kpx_evaluate: hold events out, train on the rest, rank all items; and the metrics
 *	  over arrays.
 *
 * The model that is judged lives in this call's memory: it is stored nowhere. kpx_evaluate_model keeps
 * what was found with the stored model whose method it is. split.h says what is held out, judge.h how lists are judged.
 */
#include "kpxrec.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "algorithm.h"
#include "factor.h"
#include "ingest.h"
#include "metrics.h"
#include "progress.h"
#include "registry.h"
#include "split.h"

/* The arguments that both functions have. */
typedef struct Evaluation
{
	KpxModule **modules;
	int n;
	size_t k;
	const char *split_name;
	KpxSplit split;
	Oid held_out; /* or InvalidOid */
	uint64 seed;
} Evaluation;

/* Arguments k, split, held_out and seed, of which these are the numbers. */
static void
read_arguments(FunctionCallInfo fcinfo, Evaluation *e, int k, int split, int held_out, int seed)
{
	int length = PG_ARGISNULL(k) ? 10 : PG_GETARG_INT32(k);

	if (length < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"k\" must be at least 1, found %d", length)));
	e->k = (size_t) length;
	e->split_name = PG_ARGISNULL(split) ? "leave_one_out" : text_to_cstring(PG_GETARG_TEXT_PP(split));
	e->split = kpx_parse_split(e->split_name);
	e->held_out = PG_ARGISNULL(held_out) ? InvalidOid : PG_GETARG_OID(held_out);
	e->seed = PG_ARGISNULL(seed) ? 1 : (uint64) PG_GETARG_INT64(seed);
}

/* Trains without what is held out, judges by it, returns the rows to the caller. */
static KpxMetrics
evaluate(FunctionCallInfo fcinfo, const Evaluation *e, const KpxParams *params)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	KpxPairs *pairs = palloc0(sizeof(KpxPairs) * e->n);
	KpxMetrics metrics = {0};
	KpxData *data;
	KpxModel *model;
	KpxFit fit;
	int want = (OidIsValid(e->held_out) ? 0 : kpx_split_needs(e->split, e->modules, e->n)) |
			   (kpx_params_want_times(params) ? KPX_WANT_TIMES : 0) | (params->algorithm->catalogue ? KPX_WANT_CATALOGUE : 0);

	data = kpx_ingest(e->modules, e->n, params->observed, want);
	if (OidIsValid(e->held_out))
		kpx_hold_out(data, e->held_out, pairs);
	else
		kpx_split_data(data, e->split, e->seed, pairs);
	model = kpx_fit(data, params, &fit);
	for (int m = 0; m < e->n; m++)
	{
		KpxJudgement own;
		KpxJudgement popular;
		uint64 users = kpx_judge(data, model, m, &pairs[m], e->k, 1, &own, &popular);

		kpx_metrics_add(&metrics, model->modules[m].name, e->k, users, &own, &popular);
	}
	for (int i = 0; i < metrics.n; i++)
	{
		Datum values[KPX_METRIC_COLUMNS];
		bool nulls[KPX_METRIC_COLUMNS];

		kpx_metric_row(&metrics.metric[i], values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return metrics;
}

PG_FUNCTION_INFO_V1(kpx_evaluate);
Datum
kpx_evaluate(PG_FUNCTION_ARGS)
{
	Evaluation e;
	KpxParams *params;
	Datum given;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"modules\" must not be NULL")));
	e.modules = kpx_modules_argument(PG_GETARG_ARRAYTYPE_P(0), kpx_registry(), &e.n);
	kpx_require_sources(e.modules, e.n);
	read_arguments(fcinfo, &e, 1, 2, 5, 6);
	given = PG_ARGISNULL(4) ? (Datum) 0 : PG_GETARG_DATUM(4);
	params = kpx_params_parse(kpx_algorithm_argument(fcinfo, 3, given), given, kpx_module_names(e.modules, e.n), e.n);
	kpx_progress_begin("kpx_evaluate", kpx_modules_label(e.modules, e.n));
	(void) evaluate(fcinfo, &e, params);
	kpx_progress_end();
	return (Datum) 0;
}

/* The algorithm and parameters of a stored model, and its modules, which must all be registered still. */
static KpxParams *
method_of(int64 id, Evaluation *e)
{
	KpxRegistry *registry = kpx_registry();
	KpxModel *model = kpx_model(registry, id);
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(id)};
	MemoryContext context = CurrentMemoryContext;
	KpxCatalog catalog;
	Jsonb *params;
	bool null;

	e->n = model->n_modules;
	e->modules = palloc(sizeof(KpxModule *) * e->n);
	for (int m = 0; m < e->n; m++)
		if ((e->modules[m] = kpx_find_module_by_id(registry, model->modules[m].module_id)) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("module \"%s\" of model " INT64_FORMAT " is not registered any more", model->modules[m].name, id)));
	kpx_registry_keep(registry);
	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT params FROM kpx.model WHERE id = $1", 1, types, values, NULL, true);
	if (SPI_processed == 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("model " INT64_FORMAT " was dropped just now", id)));
	params = DatumGetJsonbP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	params = memcpy(MemoryContextAlloc(context, VARSIZE(params)), params, VARSIZE(params));
	kpx_catalog_end(&catalog);
	return kpx_params_parse(model->part[0].algorithm, JsonbPGetDatum(params), kpx_module_names(e->modules, e->n), e->n);
}

PG_FUNCTION_INFO_V1(kpx_evaluate_model);
Datum
kpx_evaluate_model(PG_FUNCTION_ARGS)
{
	Evaluation e;
	KpxParams *params;
	KpxMetrics metrics;
	int64 id;

	InitMaterializedSRF(fcinfo, 0);
	PreventCommandIfReadOnly("kpx_evaluate_model()");
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"model\" must not be NULL")));
	id = PG_GETARG_INT64(0);
	kpx_require_owner(kpx_model_owner(id), "model", psprintf(INT64_FORMAT, id));
	read_arguments(fcinfo, &e, 1, 2, 3, 4);
	params = method_of(id, &e);
	kpx_require_sources(e.modules, e.n);
	kpx_progress_begin("kpx_evaluate_model", psprintf("model " INT64_FORMAT, id));
	metrics = evaluate(fcinfo, &e, params);
	kpx_metrics_keep(&metrics, id, "evaluation", OidIsValid(e.held_out) ? "held_out" : e.split_name, NULL);
	kpx_progress_end();
	return (Datum) 0;
}

/* ------------------------------------------------------------ metrics over arrays */

static Datum *
elements_of(ArrayType *array, TypeCacheEntry *type, int *n)
{
	Datum *elements;
	bool *nulls;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("lists of items must be one-dimensional arrays")));
	deconstruct_array(array, type->type_id, type->typlen, type->typbyval, type->typalign, &elements, &nulls, n);
	for (int i = 0; i < *n; i++)
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("lists of items must not contain NULL")));
	return elements;
}

static bool
among(TypeCacheEntry *type, Oid collation, Datum value, const Datum *list, int n)
{
	for (int i = 0; i < n; i++)
		if (DatumGetBool(FunctionCall2Coll(&type->eq_opr_finfo, collation, value, list[i])))
			return true;
	return false;
}

static Datum
array_metric(FunctionCallInfo fcinfo, double (*metric)(const uint64_t *, size_t, size_t, size_t))
{
	TypeCacheEntry *type;
	Oid collation = PG_GET_COLLATION();
	Datum *recommended;
	Datum *relevant;
	int n_recommended;
	int n_relevant;
	int distinct = 0;
	uint64_t *ranks;
	size_t hits = 0;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	if (!PG_ARGISNULL(2) && PG_GETARG_INT32(2) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"k\" must be at least 1, found %d", PG_GETARG_INT32(2))));
	type = lookup_type_cache(ARR_ELEMTYPE(PG_GETARG_ARRAYTYPE_P(0)), TYPECACHE_EQ_OPR_FINFO);
	if (!OidIsValid(type->eq_opr_finfo.fn_oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("type %s has no equality operator", format_type_be(type->type_id))));
	recommended = elements_of(PG_GETARG_ARRAYTYPE_P(0), type, &n_recommended);
	relevant = elements_of(PG_GETARG_ARRAYTYPE_P(1), type, &n_relevant);
	for (int i = 0; i < n_relevant; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!among(type, collation, relevant[i], relevant, distinct))
			relevant[distinct++] = relevant[i];
	}
	if (distinct == 0)
		PG_RETURN_NULL(); /* undefined; avg() leaves it out, as trec_eval does */
	ranks = palloc(sizeof(uint64_t) * Max(n_recommended, 1));
	for (int r = 0; r < n_recommended; r++)
	{
		CHECK_FOR_INTERRUPTS();
		if (among(type, collation, recommended[r], relevant, distinct) &&
			!among(type, collation, recommended[r], recommended, r))
			ranks[hits++] = (uint64_t) r;
	}
	PG_RETURN_FLOAT8(metric(ranks, hits, (size_t) distinct,
							PG_ARGISNULL(2) ? (size_t) Max(n_recommended, 1) : (size_t) PG_GETARG_INT32(2)));
}

#define ARRAY_METRIC(name, metric) \
	PG_FUNCTION_INFO_V1(name); \
	Datum \
	name(PG_FUNCTION_ARGS) \
	{ \
		return array_metric(fcinfo, metric); \
	} \
	extern int kpx_macro_end_##name

ARRAY_METRIC(kpx_recall, kpx_metric_recall);
ARRAY_METRIC(kpx_hit_rate, kpx_metric_hit_rate);
ARRAY_METRIC(kpx_ndcg, kpx_metric_ndcg);
ARRAY_METRIC(kpx_mrr, kpx_metric_mrr);
ARRAY_METRIC(kpx_average_precision, kpx_metric_average_precision);
