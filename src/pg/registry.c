/*
 * registry.c
 *	  The registered modules and event sources, cached in the session.
 *
 * Answers need them on every call, so each backend keeps a copy, dropped when the
 * tables change (relcache invalidation, sent by statement triggers on them) or a
 * registered relation does. A copy that was replaced may still be in use further up the
 * stack: it lives until the transaction ends.
 */
#include "registry.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog_rows.h"

static KpxRegistry *current = NULL;
static KpxRegistry *stale = NULL;
static bool valid = false;
static bool callbacks_registered = false;
static uint64 generation = 0;
static const char *const watched_names[] = {"module", "event_source", "model", "active_model", "traffic", "ranker", "segmentation", "forget_key",
											"consent_source", "consent_rule"};
static Oid watched[lengthof(watched_names)];

static void
forget(void)
{
	valid = false;
	generation++;
}

/* Item tables and event sources too: the plans kept for them name them, and their columns' types. */
static bool
is_registered(Oid relation)
{
	for (int m = 0; current && m < current->n_modules; m++)
	{
		const KpxModule *module = &current->modules[m];

		if (module->items == relation)
			return true;
		for (int s = 0; s < module->n_sources; s++)
			if (module->sources[s].relation == relation)
				return true;
	}
	return false;
}

static void
relcache_changed(Datum arg, Oid relation)
{
	bool ours = relation == InvalidOid || is_registered(relation);

	for (int i = 0; i < lengthof(watched); i++)
		ours |= relation == watched[i];
	if (ours)
		forget();
}

/* A schema was renamed, perhaps. */
static void
namespace_changed(Datum arg, int cache, uint32 hash)
{
	forget();
}

static void
free_registry(KpxRegistry *registry)
{
	for (int m = 0; m < registry->n_modules; m++)
	{
		KpxModule *module = &registry->modules[m];

		if (module->available_plan)
			SPI_freeplan(module->available_plan);
		if (module->facts_plan)
			SPI_freeplan(module->facts_plan);
		if (module->boosted_facts_plan)
			SPI_freeplan(module->boosted_facts_plan);
		for (int s = 0; s < module->n_sources; s++)
			if (module->sources[s].history_plan)
				SPI_freeplan(module->sources[s].history_plan);
	}
	MemoryContextDelete(registry->context);
}

static void
transaction_ended(XactEvent event, void *arg)
{
	KpxRegistry **link = &stale;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	while (*link)
	{
		KpxRegistry *old = *link;

		if (old->kept)
		{
			link = &old->next_stale;
			continue;
		}
		*link = old->next_stale;
		free_registry(old);
	}
}

void
kpx_registry_keep(KpxRegistry *registry)
{
	registry->kept = true;
}

/* An interval column in seconds; when NULL, otherwise. */
static double
seconds(const KpxRows *rows, int row, const char *column, double otherwise)
{
	bool null;
	Datum value = kpx_rows_value(rows, row, column, &null);

	return null ? otherwise : DatumGetFloat8(DirectFunctionCall2(interval_part, CStringGetTextDatum("epoch"), value));
}

static int32
number(const KpxRows *rows, int row, const char *column)
{
	return DatumGetInt32(kpx_rows_value(rows, row, column, NULL));
}

/* A name[] column as C strings; none when NULL. */
static char **
keep_names(const KpxRows *rows, int row, const char *column, MemoryContext context, int *n)
{
	bool null;
	Datum value = kpx_rows_value(rows, row, column, &null);
	Datum *elements;
	char **names;

	*n = 0;
	if (null)
		return NULL;
	deconstruct_array(DatumGetArrayTypeP(value), NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, &elements, NULL, n);
	names = MemoryContextAlloc(context, sizeof(char *) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		names[i] = MemoryContextStrdup(context, NameStr(*DatumGetName(elements[i])));
	return names;
}

static void
load_modules(KpxRegistry *registry)
{
	MemoryContext context = registry->context;
	KpxRows rows = kpx_rows("module", "id");
	KpxRows active = kpx_rows("active_model", NULL);

	registry->n_modules = rows.n;
	registry->modules = MemoryContextAllocZero(context, sizeof(KpxModule) * Max(rows.n, 1));
	for (int i = 0; i < rows.n; i++)
	{
		KpxModule *m = &registry->modules[i];

		m->id = number(&rows, i, "id");
		m->name = kpx_rows_text(&rows, i, "name", context);
		m->owner = kpx_rows_text(&rows, i, "owner", context);
		m->items = DatumGetObjectId(kpx_rows_value(&rows, i, "items", NULL));
		m->items_name = kpx_rows_text(&rows, i, "items_name", context);
		m->item_id = kpx_rows_text(&rows, i, "item_id", context);
		m->available = kpx_rows_text(&rows, i, "available", context);
		m->repeat_after = seconds(&rows, i, "repeat_after", -1);
		m->title = kpx_rows_text(&rows, i, "title", context);
		m->category = kpx_rows_text(&rows, i, "category", context);
		m->price = kpx_rows_text(&rows, i, "price", context);
		m->text_columns = keep_names(&rows, i, "text_columns", context, &m->n_text_columns);
		m->attributes = keep_names(&rows, i, "attributes", context, &m->n_attributes);
		m->embeddings = keep_names(&rows, i, "embeddings", context, &m->n_embeddings);
		m->text_search_config = kpx_rows_text(&rows, i, "text_search_config", context);
	}
	for (int i = 0; i < active.n; i++)
	{
		KpxModule *m = kpx_find_module_by_id(registry, number(&active, i, "module_id"));

		if (m)
			m->active_model = DatumGetInt64(kpx_rows_value(&active, i, "model_id", NULL));
	}
}

static void
load_sources(KpxRegistry *registry)
{
	MemoryContext context = registry->context;
	KpxRows rows = kpx_rows("event_source", "id");

	for (int i = 0; i < rows.n; i++)
	{
		KpxModule *m = kpx_find_module_by_id(registry, number(&rows, i, "module_id"));
		KpxSource *s;

		if (m == NULL)
			continue;
		if (m->sources == NULL)
			m->sources = MemoryContextAllocZero(context, sizeof(KpxSource) * rows.n);
		s = &m->sources[m->n_sources++];
		s->id = number(&rows, i, "id");
		s->relation = DatumGetObjectId(kpx_rows_value(&rows, i, "relation", NULL));
		s->relation_name = kpx_rows_text(&rows, i, "relation_name", context);
		s->kind = kpx_rows_text(&rows, i, "kind", context);
		s->user_id = kpx_rows_text(&rows, i, "user_id", context);
		s->item_id = kpx_rows_text(&rows, i, "item_id", context);
		s->occurred_at = kpx_rows_text(&rows, i, "occurred_at", context);
		s->weight_column = kpx_rows_text(&rows, i, "weight_column", context);
		s->weight = DatumGetFloat8(kpx_rows_value(&rows, i, "weight", NULL));
		s->hides = DatumGetBool(kpx_rows_value(&rows, i, "hides", NULL));
		s->half_life = seconds(&rows, i, "half_life", 0);
		s->value = kpx_rows_text(&rows, i, "value", context);
		s->duration = kpx_rows_text(&rows, i, "duration", context);
	}
}

static void
load_consent(KpxRegistry *registry)
{
	MemoryContext context = registry->context;
	KpxRows rows = kpx_rows("consent_source", "id");

	registry->n_consent_sources = rows.n;
	registry->consent_sources = MemoryContextAllocZero(context, sizeof(KpxConsentSource) * Max(rows.n, 1));
	for (int i = 0; i < rows.n; i++)
		registry->consent_sources[i] = (KpxConsentSource){
			.id = number(&rows, i, "id"),
			.relation = DatumGetObjectId(kpx_rows_value(&rows, i, "relation", NULL)),
			.relation_name = kpx_rows_text(&rows, i, "relation_name", context),
			.user_id = kpx_rows_text(&rows, i, "user_id", context),
			.source_module = kpx_rows_text(&rows, i, "source_module", context),
			.target_module = kpx_rows_text(&rows, i, "target_module", context),
			.purpose = kpx_rows_text(&rows, i, "purpose", context),
			.allowed = kpx_rows_text(&rows, i, "allowed", context),
		};
	rows = kpx_rows("consent_rule", NULL);
	registry->n_consent_rules = rows.n;
	registry->consent_rules = MemoryContextAllocZero(context, sizeof(KpxConsentRule) * Max(rows.n, 1));
	for (int i = 0; i < rows.n; i++)
		registry->consent_rules[i] = (KpxConsentRule){number(&rows, i, "source_module_id"), number(&rows, i, "target_module_id"),
													  DatumGetBool(kpx_rows_value(&rows, i, "required", NULL))};
}

static void
load_forget_key(KpxRegistry *registry)
{
	KpxRows rows = kpx_rows("forget_key", NULL);
	bytea *key;

	if (rows.n == 0)
		return;
	key = DatumGetByteaPP(kpx_rows_value(&rows, 0, "key", NULL));
	registry->forget_key = MemoryContextAllocZero(registry->context, Max(VARSIZE_ANY_EXHDR(key), 32));
	memcpy(registry->forget_key, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
}

static void
load_traffic(KpxRegistry *registry)
{
	KpxRows rows = kpx_rows("traffic", "model_id");

	for (int i = 0; i < rows.n; i++)
	{
		KpxModule *m = kpx_find_module_by_id(registry, number(&rows, i, "module_id"));

		if (m == NULL)
			continue;
		if (m->traffic == NULL)
			m->traffic = MemoryContextAlloc(registry->context, sizeof(KpxTraffic) * rows.n);
		m->traffic[m->n_traffic++] = (KpxTraffic){DatumGetInt64(kpx_rows_value(&rows, i, "model_id", NULL)),
												  DatumGetFloat8(kpx_rows_value(&rows, i, "share", NULL))};
	}
}

/* Of the installed extension, or NULL; takes its schema as well. */
static char *
installed_version(KpxRegistry *registry)
{
	Relation relation = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData where;
	SysScanDesc scan;
	HeapTuple tuple;
	char *version = NULL;

	ScanKeyInit(&where, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("kpxrec"));
	scan = systable_beginscan(relation, ExtensionNameIndexId, true, NULL, 1, &where);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool null;
		Datum value = heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(relation), &null);
		char *schema = get_namespace_name(((Form_pg_extension) GETSTRUCT(tuple))->extnamespace);

		version = TextDatumGetCString(value);
		registry->schema = schema ? MemoryContextStrdup(registry->context, schema) : NULL;
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return version;
}

static void
check_version(KpxRegistry *registry)
{
	char *installed = installed_version(registry);

	if (installed == NULL || registry->schema == NULL || strcmp(installed, KPX_VERSION) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the kpxrec library is version %s, the extension in this database is version %s",
						KPX_VERSION, installed ? installed : "(none)"),
				 errhint("Run ALTER EXTENSION kpxrec UPDATE, or reconnect when the library was just replaced.")));
}

KpxRegistry *
kpx_registry(void)
{
	KpxRegistry *loaded;
	MemoryContext context;
	MemoryContext scratch;
	MemoryContext old;
	uint64 before;

	/* a statement that takes no lock of its own would not hear of what others have committed */
	AcceptInvalidationMessages();
	if (valid)
		return current;
	if (!callbacks_registered)
	{
		CacheRegisterRelcacheCallback(relcache_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, namespace_changed, (Datum) 0);
		RegisterXactCallback(transaction_ended, NULL);
		callbacks_registered = true;
	}
	context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec registry", ALLOCSET_SMALL_SIZES);
	scratch = AllocSetContextCreate(CurrentMemoryContext, "kpxrec rows of the registry", ALLOCSET_DEFAULT_SIZES);
	before = generation;
	kpx_rows_begin();
	old = MemoryContextSwitchTo(scratch);
	for (int i = 0; i < lengthof(watched); i++)
		watched[i] = get_relname_relid(watched_names[i], kpx_schema());
	loaded = MemoryContextAllocZero(context, sizeof(KpxRegistry));
	loaded->context = context;
	check_version(loaded);
	loaded->generation = before;
	load_modules(loaded);
	load_sources(loaded);
	load_consent(loaded);
	load_forget_key(loaded);
	load_traffic(loaded);
	MemoryContextSwitchTo(old);
	kpx_rows_end();
	MemoryContextDelete(scratch);
	MemoryContextSetParent(context, CacheMemoryContext);
	if (current)
	{
		current->next_stale = stale;
		stale = current;
	}
	current = loaded;
	/* What changed while we read may not be in it: then it serves this call only. */
	valid = generation == before;
	return current;
}

uint64
kpx_registry_generation(void)
{
	return generation;
}

void
kpx_require_all_modules(const KpxRegistry *registry)
{
	for (int m = 0; m < registry->n_modules; m++)
		kpx_require_owner(registry->modules[m].owner, "module", registry->modules[m].name);
}

KpxModule *
kpx_find_module_by_id(KpxRegistry *registry, int id)
{
	for (int i = 0; i < registry->n_modules; i++)
		if (registry->modules[i].id == id)
			return &registry->modules[i];
	return NULL;
}

/* Names of the modules that the current role may know of, for an error's detail. */
static char *
visible_modules(const KpxRegistry *registry)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < registry->n_modules; i++)
	{
		const KpxModule *module = &registry->modules[i];

		if (kpx_has_role(module->owner) ||
			(get_rel_name(module->items) &&
			 pg_attribute_aclcheck_all(module->items, GetUserId(), ACL_SELECT, ACLMASK_ANY) == ACLCHECK_OK) ||
			(get_rel_name(module->items) && pg_class_aclcheck(module->items, GetUserId(), ACL_SELECT) == ACLCHECK_OK))
			appendStringInfo(&names, "%s%s", names.len ? ", " : "", module->name);
	}
	return names.len ? names.data : NULL;
}

KpxModule *
kpx_find_module(KpxRegistry *registry, const char *name)
{
	char *known;

	for (int i = 0; i < registry->n_modules; i++)
		if (strcmp(registry->modules[i].name, name) == 0)
			return &registry->modules[i];
	known = visible_modules(registry);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("module \"%s\" is not registered", name),
			 known ? errdetail("Registered modules: %s.", known) : 0,
			 name[0] == '{' ? errhint("Write several modules as ARRAY['a', 'b'].")
							: errhint("Register it with kpx_add_module.")));
}

char *
kpx_relation_sql(Oid relation, const char *relation_name, const char *what, const char *name)
{
	char *relname = get_rel_name(relation);

	if (relname == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s\" of %s \"%s\" does not exist any more", relation_name, what, name),
				 errhint("Register its replacement with kpx_add_module or kpx_add_events, and drop this one.")));
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), relname);
}

Oid
kpx_column_type(Oid relation, const char *column)
{
	AttrNumber number = get_attnum(relation, column);

	if (number == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist", column,
						get_rel_name(relation) ? get_rel_name(relation) : "(dropped)"),
				 errhint("Column names are given as they are stored, without quotes; they are case-sensitive.")));
	return get_atttype(relation, number);
}

const char *
kpx_newest_first(Oid relation, const char *column)
{
	HeapTuple tuple = SearchSysCacheAttName(relation, column);
	bool not_null = false;

	if (HeapTupleIsValid(tuple))
	{
		not_null = ((Form_pg_attribute) GETSTRUCT(tuple))->attnotnull;
		ReleaseSysCache(tuple);
	}
	return not_null ? "DESC" : "DESC NULLS LAST";
}

KpxIdKind
kpx_module_item_kind(const KpxModule *module)
{
	(void) kpx_relation_sql(module->items, module->items_name, "module", module->name);
	return kpx_require_id_kind(kpx_column_type(module->items, module->item_id),
							   psprintf("column \"%s\" of \"%s\"", module->item_id, module->items_name));
}

static bool
may_read_column(Oid relation, const char *column)
{
	AttrNumber number = column ? get_attnum(relation, column) : InvalidAttrNumber;

	return number == InvalidAttrNumber ||
		   pg_attribute_aclcheck(relation, number, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

bool
kpx_may_read_sources(const KpxModule *module)
{
	bool any = false;

	for (int i = 0; i < module->n_sources; i++)
	{
		const KpxSource *s = &module->sources[i];

		if (get_rel_name(s->relation) == NULL)
			continue;
		any = true;
		if (pg_class_aclcheck(s->relation, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
			continue;
		if (!may_read_column(s->relation, s->user_id) || !may_read_column(s->relation, s->item_id) ||
			!may_read_column(s->relation, s->occurred_at) || !may_read_column(s->relation, s->weight_column))
			return false;
	}
	return any;
}
