/*
 * items.c
 *	  Reading item tables, as the current user.
 */
#include "items.h"

#define ROWS_A_FETCH 1000

void
kpx_read_items(const char *sql, int nargs, Oid *types, Datum *values,
			   void (*take)(void *state, HeapTuple tuple, TupleDesc desc), void *state, const char *relation)
{
	SPIPlanPtr plan;
	Portal portal;
	MemoryContext outer = CurrentMemoryContext;

	SPI_connect();
	plan = SPI_prepare(sql, nargs, types);
	if (plan == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot read %s: %s", relation, SPI_result_code_string(SPI_result))));
	portal = SPI_cursor_open(NULL, plan, values, NULL, true);
	for (;;)
	{
		SPITupleTable *table;
		uint64 n;

		SPI_cursor_fetch(portal, true, ROWS_A_FETCH);
		table = SPI_tuptable;
		n = SPI_processed;
		if (n == 0)
			break;
		for (uint64 i = 0; i < n; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(outer);

			CHECK_FOR_INTERRUPTS();
			take(state, table->vals[i], table->tupdesc);
			MemoryContextSwitchTo(old);
		}
		SPI_freetuptable(table);
	}
	SPI_cursor_close(portal);
	SPI_finish();
}

typedef struct IdReader
{
	KpxIdMap *map;
	KpxIdKind kind;
} IdReader;

static void
take_id(void *state, HeapTuple tuple, TupleDesc desc)
{
	IdReader *r = state;
	bool null;
	Datum stored = SPI_getbinval(tuple, desc, 1, &null);
	Datum id = stored;

	if (null)
		return;
	if (r->kind == KPX_ID_TEXT)
		id = PointerGetDatum(PG_DETOAST_DATUM_PACKED(stored));
	(void) kpx_idmap_add(r->map, kpx_id_from_datum(r->kind, kpx_id_kind_type(r->kind), id));
	if (id != stored)
		pfree(DatumGetPointer(id));
}

void
kpx_items_add_ids(const KpxModule *module, KpxIdMap *map)
{
	IdReader r = {map, kpx_module_item_kind(module)};
	char *relation = kpx_relation_sql(module->items, module->items_name, "module", module->name);

	kpx_read_items(psprintf("SELECT i.%s::pg_catalog.%s FROM %s i", quote_identifier(module->item_id),
							r.kind == KPX_ID_INT ? "int8" : r.kind == KPX_ID_UUID ? "uuid"
																				  : "text",
							relation),
				   0, NULL, NULL, take_id, &r, relation);
}
