/*
 * estimate.c
 *	  kpx_train_estimate: rows, memory and seconds of a training, before it is done.
 *
 * Rows are what the planner expects of the sources, or counted. Memory follows from them by
 * the layouts of factor_arena.c and link_train.c. Seconds: the sources' first rows are read, and
 * the algorithm is run on made-up data, small but with rows as long as the real ones, of two
 * sizes: what grows and what does not is told apart, and scaled up.
 */
#include "kpxrec.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "portability/instr_time.h"

#include "core/ingest.h"
#include "core/rng.h"
#include "algorithm.h"
#include "factor.h"
#include "factor_arena.h"
#include "ingest.h"
#include "registry.h"
#include "training.h"

#define SAMPLE_ROWS 20000 /* read of each source */
#define SAMPLE_INTERACTIONS 60000 /* of the larger made-up data */
#define SAMPLE_SIDE 1000 /* the smaller side of EASE's made-up data */

typedef struct Estimate
{
	KpxModule **modules;
	int n_modules;
	bool exact;
	KpxParams *params;
	double events;
	double users;
	double items;
	double interactions;
	double read_seconds;
	double train_seconds; /* NaN: not estimated */
	double memory; /* bytes; NaN: not estimated */
	double model; /* bytes; NaN: not estimated */
	int workers;
} Estimate;

/* ------------------------------------------------------------ rows */

static double
one_number(const char *sql)
{
	bool null;
	double number;

	SPI_connect();
	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT || SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("cannot count the events")));
	number = DatumGetFloat8(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	SPI_finish();
	return null ? 0 : number;
}

/* How many rows the planner expects of a query. */
static double
planned_rows(const char *sql)
{
	char *json;
	char *at;
	double rows = 0;

	SPI_connect();
	if (SPI_execute(psprintf("EXPLAIN (FORMAT JSON) %s", sql), false, 0) < 0 || SPI_processed < 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("cannot plan the reading of the events")));
	json = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	at = json ? strstr(json, "\"Plan Rows\":") : NULL; /* the first is the topmost node's */
	if (at)
		rows = strtod(at + strlen("\"Plan Rows\":"), NULL);
	SPI_finish();
	return Max(rows, 1);
}

static double
count_rows(const Estimate *e, const char *sql)
{
	return e->exact ? one_number(psprintf("SELECT pg_catalog.count(*)::pg_catalog.float8 FROM (%s) q", sql)) : planned_rows(sql);
}

/* The columns of all sources of the modules first .. last - 1, put together without duplicates. */
static char *
distinct_sql(const Estimate *e, int first, int last, bool user, bool item)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (int m = first; m < last; m++)
		for (int s = 0; s < e->modules[m]->n_sources; s++)
		{
			const KpxSource *source = &e->modules[m]->sources[s];
			KpxIdKind user_kind;
			char *relation;

			(void) kpx_source_check(e->modules[m], source, &user_kind, &relation);
			appendStringInfo(&sql, "%sSELECT %s%s%s FROM %s", sql.len ? " UNION ALL " : "", user ? quote_identifier(source->user_id) : "",
							 user && item ? ", " : "", item ? quote_identifier(source->item_id) : "", relation);
		}
	return psprintf("SELECT DISTINCT * FROM (%s) a", sql.data);
}

/* Exactly: each figure by one query over all sources. */
static void
count_all(Estimate *e)
{
	e->users = count_rows(e, distinct_sql(e, 0, e->n_modules, true, false));
	for (int m = 0; m < e->n_modules; m++)
		if (e->modules[m]->n_sources > 0)
		{
			e->items += count_rows(e, distinct_sql(e, m, m + 1, false, true));
			e->interactions += count_rows(e, distinct_sql(e, m, m + 1, true, true));
		}
}

/* By the planner's statistics: it cannot know how far sources have users and items in common, so the largest counts. */
static void
guess_module(Estimate *e, const KpxModule *module)
{
	double items = 0;

	for (int s = 0; s < module->n_sources; s++)
	{
		const KpxSource *source = &module->sources[s];
		KpxIdKind user_kind;
		char *relation;
		const char *user = quote_identifier(source->user_id);
		const char *item = quote_identifier(source->item_id);
		double events;
		double pairs;

		(void) kpx_source_check(module, source, &user_kind, &relation);
		events = planned_rows(psprintf("SELECT %s FROM %s", user, relation));
		pairs = planned_rows(psprintf("SELECT 1 FROM %s GROUP BY %s, %s", relation, user, item));
		e->users = Max(e->users, planned_rows(psprintf("SELECT 1 FROM %s GROUP BY %s", relation, user)));
		items = Max(items, planned_rows(psprintf("SELECT 1 FROM %s GROUP BY %s", relation, item)));
		/* without statistics of both columns together it takes a tenth of the rows: then most pairs are their own */
		e->interactions += pairs < 0.11 * events ? events : pairs;
	}
	e->items += items;
}

/* Events of all sources, and how long reading their first rows takes. */
static void
read_sample(Estimate *e)
{
	for (int m = 0; m < e->n_modules; m++)
		for (int s = 0; s < e->modules[m]->n_sources; s++)
		{
			const KpxSource *source = &e->modules[m]->sources[s];
			KpxIdKind user_kind;
			char *relation;
			char *sql;
			double events;
			double seconds;
			instr_time clock;

			(void) kpx_source_check(e->modules[m], source, &user_kind, &relation);
			sql = psprintf("SELECT %s, %s FROM %s", quote_identifier(source->user_id), quote_identifier(source->item_id), relation);
			events = count_rows(e, sql);
			SPI_connect();
			INSTR_TIME_SET_CURRENT(clock);
			if (SPI_execute(psprintf("%s LIMIT %d", sql, SAMPLE_ROWS), true, 0) != SPI_OK_SELECT)
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("cannot read %s", relation)));
			seconds = kpx_seconds_since(&clock);
			if (SPI_processed > 0)
				e->read_seconds += seconds * Max(events, (double) SPI_processed) / (double) SPI_processed;
			SPI_finish();
			e->events += events;
		}
}

/* ------------------------------------------------------------ memory */

/* Bytes of iALS's arena: factor_arena.c. */
static double
factor_bytes(const Estimate *e)
{
	double d = kpx_param(e->params, "factors");
	double ld = (double) kpx_ld((int) d);

	return 2 * e->interactions * (sizeof(uint32) + sizeof(float)) + (e->users + e->items) * (sizeof(uint64) + ld * sizeof(float)) +
		   GRAM_SLOTS * d * d * sizeof(double) + d * ld * sizeof(float) + e->interactions * 8;
}

static double
links_kept(const Estimate *e)
{
	double keep = kpx_param(e->params, "neighbours");

	return e->items * (keep > 0 ? Min(keep, e->items) : e->items);
}

/* Bytes of a job of links: link_train.c. */
static double
link_bytes(const Estimate *e)
{
	double side = e->params->algorithm == &kpx_ease ? Min(e->users, e->items) : 0;

	return 2 * e->interactions * (sizeof(uint32) + sizeof(float)) + (e->users + 2 * e->items) * sizeof(uint64) + side * side * sizeof(float) +
		   2 * links_kept(e) * (sizeof(uint32) + sizeof(float)) + (e->params->algorithm->times ? 3 * e->interactions * sizeof(uint32) : 0);
}

/* While the events are read, and turned into rows: ingest.c. */
static double
reading_bytes(const Estimate *e)
{
	double event = sizeof(KpxEvent) + (e->params->algorithm->times ? sizeof(uint32) : 0);

	return Max(ceil(e->events / KPX_BLOCK_EVENTS) * KPX_BLOCK_EVENTS * event, e->events * 3 * (sizeof(uint32) + sizeof(float))) +
		   (e->users + e->items) * 4 * sizeof(uint64);
}

static void
estimate_memory(Estimate *e)
{
	const KpxAlgorithm *algorithm = e->params->algorithm;
	double ids = e->items * (sizeof(int64) + sizeof(float));

	e->memory = e->model = NAN;
	if (algorithm == &kpx_ials)
	{
		e->memory = Max(reading_bytes(e), factor_bytes(e));
		e->model = ids + e->items * kpx_param(e->params, "factors") * sizeof(float);
	}
	else if (algorithm == &kpx_ease || algorithm == &kpx_itemknn || algorithm == &kpx_transition)
	{
		e->memory = Max(reading_bytes(e), link_bytes(e));
		e->model = ids + e->items * sizeof(uint64) + links_kept(e) * (sizeof(uint32) + sizeof(float));
	}
	else if (algorithm == &kpx_popular)
	{
		e->memory = reading_bytes(e);
		e->model = ids;
	}
}

/* ------------------------------------------------------------ seconds */

static int
by_number(const void *a, const void *b)
{
	uint32 x = *(const uint32 *) a;
	uint32 y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

/* Users with rows as long as the real ones' mean, of items with the skew of a power law. */
static KpxData *
made_up(const Estimate *e, uint32 users, uint32 items)
{
	KpxData *data = palloc0(sizeof(KpxData));
	double mean = Max(1, e->interactions / Max(e->users, 1));
	size_t room = (size_t) (users * (mean + 1)) + 1;
	uint64 n = 0;

	data->context = CurrentMemoryContext;
	data->n_modules = 1;
	data->modules = e->modules;
	data->item_ids = palloc0(sizeof(KpxIds));
	data->item_base = palloc0(sizeof(uint32) * 2);
	data->item_base[1] = data->items = items;
	data->users = users;
	data->offset = kpx_alloc(CurrentMemoryContext, (size_t) users + 1, sizeof(uint64));
	data->index = kpx_alloc(CurrentMemoryContext, room, sizeof(uint32));
	data->weight = kpx_alloc(CurrentMemoryContext, room, sizeof(float));
	data->time = kpx_alloc(CurrentMemoryContext, room, sizeof(uint32));
	data->module_interactions = palloc0(sizeof(uint64));
	data->module_users = palloc0(sizeof(uint64));
	data->window = palloc(sizeof(KpxWindow));
	data->window[0] = KPX_NO_WINDOW;
	for (uint32 u = 0; u < users; u++)
	{
		/* mean from floor and ceiling */
		uint32 wanted = (uint32) (mean * (u + 1)) - (uint32) (mean * u);
		uint64 begin = n;
		uint64 kept;

		data->offset[u] = n;
		for (uint32 j = 0; j < wanted && n < room; j++)
			data->index[n++] = (uint32) (pow(kpx_uniform(1, u, j), 2) * items);
		qsort(data->index + begin, n - begin, sizeof(uint32), by_number);
		kept = begin;
		for (uint64 j = begin; j < n; j++)
			if (kept == begin || data->index[j] != data->index[kept - 1])
				data->index[kept++] = data->index[j];
		n = kept;
	}
	data->offset[users] = n;
	for (uint64 j = 0; j < n; j++)
	{
		data->weight[j] = 1;
		data->time[j] = (uint32) (1 + kpx_random(2, j, 0) % 1000000);
	}
	return data;
}

/* Seconds of one run at this share of the real size, without workers; *entries: how many it had. */
static double
run_sample(const Estimate *e, double share, double *entries)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec estimate", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	KpxData *data = made_up(e, (uint32) Max(2, e->users * share), (uint32) Max(2, e->items * share));
	int saved = kpx_min_parallel_interactions;
	instr_time clock;
	double seconds;
	KpxFit fit;

	*entries = (double) data->offset[data->users];
	PG_TRY();
	{
		kpx_min_parallel_interactions = PG_INT32_MAX;
		INSTR_TIME_SET_CURRENT(clock);
		(void) kpx_fit(data, e->params, &fit);
		seconds = kpx_seconds_since(&clock);
	}
	PG_FINALLY();
	{
		kpx_min_parallel_interactions = saved;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return seconds;
}

/* Sets a parameter; returns what it was. */
static double
set_param(KpxParams *params, const char *name, double value)
{
	for (int i = 0; params->algorithm->params[i].name; i++)
		if (strcmp(params->algorithm->params[i].name, name) == 0)
		{
			double before = params->value[i];

			params->value[i] = value;
			return before;
		}
	return 1;
}

static void
estimate_seconds(Estimate *e)
{
	const KpxAlgorithm *algorithm = e->params->algorithm;
	bool cubic = algorithm == &kpx_ease;
	double share = Min(1, cubic ? SAMPLE_SIDE / Min(e->users, e->items) : SAMPLE_INTERACTIONS / Max(e->interactions, 1));
	double iterations;
	double n_large;
	double n_small;
	double large;
	double small;
	double slope;

	e->train_seconds = NAN;
	/* Nor for what would be refused, since the sample would be, too. */
	if (isnan(e->memory) || e->memory > (double) kpx_memory_budget())
		return;
	e->workers = e->interactions < kpx_min_parallel_interactions || algorithm == &kpx_popular ? 0 : max_parallel_maintenance_workers;
	iterations = set_param(e->params, "iterations", 2);
	(void) run_sample(e, share / 4, &n_small); /* caches and pages are warm from here on */
	small = run_sample(e, share / 4, &n_small);
	large = run_sample(e, share, &n_large);
	(void) set_param(e->params, "iterations", iterations);
	if (cubic)
		e->train_seconds = large * pow(1 / share, 3);
	else
	{
		slope = Max(0, (large - small) / Max(n_large - n_small, 1));
		e->train_seconds = (algorithm == &kpx_ials ? iterations / 2 : 1) * (Max(0, large - slope * n_large) + slope * e->interactions / (1 + e->workers));
	}
}

/* ------------------------------------------------------------ kpx_train_estimate */

/* What would be refused, and what to do about it; NULL: nothing. */
static char *
refusal(const Estimate *e)
{
	double budget = (double) kpx_memory_budget();
	double cache = kpx_cache_size * 1024.0;

	if (e->memory > budget)
		return psprintf("training: it needs about %.0f MB of memory, %.0f MB are allowed; raise maintenance_work_mem or kpxrec.memory_factor",
						e->memory / 1048576, budget / 1048576);
	if (e->model > cache)
		return psprintf("answers: the model takes about %.0f MB, kpxrec.cache_size allows a session %.0f MB", e->model / 1048576, cache / 1048576);
	return NULL;
}

static void
put_bytes(double bytes, Datum *value, bool *null)
{
	*null = isnan(bytes);
	*value = *null ? (Datum) 0 : Int64GetDatum((int64) bytes);
}

PG_FUNCTION_INFO_V1(kpx_train_estimate);
Datum
kpx_train_estimate(PG_FUNCTION_ARGS)
{
	Datum given = PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2);
	Estimate e = {0};
	TupleDesc desc;
	Datum values[12];
	bool nulls[12] = {false};
	KpxTraining training;
	char *refused;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("kpx_train_estimate must be called for a record")));
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"modules\" must not be NULL")));
	e.modules = kpx_modules_argument(PG_GETARG_ARRAYTYPE_P(0), kpx_registry(), &e.n_modules);
	kpx_require_sources(e.modules, e.n_modules);
	kpx_training_begin(&training, e.modules, e.n_modules, kpx_algorithm_argument(fcinfo, 1, given), given, "estimate");
	e.params = training.params;
	e.exact = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);
	read_sample(&e);
	if (e.exact)
		count_all(&e);
	else
		for (int m = 0; m < e.n_modules; m++)
			guess_module(&e, e.modules[m]);
	estimate_memory(&e);
	estimate_seconds(&e);
	refused = refusal(&e);
	values[0] = Int64GetDatum((int64) e.events);
	values[1] = Int64GetDatum((int64) e.users);
	values[2] = Int64GetDatum((int64) e.items);
	values[3] = Int64GetDatum((int64) e.interactions);
	values[4] = CStringGetTextDatum(e.exact ? "counted" : "planner statistics");
	put_bytes(e.memory, &values[5], &nulls[5]);
	values[6] = Int64GetDatum((int64) kpx_memory_budget());
	put_bytes(e.model, &values[7], &nulls[7]);
	values[8] = Float8GetDatum(e.read_seconds);
	values[9] = Float8GetDatum(e.train_seconds);
	nulls[9] = isnan(e.train_seconds);
	values[10] = Int32GetDatum(e.workers);
	values[11] = refused ? CStringGetTextDatum(refused) : (Datum) 0;
	nulls[11] = refused == NULL;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
