/*
 * rules.h
 *	  Mined association rules: parameters, storing them, and what they offer a user.
 */
#ifndef KPX_PG_RULES_H
#define KPX_PG_RULES_H

#include "kpxrec.h"
#include "floor.h"
#include "history.h"
#include "ids.h"
#include "ingest.h"
#include "registry.h"

#include "core/rules.h"

typedef struct KpxRuleParams
{
	int64 max_itemsets;
	int64 max_rules;
} KpxRuleParams;

extern KpxRuleParams kpx_rule_params_parse(Datum params);

/*
 * min_support as whole baskets: a fraction below 1 of them, rounded up and at least 2, or a
 * count. 22023.
 */
extern uint64 kpx_min_support(Datum min_support, uint64 baskets);
/* A numeric 0 .. 1 in billionths. 22023. */
extern uint64 kpx_billionths(Datum number, const char *name);
/* "user" is 0; "user per <interval>" the interval in microseconds. 22023. */
extern int64 kpx_basket_argument(const char *basket);

/* A mined set of rules, for its row in kpx.rule_set. */
typedef struct KpxRuleSet
{
	KpxModule **modules; /* by id */
	int n_modules;
	KpxIds *item_ids; /* [n_modules] */
	uint32 *item_base; /* [n_modules + 1] */
	const char *basket;
	uint64 min_count;
	Datum min_confidence; /* numeric */
	int max_length;
	uint64 baskets;
	uint64 rules;
	const KpxItemsets *sets;
	uint64 confidence; /* billionths */
	const KpxBasketIndex *users; /* NULL: every basket is another user's, or there is no floor */
} KpxRuleSet;

/* Do enough users have all items of this itemset (floor.h)? */
extern bool kpx_rule_has_users(const KpxRuleSet *set, uint32 itemset);

/*
 * Itemsets of baskets (data's rows, whose offset and index are overwritten) by *miner, all memory from arena->context,
 * as much as kpx_memory_budget leaves. KPX_OK or KPX_OVER_LIMIT (*miner may be NULL then). Interrupts are looked at.
 */
extern KpxStatus kpx_rules_itemsets(KpxData *data, const KpxMinerOptions *options, KpxArena *arena, KpxMiner **miner);

/* How many rules they make of at least this confidence, in billionths. */
extern uint64 kpx_rules_count(const KpxItemsets *sets, uint64 confidence);

/* Replaces the current role's rules over these modules. */
extern void kpx_rules_store(const KpxRuleSet *set);

/* Whether the current role may see rules of this owner over these modules: as for a model. */
extern bool kpx_may_use_rules(KpxRegistry *registry, const char *owner, const int32 *module_ids, int n);

/* What a rule offers. */
typedef struct KpxRuleOffer
{
	KpxId item;
	KpxRuleCounts counts;
	uint64 baskets; /* of its rule set */
	Datum antecedent; /* text[] of module/item */
} KpxRuleOffer;

/* Rule sets that serve a module, and the modules whose history their antecedents need. */
typedef struct KpxRulesServing
{
	int n_sets;
	Datum *set_ids; /* bigint */
	uint64 *baskets; /* [n_sets] */
	int n_modules;
	KpxModule **modules;
	bool denied; /* there are others, which the current role may not use */
} KpxRulesServing;

/*
 * A set serves a module when its owner owned the module on mining, or is the current
 * role; and the current role must be allowed to use it.
 */
extern KpxRulesServing kpx_rules_serving(KpxRegistry *registry, const KpxModule *module);

/*
 * Items of module that rules offer this user (of kpx_user_kind(serving->modules)), whose
 * antecedent the user's history contains, as far as it may be used for module (consent.h), best rule
 * first, each item once, without
 * those that the history hides unless keep_seen. Whether they are available is not asked.
 * Errors: those of the relations.
 */
extern KpxRuleOffer *kpx_rules_offers(const KpxRegistry *registry, const KpxRulesServing *serving, const KpxModule *module, KpxId user,
									  KpxIdKind kind, bool keep_seen, int *n);

/* The same for a list of items, module/item (sorted here), which hides nothing. */
extern KpxRuleOffer *kpx_rules_offers_from(const KpxRulesServing *serving, const KpxModule *module, char **keys, int n_keys, int *n);

/* "rule a/1 + b/2 (0.83)" */
extern char *kpx_rule_reason(const KpxRuleOffer *offer);

#endif /* KPX_PG_RULES_H */
