/*
 * topk.h
 *	  Exact maximum inner product search: scores of all items, and the k best.
 *
 * Order everywhere: higher score first, ties by lower item index.
 */
#ifndef KPX_TOPK_H
#define KPX_TOPK_H

#include "matrix.h"

typedef struct KpxHit
{
	uint32_t item;
	float score;
} KpxHit;

/*
 * score[i] = items[i] . x for rows [rows_begin, rows_end); items: rows x ld floats,
 * x: ld floats, score indexed by row (score[rows_begin] is written first).
 */
extern void kpx_scores(const float *items, size_t ld, size_t rows_begin, size_t rows_end,
					   const float *x, float *score);

/*
 * score[u * score_ld + i] = x[u] . items[i]: users x rows floats by one sgemm, which
 * cannot be interrupted: rows is the caller's to bound. x: users x ld.
 */
extern void kpx_scores_batch(const float *items, size_t ld, size_t rows, const float *x, size_t users,
							 float *score, size_t score_ld);

/*
 * score[i - begin] = cosine of rows i and item of a matrix (rows x ld), for i in
 * [begin, end); 0 where either row is zero.
 */
extern void kpx_cosines(const float *matrix, size_t ld, size_t item, size_t begin, size_t end, float *score);

/* a[i] := (a[i] + b[i]) / 2, or the one of them that is not NaN. */
extern void kpx_mean_score(float *a, const float *b, size_t n);

/*
 * The k best of score[0..n) to hits, best first; returns how many (min(k, items
 * not excluded)). excluded: bitmap of n bits (bit i of byte i/8, least significant
 * first), or NULL. NaN scores are never returned. hits: k entries.
 */
extern size_t kpx_topk(const float *score, size_t n, const uint8_t *excluded, size_t k, KpxHit *hits);

/* The k best of those offered so far: hits is a heap whose first is the worst; it has room for k > 0. */
typedef struct KpxTop
{
	KpxHit *hits;
	size_t k;
	size_t n;
} KpxTop;

/* Takes the hit if it is among the k best, has a score that is not NaN, and is not excluded. */
extern void kpx_top_offer(KpxTop *top, KpxHit hit, const uint8_t *excluded);

/* Puts the hits in order, best first, and returns how many there are. */
extern size_t kpx_top_finish(KpxTop *top);

/*
 * Rank (from 0) item has in that order among those not excluded. O(n). The item
 * itself must not be excluded.
 */
extern size_t kpx_rank(const float *score, size_t n, const uint8_t *excluded, uint32_t item);

static inline void
kpx_bit_set(uint8_t *bits, size_t i)
{
	bits[i >> 3] |= (uint8_t) (1u << (i & 7));
}

static inline void
kpx_bit_clear(uint8_t *bits, size_t i)
{
	bits[i >> 3] &= (uint8_t) ~(1u << (i & 7));
}

static inline bool
kpx_bit_get(const uint8_t *bits, size_t i)
{
	return (bits[i >> 3] >> (i & 7)) & 1;
}

#endif /* KPX_TOPK_H */
