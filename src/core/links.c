/*
 * links.c
 *	  Weighted links from item to item: what EASE, item-kNN and transitions learn.
 */
#include "links.h"

#include <math.h>
#include <string.h>

bool
kpx_links_valid(const KpxLinks *links, uint64_t entries)
{
	if (links->offset[0] != 0 || links->offset[links->items] != entries)
		return false;
	for (uint32_t i = 0; i < links->items; i++)
		if (links->offset[i] > links->offset[i + 1])
			return false;
	for (uint32_t i = 0; i < links->items; i++)
		for (uint64_t j = links->offset[i]; j < links->offset[i + 1]; j++)
			if (links->index[j] >= links->items || (j > links->offset[i] && links->index[j - 1] >= links->index[j]))
				return false;
	return true;
}

/* First entry of a row whose target is not below item. */
static uint64_t
lower_bound(const KpxLinks *links, uint32_t row, uint32_t item)
{
	uint64_t low = links->offset[row];
	uint64_t high = links->offset[row + 1];

	while (low < high)
	{
		uint64_t middle = low + (high - low) / 2;

		if (links->index[middle] < item)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void
kpx_links_score(const KpxLinks *links, const uint32_t *index, const float *weight, size_t n, uint32_t begin,
				uint32_t end, float *score)
{
	for (uint32_t i = begin; i < end; i++)
		score[i - begin] = NAN;
	for (size_t j = 0; j < n; j++)
	{
		uint32_t from = index[j] & UINT32_C(0x7FFFFFFF);
		uint64_t last = links->offset[from + 1];

		if (weight[j] == 0)
			continue;
		for (uint64_t e = lower_bound(links, from, begin); e < last && links->index[e] < end; e++)
		{
			float *to = &score[links->index[e] - begin];
			float amount = weight[j] * links->weight[e];

			*to = *to == *to ? *to + amount : amount;
		}
	}
}

float
kpx_links_weight(const KpxLinks *links, uint32_t from, uint32_t to)
{
	uint64_t at = lower_bound(links, from, to);

	return at < links->offset[from + 1] && links->index[at] == to ? links->weight[at] : 0;
}

/* Shell sort: no memory, and rows are short. */
static void
sort_by_item(KpxHit *hits, size_t n)
{
	for (size_t gap = n / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11)
		for (size_t i = gap; i < n; i++)
		{
			KpxHit hit = hits[i];
			size_t j = i;

			for (; j >= gap && hits[j - gap].item > hit.item; j -= gap)
				hits[j] = hits[j - gap];
			hits[j] = hit;
		}
}

void
kpx_row_add(KpxRowSums *row, const uint32_t *index, const float *weight, size_t n, float v)
{
	/* Copies, because a byte written may be anything's; no branch, because whether an item is new cannot be predicted. */
	float *sum = row->sum;
	uint8_t *seen = row->seen;
	uint32_t *touched = row->touched;
	uint32_t count = row->n;

	for (size_t e = 0; e < n; e++)
	{
		uint32_t item = index[e] & UINT32_C(0x7FFFFFFF);

		touched[count] = item;
		count += !seen[item];
		seen[item] = 1;
		sum[item] += v * weight[e];
	}
	row->n = count;
}

uint32_t
kpx_row_best(KpxRowSums *row, uint32_t target, uint32_t keep, float *compact, KpxHit *hits, uint32_t *index, float *weight)
{
	size_t n;

	/* NaN is never chosen. */
	for (uint32_t i = 0; i < row->n; i++)
	{
		float size = fabsf(row->sum[row->touched[i]]);

		compact[i] = row->touched[i] == target || size == 0 ? NAN : size;
	}
	n = kpx_topk(compact, row->n, NULL, keep, hits);
	for (size_t i = 0; i < n; i++)
		hits[i].item = row->touched[hits[i].item];
	sort_by_item(hits, n);
	for (size_t i = 0; i < n; i++)
	{
		index[i] = hits[i].item;
		weight[i] = row->sum[hits[i].item];
	}
	for (uint32_t i = 0; i < row->n; i++)
	{
		row->sum[row->touched[i]] = 0;
		row->seen[row->touched[i]] = 0;
	}
	row->n = 0;
	return (uint32_t) n;
}

uint32_t
kpx_dense_best(const float *link, uint32_t items, uint32_t keep, float *compact, KpxHit *hits, uint32_t *index, float *weight)
{
	size_t n;

	for (uint32_t j = 0; j < items; j++)
		compact[j] = fabsf(link[j]);
	n = kpx_topk(compact, items, NULL, keep, hits);
	while (n > 0 && hits[n - 1].score == 0)
		n--;
	sort_by_item(hits, n);
	for (size_t i = 0; i < n; i++)
	{
		index[i] = hits[i].item;
		weight[i] = link[hits[i].item];
	}
	return (uint32_t) n;
}

void
kpx_links_turn(uint32_t items, uint32_t keep, const uint32_t *count, const uint32_t *index, const float *weight,
			   uint64_t *offset, uint64_t *cursor, uint32_t *to_index, float *to_weight)
{
	memset(offset, 0, ((size_t) items + 1) * sizeof(uint64_t));
	for (size_t t = 0; t < items; t++)
		for (size_t e = 0; e < count[t]; e++)
			offset[index[t * keep + e] + 1]++;
	for (size_t i = 0; i < items; i++)
		offset[i + 1] += offset[i];
	memcpy(cursor, offset, (size_t) items * sizeof(uint64_t));
	for (size_t t = 0; t < items; t++)
		for (size_t e = 0; e < count[t]; e++)
		{
			uint64_t at = cursor[index[t * keep + e]]++;

			to_index[at] = (uint32_t) t;
			to_weight[at] = weight[t * keep + e];
		}
}
