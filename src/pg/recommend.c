/*
 * recommend.c
 *	  kpx_recommend, kpx_recommend_from, kpx_recommend_for: lists with reasons.
 *
 * Every answer is: model (cached) -> history (read now) -> fold-in -> scores of the
 * module's items -> k best of those that may be shown.
 */
#include "kpxrec.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

#include "request.h"

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

/* "module/item" of the past item that contributed most to the item, or "popular". */
static char *
reason(const KpxRequest *q, const KpxTaste *taste, uint32 item)
{
	const KpxFixed *fixed = &q->model->fixed;
	double *part;
	uint32 best = 0;
	int m = 0;

	if (taste->x == NULL)
		return "popular";
	part = palloc(sizeof(double) * taste->history.n);
	kpx_contributions(fixed, taste->history.index, taste->history.weight, taste->history.n, taste->x,
					  fixed->matrix + (size_t) (q->target->base + item) * kpx_ld(fixed->factors), part);
	for (uint32 i = 1; i < taste->history.n; i++)
		if (part[i] > part[best])
			best = i;
	pfree(part);
	while (taste->history.index[best] >= q->model->modules[m].base + q->model->modules[m].items)
		m++;
	return psprintf("%s/%s", q->model->modules[m].name,
					kpx_id_to_cstring(q->model->modules[m].ids.kind,
									  kpx_ids_get(&q->model->modules[m].ids,
												  taste->history.index[best] - q->model->modules[m].base)));
}

static const float *
score_items(const KpxRequest *q, const KpxTaste *taste, float *buffer)
{
	if (taste->x == NULL)
		return q->model->popularity + q->target->base;
	kpx_scores(q->model->fixed.matrix + (size_t) q->target->base * kpx_ld(q->model->fixed.factors),
			   kpx_ld(q->model->fixed.factors), 0, q->target->items, taste->x, buffer);
	return buffer;
}

/* Puts the rows rank, item_id, score, reason, after a user_id when by_user. */
static void
put_list(FunctionCallInfo fcinfo, KpxRequest *q, const KpxTaste *taste, const float *score, Datum user, bool by_user)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	KpxHit *hits;
	size_t n = kpx_request_best(q, score, excluded_for(q, &taste->history), &hits);

	for (size_t i = (size_t) q->skip; i < n; i++)
	{
		Datum values[5];
		bool nulls[5] = {false};

		values[0] = user;
		values[1] = Int32GetDatum((int32) i + 1);
		values[2] = kpx_id_to_datum(q->target->ids.kind, kpx_ids_get(&q->target->ids, hits[i].item), q->item_type);
		values[3] = Float4GetDatum(hits[i].score);
		values[4] = CStringGetTextDatum(reason(q, taste, hits[i].item));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values + (by_user ? 0 : 1), nulls);
	}
}

static void
answer(FunctionCallInfo fcinfo, KpxRequest *q, const KpxTaste *taste)
{
	float *buffer = kpx_alloc_aligned(CurrentMemoryContext, q->target->items, sizeof(float));

	put_list(fcinfo, q, taste, score_items(q, taste, buffer), (Datum) 0, false);
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
	kpx_request_open(&q, kpx_text_argument(fcinfo, 1, "module"), fcinfo, first + 5);
	q.k = kpx_count_argument(fcinfo, first, "k", 10, 1);
	q.keep_seen = !PG_ARGISNULL(first + 1) && PG_GETARG_BOOL(first + 1);
	q.skip = kpx_count_argument(fcinfo, first + 4, "skip", 0, 0);
	kpx_request_item_type(&q, item_type);
	kpx_request_candidates(&q, fcinfo, first + 2, first + 3, from_text);
	kind = kpx_model_user_kind(q.registry, q.model);
	taste = kpx_request_user(&q, kpx_id_argument(PG_GETARG_DATUM(0), user_type, kind, from_text, "user_id"), kind);
	answer(fcinfo, &q, &taste);
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
	return recommend(fcinfo, get_fn_expr_argtype(fcinfo->flinfo, 0), 3, get_fn_expr_argtype(fcinfo->flinfo, 2), false);
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
	KpxTaste taste;

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
	answer(fcinfo, &q, &taste);
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
	return recommend_from(fcinfo, 4, get_fn_expr_argtype(fcinfo->flinfo, 3));
}

/* ------------------------------------------------------------ kpx_recommend_for */

#define USERS_A_BATCH 64
#define USERS_A_QUERY 1024

/* Scores of a batch of users by one matrix product, then a list for each. */
static void
answer_batch(FunctionCallInfo fcinfo, KpxRequest *q, const KpxHistory *histories, const Datum *users, int n, float *x, float *scores)
{
	size_t ld = kpx_ld(q->model->fixed.factors);
	KpxTaste tastes[USERS_A_BATCH];

	memset(x, 0, sizeof(float) * ld * USERS_A_BATCH);
	for (int u = 0; u < n; u++)
	{
		tastes[u].history = histories[u];
		kpx_request_fold_in(q, &tastes[u]);
		if (tastes[u].x)
			memcpy(x + u * ld, tastes[u].x, ld * sizeof(float));
	}
	kpx_scores_batch(q->model->fixed.matrix + q->target->base * ld, ld, q->target->items, x, (size_t) n, scores);
	for (int u = 0; u < n; u++)
	{
		CHECK_FOR_INTERRUPTS();
		put_list(fcinfo, q, &tastes[u],
				 tastes[u].x ? scores + (size_t) u * q->target->items : q->model->popularity + q->target->base,
				 users[u], true);
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
	float *x;
	float *scores;
	MemoryContext batch;

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
	x = kpx_alloc_aligned(CurrentMemoryContext, kpx_ld(q.model->fixed.factors) * USERS_A_BATCH, sizeof(float));
	scores = kpx_alloc_aligned(CurrentMemoryContext, (size_t) q.target->items * USERS_A_BATCH, sizeof(float));
	batch = AllocSetContextCreate(CurrentMemoryContext, "kpxrec batch", ALLOCSET_DEFAULT_SIZES);
	for (int begin = 0; begin < n; begin += USERS_A_QUERY)
	{
		int count = Min(USERS_A_QUERY, n - begin);
		MemoryContext old = MemoryContextSwitchTo(batch);
		KpxHistory *histories = kpx_history_read(q.registry, q.model, ids + begin, count, kind);

		for (int u = 0; u < count; u += USERS_A_BATCH)
			answer_batch(fcinfo, &q, histories + u, users + begin + u, Min(USERS_A_BATCH, count - u), x, scores);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
	}
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
	return recommend_for(fcinfo, 3, get_fn_expr_argtype(fcinfo->flinfo, 2));
}
