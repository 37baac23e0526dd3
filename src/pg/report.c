/*
 * report.c
 *	  What kpx_report cannot say in SQL: its arguments' errors, and the titles of items.
 */
#include "kpxrec.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

#include "factor.h"
#include "identity.h"
#include "registry.h"

/* The modules to speak of, NULL for all; raises for those that are not registered and for other languages. */
PG_FUNCTION_INFO_V1(kpx_report_modules);
Datum
kpx_report_modules(PG_FUNCTION_ARGS)
{
	char *language = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	int n;

	if (language == NULL)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"language\" must not be NULL")));
	if (strcmp(language, "en") != 0 && strcmp(language, "zh") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no report in language \"%s\"", language), errhint("Languages: en, zh.")));
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	(void) kpx_modules_argument(PG_GETARG_ARRAYTYPE_P(0), kpx_registry(), &n);
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

/* Registered module of this name, or NULL. */
static const KpxModule *
known_module(const char *name)
{
	KpxRegistry *registry = kpx_registry();

	for (int m = 0; m < registry->n_modules; m++)
		if (strcmp(registry->modules[m].name, name) == 0)
			return &registry->modules[m];
	return NULL;
}

static bool
may_read(Oid relation, const char *column)
{
	AttrNumber number = get_attnum(relation, column);

	return number != InvalidAttrNumber &&
		   (pg_class_aclcheck(relation, GetUserId(), ACL_SELECT) == ACLCHECK_OK ||
			pg_attribute_aclcheck(relation, number, GetUserId(), ACL_SELECT) == ACLCHECK_OK);
}

/*
 * A report reads all modules unasked, so whose code runs with whose rights matters: of modules of theirs, the
 * caller reads as the owner, of others only what runs nobody's code: plain tables without policies.
 */
static bool
is_plain(Oid relation)
{
	char kind = get_rel_relkind(relation);

	return (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE || kind == RELKIND_MATVIEW) &&
		   check_enable_rls(relation, InvalidOid, true) != RLS_ENABLED;
}

static Datum
read_titles(const KpxModule *module, KpxIdKind kind, Datum items, bool *null)
{
	Oid types[] = {TEXTARRAYOID};
	Datum titles;

	SPI_connect();
	if (SPI_execute_with_args(psprintf("SELECT pg_catalog.array_agg((SELECT i.%s::pg_catalog.text FROM %s i WHERE i.%s OPERATOR(pg_catalog.=) %s LIMIT 1) ORDER BY u.n)"
									   " FROM pg_catalog.unnest($1) WITH ORDINALITY u(id, n)",
									   quote_identifier(module->title), kpx_relation_sql(module->items, module->items_name, "module", module->name),
									   quote_identifier(module->item_id), kpx_id_sql(kind, "u.id")),
							  1, types, &items, NULL, true, 0) != SPI_OK_SELECT)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("cannot read %s", module->items_name)));
	titles = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, null);
	if (!*null)
		titles = SPI_datumTransfer(titles, false, -1);
	SPI_finish();
	return titles;
}

/*
 * Titles of items of a module, in the order of the ids: NULL for items that are not there, and for all
 * when the caller may not read titles or none were registered.
 */
PG_FUNCTION_INFO_V1(kpx_report_titles);
Datum
kpx_report_titles(PG_FUNCTION_ARGS)
{
	const KpxModule *module = known_module(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	KpxIdKind kind;
	Datum titles;
	bool null;

	if (module == NULL || module->title == NULL || get_rel_relkind(module->items) == '\0' || !may_read(module->items, module->title) ||
		!may_read(module->items, module->item_id) || !kpx_id_kind(get_atttype(module->items, get_attnum(module->items, module->item_id)), &kind))
		PG_RETURN_NULL();
	if (!kpx_has_role(module->owner))
	{
		if (!is_plain(module->items))
			PG_RETURN_NULL();
		titles = read_titles(module, kind, PG_GETARG_DATUM(1), &null);
	}
	else
	{
		KpxIdentity before;

		if (!kpx_identity_enter_owner(&before, module->owner, module->name))
			PG_RETURN_NULL();
		/* the owner may have lost what the caller has */
		null = !may_read(module->items, module->title) || !may_read(module->items, module->item_id);
		titles = null ? (Datum) 0 : read_titles(module, kind, PG_GETARG_DATUM(1), &null);
		kpx_identity_leave(&before);
	}
	if (null)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(titles);
}
