/*
 * refresh.h
 *	  A model with more items than it had, under its number.
 */
#ifndef KPX_REFRESH_H
#define KPX_REFRESH_H

#include "model_extend.h"

typedef struct KpxRefresh
{
	KpxRegistry *registry;
	KpxExtension x;
	KpxModule **modules; /* [n_modules]: registered, or without sources and columns */
} KpxRefresh;

/* Of the active model of a module, its row locked against others who change or drop it. 55000, 42501, 42704. */
extern KpxRefresh kpx_refresh_begin(const KpxModule *module);

/* kpx_extension_lay_out, when the model is within the budget. 53200. */
extern void kpx_refresh_lay_out(KpxRefresh *r);

#endif /* KPX_REFRESH_H */
