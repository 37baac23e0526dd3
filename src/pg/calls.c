/*
 * calls.c
 *	  Statistics of answers in shared memory, for the view kpx_stat_recommend.
 *
 * A hash table of a fixed size whose entries are never moved nor freed: a module takes its entry
 * with one compare-and-swap when it first answers, and each backend remembers the entry it
 * used last. Everything after that are relaxed atomic additions. A reader may see a call half
 * added; the next look is right.
 */
#include "calls.h"

#include <math.h>

#include "port/atomics.h"
#include "utils/timestamp.h"

#include "core/histogram.h"
#include "core/rng.h"
#include "scorer.h"
#include "shared_memory.h"

#define ENTRIES 128

typedef struct Counters
{
	pg_atomic_uint64 calls;
	pg_atomic_uint64 lists;
	pg_atomic_uint64 empty;
	pg_atomic_uint64 items;
	pg_atomic_uint64 fell_back;
	pg_atomic_uint64 microseconds;
	pg_atomic_uint64 slowest;
	pg_atomic_uint64 models[KPX_MODEL_SOURCES];
	pg_atomic_uint64 filled[KPX_MAX_SCORERS];
	pg_atomic_uint64 bucket[KPX_BUCKETS]; /* of microseconds */
} Counters;

typedef struct Entry
{
	pg_atomic_uint64 key; /* database << 32 | module; 0: free */
	pg_atomic_uint64 since; /* a TimestampTz */
	Counters counters[KPX_CALL_KINDS];
} Entry;

typedef struct Table
{
	pg_atomic_uint64 homeless; /* calls that found no entry */
	Entry entry[ENTRIES];
} Table;

static const char *const kind_names[KPX_CALL_KINDS] = {"kpx_recommend", "kpx_recommend_from", "kpx_recommend_for",
													   "kpx_recommend_slate", "kpx_similar"};

uint64 kpx_models_found[KPX_MODEL_SOURCES];

static size_t
table_bytes(void)
{
	return sizeof(Table);
}

/* All of it are atomic numbers. */
static void
table_init(void *memory, LWLockPadded *locks)
{
	for (size_t i = 0; i < sizeof(Table) / sizeof(pg_atomic_uint64); i++)
		pg_atomic_init_u64((pg_atomic_uint64 *) memory + i, 0);
}

static KpxShared shared = {.name = "kpxrec calls", .bytes = table_bytes, .init = table_init};

void
kpx_calls_init(void)
{
	kpx_shared_request(&shared);
}

/* ------------------------------------------------------------ counting */

static uint64
key_of(Oid database, int module)
{
	return ((uint64) database << 32) | (uint32) module;
}

/* The entry of this key, made if need be; NULL when the table is full. */
static Entry *
find_entry(Table *table, uint64 key)
{
	uint64 at = kpx_mix64(key);

	for (int i = 0; i < ENTRIES; i++)
	{
		Entry *entry = &table->entry[(at + i) % ENTRIES];
		uint64 found = pg_atomic_read_u64(&entry->key);

		if (found == 0 && pg_atomic_compare_exchange_u64(&entry->key, &found, key))
		{
			pg_atomic_write_u64(&entry->since, (uint64) GetCurrentTimestamp());
			return entry;
		}
		if (found == key)
			return entry;
	}
	return NULL;
}

void
kpx_call_begin(KpxCall *call)
{
	if (shared.memory == NULL)
		return;
	INSTR_TIME_SET_CURRENT(call->start);
	memcpy(call->models, kpx_models_found, sizeof(call->models));
}

void
kpx_call_join(KpxCall *call, const KpxCall *part)
{
	call->lists += part->lists;
	call->empty += part->empty;
	call->items += part->items;
	call->fell_back += part->fell_back;
	for (int s = 0; s < KPX_MAX_SCORERS; s++)
		call->filled[s] += part->filled[s];
}

static void
add(pg_atomic_uint64 *to, uint64 n)
{
	if (n > 0)
		pg_atomic_fetch_add_u64(to, (int64) n);
}

static void
raise_to(pg_atomic_uint64 *to, uint64 n)
{
	uint64 before = pg_atomic_read_u64(to);

	while (before < n && !pg_atomic_compare_exchange_u64(to, &before, n))
		;
}

static void
add_call(Counters *c, const KpxCall *call, uint64 microseconds)
{
	add(&c->calls, 1);
	add(&c->lists, call->lists);
	add(&c->empty, call->empty);
	add(&c->items, call->items);
	add(&c->fell_back, call->fell_back);
	add(&c->microseconds, microseconds);
	add(&c->bucket[kpx_bucket(microseconds)], 1);
	raise_to(&c->slowest, microseconds);
	for (int m = 0; m < KPX_MODEL_SOURCES; m++)
		add(&c->models[m], kpx_models_found[m] - call->models[m]);
	for (int s = 0; s < KPX_MAX_SCORERS; s++)
		add(&c->filled[s], call->filled[s]);
}

void
kpx_call_end(const KpxCall *call, KpxCallKind kind, int module)
{
	static Entry *last = NULL;
	static uint64 last_key = 0;
	uint64 key = key_of(MyDatabaseId, module);
	instr_time now;

	if (shared.memory == NULL || INSTR_TIME_IS_ZERO(call->start))
		return;
	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, call->start);
	if (key != last_key || last == NULL)
	{
		last = find_entry(shared.memory, key);
		last_key = key;
	}
	if (last)
		add_call(&last->counters[kind], call, INSTR_TIME_GET_MICROSEC(now));
	else
		add(&((Table *) shared.memory)->homeless, 1);
}

/* ------------------------------------------------------------ reading */

uint64
kpx_calls_lost(void)
{
	return shared.memory ? pg_atomic_read_u64(&((Table *) shared.memory)->homeless) : 0;
}

/* How many answers needed each scorer besides the model. */
static Datum
fallbacks(Counters *c)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int s = 0; kpx_scorers[s] && s < KPX_MAX_SCORERS; s++)
	{
		uint64 n = pg_atomic_read_u64(&c->filled[s]);

		if (s == 0 || n == 0)
			continue;
		appendStringInfo(&json, "%s\"%s\": " UINT64_FORMAT, json.len > 1 ? ", " : "", kpx_scorers[s]->name, n);
	}
	appendStringInfoChar(&json, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

static Datum
milliseconds(double microseconds)
{
	return Float8GetDatum(microseconds / 1000);
}

static void
put_counters(ReturnSetInfo *rsinfo, int module, KpxCallKind kind, Counters *c, TimestampTz since)
{
	uint64 calls = pg_atomic_read_u64(&c->calls);
	static const double quantiles[] = {0.5, 0.95, 0.99};
	double slowest = (double) pg_atomic_read_u64(&c->slowest);
	uint64 count[KPX_BUCKETS];
	Datum values[17];
	bool nulls[17] = {false};

	for (int b = 0; b < KPX_BUCKETS; b++)
		count[b] = pg_atomic_read_u64(&c->bucket[b]);
	values[0] = Int32GetDatum(module);
	values[1] = CStringGetTextDatum(kind_names[kind]);
	values[2] = Int64GetDatum((int64) calls);
	values[3] = milliseconds((double) pg_atomic_read_u64(&c->microseconds) / (double) calls);
	for (int q = 0; q < (int) lengthof(quantiles); q++) /* the middle of the last bucket may be beyond its largest value */
		values[4 + q] = milliseconds(Min(kpx_histogram_quantile(count, quantiles[q]), slowest));
	values[7] = milliseconds(slowest);
	values[8] = Int64GetDatum((int64) pg_atomic_read_u64(&c->lists));
	values[9] = Int64GetDatum((int64) pg_atomic_read_u64(&c->empty));
	values[10] = Int64GetDatum((int64) pg_atomic_read_u64(&c->items));
	values[11] = Int64GetDatum((int64) pg_atomic_read_u64(&c->fell_back));
	values[12] = fallbacks(c);
	for (int m = 0; m < KPX_MODEL_SOURCES; m++)
		values[13 + m] = Int64GetDatum((int64) pg_atomic_read_u64(&c->models[m]));
	values[16] = TimestampTzGetDatum(since);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* The entry's module, or -1 when it is of another database or free. */
static int
module_here(Entry *entry)
{
	uint64 key = pg_atomic_read_u64(&entry->key);

	return key != 0 && (Oid) (key >> 32) == MyDatabaseId ? (int) (uint32) key : -1;
}

PG_FUNCTION_INFO_V1(kpx_stat_recommend);
Datum
kpx_stat_recommend(PG_FUNCTION_ARGS)
{
	Table *table = shared.memory;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; table && i < ENTRIES; i++)
	{
		Entry *entry = &table->entry[i];
		int module = module_here(entry);

		for (int kind = 0; module >= 0 && kind < KPX_CALL_KINDS; kind++)
			if (pg_atomic_read_u64(&entry->counters[kind].calls) > 0)
				put_counters((ReturnSetInfo *) fcinfo->resultinfo, module, kind, &entry->counters[kind],
							 (TimestampTz) pg_atomic_read_u64(&entry->since));
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(kpx_stat_reset);
Datum
kpx_stat_reset(PG_FUNCTION_ARGS)
{
	Table *table = shared.memory;

	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there are no statistics of calls: the library is not preloaded"),
				 errhint("Set shared_preload_libraries = 'kpxrec' and restart the server.")));
	for (int i = 0; i < ENTRIES; i++)
	{
		pg_atomic_uint64 *counter = (pg_atomic_uint64 *) table->entry[i].counters;

		if (module_here(&table->entry[i]) < 0)
			continue;
		for (size_t c = 0; c < KPX_CALL_KINDS * sizeof(Counters) / sizeof(pg_atomic_uint64); c++)
			pg_atomic_write_u64(&counter[c], 0);
		pg_atomic_write_u64(&table->entry[i].since, (uint64) GetCurrentTimestamp());
	}
	PG_RETURN_VOID();
}
