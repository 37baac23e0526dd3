/*
 * model_extend.h
 *	  A model with more items than it had.
 */
#ifndef KPX_MODEL_EXTEND_H
#define KPX_MODEL_EXTEND_H

#include "model.h"

typedef struct KpxExtension
{
	const KpxModel *old;
	KpxModel *model; /* the new one, under the old one's number */
	KpxIds *fresh; /* [n_modules]: ids of new items */
	uint32 *fresh_base; /* [n_modules + 1]: new items of the modules before */
	uint32 *place; /* [old->items]: where an item went */
	uint32 *fresh_place; /* [new items] */
} KpxExtension;

/* fresh[m] was filled in: counts it into fresh_base; m in order. 54000. */
extern void kpx_extension_count(KpxExtension *x, int m);

/* Makes x->model without its parts: modules, and items with their old popularity in their new places. In the current context. */
extern void kpx_extension_lay_out(KpxExtension *x);

/*
 * Gives x->model its parts: the old numbers in their new places, zeros for new items, with arrays of
 * their own, not yet opened.
 */
extern void kpx_extension_copy(KpxExtension *x);

#endif /* KPX_MODEL_EXTEND_H */
