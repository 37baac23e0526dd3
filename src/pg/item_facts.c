/*
 * item_facts.c
 *	  What item tables say of items, in the columns that registration has named.
 */
#include "item_facts.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

KpxItemColumns *
kpx_item_columns(KpxModule **modules, int n)
{
	MemoryContext context = CurrentMemoryContext;
	KpxItemColumns *columns = palloc0(sizeof(KpxItemColumns) * Max(n, 1));
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT id, price, category FROM kpx.module", 0, NULL, NULL, NULL, true);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool null;
		int id = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1, &null));

		for (int m = 0; m < n; m++)
			if (modules[m]->id == id)
			{
				char *price = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 2);
				char *category = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 3);

				columns[m].price = price ? MemoryContextStrdup(context, price) : NULL;
				columns[m].category = category ? MemoryContextStrdup(context, category) : NULL;
			}
	}
	kpx_catalog_end(&catalog);
	return columns;
}

/* SELECT u.n, price, category, boost FROM unnest($1) u JOIN items. */
static char *
facts_sql(const KpxModule *module, const KpxItemColumns *columns, const char *boost)
{
	Oid id_type = getBaseType(kpx_column_type(module->items, module->item_id));

	return psprintf("SELECT u.n::pg_catalog.int4, %s%s%s, %s%s%s, %s%s%s FROM pg_catalog.unnest($1) WITH ORDINALITY u(id, n)"
					" JOIN %s i ON i.%s OPERATOR(pg_catalog.=) u.id::%s",
					columns->price ? "i." : "", columns->price ? quote_identifier(columns->price) : "NULL", "::pg_catalog.float8",
					columns->category ? "i." : "", columns->category ? quote_identifier(columns->category) : "NULL", "::pg_catalog.text",
					boost ? "i." : "", boost ? quote_identifier(boost) : "1", "::pg_catalog.float8",
					kpx_relation_sql(module->items, module->items_name, "module", module->name),
					quote_identifier(module->item_id), format_type_be_qualified(id_type));
}

static void
take_fact(HeapTuple tuple, TupleDesc desc, const KpxModule *module, const char *boost, MemoryContext context, KpxItemFacts *facts)
{
	bool null;
	KpxItemFacts *fact = &facts[DatumGetInt32(SPI_getbinval(tuple, desc, 1, &null)) - 1];
	double number = DatumGetFloat8(SPI_getbinval(tuple, desc, 2, &null));
	char *category = SPI_getvalue(tuple, desc, 3);

	fact->price = null ? NAN : number;
	fact->category = category ? MemoryContextStrdup(context, category) : NULL;
	number = DatumGetFloat8(SPI_getbinval(tuple, desc, 4, &null));
	if (!null && !(number >= 0 && number <= 1e6))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" of %s holds the boost %g, expected 0 to 1e6", boost, module->items_name, number)));
	fact->boost = null ? 1 : number;
}

KpxItemFacts *
kpx_item_facts(const KpxModule *module, const KpxItemColumns *columns, const char *boost, char **ids, int n)
{
	MemoryContext context = CurrentMemoryContext;
	KpxItemFacts *facts = kpx_alloc(context, Max(n, 1), sizeof(KpxItemFacts));
	Oid types[] = {TEXTARRAYOID};
	Datum *elements = kpx_alloc(context, Max(n, 1), sizeof(Datum));
	Datum values[1];

	for (int i = 0; i < n; i++)
		facts[i] = (KpxItemFacts){NAN, NULL, 1};
	if (n == 0 || (!columns->price && !columns->category && !boost))
		return facts;
	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(ids[i]);
	values[0] = PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
	SPI_connect();
	if (SPI_execute_with_args(facts_sql(module, columns, boost), 1, types, values, NULL, true, 0) != SPI_OK_SELECT)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("cannot read %s", module->items_name)));
	for (uint64 row = 0; row < SPI_processed; row++)
		take_fact(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, module, boost, context, facts);
	SPI_finish();
	return facts;
}
