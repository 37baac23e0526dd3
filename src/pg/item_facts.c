/*
 * item_facts.c
 *	  What item tables say of items, in the columns that registration has named.
 */
#include "item_facts.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

/* SELECT u.n, price, category, boost FROM unnest($1) u JOIN items. */
static char *
facts_sql(const KpxModule *module, const char *boost)
{
	Oid id_type = getBaseType(kpx_column_type(module->items, module->item_id));

	return psprintf("SELECT u.n::pg_catalog.int4, %s%s%s, %s%s%s, %s%s%s FROM pg_catalog.unnest($1) WITH ORDINALITY u(id, n)"
					" JOIN %s i ON i.%s OPERATOR(pg_catalog.=) u.id::%s",
					module->price ? "i." : "", module->price ? quote_identifier(module->price) : "NULL", "::pg_catalog.float8",
					module->category ? "i." : "", module->category ? quote_identifier(module->category) : "NULL", "::pg_catalog.text",
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

/*
 * The module's query: planned once a session without a boost, and once with the first boost that is
 * asked for; with another, each time. None is freed before the registry is: it may be running.
 */
static SPIPlanPtr
facts_plan(KpxModule *module, const char *boost)
{
	Oid types[] = {TEXTARRAYOID};
	SPIPlanPtr *kept = boost ? &module->boosted_facts_plan : &module->facts_plan;
	SPIPlanPtr plan;

	if (*kept && (boost == NULL || strcmp(boost, module->boost) == 0))
		return *kept;
	plan = SPI_prepare(facts_sql(module, boost), 1, types);
	if (plan == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot read %s: %s", module->items_name, SPI_result_code_string(SPI_result))));
	if (*kept == NULL)
	{
		if (boost)
			module->boost = MemoryContextStrdup(GetMemoryChunkContext(module->name), boost);
		SPI_keepplan(plan);
		*kept = plan;
	}
	return plan;
}

KpxItemFacts *
kpx_item_facts(KpxModule *module, const char *boost, char **ids, int n)
{
	MemoryContext context = CurrentMemoryContext;
	KpxItemFacts *facts = kpx_alloc(context, Max(n, 1), sizeof(KpxItemFacts));
	Datum *elements = kpx_alloc(context, Max(n, 1), sizeof(Datum));
	Datum values[1];

	for (int i = 0; i < n; i++)
		facts[i] = (KpxItemFacts){NAN, NULL, 1};
	if (n == 0 || (!module->price && !module->category && !boost))
		return facts;
	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(ids[i]);
	values[0] = PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
	SPI_connect();
	if (SPI_execute_plan(facts_plan(module, boost), values, NULL, true, 0) != SPI_OK_SELECT)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("cannot read %s", module->items_name)));
	for (uint64 row = 0; row < SPI_processed; row++)
		take_fact(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, module, boost, context, facts);
	SPI_finish();
	return facts;
}
