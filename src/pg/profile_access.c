/*
 * profile_access.c
 *	  What a profile says, as rows: kpx_interests, kpx_behaviour.
 */
#include "profile.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

/* Index of the module named by argument 1, -1 for all (NULL), -2 when the profile has none such. */
static int
module_argument(FunctionCallInfo fcinfo, const KpxProfile *profile)
{
	KpxName name;

	if (PG_ARGISNULL(1))
		return -1;
	name = (KpxName){VARDATA_ANY(PG_GETARG_TEXT_PP(1)), (uint32) VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(1))};
	for (uint32 m = 0; m < profile->n_modules; m++)
		if (kpx_name_compare(profile->modules[m].name, name) == 0)
			return (int) m;
	return -2;
}

PG_FUNCTION_INFO_V1(kpx_interests);
Datum
kpx_interests(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	KpxProfile *profile;
	KpxInterest *interests;
	int module;
	uint32 n;
	uint32 limit = PG_UINT32_MAX;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	if (!PG_ARGISNULL(2))
	{
		if (PG_GETARG_INT32(2) < 1)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument \"n\" must be at least 1, found %d", PG_GETARG_INT32(2))));
		limit = (uint32) PG_GETARG_INT32(2);
	}
	profile = kpx_profile_from_datum(PG_GETARG_DATUM(0));
	module = module_argument(fcinfo, profile);
	if (module == -2)
		return (Datum) 0;
	interests = palloc(sizeof(KpxInterest) * Max(profile->n_features, 1));
	n = kpx_profile_interests(profile, module, interests);
	kpx_interests_rank(interests, n);
	for (uint32 i = 0; i < Min(n, limit); i++)
	{
		Datum values[2] = {PointerGetDatum(cstring_to_text_with_len(interests[i].name.bytes, (int) interests[i].name.length)),
						   Float8GetDatum(interests[i].weight)};
		bool nulls[2] = {false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* Sums of the kinds of a module, as a kind without a name. */
static KpxProfileKind
all_kinds(const KpxProfile *profile, const KpxProfileModule *module)
{
	KpxProfileKind all = {{NULL, 0}, 0, 0, INT64_MAX, INT64_MIN, 0, 0, 0, 0};

	for (uint32 k = module->kind; k < module->kind + module->kinds; k++)
	{
		const KpxProfileKind *kind = &profile->kinds[k];

		all.count += kind->count;
		all.dated += kind->dated;
		all.values += kind->values;
		/* Beyond the range of a single sum it would be no use. */
		if (__builtin_add_overflow(all.value, kind->value, &all.value) ||
			__builtin_add_overflow(all.duration, kind->duration, &all.duration))
			ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("the values of a module add up to more than 9.2e12")));
		all.durations += kind->durations;
		all.first = kind->dated ? Min(all.first, kind->first) : all.first;
		all.last = kind->dated ? Max(all.last, kind->last) : all.last;
	}
	return all;
}

static Datum
count_array(const uint32 *counts, int n)
{
	Datum elements[24];

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum((int64) counts[i]);
	return PointerGetDatum(construct_array(elements, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static void
put_kind(ReturnSetInfo *rsinfo, const KpxProfile *profile, const KpxProfileModule *module, const KpxProfileKind *kind)
{
	Datum values[13];
	bool nulls[13] = {false};
	bool whole = kind->name.bytes == NULL;
	double weeks = ((double) kind->last - (double) kind->first) / (7.0 * USECS_PER_DAY);

	values[0] = PointerGetDatum(cstring_to_text_with_len(module->name.bytes, (int) module->name.length));
	nulls[1] = whole;
	values[1] = whole ? (Datum) 0 : PointerGetDatum(cstring_to_text_with_len(kind->name.bytes, (int) kind->name.length));
	values[2] = Int64GetDatum((int64) kind->count);
	nulls[3] = nulls[4] = kind->dated == 0;
	values[3] = TimestampTzGetDatum(kind->first);
	values[4] = TimestampTzGetDatum(kind->last);
	nulls[5] = kind->dated < 2 || weeks < 1; /* what came within days says nothing about weeks */
	values[5] = Float8GetDatum(nulls[5] ? 0 : (double) (kind->dated - 1) / weeks);
	nulls[6] = nulls[7] = kind->values == 0;
	values[6] = DirectFunctionCall1(numeric_trim_scale, NumericGetDatum(int64_div_fast_to_numeric(kind->value, 6)));
	values[7] = Float8GetDatum(nulls[7] ? 0 : (double) kind->value / KPX_PROFILE_UNIT / (double) kind->values);
	nulls[8] = nulls[9] = kind->durations == 0;
	values[8] = Float8GetDatum((double) kind->duration / KPX_PROFILE_UNIT);
	values[9] = Float8GetDatum(nulls[9] ? 0 : (double) kind->duration / KPX_PROFILE_UNIT / (double) kind->durations);
	nulls[10] = nulls[11] = nulls[12] = !whole;
	values[10] = whole ? Int64GetDatum((int64) rint(kpx_profile_items(profile, module))) : (Datum) 0;
	values[11] = whole ? count_array(module->hours, 24) : (Datum) 0;
	values[12] = whole ? count_array(module->weekdays, 7) : (Datum) 0;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(kpx_behaviour);
Datum
kpx_behaviour(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	KpxProfile *profile;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	profile = kpx_profile_from_datum(PG_GETARG_DATUM(0));
	for (uint32 m = 0; m < profile->n_modules; m++)
	{
		const KpxProfileModule *module = &profile->modules[m];
		KpxProfileKind all = all_kinds(profile, module);

		if (module->kinds == 0)
			continue;
		put_kind(rsinfo, profile, module, &all);
		for (uint32 k = module->kind; k < module->kind + module->kinds; k++)
			put_kind(rsinfo, profile, module, &profile->kinds[k]);
	}
	return (Datum) 0;
}
