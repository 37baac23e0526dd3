/*
 * off_policy.c
 *	  kpx_evaluate_policy over any relation, and what all its forms report.
 */
#include "off_policy.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

#include "idmap.h"
#include "json_params.h"
#include "registry.h"

static const char *const estimator_names[] = {"ips", "clipped_ips", "snips", "clipped_snips", "direct", "dr", "switch_dr"};

/*
 * The bootstrap draws from at most so many units: more are added up in groups, which are
 * as independent as they are, so that its cost does not grow with the log.
 */
#define MOST_DRAWN 20000

/* Rows between two looks for interrupts. */
#define CHUNK 65536

/* ------------------------------------------------------------ options */

static void
want_estimators(KpxOffPolicyOptions *options, ArrayType *array)
{
	Datum *elements;
	bool *nulls;
	int n;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		int e = 0;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"estimators\" must not contain NULL")));
		while (e < KPX_ESTIMATORS && strcmp(estimator_names[e], TextDatumGetCString(elements[i])) != 0)
			e++;
		if (e == KPX_ESTIMATORS)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("estimator \"%s\" is not known", TextDatumGetCString(elements[i])),
					 errhint("Known estimators: ips, clipped_ips, snips, clipped_snips, direct, dr, switch_dr.")));
		options->wanted[e] = true;
	}
}

KpxOffPolicyOptions
kpx_off_policy_options(FunctionCallInfo fcinfo, int estimators, int params)
{
	KpxOffPolicyOptions options = {.clip = 10, .switch_at = 10, .bootstrap = 1000, .seed = 1, .confidence = 0.95};
	KpxJsonParam known[] = {
		{"clip", &options.clip, 1e-6, 1e12, false},
		{"switch_at", &options.switch_at, 1e-6, 1e12, false},
		{"bootstrap", &options.bootstrap, 0, 100000, true},
		{"seed", &options.seed, -9007199254740992.0, 9007199254740992.0, true},
		{"confidence", &options.confidence, 0.5, 0.9999, false},
	};

	if (!PG_ARGISNULL(params))
		kpx_json_params(PG_GETARG_DATUM(params), "params", known, lengthof(known));
	if (PG_ARGISNULL(estimators))
		memset(options.wanted, true, sizeof(options.wanted));
	else
		want_estimators(&options, PG_GETARG_ARRAYTYPE_P(estimators));
	return options;
}

/* ------------------------------------------------------------ reporting */

static void
refuse_faults(const KpxLogFaults *faults, const char *what)
{
	if (faults->propensity_zero)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%zu rows of %s have a propensity that is not above 0", faults->propensity_zero, what),
				 errdetail("What was shown had a probability of being shown."),
				 errhint("Mend the log, or leave the rows out with a view if you know that they were not drawn.")));
	if (faults->not_finite)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%zu rows of %s hold NaN or an infinite number", faults->not_finite, what),
				 errhint("Mend the log, or leave the rows out with a view.")));
	if (faults->propensity_above_one)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%zu rows of %s have a propensity above 1", faults->propensity_above_one, what),
				 errhint("A propensity is a probability, not a density or a count.")));
	if (faults->probability_outside)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%zu rows of %s have a policy probability outside 0 to 1", faults->probability_outside, what)));
}

/* Checked, summed by unit. */
static KpxUnitSums *
sum_log(const KpxLog *log, size_t units, const KpxOffPolicyOptions *options, const char *what, KpxWeights *weights)
{
	KpxLogFaults faults = {0};
	KpxUnitSums *sums = kpx_alloc_aligned(CurrentMemoryContext, units, sizeof(KpxUnitSums));

	for (size_t begin = 0; begin < log->n; begin += CHUNK)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_log_check(log, begin, Min(begin + CHUNK, log->n), &faults);
	}
	refuse_faults(&faults, what);
	for (size_t begin = 0; begin < log->n; begin += CHUNK)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_log_sums(log, options->clip, options->switch_at, begin, Min(begin + CHUNK, log->n), sums);
		kpx_log_weights(log, options->clip, begin, Min(begin + CHUNK, log->n), weights);
	}
	return sums;
}

/* Says when the log cannot carry the answer. */
static void
warn_of_thin_overlap(const KpxLog *log, const KpxWeights *weights, const char *what)
{
	double n = (double) log->n;
	double size = kpx_effective_sample_size(weights->sum, weights->squares);
	double mean = weights->sum / n;
	double error = sqrt(fmax(weights->squares / n - mean * mean, 0) / n);

	if (log->n == 0)
		ereport(WARNING, (errmsg("%s holds no rows", what)));
	else if (weights->sum == 0)
		ereport(WARNING,
				(errmsg("the judged policy would show nothing of what %s shows", what),
				 errdetail("All %zu policy probabilities are 0.", log->n),
				 errhint("Only a log of the policy itself, or of one that explores what it does, can judge it.")));
	else
	{
		if (size < 100 || size < 0.01 * n)
			ereport(WARNING,
					(errmsg("overlap is too thin: the %zu rows of %s are worth %.1f of the judged policy's own",
							log->n, what, size),
					 errdetail("The largest weight is %.4g, the mean %.4g.", weights->largest, mean),
					 errhint("Trust the clipped and doubly robust estimates rather than ips, and log with more exploration.")));
		if (fabs(mean - 1) > 4 * error + 1e-6)
			ereport(WARNING,
					(errmsg("the weights of %s average %.4g, expected is 1", what, mean),
					 errdetail("That is %.1f standard errors off.", fabs(mean - 1) / fmax(error, 1e-12)),
					 errhint("Either propensities are wrong, or the judged policy shows what the log never shows.")));
	}
}

static double
std_error(KpxEstimator e, const KpxUnitSums *sums, const KpxUnitSums *total, size_t units)
{
	double deviations = 0;

	for (size_t begin = 0; begin < units; begin += CHUNK)
	{
		CHECK_FOR_INTERRUPTS();
		deviations += kpx_estimate_deviations(e, sums, total, begin, Min(begin + CHUNK, units));
	}
	return kpx_estimate_std_error(e, total, units, deviations);
}

/* Units in groups of every MOST_DRAWN-th; itself when there are few. */
static const KpxUnitSums *
grouped(const KpxUnitSums *sums, size_t *units)
{
	KpxUnitSums *group;

	if (*units <= MOST_DRAWN)
		return sums;
	group = kpx_alloc_aligned(CurrentMemoryContext, MOST_DRAWN, sizeof(KpxUnitSums));
	for (size_t u = 0; u < *units; u++)
		kpx_unit_sums_add(&group[u % MOST_DRAWN], &sums[u]);
	*units = MOST_DRAWN;
	return group;
}

/*
 * Bootstrap-t: of skewed contributions, as revenue's are, percentiles of the replicates would cover far
 * less than they say.
 */
static void
bootstrap(const KpxUnitSums *sums, size_t units, const KpxOffPolicyOptions *options, KpxInterval *interval)
{
	size_t replicates = units > 1 ? (size_t) options->bootstrap : 0;
	double *t[KPX_ESTIMATORS];

	sums = grouped(sums, &units);
	for (int e = 0; e < KPX_ESTIMATORS; e++)
		t[e] = kpx_alloc(CurrentMemoryContext, Max(replicates, 1), sizeof(double));
	for (size_t r = 0; r < replicates; r++)
	{
		KpxReplicate drawn = {0};

		for (size_t begin = 0; begin < units; begin += CHUNK)
		{
			CHECK_FOR_INTERRUPTS();
			kpx_bootstrap_add(sums, units, (uint64) options->seed, r, begin, Min(begin + CHUNK, units), &drawn);
		}
		for (int e = 0; e < KPX_ESTIMATORS; e++)
			t[e][r] = kpx_bootstrap_t(e, &drawn, units, interval[e].value);
	}
	for (int e = 0; e < KPX_ESTIMATORS; e++)
	{
		KpxInterval *i = &interval[e];
		size_t n = kpx_sort_values(t[e], replicates);

		i->low = i->error > 0 ? i->value - i->error * kpx_quantile(t[e], n, (1 + options->confidence) / 2) : i->value;
		i->high = i->error > 0 ? i->value - i->error * kpx_quantile(t[e], n, (1 - options->confidence) / 2) : i->value;
		if (n == 0)
			i->low = i->high = NAN;
		pfree(t[e]);
	}
}

void
kpx_off_policy_intervals(const KpxUnitSums *sums, size_t units, const KpxOffPolicyOptions *options, KpxInterval *interval)
{
	KpxUnitSums total = {0};

	for (size_t u = 0; u < units; u++)
		kpx_unit_sums_add(&total, &sums[u]);
	for (int e = 0; e < KPX_ESTIMATORS; e++)
	{
		interval[e].value = kpx_estimate(e, &total);
		interval[e].error = std_error(e, sums, &total, units);
	}
	bootstrap(sums, units, options, interval);
}

static void
put_estimate(FunctionCallInfo fcinfo, const char *name, const double *numbers, int64 rows)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum values[7];
	bool nulls[7] = {false};

	values[0] = CStringGetTextDatum(name);
	for (int i = 0; i < 5; i++)
	{
		values[i + 1] = Float8GetDatum(numbers[i]);
		nulls[i + 1] = isnan(numbers[i]);
	}
	values[6] = Int64GetDatum(rows);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

void
kpx_off_policy_report(FunctionCallInfo fcinfo, const KpxLog *log, size_t units, const KpxOffPolicyOptions *options,
					  const char *what)
{
	KpxWeights weights = {0};
	KpxUnitSums *sums = sum_log(log, units, options, what, &weights);
	KpxInterval interval[KPX_ESTIMATORS];

	kpx_off_policy_intervals(sums, units, options, interval);
	for (int e = 0; e < KPX_ESTIMATORS; e++)
	{
		const KpxInterval *i = &interval[e];
		bool clipped = e == KPX_CLIPPED_IPS || e == KPX_CLIPPED_SNIPS;
		double numbers[5] = {i->value, i->error, i->low, i->high,
							 kpx_effective_sample_size(clipped ? weights.clipped_sum : weights.sum,
													   clipped ? weights.clipped_squares : weights.squares)};

		if (weights.sum == 0 && e != KPX_DIRECT)
			numbers[0] = numbers[1] = numbers[2] = numbers[3] = NAN;
		if (e == KPX_DIRECT)
			numbers[4] = NAN;
		if (options->wanted[e])
			put_estimate(fcinfo, estimator_names[e], numbers, (int64) log->n);
	}
	warn_of_thin_overlap(log, &weights, what);
}

/* ------------------------------------------------------------ any relation */

enum
{
	PROPENSITY,
	REWARD,
	PROBABILITY,
	PREDICTED,
	BASELINE,
	NUMBERS
};

enum
{
	ACTION,
	CONTEXT,
	UNIT,
	NAMES
};

/* A relation's rows, growing as they are read. */
typedef struct Rows
{
	MemoryContext context;
	size_t n;
	size_t size;
	double *number[NUMBERS]; /* NULL where the relation has no such column */
	uint32 *name[NAMES];
	KpxIdMap *map[NAMES];
	KpxIdMap *cells; /* of context and action */
	uint32 *cell; /* [n] */
	uint32 *cell_context; /* [cells] */
	size_t cell_size;
	size_t nulls;
} Rows;

static void *
grow(MemoryContext context, void *old, size_t n, size_t size, size_t element)
{
	void *bigger = kpx_alloc(context, size, element);

	if (old)
	{
		memcpy(bigger, old, n * element);
		pfree(old);
	}
	return bigger;
}

static void
reserve(Rows *rows, const char *const *number, const char *const *name)
{
	size_t size = Max(4096, rows->size * 2);

	if (rows->n < rows->size)
		return;
	kpx_check_budget(size * (sizeof(double) * (NUMBERS + 3) + sizeof(uint32) * (NAMES + 1)), "reading the log");
	for (int c = 0; c < NUMBERS; c++)
		if (number[c])
			rows->number[c] = grow(rows->context, rows->number[c], rows->n, size, sizeof(double));
	for (int c = 0; c < NAMES; c++)
		if (name[c])
			rows->name[c] = grow(rows->context, rows->name[c], rows->n, size, sizeof(uint32));
	rows->cell = grow(rows->context, rows->cell, rows->n, size, sizeof(uint32));
	rows->size = size;
}

static KpxId
number_id(int64 number)
{
	return (KpxId){number, NULL, 0};
}

/* The cell of a row's context and action; contexts of new cells are noted. */
static uint32
cell_of(Rows *rows, uint32 action, uint32 context)
{
	uint32 cell = kpx_idmap_add(rows->cells, number_id(((int64) context << 32) | action));

	if (cell >= rows->cell_size)
	{
		size_t size = Max(64, rows->cell_size * 2);

		rows->cell_context = grow(rows->context, rows->cell_context, rows->cell_size, size, sizeof(uint32));
		rows->cell_size = size;
	}
	rows->cell_context[cell] = context;
	return cell;
}

static void
take_row(Rows *rows, HeapTuple tuple, TupleDesc desc, const char *const *number, const char *const *name)
{
	int column = 1;
	bool null;
	bool any_null = false;

	reserve(rows, number, name);
	for (int c = 0; c < NUMBERS; c++)
		if (number[c])
		{
			rows->number[c][rows->n] = DatumGetFloat8(SPI_getbinval(tuple, desc, column++, &null));
			any_null |= null;
		}
	for (int c = 0; c < NAMES; c++)
		if (name[c])
		{
			Datum value = SPI_getbinval(tuple, desc, column++, &null);

			any_null |= null;
			if (!null)
				rows->name[c][rows->n] = kpx_idmap_add(
					rows->map[c], kpx_id_from_datum(KPX_ID_TEXT, TEXTOID, PointerGetDatum(PG_DETOAST_DATUM_PACKED(value))));
		}
	rows->nulls += any_null;
	if (any_null)
		return;
	if (name[ACTION])
		rows->cell[rows->n] = cell_of(rows, rows->name[ACTION][rows->n], name[CONTEXT] ? rows->name[CONTEXT][rows->n] : 0);
	rows->n++;
}

/* Columns are read as float8 and text, whatever they are. */
static char *
log_sql(Oid relation, const char *relation_sql, const char *const *number, const char *const *name)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int c = 0; c < NUMBERS; c++)
		if (number[c])
		{
			Oid type = getBaseType(kpx_column_type(relation, number[c]));

			if (type != INT2OID && type != INT4OID && type != INT8OID && type != FLOAT4OID && type != FLOAT8OID &&
				type != NUMERICOID && type != BOOLOID)
				ereport(ERROR,
						(errcode(ERRCODE_DATATYPE_MISMATCH),
						 errmsg("column \"%s\" of relation %s has type %s, expected a number or boolean", number[c], relation_sql,
								format_type_be(type))));
			appendStringInfo(&sql, "%s l.%s%s::pg_catalog.float8", sql.len ? "," : "SELECT", quote_identifier(number[c]),
							 type == BOOLOID ? "::pg_catalog.int4" : "");
		}
	for (int c = 0; c < NAMES; c++)
		if (name[c])
		{
			(void) kpx_column_type(relation, name[c]);
			appendStringInfo(&sql, ", l.%s::pg_catalog.text", quote_identifier(name[c]));
		}
	appendStringInfo(&sql, " FROM %s l", relation_sql);
	return sql.data;
}

static void
read_rows(Rows *rows, Oid relation, const char *relation_sql, const char *const *number, const char *const *name)
{
	Portal portal;
	SPIPlanPtr plan;

	rows->context = CurrentMemoryContext;
	for (int c = 0; c < NAMES; c++)
		if (name[c])
			rows->map[c] = kpx_idmap_create(CurrentMemoryContext, KPX_ID_TEXT);
	rows->cells = kpx_idmap_create(CurrentMemoryContext, KPX_ID_INT);
	SPI_connect();
	plan = SPI_prepare(log_sql(relation, relation_sql, number, name), 0, NULL);
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, 4096);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
			take_row(rows, SPI_tuptable->vals[i], SPI_tuptable->tupdesc, number, name);
		SPI_freetuptable(SPI_tuptable);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_cursor_close(portal);
	SPI_finish();
	if (rows->nulls)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%zu rows of %s hold NULL in a column that is needed", rows->nulls, relation_sql),
				 errhint("Say with a view what they mean: coalesce(reward, 0), or leave the rows out.")));
}

/* predicted, baseline and direct: the relation's, or fitted from its actions. */
static void
add_model(KpxLog *log, Rows *rows, const KpxOffPolicyOptions *options)
{
	if (rows->number[PREDICTED])
	{
		log->predicted = rows->number[PREDICTED];
		log->baseline = log->direct = rows->number[BASELINE];
	}
	else if (rows->name[ACTION] && log->n > 0)
	{
		KpxCells cells = {kpx_idmap_count(rows->cells), 1, rows->cell, rows->cell_context};
		double *fitted[3];
		double *workspace;
		KpxLogFaults faults = {0};

		kpx_log_check(log, 0, log->n, &faults);
		if (faults.not_finite || faults.propensity_zero)
			return; /* refused when reporting */
		if (rows->name[CONTEXT])
			cells.contexts = kpx_idmap_count(rows->map[CONTEXT]);
		for (int i = 0; i < 3; i++)
			fitted[i] = kpx_alloc(rows->context, log->n, sizeof(double));
		workspace = kpx_alloc_aligned(rows->context, kpx_cells_workspace(&cells), sizeof(double)); /* zeroed */
		for (size_t begin = 0; begin < log->n; begin += CHUNK)
		{
			CHECK_FOR_INTERRUPTS();
			kpx_cells_add(log, &cells, (uint64) options->seed, begin, Min(begin + CHUNK, log->n), workspace);
		}
		kpx_cells_finish(&cells, workspace);
		for (size_t begin = 0; begin < log->n; begin += CHUNK)
		{
			CHECK_FOR_INTERRUPTS();
			kpx_cells_predict(log, &cells, (uint64) options->seed, begin, Min(begin + CHUNK, log->n), workspace, fitted[0], fitted[1],
							  fitted[2]);
		}
		log->predicted = fitted[0];
		log->baseline = fitted[1];
		log->direct = fitted[2];
	}
}

/* A column name argument, or NULL. */
static const char *
column_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

PG_FUNCTION_INFO_V1(kpx_evaluate_log);
Datum
kpx_evaluate_log(PG_FUNCTION_ARGS)
{
	const char *number[NUMBERS] = {column_argument(fcinfo, 2), column_argument(fcinfo, 3), column_argument(fcinfo, 4),
								   column_argument(fcinfo, 6), column_argument(fcinfo, 7)};
	const char *name[NAMES] = {column_argument(fcinfo, 1), column_argument(fcinfo, 5), column_argument(fcinfo, 8)};
	KpxOffPolicyOptions options = kpx_off_policy_options(fcinfo, 9, 10);
	Rows rows = {0};
	KpxLog log = {0};
	char *relation;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || !number[PROPENSITY] || !number[REWARD] || !number[PROBABILITY])
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("arguments \"log\", \"propensity\", \"reward\" and \"probability\" must not be NULL")));
	if (!number[PREDICTED] != !number[BASELINE])
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("arguments \"predicted\" and \"baseline\" go together"),
				 errhint("predicted is a model's reward of what was shown, baseline its expectation under the judged policy.")));
	if (name[CONTEXT] && !name[ACTION])
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"context\" needs \"action\"")));
	relation = kpx_relation_sql(PG_GETARG_OID(0), "log", "argument", "log");
	read_rows(&rows, PG_GETARG_OID(0), relation, number, name);
	log.n = rows.n;
	log.propensity = rows.number[PROPENSITY];
	log.reward = rows.number[REWARD];
	log.probability = rows.number[PROBABILITY];
	log.unit = rows.name[UNIT];
	add_model(&log, &rows, &options);
	kpx_off_policy_report(fcinfo, &log, rows.name[UNIT] ? kpx_idmap_count(rows.map[UNIT]) : log.n, &options, relation);
	return (Datum) 0;
}
