/*
 * quality.c
 *	  kpx_data_quality: rows of a module's event sources that cannot be, or hardly.
 *
 * One query for each source and rule, as the caller. Nothing is changed: what becomes of such
 * rows elsewhere is said in docs/quality.md.
 */
#include "kpxrec.h"

#include "catalog/pg_type.h"
#include "utils/lsyscache.h"

#include "ingest.h"
#include "request.h"

/* A source as its rules see it: expressions over e, NULL where nothing is registered. */
typedef struct View
{
	const KpxModule *module;
	const KpxSource *source;
	const char *relation;
	const char *user;
	const char *item;
	const char *time;
	const char *weight;
	const char *value;
	bool has_clock; /* times are finer than days */
	int burst;
} View;

/* Rows and an example of a rule, as SQL with two columns; NULL when it does not apply. */
typedef char *(*RuleSql)(const View *v);

static const char *
column(const char *name, const char *type)
{
	return name ? psprintf("e.%s::pg_catalog.%s", quote_identifier(name), type) : NULL;
}

static char *
rows_where(const View *v, const char *condition)
{
	return psprintf("SELECT pg_catalog.count(*), pg_catalog.min(pg_catalog.concat('user ', %s, ', item ', %s%s)) FROM %s e WHERE %s",
					v->user, v->item, v->time ? psprintf(", ', at ', %s", v->time) : "", v->relation, condition);
}

static char *
no_id(const View *v)
{
	return rows_where(v, psprintf("%s IS NULL OR %s IS NULL", v->user, v->item));
}

static char *
unknown_item(const View *v)
{
	return rows_where(v, psprintf("%s IS NOT NULL AND NOT EXISTS (SELECT FROM %s i WHERE i.%s OPERATOR(pg_catalog.=) e.%s)", v->item,
								  kpx_relation_sql(v->module->items, v->module->items_name, "module", v->module->name),
								  quote_identifier(v->module->item_id), quote_identifier(v->source->item_id)));
}

static char *
no_time(const View *v)
{
	return v->time ? rows_where(v, psprintf("%s IS NULL", v->time)) : NULL;
}

static char *
impossible_time(const View *v)
{
	if (v->time == NULL)
		return NULL;
	return rows_where(v, psprintf("%s OPERATOR(pg_catalog.<) '1970-01-01 00:00:00+00'::pg_catalog.timestamptz"
								  " OR %s OPERATOR(pg_catalog.>) (pg_catalog.now() OPERATOR(pg_catalog.+) '1 day'::pg_catalog.interval)",
								  v->time, v->time));
}

static char *
impossible_weight(const View *v)
{
	if (v->weight == NULL)
		return NULL;
	return rows_where(v, psprintf("%s OPERATOR(pg_catalog.<) 0 OR %s OPERATOR(pg_catalog.>) 1e30", v->weight, v->weight));
}

static char *
impossible_value(const View *v)
{
	if (v->value == NULL)
		return NULL;
	return rows_where(v, psprintf("pg_catalog.abs(%s) OPERATOR(pg_catalog.>) 9e12", v->value));
}

/* The same user, item and time more than once: all but the first. */
static char *
duplicate(const View *v)
{
	if (v->time == NULL)
		return NULL;
	return psprintf("SELECT COALESCE(pg_catalog.sum(d.n OPERATOR(pg_catalog.-) 1), 0)::pg_catalog.int8,"
					" pg_catalog.min(pg_catalog.concat('user ', d.u, ', item ', d.i, ', at ', d.t, ', ', d.n, ' times'))"
					" FROM (SELECT %s AS u, %s AS i, %s AS t, pg_catalog.count(*) AS n FROM %s e"
					" WHERE %s IS NOT NULL AND %s IS NOT NULL AND %s IS NOT NULL"
					" GROUP BY 1, 2, 3 HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1) d",
					v->user, v->item, v->time, v->relation, v->user, v->item, v->time);
}

/* More events of a user in one minute than a person makes. */
static char *
burst(const View *v)
{
	if (v->time == NULL || !v->has_clock)
		return NULL;
	return psprintf("SELECT COALESCE(pg_catalog.sum(b.n), 0)::pg_catalog.int8,"
					" pg_catalog.min(pg_catalog.concat('user ', b.u, ', ', b.n, ' events in the minute of ', b.t))"
					" FROM (SELECT %s AS u, pg_catalog.date_trunc('minute', %s) AS t, pg_catalog.count(*) AS n FROM %s e"
					" WHERE %s IS NOT NULL AND %s IS NOT NULL"
					" GROUP BY 1, 2 HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) %d) b",
					v->user, v->time, v->relation, v->user, v->time, v->burst);
}

static const struct
{
	const char *name;
	RuleSql sql;
	const char *treatment; /* what the rest of kpxrec does with such rows */
} rules[] = {
	{"no user or item", no_id, "left out everywhere"},
	{"unknown item", unknown_item, "trained and counted, never offered"},
	{"no time", no_time, "counts as now in training; does not age in profiles"},
	{"impossible time", impossible_time, "in profiles as without a time; infinite ones stop training"},
	{"impossible weight", impossible_weight, "stops training and profiles"},
	{"impossible value", impossible_value, "stops profiles"},
	{"duplicate", duplicate, "counted as often as it is there"},
	{"burst", burst, "counted as any other"},
};

static View
source_view(const KpxModule *module, const KpxSource *source, int burst_events)
{
	View v = {module, source};
	KpxIdKind user_kind;
	char *relation;

	(void) kpx_source_check(module, source, &user_kind, &relation);
	v.relation = relation;
	v.user = column(source->user_id, "text COLLATE pg_catalog.\"C\"");
	v.item = column(source->item_id, "text COLLATE pg_catalog.\"C\"");
	v.time = column(source->occurred_at, "timestamptz");
	v.weight = column(source->weight_column, "float8");
	v.value = column(source->value, "float8");
	v.has_clock = source->occurred_at && getBaseType(kpx_column_type(source->relation, source->occurred_at)) != DATEOID;
	v.burst = burst_events;
	return v;
}

/* Runs a query of one row; returns the number in its first column and the text in its second. */
static int64
ask(const View *v, const char *sql, MemoryContext context, char **text)
{
	bool null;
	int64 n;
	char *value;

	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT || SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("cannot read %s", v->relation)));
	n = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	value = text && n > 0 ? SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2) : NULL;
	if (text)
		*text = value ? MemoryContextStrdup(context, value) : NULL;
	SPI_freetuptable(SPI_tuptable);
	return n;
}

static void
check_source(ReturnSetInfo *rsinfo, const View *v)
{
	MemoryContext context = CurrentMemoryContext;
	int64 total;

	SPI_connect();
	total = ask(v, psprintf("SELECT pg_catalog.count(*) FROM %s e", v->relation), context, NULL);
	for (size_t i = 0; i < lengthof(rules); i++)
	{
		char *sql = rules[i].sql(v);
		char *found = NULL;
		Datum values[7] = {Int32GetDatum(v->source->id), CStringGetTextDatum(v->source->relation_name), CStringGetTextDatum(rules[i].name)};
		bool nulls[7] = {false};

		if (sql == NULL)
			continue;
		values[3] = Int64GetDatum(ask(v, sql, context, &found));
		values[4] = Int64GetDatum(total);
		nulls[5] = found == NULL;
		values[5] = found ? CStringGetTextDatum(found) : (Datum) 0;
		values[6] = CStringGetTextDatum(rules[i].treatment);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	SPI_finish();
}

PG_FUNCTION_INFO_V1(kpx_data_quality);
Datum
kpx_data_quality(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	KpxModule *module;
	int burst_events;

	InitMaterializedSRF(fcinfo, 0);
	module = kpx_find_module(kpx_registry(), kpx_text_argument(fcinfo, 0, "module"));
	burst_events = kpx_count_argument(fcinfo, 1, "burst", 60, 1);
	for (int s = 0; s < module->n_sources; s++)
	{
		View v = source_view(module, &module->sources[s], burst_events);

		check_source(rsinfo, &v);
	}
	return (Datum) 0;
}
