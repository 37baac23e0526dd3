/*
 * rules_for.c
 *	  What mined rules offer a user: kpx_rules_for.
 *
 * The user's history is read now, as the caller; a rule counts when all of its
 * antecedent is in it. Rules are looked up by the rarest item of their antecedent.
 */
#include "rules.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/guc.h"

#include "history.h"
#include "consent.h"
#include "ingest.h"
#include "request.h"

/* ------------------------------------------------------------ which rules */

static bool
contains(const int32 *ids, int n, int id)
{
	for (int i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

static const int32 *
int_elements(Datum array, int *n)
{
	ArrayType *a = DatumGetArrayTypeP(array);

	*n = ARR_NDIM(a) == 1 ? ARR_DIMS(a)[0] : 0;
	return (const int32 *) ARR_DATA_PTR(a);
}

static void
add_modules(KpxRulesServing *serving, KpxRegistry *registry, const int32 *ids, int n)
{
	for (int i = 0; i < n; i++)
	{
		KpxModule *module = kpx_find_module_by_id(registry, ids[i]);
		bool known = module == NULL;

		for (int m = 0; m < serving->n_modules; m++)
			known |= serving->modules[m] == module;
		if (!known)
			serving->modules[serving->n_modules++] = module;
	}
}

/* Takes the rule sets that SPI found. Runs as the catalog's owner: the role is asked for in user. */
static void
take_sets(KpxRulesServing *serving, KpxRegistry *registry, const KpxModule *module, const KpxCatalog *catalog)
{
	SPITupleTable *table = SPI_tuptable;
	uint64 n = SPI_processed;
	const char *role = GetUserNameFromId(catalog->user, false);
	Oid owner_id;
	int security;

	serving->set_ids = palloc(sizeof(Datum) * Max(n, 1));
	serving->baskets = palloc(sizeof(uint64) * Max(n, 1));
	serving->modules = palloc(sizeof(KpxModule *) * Max(registry->n_modules, 1));
	GetUserIdAndSecContext(&owner_id, &security);
	for (uint64 i = 0; i < n; i++)
	{
		bool null;
		char *owner = SPI_getvalue(table->vals[i], table->tupdesc, 2);
		int n_ids;
		int n_serves;
		const int32 *ids = int_elements(SPI_getbinval(table->vals[i], table->tupdesc, 3, &null), &n_ids);
		const int32 *serves = int_elements(SPI_getbinval(table->vals[i], table->tupdesc, 4, &null), &n_serves);
		bool may;

		if (strcmp(owner, role) != 0 && !contains(serves, n_serves, module->id))
			continue;
		SetUserIdAndSecContext(catalog->user, catalog->security);
		may = kpx_may_use_rules(registry, owner, ids, n_ids);
		SetUserIdAndSecContext(owner_id, security);
		if (!may)
		{
			serving->denied = true;
			continue;
		}
		serving->set_ids[serving->n_sets] = SPI_getbinval(table->vals[i], table->tupdesc, 1, &null);
		serving->baskets[serving->n_sets++] = (uint64) DatumGetInt64(SPI_getbinval(table->vals[i], table->tupdesc, 5, &null));
		add_modules(serving, registry, ids, n_ids);
	}
}

KpxRulesServing
kpx_rules_serving(KpxRegistry *registry, const KpxModule *module)
{
	static SPIPlanPtr plan = NULL;
	KpxRulesServing serving = {0};
	Oid types[] = {INT4OID};
	Datum values[] = {Int32GetDatum(module->id)};
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute_planned(&plan, "SELECT id, owner, module_ids, serves, baskets FROM kpx.rule_set WHERE module_ids @> ARRAY[$1] ORDER BY id", 1,
								types, values, NULL, true);
	old = MemoryContextSwitchTo(context);
	take_sets(&serving, registry, module, &catalog);
	MemoryContextSwitchTo(old);
	kpx_catalog_end(&catalog);
	return serving;
}

/* ------------------------------------------------------------ what the user had to do with */

typedef struct Past
{
	char **key; /* [n] module/item, sorted, each once */
	int n;
	char **hidden; /* items of the module asked for, sorted */
	int n_hidden;
} Past;

static int
compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

static bool
has(char **sorted, int n, const char *key)
{
	return n > 0 && bsearch(&key, sorted, n, sizeof(char *), compare_strings) != NULL;
}

/* Sorts what is in past. */
static void
settle_past(Past *past)
{
	int distinct = 0;

	if (past->n > 1)
		qsort(past->key, past->n, sizeof(char *), compare_strings);
	for (int i = 0; i < past->n; i++)
		if (distinct == 0 || strcmp(past->key[i], past->key[distinct - 1]) != 0)
			past->key[distinct++] = past->key[i];
	past->n = distinct;
	if (past->n_hidden > 1)
		qsort(past->hidden, past->n_hidden, sizeof(char *), compare_strings);
}

static Past
read_past(const KpxRegistry *registry, const KpxRulesServing *serving, const KpxModule *module, KpxId user, KpxIdKind kind, bool keep_seen)
{
	KpxConsents *consents = kpx_consents_read(registry, KPX_FOR_ANSWERS, serving->modules, serving->n_modules, kind, &user, 1);
	Past past = {NULL, 0, NULL, 0};
	int size = 64;

	past.key = palloc(sizeof(char *) * size);
	for (int m = 0; m < serving->n_modules; m++)
	{
		int n;
		KpxPastItem *items;

		if (!kpx_consents_allow(consents, user, serving->modules[m], module))
			continue;
		items = kpx_history_items(serving->modules[m], user, kind, &n);
		if (serving->modules[m] == module)
			past.hidden = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(char *));
		for (int i = 0; i < n; i++)
		{
			if (past.n == size)
				past.key = repalloc_huge(past.key, sizeof(char *) * (Size) (size *= 2));
			past.key[past.n++] = psprintf("%s/%s", serving->modules[m]->name, items[i].item);
			if (serving->modules[m] == module && items[i].hides && !keep_seen)
				past.hidden[past.n_hidden++] = items[i].item;
		}
	}
	settle_past(&past);
	return past;
}

static bool
covers(const Past *past, Datum antecedent)
{
	Datum *elements;
	bool *nulls;
	int n;
	bool all = true;

	deconstruct_array(DatumGetArrayTypeP(antecedent), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n && all; i++)
	{
		char *key = TextDatumGetCString(elements[i]);

		all = has(past->key, past->n, key);
		pfree(key);
	}
	pfree(elements);
	pfree(nulls);
	return all;
}

/* ------------------------------------------------------------ offers */

static int
antecedent_length(const KpxRuleOffer *offer)
{
	return ARR_DIMS(DatumGetArrayTypeP(offer->antecedent))[0];
}

/* Better rules first; then shorter antecedents, then smaller ids. */
static int
compare_offers(const void *a, const void *b, void *kind)
{
	const KpxRuleOffer *x = a;
	const KpxRuleOffer *y = b;
	int order = kpx_rule_compare(x->counts, y->counts);

	if (order == 0)
		order = antecedent_length(x) - antecedent_length(y);
	return order ? order : kpx_id_compare(*(KpxIdKind *) kind, x->item, y->item);
}

/* Any order, but the same on every cluster, wherever the rows lie. */
static int
compare_antecedents(const KpxRuleOffer *x, const KpxRuleOffer *y)
{
	ArrayType *a = DatumGetArrayTypeP(x->antecedent);
	ArrayType *b = DatumGetArrayTypeP(y->antecedent);
	int order = memcmp(a, b, Min(VARSIZE(a), VARSIZE(b)));

	return order ? order : (VARSIZE(a) > VARSIZE(b)) - (VARSIZE(a) < VARSIZE(b));
}

/* By item, the best offer of each first. */
static int
compare_items(const void *a, const void *b, void *kind)
{
	int order = kpx_id_compare(*(KpxIdKind *) kind, ((const KpxRuleOffer *) a)->item, ((const KpxRuleOffer *) b)->item);

	if (order == 0)
		order = compare_offers(a, b, kind);
	return order ? order : compare_antecedents(a, b);
}

static uint64
baskets_of(const KpxRulesServing *serving, int64 set_id)
{
	for (int s = 0; s < serving->n_sets; s++)
		if (DatumGetInt64(serving->set_ids[s]) == set_id)
			return serving->baskets[s];
	return 0;
}

/* Takes the rules that SPI found and the past covers. */
static KpxRuleOffer *
take_offers(const KpxRulesServing *serving, const Past *past, KpxIdKind kind, int *n)
{
	SPITupleTable *table = SPI_tuptable;
	KpxRuleOffer *offers = kpx_alloc(CurrentMemoryContext, SPI_processed + 1, sizeof(KpxRuleOffer));

	*n = 0;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		KpxRuleOffer *offer = &offers[*n];
		bool null;
		Datum antecedent = SPI_getbinval(table->vals[i], table->tupdesc, 2, &null);
		char *consequent;

		CHECK_FOR_INTERRUPTS();
		if (!covers(past, antecedent))
			continue;
		consequent = SPI_getvalue(table->vals[i], table->tupdesc, 3);
		if (has(past->hidden, past->n_hidden, consequent))
			continue;
		offer->item = kpx_id_from_text(kind, consequent);
		offer->counts.both = (uint64) DatumGetInt64(SPI_getbinval(table->vals[i], table->tupdesc, 4, &null));
		offer->counts.antecedent = (uint64) DatumGetInt64(SPI_getbinval(table->vals[i], table->tupdesc, 5, &null));
		offer->counts.consequent = (uint64) DatumGetInt64(SPI_getbinval(table->vals[i], table->tupdesc, 6, &null));
		offer->baskets = baskets_of(serving, DatumGetInt64(SPI_getbinval(table->vals[i], table->tupdesc, 1, &null)));
		offer->antecedent = PointerGetDatum(DatumGetArrayTypePCopy(antecedent));
		(*n)++;
	}
	return offers;
}

/* The best offer of each item, best first. */
static int
best_of_each(KpxRuleOffer *offers, int n, KpxIdKind kind)
{
	int distinct = 0;

	if (n > 1)
		qsort_arg(offers, n, sizeof(KpxRuleOffer), compare_items, &kind);
	for (int i = 0; i < n; i++)
		if (distinct == 0 || kpx_id_compare(kind, offers[i].item, offers[distinct - 1].item) != 0)
			offers[distinct++] = offers[i];
	if (distinct > 1)
		qsort_arg(offers, distinct, sizeof(KpxRuleOffer), compare_offers, &kind);
	return distinct;
}

/* The offers of the rules that past covers. */
static KpxRuleOffer *
look_up(const KpxRulesServing *serving, const KpxModule *module, const Past *past, int *n)
{
	KpxIdKind item_kind = kpx_module_item_kind(module);
	Oid types[] = {INT8ARRAYOID, INT4OID, TEXTARRAYOID};
	Datum *keys = kpx_alloc(CurrentMemoryContext, Max(past->n, 1), sizeof(Datum));
	Datum values[3];
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	KpxCatalog catalog;
	KpxRuleOffer *offers;

	*n = 0;
	if (serving->n_sets == 0 || past->n == 0)
		return NULL;
	for (int i = 0; i < past->n; i++)
		keys[i] = CStringGetTextDatum(past->key[i]);
	values[0] = PointerGetDatum(construct_array(serving->set_ids, serving->n_sets, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[1] = Int32GetDatum(module->id);
	values[2] = PointerGetDatum(construct_array(keys, past->n, TEXTOID, -1, false, TYPALIGN_INT));
	kpx_catalog_begin(&catalog, false);
	/* Undone by kpx_catalog_end. Rules that were mined a moment ago have no statistics, and would be read from end to end. */
	(void) set_config_option("enable_seqscan", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	kpx_catalog_execute("SELECT set_id, antecedent, consequent, count, antecedent_count, consequent_count FROM kpx.rule"
						" WHERE set_id = ANY ($1) AND consequent_module = $2 AND first = ANY ($3)",
						3, types, values, NULL, true);
	old = MemoryContextSwitchTo(context);
	offers = take_offers(serving, past, item_kind, n);
	MemoryContextSwitchTo(old);
	kpx_catalog_end(&catalog);
	*n = best_of_each(offers, *n, item_kind);
	return offers;
}

KpxRuleOffer *
kpx_rules_offers(const KpxRegistry *registry, const KpxRulesServing *serving, const KpxModule *module, KpxId user, KpxIdKind kind,
				 bool keep_seen, int *n)
{
	Past past = read_past(registry, serving, module, user, kind, keep_seen);

	return look_up(serving, module, &past, n);
}

KpxRuleOffer *
kpx_rules_offers_from(const KpxRulesServing *serving, const KpxModule *module, char **keys, int n_keys, int *n)
{
	Past past = {keys, n_keys, NULL, 0};

	settle_past(&past);
	return look_up(serving, module, &past, n);
}

char *
kpx_rule_reason(const KpxRuleOffer *offer)
{
	Datum *elements;
	bool *nulls;
	int n;
	StringInfoData reason;

	deconstruct_array(DatumGetArrayTypeP(offer->antecedent), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	initStringInfo(&reason);
	appendStringInfoString(&reason, "rule ");
	for (int i = 0; i < n; i++)
		appendStringInfo(&reason, "%s%s", i ? " + " : "", TextDatumGetCString(elements[i]));
	appendStringInfo(&reason, " (%.2f)", (double) offer->counts.both / (double) offer->counts.antecedent);
	return reason.data;
}

/* ------------------------------------------------------------ kpx_rules_for */

static void
require_serving(const KpxRulesServing *serving, const char *module)
{
	if (serving->n_sets > 0)
		return;
	if (serving->denied)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for the rules of module \"%s\"", module),
				 errdetail("The current role neither owns them nor may select from all event sources of their modules."),
				 errhint("Grant SELECT on them, or membership in the owner's role.")));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("no rules are mined for module \"%s\"", module),
			 errhint("Mine some: SELECT * FROM kpx_mine_rules(ARRAY[%s]);", quote_literal_cstr(module))));
}

static void
put_offer(FunctionCallInfo fcinfo, const KpxRuleOffer *offer, int rank, KpxIdKind kind, Oid item_type)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	KpxRuleMeasures m = kpx_rule_measures(offer->counts.both, offer->counts.antecedent, offer->counts.consequent, offer->baskets);
	Datum values[6];
	bool nulls[6] = {false};

	values[0] = Int32GetDatum(rank);
	values[1] = kpx_id_to_datum(kind, offer->item, item_type);
	values[2] = Float8GetDatum(m.confidence);
	values[3] = Float8GetDatum(m.lift);
	values[4] = Int64GetDatum((int64) offer->counts.both);
	values[5] = offer->antecedent;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

#define OFFERS_A_STEP 64

/* The first k offers that are available now. */
static void
put_offers(FunctionCallInfo fcinfo, KpxModule *module, const KpxRuleOffer *offers, int n, int k, Oid item_type)
{
	KpxIdKind kind = kpx_module_item_kind(module);
	int rank = 0;

	for (int begin = 0; begin < n && rank < k; begin += OFFERS_A_STEP)
	{
		int count = Min(OFFERS_A_STEP, n - begin);
		KpxId ids[OFFERS_A_STEP];
		bool keep[OFFERS_A_STEP];

		for (int i = 0; i < count; i++)
			ids[i] = offers[begin + i].item;
		kpx_items_available(module, kind, ids, count, keep);
		for (int i = 0; i < count && rank < k; i++)
			if (keep[i])
				put_offer(fcinfo, &offers[begin + i], ++rank, kind, item_type);
	}
}

/* first: number of the argument k */
static Datum
rules_for(FunctionCallInfo fcinfo, Oid user_type, int first, Oid item_type, bool from_text)
{
	KpxRegistry *registry = kpx_registry();
	KpxModule *module;
	KpxRulesServing serving;
	KpxIdKind kind;
	KpxIdKind wanted;
	KpxRuleOffer *offers;
	int k;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	module = kpx_find_module(registry, kpx_text_argument(fcinfo, 1, "module"));
	k = kpx_count_argument(fcinfo, first, "k", 10, 1);
	serving = kpx_rules_serving(registry, module);
	require_serving(&serving, module->name);
	kind = kpx_module_item_kind(module);
	if (!kpx_id_kind(item_type, &wanted) || (wanted != kind && wanted != KPX_ID_TEXT))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("items of module \"%s\" have %s ids, the answer would have type %s", module->name, kpx_id_kind_name(kind),
						format_type_be(item_type)),
				 errhint("Pass a witness of the right type: item_type => NULL::%s.", format_type_be(kpx_id_kind_type(kind)))));
	kind = kpx_user_kind(serving.modules, serving.n_modules);
	offers = kpx_rules_offers(registry, &serving, module, kpx_id_argument(PG_GETARG_DATUM(0), user_type, kind, from_text, "user_id"), kind,
							  !PG_ARGISNULL(first + 1) && PG_GETARG_BOOL(first + 1), &n);
	put_offers(fcinfo, module, offers, n, k, item_type);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(kpx_rules_for);
Datum
kpx_rules_for(PG_FUNCTION_ARGS)
{
	Oid type = get_fn_expr_argtype(fcinfo->flinfo, 0);

	return rules_for(fcinfo, type, 2, type, false);
}

PG_FUNCTION_INFO_V1(kpx_rules_for_typed);
Datum
kpx_rules_for_typed(PG_FUNCTION_ARGS)
{
	return rules_for(fcinfo, get_fn_expr_argtype(fcinfo->flinfo, 0), 3, get_fn_expr_argtype(fcinfo->flinfo, 2), false);
}

PG_FUNCTION_INFO_V1(kpx_rules_for_text);
Datum
kpx_rules_for_text(PG_FUNCTION_ARGS)
{
	return rules_for(fcinfo, TEXTOID, 2, TEXTOID, true);
}
