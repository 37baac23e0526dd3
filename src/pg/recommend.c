/*
 * recommend.c
 *	  kpx_recommend, kpx_recommend_from, kpx_recommend_for: lists with reasons.
 *
 * Every answer is: model (cached) -> history (read now) -> fold-in -> scores of the
 * module's items (scorer.h) -> k best of those that may be shown.
 */
#include "recommend.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

#include "lifecycle.h"

/* Bitmap of what this user must not be shown. */
static uint8 *
excluded_for(const KpxRequest *q, const KpxHistory *history)
{
	size_t bytes = Max(((size_t) q->target->items + 7) / 8, 1);
	uint8 *excluded = palloc(bytes);

	if (q->excluded)
		memcpy(excluded, q->excluded, bytes);
	else
		memset(excluded, 0, bytes);
	if (!q->keep_seen)
		for (uint32 i = 0; i < history->n_hidden; i++)
			if (history->hidden[i] >= q->target->base && history->hidden[i] < q->target->base + q->target->items)
				kpx_bit_set(excluded, history->hidden[i] - q->target->base);
	return excluded;
}

static void
put_row(FunctionCallInfo fcinfo, const KpxRequest *q, int rank, KpxHit hit, char *reason, Datum user, bool by_user)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum values[5];
	bool nulls[5] = {false};

	values[0] = user;
	values[1] = Int32GetDatum(rank);
	values[2] = kpx_id_to_datum(q->target->ids.kind, kpx_ids_get(&q->target->ids, hit.item), q->item_type);
	values[3] = Float4GetDatum(hit.score);
	values[4] = CStringGetTextDatum(reason);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values + (by_user ? 0 : 1), nulls);
}

size_t
kpx_list(KpxRequest *q, KpxTaste *taste, uint64 wanted, KpxListed **list)
{
	uint8 *excluded = taste->excluded ? taste->excluded : excluded_for(q, &taste->history);
	size_t found = 0;
	bool fell_back = false;

	wanted = Min(wanted, q->target->items);
	*list = kpx_alloc(CurrentMemoryContext, Max(wanted, 1), sizeof(KpxListed));
	for (int s = 0; kpx_scorers[s] && found < wanted; s++)
	{
		void *note = NULL;
		bool searches = kpx_scorers[s]->searches && kpx_scorers[s]->searches(q, taste);
		const float *score = searches ? NULL : kpx_scorers[s]->score(q, taste, &note, kpx_request_scores(q));
		KpxHit *hits;
		size_t n;

		if (!searches && score == NULL)
			continue;
		n = kpx_request_best(q, wanted - found, taste, score, excluded, &hits);
		for (size_t i = 0; i < n; i++)
			(*list)[found++] = (KpxListed){hits[i], kpx_scorers[s], note};
		q->call.filled[s] += n > 0;
		fell_back = fell_back || (s > 0 && n > 0);
	}
	q->call.lists++;
	q->call.empty += found == 0;
	q->call.items += found;
	q->call.fell_back += fell_back;
	return found;
}

char *
kpx_listed_reason(KpxRequest *q, KpxTaste *taste, const KpxListed *listed)
{
	return listed->scorer->reason(q, taste, listed->note, listed->hit.item);
}

/* Puts the rows rank, item_id, score, reason, after a user_id when by_user. */
static void
put_list(FunctionCallInfo fcinfo, KpxRequest *q, KpxTaste *taste, Datum user, bool by_user)
{
	KpxListed *list;
	size_t n = kpx_list(q, taste, (uint64) q->k + q->skip, &list);

	for (size_t i = (size_t) q->skip; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		put_row(fcinfo, q, (int) i + 1, list[i].hit, kpx_listed_reason(q, taste, &list[i]), user, by_user);
	}
}

/* ------------------------------------------------------------ kpx_recommend */

/* first: number of the argument k; item_type of the answer. */
static Datum
recommend(FunctionCallInfo fcinfo, Oid user_type, int first, Oid item_type, bool from_text)
{
	KpxRequest q = {0};
	KpxIdKind kind;
	KpxTaste taste;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	kpx_request_open_for(&q, kpx_text_argument(fcinfo, 1, "module"), fcinfo, first + 5, user_type, from_text);
	q.k = kpx_count_argument(fcinfo, first, "k", 10, 1);
	q.keep_seen = !PG_ARGISNULL(first + 1) && PG_GETARG_BOOL(first + 1);
	q.skip = kpx_count_argument(fcinfo, first + 4, "skip", 0, 0);
	kpx_request_item_type(&q, item_type);
	kpx_request_candidates(&q, fcinfo, first + 2, first + 3, from_text);
	kind = kpx_model_user_kind(q.registry, q.model);
	taste = kpx_request_user(&q, kpx_id_argument(PG_GETARG_DATUM(0), user_type, kind, from_text, "user_id"), kind);
	put_list(fcinfo, &q, &taste, (Datum) 0, false);
	kpx_call_end(&q.call, KPX_CALL_RECOMMEND, q.module->id);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(kpx_recommend);
Datum
kpx_recommend(PG_FUNCTION_ARGS)
{
	Oid type = get_fn_expr_argtype(fcinfo->flinfo, 0);

	return recommend(fcinfo, type, 2, type, false);
}

PG_FUNCTION_INFO_V1(kpx_recommend_typed);
Datum
kpx_recommend_typed(PG_FUNCTION_ARGS)
{
	return recommend(fcinfo, get_fn_expr_argtype(fcinfo->flinfo, 0), 3, kpx_witness_argument(fcinfo, 2), false);
}

PG_FUNCTION_INFO_V1(kpx_recommend_text);
Datum
kpx_recommend_text(PG_FUNCTION_ARGS)
{
	return recommend(fcinfo, TEXTOID, 2, TEXTOID, true);
}

/* ------------------------------------------------------------ kpx_recommend_from */

static Datum
recommend_from(FunctionCallInfo fcinfo, int first, Oid item_type)
{
	KpxRequest q = {0};
	KpxModelModule *source;
	KpxId *items;
	int n;
	KpxTaste taste = {0};

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	kpx_request_open(&q, kpx_text_argument(fcinfo, 2, "module"), fcinfo, first + 5);
	q.k = kpx_count_argument(fcinfo, first, "k", 10, 1);
	q.keep_seen = !PG_ARGISNULL(first + 1) && PG_GETARG_BOOL(first + 1);
	q.skip = kpx_count_argument(fcinfo, first + 4, "skip", 0, 0);
	kpx_request_item_type(&q, item_type);
	kpx_request_candidates(&q, fcinfo, first + 2, first + 3, false);
	source = kpx_model_module(q.model, kpx_text_argument(fcinfo, 1, "source_module"));
	items = kpx_id_array_argument(PG_GETARG_ARRAYTYPE_P(0), source->ids.kind, true, "items", &n);
	taste.history = kpx_history_from_items(source, items, n);
	kpx_request_fold_in(&q, &taste);
	put_list(fcinfo, &q, &taste, (Datum) 0, false);
	kpx_call_end(&q.call, KPX_CALL_RECOMMEND_FROM, q.module->id);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(kpx_recommend_from);
Datum
kpx_recommend_from(PG_FUNCTION_ARGS)
{
	return recommend_from(fcinfo, 3, get_element_type(get_fn_expr_argtype(fcinfo->flinfo, 0)));
}

PG_FUNCTION_INFO_V1(kpx_recommend_from_typed);
Datum
kpx_recommend_from_typed(PG_FUNCTION_ARGS)
{
	return recommend_from(fcinfo, 4, kpx_witness_argument(fcinfo, 3));
}

/* ------------------------------------------------------------ kpx_recommend_for */

#define USERS_A_BATCH 64
#define USERS_A_QUERY 1024

/* What the model says of the users of a batch for whom it can speak, by one call. scores: NULL when it searches. */
static void
ask_model(KpxRequest *q, KpxTaste **tastes, int n, float *scores)
{
	uint32 begin = q->target->base;
	uint32 end = begin + q->target->items;
	void *states[USERS_A_BATCH];

	if (scores == NULL)
	{
		size_t ask = kpx_request_first(q, (uint64) q->k + q->skip);
		KpxWanted wanted[USERS_A_BATCH];
		const KpxHit *hits[USERS_A_BATCH];
		size_t found[USERS_A_BATCH];

		if (ask == 0 || n == 0)
			return;
		for (int u = 0; u < n; u++)
			wanted[u] = (KpxWanted){tastes[u]->state, tastes[u]->excluded, kpx_alloc(CurrentMemoryContext, ask, sizeof(KpxHit)), 0};
		kpx_model_best(q->model, begin, end, ask, wanted, n);
		for (int u = 0; u < n; u++)
		{
			hits[u] = tastes[u]->first = wanted[u].hits;
			found[u] = tastes[u]->n_first = wanted[u].found;
		}
		kpx_request_ask(q, hits, found, n);
		return;
	}
	for (int u = 0; u < n; u++)
	{
		states[u] = tastes[u]->state;
		tastes[u]->scores = scores + (size_t) u * q->target->items;
	}
	if (n > 0)
		kpx_model_score_batch(q->model, states, n, begin, end, scores);
}

/* A list for each of a batch of users. */
static void
answer_batch(FunctionCallInfo fcinfo, KpxRequest *q, const KpxHistory *histories, const KpxId *ids, KpxIdKind kind,
			 const Datum *users, int n, float *scores)
{
	KpxTaste tastes[USERS_A_BATCH];
	KpxTaste *spoken[USERS_A_BATCH];
	int n_spoken = 0;

	for (int u = 0; u < n; u++)
	{
		tastes[u] = (KpxTaste){.has_user = true, .user = ids[u], .user_kind = kind, .history = histories[u]};
		tastes[u].excluded = excluded_for(q, &histories[u]);
		kpx_request_fold_in(q, &tastes[u]);
		if (tastes[u].state)
			spoken[n_spoken++] = &tastes[u];
	}
	ask_model(q, spoken, n_spoken, scores);
	for (int u = 0; u < n; u++)
	{
		CHECK_FOR_INTERRUPTS();
		put_list(fcinfo, q, &tastes[u], users[u], true);
	}
}

/* Users whose scores of all items fit into the memory that training may use. */
static int
users_a_batch(const KpxRequest *q)
{
	size_t row = Max(q->target->items, 1) * sizeof(float);

	return (int) Max(1, Min(USERS_A_BATCH, kpx_memory_budget() / row));
}

/* Lists for n users by the model of q. */
static void
answer_users(FunctionCallInfo fcinfo, KpxRequest *q, KpxIdKind kind, const KpxId *ids, const Datum *users, int n)
{
	bool searches = kpx_model_searches(q->model);
	int step = searches ? USERS_A_BATCH : users_a_batch(q);
	float *scores = searches ? NULL : kpx_alloc_aligned(CurrentMemoryContext, (size_t) q->target->items * step, sizeof(float));
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "kpxrec batch", ALLOCSET_DEFAULT_SIZES);

	kpx_request_remember(q);
	for (int begin = 0; begin < n; begin += USERS_A_QUERY)
	{
		int count = Min(USERS_A_QUERY, n - begin);
		MemoryContext old = MemoryContextSwitchTo(batch);
		KpxHistory *histories = kpx_history_read(q->registry, q->model, q->module, ids + begin, count, kind, KPX_FOR_ANSWERS);

		for (int u = 0; u < count; u += step)
			answer_batch(fcinfo, q, histories + u, ids + begin + u, kind, users + begin + u, Min(step, count - u), scores);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
	}
}

/* Each model answers its users: the active one and its challengers, one after the other. */
static void
answer_by_model(FunctionCallInfo fcinfo, KpxRequest *q, KpxIdKind kind, const KpxId *ids, const Datum *users, int n)
{
	int64 *model = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(int64));
	KpxId *own_ids = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(KpxId));
	Datum *own_users = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(Datum));

	for (int u = 0; u < n; u++)
	{
		CHECK_FOR_INTERRUPTS();
		model[u] = kpx_model_for_user(q->module, kind, ids[u]);
	}
	for (int t = -1; t < q->module->n_traffic; t++)
	{
		int64 id = t < 0 ? q->module->active_model : q->module->traffic[t].model;
		int own = 0;

		for (int u = 0; u < n; u++)
			if (model[u] == id)
			{
				own_ids[own] = ids[u];
				own_users[own++] = users[u];
			}
		if (own == 0)
			continue;
		kpx_request_use_model(q, id);
		kpx_request_item_type(q, q->item_type);
		answer_users(fcinfo, q, kind, own_ids, own_users, own);
	}
}

static Datum
recommend_for(FunctionCallInfo fcinfo, int first, Oid item_type)
{
	KpxRequest q = {0};
	ArrayType *array;
	Oid type;
	int16 length;
	bool by_value;
	char align;
	KpxIdKind kind;
	KpxId *ids;
	Datum *users;
	bool *nulls;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	array = PG_GETARG_ARRAYTYPE_P(0);
	type = ARR_ELEMTYPE(array);
	kpx_request_open(&q, kpx_text_argument(fcinfo, 1, "module"), fcinfo, first + 2);
	q.k = kpx_count_argument(fcinfo, first, "k", 10, 1);
	q.keep_seen = !PG_ARGISNULL(first + 1) && PG_GETARG_BOOL(first + 1);
	kpx_request_item_type(&q, item_type);
	kind = kpx_model_user_kind(q.registry, q.model);
	ids = kpx_id_array_argument(array, kind, false, "user_ids", &n);
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(array, type, length, by_value, align, &users, &nulls, &n);
	if (PG_ARGISNULL(first + 2) && q.module->n_traffic > 0)
		answer_by_model(fcinfo, &q, kind, ids, users, n);
	else
		answer_users(fcinfo, &q, kind, ids, users, n);
	kpx_call_end(&q.call, KPX_CALL_RECOMMEND_FOR, q.module->id);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(kpx_recommend_for);
Datum
kpx_recommend_for(PG_FUNCTION_ARGS)
{
	return recommend_for(fcinfo, 2, get_element_type(get_fn_expr_argtype(fcinfo->flinfo, 0)));
}

PG_FUNCTION_INFO_V1(kpx_recommend_for_typed);
Datum
kpx_recommend_for_typed(PG_FUNCTION_ARGS)
{
	return recommend_for(fcinfo, 3, kpx_witness_argument(fcinfo, 2));
}
