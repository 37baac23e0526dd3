/*
 * params.h
 *	  Parameters of training, from jsonb: each algorithm says which it has.
 */
#ifndef KPX_PARAMS_H
#define KPX_PARAMS_H

#include "kpxrec.h"
#include "model.h"

#include "utils/jsonb.h"

typedef enum KpxParamType
{
	KPX_PARAM_INT,
	KPX_PARAM_FLOAT,
	KPX_PARAM_CHOICE, /* a string of choices; its value is the number of the choice */
	KPX_PARAM_JSON /* anything; the algorithm reads it with kpx_param_json */
} KpxParamType;

typedef struct KpxParamSpec
{
	const char *name;
	KpxParamType type;
	double otherwise; /* default */
	double low; /* range; of choices unused */
	double high;
	const char *const *choices; /* ends with NULL */
	double tune_low; /* where kpx_tune looks by itself; both 0: it leaves the default; choices: always all */
	double tune_high;
} KpxParamSpec;

typedef struct KpxParams
{
	const KpxAlgorithm *algorithm;
	double *value; /* one a spec of the algorithm */
	Jsonb **json; /* one a spec; NULL = not given */
	int64 seed;
	int n_modules;
	double *observed; /* [n_modules]: module_weights */
	double *unobserved; /* [n_modules] */
	double *half_life; /* [n_modules], seconds; 0 = none */
} KpxParams;

/*
 * Reads params (a jsonb object, or 0 for none) of an algorithm for these modules. Errors:
 * 22023 naming the key, what was found and what is allowed.
 */
extern KpxParams *kpx_params_parse(const KpxAlgorithm *algorithm, Datum params, char **modules, int n_modules);

/*
 * Argument algorithm of a function, or the key "algorithm" of its params (0 for none), which
 * kpx_best_params writes; "ials" without either. 22023 when both are given and differ.
 */
extern const KpxAlgorithm *kpx_algorithm_argument(FunctionCallInfo fcinfo, int algorithm, Datum params);
/* The same for an algorithm that was given by name. */
extern const KpxAlgorithm *kpx_algorithm_choose(const char *given, Datum params);

/* The value of a parameter the algorithm has. */
extern double kpx_param(const KpxParams *params, const char *name);
extern Jsonb *kpx_param_json(const KpxParams *params, const char *name);

/* Does folding in (half_life) or training look at times? */
extern bool kpx_params_want_times(const KpxParams *params);

/* All parameters, as used, as jsonb. */
extern Datum kpx_params_jsonb(const KpxParams *params, char **modules);

#endif /* KPX_PARAMS_H */
