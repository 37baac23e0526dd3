/*
 * explain.c
 *	  kpx_score and kpx_explain: one item for one user.
 */
#include "kpxrec.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "request.h"
#include "scorer.h"

/* An item argument: its index within the target module, or -1. */
static int64
item_argument(const KpxRequest *q, FunctionCallInfo fcinfo)
{
	Oid type = get_fn_expr_argtype(fcinfo->flinfo, 2);

	return kpx_ids_find(&q->target->ids, kpx_id_argument(PG_GETARG_DATUM(2), type, q->target->ids.kind,
														 getBaseType(type) == TEXTOID, "item_id"));
}

/* Score of one item by who speaks for this user; other is kept for the next item. */
static float
score_of(KpxRequest *q, KpxTaste *taste, const float **other, int64 item)
{
	float score = 0;

	if (item < 0)
		return 0;
	if (taste->state)
		kpx_model_score(q->model, taste->state, q->target->base + (uint32) item, q->target->base + (uint32) item + 1, &score);
	else
	{
		for (int s = 0; *other == NULL && kpx_scorers[s]; s++)
		{
			void *note = NULL;

			*other = kpx_scorers[s]->score(q, taste, &note, kpx_request_scores(q));
		}
		if (*other)
			score = (*other)[item];
	}
	return isnan(score) ? 0 : score;
}

/*
 * A statement often scores many items for one user: the folded-in vector is kept at the
 * call's node, with what it belongs to. PL/pgSQL keeps nodes from one statement to the
 * next, so that what was visible belongs to it too.
 */
typedef struct ScoreState
{
	char *user;
	char *module;
	int64 model;
	Oid role;
	TimestampTz transaction;
	CommandId command;
	uint64 commits; /* transactions completed when the snapshot was taken */
	KpxRequest q;
	KpxTaste taste;
	const float *other; /* scores of another than the model, in context */
	MemoryContext context;
} ScoreState;

/* Does the state belong to this user, model, role and snapshot? */
static bool
still_valid(const ScoreState *state, const char *user, const char *module, int64 model)
{
	Snapshot snapshot = GetActiveSnapshot();

	return state->transaction == GetCurrentTransactionStartTimestamp() && state->command == snapshot->curcid &&
		   state->commits == snapshot->snapXactCompletionCount && state->role == GetUserId() && state->model == model &&
		   strcmp(state->user, user) == 0 && strcmp(state->module, module) == 0 &&
		   state->q.registry->generation == kpx_registry_generation();
}

static ScoreState *
score_state(FunctionCallInfo fcinfo, Oid user_type, bool from_text)
{
	ScoreState *state = fcinfo->flinfo->fn_extra;
	char *module = kpx_text_argument(fcinfo, 1, "module");
	int64 model = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT64(3);
	Oid output;
	bool varlena;
	char *user;
	MemoryContext context;
	MemoryContext old;
	KpxIdKind kind;

	getTypeOutputInfo(user_type, &output, &varlena);
	user = OidOutputFunctionCall(output, PG_GETARG_DATUM(0));
	if (state && still_valid(state, user, module, model))
		return state;
	fcinfo->flinfo->fn_extra = NULL;
	if (state)
		MemoryContextDelete(state->context);
	context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "kpxrec score", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	state = palloc0(sizeof(ScoreState));
	state->context = context;
	state->user = pstrdup(user);
	state->module = pstrdup(module);
	state->model = model;
	state->role = GetUserId();
	state->transaction = GetCurrentTransactionStartTimestamp();
	state->command = GetActiveSnapshot()->curcid;
	state->commits = GetActiveSnapshot()->snapXactCompletionCount;
	kpx_request_open_for(&state->q, module, fcinfo, 3, user_type, from_text);
	kind = kpx_model_user_kind(state->q.registry, state->q.model);
	state->taste = kpx_request_user(&state->q, kpx_id_argument(PG_GETARG_DATUM(0), user_type, kind, from_text, "user_id"), kind);
	MemoryContextSwitchTo(old);
	fcinfo->flinfo->fn_extra = state;
	return state;
}

static Datum
score(FunctionCallInfo fcinfo, Oid user_type, bool from_text)
{
	ScoreState *state;
	MemoryContext old;
	int64 item;
	float result;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	state = score_state(fcinfo, user_type, from_text);
	item = item_argument(&state->q, fcinfo);
	old = MemoryContextSwitchTo(state->taste.state ? CurrentMemoryContext : state->context);
	result = score_of(&state->q, &state->taste, &state->other, item);
	MemoryContextSwitchTo(old);
	PG_RETURN_FLOAT4((float4) result);
}

PG_FUNCTION_INFO_V1(kpx_score);
Datum
kpx_score(PG_FUNCTION_ARGS)
{
	return score(fcinfo, get_fn_expr_argtype(fcinfo->flinfo, 0), false);
}

PG_FUNCTION_INFO_V1(kpx_score_text);
Datum
kpx_score_text(PG_FUNCTION_ARGS)
{
	return score(fcinfo, TEXTOID, true);
}

static Datum
explain(FunctionCallInfo fcinfo, Oid user_type, bool from_text)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	KpxRequest q = {0};
	KpxIdKind kind;
	KpxTaste taste;
	int64 item;
	double *contribution;
	int m = 0;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		return (Datum) 0;
	kpx_request_open_for(&q, kpx_text_argument(fcinfo, 1, "module"), fcinfo, 3, user_type, from_text);
	kind = kpx_model_user_kind(q.registry, q.model);
	taste = kpx_request_user(&q, kpx_id_argument(PG_GETARG_DATUM(0), user_type, kind, from_text, "user_id"), kind);
	item = item_argument(&q, fcinfo);
	if (item < 0 || taste.state == NULL)
		return (Datum) 0;
	contribution = palloc(sizeof(double) * taste.history.n);
	kpx_model_contributions(q.model, taste.state, &taste.history, q.target->base + (uint32) item, contribution);
	for (uint32 i = 0; i < taste.history.n; i++)
	{
		Datum values[4];
		bool nulls[4] = {false};
		KpxModelModule *from;

		while (taste.history.index[i] >= q.model->modules[m].base + q.model->modules[m].items)
			m++;
		from = &q.model->modules[m];
		values[0] = CStringGetTextDatum(from->name);
		values[1] = CStringGetTextDatum(kpx_id_to_cstring(from->ids.kind, kpx_ids_get(&from->ids, taste.history.index[i] - from->base)));
		values[2] = Float4GetDatum(taste.history.weight[i]);
		values[3] = Float8GetDatum(contribution[i]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(kpx_explain);
Datum
kpx_explain(PG_FUNCTION_ARGS)
{
	return explain(fcinfo, get_fn_expr_argtype(fcinfo->flinfo, 0), false);
}

PG_FUNCTION_INFO_V1(kpx_explain_text);
Datum
kpx_explain_text(PG_FUNCTION_ARGS)
{
	return explain(fcinfo, TEXTOID, true);
}
