/*
 * catalog_rows.c
 *	  Rows of our own tables without the executor.
 */
#include "catalog_rows.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

void
kpx_rows_begin(void)
{
	PushActiveSnapshot(GetCatalogSnapshot(kpx_schema()));
}

void
kpx_rows_end(void)
{
	PopActiveSnapshot();
}

static AttrNumber
column_number(TupleDesc desc, const char *column)
{
	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped && strcmp(NameStr(TupleDescAttr(desc, i)->attname), column) == 0)
			return (AttrNumber) (i + 1);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN), errmsg("a table of kpxrec has no column \"%s\"", column),
			 errhint("Run ALTER EXTENSION kpxrec UPDATE.")));
}

static Oid
primary_key(Relation relation)
{
#if PG_VERSION_NUM >= 180000
	return RelationGetPrimaryKeyIndex(relation, false);
#else
	return RelationGetPrimaryKeyIndex(relation);
#endif
}

/* What rows are ordered by. */
typedef struct Order
{
	TupleDesc desc;
	AttrNumber column;
} Order;

static int64
place(HeapTuple row, const Order *order)
{
	bool null;
	Datum value = heap_getattr(row, order->column, order->desc, &null);

	return TupleDescAttr(order->desc, order->column - 1)->atttypid == INT4OID ? DatumGetInt32(value) : DatumGetInt64(value);
}

static int
compare_rows(const void *a, const void *b, void *order)
{
	int64 x = place(*(const HeapTuple *) a, order);
	int64 y = place(*(const HeapTuple *) b, order);

	return x < y ? -1 : x > y;
}

static KpxRows
read_rows(const char *table, const char *column, int64 key, const char *order)
{
	Oid oid = get_relname_relid(table, kpx_schema());
	KpxRows rows = {0};
	Relation relation;
	SysScanDesc scan;
	ScanKeyData where;
	HeapTuple tuple;
	int room = 16;

	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table kpx.%s does not exist", table),
				 errhint("Run ALTER EXTENSION kpxrec UPDATE.")));
	relation = table_open(oid, AccessShareLock);
	rows.desc = CreateTupleDescCopy(RelationGetDescr(relation));
	rows.row = palloc(sizeof(HeapTuple) * room);
	if (column)
		ScanKeyInit(&where, column_number(rows.desc, column), BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(key));
	scan = systable_beginscan(relation, column ? primary_key(relation) : InvalidOid, column != NULL, GetActiveSnapshot(),
							  column ? 1 : 0, &where);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		if (rows.n == room)
			rows.row = repalloc(rows.row, sizeof(HeapTuple) * (size_t) (room *= 2));
		rows.row[rows.n++] = heap_copytuple(tuple);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	if (order && rows.n > 1)
	{
		Order by = {rows.desc, column_number(rows.desc, order)};

		qsort_arg(rows.row, (size_t) rows.n, sizeof(HeapTuple), compare_rows, &by);
	}
	return rows;
}

KpxRows
kpx_rows(const char *table, const char *order)
{
	return read_rows(table, NULL, 0, order);
}

KpxRows
kpx_rows_where(const char *table, const char *column, int64 key, const char *order)
{
	return read_rows(table, column, key, order);
}

Datum
kpx_rows_value(const KpxRows *rows, int row, const char *column, bool *null)
{
	bool is_null;
	Datum value = heap_getattr(rows->row[row], column_number(rows->desc, column), rows->desc, &is_null);

	if (null)
		*null = is_null;
	return value;
}

char *
kpx_rows_text(const KpxRows *rows, int row, const char *column, MemoryContext context)
{
	AttrNumber number = column_number(rows->desc, column);
	bool null;
	Datum value = heap_getattr(rows->row[row], number, rows->desc, &null);

	if (null)
		return NULL;
	return MemoryContextStrdup(context, TupleDescAttr(rows->desc, number - 1)->atttypid == NAMEOID ? NameStr(*DatumGetName(value))
																								   : TextDatumGetCString(value));
}
