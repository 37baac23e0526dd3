/*
 * slate_items.c
 *	  Candidates of a slate and what the item tables say of them, read as the caller.
 */
#include "slate.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

#include "history.h"
#include "item_facts.h"

/* ------------------------------------------------------------ consent */

/* allowed[s * n_modules + m]: the user lets module s's data be used for offers of module m. */
static bool *
read_consent(const KpxSlateRequest *r)
{
	int n = r->registry->n_modules;
	bool *allowed = palloc(sizeof(bool) * n * n);
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(r->user_id)};
	Oid type;
	int result;

	memset(allowed, !OidIsValid(r->policy->consent), sizeof(bool) * n * n);
	for (int m = 0; m < n; m++)
		allowed[m * n + m] = true;
	if (!OidIsValid(r->policy->consent))
		return allowed;
	type = kpx_column_type(r->policy->consent, "user_id");
	SPI_connect();
	result = SPI_execute_with_args(
		psprintf("SELECT c.source::pg_catalog.text, c.target::pg_catalog.text FROM %s c WHERE c.user_id OPERATOR(pg_catalog.=) $1::%s",
				 kpx_relation_sql(r->policy->consent, r->policy->consent_name, "policy", "consent"), format_type_be_qualified(type)),
		1, types, values, NULL, true, 0);
	if (result != SPI_OK_SELECT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("cannot read the consent relation %s", r->policy->consent_name)));
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		char *source = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1);
		char *target = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 2);

		for (int s = 0; source && target && s < n; s++)
			for (int m = 0; m < n; m++)
				if (strcmp(r->registry->modules[s].name, source) == 0 && strcmp(r->registry->modules[m].name, target) == 0)
					allowed[s * n + m] = true;
	}
	SPI_finish();
	return allowed;
}

/* The modules whose history may speak for module m: their ids. */
static KpxHistoryScope
scope_of(const KpxSlateRequest *r, const bool *allowed, const KpxModule *module)
{
	int n = r->registry->n_modules;
	int m = (int) (module - r->registry->modules);
	KpxHistoryScope scope = {palloc(sizeof(int) * n), 0};

	for (int s = 0; s < n; s++)
		if (allowed[s * n + m])
			scope.modules[scope.n++] = r->registry->modules[s].id;
	return scope;
}

/* ------------------------------------------------------------ candidates */

/* Appends the candidates of module m. */
static void
add_candidates(KpxSlateRequest *r, int m, MemoryContext context)
{
	Oid types[] = {TEXTOID, TEXTOID, INT4OID};
	Datum values[] = {
		CStringGetTextDatum(r->user_id),
		CStringGetTextDatum(r->modules[m]->name),
		Int32GetDatum((int32) KPX_POLICY_NUMBER(r->policy, r->home ? r->home->name : NULL, r->modules[m]->name, candidates)),
	};
	int result = SPI_execute_with_args(
		psprintf("SELECT item_id, score, reason FROM %s.kpx_recommend($1, $2, k => $3)", quote_identifier(r->schema)), 3, types, values, NULL, true, 0);
	MemoryContext old;
	int n = (int) SPI_processed;

	if (result != SPI_OK_SELECT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot read candidates of module \"%s\": %s", r->modules[m]->name, SPI_result_code_string(result))));
	old = MemoryContextSwitchTo(context);
	r->items = r->items ? repalloc(r->items, sizeof(KpxRankItem) * (r->n + n + 1)) : palloc(sizeof(KpxRankItem) * (n + 1));
	r->offers = r->offers ? repalloc(r->offers, sizeof(KpxOffer) * (r->n + n + 1)) : palloc(sizeof(KpxOffer) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		char *reason = SPI_getvalue(tuple, desc, 3);
		bool null;

		r->items[r->n] = (KpxRankItem){.module = m, .place = i, .price = NAN};
		r->items[r->n].id = MemoryContextStrdup(context, SPI_getvalue(tuple, desc, 1));
		r->items[r->n].score = DatumGetFloat4(SPI_getbinval(tuple, desc, 2, &null));
		if (null)
			r->items[r->n].score = 0;
		r->offers[r->n++] = (KpxOffer){.boost = 1, .reason = reason ? MemoryContextStrdup(context, reason) : NULL};
	}
	MemoryContextSwitchTo(old);
}

/* Price, category and boost of the candidates first .. n - 1, of module m. */
static void
add_facts(KpxSlateRequest *r, int m, int first, const KpxItemColumns *columns)
{
	const KpxSettings *settings = kpx_policy_module(r->policy, r->modules[m]->name);
	char **ids = palloc(sizeof(char *) * Max(r->n - first, 1));
	KpxItemFacts *facts;

	for (int i = first; i < r->n; i++)
		ids[i - first] = r->items[i].id;
	facts = kpx_item_facts(r->modules[m], columns, settings ? settings->boost : NULL, ids, r->n - first);
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

void
kpx_slate_items(KpxSlateRequest *r)
{
	MemoryContext context = CurrentMemoryContext;
	const char *home = r->home ? r->home->name : NULL;
	KpxItemColumns *columns = kpx_item_columns(r->modules, r->n_modules);
	bool signals = r->log || kpx_ranker_is_active(r->registry);
	bool *allowed = read_consent(r);

	for (int m = 0; m < r->n_modules; m++)
	{
		int first = r->n;
		KpxHistoryScope scope = scope_of(r, allowed, r->modules[m]);

		kpx_history_scope_begin(OidIsValid(r->policy->consent) ? &scope : NULL);
		PG_TRY();
		{
			SPI_connect();
			add_candidates(r, m, context);
			SPI_finish();
			add_facts(r, m, first, &columns[m]);
			if (signals)
				kpx_rank_signals(r->registry, r->modules[m], &columns[m], r->n_modules, r->user_id, r->items + first, r->n - first);
		}
		PG_FINALLY();
		{
			kpx_history_scope_begin(NULL);
		}
		PG_END_TRY();
		for (int i = first; i < r->n; i++)
			r->offers[i].value = kpx_slate_value(r->policy, home, r->modules[m]->name, r->items[i].price);
	}
}

/* ------------------------------------------------------------ the user's mix */

/* May the modules of the slate see each other's data of this user? */
static bool
all_share(const KpxSlateRequest *r)
{
	const bool *allowed = read_consent(r);
	int n = r->registry->n_modules;

	for (int s = 0; s < r->n_modules; s++)
		for (int m = 0; m < r->n_modules; m++)
			if (!allowed[(r->modules[s] - r->registry->modules) * n + (r->modules[m] - r->registry->modules)])
				return false;
	return true;
}

void
kpx_slate_mix(KpxSlateRequest *r)
{
	double sum = 0;

	r->mix = palloc(sizeof(double) * r->n_modules);
	for (int m = 0; m < r->n_modules; m++)
		r->mix[m] = 1; /* one event everywhere: nobody's share is 0 */
	/* a module's share says how much was done in the others */
	if (KPX_POLICY_NUMBER(r->policy, NULL, NULL, calibration) > 0 && all_share(r))
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
	for (int m = 0; m < r->n_modules; m++)
		sum += r->mix[m];
	for (int m = 0; m < r->n_modules; m++)
		r->mix[m] /= sum;
}
