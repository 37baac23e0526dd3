/*
 * profile.c
 *	  kpx_user_profile and kpx_profiles: the profiles of one user and of all.
 */
#include "profile.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "identity.h"
#include "ingest.h"
#include "profile_json.h"
#include "request.h"

#define SHOWN_INTERESTS 20 /* over all modules, in kpx_user_profile */

KpxModule **
kpx_profile_modules(FunctionCallInfo fcinfo, int argument, int *n)
{
	KpxRegistry *registry = kpx_registry();
	KpxModule **modules = palloc(sizeof(KpxModule *) * Max(registry->n_modules, 1));
	Datum *names;
	bool *nulls;
	int given;

	*n = 0;
	if (PG_ARGISNULL(argument))
	{
		int passed_over = 0;

		for (int m = 0; m < registry->n_modules; m++)
			if (!kpx_may_read_sources(&registry->modules[m]))
				continue;
			else if (kpx_reads_unasked(registry->modules[m].owner))
				modules[(*n)++] = &registry->modules[m];
			else
				passed_over++;
		if (passed_over > 0)
			ereport(NOTICE,
					(errmsg("%d modules of other roles are passed over: a superuser reads them when they are named", passed_over),
					 errhint("Their views would run with a superuser's rights. Ask as their owner, or name modules.")));
		return modules;
	}
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(argument), TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &given);
	for (int i = 0; i < given; i++)
	{
		KpxModule *module;
		int same = 0;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"modules\" must not contain NULL")));
		module = kpx_find_module(registry, TextDatumGetCString(names[i]));
		while (same < *n && modules[same] != module)
			same++;
		if (same == *n)
			modules[(*n)++] = module;
	}
	return modules;
}

int64
kpx_half_life_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? 0 : kpx_half_life(PG_GETARG_INTERVAL_P(n));
}

/* ------------------------------------------------------------ kpx_profiles */

typedef struct Rows
{
	ReturnSetInfo *rsinfo;
	KpxIdKind kind;
	Oid user_type;
} Rows;

static void
put_profile(void *state, KpxId user, const KpxProfile *profile)
{
	Rows *rows = state;
	Datum values[2] = {kpx_id_to_datum(rows->kind, user, rows->user_type), kpx_profile_to_datum(profile)};
	bool nulls[2] = {false};

	tuplestore_putvalues(rows->rsinfo->setResult, rows->rsinfo->setDesc, values, nulls);
}

/* first: number of the argument modules. */
static Datum
profiles(FunctionCallInfo fcinfo, int first, Oid user_type)
{
	Rows rows = {(ReturnSetInfo *) fcinfo->resultinfo};
	KpxModule **modules;
	KpxIdKind wanted;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	modules = kpx_profile_modules(fcinfo, first, &n);
	rows.kind = kpx_user_kind(modules, n);
	rows.user_type = user_type;
	if (!kpx_id_kind(user_type, &wanted) || (wanted != rows.kind && wanted != KPX_ID_TEXT))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("users have %s ids, the answer would have type %s", kpx_id_kind_name(rows.kind), format_type_be(user_type)),
				 errhint("Pass a witness of the right type: user_type => NULL::%s.", format_type_be(kpx_id_kind_type(rows.kind)))));
	(void) kpx_profiles_read(modules, n, kpx_consents_read(kpx_registry(), KPX_FOR_ANSWERS, modules, n, rows.kind, NULL, 0), NULL,
							 kpx_half_life_argument(fcinfo, first + 1), true, NULL, put_profile, &rows);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(kpx_profiles);
Datum
kpx_profiles(PG_FUNCTION_ARGS)
{
	return profiles(fcinfo, 0, TEXTOID);
}

PG_FUNCTION_INFO_V1(kpx_profiles_typed);
Datum
kpx_profiles_typed(PG_FUNCTION_ARGS)
{
	return profiles(fcinfo, 1, get_fn_expr_argtype(fcinfo->flinfo, 0));
}

/* ------------------------------------------------------------ kpx_user_profile */

typedef struct Kept
{
	MemoryContext context;
	KpxProfile *profile;
} Kept;

static void
keep_profile(void *state, KpxId user, const KpxProfile *profile)
{
	Kept *kept = state;
	MemoryContext old = MemoryContextSwitchTo(kept->context);

	kept->profile = kpx_profile_from_datum(kpx_profile_to_datum(profile));
	MemoryContextSwitchTo(old);
}

KpxProfile *
kpx_profile_of_user(KpxModule **modules, int n, int64 half_life, KpxId user)
{
	Kept kept = {CurrentMemoryContext, NULL};
	KpxConsents *consents = kpx_consents_read(kpx_registry(), KPX_FOR_ANSWERS, modules, n, kpx_user_kind(modules, n), &user, 1);

	(void) kpx_profiles_read(modules, n, consents, NULL, half_life, true, &user, keep_profile, &kept);
	return kept.profile;
}

/* Values of one user's attributes as they come, one JSON pair each. */
typedef struct Basic
{
	KpxAttribute *values; /* NULL until any source has a row */
	int n;
	MemoryContext context;
} Basic;

static void
keep_attributes(void *state, KpxId user, int first, int n, const KpxAttribute *attributes)
{
	Basic *basic = state;
	MemoryContext old = MemoryContextSwitchTo(basic->context);

	if (first + n > basic->n)
	{
		KpxAttribute *bigger = palloc0(sizeof(KpxAttribute) * (first + n));

		for (int i = 0; i < first + n; i++)
			bigger[i].missing = true;
		if (basic->n)
			memcpy(bigger, basic->values, sizeof(KpxAttribute) * basic->n);
		basic->values = bigger;
		basic->n = first + n;
	}
	/* The first row of a source that has a value wins. */
	for (int i = 0; i < n; i++)
		if (basic->values[first + i].missing && !attributes[i].missing)
		{
			basic->values[first + i] = attributes[i];
			basic->values[first + i].text = attributes[i].text ? pstrdup(attributes[i].text) : NULL;
		}
	MemoryContextSwitchTo(old);
}

/* All columns of all sources, null where the user has no value. */
static void
write_basic(StringInfo out, KpxIdKind kind, KpxId user)
{
	Basic basic = {NULL, 0, CurrentMemoryContext};
	KpxAttributes *attributes = kpx_attributes_read(kind, &user, keep_attributes, &basic);

	appendStringInfoString(out, "{\"basic\": {");
	for (int i = 0; i < attributes->n_columns; i++)
	{
		const KpxAttribute *value = i < basic.n ? &basic.values[i] : NULL;

		if (i)
			appendStringInfoString(out, ", ");
		escape_json(out, attributes->columns[i].name);
		appendStringInfoString(out, ": ");
		if (value == NULL || value->missing)
			appendStringInfoString(out, "null");
		else if (value->text)
			escape_json(out, value->text);
		else if (attributes->columns[i].kind == KPX_ATTRIBUTE_BOOLEAN)
			appendStringInfoString(out, value->value > 0 ? "true" : "false");
		else
			kpx_json_number(out, value->value);
	}
	appendStringInfoChar(out, '}');
}

/* Like the profile's own JSON, without interests and with the number of items. */
static void
write_behaviour(StringInfo out, const KpxProfile *profile)
{
	appendStringInfoString(out, ", \"behaviour\": {");
	for (uint32 m = 0; m < profile->n_modules; m++)
	{
		if (m)
			appendStringInfoString(out, ", ");
		kpx_json_name(out, profile->modules[m].name);
		appendStringInfo(out, ": {\"items\": %.0f, ", rint(kpx_profile_items(profile, &profile->modules[m])));
		kpx_json_behaviour(out, profile, &profile->modules[m]);
		appendStringInfoChar(out, '}');
	}
	appendStringInfoChar(out, '}');
}

static void
write_interest_list(StringInfo out, const KpxProfile *profile, int module, uint32 limit)
{
	KpxInterest *interests = palloc(sizeof(KpxInterest) * Max(profile->n_features, 1));
	uint32 n = kpx_profile_interests(profile, module, interests);

	kpx_interests_rank(interests, n);
	appendStringInfoChar(out, '[');
	for (uint32 i = 0; i < Min(n, limit); i++)
	{
		appendStringInfoString(out, i ? ", {\"feature\": " : "{\"feature\": ");
		kpx_json_name(out, interests[i].name);
		appendStringInfoString(out, ", \"weight\": ");
		kpx_json_number(out, interests[i].weight);
		appendStringInfoChar(out, '}');
	}
	appendStringInfoChar(out, ']');
}

static Datum
user_profile(FunctionCallInfo fcinfo, Oid user_type, bool from_text)
{
	KpxModule **modules;
	int n;
	KpxIdKind kind;
	KpxId user;
	KpxProfile *profile;
	StringInfoData out;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	modules = kpx_profile_modules(fcinfo, 1, &n);
	kind = kpx_user_kind(modules, n);
	user = kpx_id_argument(PG_GETARG_DATUM(0), user_type, kind, from_text, "user_id");
	profile = kpx_profile_of_user(modules, n, kpx_half_life_argument(fcinfo, 2), user);
	if (profile == NULL)
		profile = palloc0(sizeof(KpxProfile));
	initStringInfo(&out);
	write_basic(&out, kind, user);
	write_behaviour(&out, profile);
	appendStringInfoString(&out, ", \"interests\": ");
	write_interest_list(&out, profile, -1, SHOWN_INTERESTS);
	appendStringInfoChar(&out, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data));
}

PG_FUNCTION_INFO_V1(kpx_user_profile);
Datum
kpx_user_profile(PG_FUNCTION_ARGS)
{
	return user_profile(fcinfo, get_fn_expr_argtype(fcinfo->flinfo, 0), false);
}

PG_FUNCTION_INFO_V1(kpx_user_profile_text);
Datum
kpx_user_profile_text(PG_FUNCTION_ARGS)
{
	return user_profile(fcinfo, TEXTOID, true);
}
