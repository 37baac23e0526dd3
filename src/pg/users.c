/*
 * users.c
 *	  All users one after the other, and the best k of them.
 */
#include "users.h"

#include "executor/tuptable.h"
#include "tcop/dest.h"
#include "utils/timestamp.h"

#include "forget.h"
#include "ingest.h"

KpxId
kpx_id_copy(KpxId id)
{
	if (id.bytes)
	{
		char *bytes = palloc(Max(id.length, 1));

		memcpy(bytes, id.bytes, id.length);
		id.bytes = bytes;
	}
	return id;
}

/* ------------------------------------------------------------ reading */

typedef struct Receiver
{
	DestReceiver pub;
	MemoryContext context; /* of one row */
	KpxIdKind kind;
	KpxForgotten *forgotten;
	KpxUserSink sink;
	void *state;
} Receiver;

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	Receiver *r = (Receiver *) self;
	MemoryContext old = MemoryContextSwitchTo(r->context);
	Datum user;
	KpxId id;

	slot_getallattrs(slot);
	user = slot->tts_values[0];
	if (r->kind == KPX_ID_TEXT)
		user = PointerGetDatum(PG_DETOAST_DATUM_PACKED(user));
	id = kpx_id_from_datum(r->kind, kpx_id_kind_type(r->kind), user);
	if (!kpx_forgotten_has(r->forgotten, r->kind, id))
		r->sink(r->state, id);
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->context);
	return true;
}

static void
receiver_noop(DestReceiver *self)
{
}

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc typeinfo)
{
}

static void
append_users(StringInfo sql, const char *relation, const char *column, const char *occurred_at, KpxIdKind kind, TimestampTz since)
{
	static const char *const kinds[] = {"int8", "uuid", "text COLLATE pg_catalog.\"C\""};

	appendStringInfo(sql, "%sSELECT e.%s::pg_catalog.%s AS u FROM %s e WHERE e.%s IS NOT NULL", sql->len ? " UNION ALL " : "",
					 quote_identifier(column), kinds[kind], relation, quote_identifier(column));
	if (occurred_at && !TIMESTAMP_IS_NOBEGIN(since))
		appendStringInfo(sql, " AND e.%s OPERATOR(pg_catalog.>=) %s::pg_catalog.timestamptz", quote_identifier(occurred_at),
						 quote_literal_cstr(DatumGetCString(DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(since)))));
}

static char *
users_sql(KpxModule **modules, int n_modules, Oid relation, KpxIdKind kind, TimestampTz since)
{
	StringInfoData from;

	initStringInfo(&from);
	if (OidIsValid(relation))
	{
		char *sql = kpx_relation_sql(relation, "users", "argument", "users");
		KpxIdKind found = kpx_require_id_kind(kpx_column_type(relation, "user_id"), psprintf("column \"user_id\" of relation %s", sql));

		if (found != kind)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"user_id\" of relation %s holds %s ids, expected %s ids", sql, kpx_id_kind_name(found),
							kpx_id_kind_name(kind)),
					 errhint("Pass a view that casts it.")));
		append_users(&from, sql, "user_id", NULL, kind, since);
	}
	for (int m = 0; m < n_modules && !OidIsValid(relation); m++)
		for (int s = 0; s < modules[m]->n_sources; s++)
		{
			KpxIdKind user_kind;
			char *sql;

			(void) kpx_source_check(modules[m], &modules[m]->sources[s], &user_kind, &sql);
			append_users(&from, sql, modules[m]->sources[s].user_id, modules[m]->sources[s].occurred_at, kind, since);
		}
	return from.len ? psprintf("SELECT x.u FROM (%s) x GROUP BY x.u ORDER BY x.u", from.data) : NULL;
}

void
kpx_users_read(KpxModule **modules, int n_modules, Oid relation, KpxIdKind kind, TimestampTz since, KpxUserSink sink, void *state)
{
	Receiver r = {.pub = {receive, receiver_startup, receiver_noop, receiver_noop, DestNone}};
	char *sql = users_sql(modules, n_modules, relation, kind, since);
	SPIExecuteOptions options = {0};
	int result;

	if (sql == NULL)
		return;
	r.context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec user", ALLOCSET_SMALL_SIZES);
	r.kind = kind;
	r.forgotten = kpx_forgotten_load(kpx_registry());
	r.sink = sink;
	r.state = state;
	options.read_only = true;
	options.dest = &r.pub;
	SPI_connect();
	result = SPI_execute_extended(sql, &options);
	SPI_finish();
	if (result < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot read the users: %s", SPI_result_code_string(result))));
	MemoryContextDelete(r.context);
}

int
kpx_registered_modules(KpxRegistry *registry, const KpxModel *model, KpxModule ***modules)
{
	int n = 0;

	*modules = palloc(sizeof(KpxModule *) * Max(model->n_modules, 1));
	for (int m = 0; m < model->n_modules; m++)
	{
		KpxModule *module = kpx_find_module_by_id(registry, model->modules[m].module_id);

		if (module)
			(*modules)[n++] = module;
	}
	return n;
}

/* ------------------------------------------------------------ the best */

static bool
worse(const KpxBestUser *a, const KpxBestUser *b)
{
	return a->score != b->score ? a->score < b->score : a->arrival > b->arrival;
}

static void
swap(KpxBestUser *a, KpxBestUser *b)
{
	KpxBestUser c = *a;

	*a = *b;
	*b = c;
}

static void
sift_down(KpxBestUser *users, int root, int n)
{
	for (;;)
	{
		int child = 2 * root + 1;

		if (child >= n)
			return;
		if (child + 1 < n && worse(&users[child + 1], &users[child]))
			child++;
		if (!worse(&users[child], &users[root]))
			return;
		swap(&users[root], &users[child]);
		root = child;
	}
}

static void
grow(KpxBestUsers *best)
{
	int size = (int) Min((int64) best->k, Max((int64) best->size * 2, 64));
	KpxBestUser *bigger = kpx_alloc(best->context, (size_t) size, sizeof(KpxBestUser));

	if (best->n)
		memcpy(bigger, best->users, sizeof(KpxBestUser) * best->n);
	if (best->users)
		pfree(best->users);
	best->users = bigger;
	best->size = size;
}

void
kpx_best_users_offer(KpxBestUsers *best, KpxId id, double score, const double *parts)
{
	KpxBestUser user = {id, best->arrivals++, score, {0}};
	MemoryContext old;

	if (best->n == best->k && !worse(&best->users[0], &user))
		return;
	if (parts)
		memcpy(user.part, parts, sizeof(user.part));
	old = MemoryContextSwitchTo(best->context);
	user.id = kpx_id_copy(id);
	MemoryContextSwitchTo(old);
	if (best->n < best->k)
	{
		int at = best->n;

		if (best->n == best->size)
			grow(best);
		best->users[best->n++] = user;
		for (; at > 0 && worse(&best->users[at], &best->users[(at - 1) / 2]); at = (at - 1) / 2)
			swap(&best->users[at], &best->users[(at - 1) / 2]);
		return;
	}
	if (best->users[0].id.bytes)
		pfree(unconstify(char *, best->users[0].id.bytes));
	best->users[0] = user;
	sift_down(best->users, 0, best->n);
}

void
kpx_best_users_sort(KpxBestUsers *best)
{
	for (int end = best->n; end-- > 1;)
	{
		swap(&best->users[0], &best->users[end]);
		sift_down(best->users, 0, end);
	}
}
