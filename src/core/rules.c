/*
 * rules.c
 *	  Association rules with one item on the right, from frequent itemsets.
 *
 * A walk over the trie, itemset by itemset. The subsets with one item less, whose counts
 * decide, are found on the way down: each is a child of the same subset one level up.
 */
#include "rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

KpxStatus
kpx_rules_begin(uint64_t numerator, uint64_t denominator, KpxRuleCursor *cursor)
{
	memset(cursor, 0, sizeof(*cursor));
	if (denominator == 0 || denominator > KPX_FRACTION || numerator > denominator)
		return KPX_BAD_ARGUMENT;
	cursor->numerator = numerator;
	cursor->denominator = denominator;
	return KPX_OK;
}

/* Goes down to a child and finds its subsets; false when one is not there. */
static bool
descend(const KpxItemsets *sets, KpxRuleCursor *c, uint32_t child)
{
	uint32_t item = kpx_itemset(sets, child)->item;
	const uint32_t *above = c->without[c->depth];
	uint32_t *here = c->without[c->depth + 1];

	for (int p = 0; p < c->depth; p++)
	{
		here[p] = kpx_itemset_child(sets, above[p], item);
		if (here[p] == 0)
			return false;
	}
	here[c->depth] = c->itemset[c->depth];
	c->depth++;
	c->itemset[c->depth] = child;
	c->child[c->depth] = 0;
	return true;
}

/* The rules of the itemset in hand; returns how many. */
static size_t
rules_of(const KpxItemsets *sets, const KpxRuleCursor *c, KpxRule *rule)
{
	uint32_t itemset = c->itemset[c->depth];
	uint64_t support = kpx_itemset(sets, itemset)->support;
	size_t n = 0;

	for (int p = 0; p < c->depth; p++)
	{
		uint32_t antecedent = c->without[c->depth][p];

		/* support / support(antecedent) >= numerator / denominator, below 2^62 on both sides */
		if (support * c->denominator < c->numerator * kpx_itemset(sets, antecedent)->support)
			continue;
		if (rule)
			rule[n] = (KpxRule){itemset, antecedent, kpx_itemset(sets, c->itemset[p + 1])->item};
		n++;
	}
	return n;
}

KpxStatus
kpx_rules_next(const KpxItemsets *sets, KpxRuleCursor *c, uint64_t budget, KpxRule *rule, size_t capacity, uint64_t *n)
{
	*n = 0;
	if (rule && capacity < KPX_MAX_ITEMSET)
		return KPX_BAD_ARGUMENT;
	if (sets->n == 0)
		return KPX_OK;
	for (; budget > 0; budget--)
	{
		const KpxItemset *set;

		if (rule && *n + KPX_MAX_ITEMSET > capacity)
			return KPX_MORE;
		set = kpx_itemset(sets, c->itemset[c->depth]);
		while (c->child[c->depth] >= set->children)
		{
			if (c->depth == 0)
				return KPX_OK;
			set = kpx_itemset(sets, c->itemset[--c->depth]);
		}
		if (!descend(sets, c, set->first + c->child[c->depth]++))
			return KPX_CORRUPT;
		if (c->depth >= 2)
			*n += rules_of(sets, c, rule ? rule + *n : NULL);
	}
	return KPX_MORE;
}

KpxRuleMeasures
kpx_rule_measures(uint64_t both, uint64_t antecedent, uint64_t consequent, uint64_t baskets)
{
	double n = (double) baskets;
	double s = (double) both / n;
	double a = (double) antecedent / n;
	double c = (double) consequent / n;
	KpxRuleMeasures m;

	m.support = s;
	m.confidence = (double) both / (double) antecedent;
	m.lift = (double) both * n / ((double) antecedent * (double) consequent);
	m.leverage = s - a * c;
	/* P(A) P(not c) / P(A and not c), where the counts are whole numbers */
	m.conviction = both == antecedent ? INFINITY
									  : (double) antecedent * (double) (baskets - consequent) / (n * (double) (antecedent - both));
	return m;
}

int
kpx_rule_compare(KpxRuleCounts a, KpxRuleCounts b)
{
	/* counts are below 2^32 */
	uint64_t left = a.both * b.antecedent;
	uint64_t right = b.both * a.antecedent;

	if (left != right)
		return left > right ? -1 : 1;
	/* the same confidence: lift is larger where the consequent is rarer */
	if (a.consequent != b.consequent)
		return a.consequent < b.consequent ? -1 : 1;
	return a.both > b.both ? -1 : a.both < b.both;
}

/* ------------------------------------------------------------ answering */

static bool
offsets_valid(const uint64_t *offset, uint64_t n, uint64_t end)
{
	if (offset[0] != 0 || offset[n] != end)
		return false;
	for (uint64_t i = 0; i < n; i++)
		if (offset[i] > offset[i + 1])
			return false;
	return true;
}

bool
kpx_rule_table_valid(const KpxRuleTable *table, uint64_t rules, uint64_t rests)
{
	if (!offsets_valid(table->offset, table->items, rules) || !offsets_valid(table->rest_offset, rules, rests))
		return false;
	for (uint64_t r = 0; r < rules; r++)
		if (table->target[r] >= table->items || !(table->confidence[r] >= 0 && table->confidence[r] <= 1))
			return false;
	for (uint64_t i = 0; i < rests; i++)
		if (table->rest[i] >= table->items)
			return false;
	return true;
}

uint64_t
kpx_rule_table_most(const KpxRuleTable *table, const uint32_t *item, size_t n)
{
	uint64_t most = 0;

	for (size_t i = 0; i < n; i++)
		most += table->offset[item[i] + 1] - table->offset[item[i]];
	return most;
}

static int
compare_items(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *) a;
	uint32_t y = *(const uint32_t *) b;

	return x < y ? -1 : x > y;
}

static bool
covered(const KpxRuleTable *table, uint64_t rule, const uint32_t *item, size_t n)
{
	for (uint64_t i = table->rest_offset[rule]; i < table->rest_offset[rule + 1]; i++)
		if (bsearch(&table->rest[i], item, n, sizeof(uint32_t), compare_items) == NULL)
			return false;
	return true;
}

/* By target, then as they were found: by rule, since items increase. */
static int
compare_matches(const void *a, const void *b)
{
	const KpxRuleMatch *x = a;
	const KpxRuleMatch *y = b;

	if (x->target != y->target)
		return x->target < y->target ? -1 : 1;
	return x->rule < y->rule ? -1 : x->rule > y->rule;
}

size_t
kpx_rule_table_match(const KpxRuleTable *table, const uint32_t *item, size_t n, KpxRuleMatch *match)
{
	size_t found = 0;
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		for (uint64_t r = table->offset[item[i]]; r < table->offset[item[i] + 1]; r++)
			if (covered(table, r, item, n))
				match[found++] = (KpxRuleMatch){table->target[r], item[i], r};
	if (found > 1)
		qsort(match, found, sizeof(KpxRuleMatch), compare_matches);
	for (size_t i = 0; i < found; i++)
	{
		if (kept == 0 || match[i].target != match[kept - 1].target)
			match[kept++] = match[i];
		else if (table->confidence[match[i].rule] > table->confidence[match[kept - 1].rule])
			match[kept - 1] = match[i];
	}
	return kept;
}
