/*
 * ingest.c
 *	  Reading the event sources of modules into interactions.
 *
 * Each source is one plain SELECT, run by the executor as the current user (so
 * privileges and row-level security hold and parallel plans are possible); its rows go
 * straight from the executor's slots into blocks of events (a DestReceiver), never
 * through tuple stores. core/ingest.c then turns events into compressed rows.
 */
#include "ingest.h"

#include <math.h>

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "tcop/dest.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "core/ingest.h"
#include "core/rng.h"
#include "clock.h"
#include "consent.h"
#include "idmap.h"
#include "items.h"
#include "progress.h"

typedef struct EventBlock
{
	size_t n;
	KpxEvent *events;
	uint32 *times; /* or NULL */
} EventBlock;

/* Latest event of a user in the module being read. */
typedef struct Last
{
	TimestampTz at;
	uint32 item;
	uint64 tie; /* of the item's id: which of two at the same time does not depend on the order of rows */
} Last;

typedef struct Reader
{
	DestReceiver pub;
	MemoryContext context;
	/* all sources */
	KpxIdMap *users;
	KpxIdKind user_kind;
	EventBlock *blocks;
	int n_blocks;
	size_t map_bytes;
	uint64 n_events;
	uint64 rows; /* of all sources, the skipped ones too */
	uint64 reported;
	bool want_last;
	bool want_times;
	Last *last;
	uint32 last_size;
	bool as_baskets; /* what is in them counts, not how much of it */
	int64 basket_length; /* microseconds; 0 = one basket a user */
	KpxIdMap *periods;
	KpxIdMap *baskets; /* of (period, user) */
	KpxConsents *consents;
	bool open; /* nothing is asked */
	/* this module */
	const KpxModule *module;
	KpxIdMap *items;
	uint32 item_base;
	KpxWindow *window;
	/* this source */
	const KpxSource *source;
	Oid user_type;
	Oid item_type;
	KpxIdKind item_kind;
	double weight;
	int time_column; /* 0 = not selected */
	bool times_count; /* for more than the window */
	int weight_column;
	uint64 null_ids;
	uint64 bad_weights;
	uint64 bad_times;
	uint64 null_times;
	uint64 withheld;
} Reader;

double
kpx_event_age(TimestampTz occurred_at)
{
	return ((double) kpx_transaction_start() - (double) occurred_at) / USECS_PER_SEC;
}

uint32
kpx_event_second(TimestampTz occurred_at)
{
	int64 second = occurred_at / USECS_PER_SEC;

	return second < 1 ? 1 : second > PG_UINT32_MAX ? PG_UINT32_MAX
												   : (uint32) second;
}

void
kpx_window_add(KpxWindow *window, TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at) || at > GetCurrentTransactionStartTimestamp())
		return;
	window->oldest = Min(window->oldest, at);
	window->at_newest = at > window->newest ? 1 : window->at_newest + (at == window->newest);
	window->newest = Max(window->newest, at);
}

static void
add_block(Reader *r)
{
	size_t event_bytes = sizeof(KpxEvent) + (r->want_times ? sizeof(uint32) : 0);
	size_t bytes = (size_t) (r->n_blocks + 1) * KPX_BLOCK_EVENTS * event_bytes + r->map_bytes +
				   kpx_idmap_bytes(r->users) + kpx_idmap_bytes(r->items) + (r->baskets ? kpx_idmap_bytes(r->baskets) : 0);

	kpx_check_budget(bytes, psprintf("reading the events (" UINT64_FORMAT " so far)", r->n_events));
	r->blocks = r->blocks ? repalloc(r->blocks, sizeof(EventBlock) * (r->n_blocks + 1)) : MemoryContextAlloc(r->context, sizeof(EventBlock));
	r->blocks[r->n_blocks].n = 0;
	r->blocks[r->n_blocks].events = kpx_alloc(r->context, KPX_BLOCK_EVENTS, sizeof(KpxEvent));
	r->blocks[r->n_blocks].times = r->want_times ? kpx_alloc(r->context, KPX_BLOCK_EVENTS, sizeof(uint32)) : NULL;
	r->n_blocks++;
}

static uint64
tie_of(KpxIdKind kind, KpxId id)
{
	return kind == KPX_ID_INT ? kpx_mix64((uint64) id.number)
							  : hash_bytes_extended((const unsigned char *) id.bytes, (int) id.length, 0);
}

static void
remember_last(Reader *r, uint32 user, Last last)
{
	if (user >= r->last_size)
	{
		uint32 size = Max(1024, user + user / 2 + 1);
		Last *bigger = kpx_alloc(r->context, size, sizeof(Last));

		if (r->last_size)
			memcpy(bigger, r->last, sizeof(Last) * r->last_size);
		for (uint32 i = r->last_size; i < size; i++)
			bigger[i].item = KPX_NO_ITEM;
		if (r->last)
			pfree(r->last);
		r->last = bigger;
		r->last_size = size;
	}
	if (r->last[user].item == KPX_NO_ITEM || last.at > r->last[user].at ||
		(last.at == r->last[user].at && last.tie > r->last[user].tie))
		r->last[user] = last;
}

/* Weight of this row; false when the row is bad and was counted. */
static bool
event_weight(Reader *r, TupleTableSlot *slot, double *weight, TimestampTz *at)
{
	*weight = r->weight;
	*at = DT_NOBEGIN;
	if (r->weight_column && !slot->tts_isnull[r->weight_column - 1])
	{
		double factor = DatumGetFloat8(slot->tts_values[r->weight_column - 1]);

		if (!(factor >= 0) || isinf(factor))
		{
			r->bad_weights++;
			return false;
		}
		*weight *= factor;
	}
	if (r->time_column && !slot->tts_isnull[r->time_column - 1])
	{
		*at = DatumGetTimestampTz(slot->tts_values[r->time_column - 1]);
		if (TIMESTAMP_NOT_FINITE(*at) && r->times_count)
		{
			r->bad_times++;
			return false;
		}
		kpx_window_add(r->window, *at);
		if (r->source->half_life > 0 && !r->as_baskets)
			*weight *= kpx_decay(kpx_event_age(*at), r->source->half_life);
	}
	if (*weight > 1e30)
	{
		r->bad_weights++;
		return false;
	}
	if (r->as_baskets && *weight > 0)
		*weight = 1;
	return true;
}

/* The basket of a user at a time: periods of one length, counted from 2000-01-01 00:00 UTC. */
static uint32
basket_of(Reader *r, uint32 user, TimestampTz at)
{
	int64 period = at / r->basket_length - (at % r->basket_length < 0);
	KpxId key = {.number = period};

	key.number = ((int64) kpx_idmap_add(r->periods, key) << 32) | user;
	return kpx_idmap_add(r->baskets, key);
}

/* Index of the id of a row, added when new. */
static uint32
row_index(KpxIdMap *map, KpxIdKind kind, Oid type, Datum value, uint64 *tie)
{
	Datum packed = kind == KPX_ID_TEXT ? PointerGetDatum(PG_DETOAST_DATUM_PACKED(value)) : value;
	KpxId id = kpx_id_from_datum(kind, type, packed);
	uint32 index = kpx_idmap_add(map, id);

	if (tie)
		*tie = tie_of(kind, id);
	/* The executor's memory of the whole query is the current one. */
	if (packed != value)
		pfree(DatumGetPointer(packed));
	return index;
}

#define ROWS_A_REPORT 8192

static void
report_rows(Reader *r)
{
	kpx_progress_step(r->rows);
	kpx_progress_rows(r->rows - r->reported);
	r->reported = r->rows;
}

/* Does the user let events of this module be used for all the others? */
static bool
is_shared(Reader *r, Datum value)
{
	Datum packed = r->user_kind == KPX_ID_TEXT ? PointerGetDatum(PG_DETOAST_DATUM_PACKED(value)) : value;
	bool shared = kpx_consents_allow(r->consents, kpx_id_from_datum(r->user_kind, r->user_type, packed), r->module, NULL);

	if (packed != value)
		pfree(DatumGetPointer(packed));
	return shared;
}

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	Reader *r = (Reader *) self;
	EventBlock *block;
	double weight;
	Last last;
	uint32 user;

	if (++r->rows % ROWS_A_REPORT == 0)
		report_rows(r);
	slot_getallattrs(slot);
	if (slot->tts_isnull[0] || slot->tts_isnull[1])
	{
		r->null_ids++;
		return true;
	}
	if (!event_weight(r, slot, &weight, &last.at))
		return true;
	if (r->baskets && last.at == DT_NOBEGIN)
	{
		r->null_times++;
		return true;
	}
	if (!r->open && !is_shared(r, slot->tts_values[0]))
	{
		r->withheld++;
		return true;
	}
	user = row_index(r->users, r->user_kind, r->user_type, slot->tts_values[0], NULL);
	if (r->baskets)
		user = basket_of(r, user, last.at);
	last.item = row_index(r->items, r->item_kind, r->item_type, slot->tts_values[1], r->want_last ? &last.tie : NULL);
	if (r->n_blocks == 0 || r->blocks[r->n_blocks - 1].n == KPX_BLOCK_EVENTS)
		add_block(r);
	block = &r->blocks[r->n_blocks - 1];
	if (block->times)
		block->times[block->n] = last.at == DT_NOBEGIN ? 0 : kpx_event_second(last.at);
	block->events[block->n++] = (KpxEvent){user, (r->item_base + last.item) | (r->source->hides && !r->as_baskets ? KPX_HIDES : 0), (float) weight};
	r->n_events++;
	if (r->want_last)
		remember_last(r, user, last);
	return true;
}

static void
receiver_noop(DestReceiver *self)
{
}

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
}

/* A column may have been altered since it was registered: a cast must not guess. */
static void
require_category(const char *column, Oid type, char expected, const char *relation_sql, const char *what)
{
	char category;
	bool preferred;

	get_type_category_preferred(getBaseType(type), &category, &preferred);
	if (category != expected)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of relation %s has type %s, expected %s", column, relation_sql,
						format_type_be(type), what),
				 errhint("Mend the type, or register a view that casts it.")));
}

KpxIdKind
kpx_source_check(const KpxModule *module, const KpxSource *source, KpxIdKind *user_kind, char **relation_sql)
{
	char *what = psprintf("event source %d of module", source->id);
	KpxIdKind items = kpx_module_item_kind(module);
	KpxIdKind kind;

	*relation_sql = kpx_relation_sql(source->relation, source->relation_name, what, module->name);
	*user_kind = kpx_require_id_kind(kpx_column_type(source->relation, source->user_id),
									 psprintf("column \"%s\" of relation %s", source->user_id, *relation_sql));
	if (source->occurred_at)
		require_category(source->occurred_at, kpx_column_type(source->relation, source->occurred_at),
						 TYPCATEGORY_DATETIME, *relation_sql, "timestamptz, timestamp or date");
	if (source->weight_column)
		require_category(source->weight_column, kpx_column_type(source->relation, source->weight_column),
						 TYPCATEGORY_NUMERIC, *relation_sql, "a number");
	kind = kpx_require_id_kind(kpx_column_type(source->relation, source->item_id),
							   psprintf("column \"%s\" of relation %s", source->item_id, *relation_sql));
	if (kind != items)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of relation %s holds %s ids, the items of module \"%s\" have %s ids",
						source->item_id, *relation_sql, kpx_id_kind_name(kind), module->name, kpx_id_kind_name(items)),
				 errhint("Mend the type, or register a view that casts it.")));
	return kind;
}

KpxIdKind
kpx_user_kind(KpxModule **modules, int n_modules)
{
	KpxIdKind kind = KPX_ID_INT;
	const KpxSource *first = NULL;

	for (int m = 0; m < n_modules; m++)
		for (int s = 0; s < modules[m]->n_sources; s++)
		{
			const KpxSource *source = &modules[m]->sources[s];
			char *sql;
			KpxIdKind this_kind;

			(void) kpx_source_check(modules[m], source, &this_kind, &sql);
			if (first && this_kind != kind)
				ereport(ERROR,
						(errcode(ERRCODE_DATATYPE_MISMATCH),
						 errmsg("user ids of event sources %d and %d cannot be compared", first->id, source->id),
						 errdetail("%s has %s ids, %s has %s ids.", first->relation_name, kpx_id_kind_name(kind),
								   source->relation_name, kpx_id_kind_name(this_kind)),
						 errhint("Register a view that casts one of them.")));
			kind = this_kind;
			first = source;
		}
	return kind;
}

static void
report_bad_rows(const Reader *r)
{
	if (r->bad_weights)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" of relation %s holds weights that are NaN, infinite, negative or too large",
						r->source->weight_column ? r->source->weight_column : "weight", r->source->relation_name),
				 errdetail(UINT64_FORMAT " rows of event source %d.", r->bad_weights, r->source->id),
				 errhint("Register a view that leaves them out or mends them.")));
	if (r->bad_times)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("column \"%s\" of relation %s holds infinite times", r->source->occurred_at, r->source->relation_name),
				 errdetail(UINT64_FORMAT " rows of event source %d.", r->bad_times, r->source->id),
				 errhint("Register a view that leaves them out or mends them.")));
	if (r->null_ids)
		ereport(NOTICE,
				(errmsg(UINT64_FORMAT " rows of %s were skipped: user or item is NULL", r->null_ids, r->source->relation_name)));
	if (r->null_times)
		ereport(NOTICE,
				(errmsg(UINT64_FORMAT " rows of %s were skipped: their time is NULL", r->null_times, r->source->relation_name)));
	if (r->withheld)
		ereport(NOTICE,
				(errmsg(UINT64_FORMAT " rows of %s were left out: their users have not consented, or were forgotten", r->withheld,
						r->source->relation_name)));
}

static void
read_source(Reader *r, const KpxModule *module, const KpxSource *source, double observed)
{
	StringInfoData sql;
	char *relation;
	KpxIdKind user_kind;
	SPIExecuteOptions options = {0};
	int column = 2;
	int result;

	r->item_kind = kpx_source_check(module, source, &user_kind, &relation);
	r->user_type = kpx_column_type(source->relation, source->user_id);
	r->item_type = kpx_column_type(source->relation, source->item_id);
	r->source = source;
	r->weight = source->weight * observed;
	r->null_ids = r->bad_weights = r->bad_times = r->null_times = r->withheld = 0;
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s", quote_identifier(source->user_id));
	appendStringInfo(&sql, ", %s", quote_identifier(source->item_id));
	r->weight_column = source->weight_column ? ++column : 0;
	if (source->weight_column)
		appendStringInfo(&sql, ", %s::pg_catalog.float8", quote_identifier(source->weight_column));
	r->time_column = source->occurred_at ? ++column : 0;
	r->times_count = source->half_life > 0 || r->want_last || r->want_times || r->baskets;
	if (r->time_column)
		appendStringInfo(&sql, ", %s::pg_catalog.timestamptz", quote_identifier(source->occurred_at));
	appendStringInfo(&sql, " FROM %s", relation);
	options.read_only = true;
	options.dest = &r->pub;
	SPI_connect();
	result = SPI_execute_extended(sql.data, &options);
	SPI_finish();
	if (result < 0)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot read %s: %s", relation, SPI_result_code_string(result))));
	report_bad_rows(r);
}

/* Rows of all sources as far as the server has counted them; 0 when one was never analysed or is a view. */
static uint64
estimated_rows(KpxModule **modules, int n_modules)
{
	double total = 0;

	for (int m = 0; m < n_modules; m++)
		for (int s = 0; s < modules[m]->n_sources; s++)
		{
			HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(modules[m]->sources[s].relation));
			float4 rows = HeapTupleIsValid(tuple) ? ((Form_pg_class) GETSTRUCT(tuple))->reltuples : -1;

			if (HeapTupleIsValid(tuple))
				ReleaseSysCache(tuple);
			if (!(rows > 0))
				return 0;
			total += rows;
		}
	return (uint64) total;
}

/* Renames users and items of all events to sorted order. */
static void
rename_events(Reader *r, const uint32 *user_position, const uint32 *item_position)
{
	for (int b = 0; b < r->n_blocks; b++)
	{
		CHECK_FOR_INTERRUPTS();
		for (size_t i = 0; i < r->blocks[b].n; i++)
		{
			KpxEvent *e = &r->blocks[b].events[i];

			e->user = user_position[e->user];
			e->item = item_position[KPX_ITEM(e->item)] | (e->item & KPX_HIDES);
		}
	}
}

#define ROWS_A_STEP 8192

/* Events to deduplicated rows. Memory of the blocks is freed. */
static void
build_rows(Reader *r, KpxData *data)
{
	size_t users = data->users;
	uint64 *cursor = kpx_alloc(data->context, users + 1, sizeof(uint64));

	data->offset = kpx_alloc(data->context, users + 1, sizeof(uint64));
	memset(data->offset, 0, (users + 1) * sizeof(uint64));
	for (int b = 0; b < r->n_blocks; b++)
	{
		CHECK_FOR_INTERRUPTS();
		if (kpx_csr_count(r->blocks[b].events, r->blocks[b].n, data->users, data->items, data->offset) != KPX_OK)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("too many users or items")));
	}
	(void) kpx_csr_offsets(data->offset, users);
	memcpy(cursor, data->offset, users * sizeof(uint64));
	data->index = kpx_alloc(data->context, Max(r->n_events, 1), sizeof(uint32));
	data->weight = kpx_alloc(data->context, Max(r->n_events, 1), sizeof(float));
	for (int b = 0; b < r->n_blocks; b++)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_csr_scatter(r->blocks[b].events, r->blocks[b].n, NULL, cursor, data->index, data->weight);
		if (!r->want_times)
			pfree(r->blocks[b].events);
	}
	for (size_t begin = 0; begin < users; begin += ROWS_A_STEP)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_csr_dedupe(data->offset, begin, Min(begin + ROWS_A_STEP, users), data->index, data->weight, cursor);
	}
	(void) kpx_csr_compact(data->offset, cursor, users, data->index, data->weight);
	pfree(cursor);
}

/* The times of the interactions that build_rows made. */
static void
build_times(Reader *r, KpxData *data)
{
	uint64 n = data->offset[data->users];

	data->time = kpx_alloc(data->context, Max(n, 1), sizeof(uint32));
	memset(data->time, 0, n * sizeof(uint32));
	for (int b = 0; b < r->n_blocks; b++)
	{
		for (size_t begin = 0; begin < r->blocks[b].n; begin += 65536)
		{
			CHECK_FOR_INTERRUPTS();
			kpx_csr_times(r->blocks[b].events + begin, r->blocks[b].times + begin, Min(65536, r->blocks[b].n - begin),
						  data->offset, data->index, data->time);
		}
		pfree(r->blocks[b].events);
		pfree(r->blocks[b].times);
	}
}

void
kpx_data_count(KpxData *data)
{
	memset(data->module_interactions, 0, sizeof(uint64) * data->n_modules);
	memset(data->module_users, 0, sizeof(uint64) * data->n_modules);
	for (size_t u = 0; u < data->users; u++)
	{
		int m = 0;
		int seen = -1;

		if (u % ROWS_A_STEP == 0)
			CHECK_FOR_INTERRUPTS();
		for (uint64 j = data->offset[u]; j < data->offset[u + 1]; j++)
		{
			while (KPX_ITEM(data->index[j]) >= data->item_base[m + 1])
				m++;
			data->module_interactions[m]++;
			if (seen != m)
				data->module_users[m]++;
			seen = m;
		}
	}
}

/* Bytes turning events into rows takes; what an algorithm needs it checks itself. */
static size_t
training_bytes(const Reader *r, const KpxData *data)
{
	return r->n_events * (sizeof(uint32) + sizeof(float)) * 3 + (r->want_times ? r->n_events * 2 * sizeof(uint32) : 0) +
		   ((size_t) data->users + data->items) * 4 * sizeof(uint64);
}

static uint32 *
last_items(Reader *r, uint32 users)
{
	uint32 *items = kpx_alloc(r->context, Max(users, 1), sizeof(uint32));

	for (uint32 u = 0; u < users; u++)
		items[u] = u < r->last_size ? r->last[u].item : KPX_NO_ITEM;
	for (uint32 u = 0; u < r->last_size; u++)
		r->last[u].item = KPX_NO_ITEM;
	return items;
}

/* Puts the items remembered as last into sorted users and items. */
static void
rename_last(KpxData *data, uint32 **arrived, const uint32 *counts, const uint32 *user_position, const uint32 *item_position)
{
	data->last_item = MemoryContextAlloc(data->context, sizeof(uint32 *) * data->n_modules);
	for (int m = 0; m < data->n_modules; m++)
	{
		data->last_item[m] = kpx_alloc(data->context, Max(data->users, 1), sizeof(uint32));
		for (uint32 u = 0; u < data->users; u++)
			data->last_item[m][u] = KPX_NO_ITEM;
		for (uint32 u = 0; u < counts[m]; u++)
			if (arrived[m][u] != KPX_NO_ITEM)
				data->last_item[m][user_position[u]] = item_position[data->item_base[m] + arrived[m][u]];
	}
}

/* basket_length < 0: users, not baskets. */
static KpxData *
ingest(KpxModule **modules, int n_modules, const double *observed, int want, int64 basket_length)
{
	KpxData *data = palloc0(sizeof(KpxData));
	Reader r = {.pub = {receive, receiver_startup, receiver_noop, receiver_noop, DestNone}};
	uint32 **item_positions = palloc(sizeof(uint32 *) * n_modules);
	uint32 **arrived = palloc(sizeof(uint32 *) * n_modules);
	uint32 *arrived_counts = palloc0(sizeof(uint32) * n_modules);
	bool want_last = (want & KPX_WANT_LAST) != 0;
	uint32 *item_position;
	uint32 *user_position;

	data->context = CurrentMemoryContext;
	data->n_modules = n_modules;
	data->modules = modules;
	data->item_ids = palloc0(sizeof(KpxIds) * n_modules);
	data->item_base = palloc0(sizeof(uint32) * (n_modules + 1));
	data->module_interactions = palloc0(sizeof(uint64) * n_modules);
	data->module_users = palloc0(sizeof(uint64) * n_modules);
	data->window = palloc(sizeof(KpxWindow) * n_modules);
	r.context = CurrentMemoryContext;
	r.want_last = want_last;
	r.want_times = (want & KPX_WANT_TIMES) != 0;
	r.as_baskets = basket_length >= 0;
	r.basket_length = basket_length;
	if (basket_length > 0)
	{
		r.periods = kpx_idmap_create(CurrentMemoryContext, KPX_ID_INT);
		r.baskets = kpx_idmap_create(CurrentMemoryContext, KPX_ID_INT);
	}
	r.user_kind = kpx_user_kind(modules, n_modules);
	r.consents = kpx_consents_read(kpx_registry(), KPX_FOR_TRAINING, modules, n_modules, r.user_kind, NULL, 0);
	r.open = kpx_consents_open(r.consents);
	r.users = kpx_idmap_create(CurrentMemoryContext, r.user_kind);
	kpx_progress_phase("reading events", estimated_rows(modules, n_modules));
	for (int m = 0; m < n_modules; m++)
	{
		r.items = kpx_idmap_create(CurrentMemoryContext, kpx_module_item_kind(modules[m]));
		r.item_base = data->item_base[m];
		r.window = &data->window[m];
		*r.window = KPX_NO_WINDOW;
		r.module = modules[m];
		for (int s = 0; s < modules[m]->n_sources; s++)
			read_source(&r, modules[m], &modules[m]->sources[s], observed[m]);
		if (want & KPX_WANT_CATALOGUE)
			kpx_items_add_ids(modules[m], r.items);
		if ((uint64) data->item_base[m] + kpx_idmap_count(r.items) >= PG_INT32_MAX)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("more than %d items", PG_INT32_MAX - 1)));
		data->item_base[m + 1] = data->item_base[m] + kpx_idmap_count(r.items);
		data->item_ids[m] = kpx_idmap_sorted(r.items, data->context, &item_positions[m]);
		r.map_bytes += kpx_idmap_count(r.items) * sizeof(uint64) * 2;
		kpx_idmap_free(r.items);
		arrived_counts[m] = kpx_idmap_count(r.users);
		if (want_last)
			arrived[m] = last_items(&r, arrived_counts[m]);
	}
	report_rows(&r);
	kpx_progress_phase("sorting events", 0);
	data->items = data->item_base[n_modules];
	if (r.baskets)
	{
		kpx_idmap_free(r.users);
		kpx_idmap_free(r.periods);
		r.users = r.baskets;
	}
	data->users = kpx_idmap_count(r.users);
	kpx_check_budget(training_bytes(&r, data), r.as_baskets ? "mining" : "training");
	data->user_ids = kpx_idmap_sorted(r.users, data->context, &user_position);
	kpx_idmap_free(r.users);
	item_position = kpx_alloc(data->context, Max(data->items, 1), sizeof(uint32));
	for (int m = 0; m < n_modules; m++)
		for (uint32 i = data->item_base[m]; i < data->item_base[m + 1]; i++)
			item_position[i] = data->item_base[m] + item_positions[m][i - data->item_base[m]];
	if (want_last)
		rename_last(data, arrived, arrived_counts, user_position, item_position);
	rename_events(&r, user_position, item_position);
	build_rows(&r, data);
	if (r.want_times)
		build_times(&r, data);
	kpx_data_count(data);
	return data;
}

KpxData *
kpx_ingest(KpxModule **modules, int n_modules, const double *observed, int want)
{
	return ingest(modules, n_modules, observed, want, -1);
}

static void
require_times(KpxModule **modules, int n_modules)
{
	for (int m = 0; m < n_modules; m++)
		for (int s = 0; s < modules[m]->n_sources; s++)
			if (modules[m]->sources[s].occurred_at == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						 errmsg("event source %d of module \"%s\" has no times: its events belong to no basket",
								modules[m]->sources[s].id, modules[m]->name),
						 errhint("Register it with occurred_at, or make baskets by user alone.")));
}

KpxData *
kpx_ingest_baskets(KpxModule **modules, int n_modules, int64 basket_length)
{
	double *observed = palloc(sizeof(double) * n_modules);
	KpxData *data;

	for (int m = 0; m < n_modules; m++)
		observed[m] = 1;
	if (basket_length > 0)
		require_times(modules, n_modules);
	data = ingest(modules, n_modules, observed, 0, basket_length);
	pfree(data->weight);
	data->weight = NULL;
	return data;
}
