/*
 * catalog_rows.h
 *	  Rows of our own tables without the executor.
 *
 * A statement costs a new session half a millisecond before it runs: it is parsed, planned, and every name
 * in it looked up. What an answer must know of modules and models are whole small tables, which are read as the
 * server reads its catalogs instead.
 */
#ifndef KPX_CATALOG_ROWS_H
#define KPX_CATALOG_ROWS_H

#include "kpxrec.h"

#include "access/htup.h"
#include "access/tupdesc.h"

/* Copies of rows, in the context that was current. */
typedef struct KpxRows
{
	TupleDesc desc;
	int n;
	HeapTuple *row;
} KpxRows;

/* Reads between these see one state of the tables, the newest. */
extern void kpx_rows_begin(void);
extern void kpx_rows_end(void);

/*
 * All rows of kpx.table, by an integer or bigint column, or in no order when order is NULL. Whoever calls vouches for
 * what becomes of them: nobody's privileges are asked.
 */
extern KpxRows kpx_rows(const char *table, const char *order);

/* Those whose bigint column, the first of the primary key, is key. */
extern KpxRows kpx_rows_where(const char *table, const char *column, int64 key, const char *order);

/* A value; null may be NULL where the column never is. */
extern Datum kpx_rows_value(const KpxRows *rows, int row, const char *column, bool *null);

/* A text or name as a C string in context; NULL for NULL. */
extern char *kpx_rows_text(const KpxRows *rows, int row, const char *column, MemoryContext context);

#endif /* KPX_CATALOG_ROWS_H */
