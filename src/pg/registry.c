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

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

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

static char *
text_or_null(int row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

static char *
keep(MemoryContext context, int row, int column)
{
	char *value = text_or_null(row, column);

	return value ? MemoryContextStrdup(context, value) : NULL;
}

static Datum
field(int row, int column, bool *null)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, null);
}

/* An interval column in seconds; when NULL, otherwise. */
static double
seconds(int row, int column, double otherwise)
{
	bool null;
	Datum value = field(row, column, &null);

	return null ? otherwise : DatumGetFloat8(value);
}

/* A name[] column as C strings; none when NULL. */
static char **
keep_names(MemoryContext context, int row, int column, int *n)
{
	bool null;
	Datum value = field(row, column, &null);
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
	bool null;

	kpx_catalog_execute("SELECT m.id, m.name, m.owner, m.items::oid, m.items_name, m.item_id, m.available,"
						" extract(epoch FROM m.repeat_after)::float8, a.model_id,"
						" m.title, m.category, m.price, m.text_columns, m.attributes, m.embeddings, m.text_search_config"
						" FROM kpx.module m LEFT JOIN kpx.active_model a ON a.module_id = m.id ORDER BY m.id",
						0, NULL, NULL, NULL, true);
	registry->n_modules = (int) SPI_processed;
	registry->modules = MemoryContextAllocZero(registry->context,
											   sizeof(KpxModule) * Max(registry->n_modules, 1));
	for (int i = 0; i < registry->n_modules; i++)
	{
		KpxModule *m = &registry->modules[i];

		m->id = DatumGetInt32(field(i, 1, &null));
		m->name = keep(registry->context, i, 2);
		m->owner = keep(registry->context, i, 3);
		m->items = DatumGetObjectId(field(i, 4, &null));
		m->items_name = keep(registry->context, i, 5);
		m->item_id = keep(registry->context, i, 6);
		m->available = keep(registry->context, i, 7);
		m->repeat_after = seconds(i, 8, -1);
		m->active_model = DatumGetInt64(field(i, 9, &null));
		if (null)
			m->active_model = 0;
		m->title = keep(registry->context, i, 10);
		m->category = keep(registry->context, i, 11);
		m->price = keep(registry->context, i, 12);
		m->text_columns = keep_names(registry->context, i, 13, &m->n_text_columns);
		m->attributes = keep_names(registry->context, i, 14, &m->n_attributes);
		m->embeddings = keep_names(registry->context, i, 15, &m->n_embeddings);
		m->text_search_config = keep(registry->context, i, 16);
	}
}

static void
load_sources(KpxRegistry *registry)
{
	bool null;

	kpx_catalog_execute("SELECT module_id, id, relation::oid, relation_name, kind, user_id, item_id, occurred_at,"
						" weight_column, weight, hides, extract(epoch FROM half_life)::float8, value, duration"
						" FROM kpx.event_source ORDER BY id",
						0, NULL, NULL, NULL, true);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		KpxModule *m = kpx_find_module_by_id(registry, DatumGetInt32(field((int) i, 1, &null)));
		KpxSource *s;
		MemoryContext old;

		if (m == NULL)
			continue;
		old = MemoryContextSwitchTo(registry->context);
		m->sources = m->sources ? repalloc(m->sources, sizeof(KpxSource) * (m->n_sources + 1)) : palloc(sizeof(KpxSource));
		MemoryContextSwitchTo(old);
		s = &m->sources[m->n_sources++];
		memset(s, 0, sizeof(*s));
		s->id = DatumGetInt32(field((int) i, 2, &null));
		s->relation = DatumGetObjectId(field((int) i, 3, &null));
		s->relation_name = keep(registry->context, (int) i, 4);
		s->kind = keep(registry->context, (int) i, 5);
		s->user_id = keep(registry->context, (int) i, 6);
		s->item_id = keep(registry->context, (int) i, 7);
		s->occurred_at = keep(registry->context, (int) i, 8);
		s->weight_column = keep(registry->context, (int) i, 9);
		s->weight = DatumGetFloat8(field((int) i, 10, &null));
		s->hides = DatumGetBool(field((int) i, 11, &null));
		s->half_life = seconds((int) i, 12, 0);
		s->value = keep(registry->context, (int) i, 13);
		s->duration = keep(registry->context, (int) i, 14);
	}
}

static void
load_consent(KpxRegistry *registry)
{
	bool null;

	kpx_catalog_execute("SELECT id, relation::oid, relation_name, user_id, source_module, target_module, purpose, allowed"
						" FROM kpx.consent_source ORDER BY id",
						0, NULL, NULL, NULL, true);
	registry->n_consent_sources = (int) SPI_processed;
	registry->consent_sources = MemoryContextAllocZero(registry->context, sizeof(KpxConsentSource) * Max(SPI_processed, 1));
	for (int i = 0; i < registry->n_consent_sources; i++)
		registry->consent_sources[i] = (KpxConsentSource){
			.id = DatumGetInt32(field(i, 1, &null)),
			.relation = DatumGetObjectId(field(i, 2, &null)),
			.relation_name = keep(registry->context, i, 3),
			.user_id = keep(registry->context, i, 4),
			.source_module = keep(registry->context, i, 5),
			.target_module = keep(registry->context, i, 6),
			.purpose = keep(registry->context, i, 7),
			.allowed = keep(registry->context, i, 8),
		};
	kpx_catalog_execute("SELECT source_module_id, target_module_id, required FROM kpx.consent_rule", 0, NULL, NULL, NULL, true);
	registry->n_consent_rules = (int) SPI_processed;
	registry->consent_rules = MemoryContextAllocZero(registry->context, sizeof(KpxConsentRule) * Max(SPI_processed, 1));
	for (int i = 0; i < registry->n_consent_rules; i++)
		registry->consent_rules[i] = (KpxConsentRule){DatumGetInt32(field(i, 1, &null)), DatumGetInt32(field(i, 2, &null)),
													  DatumGetBool(field(i, 3, &null))};
}

static void
load_forget_key(KpxRegistry *registry)
{
	bool null;
	bytea *key;

	kpx_catalog_execute("SELECT key FROM kpx.forget_key", 0, NULL, NULL, NULL, true);
	if (SPI_processed == 0)
		return;
	key = DatumGetByteaPP(field(0, 1, &null));
	registry->forget_key = MemoryContextAllocZero(registry->context, Max(VARSIZE_ANY_EXHDR(key), 32));
	memcpy(registry->forget_key, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
}

static void
load_traffic(KpxRegistry *registry)
{
	bool null;

	kpx_catalog_execute("SELECT module_id, model_id, share FROM kpx.traffic ORDER BY module_id, model_id", 0, NULL, NULL, NULL, true);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		KpxModule *m = kpx_find_module_by_id(registry, DatumGetInt32(field((int) i, 1, &null)));

		if (m == NULL)
			continue;
		/* Rows of a module come together: room for all that are left. */
		if (m->traffic == NULL)
			m->traffic = MemoryContextAlloc(registry->context, sizeof(KpxTraffic) * (SPI_processed - i));
		m->traffic[m->n_traffic++] = (KpxTraffic){DatumGetInt64(field((int) i, 2, &null)), DatumGetFloat8(field((int) i, 3, &null))};
	}
}

/* Also takes the extension's schema from the row it looks at. */
static void
check_version(KpxRegistry *registry)
{
	char *installed;

	kpx_catalog_execute("SELECT e.extversion, n.nspname FROM pg_catalog.pg_extension e"
						" JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'kpxrec'",
						0, NULL, NULL, NULL, true);
	installed = SPI_processed == 1 ? text_or_null(0, 1) : NULL;
	if (installed == NULL || strcmp(installed, KPX_VERSION) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the kpxrec library is version %s, the extension in this database is version %s",
						KPX_VERSION, installed ? installed : "(none)"),
				 errhint("Run ALTER EXTENSION kpxrec UPDATE, or reconnect when the library was just replaced.")));
	registry->schema = keep(registry->context, 0, 2);
}

KpxRegistry *
kpx_registry(void)
{
	KpxCatalog catalog;
	KpxRegistry *loaded;
	MemoryContext context;
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
	before = generation;
	kpx_catalog_begin(&catalog, true);
	for (int i = 0; i < lengthof(watched); i++)
		watched[i] = get_relname_relid(watched_names[i], get_namespace_oid("kpx", false));
	loaded = MemoryContextAllocZero(context, sizeof(KpxRegistry));
	loaded->context = context;
	check_version(loaded);
	loaded->generation = before;
	load_modules(loaded);
	load_sources(loaded);
	load_consent(loaded);
	load_forget_key(loaded);
	load_traffic(loaded);
	kpx_catalog_end(&catalog);
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
