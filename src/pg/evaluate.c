/*
 * evaluate.c
 *	  kpx_evaluate: hold events out, train on the rest, rank all items; and the metrics
 *	  over arrays.
 *
 * Nothing is stored: the model lives in this call's memory. split.h says what is held out,
 * judge.h how lists are judged.
 */
#include "kpxrec.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "algorithm.h"
#include "factor.h"
#include "ingest.h"
#include "judge.h"
#include "progress.h"
#include "registry.h"
#include "split.h"

static void
put_metric(FunctionCallInfo fcinfo, const char *module, const char *metric, size_t k, double value, double error,
		   double popular, double popular_error, uint64 users, bool errors)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum values[7] = {CStringGetTextDatum(module), CStringGetTextDatum(psprintf("%s@%zu", metric, k)),
					   Float8GetDatum(value), Float8GetDatum(error), Float8GetDatum(popular), Float8GetDatum(popular_error),
					   Int64GetDatum((int64) users)};
	bool nulls[7] = {false, false, users == 0, users == 0 || !errors, users == 0, users == 0 || !errors, false};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static void
put_module(FunctionCallInfo fcinfo, const KpxData *data, const KpxModel *model, int m, const KpxPairs *pairs, size_t k)
{
	KpxJudgement own;
	KpxJudgement popular;
	uint64 users = kpx_judge(data, model, m, pairs, k, 1, &own, &popular);

	for (int metric = 0; metric < KPX_METRICS; metric++)
		put_metric(fcinfo, model->modules[m].name, kpx_metric_names[metric], k, own.mean[metric].mean,
				   kpx_mean_std_error(&own.mean[metric]), popular.mean[metric].mean,
				   kpx_mean_std_error(&popular.mean[metric]), users, true);
	put_metric(fcinfo, model->modules[m].name, "coverage", k, own.coverage, 0, popular.coverage, 0, users, false);
}

PG_FUNCTION_INFO_V1(kpx_evaluate);
Datum
kpx_evaluate(PG_FUNCTION_ARGS)
{
	int n;
	KpxModule **modules;
	KpxParams *params;
	Datum given;
	KpxSplit split;
	int k;
	uint64 seed;
	KpxData *data;
	KpxModel *model;
	KpxFit fit;
	KpxPairs *pairs;
	int want;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"modules\" must not be NULL")));
	modules = kpx_modules_argument(PG_GETARG_ARRAYTYPE_P(0), kpx_registry(), &n);
	kpx_require_sources(modules, n);
	k = PG_ARGISNULL(1) ? 10 : PG_GETARG_INT32(1);
	if (k < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"k\" must be at least 1, found %d", k)));
	split = PG_ARGISNULL(2) ? KPX_SPLIT_LEAVE_ONE_OUT : kpx_parse_split(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	given = PG_ARGISNULL(4) ? (Datum) 0 : PG_GETARG_DATUM(4);
	params = kpx_params_parse(kpx_algorithm_argument(fcinfo, 3, given), given, kpx_module_names(modules, n), n);
	seed = PG_ARGISNULL(6) ? 1 : (uint64) PG_GETARG_INT64(6);
	want = (PG_ARGISNULL(5) ? kpx_split_needs(split, modules, n) : 0) | (kpx_params_want_times(params) ? KPX_WANT_TIMES : 0) |
		   (params->algorithm->catalogue ? KPX_WANT_CATALOGUE : 0);
	kpx_progress_begin("kpx_evaluate", kpx_modules_label(modules, n));
	data = kpx_ingest(modules, n, params->observed, want);
	pairs = palloc0(sizeof(KpxPairs) * n);
	if (PG_ARGISNULL(5))
		kpx_split_data(data, split, seed, pairs);
	else
		kpx_hold_out(data, PG_GETARG_OID(5), pairs);
	model = kpx_fit(data, params, &fit);
	for (int m = 0; m < n; m++)
		put_module(fcinfo, data, model, m, &pairs[m], (size_t) k);
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
