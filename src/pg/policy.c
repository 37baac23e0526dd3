/*
 * policy.c
 *	  kpx_set_policy: versions of the policy, kept whole and never changed.
 */
#include "fault.h"
#include "policy.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/acl.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

KpxPolicy *
kpx_policy(int64 id)
{
	static SPIPlanPtr by_id = NULL;
	static SPIPlanPtr active = NULL;
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(id)};
	MemoryContext context = CurrentMemoryContext;
	KpxCatalog catalog;
	KpxPolicy *policy;
	bool null;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute_planned(id ? &by_id : &active,
								id ? "SELECT id, settings FROM kpx.policy WHERE id = $1"
								   : "SELECT id, settings FROM kpx.policy WHERE active AND $1 = 0",
								1, types, values, NULL, true);
	if (SPI_processed == 0 && id != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("policy " INT64_FORMAT " does not exist", id),
				 errhint("See the view kpx_policies.")));
	if (SPI_processed == 0)
	{
		MemoryContextSwitchTo(context);
		policy = kpx_policy_parse((Datum) 0);
	}
	else
	{
		HeapTuple tuple = SPI_tuptable->vals[0];
		TupleDesc desc = SPI_tuptable->tupdesc;
		Datum settings = SPI_getbinval(tuple, desc, 2, &null);

		MemoryContextSwitchTo(context);
		policy = kpx_policy_parse(PointerGetDatum(PG_DETOAST_DATUM_COPY(settings)));
		policy->id = DatumGetInt64(SPI_getbinval(tuple, desc, 1, &null));
	}
	kpx_catalog_end(&catalog);
	MemoryContextSwitchTo(context);
	return policy;
}

/* Who may set this: the owner of the module, or of all modules. */
static void
require_rights(KpxRegistry *registry, const char *module, const char *home)
{
	if (home && !module)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"home_module\" needs \"module\""),
				 errhint("A pair is a home module and the module whose items are shown there.")));
	if (home)
		(void) kpx_find_module(registry, home);
	if (module)
	{
		KpxModule *m = kpx_find_module(registry, module);

		kpx_require_owner(m->owner, "module", m->name);
		return;
	}
	for (int i = 0; i < registry->n_modules; i++)
		kpx_require_owner(registry->modules[i].owner, "module", registry->modules[i].name);
}

/* The boost column must be a number of the module's item table. */
static void
check_boost(KpxRegistry *registry, const KpxPolicy *policy, const char *module)
{
	const KpxSettings *s = module ? kpx_policy_module(policy, module) : NULL;
	Oid type;

	if (s == NULL || s->boost == NULL)
		return;
	type = getBaseType(kpx_column_type(kpx_find_module(registry, module)->items, s->boost));
	if (type != INT2OID && type != INT4OID && type != INT8OID && type != FLOAT4OID && type != FLOAT8OID && type != NUMERICOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of the items of module \"%s\" has type %s, expected a number", s->boost, module,
						format_type_be(type))));
}

/* The settings of based_on (0: the active version) with params merged into one scope; NULLs take settings out. */
static Datum
merged_settings(int64 based_on, const char *module, const char *home, Datum params, int64 *base)
{
	Oid types[] = {INT8OID, TEXTOID, TEXTOID, JSONBOID};
	Datum values[] = {Int64GetDatum(based_on), module ? CStringGetTextDatum(module) : (Datum) 0,
					  home ? CStringGetTextDatum(home) : (Datum) 0, params};
	char nulls[] = {' ', module ? ' ' : 'n', home ? ' ' : 'n', ' ', '\0'};
	bool null;

	kpx_catalog_execute(
		"WITH base AS (SELECT id, settings FROM kpx.policy WHERE CASE WHEN $1 = 0 THEN active ELSE id = $1 END),"
		" old AS (SELECT (SELECT id FROM base) AS id, coalesce((SELECT settings FROM base), '{}'::jsonb) AS s),"
		" path AS (SELECT CASE WHEN $3 IS NOT NULL THEN ARRAY['pairs', $3, $2] WHEN $2 IS NOT NULL THEN ARRAY['modules', $2]"
		" ELSE ARRAY['all'] END AS p)"
		" SELECT id, jsonb_set(CASE WHEN $3 IS NOT NULL THEN jsonb_set(jsonb_set(s, '{pairs}', coalesce(s->'pairs', '{}')),"
		" ARRAY['pairs', $3], coalesce(s#>ARRAY['pairs', $3], '{}'))"
		" WHEN $2 IS NOT NULL THEN jsonb_set(s, '{modules}', coalesce(s->'modules', '{}')) ELSE s END,"
		" p, jsonb_strip_nulls(coalesce(s#>p, '{}') || $4)) FROM old, path",
		4, types, values, nulls, false);
	*base = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	if (null)
		*base = 0;
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null);
}

/*
 * Times of the module's campaigns, which the caller means in their own time zone, in UTC: a campaign
 * is known by its start, which must be the same moment for sessions of any time zone.
 */
static Datum
in_utc(Datum settings, const char *module)
{
	static const char *const campaigns[] = {"budget", "quota"};
	static const char *const ends[] = {"from", "to"};
	Oid types[] = {JSONBOID, TEXTOID, TEXTOID, TEXTOID};
	Datum values[] = {settings, CStringGetTextDatum(module), (Datum) 0, (Datum) 0};
	bool null;

	for (int i = 0; i < 4; i++)
	{
		values[2] = CStringGetTextDatum(campaigns[i / 2]);
		values[3] = CStringGetTextDatum(ends[i % 2]);
		kpx_catalog_execute("SELECT CASE WHEN $1 #> p IS NULL THEN $1 ELSE jsonb_set($1, p,"
							" to_jsonb(to_char(($1 #>> p)::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))) END"
							" FROM (SELECT ARRAY['modules', $2, $3, $4]) AS x(p)",
							4, types, values, NULL, true);
		values[0] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null);
	}
	return values[0];
}

PG_FUNCTION_INFO_V1(kpx_set_policy);
Datum
kpx_set_policy(PG_FUNCTION_ARGS)
{
	char *module = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum params = PG_ARGISNULL(1) ? DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")) : PG_GETARG_DATUM(1);
	char *home = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	bool activate = PG_ARGISNULL(3) || PG_GETARG_BOOL(3);
	int64 based_on = PG_ARGISNULL(4) ? 0 : PG_GETARG_INT64(4);
	KpxRegistry *registry = kpx_registry();
	KpxCatalog catalog;
	Datum settings;
	int64 base;
	int64 id;
	bool null;

	PreventCommandIfReadOnly("kpx_set_policy()");
	require_rights(registry, module, home);
	if (!JB_ROOT_IS_OBJECT(DatumGetJsonbP(params)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"params\" must be a JSON object")));
	if (based_on != 0)
		(void) kpx_policy(based_on);

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("LOCK TABLE kpx.policy IN SHARE ROW EXCLUSIVE MODE", 0, NULL, NULL, NULL, false);
	settings = merged_settings(based_on, module, home, params, &base);
	check_boost(registry, kpx_policy_parse(settings), module);
	if (module && !home)
		settings = in_utc(settings, module);
	if (activate)
		kpx_catalog_execute("UPDATE kpx.policy SET active = false WHERE active", 0, NULL, NULL, NULL, false);
	{
		Oid types[] = {NAMEOID, JSONBOID, INT8OID, BOOLOID, TEXTOID};
		Datum values[] = {
			DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(catalog.user, false))),
			settings,
			Int64GetDatum(base),
			BoolGetDatum(activate),
			PG_ARGISNULL(5) ? (Datum) 0 : PG_GETARG_DATUM(5),
		};
		char nulls[] = {' ', ' ', base ? ' ' : 'n', ' ', PG_ARGISNULL(5) ? 'n' : ' ', '\0'};

		KPX_FAULT("policy");
		kpx_catalog_execute("INSERT INTO kpx.policy (owner, settings, based_on, active, comment) VALUES ($1, $2, $3, $4, $5) RETURNING id", 5,
							types, values, nulls, false);
		id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	}
	kpx_catalog_end(&catalog);
	PG_RETURN_INT64(id);
}

/* ------------------------------------------------------------ kpx_policy_settings */

static void
put_setting(void *state, const char *key, const char *value, const char *set_for, const char *otherwise)
{
	ReturnSetInfo *rsinfo = state;
	Datum values[] = {CStringGetTextDatum(key), value ? CStringGetTextDatum(value) : (Datum) 0, CStringGetTextDatum(set_for),
					  otherwise ? CStringGetTextDatum(otherwise) : (Datum) 0};
	bool nulls[] = {false, value == NULL, false, otherwise == NULL};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(kpx_policy_settings);
Datum
kpx_policy_settings(PG_FUNCTION_ARGS)
{
	char *module = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *home = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));

	InitMaterializedSRF(fcinfo, 0);
	require_rights(kpx_registry(), module, home);
	kpx_policy_in_force(kpx_policy(PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2)), home, module, put_setting, fcinfo->resultinfo);
	return (Datum) 0;
}
