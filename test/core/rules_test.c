/*
 * rules_test.c
 *	  Itemsets and rules against trying every subset; every count is a whole number.
 */
#include "core/rules.h"
#include "test.h"

#include <string.h>

#define MAX_ITEMS 12

/* An arena over malloc that counts what is live, so that nothing is lost or given back twice. */
typedef struct Heap
{
	long blocks;
	long allocations;
	long fail_at; /* 0 = never */
	void *live[4096];
} Heap;

static void *
heap_allocate(void *context, size_t bytes)
{
	Heap *heap = context;

	if (heap->fail_at && ++heap->allocations >= heap->fail_at)
		return NULL;
	for (int i = 0; i < 4096; i++)
		if (heap->live[i] == NULL)
		{
			heap->blocks++;
			return heap->live[i] = test_alloc(bytes);
		}
	abort();
}

static void
heap_release(void *context, void *memory)
{
	Heap *heap = context;

	for (int i = 0; i < 4096; i++)
		if (heap->live[i] == memory)
		{
			free(memory);
			heap->live[i] = NULL;
			heap->blocks--;
			return;
		}
	CHECK(!"released what was not allocated");
}

static void
heap_clear(Heap *heap)
{
	for (int i = 0; i < 4096; i++)
		free(heap->live[i]);
	memset(heap, 0, sizeof(*heap));
}

typedef struct Baskets
{
	uint64_t n;
	uint32_t items;
	uint64_t *offset;
	uint32_t *index;
	uint32_t *mask; /* [n] items as bits, for brute force */
} Baskets;

/* density: how likely an item is; items may repeat in a basket, and baskets may be empty. */
static Baskets
random_baskets(uint64_t seed, uint64_t n, uint32_t items, double density)
{
	Baskets b = {n, items, test_alloc((n + 1) * sizeof(uint64_t)), test_alloc((2 * n * items + 1) * sizeof(uint32_t)), test_alloc(n * sizeof(uint32_t))};
	uint64_t at = 0;

	b.offset[0] = 0;
	for (uint64_t i = 0; i < n; i++)
	{
		b.mask[i] = 0;
		for (uint32_t j = 0; j < 2 * items; j++)
		{
			uint32_t item = (uint32_t) test_below(seed, i * 1000 + j, items);

			if (kpx_uniform(seed, 7, i * 1000 + j) >= density / 2)
				continue;
			b.index[at++] = item;
			b.mask[i] |= 1u << item;
		}
		b.offset[i + 1] = at;
	}
	return b;
}

static void
free_baskets(Baskets *b)
{
	free(b->offset);
	free(b->index);
	free(b->mask);
}

static void
brute_supports(const Baskets *b, uint32_t *support)
{
	for (uint32_t set = 0; set < 1u << b->items; set++)
	{
		support[set] = 0;
		for (uint64_t i = 0; i < b->n; i++)
			support[set] += (b->mask[i] & set) == set;
	}
}

static uint32_t
mask_of(const KpxItemsets *sets, uint32_t i)
{
	uint32_t item[KPX_MAX_ITEMSET];
	int n = kpx_itemset_items(sets, i, item);
	uint32_t mask = 0;

	for (int k = 0; k < n; k++)
		mask |= 1u << sets->item[item[k]];
	return mask;
}

static KpxStatus
run(KpxMiner *miner, uint64_t budget)
{
	KpxStatus status;

	while ((status = kpx_miner_run(miner, budget)) == KPX_MORE)
		;
	return status;
}

/* Every itemset that brute force finds is there once, with its count, and no other. */
static uint64_t
check_itemsets(const KpxItemsets *sets, const Baskets *b, const uint32_t *support, const KpxMinerOptions *o)
{
	uint8_t *seen = test_alloc(1u << b->items);
	uint64_t expected = 0;
	uint32_t longest = 0;

	memset(seen, 0, 1u << b->items);
	for (uint32_t i = 1; i < sets->n; i++)
	{
		uint32_t mask = mask_of(sets, i);

		CHECK_EQ(kpx_itemset(sets, i)->support, support[mask]);
		CHECK_EQ(seen[mask], 0);
		seen[mask] = 1;
	}
	for (uint32_t set = 1; set < 1u << b->items; set++)
	{
		bool frequent = support[set] >= o->min_support && __builtin_popcount(set) <= o->max_length;

		CHECK_EQ(seen[set], frequent);
		expected += frequent;
		if (frequent && (uint32_t) __builtin_popcount(set) > longest)
			longest = (uint32_t) __builtin_popcount(set);
	}
	CHECK_EQ(sets->n, expected + 1);
	CHECK_EQ(sets->longest, longest);
	CHECK_EQ(kpx_itemset(sets, 0)->support, b->n);
	free(seen);
	return expected;
}

static void
check_rules(const KpxItemsets *sets, const Baskets *b, const uint32_t *support, const KpxMinerOptions *o, uint64_t numerator, uint64_t denominator, uint64_t budget)
{
	KpxRuleCursor cursor;
	KpxRule rule[KPX_MAX_ITEMSET + 3];
	uint64_t expected = 0;
	uint64_t counted = 0;
	uint64_t found = 0;
	uint64_t n;
	KpxStatus status;
	uint8_t *seen = test_alloc((size_t) MAX_ITEMS << b->items);

	memset(seen, 0, (size_t) MAX_ITEMS << b->items);
	for (uint32_t set = 1; set < 1u << b->items; set++)
		for (uint32_t c = 0; c < b->items; c++)
			if ((set >> c & 1) && __builtin_popcount(set) >= 2 && __builtin_popcount(set) <= o->max_length &&
				support[set] >= o->min_support && support[set] * denominator >= numerator * support[set & ~(1u << c)])
				expected++;
	CHECK_EQ(kpx_rules_begin(numerator, denominator, &cursor), KPX_OK);
	do
	{
		status = kpx_rules_next(sets, &cursor, budget, NULL, 0, &n);
		counted += n;
	} while (status == KPX_MORE);
	CHECK_EQ(status, KPX_OK);
	CHECK_EQ(counted, expected);
	CHECK_EQ(kpx_rules_begin(numerator, denominator, &cursor), KPX_OK);
	do
	{
		status = kpx_rules_next(sets, &cursor, budget, rule, KPX_MAX_ITEMSET + 3, &n);
		for (uint64_t r = 0; r < n; r++)
		{
			uint32_t whole = mask_of(sets, rule[r].itemset);
			uint32_t left = mask_of(sets, rule[r].antecedent);
			uint32_t c = sets->item[rule[r].consequent];

			CHECK_EQ(whole, left | 1u << c);
			CHECK_EQ(left >> c & 1, 0);
			CHECK_EQ(kpx_itemset(sets, rule[r].antecedent)->support, support[left]);
			CHECK_EQ(kpx_itemset(sets, 1 + rule[r].consequent)->support, support[1u << c]);
			CHECK(support[whole] * denominator >= numerator * support[left]);
			CHECK_EQ(seen[(size_t) whole * MAX_ITEMS + c], 0);
			seen[(size_t) whole * MAX_ITEMS + c] = 1;
		}
		found += n;
	} while (status == KPX_MORE);
	CHECK_EQ(found, expected);
	free(seen);
}

static void
test_against_brute_force(uint64_t seed, uint64_t n, uint32_t items, double density, uint64_t min_support, int max_length, uint64_t budget)
{
	Baskets b = random_baskets(seed, n, items, density);
	uint32_t *support = test_alloc((1u << items) * sizeof(uint32_t));
	Heap heap = {0};
	KpxArena arena = {heap_allocate, heap_release, &heap, SIZE_MAX, 0, 0};
	KpxMinerOptions o = {min_support, max_length, UINT32_MAX};
	KpxMiner *miner;

	brute_supports(&b, support);
	CHECK_EQ(kpx_miner_begin(&o, b.offset, b.index, b.n, b.items, &arena, &miner), KPX_OK);
	CHECK_EQ(run(miner, budget), KPX_OK);
	check_itemsets(kpx_miner_itemsets(miner), &b, support, &o);
	check_rules(kpx_miner_itemsets(miner), &b, support, &o, 0, 1, budget);
	check_rules(kpx_miner_itemsets(miner), &b, support, &o, 1, 2, budget);
	check_rules(kpx_miner_itemsets(miner), &b, support, &o, 800000000, 1000000000, budget);
	check_rules(kpx_miner_itemsets(miner), &b, support, &o, 1, 1, budget);
	CHECK(arena.peak >= arena.used && arena.used > 0);
	heap_clear(&heap);
	free(support);
	free_baskets(&b);
}

/* Every allocation fails once, and every byte limit is kept: a status, nothing else. */
static void
test_memory(void)
{
	KpxMinerOptions o = {2, 12, 1000000};
	bool done = false;

	for (long at = 1; !done; at++)
	{
		Baskets b = random_baskets(5, 200, 12, 0.5);
		Heap heap = {.fail_at = at};
		KpxArena arena = {heap_allocate, heap_release, &heap, SIZE_MAX, 0, 0};
		KpxMiner *miner;
		KpxStatus status = kpx_miner_begin(&o, b.offset, b.index, b.n, b.items, &arena, &miner);

		if (status == KPX_OK)
			status = run(miner, 1000);
		CHECK(status == KPX_OK || status == KPX_OVER_LIMIT);
		done = status == KPX_OK;
		CHECK(at < 1000);
		heap_clear(&heap);
		free_baskets(&b);
	}
	for (size_t limit = 1000; limit < 10000000; limit = limit * 3 / 2)
	{
		Baskets b = random_baskets(5, 200, 12, 0.5);
		Heap heap = {0};
		KpxArena arena = {heap_allocate, heap_release, &heap, limit, 0, 0};
		KpxMiner *miner;
		KpxStatus status = kpx_miner_begin(&o, b.offset, b.index, b.n, b.items, &arena, &miner);

		if (status == KPX_OK)
			status = run(miner, 1000);
		CHECK(status == KPX_OK || status == KPX_OVER_LIMIT);
		CHECK(arena.peak <= limit);
		if (limit > 5000000)
			CHECK_EQ(status, KPX_OK);
		heap_clear(&heap);
		free_baskets(&b);
	}
}

static KpxExceeded
mine_limited(uint64_t max_itemsets, uint64_t min_support, int max_length, uint32_t *n, double *bound, int *length, uint64_t *support)
{
	Baskets b = random_baskets(11, 100, 12, 0.9);
	Heap heap = {0};
	KpxArena arena = {heap_allocate, heap_release, &heap, SIZE_MAX, 0, 0};
	KpxMinerOptions o = {min_support, max_length, max_itemsets};
	KpxMiner *miner;
	KpxStatus status;
	KpxExceeded why;

	CHECK_EQ(kpx_miner_begin(&o, b.offset, b.index, b.n, b.items, &arena, &miner), KPX_OK);
	status = run(miner, 1 << 20);
	*n = kpx_miner_itemsets(miner)->n;
	why = kpx_miner_exceeded(miner, bound, length, support);
	CHECK_EQ(status, why == KPX_EXCEEDED_NOTHING ? KPX_OK : KPX_OVER_LIMIT);
	heap_clear(&heap);
	free_baskets(&b);
	return why;
}

/* The cap is exact, and the bound never promises more than there is. */
static void
test_cap(void)
{
	static const int lengths[] = {2, 3, 5, 12};

	for (uint64_t min_support = 1; min_support <= 40; min_support += 13)
		for (size_t l = 0; l < 4; l++)
		{
			double bound;
			int length;
			uint64_t support;
			uint32_t n;
			uint32_t all;

			CHECK_EQ(mine_limited(UINT32_MAX, min_support, lengths[l], &all, &bound, &length, &support), KPX_EXCEEDED_NOTHING);
			CHECK(bound <= all - 1);
			CHECK(length >= 1 && support >= min_support);
			CHECK_EQ(mine_limited(all - 1, min_support, lengths[l], &n, &bound, &length, &support), KPX_EXCEEDED_NOTHING);
			CHECK(mine_limited(all - 2, min_support, lengths[l], &n, &bound, &length, &support) != KPX_EXCEEDED_NOTHING);
			CHECK_EQ(mine_limited(5, min_support, lengths[l], &n, &bound, &length, &support), KPX_EXCEEDED_ITEMSETS);
			if (bound > 20)
			{
				CHECK_EQ(mine_limited(20, min_support, lengths[l], &n, &bound, &length, &support), KPX_EXCEEDED_BOUND);
				CHECK_EQ(n, 13);
			}
		}
}

static void
test_arguments(void)
{
	uint64_t offset[3] = {0, 2, 4};
	uint32_t index[4] = {0, 1, 1, 7};
	Heap heap = {0};
	KpxArena arena = {heap_allocate, heap_release, &heap, SIZE_MAX, 0, 0};
	KpxMiner *miner;
	KpxRuleCursor cursor;
	KpxRule rule[1];
	uint64_t n;

	CHECK_EQ(kpx_miner_begin(&(KpxMinerOptions){0, 2, 10}, offset, index, 2, 8, &arena, &miner), KPX_BAD_ARGUMENT);
	CHECK_EQ(kpx_miner_begin(&(KpxMinerOptions){1, 0, 10}, offset, index, 2, 8, &arena, &miner), KPX_BAD_ARGUMENT);
	CHECK_EQ(kpx_miner_begin(&(KpxMinerOptions){1, 65, 10}, offset, index, 2, 8, &arena, &miner), KPX_BAD_ARGUMENT);
	CHECK_EQ(kpx_miner_begin(&(KpxMinerOptions){1, 2, 10}, offset, index, UINT32_MAX, 8, &arena, &miner), KPX_TOO_BIG);
	CHECK_EQ(kpx_miner_begin(&(KpxMinerOptions){1, 2, 10}, offset, index, 2, 7, &arena, &miner), KPX_OK);
	CHECK_EQ(run(miner, 100), KPX_BAD_ARGUMENT);
	heap_clear(&heap);
	arena.used = 0;
	/* no baskets at all */
	CHECK_EQ(kpx_miner_begin(&(KpxMinerOptions){1, 2, 10}, offset, index, 0, 0, &arena, &miner), KPX_OK);
	CHECK_EQ(run(miner, 100), KPX_OK);
	CHECK_EQ(kpx_miner_itemsets(miner)->n, 1);
	CHECK_EQ(kpx_rules_begin(2, 1, &cursor), KPX_BAD_ARGUMENT);
	CHECK_EQ(kpx_rules_begin(0, 0, &cursor), KPX_BAD_ARGUMENT);
	CHECK_EQ(kpx_rules_begin(1, KPX_FRACTION + 1, &cursor), KPX_BAD_ARGUMENT);
	CHECK_EQ(kpx_rules_begin(1, 2, &cursor), KPX_OK);
	CHECK_EQ(kpx_rules_next(kpx_miner_itemsets(miner), &cursor, 10, rule, 1, &n), KPX_BAD_ARGUMENT);
	CHECK_EQ(kpx_rules_next(kpx_miner_itemsets(miner), &cursor, 10, NULL, 0, &n), KPX_OK);
	CHECK_EQ(n, 0);
	heap_clear(&heap);
}

/* Long bitsets, sparse and full, with and without a choice of words. */
static void
test_and_count(void)
{
	for (int level = 0; level <= 1; level++)
		for (size_t n = 0; n < 70; n++)
		{
			uint64_t a[70];
			uint64_t b[70];
			uint64_t out[70];
			uint32_t word[70];
			size_t chosen = 0;
			uint64_t all = 0;
			uint64_t some = 0;

			for (size_t i = 0; i < n; i++)
			{
				a[i] = kpx_random(1, n, i) & (i % 3 ? UINT64_MAX : kpx_random(3, n, i));
				b[i] = i % 5 == 0 ? UINT64_MAX : kpx_random(2, n, i);
				for (int bit = 0; bit < 64; bit++)
				{
					all += a[i] >> bit & b[i] >> bit & 1;
					some += i % 2 ? a[i] >> bit & b[i] >> bit & 1 : 0;
				}
				if (i % 2)
					word[chosen++] = (uint32_t) i;
			}
			CHECK_EQ(kpx_and_count(level)(a, b, NULL, n, NULL), all);
			CHECK_EQ(kpx_and_count(level)(a, b, NULL, n, out), all);
			for (size_t i = 0; i < n; i++)
				CHECK(out[i] == (a[i] & b[i]));
			CHECK_EQ(kpx_and_count(level)(a, b, word, chosen, NULL), some);
			CHECK_EQ(kpx_and_count(level)(a, b, word, chosen, out), some);
			for (size_t i = 0; i < chosen; i++)
				CHECK(out[i] == (a[word[i]] & b[word[i]]));
		}
}

static void
test_measures(void)
{
	/* 100 baskets, 20 with A, 50 with c, 15 with both */
	KpxRuleMeasures m = kpx_rule_measures(15, 20, 50, 100);

	CHECK_NEAR(m.support, 0.15, 1e-15);
	CHECK_NEAR(m.confidence, 0.75, 1e-15);
	CHECK_NEAR(m.lift, 1.5, 1e-15);
	CHECK_NEAR(m.leverage, 0.05, 1e-15);
	CHECK_NEAR(m.conviction, 2.0, 1e-15);
	CHECK(isinf(kpx_rule_measures(20, 20, 50, 100).conviction));
	CHECK(isinf(kpx_rule_measures(20, 20, 100, 100).conviction));
	CHECK_NEAR(kpx_rule_measures(10, 20, 100, 100).conviction, 0, 1e-15);
	/* confidence, then the rarer consequent, then the larger count */
	CHECK(kpx_rule_compare((KpxRuleCounts){2, 3, 9}, (KpxRuleCounts){3, 5, 1}) < 0);
	CHECK(kpx_rule_compare((KpxRuleCounts){2, 4, 9}, (KpxRuleCounts){1, 2, 8}) > 0);
	CHECK(kpx_rule_compare((KpxRuleCounts){2, 4, 8}, (KpxRuleCounts){1, 2, 8}) < 0);
	CHECK_EQ(kpx_rule_compare((KpxRuleCounts){2, 4, 8}, (KpxRuleCounts){2, 4, 8}), 0);
	CHECK(kpx_rule_compare((KpxRuleCounts){1, 4, 8}, (KpxRuleCounts){2, 4, 8}) > 0);
	CHECK(kpx_rule_compare((KpxRuleCounts){1, 2, 9}, (KpxRuleCounts){2, 4, 8}) > 0);
	CHECK(kpx_rule_compare((KpxRuleCounts){1, 2, 8}, (KpxRuleCounts){2, 4, 8}) > 0);
	CHECK(kpx_rule_compare((KpxRuleCounts){4000000000, 4000000001, 1}, (KpxRuleCounts){3999999999, 4000000000, 1}) < 0);
}

/* Matching against looking at every rule. */
static void
test_table(uint64_t seed)
{
	enum
	{
		ITEMS = 12,
		RULES = 200
	};
	uint64_t offset[ITEMS + 1] = {0};
	uint32_t target[RULES];
	float confidence[RULES];
	uint64_t rest_offset[RULES + 1] = {0};
	uint32_t rest[2 * RULES];
	KpxRuleTable table = {ITEMS, offset, target, confidence, rest_offset, rest};
	uint32_t item[ITEMS];
	size_t n = 0;
	KpxRuleMatch *match;
	size_t found;
	size_t at = 0;

	for (uint64_t r = 0; r < RULES; r++)
	{
		uint64_t rests = test_below(seed, 10 + r, 3);

		for (uint32_t i = (uint32_t) (r * ITEMS / RULES); i < ITEMS; i++)
			offset[i + 1] = r + 1;
		target[r] = (uint32_t) test_below(seed, 1000 + r, ITEMS);
		confidence[r] = (float) test_below(seed, 2000 + r, 5) / 4;
		rest_offset[r + 1] = rest_offset[r] + rests;
		for (uint64_t k = rest_offset[r]; k < rest_offset[r + 1]; k++)
			rest[k] = (uint32_t) test_below(seed, 3000 + k, ITEMS);
	}
	for (uint32_t i = 0; i < ITEMS; i++)
		if (test_below(seed, 4000 + i, 2))
			item[n++] = i;
	CHECK(kpx_rule_table_valid(&table, RULES, rest_offset[RULES]));
	CHECK(!kpx_rule_table_valid(&table, RULES, rest_offset[RULES] + 1));
	match = test_alloc((kpx_rule_table_most(&table, item, n) + 1) * sizeof(KpxRuleMatch));
	found = kpx_rule_table_match(&table, item, n, match);
	for (uint32_t t = 0; t < ITEMS; t++)
	{
		float best = -1;
		uint64_t which = 0;

		for (uint64_t r = 0; r < RULES; r++)
		{
			size_t had = 0;
			uint32_t first = 0;

			while (offset[first + 1] <= r)
				first++;
			for (size_t i = 0; i < n; i++)
			{
				had += item[i] == first;
				for (uint64_t k = rest_offset[r]; k < rest_offset[r + 1]; k++)
					had += item[i] == rest[k];
			}
			if (target[r] == t && had == 1 + rest_offset[r + 1] - rest_offset[r] && confidence[r] > best)
			{
				best = confidence[r];
				which = r;
			}
		}
		if (best < 0)
			continue;
		CHECK(at < found && match[at].target == t && match[at].rule == which);
		at++;
	}
	CHECK_EQ(at, found);
	target[3] = ITEMS;
	CHECK(!kpx_rule_table_valid(&table, RULES, rest_offset[RULES]));
	free(match);
}

/* Each thing that a table may not say. */
static void
test_bad_table(void)
{
	static const uint64_t good_offset[] = {0, 1, 2};
	static const uint64_t good_rests[] = {0, 1, 2};
	static const uint32_t good_item[] = {0, 1};
	static const float good_confidence[] = {0, 1};
	KpxRuleTable good = {2, good_offset, good_item, good_confidence, good_rests, good_item};
	KpxRuleTable bad;

	CHECK(kpx_rule_table_valid(&good, 2, 2));
#define REFUSED(field, type, ...) \
	bad = good; \
	bad.field = (const type[]) __VA_ARGS__; \
	CHECK(!kpx_rule_table_valid(&bad, 2, 2))
	REFUSED(offset, uint64_t, {1, 1, 2});
	REFUSED(offset, uint64_t, {0, 1, 1});
	REFUSED(offset, uint64_t, {0, 3, 2});
	REFUSED(rest_offset, uint64_t, {1, 1, 2});
	REFUSED(rest_offset, uint64_t, {0, 3, 2});
	REFUSED(target, uint32_t, {0, 2});
	REFUSED(confidence, float, {-0.5f, 1});
	REFUSED(confidence, float, {0, 1.5f});
	REFUSED(confidence, float, {0, NAN});
	REFUSED(rest, uint32_t, {0, 2});
#undef REFUSED
}

int
main(void)
{
	static const double densities[] = {0.05, 0.3, 0.6, 1.5};

	for (uint64_t seed = 1; seed <= 60; seed++)
	{
		uint32_t items = 1 + (uint32_t) test_below(seed, 1, MAX_ITEMS);
		uint64_t n = 1 + test_below(seed, 2, seed % 5 == 0 ? 700 : 90);
		uint64_t min_support = 1 + test_below(seed, 3, seed % 2 ? 4 : n);
		int max_length = seed % 3 ? KPX_MAX_ITEMSET : 1 + (int) test_below(seed, 4, 6);

		test_against_brute_force(seed, n, items, densities[seed % 4], min_support, max_length, seed % 7 == 0 ? 1 : 1 << 20);
	}
	/* prefixes that leave most words of a bitset empty */
	test_against_brute_force(101, 3000, 11, 0.12, 1, 12, 100);
	test_against_brute_force(102, 1, 1, 2, 1, 1, 100);
	test_memory();
	test_cap();
	test_arguments();
	test_and_count();
	test_measures();
	for (uint64_t seed = 1; seed <= 20; seed++)
		test_table(seed);
	test_bad_table();
	return test_done();
}
