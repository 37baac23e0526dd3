/*
 * topk_pruned.c
 *	  Exact maximum inner product search that looks only at items long enough to matter.
 */
#include "topk_pruned.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "kernel.h"

/* ------------------------------------------------------------ the order */

void
kpx_row_lengths(const float *items, size_t ld, size_t begin, size_t end, float *length)
{
	for (size_t i = begin; i < end; i++)
	{
		const float *row = items + i * ld;
		double square[8] = {0}; /* in one sum every addition would wait for the one before it */

		for (size_t k = 0; k < ld; k += 8)
			for (size_t j = 0; j < 8; j++)
				square[j] += (double) row[k + j] * row[k + j];
		for (size_t j = 1; j < 8; j++)
			square[0] += square[j];
		length[i] = nextafterf((float) sqrt(square[0]), FLT_MAX);
	}
}

/* A row and its length, as a key that increases as the length decreases. */
typedef struct LengthKey
{
	uint32_t key;
	uint32_t row;
} LengthKey;

#define DIGITS 3
#define DIGIT_BITS 11
#define DIGIT_VALUES (1 << DIGIT_BITS)

size_t
kpx_order_by_length_workspace_size(size_t rows)
{
	size_t bytes;

	return kpx_mul_size(rows, 2 * sizeof(LengthKey), &bytes) ? bytes : SIZE_MAX;
}

/* One pass of a radix sort: by digit number pass, the least first. */
static void
sort_by_digit(const LengthKey *from, LengthKey *to, size_t rows, int pass)
{
	size_t start[DIGIT_VALUES + 1] = {0};
	int shift = pass * DIGIT_BITS;

	for (size_t i = 0; i < rows; i++)
		start[((from[i].key >> shift) & (DIGIT_VALUES - 1)) + 1]++;
	for (int d = 0; d < DIGIT_VALUES; d++)
		start[d + 1] += start[d];
	for (size_t i = 0; i < rows; i++)
		to[start[(from[i].key >> shift) & (DIGIT_VALUES - 1)]++] = from[i];
}

void
kpx_order_by_length(size_t rows, float *length, uint32_t *order, void *workspace)
{
	LengthKey *from = workspace;
	LengthKey *to = from + rows;

	/* Bits of floats that are not negative are in their order. */
	for (size_t i = 0; i < rows; i++)
	{
		uint32_t bits;

		memcpy(&bits, &length[i], sizeof(bits));
		from[i] = (LengthKey){~bits, (uint32_t) i};
	}
	for (int pass = 0; pass < DIGITS; pass++)
	{
		LengthKey *sorted = to;

		sort_by_digit(from, to, rows, pass);
		to = from;
		from = sorted;
	}
	for (size_t j = 0; j < rows; j++)
	{
		uint32_t bits = ~from[j].key;

		memcpy(&length[j], &bits, sizeof(bits));
		order[j] = from[j].row;
	}
}

/* ------------------------------------------------------------ the search */

void
kpx_search_begin(KpxSearch *search, size_t ld)
{
	double square = 0;

	for (size_t k = 0; k < ld; k++)
		square += (double) search->x[k] * search->x[k];
	/*
	 * A product of ld terms in floats is off by at most about ld / 2 units of the last place of
	 * sum |x y|, which is at most |x||y|; four times that for the bound's own rounding and good measure.
	 */
	search->bound = (float) (sqrt(square) * (1 + (double) (ld + KPX_LANE) * FLT_EPSILON * 2));
	kpx_code_query(search->x, ld, &search->query);
}

/* Can nothing of this length be among the k best any more? */
static bool
finished(const KpxSearch *search, float length)
{
	return search->top.n == search->top.k && search->bound * length < search->top.hits[0].score;
}

/* Rows at positions [begin, begin + n) that may be among the k best, to row; returns how many. */
static size_t
candidates(const KpxLengths *lengths, size_t begin, size_t n, const KpxSearch *search, uint32_t *row)
{
	const KpxKernels *kernels = kpx_kernels();
	const KpxTop *top = &search->top;
	float bound[KPX_SEARCH_BLOCK];
	int32_t product[KPX_SEARCH_BLOCK];
	float threshold = top->n == top->k ? top->hits[0].score : -FLT_MAX;
	size_t found = 0;
	size_t j = 0;

	if (top->n == top->k)
		kpx_code_bounds(&lengths->codes, lengths->ld, begin, n, &search->query, lengths->length[begin], product, bound);
	else
		memset(bound, 0, sizeof(bound));
	while ((j = kernels->next_above(bound, j, n, threshold)) < n)
		for (size_t end = j + KPX_LANE < n ? j + KPX_LANE : n; j < end; j++)
		{
			uint32_t item = lengths->order[begin + j];

			row[found] = item;
			found += bound[j] >= threshold && !(search->excluded && kpx_bit_get(search->excluded, item));
		}
	return found;
}

bool
kpx_search_step(const KpxLengths *lengths, size_t begin, size_t end, KpxSearch *search)
{
	uint32_t row[KPX_SEARCH_BLOCK];
	float score[KPX_SEARCH_BLOCK];
	size_t n;

	if (begin >= end || finished(search, lengths->length[begin]))
		return false;
	n = candidates(lengths, begin, end - begin, search, row);
	kpx_kernels()->scores_at(lengths->items, lengths->ld, row, n, n, search->x, score);
	for (size_t j = 0; j < n; j++)
		kpx_top_offer(&search->top, (KpxHit){row[j], score[j]}, NULL);
	return true;
}
