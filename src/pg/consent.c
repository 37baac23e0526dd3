/*
 * consent.c
 *	  Which module's events of a user may be used for which other module.
 *
 * What kpx_set_consent was told decides, the newest row that speaks of a pair of modules; where it
 * is silent, a row of a consent source says yes; else the answer is no, for pairs that require
 * consent. Users are numbered as they are asked about, each with one byte a pair of modules.
 */
#include "consent.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

#include "forget.h"
#include "idmap.h"

bool kpx_require_consent_setting = false;

#define ROWS_A_FETCH 10000
/* Up to so many users are looked up one by one among the forgotten; for more, all tombstones are read. */
#define FEW_USERS 64

/* What is known of a user and a pair of modules. */
#define SAID_YES 1 /* by kpx_set_consent */
#define SAID_NO 2
#define IN_SOURCE 4

/* What is known of a user. */
#define ASKED 1 /* whether forgotten */
#define FORGOTTEN 2

struct KpxConsents
{
	const KpxRegistry *registry;
	MemoryContext context;
	KpxPurpose purpose;
	KpxModule **modules;
	int n;
	KpxIdKind kind;
	bool *required; /* [source * n + target] */
	bool asks; /* any of them */
	KpxForgotten *forgotten; /* all; or NULL, and each is looked up */
	KpxIdMap *users;
	uint32 size; /* users there is room for */
	uint8 *known; /* [size] */
	uint8 *said; /* [size * n * n] */
};

const char *const kpx_purpose_names[] = {"training", "answers"};

bool
kpx_consent_required(const KpxRegistry *registry, const KpxModule *source, const KpxModule *target)
{
	if (source->id == target->id)
		return false;
	for (int i = 0; i < registry->n_consent_rules; i++)
		if (registry->consent_rules[i].source == source->id && registry->consent_rules[i].target == target->id)
			return registry->consent_rules[i].required;
	return kpx_require_consent_setting;
}

/* ------------------------------------------------------------ users */

static void
grow(KpxConsents *c, uint32 user)
{
	uint32 size = Max(64, user + user / 2 + 1);
	size_t cells = (size_t) c->n * c->n;
	size_t bytes;
	uint8 *known;
	uint8 *said;

	if (!kpx_mul_size(size, cells + 1, &bytes))
		bytes = SIZE_MAX;
	kpx_check_budget(bytes + kpx_idmap_bytes(c->users), "reading who has consented");
	known = kpx_alloc(c->context, size, 1);
	said = kpx_alloc(c->context, size, cells);
	memset(known, 0, size);
	memset(said, 0, size * cells);
	if (c->size)
	{
		memcpy(known, c->known, c->size);
		memcpy(said, c->said, c->size * cells);
		pfree(c->known);
		pfree(c->said);
	}
	c->known = known;
	c->said = said;
	c->size = size;
}

/* Number of a user, who is new perhaps. */
static uint32
user_number(KpxConsents *c, KpxId id)
{
	uint32 user = kpx_idmap_add(c->users, id);

	if (user >= c->size)
		grow(c, user);
	return user;
}

static bool
is_forgotten(KpxConsents *c, uint32 user, KpxId id)
{
	if (c->registry->forget_key == NULL)
		return false;
	if (!(c->known[user] & ASKED))
	{
		bool forgotten = c->forgotten ? kpx_forgotten_has(c->forgotten, c->kind, id)
									  : kpx_is_forgotten(c->registry, kpx_id_to_cstring(c->kind, id));

		c->known[user] |= forgotten ? ASKED | FORGOTTEN : ASKED;
	}
	return (c->known[user] & FORGOTTEN) != 0;
}

/* ------------------------------------------------------------ reading */

/* Notes what a row says of pairs; id 0, or no name: any module. */
static void
note(KpxConsents *c, uint32 user, const bool *sources, const bool *targets, uint8 said)
{
	for (int s = 0; s < c->n; s++)
		for (int t = 0; t < c->n; t++)
			if (sources[s] && targets[t])
			{
				uint8 *cell = &c->said[((size_t) user * c->n + s) * c->n + t];

				*cell = said == IN_SOURCE ? *cell | IN_SOURCE : (*cell & IN_SOURCE) | said;
			}
}

/* Fetches all rows of an open portal, a batch at a time, and hands each to take. */
static void
fetch_all(KpxConsents *c, Portal portal, void (*take)(KpxConsents *c, HeapTuple row, TupleDesc desc))
{
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "kpxrec consent rows", ALLOCSET_DEFAULT_SIZES);

	for (;;)
	{
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, ROWS_A_FETCH);
		if (SPI_processed == 0)
			break;
		old = MemoryContextSwitchTo(batch);
		for (uint64 i = 0; i < SPI_processed; i++)
			take(c, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	MemoryContextDelete(batch);
}

/* A row of kpx.consent: user_id, source, target, allowed. */
static void
take_said(KpxConsents *c, HeapTuple row, TupleDesc desc)
{
	bool null;
	KpxId id;
	int32 source = DatumGetInt32(SPI_getbinval(row, desc, 2, &null));
	int32 target = DatumGetInt32(SPI_getbinval(row, desc, 3, &null));
	bool *sources = palloc(sizeof(bool) * c->n);
	bool *targets = palloc(sizeof(bool) * c->n);

	/* users may have had ids of another kind once */
	if (!kpx_id_try_text(c->kind, SPI_getvalue(row, desc, 1), &id))
		return;
	for (int m = 0; m < c->n; m++)
	{
		sources[m] = source == 0 || source == c->modules[m]->id;
		targets[m] = target == 0 || target == c->modules[m]->id;
	}
	note(c, user_number(c, id), sources, targets, DatumGetBool(SPI_getbinval(row, desc, 4, &null)) ? SAID_YES : SAID_NO);
}

static void
read_said(KpxConsents *c, const KpxId *users, int n_users)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTOID, TEXTARRAYOID};
	Datum values[] = {CStringGetTextDatum(kpx_purpose_names[c->purpose]), (Datum) 0};
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, true);
	if (users)
	{
		Datum *ids = kpx_alloc(CurrentMemoryContext, n_users, sizeof(Datum));

		for (int u = 0; u < n_users; u++)
			ids[u] = CStringGetTextDatum(kpx_id_to_cstring(c->kind, users[u]));
		values[1] = PointerGetDatum(construct_array(ids, n_users, TEXTOID, -1, false, TYPALIGN_INT));
		kpx_catalog_execute_planned(&plan, "SELECT user_id, source_module_id, target_module_id, allowed FROM kpx.consent"
										   " WHERE user_id = ANY ($2) AND purpose IN ('all', $1) ORDER BY id",
									2, types, values, NULL, true);
		for (uint64 i = 0; i < SPI_processed; i++)
			take_said(c, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	}
	else
		fetch_all(c,
				  SPI_cursor_open_with_args(NULL, "SELECT user_id, source_module_id, target_module_id, allowed FROM kpx.consent"
												  " WHERE purpose IN ('all', $1) ORDER BY id",
											1, types, values, NULL, true, 0),
				  take_said);
	kpx_catalog_end(&catalog);
}

/* Which modules a name means; NULL: any. */
static bool *
named(const KpxConsents *c, const char *name)
{
	bool *is = palloc(sizeof(bool) * c->n);

	for (int m = 0; m < c->n; m++)
		is[m] = name == NULL || strcmp(c->modules[m]->name, name) == 0;
	return is;
}

/* A row of a consent source: user_id, source, target. */
static void
take_row(KpxConsents *c, HeapTuple row, TupleDesc desc)
{
	bool null;
	Datum user = SPI_getbinval(row, desc, 1, &null);

	if (null)
		return;
	if (c->kind == KPX_ID_TEXT)
		user = PointerGetDatum(PG_DETOAST_DATUM_PACKED(user));
	note(c, user_number(c, kpx_id_from_datum(c->kind, kpx_id_kind_type(c->kind), user)), named(c, SPI_getvalue(row, desc, 2)),
		 named(c, SPI_getvalue(row, desc, 3)), IN_SOURCE);
}

static char *
source_sql(const KpxConsents *c, const KpxConsentSource *source, bool some)
{
	char *relation = kpx_relation_sql(source->relation, source->relation_name, "consent source", psprintf("%d", source->id));
	KpxIdKind kind = kpx_require_id_kind(kpx_column_type(source->relation, source->user_id),
										 psprintf("column \"%s\" of relation %s", source->user_id, relation));
	StringInfoData sql;

	if (kind != c->kind)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("consent source %d (%s) has %s ids of users, the events have %s ids", source->id, source->relation_name,
						kpx_id_kind_name(kind), kpx_id_kind_name(c->kind)),
				 errhint("Register a view that casts them.")));
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT c.%s::%s", quote_identifier(source->user_id), kpx_id_type_sql[kind]);
	appendStringInfo(&sql, ", c.%s::pg_catalog.text", quote_identifier(source->source_module));
	appendStringInfo(&sql, ", c.%s::pg_catalog.text FROM %s c WHERE true", quote_identifier(source->target_module), relation);
	if (some)
		appendStringInfo(&sql, " AND c.%s OPERATOR(pg_catalog.=) ANY ($2)", quote_identifier(source->user_id));
	if (source->allowed)
		appendStringInfo(&sql, " AND c.%s", quote_identifier(source->allowed));
	if (source->purpose)
		appendStringInfo(&sql, " AND coalesce(c.%s::pg_catalog.text, 'all') OPERATOR(pg_catalog.=) ANY (ARRAY['all', $1])",
						 quote_identifier(source->purpose));
	else
		appendStringInfoString(&sql, " AND $1 IS NOT NULL");
	return sql.data;
}

/* As the caller, whose rights and row-level security count. */
static void
read_source(KpxConsents *c, const KpxConsentSource *source, const KpxId *users, int n_users)
{
	Oid types[] = {TEXTOID, get_array_type(kpx_id_kind_type(c->kind))};
	Datum values[] = {CStringGetTextDatum(kpx_purpose_names[c->purpose]), users ? kpx_id_array(c->kind, users, n_users) : (Datum) 0};

	SPI_connect();
	fetch_all(c, SPI_cursor_open_with_args(NULL, source_sql(c, source, users != NULL), users ? 2 : 1, types, values, NULL, true, 0), take_row);
	SPI_finish();
}

KpxConsents *
kpx_consents_read(const KpxRegistry *registry, KpxPurpose purpose, KpxModule **modules, int n_modules, KpxIdKind kind,
				  const KpxId *users, int n_users)
{
	KpxConsents *c = palloc0(sizeof(KpxConsents));

	c->registry = registry;
	c->context = CurrentMemoryContext;
	c->purpose = purpose;
	c->modules = modules;
	c->n = n_modules;
	c->kind = kind;
	c->required = palloc(sizeof(bool) * Max(n_modules * n_modules, 1));
	for (int s = 0; s < n_modules; s++)
		for (int t = 0; t < n_modules; t++)
			c->asks |= c->required[s * n_modules + t] = kpx_consent_required(registry, modules[s], modules[t]);
	if (kpx_consents_open(c))
		return c;
	c->users = kpx_idmap_create(c->context, kind);
	if (users == NULL || n_users > FEW_USERS)
		c->forgotten = kpx_forgotten_load(registry);
	if (c->asks && (users == NULL || n_users > 0))
	{
		read_said(c, users, n_users);
		for (int i = 0; i < registry->n_consent_sources; i++)
			read_source(c, &registry->consent_sources[i], users, n_users);
	}
	return c;
}

/* ------------------------------------------------------------ asking */

bool
kpx_consents_open(const KpxConsents *c)
{
	return !c->asks && c->registry->forget_key == NULL;
}

static int
position(const KpxConsents *c, const KpxModule *module)
{
	for (int m = 0; m < c->n; m++)
		if (c->modules[m]->id == module->id)
			return m;
	return -1;
}

static bool
pair_allowed(const KpxConsents *c, uint32 user, int source, int target)
{
	uint8 said = c->said[((size_t) user * c->n + source) * c->n + target];

	return !c->required[source * c->n + target] || (said & SAID_YES) || (said & (SAID_NO | IN_SOURCE)) == IN_SOURCE;
}

bool
kpx_consents_allow(KpxConsents *c, KpxId id, const KpxModule *source, const KpxModule *target)
{
	uint32 user;
	int s;
	int t;

	if (kpx_consents_open(c))
		return true;
	user = user_number(c, id);
	if (is_forgotten(c, user, id))
		return false;
	if (target && source->id == target->id)
		return true;
	s = position(c, source);
	t = target ? position(c, target) : -1;
	if (s < 0 || (target && t < 0))
		return !kpx_consent_required(c->registry, source, target);
	if (target)
		return pair_allowed(c, user, s, t);
	for (t = 0; t < c->n; t++)
		if (!pair_allowed(c, user, s, t))
			return false;
	return true;
}

bool
kpx_consents_alike(KpxConsents *c, KpxId user, const KpxModule *a, const KpxModule *b)
{
	for (int s = 0; s < c->n; s++)
		if (kpx_consents_allow(c, user, c->modules[s], a) != kpx_consents_allow(c, user, c->modules[s], b))
			return false;
	return true;
}
