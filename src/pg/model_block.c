/*
 * model_block.c
 *	  Reading a model from, and writing it to, the blocks of kpx.model_block.
 *
 * A matrix is cut into blocks of about 8 MB, far below bytea's limit. Each carries a
 * header and a checksum (core/model.h) and is checked in full before any of it is used.
 */
#include "model_block.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "port/pg_crc32c.h"
#include "utils/array.h"
#include "utils/uuid.h"
#include "utils/timestamp.h"

#include "core/model.h"
#include "algorithm.h"
#include "model_share.h"

#define BLOCK_BYTES (8 * 1024 * 1024)

/* ------------------------------------------------------------ writing */

static uint32
block_crc(const KpxBlockHeader *header, const void *payload, size_t bytes)
{
	KpxBlockHeader zeroed = *header;
	pg_crc32c crc;

	zeroed.crc = 0;
	INIT_CRC32C(crc);
	COMP_CRC32C(crc, &zeroed, sizeof(zeroed));
	COMP_CRC32C(crc, payload, bytes);
	FIN_CRC32C(crc);
	return crc;
}

/* A bytea of header and bytes of payload; the caller fills the payload and calls seal_block. */
static bytea *
new_block(KpxBlockKind kind, uint64 first_row, uint64 rows, uint32 cols, size_t bytes)
{
	bytea *block = palloc(VARHDRSZ + sizeof(KpxBlockHeader) + bytes);
	KpxBlockHeader header;

	SET_VARSIZE(block, VARHDRSZ + sizeof(KpxBlockHeader) + bytes);
	if (kpx_block_header(kind, first_row, rows, cols, bytes, &header) != KPX_OK)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("a block of a model is too large")));
	memcpy(VARDATA(block), &header, sizeof(header));
	return block;
}

static char *
block_payload(bytea *block)
{
	return VARDATA(block) + sizeof(KpxBlockHeader);
}

static void
insert_block(int64 model, const char *kind, int position, int seq, bytea *block)
{
	Oid types[] = {INT8OID, TEXTOID, INT4OID, INT4OID, BYTEAOID};
	Datum values[] = {Int64GetDatum(model), CStringGetTextDatum(kind), Int32GetDatum(position),
					  Int32GetDatum(seq), PointerGetDatum(block)};
	KpxBlockHeader header;

	memcpy(&header, VARDATA(block), sizeof(header));
	header.crc = block_crc(&header, block_payload(block), (size_t) header.payload_bytes);
	memcpy(VARDATA(block), &header, sizeof(header));
	CHECK_FOR_INTERRUPTS();
	kpx_catalog_execute("INSERT INTO kpx.model_block (model_id, kind, position, seq, data) VALUES ($1, $2, $3, $4, $5)",
						5, types, values, NULL, false);
	pfree(block);
}

static void
store_ids(const KpxModel *model, int position)
{
	const KpxIds *ids = &model->modules[position].ids;
	uint64 begin = 0;
	int seq = 0;

	do
	{
		uint64 end = Min(begin + BLOCK_BYTES / 64, ids->n);
		uint64 rows = end - begin;
		bytea *block;

		if (ids->kind == KPX_ID_INT)
		{
			block = new_block(KPX_BLOCK_IDS_INT, begin, rows, 1, rows * sizeof(int64));
			memcpy(block_payload(block), ids->numbers + begin, rows * sizeof(int64));
		}
		else if (ids->kind == KPX_ID_UUID)
		{
			block = new_block(KPX_BLOCK_IDS_UUID, begin, rows, 1, rows * UUID_LEN);
			memcpy(block_payload(block), ids->bytes + begin * UUID_LEN, rows * UUID_LEN);
		}
		else
		{
			size_t from = ids->offsets[begin];
			size_t length = ids->offsets[end] - from;
			uint64 *offsets;

			block = new_block(KPX_BLOCK_IDS_TEXT, begin, rows, 1, (rows + 1) * sizeof(uint64) + length);
			offsets = palloc((rows + 1) * sizeof(uint64));
			for (uint64 i = 0; i <= rows; i++)
				offsets[i] = ids->offsets[begin + i] - from;
			memcpy(block_payload(block), offsets, (rows + 1) * sizeof(uint64));
			memcpy(block_payload(block) + (rows + 1) * sizeof(uint64), ids->bytes + from, length);
			pfree(offsets);
		}
		insert_block(model->id, "ids", position, seq++, block);
		begin = end;
	} while (begin < ids->n);
}

/* An array, its rows cut into blocks. */
static void
store_array(int64 model, const KpxArray *array, int position)
{
	size_t element = kpx_block_element(array->kind);
	size_t row = array->cols * element;
	uint64 step = Max(1, BLOCK_BYTES / row);
	int seq = 0;

	for (uint64 begin = 0; begin < array->rows || seq == 0; begin += step)
	{
		uint64 n = Min(step, array->rows - begin);
		bytea *block = new_block(array->kind, begin, n, array->cols, n * row);

		for (uint64 i = 0; i < n; i++)
			memcpy(block_payload(block) + i * row, (char *) array->data + (begin + i) * array->ld * element, row);
		insert_block(model, array->name, position, seq++, block);
	}
}

static KpxArray
popularity_array(const KpxModel *model, int position)
{
	const KpxModelModule *module = &model->modules[position];

	return (KpxArray){"popularity", KPX_BLOCK_POPULARITY, module->items, 1, 1, model->popularity + module->base};
}

static size_t
model_bytes(const KpxModel *model)
{
	size_t bytes = model->items * sizeof(float);

	for (int p = 0; p < model->n_parts; p++)
		for (int a = 0; a < model->part[p].n_arrays; a++)
		{
			const KpxArray *array = &model->part[p].array[a];

			if (!array->derived)
				bytes += array->rows * array->cols * kpx_block_element(array->kind);
		}
	return bytes;
}

static Datum
losses_array(const KpxTrainingReport *report)
{
	Datum *elements = palloc(sizeof(Datum) * Max(report->n_losses, 1));

	for (int i = 0; i < report->n_losses; i++)
		elements[i] = Float8GetDatum(report->losses[i]);
	return PointerGetDatum(construct_array(elements, report->n_losses, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static void
store_row(KpxModel *model, const KpxTrainingReport *report, int *version)
{
	Oid types[] = {TEXTOID, NAMEOID, TEXTOID, JSONBOID, INT4OID, INT8OID, INT8OID, INT8OID, INT4OID, FLOAT8OID,
				   FLOAT8OID, FLOAT8OID, INT8OID, FLOAT8ARRAYOID};
	Datum values[] = {CStringGetTextDatum(model->name), DirectFunctionCall1(namein, CStringGetDatum(model->owner)),
					  CStringGetTextDatum(report->algorithm), report->params, Int32GetDatum(report->factors),
					  Int64GetDatum(report->users), Int64GetDatum(model->items), Int64GetDatum(report->interactions),
					  Int32GetDatum(report->iterations), Float8GetDatum(report->loss), Float8GetDatum(report->read_seconds),
					  Float8GetDatum(report->train_seconds), Int64GetDatum(model_bytes(model)), losses_array(report)};
	char nulls[] = "              ";
	bool null;

	nulls[4] = report->factors ? ' ' : 'n';
	nulls[9] = isnan(report->loss) ? 'n' : ' ';
	nulls[13] = report->n_losses ? ' ' : 'n';
	kpx_catalog_execute("INSERT INTO kpx.model (name, version, owner, algorithm, params, factors, users, items,"
						" interactions, iterations, loss, seconds, bytes, losses)"
						" SELECT $1, 1 + coalesce((SELECT max(version) FROM kpx.model WHERE name = $1), 0), $2, $3, $4,"
						" $5, $6, $7, $8, $9, $10,"
						" jsonb_build_object('read', round($11::numeric, 3), 'train', round($12::numeric, 3)), $13, $14"
						" RETURNING id, version",
						lengthof(types), types, values, nulls, false);
	model->id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	*version = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null));
}

static void
store_module(const KpxModel *model, int position)
{
	const KpxModelModule *m = &model->modules[position];
	Oid types[] = {INT8OID, INT4OID, INT4OID, TEXTOID, INT8OID, INT8OID, INT8OID, FLOAT8OID, FLOAT8OID, TIMESTAMPTZOID,
				   TIMESTAMPTZOID, INT8OID};
	Datum values[] = {Int64GetDatum(model->id), Int32GetDatum(position), Int32GetDatum(m->module_id),
					  CStringGetTextDatum(m->name), Int64GetDatum(m->items), Int64GetDatum(m->users),
					  Int64GetDatum(m->interactions), Float8GetDatum(m->observed), Float8GetDatum(m->half_life),
					  TimestampTzGetDatum(m->window.oldest), TimestampTzGetDatum(m->window.newest),
					  Int64GetDatum((int64) m->window.at_newest)};
	char nulls[] = "            ";
	KpxArray popularity = popularity_array(model, position);

	if (m->window.at_newest == 0)
		nulls[9] = nulls[10] = 'n';

	kpx_catalog_execute("INSERT INTO kpx.model_module (model_id, position, module_id, module, items, users, interactions,"
						" observed_weight, half_life, oldest_event, newest_event, events_at_newest)"
						" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
						12, types, values, nulls, false);
	store_ids(model, position);
	store_array(model->id, &popularity, position);
}

static void
store_part(const KpxModel *model, int position)
{
	const KpxPart *part = &model->part[position];
	Datum numbers[KPX_PART_NUMBERS];
	Oid types[] = {INT8OID, INT4OID, TEXTOID, FLOAT8ARRAYOID};
	Datum values[] = {Int64GetDatum(model->id), Int32GetDatum(position), CStringGetTextDatum(part->algorithm->name), 0};

	for (int i = 0; i < part->n_numbers; i++)
		numbers[i] = Float8GetDatum(part->number[i]);
	values[3] = PointerGetDatum(construct_array(numbers, part->n_numbers, FLOAT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	kpx_catalog_execute("INSERT INTO kpx.model_part (model_id, position, algorithm, numbers) VALUES ($1, $2, $3, $4)",
						4, types, values, NULL, false);
	for (int a = 0; a < part->n_arrays; a++)
		if (!part->array[a].derived)
			store_array(model->id, &part->array[a], position);
}

int
kpx_model_store(KpxModel *model, const KpxTrainingReport *report)
{
	KpxCatalog catalog;
	int version;

	kpx_catalog_begin(&catalog, false);
	store_row(model, report, &version);
	for (int m = 0; m < model->n_modules; m++)
		store_module(model, m);
	for (int p = 0; p < model->n_parts; p++)
		store_part(model, p);
	kpx_catalog_end(&catalog);
	return version;
}

void
kpx_model_replace(KpxModel *model)
{
	static const char *const statements[] = {
		"DELETE FROM kpx.model_block WHERE model_id = $1",
		"DELETE FROM kpx.model_part WHERE model_id = $1",
		"DELETE FROM kpx.model_module WHERE model_id = $1",
		"UPDATE kpx.model SET items = $2, bytes = $3, refreshed_at = clock_timestamp() WHERE id = $1",
	};
	Oid types[] = {INT8OID, INT8OID, INT8OID};
	Datum values[] = {Int64GetDatum(model->id), Int64GetDatum(model->items), Int64GetDatum(model_bytes(model))};
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	for (int i = 0; i < (int) lengthof(statements); i++)
		kpx_catalog_execute(statements[i], i == lengthof(statements) - 1 ? 3 : 1, types, values, NULL, false);
	for (int m = 0; m < model->n_modules; m++)
		store_module(model, m);
	for (int p = 0; p < model->n_parts; p++)
		store_part(model, p);
	kpx_catalog_end(&catalog);
}

/* ------------------------------------------------------------ reading */

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
	if (block_crc(header, kpx_block_payload(bytes), (size_t) header->payload_bytes) != header->crc)
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
		KpxArray popularity = popularity_array(model, m);

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
		KpxArray popularity = popularity_array(model, m);

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
