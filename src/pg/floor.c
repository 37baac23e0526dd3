/*
 * floor.c
 *	  Nothing is stored of items, rules or segments that rest on fewer than kpxrec.min_users users.
 *
 * What one user did alone would else be told to everybody: the neighbours of an item that only
 * one user had are that user's other items. Enforced where models are made, not where they are read.
 */
#include "floor.h"

#include "core/ingest.h"

int kpx_min_users = 5;

#define ROWS_A_STEP 8192

/* ------------------------------------------------------------ items of models */

/* rare[item]: fewer users than asked for; returns how many have any. */
static uint32
find_rare(const KpxData *data, bool *rare)
{
	uint64 *users = kpx_alloc(CurrentMemoryContext, (size_t) data->items + 1, sizeof(uint64));
	uint32 n = 0;

	memset(users, 0, ((size_t) data->items + 1) * sizeof(uint64));
	for (size_t begin = 0; begin < data->users; begin += ROWS_A_STEP)
	{
		size_t end = Min(begin + ROWS_A_STEP, data->users);

		CHECK_FOR_INTERRUPTS();
		kpx_csr_transpose_count(data->index + data->offset[begin], data->offset[end] - data->offset[begin], users);
	}
	for (uint32 i = 0; i < data->items; i++)
	{
		rare[i] = users[i] < (uint64) kpx_min_users;
		n += rare[i] && users[i] > 0;
	}
	pfree(users);
	return n;
}

/* Drops entries with rare items; position: what the others' items are called now, or NULL. empty[user]: had rare items only. */
static void
drop_entries(KpxData *data, const bool *rare, const uint32 *position, bool *empty)
{
	uint64 to = 0;
	uint64 from = 0;

	for (uint32 u = 0; u < data->users; u++)
	{
		uint64 begin = from;

		if (u % ROWS_A_STEP == 0)
			CHECK_FOR_INTERRUPTS();
		data->offset[u] = to;
		for (; from < data->offset[u + 1]; from++)
		{
			uint32 item = KPX_ITEM(data->index[from]);

			if (rare[item])
				continue;
			data->index[to] = (position ? position[item] : item) | (data->index[from] & KPX_HIDES);
			data->weight[to] = data->weight[from];
			if (data->time)
				data->time[to] = data->time[from];
			to++;
		}
		empty[u] = to == data->offset[u] && from > begin;
	}
	data->offset[data->users] = to;
}

static void
drop_users(KpxData *data, const bool *empty)
{
	uint32 kept = 0;

	data->user_ids = kpx_ids_without(&data->user_ids, empty);
	for (uint32 u = 0; u < data->users; u++)
		if (!empty[u])
			data->offset[kept++] = data->offset[u];
	data->offset[kept] = data->offset[data->users];
	data->users = kept;
}

void
kpx_data_floor(KpxData *data, bool drop_items)
{
	bool *rare;
	bool *empty;
	uint32 *position = NULL;
	uint32 n;

	if (kpx_min_users <= 1)
		return;
	empty = kpx_alloc(CurrentMemoryContext, Max(data->users, 1), sizeof(bool));
	rare = kpx_alloc(CurrentMemoryContext, Max(data->items, 1), sizeof(bool));
	n = find_rare(data, rare);
	if (drop_items)
	{
		uint32 kept = 0;
		uint32 begin = 0;

		Assert(data->last_item == NULL);
		position = kpx_alloc(CurrentMemoryContext, Max(data->items, 1), sizeof(uint32));
		for (int m = 0; m < data->n_modules; m++)
		{
			uint32 end = data->item_base[m + 1];

			data->item_ids[m] = kpx_ids_without(&data->item_ids[m], rare + begin);
			data->item_base[m] = kept;
			for (uint32 i = begin; i < end; i++)
				position[i] = rare[i] ? KPX_NO_ITEM : kept++;
			begin = end;
		}
		data->items = data->item_base[data->n_modules] = kept;
		if (n > 0)
			ereport(NOTICE,
					(errmsg("%u items of fewer than %d users are left out", n, kpx_min_users),
					 errhint("See the setting kpxrec.min_users.")));
	}
	drop_entries(data, rare, position, empty);
	if (position)
	{
		drop_users(data, empty);
		pfree(position);
	}
	kpx_data_count(data);
	pfree(rare);
	pfree(empty);
}

/* ------------------------------------------------------------ rules from baskets of periods */

KpxBasketIndex *
kpx_basket_index(const KpxData *data)
{
	KpxBasketIndex *index = palloc(sizeof(KpxBasketIndex));
	uint64 n = data->offset[data->users];
	uint64 *offset = kpx_alloc(CurrentMemoryContext, (size_t) data->items + 1, sizeof(uint64));
	uint64 *cursor = kpx_alloc(CurrentMemoryContext, (size_t) data->items + 1, sizeof(uint64));
	uint32 *basket;

	kpx_check_budget(n * sizeof(uint32) + ((size_t) data->items + 1) * 2 * sizeof(uint64), "counting the users of rules");
	basket = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(uint32));
	memset(offset, 0, ((size_t) data->items + 1) * sizeof(uint64));
	kpx_csr_transpose_count(data->index, n, offset);
	(void) kpx_csr_offsets(offset, data->items);
	memcpy(cursor, offset, data->items * sizeof(uint64));
	for (uint32 b = 0; b < data->users; b++)
	{
		if (b % ROWS_A_STEP == 0)
			CHECK_FOR_INTERRUPTS();
		for (uint64 j = data->offset[b]; j < data->offset[b + 1]; j++)
			basket[cursor[KPX_ITEM(data->index[j])]++] = b;
	}
	pfree(cursor);
	*index = (KpxBasketIndex){offset, basket, data->user_ids.numbers};
	return index;
}

static bool
has_basket(const KpxBasketIndex *index, uint32 item, uint32 basket)
{
	uint64 low = index->offset[item];
	uint64 high = index->offset[item + 1];

	while (low < high)
	{
		uint64 middle = low + (high - low) / 2;

		if (index->basket[middle] == basket)
			return true;
		if (index->basket[middle] < basket)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* Adds a user to those seen unless they are there; returns how many there are now. */
static int
see(uint32 *seen, int n, uint32 user)
{
	for (int i = 0; i < n; i++)
		if (seen[i] == user)
			return n;
	seen[n] = user;
	return n + 1;
}

bool
kpx_enough_users(const KpxBasketIndex *index, const uint32 *items, int n)
{
	uint32 *seen = kpx_alloc(CurrentMemoryContext, (size_t) kpx_min_users, sizeof(uint32));
	uint32 rarest = items[0];
	int users = 0;

	for (int i = 1; i < n; i++)
		if (index->offset[items[i] + 1] - index->offset[items[i]] < index->offset[rarest + 1] - index->offset[rarest])
			rarest = items[i];
	for (uint64 j = index->offset[rarest]; j < index->offset[rarest + 1] && users < kpx_min_users; j++)
	{
		bool all = true;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n && all; i++)
			all = items[i] == rarest || has_basket(index, items[i], index->basket[j]);
		if (all)
			users = see(seen, users, (uint32) index->owner[index->basket[j]]);
	}
	pfree(seen);
	return users >= kpx_min_users;
}
