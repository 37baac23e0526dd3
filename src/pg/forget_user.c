/*
 * forget_user.c
 *	  kpx_forget_user: removing all that is held of a user.
 *
 * Models hold no users, so nothing is to be removed from them.
 */
#include "forget.h"

#include "access/xact.h"
#include "catalog/pg_type.h"

#include "fault.h"
#include "recommendation.h"

static void
put_row(FunctionCallInfo fcinfo, const char *relation, uint64 removed, bool kept)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum values[2] = {CStringGetTextDatum(relation), Int64GetDatum((int64) removed)};
	bool nulls[2] = {false, kept};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static void
put_count(FunctionCallInfo fcinfo, const char *relation, uint64 removed)
{
	put_row(fcinfo, relation, removed, false);
}

/* Deletes this user's rows; inside kpx_catalog_begin. Feedback hangs on slates and names no user itself. */
static void
delete_rows(FunctionCallInfo fcinfo, const char *user_id)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(user_id)};
	char **relations;
	int n;

	kpx_catalog_execute("DELETE FROM kpx.feedback WHERE slate_id IN (SELECT slate_id FROM kpx.slate WHERE user_id = $1)", 1, types, values,
						NULL, false);
	put_count(fcinfo, "kpx.feedback", SPI_processed);
	kpx_catalog_execute("SELECT c.oid::regclass::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
						" WHERE c.relnamespace = 'kpx'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
						" AND a.attname = 'user_id' AND NOT a.attisdropped AND a.atttypid = 'text'::regtype ORDER BY c.relname",
						0, NULL, NULL, NULL, true);
	n = (int) SPI_processed;
	relations = palloc(sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
		relations[i] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
	for (int i = 0; i < n; i++)
	{
		kpx_catalog_execute(psprintf("DELETE FROM %s WHERE user_id = $1", relations[i]), 1, types, values, NULL, false);
		put_count(fcinfo, relations[i], SPI_processed);
	}
}

/*
 * Recommendation views are tables of their owners. One that cannot be written just now is reported, and does not
 * undo the rest: the user has rights, and the owner of a table must not have a veto. The tombstone, which
 * is committed with this, makes the next refresh take the rows out.
 */
static void
forget_views(FunctionCallInfo fcinfo, const char *user_id)
{
	List *kept;
	ListCell *lc;

	put_count(fcinfo, "recommendation views", kpx_recommendations_forget(user_id, &kept));
	foreach (lc, kept)
		put_row(fcinfo, lfirst(lc), 0, true);
}

PG_FUNCTION_INFO_V1(kpx_forget_user);
Datum
kpx_forget_user(PG_FUNCTION_ARGS)
{
	KpxCatalog catalog;
	KpxRegistry *registry = kpx_registry();
	char *user_id;

	InitMaterializedSRF(fcinfo, 0);
	PreventCommandIfReadOnly("kpx_forget_user()");
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"user_id\" must not be NULL")));
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE), errmsg("kpx_forget_user must run at isolation level READ COMMITTED"),
				 errdetail("With an older snapshot, rows that were written meanwhile would be left behind.")));
	user_id = kpx_user_text(registry, PG_GETARG_DATUM(0), get_fn_expr_argtype(fcinfo->flinfo, 0));
	kpx_lock_all_users(false);
	kpx_lock_user(user_id);
	kpx_catalog_begin(&catalog, false);
	kpx_bury(user_id);
	KPX_FAULT("bury");
	delete_rows(fcinfo, user_id);
	kpx_catalog_end(&catalog);
	forget_views(fcinfo, user_id);
	return (Datum) 0;
}
