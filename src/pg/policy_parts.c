/*
 * policy_parts.c
 *	  Settings of a policy that have parts: caps, quiet hours, budgets, quotas, kinds of conversions.
 */
#include "policy_parts.h"

#include <math.h>

#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#define QUIET_EXAMPLE "like {\"from\": \"22:00\", \"to\": \"07:00\", \"timezone\": \"Asia/Shanghai\"}"
#define BUDGET_EXAMPLE \
	"like {\"impressions\": 1000, \"from\": \"2026-11-01\", \"to\": \"2026-12-01\"}, or, in money, " \
	"{\"spend\": 500, \"per_impression\": 0.01, \"per_click\": 0.2, \"per_conversion\": 5, \"from\": ..., \"to\": ...}"
#define QUOTA_EXAMPLE \
	"like {\"min_share\": 0.1, \"max_share\": 0.3, \"min_impressions\": 1000, \"from\": \"2026-11-01\", \"to\": \"2026-12-01\"}, " \
	"with one of the first three at least"

/* ------------------------------------------------------------ values */

void
kpx_setting_bad(const char *key, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("policy setting \"%s\" must be %s", key, expected)));
	pg_unreachable();
}

char *
kpx_setting_string(const JsonbValue *value)
{
	return pnstrdup(value->val.string.val, value->val.string.len);
}

bool
kpx_setting_is_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
}

double
kpx_setting_number(const char *key, const JsonbValue *value, double low, double high, bool whole)
{
	double number;

	if (value->type != jbvNumeric)
		kpx_setting_bad(key, "a number");
	number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	if (!(number >= low && number <= high) || (whole && number != rint(number)))
		kpx_setting_bad(key, psprintf("a %snumber between %g and %g, found %g", whole ? "whole " : "", low, high, number));
	return number;
}

double
kpx_setting_seconds(const char *key, const JsonbValue *value, double low, double high)
{
	Interval *interval;
	double seconds;

	if (value->type != jbvString)
		kpx_setting_bad(key, "an interval such as \"7 days\"");
	interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(kpx_setting_string(value)),
													 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	seconds = ((double) interval->month * DAYS_PER_MONTH + interval->day) * SECS_PER_DAY + (double) interval->time / USECS_PER_SEC;
	if (!(seconds >= low && seconds <= high))
		kpx_setting_bad(key, psprintf("between %g and %g seconds", low, high));
	return seconds;
}

/* Calls take for every key of an object. */
void
kpx_setting_each(const JsonbValue *object, void (*take)(void *state, const char *key, const JsonbValue *value), void *state)
{
	JsonbIterator *it = JsonbIteratorInit(object->val.binary.data);
	JsonbValue value;
	JsonbIteratorToken token;
	char *key = NULL;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = kpx_setting_string(&value);
		else if (token == WJB_VALUE)
			take(state, key, &value);
	}
}

/* ------------------------------------------------------------ caps */

static void
take_cap(void *state, const char *key, const JsonbValue *value)
{
	KpxCap *cap = state;

	if (strcmp(key, "n") == 0)
		cap->n = (int) kpx_setting_number("caps.n", value, 0, 1e6, true);
	else if (strcmp(key, "per") == 0)
		cap->seconds = kpx_setting_seconds("caps.per", value, 1, 1e9);
	else
		kpx_setting_bad("caps", "like {\"n\": 3, \"per\": \"7 days\"}");
}

static void
add_cap(KpxCaps *caps, const char *key, const JsonbValue *value)
{
	KpxCap *cap = &caps->cap[caps->n];

	if (!kpx_setting_is_object(value) || caps->n == KPX_MAX_CAPS)
		kpx_setting_bad(key, psprintf("at most %d objects like {\"n\": 3, \"per\": \"7 days\"}", KPX_MAX_CAPS));
	*cap = (KpxCap){-1, 0};
	kpx_setting_each(value, take_cap, cap);
	if (cap->n < 0 || cap->seconds == 0)
		kpx_setting_bad(key, "like {\"n\": 3, \"per\": \"7 days\"}");
	caps->n++;
}

/* One object, or an array of them. */
void
kpx_setting_caps(KpxCaps *caps, const char *key, const JsonbValue *value)
{
	JsonbIterator *it;
	JsonbValue element;
	JsonbIteratorToken token;

	caps->n = 0;
	if (kpx_setting_is_object(value))
	{
		add_cap(caps, key, value);
		return;
	}
	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		kpx_setting_bad(key, "like {\"n\": 3, \"per\": \"7 days\"}, or an array of such");
	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &element, true);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
		if (token == WJB_ELEM)
			add_cap(caps, key, &element);
}

/* ------------------------------------------------------------ quiet hours */

/* "HH:MM" in minutes. */
static int
minutes_of(const JsonbValue *value)
{
	TimeADT time;

	if (value->type != jbvString)
		kpx_setting_bad("quiet_hours", QUIET_EXAMPLE);
	time = DatumGetTimeADT(DirectFunctionCall3(time_in, CStringGetDatum(kpx_setting_string(value)), ObjectIdGetDatum(InvalidOid),
											   Int32GetDatum(-1)));
	return (int) (time / (60 * USECS_PER_SEC));
}

static void
take_quiet(void *state, const char *key, const JsonbValue *value)
{
	KpxSettings *s = state;

	if (strcmp(key, "from") == 0)
		s->quiet_from = minutes_of(value);
	else if (strcmp(key, "to") == 0)
		s->quiet_to = minutes_of(value);
	else if (strcmp(key, "timezone") == 0 && value->type == jbvString)
	{
		s->quiet_zone = kpx_setting_string(value);
		/* raises 22023 for a zone that does not exist */
		(void) DirectFunctionCall2(timestamptz_zone, CStringGetTextDatum(s->quiet_zone), TimestampTzGetDatum(0));
	}
	else
		kpx_setting_bad("quiet_hours", QUIET_EXAMPLE);
}

void
kpx_setting_quiet(KpxSettings *s, const JsonbValue *value)
{
	if (!kpx_setting_is_object(value))
		kpx_setting_bad("quiet_hours", QUIET_EXAMPLE);
	s->quiet_from = s->quiet_to = -1;
	kpx_setting_each(value, take_quiet, s);
	s->quiet = true;
	if (s->quiet_from < 0 || s->quiet_to < 0 || s->quiet_from == s->quiet_to)
		kpx_setting_bad("quiet_hours", "a from and a to that differ");
}

/* ------------------------------------------------------------ campaigns */

static TimestampTz
time_of(const JsonbValue *value, const char *setting, const char *example)
{
	TimestampTz at;

	if (value->type != jbvString)
		kpx_setting_bad(setting, example);
	at = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(kpx_setting_string(value)),
												 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	if (TIMESTAMP_NOT_FINITE(at))
		kpx_setting_bad(setting, "between two finite times");
	return at;
}

static void
take_budget(void *state, const char *key, const JsonbValue *value)
{
	KpxBudget *budget = state;

	if (strcmp(key, "impressions") == 0)
	{
		budget->limit = kpx_setting_number("budget.impressions", value, 0, 1e15, true);
		budget->in_impressions = true;
	}
	else if (strcmp(key, "spend") == 0)
		budget->limit = kpx_setting_number("budget.spend", value, 0, 1e15, false);
	else if (strcmp(key, "per_impression") == 0)
		budget->per_impression = kpx_setting_number("budget.per_impression", value, 0, 1e9, false);
	else if (strcmp(key, "per_click") == 0)
		budget->per_click = kpx_setting_number("budget.per_click", value, 0, 1e9, false);
	else if (strcmp(key, "per_conversion") == 0)
		budget->per_conversion = kpx_setting_number("budget.per_conversion", value, 0, 1e9, false);
	else if (strcmp(key, "from") == 0)
		budget->from = time_of(value, "budget", BUDGET_EXAMPLE);
	else if (strcmp(key, "to") == 0)
		budget->to = time_of(value, "budget", BUDGET_EXAMPLE);
	else
		kpx_setting_bad("budget", BUDGET_EXAMPLE);
}

void
kpx_setting_budget(KpxBudget *budget, const JsonbValue *value)
{
	double costs;

	if (!kpx_setting_is_object(value))
		kpx_setting_bad("budget", BUDGET_EXAMPLE);
	*budget = (KpxBudget){.limit = NAN};
	kpx_setting_each(value, take_budget, budget);
	costs = budget->per_impression + budget->per_click + budget->per_conversion;
	if (isnan(budget->limit) || budget->from == 0 || budget->to <= budget->from)
		kpx_setting_bad("budget", "impressions or spend, a from, and a later to");
	if (budget->in_impressions ? costs > 0 : costs == 0)
		kpx_setting_bad("budget", "in impressions, or in spend with what an impression, a click or a conversion costs");
	if (budget->in_impressions)
		budget->per_impression = 1;
}

static void
take_quota(void *state, const char *key, const JsonbValue *value)
{
	KpxQuota *quota = state;

	if (strcmp(key, "min_share") == 0)
		quota->min_share = kpx_setting_number("quota.min_share", value, 0, 1, false);
	else if (strcmp(key, "max_share") == 0)
		quota->max_share = kpx_setting_number("quota.max_share", value, 0, 1, false);
	else if (strcmp(key, "min_impressions") == 0)
		quota->min_impressions = kpx_setting_number("quota.min_impressions", value, 0, 1e15, true);
	else if (strcmp(key, "from") == 0)
		quota->from = time_of(value, "quota", QUOTA_EXAMPLE);
	else if (strcmp(key, "to") == 0)
		quota->to = time_of(value, "quota", QUOTA_EXAMPLE);
	else
		kpx_setting_bad("quota", QUOTA_EXAMPLE);
}

void
kpx_setting_quota(KpxQuota *quota, const JsonbValue *value)
{
	if (!kpx_setting_is_object(value))
		kpx_setting_bad("quota", QUOTA_EXAMPLE);
	*quota = (KpxQuota){.set = true, .max_share = 1};
	kpx_setting_each(value, take_quota, quota);
	if (quota->from == 0 || quota->to <= quota->from ||
		(quota->min_share == 0 && quota->max_share == 1 && quota->min_impressions == 0))
		kpx_setting_bad("quota", QUOTA_EXAMPLE);
	if (quota->min_share > quota->max_share)
		kpx_setting_bad("quota", "a min_share that is not above max_share");
}

/* ------------------------------------------------------------ conversions */

void
kpx_setting_conversions(KpxSettings *s, const JsonbValue *value)
{
	JsonbIterator *it;
	JsonbValue element;
	JsonbIteratorToken token;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		kpx_setting_bad("conversions", "an array of kinds of events");
	s->conversions = palloc(sizeof(char *) * JsonContainerSize(value->val.binary.data) + 1);
	s->n_conversions = 0;
	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &element, true);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
		if (token == WJB_ELEM)
		{
			if (element.type != jbvString)
				kpx_setting_bad("conversions", "an array of kinds of events");
			s->conversions[s->n_conversions++] = kpx_setting_string(&element);
		}
}
