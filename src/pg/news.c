/*
 * news.c
 *	  What a model has not seen yet: events since its data ended, and who had to do with their items.
 */
#include "news.h"

#include "catalog/pg_type.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "consent.h"
#include "history.h"
#include "idmap.h"
#include "ingest.h"
#include "users.h"

typedef struct Counter
{
	MemoryContext context;
	KpxIdMap *items;
	uint32 *after; /* events later than the model's newest, by item of the map */
	uint32 *just; /* of just that time */
	uint32 size;
	uint64 all_just;
	/* whose events count: */
	KpxRegistry *registry;
	KpxModule **modules; /* of the model, as far as they are registered */
	int n_modules;
	KpxIdKind user_kind;
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

static KpxId
id_at(HeapTuple row, TupleDesc desc, int column, KpxIdKind kind)
{
	bool null;
	Datum id = SPI_getbinval(row, desc, column, &null);

	if (kind == KPX_ID_TEXT)
		id = PointerGetDatum(PG_DETOAST_DATUM_PACKED(id));
	return kpx_id_from_datum(kind, kpx_id_kind_type(kind), id);
}

/* The rows in SPI_tuptable: item, time, user. */
static void
count_rows(Counter *c, const KpxModule *module, KpxIdKind item_kind, KpxWindow *window, TimestampTz newest)
{
	HeapTuple *row = SPI_tuptable->vals;
	TupleDesc desc = SPI_tuptable->tupdesc;
	uint64 n = SPI_processed;
	KpxId *user = kpx_alloc(CurrentMemoryContext, n, sizeof(KpxId));
	KpxConsents *consents;
	bool open;

	for (uint64 i = 0; i < n; i++)
		user[i] = id_at(row[i], desc, 3, c->user_kind);
	consents = kpx_consents_read(c->registry, KPX_FOR_TRAINING, c->modules, c->n_modules, c->user_kind, user, (int) n);
	open = kpx_consents_open(consents);
	for (uint64 i = 0; i < n; i++)
	{
		bool null;
		TimestampTz when = DatumGetTimestampTz(SPI_getbinval(row[i], desc, 2, &null));

		if (when == newest)
			c->all_just++;
		else if (when > newest)
			kpx_window_add(window, when);
		if (open || kpx_consents_allow(consents, user[i], module, NULL))
			count_event(c, id_at(row[i], desc, 1, item_kind), when != newest);
	}
}

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
	const char *user = quote_identifier(source->user_id);
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "kpxrec news", ALLOCSET_DEFAULT_SIZES);
	Portal portal;

	if (user_kind != c->user_kind)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of relation %s holds %s ids of users, other sources have %s ids", source->user_id, relation,
						kpx_id_kind_name(user_kind), kpx_id_kind_name(c->user_kind)),
				 errhint("Register a view that casts them.")));
	SPI_connect();
	portal = SPI_cursor_open_with_args(NULL,
									   psprintf("SELECT e.%s::%s, e.%s::pg_catalog.timestamptz, e.%s::%s FROM %s e"
												" WHERE e.%s OPERATOR(pg_catalog.>=) $1 AND e.%s OPERATOR(pg_catalog.<=) $2 AND e.%s IS NOT NULL"
												" AND e.%s IS NOT NULL",
												item, kpx_id_type_sql[kind], at, user, kpx_id_type_sql[user_kind], relation, at, at, item, user),
									   2, types, values, NULL, true, 0);
	for (SPI_cursor_fetch(portal, true, ROWS_A_FETCH); SPI_processed > 0; SPI_cursor_fetch(portal, true, ROWS_A_FETCH))
	{
		MemoryContext old = MemoryContextSwitchTo(batch);

		CHECK_FOR_INTERRUPTS();
		count_rows(c, module, kind, window, newest);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	SPI_finish();
	MemoryContextDelete(batch);
}

KpxNews
kpx_news_read(KpxRegistry *registry, const KpxModel *model, int m, TimestampTz since)
{
	const KpxModelModule *trained = &model->modules[m];
	const KpxModule *module = kpx_find_module_by_id(registry, trained->module_id);
	Counter c = {
		.context = CurrentMemoryContext,
		.items = kpx_idmap_create(CurrentMemoryContext, kpx_module_item_kind(module)),
		.registry = registry,
		.user_kind = kpx_model_user_kind(registry, model),
	};
	KpxNews news = {.window = trained->window};
	TimestampTz newest = trained->window.newest;
	TimestampTz from = since == DT_NOBEGIN ? newest : since;
	bool known;
	uint32 *position;
	uint32 n;

	c.n_modules = kpx_registered_modules(registry, model, &c.modules);
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
										   psprintf("SELECT DISTINCT e.%s::%s%s FROM %s e JOIN pg_catalog.unnest($1) u(id) ON e.%s OPERATOR(pg_catalog.=) u.id%s"
													" WHERE e.%s IS NOT NULL",
													quote_identifier(source->user_id), kpx_id_type_sql[user_kind],
													user_kind == KPX_ID_TEXT ? " COLLATE pg_catalog.\"C\"" : "", relation,
													quote_identifier(source->item_id),
													kpx_and_same_bytes(source->relation, "e", source->item_id, "u.id"),
													quote_identifier(source->user_id)),
										   1, types, values, NULL, true, 0);
		for (SPI_cursor_fetch(portal, true, ROWS_A_FETCH); SPI_processed > 0; SPI_cursor_fetch(portal, true, ROWS_A_FETCH))
		{
			CHECK_FOR_INTERRUPTS();
			for (uint64 i = 0; i < SPI_processed; i++)
				(void) kpx_idmap_add(users, id_at(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, user_kind));
			SPI_freetuptable(SPI_tuptable);
		}
		SPI_cursor_close(portal);
		SPI_finish();
	}
}
