/*
 * rules_store.c
 *	  Writing mined rules to kpx.rule_set and kpx.rule, and who may read them.
 */
#include "rules.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/queryenvironment.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "fault.h"
#include "progress.h"

#define RULES_A_STEP 4096
#define RULE_COLUMNS 9 /* of kpx.rule */

static Datum
int_array(const KpxRuleSet *set, bool owned_only)
{
	Datum *ids = palloc(sizeof(Datum) * set->n_modules);
	int n = 0;

	for (int m = 0; m < set->n_modules; m++)
		if (!owned_only || kpx_has_role(set->modules[m]->owner))
			ids[n++] = Int32GetDatum(set->modules[m]->id);
	return PointerGetDatum(construct_array(ids, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

static Datum
name_array(const KpxRuleSet *set)
{
	Datum *names = palloc(sizeof(Datum) * set->n_modules);

	for (int m = 0; m < set->n_modules; m++)
		names[m] = CStringGetTextDatum(set->modules[m]->name);
	return PointerGetDatum(construct_array(names, set->n_modules, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Columns of the set's row. Who owns what is asked as the current role, before the catalog's owner takes over. */
static void
set_row(const KpxRuleSet *set, Datum *values)
{
	NameData *owner = palloc(sizeof(NameData));

	namestrcpy(owner, GetUserNameFromId(GetUserId(), false));
	values[0] = NameGetDatum(owner);
	values[1] = int_array(set, false);
	values[2] = name_array(set);
	values[3] = int_array(set, true);
	values[4] = CStringGetTextDatum(set->basket);
	values[5] = Int64GetDatum((int64) set->min_count);
	values[6] = set->min_confidence;
	values[7] = Int32GetDatum(set->max_length);
	values[8] = Int64GetDatum((int64) set->baskets);
	values[9] = Int64GetDatum((int64) set->sets->n - 1);
	values[10] = Int64GetDatum((int64) set->rules);
}

/* Replaces the row of this owner and these modules; returns its id. */
static int64
replace_set(Datum *values)
{
	Oid types[] = {NAMEOID, INT4ARRAYOID, TEXTARRAYOID, INT4ARRAYOID, TEXTOID, INT8OID, NUMERICOID, INT4OID, INT8OID, INT8OID, INT8OID};
	bool null;

	/* Against a concurrent kpx_drop_module. */
	kpx_catalog_execute("SELECT FROM kpx.module WHERE id = ANY ($2) FOR KEY SHARE", 2, types, values, NULL, false);
	kpx_catalog_execute("DELETE FROM kpx.rule r USING kpx.rule_set s"
						" WHERE r.set_id = s.id AND s.owner = $1 AND s.module_ids = $2",
						2, types, values, NULL, false);
	kpx_catalog_execute("DELETE FROM kpx.rule_item r USING kpx.rule_set s"
						" WHERE r.set_id = s.id AND s.owner = $1 AND s.module_ids = $2",
						2, types, values, NULL, false);
	kpx_catalog_execute("DELETE FROM kpx.rule_set WHERE owner = $1 AND module_ids = $2", 2, types, values, NULL, false);
	kpx_catalog_execute("INSERT INTO kpx.rule_set (owner, module_ids, modules, serves, basket, min_count, min_confidence,"
						" max_length, baskets, itemsets, rules) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id",
						11, types, values, NULL, false);
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
}

bool
kpx_rule_has_users(const KpxRuleSet *set, uint32 itemset)
{
	uint32 item[KPX_MAX_ITEMSET];
	int n;

	if (set->users == NULL)
		return true;
	n = kpx_itemset_items(set->sets, itemset, item);
	for (int i = 0; i < n; i++)
		item[i] = set->sets->item[item[i]];
	return kpx_enough_users(set->users, item, n);
}

/* Module, id and "module/id" of the frequent items, by rank. */
typedef struct Names
{
	Datum *id;
	Datum *key;
	int *module;
} Names;

static Names
name_items(const KpxRuleSet *set)
{
	uint32 n = set->sets->frequent_items;
	Names names = {kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(Datum)), kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(Datum)),
				   kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(int))};

	for (uint32 r = 0; r < n; r++)
	{
		uint32 item = set->sets->item[r];
		int m = 0;
		char *id;
		char *key;

		while (item >= set->item_base[m + 1])
			m++;
		id = kpx_id_to_cstring(set->item_ids[m].kind, kpx_ids_get(&set->item_ids[m], item - set->item_base[m]));
		key = psprintf("%s/%s", set->modules[m]->name, id);
		names.id[r] = CStringGetTextDatum(id);
		names.key[r] = CStringGetTextDatum(key);
		names.module[r] = set->modules[m]->id;
		pfree(id);
		pfree(key);
	}
	return names;
}

static void
insert_items(const KpxRuleSet *set, const Names *names, int64 set_id)
{
	Oid types[] = {INT8OID, INT4ARRAYOID, TEXTARRAYOID};
	Datum *modules = kpx_alloc(CurrentMemoryContext, Max(set->sets->frequent_items, 1), sizeof(Datum));
	Datum *ids = kpx_alloc(CurrentMemoryContext, Max(set->sets->frequent_items, 1), sizeof(Datum));
	int n = 0;
	Datum values[3];

	for (uint32 r = 0; r < set->sets->frequent_items; r++)
		if (kpx_rule_has_users(set, 1 + r))
		{
			modules[n] = Int32GetDatum(names->module[r]);
			ids[n++] = names->id[r];
		}
	values[0] = Int64GetDatum(set_id);
	values[1] = PointerGetDatum(construct_array(modules, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
	values[2] = PointerGetDatum(construct_array(ids, n, TEXTOID, -1, false, TYPALIGN_INT));
	kpx_catalog_execute("INSERT INTO kpx.rule_item (set_id, module_id, item) SELECT $1, u.m, u.i FROM unnest($2, $3) u(m, i)",
						3, types, values, NULL, false);
}

/* rule: item[0], the rarest of the antecedent, is the one that it is looked up by. */
static void
put_rule(Tuplestorestate *to, TupleDesc desc, const KpxItemsets *sets, const Names *names, const KpxRule *rule, int64 set_id)
{
	uint32 item[KPX_MAX_ITEMSET];
	Datum key[KPX_MAX_ITEMSET];
	int n = kpx_itemset_items(sets, rule->antecedent, item);
	Datum values[RULE_COLUMNS];
	bool nulls[RULE_COLUMNS] = {false};

	for (int i = 0; i < n; i++)
		key[i] = names->key[item[i]];
	values[0] = Int64GetDatum(set_id);
	values[1] = key[0];
	values[2] = PointerGetDatum(construct_array(key, n, TEXTOID, -1, false, TYPALIGN_INT));
	values[3] = Int32GetDatum(names->module[rule->consequent]);
	values[4] = names->id[rule->consequent];
	values[5] = Int64GetDatum((int64) kpx_itemset(sets, rule->itemset)->support);
	values[6] = Int64GetDatum((int64) kpx_itemset(sets, rule->antecedent)->support);
	values[7] = Int64GetDatum((int64) kpx_itemset(sets, 1 + rule->consequent)->support);
	values[8] = (Datum) 0; /* id: numbered when it is inserted */
	nulls[8] = true;
	tuplestore_putvalues(to, desc, values, nulls);
}

/* All rules as rows of kpx.rule. */
static void
put_rules(Tuplestorestate *to, TupleDesc desc, const KpxRuleSet *set, const Names *names, int64 set_id)
{
	KpxRule *rule = palloc(sizeof(KpxRule) * RULES_A_STEP);
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "kpxrec rules to write", ALLOCSET_DEFAULT_SIZES);
	KpxRuleCursor cursor;
	KpxStatus status;
	uint64 done = 0;

	kpx_progress_phase("storing rules", set->rules);
	(void) kpx_rules_begin(set->confidence, KPX_FRACTION, &cursor);
	do
	{
		uint64 n;
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		status = kpx_rules_next(set->sets, &cursor, RULES_A_STEP, rule, RULES_A_STEP, &n);
		old = MemoryContextSwitchTo(batch);
		for (uint64 i = 0; i < n; i++)
			if (kpx_rule_has_users(set, rule[i].itemset))
				put_rule(to, desc, set->sets, names, &rule[i], set_id);
		kpx_progress_step(done += n);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
	} while (status == KPX_MORE);
}

/* Through a tuplestore that one INSERT reads as a relation, which is several times as fast as an INSERT a rule. */
static void
insert_rules(const KpxRuleSet *set, int64 set_id)
{
	EphemeralNamedRelation rows = palloc0(sizeof(EphemeralNamedRelationData));
	Relation table = table_open(get_relname_relid("rule", get_namespace_oid("kpx", false)), RowExclusiveLock);
	TupleDesc desc = CreateTupleDescCopy(RelationGetDescr(table));
	Tuplestorestate *store = tuplestore_begin_heap(false, false, maintenance_work_mem);
	Names names = name_items(set);

	if (set->rules > 0)
		insert_items(set, &names, set_id);
	put_rules(store, desc, set, &names, set_id);
	rows->md = (EphemeralNamedRelationMetadataData){.name = "mined",
													.reliddesc = RelationGetRelid(table),
													.enrtype = ENR_NAMED_TUPLESTORE,
													.enrtuples = (double) set->rules};
	rows->reldata = store;
	table_close(table, NoLock);
	if (SPI_register_relation(rows) != SPI_OK_REL_REGISTER)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("the rules cannot be written")));
	KPX_FAULT("rules");
	kpx_catalog_execute("INSERT INTO kpx.rule (set_id, first, antecedent, consequent_module, consequent, count, antecedent_count, consequent_count)"
						" SELECT set_id, first, antecedent, consequent_module, consequent, count, antecedent_count, consequent_count FROM mined",
						0, NULL, NULL, NULL, false);
	(void) SPI_unregister_relation("mined");
	tuplestore_end(store);
}

void
kpx_rules_store(const KpxRuleSet *set)
{
	Datum row[11];
	KpxCatalog catalog;

	set_row(set, row);
	kpx_catalog_begin(&catalog, false);
	insert_rules(set, replace_set(row));
	kpx_catalog_end(&catalog);
}

/* ------------------------------------------------------------ reading them */

/* Owns it, or may select from all event sources of all of its modules. */
bool
kpx_may_use_rules(KpxRegistry *registry, const char *owner, const int32 *module_ids, int n)
{
	if (kpx_has_role(owner))
		return true;
	for (int m = 0; m < n; m++)
	{
		KpxModule *module = kpx_find_module_by_id(registry, module_ids[m]);

		if (module == NULL || !kpx_may_read_sources(module))
			return false;
	}
	return true;
}

PG_FUNCTION_INFO_V1(kpx_may_use_rule_set);
Datum
kpx_may_use_rule_set(PG_FUNCTION_ARGS)
{
	ArrayType *ids = PG_GETARG_ARRAYTYPE_P(1);

	if (ARR_NDIM(ids) != 1 || ARR_HASNULL(ids))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(kpx_may_use_rules(kpx_registry(), NameStr(*PG_GETARG_NAME(0)), (int32 *) ARR_DATA_PTR(ids),
									 ARR_DIMS(ids)[0]));
}
