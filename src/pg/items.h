/*
 * items.h
 *	  Reading item tables, as the current user.
 */
#ifndef KPX_ITEMS_H
#define KPX_ITEMS_H

#include "idmap.h"
#include "registry.h"

/*
 * Runs a query on an item table and hands its rows to take, in the memory context this was
 * called in. Errors: those of the query.
 */
extern void kpx_read_items(const char *sql, int nargs, Oid *types, Datum *values,
						   void (*take)(void *state, HeapTuple tuple, TupleDesc desc), void *state, const char *relation);

/* Adds the ids of the module's item table to map. */
extern void kpx_items_add_ids(const KpxModule *module, KpxIdMap *map);

#endif /* KPX_ITEMS_H */
