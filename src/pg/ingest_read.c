/*
 * ingest_read.c
 *	  Events from the executor's slots into blocks.
 *
 * Each source is one plain SELECT, run by the executor as the current user (so
 * privileges and row-level security hold and parallel plans are possible); its rows go
 * straight from the executor's slots into blocks of events (a DestReceiver), never
 * through tuple stores.
 */
#include "ingest_reader.h"

#include <math.h>

#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "utils/timestamp.h"

#include "core/rng.h"
#include "progress.h"

static void
add_block(KpxEventReader *r)
{
	size_t event_bytes = sizeof(KpxEvent) + (r->want_times ? sizeof(uint32) : 0);
	size_t bytes = (size_t) (r->n_blocks + 1) * KPX_BLOCK_EVENTS * event_bytes + r->map_bytes +
				   kpx_idmap_bytes(r->users) + kpx_idmap_bytes(r->items) + (r->baskets ? kpx_idmap_bytes(r->baskets) : 0);

	kpx_check_budget(bytes, psprintf("reading the events (" UINT64_FORMAT " so far)", r->n_events));
	r->blocks = r->blocks ? repalloc(r->blocks, sizeof(KpxEventBlock) * (r->n_blocks + 1)) : MemoryContextAlloc(r->context, sizeof(KpxEventBlock));
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
remember_last(KpxEventReader *r, uint32 user, KpxLastItem last)
{
	if (user >= r->last_size)
	{
		uint32 size = Max(1024, user + user / 2 + 1);
		KpxLastItem *bigger = kpx_alloc(r->context, size, sizeof(KpxLastItem));

		if (r->last_size)
			memcpy(bigger, r->last, sizeof(KpxLastItem) * r->last_size);
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
event_weight(KpxEventReader *r, TupleTableSlot *slot, double *weight, TimestampTz *at)
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
basket_of(KpxEventReader *r, uint32 user, TimestampTz at)
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

void
kpx_reader_report(KpxEventReader *r)
{
	kpx_progress_step(r->rows);
	kpx_progress_rows(r->rows - r->reported);
	r->reported = r->rows;
}

/* Does the user let events of this module be used for all the others? */
static bool
is_shared(KpxEventReader *r, Datum value)
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
	KpxEventReader *r = (KpxEventReader *) self;
	KpxEventBlock *block;
	double weight;
	KpxLastItem last;
	uint32 user;

	if (++r->rows % ROWS_A_REPORT == 0)
		kpx_reader_report(r);
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

static void
report_bad_rows(const KpxEventReader *r)
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

void
kpx_reader_read(KpxEventReader *r, const KpxSource *source, double observed)
{
	StringInfoData sql;
	char *relation;
	KpxIdKind user_kind;
	SPIExecuteOptions options = {0};
	int column = 2;
	int result;

	r->item_kind = kpx_source_check(r->module, source, &user_kind, &relation);
	r->user_type = kpx_column_type(source->relation, source->user_id);
	r->item_type = kpx_column_type(source->relation, source->item_id);
	r->pub = (DestReceiver){receive, receiver_startup, receiver_noop, receiver_noop, DestNone};
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
