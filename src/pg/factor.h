/*
 * factor.h
 *	  What other rooms need of training's SQL face.
 */
#ifndef KPX_PG_FACTOR_H
#define KPX_PG_FACTOR_H

#include "registry.h"
#include "utils/array.h"

/* Registered modules of a text[] argument. Errors: 42704, 22023, 22004. */
extern KpxModule **kpx_modules_argument(ArrayType *array, KpxRegistry *registry, int *n);
/* 55000 when one has no event source. */
extern void kpx_require_sources(KpxModule **modules, int n);
extern char **kpx_module_names(KpxModule **modules, int n);
/* Their names in order, joined by "+". */
extern char *kpx_modules_label(KpxModule **modules, int n);

#endif /* KPX_PG_FACTOR_H */
