/*
 * transition.c
 *	  What people do after what: a Markov chain over items.
 */
#include "transition.h"

#include <math.h>

#define ITEM(word) ((word) &UINT32_C(0x7FFFFFFF))

void
kpx_time_order(const KpxRows *rows, const uint32_t *time, size_t begin, size_t end, uint32_t *order)
{
	for (size_t user = begin; user < end; user++)
	{
		const uint32_t *at = time + rows->offset[user];
		uint32_t *to = order + rows->offset[user];
		size_t n = (size_t) (rows->offset[user + 1] - rows->offset[user]);

		/* Bottom-up shell sort: rows are short, and it needs no memory. Ties keep item order by comparing positions. */
		for (size_t i = 0; i < n; i++)
			to[i] = (uint32_t) i;
		for (size_t gap = n / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11)
			for (size_t i = gap; i < n; i++)
			{
				uint32_t entry = to[i];
				size_t j = i;

				for (; j >= gap && (at[to[j - gap]] > at[entry] || (at[to[j - gap]] == at[entry] && to[j - gap] > entry)); j -= gap)
					to[j] = to[j - gap];
				to[j] = entry;
			}
	}
}

/* The entry of user that is item, by bisection; it is there. */
static uint64_t
entry_of(const KpxRows *by_user, uint32_t user, uint32_t item)
{
	uint64_t low = by_user->offset[user];
	uint64_t high = by_user->offset[user + 1] - 1;

	while (low < high)
	{
		uint64_t middle = low + (high - low) / 2;

		if (ITEM(by_user->index[middle]) < item)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void
kpx_transition_row(const KpxRows *by_user, const uint32_t *time, const uint32_t *order, const uint32_t *place,
				   const KpxRows *by_item, uint32_t target, uint32_t window, double decay, KpxRowSums *row)
{
	static const float once = 1;

	for (uint64_t e = by_item->offset[target]; e < by_item->offset[target + 1]; e++)
	{
		uint32_t user = by_item->index[e];
		uint64_t begin = by_user->offset[user];
		uint64_t own = entry_of(by_user, user, target);
		double amount = 1;
		uint32_t taken = 0;

		if (time[own] == 0)
			continue;
		for (uint32_t p = place[own]; p > 0 && taken < window; p--)
		{
			uint64_t before = begin + order[begin + p - 1];

			if (time[before] == 0)
				break;
			if (time[before] == time[own])
				continue;
			kpx_row_add(row, by_user->index + before, &once, 1, (float) amount);
			amount *= decay;
			taken++;
		}
	}
}

void
kpx_transition_links(KpxRowSums *row, const KpxRows *by_item, double shrinkage)
{
	for (uint32_t i = 0; i < row->n; i++)
	{
		uint32_t j = row->touched[i];

		row->sum[j] = (float) (row->sum[j] / ((double) (by_item->offset[j + 1] - by_item->offset[j]) + shrinkage));
	}
}

void
kpx_transition_start(const uint32_t *time, size_t n, uint32_t window, double decay, float *weight)
{
	for (size_t j = 0; j < n; j++)
	{
		size_t newer = 0;

		for (size_t i = 0; time && i < n && newer < window; i++)
			newer += time[i] > time[j];
		weight[j] = newer < window ? (float) pow(decay, (double) newer) : 0;
	}
}
