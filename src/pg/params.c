/*
 * params.c
 *	  Parameters of training, from jsonb: each algorithm says which it has.
 */
#include "params.h"

#include <math.h>

#include "utils/fmgrprotos.h"
#include "utils/json.h"

#include "algorithm.h"

#define DAY 86400.0

static void
bad_type(const char *key, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("parameter \"%s\" must be %s", key, expected)));
}

static double
number_in(const char *key, const JsonbValue *value, double low, double high)
{
	double number;

	if (value->type != jbvNumeric)
		bad_type(key, "a number");
	number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	if (!(number >= low && number <= high))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter \"%s\" is out of range: %g", key, number),
				 errdetail("It must be between %g and %g.", low, high)));
	return number;
}

static double
integer_in(const char *key, const JsonbValue *value, double low, double high)
{
	double number = number_in(key, value, low, high);

	if (number != rint(number))
		bad_type(key, "a whole number");
	return number;
}

static double
choice_in(const char *key, const JsonbValue *value, const char *const *choices)
{
	StringInfoData known;

	if (value->type == jbvString)
		for (int c = 0; choices[c]; c++)
			if (strlen(choices[c]) == (size_t) value->val.string.len &&
				memcmp(choices[c], value->val.string.val, value->val.string.len) == 0)
				return c;
	initStringInfo(&known);
	for (int c = 0; choices[c]; c++)
		appendStringInfo(&known, "%s\"%s\"", c ? ", " : "", choices[c]);
	bad_type(key, psprintf("one of %s", known.data));
	return 0;
}

/* The key of an object or array iteration as a C string. */
static char *
key_string(const JsonbValue *key)
{
	return pnstrdup(key->val.string.val, key->val.string.len);
}

static int
module_position(const char *name, char **modules, int n_modules)
{
	for (int m = 0; m < n_modules; m++)
		if (strcmp(modules[m], name) == 0)
			return m;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("parameter \"module_weights\" names \"%s\", which is not among the modules to train", name)));
}

/* {"weight": both, "observed": x, "unobserved": y, "half_life": days} */
static void
parse_weight_parts(KpxParams *params, int m, JsonbContainer *object)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbValue value;
	JsonbIteratorToken token;
	char *key = NULL;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = key_string(&value);
		else if (token == WJB_VALUE && strcmp(key, "observed") == 0)
			params->observed[m] = number_in("module_weights.observed", &value, 1e-6, 1e6);
		else if (token == WJB_VALUE && strcmp(key, "unobserved") == 0)
			params->unobserved[m] = number_in("module_weights.unobserved", &value, 1e-6, 1e6);
		else if (token == WJB_VALUE && strcmp(key, "weight") == 0)
			params->observed[m] = params->unobserved[m] = number_in("module_weights.weight", &value, 1e-6, 1e6);
		else if (token == WJB_VALUE && strcmp(key, "half_life") == 0)
			params->half_life[m] = DAY * number_in("module_weights.half_life", &value, 0, 1e5);
		else if (token == WJB_VALUE)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("parameter \"module_weights\" has no part \"%s\"", key),
					 errhint("Known parts: weight, observed, unobserved, half_life.")));
	}
}

static void
parse_module_weights(KpxParams *params, const JsonbValue *weights, char **modules)
{
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;
	char *key = NULL;

	if (weights->type != jbvBinary || !JsonContainerIsObject(weights->val.binary.data))
		bad_type("module_weights", "an object such as {\"courses\": 1, \"videos\": {\"observed\": 0.2, \"unobserved\": 0.5}}");
	it = JsonbIteratorInit(weights->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = key_string(&value);
		else if (token == WJB_VALUE)
		{
			int m = module_position(key, modules, params->n_modules);

			if (value.type == jbvBinary && JsonContainerIsObject(value.val.binary.data))
				parse_weight_parts(params, m, value.val.binary.data);
			else
				params->observed[m] = number_in("module_weights", &value, 1e-6, 1e6);
		}
	}
}

static void
unknown_parameter(const KpxAlgorithm *algorithm, const char *key)
{
	StringInfoData known;

	initStringInfo(&known);
	for (const KpxParamSpec *spec = algorithm->params; spec->name; spec++)
		appendStringInfo(&known, "%s, ", spec->name);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("parameter \"%s\" is not known to algorithm \"%s\"", key, algorithm->name),
			 errhint("Known parameters: %smodule_weights, seed.", known.data)));
}

static void
parse_parameter(KpxParams *params, const char *key, const JsonbValue *value, char **modules)
{
	if (strcmp(key, "algorithm") == 0)
		return; /* kpx_algorithm_argument read it */
	if (strcmp(key, "seed") == 0)
		params->seed = (int64) integer_in(key, value, -9007199254740992.0, 9007199254740992.0);
	else if (strcmp(key, "module_weights") == 0)
		parse_module_weights(params, value, modules);
	else
	{
		int i = 0;
		const KpxParamSpec *specs = params->algorithm->params;

		while (specs[i].name && strcmp(specs[i].name, key) != 0)
			i++;
		if (specs[i].name == NULL)
			unknown_parameter(params->algorithm, key);
		switch (specs[i].type)
		{
			case KPX_PARAM_INT:
				params->value[i] = integer_in(key, value, specs[i].low, specs[i].high);
				break;
			case KPX_PARAM_FLOAT:
				params->value[i] = number_in(key, value, specs[i].low, specs[i].high);
				break;
			case KPX_PARAM_CHOICE:
				params->value[i] = choice_in(key, value, specs[i].choices);
				break;
			case KPX_PARAM_JSON:
				params->json[i] = JsonbValueToJsonb((JsonbValue *) value);
				break;
		}
	}
}

static KpxParams *
defaults(const KpxAlgorithm *algorithm, int n_modules)
{
	KpxParams *params = palloc0(sizeof(KpxParams));
	int n = 0;

	while (algorithm->params[n].name)
		n++;
	params->algorithm = algorithm;
	params->value = palloc(sizeof(double) * Max(n, 1));
	params->json = palloc0(sizeof(Jsonb *) * Max(n, 1));
	for (int i = 0; i < n; i++)
		params->value[i] = algorithm->params[i].otherwise;
	params->seed = 1;
	params->n_modules = n_modules;
	params->observed = palloc(sizeof(double) * n_modules);
	params->unobserved = palloc(sizeof(double) * n_modules);
	params->half_life = palloc0(sizeof(double) * n_modules);
	for (int m = 0; m < n_modules; m++)
		params->observed[m] = params->unobserved[m] = 1;
	return params;
}

KpxParams *
kpx_params_parse(const KpxAlgorithm *algorithm, Datum datum, char **modules, int n_modules)
{
	KpxParams *params = defaults(algorithm, n_modules);
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;
	char *key = NULL;

	if (datum == (Datum) 0)
		return params;
	if (!JB_ROOT_IS_OBJECT(DatumGetJsonbP(datum)))
		bad_type("params", "a JSON object");
	it = JsonbIteratorInit(&DatumGetJsonbP(datum)->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = key_string(&value);
		else if (token == WJB_VALUE)
			parse_parameter(params, key, &value, modules);
	}
	return params;
}

const KpxAlgorithm *
kpx_algorithm_choose(const char *given, Datum params)
{
	JsonbValue buffer;
	JsonbValue *value = NULL;
	char *named;

	if (params != (Datum) 0 && JB_ROOT_IS_OBJECT(DatumGetJsonbP(params)))
		value = getKeyJsonValueFromContainer(&DatumGetJsonbP(params)->root, "algorithm", 9, &buffer);
	if (value == NULL)
		return kpx_algorithm(given);
	if (value->type != jbvString)
		bad_type("algorithm", "a string");
	named = pnstrdup(value->val.string.val, value->val.string.len);
	if (strcmp(given, "ials") != 0 && strcmp(given, named) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"algorithm\" is \"%s\", params are for algorithm \"%s\"", given, named)));
	return kpx_algorithm(named);
}

const KpxAlgorithm *
kpx_algorithm_argument(FunctionCallInfo fcinfo, int algorithm, Datum params)
{
	return kpx_algorithm_choose(PG_ARGISNULL(algorithm) ? "ials" : text_to_cstring(PG_GETARG_TEXT_PP(algorithm)), params);
}

static int
spec_position(const KpxParams *params, const char *name)
{
	for (int i = 0; params->algorithm->params[i].name; i++)
		if (strcmp(params->algorithm->params[i].name, name) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("algorithm \"%s\" has no parameter \"%s\"", params->algorithm->name, name)));
}

double
kpx_param(const KpxParams *params, const char *name)
{
	return params->value[spec_position(params, name)];
}

Jsonb *
kpx_param_json(const KpxParams *params, const char *name)
{
	return params->json[spec_position(params, name)];
}

/* Whether parameter i asks for an algorithm of its name to take part that needs times. */
static bool
component_wants_times(const KpxParams *params, int i)
{
	const KpxAlgorithm *component = kpx_find_algorithm(params->algorithm->params[i].name);
	JsonbValue value;

	if (component == NULL || !component->times || params->json[i] == NULL)
		return false;
	return !(JB_ROOT_IS_SCALAR(params->json[i]) && JsonbExtractScalar(&params->json[i]->root, &value) && value.type == jbvBool && !value.val.boolean);
}

bool
kpx_params_want_times(const KpxParams *params)
{
	for (int m = 0; m < params->n_modules; m++)
		if (params->half_life[m] > 0)
			return true;
	for (int i = 0; params->algorithm->params[i].name; i++)
		if (component_wants_times(params, i))
			return true;
	return params->algorithm->times;
}

Datum
kpx_params_jsonb(const KpxParams *params, char **modules)
{
	StringInfoData json;
	const KpxParamSpec *specs = params->algorithm->params;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int i = 0; specs[i].name; i++)
	{
		if (specs[i].type == KPX_PARAM_JSON && params->json[i] == NULL)
			continue;
		escape_json(&json, specs[i].name);
		if (specs[i].type == KPX_PARAM_CHOICE)
			appendStringInfo(&json, ": \"%s\", ", specs[i].choices[(int) params->value[i]]);
		else if (specs[i].type == KPX_PARAM_JSON)
			appendStringInfo(&json, ": %s, ", JsonbToCString(NULL, &params->json[i]->root, VARSIZE(params->json[i])));
		else
			appendStringInfo(&json, ": %.15g, ", params->value[i]);
	}
	appendStringInfo(&json, "\"seed\": " INT64_FORMAT ", \"module_weights\": {", params->seed);
	for (int m = 0; m < params->n_modules; m++)
	{
		if (m > 0)
			appendStringInfoString(&json, ", ");
		escape_json(&json, modules[m]);
		appendStringInfo(&json, ": {\"observed\": %.15g, \"unobserved\": %.15g", params->observed[m], params->unobserved[m]);
		if (params->half_life[m] > 0)
			appendStringInfo(&json, ", \"half_life\": %.15g", params->half_life[m] / DAY);
		appendStringInfoChar(&json, '}');
	}
	appendStringInfoString(&json, "}}");
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}
