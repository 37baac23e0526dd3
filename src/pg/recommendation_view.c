/*
 * recommendation_view.c
 *	  Making and dropping recommendation views: DDL as the caller, in a schema of theirs.
 */
#include "recommendation.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "nodes/makefuncs.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/varlena.h"

#include "history.h"
#include "identity.h"
#include "ingest.h"
#include "registry.h"
#include "request.h"
#include "users.h"

/* ------------------------------------------------------------ making */

typedef struct Made
{
	char *schema;
	char *view; /* name */
	char *rows; /* name */
	char *view_sql; /* qualified and quoted */
	char *rows_sql;
} Made;

static Made
name_argument(FunctionCallInfo fcinfo, const char *module)
{
	RangeVar *range = PG_ARGISNULL(2) ? makeRangeVar(NULL, psprintf("recommended_%s", module), -1)
									  : makeRangeVarFromNameList(textToQualifiedNameList(PG_GETARG_TEXT_PP(2)));
	Oid schema = RangeVarGetCreationNamespace(range);
	Made made;

	if (isAnyTempNamespace(schema))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a recommendation view cannot be temporary"), errhint("Name it with a schema: name => 'bi.%s'.", range->relname)));
	if (range->relname[0] == '\0' || strlen(range->relname) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("the name of a recommendation view must have 1 to %d bytes, found %zu", NAMEDATALEN - 1, strlen(range->relname)),
				 errhint("Give one: name => 'bi.courses'.")));
	made.schema = get_namespace_name(schema);
	made.view = range->relname;
	made.rows = makeObjectName(made.view, NULL, "rows");
	made.view_sql = quote_qualified_identifier(made.schema, made.view);
	made.rows_sql = quote_qualified_identifier(made.schema, made.rows);
	return made;
}

static void
execute(const char *sql)
{
	int result = SPI_execute(sql, false, 0);

	if (result < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot make or drop the recommendation view: %s", SPI_result_code_string(result))));
}

/* The first column of this name in the view. */
static bool
is_new(List **names, const char *name)
{
	ListCell *cell;

	foreach (cell, *names)
		if (strcmp(lfirst(cell), name) == 0)
			return false;
	*names = lappend(*names, unconstify(char *, name));
	return true;
}

static void
append_column(StringInfo sql, StringInfo comments, const Made *made, List **names, const char *column, const char *as, const char *comment)
{
	if (column == NULL || !is_new(names, as))
		return;
	appendStringInfo(sql, ", i.%s AS %s", quote_identifier(column), quote_identifier(as));
	appendStringInfo(comments, "COMMENT ON COLUMN %s.%s IS %s;", made->view_sql, quote_identifier(as), quote_literal_cstr(comment));
}

static void
create_table(const Made *made, KpxIdKind user_kind, KpxIdKind item_kind, const char *module)
{
	execute(psprintf("CREATE TABLE %s (user_id %s%s, rank pg_catalog.int4, item_id %s NOT NULL, score pg_catalog.float4 NOT NULL,"
					 " reason pg_catalog.text NOT NULL, PRIMARY KEY (user_id, rank));"
					 "COMMENT ON TABLE %s IS %s",
					 made->rows_sql, kpx_id_type_sql[user_kind], user_kind == KPX_ID_TEXT ? " COLLATE pg_catalog.\"C\"" : "", kpx_id_type_sql[item_kind],
					 made->rows_sql, quote_literal_cstr(psprintf("kpxrec: the best items of module \"%s\" for each active user, written by kpx_refresh_recommendations", module))));
}

/* The rows, their items' attributes as they are now; only items that are there and available. */
static void
create_view(const Made *made, const KpxModule *module)
{
	char *items = kpx_relation_sql(module->items, module->items_name, "module", module->name);
	List *names = list_make5("user_id", "rank", "item_id", "score", "reason");
	StringInfoData sql;
	StringInfoData comments;

	initStringInfo(&sql);
	initStringInfo(&comments);
	appendStringInfo(&comments, "COMMENT ON VIEW %s IS %s;", made->view_sql,
					 quote_literal_cstr(psprintf("kpxrec: the best available items of module \"%s\" for each active user, at the last kpx_refresh_recommendations", module->name)));
	appendStringInfo(&comments,
					 "COMMENT ON COLUMN %1$s.user_id IS 'the user';"
					 "COMMENT ON COLUMN %1$s.rank IS '1 is the best; a rank is missing where the item is not available any more';"
					 "COMMENT ON COLUMN %1$s.item_id IS 'the item';"
					 "COMMENT ON COLUMN %1$s.score IS 'as of kpx_recommend: comparable within one user and one reason only';"
					 "COMMENT ON COLUMN %1$s.reason IS 'why, as of kpx_recommend';",
					 made->view_sql);
	appendStringInfo(&sql, "CREATE VIEW %s WITH (security_barrier) AS SELECT r.user_id, r.rank, r.item_id", made->view_sql);
	append_column(&sql, &comments, made, &names, module->title, "title", "the item's title, now");
	append_column(&sql, &comments, made, &names, module->category, "category", "the item's category, now");
	append_column(&sql, &comments, made, &names, module->price, "price", "the item's price, now");
	for (int a = 0; a < module->n_attributes; a++)
		append_column(&sql, &comments, made, &names, module->attributes[a], module->attributes[a], "an attribute of the item, now");
	appendStringInfo(&sql, ", r.score, r.reason FROM %s r JOIN %s i ON i.%s OPERATOR(pg_catalog.=) r.item_id%s", made->rows_sql, items,
					 quote_identifier(module->item_id), kpx_and_same_bytes(module->items, "i", module->item_id, "r.item_id"));
	if (module->available)
		appendStringInfo(&sql, " WHERE i.%s IS TRUE", quote_identifier(module->available));
	execute(sql.data);
	execute(comments.data);
	/* what the caller may not read is refused now, not to the first reader */
	execute(psprintf("SELECT FROM %s LIMIT 0", made->view_sql));
}

static Oid
register_view(const Made *made, const char *module, int k, const Interval *active)
{
	Oid schema = get_namespace_oid(made->schema, false);
	Oid view = get_relname_relid(made->view, schema);
	Oid types[] = {OIDOID, TEXTOID, OIDOID, TEXTOID, TEXTOID, INT4OID, INTERVALOID};
	Datum values[] = {ObjectIdGetDatum(view), CStringGetTextDatum(made->view_sql), ObjectIdGetDatum(get_relname_relid(made->rows, schema)),
					  CStringGetTextDatum(made->rows_sql), CStringGetTextDatum(module), Int32GetDatum(k), IntervalPGetDatum(active)};
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("INSERT INTO kpx.recommendation (view, view_name, rows, rows_name, module, k, active) VALUES ($1, $2, $3, $4, $5, $6, $7)",
						lengthof(types), types, values, active ? NULL : "      n", false);
	kpx_catalog_end(&catalog);
	return view;
}

static Interval *
active_argument(FunctionCallInfo fcinfo)
{
	Interval *active = PG_ARGISNULL(3) ? NULL : PG_GETARG_INTERVAL_P(3);

	if (active && DatumGetBool(DirectFunctionCall2(interval_le, IntervalPGetDatum(active), IntervalPGetDatum(palloc0(sizeof(Interval))))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"active\" must be longer than zero"),
				 errhint("NULL keeps all users with events.")));
	return active;
}

PG_FUNCTION_INFO_V1(kpx_create_recommendation_view);
Datum
kpx_create_recommendation_view(PG_FUNCTION_ARGS)
{
	char *name = kpx_text_argument(fcinfo, 0, "module");
	int k = kpx_count_argument(fcinfo, 1, "k", 10, 1);
	Interval *active = active_argument(fcinfo);
	KpxRegistry *registry = kpx_registry();
	KpxModule *module = kpx_find_module(registry, name);
	KpxModule **modules = &module;
	int n_modules = 1;
	Made made = name_argument(fcinfo, name);
	KpxIdentity before;
	KpxRecommendation *all;
	int n;
	Oid view;

	if (module->active_model)
		n_modules = kpx_registered_modules(registry, kpx_model(registry, module->active_model), &modules);
	kpx_identity_enter(&before, GetUserId(), 0);
	SPI_connect();
	create_table(&made, kpx_user_kind(modules, n_modules), kpx_module_item_kind(module), name);
	create_view(&made, module);
	SPI_finish();
	kpx_identity_leave(&before);
	view = register_view(&made, name, k, active);
	all = kpx_recommendations(name, &n);
	for (int i = 0; i < n; i++)
		if (all[i].view == view)
			(void) kpx_recommendation_refresh(&all[i]);
	PG_RETURN_OID(view);
}

/* ------------------------------------------------------------ dropping */

static void
forget_view(Oid rows)
{
	Oid types[] = {OIDOID};
	Datum values[] = {ObjectIdGetDatum(rows)};
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("DELETE FROM kpx.recommendation WHERE rows = $1", 1, types, values, NULL, false);
	kpx_catalog_end(&catalog);
}

PG_FUNCTION_INFO_V1(kpx_drop_recommendation_view);
Datum
kpx_drop_recommendation_view(PG_FUNCTION_ARGS)
{
	Oid relation = PG_GETARG_OID(0);
	int n;
	KpxRecommendation *all = kpx_recommendations(NULL, &n);

	for (int i = 0; i < n; i++)
	{
		KpxIdentity before;

		if (all[i].view != relation && all[i].rows != relation)
			continue;
		kpx_identity_enter(&before, GetUserId(), 0);
		SPI_connect();
		if (get_rel_relkind(all[i].view) == RELKIND_VIEW)
			execute(psprintf("DROP VIEW %s", kpx_qualified_name(all[i].view)));
		execute(psprintf("DROP TABLE %s", all[i].rows_sql));
		SPI_finish();
		kpx_identity_leave(&before);
		forget_view(all[i].rows);
		PG_RETURN_VOID();
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("%s is no recommendation view", get_rel_name(relation) ? kpx_qualified_name(relation) : psprintf("relation with OID %u", relation)),
			 errhint("kpx_recommendation_views lists yours.")));
}
