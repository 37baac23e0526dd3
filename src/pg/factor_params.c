/*
 * factor_params.c
 *	  Parameters of training, from jsonb.
 */
#include "factor_params.h"

#include <math.h>

#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"

static const char *const known_keys =
	"factors, iterations, regularization, unobserved_weight, module_weights, seed, tolerance";

void
kpx_check_algorithm(const char *algorithm)
{
	if (strcmp(algorithm, "ials") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("algorithm \"%s\" is not known", algorithm), errhint("Known algorithms: ials.")));
}

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

static int64
integer_in(const char *key, const JsonbValue *value, double low, double high)
{
	double number = number_in(key, value, low, high);

	if (number != rint(number))
		bad_type(key, "a whole number");
	return (int64) number;
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

/* {"observed": x, "unobserved": y} */
static void
parse_weight_pair(KpxParams *params, int m, JsonbContainer *object)
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
		else if (token == WJB_VALUE)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("parameter \"module_weights\" has no part \"%s\"", key),
					 errhint("Known parts: observed, unobserved.")));
	}
}

static void
parse_module_weights(KpxParams *params, const JsonbValue *weights, char **modules, int n_modules)
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
			int m = module_position(key, modules, n_modules);

			if (value.type == jbvBinary && JsonContainerIsObject(value.val.binary.data))
				parse_weight_pair(params, m, value.val.binary.data);
			else
				params->observed[m] = number_in("module_weights", &value, 1e-6, 1e6);
		}
	}
}

static void
parse_parameter(KpxParams *params, const char *key, const JsonbValue *value, char **modules, int n_modules)
{
	if (strcmp(key, "factors") == 0)
		params->factors = (int) integer_in(key, value, 1, KPX_MAX_FACTORS);
	else if (strcmp(key, "iterations") == 0)
		params->iterations = (int) integer_in(key, value, 1, 1000);
	else if (strcmp(key, "regularization") == 0)
		params->regularization = number_in(key, value, 1e-6, 1e6);
	else if (strcmp(key, "unobserved_weight") == 0)
		params->unobserved_weight = number_in(key, value, 1e-6, 1e3);
	else if (strcmp(key, "tolerance") == 0)
		params->tolerance = number_in(key, value, 0, 1);
	else if (strcmp(key, "seed") == 0)
		params->seed = integer_in(key, value, -9007199254740992.0, 9007199254740992.0);
	else if (strcmp(key, "module_weights") == 0)
		parse_module_weights(params, value, modules, n_modules);
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter \"%s\" is not known", key), errhint("Known parameters: %s.", known_keys)));
}

KpxParams *
kpx_params_parse(Datum datum, char **modules, int n_modules)
{
	KpxParams *params = palloc(sizeof(KpxParams));
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;
	char *key = NULL;

	*params = (KpxParams){.factors = 64, .iterations = 12, .regularization = 0.02, .unobserved_weight = 0.02, .tolerance = 0, .seed = 1};
	params->observed = palloc(sizeof(double) * n_modules);
	params->unobserved = palloc(sizeof(double) * n_modules);
	for (int m = 0; m < n_modules; m++)
		params->observed[m] = params->unobserved[m] = 1;
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
			parse_parameter(params, key, &value, modules, n_modules);
	}
	return params;
}

Datum
kpx_params_jsonb(const KpxParams *params, char **modules, int n_modules)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"factors\": %d, \"iterations\": %d, \"regularization\": %.15g, \"unobserved_weight\": %.15g,"
							" \"tolerance\": %.15g, \"seed\": " INT64_FORMAT ", \"module_weights\": {",
					 params->factors, params->iterations, params->regularization, params->unobserved_weight,
					 params->tolerance, params->seed);
	for (int m = 0; m < n_modules; m++)
	{
		if (m > 0)
			appendStringInfoString(&json, ", ");
		escape_json(&json, modules[m]);
		appendStringInfo(&json, ": {\"observed\": %.15g, \"unobserved\": %.15g}", params->observed[m], params->unobserved[m]);
	}
	appendStringInfoString(&json, "}}");
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}
