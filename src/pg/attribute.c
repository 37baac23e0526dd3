/*
 * attribute.c
 *	  kpx_attribute: events of the registered sources to the impressions that led to them.
 *
 * Events are read as the caller, impressions belong to us: so events come in batches,
 * and each batch is joined to the impressions by one fixed statement. Running it again
 * changes nothing (an impression has one click and one conversion), so each run looks
 * back by a whole window, for events that arrived late.
 */
#include "kpxrec.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "fault.h"
#include "forget.h"
#include "identity.h"
#include "policy.h"
#include "registry.h"
#include "request.h"
#include "settle.h"

#define BATCH 5000

/* Kinds of events that are conversions unless the policy says otherwise. */
static const char *const conversion_kinds[] = {
	"purchase", "order", "buy", "enrol", "enroll", "enrolment", "enrollment", "subscribe", "subscription",
	"apply", "application", "conversion", NULL};

typedef struct Run
{
	double window; /* seconds */
	bool by_position;
	const KpxForgotten *forgotten;
	int64 events;
	int64 hits;
	int64 attributed;
	TimestampTz latest; /* DT_NOBEGIN: none */
} Run;

static bool
is_conversion(const KpxPolicy *policy, const KpxModule *module, const KpxSource *source)
{
	const KpxSettings *settings = kpx_policy_module(policy, module->name);

	if (settings == NULL || settings->conversions == NULL)
		settings = &policy->all;
	if (settings->conversions)
	{
		for (int i = 0; i < settings->n_conversions; i++)
			if (pg_strcasecmp(settings->conversions[i], source->kind) == 0)
				return true;
		return false;
	}
	for (int i = 0; conversion_kinds[i]; i++)
		if (pg_strcasecmp(conversion_kinds[i], source->kind) == 0)
			return true;
	return false;
}

/* From when on events matter: a window before the last run's newest, not before the first impression. False: no impressions. */
static bool
events_since(const KpxSource *source, double window, TimestampTz *since)
{
	Oid types[] = {INT4OID, FLOAT8OID};
	Datum values[] = {Int32GetDatum(source->id), Float8GetDatum(window)};
	KpxCatalog catalog;
	bool null;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT greatest((SELECT min(occurred_at) FROM kpx.impression),"
						" (SELECT up_to - make_interval(secs => $2) FROM kpx.attribution WHERE source_id = $1))"
						" WHERE EXISTS (SELECT FROM kpx.impression)",
						2, types, values, NULL, true);
	null = SPI_processed == 0;
	if (!null)
		*since = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	kpx_catalog_end(&catalog);
	return !null;
}

/* The column value of a source, which the registry's cache does not keep; NULL: none. */
static char *
value_column(const KpxSource *source)
{
	Oid types[] = {INT4OID};
	Datum values[] = {Int32GetDatum(source->id)};
	MemoryContext context = CurrentMemoryContext;
	KpxCatalog catalog;
	char *value = NULL;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT value FROM kpx.event_source WHERE id = $1", 1, types, values, NULL, true);
	if (SPI_processed == 1 && (value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1)) != NULL)
		value = MemoryContextStrdup(context, value);
	kpx_catalog_end(&catalog);
	return value;
}

static char *
events_sql(const KpxModule *module, const KpxSource *source)
{
	char *value = value_column(source);
	const char *user = quote_identifier(source->user_id);
	const char *item = quote_identifier(source->item_id);
	const char *at = quote_identifier(source->occurred_at);

	return psprintf("SELECT e.%s::pg_catalog.text, e.%s::pg_catalog.text, e.%s::pg_catalog.timestamptz, %s%s::pg_catalog.float8 FROM %s e"
					" WHERE e.%s OPERATOR(pg_catalog.>=) $1::%s AND e.%s::pg_catalog.timestamptz OPERATOR(pg_catalog.<=) $2"
					" AND e.%s IS NOT NULL AND e.%s IS NOT NULL",
					user, item, at, value ? "e." : "", value ? quote_identifier(value) : "NULL",
					kpx_relation_sql(source->relation, source->relation_name, "module", module->name), at,
					format_type_be_qualified(getBaseType(kpx_column_type(source->relation, source->occurred_at))), at, user, item);
}

static void
attribute_batch(Run *run, const KpxModule *module, const KpxSource *source, const char *kind, Datum *columns)
{
	Oid types[] = {TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, FLOAT8ARRAYOID, INT4OID, FLOAT8OID, TEXTOID, INT4OID};
	Datum values[] = {columns[0], columns[1], columns[2], columns[3], Int32GetDatum(module->id), Float8GetDatum(run->window),
					  CStringGetTextDatum(kind), Int32GetDatum(source->id)};
	KpxCatalog catalog;
	bool null;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute(
		psprintf("WITH e AS (SELECT * FROM unnest($1, $2, $3, $4) e(user_id, item_id, at, value)),"
				 " hit AS (SELECT e.at, CASE WHEN $7 = 'conversion' THEN coalesce(e.value, i.worth) END AS value, i.*"
				 " FROM e CROSS JOIN LATERAL (SELECT i.slate_id, i.rank, i.occurred_at, i.expected_value / (i.p_click * i.p_convert) AS worth"
				 " FROM kpx.impression i WHERE i.user_id = e.user_id AND i.module_id = $5 AND i.item_id = e.item_id"
				 " AND i.occurred_at <= e.at AND i.occurred_at > e.at - make_interval(secs => $6)"
				 " ORDER BY %s LIMIT 1) i),"
				 " ins AS (INSERT INTO kpx.feedback (slate_id, rank, kind, value, occurred_at, impression_at, source_id)"
				 " SELECT DISTINCT ON (slate_id, rank) slate_id, rank, $7, value, at, occurred_at, $8 FROM hit ORDER BY slate_id, rank, at"
				 " ON CONFLICT DO NOTHING RETURNING 1)"
				 " SELECT (SELECT count(*) FROM hit), (SELECT count(*) FROM ins)",
				 run->by_position ? "i.rank, i.occurred_at DESC" : "i.occurred_at DESC, i.rank"),
		8, types, values, NULL, false);
	run->hits += DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	run->attributed += DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null));
	kpx_catalog_end(&catalog);
}

static bool
is_forgotten(const Run *run, Datum user)
{
	text *id;

	if (run->forgotten == NULL)
		return false;
	id = DatumGetTextPP(user);
	return kpx_forgotten_has(run->forgotten, KPX_ID_TEXT, (KpxId){.bytes = VARDATA_ANY(id), .length = (uint32) VARSIZE_ANY_EXHDR(id)});
}

/* The rows just fetched as four array values, without those of users who were forgotten; returns how many. */
static int
batch_columns(Run *run, Datum *columns)
{
	int n = 0;
	Datum *element[4];
	bool *nulls = palloc0(sizeof(bool) * SPI_processed);
	int lower = 1;

	for (int c = 0; c < 4; c++)
		element[c] = palloc(sizeof(Datum) * SPI_processed);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool null;

		for (int c = 0; c < 4; c++)
			element[c][n] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, c + 1, &null);
		nulls[n] = null; /* of value, the last */
		run->latest = Max(run->latest, DatumGetTimestampTz(element[2][n]));
		n += !is_forgotten(run, element[0][n]);
	}
	columns[0] = PointerGetDatum(construct_array(element[0], n, TEXTOID, -1, false, TYPALIGN_INT));
	columns[1] = PointerGetDatum(construct_array(element[1], n, TEXTOID, -1, false, TYPALIGN_INT));
	columns[2] = PointerGetDatum(construct_array(element[2], n, TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	columns[3] = PointerGetDatum(construct_md_array(element[3], nulls, 1, &n, &lower, FLOAT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	run->events += n;
	return n;
}

static void
remember(const Run *run, const KpxSource *source)
{
	Oid types[] = {INT4OID, TIMESTAMPTZOID, INT8OID, INT8OID};
	Datum values[] = {Int32GetDatum(source->id), TimestampTzGetDatum(run->latest), Int64GetDatum(run->events), Int64GetDatum(run->attributed)};
	char nulls[] = {' ', run->latest == DT_NOBEGIN ? 'n' : ' ', ' ', ' ', '\0'};
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("INSERT INTO kpx.attribution AS a VALUES ($1, $2, $3, $4, now())"
						" ON CONFLICT (source_id) DO UPDATE SET up_to = greatest(a.up_to, excluded.up_to),"
						" events = a.events + excluded.events, attributed = a.attributed + excluded.attributed, last_run = now()",
						4, types, values, nulls, false);
	kpx_catalog_end(&catalog);
}

static void
attribute_source(Run *run, const KpxModule *module, const KpxSource *source, const char *kind)
{
	TimestampTz since = DT_NOBEGIN;
	Oid types[] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum values[2];
	SPIPlanPtr plan;
	Portal portal;
	KpxIdentity before;

	if (!events_since(source, run->window, &since) || !kpx_identity_enter_owner(&before, module->owner, module->name))
		return;
	values[0] = TimestampTzGetDatum(since);
	values[1] = TimestampTzGetDatum(kpx_now());
	SPI_connect();
	plan = SPI_prepare(events_sql(module, source), 2, types);
	if (plan == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot read %s: %s", source->relation_name, SPI_result_code_string(SPI_result))));
	portal = SPI_cursor_open(NULL, plan, values, NULL, true);
	for (;;)
	{
		MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "kpxrec batch", ALLOCSET_DEFAULT_SIZES);
		MemoryContext old;
		Datum columns[4];

		SPI_cursor_fetch(portal, true, BATCH);
		if (SPI_processed == 0)
			break;
		old = MemoryContextSwitchTo(batch);
		if (batch_columns(run, columns) > 0)
			attribute_batch(run, module, source, kind, columns);
		KPX_FAULT("attribute");
		MemoryContextSwitchTo(old);
		MemoryContextDelete(batch);
		SPI_freetuptable(SPI_tuptable);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_cursor_close(portal);
	SPI_finish();
	kpx_identity_leave(&before);
	remember(run, source);
}

/* From which month on counts can have changed since they were counted: as far as events reach back, at least 31 days. */
static TimestampTz
count_since(const KpxModule *module, double window)
{
	Oid types[] = {INT4OID, FLOAT8OID};
	Datum values[] = {Int32GetDatum(module->id), Float8GetDatum(Max(window, 31.0 * SECS_PER_DAY))};
	bool null;

	kpx_catalog_execute("SELECT coalesce(date_trunc('month', (max(counted_at) - make_interval(secs => $2)) AT TIME ZONE 'UTC') AT TIME ZONE 'UTC',"
						" '-infinity') FROM kpx.item_rate WHERE module_id = $1",
						2, types, values, NULL, true);
	return DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
}

/* Counts by pair, item and month; months that nothing can have happened to stay as they are. */
static void
count_rates(const KpxModule *module, double window)
{
	Oid types[] = {INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum values[] = {Int32GetDatum(module->id), 0, TimestampTzGetDatum(kpx_now())};
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	values[1] = TimestampTzGetDatum(count_since(module, window));
	kpx_catalog_execute("DELETE FROM kpx.item_rate WHERE module_id = $1 AND month >= ($2 AT TIME ZONE 'UTC')::date", 2, types, values, NULL, false);
	KPX_FAULT("rates");
	kpx_catalog_execute("INSERT INTO kpx.item_rate SELECT home_module_id, $1, coalesce(item_id, ''), month, count(*),"
						" count(*) FILTER (WHERE click), count(*) FILTER (WHERE conversion), $3"
						" FROM (SELECT i.home_module_id, i.item_id, date_trunc('month', i.occurred_at AT TIME ZONE 'UTC')::date AS month, f.click, f.conversion"
						"  FROM kpx.impression i LEFT JOIN (SELECT slate_id, rank, bool_or(kind IN ('click', 'conversion')) AS click,"
						"   bool_or(kind = 'conversion') AS conversion FROM kpx.feedback WHERE impression_at >= $2 GROUP BY 1, 2) f"
						"  ON f.slate_id = i.slate_id AND f.rank = i.rank WHERE i.module_id = $1 AND i.occurred_at >= $2) x"
						" GROUP BY GROUPING SETS ((home_module_id, item_id, month), (home_module_id, month))",
						3, types, values, NULL, false);
	kpx_catalog_end(&catalog);
}

static double
window_argument(FunctionCallInfo fcinfo, const KpxPolicy *policy)
{
	Interval *interval;
	double seconds;

	if (PG_ARGISNULL(0))
		return KPX_POLICY_NUMBER(policy, NULL, NULL, attribution_window);
	interval = PG_GETARG_INTERVAL_P(0);
	seconds = ((double) interval->month * DAYS_PER_MONTH + interval->day) * SECS_PER_DAY + (double) interval->time / USECS_PER_SEC;
	if (!(seconds > 0 && seconds <= 1e9))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"window\" must be a positive interval of at most 30 years")));
	return seconds;
}

PG_FUNCTION_INFO_V1(kpx_attribute);
Datum
kpx_attribute(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	KpxRegistry *registry;
	KpxForgotten *forgotten;
	KpxPolicy *policy = kpx_policy(0);
	char *rule = PG_ARGISNULL(1) ? "last_touch" : text_to_cstring(PG_GETARG_TEXT_PP(1));
	double window = window_argument(fcinfo, policy);
	KpxCatalog catalog;

	InitMaterializedSRF(fcinfo, 0);
	PreventCommandIfReadOnly("kpx_attribute()");
	if (strcmp(rule, "last_touch") != 0 && strcmp(rule, "position") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("attribution rule \"%s\" is not known", rule),
				 errhint("Known rules: last_touch, position.")));
	kpx_catalog_begin(&catalog, false);
	/* Before rows of feedback and rates, as kpx_expire_impressions: it cannot hold these while we hold those. */
	kpx_catalog_execute("LOCK TABLE ONLY kpx.impression IN ACCESS SHARE MODE", 0, NULL, NULL, NULL, false);
	kpx_catalog_execute("LOCK TABLE kpx.attribution IN SHARE ROW EXCLUSIVE MODE", 0, NULL, NULL, NULL, false);
	kpx_catalog_end(&catalog);
	/* nobody is forgotten from here on */
	kpx_lock_all_users(true);
	registry = kpx_registry();
	forgotten = kpx_forgotten_load(registry);
	for (int m = 0; m < registry->n_modules; m++)
	{
		KpxModule *module = &registry->modules[m];

		if (!kpx_has_role(module->owner))
			continue;
		for (int s = 0; s < module->n_sources; s++)
		{
			const KpxSource *source = &module->sources[s];
			const char *kind = is_conversion(policy, module, source) ? "conversion" : "click";
			Run run = {.window = window, .by_position = strcmp(rule, "position") == 0, .forgotten = forgotten, .latest = DT_NOBEGIN};
			bool nulls[8] = {false};
			Datum values[8];

			if (!source->occurred_at)
			{
				ereport(NOTICE,
						(errmsg("event source %d of module \"%s\" has no times: it cannot be attributed", source->id, module->name)));
				continue;
			}
			attribute_source(&run, module, source, kind);
			values[0] = Int32GetDatum(source->id);
			values[1] = CStringGetTextDatum(module->name);
			values[2] = CStringGetTextDatum(source->kind);
			values[3] = CStringGetTextDatum(kind);
			values[4] = Int64GetDatum(run.events);
			values[5] = Int64GetDatum(run.attributed);
			values[6] = Int64GetDatum(run.events - run.hits);
			values[7] = Int64GetDatum(run.hits - run.attributed);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
		count_rates(module, window);
	}
	/* last, since it locks the campaigns, which slates wait for; in the order of slates: modules are sorted by id */
	for (int m = 0; m < registry->n_modules; m++)
		if (kpx_has_role(registry->modules[m].owner))
			kpx_settle(&registry->modules[m], window);
	return (Datum) 0;
}
