/*
 * ingest.c
 *	  Events (user, item, weight) to interactions in compressed sparse rows.
 *
 * Counting sort by user, then each row is sorted by item and duplicates are added up.
 */
#include "ingest.h"

#include <math.h>
#include <string.h>

KpxStatus
kpx_csr_count(const KpxEvent *events, size_t n, uint32_t users, uint32_t items, uint64_t *count)
{
	for (size_t i = 0; i < n; i++)
	{
		if (events[i].user >= users || KPX_ITEM(events[i].item) >= items)
			return KPX_BAD_ARGUMENT;
		count[events[i].user]++;
	}
	return KPX_OK;
}

uint64_t
kpx_csr_offsets(uint64_t *count, size_t rows)
{
	uint64_t total = 0;

	for (size_t row = 0; row < rows; row++)
	{
		uint64_t n = count[row];

		count[row] = total;
		total += n;
	}
	count[rows] = total;
	return total;
}

void
kpx_csr_scatter(const KpxEvent *events, size_t n, const uint32_t *item_map, uint64_t *cursor,
				uint32_t *index, float *weight)
{
	for (size_t i = 0; i < n; i++)
	{
		uint64_t at = cursor[events[i].user]++;
		uint32_t item = events[i].item;

		index[at] = item_map ? item_map[KPX_ITEM(item)] | (item & KPX_HIDES) : item;
		weight[at] = events[i].weight;
	}
}

static void
swap(uint32_t *index, float *weight, size_t a, size_t b)
{
	uint32_t i = index[a];
	float w = weight[a];

	index[a] = index[b];
	weight[a] = weight[b];
	index[b] = i;
	weight[b] = w;
}

static void
insertion_sort(uint32_t *index, float *weight, size_t n)
{
	for (size_t i = 1; i < n; i++)
	{
		uint32_t item = index[i];
		float w = weight[i];
		size_t j = i;

		for (; j > 0 && KPX_ITEM(index[j - 1]) > KPX_ITEM(item); j--)
		{
			index[j] = index[j - 1];
			weight[j] = weight[j - 1];
		}
		index[j] = item;
		weight[j] = w;
	}
}

static void
sift_down(uint32_t *index, float *weight, size_t root, size_t n)
{
	for (;;)
	{
		size_t child = 2 * root + 1;

		if (child >= n)
			return;
		if (child + 1 < n && KPX_ITEM(index[child + 1]) > KPX_ITEM(index[child]))
			child++;
		if (KPX_ITEM(index[root]) >= KPX_ITEM(index[child]))
			return;
		swap(index, weight, root, child);
		root = child;
	}
}

/* Heapsort: no memory, never worse than n log n. */
static void
sort_row(uint32_t *index, float *weight, size_t n)
{
	bool sorted = true;

	for (size_t i = 1; i < n && sorted; i++)
		sorted = KPX_ITEM(index[i - 1]) <= KPX_ITEM(index[i]);
	if (sorted)
		return;
	if (n <= 48)
	{
		insertion_sort(index, weight, n);
		return;
	}
	for (size_t root = n / 2; root-- > 0;)
		sift_down(index, weight, root, n);
	for (size_t end = n; end-- > 1;)
	{
		swap(index, weight, 0, end);
		sift_down(index, weight, 0, end);
	}
}

void
kpx_csr_dedupe(const uint64_t *offset, size_t rows_begin, size_t rows_end, uint32_t *index, float *weight,
			   uint64_t *kept)
{
	for (size_t row = rows_begin; row < rows_end; row++)
	{
		uint32_t *items = index + offset[row];
		float *weights = weight + offset[row];
		size_t n = (size_t) (offset[row + 1] - offset[row]);
		size_t to = 0;

		sort_row(items, weights, n);
		for (size_t i = 0; i < n;)
		{
			uint32_t item = items[i];
			double sum = 0;
			size_t j = i;

			for (; j < n && KPX_ITEM(items[j]) == KPX_ITEM(item); j++)
			{
				sum += weights[j];
				item |= items[j] & KPX_HIDES;
			}
			if ((float) sum > 0 || (item & KPX_HIDES))
			{
				items[to] = item;
				weights[to++] = (float) sum;
			}
			i = j;
		}
		kept[row] = to;
	}
}

uint64_t
kpx_csr_compact(uint64_t *offset, const uint64_t *kept, size_t rows, uint32_t *index, float *weight)
{
	uint64_t total = 0;

	for (size_t row = 0; row < rows; row++)
	{
		uint64_t from = offset[row];

		if (from != total)
		{
			memmove(index + total, index + from, (size_t) kept[row] * sizeof(uint32_t));
			memmove(weight + total, weight + from, (size_t) kept[row] * sizeof(float));
		}
		offset[row] = total;
		total += kept[row];
	}
	offset[rows] = total;
	return total;
}

void
kpx_csr_times(const KpxEvent *events, const uint32_t *at, size_t n, const uint64_t *offset, const uint32_t *index,
			  uint32_t *time)
{
	for (size_t i = 0; i < n; i++)
	{
		uint64_t low = offset[events[i].user];
		uint64_t end = offset[events[i].user + 1];
		uint64_t high = end;

		while (low < high)
		{
			uint64_t middle = low + (high - low) / 2;

			if (KPX_ITEM(index[middle]) < KPX_ITEM(events[i].item))
				low = middle + 1;
			else
				high = middle;
		}
		if (low < end && KPX_ITEM(index[low]) == KPX_ITEM(events[i].item) && at[i] > time[low])
			time[low] = at[i];
	}
}

void
kpx_csr_transpose_count(const uint32_t *index, size_t n, uint64_t *count)
{
	for (size_t j = 0; j < n; j++)
		count[KPX_ITEM(index[j])]++;
}

void
kpx_csr_transpose_scatter(const uint64_t *offset, const uint32_t *index, const float *weight, size_t rows_begin,
						  size_t rows_end, uint64_t *cursor, uint32_t *t_index, float *t_weight)
{
	for (size_t user = rows_begin; user < rows_end; user++)
		for (uint64_t j = offset[user]; j < offset[user + 1]; j++)
		{
			uint64_t at = cursor[KPX_ITEM(index[j])]++;

			t_index[at] = (uint32_t) user;
			t_weight[at] = weight[j];
		}
}

double
kpx_decay(double age, double half_life)
{
	return age > 0 ? exp2(-age / half_life) : 1.0;
}
