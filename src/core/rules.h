/*
 * rules.h
 *	  Association rules with one item on the right, from frequent itemsets.
 *
 * A rule A -> c rests on an itemset A + c: its support is the itemset's, its confidence
 * support(A + c) / support(A) (Agrawal, Srikant 1994). All counts are exact; nothing is
 * decided by a floating point number.
 */
#ifndef KPX_RULES_H
#define KPX_RULES_H

#include "itemset.h"

typedef struct KpxRule
{
	uint32_t itemset; /* A + c */
	uint32_t antecedent; /* A */
	uint32_t consequent; /* rank of c; its own support is that of itemset 1 + rank */
} KpxRule;

/* Least confidence as a fraction, both at most KPX_FRACTION. */
#define KPX_FRACTION UINT64_C(1000000000)

/* Where the walk over the itemsets is. */
typedef struct KpxRuleCursor
{
	uint64_t numerator;
	uint64_t denominator;
	int depth; /* items of the itemset in hand */
	uint32_t itemset[KPX_MAX_ITEMSET + 1]; /* [depth]: the itemset and its prefixes */
	uint32_t child[KPX_MAX_ITEMSET + 1]; /* next child to visit of each */
	/* without[d][p]: the prefix of d items less its item number p */
	uint32_t without[KPX_MAX_ITEMSET + 1][KPX_MAX_ITEMSET];
} KpxRuleCursor;

/* Confidence at least numerator / denominator. KPX_BAD_ARGUMENT outside 0 .. 1 or above KPX_FRACTION. */
extern KpxStatus kpx_rules_begin(uint64_t numerator, uint64_t denominator, KpxRuleCursor *cursor);

/*
 * The next rules into rule[capacity], at least KPX_MAX_ITEMSET, or only counted when rule
 * is NULL; *n says how many. Stops after about budget itemsets. KPX_MORE when there may
 * be more, KPX_OK at the end, KPX_CORRUPT when a subset of an itemset is missing.
 */
extern KpxStatus kpx_rules_next(const KpxItemsets *sets, KpxRuleCursor *cursor, uint64_t budget, KpxRule *rule,
								size_t capacity, uint64_t *n);

/* What a rule is worth, from its counts, all at least 1 and at most baskets. */
typedef struct KpxRuleMeasures
{
	double support; /* share of baskets with A and c */
	double confidence; /* of those with A, share with c */
	double lift; /* confidence by the share of c in all baskets; 1 = independent */
	double leverage; /* support less what it would be were they independent */
	double conviction; /* how much rarer A without c is than were they independent; infinite when it never is */
} KpxRuleMeasures;

extern KpxRuleMeasures kpx_rule_measures(uint64_t both, uint64_t antecedent, uint64_t consequent, uint64_t baskets);

/* Order of rules for a person: < 0 when a is better: confidence, then lift, then count. Exact. */
typedef struct KpxRuleCounts
{
	uint64_t both;
	uint64_t antecedent;
	uint64_t consequent;
} KpxRuleCounts;

extern int kpx_rule_compare(KpxRuleCounts a, KpxRuleCounts b);

/*
 * Rules to answer from, kept by the first item of their antecedents: those of item i are offset[i] .. offset[i + 1] - 1,
 * rule r says that who has it and rest[rest_offset[r]] .. rest[rest_offset[r + 1] - 1] has target[r], with confidence[r].
 */
typedef struct KpxRuleTable
{
	uint32_t items;
	const uint64_t *offset; /* [items + 1] */
	const uint32_t *target;
	const float *confidence; /* 0..1 */
	const uint64_t *rest_offset; /* [rules + 1] */
	const uint32_t *rest;
} KpxRuleTable;

/* Offsets from 0 to rules and rests, never decreasing; items below items; confidences in 0..1. */
extern bool kpx_rule_table_valid(const KpxRuleTable *table, uint64_t rules, uint64_t rests);

/* The best rule for an item. */
typedef struct KpxRuleMatch
{
	uint32_t target;
	uint32_t first; /* of its antecedent */
	uint64_t rule;
} KpxRuleMatch;

/* The most that kpx_rule_table_match can write for this history. */
extern uint64_t kpx_rule_table_most(const KpxRuleTable *table, const uint32_t *item, size_t n);

/*
 * Rules whose antecedents are all in item[n] (increasing), each target once with its most confident rule (of
 * equal ones the earlier), targets increasing, into match; how many.
 */
extern size_t kpx_rule_table_match(const KpxRuleTable *table, const uint32_t *item, size_t n, KpxRuleMatch *match);

#endif /* KPX_RULES_H */
