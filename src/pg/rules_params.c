/*
 * rules_params.c
 *	  Arguments of kpx_mine_rules: thresholds as exact whole numbers, baskets, parameters.
 */
#include "rules.h"

#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "json_params.h"

KpxRuleParams
kpx_rule_params_parse(Datum datum)
{
	double max_itemsets = 1e7;
	double max_rules = 1e6;
	KpxJsonParam params[] = {{"max_itemsets", &max_itemsets, 1, 4e9, true}, {"max_rules", &max_rules, 1, 1e9, true}};

	if (datum != (Datum) 0)
		kpx_json_params(datum, "params", params, lengthof(params));
	return (KpxRuleParams){(int64) max_itemsets, (int64) max_rules};
}

/* number * factor, rounded to a whole number; false outside 0 .. 2^62. */
static bool
scaled(Datum number, int64 factor, int64 *whole)
{
	Datum product;

	if (numeric_is_nan(DatumGetNumeric(number)) || numeric_is_inf(DatumGetNumeric(number)))
		return false;
	product = DirectFunctionCall2(numeric_mul, number, NumericGetDatum(int64_to_numeric(factor)));
	if (!(DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, product)) < 4e18) ||
		!(DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, product)) >= 0))
		return false;
	*whole = DatumGetInt64(DirectFunctionCall1(numeric_int8, product));
	return true;
}

static char *
numeric_text(Datum number)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, number));
}

uint64
kpx_billionths(Datum number, const char *name)
{
	int64 billionths;

	if (!scaled(number, (int64) KPX_FRACTION, &billionths) || billionths > (int64) KPX_FRACTION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be between 0 and 1, found %s", name, numeric_text(number))));
	return (uint64) billionths;
}

uint64
kpx_min_support(Datum min_support, uint64 baskets)
{
	int64 billionths;
	int64 count;

	if (!scaled(min_support, (int64) KPX_FRACTION, &billionths) || !scaled(min_support, 1, &count) || billionths == 0 ||
		(billionths >= (int64) KPX_FRACTION && (uint64) billionths != (uint64) count * KPX_FRACTION))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"min_support\" must be a fraction of the baskets or a whole number of them, found %s",
						numeric_text(min_support)),
				 errhint("0.01 is one basket in a hundred, 100 is a hundred baskets, 1 is one basket.")));
	if (billionths >= (int64) KPX_FRACTION)
		return (uint64) count;
	/* baskets are below 2^32, billionths below 2^30; what one basket does is no rule, and nobody's business */
	return Max(2, (baskets * (uint64) billionths + KPX_FRACTION - 1) / KPX_FRACTION);
}

int64
kpx_basket_argument(const char *basket)
{
	static const char prefix[] = "user per ";
	Interval *interval;

	if (strcmp(basket, "user") == 0)
		return 0;
	if (strncmp(basket, prefix, strlen(prefix)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"basket\" is \"%s\", expected user or user per <interval>", basket),
				 errhint("For instance 'user per 1 day'. Baskets with numbers of their own: register a view that gives them as user_id.")));
	interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(basket + strlen(prefix)),
													 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	if (interval->month != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"basket\": months and years have no fixed length"), errhint("Say 'user per 30 days'.")));
	if (interval->day < 0 || interval->time < 0 || interval->day > 1000000 || interval->time > 1000000 * USECS_PER_DAY ||
		interval->day * USECS_PER_DAY + interval->time < USECS_PER_SEC)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"basket\": the interval must be between one second and a million days")));
	return interval->day * USECS_PER_DAY + interval->time;
}
