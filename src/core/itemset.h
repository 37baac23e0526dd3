/*
 * itemset.h
 *	  Frequent itemsets: which sets of items are together in many baskets.
 *
 * Vertical mining on bitsets (Zaki 2000, "Scalable algorithms for association mining")
 * inside the baskets of one item at a time, which are found as in H-mine (Pei et al.
 * 2001): items are taken from the rarest to the most frequent, and a basket waits in the
 * list of its rarest item not yet taken. So a bitset is as long as the item has baskets,
 * not as there are baskets at all; deeper down, words in which the prefix has no basket
 * are left out.
 *
 * The result is a trie. Its items are ranks: 0 is the rarest frequent item.
 */
#ifndef KPX_ITEMSET_H
#define KPX_ITEMSET_H

#include "matrix.h"

/* Where memory comes from, and how much of it there may be. */
typedef struct KpxArena
{
	void *(*allocate)(void *context, size_t bytes); /* NULL when there is none */
	void (*release)(void *context, void *memory);
	void *context;
	size_t limit; /* bytes */
	size_t used;
	size_t peak;
} KpxArena;

#define KPX_MAX_ITEMSET 64
#define KPX_ITEMSET_CHUNK 4096

/* One itemset: its parent's items and this one. Children are in increasing order of item. */
typedef struct KpxItemset
{
	uint32_t item; /* rank */
	uint32_t support; /* baskets */
	uint32_t parent;
	uint32_t first; /* child */
	uint32_t children;
} KpxItemset;

/* Itemset 0 is the empty one; 1 + rank the one of that single item. */
typedef struct KpxItemsets
{
	uint64_t baskets;
	uint32_t frequent_items;
	uint32_t *item; /* [frequent_items]: rank to item */
	uint32_t n; /* itemsets, the empty one among them */
	uint32_t longest; /* items of the longest one */
	KpxItemset **chunk;
	size_t chunks;
	size_t chunk_capacity;
} KpxItemsets;

static inline KpxItemset *
kpx_itemset(const KpxItemsets *sets, uint32_t i)
{
	return &sets->chunk[i / KPX_ITEMSET_CHUNK][i % KPX_ITEMSET_CHUNK];
}

/* Its items, ranks in increasing order, into item[KPX_MAX_ITEMSET]; returns how many. */
extern int kpx_itemset_items(const KpxItemsets *sets, uint32_t i, uint32_t *item);

/* The child of itemset i by this item, 0 when there is none. */
extern uint32_t kpx_itemset_child(const KpxItemsets *sets, uint32_t i, uint32_t item);

typedef struct KpxMinerOptions
{
	uint64_t min_support; /* baskets, at least 1 */
	int max_length; /* 1 .. KPX_MAX_ITEMSET */
	uint64_t max_itemsets;
} KpxMinerOptions;

/* Why KPX_OVER_LIMIT. */
typedef enum KpxExceeded
{
	KPX_EXCEEDED_NOTHING,
	KPX_EXCEEDED_MEMORY, /* the arena's limit, or there was none */
	KPX_EXCEEDED_ITEMSETS, /* more than max_itemsets were found */
	KPX_EXCEEDED_BOUND /* before any work: subsets of one frequent itemset alone are more */
} KpxExceeded;

typedef struct KpxMiner KpxMiner;

/*
 * Baskets are rows of index (items below items, in any order, repetitions count once),
 * offset[baskets + 1]; both are the caller's and are overwritten. KPX_BAD_ARGUMENT,
 * KPX_TOO_BIG at 2^32 baskets, KPX_OVER_LIMIT. What is in the arena stays the arena's:
 * the caller drops it as a whole.
 */
extern KpxStatus kpx_miner_begin(const KpxMinerOptions *options, uint64_t *offset, uint32_t *index, uint64_t baskets,
								 uint32_t items, KpxArena *arena, KpxMiner **miner);

/*
 * Works on, for about budget words or items read (2^20 take about a millisecond).
 * KPX_MORE until it is done, then KPX_OK. KPX_BAD_ARGUMENT for an item out of range;
 * KPX_OVER_LIMIT, see kpx_miner_exceeded.
 */
extern KpxStatus kpx_miner_run(KpxMiner *miner, uint64_t budget);

extern const KpxItemsets *kpx_miner_itemsets(const KpxMiner *miner);

/* Which limit; bound: how many itemsets there are at least, length and support of the one that proves it. */
extern KpxExceeded kpx_miner_exceeded(const KpxMiner *miner, double *bound, int *length, uint64_t *support);

/*
 * out = a & b, returns the bits set. word[n]: which words of a and b, or NULL for the
 * first n. out may be NULL. level 0 is portable, 1 uses the CPU's popcnt where there is one.
 */
typedef uint64_t (*KpxAndCount)(const uint64_t *a, const uint64_t *b, const uint32_t *word, size_t n, uint64_t *out);
extern KpxAndCount kpx_and_count(int level);

#endif /* KPX_ITEMSET_H */
