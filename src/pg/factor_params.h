/*
 * factor_params.h
 *	  Parameters of training, from jsonb.
 */
#ifndef KPX_FACTOR_PARAMS_H
#define KPX_FACTOR_PARAMS_H

#include "kpxrec.h"

typedef struct KpxParams
{
	int factors; /* 1..1024 */
	int iterations; /* 1..1000 */
	double regularization; /* 1e-6..1e6 */
	double unobserved_weight; /* 1e-6..1e3 */
	double tolerance; /* 0..1: stop when an iteration lowers the loss by a smaller share */
	int64 seed;
	double *observed; /* [n_modules] */
	double *unobserved; /* [n_modules] */
} KpxParams;

/*
 * Reads params (a jsonb object, or 0 for none) for these modules. Errors: 22023 naming the
 * key, what was found and what is allowed.
 */
extern KpxParams *kpx_params_parse(Datum params, char **modules, int n_modules);

/* All parameters, as used, as jsonb. */
extern Datum kpx_params_jsonb(const KpxParams *params, char **modules, int n_modules);

/* 22023 unless the algorithm is one we have. */
extern void kpx_check_algorithm(const char *algorithm);

#endif /* KPX_FACTOR_PARAMS_H */
