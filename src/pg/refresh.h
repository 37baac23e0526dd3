/*
 * refresh.h
 *	  A model with more items than it had, under its number.
 */
#ifndef KPX_REFRESH_H
#define KPX_REFRESH_H

#include "model.h"

typedef struct KpxRefresh
{
	KpxRegistry *registry;
	const KpxModel *old;
	KpxModel *model; /* the new one */
	KpxIds *fresh; /* [n_modules]: ids of new items */
	uint32 *fresh_base; /* [n_modules + 1]: new items of the modules before */
	KpxModule **modules; /* [n_modules]: registered, or without sources and columns */
	uint32 *place; /* [old->items]: where an item went */
	uint32 *fresh_place; /* [new items] */
} KpxRefresh;

/* Of the active model of a module, its row locked against others who change or drop it. 55000, 42501, 42704. */
extern KpxRefresh kpx_refresh_begin(const KpxModule *module);

/* fresh[m] was filled in: counts it into fresh_base; m in order. 54000. */
extern void kpx_refresh_count(KpxRefresh *r, int m);

/* Makes r->model without its parts: modules, and items with their old popularity in their new places. In the current context. */
extern void kpx_refresh_lay_out(KpxRefresh *r);

/*
 * Gives r->model its parts: the old numbers in their new places, zeros for new items, with arrays of
 * their own, not yet opened.
 */
extern void kpx_refresh_copy(KpxRefresh *r);

#endif /* KPX_REFRESH_H */
