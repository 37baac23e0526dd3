/*
 * job_events.c
 *	  How many events are new since a job last ran: the conditions when_new_events and when_new_share.
 *
 * Rows of a table are counted by the server as they are inserted (pg_stat_user_tables.n_tup_ins),
 * which costs nothing to look at; the count begins again when statistics are reset, after a crash
 * for instance. Rows of views and foreign tables have to be counted.
 */
#include "job.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "catalog/pg_inherits.h"
#include "pgstat.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "factor.h"
#include "registry.h"

static int64
inserted(Oid relation)
{
	PgStat_StatTabEntry *entry = pgstat_fetch_stat_tabentry(relation);

	return entry ? (int64) entry->tuples_inserted : 0;
}

static int64
count_rows(const KpxSource *source, const char *module)
{
	char *sql = psprintf("SELECT pg_catalog.count(*) FROM %s", kpx_relation_sql(source->relation, source->relation_name, "module", module));
	bool null;
	int64 n;

	SPI_connect();
	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("cannot count the rows of \"%s\"", source->relation_name)));
	n = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	SPI_finish();
	return n;
}

static int64
events_of(const KpxSource *source, const char *module)
{
	char kind = get_rel_relkind(source->relation);
	int64 n = 0;

	if (kind == RELKIND_RELATION)
		return inserted(source->relation);
	if (kind == RELKIND_PARTITIONED_TABLE)
	{
		List *all = find_all_inheritors(source->relation, NoLock, NULL);
		ListCell *cell;

		foreach (cell, all)
			n += inserted(lfirst_oid(cell));
		return n;
	}
	return count_rows(source, module);
}

/* Interactions that the active models of these modules were trained on. */
static int64
trained_interactions(KpxModule **modules, int n)
{
	Datum *ids = palloc(sizeof(Datum) * n);
	Oid types[] = {INT4ARRAYOID};
	Datum values[1];
	KpxCatalog catalog;
	int64 total;
	bool null;

	for (int m = 0; m < n; m++)
		ids[m] = Int32GetDatum(modules[m]->id);
	values[0] = PointerGetDatum(construct_array(ids, n, INT4OID, 4, true, TYPALIGN_INT));
	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("SELECT coalesce(sum(mm.interactions), 0)::bigint FROM kpx.active_model a JOIN kpx.model_module mm"
						" ON mm.model_id = a.model_id AND mm.module_id = a.module_id WHERE a.module_id = ANY ($1)",
						1, types, values, NULL, true);
	total = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	kpx_catalog_end(&catalog);
	return total;
}

static int64
seen_before(Jsonb *seen, int source)
{
	JsonbValue *value;
	char key[16];

	if (seen == NULL)
		return 0;
	snprintf(key, sizeof(key), "%d", source);
	value = getKeyJsonValueFromContainer(&seen->root, key, (int) strlen(key), NULL);
	return value && value->type == jbvNumeric ? DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value->val.numeric))) : 0;
}

static KpxModule **
modules_of(const KpxJob *job, int *n)
{
	KpxRegistry *registry = kpx_registry();
	ArrayType *named = kpx_argument_texts(job->arguments, "modules");
	char *one = kpx_argument_text(job->arguments, "module");
	KpxModule **modules;

	if (named)
		return kpx_modules_argument(named, registry, n);
	modules = palloc(sizeof(KpxModule *) * Max(registry->n_modules, 1));
	*n = 0;
	if (one)
		modules[(*n)++] = kpx_find_module(registry, one);
	/* Only the owner's: others' relations may be views that run anything, as whoever looks at them. */
	for (int m = 0; m < registry->n_modules && one == NULL; m++)
		if (kpx_has_role(registry->modules[m].owner))
			modules[(*n)++] = &registry->modules[m];
	return modules;
}

Jsonb *
kpx_job_events(const KpxJob *job, bool *due)
{
	int n;
	KpxModule **modules = modules_of(job, &n);
	StringInfoData json;
	int64 fresh = 0;

	initStringInfo(&json);
	for (int m = 0; m < n; m++)
		for (int s = 0; s < modules[m]->n_sources; s++)
		{
			const KpxSource *source = &modules[m]->sources[s];
			int64 now = events_of(source, modules[m]->name);
			int64 before = seen_before(job->events_seen, source->id);

			fresh += now >= before ? now - before : now;
			appendStringInfo(&json, "%s\"%d\": " INT64_FORMAT, json.len ? ", " : "", source->id, now);
		}
	*due = true;
	if (job->when_new_events > 0 || job->when_new_share > 0)
		*due = (job->when_new_events > 0 && fresh >= job->when_new_events) ||
			   (job->when_new_share > 0 && (double) fresh >= job->when_new_share * (double) trained_interactions(modules, n));
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(psprintf("{%s}", json.data))));
}
