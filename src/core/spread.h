/*
 * spread.h
 *	  How lists spread over the items of a catalogue.
 */
#ifndef KPX_SPREAD_H
#define KPX_SPREAD_H

#include "matrix.h"

typedef struct KpxSpread
{
	double coverage; /* share of items that are in any list */
	double gini; /* of how often items are in lists: 0 equally often, 1 - 1/n: one item alone */
	double novelty; /* mean of -log2(popularity) over places in lists: bits (Zhou et al. 2010) */
	double cold_share; /* share of places whose item has no popularity */
} KpxSpread;

/*
 * shown[n]: in how many lists each item is, at most `most`; popularity[n]: shares of interactions;
 * where 0, least (> 0) stands for it in novelty, as for smaller ones. tally[most + 1] is working
 * memory. NaN where nothing was shown, or n is 0. O(n + most).
 */
extern KpxSpread kpx_spread(const uint32_t *shown, const float *popularity, size_t n, uint32_t most, double least, uint64_t *tally);

#endif /* KPX_SPREAD_H */
