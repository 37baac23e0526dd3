/*
 * update_solve.c
 *	  The rows of some items, and the Gram matrices, with new events in them.
 *
 * A model of "ials" keeps the Gram matrix of its users' vectors, so that the rows of a few items
 * can be solved without the other users: those who had to do with these items are folded in
 * from their live history, the Gram matrix is corrected for those with new events (rank k: what
 * they were goes, what they are comes), and the items' rows are solved against it, exactly as an
 * iteration of training would. Then the items' own Gram matrix is corrected in the same way, and all
 * is turned into its eigenvectors, which answers rely on (core/factor.h). Twice, since new
 * items have nothing to say about their users the first time.
 */
#include "update.h"

#include <math.h>

#include "core/factor.h"
#include "algorithm.h"
#include "ingest.h"

#define SWEEPS 2
#define BUDGET 1e8 /* multiply-adds between looks at interrupts: a few milliseconds */

/* The rows of one part of "ials". */
typedef struct Rows
{
	int factors;
	size_t ld;
	float *matrix; /* [items][ld] */
	float *gram; /* [factors]: of the items, diagonal */
	float *user_gram; /* [factors][factors] */
	const float *blanks; /* [n_modules]: unobserved weights */
	double *number; /* of the part */
} Rows;

/* What solving works with. */
typedef struct Solving
{
	const KpxUpdate *what;
	double *weight; /* [what->n_changed]: of all interactions of an item */
	float *x; /* [what->n_users][ld] */
	float *x_old; /* the same of what was done before the news; zero: nothing was */
	bool *has_news; /* [what->n_users] */
	uint32 new_users;
	void *workspace;
	float *scratch;
	double *gram; /* [factors][factors] */
	double *basis_workspace;
	float *basis; /* [factors][ld] */
	float *diagonal; /* [ld] */
} Solving;

/* ------------------------------------------------------------ folding users in */

/* Is history entry j news: was the item last touched after what the model had seen? */
static bool
is_news(const Solving *s, const KpxHistory *history, uint32 j, int *module)
{
	const KpxModel *model = s->what->r.x.model;
	const KpxWindow *seen;

	while (history->index[j] >= model->modules[*module].base + model->modules[*module].items)
		(*module)++;
	seen = &s->what->r.x.old->modules[*module].window;
	return history->time[j] > 0 && (seen->at_newest == 0 || history->time[j] > kpx_event_second(seen->newest));
}

static void
check_status(KpxStatus status)
{
	if (status != KPX_OK)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("the new events have weights that are too extreme"),
				 errhint("Train again with kpx_train.")));
}

/* Folds one user in by some of their history: without new items at first; only what is old when before. */
static void
fold(Solving *s, const KpxFixed *fixed, const KpxHistory *all, bool before, bool without_fresh, float *x, uint32 *n)
{
	uint32 *index = kpx_alloc(CurrentMemoryContext, Max(all->n, 1), sizeof(uint32));
	float *weight = kpx_alloc(CurrentMemoryContext, Max(all->n, 1), sizeof(float));
	uint64 offset[2] = {0, 0};
	KpxRows rows = {offset, index, weight};
	KpxCursor cursor = {0};
	KpxSolveSums sums = {0, 0};
	KpxStatus status;
	int module = 0;

	for (uint32 j = 0; j < all->n; j++)
	{
		uint32 row = s->what->row[all->index[j]];

		if ((before && is_news(s, all, j, &module)) || ((before || without_fresh) && row != KPX_NO_ROW && s->what->fresh[row]))
			continue;
		index[offset[1]] = all->index[j];
		weight[offset[1]++] = all->weight[j];
	}
	*n = (uint32) offset[1];
	while ((status = kpx_solve_rows(fixed, &rows, 1, &cursor, BUDGET, s->workspace, x, &sums)) == KPX_MORE)
		CHECK_FOR_INTERRUPTS();
	check_status(status);
	pfree(index);
	pfree(weight);
}

static KpxFixed
fixed_items(const Rows *rows, const Solving *s)
{
	return (KpxFixed){rows->factors, rows->matrix, s->diagonal, rows->number[2], rows->number[3], rows->number[1]};
}

/* The users as they are, and, the first time, as the model took them to be. */
static void
fold_users(Solving *s, const Rows *rows, int sweep)
{
	KpxFixed fixed;

	memset(s->diagonal, 0, rows->ld * sizeof(float));
	memcpy(s->diagonal, rows->gram, rows->factors * sizeof(float));
	fixed = fixed_items(rows, s);
	for (uint32 i = 0; i < s->what->n_users; i++)
	{
		uint32 n;
		uint32 n_old;
		int module = 0;

		CHECK_FOR_INTERRUPTS();
		fold(s, &fixed, &s->what->histories[i], false, sweep == 0, s->x + i * rows->ld, &n);
		if (sweep > 0)
			continue;
		for (uint32 j = 0; j < s->what->histories[i].n && !s->has_news[i]; j++)
			s->has_news[i] = is_news(s, &s->what->histories[i], j, &module);
		if (!s->has_news[i])
			continue;
		fold(s, &fixed, &s->what->histories[i], true, true, s->x_old + i * rows->ld, &n_old);
		s->new_users += n_old == 0;
	}
}

/* ------------------------------------------------------------ Gram matrices */

static void
to_double(const float *from, double *to, size_t n)
{
	for (size_t k = 0; k < n; k++)
		to[k] = from[k];
}

static void
to_float(const double *from, float *to, size_t n)
{
	for (size_t k = 0; k < n; k++)
		to[k] = (float) from[k];
}

/* What users with news were goes from the users' Gram matrix, what they are comes. */
static void
correct_user_gram(Solving *s, const Rows *rows)
{
	to_double(rows->user_gram, s->gram, (size_t) rows->factors * rows->factors);
	for (uint32 i = 0; i < s->what->n_users; i++)
	{
		if (!s->has_news[i])
			continue;
		CHECK_FOR_INTERRUPTS();
		kpx_gram_add(rows->factors, s->x_old, i, i + 1, -1, s->scratch, s->gram);
		kpx_gram_add(rows->factors, s->x, i, i + 1, 1, s->scratch, s->gram);
	}
	to_float(s->gram, rows->user_gram, (size_t) rows->factors * rows->factors);
}

/* Eigenvalues and eigenvectors of s->gram, which is overwritten. */
static void
find_basis(Solving *s, int factors)
{
	KpxStatus status;

	for (int step = 0; (status = kpx_gram_basis_step(step, factors, s->gram, s->basis_workspace, s->diagonal, s->basis)) == KPX_MORE; step++)
		CHECK_FOR_INTERRUPTS();
	check_status(status);
}

/* Rows of the matrix times the transposed basis. */
static void
rotate(const Solving *s, const Rows *rows, const float *basis, float *matrix, uint64 n)
{
	for (uint64 begin = 0; begin < n; begin += 16 * KPX_ROTATE_ROWS)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_rotate_rows(rows->factors, basis, begin, Min(begin + 16 * KPX_ROTATE_ROWS, n), s->scratch, matrix);
	}
}

/* Where the items' Gram matrix is no diagonal any more: all is turned into its eigenvectors. */
static void
settle(Solving *s, const Rows *rows, const float *before)
{
	size_t d = (size_t) rows->factors;
	const KpxModel *model = s->what->r.x.model;
	int m = 0;

	memset(s->gram, 0, d * d * sizeof(double));
	for (size_t k = 0; k < d; k++)
		s->gram[k * d + k] = rows->gram[k];
	for (uint32 c = 0; c < s->what->n_changed; c++)
	{
		CHECK_FOR_INTERRUPTS();
		while (s->what->changed[c] >= model->modules[m].base + model->modules[m].items)
			m++;
		kpx_gram_add(rows->factors, before, c, c + 1, -rows->blanks[m], s->scratch, s->gram);
		kpx_gram_add(rows->factors, rows->matrix, s->what->changed[c], s->what->changed[c] + 1, rows->blanks[m], s->scratch, s->gram);
	}
	find_basis(s, rows->factors);
	memcpy(rows->gram, s->diagonal, d * sizeof(float));
	rotate(s, rows, s->basis, rows->matrix, model->items);
	rotate(s, rows, s->basis, s->what->axes, d);
	to_double(rows->user_gram, s->gram, d * d);
	kpx_gram_turn(rows->factors, s->basis, s->gram, s->basis_workspace);
	to_float(s->gram, rows->user_gram, d * d);
}

/* ------------------------------------------------------------ the items */

/* Interactions of the changed items with the users that were read, by item. */
static KpxRows
item_rows(Solving *s)
{
	uint64 *offset = kpx_alloc(CurrentMemoryContext, (size_t) s->what->n_changed + 1, sizeof(uint64));
	uint64 *cursor = kpx_alloc(CurrentMemoryContext, (size_t) s->what->n_changed + 1, sizeof(uint64));
	uint32 *index;
	float *weight;

	memset(offset, 0, sizeof(uint64) * (s->what->n_changed + 1));
	for (uint32 i = 0; i < s->what->n_users; i++)
		for (uint32 j = 0; j < s->what->histories[i].n; j++)
			if (s->what->row[s->what->histories[i].index[j]] != KPX_NO_ROW)
				offset[s->what->row[s->what->histories[i].index[j]] + 1]++;
	for (uint32 c = 0; c < s->what->n_changed; c++)
		offset[c + 1] += offset[c];
	memcpy(cursor, offset, sizeof(uint64) * (s->what->n_changed + 1));
	index = kpx_alloc(CurrentMemoryContext, Max(offset[s->what->n_changed], 1), sizeof(uint32));
	weight = kpx_alloc(CurrentMemoryContext, Max(offset[s->what->n_changed], 1), sizeof(float));
	for (uint32 i = 0; i < s->what->n_users; i++)
		for (uint32 j = 0; j < s->what->histories[i].n; j++)
		{
			uint32 row = s->what->row[s->what->histories[i].index[j]];

			if (row == KPX_NO_ROW)
				continue;
			index[cursor[row]] = i;
			weight[cursor[row]++] = s->what->histories[i].weight[j];
			s->weight[row] += s->what->histories[i].weight[j];
		}
	return (KpxRows){offset, index, weight};
}

/* Solves the changed items against the users, into y [n_changed][ld], in the basis the matrix is in. */
static void
solve_items(Solving *s, const Rows *rows, const KpxRows *entries, float *y)
{
	const KpxModel *model = s->what->r.x.model;
	size_t ld = rows->ld;
	float *back = kpx_alloc_aligned(CurrentMemoryContext, (size_t) rows->factors * ld, sizeof(float));
	KpxFixed fixed = {rows->factors, s->x, s->diagonal, 0, rows->number[4] + s->new_users, rows->number[1]};
	KpxCursor cursor = {0};
	KpxSolveSums sums = {0, 0};
	uint32 end = 0;

	to_double(rows->user_gram, s->gram, (size_t) rows->factors * rows->factors);
	find_basis(s, rows->factors);
	rotate(s, rows, s->basis, s->x, s->what->n_users);
	for (int m = 0; m < model->n_modules; m++)
	{
		KpxStatus status;

		while (end < s->what->n_changed && s->what->changed[end] < model->modules[m].base + model->modules[m].items)
			end++;
		fixed.unobserved = rows->number[2] * rows->blanks[m];
		while ((status = kpx_solve_rows(&fixed, entries, end, &cursor, BUDGET, s->workspace, y, &sums)) == KPX_MORE)
			CHECK_FOR_INTERRUPTS();
		check_status(status);
	}
	for (int i = 0; i < rows->factors; i++)
		for (int k = 0; k < rows->factors; k++)
			back[i * ld + k] = s->basis[k * ld + i];
	rotate(s, rows, back, y, s->what->n_changed);
}

static void
sweep(Solving *s, const Rows *rows, const KpxRows *entries, int which, float *y)
{
	size_t row = rows->ld * sizeof(float);

	fold_users(s, rows, which);
	if (which == 0)
		correct_user_gram(s, rows);
	solve_items(s, rows, entries, y);
	/* y and the matrix change places, row by row: settle wants to know what was */
	for (uint32 c = 0; c < s->what->n_changed; c++)
	{
		float *to = rows->matrix + (size_t) s->what->changed[c] * rows->ld;

		memcpy(s->scratch, to, row);
		memcpy(to, y + c * rows->ld, row);
		memcpy(y + c * rows->ld, s->scratch, row);
	}
	settle(s, rows, y);
}

/* Popularity of the changed items, and the counts of the modules. */
static void
count_news(Solving *s, const KpxRows *entries)
{
	KpxModel *model = s->what->r.x.model;
	uint64 n = entries->offset[s->what->n_changed];
	double all = 0;
	int m = 0;

	for (uint32 c = 0; c < s->what->n_changed; c++)
		all += s->weight[c];
	for (m = 0; m < model->n_modules; m++)
		model->modules[m].window = s->what->news[m].window;
	m = 0;
	for (uint32 c = 0; c < s->what->n_changed; c++)
	{
		double known;

		while (s->what->changed[c] >= model->modules[m].base + model->modules[m].items)
			m++;
		/* a module's weight: its interactions times the mean weight of those that were read */
		known = (double) model->modules[m].interactions * all / (double) Max(n, 1);
		if (known > 0)
			model->popularity[s->what->changed[c]] = (float) Min(1, s->weight[c] / known);
	}
}

static Rows
rows_of(KpxModel *model)
{
	KpxPart *part = &model->part[0];
	int factors = (int) part->number[0];

	return (Rows){factors, kpx_ld(factors), kpx_part_array(part, "factors"), kpx_part_array(part, "gram"), kpx_part_array(part, "user_gram"),
				  kpx_part_array(part, "blanks"), part->number};
}

void
kpx_update_solve(const KpxUpdate *what)
{
	KpxModel *model = what->r.x.model;
	Rows rows = rows_of(model);
	Solving s = {.what = what};
	size_t d = (size_t) rows.factors;
	size_t ld = rows.ld;
	KpxRows entries;
	float *y;

	s.weight = kpx_alloc(CurrentMemoryContext, what->n_changed, sizeof(double));
	memset(s.weight, 0, sizeof(double) * what->n_changed);
	s.x = kpx_alloc_aligned(CurrentMemoryContext, Max(what->n_users, 1) * ld, sizeof(float));
	s.x_old = kpx_alloc_aligned(CurrentMemoryContext, Max(what->n_users, 1) * ld, sizeof(float));
	s.has_news = palloc0(Max(what->n_users, 1));
	s.workspace = kpx_alloc_aligned(CurrentMemoryContext, kpx_solve_workspace_size(rows.factors), 1);
	s.scratch = kpx_alloc_aligned(CurrentMemoryContext, Max(d, KPX_ROTATE_ROWS) * ld, sizeof(float));
	s.gram = kpx_alloc(CurrentMemoryContext, d * d, sizeof(double));
	s.basis_workspace = kpx_alloc(CurrentMemoryContext, Max(kpx_gram_basis_workspace(rows.factors), 2 * d * d), sizeof(double));
	s.basis = kpx_alloc_aligned(CurrentMemoryContext, d * ld, sizeof(float));
	s.diagonal = kpx_alloc_aligned(CurrentMemoryContext, ld, sizeof(float));
	y = kpx_alloc_aligned(CurrentMemoryContext, (size_t) what->n_changed * ld, sizeof(float));
	entries = item_rows(&s);
	for (int m = 0; m < model->n_modules; m++)
		rows.number[3] += rows.blanks[m] * (double) what->r.x.fresh[m].n;
	for (int which = 0; which < SWEEPS; which++)
		sweep(&s, &rows, &entries, which, y);
	rows.number[4] += s.new_users;
	count_news(&s, &entries);
}
