/*
 * request.c
 *	  What one call asks for: its arguments, model, user and candidates.
 */
#include "request.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "lifecycle.h"
#include "scorer.h"

char *
kpx_text_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"%s\" must not be NULL", name)));
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

int
kpx_count_argument(FunctionCallInfo fcinfo, int n, const char *name, int otherwise, int low)
{
	int value = PG_ARGISNULL(n) ? otherwise : PG_GETARG_INT32(n);

	if (value < low)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be at least %d, found %d", name, low, value)));
	return value;
}

/* A model that is nothing but ids, from the first scorer that has one. */
static KpxModel *
stand_in(KpxRequest *q)
{
	for (int s = 0; kpx_scorers[s]; s++)
		if (kpx_scorers[s]->stand_in)
		{
			KpxModel *model = kpx_scorers[s]->stand_in(q->registry, q->module);

			if (model)
				return model;
		}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("module \"%s\" has no active model", q->module->name),
			 errhint("Train one: SELECT * FROM kpx_train(%s);", quote_literal_cstr(q->module->name))));
}

void
kpx_request_use_model(KpxRequest *q, int64 id)
{
	q->model = id ? kpx_model(q->registry, id) : stand_in(q);
	q->target = kpx_model_module(q->model, q->module->name);
	q->scratch = (KpxScratch){CurrentMemoryContext};
	q->score = NULL; /* see kpx_request_scores */
	q->asked = NULL; /* see kpx_request_remember */
}

void
kpx_request_begin(KpxRequest *q, KpxRegistry *registry, KpxModule *module, int64 model)
{
	kpx_require_blas();
	q->registry = registry;
	q->module = module;
	kpx_request_use_model(q, model ? model : module->active_model);
}

void
kpx_request_open(KpxRequest *q, const char *module, FunctionCallInfo fcinfo, int model_argument)
{
	KpxRegistry *registry;

	kpx_call_begin(&q->call);
	registry = kpx_registry();
	kpx_request_begin(q, registry, kpx_find_module(registry, module), PG_ARGISNULL(model_argument) ? 0 : PG_GETARG_INT64(model_argument));
}

void
kpx_request_open_for(KpxRequest *q, const char *module, FunctionCallInfo fcinfo, int model_argument, Oid user_type, bool from_text)
{
	KpxIdKind kind;
	int64 id;

	kpx_request_open(q, module, fcinfo, model_argument);
	if (!PG_ARGISNULL(model_argument) || q->module->n_traffic == 0)
		return;
	kind = kpx_model_user_kind(q->registry, q->model);
	id = kpx_model_for_user(q->module, kind, kpx_id_argument(PG_GETARG_DATUM(0), user_type, kind, from_text, "user_id"));
	if (id != q->model->id)
		kpx_request_use_model(q, id);
}

Oid
kpx_witness_argument(FunctionCallInfo fcinfo, int n)
{
	Oid type = get_fn_expr_argtype(fcinfo->flinfo, n);

	if (!PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"item_type\" must be a NULL of the wanted type, found a value of type %s",
						format_type_be(type)),
				 errhint("If it was meant as the number of answers, that is an integer: k => 10.")));
	return type;
}

/* The answer's item type must be able to hold the module's ids. */
void
kpx_request_item_type(KpxRequest *q, Oid type)
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
KpxId
kpx_id_argument(Datum value, Oid type, KpxIdKind expected, bool from_text, const char *what)
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
	if (!OidIsValid(get_base_element_type(type)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("argument \"%s\" must be an array of item ids, found type %s", name, format_type_be(type)),
				 errhint("Write ARRAY[...] or '{...}'.")));
	return PG_GETARG_ARRAYTYPE_P(n);
}

#define MAX_ARRAY_IDS 10000000

/* Elements of an array argument as ids. */
KpxId *
kpx_id_array_argument(ArrayType *array, KpxIdKind expected, bool from_text, const char *what, int *n)
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
	if (ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) > MAX_ARRAY_IDS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("argument \"%s\" has %d elements, at most %d are allowed", what,
						ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)), MAX_ARRAY_IDS)));
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(array, type, length, by_value, align, &elements, &nulls, n);
	ids = kpx_alloc(CurrentMemoryContext, Max(*n, 1), sizeof(KpxId));
	for (int i = 0; i < *n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"%s\" must not contain NULL", what)));
		ids[i] = kpx_id_argument(elements[i], type, expected, from_text, what);
	}
	return ids;
}

/* Sets or clears the bits of the items that array argument n names; unknown items are passed over. */
static void
mark_items(KpxRequest *q, FunctionCallInfo fcinfo, int n, const char *name, bool from_text, bool excluded)
{
	KpxIdKind kind = q->target->ids.kind;
	int n_ids;
	KpxId *ids = kpx_id_array_argument(array_argument(fcinfo, n, name, kind), kind, from_text, name, &n_ids);

	for (int i = 0; i < n_ids; i++)
	{
		int64 index = kpx_ids_find(&q->target->ids, ids[i]);

		if (index >= 0 && excluded)
			kpx_bit_set(q->excluded, (size_t) index);
		else if (index >= 0)
			kpx_bit_clear(q->excluded, (size_t) index);
	}
}

/* KpxRequest-level choice: q->excluded from candidates and exclude. */
void
kpx_request_candidates(KpxRequest *q, FunctionCallInfo fcinfo, int candidates, int exclude, bool from_text)
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

void
kpx_request_fold_in(KpxRequest *q, KpxTaste *taste)
{
	taste->state = kpx_model_fold_in(q->model, &taste->history, &q->scratch);
}

KpxTaste
kpx_request_user(KpxRequest *q, KpxId user, KpxIdKind kind)
{
	KpxTaste taste = {.has_user = true, .user = user, .user_kind = kind};

	taste.history = *kpx_history_read(q->registry, q->model, q->module, &user, 1, kind, KPX_FOR_ANSWERS);
	kpx_request_fold_in(q, &taste);
	return taste;
}

float *
kpx_request_scores(KpxRequest *q)
{
	if (q->score == NULL)
		q->score = kpx_alloc_aligned(q->scratch.context, q->target->items, sizeof(float));
	return q->score;
}

size_t
kpx_request_first(const KpxRequest *q, uint64 wanted)
{
	return (size_t) Min(Min(wanted, q->target->items) + 8, q->target->items);
}

/* The ask best of those that may still be shown, in memory of the current context. */
static size_t
next_best(KpxRequest *q, const KpxTaste *taste, const float *score, const uint8 *excluded, size_t ask, KpxHit **hits)
{
	KpxWanted user;

	*hits = kpx_alloc(CurrentMemoryContext, Max(ask, 1), sizeof(KpxHit));
	if (score)
		return kpx_topk(score, q->target->items, excluded, ask, *hits);
	user = (KpxWanted){taste->state, excluded, *hits, 0};
	kpx_model_best(q->model, q->target->base, q->target->base + q->target->items, ask, &user, 1);
	return user.found;
}

/* Which of these items of target are there and available now. */
static bool *
ask_available(KpxRequest *q, const uint32 *item, size_t n)
{
	KpxId *ids = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(KpxId));
	bool *keep = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(bool));

	for (size_t i = 0; i < n; i++)
		ids[i] = kpx_ids_get(&q->target->ids, item[i]);
	kpx_items_available(q->module, q->target->ids.kind, ids, (int) n, keep);
	pfree(ids);
	return keep;
}

void
kpx_request_remember(KpxRequest *q)
{
	size_t bytes = ((size_t) q->target->items + 7) / 8;

	q->asked = palloc0(Max(bytes, 1));
	q->available = palloc0(Max(bytes, 1));
}

void
kpx_request_ask(KpxRequest *q, const KpxHit *const *hits, const size_t *n, int lists)
{
	size_t room = 0;
	size_t found = 0;
	uint32 *item;
	bool *keep;

	for (int l = 0; l < lists; l++)
		room += n[l];
	item = kpx_alloc(CurrentMemoryContext, Max(room, 1), sizeof(uint32));
	for (int l = 0; l < lists; l++)
		for (size_t i = 0; i < n[l]; i++)
			if (!kpx_bit_get(q->asked, hits[l][i].item))
			{
				kpx_bit_set(q->asked, hits[l][i].item);
				item[found++] = hits[l][i].item;
			}
	if (found > 0)
	{
		keep = ask_available(q, item, found);
		for (size_t i = 0; i < found; i++)
			if (keep[i])
				kpx_bit_set(q->available, item[i]);
		pfree(keep);
	}
	pfree(item);
}

/* Which of n candidates are available now; all of them become excluded. */
static bool *
available(KpxRequest *q, const KpxHit *candidate, size_t n, uint8 *excluded)
{
	bool *keep;

	for (size_t i = 0; i < n; i++)
		kpx_bit_set(excluded, candidate[i].item);
	if (q->asked)
	{
		kpx_request_ask(q, &candidate, &n, 1);
		keep = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(bool));
		for (size_t i = 0; i < n; i++)
			keep[i] = kpx_bit_get(q->available, candidate[i].item);
	}
	else
	{
		uint32 *item = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(uint32));

		for (size_t i = 0; i < n; i++)
			item[i] = candidate[i].item;
		keep = ask_available(q, item, n);
		pfree(item);
	}
	return keep;
}

size_t
kpx_request_best(KpxRequest *q, uint64 wanted, const KpxTaste *taste, const float *score, uint8 *excluded, KpxHit **hits)
{
	size_t ask = kpx_request_first(q, wanted);
	size_t found = 0;
	KpxHit *first = score ? NULL : taste->first;
	KpxHit *candidate = first;
	size_t n = first ? taste->n_first : 0;

	wanted = Min(wanted, q->target->items);
	*hits = kpx_alloc(CurrentMemoryContext, Max(wanted, 1), sizeof(KpxHit));
	if (wanted == 0)
		return 0;
	for (;;)
	{
		bool *keep;

		CHECK_FOR_INTERRUPTS();
		if (candidate == NULL)
			n = next_best(q, taste, score, excluded, ask, &candidate);
		keep = available(q, candidate, n, excluded);
		for (size_t i = 0; i < n && found < wanted; i++)
			if (keep[i])
				(*hits)[found++] = candidate[i];
		pfree(keep);
		if (candidate != first)
			pfree(candidate);
		if (found == wanted || n < ask)
			return found;
		candidate = NULL;
		ask = Min(Min(ask * 4, 100000), q->target->items);
	}
}
