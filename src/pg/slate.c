/*
 * slate.c
 *	  kpx_recommend_slate: candidates, ranking, policy, slate.
 */
#include "slate.h"

#include <math.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "forget.h"
#include "request.h"

/* ------------------------------------------------------------ worth and rules */

void
kpx_slate_worth(const KpxPolicy *policy, const char *home, const char *const *modules, const KpxRankItem *items, KpxOffer *offers, int n)
{
	for (int i = 0; i < n; i++)
	{
		const char *module = modules[items[i].module];
		double lambda = KPX_POLICY_NUMBER(policy, home, module, lambda);
		/* R = lambda R_cross + (1 - lambda) R_home, doubled: at 1/2 worth is money */
		double weight = home == NULL ? 1 : 2 * (strcmp(home, module) == 0 ? 1 - lambda : lambda);

		weight *= KPX_POLICY_NUMBER(policy, home, module, weight) * offers[i].value * offers[i].boost;
		offers[i].worth = weight * items[i].p_click * items[i].p_convert - offers[i].cost;
		offers[i].spread = weight * items[i].spread;
	}
}

KpxSlateRules
kpx_slate_rules(const KpxPolicy *policy, int k, int n_modules, const uint32 *room, const double *mix)
{
	return (KpxSlateRules){
		.k = (size_t) k,
		.modules = (size_t) n_modules,
		.room = room,
		.category_room = (uint32) KPX_POLICY_NUMBER(policy, NULL, NULL, max_per_category),
		.diversity = KPX_POLICY_NUMBER(policy, NULL, NULL, diversity),
		.calibration = KPX_POLICY_NUMBER(policy, NULL, NULL, calibration),
		.mix = mix,
		.epsilon = KPX_POLICY_NUMBER(policy, NULL, NULL, epsilon),
		.top = (size_t) KPX_POLICY_NUMBER(policy, NULL, NULL, top),
		.category_calibration = KPX_POLICY_NUMBER(policy, NULL, NULL, category_calibration),
		.thompson = KPX_POLICY_NUMBER(policy, NULL, NULL, thompson) > 0,
	};
}

KpxCandidate *
kpx_slate_candidates(const KpxRankItem *items, const KpxOffer *offers, int n)
{
	KpxCandidate *candidate = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(KpxCandidate));

	for (int i = 0; i < n; i++)
	{
		uint32 category = KPX_NO_CATEGORY;

		if (items[i].category)
		{
			category = (uint32) i;
			for (int j = 0; j < i; j++)
				if (items[j].category && strcmp(items[j].category, items[i].category) == 0)
				{
					category = candidate[j].category;
					break;
				}
		}
		candidate[i] = (KpxCandidate){
			.module = (uint32) items[i].module,
			.category = category,
			.value = offers[i].rule ? -1 : offers[i].worth,
			.cost = offers[i].cost,
			.spread = offers[i].spread,
			.share = offers[i].share,
		};
	}
	return candidate;
}

/* ------------------------------------------------------------ the request */

static void
take_modules(KpxSlateRequest *r, ArrayType *array)
{
	Datum *elements;
	bool *nulls;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("argument \"modules\" must be a one-dimensional array")));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &r->n_modules);
	if (r->n_modules == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"modules\" must not be empty")));
	r->modules = palloc(sizeof(KpxModule *) * r->n_modules);
	for (int m = 0; m < r->n_modules; m++)
	{
		if (nulls[m])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"modules\" must not contain NULL")));
		r->modules[m] = kpx_find_module(r->registry, TextDatumGetCString(elements[m]));
		for (int other = 0; other < m; other++)
			if (r->modules[other] == r->modules[m])
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("argument \"modules\" names \"%s\" twice", r->modules[m]->name)));
	}
}

static void
require_log(void)
{
	if (RecoveryInProgress() || XactReadOnly)
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg(RecoveryInProgress() ? "a slate cannot be logged on a standby"
											 : "a slate cannot be logged in a read-only transaction"),
				 errhint("Use log => false: frequency caps are read then, and nothing is written.")));
}

static KpxSlateRequest
open_request(FunctionCallInfo fcinfo)
{
	KpxSlateRequest r = {0};

	kpx_call_begin(&r.call);
	r.registry = kpx_registry();
	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"modules\" must not be NULL")));
	take_modules(&r, PG_GETARG_ARRAYTYPE_P(1));
	r.k = kpx_count_argument(fcinfo, 2, "k", 10, 1);
	if (r.k > KPX_MAX_SLATE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"k\" must be at most %d, found %d", KPX_MAX_SLATE, r.k)));
	r.home = PG_ARGISNULL(3) ? NULL : kpx_find_module(r.registry, text_to_cstring(PG_GETARG_TEXT_PP(3)));
	r.log = !PG_ARGISNULL(4) && PG_GETARG_BOOL(4);
	r.context = PG_ARGISNULL(5) ? (Datum) 0 : PG_GETARG_DATUM(5);
	r.user_id = kpx_user_text(r.registry, PG_GETARG_DATUM(0), get_fn_expr_argtype(fcinfo->flinfo, 0));
	return r;
}

/* ------------------------------------------------------------ the choice */

/* Draws the slate; returns how many places are filled. */
static int
choose(KpxSlateRequest *r, KpxPlace *places)
{
	KpxSlateRules rules = kpx_slate_rules(r->policy, Max(r->room_in_all, 1), r->n_modules, r->room, r->mix);
	KpxCandidate *candidate = kpx_slate_candidates(r->items, r->offers, r->n);
	size_t bytes = kpx_slate_workspace((size_t) r->n, &rules);
	KpxSlate slate;
	uint32 *choice = kpx_alloc(CurrentMemoryContext, rules.top, sizeof(uint32));
	double *probability = kpx_alloc(CurrentMemoryContext, rules.top, sizeof(double));
	size_t choices;
	int n = 0;

	if (r->room_in_all <= 0 || r->n == 0)
		return 0;
	kpx_slate_begin(&slate, candidate, (size_t) r->n, &rules, kpx_alloc_aligned(CurrentMemoryContext, bytes, 1));
	while ((choices = kpx_slate_choices(&slate, choice, probability)) > 0)
	{
		size_t drawn = kpx_slate_draw(probability, choices, kpx_chance(r->user_id, (uint64) n));

		CHECK_FOR_INTERRUPTS();
		places[n++] = (KpxPlace){(int) choice[drawn], probability[drawn], drawn > 0};
		kpx_slate_add(&slate, choice[drawn]);
	}
	return n;
}

static void
put_place(FunctionCallInfo fcinfo, const KpxSlateRequest *r, int64 slate_id, int rank, const KpxPlace *place)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const KpxRankItem *item = &r->items[place->item];
	const KpxOffer *offer = &r->offers[place->item];
	Datum values[10] = {
		Int64GetDatum(slate_id),
		Int32GetDatum(rank),
		CStringGetTextDatum(r->modules[item->module]->name),
		CStringGetTextDatum(item->id),
		Float4GetDatum(item->score),
		Float8GetDatum(item->p_click),
		Float8GetDatum(item->p_convert),
		Float8GetDatum(item->p_click * item->p_convert * offer->value),
		Float8GetDatum(place->propensity),
		offer->reason ? CStringGetTextDatum(offer->reason) : (Datum) 0,
	};
	bool nulls[10] = {!r->log, false, false, false, false, false, false, false, false, offer->reason == NULL};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(kpx_recommend_slate);
Datum
kpx_recommend_slate(PG_FUNCTION_ARGS)
{
	KpxSlateRequest r;
	KpxRankRequest rank;
	KpxPlace places[KPX_MAX_SLATE];
	const char **names;
	int64 slate_id = 0;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	r = open_request(fcinfo);
	if (r.log)
		require_log();
	r.policy = kpx_policy(PG_ARGISNULL(6) ? 0 : PG_GETARG_INT64(6));
	names = palloc(sizeof(char *) * r.n_modules);
	for (int m = 0; m < r.n_modules; m++)
		names[m] = r.modules[m]->name;

	kpx_slate_items(&r);
	rank = (KpxRankRequest){r.registry, r.user_id, r.home, r.modules, r.n_modules, r.items, r.n};
	r.ranker = kpx_rank_candidates(&rank);
	/* the slates of a user are serialised: caps count with a snapshot taken from here on */
	if (r.log)
	{
		kpx_lock_user(r.user_id);
		r.log = !kpx_is_forgotten(kpx_registry(), r.user_id); /* as it is once the lock is ours */
	}
	r.now = kpx_now();
	kpx_slate_mix(&r);
	kpx_slate_state(&r);
	kpx_slate_worth(r.policy, r.home ? r.home->name : NULL, names, r.items, r.offers, r.n);
	n = choose(&r, places);
	kpx_slate_reasons(&r, places, n);
	if (r.log && n > 0)
	{
		slate_id = kpx_slate_write(&r, places, n);
		kpx_slate_spend(&r, places, n);
	}
	for (int i = 0; i < n; i++)
		put_place(fcinfo, &r, slate_id, i + 1, &places[i]);
	kpx_call_end(&r.call, KPX_CALL_SLATE, r.home ? r.home->id : 0);
	return (Datum) 0;
}
