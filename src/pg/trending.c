/*
 * trending.c
 *	  What is being taken up just now: recent events, the newer the weightier, each user once an item.
 *
 * kpx_trending asks the event sources when it is called. For kpx_recommend that would be too
 * dear for every answer: kpx_refresh_trending keeps the result, and a scorer offers it to those
 * of whom nobody else has an opinion.
 */
#include "kpxrec.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "clock.h"
#include "floor.h"
#include "forget.h"
#include "history.h"
#include "idmap.h"
#include "ingest.h"
#include "registry.h"
#include "request.h"
#include "scorer.h"

typedef struct Trend
{
	KpxModule *module;
	KpxIdKind kind; /* of its items */
	KpxIdKind user_kind;
	Interval *window;
	double seconds; /* of the window */
	double half_life;
	int min_users; /* that an item must have had */
} Trend;

/* One item. */
typedef struct Rising
{
	KpxId item;
	double score;
	int64 events;
	int64 users;
} Rising;

/* An interval argument in seconds; 22023 unless above 0. */
static double
seconds_argument(FunctionCallInfo fcinfo, int n, const char *name, Interval **interval)
{
	double seconds;

	if (PG_ARGISNULL(n))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"%s\" must not be NULL", name)));
	*interval = PG_GETARG_INTERVAL_P(n);
	seconds = (double) (*interval)->time / USECS_PER_SEC + (double) (*interval)->day * SECS_PER_DAY +
			  (double) (*interval)->month * DAYS_PER_MONTH * SECS_PER_DAY;
	if (!(seconds > 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"%s\" must be above zero", name)));
	return seconds;
}

/* Arguments module, first = number of "window", half_life behind it. */
static Trend
trend_argument(FunctionCallInfo fcinfo, int first)
{
	Interval *half_life;
	Trend trend = {.module = kpx_find_module(kpx_registry(), kpx_text_argument(fcinfo, 0, "module"))};

	trend.kind = kpx_module_item_kind(trend.module);
	trend.user_kind = kpx_user_kind(&trend.module, 1);
	trend.min_users = 1;
	trend.seconds = seconds_argument(fcinfo, first, "window", &trend.window);
	trend.half_life = seconds_argument(fcinfo, first + 1, "half_life", &half_life);
	return trend;
}

/* ------------------------------------------------------------ the query */

/* An id column as its kind's type, so that sources can be put together. */
static char *
id_sql(Oid relation, const char *column, KpxIdKind kind)
{
	(void) kpx_column_type(relation, column);
	return psprintf("e.%s::%s%s", quote_identifier(column), kpx_id_type_sql[kind], kind == KPX_ID_TEXT ? " COLLATE pg_catalog.\"C\"" : "");
}

/* $1: now, $2: where the window begins, $3: half-life in seconds. */
static void
add_source(StringInfo sql, const KpxModule *module, const KpxSource *source, bool first)
{
	KpxIdKind user_kind;
	char *relation;
	KpxIdKind item_kind = kpx_source_check(module, source, &user_kind, &relation);
	const char *at = quote_identifier(source->occurred_at);

	appendStringInfo(sql, "%sSELECT %s AS item, %s AS u, ", first ? "" : " UNION ALL ", id_sql(source->relation, source->item_id, item_kind),
					 id_sql(source->relation, source->user_id, user_kind));
	appendStringInfo(sql, "%.17g::pg_catalog.float8", source->weight);
	if (source->weight_column)
		appendStringInfo(sql, " OPERATOR(pg_catalog.*) coalesce(e.%s::pg_catalog.float8, 1::pg_catalog.float8)", quote_identifier(source->weight_column));
	appendStringInfo(sql,
					 " OPERATOR(pg_catalog.*) pg_catalog.exp(pg_catalog.ln(0.5::pg_catalog.float8) OPERATOR(pg_catalog.*) least(700::pg_catalog.float8,"
					 " extract(epoch FROM $1 OPERATOR(pg_catalog.-) e.%s::pg_catalog.timestamptz)::pg_catalog.float8 OPERATOR(pg_catalog./) $3)) AS w"
					 " FROM %s e WHERE e.%s OPERATOR(pg_catalog.>) $2 AND e.%s OPERATOR(pg_catalog.<=) $1 AND e.%s IS NOT NULL AND e.%s IS NOT NULL",
					 at, relation, at, at, quote_identifier(source->item_id), quote_identifier(source->user_id));
}

/* Recent events of all sources. */
static char *
events_sql(const KpxModule *module)
{
	StringInfoData sql;
	bool any = false;

	initStringInfo(&sql);
	for (int s = 0; s < module->n_sources; s++)
		if (module->sources[s].occurred_at)
		{
			add_source(&sql, module, &module->sources[s], !any);
			any = true;
		}
	if (!any)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("module \"%s\" has no event source with times", module->name),
				 errhint("Register one with occurred_at: nothing says what is recent.")));
	return sql.data;
}

/*
 * $4: at most so many, $5: users who do not count, $6: an item's users. Who has done it often counts once, by
 * the newest and weightiest: one user makes no trend.
 */
static char *
trend_sql(const char *events)
{
	return psprintf("SELECT g.item, pg_catalog.sum(g.w), pg_catalog.sum(g.n)::pg_catalog.int8, pg_catalog.count(*) FROM"
					" (SELECT s.item, s.u, pg_catalog.max(s.w) AS w, pg_catalog.count(*) AS n FROM (%s) s"
					" WHERE s.w OPERATOR(pg_catalog.>) 0::pg_catalog.float8 AND s.w OPERATOR(pg_catalog.<) 'Infinity'::pg_catalog.float8"
					" AND s.u OPERATOR(pg_catalog.<>) ALL ($5) GROUP BY s.item, s.u) g"
					" GROUP BY g.item HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>=) $6 ORDER BY 2 DESC, 1 LIMIT $4",
					events);
}

#define PARAMETERS 6

/* The parameters of both queries. */
static void
set_parameters(const Trend *trend, int64 limit, const KpxId *without, int n_without, Oid types[PARAMETERS], Datum values[PARAMETERS])
{
	Datum now = TimestampTzGetDatum(kpx_transaction_start());

	types[0] = types[1] = TIMESTAMPTZOID;
	types[2] = FLOAT8OID;
	types[3] = types[5] = INT8OID;
	types[4] = get_array_type(kpx_id_kind_type(trend->user_kind));
	values[0] = now;
	values[1] = DirectFunctionCall2(timestamptz_mi_interval, now, IntervalPGetDatum(trend->window));
	values[2] = Float8GetDatum(trend->half_life);
	values[3] = Int64GetDatum(limit);
	values[4] = kpx_id_array(trend->user_kind, without, n_without);
	values[5] = Int64GetDatum(trend->min_users);
}

/* The id in a row's first column, copied: the rows go with SPI. */
static KpxId
id_at(HeapTuple row, TupleDesc desc, KpxIdKind kind, MemoryContext context)
{
	bool null;
	Datum id = SPI_getbinval(row, desc, 1, &null);
	MemoryContext old = MemoryContextSwitchTo(context);
	KpxId copy;

	if (kind == KPX_ID_TEXT)
		id = PointerGetDatum(PG_DETOAST_DATUM_COPY(id));
	else if (kind == KPX_ID_UUID)
		id = datumCopy(id, false, UUID_LEN);
	copy = kpx_id_from_datum(kind, kpx_id_kind_type(kind), id);
	MemoryContextSwitchTo(old);
	return copy;
}

#define USERS_A_FETCH 10000

/* Those of the window's users who were forgotten; their ids are known only by asking for each. */
static KpxId *
find_forgotten(const Trend *trend, const char *events, int *n)
{
	KpxForgotten *forgotten = kpx_forgotten_load(kpx_registry());
	MemoryContext context = CurrentMemoryContext;
	Oid types[PARAMETERS];
	Datum values[PARAMETERS];
	int size = 64;
	KpxId *found = kpx_alloc(context, size, sizeof(KpxId));
	Portal portal;

	*n = 0;
	if (forgotten == NULL)
		return found;
	set_parameters(trend, 0, NULL, 0, types, values);
	SPI_connect();
	portal = SPI_cursor_open_with_args(NULL, psprintf("SELECT DISTINCT s.u FROM (%s) s", events), PARAMETERS, types, values, NULL, true, 0);
	for (SPI_cursor_fetch(portal, true, USERS_A_FETCH); SPI_processed > 0; SPI_cursor_fetch(portal, true, USERS_A_FETCH))
	{
		CHECK_FOR_INTERRUPTS();
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			KpxId id = id_at(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, trend->user_kind, context);

			if (!kpx_forgotten_has(forgotten, trend->user_kind, id))
				continue;
			if (*n == size)
				found = repalloc_huge(found, sizeof(KpxId) * (size *= 2));
			found[(*n)++] = id;
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	SPI_finish();
	return found;
}

/* The limit strongest, available or not, as the caller; returns how many. */
static int
ask(const Trend *trend, const char *sql, int64 limit, const KpxId *without, int n_without, Rising **rising)
{
	Oid types[PARAMETERS];
	Datum values[PARAMETERS];
	MemoryContext context = CurrentMemoryContext;
	int n;

	set_parameters(trend, limit, without, n_without, types, values);
	SPI_connect();
	if (SPI_execute_with_args(sql, PARAMETERS, types, values, NULL, true, 0) != SPI_OK_SELECT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("cannot read the events of module \"%s\"", trend->module->name)));
	n = (int) SPI_processed;
	*rising = kpx_alloc(context, Max(n, 1), sizeof(Rising));
	for (int i = 0; i < n; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool null;

		(*rising)[i] = (Rising){id_at(row, desc, trend->kind, context), DatumGetFloat8(SPI_getbinval(row, desc, 2, &null)),
								DatumGetInt64(SPI_getbinval(row, desc, 3, &null)), DatumGetInt64(SPI_getbinval(row, desc, 4, &null))};
	}
	SPI_finish();
	return n;
}

/* The k strongest that are available now, best first; returns how many. */
static int
strongest(Trend *trend, int k, Rising **rising)
{
	char *events = events_sql(trend->module);
	char *sql = trend_sql(events);
	int64 limit = (int64) k * 2 + 50;
	int n_without;
	KpxId *without = find_forgotten(trend, events, &n_without);

	for (;;)
	{
		int n = ask(trend, sql, limit, without, n_without, rising);
		KpxId *ids = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(KpxId));
		bool *available = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(bool));
		int kept = 0;

		for (int i = 0; i < n; i++)
			ids[i] = (*rising)[i].item;
		kpx_items_available(trend->module, trend->kind, ids, n, available);
		for (int i = 0; i < n && kept < k; i++)
			if (available[i])
				(*rising)[kept++] = (*rising)[i];
		if (kept == k || n < limit)
			return kept;
		limit *= 8;
	}
}

/* ------------------------------------------------------------ kpx_trending */

/* first: number of the argument k. */
static Datum
trending(FunctionCallInfo fcinfo, int first, Oid type)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Trend trend;
	Rising *rising;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	trend = trend_argument(fcinfo, first + 1);
	n = strongest(&trend, kpx_count_argument(fcinfo, first, "k", 10, 1), &rising);
	for (int i = 0; i < n; i++)
	{
		Datum values[5] = {Int32GetDatum(i + 1), kpx_id_to_datum(trend.kind, rising[i].item, type), Float8GetDatum(rising[i].score),
						   Int64GetDatum(rising[i].events), Int64GetDatum(rising[i].users)};
		bool nulls[5] = {false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(kpx_trending);
Datum
kpx_trending(PG_FUNCTION_ARGS)
{
	return trending(fcinfo, 1, TEXTOID);
}

PG_FUNCTION_INFO_V1(kpx_trending_typed);
Datum
kpx_trending_typed(PG_FUNCTION_ARGS)
{
	return trending(fcinfo, 2, kpx_witness_argument(fcinfo, 1));
}

PG_FUNCTION_INFO_V1(kpx_refresh_trending);
Datum
kpx_refresh_trending(PG_FUNCTION_ARGS)
{
	Oid types[] = {INT4OID, FLOAT8OID, TEXTOID, FLOAT8OID, TIMESTAMPTZOID};
	Datum values[5];
	Trend trend;
	Rising *rising;
	KpxCatalog catalog;
	int n;

	PreventCommandIfReadOnly("kpx_refresh_trending()");
	trend = trend_argument(fcinfo, 1);
	kpx_require_owner(trend.module->owner, "module", trend.module->name);
	/* what is kept is offered to everybody */
	trend.min_users = kpx_min_users;
	n = strongest(&trend, kpx_count_argument(fcinfo, 3, "items", 1000, 1), &rising);
	values[0] = Int32GetDatum(trend.module->id);
	values[1] = Float8GetDatum(trend.seconds);
	values[4] = TimestampTzGetDatum(kpx_transaction_start());
	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("SELECT FROM kpx.module WHERE id = $1 FOR NO KEY UPDATE", 5, types, values, "  nn ", false);
	kpx_catalog_execute("DELETE FROM kpx.trending WHERE module_id = $1", 5, types, values, "  nn ", false);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		values[2] = CStringGetTextDatum(kpx_id_to_cstring(trend.kind, rising[i].item));
		values[3] = Float8GetDatum(rising[i].score);
		kpx_catalog_execute("INSERT INTO kpx.trending (module_id, item_id, score, good_until)"
							" VALUES ($1, $3, $4, $5 + $2 * interval '1 second')",
							5, types, values, NULL, false);
	}
	kpx_catalog_end(&catalog);
	PG_RETURN_INT64(n);
}

/* ------------------------------------------------------------ in kpx_recommend */

/* What kpx_refresh_trending kept for the module and is not older than its window: ids and scores; NULL: nothing. */
static KpxId *
kept(const KpxModule *module, KpxIdKind kind, float **score, int *n)
{
	Oid types[] = {INT4OID, TIMESTAMPTZOID};
	Datum values[] = {Int32GetDatum(module->id), TimestampTzGetDatum(kpx_transaction_start())};
	MemoryContext context = CurrentMemoryContext;
	KpxCatalog catalog;
	KpxId *ids;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT item_id, score::float4 FROM kpx.trending WHERE module_id = $1 AND good_until >= $2", 2, types, values, NULL, true);
	*n = (int) SPI_processed;
	ids = kpx_alloc(context, Max(*n, 1), sizeof(KpxId));
	*score = kpx_alloc(context, Max(*n, 1), sizeof(float));
	for (int i = 0; i < *n; i++)
	{
		bool null;
		char *text = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		MemoryContext old = MemoryContextSwitchTo(context);

		ids[i] = kpx_id_from_text(kind, pstrdup(text));
		(*score)[i] = DatumGetFloat4(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &null));
		MemoryContextSwitchTo(old);
	}
	kpx_catalog_end(&catalog);
	return *n > 0 ? ids : NULL;
}

/* Without a model: the items that are trending. */
static KpxModel *
trending_stand_in(KpxRegistry *registry, KpxModule *module)
{
	KpxIdKind kind = kpx_module_item_kind(module);
	KpxIdMap *map;
	KpxModel *model;
	float *score;
	uint32 *position;
	KpxId *ids;
	int n;

	if (!kpx_may_read_sources(module) || (ids = kept(module, kind, &score, &n)) == NULL)
		return NULL;
	map = kpx_idmap_create(CurrentMemoryContext, kind);
	for (int i = 0; i < n; i++)
		(void) kpx_idmap_add(map, ids[i]);
	model = palloc0(sizeof(KpxModel));
	model->name = "trending";
	model->context = CurrentMemoryContext;
	model->n_modules = 1;
	model->modules = palloc0(sizeof(KpxModelModule));
	model->items = (uint32) n;
	model->modules[0] = (KpxModelModule){.module_id = module->id, .name = module->name, .items = (uint32) n, .observed = 1, .window = KPX_NO_WINDOW};
	model->modules[0].ids = kpx_idmap_sorted(map, CurrentMemoryContext, &position);
	kpx_idmap_free(map);
	return model;
}

static const float *
trending_score(KpxRequest *q, KpxTaste *taste, void **note, float *buffer)
{
	float *score;
	int n;
	KpxId *ids;
	bool any = false;

	if (kpx_module_item_kind(q->module) != q->target->ids.kind)
		return NULL;
	ids = kept(q->module, q->target->ids.kind, &score, &n);
	for (uint32 i = 0; i < q->target->items; i++)
		buffer[i] = NAN;
	for (int i = 0; i < n; i++)
	{
		int64 index = kpx_ids_find(&q->target->ids, ids[i]);

		if (index < 0)
			continue;
		buffer[index] = score[i];
		any = true;
	}
	return any ? buffer : NULL;
}

static char *
trending_reason(KpxRequest *q, KpxTaste *taste, void *note, uint32 item)
{
	return "trending";
}

const KpxScorer kpx_trending_scorer = {"trending", trending_stand_in, trending_score, trending_reason};
