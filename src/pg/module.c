/*
 * module.c
 *	  Registering modules, event sources and user attributes.
 *
 * Everything a later call will need is checked here, against the catalog and as the
 * caller: that the relation is one that can be selected from, that columns exist, may
 * be read and have fitting types.
 */
#include "kpxrec.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_ts_config.h"
#include "catalog/pg_type.h"
#include "parser/parse_coerce.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "forget.h"
#include "registry.h"

/* Kinds of events after which an item is no offer any more. */
static const char *const hiding_kinds[] = {
	"purchase", "order", "buy", "enrol", "enroll", "enrolment", "enrollment", "subscribe", "subscription",
	"apply", "application", "watch", "read", "complete", "completion", NULL};

static char *
text_argument(FunctionCallInfo fcinfo, int n, const char *name, bool required)
{
	char *value;

	if (PG_ARGISNULL(n))
	{
		if (required)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"%s\" must not be NULL", name)));
		return NULL;
	}
	value = text_to_cstring(PG_GETARG_TEXT_PP(n));
	if (value[0] == '\0' || strlen(value) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("argument \"%s\" must have 1 to %d bytes, found %zu", name, NAMEDATALEN - 1, strlen(value))));
	return value;
}

static Oid
relation_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	Oid relation;
	char kind;

	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"%s\" must not be NULL", name)));
	relation = PG_GETARG_OID(n);
	kind = get_rel_relkind(relation);
	if (kind == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation with OID %u does not exist", relation)));
	if (kind != RELKIND_RELATION && kind != RELKIND_VIEW && kind != RELKIND_MATVIEW &&
		kind != RELKIND_PARTITIONED_TABLE && kind != RELKIND_FOREIGN_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table, view, materialized view, partitioned table or foreign table",
						get_rel_name(relation))));
	return relation;
}

static char *
relation_name(Oid relation)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), get_rel_name(relation));
}

/* The column exists and the caller may select it; returns its type. */
static Oid
require_column(Oid relation, const char *column)
{
	Oid type = kpx_column_type(relation, column);

	if (pg_class_aclcheck(relation, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck(relation, get_attnum(relation, column), GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for column \"%s\" of relation %s", column, relation_name(relation)),
				 errhint("Grant SELECT on it to role \"%s\".", GetUserNameFromId(GetUserId(), false))));
	return getBaseType(type);
}

static void
wrong_type(Oid relation, const char *column, Oid type, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" of relation %s has type %s, expected %s",
					column, relation_name(relation), format_type_be(type), expected),
			 errhint("Register a view that casts it.")));
}

static void
require_id_column(Oid relation, const char *column)
{
	(void) kpx_require_id_kind(require_column(relation, column),
							   psprintf("column \"%s\" of relation %s", column, relation_name(relation)));
}

static void
require_number_column(Oid relation, const char *column)
{
	Oid type = require_column(relation, column);

	if (type != INT2OID && type != INT4OID && type != INT8OID && type != FLOAT4OID && type != FLOAT8OID &&
		type != NUMERICOID)
		wrong_type(relation, column, type, "a number");
}

static void
require_time_column(Oid relation, const char *column)
{
	Oid type = require_column(relation, column);

	if (type != TIMESTAMPTZOID && type != TIMESTAMPOID && type != DATEOID)
		wrong_type(relation, column, type, "timestamptz, timestamp or date");
}

/* Seconds, or an interval. */
static void
require_duration_column(Oid relation, const char *column)
{
	if (require_column(relation, column) != INTERVALOID)
		require_number_column(relation, column);
}

static void
require_text_column(Oid relation, const char *column)
{
	Oid type = require_column(relation, column);
	char category;
	bool preferred;

	get_type_category_preferred(type, &category, &preferred);
	if (category != TYPCATEGORY_STRING)
		wrong_type(relation, column, type, "text");
}

static void
require_boolean_column(Oid relation, const char *column)
{
	Oid type = require_column(relation, column);

	if (type != BOOLOID)
		wrong_type(relation, column, type, "boolean");
}

/* Positive as the registry reads it: in seconds, by extract(epoch). */
static void
check_interval(FunctionCallInfo fcinfo, int n, const char *name)
{
	Datum seconds;

	if (PG_ARGISNULL(n))
		return;
	seconds = DirectFunctionCall2(interval_part, CStringGetTextDatum("epoch"), PG_GETARG_DATUM(n));
	if (!(DatumGetFloat8(seconds) > 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"%s\" must be a positive interval", name)));
}

/* Values for one insert: NULL pointers become SQL NULLs. */
static Datum
name_value(const char *value, char *null)
{
	*null = value ? ' ' : 'n';
	return value ? DirectFunctionCall1(namein, CStringGetDatum(value)) : (Datum) 0;
}

/* name[] of a text[] argument, each element checked by check; NULL when it is. */
static Datum
column_list(ArrayType *array, Oid relation, void (*check)(Oid, const char *), const char *argument)
{
	Datum *elements;
	bool *nulls;
	int n;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		char *column;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"%s\" must not contain NULL", argument)));
		column = TextDatumGetCString(elements[i]);
		check(relation, column);
		elements[i] = DirectFunctionCall1(namein, CStringGetDatum(column));
	}
	return PointerGetDatum(construct_array(elements, n, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR));
}

/* An array of numbers, or a type that casts to one, as pgvector's vector does. */
static void
require_embedding_column(Oid relation, const char *column)
{
	Oid type = require_column(relation, column);
	Oid function;

	if (type != FLOAT4ARRAYOID && type != FLOAT8ARRAYOID &&
		find_coercion_pathway(FLOAT4ARRAYOID, type, COERCION_EXPLICIT, &function) != COERCION_PATH_FUNC)
		wrong_type(relation, column, type, "real[], double precision[] or a type with a cast to real[]");
}

/* The name of a text search configuration as it is found now, qualified; 42704. */
static char *
text_search_argument(FunctionCallInfo fcinfo, int n)
{
	char *name;
	Oid config;
	HeapTuple tuple;
	Form_pg_ts_config form;
	char *qualified;

	if (PG_ARGISNULL(n))
		return NULL;
	name = text_to_cstring(PG_GETARG_TEXT_PP(n));
	config = DatumGetObjectId(DirectFunctionCall1(regconfigin, CStringGetDatum(name)));
	tuple = SearchSysCache1(TSCONFIGOID, ObjectIdGetDatum(config));
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("text search configuration \"%s\" does not exist", name)));
	form = (Form_pg_ts_config) GETSTRUCT(tuple);
	qualified = quote_qualified_identifier(get_namespace_name(form->cfgnamespace), NameStr(form->cfgname));
	ReleaseSysCache(tuple);
	return qualified;
}

static void
check_any_column(Oid relation, const char *column)
{
	(void) require_column(relation, column);
}

PG_FUNCTION_INFO_V1(kpx_add_module);
Datum
kpx_add_module(PG_FUNCTION_ARGS)
{
	char *name = text_argument(fcinfo, 0, "name", true);
	Oid items = relation_argument(fcinfo, 1, "items");
	char *item_id = text_argument(fcinfo, 2, "item_id", true);
	char *title = text_argument(fcinfo, 3, "title", false);
	char *category = text_argument(fcinfo, 5, "category", false);
	char *price = text_argument(fcinfo, 6, "price", false);
	char *available = text_argument(fcinfo, 7, "available", false);
	Oid types[] = {TEXTOID, NAMEOID, OIDOID, TEXTOID, NAMEOID, NAMEOID, NAMEARRAYOID, NAMEOID, NAMEOID, NAMEOID, INTERVALOID,
				   NAMEARRAYOID, NAMEARRAYOID, TEXTOID};
	char *config = text_search_argument(fcinfo, 11);
	Datum values[14];
	char nulls[15] = "              ";
	KpxCatalog catalog;
	KpxRegistry *registry = kpx_registry();

	PreventCommandIfReadOnly("kpx_add_module()");
	for (int i = 0; i < registry->n_modules; i++)
		if (strcmp(registry->modules[i].name, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("module \"%s\" is already registered", name),
					 errhint("Drop it first with kpx_drop_module.")));
	require_id_column(items, item_id);
	if (title)
		require_text_column(items, title);
	if (category)
		check_any_column(items, category);
	if (price)
		require_number_column(items, price);
	if (available)
		require_boolean_column(items, available);
	check_interval(fcinfo, 8, "repeat_after");
	values[0] = CStringGetTextDatum(name);
	values[1] = name_value(GetUserNameFromId(GetUserId(), false), &nulls[1]);
	values[2] = ObjectIdGetDatum(items);
	values[3] = CStringGetTextDatum(relation_name(items));
	values[4] = name_value(item_id, &nulls[4]);
	values[5] = name_value(title, &nulls[5]);
	nulls[6] = PG_ARGISNULL(4) ? 'n' : ' ';
	values[6] = PG_ARGISNULL(4) ? (Datum) 0 : column_list(PG_GETARG_ARRAYTYPE_P(4), items, require_text_column, "text_columns");
	values[7] = name_value(category, &nulls[7]);
	values[8] = name_value(price, &nulls[8]);
	values[9] = name_value(available, &nulls[9]);
	nulls[10] = PG_ARGISNULL(8) ? 'n' : ' ';
	values[10] = PG_ARGISNULL(8) ? (Datum) 0 : PG_GETARG_DATUM(8);
	nulls[11] = PG_ARGISNULL(9) ? 'n' : ' ';
	values[11] = PG_ARGISNULL(9) ? (Datum) 0 : column_list(PG_GETARG_ARRAYTYPE_P(9), items, check_any_column, "attributes");
	nulls[12] = PG_ARGISNULL(10) ? 'n' : ' ';
	values[12] = PG_ARGISNULL(10) ? (Datum) 0 : column_list(PG_GETARG_ARRAYTYPE_P(10), items, require_embedding_column, "embeddings");
	nulls[13] = config ? ' ' : 'n';
	values[13] = config ? CStringGetTextDatum(config) : (Datum) 0;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("INSERT INTO kpx.module (name, owner, items, items_name, item_id, title, text_columns,"
						" category, price, available, repeat_after, attributes, embeddings, text_search_config)"
						" VALUES ($1, $2, $3::regclass, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
						14, types, values, nulls, false);
	kpx_catalog_end(&catalog);
	PG_RETURN_VOID();
}

/* Is there an index whose first column is this one? True for relations without indexes of their own. */
static bool
has_index_on(Oid relation, const char *column)
{
	char kind = get_rel_relkind(relation);
	AttrNumber number = get_attnum(relation, column);
	Relation rel;
	List *indexes;
	ListCell *lc;
	bool found = false;

	if (kind == RELKIND_VIEW || kind == RELKIND_FOREIGN_TABLE)
		return true;
	rel = relation_open(relation, AccessShareLock);
	indexes = RelationGetIndexList(rel);
	foreach (lc, indexes)
	{
		HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));

		if (!HeapTupleIsValid(tuple))
			continue;
		if (((Form_pg_index) GETSTRUCT(tuple))->indkey.values[0] == number &&
			((Form_pg_index) GETSTRUCT(tuple))->indisvalid &&
			heap_attisnull(tuple, Anum_pg_index_indpred, NULL))
			found = true;
		ReleaseSysCache(tuple);
	}
	relation_close(rel, AccessShareLock);
	return found;
}

static void
suggest_index(Oid relation, const char *user_id, const char *occurred_at)
{
	StringInfoData columns;

	initStringInfo(&columns);
	appendStringInfoString(&columns, quote_identifier(user_id));
	if (occurred_at)
		appendStringInfo(&columns, ", %s", quote_identifier(occurred_at));
	if (occurred_at && strcmp(kpx_newest_first(relation, occurred_at), "DESC") != 0)
		appendStringInfoString(&columns, " DESC NULLS LAST");
	ereport(NOTICE,
			(errmsg("%s has no index on \"%s\": every answer will read the whole table", relation_name(relation), user_id),
			 errhint("CREATE INDEX ON %s (%s);", relation_name(relation), columns.data)));
}

static bool
kind_hides(const char *kind)
{
	for (int i = 0; hiding_kinds[i]; i++)
		if (pg_strcasecmp(kind, hiding_kinds[i]) == 0)
			return true;
	return false;
}

/* Item ids of events and of the item table must be of one kind. */
static void
require_same_item_kind(KpxModule *module, Oid relation, const char *column)
{
	KpxIdKind kind;

	/* an id column already, so it has a kind */
	if (kpx_id_kind(require_column(relation, column), &kind) && kind != kpx_module_item_kind(module))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of relation %s holds %s ids, the items of module \"%s\" have %s ids",
						column, relation_name(relation), kpx_id_kind_name(kind), module->name,
						kpx_id_kind_name(kpx_module_item_kind(module))),
				 errhint("Register a view that casts it.")));
}

/*
 * Users are one and the same in all modules, so their ids are of one kind: consent, caps and forgetting are by id.
 * Of two that add the first sources at once either may be the odd one; kpx_train says so then.
 */
static void
require_same_user_kind(Oid relation, const char *column)
{
	KpxIdKind kind;
	KpxIdKind registered;
	const KpxSource *source = kpx_registered_user_kind(kpx_registry(), &registered);

	if (source && kpx_id_kind(require_column(relation, column), &kind) && kind != registered)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of relation %s holds %s ids of users, those of %s are %s ids", column, relation_name(relation),
						kpx_id_kind_name(kind), source->relation_name, kpx_id_kind_name(registered)),
				 errdetail("Users are the same in all modules: consent, caps and kpx_forget_user go by one id."),
				 errhint("Register a view that has the users' ids of the other sources, or casts them.")));
}

PG_FUNCTION_INFO_V1(kpx_add_events);
Datum
kpx_add_events(PG_FUNCTION_ARGS)
{
	char *module_name = text_argument(fcinfo, 0, "module", true);
	Oid relation = relation_argument(fcinfo, 1, "relation");
	char *kind = text_argument(fcinfo, 2, "kind", true);
	char *user_id = text_argument(fcinfo, 3, "user_id", true);
	char *item_id = text_argument(fcinfo, 4, "item_id", true);
	char *occurred_at = text_argument(fcinfo, 5, "occurred_at", false);
	char *value = text_argument(fcinfo, 6, "value", false);
	double weight = PG_ARGISNULL(7) ? 1.0 : PG_GETARG_FLOAT8(7);
	char *weight_column = text_argument(fcinfo, 8, "weight_column", false);
	bool hides = PG_ARGISNULL(9) ? kind_hides(kind) : PG_GETARG_BOOL(9);
	char *duration = text_argument(fcinfo, 11, "duration", false);
	KpxModule *module = kpx_find_module(kpx_registry(), module_name);
	Oid types[] = {INT4OID, OIDOID, TEXTOID, TEXTOID, NAMEOID, NAMEOID, NAMEOID, NAMEOID, FLOAT8OID, NAMEOID, BOOLOID, INTERVALOID, NAMEOID};
	Datum values[13];
	char nulls[14] = "             ";
	KpxCatalog catalog;
	bool null;
	int id;

	PreventCommandIfReadOnly("kpx_add_events()");
	kpx_require_owner(module->owner, "module", module->name);
	require_id_column(relation, user_id);
	require_id_column(relation, item_id);
	require_same_item_kind(module, relation, item_id);
	require_same_user_kind(relation, user_id);
	if (occurred_at)
		require_time_column(relation, occurred_at);
	if (value)
		require_number_column(relation, value);
	if (weight_column)
		require_number_column(relation, weight_column);
	if (duration)
		require_duration_column(relation, duration);
	if (!(weight > 0 && weight <= 1e9))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"weight\" must be above 0 and at most 1e9, found %g", weight)));
	check_interval(fcinfo, 10, "half_life");
	if (!PG_ARGISNULL(10) && !occurred_at)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"half_life\" needs \"occurred_at\""),
				 errhint("Name the column that says when an event happened.")));
	values[0] = Int32GetDatum(module->id);
	values[1] = ObjectIdGetDatum(relation);
	values[2] = CStringGetTextDatum(relation_name(relation));
	values[3] = CStringGetTextDatum(kind);
	values[4] = name_value(user_id, &nulls[4]);
	values[5] = name_value(item_id, &nulls[5]);
	values[6] = name_value(occurred_at, &nulls[6]);
	values[7] = name_value(value, &nulls[7]);
	values[8] = Float8GetDatum(weight);
	values[9] = name_value(weight_column, &nulls[9]);
	values[10] = BoolGetDatum(hides);
	nulls[11] = PG_ARGISNULL(10) ? 'n' : ' ';
	values[11] = PG_ARGISNULL(10) ? (Datum) 0 : PG_GETARG_DATUM(10);
	values[12] = name_value(duration, &nulls[12]);

	kpx_catalog_begin(&catalog, false);
	/* Against a concurrent kpx_drop_module; foreign keys would do it, but pg_restore -j does not order
	 * the data of an extension's tables by them. */
	kpx_catalog_execute("SELECT FROM kpx.module WHERE id = $1 FOR KEY SHARE", 1, types, values, NULL, false);
	if (SPI_processed == 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("module \"%s\" was dropped just now", module->name)));
	kpx_catalog_execute("INSERT INTO kpx.event_source (module_id, relation, relation_name, kind, user_id, item_id,"
						" occurred_at, value, weight, weight_column, hides, half_life, duration)"
						" VALUES ($1, $2::regclass, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING id",
						13, types, values, nulls, false);
	id = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	kpx_catalog_end(&catalog);

	if (!has_index_on(relation, user_id))
		suggest_index(relation, user_id, occurred_at);
	PG_RETURN_INT32(id);
}

PG_FUNCTION_INFO_V1(kpx_add_user_attributes);
Datum
kpx_add_user_attributes(PG_FUNCTION_ARGS)
{
	Oid relation = relation_argument(fcinfo, 0, "relation");
	char *user_id = text_argument(fcinfo, 1, "user_id", true);
	Oid types[] = {NAMEOID, OIDOID, TEXTOID, NAMEOID, NAMEARRAYOID};
	Datum values[5];
	char null;
	bool isnull;
	int id;
	KpxCatalog catalog;

	PreventCommandIfReadOnly("kpx_add_user_attributes()");
	/* Everybody who asks for a profile reads it as themselves: so it is for those who own all modules. */
	kpx_require_all_modules(kpx_registry());
	require_id_column(relation, user_id);
	values[0] = name_value(GetUserNameFromId(GetUserId(), false), &null);
	values[1] = ObjectIdGetDatum(relation);
	values[2] = CStringGetTextDatum(relation_name(relation));
	values[3] = name_value(user_id, &null);
	if (!PG_ARGISNULL(2))
		values[4] = column_list(PG_GETARG_ARRAYTYPE_P(2), relation, check_any_column, "columns");
	else
	{
		Relation rel = relation_open(relation, AccessShareLock);
		int natts = RelationGetNumberOfAttributes(rel);
		Datum *names = palloc(sizeof(Datum) * Max(natts, 1));
		int n = 0;

		for (int i = 0; i < natts; i++)
		{
			Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(rel), i);

			if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), user_id) != 0)
			{
				check_any_column(relation, NameStr(attribute->attname));
				names[n++] = DirectFunctionCall1(namein, CStringGetDatum(NameStr(attribute->attname)));
			}
		}
		relation_close(rel, AccessShareLock);
		values[4] = PointerGetDatum(construct_array(names, n, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR));
	}
	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("INSERT INTO kpx.attribute_source (owner, relation, relation_name, user_id, columns)"
						" VALUES ($1, $2::regclass, $3, $4, $5) RETURNING id",
						5, types, values, NULL, false);
	id = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	kpx_catalog_end(&catalog);
	PG_RETURN_INT32(id);
}

/* Runs statements about one id, in order, each seeing what was committed before it began. */
static void
execute_by_id(const char *const *statements, int n, int id)
{
	Oid types[] = {INT4OID};
	Datum values[] = {Int32GetDatum(id)};
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	for (int i = 0; i < n; i++)
		kpx_catalog_execute(statements[i], 1, types, values, NULL, false);
	kpx_catalog_end(&catalog);
}

static void
delete_by_id(const char *sql, int id)
{
	execute_by_id(&sql, 1, id);
}

PG_FUNCTION_INFO_V1(kpx_drop_module);
Datum
kpx_drop_module(PG_FUNCTION_ARGS)
{
	/* The lock first: it waits for those who are adding sources or activating. */
	static const char *const statements[] = {
		"SELECT FROM kpx.module WHERE id = $1 FOR UPDATE",
		"DELETE FROM kpx.event_source WHERE module_id = $1",
		"DELETE FROM kpx.active_model WHERE module_id = $1",
		"DELETE FROM kpx.traffic WHERE module_id = $1",
		"DELETE FROM kpx.trending WHERE module_id = $1",
		"DELETE FROM kpx.activation WHERE module_id = $1",
		"DELETE FROM kpx.module_stat WHERE module_id = $1",
		"DELETE FROM kpx.drift_stat WHERE module_id = $1",
		"DELETE FROM kpx.rule WHERE set_id IN (SELECT id FROM kpx.rule_set WHERE module_ids @> ARRAY[$1])",
		"DELETE FROM kpx.rule_item WHERE set_id IN (SELECT id FROM kpx.rule_set WHERE module_ids @> ARRAY[$1])",
		"DELETE FROM kpx.rule_set WHERE module_ids @> ARRAY[$1]",
		"DELETE FROM kpx.module WHERE id = $1",
	};
	KpxModule *module = kpx_find_module(kpx_registry(), text_to_cstring(PG_GETARG_TEXT_PP(0)));

	PreventCommandIfReadOnly("kpx_drop_module()");
	kpx_require_owner(module->owner, "module", module->name);
	execute_by_id(statements, lengthof(statements), module->id);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(kpx_drop_events);
Datum
kpx_drop_events(PG_FUNCTION_ARGS)
{
	int id = PG_GETARG_INT32(0);
	KpxRegistry *registry = kpx_registry();

	PreventCommandIfReadOnly("kpx_drop_events()");
	for (int m = 0; m < registry->n_modules; m++)
		for (int s = 0; s < registry->modules[m].n_sources; s++)
			if (registry->modules[m].sources[s].id == id)
			{
				kpx_require_owner(registry->modules[m].owner, "module", registry->modules[m].name);
				delete_by_id("DELETE FROM kpx.event_source WHERE id = $1", id);
				PG_RETURN_VOID();
			}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("event source %d does not exist", id), errhint("See the view kpx_event_sources.")));
}

PG_FUNCTION_INFO_V1(kpx_drop_user_attributes);
Datum
kpx_drop_user_attributes(PG_FUNCTION_ARGS)
{
	Oid types[] = {INT4OID};
	Datum values[] = {PG_GETARG_DATUM(0)};
	KpxCatalog catalog;
	char *owner = NULL;
	MemoryContext context = CurrentMemoryContext;

	PreventCommandIfReadOnly("kpx_drop_user_attributes()");
	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT owner FROM kpx.attribute_source WHERE id = $1", 1, types, values, NULL, true);
	if (SPI_processed == 1)
		owner = MemoryContextStrdup(context, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	kpx_catalog_end(&catalog);
	if (owner == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("attribute source %d does not exist", PG_GETARG_INT32(0))));
	kpx_require_owner(owner, "attribute source", psprintf("%d", PG_GETARG_INT32(0)));
	delete_by_id("DELETE FROM kpx.attribute_source WHERE id = $1", PG_GETARG_INT32(0));
	PG_RETURN_VOID();
}
