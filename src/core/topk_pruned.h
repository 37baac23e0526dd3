/*
 * topk_pruned.h
 *	  Exact maximum inner product search that looks only at items long enough to matter.
 *
 * |x.y| <= |x||y| (Cauchy, Schwarz): once items are taken in the order of their lengths, those
 * after the first whose bound |x||y| is below the k-th best score so far cannot be among
 * the k best. Factors of implicit feedback are long for common items and short for rare ones, so
 * the search ends after a few percent of them (Teflioudi, Gemulla, Mykytiuk 2015, "LEMP", section 3.1).
 * Where all items are equally long it looks at all of them.
 *
 * Looking at an item is first its bound in eight bits (topk_codes.h), a quarter of the memory and read in
 * order; its score is computed when that may be among the k best, a few items in a thousand.
 *
 * The order is over rows of one matrix, row-major with ld floats a row, 64-byte aligned.
 */
#ifndef KPX_TOPK_PRUNED_H
#define KPX_TOPK_PRUNED_H

#include "topk.h"
#include "topk_codes.h"

/* Rows by length. length[j] >= the length of row order[j], never increasing in j. */
typedef struct KpxLengths
{
	const float *items; /* rows x ld */
	size_t ld;
	size_t rows;
	const uint32_t *order; /* [rows] */
	const float *length; /* [rows] */
	KpxCodes codes; /* by position */
} KpxLengths;

/* length[i] := the length of row i, rounded up, for i in [begin, end). */
extern void kpx_row_lengths(const float *items, size_t ld, size_t begin, size_t end, float *length);

/* Sorts length[rows] into decreasing order, order[j] := where its j-th was, the first of equals first. */
extern void kpx_order_by_length(size_t rows, float *length, uint32_t *order, void *workspace);
extern size_t kpx_order_by_length_workspace_size(size_t rows); /* SIZE_MAX: too many */

/* One user's search. Set all but bound and query, which kpx_search_begin sets; top.n = 0. */
typedef struct KpxSearch
{
	const float *x; /* ld floats, 64-byte aligned */
	const uint8_t *excluded; /* bitmap over rows, or NULL */
	KpxTop top; /* k > 0 */
	float bound; /* |x|, rounded up so that bound * length is above any score as computed */
	KpxCodeQuery query;
} KpxSearch;

extern void kpx_search_begin(KpxSearch *search, size_t ld);

/*
 * Looks at positions [begin, end) of the order, end - begin <= KPX_SEARCH_BLOCK, begin a multiple of
 * KPX_CODE_ROWS, which must follow those it has looked at; false when it is finished: nothing from begin on can be among the k best.
 */
#define KPX_SEARCH_BLOCK 256
extern bool kpx_search_step(const KpxLengths *lengths, size_t begin, size_t end, KpxSearch *search);

#endif /* KPX_TOPK_PRUNED_H */
