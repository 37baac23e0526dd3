/*
 * measure_drift.c
 *	  How far a module's recent events are from those before its model was trained.
 *
 * Both windows are read from the events, so nothing of users is kept for it, and a window is
 * compared with one of the same length. Units are interactions (a user and an item) and users,
 * not events: those of one user come in bursts, and chance alone would look like drift. The
 * server sorts by user, so one user's numbers at a time are enough.
 */
#include "measure.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "core/drift.h"
#include "ingest.h"
#include "progress.h"

#define OWN_BINS 200 /* items with a bin of their own: the most frequent of the reference */
#define ACTIVITY_BINS 16 /* 1, 2 - 3, 4 - 7, ... events */
#define RECENCY_BINS 10 /* tenths of the window */
#define ROWS_A_FETCH 4096
#define ENOUGH 100 /* in either window; with fewer nothing is said */

/* What is counted of one module; [2]: reference, recent. */
typedef struct Counts
{
	const KpxModelModule *module;
	const KpxWindows *windows;
	uint64 *items[2]; /* [module->items] interactions */
	uint64 unknown[2]; /* interactions with items that the model does not have */
	uint64 activity[2][ACTIVITY_BINS]; /* users */
	uint64 recency[2][RECENCY_BINS]; /* users */
	uint64 users[2];
	/* of the user whose rows are coming */
	uint64 events[2];
	TimestampTz last[2];
} Counts;

static char *
moment(TimestampTz at)
{
	return psprintf("%s::pg_catalog.timestamptz", quote_literal_cstr(DatumGetCString(DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(at)))));
}

/* Is the time in window w? as SQL on column t. */
static char *
in_window(const KpxWindows *windows, int w, const char *t)
{
	return psprintf("(%s OPERATOR(pg_catalog.>) %s AND %s OPERATOR(pg_catalog.<=) %s)", t, moment(windows->end[w] - windows->length), t,
					moment(windows->end[w]));
}

/* User, item, and of each window how many events and when the last, in order of users; NULL when no source has times. */
static char *
windows_sql(const KpxModule *module, const KpxWindows *windows)
{
	static const char *const kinds[] = {"int8", "uuid", "text COLLATE pg_catalog.\"C\""};
	StringInfoData from;

	initStringInfo(&from);
	for (int s = 0; s < module->n_sources; s++)
	{
		const KpxSource *source = &module->sources[s];
		KpxIdKind user_kind;
		KpxIdKind item_kind;
		char *relation;
		char *time;

		if (source->occurred_at == NULL)
			continue;
		item_kind = kpx_source_check(module, source, &user_kind, &relation);
		time = psprintf("e.%s", quote_identifier(source->occurred_at));
		appendStringInfo(&from, "%sSELECT e.%s::pg_catalog.%s AS u, e.%s::pg_catalog.%s AS i, %s::pg_catalog.timestamptz AS t FROM %s e"
								" WHERE (%s OR %s) AND e.%s IS NOT NULL AND e.%s IS NOT NULL",
						 from.len ? " UNION ALL " : "", quote_identifier(source->user_id), kinds[user_kind], quote_identifier(source->item_id),
						 kinds[item_kind], time, relation, in_window(windows, 0, time), in_window(windows, 1, time),
						 quote_identifier(source->user_id), quote_identifier(source->item_id));
	}
	if (from.len == 0)
		return NULL;
	return psprintf("SELECT x.u, x.i, pg_catalog.count(*) FILTER (WHERE %s), pg_catalog.count(*) FILTER (WHERE %s),"
					" pg_catalog.max(x.t) FILTER (WHERE %s), pg_catalog.max(x.t) FILTER (WHERE %s) FROM (%s) x GROUP BY 1, 2 ORDER BY 1",
					in_window(windows, 0, "x.t"), in_window(windows, 1, "x.t"), in_window(windows, 0, "x.t"), in_window(windows, 1, "x.t"), from.data);
}

/* ------------------------------------------------------------ counting */

static void
finish_user(Counts *c)
{
	for (int w = 0; w < 2; w++)
	{
		int64 age = c->windows->end[w] - c->last[w];
		int bin = 0;

		if (c->events[w] == 0)
			continue;
		while (bin < ACTIVITY_BINS - 1 && c->events[w] >> (bin + 1) > 0)
			bin++;
		c->activity[w][bin]++;
		c->recency[w][Min((int) ((double) age / (double) c->windows->length * RECENCY_BINS), RECENCY_BINS - 1)]++;
		c->users[w]++;
		c->events[w] = 0;
	}
}

static void
take_row(Counts *c, HeapTuple row, TupleDesc desc)
{
	bool null;
	Datum id = SPI_getbinval(row, desc, 2, &null);
	int64 item = kpx_ids_find(&c->module->ids, kpx_id_from_datum(c->module->ids.kind, SPI_gettypeid(desc, 2), id));

	for (int w = 0; w < 2; w++)
	{
		int64 n = DatumGetInt64(SPI_getbinval(row, desc, 3 + w, &null));
		TimestampTz last;

		if (n == 0)
			continue;
		last = DatumGetTimestampTz(SPI_getbinval(row, desc, 5 + w, &null));
		if (item < 0)
			c->unknown[w]++;
		else
			c->items[w][item]++;
		c->last[w] = c->events[w] == 0 ? last : Max(c->last[w], last);
		c->events[w] += (uint64) n;
	}
}

static void
read_windows(Counts *c, const char *sql)
{
	Portal portal;
	char *user = NULL;
	uint64 rows = 0;

	SPI_connect();
	portal = SPI_cursor_open_with_args(NULL, sql, 0, NULL, NULL, NULL, true, 0);
	do
	{
		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, ROWS_A_FETCH);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			char *this = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);

			if (user == NULL || strcmp(user, this) != 0)
			{
				finish_user(c);
				if (user)
					pfree(user);
				user = this;
			}
			else
				pfree(this);
			take_row(c, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		}
		rows += SPI_processed;
		kpx_progress_step(rows);
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0);
	finish_user(c);
	SPI_cursor_close(portal);
	SPI_finish();
	kpx_progress_rows(rows);
}

static Counts
count_module(KpxModule *module, const KpxModelModule *trained, const KpxWindows *windows)
{
	Counts c = {.module = trained, .windows = windows};
	char *sql = windows_sql(module, windows);

	for (int w = 0; w < 2; w++)
	{
		c.items[w] = kpx_alloc(CurrentMemoryContext, Max(trained->items, 1), sizeof(uint64));
		memset(c.items[w], 0, sizeof(uint64) * trained->items);
	}
	kpx_progress_phase("reading events of two windows", 0);
	if (sql)
		read_windows(&c, sql);
	return c;
}

/* ------------------------------------------------------------ features */

static uint64
sum(const uint64 *counts, size_t n)
{
	uint64 total = 0;

	for (size_t i = 0; i < n; i++)
		total += counts[i];
	return total;
}

static KpxDrift
feature(const char *name, const uint64 *reference, const uint64 *recent, size_t bins)
{
	KpxDrift d = {name, NAN, NAN, 0.25, sum(reference, bins), sum(recent, bins)};

	if (d.reference < ENOUGH || d.recent < ENOUGH)
		return d;
	d.psi = kpx_psi(reference, recent, bins);
	d.noise = kpx_psi_noise(reference, recent, bins);
	return d;
}

static int
compare_counts(const void *a, const void *b, void *counts)
{
	uint64 x = ((const uint64 *) counts)[*(const uint32 *) a];
	uint64 y = ((const uint64 *) counts)[*(const uint32 *) b];

	return x != y ? (x > y ? -1 : 1) : (*(const uint32 *) a > *(const uint32 *) b) - (*(const uint32 *) a < *(const uint32 *) b);
}

/* The most frequent items of the reference have a bin each, all others one together. */
static KpxDrift
popularity(const Counts *c)
{
	uint32 n = c->module->items;
	uint32 *order = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(uint32));
	uint64 bin[2][OWN_BINS + 1] = {{0}};

	for (uint32 i = 0; i < n; i++)
		order[i] = i;
	qsort_arg(order, n, sizeof(uint32), compare_counts, c->items[0]);
	for (int w = 0; w < 2; w++)
		for (uint32 i = 0; i < n; i++)
			bin[w][Min(i, OWN_BINS)] += c->items[w][order[i]];
	pfree(order);
	return feature("popularity", bin[0], bin[1], OWN_BINS + 1);
}

static KpxDrift
new_items(const Counts *c)
{
	KpxDrift d = {"new items", NAN, NAN, 0.2, c->unknown[0] + sum(c->items[0], c->module->items), c->unknown[1] + sum(c->items[1], c->module->items)};

	if (d.recent >= ENOUGH)
	{
		d.psi = (double) c->unknown[1] / (double) d.recent;
		d.noise = sqrt(d.psi * (1 - d.psi) / (double) d.recent);
	}
	return d;
}

void
kpx_measure_drift(KpxRegistry *registry, KpxModule *module, const KpxModel *model, const KpxWindows *windows, KpxDrift *drift)
{
	uint64 *mix[2];

	for (int w = 0; w < 2; w++)
		mix[w] = palloc0(sizeof(uint64) * model->n_modules);
	for (int m = 0; m < model->n_modules; m++)
	{
		KpxModule *other = kpx_find_module_by_id(registry, model->modules[m].module_id);
		Counts c;

		if (other == NULL)
			continue;
		c = count_module(other, &model->modules[m], windows);
		for (int w = 0; w < 2; w++)
			mix[w][m] = c.users[w];
		if (other == module)
		{
			drift[0] = popularity(&c);
			drift[1] = new_items(&c);
			drift[2] = feature("activity", c.activity[0], c.activity[1], ACTIVITY_BINS);
			drift[3] = feature("recency", c.recency[0], c.recency[1], RECENCY_BINS);
		}
		for (int w = 0; w < 2; w++)
			pfree(c.items[w]);
	}
	drift[4] = feature("module mix", mix[0], mix[1], (size_t) model->n_modules);
}
