/*
 * news.c
 *	  What a model has not seen yet: events since its data ended, and who had to do with their items.
 */
#include "update.h"

#include "catalog/pg_type.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "history.h"
#include "idmap.h"
#include "ingest.h"

typedef struct Counter
{
	MemoryContext context;
	KpxIdMap *items;
	uint32 *after; /* events later than the model's newest, by item of the map */
	uint32 *just; /* of just that time */
	uint32 size;
	uint64 all_just;
} Counter;

static void
count_event(Counter *c, KpxId item, bool after)
{
	uint32 index = kpx_idmap_add(c->items, item);

	if (index >= c->size)
	{
		uint32 size = Max(1024, index * 2);
		uint32 *both = kpx_alloc(c->context, (size_t) size * 2, sizeof(uint32));

		memset(both, 0, (size_t) size * 2 * sizeof(uint32));
		for (uint32 i = 0; i < c->size; i++)
		{
			both[i] = c->after[i];
			both[size + i] = c->just[i];
		}
		c->after = both;
		c->just = both + size;
		c->size = size;
	}
	if (after)
		c->after[index]++;
	else
		c->just[index]++;
}

/* Rows are taken a few at a time, so that many take no more memory than few. */
#define ROWS_A_FETCH 10000

static void
read_source(Counter *c, const KpxModule *module, const KpxSource *source, KpxWindow *window, TimestampTz from, TimestampTz newest)
{
	KpxIdKind user_kind;
	char *relation;
	KpxIdKind kind = kpx_source_check(module, source, &user_kind, &relation);
	Oid types[] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum values[] = {TimestampTzGetDatum(from), TimestampTzGetDatum(kpx_transaction_start())};
	const char *at = quote_identifier(source->occurred_at);
	const char *item = quote_identifier(source->item_id);
	Portal portal;

	SPI_connect();
	portal = SPI_cursor_open_with_args(NULL,
									   psprintf("SELECT e.%s::pg_catalog.%s, e.%s::pg_catalog.timestamptz FROM %s e"
												" WHERE e.%s OPERATOR(pg_catalog.>=) $1 AND e.%s OPERATOR(pg_catalog.<=) $2 AND e.%s IS NOT NULL"
												" AND e.%s IS NOT NULL",
												item, kind == KPX_ID_INT ? "int8" : kind == KPX_ID_UUID ? "uuid"
																										: "text",
												at, relation, at, at, item, quote_identifier(source->user_id)),
									   2, types, values, NULL, true, 0);
	for (SPI_cursor_fetch(portal, true, ROWS_A_FETCH); SPI_processed > 0; SPI_cursor_fetch(portal, true, ROWS_A_FETCH))
	{
		CHECK_FOR_INTERRUPTS();
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool null;
			Datum id = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &null);
			TimestampTz when = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &null));

			if (kind == KPX_ID_TEXT)
				id = PointerGetDatum(PG_DETOAST_DATUM_PACKED(id));
			count_event(c, kpx_id_from_datum(kind, kpx_id_kind_type(kind), id), when != newest);
			if (when == newest)
				c->all_just++;
			else if (when > newest)
				kpx_window_add(window, when);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	SPI_finish();
}

KpxNews
kpx_news_read(const KpxModule *module, const KpxModelModule *trained, TimestampTz since)
{
	Counter c = {.context = CurrentMemoryContext, .items = kpx_idmap_create(CurrentMemoryContext, kpx_module_item_kind(module))};
	KpxNews news = {.window = trained->window};
	TimestampTz newest = trained->window.newest;
	TimestampTz from = since == DT_NOBEGIN ? newest : since;
	bool known;
	uint32 *position;
	uint32 n;

	for (int s = 0; s < module->n_sources; s++)
		if (module->sources[s].occurred_at)
			read_source(&c, module, &module->sources[s], &news.window, from, newest);
	/* Of just that time the model has seen as many as there are: those are no news, unless they were asked for. */
	known = since == DT_NOBEGIN && c.all_just == trained->window.at_newest;
	if (news.window.newest == newest && from <= newest)
		news.window.at_newest = c.all_just;
	n = kpx_idmap_count(c.items);
	news.items = kpx_idmap_sorted(c.items, CurrentMemoryContext, &position);
	news.events = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(uint32));
	for (uint32 i = 0; i < n; i++)
	{
		news.events[position[i]] = c.after[i] + (known ? 0 : c.just[i]);
		news.all += news.events[position[i]];
	}
	kpx_idmap_free(c.items);
	return news;
}

void
kpx_news_users(const KpxModule *module, KpxIdKind item_kind, const KpxId *items, int n, KpxIdMap *users, KpxIdKind user_kind)
{
	Oid types[] = {get_array_type(kpx_id_kind_type(item_kind))};
	Datum values[] = {kpx_id_array(item_kind, items, n)};

	for (int s = 0; s < module->n_sources && n > 0; s++)
	{
		const KpxSource *source = &module->sources[s];
		KpxIdKind kind;
		char *relation;
		Portal portal;

		(void) kpx_source_check(module, source, &kind, &relation);
		SPI_connect();
		portal = SPI_cursor_open_with_args(NULL,
										   psprintf("SELECT DISTINCT e.%s::pg_catalog.%s%s FROM %s e"
													" JOIN pg_catalog.unnest($1) u(id) ON e.%s OPERATOR(pg_catalog.=) u.id%s"
													" WHERE e.%s IS NOT NULL",
													quote_identifier(source->user_id),
													user_kind == KPX_ID_INT ? "int8" : user_kind == KPX_ID_UUID ? "uuid"
																												: "text",
													user_kind == KPX_ID_TEXT ? " COLLATE pg_catalog.\"C\"" : "", relation,
													quote_identifier(source->item_id),
													kpx_and_same_bytes(source->relation, "e", source->item_id, "u.id"),
													quote_identifier(source->user_id)),
										   1, types, values, NULL, true, 0);
		for (SPI_cursor_fetch(portal, true, ROWS_A_FETCH); SPI_processed > 0; SPI_cursor_fetch(portal, true, ROWS_A_FETCH))
		{
			CHECK_FOR_INTERRUPTS();
			for (uint64 i = 0; i < SPI_processed; i++)
			{
				bool null;
				Datum id = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &null);

				if (user_kind == KPX_ID_TEXT)
					id = PointerGetDatum(PG_DETOAST_DATUM_PACKED(id));
				(void) kpx_idmap_add(users, kpx_id_from_datum(user_kind, kpx_id_kind_type(user_kind), id));
			}
			SPI_freetuptable(SPI_tuptable);
		}
		SPI_cursor_close(portal);
		SPI_finish();
	}
}
