/*
 * recommendation.c
 *	  Recommendation views: the k best items of every active user in a table, and a view over it.
 *
 * A refresh asks kpx_recommend_for about a batch of users after the other, in order of their ids,
 * and merges the answers into the part of the table between the batches' last users: what differs
 * is written and nothing else. It is one transaction, so that readers see all of it or nothing and
 * are never blocked. Like REFRESH MATERIALIZED VIEW it runs as the owner of the table, in a
 * security-restricted operation with a pinned search path: whoever asks for it, what is revealed
 * is what the owner may read, and the owner's triggers cannot reach the asker's rights.
 */
#include "recommendation.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "portability/instr_time.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "fault.h"
#include "forget.h"
#include "identity.h"
#include "ingest.h"
#include "model.h"
#include "registry.h"
#include "request.h"
#include "users.h"

#define USERS_A_BATCH 1024
#define LOCK_TIMEOUT "2s" /* of a table that a forgotten user is to be taken out of */

typedef struct Refresh
{
	const KpxRecommendation *what;
	KpxIdKind kind; /* of users */
	KpxForgotten *forgotten;
	SPIPlanPtr plan;
	MemoryContext context; /* of one batch */
	MemoryContext whole; /* of the refresh */
	KpxId users[USERS_A_BATCH];
	int n;
	KpxId low; /* the last user of the batch before */
	bool has_low;
	uint64 n_users;
	uint64 n_changed;
} Refresh;

/*
 * One refresh of a table at a time; lock tag field 4 is one that SQL's advisory locks cannot use.
 * The server's own locks would stand in autovacuum's way, and it in ours.
 */
static bool
lock_rows(Oid rows)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, rows, 0x4B52);
	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* ------------------------------------------------------------ what is registered */

static Oid
owner_of(Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

char *
kpx_qualified_name(Oid relation)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), get_rel_name(relation));
}

static char *
text_at(HeapTuple row, TupleDesc desc, int column, MemoryContext context)
{
	char *value = SPI_getvalue(row, desc, column);

	return value ? MemoryContextStrdup(context, value) : NULL;
}

KpxRecommendation *
kpx_recommendations(const char *module, int *n)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {module ? CStringGetTextDatum(module) : (Datum) 0};
	MemoryContext context = CurrentMemoryContext;
	KpxCatalog catalog;
	KpxRecommendation *all;
	int kept = 0;

	*n = 0;
	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("DELETE FROM kpx.recommendation r WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = r.rows)", 0, NULL, NULL, NULL, false);
	kpx_catalog_execute("SELECT rows::oid, view_name, module, k, active, view::oid FROM kpx.recommendation WHERE $1 IS NULL OR module = $1 ORDER BY created_at, rows",
						1, types, values, module ? " " : "n", false);
	all = MemoryContextAlloc(context, sizeof(KpxRecommendation) * Max(SPI_processed, 1));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		KpxRecommendation *r = &all[*n];
		bool null;
		Datum active = SPI_getbinval(row, desc, 5, &null);

		r->active = NULL;
		if (!null)
		{
			r->active = MemoryContextAlloc(context, sizeof(Interval));
			*r->active = *DatumGetIntervalP(active);
		}
		r->rows = DatumGetObjectId(SPI_getbinval(row, desc, 1, &null));
		r->view = DatumGetObjectId(SPI_getbinval(row, desc, 6, &null));
		r->owner = owner_of(r->rows);
		r->view_name = text_at(row, desc, 2, context);
		r->module = text_at(row, desc, 3, context);
		r->k = DatumGetInt32(SPI_getbinval(row, desc, 4, &null));
		*n += OidIsValid(r->owner);
	}
	kpx_catalog_end(&catalog);
	/* One that is being dropped just now has no name any more. */
	for (int i = 0; i < *n; i++)
	{
		all[kept] = all[i];
		if (get_rel_name(all[i].rows) == NULL)
			continue;
		all[kept].rows_sql = kpx_qualified_name(all[i].rows);
		kept++;
	}
	*n = kept;
	return all;
}

/* ------------------------------------------------------------ refreshing */

/*
 * $1 users of the batch, $2 module, $3 k; $4, $5: the part of the table after and up to which user, whether
 * they are still active or not; NULL: no bound. Planned anew for each batch, as a range of the key.
 * A score's last digits depend on who else is in the batch, and are no difference.
 */
static void
prepare_merge(Refresh *r, KpxIdKind item_kind)
{
	static const char *const range = "($4 IS NULL OR %s.user_id > $4) AND ($5 IS NULL OR %s.user_id <= $5)";
	Oid user_type = kpx_id_kind_type(r->kind);
	Oid types[] = {get_array_type(user_type), TEXTOID, INT4OID, user_type, user_type};
	char *sql = psprintf(
		"MERGE INTO %s d USING ("
		"SELECT coalesce(o.user_id, n.user_id) AS user_id, coalesce(o.rank, n.rank) AS rank, n.item_id, n.score, n.reason"
		" FROM (SELECT t.* FROM %s t WHERE %s) o"
		" FULL JOIN %s.kpx_recommend_for($1, $2, NULL::%s, $3) n ON n.user_id = o.user_id AND n.rank = o.rank"
		" WHERE o.user_id IS NULL OR n.user_id IS NULL OR o.item_id <> n.item_id OR o.reason <> n.reason"
		" OR abs(o.score - n.score) > 1e-5 * abs(n.score)) c"
		" ON d.user_id = c.user_id AND d.rank = c.rank AND %s"
		" WHEN MATCHED AND c.item_id IS NULL THEN DELETE"
		" WHEN MATCHED THEN UPDATE SET item_id = c.item_id, score = c.score, reason = c.reason"
		" WHEN NOT MATCHED AND c.item_id IS NOT NULL THEN INSERT (user_id, rank, item_id, score, reason)"
		" VALUES (c.user_id, c.rank, c.item_id, c.score, c.reason)",
		r->what->rows_sql, r->what->rows_sql, psprintf(range, "t", "t"), quote_identifier(kpx_registry()->schema), kpx_id_type_sql[item_kind],
		psprintf(range, "d", "d"));

	r->plan = SPI_prepare_cursor(sql, lengthof(types), types, CURSOR_OPT_CUSTOM_PLAN);
	if (r->plan == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s cannot be written: %s", r->what->rows_sql, SPI_result_code_string(SPI_result))));
}

static void
remember_last(Refresh *r)
{
	KpxId before = r->low;
	MemoryContext old = MemoryContextSwitchTo(r->whole);

	r->low = kpx_id_copy(r->users[r->n - 1]);
	if (before.bytes)
		pfree(unconstify(char *, before.bytes));
	r->has_low = true;
	MemoryContextSwitchTo(old);
}

/* last: there are no more users, so the rest of the table is looked at, too. */
static void
merge_batch(Refresh *r, bool last)
{
	MemoryContext old = MemoryContextSwitchTo(r->context);
	Oid type = kpx_id_kind_type(r->kind);
	Datum values[5];
	char nulls[] = "     ";

	values[0] = kpx_id_array(r->kind, r->users, r->n);
	values[1] = CStringGetTextDatum(r->what->module);
	values[2] = Int32GetDatum(r->what->k);
	values[3] = r->has_low ? kpx_id_to_datum(r->kind, r->low, type) : (Datum) 0;
	nulls[3] = r->has_low ? ' ' : 'n';
	values[4] = last ? (Datum) 0 : kpx_id_to_datum(r->kind, r->users[r->n - 1], type);
	nulls[4] = last ? 'n' : ' ';
	SPI_connect();
	if (SPI_execute_plan(r->plan, values, nulls, false, 0) != SPI_OK_MERGE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("table %s cannot be written", r->what->rows_sql)));
	r->n_changed += SPI_processed;
	SPI_finish();
	r->n_users += r->n;
	if (r->n)
		remember_last(r);
	r->n = 0;
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->context);
}

static void
take_user(void *state, KpxId user)
{
	Refresh *r = state;
	MemoryContext old;

	if (kpx_forgotten_has(r->forgotten, r->kind, user))
		return;
	old = MemoryContextSwitchTo(r->context);
	r->users[r->n++] = kpx_id_copy(user);
	MemoryContextSwitchTo(old);
	if (r->n == USERS_A_BATCH)
		merge_batch(r, false);
}

static TimestampTz
active_since(const Interval *active)
{
	if (active == NULL)
		return DT_NOBEGIN;
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval, TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()),
												   IntervalPGetDatum(active)));
}

static uint64
count_rows(const char *rows_sql)
{
	bool null;

	if (SPI_execute(psprintf("SELECT count(*) FROM %s", rows_sql), false, 0) != SPI_OK_SELECT || SPI_processed != 1)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("cannot read table %s", rows_sql)));
	return (uint64) DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
}

static void
note_refresh(const KpxRecommendation *what, const KpxRefreshed *done)
{
	Oid types[] = {OIDOID, INT8OID, INT8OID, INT8OID, INT8OID, FLOAT4OID};
	Datum values[] = {ObjectIdGetDatum(what->rows), Int64GetDatum(done->model), Int64GetDatum((int64) done->users),
					  Int64GetDatum((int64) done->rows), Int64GetDatum((int64) done->changed), Float4GetDatum((float4) done->seconds)};
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("UPDATE kpx.recommendation SET model_id = nullif($2, 0), users = $3, rows_kept = $4, rows_changed = $5,"
						" seconds = $6, refreshed_at = now() WHERE rows = $1",
						lengthof(types), types, values, NULL, false);
	kpx_catalog_end(&catalog);
}

/* As the owner of the table. */
static void
merge_all(Refresh *r, KpxRefreshed *done)
{
	KpxRegistry *registry = kpx_registry();
	KpxModule *module = kpx_find_module(registry, r->what->module);
	KpxModule **modules = &module;
	int n_modules = 1;

	done->model = module->active_model;
	if (module->active_model)
		n_modules = kpx_registered_modules(registry, kpx_model(registry, module->active_model), &modules);
	r->kind = kpx_user_kind(modules, n_modules);
	r->whole = CurrentMemoryContext;
	kpx_lock_all_users(true);
	r->forgotten = kpx_forgotten_load(registry);
	r->context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec recommendation", ALLOCSET_DEFAULT_SIZES);
	prepare_merge(r, kpx_module_item_kind(module));
	kpx_users_read(modules, n_modules, InvalidOid, r->kind, active_since(r->what->active), take_user, r);
	merge_batch(r, true);
	done->users = r->n_users;
	done->changed = r->n_changed;
	done->rows = count_rows(r->what->rows_sql);
}

/*
 * Nobody renames, drops or gives away the table from here on. What was read of it may have changed since,
 * as in a refresh of several that takes long; false: it was dropped.
 */
static bool
hold(KpxRecommendation *what)
{
	LockRelationOid(what->rows, RowExclusiveLock);
	what->owner = owner_of(what->rows);
	if (!OidIsValid(what->owner))
		return false;
	what->rows_sql = kpx_qualified_name(what->rows);
	return true;
}

KpxRefreshed
kpx_recommendation_refresh(KpxRecommendation *what)
{
	Refresh *r = palloc0(sizeof(Refresh));
	KpxRefreshed done;
	KpxIdentity before;
	instr_time start;
	instr_time end;

	INSTR_TIME_SET_CURRENT(start);
	if (!lock_rows(what->rows))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("recommendation view \"%s\" is being refreshed by another session", what->view_name),
				 errhint("Wait for it.")));
	if (!hold(what))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE), errmsg("recommendation view \"%s\" was dropped just now", what->view_name)));
	if (!has_privs_of_role(GetUserId(), what->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("must be owner of recommendation view \"%s\"", what->view_name),
				 errdetail("It was given to role \"%s\" just now.", GetUserNameFromId(what->owner, false))));
	r->what = what;
	kpx_identity_enter(&before, what->owner, SECURITY_RESTRICTED_OPERATION);
	SPI_connect();
	/* rows are written while the users are read, which a parallel plan does not allow */
	(void) set_config_option("max_parallel_workers_per_gather", "0", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	merge_all(r, &done);
	KPX_FAULT("refresh");
	SPI_finish();
	kpx_identity_leave(&before);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	done.seconds = INSTR_TIME_GET_DOUBLE(end);
	note_refresh(what, &done);
	return done;
}

PG_FUNCTION_INFO_V1(kpx_refresh_recommendations);
Datum
kpx_refresh_recommendations(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char *module = kpx_text_argument(fcinfo, 0, "module");
	KpxRecommendation *all;
	int n;
	bool any = false;

	InitMaterializedSRF(fcinfo, 0);
	(void) kpx_find_module(kpx_registry(), module);
	all = kpx_recommendations(module, &n);
	for (int i = 0; i < n; i++)
	{
		KpxRefreshed done;
		bool nulls[5] = {false};
		Datum values[5];

		if (!has_privs_of_role(GetUserId(), all[i].owner))
			continue;
		any = true;
		done = kpx_recommendation_refresh(&all[i]);
		values[0] = CStringGetTextDatum(all[i].view_name);
		values[1] = Int64GetDatum((int64) done.users);
		values[2] = Int64GetDatum((int64) done.rows);
		values[3] = Int64GetDatum((int64) done.changed);
		values[4] = Float4GetDatum((float4) done.seconds);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	if (!any)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("module \"%s\" has no recommendation view of role \"%s\"", module, GetUserNameFromId(GetUserId(), false)),
				 errhint("Make one with kpx_create_recommendation_view.")));
	return (Datum) 0;
}

/* ------------------------------------------------------------ forgetting */

static bool
has_rows(const char *rows_sql, Oid *types, Datum *values)
{
	if (SPI_execute_with_args(psprintf("SELECT FROM %s WHERE user_id = $1 LIMIT 1", rows_sql), 1, types, values, NULL, false, 0) != SPI_OK_SELECT)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("cannot read table %s", rows_sql)));
	return SPI_processed > 0;
}

/* Within limits of time, and with an error where a policy would hide rows. */
static uint64
forget_in(KpxRecommendation what, const char *user_id)
{
	Oid types[1];
	Datum values[1];
	KpxIdentity before;
	KpxIdKind kind;
	KpxId user;
	uint64 deleted;

	kpx_identity_enter(&before, what.owner, SECURITY_RESTRICTED_OPERATION);
	(void) set_config_option("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("row_security", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	if (!hold(&what) || !kpx_id_kind(get_atttype(what.rows, get_attnum(what.rows, "user_id")), &kind) ||
		!kpx_id_try_text(kind, pstrdup(user_id), &user))
	{
		kpx_identity_leave(&before);
		return 0;
	}
	types[0] = kpx_id_kind_type(kind);
	values[0] = kpx_id_to_datum(kind, user, types[0]);
	SetUserIdAndSecContext(what.owner, before.security | SECURITY_RESTRICTED_OPERATION);
	SPI_connect();
	if (SPI_execute_with_args(psprintf("DELETE FROM %s WHERE user_id = $1", what.rows_sql), 1, types, values, NULL, false, 0) != SPI_OK_DELETE)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("table %s cannot be written", what.rows_sql)));
	deleted = SPI_processed;
	if (has_rows(what.rows_sql, types, values))
		ereport(ERROR, (errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION), errmsg("a trigger of table %s keeps the rows", what.rows_sql)));
	SPI_finish();
	kpx_identity_leave(&before);
	return deleted;
}

/*
 * What the owner of a table does to it (a trigger that raises, a lock that is held) must not keep the user's
 * other rows: so it is a WARNING, and false. A cancel is the caller's, and goes on.
 */
static bool
try_to_forget(const KpxRecommendation *what, const char *user_id, uint64 *deleted)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner resources = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		*deleted += forget_in(*what, user_id);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = resources;
	if (error == NULL)
		return true;
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION)
		ReThrowError(error);
	ereport(WARNING,
			(errcode(error->sqlerrcode), errmsg("rows of the user are still in %s: %s", what->rows_sql, error->message),
			 errhint("The next refresh removes them. Or mend what holds it up, and call kpx_forget_user again.")));
	FreeErrorData(error);
	return false;
}

uint64
kpx_recommendations_forget(const char *user_id, List **kept)
{
	int n;
	uint64 deleted = 0;
	KpxRecommendation *all = kpx_recommendations(NULL, &n);

	*kept = NIL;
	for (int i = 0; i < n; i++)
		if (!try_to_forget(&all[i], user_id, &deleted))
			*kept = lappend(*kept, all[i].rows_sql);
	return deleted;
}
