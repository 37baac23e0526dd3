/*
 * profile_read.c
 *	  The profiles of users, from the registered event sources, one after the other.
 *
 * One query over all sources of all modules, run by the executor as the current user: each
 * source's rows as arguments of kpx_profile_agg, grouped and sorted by user. The server may
 * run it in parallel. Its rows go through a DestReceiver to the caller's sink.
 *
 * Times before 1970 and more than a day ahead are taken as unknown (kpx_data_quality counts
 * them); rows without a user or an item are passed over.
 */
#include "profile.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "tcop/dest.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "history.h"
#include "ingest.h"

/* Of a column of ids: texts are grouped by their bytes, in whatever collations the columns are. */
static const char *
kind_cast(KpxIdKind kind)
{
	static const char *const casts[] = {"pg_catalog.int8", "pg_catalog.uuid", "pg_catalog.text COLLATE pg_catalog.\"C\""};

	return casts[kind];
}

static const char *
kind_type(KpxIdKind kind)
{
	static const char *const names[] = {"pg_catalog.int8", "pg_catalog.uuid", "pg_catalog.text"};

	return names[kind];
}

/* A column that may not be there: e.column::type, or NULL of this type. */
static void
append_column(StringInfo sql, const char *column, const char *type)
{
	if (column)
		appendStringInfo(sql, ", e.%s::pg_catalog.%s", quote_identifier(column), type);
	else
		appendStringInfo(sql, ", NULL::pg_catalog.%s", type);
}

static void
append_time(StringInfo sql, const KpxSource *source)
{
	const char *column;

	if (source->occurred_at == NULL)
	{
		appendStringInfoString(sql, ", NULL::pg_catalog.timestamptz");
		return;
	}
	column = psprintf("e.%s::pg_catalog.timestamptz", quote_identifier(source->occurred_at));
	appendStringInfo(sql, ", CASE WHEN %s OPERATOR(pg_catalog.>=) '1970-01-01 00:00:00+00'::pg_catalog.timestamptz"
						  " AND %s OPERATOR(pg_catalog.<=) (pg_catalog.now() OPERATOR(pg_catalog.+) '1 day'::pg_catalog.interval)"
						  " THEN %s END",
					 column, column, column);
}

static bool
is_interval(const KpxSource *source)
{
	return source->duration && getBaseType(kpx_column_type(source->relation, source->duration)) == INTERVALOID;
}

/*
 * item:module/id, and category:x if the module has categories: joined for all users, looked up
 * for one. Item tables may be views with an id twice; an event counts once nevertheless.
 */
static void
append_features(StringInfo sql, const KpxModule *module, const KpxSource *source, bool one)
{
	appendStringInfo(sql, ", ARRAY[%s OPERATOR(pg_catalog.||) e.%s::pg_catalog.text",
					 quote_literal_cstr(psprintf("item:%s/", module->name)), quote_identifier(source->item_id));
	if (module->category && one)
		appendStringInfo(sql, ", 'category:' OPERATOR(pg_catalog.||) (SELECT pg_catalog.min(i.%s::pg_catalog.text) FROM %s i"
							  " WHERE i.%s OPERATOR(pg_catalog.=) e.%s%s)",
						 quote_identifier(module->category),
						 kpx_relation_sql(module->items, module->items_name, "module", module->name),
						 quote_identifier(module->item_id), quote_identifier(source->item_id),
						 kpx_and_same_bytes(module->items, "i", module->item_id,
											psprintf("e.%s::pg_catalog.text", quote_identifier(source->item_id))));
	else if (module->category)
		appendStringInfoString(sql, ", 'category:' OPERATOR(pg_catalog.||) i.category");
	appendStringInfoString(sql, "]::pg_catalog.text[]");
}

static void
append_source(StringInfo sql, const KpxModule *module, const KpxSource *source, bool features, KpxIdKind kind, const char *user)
{
	char *relation;
	KpxIdKind user_kind;
	KpxIdKind items;

	items = kpx_source_check(module, source, &user_kind, &relation);
	appendStringInfo(sql, "SELECT e.%s::%s AS u, %s::pg_catalog.text AS m, %s::pg_catalog.text AS k", quote_identifier(source->user_id),
					 kind_cast(kind), quote_literal_cstr(module->name), quote_literal_cstr(source->kind));
	if (features)
		append_features(sql, module, source, user != NULL);
	else
		appendStringInfoString(sql, ", NULL::pg_catalog.text[]");
	appendStringInfoString(sql, " AS f");
	appendStringInfo(sql, ", %.17g::pg_catalog.float8", source->weight);
	if (source->weight_column)
		appendStringInfo(sql, " OPERATOR(pg_catalog.*) COALESCE(e.%s::pg_catalog.float8, 1)", quote_identifier(source->weight_column));
	appendStringInfoString(sql, " AS w");
	append_column(sql, source->value, "float8");
	appendStringInfoString(sql, " AS v");
	append_time(sql, source);
	appendStringInfoString(sql, " AS t");
	if (is_interval(source))
		appendStringInfo(sql, ", EXTRACT(epoch FROM e.%s)::pg_catalog.float8", quote_identifier(source->duration));
	else
		append_column(sql, source->duration, "float8");
	appendStringInfo(sql, " AS d FROM %s e", relation);
	if (features && module->category && user == NULL)
		appendStringInfo(sql, " LEFT JOIN (SELECT c.%s::%s AS id, pg_catalog.min(c.%s::pg_catalog.text) AS category FROM %s c GROUP BY 1) i"
							  " ON i.id OPERATOR(pg_catalog.=) e.%s::%s",
						 quote_identifier(module->item_id), kind_cast(items), quote_identifier(module->category),
						 kpx_relation_sql(module->items, module->items_name, "module", module->name),
						 quote_identifier(source->item_id), kind_cast(items));
	appendStringInfo(sql, " WHERE e.%s IS NOT NULL AND e.%s IS NOT NULL", quote_identifier(source->user_id), quote_identifier(source->item_id));
	if (user)
		appendStringInfo(sql, " AND e.%s OPERATOR(pg_catalog.=) %s%s", quote_identifier(source->user_id), user,
						 kpx_and_same_bytes(source->relation, "e", source->user_id, user));
}

/* NULL when the modules have no sources. */
static char *
profiles_sql(KpxModule **modules, int n_modules, int64 half_life, bool features, KpxIdKind kind, const KpxId *user)
{
	StringInfoData sql;
	bool first = true;
	char *literal = NULL;

	if (user)
		literal = psprintf("%s::%s", quote_literal_cstr(kpx_id_to_cstring(kind, *user)), kind_type(kind));
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT x.u, %s.kpx_profile_agg(x.m, x.k, x.f, x.w, x.v, x.t, ", quote_identifier(kpx_registry()->schema));
	if (half_life)
		appendStringInfo(&sql, "'" INT64_FORMAT " microseconds'::pg_catalog.interval", half_life);
	else
		appendStringInfoString(&sql, "NULL::pg_catalog.interval");
	appendStringInfoString(&sql, ", x.d) FROM (");
	for (int m = 0; m < n_modules; m++)
		for (int s = 0; s < modules[m]->n_sources; s++)
		{
			if (!first)
				appendStringInfoString(&sql, " UNION ALL ");
			append_source(&sql, modules[m], &modules[m]->sources[s], features, kind, literal);
			first = false;
		}
	appendStringInfoString(&sql, ") x GROUP BY x.u ORDER BY x.u");
	return first ? NULL : sql.data;
}

/* ------------------------------------------------------------ receiving */

typedef struct Receiver
{
	DestReceiver pub;
	MemoryContext context; /* of one row */
	KpxIdKind kind;
	KpxModule **modules;
	int n_modules;
	KpxConsents *consents;
	const KpxModule *target;
	KpxProfileSink sink;
	void *state;
	uint64 n;
} Receiver;

/* Takes out of a profile what may not be used; false when nothing is left. */
static bool
keep_allowed(const Receiver *r, KpxId user, KpxProfile *profile)
{
	bool *keep = palloc(sizeof(bool) * Max(profile->n_modules, 1));
	bool any = false;

	if (kpx_consents_open(r->consents))
		return true;
	for (uint32 p = 0; p < profile->n_modules; p++)
	{
		const KpxModule *module = NULL;

		for (int m = 0; m < r->n_modules; m++)
			if (strlen(r->modules[m]->name) == profile->modules[p].name.length &&
				memcmp(r->modules[m]->name, profile->modules[p].name.bytes, profile->modules[p].name.length) == 0)
				module = r->modules[m];
		any |= keep[p] = module && kpx_consents_allow(r->consents, user, module, r->target);
	}
	kpx_profile_keep(profile, keep);
	return any;
}

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	Receiver *r = (Receiver *) self;
	MemoryContext old = MemoryContextSwitchTo(r->context);
	KpxProfile *profile;
	Datum user;
	KpxId id;

	slot_getallattrs(slot);
	user = slot->tts_values[0];
	if (r->kind == KPX_ID_TEXT)
		user = PointerGetDatum(PG_DETOAST_DATUM_PACKED(user));
	id = kpx_id_from_datum(r->kind, kpx_id_kind_type(r->kind), user);
	profile = kpx_profile_from_datum(slot->tts_values[1]);
	if (keep_allowed(r, id, profile))
	{
		r->sink(r->state, id, profile);
		r->n++;
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->context);
	return true;
}

static void
receiver_noop(DestReceiver *self)
{
}

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
}

uint64
kpx_profiles_read(KpxModule **modules, int n_modules, KpxConsents *consents, const KpxModule *target, int64 half_life, bool features,
				  const KpxId *user, KpxProfileSink sink, void *state)
{
	Receiver r = {.pub = {receive, receiver_startup, receiver_noop, receiver_noop, DestNone}};
	SPIExecuteOptions options = {0};
	char *sql;
	int result;

	r.kind = kpx_user_kind(modules, n_modules);
	r.modules = modules;
	r.n_modules = n_modules;
	r.consents = consents;
	r.target = target;
	r.sink = sink;
	r.state = state;
	sql = profiles_sql(modules, n_modules, half_life, features, r.kind, user);
	if (sql == NULL)
		return 0;
	r.context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec profile", ALLOCSET_DEFAULT_SIZES);
	options.read_only = true;
	options.dest = &r.pub;
	SPI_connect();
	result = SPI_execute_extended(sql, &options);
	SPI_finish();
	MemoryContextDelete(r.context);
	if (result < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot read the event sources: %s", SPI_result_code_string(result))));
	return r.n;
}
