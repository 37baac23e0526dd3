/*
 * ingest.h
 *	  Events (user, item, weight) to interactions in compressed sparse rows.
 *
 * Order of use: kpx_csr_count over all blocks of events, kpx_csr_offsets,
 * kpx_csr_scatter over the same blocks, kpx_csr_dedupe over ranges of rows,
 * kpx_csr_compact; then for the other side kpx_csr_transpose_count over ranges of entries,
 * kpx_csr_offsets, kpx_csr_transpose_scatter over ranges of rows.
 */
#ifndef KPX_INGEST_H
#define KPX_INGEST_H

#include "matrix.h"

/*
 * One event. Bit 31 of item (KPX_HIDES) says that the event takes its item out of
 * further answers. Items are dense indexes below 2^31, users below 2^32 - 1.
 */
typedef struct KpxEvent
{
	uint32_t user;
	uint32_t item;
	float weight;
} KpxEvent;

#define KPX_HIDES UINT32_C(0x80000000)
#define KPX_ITEM(word) ((word) & ~KPX_HIDES)

/*
 * Adds the events of each user to count[user] (uint64[users], zeroed by the
 * caller before the first block). KPX_BAD_ARGUMENT when an event is out of range
 * of users or items.
 */
extern KpxStatus kpx_csr_count(const KpxEvent *events, size_t n, uint32_t users, uint32_t items, uint64_t *count);

/* Turns count[rows] (+ one spare slot) into exclusive prefix sums; returns the total. */
extern uint64_t kpx_csr_offsets(uint64_t *count, size_t rows);

/*
 * Puts events into their rows. offset: uint64[users + 1] of kpx_csr_offsets,
 * cursor: uint64[users], a copy of offset's first users entries, advanced here.
 * item_map: uint32[items] renames items (sorted order), or NULL. index, weight:
 * arrays of the total number of events. The hides bit stays in index.
 */
extern void kpx_csr_scatter(const KpxEvent *events, size_t n, const uint32_t *item_map,
							uint64_t *cursor, uint32_t *index, float *weight);

/*
 * Sorts each row of [rows_begin, rows_end) by item and adds duplicates up (weights
 * summed, hides bits or-ed); drops interactions of weight zero that do not hide.
 * kept[row] receives the length of the row afterwards; it stays where it began.
 */
extern void kpx_csr_dedupe(const uint64_t *offset, size_t rows_begin, size_t rows_end,
						   uint32_t *index, float *weight, uint64_t *kept);

/* Closes the gaps dedupe left; rewrites offset (uint64[rows + 1]); returns the total. */
extern uint64_t kpx_csr_compact(uint64_t *offset, const uint64_t *kept, size_t rows,
								uint32_t *index, float *weight);

/*
 * Last time of each interaction: time[j] of rows that dedupe and compact have made becomes
 * the greatest of what it was and the times at[i] of its events. time: uint32 an entry.
 */
extern void kpx_csr_times(const KpxEvent *events, const uint32_t *at, size_t n, const uint64_t *offset,
						  const uint32_t *index, uint32_t *time);

/*
 * The other side: rows are items, entries users in increasing order. Counts n entries
 * into count (uint64[items + 1], zeroed by the caller before the first range).
 */
extern void kpx_csr_transpose_count(const uint32_t *index, size_t n, uint64_t *count);

/*
 * Puts the entries of users [rows_begin, rows_end) into their rows, users in increasing
 * order. cursor: uint64[items], a copy of the offsets, advanced here. Hides bits are dropped.
 */
extern void kpx_csr_transpose_scatter(const uint64_t *offset, const uint32_t *index, const float *weight,
									  size_t rows_begin, size_t rows_end, uint64_t *cursor,
									  uint32_t *t_index, float *t_weight);

/* Weight of an event of this age: 2^(-age / half_life); ages below zero count as zero. */
extern double kpx_decay(double age, double half_life);

#endif /* KPX_INGEST_H */
