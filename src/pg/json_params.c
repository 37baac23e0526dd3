/*
 * json_params.c
 *	  Parameters of a function, from one flat jsonb object of numbers.
 */
#include "json_params.h"

#include <math.h>

#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

static void
unknown_key(const char *argument, const char *key, const KpxJsonParam *params, int n)
{
	StringInfoData known;

	initStringInfo(&known);
	for (int i = 0; i < n; i++)
		appendStringInfo(&known, "%s%s", i ? ", " : "", params[i].key);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("parameter \"%s\" of \"%s\" is not known", key, argument), errhint("Known parameters: %s.", known.data)));
}

static void
take_value(const KpxJsonParam *param, const JsonbValue *value)
{
	double number;

	if (value->type != jbvNumeric)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("parameter \"%s\" must be a number", param->key)));
	number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	if (!(number >= param->low && number <= param->high) || (param->whole && number != rint(number)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter \"%s\" is out of range: %g", param->key, number),
				 errdetail("It must be a %snumber between %g and %g.", param->whole ? "whole " : "", param->low, param->high)));
	*param->value = number;
}

void
kpx_json_params(Datum jsonb, const char *argument, const KpxJsonParam *params, int n)
{
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;
	char *key = NULL;

	if (!JB_ROOT_IS_OBJECT(DatumGetJsonbP(jsonb)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"%s\" must be a JSON object", argument)));
	it = JsonbIteratorInit(&DatumGetJsonbP(jsonb)->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		int i = 0;

		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		if (token != WJB_VALUE)
			continue;
		while (i < n && strcmp(params[i].key, key) != 0)
			i++;
		if (i == n)
			unknown_key(argument, key, params, n);
		take_value(&params[i], &value);
	}
}
