/*
 * noise.c
 *	  kpx_publish: counts with noise for differential privacy, and the ledger of what they cost.
 *
 * Basic composition (Dwork, Roth 2014, theorem 3.14): epsilons of all releases add up, and stay below
 * the budget. What is published can be read only after its transaction has committed, so that
 * nobody looks and rolls back. What is noisy are the counts: which segments and rules there are
 * comes from data that the k-anonymity floor has been through (floor.h); a module's items are
 * those of its item table, whoever had them.
 */
#include "noise.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/array.h"

#include "core/noise.h"
#include "core/rng.h"
#include "floor.h"
#include "ingest.h"
#include "request.h"

double kpx_privacy_budget = 0;

/* Epsilons are multiples of a thousandth, so that noise is drawn with whole numbers. */
#define EPSILON_PARTS 1000

/* True counts, and by how much one user can change them in all. */
typedef struct Counts
{
	int n;
	Datum *label; /* text */
	int64 *count;
	uint64 sensitivity;
} Counts;

/* ------------------------------------------------------------ what there is to publish */

/* Label and count of the rows just read, copied to context. */
static Counts
take_counts(MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Counts counts = {(int) SPI_processed, kpx_alloc(context, Max(SPI_processed, 1), sizeof(Datum)),
					 kpx_alloc(context, Max(SPI_processed, 1), sizeof(int64)), 1};

	for (int i = 0; i < counts.n; i++)
	{
		bool null;

		counts.label[i] = CStringGetTextDatum(SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
		counts.count[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &null));
	}
	MemoryContextSwitchTo(old);
	return counts;
}

/* Owner of what is published; NULL when there is none. */
static char *
find_owner(const char *sql, const char *name)
{
	Oid types[] = {TEXTOID, NAMEOID};
	Datum values[] = {CStringGetTextDatum(name), DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(GetUserId(), false)))};
	MemoryContext context = CurrentMemoryContext;
	KpxCatalog catalog;
	char *owner = NULL;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute(sql, 2, types, values, NULL, true);
	if (SPI_processed == 1)
		owner = MemoryContextStrdup(context, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	kpx_catalog_end(&catalog);
	return owner;
}

static Counts
read_counts(const char *sql, const char *name, int limit)
{
	Oid types[] = {TEXTOID, NAMEOID, INT4OID};
	Datum values[] = {CStringGetTextDatum(name), DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(GetUserId(), false))),
					  Int32GetDatum(limit)};
	MemoryContext context = CurrentMemoryContext;
	KpxCatalog catalog;
	Counts counts;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute(sql, 3, types, values, NULL, true);
	counts = take_counts(context);
	kpx_catalog_end(&catalog);
	return counts;
}

/* A user is in one segment. */
static Counts
segment_sizes(const char *name)
{
	char *owner = find_owner("SELECT owner FROM kpx.segmentation WHERE name = $1 AND $2 IS NOT NULL", name);

	if (owner == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("segments \"%s\" do not exist", name), errhint("See the view kpx_segments.")));
	kpx_require_owner(owner, "segments", name);
	return read_counts("SELECT s.segment || ' ' || s.label, s.size FROM kpx.segment s JOIN kpx.segmentation n ON n.id = s.segmentation_id"
					   " WHERE n.name = $1 AND $2 IS NOT NULL AND $3 IS NOT NULL ORDER BY s.segment",
					   name, 0);
}

/* A user may be counted in every rule. */
static Counts
rule_counts(const char *name, int limit)
{
	char *basket = find_owner("SELECT basket FROM kpx.rule_set WHERE array_to_string(modules, ',') = $1 AND owner = $2", name);
	Counts counts;

	if (basket == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("you have mined no rules of modules \"%s\"", name),
				 errhint("Name the modules as in kpx_rules, with commas: 'courses,products'.")));
	if (strcmp(basket, "user") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rules from baskets \"%s\" cannot be published: one user can be in any number of them", basket),
				 errhint("Mine them with basket => 'user'.")));
	counts = read_counts("SELECT array_to_string(r.antecedent, ' + ') || ' => ' || m.name || '/' || r.consequent, r.count"
						 " FROM kpx.rule_set s JOIN kpx.rule r ON r.set_id = s.id JOIN kpx.module m ON m.id = r.consequent_module"
						 " WHERE array_to_string(s.modules, ',') = $1 AND s.owner = $2 ORDER BY r.count DESC, 1 LIMIT $3",
						 name, limit);
	counts.sensitivity = (uint64) Max(counts.n, 1);
	return counts;
}

static uint64
id_hash(const KpxIds *ids, uint64 at)
{
	KpxId id = kpx_ids_get(ids, at);

	return ids->kind == KPX_ID_INT ? kpx_mix64((uint64) id.number) : hash_bytes_extended((const unsigned char *) id.bytes, (int) id.length, 0);
}

/*
 * Counts at most per_user of a user's items: which, a hash of the ids decides. Of the ids, not of their
 * places: those of everybody else would change with one user more, and so what they are counted for.
 */
static void
count_user(const KpxData *data, uint32 user, int per_user, int64 *count)
{
	uint64 user_hash = id_hash(&data->user_ids, user);
	uint64 begin = data->offset[user];
	uint64 n = data->offset[user + 1] - begin;
	uint64 *least = palloc(sizeof(uint64) * (size_t) per_user * 2);
	int kept = 0;

	for (uint64 j = 0; j < n; j++)
	{
		uint32 item = data->index[begin + j] & 0x7FFFFFFF;
		uint64 hash = kpx_mix64(user_hash ^ kpx_mix64(id_hash(&data->item_ids[0], item)));
		int at = kept;

		while (at > 0 && least[2 * (at - 1)] > hash)
			at--;
		if (at == per_user)
			continue;
		kept = Min(kept + 1, per_user);
		memmove(least + 2 * (at + 1), least + 2 * at, sizeof(uint64) * 2 * (size_t) (kept - at - 1));
		least[2 * at] = hash;
		least[2 * at + 1] = item;
	}
	for (int i = 0; i < kept; i++)
		count[least[2 * i + 1]]++;
	pfree(least);
}

/* Users by item of the module's item table, which is known: an item without users has noise like any other. */
static Counts
popularity(const char *name, int per_user)
{
	KpxModule *module = kpx_find_module(kpx_registry(), name);
	double observed = 1;
	KpxData *data;
	Counts counts;
	KpxId *ids;
	bool *known;
	int64 *count;

	kpx_require_owner(module->owner, "module", module->name);
	data = kpx_ingest(&module, 1, &observed, KPX_WANT_CATALOGUE);
	count = kpx_alloc(CurrentMemoryContext, Max(data->items, 1), sizeof(int64));
	memset(count, 0, sizeof(int64) * Max(data->items, 1));
	for (uint32 u = 0; u < data->users; u++)
	{
		if (u % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		count_user(data, u, per_user, count);
	}
	ids = kpx_alloc(CurrentMemoryContext, Max(data->items, 1), sizeof(KpxId));
	known = kpx_alloc(CurrentMemoryContext, Max(data->items, 1), sizeof(bool));
	for (uint32 i = 0; i < data->items; i++)
		ids[i] = kpx_ids_get(&data->item_ids[0], i);
	kpx_items_available(module, data->item_ids[0].kind, ids, (int) data->items, known);
	counts = (Counts){0, kpx_alloc(CurrentMemoryContext, Max(data->items, 1), sizeof(Datum)), count, (uint64) per_user};
	for (uint32 i = 0; i < data->items; i++)
		if (known[i])
		{
			counts.label[counts.n] = CStringGetTextDatum(kpx_id_to_cstring(data->item_ids[0].kind, ids[i]));
			counts.count[counts.n++] = count[i];
		}
	return counts;
}

/* ------------------------------------------------------------ noise and ledger */

static bool
strong_bytes(void *context, uint8 *bytes, size_t n)
{
	return pg_strong_random(bytes, n);
}

static void
add_noise(Counts *counts, uint64 parts)
{
	KpxRandomBytes bytes = {.refill = strong_bytes};

	for (int i = 0; i < counts->n; i++)
	{
		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		counts->count[i] = Max(counts->count[i] + kpx_noise_laplace(parts, EPSILON_PARTS, counts->sensitivity, &bytes), 0);
	}
	if (bytes.failed)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("the operating system gives no random numbers")));
}

/* Inside kpx_catalog_begin, with the ledger locked until the transaction ends. */
static void
check_budget(double epsilon)
{
	double spent;
	bool null;

	kpx_catalog_execute("LOCK TABLE kpx.release IN SHARE ROW EXCLUSIVE MODE", 0, NULL, NULL, NULL, false);
	kpx_catalog_execute("SELECT coalesce(sum(epsilon), 0) FROM kpx.release", 0, NULL, NULL, NULL, false);
	spent = DatumGetFloat8(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	/* sums of thousandths: half of one is no rounding error */
	if (spent + epsilon > kpx_privacy_budget + 0.5 / EPSILON_PARTS)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("the privacy budget is spent: %g of %g, %g more were asked for", spent, kpx_privacy_budget, epsilon),
				 errhint("Whoever answers for it may raise the setting kpxrec.privacy_budget.")));
}

static int64
write_release(const char *what, const char *name, double epsilon, const Counts *counts)
{
	Oid types[] = {TEXTOID, TEXTOID, FLOAT8OID, INT8OID, NAMEOID};
	Oid count_types[] = {INT8OID, TEXTARRAYOID, INT8ARRAYOID};
	Datum values[] = {CStringGetTextDatum(what), CStringGetTextDatum(name), Float8GetDatum(epsilon), Int64GetDatum((int64) counts->sensitivity),
					  DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(GetUserId(), false)))};
	Datum *numbers = kpx_alloc(CurrentMemoryContext, Max(counts->n, 1), sizeof(Datum));
	Datum *labels = kpx_alloc(CurrentMemoryContext, Max(counts->n, 1), sizeof(Datum));
	Datum rows[3];
	KpxCatalog catalog;
	int n = 0;
	bool null;

	/* below the floor nothing is shown, as elsewhere: that is decided after the noise */
	for (int i = 0; i < counts->n; i++)
		if (counts->count[i] >= kpx_min_users)
		{
			numbers[n] = Int64GetDatum(counts->count[i]);
			labels[n++] = counts->label[i];
		}
	kpx_catalog_begin(&catalog, false);
	check_budget(epsilon);
	kpx_catalog_execute("INSERT INTO kpx.release (what, name, epsilon, sensitivity, released_by) VALUES ($1, $2, $3, $4, $5) RETURNING id", 5, types,
						values, NULL, false);
	rows[0] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null);
	rows[1] = PointerGetDatum(construct_array(labels, n, TEXTOID, -1, false, TYPALIGN_INT));
	rows[2] = PointerGetDatum(construct_array(numbers, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	kpx_catalog_execute("INSERT INTO kpx.release_count SELECT $1, l, c FROM unnest($2, $3) u(l, c)", 3, count_types, rows, NULL, false);
	kpx_catalog_end(&catalog);
	return DatumGetInt64(rows[0]);
}

PG_FUNCTION_INFO_V1(kpx_publish);
Datum
kpx_publish(PG_FUNCTION_ARGS)
{
	char *what = kpx_text_argument(fcinfo, 0, "what");
	char *name = kpx_text_argument(fcinfo, 1, "name");
	double epsilon = PG_ARGISNULL(2) ? NAN : PG_GETARG_FLOAT8(2);
	int per_user = kpx_count_argument(fcinfo, 3, "per_user", 5, 1);
	int limit = kpx_count_argument(fcinfo, 4, "limit", 100, 1);
	double parts = round(epsilon * EPSILON_PARTS);
	Counts counts;

	PreventCommandIfReadOnly("kpx_publish()");
	if (!(parts >= 1 && parts <= (double) KPX_NOISE_MAX && fabs(parts - epsilon * EPSILON_PARTS) < 1e-6))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"epsilon\" must be between 0.001 and 1000, a multiple of 0.001, found %g", epsilon)));
	if (per_user > 1000 || limit > (int) KPX_NOISE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"per_user\" must be at most 1000, and \"limit\" at most %d", (int) KPX_NOISE_MAX)));
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE), errmsg("kpx_publish must run at isolation level READ COMMITTED"),
				 errdetail("With an older snapshot, what others have spent meanwhile would be missed.")));
	if (strcmp(what, "segments") == 0)
		counts = segment_sizes(name);
	else if (strcmp(what, "popularity") == 0)
		counts = popularity(name, per_user);
	else if (strcmp(what, "rules") == 0)
		counts = rule_counts(name, limit);
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"%s\" cannot be published", what),
				 errhint("Known: segments, popularity, rules.")));
	add_noise(&counts, (uint64) parts);
	PG_RETURN_INT64(write_release(what, name, parts / EPSILON_PARTS, &counts));
}
