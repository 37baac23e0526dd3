/*
 * itemknn.c
 *	  Item-based nearest neighbours: likeness of items by the users they share.
 */
#include "itemknn.h"

#include <math.h>

#define ITEM(word) ((word) &UINT32_C(0x7FFFFFFF))

void
kpx_knn_weigh(const KpxRows *rows, size_t begin, size_t end, uint32_t items, KpxWeighting weighting, double k1,
			  double b, const double *item_length, double mean_length, float *value)
{
	for (size_t user = begin; user < end; user++)
	{
		double idf = log((double) items / (1.0 + (double) (rows->offset[user + 1] - rows->offset[user])));

		if (!(idf > 0.01))
			idf = 0.01;
		for (uint64_t e = rows->offset[user]; e < rows->offset[user + 1]; e++)
		{
			double w = rows->weight[e];
			double length;

			if (weighting == KPX_WEIGHT_TFIDF)
				w = sqrt(w) * idf;
			else if (weighting == KPX_WEIGHT_BM25)
			{
				length = 1 - b + b * item_length[ITEM(rows->index[e])] / mean_length;
				w = w > 0 ? w * (k1 + 1) / (w + k1 * length) * idf : 0;
			}
			value[e] = (float) w;
		}
	}
}

/* Users whose offsets, and whose rows, are asked of memory before they are added: they lie anywhere. */
#define OFFSETS_AHEAD 24
#define ROWS_AHEAD 8

static inline void
ask_ahead(const KpxRows *by_user, const uint32_t *user, uint64_t known)
{
	if (OFFSETS_AHEAD < known)
		__builtin_prefetch(by_user->offset + user[OFFSETS_AHEAD]);
	if (ROWS_AHEAD < known)
	{
		uint64_t begin = by_user->offset[user[ROWS_AHEAD]];
		uint64_t end = by_user->offset[user[ROWS_AHEAD] + 1];

		/* of a long row the first lines: the processor goes on by itself */
		for (uint64_t e = begin; e < end && e < begin + 4 * KPX_LANE; e += KPX_LANE)
		{
			__builtin_prefetch(by_user->index + e);
			__builtin_prefetch(by_user->weight + e);
		}
	}
}

KpxStatus
kpx_knn_row(const KpxRows *by_user, const KpxRows *by_item, KpxCursor *cursor, double budget, KpxRowSums *row)
{
	uint64_t n = by_item->offset[cursor->row + 1] - by_item->offset[cursor->row];

	while (cursor->done < n)
	{
		uint64_t at = by_item->offset[cursor->row] + cursor->done++;
		uint32_t user = by_item->index[at];
		float v = by_item->weight[at];
		uint64_t begin;
		size_t size;

		ask_ahead(by_user, by_item->index + at, n + by_item->offset[cursor->row] - at);
		begin = by_user->offset[user];
		size = (size_t) (by_user->offset[user + 1] - begin);
		kpx_row_add(row, by_user->index + begin, by_user->weight + begin, size, v);
		budget -= (double) size;
		if (budget < 0 && cursor->done < n)
			return KPX_MORE;
	}
	return KPX_OK;
}

void
kpx_knn_links(KpxRowSums *row, double own, const double *by, double shrinkage)
{
	for (uint32_t i = 0; i < row->n; i++)
	{
		uint32_t j = row->touched[i];
		double size = own * by[j] + shrinkage;

		row->sum[j] = size > 0 ? (float) (row->sum[j] / size) : 0;
	}
}
