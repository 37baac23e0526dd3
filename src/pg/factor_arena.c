/*
 * factor_arena.c
 *	  The memory one run of iALS works in, shared by its processes: layout and contents.
 */
#include "factor_arena.h"

#include "miscadmin.h"

#include "core/factor.h"
#include "core/ingest.h"

static size_t
reserve(size_t *total, size_t n, size_t size)
{
	size_t at = *total;
	size_t bytes;

	if (!kpx_mul_size(n, size, &bytes) || bytes > SIZE_MAX / 4 || at > SIZE_MAX / 4)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("training data is too large")));
	*total = at + kpx_align(bytes);
	return at;
}

static void
layout_side(KpxFactorSide *side, uint64 rows, uint64 entries, size_t ld, size_t *total)
{
	side->rows = rows;
	side->offset = reserve(total, rows + 1, sizeof(uint64));
	side->index = reserve(total, entries, sizeof(uint32));
	side->weight = reserve(total, entries, sizeof(float));
	side->matrix = reserve(total, rows * ld, sizeof(float));
	side->n_chunks = entries / CHUNK_ENTRIES + rows / CHUNK_ROWS + 1;
	side->chunk = reserve(total, side->n_chunks + 1, sizeof(uint64));
	side->sums = reserve(total, side->n_chunks, sizeof(KpxSolveSums));
}

void
kpx_factor_layout(KpxFactorRun *s, const KpxData *data, const KpxParams *params)
{
	size_t total = kpx_align(sizeof(KpxFactorRun));
	uint64 entries = data->offset[data->users];
	int factors = (int) kpx_param(params, "factors");
	size_t d = (size_t) factors;

	memset(s, 0, sizeof(*s));
	s->factors = factors;
	s->ld = kpx_ld(factors);
	s->n_modules = data->n_modules;
	for (int m = 0; m <= data->n_modules; m++)
		s->item_base[m] = data->item_base[m];
	for (int m = 0; m < data->n_modules; m++)
	{
		s->unobserved[m] = params->unobserved[m];
		s->unobserved_items += params->unobserved[m] * (data->item_base[m + 1] - data->item_base[m]);
	}
	s->unobserved_weight = kpx_param(params, "unobserved_weight");
	s->regularization = kpx_param(params, "regularization");
	s->tolerance = kpx_param(params, "tolerance");
	s->iterations = (int) kpx_param(params, "iterations");
	layout_side(&s->users, data->users, entries, s->ld, &total);
	layout_side(&s->items, data->items, entries, s->ld, &total);
	s->gram_slots = reserve(&total, GRAM_SLOTS * d * d, sizeof(double));
	s->diagonal = reserve(&total, s->ld, sizeof(float));
	s->basis = reserve(&total, d * s->ld, sizeof(float));
	s->bytes = total;
}

/* Cuts rows where CHUNK_ENTRIES or CHUNK_ROWS are reached. */
static void
cut_chunks(KpxFactorSide *side, const uint64 *offset, uint64 *chunk)
{
	uint64 n = 0;
	uint64 begin = 0;

	chunk[0] = 0;
	for (uint64 row = 0; row < side->rows; row++)
		if (row + 1 == side->rows || row + 1 - begin >= CHUNK_ROWS || offset[row + 1] - offset[begin] >= CHUNK_ENTRIES)
		{
			chunk[++n] = row + 1;
			begin = row + 1;
		}
	Assert(n <= side->n_chunks);
	side->n_chunks = n;
}

#define ENTRIES_A_STEP (1 << 21)

/* Users' rows to items' rows; cursor: one for each item. */
static void
transpose(KpxFactorProcess *p, uint64 *cursor)
{
	KpxFactorRun *s = p->shared;
	const uint64 *offset = kpx_factor_at(p, s->users.offset);
	const uint32 *index = kpx_factor_at(p, s->users.index);
	uint64 *t_offset = kpx_factor_at(p, s->items.offset);
	uint64 entries = offset[s->users.rows];
	uint64 row = 0;

	memset(t_offset, 0, (s->items.rows + 1) * sizeof(uint64));
	for (uint64 j = 0; j < entries; j += ENTRIES_A_STEP)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_csr_transpose_count(index + j, Min(ENTRIES_A_STEP, entries - j), t_offset);
	}
	(void) kpx_csr_offsets(t_offset, s->items.rows);
	memcpy(cursor, t_offset, s->items.rows * sizeof(uint64));
	while (row < s->users.rows)
	{
		uint64 begin = row;

		CHECK_FOR_INTERRUPTS();
		while (row < s->users.rows && (row == begin || offset[row + 1] - offset[begin] <= ENTRIES_A_STEP))
			row++;
		kpx_csr_transpose_scatter(offset, index, kpx_factor_at(p, s->users.weight), begin, row, cursor,
								  kpx_factor_at(p, s->items.index), kpx_factor_at(p, s->items.weight));
	}
}

void
kpx_factor_fill(KpxFactorProcess *p, const KpxData *data, int64 seed)
{
	KpxFactorRun *s = p->shared;
	uint64 entries = data->offset[data->users];
	uint64 *cursor = kpx_alloc(CurrentMemoryContext, Max(data->items, 1), sizeof(uint64));
	uint32 *index = kpx_factor_at(p, s->users.index);

	memcpy(kpx_factor_at(p, s->users.offset), data->offset, (data->users + 1) * sizeof(uint64));
	for (uint64 j = 0; j < entries; j++)
		index[j] = KPX_ITEM(data->index[j]);
	memcpy(kpx_factor_at(p, s->users.weight), data->weight, entries * sizeof(float));
	CHECK_FOR_INTERRUPTS();
	transpose(p, cursor);
	pfree(cursor);
	cut_chunks(&s->users, kpx_factor_at(p, s->users.offset), kpx_factor_at(p, s->users.chunk));
	cut_chunks(&s->items, kpx_factor_at(p, s->items.offset), kpx_factor_at(p, s->items.chunk));
	for (uint64 row = 0; row < s->items.rows; row += CHUNK_ROWS)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_init_rows(s->factors, (uint64) seed, row, Min(row + CHUNK_ROWS, s->items.rows), kpx_factor_at(p, s->items.matrix));
	}
}
