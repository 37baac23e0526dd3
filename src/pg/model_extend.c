/*
 * model_extend.c
 *	  A model with more items than it had.
 *
 * Items of a module lie in the order of their ids, so new ones come between the old, and all that has a row an
 * item, or names one, is put in its new place.
 */
#include "model_extend.h"

#include "algorithm.h"
#include "idmap.h"

/* Old and new ids of a module in order, and where each goes. */
static KpxIds
merge_ids(const KpxIds *old, const KpxIds *fresh, uint32 base, uint32 *place, uint32 *fresh_place)
{
	KpxIdMap *map = kpx_idmap_create(CurrentMemoryContext, old->kind);
	uint32 *position;
	KpxIds ids;

	for (uint64 i = 0; i < old->n; i++)
		(void) kpx_idmap_add(map, kpx_ids_get(old, i));
	for (uint64 i = 0; i < fresh->n; i++)
		(void) kpx_idmap_add(map, kpx_ids_get(fresh, i));
	ids = kpx_idmap_sorted(map, CurrentMemoryContext, &position);
	for (uint64 i = 0; i < old->n; i++)
		place[i] = base + position[i];
	for (uint64 i = 0; i < fresh->n; i++)
		fresh_place[i] = base + position[old->n + i];
	kpx_idmap_free(map);
	return ids;
}

void
kpx_extension_lay_out(KpxExtension *x)
{
	const KpxModel *old = x->old;
	KpxModel *model = palloc0(sizeof(KpxModel));

	model->id = old->id;
	model->context = CurrentMemoryContext;
	model->n_modules = old->n_modules;
	model->modules = palloc(sizeof(KpxModelModule) * old->n_modules);
	model->items = old->items + x->fresh_base[old->n_modules];
	x->place = kpx_alloc(CurrentMemoryContext, Max(old->items, 1), sizeof(uint32));
	x->fresh_place = kpx_alloc(CurrentMemoryContext, model->items, sizeof(uint32));
	for (int m = 0; m < old->n_modules; m++)
	{
		KpxModelModule *module = &model->modules[m];

		*module = old->modules[m];
		module->base = old->modules[m].base + x->fresh_base[m];
		module->items = old->modules[m].items + (uint32) x->fresh[m].n;
		module->ids = merge_ids(&old->modules[m].ids, &x->fresh[m], module->base, x->place + old->modules[m].base,
								x->fresh_place + x->fresh_base[m]);
	}
	model->popularity = kpx_alloc_aligned(CurrentMemoryContext, model->items, sizeof(float));
	for (uint32 i = 0; i < old->items; i++)
		model->popularity[x->place[i]] = old->popularity[i];
	x->model = model;
}

/* Rows of links by item: those of old items in their new places, none of new ones. */
static void
copy_offsets(const KpxExtension *x, const KpxArray *from, KpxArray *to)
{
	const uint64 *old = from->data;
	uint64 *offset = to->data;

	memset(offset, 0, to->rows * sizeof(uint64));
	for (uint32 i = 0; i < x->old->items; i++)
		offset[x->place[i] + 1] = old[i + 1] - old[i];
	for (uint64 i = 0; i + 1 < to->rows; i++)
		offset[i + 1] += offset[i];
}

/* Copies an array; one with a row an item has its rows put in their new places, and items are named by these. */
static void
copy_array(const KpxExtension *x, const KpxArray *from, KpxArray *to)
{
	size_t row = from->ld * kpx_block_element(from->kind);

	if (strcmp(from->name, "offset") == 0)
		copy_offsets(x, from, to);
	else if (from->kind == KPX_BLOCK_INDEXES)
		for (uint64 i = 0; i < from->rows; i++)
			((uint32 *) to->data)[i] = x->place[((const uint32 *) from->data)[i]];
	else if (strcmp(from->name, "factors") == 0 || strcmp(from->name, "cold") == 0)
		for (uint32 i = 0; i < x->old->items; i++)
			memcpy((char *) to->data + x->place[i] * row, (const char *) from->data + i * row, row);
	else
		memcpy(to->data, from->data, from->rows * row);
}

static void
copy_part(const KpxExtension *x, int p)
{
	const KpxPart *from = &x->old->part[p];
	double number[KPX_PART_NUMBERS];
	KpxFit fit = {.model = x->model, .part = p};
	KpxPart *to;

	memcpy(number, from->number, sizeof(number));
	to = kpx_part_add(&fit, from->algorithm, number, from->n_numbers);
	for (int a = 0; a < from->n_arrays; a++)
		if (!from->array[a].derived)
			copy_array(x, &from->array[a], &to->array[a]);
}

void
kpx_extension_count(KpxExtension *x, int m)
{
	if ((uint64) x->old->items + x->fresh_base[m] + x->fresh[m].n >= PG_INT32_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("more than %d items", PG_INT32_MAX - 1)));
	x->fresh_base[m + 1] = x->fresh_base[m] + (uint32) x->fresh[m].n;
}

void
kpx_extension_copy(KpxExtension *x)
{
	for (int p = 0; p < x->old->n_parts; p++)
		copy_part(x, p);
}
