/*
 * rules_model.c
 *	  Algorithm "rules": association rules mined on what a model is trained on.
 *
 * Unlike those of kpx_mine_rules they know nothing that was held out, so that a hybrid model can
 * weigh them, and kpx_evaluate and kpx_tune judge them. A basket is a user. When there are more
 * rules than max_rules, the support asked for is raised until there are not.
 *
 * Numbers: rules, entries of rest, support. Arrays: offset (items + 1), target, confidence (rules),
 * rest_offset (rules + 1), rest; see KpxRuleTable. A taste is the rules that the history covers.
 */
#include "algorithm.h"

#include <math.h>

#include "core/ingest.h"
#include "rules.h"

enum
{
	RULES,
	RESTS,
	SUPPORT,
	N_NUMBERS
};

/* Itemsets that may be looked at for each rule that may be kept. */
#define ITEMSETS_A_RULE 4
#define ITEMSETS_A_STEP 20000

static const KpxParamSpec specs[] = {
	{"min_support", KPX_PARAM_FLOAT, 5, 1e-6, 1e9, NULL, 2, 20},
	{"min_confidence", KPX_PARAM_FLOAT, 0.02, 0, 1, NULL, 0.01, 0.2},
	{"max_length", KPX_PARAM_INT, 3, 2, KPX_MAX_ITEMSET, NULL, 2, 4},
	{"max_rules", KPX_PARAM_INT, 200000, 1, 10000000},
	{NULL},
};

/* What the history covers. */
typedef struct Covered
{
	size_t n;
	KpxRuleMatch *match; /* targets increasing */
} Covered;

/* ------------------------------------------------------------ mining */

/* Interactions as baskets that the miner may overwrite. */
static void
copy_baskets(const KpxData *data, KpxData *baskets)
{
	uint64 n = 0;

	for (uint32 user = 0; user < data->users; user++)
	{
		if (user % 4096 == 0)
			CHECK_FOR_INTERRUPTS();
		baskets->offset[user] = n;
		for (uint64 e = data->offset[user]; e < data->offset[user + 1]; e++)
			if (data->weight[e] > 0)
				baskets->index[n++] = KPX_ITEM(data->index[e]);
	}
	baskets->offset[data->users] = n;
}

/* The itemsets with at least min_support, which is raised until there are few enough; in a context of its own. */
static const KpxItemsets *
mine(const KpxFit *fit, uint64 confidence, uint64 *min_support, uint64 *rules)
{
	const KpxData *data = fit->data;
	uint64 most = (uint64) kpx_param(fit->params, "max_rules");
	KpxMinerOptions options = {Max(*min_support, (uint64) kpx_min_users), (int) kpx_param(fit->params, "max_length"), most * ITEMSETS_A_RULE};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec rules", ALLOCSET_DEFAULT_SIZES);
	KpxData baskets = *data;

	baskets.offset = kpx_alloc(CurrentMemoryContext, (size_t) data->users + 1, sizeof(uint64));
	baskets.index = kpx_alloc(CurrentMemoryContext, Max(data->offset[data->users], 1), sizeof(uint32));
	for (;;)
	{
		KpxArena arena = {.context = context};
		KpxMiner *miner = NULL;

		copy_baskets(data, &baskets);
		if (kpx_rules_itemsets(&baskets, &options, &arena, &miner) == KPX_OK)
		{
			*min_support = options.min_support;
			*rules = kpx_rules_count(kpx_miner_itemsets(miner), confidence);
			if (*rules <= most)
				return kpx_miner_itemsets(miner);
		}
		else if (options.min_support > data->users) /* no itemset can be left: it is memory that is wanting */
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("mining rules needs more memory than there is left for training"),
					 errhint("Increase maintenance_work_mem.")));
		MemoryContextReset(context);
		options.min_support += 1 + options.min_support / 2;
	}
}

/* ------------------------------------------------------------ the table */

/* All rules of the itemsets, in the order they are found. */
static KpxRule *
list_rules(const KpxItemsets *sets, uint64 confidence, uint64 rules)
{
	KpxRule *rule = kpx_alloc(CurrentMemoryContext, rules + KPX_MAX_ITEMSET, sizeof(KpxRule));
	KpxRuleCursor cursor;
	KpxStatus status;
	uint64 found = 0;

	(void) kpx_rules_begin(confidence, KPX_FRACTION, &cursor);
	do
	{
		uint64 n;

		CHECK_FOR_INTERRUPTS();
		status = kpx_rules_next(sets, &cursor, ITEMSETS_A_STEP, rule + found, rules + KPX_MAX_ITEMSET - found, &n);
		found += n;
	} while (status == KPX_MORE);
	return rule;
}

/* Items of a rule's antecedent, the rarest first; how many. */
static int
antecedent_items(const KpxItemsets *sets, const KpxRule *rule, uint32 *item)
{
	int n = kpx_itemset_items(sets, rule->antecedent, item);

	for (int i = 0; i < n; i++)
		item[i] = sets->item[item[i]];
	return n;
}

/* Where the rules of each first item begin (offset[items + 1]) and which they are, in order; how many items rest. */
static uint64
sort_rules(const KpxItemsets *sets, const KpxRule *rule, uint64 rules, uint32 items, uint64 *offset, uint64 *order)
{
	uint32 item[KPX_MAX_ITEMSET];
	uint64 *cursor = kpx_alloc(CurrentMemoryContext, Max(items, 1), sizeof(uint64));
	uint64 rests = 0;

	memset(offset, 0, ((size_t) items + 1) * sizeof(uint64));
	for (uint64 r = 0; r < rules; r++)
	{
		rests += antecedent_items(sets, &rule[r], item) - 1;
		offset[item[0]]++;
	}
	(void) kpx_csr_offsets(offset, items);
	memcpy(cursor, offset, sizeof(uint64) * items);
	for (uint64 r = 0; r < rules; r++)
	{
		(void) antecedent_items(sets, &rule[r], item);
		order[cursor[item[0]]++] = r;
	}
	pfree(cursor);
	return rests;
}

static void
fill_part(KpxPart *part, const KpxItemsets *sets, const KpxRule *rule, uint64 rules, const uint64 *offset, const uint64 *order)
{
	uint32 item[KPX_MAX_ITEMSET];
	uint32 *target = kpx_part_array(part, "target");
	float *confidence = kpx_part_array(part, "confidence");
	uint64 *rest_offset = kpx_part_array(part, "rest_offset");
	uint32 *rest = kpx_part_array(part, "rest");
	uint64 rests = 0;

	memcpy(kpx_part_array(part, "offset"), offset, part->array[0].rows * sizeof(uint64));
	for (uint64 r = 0; r < rules; r++)
	{
		const KpxRule *from = &rule[order[r]];
		int n = antecedent_items(sets, from, item);

		if (r % 65536 == 0)
			CHECK_FOR_INTERRUPTS();
		target[r] = sets->item[from->consequent];
		confidence[r] = (float) ((double) kpx_itemset(sets, from->itemset)->support / kpx_itemset(sets, from->antecedent)->support);
		rest_offset[r] = rests;
		for (int i = 1; i < n; i++)
			rest[rests++] = item[i];
	}
	rest_offset[rules] = rests;
}

/* A count of users, or a share of them below 1; what one person does is no rule. */
static uint64
wanted_support(const KpxFit *fit)
{
	double given = kpx_param(fit->params, "min_support");

	return (uint64) Max(2, ceil(given < 1 ? given * fit->data->users : given));
}

static void
fit(KpxFit *fit)
{
	MemoryContext result = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(result, "kpxrec rules of a model", ALLOCSET_DEFAULT_SIZES);
	uint64 confidence = (uint64) rint(kpx_param(fit->params, "min_confidence") * (double) KPX_FRACTION);
	uint64 support = wanted_support(fit);
	uint64 rules;
	const KpxItemsets *sets;
	KpxRule *rule;
	uint64 *offset;
	uint64 *order;
	double number[N_NUMBERS];

	MemoryContextSwitchTo(work);
	sets = mine(fit, confidence, &support, &rules);
	rule = list_rules(sets, confidence, rules);
	offset = kpx_alloc(work, (size_t) fit->model->items + 1, sizeof(uint64));
	order = kpx_alloc(work, Max(rules, 1), sizeof(uint64));
	number[RULES] = (double) rules;
	number[RESTS] = (double) sort_rules(sets, rule, rules, fit->model->items, offset, order);
	number[SUPPORT] = (double) support;
	MemoryContextSwitchTo(result);
	fill_part(kpx_part_add(fit, &kpx_rules, number, N_NUMBERS), sets, rule, rules, offset, order);
	MemoryContextDelete(work);
}

/* ------------------------------------------------------------ the model's functions */

static bool
shape(const KpxModel *model, KpxPart *part)
{
	double rules = part->number[RULES];
	double rests = part->number[RESTS];

	if (part->n_numbers != N_NUMBERS || !(rules >= 0 && rules <= PG_UINT32_MAX) || rules != rint(rules) ||
		!(rests >= 0 && rests <= rules * KPX_MAX_ITEMSET) || rests != rint(rests))
		return false;
	return kpx_part_declare(part, "offset", KPX_BLOCK_OFFSETS, (uint64) model->items + 1, 1) &&
		   kpx_part_declare(part, "target", KPX_BLOCK_INDEXES, (uint64) rules, 1) &&
		   kpx_part_declare(part, "confidence", KPX_BLOCK_FLOATS, (uint64) rules, 1) &&
		   kpx_part_declare(part, "rest_offset", KPX_BLOCK_OFFSETS, (uint64) rules + 1, 1) &&
		   kpx_part_declare(part, "rest", KPX_BLOCK_INDEXES, (uint64) rests, 1);
}

static bool
open_part(KpxModel *model, int number)
{
	KpxPart *part = &model->part[number];
	KpxRuleTable *table = MemoryContextAlloc(model->context, sizeof(KpxRuleTable));

	*table = (KpxRuleTable){model->items, kpx_part_array(part, "offset"), kpx_part_array(part, "target"),
							kpx_part_array(part, "confidence"), kpx_part_array(part, "rest_offset"), kpx_part_array(part, "rest")};
	part->derived = table;
	return kpx_rule_table_valid(table, (uint64) part->number[RULES], (uint64) part->number[RESTS]);
}

static void *
fold_in(const KpxModel *model, int part, const KpxHistory *history, KpxScratch *scratch)
{
	const KpxRuleTable *table = model->part[part].derived;
	Covered *covered = palloc(sizeof(Covered));
	uint64 most = kpx_rule_table_most(table, history->index, history->n);

	covered->match = kpx_alloc(CurrentMemoryContext, Max(most, 1), sizeof(KpxRuleMatch));
	covered->n = kpx_rule_table_match(table, history->index, history->n, covered->match);
	return covered->n > 0 ? covered : NULL;
}

static void
score(const KpxModel *model, int part, const void *taste, uint32 begin, uint32 end, float *score)
{
	const KpxRuleTable *table = model->part[part].derived;
	const Covered *covered = taste;

	for (uint32 i = begin; i < end; i++)
		score[i - begin] = NAN;
	for (size_t i = 0; i < covered->n; i++)
		if (covered->match[i].target >= begin && covered->match[i].target < end)
			score[covered->match[i].target - begin] = table->confidence[covered->match[i].rule];
}

/* The rule speaks for all items of its antecedent alike. */
static void
contributions(const KpxModel *model, int part, const void *taste, const KpxHistory *history, uint32 item, double *contribution)
{
	const KpxRuleTable *table = model->part[part].derived;
	const Covered *covered = taste;

	memset(contribution, 0, sizeof(double) * history->n);
	for (size_t i = 0; i < covered->n; i++)
	{
		const KpxRuleMatch *match = &covered->match[i];
		uint64 begin = table->rest_offset[match->rule];
		uint64 end = table->rest_offset[match->rule + 1];
		double each = (double) table->confidence[match->rule] / (double) (1 + end - begin);

		if (match->target != item)
			continue;
		for (uint32 j = 0; j < history->n; j++)
		{
			bool in = history->index[j] == match->first;

			for (uint64 k = begin; k < end && !in; k++)
				in = history->index[j] == table->rest[k];
			contribution[j] = in ? each : 0;
		}
	}
}

/* Confidence of the rules whose antecedent is the item alone. */
static void
similar(const KpxModel *model, int part, uint32 item, uint32 begin, uint32 end, float *to)
{
	KpxHistory history = {.n = 1, .index = &item};
	Covered *covered = fold_in(model, part, &history, NULL);

	if (covered)
		score(model, part, covered, begin, end, to);
	else
		for (uint32 i = begin; i < end; i++)
			to[i - begin] = NAN;
}

const KpxAlgorithm kpx_rules = {"rules", specs, false, fit, shape, open_part, fold_in, score, NULL,
								contributions, similar, NULL};
