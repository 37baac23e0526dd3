/*
 * item_facts.h
 *	  What item tables say of items, in the columns that registration has named.
 */
#ifndef KPX_ITEM_FACTS_H
#define KPX_ITEM_FACTS_H

#include "registry.h"

typedef struct KpxItemFacts
{
	double price; /* NaN: none */
	char *category; /* or NULL */
	double boost; /* 1: none */
} KpxItemFacts;

/*
 * Of n items by their ids as text, read as the caller. boost: a column, or NULL. Errors:
 * those of the item table; 22023 for a boost outside 0..1e6.
 */
extern KpxItemFacts *kpx_item_facts(KpxModule *module, const char *boost, char **ids, int n);

#endif /* KPX_ITEM_FACTS_H */
