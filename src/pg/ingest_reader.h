/*
 * ingest_reader.h
 *	  One reading of event sources while it runs: ingest.c begins it and makes rows of what came,
 *	  ingest_read.c takes the events, ingest_source.c knows the sources.
 */
#ifndef KPX_INGEST_READER_H
#define KPX_INGEST_READER_H

#include "ingest.h"

#include "tcop/dest.h"

#include "core/ingest.h"
#include "consent.h"
#include "idmap.h"

typedef struct KpxEventBlock
{
	size_t n;
	KpxEvent *events;
	uint32 *times; /* or NULL */
} KpxEventBlock;

/* Latest event of a user in the module being read. */
typedef struct KpxLastItem
{
	TimestampTz at;
	uint32 item;
	uint64 tie; /* of the item's id: which of two at the same time does not depend on the order of rows */
} KpxLastItem;

typedef struct KpxEventReader
{
	DestReceiver pub;
	MemoryContext context;
	/* all sources */
	KpxIdMap *users;
	KpxIdKind user_kind;
	KpxEventBlock *blocks;
	int n_blocks;
	size_t map_bytes;
	uint64 n_events;
	uint64 rows; /* of all sources, the skipped ones too */
	uint64 reported;
	bool want_last;
	bool want_times;
	KpxLastItem *last;
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
} KpxEventReader;

/* Reads one source of module, the reader's current one, as the current user; events weigh observed times as much. Errors: those of kpx_ingest. */
extern void kpx_reader_read(KpxEventReader *r, const KpxSource *source, double observed);

/* Tells progress how many rows have come. */
extern void kpx_reader_report(KpxEventReader *r);

/* Rows of all sources as far as the server has counted them; 0 when one was never analysed or is a view. */
extern uint64 kpx_estimated_rows(KpxModule **modules, int n_modules);

#endif /* KPX_INGEST_READER_H */
