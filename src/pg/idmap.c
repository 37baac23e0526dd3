/*
 * idmap.c
 *	  Ids to dense indexes, in order of arrival: simplehash over integers or bytes.
 */
#include "idmap.h"

#include "common/hashfn.h"
#include "miscadmin.h"

#include "core/rng.h"

typedef struct IntEntry
{
	int64 key;
	uint32 value;
	char status;
} IntEntry;

typedef struct BytesKey
{
	const char *bytes;
	uint32 length;
} BytesKey;

typedef struct BytesEntry
{
	BytesKey key;
	uint32 value;
	char status;
} BytesEntry;

#define SH_PREFIX inthash
#define SH_ELEMENT_TYPE IntEntry
#define SH_KEY_TYPE int64
#define SH_KEY key
#define SH_HASH_KEY(tb, k) ((uint32) kpx_mix64((uint64) (k)))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

#define SH_PREFIX byteshash
#define SH_ELEMENT_TYPE BytesEntry
#define SH_KEY_TYPE BytesKey
#define SH_KEY key
#define SH_HASH_KEY(tb, k) hash_bytes((const unsigned char *) (k).bytes, (int) (k).length)
#define SH_EQUAL(tb, a, b) ((a).length == (b).length && memcmp((a).bytes, (b).bytes, (a).length) == 0)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct KpxIdMap
{
	KpxIdKind kind;
	MemoryContext context; /* holds everything */
	uint32 *direct; /* index + 1 of integer ids 0 .. direct_size - 1, 0 when new */
	int64 direct_size;
	inthash_hash *ints; /* other integers */
	byteshash_hash *bytes;
	uint32 n;
	size_t byte_total; /* length of all byte ids */
};

KpxIdMap *
kpx_idmap_create(MemoryContext parent, KpxIdKind kind)
{
	MemoryContext context = AllocSetContextCreate(parent, "kpxrec id map", ALLOCSET_DEFAULT_SIZES);
	KpxIdMap *map = MemoryContextAllocZero(context, sizeof(KpxIdMap));

	map->kind = kind;
	map->context = context;
	if (kind == KPX_ID_INT)
		map->ints = inthash_create(context, 1024, NULL);
	else
		map->bytes = byteshash_create(context, 1024, NULL);
	return map;
}

static uint32
next_index(KpxIdMap *map)
{
	if (map->n >= PG_INT32_MAX - 1)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("more than %d distinct ids", PG_INT32_MAX - 1)));
	return map->n++;
}

/*
 * Most platforms number their users and items from 1: an array serves such ids from a
 * tenth of the memory of the hash table, and mostly from the CPU's cache. It grows while
 * at least one in eight of its places is taken.
 */
static bool
grow_direct(KpxIdMap *map, int64 number)
{
	int64 size = Max(map->direct_size * 2, 16384);
	uint32 *bigger;
	inthash_iterator it;
	IntEntry *entry;

	if (number < 0 || number >= 8 * ((int64) map->n + 2048))
		return false;
	while (size <= number)
		size *= 2;
	bigger = kpx_alloc(map->context, (size_t) size, sizeof(uint32));
	memset(bigger, 0, (size_t) size * sizeof(uint32));
	if (map->direct)
	{
		memcpy(bigger, map->direct, (size_t) map->direct_size * sizeof(uint32));
		pfree(map->direct);
	}
	/* What the hash table has of these stays there, and is not looked at again. */
	inthash_start_iterate(map->ints, &it);
	while ((entry = inthash_iterate(map->ints, &it)) != NULL)
		if (entry->key >= map->direct_size && entry->key < size)
			bigger[entry->key] = entry->value + 1;
	map->direct = bigger;
	map->direct_size = size;
	return true;
}

static uint32
add_integer(KpxIdMap *map, int64 number)
{
	IntEntry *entry;
	bool found;

	if ((number >= 0 && number < map->direct_size) || grow_direct(map, number))
	{
		if (map->direct[number] == 0)
			map->direct[number] = next_index(map) + 1;
		return map->direct[number] - 1;
	}
	entry = inthash_insert(map->ints, number, &found);
	if (!found)
		entry->value = next_index(map);
	return entry->value;
}

uint32
kpx_idmap_add(KpxIdMap *map, KpxId id)
{
	bool found;

	if (map->kind == KPX_ID_INT)
		return add_integer(map, id.number);
	else
	{
		BytesKey key = {id.bytes, id.length};
		BytesEntry *entry = byteshash_lookup(map->bytes, key);

		if (entry == NULL)
		{
			char *copy = MemoryContextAlloc(map->context, Max(id.length, 1));

			memcpy(copy, id.bytes, id.length);
			key.bytes = copy;
			entry = byteshash_insert(map->bytes, key, &found);
			entry->value = next_index(map);
			map->byte_total += id.length;
		}
		return entry->value;
	}
}

uint32
kpx_idmap_count(const KpxIdMap *map)
{
	return map->n;
}

size_t
kpx_idmap_bytes(const KpxIdMap *map)
{
	return MemoryContextMemAllocated(map->context, true);
}

void
kpx_idmap_free(KpxIdMap *map)
{
	MemoryContextDelete(map->context);
}

typedef struct SortId
{
	KpxId id;
	uint32 index;
} SortId;

static int
compare_sort_ids(const void *a, const void *b, void *kind)
{
	CHECK_FOR_INTERRUPTS(); /* millions of text ids take seconds */
	return kpx_id_compare(*(KpxIdKind *) kind, ((const SortId *) a)->id, ((const SortId *) b)->id);
}

static SortId *
collect(KpxIdMap *map)
{
	SortId *all = kpx_alloc(map->context, Max(map->n, 1), sizeof(SortId));
	uint32 n = 0;

	if (map->kind == KPX_ID_INT)
	{
		inthash_iterator it;
		IntEntry *entry;

		for (int64 number = 0; number < map->direct_size; number++)
			if (map->direct[number])
				all[n++] = (SortId){{number, NULL, 0}, map->direct[number] - 1};
		inthash_start_iterate(map->ints, &it);
		while ((entry = inthash_iterate(map->ints, &it)) != NULL)
			if (entry->key < 0 || entry->key >= map->direct_size)
				all[n++] = (SortId){{entry->key, NULL, 0}, entry->value};
	}
	else
	{
		byteshash_iterator it;
		BytesEntry *entry;

		byteshash_start_iterate(map->bytes, &it);
		while ((entry = byteshash_iterate(map->bytes, &it)) != NULL)
			all[n++] = (SortId){{0, entry->key.bytes, entry->key.length}, entry->value};
	}
	qsort_arg(all, map->n, sizeof(SortId), compare_sort_ids, &map->kind);
	return all;
}

KpxIds
kpx_idmap_sorted(KpxIdMap *map, MemoryContext context, uint32 **position)
{
	SortId *all = collect(map);
	KpxIds ids = {map->kind, map->n, NULL, NULL, NULL};
	int64 *numbers = NULL;
	char *bytes = NULL;
	uint64 *offsets = NULL;
	uint64 at = 0;

	*position = kpx_alloc(context, Max(map->n, 1), sizeof(uint32));
	if (map->kind == KPX_ID_INT)
		ids.numbers = numbers = kpx_alloc(context, Max(map->n, 1), sizeof(int64));
	else
		ids.bytes = bytes = kpx_alloc(context, Max(map->byte_total, 1), 1);
	if (map->kind == KPX_ID_TEXT)
		ids.offsets = offsets = kpx_alloc(context, (size_t) map->n + 1, sizeof(uint64));
	for (uint32 i = 0; i < map->n; i++)
	{
		(*position)[all[i].index] = i;
		if (numbers)
			numbers[i] = all[i].id.number;
		else
			memcpy(bytes + at, all[i].id.bytes, all[i].id.length);
		if (offsets)
			offsets[i] = at;
		at += all[i].id.length;
	}
	if (offsets)
		offsets[map->n] = at;
	return ids;
}
