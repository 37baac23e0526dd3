/*
 * attributes.c
 *	  What is registered of users' attributes, read as the current user.
 *
 * Each source is one SELECT, sorted by user, whose rows go through a DestReceiver to the
 * caller's sink. Sources that the role may not read, and those of another kind of user id,
 * are passed over.
 */
#include "forget.h"
#include "profile.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "tcop/dest.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "history.h"

typedef struct Source
{
	Oid relation;
	char *name;
	char *sql_name;
	char *user_id;
	int n_columns;
	int first_column; /* among those of all sources */
	char **columns;
} Source;

static char **
column_names(Datum array, int *n)
{
	Datum *elements;
	bool *nulls;
	char **names;

	deconstruct_array(DatumGetArrayTypeP(array), NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, &elements, &nulls, n);
	names = palloc(sizeof(char *) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		names[i] = pstrdup(NameStr(*DatumGetName(elements[i])));
	return names;
}

/* All that is registered, in context. */
static Source *
registered_sources(MemoryContext context, int *n)
{
	KpxCatalog catalog;
	Source *sources;
	MemoryContext old;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT relation::oid, relation_name, user_id, columns, id FROM kpx.attribute_source ORDER BY id", 0, NULL,
						NULL, NULL, true);
	old = MemoryContextSwitchTo(context);
	*n = (int) SPI_processed;
	sources = palloc0(sizeof(Source) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool null;

		sources[i].relation = DatumGetObjectId(SPI_getbinval(row, desc, 1, &null));
		sources[i].name = pstrdup(SPI_getvalue(row, desc, 2));
		sources[i].user_id = pstrdup(SPI_getvalue(row, desc, 3));
		sources[i].columns = column_names(SPI_getbinval(row, desc, 4, &null), &sources[i].n_columns);
	}
	MemoryContextSwitchTo(old);
	kpx_catalog_end(&catalog);
	return sources;
}

static bool
may_read(const Source *source, const char *column)
{
	AttrNumber number = get_attnum(source->relation, column);

	return pg_class_aclcheck(source->relation, GetUserId(), ACL_SELECT) == ACLCHECK_OK || number == InvalidAttrNumber ||
		   pg_attribute_aclcheck(source->relation, number, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

/* May the role read all of a source, and are its users of this kind? */
static bool
usable(Source *source, KpxIdKind user_kind)
{
	if (get_rel_name(source->relation) != NULL && !may_read(source, source->user_id))
		return false;
	source->sql_name = kpx_relation_sql(source->relation, source->name, "user attributes", source->name);
	for (int i = 0; i < source->n_columns; i++)
		if (!may_read(source, source->columns[i]))
			return false;
	return kpx_require_id_kind(kpx_column_type(source->relation, source->user_id),
							   psprintf("column \"%s\" of relation %s", source->user_id, source->sql_name)) == user_kind;
}

static KpxAttributeKind
attribute_kind(Oid type)
{
	type = getBaseType(type);
	if (type == BOOLOID)
		return KPX_ATTRIBUTE_BOOLEAN;
	if (type == DATEOID || type == TIMESTAMPOID || type == TIMESTAMPTZOID)
		return KPX_ATTRIBUTE_DATE;
	if (type == INT2OID || type == INT4OID || type == INT8OID || type == FLOAT4OID || type == FLOAT8OID || type == NUMERICOID)
		return KPX_ATTRIBUTE_NUMBER;
	return KPX_ATTRIBUTE_CATEGORY;
}

static bool
name_taken(const KpxAttributes *attributes, const char *name)
{
	for (int i = 0; i < attributes->n_columns; i++)
		if (strcmp(attributes->columns[i].name, name) == 0)
			return true;
	return false;
}

static void
add_columns(KpxAttributes *attributes, Source *source)
{
	source->first_column = attributes->n_columns;
	for (int i = 0; i < source->n_columns; i++)
	{
		KpxAttributeColumn *column = &attributes->columns[attributes->n_columns];

		column->kind = attribute_kind(kpx_column_type(source->relation, source->columns[i]));
		column->name = name_taken(attributes, source->columns[i]) ? psprintf("%s.%s", source->name, source->columns[i])
																  : source->columns[i];
		attributes->n_columns++;
	}
}

/* user, then for each column its value, and the text of dates and categories. */
static char *
source_sql(const Source *source, const KpxAttributes *attributes, const KpxId *user)
{
	static const char *const kinds[] = {"int8", "uuid", "text"};
	KpxIdKind kind = attributes->user_kind;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT a.%s::pg_catalog.%s%s", quote_identifier(source->user_id), kinds[kind],
					 kind == KPX_ID_TEXT ? " COLLATE pg_catalog.\"C\"" : "");
	for (int i = 0; i < source->n_columns; i++)
	{
		const char *column = quote_identifier(source->columns[i]);

		switch (attributes->columns[source->first_column + i].kind)
		{
			case KPX_ATTRIBUTE_NUMBER:
				appendStringInfo(&sql, ", a.%s::pg_catalog.float8, NULL::pg_catalog.text", column);
				break;
			case KPX_ATTRIBUTE_BOOLEAN:
				appendStringInfo(&sql, ", CASE WHEN a.%s THEN 1 WHEN NOT a.%s THEN 0 END::pg_catalog.float8, NULL::pg_catalog.text", column, column);
				break;
			case KPX_ATTRIBUTE_DATE:
				/* without a time zone: the same whatever the session's */
				appendStringInfo(&sql, ", (EXTRACT(epoch FROM a.%s) OPERATOR(pg_catalog./) 86400 OPERATOR(pg_catalog.-) 10957)::pg_catalog.float8, a.%s::pg_catalog.text", column, column);
				break;
			case KPX_ATTRIBUTE_CATEGORY:
				appendStringInfo(&sql, ", NULL::pg_catalog.float8, a.%s::pg_catalog.text", column);
				break;
		}
	}
	appendStringInfo(&sql, " FROM %s a WHERE a.%s IS NOT NULL", source->sql_name, quote_identifier(source->user_id));
	if (user)
	{
		char *value = psprintf("%s::pg_catalog.%s", quote_literal_cstr(kpx_id_to_cstring(kind, *user)), kinds[kind]);

		appendStringInfo(&sql, " AND a.%s OPERATOR(pg_catalog.=) %s%s", quote_identifier(source->user_id), value,
						 kpx_and_same_bytes(source->relation, "a", source->user_id, value));
	}
	appendStringInfoString(&sql, " ORDER BY 1");
	return sql.data;
}

typedef struct Receiver
{
	DestReceiver pub;
	MemoryContext context; /* of one row */
	const Source *source;
	const KpxAttributes *attributes;
	KpxAttribute *values;
	KpxAttributeSink sink;
	void *state;
} Receiver;

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	Receiver *r = (Receiver *) self;
	MemoryContext old = MemoryContextSwitchTo(r->context);
	KpxIdKind kind = r->attributes->user_kind;
	Datum user;

	slot_getallattrs(slot);
	user = slot->tts_values[0];
	if (kind == KPX_ID_TEXT)
		user = PointerGetDatum(PG_DETOAST_DATUM_PACKED(user));
	for (int i = 0; i < r->source->n_columns; i++)
	{
		KpxAttribute *a = &r->values[i];
		bool category = r->attributes->columns[r->source->first_column + i].kind == KPX_ATTRIBUTE_CATEGORY;

		a->value = slot->tts_isnull[1 + 2 * i] ? 0 : DatumGetFloat8(slot->tts_values[1 + 2 * i]);
		a->text = slot->tts_isnull[2 + 2 * i] ? NULL : TextDatumGetCString(slot->tts_values[2 + 2 * i]);
		a->missing = category ? a->text == NULL : slot->tts_isnull[1 + 2 * i] || !isfinite(a->value);
	}
	r->sink(r->state, kpx_id_from_datum(kind, kpx_id_kind_type(kind), user), r->source->first_column, r->source->n_columns, r->values);
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

static void
read_source(const Source *source, const KpxAttributes *attributes, const KpxId *user, KpxAttributeSink sink, void *state)
{
	Receiver r = {.pub = {receive, receiver_startup, receiver_noop, receiver_noop, DestNone}};
	SPIExecuteOptions options = {0};
	int result;

	r.context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec attributes", ALLOCSET_SMALL_SIZES);
	r.source = source;
	r.attributes = attributes;
	r.values = palloc(sizeof(KpxAttribute) * Max(source->n_columns, 1));
	r.sink = sink;
	r.state = state;
	options.read_only = true;
	options.dest = &r.pub;
	SPI_connect();
	result = SPI_execute_extended(source_sql(source, attributes, user), &options);
	SPI_finish();
	if (result < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot read %s: %s", source->sql_name, SPI_result_code_string(result))));
	MemoryContextDelete(r.context);
}

KpxAttributes *
kpx_attributes_read(KpxIdKind user_kind, const KpxId *user, KpxAttributeSink sink, void *state)
{
	KpxAttributes *attributes = palloc0(sizeof(KpxAttributes));
	int total = 0;
	int n;
	Source *sources = registered_sources(CurrentMemoryContext, &n);
	bool *use = palloc0(sizeof(bool) * Max(n, 1));

	attributes->user_kind = user_kind;
	for (int i = 0; i < n; i++)
	{
		use[i] = usable(&sources[i], user_kind);
		total += sources[i].n_columns;
	}
	attributes->columns = palloc(sizeof(KpxAttributeColumn) * Max(total, 1));
	for (int i = 0; i < n; i++)
		if (use[i])
			add_columns(attributes, &sources[i]);
	if (user && kpx_is_forgotten(kpx_registry(), kpx_id_to_cstring(user_kind, *user)))
		return attributes;
	for (int i = 0; i < n && sink; i++)
		if (use[i])
			read_source(&sources[i], attributes, user, sink, state);
	return attributes;
}
