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

static void
corrupt(int64 id, const char *what)
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
			corrupt(id, "a block is not what its header says");
	}
	if (kpx_block_crc(header, kpx_block_payload(bytes)) != header->crc)
		corrupt(id, "a checksum does not match");
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
			corrupt(model->id, "blocks are missing or in the wrong order");
		consume(model, position, where, &header, kpx_block_payload(VARDATA_ANY(data)));
		next += header.rows;
		if ((Pointer) data != DatumGetPointer(stored))
			pfree(data);
	}
	SPI_freetuptable(table);
	if (next != rows || n == 0)
		corrupt(model->id, "blocks are missing");
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
		corrupt(model->id, "ids of different kinds");
	ids->n += rows;
}

static void
take_rows(KpxModel *model, int position, void *where, const KpxBlockHeader *header, const char *payload)
{
	const KpxArray *array = where;
	size_t element = kpx_block_element(array->kind);
	size_t row = array->cols * element;

	if (header->kind != array->kind || header->cols != array->cols)
		corrupt(model->id, "a block has the wrong shape");
	for (uint64 i = 0; i < header->rows; i++)
		memcpy((char *) array->data + (header->first_row + i) * array->ld * element, payload + i * row, row);
}

static Datum
field(int row, int column)
{
	bool null;

	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &null);
}

static void
read_modules(KpxModel *model)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(model->id)};

	kpx_catalog_execute("SELECT module_id, module, items, observed_weight, users, interactions, half_life,"
						" coalesce(oldest_event, 'infinity'), coalesce(newest_event, '-infinity'), events_at_newest"
						" FROM kpx.model_module WHERE model_id = $1 ORDER BY position",
						1, types, values, NULL, true);
	model->n_modules = (int) SPI_processed;
	model->modules = MemoryContextAllocZero(model->context, sizeof(KpxModelModule) * Max(model->n_modules, 1));
	for (int m = 0; m < model->n_modules; m++)
	{
		KpxModelModule *module = &model->modules[m];
		int64 items = DatumGetInt64(field(m, 3));

		if (items < 0 || items + model->items >= PG_INT32_MAX)
			corrupt(model->id, "its number of items is out of range");
		module->module_id = DatumGetInt32(field(m, 1));
		module->name = MemoryContextStrdup(model->context, SPI_getvalue(SPI_tuptable->vals[m], SPI_tuptable->tupdesc, 2));
		module->items = (uint32) items;
		module->base = model->items;
		module->observed = DatumGetFloat8(field(m, 4));
		module->users = (uint64) DatumGetInt64(field(m, 5));
		module->interactions = (uint64) DatumGetInt64(field(m, 6));
		module->half_life = DatumGetFloat8(field(m, 7));
		module->window = (KpxWindow){DatumGetTimestampTz(field(m, 8)), DatumGetTimestampTz(field(m, 9)),
									 (uint64) DatumGetInt64(field(m, 10))};
		model->items += module->items;
	}
}

/* Which parts, with their numbers and the shapes of their arrays. */
static void
read_parts(KpxModel *model)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(model->id)};

	kpx_catalog_execute("SELECT algorithm, numbers FROM kpx.model_part WHERE model_id = $1 ORDER BY position",
						1, types, values, NULL, true);
	if (SPI_processed < 1 || SPI_processed > KPX_MAX_PARTS)
		corrupt(model->id, "its number of parts is out of range");
	model->n_parts = (int) SPI_processed;
	for (int p = 0; p < model->n_parts; p++)
	{
		KpxPart *part = &model->part[p];
		ArrayType *numbers = DatumGetArrayTypeP(field(p, 2));
		Datum *elements;
		bool *nulls;
		char *name = SPI_getvalue(SPI_tuptable->vals[p], SPI_tuptable->tupdesc, 1);

		part->algorithm = kpx_find_algorithm(name);
		if (part->algorithm == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("model " INT64_FORMAT " has a part of algorithm \"%s\", which is not known", model->id, name),
					 errhint("Upgrade kpxrec, or train again here.")));
		deconstruct_array(numbers, FLOAT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements, &nulls, &part->n_numbers);
		if (part->n_numbers > KPX_PART_NUMBERS)
			corrupt(model->id, "a part has too many numbers");
		for (int i = 0; i < part->n_numbers; i++)
		{
			if (nulls[i])
				corrupt(model->id, "a number is NULL");
			part->number[i] = DatumGetFloat8(elements[i]);
		}
		if (!part->algorithm->shape(model, part))
			corrupt(model->id, "its parameters are out of range");
	}
}

/* Metadata of the model; false when it does not exist. */
static bool
read_metadata(KpxModel *model)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(model->id)};

	kpx_catalog_execute("SELECT name, owner, coalesce(refreshed_at, created_at) FROM kpx.model WHERE id = $1", 1, types, values, NULL, true);
	if (SPI_processed != 1)
		return false;
	model->name = MemoryContextStrdup(model->context, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	model->owner = MemoryContextStrdup(model->context, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2));
	model->created_at = DatumGetTimestampTz(field(0, 3));
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

	kpx_catalog_execute("SELECT coalesce(sum(octet_length(data)), 0)::int8 FROM kpx.model_block"
						" WHERE model_id = $1 AND kind = $2 AND position = $3",
						3, types, values, NULL, true);
	if (!kpx_mul_size(rows, row_bytes, &bytes) || bytes > (size_t) DatumGetInt64(field(0, 1)))
		corrupt(model->id, "its blocks are smaller than its metadata says");
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
read_numbers(KpxModel *model)
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
	kpx_model_derive(model);
}

/* share: its numbers may come from shared memory, and go there. In a context below the current one. */
static KpxModel *
load(int64 id, bool share)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec model", ALLOCSET_SMALL_SIZES);
	KpxModel *model = MemoryContextAllocZero(context, sizeof(KpxModel));
	KpxCatalog catalog;
	bool found;
	bool shared;

	/* On an error the context goes with its parent; only a whole model moves to the cache. */
	model->id = id;
	model->context = context;
	kpx_catalog_begin(&catalog, true);
	found = read_metadata(model);
	shared = found && share && kpx_share_attach(model);
	if (found && !shared)
		read_numbers(model);
	kpx_catalog_end(&catalog);
	if (!found)
	{
		MemoryContextDelete(context);
		return NULL;
	}
	for (int p = 0; p < model->n_parts; p++)
		if (!model->part[p].algorithm->open(model, p))
			corrupt(id, "its parts do not fit together");
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
