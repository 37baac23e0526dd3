/*
 * floor.h
 *	  Nothing is stored of items, rules or segments that rest on fewer than kpxrec.min_users users.
 */
#ifndef KPX_FLOOR_H
#define KPX_FLOOR_H

#include "ingest.h"

/* Setting kpxrec.min_users; 1: no floor. */
extern int kpx_min_users;

/*
 * Takes interactions with items of fewer than kpx_min_users users out of data, before anything is
 * learnt from them; with drop_items the items and the users who had no others, too (then data must be
 * without last_item), and a NOTICE says how many items there were.
 */
extern void kpx_data_floor(KpxData *data, bool drop_items);

/* Baskets by item, kept beside the miner, which overwrites data's own. */
typedef struct KpxBasketIndex
{
	const uint64 *offset; /* [items + 1] */
	const uint32 *basket; /* of item after item, increasing */
	const int64 *owner; /* [baskets]: the user is in the lower 32 bits (kpx_ingest_baskets) */
} KpxBasketIndex;

/* Data: baskets of users in periods. */
extern KpxBasketIndex *kpx_basket_index(const KpxData *data);

/* Have at least kpx_min_users users all of these items together in a basket? */
extern bool kpx_enough_users(const KpxBasketIndex *index, const uint32 *items, int n);

#endif /* KPX_FLOOR_H */
