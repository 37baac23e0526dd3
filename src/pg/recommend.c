/*
 * recommend.c
 *	  The answers: kpx_recommend and its relatives.
 *
 * Every answer is: model (cached) -> history (read now) -> fold-in -> scores of the
 * module's items -> k best of those that may be shown. Whether an item may be shown is
 * asked of the item table for the best candidates only, more of them when some may not.
 */
#include "kpxrec.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "core/topk.h"
#include "history.h"
#include "model.h"
#include "registry.h"

/* What one call works on. */
typedef struct Request
{
	KpxRegistry *registry;
	KpxModule *module;
	KpxModel *model;
	KpxModelModule *target;
	int k;
	int skip;
	bool keep_seen;
	Oid item_type; /* of the answer */
	uint8 *excluded; /* bitmap over target's items: not among candidates, or in exclude */
	void *workspace;
} Request;

/* A user's vector, or popularity when there is nothing to fold in. */
typedef struct Taste
{
	KpxHistory history;
	float *x; /* NULL: popularity */
} Taste;

/* ------------------------------------------------------------ arguments */

static char *
required_text(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"%s\" must not be NULL", name)));
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

static int
count_argument(FunctionCallInfo fcinfo, int n, const char *name, int otherwise, int low)
{
	int value = PG_ARGISNULL(n) ? otherwise : PG_GETARG_INT32(n);

	if (value < low)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be at least %d, found %d", name, low, value)));
	return value;
}

/* The module's active model, or the one asked for. */
static void
open_model(Request *q, const char *module, FunctionCallInfo fcinfo, int model_argument)
{
	int64 id;

	kpx_require_blas();
	q->registry = kpx_registry();
	q->module = kpx_find_module(q->registry, module);
	id = PG_ARGISNULL(model_argument) ? q->module->active_model : PG_GETARG_INT64(model_argument);
	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("module \"%s\" has no active model", module),
				 errhint("Train one: SELECT * FROM kpx_train(%s);", quote_literal_cstr(module))));
	q->model = kpx_model(q->registry, id);
	q->target = kpx_model_module(q->model, module);
	q->workspace = kpx_alloc_aligned(CurrentMemoryContext, kpx_solve_workspace_size(q->model->fixed.factors), 1);
}

/* The answer's item type must be able to hold the module's ids. */
static void
set_item_type(Request *q, Oid type, bool by_witness)
{
	KpxIdKind kind = q->target->ids.kind;
	KpxIdKind wanted;

	if (q->target->items > 0 && (!kpx_id_kind(type, &wanted) || (wanted != kind && wanted != KPX_ID_TEXT)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("items of module \"%s\" have %s ids, the answer would have type %s",
						q->target->name, kpx_id_kind_name(kind), format_type_be(type)),
				 errhint("Pass a witness of the right type: item_type => NULL::%s.",
						 format_type_be(kpx_id_kind_type(kind)))));
	q->item_type = type;
}

/* A value the caller gave as an id of the expected kind; text stands for any kind when from_text. */
static KpxId
id_argument(Datum value, Oid type, KpxIdKind expected, bool from_text, const char *what)
{
	KpxIdKind kind;

	if (from_text && expected != KPX_ID_TEXT && type == TEXTOID)
		return kpx_id_from_text(expected, TextDatumGetCString(value));
	if (!kpx_id_kind(type, &kind) || kind != expected)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("%s has type %s, expected %s ids", what, format_type_be(type), kpx_id_kind_name(expected)),
				 errhint("Cast it, for instance: %s::%s.", what, format_type_be(kpx_id_kind_type(expected)))));
	if (kind == KPX_ID_TEXT)
		value = PointerGetDatum(PG_DETOAST_DATUM_PACKED(value));
	return kpx_id_from_datum(kind, type, value);
}

/* An argument declared "any" that must be an array of ids; an untyped literal is read as one. */
static ArrayType *
array_argument(FunctionCallInfo fcinfo, int n, const char *name, KpxIdKind expected)
{
	Oid type = get_fn_expr_argtype(fcinfo->flinfo, n);

	if (type == UNKNOWNOID)
		return DatumGetArrayTypeP(OidInputFunctionCall(F_ARRAY_IN, PG_GETARG_CSTRING(n), kpx_id_kind_type(expected), -1));
	if (!OidIsValid(get_element_type(type)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("argument \"%s\" must be an array of item ids, found type %s", name, format_type_be(type)),
				 errhint("Write ARRAY[...] or '{...}'.")));
	return PG_GETARG_ARRAYTYPE_P(n);
}

/* Elements of an array argument as ids. */
static KpxId *
id_array_argument(ArrayType *array, KpxIdKind expected, bool from_text, const char *what, int *n)
{
	Oid type = ARR_ELEMTYPE(array);
	int16 length;
	bool by_value;
	char align;
	Datum *elements;
	bool *nulls;
	KpxId *ids;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("argument \"%s\" must be a one-dimensional array", what)));
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(array, type, length, by_value, align, &elements, &nulls, n);
	ids = kpx_alloc(CurrentMemoryContext, Max(*n, 1), sizeof(KpxId));
	for (int i = 0; i < *n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"%s\" must not contain NULL", what)));
		ids[i] = id_argument(elements[i], type, expected, from_text, what);
	}
	return ids;
}

/* Sets or clears the bits of the items that array argument n names; unknown items are passed over. */
static void
mark_items(Request *q, FunctionCallInfo fcinfo, int n, const char *name, bool from_text, bool excluded)
{
	KpxIdKind kind = q->target->ids.kind;
	int n_ids;
	KpxId *ids = id_array_argument(array_argument(fcinfo, n, name, kind), kind, from_text, name, &n_ids);

	for (int i = 0; i < n_ids; i++)
	{
		int64 index = kpx_ids_find(&q->target->ids, ids[i]);

		if (index >= 0 && excluded)
			kpx_bit_set(q->excluded, (size_t) index);
		else if (index >= 0)
			kpx_bit_clear(q->excluded, (size_t) index);
	}
}

/* Request-level choice: q->excluded from candidates and exclude. */
static void
read_candidates(Request *q, FunctionCallInfo fcinfo, int candidates, int exclude, bool from_text)
{
	size_t bytes = ((size_t) q->target->items + 7) / 8;

	q->excluded = palloc0(Max(bytes, 1));
	if (!PG_ARGISNULL(candidates))
	{
		memset(q->excluded, 0xFF, bytes);
		mark_items(q, fcinfo, candidates, "candidates", from_text, false);
	}
	if (!PG_ARGISNULL(exclude))
		mark_items(q, fcinfo, exclude, "exclude", from_text, true);
}

/* ------------------------------------------------------------ from history to list */

static void
fold_in(Request *q, Taste *taste)
{
	taste->x = NULL;
	if (taste->history.n == 0)
		return;
	taste->x = kpx_alloc_aligned(CurrentMemoryContext, kpx_ld(q->model->fixed.factors), sizeof(float));
	if (kpx_fold_in(&q->model->fixed, taste->history.index, taste->history.weight, taste->history.n, q->workspace, taste->x) != KPX_OK)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("the user's events have weights that are too extreme")));
}

static Taste
taste_of_user(Request *q, KpxId user, KpxIdKind kind)
{
	Taste taste;

	taste.history = *kpx_history_read(q->registry, q->model, &user, 1, kind);
	fold_in(q, &taste);
	return taste;
}

/* Bitmap of what this user must not be shown. */
static uint8 *
excluded_for(const Request *q, const KpxHistory *history)
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

/*
 * The k + skip best that are not excluded and are available now, best first: asks the
 * item table about the best candidates, and about more when some are not.
 */
static size_t
best_available(Request *q, const float *score, uint8 *excluded, KpxHit **hits)
{
	size_t wanted = (size_t) Min((uint64) q->k + q->skip, q->target->items);
	size_t ask = wanted + 8;
	size_t found = 0;
	KpxHit *good = kpx_alloc(CurrentMemoryContext, Max(wanted, 1), sizeof(KpxHit));

	*hits = good;
	while (found < wanted)
	{
		KpxHit *candidate = kpx_alloc(CurrentMemoryContext, Min(ask, q->target->items), sizeof(KpxHit));
		size_t n = kpx_topk(score, q->target->items, excluded, Min(ask, q->target->items), candidate);
		KpxId *ids = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(KpxId));
		bool *keep = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(bool));

		CHECK_FOR_INTERRUPTS();
		if (n == 0)
			break;
		for (size_t i = 0; i < n; i++)
			ids[i] = kpx_ids_get(&q->target->ids, candidate[i].item);
		kpx_items_available(q->module, q->target->ids.kind, ids, (int) n, keep);
		for (size_t i = 0; i < n; i++)
		{
			kpx_bit_set(excluded, candidate[i].item);
			if (keep[i] && found < wanted)
				good[found++] = candidate[i];
		}
		if (n < Min(ask, q->target->items))
			break;
		ask = Min(ask * 4, 100000);
		pfree(candidate);
		pfree(ids);
		pfree(keep);
	}
	return found;
}

/* "module/item" of the past item that contributed most to the item, or "popular". */
static char *
reason(const Request *q, const Taste *taste, uint32 item)
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
score_items(const Request *q, const Taste *taste, float *buffer)
{
	if (taste->x == NULL)
		return q->model->popularity + q->target->base;
	kpx_scores(q->model->fixed.matrix + (size_t) q->target->base * kpx_ld(q->model->fixed.factors),
			   kpx_ld(q->model->fixed.factors), 0, q->target->items, taste->x, buffer);
	return buffer;
}

/* Puts the rows rank, item_id, score, reason, after a user_id when by_user. */
static void
put_list(FunctionCallInfo fcinfo, Request *q, const Taste *taste, const float *score, Datum user, bool by_user)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	KpxHit *hits;
	size_t n = best_available(q, score, excluded_for(q, &taste->history), &hits);

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
answer(FunctionCallInfo fcinfo, Request *q, const Taste *taste)
{
	float *buffer = kpx_alloc_aligned(CurrentMemoryContext, q->target->items, sizeof(float));

	put_list(fcinfo, q, taste, score_items(q, taste, buffer), (Datum) 0, false);
}

/* ------------------------------------------------------------ kpx_recommend */

/* first: number of the argument k; item_type of the answer. */
static Datum
recommend(FunctionCallInfo fcinfo, Oid user_type, int first, Oid item_type, bool from_text)
{
	Request q = {0};
	KpxIdKind kind;
	Taste taste;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	open_model(&q, required_text(fcinfo, 1, "module"), fcinfo, first + 5);
	q.k = count_argument(fcinfo, first, "k", 10, 1);
	q.keep_seen = !PG_ARGISNULL(first + 1) && PG_GETARG_BOOL(first + 1);
	q.skip = count_argument(fcinfo, first + 4, "skip", 0, 0);
	set_item_type(&q, item_type, first > 2);
	read_candidates(&q, fcinfo, first + 2, first + 3, from_text);
	kind = kpx_model_user_kind(q.registry, q.model);
	taste = taste_of_user(&q, id_argument(PG_GETARG_DATUM(0), user_type, kind, from_text, "user_id"), kind);
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
	Request q = {0};
	KpxModelModule *source;
	KpxId *items;
	int n;
	Taste taste;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	open_model(&q, required_text(fcinfo, 2, "module"), fcinfo, first + 5);
	q.k = count_argument(fcinfo, first, "k", 10, 1);
	q.keep_seen = !PG_ARGISNULL(first + 1) && PG_GETARG_BOOL(first + 1);
	q.skip = count_argument(fcinfo, first + 4, "skip", 0, 0);
	set_item_type(&q, item_type, first > 3);
	read_candidates(&q, fcinfo, first + 2, first + 3, false);
	source = kpx_model_module(q.model, required_text(fcinfo, 1, "source_module"));
	items = id_array_argument(PG_GETARG_ARRAYTYPE_P(0), source->ids.kind, true, "items", &n);
	taste.history = kpx_history_from_items(source, items, n);
	fold_in(&q, &taste);
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
answer_batch(FunctionCallInfo fcinfo, Request *q, const KpxHistory *histories, const Datum *users, int n, float *x, float *scores)
{
	size_t ld = kpx_ld(q->model->fixed.factors);
	Taste tastes[USERS_A_BATCH];

	memset(x, 0, sizeof(float) * ld * USERS_A_BATCH);
	for (int u = 0; u < n; u++)
	{
		tastes[u].history = histories[u];
		fold_in(q, &tastes[u]);
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
	Request q = {0};
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
	open_model(&q, required_text(fcinfo, 1, "module"), fcinfo, first + 2);
	q.k = count_argument(fcinfo, first, "k", 10, 1);
	q.keep_seen = !PG_ARGISNULL(first + 1) && PG_GETARG_BOOL(first + 1);
	set_item_type(&q, item_type, first > 2);
	kind = kpx_model_user_kind(q.registry, q.model);
	ids = id_array_argument(array, kind, false, "user_ids", &n);
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

/* ------------------------------------------------------------ kpx_similar */

/* Cosine of each target item with item (an index of the model). */
static float *
cosines(const Request *q, uint32 item)
{
	size_t ld = kpx_ld(q->model->fixed.factors);
	const float *matrix = q->model->fixed.matrix;
	float *score = kpx_alloc_aligned(CurrentMemoryContext, q->target->items, sizeof(float));
	float own;

	kpx_scores(matrix, ld, item, item + 1, matrix + item * ld, &own);
	kpx_scores(matrix + q->target->base * ld, ld, 0, q->target->items, matrix + item * ld, score);
	for (uint32 i = 0; i < q->target->items; i++)
	{
		float norm;

		kpx_scores(matrix + (q->target->base + i) * ld, ld, 0, 1, matrix + (q->target->base + i) * ld, &norm);
		score[i] = norm > 0 && own > 0 ? score[i] / sqrtf(norm * own) : 0;
	}
	return score;
}

static Datum
similar(FunctionCallInfo fcinfo, int first, Oid item_type, bool from_text)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Request q = {0};
	KpxModelModule *source;
	char *module;
	int64 item;
	uint8 *excluded;
	KpxHit *hits;
	size_t n;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	module = required_text(fcinfo, 1, "module");
	open_model(&q, PG_ARGISNULL(first + 1) ? module : text_to_cstring(PG_GETARG_TEXT_PP(first + 1)), fcinfo, first + 2);
	q.k = count_argument(fcinfo, first, "k", 10, 1);
	set_item_type(&q, item_type, first > 2);
	source = kpx_model_module(q.model, module);
	item = kpx_ids_find(&source->ids, id_argument(PG_GETARG_DATUM(0), from_text ? TEXTOID : get_fn_expr_argtype(fcinfo->flinfo, 0),
												  source->ids.kind, from_text, "item_id"));
	if (item < 0)
		return (Datum) 0;
	excluded = palloc0(Max(((size_t) q.target->items + 7) / 8, 1));
	if (source == q.target)
		kpx_bit_set(excluded, (size_t) item);
	n = best_available(&q, cosines(&q, source->base + (uint32) item), excluded, &hits);
	for (size_t i = 0; i < n; i++)
	{
		Datum values[3];
		bool nulls[3] = {false};

		values[0] = Int32GetDatum((int32) i + 1);
		values[1] = kpx_id_to_datum(q.target->ids.kind, kpx_ids_get(&q.target->ids, hits[i].item), q.item_type);
		values[2] = Float4GetDatum(hits[i].score);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(kpx_similar);
Datum
kpx_similar(PG_FUNCTION_ARGS)
{
	return similar(fcinfo, 2, get_fn_expr_argtype(fcinfo->flinfo, 0), false);
}

PG_FUNCTION_INFO_V1(kpx_similar_typed);
Datum
kpx_similar_typed(PG_FUNCTION_ARGS)
{
	return similar(fcinfo, 3, get_fn_expr_argtype(fcinfo->flinfo, 2), false);
}

PG_FUNCTION_INFO_V1(kpx_similar_text);
Datum
kpx_similar_text(PG_FUNCTION_ARGS)
{
	return similar(fcinfo, 2, TEXTOID, true);
}

/* ------------------------------------------------------------ kpx_score, kpx_explain */

/* An item argument: its index within the target module, or -1. */
static int64
item_argument(const Request *q, FunctionCallInfo fcinfo)
{
	Oid type = get_fn_expr_argtype(fcinfo->flinfo, 2);

	return kpx_ids_find(&q->target->ids, id_argument(PG_GETARG_DATUM(2), type, q->target->ids.kind,
													 getBaseType(type) == TEXTOID, "item_id"));
}

static double
score_of(const Request *q, const Taste *taste, int64 item)
{
	size_t ld = kpx_ld(q->model->fixed.factors);
	float score = 0;

	if (item < 0)
		return 0;
	if (taste->x == NULL)
		return q->model->popularity[q->target->base + item];
	kpx_scores(q->model->fixed.matrix + (size_t) (q->target->base + item) * ld, ld, 0, 1, taste->x, &score);
	return score;
}

/*
 * A statement often scores many items for one user: the folded-in vector is kept for
 * as long as the statement's function call node, with the arguments it belongs to.
 */
typedef struct ScoreState
{
	char *user;
	char *module;
	int64 model;
	CommandId command;
	Request q;
	Taste taste;
	MemoryContext context;
} ScoreState;

static ScoreState *
score_state(FunctionCallInfo fcinfo, Oid user_type, bool from_text)
{
	ScoreState *state = fcinfo->flinfo->fn_extra;
	char *module = required_text(fcinfo, 1, "module");
	int64 model = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT64(3);
	Oid output;
	bool varlena;
	char *user;
	MemoryContext old;

	getTypeOutputInfo(user_type, &output, &varlena);
	user = OidOutputFunctionCall(output, PG_GETARG_DATUM(0));
	if (state && strcmp(state->user, user) == 0 && strcmp(state->module, module) == 0 && state->model == model &&
		state->q.registry->generation == kpx_registry_generation())
		return state;
	if (state)
		MemoryContextDelete(state->context);
	fcinfo->flinfo->fn_extra = NULL;
	{
		MemoryContext context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "kpxrec score", ALLOCSET_SMALL_SIZES);
		KpxIdKind kind;

		old = MemoryContextSwitchTo(context);
		state = palloc0(sizeof(ScoreState));
		state->context = context;
		state->user = pstrdup(user);
		state->module = pstrdup(module);
		state->model = model;
		open_model(&state->q, module, fcinfo, 3);
		kind = kpx_model_user_kind(state->q.registry, state->q.model);
		state->taste = taste_of_user(&state->q, id_argument(PG_GETARG_DATUM(0), user_type, kind, from_text, "user_id"), kind);
		MemoryContextSwitchTo(old);
	}
	fcinfo->flinfo->fn_extra = state;
	return state;
}

static Datum
score(FunctionCallInfo fcinfo, Oid user_type, bool from_text)
{
	ScoreState *state;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	state = score_state(fcinfo, user_type, from_text);
	PG_RETURN_FLOAT4((float4) score_of(&state->q, &state->taste, item_argument(&state->q, fcinfo)));
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
	Request q = {0};
	KpxIdKind kind;
	Taste taste;
	int64 item;
	double *contribution;
	int m = 0;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		return (Datum) 0;
	open_model(&q, required_text(fcinfo, 1, "module"), fcinfo, 3);
	kind = kpx_model_user_kind(q.registry, q.model);
	taste = taste_of_user(&q, id_argument(PG_GETARG_DATUM(0), user_type, kind, from_text, "user_id"), kind);
	item = item_argument(&q, fcinfo);
	if (item < 0 || taste.x == NULL)
		return (Datum) 0;
	contribution = palloc(sizeof(double) * taste.history.n);
	kpx_contributions(&q.model->fixed, taste.history.index, taste.history.weight, taste.history.n, taste.x,
					  q.model->fixed.matrix + (size_t) (q.target->base + item) * kpx_ld(q.model->fixed.factors), contribution);
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
