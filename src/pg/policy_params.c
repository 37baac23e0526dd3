/*
 * policy_params.c
 *	  Settings of a policy, from jsonb.
 */
#include "policy.h"

#include <math.h>

#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

enum
{
	FOR_ALL = 1,
	FOR_MODULE = 2,
	FOR_PAIR = 4,
	FOR_EACH = FOR_ALL | FOR_MODULE | FOR_PAIR
};

/* Settings that are one number, or one interval. */
typedef struct Number
{
	const char *key;
	size_t offset;
	int scopes;
	bool interval;
	bool whole;
	double low;
	double high;
	double otherwise; /* when it is set nowhere */
} Number;

#define FIELD(name) #name, offsetof(KpxSettings, name)

static const Number numbers[] = {
	{FIELD(lambda), FOR_EACH, false, false, 0, 1, 0.5},
	{FIELD(weight), FOR_EACH, false, false, 0, 1e6, 1},
	{FIELD(value), FOR_EACH, false, false, 0, 1e12, NAN},
	{FIELD(margin), FOR_EACH, false, false, 0, 1e6, 1},
	{FIELD(min_gap), FOR_EACH, true, false, 0, 1e10, 0},
	{FIELD(dismissed_for), FOR_ALL | FOR_MODULE, true, false, 0, 1e10, 90 * 86400.0},
	{FIELD(max_per_slate), FOR_EACH, false, true, 0, KPX_MAX_SLATE, KPX_MAX_SLATE},
	{FIELD(max_per_category), FOR_ALL, false, true, 1, KPX_MAX_SLATE, KPX_MAX_SLATE},
	{FIELD(candidates), FOR_ALL | FOR_MODULE, false, true, 1, 1000, 30},
	{FIELD(diversity), FOR_ALL, false, false, 0, 100, 0.1},
	{FIELD(calibration), FOR_ALL, false, false, 0, 100, 0},
	{FIELD(epsilon), FOR_ALL, false, false, 0, 1, 0},
	{FIELD(top), FOR_ALL, false, true, 1, 1000, 20},
	{FIELD(attribution_window), FOR_ALL, true, false, 1, 1e9, 7 * 86400.0},
};

static const char *const known_keys =
	"lambda, weight, value, margin, min_gap, dismissed_for, max_per_slate, max_per_category, candidates, diversity, calibration, "
	"epsilon, top, attribution_window, caps, item_caps, quiet_hours, budget, boost, conversions";

__attribute__((noreturn)) static void bad(const char *key, const char *expected);

static void
bad(const char *key, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("policy setting \"%s\" must be %s", key, expected)));
	pg_unreachable();
}

static char *
string_of(const JsonbValue *value)
{
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static bool
is_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
}

static double
number_in(const char *key, const JsonbValue *value, double low, double high, bool whole)
{
	double number;

	if (value->type != jbvNumeric)
		bad(key, "a number");
	number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	if (!(number >= low && number <= high) || (whole && number != rint(number)))
		bad(key, psprintf("a %snumber between %g and %g, found %g", whole ? "whole " : "", low, high, number));
	return number;
}

static double
interval_in_seconds(const char *key, const JsonbValue *value, double low, double high)
{
	Interval *interval;
	double seconds;

	if (value->type != jbvString)
		bad(key, "an interval such as \"7 days\"");
	interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(string_of(value)),
													 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	seconds = ((double) interval->month * DAYS_PER_MONTH + interval->day) * SECS_PER_DAY + (double) interval->time / USECS_PER_SEC;
	if (!(seconds >= low && seconds <= high))
		bad(key, psprintf("between %g and %g seconds", low, high));
	return seconds;
}

/* Calls take for every key of an object. */
static void
each_key(const JsonbValue *object, void (*take)(void *state, const char *key, const JsonbValue *value), void *state)
{
	JsonbIterator *it = JsonbIteratorInit(object->val.binary.data);
	JsonbValue value;
	JsonbIteratorToken token;
	char *key = NULL;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = string_of(&value);
		else if (token == WJB_VALUE)
			take(state, key, &value);
	}
}

/* ------------------------------------------------------------ settings with parts */

static void
take_cap(void *state, const char *key, const JsonbValue *value)
{
	KpxCap *cap = state;

	if (strcmp(key, "n") == 0)
		cap->n = (int) number_in("caps.n", value, 0, 1e6, true);
	else if (strcmp(key, "per") == 0)
		cap->seconds = interval_in_seconds("caps.per", value, 1, 1e9);
	else
		bad("caps", "like {\"n\": 3, \"per\": \"7 days\"}");
}

static void
add_cap(KpxCaps *caps, const char *key, const JsonbValue *value)
{
	KpxCap *cap = &caps->cap[caps->n];

	if (!is_object(value) || caps->n == KPX_MAX_CAPS)
		bad(key, psprintf("at most %d objects like {\"n\": 3, \"per\": \"7 days\"}", KPX_MAX_CAPS));
	*cap = (KpxCap){-1, 0};
	each_key(value, take_cap, cap);
	if (cap->n < 0 || cap->seconds == 0)
		bad(key, "like {\"n\": 3, \"per\": \"7 days\"}");
	caps->n++;
}

/* One object, or an array of them. */
static void
take_caps(KpxCaps *caps, const char *key, const JsonbValue *value)
{
	JsonbIterator *it;
	JsonbValue element;
	JsonbIteratorToken token;

	caps->n = 0;
	if (is_object(value))
	{
		add_cap(caps, key, value);
		return;
	}
	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		bad(key, "like {\"n\": 3, \"per\": \"7 days\"}, or an array of such");
	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &element, true);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
		if (token == WJB_ELEM)
			add_cap(caps, key, &element);
}

/* "HH:MM" in minutes. */
static int
minutes_of(const JsonbValue *value)
{
	TimeADT time;

	if (value->type != jbvString)
		bad("quiet_hours", "like {\"from\": \"22:00\", \"to\": \"07:00\", \"timezone\": \"Asia/Shanghai\"}");
	time = DatumGetTimeADT(DirectFunctionCall3(time_in, CStringGetDatum(string_of(value)), ObjectIdGetDatum(InvalidOid),
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
		s->quiet_zone = string_of(value);
		/* raises 22023 for a zone that does not exist */
		(void) DirectFunctionCall2(timestamptz_zone, CStringGetTextDatum(s->quiet_zone), TimestampTzGetDatum(0));
	}
	else
		bad("quiet_hours", "like {\"from\": \"22:00\", \"to\": \"07:00\", \"timezone\": \"Asia/Shanghai\"}");
}

static TimestampTz
time_of(const JsonbValue *value)
{
	if (value->type != jbvString)
		bad("budget", "like {\"impressions\": 1000, \"from\": \"2026-11-01\", \"to\": \"2026-12-01\"}");
	return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(string_of(value)),
												   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

static void
take_budget(void *state, const char *key, const JsonbValue *value)
{
	KpxSettings *s = state;

	if (strcmp(key, "impressions") == 0)
		s->budget = number_in("budget.impressions", value, 0, 1e15, true);
	else if (strcmp(key, "from") == 0)
		s->budget_from = time_of(value);
	else if (strcmp(key, "to") == 0)
		s->budget_to = time_of(value);
	else
		bad("budget", "like {\"impressions\": 1000, \"from\": \"2026-11-01\", \"to\": \"2026-12-01\"}");
}

static void
take_conversions(KpxSettings *s, const JsonbValue *value)
{
	JsonbIterator *it;
	JsonbValue element;
	JsonbIteratorToken token;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		bad("conversions", "an array of kinds of events");
	s->conversions = palloc(sizeof(char *) * JsonContainerSize(value->val.binary.data) + 1);
	s->n_conversions = 0;
	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &element, true);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
		if (token == WJB_ELEM)
		{
			if (element.type != jbvString)
				bad("conversions", "an array of kinds of events");
			s->conversions[s->n_conversions++] = string_of(&element);
		}
}

/* ------------------------------------------------------------ one scope */

typedef struct Taker
{
	KpxSettings *settings;
	int scope;
} Taker;

static void
require_scope(const Taker *t, int scopes, const char *key)
{
	if (!(scopes & t->scope))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("policy setting \"%s\" cannot be set for %s", key,
						t->scope == FOR_ALL ? "everything" : t->scope == FOR_MODULE ? "a module"
																					: "a pair of modules"),
				 errhint("It can be set for:%s%s%s.", scopes & FOR_ALL ? " everything" : "",
						 scopes & FOR_MODULE ? " a module" : "", scopes & FOR_PAIR ? " a pair" : "")));
}

static bool
take_number(const Taker *t, const char *key, const JsonbValue *value)
{
	for (int i = 0; i < lengthof(numbers); i++)
		if (strcmp(numbers[i].key, key) == 0)
		{
			require_scope(t, numbers[i].scopes, key);
			*(double *) ((char *) t->settings + numbers[i].offset) =
				numbers[i].interval ? interval_in_seconds(key, value, numbers[i].low, numbers[i].high)
									: number_in(key, value, numbers[i].low, numbers[i].high, numbers[i].whole);
			return true;
		}
	return false;
}

static void
take_setting(void *state, const char *key, const JsonbValue *value)
{
	Taker *t = state;
	KpxSettings *s = t->settings;

	if (take_number(t, key, value))
		return;
	if (strcmp(key, "caps") == 0)
		take_caps(&s->caps, key, value);
	else if (strcmp(key, "item_caps") == 0)
	{
		require_scope(t, FOR_ALL | FOR_MODULE, key);
		take_caps(&s->item_caps, key, value);
	}
	else if (strcmp(key, "quiet_hours") == 0 && is_object(value))
	{
		require_scope(t, FOR_ALL | FOR_MODULE, key);
		s->quiet_from = s->quiet_to = -1;
		each_key(value, take_quiet, s);
		s->quiet = true;
		if (s->quiet_from < 0 || s->quiet_to < 0 || s->quiet_from == s->quiet_to)
			bad(key, "a from and a to that differ");
	}
	else if (strcmp(key, "budget") == 0 && is_object(value))
	{
		require_scope(t, FOR_MODULE, key);
		s->budget_from = s->budget_to = 0;
		each_key(value, take_budget, s);
		if (isnan(s->budget) || s->budget_from == 0 || s->budget_to <= s->budget_from)
			bad(key, "impressions, a from, and a later to");
	}
	else if (strcmp(key, "boost") == 0 && value->type == jbvString)
	{
		require_scope(t, FOR_MODULE, key);
		s->boost = string_of(value);
	}
	else if (strcmp(key, "conversions") == 0)
	{
		require_scope(t, FOR_ALL | FOR_MODULE, key);
		take_conversions(s, value);
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("policy setting \"%s\" is not known, or its value has a wrong type", key),
				 errhint("Known settings: %s.", known_keys)));
}

static void
take_settings(KpxSettings *settings, int scope, const JsonbValue *value)
{
	Taker taker = {settings, scope};

	memset(settings, 0, sizeof(*settings));
	for (int i = 0; i < lengthof(numbers); i++)
		*(double *) ((char *) settings + numbers[i].offset) = NAN;
	settings->budget = NAN;
	if (value == NULL)
		return;
	if (!is_object(value))
		bad("params", "a JSON object");
	each_key(value, take_setting, &taker);
}

/* ------------------------------------------------------------ the document */

static KpxScope *
add_scope(KpxPolicy *policy)
{
	policy->scopes = policy->scopes ? repalloc(policy->scopes, sizeof(KpxScope) * (policy->n_scopes + 1)) : palloc(sizeof(KpxScope));
	return &policy->scopes[policy->n_scopes++];
}

typedef struct Nest
{
	KpxPolicy *policy;
	const char *home;
} Nest;

static void
take_module(void *state, const char *key, const JsonbValue *value)
{
	Nest *nest = state;
	KpxScope *scope = add_scope(nest->policy);

	scope->home = nest->home ? pstrdup(nest->home) : NULL;
	scope->module = pstrdup(key);
	take_settings(&scope->settings, nest->home ? FOR_PAIR : FOR_MODULE, value);
}

static void
take_home(void *state, const char *key, const JsonbValue *value)
{
	Nest nest = {state, key};

	if (is_object(value))
		each_key(value, take_module, &nest);
}

static void
take_part(void *state, const char *key, const JsonbValue *value)
{
	KpxPolicy *policy = state;
	Nest nest = {policy, NULL};

	if (strcmp(key, "all") == 0)
		take_settings(&policy->all, FOR_ALL, value);
	else if (strcmp(key, "modules") == 0 && is_object(value))
		each_key(value, take_module, &nest);
	else if (strcmp(key, "pairs") == 0 && is_object(value))
		each_key(value, take_home, policy);
}

KpxPolicy *
kpx_policy_parse(Datum settings)
{
	KpxPolicy *policy = palloc0(sizeof(KpxPolicy));
	JsonbValue root;

	take_settings(&policy->all, FOR_ALL, NULL);
	if (settings == (Datum) 0)
		return policy;
	root.type = jbvBinary;
	root.val.binary.data = &DatumGetJsonbP(settings)->root;
	root.val.binary.len = VARSIZE(DatumGetJsonbP(settings)) - VARHDRSZ;
	each_key(&root, take_part, policy);
	return policy;
}

const KpxSettings *
kpx_policy_pair(const KpxPolicy *policy, const char *home, const char *module)
{
	for (int i = 0; i < policy->n_scopes; i++)
		if (!home == !policy->scopes[i].home && (!home || strcmp(policy->scopes[i].home, home) == 0) &&
			strcmp(policy->scopes[i].module, module) == 0)
			return &policy->scopes[i].settings;
	return NULL;
}

const KpxSettings *
kpx_policy_module(const KpxPolicy *policy, const char *module)
{
	return kpx_policy_pair(policy, NULL, module);
}

static double
number_at(const KpxSettings *settings, size_t offset)
{
	return settings ? *(const double *) ((const char *) settings + offset) : NAN;
}

double
kpx_policy_number(const KpxPolicy *policy, const char *home, const char *module, size_t offset)
{
	double number = home && module ? number_at(kpx_policy_pair(policy, home, module), offset) : NAN;

	if (isnan(number) && module)
		number = number_at(kpx_policy_module(policy, module), offset);
	if (isnan(number))
		number = number_at(&policy->all, offset);
	if (isnan(number))
		for (int i = 0; i < lengthof(numbers); i++)
			if (numbers[i].offset == offset)
				number = numbers[i].otherwise;
	return number;
}
