/*
 * model_store.c
 *	  Writing a model to our tables, its numbers to the blocks of kpx.model_block.
 */
#include "model_block.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/uuid.h"
#include "utils/timestamp.h"

#include "core/model.h"
#include "algorithm.h"
#include "fault.h"

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
	header.crc = kpx_block_crc(&header, block_payload(block));
	memcpy(VARDATA(block), &header, sizeof(header));
	CHECK_FOR_INTERRUPTS();
	KPX_FAULT("block");
	kpx_catalog_execute("INSERT INTO kpx.model_block (model_id, kind, position, seq, data) VALUES ($1, $2, $3, $4, $5)",
						5, types, values, NULL, false);
	pfree(block);
}

void
kpx_store_ids(int64 model, const char *kind, const KpxIds *ids, int position, int seq)
{
	uint64 begin = 0;

	do
	{
		uint64 end = Min(begin + KPX_IDS_A_BLOCK, ids->n);
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
		insert_block(model, kind, position, seq++, block);
		begin = end;
	} while (begin < ids->n);
}

uint64
kpx_rows_a_block(const KpxArray *array)
{
	return Max(1, KPX_BLOCK_BYTES / (array->cols * kpx_block_element(array->kind)));
}

void
kpx_store_array(int64 model, const KpxArray *array, int position, int seq)
{
	size_t element = kpx_block_element(array->kind);
	size_t row = array->cols * element;
	uint64 step = kpx_rows_a_block(array);

	for (uint64 begin = 0; begin < array->rows || begin == 0; begin += step)
	{
		uint64 n = Min(step, array->rows - begin);
		bytea *block = new_block(array->kind, begin, n, array->cols, n * row);

		for (uint64 i = 0; i < n; i++)
			memcpy(block_payload(block) + i * row, (char *) array->data + (begin + i) * array->ld * element, row);
		insert_block(model, array->name, position, seq++, block);
	}
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
	KpxArray popularity = kpx_popularity_array(model, position);

	if (m->window.at_newest == 0)
		nulls[9] = nulls[10] = 'n';

	kpx_catalog_execute("INSERT INTO kpx.model_module (model_id, position, module_id, module, items, users, interactions,"
						" observed_weight, half_life, oldest_event, newest_event, events_at_newest)"
						" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
						12, types, values, nulls, false);
	kpx_store_ids(model->id, "ids", &m->ids, position, 0);
	kpx_store_array(model->id, &popularity, position, 0);
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
			kpx_store_array(model->id, &part->array[a], position, 0);
}

int
kpx_model_store(KpxModel *model, const KpxTrainingReport *report)
{
	KpxCatalog catalog;
	int version;

	kpx_catalog_begin(&catalog, false);
	store_row(model, report, &version);
	KPX_FAULT("model row");
	for (int m = 0; m < model->n_modules; m++)
		store_module(model, m);
	for (int p = 0; p < model->n_parts; p++)
		store_part(model, p);
	kpx_catalog_end(&catalog);
	KPX_FAULT("stored");
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
