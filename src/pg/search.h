/*
 * search.h
 *	  Random parameters from ranges.
 */
#ifndef KPX_SEARCH_H
#define KPX_SEARCH_H

#include "params.h"

/*
 * Params of trial number trial (of the stream seed) as jsonb, key "algorithm" among them. ranges
 * (jsonb object, or 0): a key holds a value (fixed), [low, high] of numbers (log-uniform when low
 * is above 0), or any other array (choices); a key that names an algorithm holds an
 * object of ranges for it alone; module_weights holds values or ranges by module; a key of "hybrid"
 * that names a part holds true, false, or an object of values and ranges, of which those not given
 * keep their defaults (the ranges serve the method alone, too, when it is tried beside). Other keys
 * that are not given come from the algorithm's own ranges. 22023 for what cannot be read.
 */
extern Datum kpx_search_params(const KpxAlgorithm *algorithm, Datum ranges, char **modules, int n_modules, uint64 seed,
							   int trial);

/* 22023 for keys that none of these algorithms knows. */
extern void kpx_search_check(Datum ranges, const KpxAlgorithm *const *algorithms, int n);

#endif /* KPX_SEARCH_H */
