/*
 * itemset_search.c
 *	  Frequent itemsets of two and more: one item's baskets at a time, on bitsets.
 *
 *	  count	   how often each more frequent item is in the item's baskets: itemsets of two
 *	  clear, fill	a bitset over these baskets for each of them
 *	  advance  each basket goes to the list of its next item
 *	  search   itemsets of three and more: depth first, a frame a prefix, intersecting bitsets
 */
#include "itemset_miner.h"

#include <string.h>

/* ---------------------------------------------------------------- one item */

/* Puts a basket on the list of the item it stands at, unless it is at its last. */
static void
put_on_list(KpxMiner *m, uint32_t basket)
{
	Waiting *w = &m->waiting[basket];
	uint32_t item;

	if (w->after == 0)
		return;
	item = m->index[w->at];
	w->next = m->head[item];
	m->head[item] = basket;
}

/* The next basket on the list; its items are on their way by the time they are needed. */
static uint32_t
next_basket(const KpxMiner *m, const Waiting *w)
{
	if (w->next != NO_BASKET)
		__builtin_prefetch(m->index + m->waiting[w->next].at);
	return w->next;
}

static KpxStatus
make_lists(KpxMiner *m)
{
	for (; m->row > 0; m->row--)
	{
		uint32_t basket = (uint32_t) (m->row - 1);

		if (m->left <= 0)
			return KPX_MORE;
		m->left -= 4;
		if (m->offset[basket] == m->offset[basket + 1])
			continue;
		m->waiting[basket].at = m->offset[basket];
		m->waiting[basket].after = (uint32_t) (m->offset[basket + 1] - m->offset[basket] - 1);
		put_on_list(m, basket);
	}
	m->current = 0;
	m->phase = PHASE_ITEM_BEGIN;
	return KPX_OK;
}

static KpxStatus
begin_item(KpxMiner *m)
{
	/* The most frequent item has no one left to be with. */
	if (m->current + 1 >= m->sets.frequent_items)
	{
		m->phase = PHASE_DONE;
		return KPX_OK;
	}
	m->left -= 16;
	m->cursor = m->head[m->current];
	m->n_touched = 0;
	m->frame[0].n = 0;
	m->phase = PHASE_ITEM_COUNT;
	return KPX_OK;
}

static KpxStatus
count_item(KpxMiner *m)
{
	while (m->cursor != NO_BASKET)
	{
		const Waiting *w = &m->waiting[m->cursor];
		const uint32_t *item = m->index + w->at + 1;

		if (m->left <= 0)
			return KPX_MORE;
		m->left -= (int64_t) w->after + 4;
		m->cursor = next_basket(m, w);
		for (uint32_t j = 0; j < w->after; j++)
			if (m->count[item[j]]++ == 0)
				m->touched[m->n_touched++] = item[j];
	}
	m->phase = PHASE_ITEM_CHILDREN;
	return KPX_OK;
}

/* Grows a frame's bitsets to rows x words; what was in them is lost. */
static KpxStatus
size_frame(KpxMiner *m, Frame *frame, size_t rows, size_t words)
{
	size_t needed;

	if (!kpx_mul_size(rows, words, &needed))
		return kpx_miner_over(m, KPX_EXCEEDED_MEMORY);
	frame->words = frame->stride = words;
	if (needed <= frame->capacity)
		return KPX_OK;
	kpx_arena_give(m->arena, frame->bits, frame->capacity, sizeof(uint64_t));
	frame->capacity = 0;
	frame->bits = kpx_arena_take(m->arena, needed, sizeof(uint64_t));
	if (frame->bits == NULL)
		return kpx_miner_over(m, KPX_EXCEEDED_MEMORY);
	frame->capacity = needed;
	return KPX_OK;
}

/* Itemsets of two that begin with the item. */
static KpxStatus
item_children(KpxMiner *m)
{
	uint32_t prefix = 1 + m->current;
	Frame *frame = &m->frame[0];
	uint32_t n = 0;

	m->left -= 8 * (int64_t) m->n_touched;
	for (uint32_t t = 0; t < m->n_touched; t++)
		if (m->count[m->touched[t]] >= m->options.min_support)
			m->touched[n++] = m->touched[t];
		else
			m->count[m->touched[t]] = 0;
	kpx_sort_ranks(m->touched, n);
	frame->prefix = prefix;
	frame->first = m->sets.n;
	frame->n = n;
	for (uint32_t r = 0; r < n; r++)
	{
		KpxStatus status = kpx_miner_add(m, prefix, m->touched[r], m->count[m->touched[r]], 2);

		if (status != KPX_OK)
			return status;
		m->count[m->touched[r]] = 0;
		m->slot[m->touched[r]] = r + 1;
	}
	m->n_touched = n;
	m->cursor = 0;
	m->phase = PHASE_ITEM_CLEAR;
	if (m->options.max_length == 2 || n < 2)
	{
		frame->n = 0;
		m->cursor = m->head[m->current];
		m->phase = PHASE_ITEM_ADVANCE;
		return KPX_OK;
	}
	return size_frame(m, frame, n, ((size_t) kpx_itemset(&m->sets, prefix)->support + 63) / 64);
}

static KpxStatus
clear_item(KpxMiner *m)
{
	Frame *frame = &m->frame[0];

	for (; m->cursor < frame->n; m->cursor++)
	{
		if (m->left <= 0)
			return KPX_MORE;
		m->left -= (int64_t) frame->stride / 4 + 1;
		memset(frame->bits + m->cursor * frame->stride, 0, frame->stride * sizeof(uint64_t));
	}
	m->bit = 0;
	m->cursor = m->head[m->current];
	m->phase = PHASE_ITEM_FILL;
	return KPX_OK;
}

/* A bit for each basket in which the item is with two or more of its children. */
static KpxStatus
fill_item(KpxMiner *m)
{
	Frame *frame = &m->frame[0];

	while (m->cursor != NO_BASKET)
	{
		const Waiting *w = &m->waiting[m->cursor];
		const uint32_t *item = m->index + w->at + 1;
		uint64_t mask = UINT64_C(1) << (m->bit & 63);
		uint64_t *word = frame->bits + (m->bit >> 6);
		uint32_t found = 0;

		if (m->left <= 0)
			return KPX_MORE;
		m->left -= 2 * (int64_t) w->after + 4;
		m->cursor = next_basket(m, w);
		for (uint32_t j = 0; j < w->after && found < 2; j++)
			found += m->slot[item[j]] != 0;
		if (found < 2)
			continue;
		for (uint32_t j = 0; j < w->after; j++)
			if (m->slot[item[j]])
				word[(size_t) (m->slot[item[j]] - 1) * frame->stride] |= mask;
		m->bit++;
	}
	frame->words = (size_t) ((m->bit + 63) / 64);
	m->cursor = m->head[m->current];
	m->phase = PHASE_ITEM_ADVANCE;
	return KPX_OK;
}

static KpxStatus
advance_item(KpxMiner *m)
{
	while (m->cursor != NO_BASKET)
	{
		uint32_t basket = m->cursor;

		if (m->left <= 0)
			return KPX_MORE;
		m->left -= 4;
		m->cursor = m->waiting[basket].next;
		m->waiting[basket].at++;
		m->waiting[basket].after--;
		put_on_list(m, basket);
	}
	for (uint32_t t = 0; t < m->n_touched; t++)
		m->slot[m->touched[t]] = 0;
	m->current++;
	m->frame[0].left = 0;
	m->frame[0].right = 0;
	m->depth = 0;
	m->phase = m->frame[0].n > 0 ? PHASE_SEARCH : PHASE_ITEM_BEGIN;
	return KPX_OK;
}

/* ---------------------------------------------------------------- itemsets of three and more */

/* Finds the words of row left that are not zero, and room for what it is intersected with. */
static KpxStatus
begin_left(KpxMiner *m, Frame *frame, bool keep)
{
	const uint64_t *row = frame->bits + frame->left * frame->stride;
	size_t n = 0;

	if (frame->words > m->word_capacity)
	{
		kpx_arena_give(m->arena, m->word, m->word_capacity, sizeof(uint32_t));
		m->word_capacity = 0;
		m->word = kpx_arena_take(m->arena, frame->words, sizeof(uint32_t));
		if (m->word == NULL)
			return kpx_miner_over(m, KPX_EXCEEDED_MEMORY);
		m->word_capacity = frame->words;
	}
	for (size_t w = 0; w < frame->words; w++)
	{
		m->word[n] = (uint32_t) w;
		n += row[w] != 0;
	}
	m->left -= (int64_t) frame->words + 16;
	/* Leaving out a few words is not worth the detour. */
	m->all_words = n > frame->words - frame->words / 4;
	m->n_words = m->all_words ? frame->words : n;
	frame->kept = 0;
	frame->right = frame->left + 1;
	if (!keep)
		return KPX_OK;
	return size_frame(m, frame + 1, frame->n - frame->left - 1, m->n_words ? m->n_words : 1);
}

/* Intersects row left with the rows right of it. */
static KpxStatus
extend_left(KpxMiner *m, Frame *frame, bool keep)
{
	Frame *below = frame + 1;
	const uint64_t *row = frame->bits + frame->left * frame->stride;
	const uint32_t *word = m->all_words ? NULL : m->word;
	uint32_t prefix = frame->first + frame->left;

	for (; frame->right < frame->n; frame->right++)
	{
		uint64_t *out = keep ? below->bits + frame->kept * below->stride : NULL;
		uint64_t support;
		KpxStatus status;

		if (m->left <= 0)
			return KPX_MORE;
		m->left -= (int64_t) m->n_words + 8;
		support = m->and_count(row, frame->bits + frame->right * frame->stride, word, m->n_words, out);
		if (support < m->options.min_support)
			continue;
		status = kpx_miner_add(m, prefix, kpx_itemset(&m->sets, frame->first + frame->right)->item, support, m->depth + 3);
		if (status != KPX_OK)
			return status;
		frame->kept++;
	}
	return KPX_OK;
}

static KpxStatus
search(KpxMiner *m)
{
	while (m->depth >= 0)
	{
		Frame *frame = &m->frame[m->depth];
		bool keep = m->depth + 3 < m->options.max_length;
		KpxStatus status = KPX_OK;

		if (frame->left + 1 >= frame->n)
		{
			m->depth--;
			if (m->depth >= 0)
			{
				m->frame[m->depth].left++;
				m->frame[m->depth].right = 0;
			}
			continue;
		}
		if (frame->right == 0)
			status = begin_left(m, frame, keep);
		if (status == KPX_OK)
			status = extend_left(m, frame, keep);
		if (status != KPX_OK)
			return status;
		if (keep && frame->kept >= 2)
		{
			Frame *below = frame + 1;

			below->prefix = frame->first + frame->left;
			below->first = kpx_itemset(&m->sets, below->prefix)->first;
			below->n = frame->kept;
			below->left = below->right = 0;
			m->depth++;
		}
		else
		{
			frame->left++;
			frame->right = 0;
		}
	}
	m->phase = PHASE_ITEM_BEGIN;
	return KPX_OK;
}

KpxStatus
kpx_miner_step(KpxMiner *m)
{
	switch (m->phase)
	{
		case PHASE_LISTS:
			return make_lists(m);
		case PHASE_ITEM_BEGIN:
			return begin_item(m);
		case PHASE_ITEM_COUNT:
			return count_item(m);
		case PHASE_ITEM_CHILDREN:
			return item_children(m);
		case PHASE_ITEM_CLEAR:
			return clear_item(m);
		case PHASE_ITEM_FILL:
			return fill_item(m);
		case PHASE_ITEM_ADVANCE:
			return advance_item(m);
		case PHASE_SEARCH:
			return search(m);
		default:
			return KPX_BAD_ARGUMENT;
	}
}
