/*
 * factor.h
 *	  What other rooms need of training's SQL face.
 */
#ifndef KPX_PG_FACTOR_H
#define KPX_PG_FACTOR_H

#include "registry.h"
#include "utils/array.h"

/* Registered modules, each with an event source, of a text[] argument. Errors: 42704, 22023, 22004, 55000. */
extern KpxModule **kpx_modules_argument(ArrayType *array, KpxRegistry *registry, int *n);
extern char **kpx_module_names(KpxModule **modules, int n);

#endif /* KPX_PG_FACTOR_H */
