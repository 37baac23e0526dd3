/*
 * ingest_source.c
 *	  Event sources: what the catalog says of them, and times of events.
 */
#include "ingest_reader.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "clock.h"

double
kpx_event_age(TimestampTz occurred_at)
{
	return ((double) kpx_transaction_start() - (double) occurred_at) / USECS_PER_SEC;
}

uint32
kpx_event_second(TimestampTz occurred_at)
{
	int64 second = occurred_at / USECS_PER_SEC;

	return second < 1 ? 1 : second > PG_UINT32_MAX ? PG_UINT32_MAX
												   : (uint32) second;
}

void
kpx_window_add(KpxWindow *window, TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at) || at > GetCurrentTransactionStartTimestamp())
		return;
	window->oldest = Min(window->oldest, at);
	window->at_newest = at > window->newest ? 1 : window->at_newest + (at == window->newest);
	window->newest = Max(window->newest, at);
}

/* A column may have been altered since it was registered: a cast must not guess. */
static void
require_category(const char *column, Oid type, char expected, const char *relation_sql, const char *what)
{
	char category;
	bool preferred;

	get_type_category_preferred(getBaseType(type), &category, &preferred);
	if (category != expected)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of relation %s has type %s, expected %s", column, relation_sql,
						format_type_be(type), what),
				 errhint("Mend the type, or register a view that casts it.")));
}

KpxIdKind
kpx_source_check(const KpxModule *module, const KpxSource *source, KpxIdKind *user_kind, char **relation_sql)
{
	char *what = psprintf("event source %d of module", source->id);
	KpxIdKind items = kpx_module_item_kind(module);
	KpxIdKind kind;

	*relation_sql = kpx_relation_sql(source->relation, source->relation_name, what, module->name);
	*user_kind = kpx_require_id_kind(kpx_column_type(source->relation, source->user_id),
									 psprintf("column \"%s\" of relation %s", source->user_id, *relation_sql));
	if (source->occurred_at)
		require_category(source->occurred_at, kpx_column_type(source->relation, source->occurred_at),
						 TYPCATEGORY_DATETIME, *relation_sql, "timestamptz, timestamp or date");
	if (source->weight_column)
		require_category(source->weight_column, kpx_column_type(source->relation, source->weight_column),
						 TYPCATEGORY_NUMERIC, *relation_sql, "a number");
	kind = kpx_require_id_kind(kpx_column_type(source->relation, source->item_id),
							   psprintf("column \"%s\" of relation %s", source->item_id, *relation_sql));
	if (kind != items)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of relation %s holds %s ids, the items of module \"%s\" have %s ids",
						source->item_id, *relation_sql, kpx_id_kind_name(kind), module->name, kpx_id_kind_name(items)),
				 errhint("Mend the type, or register a view that casts it.")));
	return kind;
}

KpxIdKind
kpx_user_kind(KpxModule **modules, int n_modules)
{
	KpxIdKind kind = KPX_ID_INT;
	const KpxSource *first = NULL;

	for (int m = 0; m < n_modules; m++)
		for (int s = 0; s < modules[m]->n_sources; s++)
		{
			const KpxSource *source = &modules[m]->sources[s];
			char *sql;
			KpxIdKind this_kind;

			(void) kpx_source_check(modules[m], source, &this_kind, &sql);
			if (first && this_kind != kind)
				ereport(ERROR,
						(errcode(ERRCODE_DATATYPE_MISMATCH),
						 errmsg("user ids of event sources %d and %d cannot be compared", first->id, source->id),
						 errdetail("%s has %s ids, %s has %s ids.", first->relation_name, kpx_id_kind_name(kind),
								   source->relation_name, kpx_id_kind_name(this_kind)),
						 errhint("Register a view that casts one of them.")));
			kind = this_kind;
			first = source;
		}
	return kind;
}

uint64
kpx_estimated_rows(KpxModule **modules, int n_modules)
{
	double total = 0;

	for (int m = 0; m < n_modules; m++)
		for (int s = 0; s < modules[m]->n_sources; s++)
		{
			HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(modules[m]->sources[s].relation));
			float4 rows = HeapTupleIsValid(tuple) ? ((Form_pg_class) GETSTRUCT(tuple))->reltuples : -1;

			if (HeapTupleIsValid(tuple))
				ReleaseSysCache(tuple);
			if (!(rows > 0))
				return 0;
			total += rows;
		}
	return (uint64) total;
}
