/*
 * tune.c
 *	  kpx_tune: random search over algorithms and parameters, judged on held-out events.
 *
 * Successive halving (Jamieson, Talwalkar 2016, "Non-stochastic Best Arm Identification and
 * Hyperparameter Optimization"): all trials are judged on a share of the users (and iALS
 * with fewer iterations), the best third again on a larger share, and the best of those on
 * all. Events are read and split once. Each trial leaves a row in kpx.trial.
 *
 * All happens in the caller's transaction: time_budget ends the search and keeps what was found;
 * an error or a cancelled statement keeps nothing, as with any statement.
 */
#include "kpxrec.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "portability/instr_time.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "algorithm.h"
#include "core/ingest.h"
#include "factor.h"
#include "judge.h"
#include "progress.h"
#include "search.h"
#include "split.h"

#define KEEP_ONE_IN 3

typedef struct Trial
{
	int number;
	const KpxAlgorithm *algorithm;
	Datum params; /* jsonb as drawn */
	KpxParams *parsed;
	double share; /* of users, of the last rung it was in; 0 = not tried */
	double value;
	double error;
	double seconds;
	double *by_module; /* value of each module */
} Trial;

typedef struct Search
{
	KpxModule **modules;
	int n_modules;
	int target; /* module that counts, or -1 for the mean of all */
	int metric;
	int k;
	char *split_name;
	KpxSplit split;
	uint64 seed;
	double budget; /* seconds; 0 = none */
	instr_time started;
	KpxData *data;
	KpxPairs *pairs;
	Trial *trials;
	int n_trials;
} Search;

static double
seconds_since(const instr_time *start)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, *start);
	return INSTR_TIME_GET_DOUBLE(now);
}

/* ------------------------------------------------------------ arguments */

static const KpxAlgorithm **
algorithms_argument(FunctionCallInfo fcinfo, bool list, int *n)
{
	const KpxAlgorithm **algorithms;
	Datum *names;
	bool *nulls;

	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"algorithm\" must not be NULL")));
	if (!list)
	{
		algorithms = palloc(sizeof(KpxAlgorithm *));
		algorithms[0] = kpx_algorithm(text_to_cstring(PG_GETARG_TEXT_PP(1)));
		*n = 1;
		return algorithms;
	}
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, n);
	if (*n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"algorithm\" must name at least one algorithm")));
	algorithms = palloc(sizeof(KpxAlgorithm *) * *n);
	for (int a = 0; a < *n; a++)
	{
		if (nulls[a])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"algorithm\" must not contain NULL")));
		algorithms[a] = kpx_algorithm(TextDatumGetCString(names[a]));
	}
	return algorithms;
}

static int
integer_argument(FunctionCallInfo fcinfo, int n, const char *name, int otherwise, int high)
{
	int value = PG_ARGISNULL(n) ? otherwise : PG_GETARG_INT32(n);

	if (value < 1 || value > high)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"%s\" is out of range: %d", name, value),
				 errdetail("It must be between 1 and %d.", high)));
	return value;
}

static int
metric_argument(FunctionCallInfo fcinfo, int n)
{
	char *name = PG_ARGISNULL(n) ? "ndcg" : text_to_cstring(PG_GETARG_TEXT_PP(n));

	for (int m = 0; m < KPX_METRICS; m++)
		if (strcmp(kpx_metric_names[m], name) == 0)
			return m;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("metric \"%s\" is not known", name),
			 errhint("Known metrics: recall, hit_rate, ndcg, mrr, map.")));
}

static int
target_argument(FunctionCallInfo fcinfo, int n, const Search *s)
{
	char *name;

	if (PG_ARGISNULL(n))
		return -1;
	name = text_to_cstring(PG_GETARG_TEXT_PP(n));
	for (int m = 0; m < s->n_modules; m++)
		if (strcmp(s->modules[m]->name, name) == 0)
			return m;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"target\" names \"%s\", which is not among the modules", name)));
}

static double
budget_argument(FunctionCallInfo fcinfo, int n)
{
	Interval *interval;
	double seconds;

	if (PG_ARGISNULL(n))
		return 0;
	interval = PG_GETARG_INTERVAL_P(n);
	seconds = interval->month * 30 * 86400.0 + interval->day * 86400.0 + (double) interval->time / USECS_PER_SEC;
	if (!(seconds > 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"time_budget\" must be longer than nothing")));
	return seconds;
}

/* All trials are drawn and checked before anything is read. */
static void
draw_trials(Search *s, const KpxAlgorithm **algorithms, int n_algorithms, Datum ranges)
{
	char **names = kpx_module_names(s->modules, s->n_modules);

	kpx_search_check(ranges, algorithms, n_algorithms);
	s->trials = palloc0(sizeof(Trial) * s->n_trials);
	for (int t = 0; t < s->n_trials; t++)
	{
		Trial *trial = &s->trials[t];

		trial->number = t + 1;
		trial->algorithm = algorithms[t % n_algorithms];
		trial->params = kpx_search_params(trial->algorithm, ranges, names, s->n_modules, s->seed, t / n_algorithms);
		trial->parsed = kpx_params_parse(trial->algorithm, trial->params, names, s->n_modules);
		trial->by_module = palloc0(sizeof(double) * s->n_modules);
	}
}

static void
read_data(Search *s)
{
	double *ones = palloc(sizeof(double) * s->n_modules);
	int want = kpx_split_needs(s->split, s->modules, s->n_modules);

	for (int m = 0; m < s->n_modules; m++)
		ones[m] = 1;
	for (int t = 0; t < s->n_trials; t++)
		want |= (kpx_params_want_times(s->trials[t].parsed) ? KPX_WANT_TIMES : 0) |
				(s->trials[t].algorithm->catalogue ? KPX_WANT_CATALOGUE : 0);
	s->data = kpx_ingest(s->modules, s->n_modules, ones, want);
	s->pairs = palloc0(sizeof(KpxPairs) * s->n_modules);
	kpx_split_data(s->data, s->split, s->seed, s->pairs);
}

/* ------------------------------------------------------------ one trial */

/* The data with the weights that module_weights make of them. */
static KpxData *
weighted_data(const KpxData *data, const KpxParams *params)
{
	KpxData *own = palloc(sizeof(KpxData));
	uint64 n = data->offset[data->users];

	*own = *data;
	own->weight = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(float));
	for (uint32 user = 0; user < data->users; user++)
	{
		int m = 0;

		if (user % 4096 == 0)
			CHECK_FOR_INTERRUPTS();
		for (uint64 e = data->offset[user]; e < data->offset[user + 1]; e++)
		{
			while (KPX_ITEM(data->index[e]) >= data->item_base[m + 1])
				m++;
			own->weight[e] = (float) (data->weight[e] * params->observed[m]);
		}
	}
	return own;
}

/*
 * Fewer iterations while few users are judged, for algorithms that have any. A copy: fitting may write what it
 * found (the weights of hybrid) into its parameters, which is for this trial on this share only.
 */
static KpxParams *
shorter(const KpxParams *params, double share)
{
	KpxParams *own = palloc(sizeof(KpxParams));
	int i = 0;

	*own = *params;
	for (; params->algorithm->params[i].name; i++)
		;
	own->value = palloc(sizeof(double) * Max(i, 1));
	own->json = palloc(sizeof(Jsonb *) * Max(i, 1));
	memcpy(own->value, params->value, sizeof(double) * i);
	memcpy(own->json, params->json, sizeof(Jsonb *) * i);
	while (i-- > 0)
		if (strcmp(params->algorithm->params[i].name, "iterations") == 0)
			own->value[i] = ceil(params->value[i] * sqrt(share));
	return own;
}

static void
run_trial(Search *s, Trial *trial, double share)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec trial", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	KpxData *data;
	instr_time start;
	KpxFit fit;
	KpxModel *model;
	double variance = 0;
	double sum = 0;
	int judged = 0;

	kpx_progress_begin("trial", trial->algorithm->name);
	data = weighted_data(s->data, trial->parsed);
	INSTR_TIME_SET_CURRENT(start);
	model = kpx_fit(data, shorter(trial->parsed, share), &fit);
	for (int m = 0; m < s->n_modules; m++)
	{
		KpxJudgement own;

		if (s->target >= 0 && m != s->target)
			continue;
		if (kpx_judge(data, model, m, &s->pairs[m], (size_t) s->k, share, &own, NULL) == 0)
			continue;
		trial->by_module[m] = own.mean[s->metric].mean;
		sum += own.mean[s->metric].mean;
		variance += pow(kpx_mean_std_error(&own.mean[s->metric]), 2);
		judged++;
	}
	trial->share = share;
	trial->value = judged ? sum / judged : 0;
	trial->error = judged ? sqrt(variance) / judged : 0;
	trial->seconds += seconds_since(&start);
	kpx_progress_end();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* ------------------------------------------------------------ the search */

/* Better first: judged on more users, then the value, then the earlier. */
static int
compare_trials(const void *a, const void *b)
{
	const Trial *x = a;
	const Trial *y = b;

	if (x->share != y->share)
		return x->share > y->share ? -1 : 1;
	if (x->value != y->value)
		return x->value > y->value ? -1 : 1;
	return x->number - y->number;
}

static bool
out_of_time(const Search *s)
{
	return s->budget > 0 && seconds_since(&s->started) >= s->budget;
}

/* Rungs: how many trials are judged on which share of users. */
static void
run_search(Search *s)
{
	int rungs = s->n_trials >= 9 ? 3 : s->n_trials >= 4 ? 2
														: 1;
	int alive = s->n_trials;

	for (int r = 0; r < rungs; r++)
	{
		double share = pow(0.5, rungs - 1 - r);

		kpx_progress_phase(psprintf("trials, rung %d of %d", r + 1, rungs), (uint64) alive);
		for (int t = 0; t < alive; t++)
		{
			CHECK_FOR_INTERRUPTS();
			/* The very first is always finished, so that there is something to keep. */
			if (out_of_time(s) && s->trials[0].share > 0)
			{
				ereport(NOTICE, (errmsg("time_budget is used up: rung %d of %d, trial %d of %d", r + 1, rungs, t + 1, alive)));
				qsort(s->trials, s->n_trials, sizeof(Trial), compare_trials);
				return;
			}
			run_trial(s, &s->trials[t], share);
			kpx_progress_step((uint64) t + 1);
		}
		qsort(s->trials, s->n_trials, sizeof(Trial), compare_trials);
		alive = (alive + KEEP_ONE_IN - 1) / KEEP_ONE_IN;
	}
}

/* ------------------------------------------------------------ results */

static Datum
module_array(const Search *s)
{
	Datum *names = palloc(sizeof(Datum) * s->n_modules);

	for (int m = 0; m < s->n_modules; m++)
		names[m] = CStringGetTextDatum(s->modules[m]->name);
	return PointerGetDatum(construct_array(names, s->n_modules, TEXTOID, -1, false, TYPALIGN_INT));
}

static Datum
values_array(const Search *s, const Trial *trial)
{
	Datum *values = palloc(sizeof(Datum) * s->n_modules);

	for (int m = 0; m < s->n_modules; m++)
		values[m] = Float8GetDatum(trial->by_module[m]);
	return PointerGetDatum(construct_array(values, s->n_modules, FLOAT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static int64
new_run(void)
{
	bool null;

	kpx_catalog_execute("SELECT nextval('kpx.trial_run_seq')", 0, NULL, NULL, NULL, false);
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
}

static void
store_trial(const Search *s, const Trial *trial, int64 run, const char *owner)
{
	Oid types[] = {INT8OID, INT4OID, TEXTARRAYOID, TEXTOID, TEXTOID, JSONBOID, TEXTOID, TEXTOID, INT4OID, INT8OID,
				   FLOAT8OID, FLOAT8OID, FLOAT8OID, FLOAT8ARRAYOID, FLOAT8OID, NAMEOID};
	Datum values[] = {Int64GetDatum(run), Int32GetDatum(trial->number), module_array(s),
					  s->target >= 0 ? CStringGetTextDatum(s->modules[s->target]->name) : (Datum) 0,
					  CStringGetTextDatum(trial->algorithm->name), trial->params, CStringGetTextDatum(s->split_name),
					  CStringGetTextDatum(kpx_metric_names[s->metric]), Int32GetDatum(s->k), Int64GetDatum((int64) s->seed),
					  Float8GetDatum(trial->share), Float8GetDatum(trial->value), Float8GetDatum(trial->error),
					  values_array(s, trial), Float8GetDatum(trial->seconds), DirectFunctionCall1(namein, CStringGetDatum(owner))};
	char nulls[] = "                ";

	if (s->target < 0)
		nulls[3] = 'n';
	kpx_catalog_execute("INSERT INTO kpx.trial (run, trial, modules, target, algorithm, params, split, metric, k, seed, share,"
						" value, std_error, by_module, seconds, owner)"
						" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
						16, types, values, nulls, false);
}

static void
put_trial(FunctionCallInfo fcinfo, const Trial *trial, int64 run)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum values[8] = {Int64GetDatum(run), Int32GetDatum(trial->number), CStringGetTextDatum(trial->algorithm->name),
					   Float8GetDatum(trial->value), Float8GetDatum(trial->error), Float8GetDatum(trial->share),
					   Float8GetDatum(trial->seconds), trial->params};
	bool nulls[8] = {false};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static Datum
tune(FunctionCallInfo fcinfo, bool list)
{
	Search s = {0};
	int n_algorithms;
	const KpxAlgorithm **algorithms;
	char *owner;
	KpxCatalog catalog;
	int64 run;

	InitMaterializedSRF(fcinfo, 0);
	PreventCommandIfReadOnly("kpx_tune()");
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"modules\" must not be NULL")));
	INSTR_TIME_SET_CURRENT(s.started);
	s.modules = kpx_modules_argument(PG_GETARG_ARRAYTYPE_P(0), kpx_registry(), &s.n_modules);
	algorithms = algorithms_argument(fcinfo, list, &n_algorithms);
	s.n_trials = integer_argument(fcinfo, 2, "trials", 27, 10000);
	s.split_name = PG_ARGISNULL(4) ? "leave_one_out" : text_to_cstring(PG_GETARG_TEXT_PP(4));
	s.split = kpx_parse_split(s.split_name);
	s.metric = metric_argument(fcinfo, 5);
	s.k = integer_argument(fcinfo, 6, "k", 10, 100000);
	s.budget = budget_argument(fcinfo, 7);
	s.target = target_argument(fcinfo, 8, &s);
	s.seed = PG_ARGISNULL(9) ? 1 : (uint64) PG_GETARG_INT64(9);
	draw_trials(&s, algorithms, n_algorithms, PG_ARGISNULL(3) ? (Datum) 0 : PG_GETARG_DATUM(3));
	kpx_progress_begin("kpx_tune", kpx_modules_label(s.modules, s.n_modules));
	read_data(&s);
	run_search(&s);
	owner = GetUserNameFromId(GetUserId(), false);
	kpx_catalog_begin(&catalog, false);
	run = new_run();
	for (int t = 0; t < s.n_trials && s.trials[t].share > 0; t++)
		store_trial(&s, &s.trials[t], run, owner);
	kpx_catalog_end(&catalog);
	for (int t = 0; t < s.n_trials && s.trials[t].share > 0; t++)
		put_trial(fcinfo, &s.trials[t], run);
	kpx_progress_end();
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(kpx_tune);
Datum
kpx_tune(PG_FUNCTION_ARGS)
{
	return tune(fcinfo, true);
}

PG_FUNCTION_INFO_V1(kpx_tune_one);
Datum
kpx_tune_one(PG_FUNCTION_ARGS)
{
	return tune(fcinfo, false);
}
