/*
 * forget.c
 *	  Tombstones of users who were forgotten, and asking for them.
 *
 * What is kept of a forgotten user is HMAC-SHA256 (RFC 2104, FIPS 180-4; the server's own) of
 * the id's text under a random key of this database: a tombstone. Who holds the key can test
 * an id they guess, nobody can read one.
 */
#include "forget.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "storage/lock.h"
#include "utils/lsyscache.h"

#define KEY_BYTES 32
#define TOMBSTONE_BYTES PG_SHA256_DIGEST_LENGTH

/* ------------------------------------------------------------ locks */

/* Field 4 other than 1 and 2 is out of reach of the SQL functions. */
void
kpx_lock_user(const char *user_id)
{
	uint64 hash = hash_bytes_extended((const unsigned char *) user_id, (int) strlen(user_id), 0);
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, 0x4B50);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

void
kpx_lock_all_users(bool share)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, 0x4B54);
	(void) LockAcquire(&tag, share ? ShareLock : ExclusiveLock, false, false);
}

/* ------------------------------------------------------------ tombstones */

typedef struct Tombstone
{
	uint8 bytes[TOMBSTONE_BYTES];
} Tombstone;

/* The server's HMAC belongs to a resource owner, so it is never kept from call to call. */
static Tombstone
tombstone_of(const uint8 *key, const char *user_id)
{
	pg_hmac_ctx *hmac = pg_hmac_create(PG_SHA256);
	Tombstone tombstone;

	if (hmac == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	if (pg_hmac_init(hmac, key, KEY_BYTES) < 0 || pg_hmac_update(hmac, (const uint8 *) user_id, strlen(user_id)) < 0 ||
		pg_hmac_final(hmac, tombstone.bytes, TOMBSTONE_BYTES) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("cannot compute HMAC-SHA256: %s", pg_hmac_error(hmac))));
	pg_hmac_free(hmac);
	return tombstone;
}

static Datum
tombstone_datum(const uint8 *key, const char *user_id)
{
	bytea *value = palloc(VARHDRSZ + TOMBSTONE_BYTES);
	Tombstone tombstone = tombstone_of(key, user_id);

	SET_VARSIZE(value, VARHDRSZ + TOMBSTONE_BYTES);
	memcpy(VARDATA(value), tombstone.bytes, TOMBSTONE_BYTES);
	return PointerGetDatum(value);
}

bool
kpx_is_forgotten(const KpxRegistry *registry, const char *user_id)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {BYTEAOID};
	Datum values[1];
	KpxCatalog catalog;
	bool found;

	if (registry->forget_key == NULL)
		return false;
	values[0] = tombstone_datum(registry->forget_key, user_id);
	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute_planned(&plan, "SELECT FROM kpx.forgotten WHERE tombstone = $1", 1, types, values, NULL, true);
	found = SPI_processed > 0;
	kpx_catalog_end(&catalog);
	return found;
}

/* ------------------------------------------------------------ all of them */

typedef struct TombstoneEntry
{
	Tombstone tombstone;
	char status;
} TombstoneEntry;

/* A tombstone is as good as random: its first bytes are its hash. */
static inline uint32
tombstone_hash(Tombstone tombstone)
{
	uint32 hash;

	memcpy(&hash, tombstone.bytes, sizeof(hash));
	return hash;
}

#define SH_PREFIX tombstones
#define SH_ELEMENT_TYPE TombstoneEntry
#define SH_KEY_TYPE Tombstone
#define SH_KEY tombstone
#define SH_HASH_KEY(tb, k) tombstone_hash(k)
#define SH_EQUAL(tb, a, b) (memcmp((a).bytes, (b).bytes, TOMBSTONE_BYTES) == 0)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct KpxForgotten
{
	uint8 key[KEY_BYTES];
	tombstones_hash *set;
};

static void
take_tombstones(KpxForgotten *forgotten)
{
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool null;
		bytea *value = DatumGetByteaPP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &null));
		Tombstone tombstone;
		bool found;

		if (VARSIZE_ANY_EXHDR(value) != TOMBSTONE_BYTES)
			continue;
		memcpy(tombstone.bytes, VARDATA_ANY(value), TOMBSTONE_BYTES);
		tombstones_insert(forgotten->set, tombstone, &found);
	}
}

KpxForgotten *
kpx_forgotten_load(const KpxRegistry *registry)
{
	KpxForgotten *forgotten;
	KpxCatalog catalog;

	if (registry->forget_key == NULL)
		return NULL;
	forgotten = palloc0(sizeof(KpxForgotten));
	memcpy(forgotten->key, registry->forget_key, KEY_BYTES);
	forgotten->set = tombstones_create(CurrentMemoryContext, 1024, NULL);
	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT tombstone FROM kpx.forgotten", 0, NULL, NULL, NULL, true);
	take_tombstones(forgotten);
	kpx_catalog_end(&catalog);
	return forgotten;
}

bool
kpx_forgotten_has(const KpxForgotten *forgotten, KpxIdKind kind, KpxId id)
{
	char *user_id;
	bool found;

	if (forgotten == NULL)
		return false;
	user_id = kpx_id_to_cstring(kind, id);
	found = tombstones_lookup(forgotten->set, tombstone_of(forgotten->key, user_id)) != NULL;
	pfree(user_id);
	return found;
}

/* ------------------------------------------------------------ forgetting */

const KpxSource *
kpx_registered_user_kind(const KpxRegistry *registry, KpxIdKind *kind)
{
	for (int m = 0; m < registry->n_modules; m++)
		for (int s = 0; s < registry->modules[m].n_sources; s++)
		{
			const KpxSource *source = &registry->modules[m].sources[s];
			AttrNumber column = get_rel_name(source->relation) ? get_attnum(source->relation, source->user_id) : InvalidAttrNumber;

			if (column != InvalidAttrNumber && kpx_id_kind(get_atttype(source->relation, column), kind))
				return source;
		}
	return NULL;
}

char *
kpx_user_text(const KpxRegistry *registry, Datum value, Oid type)
{
	KpxIdKind kind = kpx_require_id_kind(type, "argument \"user_id\"");
	KpxIdKind expected;

	if (kind == KPX_ID_TEXT && kpx_registered_user_kind(registry, &expected))
		return kpx_id_to_cstring(expected, kpx_id_from_text(expected, TextDatumGetCString(value)));
	if (kind == KPX_ID_TEXT)
		value = PointerGetDatum(PG_DETOAST_DATUM_PACKED(value));
	return kpx_id_to_cstring(kind, kpx_id_from_datum(kind, type, value));
}

/* The key, drawn when there is none yet. Inside kpx_catalog_begin; a later snapshot would be refused (40001). */
static const uint8 *
forget_key(void)
{
	bytea *drawn = palloc(VARHDRSZ + KEY_BYTES);
	Oid types[] = {BYTEAOID};
	Datum values[] = {PointerGetDatum(drawn)};
	bytea *key;
	bool null;

	kpx_catalog_execute("SELECT key FROM kpx.forget_key", 0, NULL, NULL, NULL, false);
	if (SPI_processed == 0)
	{
		SET_VARSIZE(drawn, VARHDRSZ + KEY_BYTES);
		if (!pg_strong_random(VARDATA(drawn), KEY_BYTES))
			ereport(ERROR,
					(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("the operating system gives no random numbers")));
		/* two first forgettings: both must go on with the key of the one that was first */
		kpx_catalog_execute("INSERT INTO kpx.forget_key AS k (key) VALUES ($1) ON CONFLICT (one) DO UPDATE SET key = k.key RETURNING key",
							1, types, values, NULL, false);
	}
	key = DatumGetByteaPCopy(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	if (VARSIZE_ANY_EXHDR(key) != KEY_BYTES)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("the key of the tombstones is damaged")));
	return (const uint8 *) VARDATA_ANY(key);
}

void
kpx_bury(const char *user_id)
{
	Oid types[] = {BYTEAOID};
	Datum values[] = {tombstone_datum(forget_key(), user_id)};

	kpx_catalog_execute("INSERT INTO kpx.forgotten (tombstone) VALUES ($1) ON CONFLICT DO NOTHING", 1, types, values, NULL, false);
}
