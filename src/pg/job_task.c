/*
 * job_task.c
 *	  What jobs can do: tasks, and the calls they stand for.
 *
 * A task is a function of kpxrec, its arguments the members of a JSON object. The call is made as a
 * person would write it, so that overloads and defaults are found as in SQL, and so that whoever
 * has no background worker can give the same line to pg_cron.
 */
#include "job.h"

#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"

#include "registry.h"

typedef struct Task
{
	const char *name;
	const char *function;
	void (*run)(Jsonb *arguments, MemoryContext context, KpxOutcome *outcome); /* NULL: the call, in one transaction */
} Task;

static const Task tasks[] = {
	{"train", "kpx_train", kpx_job_train},
	{"tune", "kpx_tune"},
	{"train ranker", "kpx_train_ranker"},
	{"attribute", "kpx_attribute"},
	{"refresh items", "kpx_refresh_items"},
	{"update items", "kpx_update_items"},
	{"refresh trending", "kpx_refresh_trending"},
	{"refresh recommendations", "kpx_refresh_recommendations"},
	{"refresh segments", "kpx_cluster"},
	{"mine rules", "kpx_mine_rules"},
	{"expire impressions", "kpx_expire_impressions"},
	{"optimise policy", "kpx_optimize_policy"},
	{"measure", "kpx_measure"},
};

static const Task *
find_task(const char *name)
{
	StringInfoData known;

	for (int i = 0; i < (int) lengthof(tasks); i++)
		if (strcmp(tasks[i].name, name) == 0)
			return &tasks[i];
	initStringInfo(&known);
	for (int i = 0; i < (int) lengthof(tasks); i++)
		appendStringInfo(&known, "%s%s", i ? ", " : "", tasks[i].name);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("task \"%s\" is not known", name), errhint("Known tasks: %s.", known.data)));
}

/* ------------------------------------------------------------ arguments */

static JsonbValue *
member(Jsonb *object, const char *key)
{
	return getKeyJsonValueFromContainer(&object->root, key, (int) strlen(key), NULL);
}

char *
kpx_argument_text(Jsonb *arguments, const char *key)
{
	JsonbValue *value = member(arguments, key);

	return value && value->type == jbvString ? pnstrdup(value->val.string.val, value->val.string.len) : NULL;
}

ArrayType *
kpx_argument_texts(Jsonb *arguments, const char *key)
{
	JsonbValue *value = member(arguments, key);
	ArrayBuildState *array = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	JsonbIterator *it;
	JsonbValue element;
	JsonbIteratorToken token;

	if (value == NULL || value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		return NULL;
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
		if (token == WJB_ELEM && element.type == jbvString)
			(void) accumArrayResult(array, PointerGetDatum(cstring_to_text_with_len(element.val.string.val, element.val.string.len)),
									false, TEXTOID, CurrentMemoryContext);
	return DatumGetArrayTypeP(makeArrayResult(array, CurrentMemoryContext));
}

/* ------------------------------------------------------------ the call */

static char *
json_literal(const JsonbValue *value)
{
	return quote_literal_cstr(JsonbToCString(NULL, value->val.binary.data, value->val.binary.len));
}

static void
append_scalar(StringInfo sql, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			appendStringInfoString(sql, "NULL");
			break;
		case jbvBool:
			appendStringInfoString(sql, value->val.boolean ? "true" : "false");
			break;
		case jbvNumeric:
			appendStringInfoString(sql, DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric))));
			break;
		default:
			appendStringInfoString(sql, quote_literal_cstr(pnstrdup(value->val.string.val, value->val.string.len)));
			break;
	}
}

/* An array of scalars as ARRAY[..], whose type decides between overloads; all else as JSON. */
static void
append_container(StringInfo sql, const JsonbValue *value)
{
	JsonbIterator *it = JsonbIteratorInit(value->val.binary.data);
	JsonbValue element;
	JsonbIteratorToken token;
	StringInfoData list;

	initStringInfo(&list);
	if (!JsonContainerIsArray(value->val.binary.data))
	{
		appendStringInfoString(sql, json_literal(value));
		return;
	}
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM && element.type == jbvBinary)
		{
			appendStringInfoString(sql, json_literal(value));
			return;
		}
		if (token != WJB_ELEM)
			continue;
		if (list.len)
			appendStringInfoString(&list, ", ");
		append_scalar(&list, &element);
	}
	if (list.len)
		appendStringInfo(sql, "ARRAY[%s]", list.data);
	else
		appendStringInfoString(sql, "'{}'");
}

char *
kpx_task_sql(const char *name, Jsonb *arguments)
{
	const Task *task = find_task(name);
	JsonbIterator *it = JsonbIteratorInit(&arguments->root);
	JsonbValue value;
	JsonbIteratorToken token;
	bool skip = false;
	bool first = true;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT * FROM %s.%s(", quote_identifier(kpx_registry()->schema), task->function);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			char *key = pnstrdup(value.val.string.val, value.val.string.len);

			skip = task->run != NULL && strcmp(key, "margin") == 0; /* of the guard */
			if (skip)
				continue;
			appendStringInfo(&sql, "%s%s => ", first ? "" : ", ", quote_identifier(key));
			first = false;
		}
		else if (token == WJB_VALUE && !skip)
		{
			if (value.type == jbvBinary)
				append_container(&sql, &value);
			else
				append_scalar(&sql, &value);
		}
	}
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

/* Preparing a call does not look whether the current role may make it. */
static void
require_execute(SPIPlanPtr plan)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	RangeTblEntry *from = linitial_node(RangeTblEntry, linitial_node(Query, source->query_list)->rtable);
	Oid function = castNode(FuncExpr, linitial_node(RangeTblFunction, from->functions)->funcexpr)->funcid;
	AclResult allowed;

#if PG_VERSION_NUM >= 160000
	allowed = object_aclcheck(ProcedureRelationId, function, GetUserId(), ACL_EXECUTE);
#else
	allowed = pg_proc_aclcheck(function, GetUserId(), ACL_EXECUTE);
#endif
	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_FUNCTION, get_func_name(function));
}

void
kpx_task_check(const char *name, Jsonb *arguments)
{
	const Task *task = find_task(name);
	SPIPlanPtr plan;
	char *sql;

	if (!JB_ROOT_IS_OBJECT(arguments))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"arguments\" must be a JSON object"),
				 errhint("Its keys are the arguments of %s.", task->function)));
	if (task->run)
		(void) kpx_job_margin(arguments);
	sql = kpx_task_sql(name, arguments);
	SPI_connect();
	plan = SPI_prepare(sql, 0, NULL); /* raises what calling it would: no such argument, a wrong type */
	if (plan == NULL)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("cannot prepare %s", sql)));
	require_execute(plan);
	SPI_finish();
}

/* ------------------------------------------------------------ running */

/* The first row as text, for the run's message. */
static char *
first_row(MemoryContext context)
{
	TupleDesc desc = SPI_tuptable->tupdesc;
	StringInfoData row;

	initStringInfo(&row);
	for (int column = 1; SPI_processed > 0 && column <= desc->natts; column++)
	{
		char *value = SPI_getvalue(SPI_tuptable->vals[0], desc, column);

		if (value && value[0])
			appendStringInfo(&row, "%s%s %s", row.len ? ", " : "", SPI_fname(desc, column), pnstrdup(value, pg_mbcliplen(value, (int) strlen(value), 200)));
	}
	return MemoryContextStrdup(context, row.data);
}

static void
run_call(const char *task, Jsonb *arguments, MemoryContext context, KpxOutcome *outcome)
{
	kpx_worker_begin();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	if (SPI_execute(kpx_task_sql(task, arguments), false, 0) != SPI_OK_SELECT)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("task \"%s\" returned nothing", task)));
	outcome->rows = (int64) SPI_processed;
	outcome->message = first_row(context);
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
}

void
kpx_task_run(const KpxJob *job, MemoryContext context, KpxOutcome *outcome)
{
	const Task *task = find_task(job->task);

	if (task->run)
		task->run(job->arguments, context, outcome);
	else
		run_call(job->task, job->arguments, context, outcome);
}
