/*
 * history.c
 *	  A user's interactions, read from the event sources at call time.
 *
 * Plain queries as the current user, so that privileges, row-level security and what
 * this very transaction has written count. Plans are prepared once a session and
 * source; the server replans them when tables, roles or policies change.
 */
#include "history.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "core/ingest.h"
#include "consent.h"
#include "ingest.h"
#include "users.h"

/* One row of a history before duplicates are added up. */
typedef struct Entry
{
	uint32 user;
	uint32 item;
	float weight;
	uint32 time;
	bool hides;
} Entry;

typedef struct Entries
{
	MemoryContext context;
	Entry *entry;
	size_t n;
	size_t size;
} Entries;

static void
add_entry(Entries *entries, Entry entry)
{
	if (entries->n == entries->size)
	{
		size_t size = Max(64, entries->size * 2);
		Entry *bigger = kpx_alloc(entries->context, size, sizeof(Entry));

		if (entries->n)
		{
			memcpy(bigger, entries->entry, entries->n * sizeof(Entry));
			pfree(entries->entry);
		}
		entries->entry = bigger;
		entries->size = size;
	}
	entries->entry[entries->n++] = entry;
}

const char *
kpx_and_same_bytes(Oid relation, const char *alias, const char *column, const char *value)
{
	HeapTuple tuple = SearchSysCacheAttName(relation, column);
	Oid collation = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		collation = ((Form_pg_attribute) GETSTRUCT(tuple))->attcollation;
		ReleaseSysCache(tuple);
	}
	if (!OidIsValid(collation) || get_collation_isdeterministic(collation))
		return "";
	return psprintf(" AND %s.%s::pg_catalog.text COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) %s COLLATE pg_catalog.\"C\"",
					alias, quote_identifier(column), value);
}

/*
 * SELECT u.n, h.* FROM unnest($1) WITH ORDINALITY u, LATERAL (newest rows of u). For one
 * user the planner sees through it no worse than through a plain query with LIMIT.
 */
static char *
history_sql(const KpxSource *source, const char *relation, bool many)
{
	StringInfoData sql;
	const char *user = quote_identifier(source->user_id);

	initStringInfo(&sql);
	if (many)
		appendStringInfoString(&sql, "SELECT u.n::pg_catalog.int4, h.* FROM pg_catalog.unnest($1) WITH ORDINALITY u(id, n), LATERAL (");
	appendStringInfo(&sql, "SELECT %s e.%s::pg_catalog.%s AS item", many ? "" : "1::pg_catalog.int4, ",
					 quote_identifier(source->item_id),
					 source->item_kind == KPX_ID_INT ? "int8" : source->item_kind == KPX_ID_UUID ? "uuid"
																								 : "text");
	if (source->weight_column)
		appendStringInfo(&sql, ", e.%s::pg_catalog.float8", quote_identifier(source->weight_column));
	else
		appendStringInfoString(&sql, ", NULL::pg_catalog.float8");
	if (source->occurred_at)
		appendStringInfo(&sql, ", e.%s::pg_catalog.timestamptz", quote_identifier(source->occurred_at));
	else
		appendStringInfoString(&sql, ", NULL::pg_catalog.timestamptz");
	appendStringInfo(&sql, " FROM %s e WHERE e.%s OPERATOR(pg_catalog.=) %s%s", relation, user, many ? "u.id" : "$1",
					 kpx_and_same_bytes(source->relation, "e", source->user_id, many ? "u.id" : "$1"));
	if (source->occurred_at)
		appendStringInfo(&sql, " ORDER BY e.%s %s", quote_identifier(source->occurred_at),
						 kpx_newest_first(source->relation, source->occurred_at));
	appendStringInfo(&sql, " LIMIT $2%s", many ? ") h" : "");
	return sql.data;
}

static SPIPlanPtr
prepare(const char *sql, int n, Oid *types)
{
	SPIPlanPtr plan = SPI_prepare(sql, n, types);

	if (plan == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot prepare the query of an event source: %s", SPI_result_code_string(SPI_result))));
	return plan;
}

/* Weight of a history row; raises what ingest would. */
static double
row_weight(const KpxSource *source, double observed, Datum factor, bool factor_null, TimestampTz at, bool at_null)
{
	double weight = source->weight * observed;

	if (!factor_null)
	{
		double f = DatumGetFloat8(factor);

		if (!(f >= 0) || isinf(f))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" of relation %s holds a weight that is NaN, infinite or negative",
							source->weight_column, source->relation_name)));
		weight *= f;
	}
	if (!at_null && source->half_life > 0)
		weight *= kpx_decay(kpx_event_age(at), source->half_life);
	return Min(weight, 1e30);
}

static void
take_rows(Entries *entries, const KpxModule *module, const KpxModelModule *trained, const KpxSource *source, const bool *allowed)
{
	SPITupleTable *table = SPI_tuptable;

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool null,
			factor_null,
			at_null;
		int user = DatumGetInt32(SPI_getbinval(table->vals[i], table->tupdesc, 1, &null)) - 1;
		Datum item = SPI_getbinval(table->vals[i], table->tupdesc, 2, &null);
		Datum factor = SPI_getbinval(table->vals[i], table->tupdesc, 3, &factor_null);
		TimestampTz at = DatumGetTimestampTz(SPI_getbinval(table->vals[i], table->tupdesc, 4, &at_null));
		Entry entry = {(uint32) user, 0, 0, 0, source->hides};
		int64 index;

		if (null || !allowed[user])
			continue;
		if (source->item_kind == KPX_ID_TEXT)
			item = PointerGetDatum(PG_DETOAST_DATUM_PACKED(item));
		index = kpx_ids_find(&trained->ids, kpx_id_from_datum(source->item_kind, kpx_id_kind_type(source->item_kind), item));
		if (index < 0)
			continue;
		if (!at_null && source->half_life > 0 && TIMESTAMP_NOT_FINITE(at))
			ereport(ERROR,
					(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					 errmsg("column \"%s\" of relation %s holds an infinite time", source->occurred_at, source->relation_name)));
		entry.item = trained->base + (uint32) index;
		entry.weight = (float) row_weight(source, trained->observed, factor, factor_null, at, at_null);
		entry.time = at_null ? 0 : kpx_event_second(at);
		if (module->repeat_after >= 0 && !at_null && kpx_event_age(at) >= module->repeat_after)
			entry.hides = false;
		add_entry(entries, entry);
	}
}

/* Runs the query for a source's newest rows of these users; its rows are in SPI_tuptable. */
static void
query_source(const KpxModule *module, KpxSource *source, KpxIdKind item_kind, Datum users, KpxIdKind kind, bool many)
{
	Oid types[] = {many ? get_array_type(kpx_id_kind_type(kind)) : kpx_id_kind_type(kind), INT8OID};
	Datum values[] = {users, Int64GetDatum(kpx_history_limit)};
	SPIPlanPtr plan = many ? NULL : source->history_plan;
	char *relation = NULL;
	int result;

	if (plan == NULL)
		source->item_kind = kpx_source_check(module, source, &source->user_kind, &relation);
	if (source->user_kind != kind || source->item_kind != item_kind)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("ids of relation %s are of another kind than when the model was trained", relation ? relation : source->relation_name),
				 errdetail("Users: %s, expected %s; items: %s, expected %s.", kpx_id_kind_name(source->user_kind),
						   kpx_id_kind_name(kind), kpx_id_kind_name(source->item_kind), kpx_id_kind_name(item_kind)),
				 errhint("Train again, or mend the type.")));
	if (plan == NULL)
	{
		plan = prepare(history_sql(source, relation, many), 2, types);
		if (!many)
		{
			SPI_keepplan(plan);
			source->history_plan = plan;
		}
	}
	result = SPI_execute_plan(plan, values, NULL, true, 0);
	if (result != SPI_OK_SELECT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot read %s: %s", source->relation_name, SPI_result_code_string(result))));
}

static void
read_source(Entries *entries, const KpxModule *module, const KpxModelModule *trained, KpxSource *source,
			Datum users, KpxIdKind kind, bool many, const bool *allowed)
{
	query_source(module, source, trained->ids.kind, users, kind, many);
	take_rows(entries, module, trained, source, allowed);
	SPI_freetuptable(SPI_tuptable);
}

static int
compare_entries(const void *a, const void *b)
{
	const Entry *x = a;
	const Entry *y = b;

	if (x->user != y->user)
		return x->user < y->user ? -1 : 1;
	return x->item < y->item ? -1 : x->item > y->item;
}

/* Sorted entries of one user to a history: duplicates added up, weightless ones only hide. */
static void
add_up(KpxHistory *history, const Entry *entry, size_t n)
{
	history->index = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(uint32));
	history->weight = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(float));
	history->time = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(uint32));
	history->hidden = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(uint32));
	history->n = history->n_hidden = 0;
	for (size_t i = 0; i < n;)
	{
		double weight = 0;
		uint32 time = 0;
		bool hides = false;
		size_t j = i;

		for (; j < n && entry[j].item == entry[i].item; j++)
		{
			weight += entry[j].weight;
			hides |= entry[j].hides;
			time = Max(time, entry[j].time);
		}
		if ((float) weight > 0)
		{
			history->index[history->n] = entry[i].item;
			history->time[history->n] = time;
			history->weight[history->n++] = (float) weight;
		}
		if (hides)
			history->hidden[history->n_hidden++] = entry[i].item;
		i = j;
	}
}

void
kpx_history_fade(KpxHistory *history, const KpxModel *model)
{
	uint32 newest = 0;
	int m = 0;

	if (history->time == NULL)
		return;
	for (uint32 i = 0; i < history->n; i++)
		newest = Max(newest, history->time[i]);
	for (uint32 i = 0; i < history->n; i++)
	{
		while (history->index[i] >= model->modules[m].base + model->modules[m].items)
			m++;
		/* Never to nothing: weights must stay above zero. */
		if (model->modules[m].half_life > 0 && history->time[i] > 0)
			history->weight[i] = Max(history->weight[i] * (float) kpx_decay(newest - history->time[i], model->modules[m].half_life), 1e-30f);
	}
}

/* Which of the users let module's events be used: allowed[n_users]; NULL when none does. */
static bool *
who_allows(KpxConsents *consents, const KpxModule *module, const KpxModule *target, const KpxId *users, int n_users)
{
	bool *allowed = palloc(sizeof(bool) * Max(n_users, 1));
	bool any = false;

	for (int u = 0; u < n_users; u++)
		any |= allowed[u] = kpx_consents_allow(consents, users[u], module, target);
	return any ? allowed : NULL;
}

KpxHistory *
kpx_history_read(KpxRegistry *registry, const KpxModel *model, const KpxModule *target, const KpxId *users, int n_users, KpxIdKind kind,
				 KpxPurpose purpose)
{
	KpxHistory *histories = kpx_alloc(CurrentMemoryContext, Max(n_users, 1), sizeof(KpxHistory));
	Entries entries = {CurrentMemoryContext, NULL, 0, 0};
	Datum users_datum = n_users == 1 ? kpx_id_to_datum(kind, users[0], kpx_id_kind_type(kind)) : kpx_id_array(kind, users, n_users);
	KpxModule **registered;
	int n_registered = kpx_registered_modules(registry, model, &registered);
	KpxConsents *consents = kpx_consents_read(registry, purpose, registered, n_registered, kind, users, n_users);
	size_t begin = 0;

	SPI_connect();
	for (int m = 0; m < model->n_modules; m++)
	{
		KpxModule *module = kpx_find_module_by_id(registry, model->modules[m].module_id);
		const bool *allowed;

		if (module == NULL || model->modules[m].items == 0 ||
			(allowed = who_allows(consents, module, target, users, n_users)) == NULL)
			continue;
		for (int s = 0; s < module->n_sources; s++)
			read_source(&entries, module, &model->modules[m], &module->sources[s], users_datum, kind, n_users != 1, allowed);
	}
	SPI_finish();
	if (entries.n > 1)
		qsort(entries.entry, entries.n, sizeof(Entry), compare_entries);
	for (int u = 0; u < n_users; u++)
	{
		size_t end = begin;

		while (end < entries.n && entries.entry[end].user == (uint32) u)
			end++;
		add_up(&histories[u], entries.entry + begin, end - begin);
		kpx_history_fade(&histories[u], model);
		begin = end;
	}
	return histories;
}

KpxPastItem *
kpx_history_items(KpxModule *module, KpxId user, KpxIdKind kind, int *n)
{
	KpxIdKind item_kind = kpx_module_item_kind(module);
	MemoryContext context = CurrentMemoryContext;
	KpxPastItem *items = NULL;
	Datum user_datum = kpx_id_to_datum(kind, user, kpx_id_kind_type(kind));

	*n = 0;
	SPI_connect();
	for (int s = 0; s < module->n_sources; s++)
	{
		KpxSource *source = &module->sources[s];
		MemoryContext old;

		query_source(module, source, item_kind, user_datum, kind, false);
		old = MemoryContextSwitchTo(context);
		items = items ? repalloc_huge(items, sizeof(KpxPastItem) * (*n + SPI_processed + 1)) : kpx_alloc(context, SPI_processed + 1, sizeof(KpxPastItem));
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool null;
			bool factor_null;
			bool at_null;
			Datum item = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &null);
			Datum factor = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 3, &factor_null);
			TimestampTz at = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 4, &at_null));

			if (null || (!factor_null && !(DatumGetFloat8(factor) > 0)))
				continue;
			if (item_kind == KPX_ID_TEXT)
				item = PointerGetDatum(PG_DETOAST_DATUM_PACKED(item));
			items[*n].item = kpx_id_to_cstring(item_kind, kpx_id_from_datum(item_kind, kpx_id_kind_type(item_kind), item));
			items[(*n)++].hides = source->hides && !(module->repeat_after >= 0 && !at_null && kpx_event_age(at) >= module->repeat_after);
		}
		MemoryContextSwitchTo(old);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_finish();
	return items;
}

KpxHistory
kpx_history_from_items(const KpxModelModule *module, const KpxId *items, int n)
{
	KpxHistory history;
	Entry *entry = palloc(sizeof(Entry) * Max(n, 1));
	size_t known = 0;

	for (int i = 0; i < n; i++)
	{
		int64 index = kpx_ids_find(&module->ids, items[i]);

		if (index >= 0)
			entry[known++] = (Entry){0, module->base + (uint32) index, (float) module->observed, 0, true};
	}
	qsort(entry, known, sizeof(Entry), compare_entries);
	add_up(&history, entry, known);
	return history;
}

KpxIdKind
kpx_model_user_kind(KpxRegistry *registry, const KpxModel *model)
{
	KpxIdKind kind = KPX_ID_INT;

	for (int m = 0; m < model->n_modules; m++)
	{
		KpxModule *module = kpx_find_module_by_id(registry, model->modules[m].module_id);

		if (module && module->n_sources > 0)
		{
			KpxSource *source = &module->sources[0];
			char *relation;

			if (source->history_plan)
				return source->user_kind;
			(void) kpx_source_check(module, source, &kind, &relation);
			return kind;
		}
	}
	return kind;
}

void
kpx_items_available(KpxModule *module, KpxIdKind kind, const KpxId *items, int n, bool *keep)
{
	Datum values[1];

	SPI_connect();
	if (module->available_plan == NULL)
	{
		StringInfoData sql;
		char *relation = kpx_relation_sql(module->items, module->items_name, "module", module->name);
		Oid types[1];

		module->item_kind = kpx_module_item_kind(module);
		if (module->item_kind != kind)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("item ids of %s are of another kind than when the model was trained", relation),
					 errhint("Train again, or mend the type.")));
		types[0] = get_array_type(kpx_id_kind_type(kind));
		initStringInfo(&sql);
		appendStringInfo(&sql, "SELECT u.n::pg_catalog.int4 FROM pg_catalog.unnest($1) WITH ORDINALITY u(id, n)"
							   " WHERE EXISTS (SELECT FROM %s i WHERE i.%s OPERATOR(pg_catalog.=) u.id%s%s%s%s)",
						 relation, quote_identifier(module->item_id),
						 kpx_and_same_bytes(module->items, "i", module->item_id, "u.id"), module->available ? " AND i." : "",
						 module->available ? quote_identifier(module->available) : "",
						 module->available ? " IS TRUE" : "");
		if (module->available)
			(void) kpx_column_type(module->items, module->available);
		module->available_plan = prepare(sql.data, 1, types);
		SPI_keepplan(module->available_plan);
	}
	values[0] = kpx_id_array(kind, items, n);
	memset(keep, 0, sizeof(bool) * n);
	if (SPI_execute_plan(module->available_plan, values, NULL, true, 0) != SPI_OK_SELECT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("cannot read %s", module->items_name)));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool null;

		keep[DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &null)) - 1] = true;
	}
	SPI_finish();
}
