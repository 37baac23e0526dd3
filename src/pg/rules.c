/*
 * rules.c
 *	  kpx_mine_rules: baskets, itemsets, rules, storage.
 *
 * All in the caller's transaction; nothing is written before everything is found and
 * counted. Memory of the mining is one context, its limit what kpx_memory_budget leaves.
 */
#include "rules.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "portability/instr_time.h"
#include "storage/lock.h"
#include "utils/array.h"

#include "factor.h"
#include "ingest.h"
#include "progress.h"

/* About two milliseconds of work between looks at interrupts. */
#define BUDGET (UINT64CONST(1) << 21)
#define ITEMSETS_A_STEP 20000
#define RULES_A_STEP 4096

static void *
arena_allocate(void *context, size_t bytes)
{
	return bytes > MaxAllocHugeSize ? NULL
									: MemoryContextAllocExtended(context, bytes, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
}

static void
arena_release(void *context, void *memory)
{
	pfree(memory);
}

static int
compare_modules(const void *a, const void *b)
{
	const KpxModule *x = *(KpxModule *const *) a;
	const KpxModule *y = *(KpxModule *const *) b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* One mining of the same modules by the same owner at a time; see lock_name in factor.c. */
static void
lock_set(KpxModule **modules, int n)
{
	LOCKTAG tag;
	uint64 hash = hash_bytes_uint32_extended(GetUserId(), 0x72756C65);

	for (int m = 0; m < n; m++)
		hash = hash_bytes_uint32_extended((uint32) modules[m]->id, hash);
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, 0x4B51);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("rules of these modules are being mined by another session"), errhint("Wait for it.")));
}

static void
report_limit(const KpxMiner *miner, const KpxMinerOptions *options, const KpxArena *arena)
{
	double bound = 0;
	int length = 0;
	uint64 support = 0;
	KpxExceeded why = miner ? kpx_miner_exceeded(miner, &bound, &length, &support) : KPX_EXCEEDED_MEMORY;

	if (why == KPX_EXCEEDED_BOUND)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("there are at least %.0f frequent itemsets, " UINT64_FORMAT " are allowed", bound, options->max_itemsets),
				 errdetail("%d items are together in " UINT64_FORMAT " baskets, and so is every choice of at most %d of them.",
						   length, support, options->max_length),
				 errhint("Raise min_support, lower max_length, or raise max_itemsets in params.")));
	if (why == KPX_EXCEEDED_ITEMSETS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("more than " UINT64_FORMAT " itemsets are in at least " UINT64_FORMAT " baskets",
						options->max_itemsets, options->min_support),
				 errhint("Raise min_support, lower max_length, or raise max_itemsets in params.")));
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("mining needs more memory than the %zu MB that are left for it", arena->limit >> 20),
			 errdetail("The limit is maintenance_work_mem (%d MB) times kpxrec.memory_factor (%g), less the baskets."
					   " %u itemsets in at least " UINT64_FORMAT " baskets had been found.",
					   maintenance_work_mem / 1024, kpx_memory_factor,
					   miner ? kpx_miner_itemsets(miner)->n - 1 : 0, options->min_support),
			 errhint("Raise min_support, lower max_length, or increase maintenance_work_mem.")));
}

KpxStatus
kpx_rules_itemsets(KpxData *data, const KpxMinerOptions *options, KpxArena *arena, KpxMiner **miner)
{
	size_t budget = kpx_memory_budget();
	size_t baskets = data->offset[data->users] * sizeof(uint32) + ((size_t) data->users + 1) * sizeof(uint64);
	KpxStatus status;

	*arena = (KpxArena){arena_allocate, arena_release, arena->context, budget > baskets ? budget - baskets : 0, 0, 0};
	status = kpx_miner_begin(options, data->offset, data->index, data->users, data->items, arena, miner);
	kpx_progress_phase("finding itemsets", 0);
	if (status == KPX_OK)
		while ((status = kpx_miner_run(*miner, BUDGET)) == KPX_MORE)
		{
			CHECK_FOR_INTERRUPTS();
			kpx_progress_step(kpx_miner_itemsets(*miner)->n);
		}
	if (status != KPX_OK && status != KPX_OVER_LIMIT)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("too many baskets: %u", data->users)));
	return status;
}

static const KpxItemsets *
find_itemsets(KpxData *data, const KpxMinerOptions *options, MemoryContext context)
{
	KpxArena arena = {.context = context};
	KpxMiner *miner = NULL;

	if (kpx_rules_itemsets(data, options, &arena, &miner) == KPX_OVER_LIMIT)
		report_limit(miner, options, &arena);
	return kpx_miner_itemsets(miner);
}

uint64
kpx_rules_count(const KpxItemsets *sets, uint64 confidence)
{
	KpxRuleCursor cursor;
	KpxStatus status;
	uint64 total = 0;

	kpx_progress_phase("counting rules", 0);
	(void) kpx_rules_begin(confidence, KPX_FRACTION, &cursor);
	do
	{
		uint64 n;

		CHECK_FOR_INTERRUPTS();
		status = kpx_rules_next(sets, &cursor, ITEMSETS_A_STEP, NULL, 0, &n);
		total += n;
		kpx_progress_step(total);
	} while (status == KPX_MORE);
	return total;
}

/* The same of those that rest on enough users. */
static uint64
count_rules(const KpxRuleSet *set)
{
	KpxRule *rule;
	KpxRuleCursor cursor;
	KpxStatus status;
	uint64 total = 0;

	if (set->users == NULL)
		return kpx_rules_count(set->sets, set->confidence);
	rule = palloc(sizeof(KpxRule) * RULES_A_STEP);
	kpx_progress_phase("counting rules", 0);
	(void) kpx_rules_begin(set->confidence, KPX_FRACTION, &cursor);
	do
	{
		uint64 n;

		CHECK_FOR_INTERRUPTS();
		status = kpx_rules_next(set->sets, &cursor, RULES_A_STEP, rule, RULES_A_STEP, &n);
		for (uint64 i = 0; i < n; i++)
			total += kpx_rule_has_users(set, rule[i].itemset);
		kpx_progress_step(total);
	} while (status == KPX_MORE);
	return total;
}

static Datum
result_row(FunctionCallInfo fcinfo, const KpxRuleSet *set, double seconds)
{
	TupleDesc desc;
	Datum values[6];
	bool nulls[6] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("kpx_mine_rules must be called for a record")));
	values[0] = Int64GetDatum((int64) set->rules);
	values[1] = Int64GetDatum((int64) set->sets->n - 1);
	values[2] = Int64GetDatum((int64) set->baskets);
	values[3] = Int64GetDatum((int64) set->sets->frequent_items);
	values[4] = Int64GetDatum((int64) set->min_count);
	values[5] = Float4GetDatum((float4) seconds);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

static Datum
numeric_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"%s\" must not be NULL", name)));
	return PG_GETARG_DATUM(n);
}

static Datum
mine(FunctionCallInfo fcinfo, KpxModule **modules, int n)
{
	Datum min_support = numeric_argument(fcinfo, 1, "min_support");
	KpxRuleSet set = {.modules = modules, .n_modules = n, .min_confidence = numeric_argument(fcinfo, 2, "min_confidence")};
	KpxRuleParams params = kpx_rule_params_parse(PG_ARGISNULL(5) ? (Datum) 0 : PG_GETARG_DATUM(5));
	KpxMinerOptions options = {1, PG_ARGISNULL(3) ? 4 : PG_GETARG_INT32(3), (uint64) params.max_itemsets};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec rules", ALLOCSET_DEFAULT_SIZES);
	instr_time start;
	instr_time now;
	KpxData *data;

	PreventCommandIfReadOnly("kpx_mine_rules()");
	set.basket = PG_ARGISNULL(4) ? "user" : text_to_cstring(PG_GETARG_TEXT_PP(4));
	set.max_length = options.max_length;
	if (options.max_length < 1 || options.max_length > KPX_MAX_ITEMSET)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"max_length\" must be between 1 and %d, found %d", KPX_MAX_ITEMSET, options.max_length)));
	(void) kpx_min_support(min_support, 1);
	set.confidence = kpx_billionths(set.min_confidence, "min_confidence");
	qsort(modules, n, sizeof(KpxModule *), compare_modules);
	lock_set(modules, n);
	kpx_progress_begin("kpx_mine_rules", kpx_modules_label(modules, n));
	INSTR_TIME_SET_CURRENT(start);
	data = kpx_ingest_baskets(modules, n, kpx_basket_argument(set.basket));
	set.item_ids = data->item_ids;
	set.item_base = data->item_base;
	set.baskets = data->users;
	if (data->users == 0)
		ereport(NOTICE, (errmsg("there are no events: there are no rules")));
	/* baskets of users are users; those of periods may be many of one user */
	set.min_count = options.min_support = Max(kpx_min_support(min_support, data->users), (uint64) kpx_min_users);
	if (strcmp(set.basket, "user") != 0 && kpx_min_users > 1)
		set.users = kpx_basket_index(data);
	set.sets = find_itemsets(data, &options, context);
	set.rules = count_rules(&set);
	if (set.rules > (uint64) params.max_rules)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("there are " UINT64_FORMAT " rules, " INT64_FORMAT " are allowed", set.rules, params.max_rules),
				 errhint("Raise min_confidence or min_support, lower max_length, or raise max_rules in params.")));
	kpx_rules_store(&set);
	kpx_progress_end();
	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	if (IsTransactionBlock())
		ereport(NOTICE, (errmsg("the rules become visible to other sessions when this transaction commits")));
	{
		Datum result = result_row(fcinfo, &set, INSTR_TIME_GET_DOUBLE(now));

		MemoryContextDelete(context);
		return result;
	}
}

PG_FUNCTION_INFO_V1(kpx_mine_rules);
Datum
kpx_mine_rules(PG_FUNCTION_ARGS)
{
	int n;
	KpxModule **modules;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"modules\" must not be NULL")));
	modules = kpx_modules_argument(PG_GETARG_ARRAYTYPE_P(0), kpx_registry(), &n);
	return mine(fcinfo, modules, n);
}

PG_FUNCTION_INFO_V1(kpx_mine_rules_module);
Datum
kpx_mine_rules_module(PG_FUNCTION_ARGS)
{
	Datum name;
	int n;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"module\" must not be NULL")));
	name = PG_GETARG_DATUM(0);
	return mine(fcinfo, kpx_modules_argument(construct_array(&name, 1, TEXTOID, -1, false, TYPALIGN_INT), kpx_registry(), &n), 1);
}
