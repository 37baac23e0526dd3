/*
 * slate_items.c
 *	  Candidates of a slate and what the item tables say of them, read as the caller.
 */
#include "slate.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

#include "forget.h"
#include "history.h"
#include "item_facts.h"
#include "lifecycle.h"

/* ------------------------------------------------------------ candidates */

/*
 * The user as module m may see them. Modules that have a model in common and may use the same
 * events share what was read and folded in.
 */
static void
take_taste(KpxSlateRequest *r, int m)
{
	KpxRequest *q = &r->requests[m];
	KpxIdKind kind;

	for (int other = 0; other < m; other++)
		if (r->requests[other].model == q->model && kpx_consents_alike(r->consents, r->user, r->modules[other], r->modules[m]))
		{
			r->tastes[m] = r->tastes[other];
			return;
		}
	kind = kpx_model_user_kind(r->registry, q->model);
	r->tastes[m] = kpx_request_user(q, kpx_id_from_text(kind, r->user_id), kind);
}

/* Appends the candidates of module m. */
static void
add_candidates(KpxSlateRequest *r, int m)
{
	KpxRequest *q = &r->requests[m];
	KpxListed *list;
	int n;

	kpx_request_begin(q, r->registry, r->modules[m], kpx_model_for_text(r->registry, r->modules[m], r->user_id));
	take_taste(r, m);
	n = (int) kpx_list(q, &r->tastes[m], (uint64) KPX_POLICY_NUMBER(r->policy, NULL, r->modules[m]->name, candidates), &list);
	kpx_call_join(&r->call, &q->call);
	r->items = r->items ? repalloc(r->items, sizeof(KpxRankItem) * (r->n + n + 1)) : palloc(sizeof(KpxRankItem) * (n + 1));
	r->offers = r->offers ? repalloc(r->offers, sizeof(KpxOffer) * (r->n + n + 1)) : palloc(sizeof(KpxOffer) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		r->items[r->n] = (KpxRankItem){.module = m, .place = i, .price = NAN, .score = list[i].hit.score};
		r->items[r->n].id = kpx_id_to_cstring(q->target->ids.kind, kpx_ids_get(&q->target->ids, list[i].hit.item));
		r->offers[r->n++] = (KpxOffer){.boost = 1, .listed = list[i]};
	}
}

void
kpx_slate_reasons(KpxSlateRequest *r, const KpxPlace *places, int n)
{
	for (int p = 0; p < n; p++)
	{
		KpxOffer *offer = &r->offers[places[p].item];
		int m = r->items[places[p].item].module;

		offer->reason = kpx_listed_reason(&r->requests[m], &r->tastes[m], &offer->listed);
	}
}

/* Price, category and boost of the candidates first .. n - 1, of module m. */
static void
add_facts(KpxSlateRequest *r, int m, int first)
{
	const KpxSettings *settings = kpx_policy_module(r->policy, r->modules[m]->name);
	char **ids = palloc(sizeof(char *) * Max(r->n - first, 1));
	KpxItemFacts *facts;

	for (int i = first; i < r->n; i++)
		ids[i - first] = r->items[i].id;
	facts = kpx_item_facts(r->modules[m], settings ? settings->boost : NULL, ids, r->n - first);
	for (int i = first; i < r->n; i++)
	{
		r->items[i].price = facts[i - first].price;
		r->items[i].category = facts[i - first].category;
		r->offers[i].boost = facts[i - first].boost;
	}
}

double
kpx_slate_value(const KpxPolicy *policy, const char *home, const char *module, double price)
{
	double value = KPX_POLICY_NUMBER(policy, home, module, value);

	if (!isnan(value))
		return value;
	/* a price that cannot be one counts as none */
	return price >= 0 && price <= 1e12 ? price * KPX_POLICY_NUMBER(policy, home, module, margin) : 1;
}

static void
read_consents(KpxSlateRequest *r)
{
	KpxModule **modules = palloc(sizeof(KpxModule *) * r->registry->n_modules);
	KpxIdKind kind;

	for (int m = 0; m < r->registry->n_modules; m++)
		modules[m] = &r->registry->modules[m];
	if (!kpx_registered_user_kind(r->registry, &kind))
		kind = KPX_ID_TEXT;
	r->user = kpx_id_from_text(kind, r->user_id);
	r->consents = kpx_consents_read(r->registry, KPX_FOR_ANSWERS, modules, r->registry->n_modules, kind, &r->user, 1);
}

void
kpx_slate_items(KpxSlateRequest *r)
{
	const char *home = r->home ? r->home->name : NULL;
	KpxSegmentFound segment = {0};
	bool signals = r->log || kpx_ranker_is_active(r->registry);

	read_consents(r);
	r->requests = palloc0(sizeof(KpxRequest) * r->n_modules);
	r->tastes = palloc(sizeof(KpxTaste) * r->n_modules);
	for (int m = 0; m < r->n_modules; m++)
	{
		int first = r->n;

		CHECK_FOR_INTERRUPTS();
		add_candidates(r, m);
		add_facts(r, m, first);
		if (signals)
			kpx_rank_signals(&r->requests[m], &r->tastes[m], &segment, r->n_modules, r->items + first, r->n - first);
		for (int i = first; i < r->n; i++)
			r->offers[i].value = kpx_slate_value(r->policy, home, r->modules[m]->name, r->items[i].price);
	}
}

/* ------------------------------------------------------------ the user's mix */

/* May the modules of the slate see each other's data of this user? */
static bool
all_share(const KpxSlateRequest *r)
{
	for (int s = 0; s < r->n_modules; s++)
		for (int m = 0; m < r->n_modules; m++)
			if (!kpx_consents_allow(r->consents, r->user, r->modules[s], r->modules[m]))
				return false;
	return true;
}

/* Counts of the user's events by module: what was done in one tells of it to all others, so all must be allowed to know. */
static void
count_events(KpxSlateRequest *r)
{
	Oid types[] = {TEXTOID, INT4OID};
	Datum values[] = {CStringGetTextDatum(r->user_id), Int32GetDatum(kpx_history_limit)};

	SPI_connect();
	for (int m = 0; m < r->n_modules; m++)
		for (int s = 0; s < r->modules[m]->n_sources; s++)
		{
			const KpxSource *source = &r->modules[m]->sources[s];
			bool null;
			char *sql = psprintf(
				"SELECT pg_catalog.count(*) FROM (SELECT FROM %s e WHERE e.%s OPERATOR(pg_catalog.=) $1::%s LIMIT $2) x",
				kpx_relation_sql(source->relation, source->relation_name, "module", r->modules[m]->name),
				quote_identifier(source->user_id), format_type_be_qualified(getBaseType(kpx_column_type(source->relation, source->user_id))));

			if (SPI_execute_with_args(sql, 2, types, values, NULL, true, 0) == SPI_OK_SELECT)
				r->mix[m] += (double) DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
		}
	SPI_finish();
}

/* Shares of the categories of module m in the weight of the user's interactions there, to its offers. */
static void
share_categories(KpxSlateRequest *r, int m)
{
	const KpxModelModule *target = r->requests[m].target;
	const KpxHistory *h = &r->tastes[m].history;
	char **ids = kpx_alloc(CurrentMemoryContext, Max(h->n, 1), sizeof(char *));
	double *weight = kpx_alloc(CurrentMemoryContext, Max(h->n, 1), sizeof(double));
	double sum = 0;
	int n = 0;
	KpxItemFacts *facts;

	for (uint32 j = 0; j < h->n; j++)
		if (h->index[j] >= target->base && h->index[j] < target->base + target->items)
		{
			ids[n] = kpx_id_to_cstring(target->ids.kind, kpx_ids_get(&target->ids, h->index[j] - target->base));
			weight[n++] = h->weight[j];
			sum += h->weight[j];
		}
	facts = kpx_item_facts(r->modules[m], NULL, ids, n);
	for (int i = 0; i < r->n; i++)
		for (int j = 0; j < n && r->items[i].module == m && r->items[i].category; j++)
			if (facts[j].category && strcmp(facts[j].category, r->items[i].category) == 0)
				r->offers[i].share += r->mix[m] * weight[j] / sum;
}

void
kpx_slate_mix(KpxSlateRequest *r)
{
	bool by_category = KPX_POLICY_NUMBER(r->policy, NULL, NULL, category_calibration) > 0;
	double sum = 0;

	r->mix = palloc(sizeof(double) * r->n_modules);
	for (int m = 0; m < r->n_modules; m++)
		r->mix[m] = 1; /* one event everywhere: nobody's share is 0 */
	if ((by_category || KPX_POLICY_NUMBER(r->policy, NULL, NULL, calibration) > 0) && all_share(r))
		count_events(r);
	for (int m = 0; m < r->n_modules; m++)
		sum += r->mix[m];
	for (int m = 0; m < r->n_modules; m++)
	{
		r->mix[m] /= sum;
		if (by_category)
			share_categories(r, m);
	}
}
