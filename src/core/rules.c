/*
 * rules.c
 *	  Association rules with one item on the right, from frequent itemsets.
 *
 * A walk over the trie, itemset by itemset. The subsets with one item less, whose counts
 * decide, are found on the way down: each is a child of the same subset one level up.
 */
#include "rules.h"

#include <math.h>
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
