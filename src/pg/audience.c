/*
 * audience.c
 *	  kpx_audience: the users most likely to want an item.
 *
 * Users come one after the other in order of their ids and are taken in batches: their
 * histories are read as the caller, folded in and scored with the item, as kpx_score does.
 */
#include "kpxrec.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

#include "request.h"
#include "users.h"

#define USERS_A_BATCH 256

typedef struct Audience
{
	KpxRequest q;
	KpxIdKind kind;
	uint32 item; /* in the model */
	bool keep_seen;
	KpxBestUsers best;
	MemoryContext context; /* of one batch */
	KpxId users[USERS_A_BATCH];
	int n;
} Audience;

static bool
hides(const KpxHistory *history, uint32 item)
{
	for (uint32 i = 0; i < history->n_hidden; i++)
		if (history->hidden[i] == item)
			return true;
	return false;
}

static void
score_batch(Audience *a)
{
	MemoryContext old = MemoryContextSwitchTo(a->context);
	KpxHistory *histories = kpx_history_read(a->q.registry, a->q.model, a->q.module, a->users, a->n, a->kind, KPX_FOR_ANSWERS);

	for (int u = 0; u < a->n; u++)
	{
		KpxTaste taste = {.has_user = true, .user = a->users[u], .user_kind = a->kind, .history = histories[u]};
		float score;

		CHECK_FOR_INTERRUPTS();
		if (!a->keep_seen && hides(&taste.history, a->item))
			continue;
		kpx_request_fold_in(&a->q, &taste);
		if (taste.state == NULL)
			continue;
		kpx_model_score(a->q.model, taste.state, a->item, a->item + 1, &score);
		if (!isnan(score))
			kpx_best_users_offer(&a->best, a->users[u], score, NULL);
	}
	a->n = 0;
	MemoryContextSwitchTo(old);
	MemoryContextReset(a->context);
}

static void
take_user(void *state, KpxId user)
{
	Audience *a = state;
	MemoryContext old = MemoryContextSwitchTo(a->context);

	a->users[a->n++] = kpx_id_copy(user);
	MemoryContextSwitchTo(old);
	if (a->n == USERS_A_BATCH)
		score_batch(a);
}

static void
put_users(FunctionCallInfo fcinfo, const Audience *a, Oid user_type)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	for (int i = 0; i < a->best.n; i++)
	{
		Datum values[3] = {Int32GetDatum(i + 1), kpx_id_to_datum(a->kind, a->best.users[i].id, user_type),
						   Float4GetDatum((float4) a->best.users[i].score)};
		bool nulls[3] = {false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

/* first: number of the argument k. */
static Datum
audience(FunctionCallInfo fcinfo, int first, Oid user_type, bool from_text)
{
	Audience *a = palloc0(sizeof(Audience));
	Oid item_type = from_text ? TEXTOID : get_fn_expr_argtype(fcinfo->flinfo, 0);
	KpxIdKind wanted;
	KpxModule **modules;
	int n;
	int64 item;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	kpx_request_open(&a->q, kpx_text_argument(fcinfo, 1, "module"), fcinfo, first + 3);
	a->best.k = kpx_count_argument(fcinfo, first, "k", 100, 1);
	a->best.context = CurrentMemoryContext;
	a->keep_seen = !PG_ARGISNULL(first + 2) && PG_GETARG_BOOL(first + 2);
	a->kind = kpx_model_user_kind(a->q.registry, a->q.model);
	if (!kpx_id_kind(user_type, &wanted) || (wanted != a->kind && wanted != KPX_ID_TEXT))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("users have %s ids, the answer would have type %s", kpx_id_kind_name(a->kind), format_type_be(user_type)),
				 errhint("Pass a witness of the right type: user_type => NULL::%s.", format_type_be(kpx_id_kind_type(a->kind)))));
	item = kpx_ids_find(&a->q.target->ids, kpx_id_argument(PG_GETARG_DATUM(0), item_type, a->q.target->ids.kind, from_text, "item_id"));
	if (item < 0)
		return (Datum) 0;
	a->item = a->q.target->base + (uint32) item;
	a->context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec audience", ALLOCSET_DEFAULT_SIZES);
	n = kpx_registered_modules(a->q.registry, a->q.model, &modules);
	kpx_users_read(modules, n, PG_ARGISNULL(first + 1) ? InvalidOid : PG_GETARG_OID(first + 1), a->kind, DT_NOBEGIN, take_user, a);
	score_batch(a);
	kpx_best_users_sort(&a->best);
	put_users(fcinfo, a, user_type);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(kpx_audience);
Datum
kpx_audience(PG_FUNCTION_ARGS)
{
	return audience(fcinfo, 2, get_fn_expr_argtype(fcinfo->flinfo, 0), false);
}

PG_FUNCTION_INFO_V1(kpx_audience_typed);
Datum
kpx_audience_typed(PG_FUNCTION_ARGS)
{
	return audience(fcinfo, 3, get_fn_expr_argtype(fcinfo->flinfo, 2), false);
}

PG_FUNCTION_INFO_V1(kpx_audience_text);
Datum
kpx_audience_text(PG_FUNCTION_ARGS)
{
	return audience(fcinfo, 2, TEXTOID, true);
}
