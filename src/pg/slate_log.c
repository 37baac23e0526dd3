/*
 * slate_log.c
 *	  Writing slates and impressions, and the monthly partitions they lie in.
 */
#include "slate.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "datatype/timestamp.h"
#include "fault.h"
#include "pgtime.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "clock.h"

/* ------------------------------------------------------------ partitions */

/* Year and month of a moment, UTC. */
static void
month_of(TimestampTz at, int *year, int *month)
{
	struct pg_tm tm;
	fsec_t fraction;

	if (timestamp2tm(at, NULL, &tm, &fraction, NULL, NULL) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	*year = tm.tm_year;
	*month = tm.tm_mon;
}

/*
 * Made like the parent and attached, which does not block writers as PARTITION OF would.
 * Indexes are each partition's own: an index of the parent, a member of the extension,
 * would make them again when a dump is restored.
 */
static void
make_partition(const char *parent, const char *const *indexes, int year, int month)
{
	int next_year = month == 12 ? year + 1 : year;
	int next_month = month == 12 ? 1 : month + 1;

	kpx_catalog_execute(psprintf("CREATE TABLE kpx.%s_%04d%02d (LIKE kpx.%s)", parent, year, month, parent), 0, NULL, NULL, NULL, false);
	kpx_catalog_execute(psprintf("ALTER TABLE kpx.%s ATTACH PARTITION kpx.%s_%04d%02d"
								 " FOR VALUES FROM ('%04d-%02d-01 00:00+00') TO ('%04d-%02d-01 00:00+00')",
								 parent, parent, year, month, year, month, next_year, next_month),
						0, NULL, NULL, NULL, false);
	for (int i = 0; i < 2 && indexes[i]; i++)
		kpx_catalog_execute(psprintf("CREATE INDEX ON kpx.%s_%04d%02d (%s)", parent, year, month, indexes[i]), 0, NULL, NULL, NULL, false);
}

static bool
partition_exists(const char *parent, int year, int month)
{
	return OidIsValid(get_relname_relid(psprintf("%s_%04d%02d", parent, year, month), get_namespace_oid("kpx", false)));
}

/* Inside kpx_catalog_begin. */
static void
require_partitions(TimestampTz at)
{
	static const char *const parents[] = {"slate", "impression"};
	static const char *const indexes[][2] = {{"slate_id", "user_id"}, {"slate_id", "user_id, occurred_at"}};
	int year;
	int month;
	LOCKTAG tag;

	month_of(at, &year, &month);
	if (partition_exists(parents[0], year, month) && partition_exists(parents[1], year, month))
		return;
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, (uint32) (year * 12 + month), 0x4B51);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	AcceptInvalidationMessages(); /* who had the lock before us may have made them */
	for (int p = 0; p < lengthof(parents); p++)
	{
		if (!partition_exists(parents[p], year, month))
			make_partition(parents[p], indexes[p], year, month);
		KPX_FAULT("partition");
	}
}

/* ------------------------------------------------------------ rows */

static Datum
text_or_empty(const char *value)
{
	return CStringGetTextDatum(value ? value : "");
}

static Datum
array_of(Datum *elements, int n, Oid type)
{
	int16 length;
	bool by_value;
	char align;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	return PointerGetDatum(construct_array(elements, n, type, length, by_value, align));
}

static void
write_slate(const KpxSlateRequest *r, int64 slate_id)
{
	static SPIPlanPtr plan = NULL;
	static Oid types[] = {INT8OID, TIMESTAMPTZOID, TEXTOID, INT4OID, INT8OID, NAMEOID, TEXTOID, JSONBOID, INT4OID, INT4ARRAYOID,
						  INT4ARRAYOID, FLOAT8ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, FLOAT4ARRAYOID, FLOAT8ARRAYOID,
						  FLOAT8ARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID, TEXTARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID,
						  INT8ARRAYOID};
	static const Oid candidate_types[] = {INT4OID, TEXTOID, TEXTOID, FLOAT4OID, FLOAT8OID, FLOAT8OID,
										  FLOAT8OID, FLOAT8OID, TEXTOID, FLOAT8OID, FLOAT8OID, FLOAT8OID};
	Datum values[25];
	char nulls[26];
	Datum *column[12];
	Datum *module[4];

	for (int c = 0; c < 4; c++)
		module[c] = palloc(sizeof(Datum) * r->n_modules);
	for (int m = 0; m < r->n_modules; m++)
	{
		module[0][m] = Int32GetDatum(r->modules[m]->id);
		module[1][m] = Int32GetDatum((int32) r->room[m]);
		module[2][m] = Float8GetDatum(r->mix[m]);
		module[3][m] = Int64GetDatum(r->requests[m].model->id);
	}
	for (int c = 0; c < 12; c++)
		column[c] = palloc(sizeof(Datum) * r->n);
	for (int i = 0; i < r->n; i++)
	{
		column[0][i] = Int32GetDatum(r->modules[r->items[i].module]->id);
		column[1][i] = CStringGetTextDatum(r->items[i].id);
		column[2][i] = text_or_empty(r->items[i].category);
		column[3][i] = Float4GetDatum(r->items[i].score);
		column[4][i] = Float8GetDatum(r->items[i].p_click);
		column[5][i] = Float8GetDatum(r->items[i].p_convert);
		column[6][i] = Float8GetDatum(r->items[i].price);
		column[7][i] = Float8GetDatum(r->offers[i].boost);
		column[8][i] = text_or_empty(r->offers[i].rule);
		column[9][i] = Float8GetDatum(r->items[i].spread);
		column[10][i] = Float8GetDatum(r->offers[i].share);
		column[11][i] = Float8GetDatum(r->offers[i].cost);
	}
	memset(nulls, ' ', sizeof(nulls));
	nulls[25] = '\0';
	nulls[7] = r->context ? ' ' : 'n';
	values[0] = Int64GetDatum(slate_id);
	values[1] = TimestampTzGetDatum(r->now);
	values[2] = CStringGetTextDatum(r->user_id);
	values[3] = Int32GetDatum(r->home ? r->home->id : 0);
	values[4] = Int64GetDatum(r->policy->id);
	values[5] = DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(GetUserId(), false)));
	values[6] = CStringGetTextDatum(r->ranker);
	values[7] = r->context;
	values[8] = Int32GetDatum(r->room_in_all);
	values[9] = array_of(module[0], r->n_modules, INT4OID);
	values[10] = array_of(module[1], r->n_modules, INT4OID);
	values[11] = array_of(module[2], r->n_modules, FLOAT8OID);
	for (int c = 0; c < 12; c++)
		values[12 + c] = array_of(column[c], r->n, candidate_types[c]);
	values[24] = array_of(module[3], r->n_modules, INT8OID);
	kpx_catalog_execute_planned(&plan, "INSERT INTO kpx.slate VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,"
									   " $17, $18, $19, $20, $21, $22, $23, $24, $25)",
								25, types, values, nulls, false);
}

static void
write_impressions(const KpxSlateRequest *r, int64 slate_id, const KpxPlace *places, int n)
{
	static SPIPlanPtr plan = NULL;
	static Oid types[] = {INT8OID, TIMESTAMPTZOID, TEXTOID, INT4OID, INT8OID, INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, FLOAT4ARRAYOID,
						  FLOAT8ARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID, BOOLARRAYOID, TEXTARRAYOID, FLOAT4ARRAYOID,
						  INT4OID, INT8ARRAYOID};
	Datum values[18];
	Datum *column[11];
	Datum *signal = palloc(sizeof(Datum) * n * KPX_SIGNALS);

	for (int c = 0; c < 11; c++)
		column[c] = palloc(sizeof(Datum) * n);
	for (int i = 0; i < n * KPX_SIGNALS; i++)
		signal[i] = Float4GetDatum(r->items[places[i / KPX_SIGNALS].item].signal[i % KPX_SIGNALS]);
	for (int p = 0; p < n; p++)
	{
		const KpxRankItem *item = &r->items[places[p].item];
		const KpxOffer *offer = &r->offers[places[p].item];

		column[0][p] = Int32GetDatum(r->modules[item->module]->id);
		column[1][p] = CStringGetTextDatum(item->id);
		column[2][p] = text_or_empty(item->category);
		column[3][p] = Float4GetDatum(item->score);
		column[4][p] = Float8GetDatum(item->p_click);
		column[5][p] = Float8GetDatum(item->p_convert);
		column[6][p] = Float8GetDatum(item->p_click * item->p_convert * offer->value);
		column[7][p] = Float8GetDatum(places[p].propensity);
		column[8][p] = BoolGetDatum(places[p].explored);
		column[9][p] = text_or_empty(offer->reason);
		column[10][p] = Int64GetDatum(r->requests[item->module].model->id);
	}
	values[0] = Int64GetDatum(slate_id);
	values[1] = TimestampTzGetDatum(r->now);
	values[2] = CStringGetTextDatum(r->user_id);
	values[3] = Int32GetDatum(r->home ? r->home->id : 0);
	values[4] = Int64GetDatum(r->policy->id);
	values[5] = array_of(column[0], n, INT4OID);
	values[6] = array_of(column[1], n, TEXTOID);
	values[7] = array_of(column[2], n, TEXTOID);
	values[8] = array_of(column[3], n, FLOAT4OID);
	for (int c = 4; c < 8; c++)
		values[5 + c] = array_of(column[c], n, FLOAT8OID);
	values[13] = array_of(column[8], n, BOOLOID);
	values[14] = array_of(column[9], n, TEXTOID);
	values[15] = array_of(signal, n * KPX_SIGNALS, FLOAT4OID);
	values[16] = Int32GetDatum(KPX_SIGNALS);
	values[17] = array_of(column[10], n, INT8OID);
	kpx_catalog_execute_planned(&plan, "INSERT INTO kpx.impression SELECT $1, u.n, $2, $3, $4, u.module, u.item, nullif(u.category, ''), $5, u.score,"
									   " u.click, u.convert, u.value, u.propensity, u.explored, nullif(u.reason, ''),"
									   " $16[((u.n - 1) * $17 + 1)::int4 : (u.n * $17)::int4], nullif(u.model, 0)"
									   " FROM unnest($6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $18) WITH ORDINALITY"
									   " u(module, item, category, score, click, convert, value, propensity, explored, reason, model, n)",
								18, types, values, NULL, false);
}

int64
kpx_slate_write(KpxSlateRequest *r, const KpxPlace *places, int n)
{
	static SPIPlanPtr plan = NULL;
	KpxCatalog catalog;
	int64 slate_id;
	bool null;

	kpx_catalog_begin(&catalog, false);
	require_partitions(r->now);
	kpx_catalog_execute_planned(&plan, "SELECT nextval('kpx.slate_id_seq'::regclass)", 0, NULL, NULL, NULL, false);
	slate_id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	write_slate(r, slate_id);
	KPX_FAULT("slate");
	write_impressions(r, slate_id, places, n);
	kpx_catalog_end(&catalog);
	KPX_FAULT("impressions");
	return slate_id;
}

/* ------------------------------------------------------------ expiry */

/*
 * Both logs for us alone, until the transaction ends. Others take them in any order and hold on
 * to them (a transaction that gives feedback after it has looked at kpx_funnel, pg_dump), so we
 * hold neither while we wait for the other.
 */
static void
lock_logs(void)
{
	Oid namespace = get_namespace_oid("kpx", false);
	Oid log[] = {get_relname_relid("slate", namespace), get_relname_relid("impression", namespace)};

	for (int first = 0;; first = 1 - first)
	{
		CHECK_FOR_INTERRUPTS();
		LockRelationOid(log[first], AccessExclusiveLock);
		if (ConditionalLockRelationOid(log[1 - first], AccessExclusiveLock))
			return;
		UnlockRelationOid(log[first], AccessExclusiveLock);
	}
}

/* Months of both logs that lie before until, as committed now; inside kpx_catalog_begin. */
static char **
months_before(Datum until, MemoryContext context, int *n)
{
	Oid types[] = {TIMESTAMPTZOID};
	char **names;

	kpx_catalog_execute("SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
						" WHERE i.inhparent IN ('kpx.impression'::regclass, 'kpx.slate'::regclass)"
						" AND to_date(right(c.relname, 6), 'YYYYMM') < ($1 AT TIME ZONE 'UTC')::date ORDER BY 1",
						1, types, &until, NULL, false);
	*n = (int) SPI_processed;
	names = MemoryContextAlloc(context, sizeof(char *) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		names[i] = MemoryContextStrdup(context, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
	return names;
}

PG_FUNCTION_INFO_V1(kpx_expire_impressions);
Datum
kpx_expire_impressions(PG_FUNCTION_ARGS)
{
	Oid types[] = {INTERVALOID, TIMESTAMPTZOID};
	Datum values[] = {PG_GETARG_DATUM(0), TimestampTzGetDatum(kpx_transaction_start())};
	MemoryContext context = CurrentMemoryContext;
	KpxRegistry *registry = kpx_registry();
	KpxCatalog catalog;
	char **names;
	int n;
	bool null;
	Datum until;

	PreventCommandIfReadOnly("kpx_expire_impressions()");
	for (int m = 0; m < registry->n_modules; m++)
		kpx_require_owner(registry->modules[m].owner, "module", registry->modules[m].name);
	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("SELECT (date_trunc('month', ($2 - $1) AT TIME ZONE 'UTC')) AT TIME ZONE 'UTC', $1 >= '0'::interval", 2, types, values,
						NULL, true);
	until = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null);
	if (!DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"older_than\" must not be negative")));
	types[0] = TIMESTAMPTZOID;
	values[0] = until;
	names = months_before(until, context, &n);
	if (n > 0)
	{
		lock_logs();
		names = months_before(until, context, &n); /* another session may have dropped them */
	}
	for (int i = 0; i < n; i++)
		kpx_catalog_execute(psprintf("DROP TABLE kpx.%s", quote_identifier(names[i])), 0, NULL, NULL, NULL, false);
	KPX_FAULT("expire");
	kpx_catalog_execute("DELETE FROM kpx.feedback WHERE impression_at < $1", 1, types, values, NULL, false);
	kpx_catalog_execute("DELETE FROM kpx.item_rate WHERE month < ($1 AT TIME ZONE 'UTC')::date", 1, types, values, NULL, false);
	kpx_catalog_end(&catalog);
	PG_RETURN_INT64(n / 2);
}
