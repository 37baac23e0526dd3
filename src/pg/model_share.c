/*
 * model_share.c
 *	  Numbers of models in shared memory, so that sessions need no copies of their own.
 *
 * Each model lies in a segment of dynamic shared memory, pinned; a small table in the
 * main shared memory says which. Who evicts one merely unpins it: sessions that have
 * it mapped keep it, and the last of them frees it. Models never change, so a mapped one
 * needs neither locks nor counters.
 *
 * A model is known by its database, number and time of creation: numbers start again
 * when the extension is dropped and created.
 */
#include "model_share.h"

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/uuid.h"

#include "fault.h"
#include "shared_memory.h"

#define SLOTS 64

typedef struct Slot
{
	Oid database; /* InvalidOid: free */
	int64 model;
	TimestampTz created_at;
	dsm_handle handle;
	size_t bytes;
	uint64 used;
} Slot;

typedef struct Table
{
	LWLock *lock;
	uint64 clock;
	size_t bytes;
	Slot slot[SLOTS];
} Table;

/* Ids of a module in a segment; offsets are from its start. */
typedef struct FlatIds
{
	KpxIdKind kind;
	uint64 n;
	size_t numbers;
	size_t bytes;
	size_t length; /* of bytes */
	size_t offsets;
} FlatIds;

/* What a segment begins with. */
typedef struct Flat
{
	int64 model;
	TimestampTz created_at;
	int n_modules;
	uint32 items;
	size_t popularity;
	size_t parts; /* of the first array; the others follow, see part_arrays */
	size_t parts_end;
	FlatIds ids[FLEXIBLE_ARRAY_MEMBER];
} Flat;

static int shared_cache_size = 256 * 1024;

static size_t
table_bytes(void)
{
	return sizeof(Table);
}

static void
table_init(void *memory, LWLockPadded *locks)
{
	((Table *) memory)->lock = &locks->lock;
}

static KpxShared shared = {.name = "kpxrec", .bytes = table_bytes, .locks = 1, .init = table_init};

void
kpx_share_init(void)
{
	DefineCustomIntVariable("kpxrec.shared_cache_size",
							"Shared memory for trained models, for all sessions together.",
							"0 lets every session keep its own copies, bounded by kpxrec.cache_size.",
							&shared_cache_size, 256 * 1024, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	kpx_shared_request(&shared);
}

/* ------------------------------------------------------------ one segment */

/* Reserves n elements behind what is reserved already; their offset. */
static size_t
reserve(size_t *total, size_t n, size_t size)
{
	size_t at = *total;
	size_t bytes;

	if (!kpx_mul_size(n, size, &bytes) || !kpx_add_size(at, kpx_align(bytes), total))
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("the model is too large")));
	return at;
}

typedef enum Direction
{
	COUNT, /* only their bytes */
	COPY, /* from the model into the segment */
	POINT /* the model into the segment */
} Direction;

/* The arrays of all parts, one after the other from at; where they end. */
static size_t
part_arrays(KpxModel *model, Direction direction, char *segment, size_t at)
{
	for (int p = 0; p < model->n_parts; p++)
		for (int a = 0; a < model->part[p].n_arrays; a++)
		{
			KpxArray *array = &model->part[p].array[a];
			size_t row = array->ld * kpx_block_element(array->kind);
			size_t here = reserve(&at, array->rows, row);

			if (direction == COPY)
				memcpy(segment + here, array->data, array->rows * row);
			else if (direction == POINT)
				array->data = segment + here;
		}
	return at;
}

/* Fills in the header of a model's segment; the bytes the segment needs. */
static size_t
layout(KpxModel *model, Flat *flat)
{
	size_t total = 0;

	(void) reserve(&total, 1, sizeof(Flat) + model->n_modules * sizeof(FlatIds));
	flat->model = model->id;
	flat->created_at = model->created_at;
	flat->n_modules = model->n_modules;
	flat->items = model->items;
	flat->popularity = reserve(&total, model->items, sizeof(float));
	flat->parts = total;
	flat->parts_end = total = part_arrays(model, COUNT, NULL, total);
	for (int m = 0; m < model->n_modules; m++)
	{
		const KpxIds *ids = &model->modules[m].ids;
		FlatIds *to = &flat->ids[m];

		to->kind = ids->kind;
		to->n = ids->n;
		to->length = ids->kind == KPX_ID_TEXT ? ids->offsets[ids->n] : ids->kind == KPX_ID_UUID ? ids->n * UUID_LEN
																								: 0;
		to->numbers = reserve(&total, ids->kind == KPX_ID_INT ? ids->n : 0, sizeof(int64));
		to->bytes = reserve(&total, to->length, 1);
		to->offsets = reserve(&total, ids->kind == KPX_ID_TEXT ? ids->n + 1 : 0, sizeof(uint64));
	}
	return total;
}

static Flat *
flat_header(const KpxModel *model)
{
	return palloc0(sizeof(Flat) + model->n_modules * sizeof(FlatIds));
}

static void
fill(KpxModel *model, const Flat *flat, char *segment)
{
	memcpy(segment, flat, sizeof(Flat) + model->n_modules * sizeof(FlatIds));
	memcpy(segment + flat->popularity, model->popularity, (size_t) model->items * sizeof(float));
	(void) part_arrays(model, COPY, segment, flat->parts);
	for (int m = 0; m < model->n_modules; m++)
	{
		const KpxIds *ids = &model->modules[m].ids;
		const FlatIds *to = &flat->ids[m];

		if (ids->kind == KPX_ID_INT)
			memcpy(segment + to->numbers, ids->numbers, ids->n * sizeof(int64));
		if (to->length > 0)
			memcpy(segment + to->bytes, ids->bytes, to->length);
		if (ids->kind == KPX_ID_TEXT)
			memcpy(segment + to->offsets, ids->offsets, (ids->n + 1) * sizeof(uint64));
	}
}

/* Points the model into a segment; false when it is not this model's. */
static bool
point_into(KpxModel *model, char *segment)
{
	const Flat *flat = (const Flat *) segment;

	if (flat->model != model->id || flat->created_at != model->created_at || flat->n_modules != model->n_modules ||
		flat->items != model->items || part_arrays(model, COUNT, NULL, flat->parts) != flat->parts_end)
		return false;
	for (int m = 0; m < model->n_modules; m++)
		if (flat->ids[m].n != model->modules[m].items)
			return false;
	model->popularity = (float *) (segment + flat->popularity);
	(void) part_arrays(model, POINT, segment, flat->parts);
	for (int m = 0; m < model->n_modules; m++)
		model->modules[m].ids = (KpxIds){flat->ids[m].kind, flat->ids[m].n, (int64 *) (segment + flat->ids[m].numbers),
										 segment + flat->ids[m].bytes, (uint64 *) (segment + flat->ids[m].offsets)};
	return true;
}

/* ------------------------------------------------------------ the table */

static Slot *
find_slot(Table *table, const KpxModel *model)
{
	for (int i = 0; i < SLOTS; i++)
		if (table->slot[i].database == MyDatabaseId && table->slot[i].model == model->id &&
			table->slot[i].created_at == model->created_at)
			return &table->slot[i];
	return NULL;
}

/* A free slot after unpinning the least recently attached models until bytes fit; with the lock held. */
static Slot *
make_room(Table *table, size_t bytes, size_t limit)
{
	for (;;)
	{
		Slot *oldest = NULL;
		Slot *vacant = NULL;

		for (int i = 0; i < SLOTS; i++)
		{
			Slot *slot = &table->slot[i];

			if (!OidIsValid(slot->database))
				vacant = slot;
			else if (oldest == NULL || slot->used < oldest->used)
				oldest = slot;
		}
		if (vacant && table->bytes + bytes <= limit)
			return vacant;
		if (oldest == NULL)
			return NULL;
		dsm_unpin_segment(oldest->handle);
		table->bytes -= oldest->bytes;
		oldest->database = InvalidOid;
	}
}

bool
kpx_share_attach(KpxModel *model)
{
	Table *table = shared.memory;
	dsm_segment *segment = NULL;
	Slot *slot;

	if (table == NULL || shared_cache_size == 0)
		return false;
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	KPX_FAULT("attach");
	slot = find_slot(table, model);
	/* A copy that left the session's cache in this transaction may still be mapped: then no second time. */
	if (slot && dsm_find_mapping(slot->handle) == NULL)
	{
		segment = dsm_attach(slot->handle);
		slot->used = ++table->clock;
	}
	LWLockRelease(table->lock);
	if (segment == NULL)
		return false;
	if (!point_into(model, dsm_segment_address(segment)))
	{
		dsm_detach(segment);
		return false;
	}
	dsm_pin_mapping(segment);
	model->segment = segment;
	return true;
}

void
kpx_share_publish(KpxModel *model)
{
	Table *table = shared.memory;
	size_t limit = (size_t) shared_cache_size * 1024;
	Flat *flat;
	size_t bytes;
	dsm_segment *segment;
	Slot *slot;

	if (table == NULL || limit == 0)
		return;
	flat = flat_header(model);
	bytes = layout(model, flat);
	if (bytes > limit || (segment = kpx_segment_create(bytes)) == NULL)
		return;
	fill(model, flat, dsm_segment_address(segment));
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	KPX_FAULT("publish");
	if (find_slot(table, model) == NULL && (slot = make_room(table, bytes, limit)) != NULL)
	{
		dsm_pin_segment(segment);
		*slot = (Slot){MyDatabaseId, model->id, model->created_at, dsm_segment_handle(segment), bytes, ++table->clock};
		table->bytes += bytes;
	}
	LWLockRelease(table->lock);
	dsm_detach(segment); /* unpinned: gone; pinned: waits for kpx_share_attach */
	pfree(flat);
}

void
kpx_share_release(KpxModel *model)
{
	if (model->segment)
		dsm_detach(model->segment);
	model->segment = NULL;
}
