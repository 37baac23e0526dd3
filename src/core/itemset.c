/*
 * itemset.c
 *	  Frequent itemsets: counting and ranking items, rewriting baskets, a bound, the trie.
 *
 * Phases: count the baskets of each item; rank the frequent ones; rewrite baskets as
 * increasing ranks; refuse at once when one frequent itemset alone has more subsets than
 * may be found; then take item by item (itemset_search.c). Every phase stops after its
 * budget and goes on where it was.
 */
#include "itemset_miner.h"

#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- memory */

void *
kpx_arena_take(KpxArena *arena, size_t n, size_t size)
{
	size_t bytes;
	void *memory;

	if (!kpx_mul_size(n ? n : 1, size, &bytes) || bytes > arena->limit - arena->used)
		return NULL;
	memory = arena->allocate(arena->context, bytes);
	if (memory == NULL)
		return NULL;
	arena->used += bytes;
	if (arena->used > arena->peak)
		arena->peak = arena->used;
	return memory;
}

void
kpx_arena_give(KpxArena *arena, void *memory, size_t n, size_t size)
{
	if (memory == NULL)
		return;
	arena->release(arena->context, memory);
	arena->used -= (n ? n : 1) * size;
}

KpxStatus
kpx_miner_over(KpxMiner *m, KpxExceeded what)
{
	m->exceeded = what;
	return KPX_OVER_LIMIT;
}

/* ---------------------------------------------------------------- the trie */

int
kpx_itemset_items(const KpxItemsets *sets, uint32_t i, uint32_t *item)
{
	int n = 0;

	for (; i != 0 && n < KPX_MAX_ITEMSET; i = kpx_itemset(sets, i)->parent)
		item[n++] = kpx_itemset(sets, i)->item;
	for (int a = 0, b = n - 1; a < b; a++, b--)
	{
		uint32_t swap = item[a];

		item[a] = item[b];
		item[b] = swap;
	}
	return n;
}

uint32_t
kpx_itemset_child(const KpxItemsets *sets, uint32_t i, uint32_t item)
{
	const KpxItemset *set = kpx_itemset(sets, i);
	uint32_t low = set->first;
	uint32_t high = set->first + set->children;

	if (i == 0)
		return item < sets->frequent_items ? 1 + item : 0;
	while (low < high)
	{
		uint32_t middle = low + (high - low) / 2;
		uint32_t found = kpx_itemset(sets, middle)->item;

		if (found == item)
			return middle;
		if (found < item)
			low = middle + 1;
		else
			high = middle;
	}
	return 0;
}

static KpxStatus
add_chunk(KpxMiner *m)
{
	KpxItemsets *sets = &m->sets;

	if (sets->chunks == sets->chunk_capacity)
	{
		size_t capacity = sets->chunk_capacity ? sets->chunk_capacity * 2 : 16;
		KpxItemset **bigger = kpx_arena_take(m->arena, capacity, sizeof(*bigger));

		if (bigger == NULL)
			return kpx_miner_over(m, KPX_EXCEEDED_MEMORY);
		if (sets->chunks)
			memcpy(bigger, sets->chunk, sets->chunks * sizeof(*bigger));
		kpx_arena_give(m->arena, sets->chunk, sets->chunk_capacity, sizeof(*bigger));
		sets->chunk = bigger;
		sets->chunk_capacity = capacity;
	}
	sets->chunk[sets->chunks] = kpx_arena_take(m->arena, KPX_ITEMSET_CHUNK, sizeof(KpxItemset));
	if (sets->chunk[sets->chunks] == NULL)
		return kpx_miner_over(m, KPX_EXCEEDED_MEMORY);
	sets->chunks++;
	return KPX_OK;
}

/* Adds a child to parent, whose children are being found just now. */
KpxStatus
kpx_miner_add(KpxMiner *m, uint32_t parent, uint32_t item, uint64_t support, int length)
{
	KpxItemsets *sets = &m->sets;

	if (sets->n > m->options.max_itemsets || sets->n == UINT32_MAX)
		return kpx_miner_over(m, KPX_EXCEEDED_ITEMSETS);
	if (sets->n == sets->chunks * KPX_ITEMSET_CHUNK && add_chunk(m) != KPX_OK)
		return KPX_OVER_LIMIT;
	*kpx_itemset(sets, sets->n) = (KpxItemset){item, (uint32_t) support, parent, 0, 0};
	if (sets->n > 0)
	{
		KpxItemset *above = kpx_itemset(sets, parent);

		if (above->children++ == 0)
			above->first = sets->n;
	}
	if ((uint32_t) length > sets->longest)
		sets->longest = (uint32_t) length;
	sets->n++;
	return KPX_OK;
}

/* ---------------------------------------------------------------- counting and ranking items */

static KpxStatus
count_items(KpxMiner *m)
{
	for (; m->row < m->baskets; m->row++)
	{
		if (m->left <= 0)
			return KPX_MORE;
		m->left -= (int64_t) (m->offset[m->row + 1] - m->offset[m->row]) + 1;
		for (uint64_t j = m->offset[m->row]; j < m->offset[m->row + 1]; j++)
		{
			uint32_t item = m->index[j];

			if (item >= m->items)
				return KPX_BAD_ARGUMENT;
			if (m->stamp[item] != m->row + 1)
				m->support[item]++;
			m->stamp[item] = m->row + 1;
		}
	}
	m->phase = PHASE_RANK;
	return KPX_OK;
}

/* Frequent items in increasing order of support, ties by item: least significant byte first. */
static KpxStatus
sort_items(KpxMiner *m, uint32_t n)
{
	uint32_t *from = m->sets.item;
	uint32_t *to = kpx_arena_take(m->arena, n, sizeof(uint32_t));
	uint32_t *scratch = to;

	if (to == NULL)
		return kpx_miner_over(m, KPX_EXCEEDED_MEMORY);
	for (int shift = 0; shift < 32; shift += 8)
	{
		size_t place[257] = {0};
		uint32_t *swap = from;

		for (uint32_t i = 0; i < n; i++)
			place[(m->support[from[i]] >> shift & 255) + 1]++;
		for (int b = 0; b < 256; b++)
			place[b + 1] += place[b];
		for (uint32_t i = 0; i < n; i++)
			to[place[m->support[from[i]] >> shift & 255]++] = from[i];
		from = to;
		to = swap;
	}
	/* four passes: the result is where it began */
	kpx_arena_give(m->arena, scratch, n, sizeof(uint32_t));
	return KPX_OK;
}

static KpxStatus
rank_items(KpxMiner *m)
{
	uint32_t n = 0;
	KpxStatus status;

	for (uint32_t i = 0; i < m->items; i++)
		n += m->support[i] >= m->options.min_support;
	m->sets.frequent_items = n;
	m->sets.item = kpx_arena_take(m->arena, n, sizeof(uint32_t));
	if (m->sets.item == NULL)
		return kpx_miner_over(m, KPX_EXCEEDED_MEMORY);
	n = 0;
	for (uint32_t i = 0; i < m->items; i++)
	{
		m->rank[i] = UINT32_MAX;
		if (m->support[i] >= m->options.min_support)
			m->sets.item[n++] = i;
	}
	status = sort_items(m, n);
	if (status == KPX_OK)
		status = kpx_miner_add(m, 0, UINT32_MAX, m->baskets, 0);
	for (uint32_t r = 0; r < n && status == KPX_OK; r++)
	{
		m->rank[m->sets.item[r]] = r;
		status = kpx_miner_add(m, 0, r, m->support[m->sets.item[r]], 1);
	}
	if (status != KPX_OK)
		return status;
	kpx_arena_give(m->arena, m->stamp, m->items, sizeof(uint64_t));
	kpx_arena_give(m->arena, m->support, m->items, sizeof(uint32_t));
	m->row = 0;
	m->row_begin = m->offset[0];
	m->phase = m->options.max_length == 1 || n < 2 ? PHASE_DONE : PHASE_REWRITE;
	return KPX_OK;
}

/* ---------------------------------------------------------------- rewriting baskets */

static int
compare_ranks(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *) a;
	uint32_t y = *(const uint32_t *) b;

	return x < y ? -1 : x > y;
}

void
kpx_sort_ranks(uint32_t *rank, size_t n)
{
	if (n > 24)
	{
		qsort(rank, n, sizeof(uint32_t), compare_ranks);
		return;
	}
	for (size_t i = 1; i < n; i++)
	{
		uint32_t r = rank[i];
		size_t j = i;

		for (; j > 0 && rank[j - 1] > r; j--)
			rank[j] = rank[j - 1];
		rank[j] = r;
	}
}

/* Row to its frequent items' ranks, increasing, each once, at to; returns how many. A basket of one is of no use. */
static size_t
rewrite_row(KpxMiner *m, uint64_t begin, uint64_t end, uint64_t to)
{
	size_t n = 0;
	size_t distinct = 0;

	for (uint64_t j = begin; j < end; j++)
		if (m->rank[m->index[j]] != UINT32_MAX)
			m->index[to + n++] = m->rank[m->index[j]];
	kpx_sort_ranks(m->index + to, n);
	for (size_t j = 0; j < n; j++)
		if (distinct == 0 || m->index[to + j] != m->index[to + distinct - 1])
			m->index[to + distinct++] = m->index[to + j];
	return distinct < 2 ? 0 : distinct;
}

static KpxStatus
rewrite_baskets(KpxMiner *m)
{
	for (; m->row < m->baskets; m->row++)
	{
		uint64_t end = m->offset[m->row + 1];

		if (m->left <= 0)
			return KPX_MORE;
		m->left -= 4 * (int64_t) (end - m->row_begin) + 1;
		m->written += rewrite_row(m, m->row_begin, end, m->written);
		m->offset[m->row + 1] = m->written;
		m->row_begin = end;
	}
	m->offset[0] = 0;
	m->phase = PHASE_BOUND;
	return KPX_OK;
}

/* ---------------------------------------------------------------- a bound from below */

static bool
basket_has(const KpxMiner *m, uint32_t basket, uint32_t item)
{
	uint64_t low = m->offset[basket];
	uint64_t high = m->offset[basket + 1];

	while (low < high)
	{
		uint64_t middle = low + (high - low) / 2;

		if (m->index[middle] == item)
			return true;
		if (m->index[middle] < item)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* Subsets of an itemset of this length with 1 .. max_length items. */
static double
subsets(int length, int max_length)
{
	double choose = 1;
	double sum = 0;

	for (int k = 1; k <= length && k <= max_length; k++)
	{
		choose = choose * (length - k + 1) / k;
		sum += choose;
	}
	return sum;
}

/* The most frequent item of the active baskets that is not chosen yet; false when none is frequent. */
static bool
choose_item(KpxMiner *m)
{
	uint32_t best = UINT32_MAX;

	for (int c = 0; c < m->n_chosen; c++)
		m->count[m->chosen[c]] = 0;
	for (uint32_t r = 0; r < m->sets.frequent_items; r++)
		if (m->count[r] >= m->options.min_support && (best == UINT32_MAX || m->count[r] > m->count[best]))
			best = r;
	if (best != UINT32_MAX && m->n_chosen < KPX_MAX_ITEMSET)
	{
		m->bound_support = m->count[best];
		m->chosen[m->n_chosen++] = best;
	}
	else
		best = UINT32_MAX;
	memset(m->count, 0, m->sets.frequent_items * sizeof(uint32_t));
	return best != UINT32_MAX;
}

/* Greedily to a long frequent itemset: all of its subsets are frequent too. */
static KpxStatus
bound_itemsets(KpxMiner *m)
{
	for (;;)
	{
		for (; m->row < m->n_active; m->row++)
		{
			uint32_t basket = m->active[m->row];

			if (m->left <= 0)
				return KPX_MORE;
			m->left -= 16;
			if (m->n_chosen > 0 && !basket_has(m, basket, m->chosen[m->n_chosen - 1]))
				continue;
			m->active[m->n_next++] = basket;
			m->left -= (int64_t) (m->offset[basket + 1] - m->offset[basket]);
			for (uint64_t j = m->offset[basket]; j < m->offset[basket + 1]; j++)
				m->count[m->index[j]]++;
		}
		m->n_active = m->n_next;
		m->row = m->n_next = 0;
		m->left -= m->sets.frequent_items;
		if (!choose_item(m))
			break;
		m->bound_length = m->n_chosen;
		m->bound = subsets(m->n_chosen, m->options.max_length);
		if (m->bound > (double) m->options.max_itemsets)
			return kpx_miner_over(m, KPX_EXCEEDED_BOUND);
	}
	kpx_arena_give(m->arena, m->active, m->baskets, sizeof(uint32_t));
	m->row = m->baskets;
	m->phase = PHASE_LISTS;
	return KPX_OK;
}

/* ---------------------------------------------------------------- the face */

static KpxStatus
take_arrays(KpxMiner *m)
{
	KpxArena *arena = m->arena;
	size_t n = m->sets.frequent_items;

	m->active = kpx_arena_take(arena, m->baskets, sizeof(uint32_t));
	m->waiting = kpx_arena_take(arena, m->baskets, sizeof(Waiting));
	m->head = kpx_arena_take(arena, n, sizeof(uint32_t));
	m->count = kpx_arena_take(arena, n, sizeof(uint32_t));
	m->touched = kpx_arena_take(arena, n, sizeof(uint32_t));
	m->slot = kpx_arena_take(arena, n, sizeof(uint32_t));
	if (!m->active || !m->waiting || !m->head || !m->count || !m->touched || !m->slot)
		return kpx_miner_over(m, KPX_EXCEEDED_MEMORY);
	for (uint64_t b = 0; b < m->baskets; b++)
		m->active[b] = (uint32_t) b;
	memset(m->head, 0xFF, n * sizeof(uint32_t));
	memset(m->count, 0, n * sizeof(uint32_t));
	memset(m->slot, 0, n * sizeof(uint32_t));
	m->row = 0;
	m->n_active = m->baskets;
	return KPX_OK;
}

KpxStatus
kpx_miner_begin(const KpxMinerOptions *options, uint64_t *offset, uint32_t *index, uint64_t baskets, uint32_t items,
				KpxArena *arena, KpxMiner **miner)
{
	KpxMiner *m;

	*miner = NULL;
	if (options->min_support < 1 || options->max_length < 1 || options->max_length > KPX_MAX_ITEMSET)
		return KPX_BAD_ARGUMENT;
	if (baskets >= UINT32_MAX)
		return KPX_TOO_BIG;
	m = kpx_arena_take(arena, 1, sizeof(*m));
	if (m == NULL)
		return KPX_OVER_LIMIT;
	memset(m, 0, sizeof(*m));
	m->options = *options;
	m->arena = arena;
	m->and_count = kpx_and_count(1);
	m->offset = offset;
	m->index = index;
	m->baskets = m->sets.baskets = baskets;
	m->items = items;
	m->stamp = kpx_arena_take(arena, items, sizeof(uint64_t));
	m->support = kpx_arena_take(arena, items, sizeof(uint32_t));
	m->rank = kpx_arena_take(arena, items, sizeof(uint32_t));
	if (!m->stamp || !m->support || !m->rank)
		return KPX_OVER_LIMIT;
	memset(m->stamp, 0, items * sizeof(uint64_t));
	memset(m->support, 0, items * sizeof(uint32_t));
	*miner = m;
	return KPX_OK;
}

static KpxStatus
step(KpxMiner *m)
{
	KpxStatus status;

	switch (m->phase)
	{
		case PHASE_COUNT:
			return count_items(m);
		case PHASE_RANK:
			return rank_items(m);
		case PHASE_REWRITE:
			status = rewrite_baskets(m);
			return status == KPX_OK ? take_arrays(m) : status;
		case PHASE_BOUND:
			return bound_itemsets(m);
		case PHASE_LISTS:
		case PHASE_ITEM_BEGIN:
		case PHASE_ITEM_COUNT:
		case PHASE_ITEM_CHILDREN:
		case PHASE_ITEM_CLEAR:
		case PHASE_ITEM_FILL:
		case PHASE_ITEM_ADVANCE:
		case PHASE_SEARCH:
			return kpx_miner_step(m);
		case PHASE_DONE:
			break;
	}
	return KPX_OK;
}

KpxStatus
kpx_miner_run(KpxMiner *m, uint64_t budget)
{
	m->left = budget > INT64_MAX ? INT64_MAX : (int64_t) budget;
	while (m->phase != PHASE_DONE)
	{
		KpxStatus status = step(m);

		if (status != KPX_OK)
			return status;
		if (m->left <= 0 && m->phase != PHASE_DONE)
			return KPX_MORE;
	}
	return KPX_OK;
}

const KpxItemsets *
kpx_miner_itemsets(const KpxMiner *m)
{
	return &m->sets;
}

KpxExceeded
kpx_miner_exceeded(const KpxMiner *m, double *bound, int *length, uint64_t *support)
{
	*bound = m->bound;
	*length = m->bound_length;
	*support = m->bound_support;
	return m->exceeded;
}
