/*
 * similar.c
 *	  kpx_similar: items that the model finds alike; for factors, those that point the same way.
 */
#include "kpxrec.h"

#include "catalog/pg_type.h"

#include "content.h"
#include "request.h"

typedef enum By
{
	BY_MODEL, /* as the model's algorithm does */
	BY_CONTENT,
	BY_BEHAVIOUR,
	BY_BOTH
} By;

static By
by_argument(FunctionCallInfo fcinfo, int n)
{
	char *by = PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));

	if (by == NULL)
		return BY_MODEL;
	if (strcmp(by, "content") == 0)
		return BY_CONTENT;
	if (strcmp(by, "behaviour") == 0)
		return BY_BEHAVIOUR;
	if (strcmp(by, "both") == 0)
		return BY_BOTH;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"by\" cannot be \"%s\"", by), errhint("Write content, behaviour or both.")));
}

/* The part of the model that knows items by what users did, or by what they are; 55000 when it has none. */
static int
part_for(const KpxModel *model, By by)
{
	int part = by == BY_CONTENT ? kpx_content_part(model) : kpx_behaviour_part(model);

	if (part < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model " INT64_FORMAT " does not know its items by %s", model->id,
						by == BY_CONTENT ? "content" : "behaviour"),
				 by == BY_CONTENT ? errhint("Train with algorithm => 'content' or 'hybrid'.")
								  : errhint("Train with algorithm => 'ials' or 'hybrid'.")));
	return part;
}

/* How alike each target item and item (an index of the model) are. */
static const float *
likeness(KpxRequest *q, uint32 item, By by)
{
	const KpxModel *model = q->model;
	uint32 begin = q->target->base;
	uint32 end = begin + q->target->items;
	float *score = kpx_request_scores(q);
	int part = 0;

	if (model->n_parts == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("module \"%s\" has no active model", q->module->name),
				 errhint("Train one: SELECT * FROM kpx_train(%s);", quote_literal_cstr(q->module->name))));
	if (by == BY_BOTH)
	{
		int content = part_for(model, BY_CONTENT);
		float *other = kpx_alloc_aligned(CurrentMemoryContext, q->target->items, sizeof(float));

		part = part_for(model, BY_BEHAVIOUR);
		model->part[content].algorithm->similar(model, content, item, begin, end, score);
		model->part[part].algorithm->similar(model, part, item, begin, end, other);
		kpx_mean_score(score, other, end - begin);
		return score;
	}
	if (by != BY_MODEL)
		part = part_for(model, by);
	model->part[part].algorithm->similar(model, part, item, begin, end, score);
	return score;
}

static Datum
similar(FunctionCallInfo fcinfo, int first, Oid item_type, bool from_text)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	KpxRequest q = {0};
	KpxModelModule *source;
	By by;
	char *module;
	int64 item;
	uint8 *excluded;
	KpxHit *hits;
	size_t n;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	module = kpx_text_argument(fcinfo, 1, "module");
	by = by_argument(fcinfo, first + 3);
	kpx_request_open(&q, PG_ARGISNULL(first + 1) ? module : text_to_cstring(PG_GETARG_TEXT_PP(first + 1)), fcinfo, first + 2);
	q.k = kpx_count_argument(fcinfo, first, "k", 10, 1);
	kpx_request_item_type(&q, item_type);
	source = kpx_model_module(q.model, module);
	item = kpx_ids_find(&source->ids, kpx_id_argument(PG_GETARG_DATUM(0), from_text ? TEXTOID : get_fn_expr_argtype(fcinfo->flinfo, 0),
													  source->ids.kind, from_text, "item_id"));
	if (item < 0)
		return (Datum) 0;
	excluded = palloc0(Max(((size_t) q.target->items + 7) / 8, 1));
	if (source == q.target)
		kpx_bit_set(excluded, (size_t) item);
	n = kpx_request_best(&q, (uint64) q.k, NULL, likeness(&q, source->base + (uint32) item, by), excluded, &hits);
	for (size_t i = 0; i < n; i++)
	{
		Datum values[3];
		bool nulls[3] = {false};

		values[0] = Int32GetDatum((int32) i + 1);
		values[1] = kpx_id_to_datum(q.target->ids.kind, kpx_ids_get(&q.target->ids, hits[i].item), q.item_type);
		values[2] = Float4GetDatum(hits[i].score);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	q.call.lists = 1;
	q.call.empty = n == 0;
	q.call.items = n;
	kpx_call_end(&q.call, KPX_CALL_SIMILAR, q.module->id);
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
	return similar(fcinfo, 3, kpx_witness_argument(fcinfo, 2), false);
}

PG_FUNCTION_INFO_V1(kpx_similar_text);
Datum
kpx_similar_text(PG_FUNCTION_ARGS)
{
	return similar(fcinfo, 2, TEXTOID, true);
}
