/*
 * consent_set.c
 *	  Recording consent, registering where the platform keeps it, and saying what holds.
 */
#include "consent.h"

#include "catalog/pg_type.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

#include "forget.h"
#include "request.h"

/* ------------------------------------------------------------ what users say */

/* Number of a module in an argument; 0 for NULL, any module. */
static int
module_argument(KpxRegistry *registry, FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? 0 : kpx_find_module(registry, text_to_cstring(PG_GETARG_TEXT_PP(n)))->id;
}

static const char *
purpose_argument(FunctionCallInfo fcinfo, int n)
{
	char *purpose = PG_ARGISNULL(n) ? "all" : text_to_cstring(PG_GETARG_TEXT_PP(n));

	if (strcmp(purpose, "all") != 0 && strcmp(purpose, kpx_purpose_names[KPX_FOR_TRAINING]) != 0 &&
		strcmp(purpose, kpx_purpose_names[KPX_FOR_ANSWERS]) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("purpose \"%s\" is not known", purpose),
				 errhint("Known purposes: training, answers, all.")));
	return purpose;
}

PG_FUNCTION_INFO_V1(kpx_set_consent);
Datum
kpx_set_consent(PG_FUNCTION_ARGS)
{
	Oid types[] = {TEXTOID, INT4OID, INT4OID, TEXTOID, BOOLOID};
	Datum values[5];
	KpxRegistry *registry = kpx_registry();
	KpxCatalog catalog;
	int source = module_argument(registry, fcinfo, 1);
	int target = module_argument(registry, fcinfo, 2);
	const char *purpose = purpose_argument(fcinfo, 3);
	char *user_id;

	PreventCommandIfReadOnly("kpx_set_consent()");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(4))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be NULL", PG_ARGISNULL(0) ? "user_id" : "allowed")));
	if (source != 0 && source == target)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("consent is about the use of a module's events for another module, found \"%s\" twice",
						text_to_cstring(PG_GETARG_TEXT_PP(1))),
				 errdetail("A module may always use its own.")));
	user_id = kpx_user_text(registry, PG_GETARG_DATUM(0), get_fn_expr_argtype(fcinfo->flinfo, 0));
	kpx_lock_user(user_id);
	if (kpx_is_forgotten(kpx_registry(), user_id)) /* as it is once the lock is ours */
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("this user was forgotten: nothing about them is stored again"),
				 errhint("See kpx_forget_user.")));
	values[0] = CStringGetTextDatum(user_id);
	values[1] = Int32GetDatum(source);
	values[2] = Int32GetDatum(target);
	values[3] = CStringGetTextDatum(purpose);
	values[4] = PG_GETARG_DATUM(4);
	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("INSERT INTO kpx.consent (user_id, source_module_id, target_module_id, purpose, allowed) VALUES ($1, $2, $3, $4, $5)",
						5, types, values, NULL, false);
	kpx_catalog_end(&catalog);
	PG_RETURN_VOID();
}

/* ------------------------------------------------------------ what holds */

static void
put_pairs(FunctionCallInfo fcinfo, KpxRegistry *registry, KpxPurpose purpose, KpxModule **modules, KpxIdKind kind, KpxId user)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	KpxConsents *consents = kpx_consents_read(registry, purpose, modules, registry->n_modules, kind, &user, 1);

	for (int s = 0; s < registry->n_modules; s++)
		for (int t = 0; t < registry->n_modules; t++)
		{
			Datum values[5] = {
				CStringGetTextDatum(modules[s]->name),
				CStringGetTextDatum(modules[t]->name),
				CStringGetTextDatum(kpx_purpose_names[purpose]),
				BoolGetDatum(kpx_consent_required(registry, modules[s], modules[t])),
				BoolGetDatum(kpx_consents_allow(consents, user, modules[s], modules[t])),
			};
			bool nulls[5] = {false};

			if (s != t)
				tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
}

PG_FUNCTION_INFO_V1(kpx_consent_of);
Datum
kpx_consent_of(PG_FUNCTION_ARGS)
{
	KpxRegistry *registry = kpx_registry();
	KpxModule **modules = palloc(sizeof(KpxModule *) * Max(registry->n_modules, 1));
	KpxIdKind kind;
	KpxId user;
	char *user_id;

	InitMaterializedSRF(fcinfo, 0);
	user_id = kpx_user_text(registry, PG_GETARG_DATUM(0), get_fn_expr_argtype(fcinfo->flinfo, 0));
	for (int m = 0; m < registry->n_modules; m++)
		modules[m] = &registry->modules[m];
	if (!kpx_registered_user_kind(registry, &kind))
		kind = KPX_ID_TEXT;
	user = kpx_id_from_text(kind, user_id);
	put_pairs(fcinfo, registry, KPX_FOR_TRAINING, modules, kind, user);
	put_pairs(fcinfo, registry, KPX_FOR_ANSWERS, modules, kind, user);
	return (Datum) 0;
}

/* ------------------------------------------------------------ registering */

/* A column argument that must have a type of this category; NULL: none. */
static char *
column_argument(FunctionCallInfo fcinfo, int n, Oid relation, char category, const char *expected)
{
	char *column = PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
	char found;
	bool preferred;
	Oid type;

	if (column == NULL)
		return NULL;
	type = kpx_column_type(relation, column);
	get_type_category_preferred(getBaseType(type), &found, &preferred);
	if (found != category)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of the consent relation has type %s, expected %s", column, format_type_be(type), expected),
				 errhint("Register a view that casts it.")));
	return column;
}

PG_FUNCTION_INFO_V1(kpx_add_consent_source);
Datum
kpx_add_consent_source(PG_FUNCTION_ARGS)
{
	static const char *const required[] = {"relation", "user_id", "source_module", "target_module"};
	Oid types[] = {NAMEOID, REGCLASSOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum values[8];
	char nulls[] = "        ";
	KpxRegistry *registry = kpx_registry();
	KpxCatalog catalog;
	Oid relation;
	char *columns[5];
	char *name;
	int32 id;
	bool null;

	PreventCommandIfReadOnly("kpx_add_consent_source()");
	for (int i = 0; i < (int) lengthof(required); i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"%s\" must not be NULL", required[i])));
	kpx_require_all_modules(registry);
	relation = PG_GETARG_OID(0);
	name = kpx_relation_sql(relation, psprintf("%u", relation), "argument", "relation");
	if (pg_class_aclcheck(relation, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied for relation %s", name)));
	columns[0] = text_to_cstring(PG_GETARG_TEXT_PP(1));
	(void) kpx_require_id_kind(kpx_column_type(relation, columns[0]), psprintf("column \"%s\" of the consent relation", columns[0]));
	columns[1] = column_argument(fcinfo, 2, relation, TYPCATEGORY_STRING, "text");
	columns[2] = column_argument(fcinfo, 3, relation, TYPCATEGORY_STRING, "text");
	columns[3] = column_argument(fcinfo, 4, relation, TYPCATEGORY_STRING, "text");
	columns[4] = column_argument(fcinfo, 5, relation, TYPCATEGORY_BOOLEAN, "boolean");
	values[0] = DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(GetUserId(), false)));
	values[1] = ObjectIdGetDatum(relation);
	values[2] = CStringGetTextDatum(name);
	for (int c = 0; c < 5; c++)
	{
		values[3 + c] = columns[c] ? CStringGetTextDatum(columns[c]) : (Datum) 0;
		nulls[3 + c] = columns[c] ? ' ' : 'n';
	}
	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("INSERT INTO kpx.consent_source (owner, relation, relation_name, user_id, source_module, target_module, purpose, allowed)"
						" VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
						8, types, values, nulls, false);
	id = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	kpx_catalog_end(&catalog);
	PG_RETURN_INT32(id);
}

PG_FUNCTION_INFO_V1(kpx_drop_consent_source);
Datum
kpx_drop_consent_source(PG_FUNCTION_ARGS)
{
	Oid types[] = {INT4OID};
	Datum values[] = {PG_GETARG_DATUM(0)};
	KpxCatalog catalog;

	PreventCommandIfReadOnly("kpx_drop_consent_source()");
	kpx_require_all_modules(kpx_registry());
	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("DELETE FROM kpx.consent_source WHERE id = $1", 1, types, values, NULL, false);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("consent source %d is not registered", PG_GETARG_INT32(0))));
	kpx_catalog_end(&catalog);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(kpx_require_consent);
Datum
kpx_require_consent(PG_FUNCTION_ARGS)
{
	KpxRegistry *registry = kpx_registry();
	KpxModule *source = kpx_find_module(registry, kpx_text_argument(fcinfo, 0, "source_module"));
	KpxModule *target = kpx_find_module(registry, kpx_text_argument(fcinfo, 1, "target_module"));
	Oid types[] = {INT4OID, INT4OID, BOOLOID};
	Datum values[] = {Int32GetDatum(source->id), Int32GetDatum(target->id), PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2)};
	KpxCatalog catalog;

	PreventCommandIfReadOnly("kpx_require_consent()");
	if (source == target)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("a module may always use its own events"),
				 errdetail("Arguments \"source_module\" and \"target_module\" are both \"%s\".", source->name)));
	kpx_require_owner(source->owner, "module", source->name);
	kpx_catalog_begin(&catalog, false);
	if (PG_ARGISNULL(2))
		kpx_catalog_execute("DELETE FROM kpx.consent_rule WHERE source_module_id = $1 AND target_module_id = $2", 2, types, values, NULL, false);
	else
		kpx_catalog_execute("INSERT INTO kpx.consent_rule VALUES ($1, $2, $3)"
							" ON CONFLICT (source_module_id, target_module_id) DO UPDATE SET required = excluded.required",
							3, types, values, NULL, false);
	kpx_catalog_end(&catalog);
	PG_RETURN_VOID();
}
