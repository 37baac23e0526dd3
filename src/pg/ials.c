/*
 * ials.c
 *	  Algorithm "ials": implicit ALS; factor_train.c trains it, core/factor.h has the equations.
 *
 * Numbers: factors, regularization, unobserved weight, unobserved rows, users. Arrays: factors
 * (items x factors), gram (the diagonal); what kpx_update_items needs: user_gram (of the users'
 * vectors, factors x factors, in the same basis), blanks (unobserved weight of each module); and
 * derived, when it is a model by itself: order, length, codes, scale and residual, by which the best are
 * found (core/topk_pruned.h), each module's items by themselves. A taste is a
 * vector of factors.
 */
#include "algorithm.h"

#include <math.h>

#include "core/factor.h"
#include "core/topk_pruned.h"
#include "factor_train.h"

enum
{
	FACTORS,
	REGULARIZATION,
	UNOBSERVED,
	UNOBSERVED_ROWS,
	USERS,
	N_NUMBERS
};

static const KpxParamSpec specs[] = {
	{"factors", KPX_PARAM_INT, 64, 1, KPX_MAX_FACTORS, NULL, 32, 128},
	{"iterations", KPX_PARAM_INT, 12, 1, 1000},
	{"regularization", KPX_PARAM_FLOAT, 0.02, 1e-6, 1e6, NULL, 0.003, 0.1},
	{"unobserved_weight", KPX_PARAM_FLOAT, 0.02, 1e-6, 1e3, NULL, 0.003, 0.1},
	{"tolerance", KPX_PARAM_FLOAT, 0, 0, 1},
	{NULL},
};

KpxFixed *
kpx_ials_part(KpxFit *fit, const KpxFixed *fixed)
{
	double number[N_NUMBERS] = {fixed->factors, fixed->regularization, fixed->unobserved, fixed->unobserved_rows, fit->data->users};
	KpxPart *part = kpx_part_add(fit, &kpx_ials, number, N_NUMBERS);
	KpxFixed *own = palloc(sizeof(KpxFixed));

	*own = *fixed;
	own->matrix = kpx_part_array(part, "factors");
	own->gram = kpx_part_array(part, "gram");
	return own;
}

static bool
shape(const KpxModel *model, KpxPart *part)
{
	double factors = part->number[FACTORS];

	if (part->n_numbers != N_NUMBERS || !(factors >= 1 && factors <= KPX_MAX_FACTORS) || factors != rint(factors))
		return false;
	if (!kpx_part_declare(part, "factors", KPX_BLOCK_FACTORS, model->items, (uint32) factors) ||
		!kpx_part_declare(part, "gram", KPX_BLOCK_GRAM, 1, (uint32) factors) ||
		!kpx_part_declare(part, "user_gram", KPX_BLOCK_FLOATS, (uint64) factors, (uint32) factors) ||
		!kpx_part_declare(part, "blanks", KPX_BLOCK_FLOATS, (uint64) model->n_modules, 1))
		return false;
	/* As a component it is never searched. Each module's codes are whole groups: see codes_begin. */
	return part != &model->part[0] ||
		   (kpx_part_declare_derived(part, "order", KPX_BLOCK_INDEXES, model->items, 1) &&
			kpx_part_declare_derived(part, "length", KPX_BLOCK_FLOATS, model->items, 1) &&
			kpx_part_declare_derived(part, "codes", KPX_BLOCK_BYTES, (uint64) model->items + (uint64) model->n_modules * KPX_CODE_ROWS,
									 (uint32) kpx_ld((int) factors)) &&
			kpx_part_declare_derived(part, "scale", KPX_BLOCK_FLOATS, model->items, 1) &&
			kpx_part_declare_derived(part, "residual", KPX_BLOCK_FLOATS, model->items, 1));
}

/* What the search for the best among module number m looks at. */
static KpxLengths
lengths_of(const KpxModel *model, const KpxPart *part, int m)
{
	size_t ld = kpx_ld((int) part->number[FACTORS]);
	size_t base = model->modules[m].base;
	/* Whole groups before its own: those of m modules are longer than their items by less than m groups. */
	size_t codes_begin = (base + (size_t) m * KPX_CODE_ROWS) / KPX_CODE_ROWS * KPX_CODE_ROWS;

	return (KpxLengths){(const float *) kpx_part_array(part, "factors") + base * ld, ld, model->modules[m].items, (const uint32_t *) kpx_part_array(part, "order") + base, (const float *) kpx_part_array(part, "length") + base, {(const int8_t *) kpx_part_array(part, "codes") + codes_begin * ld, (const float *) kpx_part_array(part, "scale") + base, (const float *) kpx_part_array(part, "residual") + base}};
}

#define ROWS_A_STEP 16384

static void
derive_module(const KpxLengths *to)
{
	float *length = unconstify(float *, to->length);
	uint32 *order = unconstify(uint32 *, to->order);
	void *workspace = kpx_alloc(CurrentMemoryContext, kpx_order_by_length_workspace_size(to->rows), 1);

	for (size_t i = 0; i < to->rows; i += ROWS_A_STEP)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_row_lengths(to->items, to->ld, i, Min(to->rows, i + ROWS_A_STEP), length);
	}
	kpx_order_by_length(to->rows, length, order, workspace);
	pfree(workspace);
	for (size_t i = 0; i < to->rows; i += ROWS_A_STEP)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_codes_make(to->items, to->ld, order, length, i, Min(to->rows, i + ROWS_A_STEP), unconstify(int8 *, to->codes.codes),
					   unconstify(float *, to->codes.scale), unconstify(float *, to->codes.residual));
	}
}

static void
derive(KpxModel *model, int part)
{
	if (part == 0)
		for (int m = 0; m < model->n_modules; m++)
		{
			KpxLengths to = lengths_of(model, &model->part[0], m);

			derive_module(&to);
		}
}

static bool
open_part(KpxModel *model, int number)
{
	KpxPart *part = &model->part[number];
	KpxFixed *fixed = MemoryContextAllocZero(model->context, sizeof(KpxFixed));
	float *gram;

	/* The solver reads whole lines of the diagonal. */
	fixed->factors = (int) part->number[FACTORS];
	gram = kpx_alloc_aligned(model->context, kpx_ld(fixed->factors), sizeof(float));
	memcpy(gram, kpx_part_array(part, "gram"), sizeof(float) * fixed->factors);
	fixed->gram = gram;
	fixed->matrix = kpx_part_array(part, "factors");
	fixed->regularization = part->number[REGULARIZATION];
	fixed->unobserved = part->number[UNOBSERVED];
	fixed->unobserved_rows = part->number[UNOBSERVED_ROWS];
	part->derived = fixed;
	return fixed->regularization > 0 && fixed->unobserved > 0 && fixed->unobserved_rows >= 0 && part->number[USERS] >= 0;
}

/* Multiply-adds between looks at interrupts: a few milliseconds. */
#define BUDGET 1e8
#define MULTIPLICATIONS_A_STEP (1 << 27)

/* Items that are scored at a time for so many users. */
static uint32
items_a_step(size_t ld, int users)
{
	return (uint32) Max(16, MULTIPLICATIONS_A_STEP / (ld * users));
}

static KpxStatus
solve_user(const KpxFixed *fixed, const KpxHistory *history, void *workspace, float *x)
{
	uint64 offset[2] = {0, history->n};
	KpxRows rows = {offset, history->index, history->weight};
	KpxCursor cursor = {0};
	KpxSolveSums sums = {0, 0};
	KpxStatus status;

	while ((status = kpx_solve_rows(fixed, &rows, 1, &cursor, BUDGET, workspace, x, &sums)) == KPX_MORE)
		CHECK_FOR_INTERRUPTS();
	return status;
}

static void *
fold_in(const KpxModel *model, int part, const KpxHistory *history, KpxScratch *scratch)
{
	const KpxFixed *fixed = model->part[part].derived;
	float *x;

	if (history->n == 0)
		return NULL;
	x = kpx_alloc_aligned(CurrentMemoryContext, kpx_ld(fixed->factors), sizeof(float));
	if (solve_user(fixed, history, kpx_scratch(scratch, part, kpx_solve_workspace_size(fixed->factors)), x) != KPX_OK)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("the user's events have weights that are too extreme")));
	return x;
}

static void
score(const KpxModel *model, int part, const void *taste, uint32 begin, uint32 end, float *score)
{
	const KpxFixed *fixed = model->part[part].derived;
	size_t ld = kpx_ld(fixed->factors);
	uint32 step = items_a_step(ld, 1);

	for (uint32 i = begin; i < end; i += step)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_scores(fixed->matrix + i * ld, ld, 0, Min(step, end - i), taste, score + (i - begin));
	}
}

static void
score_batch(const KpxModel *model, int part, void *const *tastes, int n, uint32 begin, uint32 end, float *score)
{
	const KpxFixed *fixed = model->part[part].derived;
	size_t ld = kpx_ld(fixed->factors);
	float *x = kpx_alloc_aligned(CurrentMemoryContext, (size_t) n * ld, sizeof(float));
	uint32 step = items_a_step(ld, n);

	for (int u = 0; u < n; u++)
		memcpy(x + u * ld, tastes[u], ld * sizeof(float));
	for (uint32 i = begin; i < end; i += step)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_scores_batch(fixed->matrix + i * ld, ld, Min(step, end - i), x, (size_t) n, score + (i - begin), end - begin);
	}
}

/* Positions of the order that are looked at between looks at interrupts. */
#define POSITIONS_A_CHECK (64 * KPX_SEARCH_BLOCK)

/* Block by block, so that a block's codes are read from memory once for all users. */
static void
search_all(const KpxLengths *lengths, KpxSearch **going, int n)
{
	for (size_t i = 0; i < lengths->rows && n > 0; i += KPX_SEARCH_BLOCK)
	{
		int left = 0;

		if (n > 1 || i % POSITIONS_A_CHECK == 0)
			CHECK_FOR_INTERRUPTS();
		for (int u = 0; u < n; u++)
			if (kpx_search_step(lengths, i, Min(i + KPX_SEARCH_BLOCK, lengths->rows), going[u]))
				going[left++] = going[u];
		n = left;
	}
}

static void
best(const KpxModel *model, int part, uint32 begin, uint32 end, size_t k, KpxWanted *users, int n)
{
	KpxSearch *searches = palloc(sizeof(KpxSearch) * n);
	KpxSearch **going = palloc(sizeof(KpxSearch *) * n);
	KpxLengths lengths;
	int m = 0;

	while (model->modules[m].base != begin || model->modules[m].items != end - begin)
		m++;
	lengths = lengths_of(model, &model->part[part], m);
	for (int u = 0; u < n; u++)
	{
		searches[u] = (KpxSearch){.x = users[u].taste, .excluded = users[u].excluded, .top = {users[u].hits, k, 0}};
		kpx_search_begin(&searches[u], lengths.ld);
		going[u] = &searches[u];
	}
	search_all(&lengths, going, n);
	for (int u = 0; u < n; u++)
		users[u].found = kpx_top_finish(&searches[u].top);
}

static void
contributions(const KpxModel *model, int part, const void *taste, const KpxHistory *history, uint32 item, double *contribution)
{
	const KpxFixed *fixed = model->part[part].derived;

	kpx_contributions(fixed, history->index, history->weight, history->n, taste,
					  fixed->matrix + (size_t) item * kpx_ld(fixed->factors), contribution);
}

/* Cosine of the factors. */
static void
similar(const KpxModel *model, int part, uint32 item, uint32 begin, uint32 end, float *score)
{
	const KpxFixed *fixed = model->part[part].derived;

	uint32 step = items_a_step(kpx_ld(fixed->factors), 2);

	for (uint32 i = begin; i < end; i += step)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_cosines(fixed->matrix, kpx_ld(fixed->factors), item, i, Min(i + step, end), score + (i - begin));
	}
}

static const float *
vector(const KpxModel *model, int part, uint32 item, int *length)
{
	const KpxFixed *fixed = model->part[part].derived;

	*length = fixed->factors;
	return fixed->matrix + (size_t) item * kpx_ld(fixed->factors);
}

const KpxAlgorithm kpx_ials = {"ials", specs, false, kpx_factor_train, shape, open_part, fold_in, score, score_batch,
							   contributions, similar, vector, .derive = derive, .best = best};
