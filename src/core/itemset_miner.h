/*
 * itemset_miner.h
 *	  The state of a mining run, between itemset.c and itemset_search.c only.
 */
#ifndef KPX_ITEMSET_MINER_H
#define KPX_ITEMSET_MINER_H

#include "itemset.h"

#define NO_BASKET UINT32_MAX

typedef enum Phase
{
	PHASE_COUNT,
	PHASE_RANK,
	PHASE_REWRITE,
	PHASE_BOUND,
	PHASE_LISTS,
	PHASE_ITEM_BEGIN,
	PHASE_ITEM_COUNT,
	PHASE_ITEM_CHILDREN,
	PHASE_ITEM_CLEAR,
	PHASE_ITEM_FILL,
	PHASE_ITEM_ADVANCE,
	PHASE_SEARCH,
	PHASE_DONE
} Phase;

/* A prefix and the bitsets of its children: row r is of child first + r, over the prefix's baskets. */
typedef struct Frame
{
	uint32_t prefix;
	uint32_t first;
	uint32_t n;
	size_t words; /* of a row that are in use */
	size_t stride; /* words from row to row */
	uint64_t *bits;
	size_t capacity; /* words */
	uint32_t left; /* the child being extended, by the child right */
	uint32_t right;
	uint32_t kept; /* rows in the frame below */
} Frame;

/* A basket on the list of an item, together because both are always read together. */
typedef struct Waiting
{
	uint64_t at; /* where the item is in index */
	uint32_t after; /* items after it */
	uint32_t next; /* basket on the list */
} Waiting;

struct KpxMiner
{
	KpxMinerOptions options;
	KpxArena *arena;
	KpxAndCount and_count;
	KpxItemsets sets;
	Phase phase;
	int64_t left; /* of the budget */
	KpxExceeded exceeded;
	uint64_t *offset; /* [baskets + 1] */
	uint32_t *index;
	uint64_t baskets;
	uint32_t items;
	uint64_t row; /* cursor of count, rewrite, lists */
	uint64_t row_begin; /* where row began before rewrite overwrote offset */
	uint64_t written; /* entries kept by rewrite */
	uint64_t *stamp; /* [items] last basket seen in + 1 */
	uint32_t *support; /* [items] */
	uint32_t *rank; /* [items], UINT32_MAX = not frequent */
	/* bound */
	uint32_t *active; /* baskets that have all chosen items */
	uint64_t n_active;
	uint64_t n_next;
	uint32_t chosen[KPX_MAX_ITEMSET + 1];
	int n_chosen;
	double bound;
	int bound_length;
	uint64_t bound_support;
	bool choosing;
	/* lists */
	uint32_t *head; /* [frequent items] first basket waiting for it */
	Waiting *waiting; /* [baskets] */
	/* the item in hand */
	uint32_t current; /* rank */
	uint32_t cursor; /* basket or row */
	uint64_t bit;
	uint32_t *count; /* [frequent items] */
	uint32_t *touched; /* [frequent items] */
	uint32_t n_touched;
	uint32_t *slot; /* [frequent items] child + 1 */
	/* search */
	Frame frame[KPX_MAX_ITEMSET];
	int depth;
	uint32_t *word; /* words of the row being extended that are not zero */
	size_t word_capacity;
	size_t n_words;
	bool all_words;
};

/* n * size bytes of the arena, or NULL. */
extern void *kpx_arena_take(KpxArena *arena, size_t n, size_t size);
extern void kpx_arena_give(KpxArena *arena, void *memory, size_t n, size_t size);

/* Notes why, for kpx_miner_exceeded; returns KPX_OVER_LIMIT. */
extern KpxStatus kpx_miner_over(KpxMiner *m, KpxExceeded what);

/* Adds a child to parent, whose children are being found just now. */
extern KpxStatus kpx_miner_add(KpxMiner *m, uint32_t parent, uint32_t item, uint64_t support, int length);

extern void kpx_sort_ranks(uint32_t *rank, size_t n);

/* The phases from PHASE_LISTS on. */
extern KpxStatus kpx_miner_step(KpxMiner *m);

#endif /* KPX_ITEMSET_MINER_H */
