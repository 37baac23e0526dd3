/*
 * policy_params.c
 *	  Settings of a policy: which there are, from jsonb, and which are in force.
 */
#include "policy_parts.h"

#include <math.h>

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
	enum
	{
		NUMBER,
		WHOLE,
		INTERVAL,
		SWITCH
	} type;
	double low;
	double high;
	double otherwise; /* when it is set nowhere */
} Number;

#define FIELD(name) #name, offsetof(KpxSettings, name)

static const Number numbers[] = {
	{FIELD(lambda), FOR_EACH, NUMBER, 0, 1, 0.5},
	{FIELD(weight), FOR_EACH, NUMBER, 0, 1e6, 1},
	{FIELD(value), FOR_EACH, NUMBER, 0, 1e12, NAN},
	{FIELD(margin), FOR_EACH, NUMBER, 0, 1e6, 1},
	{FIELD(min_gap), FOR_EACH, INTERVAL, 0, 1e10, 0},
	{FIELD(dismissed_for), FOR_ALL | FOR_MODULE, INTERVAL, 0, 1e10, 90 * 86400.0},
	{FIELD(max_per_slate), FOR_EACH, WHOLE, 0, KPX_MAX_SLATE, KPX_MAX_SLATE},
	{FIELD(max_per_category), FOR_ALL, WHOLE, 1, KPX_MAX_SLATE, KPX_MAX_SLATE},
	{FIELD(candidates), FOR_ALL | FOR_MODULE, WHOLE, 1, 1000, 30},
	{FIELD(diversity), FOR_ALL, NUMBER, 0, 100, 0.1},
	{FIELD(calibration), FOR_ALL, NUMBER, 0, 100, 0},
	{FIELD(category_calibration), FOR_ALL, NUMBER, 0, 100, 0},
	{FIELD(epsilon), FOR_ALL, NUMBER, 0, 1, 0},
	{FIELD(top), FOR_ALL, WHOLE, 1, 1000, 20},
	{FIELD(thompson), FOR_ALL, SWITCH, 0, 1, 0},
	{FIELD(attribution_window), FOR_ALL, INTERVAL, 1, 1e9, 7 * 86400.0},
};

/* Settings with parts, or names. */
typedef struct Part
{
	const char *key;
	int scopes;
} Part;

static const Part parts[] = {
	{"caps", FOR_EACH},
	{"item_caps", FOR_ALL | FOR_MODULE},
	{"quiet_hours", FOR_ALL | FOR_MODULE},
	{"budget", FOR_MODULE},
	{"quota", FOR_MODULE},
	{"boost", FOR_MODULE},
	{"conversions", FOR_ALL | FOR_MODULE},
};

static const char *const known_keys =
	"lambda, weight, value, margin, min_gap, dismissed_for, max_per_slate, max_per_category, candidates, diversity, calibration, "
	"category_calibration, epsilon, top, thompson, attribution_window, caps, item_caps, quiet_hours, budget, quota, boost, conversions";

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
			if (numbers[i].type == SWITCH && value->type != jbvBool)
				kpx_setting_bad(key, "true or false");
			*(double *) ((char *) t->settings + numbers[i].offset) =
				numbers[i].type == SWITCH     ? value->val.boolean
				: numbers[i].type == INTERVAL ? kpx_setting_seconds(key, value, numbers[i].low, numbers[i].high)
											  : kpx_setting_number(key, value, numbers[i].low, numbers[i].high, numbers[i].type == WHOLE);
			return true;
		}
	return false;
}

static bool
take_part(const Taker *t, const char *key, const JsonbValue *value)
{
	KpxSettings *s = t->settings;
	int i = 0;

	while (i < lengthof(parts) && strcmp(parts[i].key, key) != 0)
		i++;
	if (i == lengthof(parts))
		return false;
	require_scope(t, parts[i].scopes, key);
	if (strcmp(key, "caps") == 0)
		kpx_setting_caps(&s->caps, key, value);
	else if (strcmp(key, "item_caps") == 0)
		kpx_setting_caps(&s->item_caps, key, value);
	else if (strcmp(key, "quiet_hours") == 0)
		kpx_setting_quiet(s, value);
	else if (strcmp(key, "budget") == 0)
		kpx_setting_budget(&s->budget, value);
	else if (strcmp(key, "quota") == 0)
		kpx_setting_quota(&s->quota, value);
	else if (strcmp(key, "conversions") == 0)
		kpx_setting_conversions(s, value);
	else if (value->type == jbvString) /* boost */
		s->boost = kpx_setting_string(value);
	else
		kpx_setting_bad(key, "the name of a column of the module's item table");
	return true;
}

static void
take_setting(void *state, const char *key, const JsonbValue *value)
{
	if (!take_number(state, key, value) && !take_part(state, key, value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("policy setting \"%s\" is not known", key),
				 errhint("Known settings: %s.", known_keys)));
}

static void
take_settings(KpxSettings *settings, int scope, const JsonbValue *value)
{
	Taker taker = {settings, scope};

	memset(settings, 0, sizeof(*settings));
	for (int i = 0; i < lengthof(numbers); i++)
		*(double *) ((char *) settings + numbers[i].offset) = NAN;
	settings->budget.limit = NAN;
	if (value == NULL)
		return;
	if (!kpx_setting_is_object(value))
		kpx_setting_bad("params", "a JSON object");
	kpx_setting_each(value, take_setting, &taker);
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

	if (kpx_setting_is_object(value))
		kpx_setting_each(value, take_module, &nest);
}

static void
take_scopes(void *state, const char *key, const JsonbValue *value)
{
	KpxPolicy *policy = state;
	Nest nest = {policy, NULL};

	if (strcmp(key, "all") == 0)
		take_settings(&policy->all, FOR_ALL, value);
	else if (strcmp(key, "modules") == 0 && kpx_setting_is_object(value))
		kpx_setting_each(value, take_module, &nest);
	else if (strcmp(key, "pairs") == 0 && kpx_setting_is_object(value))
		kpx_setting_each(value, take_home, policy);
}

KpxPolicy *
kpx_policy_parse(Datum settings)
{
	KpxPolicy *policy = palloc0(sizeof(KpxPolicy));
	JsonbValue root;

	take_settings(&policy->all, FOR_ALL, NULL);
	if (settings == (Datum) 0)
		return policy;
	policy->document = DatumGetJsonbP(settings);
	root.type = jbvBinary;
	root.val.binary.data = &policy->document->root;
	root.val.binary.len = VARSIZE(policy->document) - VARHDRSZ;
	kpx_setting_each(&root, take_scopes, policy);
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

/* ------------------------------------------------------------ what is in force */

static JsonbValue *
member(const JsonbValue *object, const char *key)
{
	JsonbValue name = {.type = jbvString};

	if (object == NULL || !kpx_setting_is_object(object))
		return NULL;
	name.val.string.val = unconstify(char *, key);
	name.val.string.len = (int) strlen(key);
	return findJsonbValueFromContainer(object->val.binary.data, JB_FOBJECT, &name);
}

/* A setting as one scope has it, as text; NULL: it does not. */
static char *
setting_of(const KpxPolicy *policy, int scope, const char *home, const char *module, const char *key)
{
	JsonbValue root = {.type = jbvBinary};
	JsonbValue *value;

	if (policy->document == NULL)
		return NULL;
	root.val.binary.data = &policy->document->root;
	root.val.binary.len = VARSIZE(policy->document) - VARHDRSZ;
	value = member(&root, scope == FOR_ALL ? "all" : scope == FOR_MODULE ? "modules"
																		 : "pairs");
	if (scope == FOR_PAIR)
		value = member(value, home);
	if (scope != FOR_ALL)
		value = member(value, module);
	value = member(value, key);
	if (value == NULL)
		return NULL;
	return value->type == jbvString ? kpx_setting_string(value) : JsonbToCString(NULL, &JsonbValueToJsonb(value)->root, -1);
}

static char *
default_of(const Number *number)
{
	if (isnan(number->otherwise))
		return NULL;
	if (number->type == SWITCH)
		return number->otherwise > 0 ? "true" : "false";
	if (number->type == INTERVAL)
	{
		Interval *interval = palloc0(sizeof(Interval));

		interval->time = (TimeOffset) (number->otherwise * USECS_PER_SEC);
		return DatumGetCString(DirectFunctionCall1(interval_out, DirectFunctionCall1(interval_justify_hours, IntervalPGetDatum(interval))));
	}
	return psprintf("%.15g", number->otherwise);
}

static void
put_setting(const KpxPolicy *policy, const char *home, const char *module, const char *key, int scopes, bool add_up, char *otherwise,
			KpxPutSetting put, void *state)
{
	static const struct
	{
		int scope;
		const char *name;
	} order[] = {{FOR_PAIR, "pair"}, {FOR_MODULE, "module"}, {FOR_ALL, "everything"}};
	bool any = false;

	if (module == NULL && !(scopes & FOR_ALL))
		return;
	for (int i = 0; i < lengthof(order) && (!any || add_up); i++)
	{
		char *value = NULL;

		if ((order[i].scope != FOR_PAIR || home) && (order[i].scope == FOR_ALL || module))
			value = setting_of(policy, order[i].scope, home, module, key);
		if (value)
			put(state, key, value, order[i].name, otherwise);
		any |= value != NULL;
	}
	if (!any)
		put(state, key, otherwise, "default", otherwise);
}

void
kpx_policy_in_force(const KpxPolicy *policy, const char *home, const char *module, KpxPutSetting put, void *state)
{
	for (int i = 0; i < lengthof(numbers); i++)
		put_setting(policy, home, module, numbers[i].key, numbers[i].scopes, strcmp(numbers[i].key, "min_gap") == 0, default_of(&numbers[i]), put,
					state);
	for (int i = 0; i < lengthof(parts); i++)
		put_setting(policy, home, module, parts[i].key, parts[i].scopes, strstr(parts[i].key, "caps") != NULL, NULL, put, state);
}
