/*
 * json_params.h
 *	  Parameters of a function, from one flat jsonb object of numbers and booleans.
 */
#ifndef KPX_JSON_PARAMS_H
#define KPX_JSON_PARAMS_H

#include "kpxrec.h"

typedef struct KpxJsonParam
{
	const char *key;
	double *value; /* keeps what it holds when the key is absent */
	double low;
	double high;
	bool whole; /* no fraction */
} KpxJsonParam;

/* 22023 for anything but an object, unknown keys (listing the known ones), other types, values out of range. */
extern void kpx_json_params(Datum jsonb, const char *argument, const KpxJsonParam *params, int n);

#endif /* KPX_JSON_PARAMS_H */
