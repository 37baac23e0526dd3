/*
 * health.c
 *	  kpx_health: one row a fault, with what to do about it. No row: nothing is known to be wrong.
 *
 * Cheap enough for every minute: catalogs, settings, our own tables, and a bounded look at events
 * that came after training, through an index. Reading whole models is for deep => true.
 */
#include "kpxrec.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "calls.h"
#include "clock.h"
#include "ingest.h"
#include "model.h"
#include "model_block.h"
#include "registry.h"
#include "shared_memory.h"

#define MANY_ROWS 10000 /* a table so large needs an index */
#define FEW_ROWS 100000 /* a table so small can be read for a look */
#define STALE_SHARE 0.2 /* events since training, of the interactions it was trained on */
#define STALE_LEAST 1000

typedef struct Health
{
	ReturnSetInfo *rsinfo;
	KpxRegistry *registry;
	bool deep;
} Health;

/* severity: error (answers or trainings fail), warning (they are bad or slow, or will fail). */
static void
fault(Health *h, const char *severity, const char *name, const char *object, char *detail, char *action)
{
	Datum values[5] = {CStringGetTextDatum(severity), CStringGetTextDatum(name), object ? CStringGetTextDatum(object) : (Datum) 0,
					   CStringGetTextDatum(detail), CStringGetTextDatum(action)};
	bool nulls[5] = {false, false, object == NULL, false, false};

	tuplestore_putvalues(h->rsinfo->setResult, h->rsinfo->setDesc, values, nulls);
}

static bool
may_see(const KpxModule *module)
{
	return kpx_has_role(module->owner) || has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
}

/* An integer setting; otherwise when there is none of this name. */
static int
setting(const char *name, int otherwise)
{
	const char *value = GetConfigOption(name, true, false);

	return value ? atoi(value) : otherwise;
}

/* ------------------------------------------------------------ the server */

static void
check_preload(Health *h)
{
	if (!kpx_preloaded())
		fault(h, "warning", "not preloaded", NULL,
			  "Every session keeps its own copies of models; there is no progress, no statistics of answers, and no background worker.",
			  "Set shared_preload_libraries = 'kpxrec' and restart the server.");
}

static void
check_workers(Health *h)
{
	int jobs = kpx_preloaded() ? setting("kpxrec.max_running_jobs", 0) : 0;
	int needed = max_parallel_maintenance_workers + (jobs > 0 ? jobs + 2 : 0);

	if (max_parallel_workers < max_parallel_maintenance_workers || max_worker_processes < needed)
		fault(h, "warning", "too few worker slots", NULL,
			  psprintf("A training may use %d parallel workers (max_parallel_maintenance_workers) of %d (max_parallel_workers)%s; there are %d slots"
					   " (max_worker_processes) for all.",
					   max_parallel_maintenance_workers, max_parallel_workers,
					   jobs > 0 ? psprintf("; the launcher, a scheduler and up to %d jobs need %d more", jobs, jobs + 2) : "", max_worker_processes),
			  psprintf("Set max_worker_processes to %d or more, and max_parallel_workers to %d or more, and restart the server.", needed,
					   max_parallel_maintenance_workers));
}

static void
check_statistics(Health *h)
{
	uint64 lost = kpx_calls_lost();

	if (lost > 0)
		fault(h, "warning", "statistics are full", NULL, psprintf(UINT64_FORMAT " calls were not counted: there is no room for more modules.", lost),
			  "Restart the server when convenient: entries of dropped databases and modules go then.");
}

/* ------------------------------------------------------------ relations of a module */

/* Has the relation a valid, whole index that begins with this column? */
static bool
is_indexed(Relation relation, AttrNumber column)
{
	List *indexes = RelationGetIndexList(relation);
	ListCell *lc;
	bool found = false;

	foreach (lc, indexes)
	{
		HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));
		Form_pg_index index;

		if (!HeapTupleIsValid(tuple))
			continue;
		index = (Form_pg_index) GETSTRUCT(tuple);
		found = found || (index->indisvalid && index->indkey.values[0] == column && heap_attisnull(tuple, Anum_pg_index_indpred, NULL));
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return found;
}

static bool
has_rows_of_its_own(Relation relation)
{
	char kind = relation->rd_rel->relkind;

	return kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE || kind == RELKIND_MATVIEW;
}

/* A registered column; 0 when it is gone, and a fault then. */
static AttrNumber
column(Health *h, const KpxModule *module, Oid relation, const char *relation_name, const char *name)
{
	AttrNumber number = get_attnum(relation, name);

	if (number == InvalidAttrNumber)
		fault(h, "error", "column is gone", module->name,
			  psprintf("Relation %s has no column \"%s\" any more.", relation_name, name),
			  "Bring it back, or register the module or source anew.");
	return number;
}

static void
check_index(Health *h, const KpxModule *module, Relation relation, const char *relation_name, AttrNumber number, const char *name, const char *why)
{
	double rows = relation->rd_rel->reltuples;

	if (number == InvalidAttrNumber || !has_rows_of_its_own(relation) || rows < MANY_ROWS || is_indexed(relation, number))
		return;
	fault(h, "warning", "index is missing", module->name,
		  psprintf("%s reads %.0f rows of %s, which has no index that begins with column \"%s\".", why, rows, relation_name, name),
		  psprintf("CREATE INDEX CONCURRENTLY ON %s (%s);", relation_name, quote_identifier(name)));
}

/* The relation, opened; NULL and a fault when it is gone. NULL also while somebody alters it: who watches must not wait. */
static Relation
open_relation(Health *h, const KpxModule *module, Oid oid, const char *name)
{
	Oid owner = get_role_oid(module->owner, true);
	Relation relation;

	if (!ConditionalLockRelationOid(oid, AccessShareLock))
		return NULL;
	relation = try_relation_open(oid, NoLock);
	if (relation == NULL)
		UnlockRelationOid(oid, AccessShareLock);
	if (relation == NULL)
		fault(h, "error", "relation is gone", module->name, psprintf("Relation %s does not exist any more.", name),
			  "Register its replacement and drop the source with kpx_drop_events, or drop the module with kpx_drop_module.");
	else if (OidIsValid(owner) && pg_class_aclcheck(oid, owner, ACL_SELECT) != ACLCHECK_OK &&
			 pg_attribute_aclcheck_all(oid, owner, ACL_SELECT, ACLMASK_ANY) != ACLCHECK_OK)
		fault(h, "warning", "owner may not read", module->name,
			  psprintf("Role \"%s\", who owns the module, may not read %s: trainings of that role fail.", module->owner, name),
			  psprintf("GRANT SELECT ON %s TO %s;", name, quote_identifier(module->owner)));
	return relation;
}

/* Whether the events after this time are more than cap: a look through an index, or at a small table. */
static bool
more_events(const char *relation_name, const char *time, TimestampTz since, int64 cap)
{
	char *sql = psprintf("SELECT pg_catalog.count(*) FROM (SELECT FROM %s e WHERE e.%s OPERATOR(pg_catalog.>) $1 LIMIT $2) x", relation_name,
						 quote_identifier(time));
	Oid types[] = {TIMESTAMPTZOID, INT8OID};
	Datum values[] = {TimestampTzGetDatum(since), Int64GetDatum(cap + 1)};
	bool more = false;
	bool null;

	SPI_connect();
	if (SPI_execute_with_args(sql, 2, types, values, NULL, true, 0) == SPI_OK_SELECT && SPI_processed == 1)
		more = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null)) > cap;
	SPI_finish();
	return more;
}

/* Is the column still of a type of time that the server knows, so that looking at it runs nobody's code, and may all rows be seen? */
static bool
is_time(Oid relation, AttrNumber time)
{
	Oid type = getBaseType(get_atttype(relation, time));

	return (type == TIMESTAMPTZOID || type == TIMESTAMPOID || type == DATEOID) && check_enable_rls(relation, InvalidOid, true) != RLS_ENABLED;
}

/* until, interactions: of the active model in this module. */
static void
check_stale(Health *h, const KpxModule *module, const KpxSource *source, Relation relation, AttrNumber time, TimestampTz until, int64 interactions)
{
	int64 cap = Max(STALE_LEAST, (int64) (STALE_SHARE * (double) interactions));

	if (time == InvalidAttrNumber || !is_time(source->relation, time) || !has_rows_of_its_own(relation) || pg_class_aclcheck(source->relation, GetUserId(), ACL_SELECT) != ACLCHECK_OK ||
		!(is_indexed(relation, time) || (relation->rd_rel->reltuples >= 0 && relation->rd_rel->reltuples <= FEW_ROWS)))
		return;
	if (more_events(kpx_relation_sql(source->relation, source->relation_name, "module", module->name), source->occurred_at, until, cap))
		fault(h, "warning", "model is stale", module->name,
			  psprintf("More than " INT64_FORMAT " events of %s came after model " INT64_FORMAT " was trained on " INT64_FORMAT " interactions.", cap,
					   source->relation_name, module->active_model, interactions),
			  "Train again, and have it done regularly.");
}

/* ------------------------------------------------------------ modules and their models */

/* How far the active model has seen events of the module, and how many interactions; false: it has not. */
static bool
trained(const KpxModule *module, TimestampTz *until, int64 *interactions)
{
	Oid types[] = {INT8OID, INT4OID};
	Datum values[] = {Int64GetDatum(module->active_model), Int32GetDatum(module->id)};
	KpxCatalog catalog;
	bool found;
	bool null;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT coalesce(mm.newest_event, m.created_at), mm.interactions FROM kpx.model m"
						" JOIN kpx.model_module mm ON mm.model_id = m.id WHERE m.id = $1 AND mm.module_id = $2",
						2, types, values, NULL, true);
	found = SPI_processed == 1;
	if (found)
	{
		*until = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
		*interactions = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null));
	}
	kpx_catalog_end(&catalog);
	return found;
}

static void
check_source(Health *h, const KpxModule *module, const KpxSource *source)
{
	Relation relation = open_relation(h, module, source->relation, source->relation_name);
	TimestampTz until;
	int64 interactions;
	AttrNumber user;
	AttrNumber time = InvalidAttrNumber;

	if (relation == NULL)
		return;
	user = column(h, module, source->relation, source->relation_name, source->user_id);
	(void) column(h, module, source->relation, source->relation_name, source->item_id);
	if (source->occurred_at)
		time = column(h, module, source->relation, source->relation_name, source->occurred_at);
	check_index(h, module, relation, source->relation_name, user, source->user_id, "Every answer");
	if (module->active_model != 0 && trained(module, &until, &interactions))
		check_stale(h, module, source, relation, time, until, interactions);
	relation_close(relation, AccessShareLock);
}

static void
check_module(Health *h, const KpxModule *module)
{
	Relation items = open_relation(h, module, module->items, module->items_name);

	if (!OidIsValid(get_role_oid(module->owner, true)))
		fault(h, "error", "owner is gone", module->name, psprintf("Role \"%s\", who owns the module, does not exist.", module->owner),
			  "Create the role, or register the module anew as another.");
	if (module->active_model == 0)
		fault(h, "warning", "no active model", module->name, "Nothing was trained for the module, or its model was dropped.",
			  psprintf("SELECT * FROM kpx_train(%s);", quote_literal_cstr(module->name)));
	if (items)
	{
		check_index(h, module, items, module->items_name, column(h, module, module->items, module->items_name, module->item_id), module->item_id,
					"Every answer");
		if (module->available)
			(void) column(h, module, module->items, module->items_name, module->available);
		relation_close(items, AccessShareLock);
	}
	for (int s = 0; s < module->n_sources; s++)
		check_source(h, module, &module->sources[s]);
}

static void
check_modules(Health *h)
{
	for (int m = 0; m < h->registry->n_modules; m++)
	{
		CHECK_FOR_INTERRUPTS();
		if (may_see(&h->registry->modules[m]))
			check_module(h, &h->registry->modules[m]);
	}
}

/* Reads all of a model's blocks; what is wrong with them, or NULL. */
static char *
verify(int64 id)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char *volatile wrong = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		kpx_model_verify(id);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_DATA_CORRUPTED && error->sqlerrcode != ERRCODE_FEATURE_NOT_SUPPORTED &&
			error->sqlerrcode != ERRCODE_OUT_OF_MEMORY)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		wrong = psprintf("%s%s%s", error->message, error->detail ? ": " : ".", error->detail ? error->detail : "");
	}
	PG_END_TRY();
	return wrong;
}

static void
check_blocks(Health *h)
{
	for (int m = 0; h->deep && m < h->registry->n_modules; m++)
	{
		const KpxModule *module = &h->registry->modules[m];
		bool done = module->active_model == 0 || !may_see(module);
		char *wrong;

		for (int other = 0; other < m; other++)
			done = done || h->registry->modules[other].active_model == module->active_model;
		if (done || (wrong = verify(module->active_model)) == NULL)
			continue;
		fault(h, "error", "model cannot be used", module->name, wrong,
			  "Activate another version (kpx_rollback) or train again; if it is corrupt, look after your disks.");
	}
}

/* ------------------------------------------------------------ what our own tables say */

static const char *
field(uint64 row, int n)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, n);
}

/* Runs a statement that gives severity, fault, object, detail, action, and the role that may see it (NULL: anyone). */
static void
check_by_sql(Health *h, const char *sql, int nargs, Oid *types, Datum *values)
{
	KpxCatalog catalog;
	Oid user = GetUserId();

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute(sql, nargs, types, values, NULL, true);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		const char *owner = field(i, 6);
		Oid role = owner ? get_role_oid(owner, true) : InvalidOid;

		if (owner && !superuser_arg(user) && !has_privs_of_role(user, ROLE_PG_READ_ALL_STATS) && !(OidIsValid(role) && has_privs_of_role(user, role)))
			continue;
		fault(h, field(i, 1), field(i, 2), field(i, 3), (char *) field(i, 4), (char *) field(i, 5));
	}
	kpx_catalog_end(&catalog);
}

static void
check_caches(Health *h)
{
	int shared = kpx_preloaded() ? setting("kpxrec.shared_cache_size", 0) : 0;
	Oid types[] = {INT8OID, INT8OID};
	Datum values[] = {Int64GetDatum((int64) shared * 1024), Int64GetDatum((int64) kpx_cache_size * 1024)};

	check_by_sql(h,
				 "WITH active AS (SELECT DISTINCT m.id, m.bytes FROM kpx.model m JOIN kpx.active_model a ON a.model_id = m.id)"
				 " SELECT 'warning', 'shared cache is too small', NULL, format('Active models of this database have %s, the cache has %s:"
				 " sessions keep copies of their own.', pg_size_pretty(sum(bytes)), pg_size_pretty($1)),"
				 " format('Set kpxrec.shared_cache_size to more than %s; it needs no restart.', pg_size_pretty(sum(bytes))), NULL"
				 " FROM active HAVING $1 > 0 AND sum(bytes) > $1"
				 " UNION ALL SELECT 'error', 'model is too large', format('model %s', id), format('It has %s, sessions may keep %s.',"
				 " pg_size_pretty(bytes), pg_size_pretty($2)), 'Set kpxrec.cache_size, and shared_preload_libraries, so that it fits.', NULL"
				 " FROM active WHERE bytes > $2 AND bytes > $1",
				 2, types, values);
}

static void
check_drift(Health *h)
{
	check_by_sql(h,
				 "SELECT 'warning', 'drift', m.name, format('%s moved since model %s was trained: %s, above %s and what chance makes of it (%s).',"
				 " d.feature, d.model_id, round(d.psi::numeric, 3), d.threshold, round(d.noise::numeric, 3)),"
				 " 'Train again; see kpx_stat_drift.', m.owner"
				 " FROM kpx.drift_stat d JOIN kpx.module m ON m.id = d.module_id"
				 " JOIN kpx.active_model a ON a.module_id = d.module_id AND a.model_id = d.model_id"
				 " WHERE d.psi - d.noise > d.threshold"
				 " AND d.measured_at = (SELECT max(x.measured_at) FROM kpx.drift_stat x WHERE x.module_id = d.module_id) ORDER BY m.name, d.feature",
				 0, NULL, NULL);
}

static void
check_attribution(Health *h)
{
	Oid types[] = {TIMESTAMPTZOID};
	Datum values[] = {TimestampTzGetDatum(kpx_now())};

	check_by_sql(h,
				 "WITH ran AS (SELECT max(last_run) AS at FROM kpx.attribution)"
				 " SELECT 'warning', 'attribution lags', NULL, CASE WHEN ran.at IS NULL THEN 'Slates are logged, and kpx_attribute never ran.'"
				 " ELSE format('Slates are logged, and kpx_attribute last ran at %s.', ran.at) END,"
				 " 'Run kpx_attribute every few minutes.', NULL FROM ran"
				 " WHERE (ran.at IS NULL OR ran.at < $1 - interval '1 day')"
				 " AND EXISTS (SELECT FROM kpx.impression i WHERE i.occurred_at > coalesce(ran.at, '-infinity') AND i.occurred_at < $1 - interval '1 day')",
				 1, types, values);
}

static void
check_jobs(Health *h)
{
	bool off = strcmp(GetConfigOption("kpxrec.jobs", true, false) ? GetConfigOption("kpxrec.jobs", true, false) : "on", "off") == 0;
	Oid types[] = {BOOLOID, BOOLOID};
	Datum values[] = {BoolGetDatum(!kpx_preloaded()), BoolGetDatum(off)};

	if (!OidIsValid(get_relname_relid("job", get_namespace_oid("kpx", true))))
		return;
	check_by_sql(h,
				 "SELECT CASE WHEN j.consecutive_failures >= 3 THEN 'error' ELSE 'warning' END, 'job fails', j.name,"
				 " format(CASE j.consecutive_failures WHEN 1 THEN 'Its last run failed with: %2$s' ELSE '%1$s runs failed one after the other, the last with: %2$s' END,"
				 " j.consecutive_failures, coalesce(r.message, '?')),"
				 " 'See kpx_job_runs; mend the cause, then kpx_run_now.', j.owner FROM kpx.job j LEFT JOIN LATERAL (SELECT r.message FROM kpx.job_run r"
				 " WHERE r.job_id = j.id AND r.status NOT IN ('running', 'succeeded') ORDER BY r.id DESC LIMIT 1) r ON true WHERE j.consecutive_failures > 0"
				 " UNION ALL SELECT 'warning', 'job is paused', j.name, coalesce(j.paused_because, 'It was paused.'), 'kpx_resume, or kpx_unschedule.', j.owner"
				 " FROM kpx.job j WHERE NOT j.enabled"
				 " UNION ALL SELECT 'error', 'jobs do not run', NULL, format('%s jobs are scheduled, and %s.', count(*),"
				 " CASE WHEN $1 THEN 'the library is not preloaded' ELSE 'kpxrec.jobs is off' END),"
				 " CASE WHEN $1 THEN 'Set shared_preload_libraries = ''kpxrec'' and restart the server.' ELSE 'Set kpxrec.jobs = on; it needs no restart.' END, NULL"
				 " FROM kpx.job WHERE enabled HAVING count(*) > 0 AND ($1 OR $2)",
				 2, types, values);
}

/* ------------------------------------------------------------ */

static void (*const checks[])(Health *) = {check_preload, check_workers, check_statistics, check_modules, check_blocks,
										   check_caches, check_drift, check_attribution, check_jobs};

PG_FUNCTION_INFO_V1(kpx_health);
Datum
kpx_health(PG_FUNCTION_ARGS)
{
	Health h = {.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo, .deep = !PG_ARGISNULL(0) && PG_GETARG_BOOL(0)};

	InitMaterializedSRF(fcinfo, 0);
	h.registry = kpx_registry();
	for (int c = 0; c < (int) lengthof(checks); c++)
		checks[c](&h);
	return (Datum) 0;
}
