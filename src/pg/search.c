/*
 * search.c
 *	  Random parameters from ranges.
 *
 * Bergstra, Bengio 2012, "Random Search for Hyper-Parameter Optimization": every parameter
 * is drawn by itself, from a stream of its name, so that adding one leaves the others.
 */
#include "search.h"

#include <math.h>

#include "common/hashfn.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

#include "core/rng.h"

#include "algorithm.h"

/* One draw: which stream, and which trial in it. */
typedef struct Draw
{
	uint64 seed;
	uint64 stream;
	uint64 trial;
} Draw;

static Draw
draw_of(uint64 seed, const char *key, int trial)
{
	return (Draw){seed, hash_bytes_extended((const unsigned char *) key, (int) strlen(key), 0), (uint64) trial};
}

static double
uniform(Draw draw)
{
	return kpx_uniform(draw.seed, draw.stream, draw.trial);
}

static double
between(Draw draw, double low, double high, bool whole)
{
	double u = uniform(draw);
	double value;

	if (whole)
		high += 1 - 1e-9;
	value = low > 0 ? low * pow(high / low, u) : low + u * (high - low);
	return whole ? floor(value) : value;
}

static double
number_of(const JsonbValue *value)
{
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
}

/* A value as jsonb text. */
static char *
literal(JsonbValue *value)
{
	Jsonb *json = JsonbValueToJsonb(value);

	return JsonbToCString(NULL, &json->root, VARSIZE(json));
}

/* A fixed value, a range or a choice becomes a value. whole: ranges are of whole numbers. */
static char *
pick(const char *key, JsonbValue *value, Draw draw, bool whole)
{
	JsonbContainer *array;
	uint32 n;
	JsonbValue *first;
	JsonbValue *second;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		return literal(value);
	array = value->val.binary.data;
	n = JsonContainerSize(array);
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the range of parameter \"%s\" is empty", key),
				 errhint("Write [low, high], or an array of values to choose from.")));
	first = getIthJsonbValueFromContainer(array, 0);
	second = n > 1 ? getIthJsonbValueFromContainer(array, 1) : first;
	if (n == 2 && first->type == jbvNumeric && second->type == jbvNumeric)
	{
		if (number_of(first) > number_of(second))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the range of parameter \"%s\" ends before it begins", key)));
		return psprintf("%.6g", between(draw, number_of(first), number_of(second), whole));
	}
	return literal(getIthJsonbValueFromContainer(array, (uint32) (uniform(draw) * n)));
}

static JsonbValue *
member(Datum object, const char *key)
{
	if (object == (Datum) 0)
		return NULL;
	return getKeyJsonValueFromContainer(&DatumGetJsonbP(object)->root, key, (int) strlen(key), NULL);
}

/* Without a range of the caller's: the algorithm's own, or NULL for its default. */
static char *
own_pick(const KpxParamSpec *spec, Draw draw)
{
	int n = 0;

	if (spec->type == KPX_PARAM_CHOICE)
	{
		while (spec->choices[n])
			n++;
		return psprintf("\"%s\"", spec->choices[(int) (uniform(draw) * n)]);
	}
	if (spec->tune_high <= spec->tune_low)
		return NULL;
	return psprintf("%.6g", between(draw, spec->tune_low, spec->tune_high, spec->type == KPX_PARAM_INT));
}

/* A module's weight, or an object of its parts. */
static char *
pick_weight(const char *module, JsonbValue *value, uint64 seed, int trial)
{
	static const char *const parts[] = {"weight", "observed", "unobserved", "half_life"};
	StringInfoData json;
	Datum object;
	const char *separator = "";

	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		return pick(module, value, draw_of(seed, psprintf("module %s", module), trial), false);
	object = PointerGetDatum(JsonbValueToJsonb(value));
	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int i = 0; i < (int) lengthof(parts); i++)
		if ((value = member(object, parts[i])) != NULL)
		{
			appendStringInfo(&json, "%s\"%s\": %s", separator, parts[i],
							 pick(parts[i], value, draw_of(seed, psprintf("module %s %s", module, parts[i]), trial), false));
			separator = ", ";
		}
	appendStringInfoChar(&json, '}');
	return json.data;
}

static void
pick_weights(StringInfo json, JsonbValue *weights, char **modules, int n_modules, uint64 seed, int trial)
{
	const char *separator = "";
	Datum object;

	if (weights->type != jbvBinary || !JsonContainerIsObject(weights->val.binary.data))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter \"module_weights\" must be an object such as {\"courses\": 1, \"videos\": [0.1, 1]}")));
	object = PointerGetDatum(JsonbValueToJsonb(weights));
	appendStringInfoString(json, ", \"module_weights\": {");
	for (int m = 0; m < n_modules; m++)
	{
		JsonbValue *value = member(object, modules[m]);

		if (value == NULL)
			continue;
		appendStringInfoString(json, separator);
		escape_json(json, modules[m]);
		appendStringInfo(json, ": %s", pick_weight(modules[m], value, seed, trial));
		separator = ", ";
	}
	appendStringInfoChar(json, '}');
}

/* The method whose parameters an object under this key holds (a part of "hybrid"), or NULL. */
static const KpxAlgorithm *
part_of(const KpxAlgorithm *algorithm, const char *key)
{
	for (const KpxParamSpec *spec = algorithm->params; spec->name; spec++)
		if (spec->type == KPX_PARAM_JSON && strcmp(spec->name, key) == 0)
			return kpx_find_algorithm(key);
	return NULL;
}

/* An object of a part's parameters, drawn from streams of their own; those not given keep their defaults. */
static char *
pick_part(const KpxAlgorithm *part, JsonbValue *value, uint64 seed, int trial)
{
	Datum object = PointerGetDatum(JsonbValueToJsonb(value));
	StringInfoData json;
	const char *separator = "";

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (const KpxParamSpec *spec = part->params; spec->name; spec++)
		if ((value = member(object, spec->name)) != NULL)
		{
			appendStringInfo(&json, "%s\"%s\": %s", separator, spec->name,
							 pick(spec->name, value, draw_of(seed, psprintf("%s %s", part->name, spec->name), trial), spec->type == KPX_PARAM_INT));
			separator = ", ";
		}
	appendStringInfoChar(&json, '}');
	return json.data;
}

/* The value of one parameter for a trial; NULL for its default. */
static char *
pick_param(const KpxAlgorithm *algorithm, const KpxParamSpec *spec, JsonbValue *value, uint64 seed, int trial)
{
	Draw draw = draw_of(seed, spec->name, trial);
	const KpxAlgorithm *part = part_of(algorithm, spec->name);

	if (value == NULL)
		return own_pick(spec, draw);
	if (part && value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data))
		return pick_part(part, value, seed, trial);
	return pick(spec->name, value, draw, spec->type == KPX_PARAM_INT);
}

Datum
kpx_search_params(const KpxAlgorithm *algorithm, Datum ranges, char **modules, int n_modules, uint64 seed, int trial)
{
	StringInfoData json;
	JsonbValue *value = member(ranges, algorithm->name);
	Datum own = value && value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data) ? PointerGetDatum(JsonbValueToJsonb(value)) : (Datum) 0;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"algorithm\": \"%s\"", algorithm->name);
	for (const KpxParamSpec *spec = algorithm->params; spec->name; spec++)
	{
		char *picked;

		value = member(own, spec->name);
		if (value == NULL)
			value = member(ranges, spec->name);
		picked = pick_param(algorithm, spec, value, seed, trial);
		if (picked)
			appendStringInfo(&json, ", \"%s\": %s", spec->name, picked);
	}
	if ((value = member(ranges, "seed")) != NULL)
		appendStringInfo(&json, ", \"seed\": %s", pick("seed", value, draw_of(seed, "seed", trial), true));
	if ((value = member(ranges, "module_weights")) != NULL)
		pick_weights(&json, value, modules, n_modules, seed, trial);
	appendStringInfoChar(&json, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

static bool
has_param(const KpxAlgorithm *algorithm, const char *key)
{
	for (const KpxParamSpec *spec = algorithm->params; spec->name; spec++)
		if (strcmp(spec->name, key) == 0)
			return true;
	return false;
}

static bool
knows(const KpxAlgorithm *algorithm, const char *key)
{
	return has_param(algorithm, key) || strcmp(key, "seed") == 0 || strcmp(key, "module_weights") == 0;
}

static bool
known_to_any(const char *key, const KpxAlgorithm *const *algorithms, int n)
{
	for (int a = 0; a < n; a++)
		if (strcmp(algorithms[a]->name, key) == 0 || knows(algorithms[a], key))
			return true;
	return false;
}

static void
unknown_key(const char *key, const char *to)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("parameter \"%s\" is not known to %s", key, to),
			 errhint("kpx_train lists what an algorithm knows.")));
}

/* Keys of an object of a part's parameters. */
static void
check_part(JsonbContainer *object, const KpxAlgorithm *part)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbValue value;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		char *key = token == WJB_KEY ? pnstrdup(value.val.string.val, value.val.string.len) : NULL;

		if (key && !has_param(part, key))
			unknown_key(key, psprintf("algorithm \"%s\"", part->name));
	}
}

static void check_keys(JsonbContainer *object, const KpxAlgorithm *const *algorithms, int n);

/* What a key of this name may hold, if it is an object: ranges of an algorithm that is tried, or of a part of one. */
static void
check_value(const char *key, const JsonbValue *value, const KpxAlgorithm *const *algorithms, int n)
{
	bool object = value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
	bool is_part = false;

	for (int a = 0; a < n; a++)
	{
		const KpxAlgorithm *part = part_of(algorithms[a], key);

		is_part = is_part || part;
		if (part && object)
			check_part(value->val.binary.data, part);
	}
	for (int a = 0; a < n; a++)
		if (strcmp(algorithms[a]->name, key) == 0 && !is_part)
		{
			if (!object)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("the ranges of algorithm \"%s\" must be a JSON object", key)));
			check_keys(value->val.binary.data, &algorithms[a], 1);
		}
}

static void
check_keys(JsonbContainer *object, const KpxAlgorithm *const *algorithms, int n)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbValue value;
	JsonbIteratorToken token;
	char *key = NULL;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			key = pnstrdup(value.val.string.val, value.val.string.len);
			if (!known_to_any(key, algorithms, n))
				unknown_key(key, "any algorithm to be tried");
		}
		else if (token == WJB_VALUE)
			check_value(key, &value, algorithms, n);
	}
}

void
kpx_search_check(Datum ranges, const KpxAlgorithm *const *algorithms, int n)
{
	if (ranges == (Datum) 0)
		return;
	if (!JB_ROOT_IS_OBJECT(DatumGetJsonbP(ranges)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("parameter \"params\" must be a JSON object")));
	check_keys(&DatumGetJsonbP(ranges)->root, algorithms, n);
}
