/*
 * hybrid_params.c
 *	  Parameters of algorithm "hybrid": which methods take part, with what parameters of their
 *	  own, and the weights of their scores.
 */
#include "hybrid.h"

#include <math.h>

#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"

const KpxAlgorithm *const kpx_voice_algorithm[KPX_VOICES] = {&kpx_ials, &kpx_itemknn, &kpx_ease, &kpx_rules, &kpx_transition, &kpx_content};

static const char *const blend_keys[KPX_BLEND_SCORES] = {"ials", "itemknn", "ease", "rules", "transition", "content", "popularity",
														 "new_ials", "new_content", "new"};

/* ------------------------------------------------------------ methods */

/* The parameters of a method from the key of its name: an object, true, false; absent is otherwise. NULL = left out. */
static const KpxParams *
own_params(const KpxFit *fit, const KpxAlgorithm *algorithm, bool otherwise)
{
	Jsonb *given = kpx_param_json(fit->params, algorithm->name);
	char **modules = palloc(sizeof(char *) * fit->model->n_modules);
	KpxParams *params;
	JsonbValue value;

	for (int m = 0; m < fit->model->n_modules; m++)
		modules[m] = fit->model->modules[m].name;
	if (given && JB_ROOT_IS_SCALAR(given) && JsonbExtractScalar(&given->root, &value) && value.type == jbvBool)
	{
		otherwise = value.val.boolean;
		given = NULL;
	}
	else if (given && !JB_ROOT_IS_OBJECT(given))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter \"%s\" must be true, false or an object of parameters of algorithm \"%s\"", algorithm->name, algorithm->name)));
	if (given == NULL && !otherwise)
		return NULL;
	params = kpx_params_parse(algorithm, given ? JsonbPGetDatum(given) : (Datum) 0, modules, fit->model->n_modules);
	params->seed = fit->params->seed;
	params->observed = fit->params->observed;
	params->unobserved = fit->params->unobserved;
	params->half_life = fit->params->half_life;
	return params;
}

void
kpx_voices_plan(const KpxFit *fit, KpxVoicePlan plan[KPX_VOICES])
{
	int part = 1;

	plan[KPX_VOICE_IALS].params = fit->params;
	plan[KPX_VOICE_ITEMKNN].params = own_params(fit, &kpx_itemknn, true);
	plan[KPX_VOICE_EASE].params = own_params(fit, &kpx_ease, false);
	plan[KPX_VOICE_RULES].params = own_params(fit, &kpx_rules, true);
	plan[KPX_VOICE_TRANSITION].params = own_params(fit, &kpx_transition, false);
	plan[KPX_VOICE_CONTENT].params = fit->content ? fit->params : NULL;
	for (int v = 0; v < KPX_VOICES; v++)
		plan[v].part = plan[v].params ? part++ : -1;
}

/* ------------------------------------------------------------ weights */

float *
kpx_blend_weight(KpxBlend *blend, int k)
{
	return k <= KPX_VOICES ? &blend->warm[k] : &blend->cold[k - KPX_VOICES - 1];
}

const char *
kpx_blend_key(int k)
{
	return blend_keys[k];
}

float
kpx_blend_cold(const KpxBlend *blend, KpxVoice voice)
{
	return voice == KPX_VOICE_IALS ? blend->cold[0] : voice == KPX_VOICE_CONTENT ? blend->cold[1]
																				 : 0;
}

/* Whether score k is one of a method that takes part. */
static bool
takes_part(const KpxVoicePlan *plan, int k)
{
	if (k < KPX_VOICES)
		return plan[k].part >= 0;
	return k != KPX_VOICES + 2 || plan[KPX_VOICE_CONTENT].part >= 0;
}

Jsonb *
kpx_blend_jsonb(const KpxModel *model, const KpxVoicePlan *plan, const KpxBlend *blends)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int m = 0; m < model->n_modules; m++)
	{
		KpxBlend blend = blends[m];
		const char *separator = "";

		if (m)
			appendStringInfoString(&json, ", ");
		escape_json(&json, model->modules[m].name);
		appendStringInfoString(&json, ": {");
		for (int k = 0; k < KPX_BLEND_SCORES; k++)
		{
			if (!takes_part(plan, k))
				continue;
			appendStringInfo(&json, "%s\"%s\": %.7g", separator, blend_keys[k], *kpx_blend_weight(&blend, k));
			separator = ", ";
		}
		appendStringInfoChar(&json, '}');
	}
	appendStringInfoChar(&json, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}

static void
bad_weights(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("parameter \"weights\": %s", what),
			 errhint("Write {\"module\": {\"ials\": 1, \"itemknn\": 1, \"popularity\": 0, \"new_ials\": 1, \"new\": 0}}, or leave it out to have them fitted.")));
}

static void
parse_blend(JsonbContainer *object, const KpxVoicePlan *plan, KpxBlend *blend)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbValue value;
	JsonbIteratorToken token;
	int k = KPX_BLEND_SCORES;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		double number;

		if (token == WJB_KEY)
			for (k = 0; k < KPX_BLEND_SCORES; k++)
				if (takes_part(plan, k) && strlen(blend_keys[k]) == (size_t) value.val.string.len &&
					memcmp(blend_keys[k], value.val.string.val, value.val.string.len) == 0)
					break;
		if (token != WJB_VALUE)
			continue;
		if (k == KPX_BLEND_SCORES || value.type != jbvNumeric)
			bad_weights("a score is not known, or a weight not a number");
		number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value.val.numeric)));
		if (!(fabs(number) <= 1e6))
			bad_weights("a weight is out of range");
		*kpx_blend_weight(blend, k) = (float) number;
	}
}

void
kpx_blend_parse(Jsonb *json, const KpxModel *model, const KpxVoicePlan *plan, KpxBlend *blends)
{
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;
	char *key = NULL;

	for (int m = 0; m < model->n_modules; m++)
		blends[m] = (KpxBlend){.warm = {[KPX_VOICE_IALS] = 1, [KPX_VOICE_CONTENT] = 1}, .cold = {1, 1, 0}};
	if (!JB_ROOT_IS_OBJECT(json))
		bad_weights("it must be an object");
	it = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		int m = 0;

		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		if (token != WJB_VALUE)
			continue;
		while (m < model->n_modules && strcmp(model->modules[m].name, key) != 0)
			m++;
		if (m == model->n_modules || value.type != jbvBinary || !JsonContainerIsObject(value.val.binary.data))
			bad_weights("a key is not a module to train, or its value not an object");
		blends[m] = (KpxBlend){{0}};
		parse_blend(value.val.binary.data, plan, &blends[m]);
	}
}
