/*
 * links.h
 *	  Weighted links from item to item: what EASE, item-kNN and transitions learn.
 *
 * A user is scored by following the links of what they did: score[i] = sum over history
 * entries j of weight_j link(j, i). Links are made a target at a time (the sum of a row,
 * then its best) and turned around into rows by source afterwards.
 */
#ifndef KPX_LINKS_H
#define KPX_LINKS_H

#include "matrix.h"
#include "topk.h"

/* Rows by source item, targets increasing in each. */
typedef struct KpxLinks
{
	uint32_t items;
	const uint64_t *offset; /* items + 1 */
	const uint32_t *index; /* target item */
	const float *weight; /* finite */
} KpxLinks;

/* Offsets from 0 to entries, never decreasing; targets below items, increasing in each row. */
extern bool kpx_links_valid(const KpxLinks *links, uint64_t entries);

/*
 * score[i - begin] for items i of [begin, end): the sum over links of history entries
 * (index, whose bit 31 is ignored; weight), NaN when no link leads to i. Entries of weight 0
 * lead nowhere.
 */
extern void kpx_links_score(const KpxLinks *links, const uint32_t *index, const float *weight, size_t n,
							uint32_t begin, uint32_t end, float *score);

/* The link's weight; 0 without link. */
extern float kpx_links_weight(const KpxLinks *links, uint32_t from, uint32_t to);

/* A row being summed up: sum[items] and seen[items] are zero outside touched[0..n). */
typedef struct KpxRowSums
{
	float *sum;
	uint8_t *seen;
	uint32_t *touched; /* items + 1 entries */
	uint32_t n;
} KpxRowSums;

/* sum[index[e]] += v * weight[e] for n entries; bit 31 of index is ignored. */
extern void kpx_row_add(KpxRowSums *row, const uint32_t *index, const float *weight, size_t n, float v);

/*
 * The keep sums greatest by absolute value, of items other than target, zero left out, in
 * increasing order of items to index and weight; how many. The row is empty afterwards.
 * compact: items floats; hits: keep entries.
 */
extern uint32_t kpx_row_best(KpxRowSums *row, uint32_t target, uint32_t keep, float *compact, KpxHit *hits,
							 uint32_t *index, float *weight);

/* The same of a dense row of items floats, whose target is 0. */
extern uint32_t kpx_dense_best(const float *link, uint32_t items, uint32_t keep, float *compact, KpxHit *hits, uint32_t *index,
							   float *weight);

/*
 * Turns rows by target (count[t] entries from t * keep on) into rows by source. offset:
 * uint64[items + 1]; cursor: uint64[items] scratch; to_index, to_weight: sum of counts.
 */
extern void kpx_links_turn(uint32_t items, uint32_t keep, const uint32_t *count, const uint32_t *index,
						   const float *weight, uint64_t *offset, uint64_t *cursor, uint32_t *to_index,
						   float *to_weight);

#endif /* KPX_LINKS_H */
