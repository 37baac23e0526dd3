/*
 * slate_read.c
 *	  Logged slates: reading them back, and kpx_explain_slate.
 */
#include "slate.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

/* ------------------------------------------------------------ reading */

static Datum *
elements_of(HeapTuple tuple, TupleDesc desc, int column, int *n)
{
	bool null;
	ArrayType *array = DatumGetArrayTypePCopy(SPI_getbinval(tuple, desc, column, &null));
	int16 length;
	bool by_value;
	char align;
	Datum *elements;
	bool *nulls;

	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, &elements, &nulls, n);
	return elements;
}

static char *
text_or_null(Datum value)
{
	char *string = TextDatumGetCString(value);

	return string[0] ? string : NULL;
}

static bool
take_slate_modules(KpxLoggedSlate *s, KpxRegistry *registry, HeapTuple tuple, TupleDesc desc)
{
	Datum *id = elements_of(tuple, desc, 9, &s->n_modules);
	Datum *room = elements_of(tuple, desc, 10, &s->n_modules);
	Datum *mix = elements_of(tuple, desc, 11, &s->n_modules);

	s->modules = palloc(sizeof(KpxModule *) * s->n_modules);
	s->room = palloc(sizeof(uint32) * s->n_modules);
	s->mix = palloc(sizeof(double) * s->n_modules);
	for (int m = 0; m < s->n_modules; m++)
	{
		s->modules[m] = kpx_find_module_by_id(registry, DatumGetInt32(id[m]));
		if (s->modules[m] == NULL)
			return false;
		s->room[m] = (uint32) DatumGetInt32(room[m]);
		s->mix[m] = DatumGetFloat8(mix[m]);
	}
	return true;
}

static void
take_slate_items(KpxLoggedSlate *s, HeapTuple tuple, TupleDesc desc)
{
	Datum *column[12];
	int place = 0;

	for (int c = 0; c < 12; c++)
		column[c] = elements_of(tuple, desc, 12 + c, &s->n);
	s->items = palloc0(sizeof(KpxRankItem) * Max(s->n, 1));
	s->offers = palloc0(sizeof(KpxOffer) * Max(s->n, 1));
	for (int i = 0; i < s->n; i++)
	{
		KpxRankItem *it = &s->items[i];
		KpxOffer *offer = &s->offers[i];

		while (it->module < s->n_modules - 1 && s->modules[it->module]->id != DatumGetInt32(column[0][i]))
			it->module++;
		place = i > 0 && s->items[i - 1].module == it->module ? place + 1 : 0;
		it->place = place;
		it->id = TextDatumGetCString(column[1][i]);
		it->category = text_or_null(column[2][i]);
		it->score = DatumGetFloat4(column[3][i]);
		it->p_click = DatumGetFloat8(column[4][i]);
		it->p_convert = DatumGetFloat8(column[5][i]);
		it->price = DatumGetFloat8(column[6][i]);
		offer->boost = DatumGetFloat8(column[7][i]);
		offer->rule = text_or_null(column[8][i]);
		it->spread = DatumGetFloat8(column[9][i]);
		offer->share = DatumGetFloat8(column[10][i]);
		offer->cost = DatumGetFloat8(column[11][i]);
	}
}

KpxLoggedSlate *
kpx_logged_slate(KpxRegistry *registry, HeapTuple tuple, TupleDesc desc)
{
	KpxLoggedSlate *s = palloc0(sizeof(KpxLoggedSlate));
	bool null;
	int home;

	s->slate_id = DatumGetInt64(SPI_getbinval(tuple, desc, 1, &null));
	s->occurred_at = DatumGetTimestampTz(SPI_getbinval(tuple, desc, 2, &null));
	s->user_id = SPI_getvalue(tuple, desc, 3);
	s->policy_id = DatumGetInt64(SPI_getbinval(tuple, desc, 4, &null));
	s->owner = SPI_getvalue(tuple, desc, 5);
	s->ranker = SPI_getvalue(tuple, desc, 6);
	s->k = DatumGetInt32(SPI_getbinval(tuple, desc, 7, &null));
	home = DatumGetInt32(SPI_getbinval(tuple, desc, 8, &null));
	s->home = home ? kpx_find_module_by_id(registry, home) : NULL;
	if ((home && !s->home) || !take_slate_modules(s, registry, tuple, desc))
		return NULL;
	take_slate_items(s, tuple, desc);
	return s;
}

void
kpx_logged_slate_value(KpxLoggedSlate *s, const KpxPolicy *policy)
{
	const char **names = palloc(sizeof(char *) * s->n_modules);
	const char *home = s->home ? s->home->name : NULL;

	for (int m = 0; m < s->n_modules; m++)
		names[m] = s->modules[m]->name;
	for (int i = 0; i < s->n; i++)
		s->offers[i].value = kpx_slate_value(policy, home, names[s->items[i].module], s->items[i].price);
	kpx_slate_worth(policy, home, names, s->items, s->offers, s->n);
	pfree(names);
}

int
kpx_logged_slate_find(const KpxLoggedSlate *s, int module_id, const char *item_id)
{
	for (int i = 0; i < s->n; i++)
		if (s->modules[s->items[i].module]->id == module_id && strcmp(s->items[i].id, item_id) == 0)
			return i;
	return -1;
}

/* ------------------------------------------------------------ explaining */

/* What was shown of a slate, by rank. */
typedef struct Shown
{
	int item; /* number among the candidates */
	double propensity;
	bool explored;
	char *reason;
} Shown;

#define STRONGEST 5

/* The slate and what it showed; NULL when there is none of this number. */
static KpxLoggedSlate *
read_slate(int64 slate_id, Shown *shown, int *n_shown)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(slate_id)};
	MemoryContext context = CurrentMemoryContext;
	KpxRegistry *registry = kpx_registry();
	KpxCatalog catalog;
	KpxLoggedSlate *slate = NULL;
	bool null;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT " KPX_LOGGED_SLATE_COLUMNS " FROM kpx.slate s WHERE s.slate_id = $1", 1, types, values, NULL, true);
	if (SPI_processed == 1)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		slate = kpx_logged_slate(registry, SPI_tuptable->vals[0], SPI_tuptable->tupdesc);
		MemoryContextSwitchTo(old);
	}
	*n_shown = 0;
	if (slate)
		kpx_catalog_execute("SELECT module_id, item_id, propensity, explored, reason FROM kpx.impression WHERE slate_id = $1 ORDER BY rank", 1,
							types, values, NULL, true);
	for (uint64 row = 0; slate && row < SPI_processed && row < KPX_MAX_SLATE; row++)
	{
		HeapTuple tuple = SPI_tuptable->vals[row];
		TupleDesc desc = SPI_tuptable->tupdesc;
		char *reason = SPI_getvalue(tuple, desc, 5);

		shown[(*n_shown)++] = (Shown){
			kpx_logged_slate_find(slate, DatumGetInt32(SPI_getbinval(tuple, desc, 1, &null)), SPI_getvalue(tuple, desc, 2)),
			DatumGetFloat8(SPI_getbinval(tuple, desc, 3, &null)), DatumGetBool(SPI_getbinval(tuple, desc, 4, &null)),
			reason ? MemoryContextStrdup(context, reason) : "?"};
	}
	kpx_catalog_end(&catalog);
	return slate;
}

static void
put_step(FunctionCallInfo fcinfo, const KpxLoggedSlate *s, const KpxPolicy *policy, int i, int rank, const char *candidate, const char *slate)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const KpxRankItem *it = &s->items[i];
	const KpxOffer *offer = &s->offers[i];
	const char *name = s->modules[it->module]->name;
	const char *home = s->home ? s->home->name : NULL;
	double lambda = KPX_POLICY_NUMBER(policy, home, name, lambda);
	double weight = KPX_POLICY_NUMBER(policy, home, name, weight);
	bool cross = home && strcmp(home, name) != 0;
	Datum values[7] = {
		Int32GetDatum(rank),
		CStringGetTextDatum(name),
		CStringGetTextDatum(it->id),
		CStringGetTextDatum(candidate),
		CStringGetTextDatum(psprintf("%s: P(click) %.4f x P(convert) %.4f x value %.4g = %.4g", s->ranker, it->p_click, it->p_convert,
									 offer->value, it->p_click * it->p_convert * offer->value)),
		CStringGetTextDatum(psprintf("policy " INT64_FORMAT ": worth %.4g = %.4g%s%s%s%s", s->policy_id, offer->worth,
									 it->p_click * it->p_convert * offer->value,
									 home ? psprintf(" x %.3g (%s)", 2 * (cross ? lambda : 1 - lambda), cross ? "cross-module" : "home") : "",
									 weight != 1 ? psprintf(" x %.4g (weight)", weight) : "",
									 offer->boost != 1 ? psprintf(" x %.4g (boost)", offer->boost) : "",
									 offer->cost != 0 ? psprintf(" %c %.4g (campaign)", offer->cost > 0 ? '-' : '+', fabs(offer->cost)) : "")),
		CStringGetTextDatum(slate),
	};
	bool nulls[7] = {rank == 0, false, false, false, false, false, false};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* What else than its worth a candidate brings to the slate as it stands. */
static double
bonus(const KpxSlate *slate, int i)
{
	return kpx_slate_gain(slate, (size_t) i) - slate->candidate[i].value;
}

/* What a shown item was worth at its place. */
static char *
place_text(const KpxSlate *slate, const Shown *shown)
{
	bool terms = slate->rules->diversity > 0 || slate->rules->calibration > 0 || slate->rules->category_calibration > 0;

	return psprintf("%s, probability %.4f%s", shown->explored ? "explored" : "the best addition", shown->propensity,
					terms ? psprintf(": worth %.4g + %.4g for diversity and calibration", slate->candidate[shown->item].value, bonus(slate, shown->item))
						  : "");
}

/* Why a place went to another than the candidate that is worth more; NULL: it was not worth more, or could not come there. */
static char *
passed_over(const KpxSlate *slate, const Shown *shown, int place, int i)
{
	const KpxCandidate *candidate = slate->candidate;

	if (kpx_slate_fits(slate, (size_t) i) != KPX_FITS || candidate[i].value <= candidate[shown->item].value)
		return NULL;
	if (shown->explored)
		return psprintf("kept out by exploration, which gave place %d to another", place);
	return psprintf("kept out by diversity and calibration: worth %.4g + %.4g at place %d, which went to %.4g + %.4g", candidate[i].value,
					bonus(slate, i), place, candidate[shown->item].value, bonus(slate, shown->item));
}

/* Which rule kept an eligible candidate off the slate that stands complete. passed: why places went to others, or NULL. */
static const char *
kept_out_by(const KpxLoggedSlate *s, const KpxSlate *slate, const KpxCandidate *candidate, int i, const char *passed)
{
	if (s->offers[i].rule)
		return psprintf("kept out by %s", s->offers[i].rule);
	if (!(candidate[i].value >= 0))
		return "kept out by its campaign: the price of an impression is more than it is worth";
	if (slate->module_count[s->items[i].module] >= s->room[s->items[i].module])
		return psprintf("kept out: the module has its %u places of this slate", s->room[s->items[i].module]);
	{
		KpxSlate open = *slate;
		KpxSlateRules more = *slate->rules;

		more.k = slate->shown + 1; /* is it only that the slate is full? */
		open.rules = &more;
		if (kpx_slate_fits(&open, (size_t) i) == KPX_CATEGORY_FULL)
			return "kept out: max_per_category";
	}
	return passed ? passed : "outranked: worth no more than what is shown";
}

/* Candidates that are not shown, by expected value, strongest first: the first few of them. */
static int
strongest(const KpxLoggedSlate *s, const bool *taken, int *which)
{
	int n = 0;

	for (int i = 0; i < s->n; i++)
	{
		int at;
		double value = s->items[i].p_click * s->items[i].p_convert * s->offers[i].value * s->offers[i].boost;

		if (taken[i])
			continue;
		for (at = n; at > 0; at--)
		{
			const KpxRankItem *other = &s->items[which[at - 1]];

			if (other->p_click * other->p_convert * s->offers[which[at - 1]].value * s->offers[which[at - 1]].boost >= value)
				break;
			if (at < STRONGEST)
				which[at] = which[at - 1];
		}
		if (at < STRONGEST)
		{
			which[at] = i;
			n = Min(n + 1, STRONGEST);
		}
	}
	return n;
}

/* The role that logged it and owners of its modules may see it. */
static void
require_slate_rights(const KpxLoggedSlate *s)
{
	if (kpx_has_role(s->owner))
		return;
	for (int m = 0; m < s->n_modules; m++)
		kpx_require_owner(s->modules[m]->owner, "module", s->modules[m]->name);
}

PG_FUNCTION_INFO_V1(kpx_explain_slate);
Datum
kpx_explain_slate(PG_FUNCTION_ARGS)
{
	Shown shown[KPX_MAX_SLATE];
	int n_shown;
	int which[STRONGEST];
	int n_which;
	char *passed[STRONGEST] = {NULL};
	KpxLoggedSlate *s;
	KpxPolicy *policy;
	KpxSlateRules rules;
	KpxCandidate *candidate;
	KpxSlate slate;
	bool *taken;

	InitMaterializedSRF(fcinfo, 0);
	s = read_slate(PG_GETARG_INT64(0), shown, &n_shown);
	if (s == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("slate " INT64_FORMAT " was not logged, or has expired", PG_GETARG_INT64(0)),
				 errhint("Slates are logged by kpx_recommend_slate(..., log => true).")));
	require_slate_rights(s);
	policy = kpx_policy(s->policy_id);
	kpx_logged_slate_value(s, policy);
	rules = kpx_slate_rules(policy, Max(s->k, 1), s->n_modules, s->room, s->mix);
	candidate = kpx_slate_candidates(s->items, s->offers, s->n);
	taken = palloc0(sizeof(bool) * Max(s->n, 1));
	kpx_slate_begin(&slate, candidate, (size_t) s->n, &rules,
					kpx_alloc_aligned(CurrentMemoryContext, kpx_slate_workspace((size_t) s->n, &rules), 1));
	for (int p = 0; p < n_shown; p++)
		if (shown[p].item >= 0)
			taken[shown[p].item] = true;
	n_which = strongest(s, taken, which);
	for (int p = 0; p < n_shown; p++)
	{
		int i = shown[p].item;

		if (i < 0)
			continue;
		for (int w = 0; w < n_which; w++)
		{
			char *why = passed_over(&slate, &shown[p], p + 1, which[w]);

			passed[w] = why ? why : passed[w];
		}
		put_step(fcinfo, s, policy, i, p + 1,
				 psprintf("candidate %d of %s, score %.4g, because of %s", s->items[i].place + 1, s->modules[s->items[i].module]->name,
						  s->items[i].score, shown[p].reason),
				 place_text(&slate, &shown[p]));
		kpx_slate_add(&slate, (size_t) i);
	}
	for (int w = 0; w < n_which; w++)
		put_step(fcinfo, s, policy, which[w], 0,
				 psprintf("candidate %d of %s, score %.4g", s->items[which[w]].place + 1, s->modules[s->items[which[w]].module]->name,
						  s->items[which[w]].score),
				 kept_out_by(s, &slate, candidate, which[w], passed[w]));
	return (Datum) 0;
}
