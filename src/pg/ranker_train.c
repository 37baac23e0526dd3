/*
 * ranker_train.c
 *	  kpx_train_ranker: two heads from the logged impressions, judged on users left out.
 */
#include "ranker.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"

#include "factor.h"
#include "json_params.h"
#include "progress.h"
#include "ranker_data.h"
#include "ranker_report.h"

#define ROWS_A_STEP 4096
#define BUDGET 2e6 /* multiply-adds between looks at interrupts */

typedef struct Settings
{
	double factors;
	double epochs;
	double batch;
	double learning_rate;
	double decay;
	double patience;
	double seed;
	double min_clicks;
	double min_conversions;
	double max_impressions;
} Settings;

static Settings
parse_settings(Datum params)
{
	Settings s = {0, 30, 1024, 0.01, 0.01, 3, 1, 50, 20, 2e6};
	const KpxJsonParam known[] = {
		{"factors", &s.factors, 0, KPX_MAX_RANKER_FACTORS, true},
		{"epochs", &s.epochs, 1, 1000, true},
		{"batch", &s.batch, 16, 65536, true},
		{"learning_rate", &s.learning_rate, 1e-5, 1, false},
		{"decay", &s.decay, 0, 1, false},
		{"patience", &s.patience, 1, 1000, true},
		{"seed", &s.seed, 0, 9007199254740992.0, true},
		{"min_clicks", &s.min_clicks, 1, 1e9, true},
		{"min_conversions", &s.min_conversions, 1, 1e9, true},
		{"max_impressions", &s.max_impressions, 1, 1e8, true},
	};

	if (params)
		kpx_json_params(params, "params", known, lengthof(known));
	return s;
}

static Datum
settings_jsonb(const Settings *s)
{
	return DirectFunctionCall1(
		jsonb_in,
		CStringGetDatum(psprintf("{\"factors\": %g, \"epochs\": %g, \"batch\": %g, \"learning_rate\": %.15g, \"decay\": %.15g,"
								 " \"patience\": %g, \"seed\": %.0f, \"min_clicks\": %.0f, \"min_conversions\": %.0f,"
								 " \"max_impressions\": %.0f}",
								 s->factors, s->epochs, s->batch, s->learning_rate, s->decay, s->patience, s->seed, s->min_clicks,
								 s->min_conversions, s->max_impressions)));
}

/* How training went. */
typedef struct Run
{
	int epochs;
	int best;
	double *train_loss; /* [epochs], an impression */
	double *dev_loss;
} Run;

static double
mean_loss(const KpxRanker *ranker, const KpxRankerData *data, KpxRankerSplit split)
{
	double total = 0;

	for (size_t begin = 0; begin < data->n[split]; begin += ROWS_A_STEP)
	{
		CHECK_FOR_INTERRUPTS();
		total += kpx_ranker_loss(ranker, &data->impressions, data->row[split], begin, Min(begin + ROWS_A_STEP, data->n[split]));
	}
	return total / (double) data->n[split];
}

static double
run_epoch(KpxRanker *ranker, KpxRankerData *data, const Settings *s, KpxAdamW *adam, int epoch)
{
	size_t n = data->n[KPX_SPLIT_TRAIN];
	size_t cursor = 0;
	double loss = 0;
	KpxStatus status;

	kpx_shuffle(data->row[KPX_SPLIT_TRAIN], n, (uint64) s->seed, (uint64) epoch);
	while ((status = kpx_ranker_epoch(ranker, &data->impressions, data->row[KPX_SPLIT_TRAIN], n, (size_t) s->batch, adam, &cursor,
									  BUDGET, &loss)) == KPX_MORE)
		CHECK_FOR_INTERRUPTS();
	if (status != KPX_OK)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("training of the ranker diverged"),
				 errhint("Lower learning_rate.")));
	return loss / (double) n;
}

/* Epochs until the loss on dev users has not fallen for patience of them; the best one's parameters stay. */
static void
train_heads(KpxRanker *ranker, KpxRankerData *data, const Settings *s, Run *run)
{
	KpxAdamW adam = {s->learning_rate, s->decay, 0, NULL, NULL, NULL};
	size_t bytes = ranker->parameters * sizeof(double);
	double *best = kpx_alloc(CurrentMemoryContext, ranker->parameters, sizeof(double));

	adam.first = kpx_alloc_aligned(CurrentMemoryContext, ranker->parameters, sizeof(double));
	adam.second = kpx_alloc_aligned(CurrentMemoryContext, ranker->parameters, sizeof(double));
	adam.gradient = kpx_alloc_aligned(CurrentMemoryContext, ranker->parameters, sizeof(double));
	run->train_loss = palloc(sizeof(double) * (int) s->epochs);
	run->dev_loss = palloc(sizeof(double) * (int) s->epochs);
	memcpy(best, ranker->parameter, bytes);
	kpx_progress_phase("epochs", (uint64) s->epochs);
	for (run->epochs = 0; run->epochs < (int) s->epochs;)
	{
		int e = run->epochs++;

		run->train_loss[e] = run_epoch(ranker, data, s, &adam, e);
		run->dev_loss[e] = mean_loss(ranker, data, KPX_SPLIT_DEV);
		kpx_progress_loss((uint64) run->epochs, run->dev_loss[e]);
		if (e == 0 || run->dev_loss[e] < run->dev_loss[run->best])
		{
			run->best = e;
			memcpy(best, ranker->parameter, bytes);
		}
		else if (e - run->best >= (int) s->patience)
			break;
	}
	memcpy(ranker->parameter, best, bytes);
}

/* Platt's lines, on dev users, at the positions that were shown. */
static void
calibrate(KpxTrainedRanker *t, const KpxRankerData *data)
{
	size_t n = data->n[KPX_SPLIT_DEV];
	double *logit[2];
	uint8 *outcome[2];

	for (int h = 0; h < 2; h++)
	{
		logit[h] = kpx_alloc(CurrentMemoryContext, n, sizeof(double));
		outcome[h] = kpx_alloc(CurrentMemoryContext, n, 1);
	}
	for (size_t i = 0; i < n; i++)
	{
		uint32 row = data->row[KPX_SPLIT_DEV][i];

		kpx_ranker_outcome_logits(&t->ranker, &data->impressions, row, true, &logit[0][i], &logit[1][i]);
		outcome[0][i] = (data->label[row] & KPX_CLICKED) != 0;
		outcome[1][i] = (data->label[row] & KPX_CONVERTED) != 0;
	}
	for (int h = 0; h < 2; h++)
	{
		CHECK_FOR_INTERRUPTS();
		t->platt[h] = kpx_platt_fit(logit[h], outcome[h], n);
	}
}

static void
standardise(KpxTrainedRanker *t, KpxRankerData *data)
{
	kpx_moments(data->dense, KPX_SIGNALS, data->row[KPX_SPLIT_TRAIN], data->n[KPX_SPLIT_TRAIN], t->mean, t->sd);
	for (size_t i = 0; i < data->impressions.n; i++)
	{
		if (i % ROWS_A_STEP == 0)
			CHECK_FOR_INTERRUPTS();
		kpx_standardise(data->dense + i * KPX_SIGNALS, KPX_SIGNALS, t->mean, t->sd);
	}
}

static int
positions_of(const KpxRankerData *data)
{
	int most = 0;

	for (size_t i = 0; i < data->impressions.n; i++)
		most = Max(most, data->impressions.position[i]);
	return Min(most + 1, KPX_MAX_RANKER_POSITIONS);
}

/* ------------------------------------------------------------ storing */

static Datum
float8_array(const double *from, size_t n)
{
	Datum *elements = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(Datum));

	for (size_t i = 0; i < n; i++)
		elements[i] = Float8GetDatum(from[i]);
	return PointerGetDatum(construct_array(elements, (int) n, FLOAT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static Datum
text_array(char **from, int n)
{
	Datum *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(from[i]);
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
store_log(int64 id, const Run *run)
{
	Oid types[] = {INT8OID, INT4OID, FLOAT8OID, FLOAT8OID, BOOLOID};

	for (int e = 0; e < run->epochs; e++)
	{
		Datum values[] = {Int64GetDatum(id), Int32GetDatum(e + 1), Float8GetDatum(run->train_loss[e]), Float8GetDatum(run->dev_loss[e]),
						  BoolGetDatum(e == run->best)};

		kpx_catalog_execute("INSERT INTO kpx.training_log VALUES ($1, $2, $3, $4, $5)", 5, types, values, NULL, false);
	}
}

/* Writes a ranker; active when activate, then no other is. Sets its id. */
static void
store(KpxTrainedRanker *t, const KpxRankerData *data, const Settings *s, const Run *run, KpxModule **modules, int n_modules,
	  bool trained, bool activate)
{
	Oid types[] = {NAMEOID, INT4ARRAYOID, JSONBOID, BOOLOID, BOOLOID, BOOLOID, INT8OID, INT8OID, INT8OID, INT4OID, INT4OID, INT4OID,
				   TEXTARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID};
	double platt[] = {t->platt[0].slope, t->platt[0].intercept, t->platt[1].slope, t->platt[1].intercept};
	Datum *ids = palloc(sizeof(Datum) * n_modules);
	Datum values[17];
	KpxCatalog catalog;
	bool null;

	for (int m = 0; m < n_modules; m++)
		ids[m] = Int32GetDatum(modules[m]->id);
	values[0] = DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(GetUserId(), false)));
	values[1] = PointerGetDatum(construct_array(ids, n_modules, INT4OID, 4, true, TYPALIGN_INT));
	values[2] = settings_jsonb(s);
	values[3] = BoolGetDatum(trained && activate);
	values[4] = BoolGetDatum(trained);
	values[5] = BoolGetDatum(t->convert_trained);
	values[6] = Int64GetDatum((int64) data->impressions.n);
	values[7] = Int64GetDatum(data->clicks);
	values[8] = Int64GetDatum(data->conversions);
	values[9] = Int32GetDatum(run->epochs);
	values[10] = Int32GetDatum(t->ranker.factors);
	values[11] = Int32GetDatum(t->ranker.positions);
	values[12] = text_array(data->pairs, data->n_pairs);
	values[13] = float8_array(t->mean, KPX_SIGNALS);
	values[14] = float8_array(t->sd, KPX_SIGNALS);
	values[15] = float8_array(platt, 4);
	values[16] = float8_array(t->ranker.parameter, trained ? t->ranker.parameters : 0);
	kpx_catalog_begin(&catalog, false);
	if (trained && activate)
		kpx_catalog_execute("UPDATE kpx.ranker SET active = false WHERE active", 0, NULL, NULL, NULL, false);
	kpx_catalog_execute("INSERT INTO kpx.ranker (owner, modules, params, active, trained, convert_trained, impressions, clicks,"
						" conversions, epochs, factors, positions, pairs, mean, sd, platt, parameters) VALUES"
						" ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) RETURNING id",
						17, types, values, NULL, false);
	t->id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	store_log(t->id, run);
	kpx_catalog_end(&catalog);
}

/* ------------------------------------------------------------ kpx_train_ranker */

/* One training at a time: the second waits for nothing. */
static void
lock_training(void)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, 0x4B52);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE), errmsg("a ranker is being trained by another session"),
				 errhint("Wait for it.")));
}

/* Is there enough to learn from? If not, says what is missing. */
static bool
enough(const KpxRankerData *data, const Settings *s)
{
	if (data->train_clicks >= s->min_clicks && data->n[KPX_SPLIT_DEV] > 0 && data->n[KPX_SPLIT_TEST] > 0)
		return true;
	ereport(NOTICE,
			(errmsg("too little to learn from: " INT64_FORMAT " clicks of " UINT64_FORMAT " impressions in training, at least %.0f clicks are needed",
					data->train_clicks, (uint64) data->n[KPX_SPLIT_TRAIN], s->min_clicks),
			 errdetail("Smoothed rates go on ranking."), errhint("Log slates, record feedback, run kpx_attribute; or lower min_clicks.")));
	return false;
}

static void
prepare_ranker(KpxTrainedRanker *t, KpxRankerData *data, const Settings *s)
{
	double train = Max((double) data->n[KPX_SPLIT_TRAIN], 1);

	if (kpx_ranker_layout(&t->ranker, KPX_SIGNALS + data->n_pairs, (int) s->factors, positions_of(data)) != KPX_OK)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("too many pairs of modules for a ranker: %d", data->n_pairs)));
	t->ranker.parameter = kpx_alloc(CurrentMemoryContext, t->ranker.parameters, sizeof(double));
	t->platt[0] = t->platt[1] = (KpxPlatt){1, 0};
	t->n_pairs = data->n_pairs;
	t->pairs = data->pairs;
	t->convert_trained = data->train_conversions >= s->min_conversions;
	kpx_ranker_init(&t->ranker, (data->train_clicks + 1.0) / (train + 2), (data->train_conversions + 1.0) / (data->train_clicks + 2.0),
					(uint64) s->seed);
}

PG_FUNCTION_INFO_V1(kpx_train_ranker);
Datum
kpx_train_ranker(PG_FUNCTION_ARGS)
{
	KpxRegistry *registry = kpx_registry();
	KpxModule **modules;
	int n_modules;
	Settings s = parse_settings(PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1));
	bool activate = PG_ARGISNULL(2) || PG_GETARG_BOOL(2);
	KpxTrainedRanker t = {0};
	KpxRankerData *data;
	Run run = {0};
	double auc[2] = {NAN, NAN};
	bool trained;
	TupleDesc desc;

	PreventCommandIfReadOnly("kpx_train_ranker()");
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"modules\" must not be NULL")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("kpx_train_ranker must be called for a record")));
	modules = kpx_modules_argument(PG_GETARG_ARRAYTYPE_P(0), registry, &n_modules);
	for (int m = 0; m < n_modules; m++)
		kpx_require_owner(modules[m]->owner, "module", modules[m]->name);
	lock_training();
	kpx_progress_begin("kpx_train_ranker", kpx_modules_label(modules, n_modules));
	kpx_progress_phase("reading impressions", 0);
	data = kpx_ranker_data(modules, n_modules, (int64) s.max_impressions, (uint64) s.seed);
	prepare_ranker(&t, data, &s);
	trained = enough(data, &s);
	standardise(&t, data);
	if (trained)
	{
		train_heads(&t.ranker, data, &s, &run);
		calibrate(&t, data);
		if (!t.convert_trained)
			ereport(NOTICE,
					(errmsg("too few conversions to learn from: " INT64_FORMAT " in training, at least %.0f are needed",
							data->train_conversions, s.min_conversions),
					 errdetail("P(convert | click) stays a smoothed rate.")));
	}
	kpx_progress_phase("storing the ranker", 0);
	store(&t, data, &s, &run, modules, n_modules, trained, activate);
	kpx_progress_phase("judging on test users", 0);
	if (trained)
		kpx_ranker_judge(&t, data, auc);
	kpx_progress_end();
	{
		Datum values[] = {Int64GetDatum(t.id), BoolGetDatum(trained), Int64GetDatum((int64) data->impressions.n), Int64GetDatum(data->clicks),
						  Int64GetDatum(data->conversions), Int32GetDatum(run.epochs),
						  Float8GetDatum(trained ? run.dev_loss[run.best] : 0), Float8GetDatum(auc[0]), Float8GetDatum(auc[1])};
		bool nulls[] = {false, false, false, false, false, false, !trained, isnan(auc[0]), isnan(auc[1])};

		return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
	}
}
