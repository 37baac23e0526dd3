/*
 * model_patch.c
 *	  Changes of a few items of a stored model, written beside it.
 */
#include "model_patch.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "core/factor.h"
#include "algorithm.h"
#include "idmap.h"
#include "model_block.h"
#include "model_extend.h"

#define MOST_PATCHES 256
#define MOST_ROWS 4 /* in all patches: the model's items by this */

static KpxArray *
row_array(KpxModel *model)
{
	KpxPart *part = &model->part[0];

	for (int a = 0; model->n_parts == 1 && a < part->n_arrays; a++)
		if (strcmp(part->array[a].name, "factors") == 0)
			return &part->array[a];
	kpx_model_corrupt(model->id, "it has patches, but no rows that they could change");
}

/* Rows [0, n) := row . matrix', in steps. */
static void
rotate(const KpxArray *rows, const float *matrix, float *data, uint64 n)
{
	float *scratch = kpx_alloc_aligned(CurrentMemoryContext, KPX_ROTATE_ROWS * rows->ld, sizeof(float));

	for (uint64 begin = 0; begin < n; begin += 16 * KPX_ROTATE_ROWS)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_rotate_rows((int) rows->cols, matrix, begin, Min(begin + 16 * KPX_ROTATE_ROWS, n), scratch, data);
	}
}

static float *
transposed(const KpxArray *rows, const float *matrix)
{
	float *result = kpx_alloc_aligned(CurrentMemoryContext, rows->cols * rows->ld, sizeof(float));

	for (size_t i = 0; i < rows->cols; i++)
		for (size_t k = 0; k < rows->cols; k++)
			result[i * rows->ld + k] = matrix[k * rows->ld + i];
	return result;
}

/* Inside kpx_catalog_begin: the stored axes, or none. */
static float *
read_axes(int64 id, const KpxArray *rows)
{
	int n;
	KpxStoredBlock *block = kpx_blocks_read(id, "patch_axes", 0, &n);
	float *axes = kpx_alloc_aligned(CurrentMemoryContext, rows->cols * rows->ld, sizeof(float));

	if (n == 0)
		return NULL;
	if (n != 1 || block->header.kind != KPX_BLOCK_FLOATS || block->header.rows != rows->cols || block->header.cols != rows->cols)
		kpx_model_corrupt(id, "the axes of its patches have the wrong shape");
	for (size_t i = 0; i < rows->cols; i++)
		memcpy(axes + i * rows->ld, block->payload + i * rows->cols * sizeof(float), rows->cols * sizeof(float));
	return axes;
}

/* ------------------------------------------------------------ reading */

bool
kpx_has_patches(int64 model)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(model)};

	kpx_catalog_execute("SELECT FROM kpx.model_block WHERE model_id = $1 AND kind = 'patch_axes'", 1, types, values, NULL, true);
	return SPI_processed > 0;
}

/* The patches of one module, in order. */
typedef struct Patches
{
	int n;
	KpxIds *ids; /* [n] */
	KpxStoredBlock *popularity; /* [n] */
	KpxStoredBlock *rows; /* [n] */
} Patches;

static KpxIds
ids_of(int64 id, KpxIdKind kind, const KpxStoredBlock *block)
{
	static const KpxBlockKind kinds[] = {
		[KPX_ID_INT] = KPX_BLOCK_IDS_INT, [KPX_ID_UUID] = KPX_BLOCK_IDS_UUID, [KPX_ID_TEXT] = KPX_BLOCK_IDS_TEXT};
	KpxIds ids = {.kind = kind, .n = block->header.rows};

	if (block->header.kind != kinds[kind])
		kpx_model_corrupt(id, "ids of different kinds");
	ids.numbers = (const int64 *) block->payload;
	ids.offsets = (const uint64 *) block->payload;
	ids.bytes = block->payload + (kind == KPX_ID_TEXT ? (ids.n + 1) * sizeof(uint64) : 0);
	return ids;
}

static Patches
read_module(int64 id, int position, KpxIdKind kind, const KpxArray *rows)
{
	int n[3];
	KpxStoredBlock *ids = kpx_blocks_read(id, "patch_ids", position, &n[0]);
	Patches patches = {.popularity = kpx_blocks_read(id, "patch_popularity", position, &n[1]),
					   .rows = kpx_blocks_read(id, "patch_rows", position, &n[2])};

	if (n[0] != n[1] || n[0] != n[2])
		kpx_model_corrupt(id, "blocks of patches are missing");
	patches.n = n[0];
	patches.ids = palloc(sizeof(KpxIds) * Max(patches.n, 1));
	for (int i = 0; i < patches.n; i++)
	{
		const KpxBlockHeader *popularity = &patches.popularity[i].header;
		const KpxBlockHeader *numbers = &patches.rows[i].header;

		if (patches.popularity[i].seq != ids[i].seq || patches.rows[i].seq != ids[i].seq || popularity->kind != KPX_BLOCK_POPULARITY ||
			popularity->rows != ids[i].header.rows || popularity->cols != 1 || numbers->kind != rows->kind ||
			numbers->rows != ids[i].header.rows || numbers->cols != rows->cols)
			kpx_model_corrupt(id, "blocks of a patch do not fit together");
		patches.ids[i] = ids_of(id, kind, &ids[i]);
	}
	return patches;
}

/* Ids in the patches that are not in base. */
static KpxIds
unknown_ids(const Patches *patches, const KpxIds *base)
{
	KpxIdMap *unknown = kpx_idmap_create(CurrentMemoryContext, base->kind);
	uint32 *position;
	KpxIds ids;

	for (int p = 0; p < patches->n; p++)
		for (uint64 i = 0; i < patches->ids[p].n; i++)
		{
			KpxId id = kpx_ids_get(&patches->ids[p], i);

			if (kpx_ids_find(base, id) < 0)
				(void) kpx_idmap_add(unknown, id);
		}
	ids = kpx_idmap_sorted(unknown, CurrentMemoryContext, &position);
	kpx_idmap_free(unknown);
	return ids;
}

static void
apply_module(const Patches *patches, KpxModel *model, int m)
{
	const KpxModelModule *module = &model->modules[m];
	const KpxArray *rows = row_array(model);

	for (int p = 0; p < patches->n; p++)
		for (uint64 i = 0; i < patches->ids[p].n; i++)
		{
			size_t item = module->base + (size_t) kpx_ids_find(&module->ids, kpx_ids_get(&patches->ids[p], i));

			memcpy(&model->popularity[item], patches->popularity[p].payload + i * sizeof(float), sizeof(float));
			memcpy((float *) rows->data + item * rows->ld, patches->rows[p].payload + i * rows->cols * sizeof(float), rows->cols * sizeof(float));
		}
}

void
kpx_patches_apply(KpxModel *base, KpxModel *model)
{
	KpxExtension x = {.old = base,
					  .fresh = palloc0(sizeof(KpxIds) * base->n_modules),
					  .fresh_base = palloc0(sizeof(uint32) * (base->n_modules + 1))};
	Patches *patches = palloc0(sizeof(Patches) * base->n_modules);
	KpxArray *rows = row_array(base);
	const float *axes = read_axes(model->id, rows);
	MemoryContext before;

	for (int m = 0; m < base->n_modules; m++)
	{
		patches[m] = read_module(model->id, m, base->modules[m].ids.kind, rows);
		x.fresh[m] = unknown_ids(&patches[m], &base->modules[m].ids);
		kpx_extension_count(&x, m);
		if (base->modules[m].items + x.fresh[m].n != model->modules[m].items)
			kpx_model_corrupt(model->id, "its number of items is not that of its blocks");
	}
	before = MemoryContextSwitchTo(model->context);
	kpx_extension_lay_out(&x);
	kpx_extension_copy(&x);
	MemoryContextSwitchTo(before);
	for (int m = 0; m < model->n_modules; m++)
		model->modules[m].ids = x.model->modules[m].ids;
	model->popularity = x.model->popularity;
	memcpy(model->part, x.model->part, sizeof(model->part));
	for (int m = 0; m < model->n_modules; m++)
		apply_module(&patches[m], model, m);
	rows = row_array(model);
	rotate(rows, transposed(rows, axes), rows->data, rows->rows);
}

/* ------------------------------------------------------------ writing */

float *
kpx_patch_axes(const KpxModel *model)
{
	const KpxArray *rows = row_array((KpxModel *) model);
	float *axes = kpx_alloc_aligned(CurrentMemoryContext, rows->cols * rows->ld, sizeof(float)); /* not where SPI's memory is */
	KpxCatalog catalog;
	const float *stored;

	for (size_t i = 0; i < rows->cols; i++)
		axes[i * rows->ld + i] = 1;
	kpx_catalog_begin(&catalog, true);
	stored = read_axes(model->id, rows);
	if (stored)
		memcpy(axes, stored, rows->cols * rows->ld * sizeof(float));
	kpx_catalog_end(&catalog);
	return axes;
}

/* Inside kpx_catalog_begin: the number of the next patch, or -1 when all is to be written anew. */
static int
next_patch(const KpxModel *model, const KpxArray *rows, uint32 n)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(model->id)};
	bool null;
	int64 patches;
	int64 patched;

	kpx_catalog_execute("SELECT coalesce(max(seq) + 1, 0)::int8, (coalesce(sum(octet_length(data) - 64), 0) / 4)::int8 FROM kpx.model_block"
						" WHERE model_id = $1 AND kind = 'patch_popularity'",
						1, types, values, NULL, true);
	patches = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	patched = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null));
	if (patches >= MOST_PATCHES || (patched + n) * MOST_ROWS > model->items || n > kpx_rows_a_block(rows) || n > KPX_IDS_A_BLOCK)
		return -1;
	return (int) patches;
}

/* What of the model's metadata an update changes, and its small arrays. */
static void
store_rest(const KpxModel *model, uint64 bytes)
{
	const KpxPart *part = &model->part[0];
	Datum numbers[KPX_PART_NUMBERS];
	Oid types[] = {INT8OID, INT8OID, INT8OID, FLOAT8ARRAYOID};
	Datum values[] = {Int64GetDatum(model->id), Int64GetDatum(model->items), Int64GetDatum((int64) bytes), 0};

	for (int i = 0; i < part->n_numbers; i++)
		numbers[i] = Float8GetDatum(part->number[i]);
	values[3] = PointerGetDatum(construct_array(numbers, part->n_numbers, FLOAT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	kpx_catalog_execute("WITH part AS (UPDATE kpx.model_part SET numbers = $4 WHERE model_id = $1 AND position = 0)"
						" UPDATE kpx.model SET items = $2, bytes = bytes + $3, refreshed_at = clock_timestamp() WHERE id = $1",
						4, types, values, NULL, false);
	for (int m = 0; m < model->n_modules; m++)
	{
		const KpxModelModule *module = &model->modules[m];
		Oid module_types[] = {INT8OID, INT4OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID};
		Datum module_values[] = {Int64GetDatum(model->id), Int32GetDatum(m), Int64GetDatum(module->items), TimestampTzGetDatum(module->window.oldest),
								 TimestampTzGetDatum(module->window.newest), Int64GetDatum((int64) module->window.at_newest)};

		kpx_catalog_execute("UPDATE kpx.model_module SET items = $3, oldest_event = $4, newest_event = $5, events_at_newest = $6"
							" WHERE model_id = $1 AND position = $2",
							6, module_types, module_values, module->window.at_newest ? NULL : "   nn ", false);
	}
	for (int a = 0; a < part->n_arrays; a++)
		if (!part->array[a].derived && part->array[a].rows != model->items)
		{
			Oid block_types[] = {INT8OID, TEXTOID};
			Datum block_values[] = {Int64GetDatum(model->id), CStringGetTextDatum(part->array[a].name)};

			kpx_catalog_execute("DELETE FROM kpx.model_block WHERE model_id = $1 AND kind = $2 AND position = 0", 2, block_types, block_values, NULL, false);
			kpx_store_array(model->id, &part->array[a], 0, 0);
		}
}

/* One module's part of the patch: n of its items. */
static void
store_module(KpxModel *model, int m, int patch, const uint32 *changed, uint32 n, float *rows)
{
	const KpxModelModule *module = &model->modules[m];
	KpxArray popularity = kpx_popularity_array(model, m);
	KpxArray numbers = *row_array(model);
	bool *without = palloc(Max(module->items, 1));
	float *value = palloc(sizeof(float) * n);
	KpxIds ids;

	memset(without, true, module->items);
	for (uint32 c = 0; c < n; c++)
	{
		without[changed[c] - module->base] = false;
		value[c] = model->popularity[changed[c]];
	}
	ids = kpx_ids_without(&module->ids, without);
	popularity.rows = numbers.rows = n;
	popularity.data = value;
	numbers.name = "patch_rows";
	numbers.data = rows;
	popularity.name = "patch_popularity";
	kpx_store_ids(model->id, "patch_ids", &ids, m, patch);
	kpx_store_array(model->id, &popularity, m, patch);
	kpx_store_array(model->id, &numbers, m, patch);
	pfree(without);
}

static void
store_axes(const KpxModel *model, const KpxArray *rows, const float *axes)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(model->id)};
	KpxArray array = {"patch_axes", KPX_BLOCK_FLOATS, rows->cols, rows->cols, rows->ld, unconstify(float *, axes)};

	kpx_catalog_execute("DELETE FROM kpx.model_block WHERE model_id = $1 AND kind = 'patch_axes'", 1, types, values, NULL, false);
	kpx_store_array(model->id, &array, 0, 0);
}

void
kpx_patch_store(KpxModel *model, const uint32 *changed, uint32 n, const float *axes)
{
	const KpxArray *rows = row_array(model);
	size_t row = rows->ld * sizeof(float);
	float *stored = kpx_alloc_aligned(CurrentMemoryContext, Max(n, 1) * rows->ld, sizeof(float));
	KpxCatalog catalog;
	uint32 done = 0;
	int patch;

	kpx_catalog_begin(&catalog, false);
	patch = next_patch(model, rows, n);
	if (patch >= 0)
	{
		for (uint32 c = 0; c < n; c++)
			memcpy(stored + c * rows->ld, (const float *) rows->data + changed[c] * rows->ld, row);
		rotate(rows, axes, stored, n); /* axes are orthonormal: their transpose turns back */
		for (int m = 0; m < model->n_modules; m++)
		{
			uint32 end = done;

			while (end < n && changed[end] < model->modules[m].base + model->modules[m].items)
				end++;
			if (end > done)
				store_module(model, m, patch, changed + done, end - done, stored + done * rows->ld);
			done = end;
		}
		store_axes(model, rows, axes);
		store_rest(model, (uint64) n * (rows->cols + 1) * sizeof(float) + (patch == 0 ? rows->cols * rows->cols * sizeof(float) : 0));
	}
	kpx_catalog_end(&catalog);
	if (patch < 0)
		kpx_model_replace(model);
}
