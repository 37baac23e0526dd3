/*
 * model_block.c
 *	  Reading a model from our tables, its numbers from the blocks of kpx.model_block.
 *
 * A matrix is cut into blocks of about 8 MB, far below bytea's limit. Each carries a
 * header and a checksum (core/model.h) and is checked in full before any of it is used.
 */
#include "model_block.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/uuid.h"
#include "utils/timestamp.h"

#include "core/model.h"
#include "algorithm.h"
#include "catalog_rows.h"
#include "model_patch.h"
#include "model_share.h"

uint32
kpx_block_crc(const KpxBlockHeader *header, const void *payload)
{
	return kpx_crc(header, sizeof(*header), offsetof(KpxBlockHeader, crc), payload, (size_t) header->payload_bytes);
}

KpxArray
kpx_popularity_array(const KpxModel *model, int position)
{
	const KpxModelModule *module = &model->modules[position];

	return (KpxArray){"popularity", KPX_BLOCK_POPULARITY, module->items, 1, 1, model->popularity + module->base};
}

void
kpx_model_corrupt(int64 id, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("model " INT64_FORMAT " is corrupt: %s", id, what),
			 errhint("Activate another model with kpx_activate, or train again.")));
}

/* Called with each block of one name and position, in order and checked; where: what it fills. */
typedef void (*BlockConsumer)(KpxModel *model, int position, void *where, const KpxBlockHeader *header, const char *payload);

static void
check_block(int64 id, const char *bytes, size_t length, KpxBlockHeader *header)
{
	switch (kpx_block_check(bytes, length, header))
	{
		case KPX_OK:
			break;
		case KPX_UNSUPPORTED:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("model " INT64_FORMAT " was written by a newer kpxrec or on another kind of machine", id),
					 errhint("Upgrade kpxrec, or train again here.")));
			break;
		default:
			kpx_model_corrupt(id, "a block is not what its header says");
	}
	if (kpx_block_crc(header, kpx_block_payload(bytes)) != header->crc)
		kpx_model_corrupt(id, "a checksum does not match");
}

KpxStoredBlock *
kpx_blocks_read(int64 model, const char *kind, int position, int *n)
{
	Oid types[] = {INT8OID, TEXTOID, INT4OID};
	Datum values[] = {Int64GetDatum(model), CStringGetTextDatum(kind), Int32GetDatum(position)};
	KpxStoredBlock *blocks;

	kpx_catalog_execute("SELECT data, seq FROM kpx.model_block WHERE model_id = $1 AND kind = $2 AND position = $3 ORDER BY seq",
						3, types, values, NULL, true);
	*n = (int) SPI_processed;
	blocks = palloc(sizeof(KpxStoredBlock) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		bool null;
		bytea *data = DatumGetByteaPP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &null));
		KpxStoredBlock *block = &blocks[i];

		CHECK_FOR_INTERRUPTS();
		check_block(model, VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data), &block->header);
		block->seq = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &null));
		block->payload = memcpy(palloc(Max(block->header.payload_bytes, 1)), kpx_block_payload(VARDATA_ANY(data)), block->header.payload_bytes);
	}
	SPI_freetuptable(SPI_tuptable);
	return blocks;
}

static void
read_blocks(KpxModel *model, const char *kind, int position, uint64 rows, BlockConsumer consume, void *where)
{
	Oid types[] = {INT8OID, TEXTOID, INT4OID};
	Datum values[] = {Int64GetDatum(model->id), CStringGetTextDatum(kind), Int32GetDatum(position)};
	uint64 next = 0;
	SPITupleTable *table;
	uint64 n;

	kpx_catalog_execute("SELECT data FROM kpx.model_block WHERE model_id = $1 AND kind = $2 AND position = $3 ORDER BY seq",
						3, types, values, NULL, true);
	table = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		bool null;
		Datum stored = SPI_getbinval(table->vals[i], table->tupdesc, 1, &null);
		bytea *data = DatumGetByteaPP(stored);
		KpxBlockHeader header;

		CHECK_FOR_INTERRUPTS();
		check_block(model->id, VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data), &header);
		if (header.first_row != next || header.rows > rows - next)
			kpx_model_corrupt(model->id, "blocks are missing or in the wrong order");
		consume(model, position, where, &header, kpx_block_payload(VARDATA_ANY(data)));
		next += header.rows;
		if ((Pointer) data != DatumGetPointer(stored))
			pfree(data);
	}
	SPI_freetuptable(table);
	if (next != rows || n == 0)
		kpx_model_corrupt(model->id, "blocks are missing");
}

static void
take_ids(KpxModel *model, int position, void *where, const KpxBlockHeader *header, const char *payload)
{
	KpxIds *ids = &model->modules[position].ids;
	uint64 rows = header->rows;

	if (header->first_row == 0)
	{
		ids->kind = header->kind == KPX_BLOCK_IDS_INT ? KPX_ID_INT : header->kind == KPX_BLOCK_IDS_UUID ? KPX_ID_UUID
																										: KPX_ID_TEXT;
		ids->n = 0;
		if (ids->kind == KPX_ID_INT)
			ids->numbers = kpx_alloc(model->context, model->modules[position].items, sizeof(int64));
		else if (ids->kind == KPX_ID_UUID)
			ids->bytes = kpx_alloc(model->context, model->modules[position].items, UUID_LEN);
		else
		{
			ids->offsets = kpx_alloc(model->context, (size_t) model->modules[position].items + 1, sizeof(uint64));
			ids->bytes = kpx_alloc(model->context, 1, 1);
			*(uint64 *) ids->offsets = 0;
		}
	}
	if (header->kind == KPX_BLOCK_IDS_INT && ids->kind == KPX_ID_INT)
		memcpy((int64 *) ids->numbers + ids->n, payload, rows * sizeof(int64));
	else if (header->kind == KPX_BLOCK_IDS_UUID && ids->kind == KPX_ID_UUID)
		memcpy((char *) ids->bytes + ids->n * UUID_LEN, payload, rows * UUID_LEN);
	else if (header->kind == KPX_BLOCK_IDS_TEXT && ids->kind == KPX_ID_TEXT)
	{
		uint64 *offsets = (uint64 *) ids->offsets + ids->n;
		uint64 base = offsets[0];
		size_t length = header->payload_bytes - (rows + 1) * sizeof(uint64);

		ids->bytes = repalloc_huge((char *) ids->bytes, Max(base + length, 1));
		memcpy((char *) ids->bytes + base, payload + (rows + 1) * sizeof(uint64), length);
		for (uint64 i = 1; i <= rows; i++)
		{
			uint64 offset;

			memcpy(&offset, payload + i * sizeof(uint64), sizeof(offset));
			offsets[i] = base + offset;
		}
	}
	else
		kpx_model_corrupt(model->id, "ids of different kinds");
	ids->n += rows;
}

static void
take_rows(KpxModel *model, int position, void *where, const KpxBlockHeader *header, const char *payload)
{
	const KpxArray *array = where;
	size_t element = kpx_block_element(array->kind);
	size_t row = array->cols * element;

	if (header->kind != array->kind || header->cols != array->cols)
		kpx_model_corrupt(model->id, "a block has the wrong shape");
	for (uint64 i = 0; i < header->rows; i++)
		memcpy((char *) array->data + (header->first_row + i) * array->ld * element, payload + i * row, row);
}

static int64
whole(const KpxRows *rows, int row, const char *column)
{
	return DatumGetInt64(kpx_rows_value(rows, row, column, NULL));
}

/* The time window's events; none: at_newest is 0. */
static KpxWindow
window_of(const KpxRows *rows, int row)
{
	bool no_oldest;
	bool no_newest;
	Datum oldest = kpx_rows_value(rows, row, "oldest_event", &no_oldest);
	Datum newest = kpx_rows_value(rows, row, "newest_event", &no_newest);

	return (KpxWindow){no_oldest ? DT_NOEND : DatumGetTimestampTz(oldest), no_newest ? DT_NOBEGIN : DatumGetTimestampTz(newest),
					   (uint64) whole(rows, row, "events_at_newest")};
}

static void
read_modules(KpxModel *model)
{
	KpxRows rows = kpx_rows_where("model_module", "model_id", model->id, "position");

	model->n_modules = rows.n;
	model->modules = MemoryContextAllocZero(model->context, sizeof(KpxModelModule) * Max(model->n_modules, 1));
	for (int m = 0; m < model->n_modules; m++)
	{
		KpxModelModule *module = &model->modules[m];
		int64 items = whole(&rows, m, "items");

		if (items < 0 || items + model->items >= PG_INT32_MAX)
			kpx_model_corrupt(model->id, "its number of items is out of range");
		module->module_id = DatumGetInt32(kpx_rows_value(&rows, m, "module_id", NULL));
		module->name = kpx_rows_text(&rows, m, "module", model->context);
		module->items = (uint32) items;
		module->base = model->items;
		module->observed = DatumGetFloat8(kpx_rows_value(&rows, m, "observed_weight", NULL));
		module->users = (uint64) whole(&rows, m, "users");
		module->interactions = (uint64) whole(&rows, m, "interactions");
		module->half_life = DatumGetFloat8(kpx_rows_value(&rows, m, "half_life", NULL));
		module->window = window_of(&rows, m);
		model->items += module->items;
	}
}

/* Which parts, with their numbers and the shapes of their arrays. */
static void
read_parts(KpxModel *model)
{
	KpxRows rows = kpx_rows_where("model_part", "model_id", model->id, "position");

	if (rows.n < 1 || rows.n > KPX_MAX_PARTS)
		kpx_model_corrupt(model->id, "its number of parts is out of range");
	model->n_parts = rows.n;
	for (int p = 0; p < model->n_parts; p++)
	{
		KpxPart *part = &model->part[p];
		ArrayType *numbers = DatumGetArrayTypeP(kpx_rows_value(&rows, p, "numbers", NULL));
		Datum *elements;
		bool *nulls;
		char *name = kpx_rows_text(&rows, p, "algorithm", CurrentMemoryContext);

		part->algorithm = kpx_find_algorithm(name);
		if (part->algorithm == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("model " INT64_FORMAT " has a part of algorithm \"%s\", which is not known", model->id, name),
					 errhint("Upgrade kpxrec, or train again here.")));
		deconstruct_array(numbers, FLOAT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements, &nulls, &part->n_numbers);
		if (part->n_numbers > KPX_PART_NUMBERS)
			kpx_model_corrupt(model->id, "a part has too many numbers");
		for (int i = 0; i < part->n_numbers; i++)
		{
			if (nulls[i])
				kpx_model_corrupt(model->id, "a number is NULL");
			part->number[i] = DatumGetFloat8(elements[i]);
		}
		if (!part->algorithm->shape(model, part))
			kpx_model_corrupt(model->id, "its parameters are out of range");
	}
}

/* When the model in this row of kpx.model was made, or changed last. */
static TimestampTz
stamp_of(const KpxRows *rows, int row)
{
	bool never;
	Datum refreshed = kpx_rows_value(rows, row, "refreshed_at", &never);

	return DatumGetTimestampTz(never ? kpx_rows_value(rows, row, "created_at", NULL) : refreshed);
}

bool
kpx_model_is_current(const KpxModel *model)
{
	KpxRows rows;
	bool current;

	kpx_rows_begin();
	rows = kpx_rows_where("model", "id", model->id, NULL);
	current = rows.n == 1 && stamp_of(&rows, 0) == model->created_at;
	kpx_rows_end();
	return current;
}

/* Metadata of the model; false when it does not exist. */
static bool
read_metadata(KpxModel *model)
{
	KpxRows rows = kpx_rows_where("model", "id", model->id, NULL);

	if (rows.n != 1)
		return false;
	model->name = kpx_rows_text(&rows, 0, "name", model->context);
	model->owner = kpx_rows_text(&rows, 0, "owner", model->context);
	model->created_at = stamp_of(&rows, 0);
	read_modules(model);
	read_parts(model);
	return true;
}

/* Are there as many bytes of this kind as the metadata says? Before memory of that size is asked for. */
static size_t
check_bytes(const KpxModel *model, const char *kind, int position, uint64 rows, size_t row_bytes)
{
	Oid types[] = {INT8OID, TEXTOID, INT4OID};
	Datum values[] = {Int64GetDatum(model->id), CStringGetTextDatum(kind), Int32GetDatum(position)};
	size_t bytes;
	bool null;

	kpx_catalog_execute("SELECT coalesce(sum(octet_length(data)), 0)::int8 FROM kpx.model_block"
						" WHERE model_id = $1 AND kind = $2 AND position = $3",
						3, types, values, NULL, true);
	if (!kpx_mul_size(rows, row_bytes, &bytes) || bytes > (size_t) DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null)))
		kpx_model_corrupt(model->id, "its blocks are smaller than its metadata says");
	return bytes;
}

static void
check_sizes(const KpxModel *model)
{
	size_t total = 0;

	for (int m = 0; m < model->n_modules; m++)
	{
		KpxArray popularity = kpx_popularity_array(model, m);

		total += check_bytes(model, "ids", m, model->modules[m].items, sizeof(int64));
		total += check_bytes(model, popularity.name, m, popularity.rows, sizeof(float));
	}
	for (int p = 0; p < model->n_parts; p++)
		for (int a = 0; a < model->part[p].n_arrays; a++)
		{
			const KpxArray *array = &model->part[p].array[a];
			size_t row = array->cols * kpx_block_element(array->kind);

			/* Derived ones have a row an item, as the stored ones beside them. */
			total += array->derived ? array->rows * row : check_bytes(model, array->name, p, array->rows, row);
		}
	kpx_model_check_size(model->id, total);
}

static void
read_arrays(KpxModel *model)
{
	check_sizes(model);
	model->popularity = kpx_alloc_aligned(model->context, model->items, sizeof(float));
	for (int m = 0; m < model->n_modules; m++)
	{
		KpxArray popularity = kpx_popularity_array(model, m);

		read_blocks(model, "ids", m, model->modules[m].items, take_ids, NULL);
		read_blocks(model, popularity.name, m, popularity.rows, take_rows, &popularity);
	}
	for (int p = 0; p < model->n_parts; p++)
		for (int a = 0; a < model->part[p].n_arrays; a++)
		{
			KpxArray *array = &model->part[p].array[a];

			array->data = kpx_alloc_aligned(model->context, array->rows, array->ld * kpx_block_element(array->kind));
			if (!array->derived)
				read_blocks(model, array->name, p, array->rows, take_rows, array);
		}
}

/* Items of a module as its blocks of ids have them: without those that patches add. */
static uint32
stored_items(int64 id, int position)
{
	Oid types[] = {INT8OID, INT4OID};
	Datum values[] = {Int64GetDatum(id), Int32GetDatum(position)};
	uint64 items = 0;

	kpx_catalog_execute("SELECT substring(data FROM 1 FOR 64) FROM kpx.model_block WHERE model_id = $1 AND kind = 'ids' AND position = $2",
						2, types, values, NULL, true);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool null;
		bytea *data = DatumGetByteaPP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &null));
		KpxBlockHeader header;

		if (VARSIZE_ANY_EXHDR(data) != sizeof(header))
			kpx_model_corrupt(id, "a block is too short");
		memcpy(&header, VARDATA_ANY(data), sizeof(header));
		if (header.rows >= PG_INT32_MAX - items)
			kpx_model_corrupt(id, "its number of items is out of range");
		items += header.rows;
	}
	return (uint32) items;
}

/* The numbers of a model that has patches: those it was written with, in memory of their own, then the patches. */
static void
read_patched(KpxModel *model)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec model before its patches", ALLOCSET_SMALL_SIZES);
	KpxModel *base = MemoryContextAllocZero(context, sizeof(KpxModel));

	base->id = model->id;
	base->context = context;
	base->n_modules = model->n_modules;
	base->modules = MemoryContextAlloc(context, sizeof(KpxModelModule) * model->n_modules);
	for (int m = 0; m < model->n_modules; m++)
	{
		base->modules[m] = model->modules[m];
		base->modules[m].base = base->items;
		base->modules[m].items = stored_items(model->id, m);
		if (base->modules[m].items > model->modules[m].items)
			kpx_model_corrupt(model->id, "it has more items than its metadata says");
		base->items += base->modules[m].items;
	}
	read_parts(base);
	read_arrays(base);
	kpx_patches_apply(base, model);
	MemoryContextDelete(context);
}

static void
read_numbers(KpxModel *model)
{
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	if (kpx_has_patches(model->id))
		read_patched(model);
	else
		read_arrays(model);
	kpx_catalog_end(&catalog);
	kpx_model_derive(model);
}

/* share: its numbers may come from shared memory, and go there. In a context below the current one. */
static KpxModel *
load(int64 id, bool share)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec model", ALLOCSET_SMALL_SIZES);
	KpxModel *model = MemoryContextAllocZero(context, sizeof(KpxModel));
	bool found;
	bool shared;

	/* On an error the context goes with its parent; only a whole model moves to the cache. */
	model->id = id;
	model->context = context;
	kpx_rows_begin();
	found = read_metadata(model);
	shared = found && share && kpx_share_attach(model);
	if (found && !shared)
		read_numbers(model);
	kpx_rows_end();
	if (!found)
	{
		MemoryContextDelete(context);
		return NULL;
	}
	for (int p = 0; p < model->n_parts; p++)
		if (!model->part[p].algorithm->open(model, p))
			kpx_model_corrupt(id, "its parts do not fit together");
	if (share && !shared)
		kpx_share_publish(model);
	return model;
}

KpxModel *
kpx_model_load(int64 id)
{
	KpxModel *model = load(id, true);

	if (model)
		MemoryContextSetParent(model->context, CacheMemoryContext);
	return model;
}

void
kpx_model_verify(int64 id)
{
	KpxModel *model = load(id, false);

	if (model)
		MemoryContextDelete(model->context);
}
