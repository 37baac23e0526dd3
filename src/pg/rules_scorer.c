/*
 * rules_scorer.c
 *	  Rules as a source of kpx_recommend: they speak where the model cannot.
 */
#include "rules.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "idmap.h"
#include "ingest.h"
#include "scorer.h"

typedef struct Note
{
	KpxRuleOffer *offers;
	int n;
} Note;

/* Items of the rules of these sets, by module. */
static void
load_items(const KpxRulesServing *serving, KpxIdMap **maps)
{
	Oid types[] = {INT8ARRAYOID};
	Datum values[] = {PointerGetDatum(construct_array(serving->set_ids, serving->n_sets, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE))};
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("SELECT module_id, item FROM kpx.rule_item WHERE set_id = ANY ($1)", 1, types, values, NULL, true);
	old = MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool null;
		int module_id = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &null));

		for (int m = 0; m < serving->n_modules; m++)
			if (serving->modules[m]->id == module_id)
				(void) kpx_idmap_add(maps[m], kpx_id_from_text(kpx_module_item_kind(serving->modules[m]),
															   SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2)));
	}
	MemoryContextSwitchTo(old);
	kpx_catalog_end(&catalog);
}

/* Without a model: the items that rules know. */
static KpxModel *
rules_stand_in(KpxRegistry *registry, KpxModule *module)
{
	KpxRulesServing serving = kpx_rules_serving(registry, module);
	KpxModel *model = palloc0(sizeof(KpxModel));
	KpxIdMap **maps = palloc(sizeof(KpxIdMap *) * Max(serving.n_modules, 1));

	if (serving.n_sets == 0)
		return NULL;
	for (int m = 0; m < serving.n_modules; m++)
		maps[m] = kpx_idmap_create(CurrentMemoryContext, kpx_module_item_kind(serving.modules[m]));
	load_items(&serving, maps);
	model->name = "rules";
	model->context = CurrentMemoryContext;
	model->n_modules = serving.n_modules;
	model->modules = palloc0(sizeof(KpxModelModule) * serving.n_modules);
	for (int m = 0; m < serving.n_modules; m++)
	{
		KpxModelModule *known = &model->modules[m];
		uint32 *position;

		known->module_id = serving.modules[m]->id;
		known->name = serving.modules[m]->name;
		known->observed = 1;
		known->base = model->items;
		known->items = kpx_idmap_count(maps[m]);
		known->ids = kpx_idmap_sorted(maps[m], CurrentMemoryContext, &position);
		kpx_idmap_free(maps[m]);
		model->items += known->items;
	}
	return model;
}

/* Items given by the caller, as module/item. */
static KpxRuleOffer *
offers_from_items(const KpxRulesServing *serving, const KpxRequest *q, const KpxHistory *history, int *n)
{
	char **keys = kpx_alloc(CurrentMemoryContext, Max(history->n, 1), sizeof(char *));
	const KpxModelModule *module = q->model->modules;

	for (uint32 i = 0; i < history->n; i++)
	{
		while (history->index[i] >= module->base + module->items)
			module++;
		keys[i] = psprintf("%s/%s", module->name,
						   kpx_id_to_cstring(module->ids.kind, kpx_ids_get(&module->ids, history->index[i] - module->base)));
	}
	return kpx_rules_offers_from(serving, q->module, keys, (int) history->n, n);
}

static const float *
rules_score(KpxRequest *q, KpxTaste *taste, void **note, float *buffer)
{
	KpxRulesServing serving = kpx_rules_serving(q->registry, q->module);
	Note *offered = palloc0(sizeof(Note));
	bool any = false;

	if (serving.n_sets == 0 || kpx_module_item_kind(q->module) != q->target->ids.kind)
		return NULL;
	if (!taste->has_user)
		offered->offers = offers_from_items(&serving, q, &taste->history, &offered->n);
	else if (kpx_user_kind(serving.modules, serving.n_modules) == taste->user_kind)
		offered->offers = kpx_rules_offers(q->registry, &serving, q->module, taste->user, taste->user_kind, q->keep_seen, &offered->n);
	for (uint32 i = 0; i < q->target->items; i++)
		buffer[i] = NAN;
	for (int i = 0; i < offered->n; i++)
	{
		int64 index = kpx_ids_find(&q->target->ids, offered->offers[i].item);

		if (index < 0)
			continue;
		buffer[index] = (float) ((double) offered->offers[i].counts.both / (double) offered->offers[i].counts.antecedent);
		any = true;
	}
	*note = offered;
	return any ? buffer : NULL;
}

static char *
rules_reason(KpxRequest *q, KpxTaste *taste, void *note, uint32 item)
{
	const Note *offered = note;
	KpxId id = kpx_ids_get(&q->target->ids, item);

	for (int i = 0; i < offered->n; i++)
		if (kpx_id_compare(q->target->ids.kind, offered->offers[i].item, id) == 0)
			return kpx_rule_reason(&offered->offers[i]);
	return "rule";
}

const KpxScorer kpx_rules_scorer = {"rules", rules_stand_in, rules_score, rules_reason};
