/*
 * feedback.c
 *	  kpx_feedback: what a user did with an item of a logged slate.
 */
#include "kpxrec.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "fault.h"
#include "forget.h"
#include "policy.h"
#include "registry.h"
#include "request.h"

/* The impression that feedback is about. */
typedef struct Impression
{
	bool found;
	int rank;
	TimestampTz at;
	char *user_id;
	int module_id;
	char *item_id;
	char *category; /* or NULL */
	int64 policy_id;
	char *owner; /* role that logged the slate */
	double value; /* of a conversion, as the policy had it */
} Impression;

/* What is recorded for a kind of feedback; NULL: not a kind. */
static const char *
recorded_kind(const char *kind)
{
	if (strcmp(kind, "click") == 0 || strcmp(kind, "conversion") == 0)
		return kind;
	if (strcmp(kind, "dismiss_item") == 0 || strcmp(kind, "dismiss_category") == 0 || strcmp(kind, "dismiss_module") == 0)
		return "dismissal";
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("kind \"%s\" of feedback is not known", kind),
			 errhint("Known kinds: click, conversion, dismiss_item, dismiss_category, dismiss_module.")));
}

static char *
column_text(int column, MemoryContext context)
{
	char *value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);

	return value ? MemoryContextStrdup(context, value) : NULL;
}

static Datum
column_value(int column)
{
	bool null;

	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &null);
}

static Impression
find_impression(int64 slate_id, const char *item, const KpxModule *module)
{
	Oid types[] = {INT8OID, TEXTOID, INT4OID};
	Datum values[] = {Int64GetDatum(slate_id), CStringGetTextDatum(item), Int32GetDatum(module ? module->id : 0)};
	MemoryContext context = CurrentMemoryContext;
	Impression found = {0};
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT i.rank, i.occurred_at, i.user_id, i.module_id, i.category, i.policy_id, s.owner,"
						" i.expected_value / (i.p_click * i.p_convert)"
						" FROM kpx.impression i JOIN kpx.slate s ON s.slate_id = i.slate_id AND s.occurred_at = i.occurred_at"
						" WHERE i.slate_id = $1 AND i.item_id = $2 AND ($3 = 0 OR i.module_id = $3)",
						3, types, values, NULL, true);
	if (SPI_processed > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("slate " INT64_FORMAT " shows items \"%s\" of several modules", slate_id, item),
				 errhint("Say which with module => ...")));
	if (SPI_processed == 1)
		found = (Impression){
			.found = true,
			.rank = DatumGetInt32(column_value(1)),
			.at = DatumGetTimestampTz(column_value(2)),
			.user_id = column_text(3, context),
			.module_id = DatumGetInt32(column_value(4)),
			.item_id = MemoryContextStrdup(context, item),
			.category = column_text(5, context),
			.policy_id = DatumGetInt64(column_value(6)),
			.owner = column_text(7, context),
			.value = DatumGetFloat8(column_value(8)),
		};
	kpx_catalog_end(&catalog);
	return found;
}

/* Who logged the slate, or owns the item's module, may give feedback on it; and only in its user's name. */
static void
require_rights(KpxRegistry *registry, const Impression *impression, int64 slate_id, const char *user_id)
{
	KpxModule *module = kpx_find_module_by_id(registry, impression->module_id);

	if (!kpx_has_role(impression->owner) && !(module && kpx_has_role(module->owner)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for slate " INT64_FORMAT, slate_id),
				 errdetail("Feedback is given by the role that logged the slate, or the owner of the item's module.")));
	if (user_id && strcmp(user_id, impression->user_id) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("slate " INT64_FORMAT " was not shown to user \"%s\"", slate_id, user_id)));
}

/* Notes feedback that is not recorded. */
static Datum
count_outcome(const char *outcome)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(outcome)};
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("INSERT INTO kpx.feedback_count AS c VALUES ((now() AT TIME ZONE 'UTC')::date, $1, 1)"
						" ON CONFLICT (day, outcome) DO UPDATE SET n = c.n + 1",
						1, types, values, NULL, false);
	kpx_catalog_end(&catalog);
	return CStringGetTextDatum(outcome);
}

static bool
record(int64 slate_id, const Impression *impression, const char *kind, double value, TimestampTz at)
{
	Oid types[] = {INT8OID, INT4OID, TEXTOID, FLOAT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum values[] = {Int64GetDatum(slate_id), Int32GetDatum(impression->rank), CStringGetTextDatum(kind), Float8GetDatum(value),
					  TimestampTzGetDatum(at), TimestampTzGetDatum(impression->at)};
	char nulls[] = {' ', ' ', ' ', isnan(value) ? 'n' : ' ', ' ', ' ', '\0'};
	KpxCatalog catalog;
	bool inserted;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("INSERT INTO kpx.feedback (slate_id, rank, kind, value, occurred_at, impression_at, source_id)"
						" VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT DO NOTHING",
						6, types, values, nulls, false);
	inserted = SPI_processed == 1;
	kpx_catalog_end(&catalog);
	return inserted;
}

/* "Not interested", in what policies look at. */
static void
dismiss(const Impression *impression, const char *kind, TimestampTz at)
{
	bool item = strcmp(kind, "dismiss_item") == 0;
	bool category = strcmp(kind, "dismiss_category") == 0;
	Oid types[] = {TEXTOID, INT4OID, TEXTOID, TEXTOID, TIMESTAMPTZOID};
	Datum values[] = {CStringGetTextDatum(impression->user_id), Int32GetDatum(impression->module_id),
					  category ? CStringGetTextDatum(impression->category) : (Datum) 0,
					  item ? CStringGetTextDatum(impression->item_id) : (Datum) 0, TimestampTzGetDatum(at)};
	char nulls[] = {' ', ' ', category ? ' ' : 'n', item ? ' ' : 'n', ' ', '\0'};
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("INSERT INTO kpx.dismissal VALUES ($1, $2, $3, $4, $5)", 5, types, values, nulls, false);
	kpx_catalog_end(&catalog);
}

static double
value_argument(FunctionCallInfo fcinfo, const char *kind)
{
	double value;

	if (PG_ARGISNULL(3))
		return NAN;
	value = PG_GETARG_FLOAT8(3);
	if (strcmp(kind, "conversion") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"value\" is for conversions, not for kind \"%s\"", kind)));
	if (!(value >= 0) || isinf(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"value\" must be a number not below 0, found %g", value)));
	return value;
}

PG_FUNCTION_INFO_V1(kpx_feedback);
Datum
kpx_feedback(PG_FUNCTION_ARGS)
{
	int64 slate_id;
	char *item = kpx_text_argument(fcinfo, 1, "item");
	char *kind = kpx_text_argument(fcinfo, 2, "kind");
	const char *recorded = recorded_kind(kind);
	double value = value_argument(fcinfo, kind);
	TimestampTz now = kpx_now();
	TimestampTz at = PG_ARGISNULL(4) ? now : PG_GETARG_TIMESTAMPTZ(4);
	KpxRegistry *registry = kpx_registry();
	KpxModule *module = PG_ARGISNULL(5) ? NULL : kpx_find_module(registry, text_to_cstring(PG_GETARG_TEXT_PP(5)));
	Impression impression;
	double age;

	PreventCommandIfReadOnly("kpx_feedback()");
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"slate_id\" must not be NULL")));
	slate_id = PG_GETARG_INT64(0);
	if (TIMESTAMP_NOT_FINITE(at) || at > now + USECS_PER_HOUR)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"occurred_at\" must be a time that is past"),
				 errdetail("An hour is granted for clocks that differ.")));
	impression = find_impression(slate_id, item, module);
	if (!impression.found)
		PG_RETURN_DATUM(count_outcome("unknown"));
	require_rights(registry, &impression, slate_id, PG_ARGISNULL(6) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(6)));
	age = (double) (at - impression.at) / USECS_PER_SEC;
	/* clocks differ by a minute or so */
	if (age < -60)
		PG_RETURN_DATUM(count_outcome("early"));
	if (strcmp(recorded, "dismissal") != 0 &&
		age > KPX_POLICY_NUMBER(kpx_policy(impression.policy_id), NULL, NULL, attribution_window))
		PG_RETURN_DATUM(count_outcome("late"));
	if (strcmp(kind, "dismiss_category") == 0 && !impression.category)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("item \"%s\" has no category to dismiss", item),
				 errhint("Dismiss the item or the module, or register the module with a category.")));
	if (strcmp(kind, "conversion") == 0 && isnan(value))
		value = impression.value;
	/* who saw it may have been forgotten since the impression was read */
	kpx_lock_user(impression.user_id);
	if (kpx_is_forgotten(kpx_registry(), impression.user_id))
		PG_RETURN_DATUM(count_outcome("unknown"));
	if (!record(slate_id, &impression, recorded, value, at) && strcmp(recorded, "dismissal") != 0)
		PG_RETURN_DATUM(count_outcome("duplicate"));
	KPX_FAULT("feedback");
	if (strcmp(recorded, "dismissal") == 0)
		dismiss(&impression, kind, at);
	PG_RETURN_DATUM(CStringGetTextDatum("recorded"));
}
