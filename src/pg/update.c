/*
 * update.c
 *	  kpx_update_items: between trainings, the vectors of items with new events, and of new items.
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

#include "access/htup_details.h"
#include "utils/timestamp.h"

#include "core/factor.h"
#include "algorithm.h"
#include "history.h"
#include "idmap.h"
#include "ingest.h"

#define SWEEPS 2
#define USERS_A_QUERY 1024
#define BUDGET 1e8 /* multiply-adds between looks at interrupts: a few milliseconds */
#define NO_ROW PG_UINT32_MAX

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

typedef struct Update
{
	KpxRefresh r;
	KpxNews *news; /* [n_modules] */
	uint64 events;
	uint32 n_changed; /* items to solve, new ones among them */
	uint32 *changed; /* their indexes in the new model, increasing */
	uint32 *row; /* [model->items]: number among changed, or NO_ROW */
	bool *fresh; /* [n_changed] */
	double *weight; /* [n_changed]: of all their interactions */
	uint32 n_users;
	KpxHistory *histories; /* [n_users] */
	float *x; /* [n_users][ld] */
	float *x_old; /* the same of what was done before the news; zero: nothing was */
	bool *has_news; /* [n_users] */
	uint32 new_users;
	void *workspace;
	float *scratch;
	double *gram; /* [factors][factors] */
	double *basis_workspace;
	float *basis; /* [factors][ld] */
	float *diagonal; /* [ld] */
} Update;

/* ------------------------------------------------------------ which items */

/* Has the item so many new events that its row is worth solving? Large ones hardly move, and are dear. */
static bool
has_grown(const Update *u, int m, uint64 i, double growth)
{
	const KpxModelModule *old = &u->r.old->modules[m];
	int64 known = kpx_ids_find(&old->ids, kpx_ids_get(&u->news[m].items, i));

	if (u->news[m].events[i] == 0)
		return false;
	return known < 0 || u->news[m].events[i] >= growth * u->r.old->popularity[old->base + known] * (double) old->interactions;
}

/* Reads the news of all modules, and finds the new items; is there any item to solve? */
static bool
find_news(Update *u, TimestampTz since, double growth)
{
	const KpxModel *old = u->r.old;
	bool any = false;

	u->news = palloc0(sizeof(KpxNews) * old->n_modules);
	for (int m = 0; m < old->n_modules; m++)
	{
		KpxIdMap *unknown = kpx_idmap_create(CurrentMemoryContext, old->modules[m].ids.kind);
		uint32 *position;

		u->news[m].window = old->modules[m].window;
		if (u->r.modules[m]->n_sources > 0)
		{
			if (kpx_module_item_kind(u->r.modules[m]) != old->modules[m].ids.kind && old->modules[m].items > 0)
				ereport(ERROR,
						(errcode(ERRCODE_DATATYPE_MISMATCH),
						 errmsg("item ids of module \"%s\" are of another kind than when the model was trained", old->modules[m].name),
						 errhint("Train again, or mend the type.")));
			u->news[m] = kpx_news_read(u->r.modules[m], &old->modules[m], since);
		}
		u->events += u->news[m].all;
		for (uint64 i = 0; i < u->news[m].items.n; i++)
			if (has_grown(u, m, i, growth))
			{
				any = true;
				if (kpx_ids_find(&old->modules[m].ids, kpx_ids_get(&u->news[m].items, i)) < 0)
					(void) kpx_idmap_add(unknown, kpx_ids_get(&u->news[m].items, i));
			}
		u->r.fresh[m] = kpx_idmap_sorted(unknown, CurrentMemoryContext, &position);
		kpx_idmap_free(unknown);
		kpx_refresh_count(&u->r, m);
	}
	return any;
}

static void
find_changed(Update *u, double growth)
{
	KpxModel *model = u->r.model;

	u->row = kpx_alloc(CurrentMemoryContext, Max(model->items, 1), sizeof(uint32));
	u->changed = kpx_alloc(CurrentMemoryContext, Max(model->items, 1), sizeof(uint32));
	for (uint32 i = 0; i < model->items; i++)
		u->row[i] = NO_ROW;
	for (int m = 0; m < model->n_modules; m++)
		for (uint64 i = 0; i < u->news[m].items.n; i++)
			if (has_grown(u, m, i, growth))
			{
				uint32 item = model->modules[m].base +
							  (uint32) kpx_ids_find(&model->modules[m].ids, kpx_ids_get(&u->news[m].items, i));

				u->row[item] = u->n_changed;
				u->changed[u->n_changed++] = item;
			}
	u->weight = kpx_alloc(CurrentMemoryContext, Max(u->n_changed, 1), sizeof(double));
	u->fresh = kpx_alloc(CurrentMemoryContext, Max(u->n_changed, 1), sizeof(bool));
	memset(u->weight, 0, sizeof(double) * u->n_changed);
	memset(u->fresh, 0, sizeof(bool) * u->n_changed);
	for (uint32 i = 0; i < u->r.fresh_base[model->n_modules]; i++)
		u->fresh[u->row[u->r.fresh_place[i]]] = true;
}

/* ------------------------------------------------------------ who had to do with them */

static void
find_users(Update *u, size_t ld)
{
	const KpxModel *model = u->r.model;
	KpxIdKind kind = kpx_model_user_kind(u->r.registry, model);
	KpxIdMap *map = kpx_idmap_create(CurrentMemoryContext, kind);
	uint32 *position;
	KpxIds ids;
	KpxId *id;
	uint32 at = 0;

	for (int m = 0; m < model->n_modules; m++)
	{
		const KpxModelModule *module = &model->modules[m];
		KpxId *items = kpx_alloc(CurrentMemoryContext, Max(u->n_changed, 1), sizeof(KpxId));
		int n = 0;

		for (; at < u->n_changed && u->changed[at] < module->base + module->items; at++)
			items[n++] = kpx_ids_get(&module->ids, u->changed[at] - module->base);
		kpx_news_users(u->r.modules[m], module->ids.kind, items, n, map, kind);
	}
	ids = kpx_idmap_sorted(map, CurrentMemoryContext, &position);
	kpx_idmap_free(map);
	u->n_users = (uint32) ids.n;
	kpx_check_budget((size_t) u->n_users * (3 * ld * sizeof(float) + 64 * 16), "folding in the users of the changed items");
	u->histories = kpx_alloc(CurrentMemoryContext, Max(u->n_users, 1), sizeof(KpxHistory));
	id = kpx_alloc(CurrentMemoryContext, USERS_A_QUERY, sizeof(KpxId));
	for (uint32 begin = 0; begin < u->n_users; begin += USERS_A_QUERY)
	{
		uint32 n = Min(USERS_A_QUERY, u->n_users - begin);

		CHECK_FOR_INTERRUPTS();
		for (uint32 i = 0; i < n; i++)
			id[i] = kpx_ids_get(&ids, begin + i);
		memcpy(u->histories + begin, kpx_history_read(u->r.registry, model, NULL, id, (int) n, kind, KPX_FOR_TRAINING), sizeof(KpxHistory) * n);
	}
}

/* Is history entry j news: was the item last touched after what the model had seen? */
static bool
is_news(const Update *u, const KpxHistory *history, uint32 j, int *module)
{
	const KpxModel *model = u->r.model;
	const KpxWindow *seen;

	while (history->index[j] >= model->modules[*module].base + model->modules[*module].items)
		(*module)++;
	seen = &u->r.old->modules[*module].window;
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
fold(Update *u, const KpxFixed *fixed, const KpxHistory *all, bool before, bool without_fresh, float *x, uint32 *n)
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
		uint32 row = u->row[all->index[j]];

		if ((before && is_news(u, all, j, &module)) || ((before || without_fresh) && row != NO_ROW && u->fresh[row]))
			continue;
		index[offset[1]] = all->index[j];
		weight[offset[1]++] = all->weight[j];
	}
	*n = (uint32) offset[1];
	while ((status = kpx_solve_rows(fixed, &rows, 1, &cursor, BUDGET, u->workspace, x, &sums)) == KPX_MORE)
		CHECK_FOR_INTERRUPTS();
	check_status(status);
	pfree(index);
	pfree(weight);
}

static KpxFixed
fixed_items(const Rows *rows, const Update *u)
{
	return (KpxFixed){rows->factors, rows->matrix, u->diagonal, rows->number[2], rows->number[3], rows->number[1]};
}

/* The users as they are, and, the first time, as the model took them to be. */
static void
fold_users(Update *u, const Rows *rows, int sweep)
{
	KpxFixed fixed;

	memset(u->diagonal, 0, rows->ld * sizeof(float));
	memcpy(u->diagonal, rows->gram, rows->factors * sizeof(float));
	fixed = fixed_items(rows, u);
	for (uint32 i = 0; i < u->n_users; i++)
	{
		uint32 n;
		uint32 n_old;
		int module = 0;

		CHECK_FOR_INTERRUPTS();
		fold(u, &fixed, &u->histories[i], false, sweep == 0, u->x + i * rows->ld, &n);
		if (sweep > 0)
			continue;
		for (uint32 j = 0; j < u->histories[i].n && !u->has_news[i]; j++)
			u->has_news[i] = is_news(u, &u->histories[i], j, &module);
		if (!u->has_news[i])
			continue;
		fold(u, &fixed, &u->histories[i], true, true, u->x_old + i * rows->ld, &n_old);
		u->new_users += n_old == 0;
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
correct_user_gram(Update *u, const Rows *rows)
{
	to_double(rows->user_gram, u->gram, (size_t) rows->factors * rows->factors);
	for (uint32 i = 0; i < u->n_users; i++)
	{
		if (!u->has_news[i])
			continue;
		CHECK_FOR_INTERRUPTS();
		kpx_gram_add(rows->factors, u->x_old, i, i + 1, -1, u->scratch, u->gram);
		kpx_gram_add(rows->factors, u->x, i, i + 1, 1, u->scratch, u->gram);
	}
	to_float(u->gram, rows->user_gram, (size_t) rows->factors * rows->factors);
}

/* Eigenvalues and eigenvectors of u->gram, which is overwritten. */
static void
find_basis(Update *u, int factors)
{
	KpxStatus status;

	for (int step = 0; (status = kpx_gram_basis_step(step, factors, u->gram, u->basis_workspace, u->diagonal, u->basis)) == KPX_MORE; step++)
		CHECK_FOR_INTERRUPTS();
	check_status(status);
}

/* Rows of the matrix times the transposed basis. */
static void
rotate(const Update *u, const Rows *rows, const float *basis, float *matrix, uint64 n)
{
	for (uint64 begin = 0; begin < n; begin += 16 * KPX_ROTATE_ROWS)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_rotate_rows(rows->factors, basis, begin, Min(begin + 16 * KPX_ROTATE_ROWS, n), u->scratch, matrix);
	}
}

/* Where the items' Gram matrix is no diagonal any more: all is turned into its eigenvectors. */
static void
settle(Update *u, const Rows *rows, const float *before)
{
	size_t d = (size_t) rows->factors;
	const KpxModel *model = u->r.model;
	int m = 0;

	memset(u->gram, 0, d * d * sizeof(double));
	for (size_t k = 0; k < d; k++)
		u->gram[k * d + k] = rows->gram[k];
	for (uint32 c = 0; c < u->n_changed; c++)
	{
		CHECK_FOR_INTERRUPTS();
		while (u->changed[c] >= model->modules[m].base + model->modules[m].items)
			m++;
		kpx_gram_add(rows->factors, before, c, c + 1, -rows->blanks[m], u->scratch, u->gram);
		kpx_gram_add(rows->factors, rows->matrix, u->changed[c], u->changed[c] + 1, rows->blanks[m], u->scratch, u->gram);
	}
	find_basis(u, rows->factors);
	memcpy(rows->gram, u->diagonal, d * sizeof(float));
	rotate(u, rows, u->basis, rows->matrix, model->items);
	to_double(rows->user_gram, u->gram, d * d);
	kpx_gram_turn(rows->factors, u->basis, u->gram, u->basis_workspace);
	to_float(u->gram, rows->user_gram, d * d);
}

/* ------------------------------------------------------------ the items */

/* Interactions of the changed items with the users that were read, by item. */
static KpxRows
item_rows(Update *u)
{
	uint64 *offset = kpx_alloc(CurrentMemoryContext, (size_t) u->n_changed + 1, sizeof(uint64));
	uint64 *cursor = kpx_alloc(CurrentMemoryContext, (size_t) u->n_changed + 1, sizeof(uint64));
	uint32 *index;
	float *weight;

	memset(offset, 0, sizeof(uint64) * (u->n_changed + 1));
	for (uint32 i = 0; i < u->n_users; i++)
		for (uint32 j = 0; j < u->histories[i].n; j++)
			if (u->row[u->histories[i].index[j]] != NO_ROW)
				offset[u->row[u->histories[i].index[j]] + 1]++;
	for (uint32 c = 0; c < u->n_changed; c++)
		offset[c + 1] += offset[c];
	memcpy(cursor, offset, sizeof(uint64) * (u->n_changed + 1));
	index = kpx_alloc(CurrentMemoryContext, Max(offset[u->n_changed], 1), sizeof(uint32));
	weight = kpx_alloc(CurrentMemoryContext, Max(offset[u->n_changed], 1), sizeof(float));
	for (uint32 i = 0; i < u->n_users; i++)
		for (uint32 j = 0; j < u->histories[i].n; j++)
		{
			uint32 row = u->row[u->histories[i].index[j]];

			if (row == NO_ROW)
				continue;
			index[cursor[row]] = i;
			weight[cursor[row]++] = u->histories[i].weight[j];
			u->weight[row] += u->histories[i].weight[j];
		}
	return (KpxRows){offset, index, weight};
}

/* Solves the changed items against the users, into y [n_changed][ld], in the basis the matrix is in. */
static void
solve_items(Update *u, const Rows *rows, const KpxRows *entries, float *y)
{
	const KpxModel *model = u->r.model;
	size_t ld = rows->ld;
	float *back = kpx_alloc_aligned(CurrentMemoryContext, (size_t) rows->factors * ld, sizeof(float));
	KpxFixed fixed = {rows->factors, u->x, u->diagonal, 0, rows->number[4] + u->new_users, rows->number[1]};
	KpxCursor cursor = {0};
	KpxSolveSums sums = {0, 0};
	uint32 end = 0;

	to_double(rows->user_gram, u->gram, (size_t) rows->factors * rows->factors);
	find_basis(u, rows->factors);
	rotate(u, rows, u->basis, u->x, u->n_users);
	for (int m = 0; m < model->n_modules; m++)
	{
		KpxStatus status;

		while (end < u->n_changed && u->changed[end] < model->modules[m].base + model->modules[m].items)
			end++;
		fixed.unobserved = rows->number[2] * rows->blanks[m];
		while ((status = kpx_solve_rows(&fixed, entries, end, &cursor, BUDGET, u->workspace, y, &sums)) == KPX_MORE)
			CHECK_FOR_INTERRUPTS();
		check_status(status);
	}
	for (int i = 0; i < rows->factors; i++)
		for (int k = 0; k < rows->factors; k++)
			back[i * ld + k] = u->basis[k * ld + i];
	rotate(u, rows, back, y, u->n_changed);
}

static void
sweep(Update *u, const Rows *rows, const KpxRows *entries, int which, float *y)
{
	size_t row = rows->ld * sizeof(float);

	fold_users(u, rows, which);
	if (which == 0)
		correct_user_gram(u, rows);
	solve_items(u, rows, entries, y);
	/* y and the matrix change places, row by row: settle wants to know what was */
	for (uint32 c = 0; c < u->n_changed; c++)
	{
		float *to = rows->matrix + (size_t) u->changed[c] * rows->ld;

		memcpy(u->scratch, to, row);
		memcpy(to, y + c * rows->ld, row);
		memcpy(y + c * rows->ld, u->scratch, row);
	}
	settle(u, rows, y);
}

/* Popularity of the changed items, and the counts of the modules. */
static void
count_news(Update *u, const KpxRows *entries)
{
	KpxModel *model = u->r.model;
	uint64 n = entries->offset[u->n_changed];
	double all = 0;
	int m = 0;

	for (uint32 c = 0; c < u->n_changed; c++)
		all += u->weight[c];
	for (m = 0; m < model->n_modules; m++)
		model->modules[m].window = u->news[m].window;
	m = 0;
	for (uint32 c = 0; c < u->n_changed; c++)
	{
		double known;

		while (u->changed[c] >= model->modules[m].base + model->modules[m].items)
			m++;
		/* a module's weight: its interactions times the mean weight of those that were read */
		known = (double) model->modules[m].interactions * all / (double) Max(n, 1);
		if (known > 0)
			model->popularity[u->changed[c]] = (float) Min(1, u->weight[c] / known);
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

static void
solve(Update *u)
{
	KpxModel *model = u->r.model;
	Rows rows = rows_of(model);
	size_t d = (size_t) rows.factors;
	size_t ld = rows.ld;
	KpxRows entries;
	float *y;

	find_users(u, ld);
	u->x = kpx_alloc_aligned(CurrentMemoryContext, Max(u->n_users, 1) * ld, sizeof(float));
	u->x_old = kpx_alloc_aligned(CurrentMemoryContext, Max(u->n_users, 1) * ld, sizeof(float));
	u->has_news = palloc0(Max(u->n_users, 1));
	u->workspace = kpx_alloc_aligned(CurrentMemoryContext, kpx_solve_workspace_size(rows.factors), 1);
	u->scratch = kpx_alloc_aligned(CurrentMemoryContext, Max(d, KPX_ROTATE_ROWS) * ld, sizeof(float));
	u->gram = kpx_alloc(CurrentMemoryContext, d * d, sizeof(double));
	u->basis_workspace = kpx_alloc(CurrentMemoryContext, Max(kpx_gram_basis_workspace(rows.factors), 2 * d * d), sizeof(double));
	u->basis = kpx_alloc_aligned(CurrentMemoryContext, d * ld, sizeof(float));
	u->diagonal = kpx_alloc_aligned(CurrentMemoryContext, ld, sizeof(float));
	y = kpx_alloc_aligned(CurrentMemoryContext, (size_t) u->n_changed * ld, sizeof(float));
	entries = item_rows(u);
	for (int m = 0; m < model->n_modules; m++)
		rows.number[3] += rows.blanks[m] * (double) u->r.fresh[m].n;
	for (int which = 0; which < SWEEPS; which++)
		sweep(u, &rows, &entries, which, y);
	rows.number[4] += u->new_users;
	count_news(u, &entries);
}

/* ------------------------------------------------------------ kpx_update_items */

static void
require_ials(const KpxModel *model)
{
	if (model->n_parts != 1 || model->part[0].algorithm != &kpx_ials)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("items of model " INT64_FORMAT " cannot be updated: its algorithm is \"%s\"", model->id, model->part[0].algorithm->name),
				 errhint("Only models of \"ials\" can. kpx_refresh_items adds new items to those of \"content\" and \"hybrid\"; else train again.")));
}

PG_FUNCTION_INFO_V1(kpx_update_items);
Datum
kpx_update_items(PG_FUNCTION_ARGS)
{
	Update u = {0};
	TupleDesc desc;
	Datum values[5];
	bool nulls[5] = {false};
	double growth = PG_ARGISNULL(1) ? 0.05 : PG_GETARG_FLOAT8(1);
	uint32 fresh;

	PreventCommandIfReadOnly("kpx_update_items()");
	kpx_require_blas();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("kpx_update_items must be called for a record")));
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"module\" must not be NULL")));
	if (!(growth >= 0 && growth <= 1e9))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"growth\" must be 0 or more, found %g", growth)));
	u.r = kpx_refresh_begin(kpx_find_module(kpx_registry(), text_to_cstring(PG_GETARG_TEXT_PP(0))));
	require_ials(u.r.old);
	fresh = 0;
	if (find_news(&u, PG_ARGISNULL(2) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(2), growth))
	{
		kpx_refresh_extend(&u.r);
		find_changed(&u, growth);
		solve(&u);
		fresh = u.r.fresh_base[u.r.old->n_modules];
		kpx_model_replace(u.r.model);
	}
	values[0] = Int64GetDatum(u.r.old->id);
	values[1] = Int64GetDatum((int64) u.events);
	values[2] = Int64GetDatum(u.n_users);
	values[3] = Int64GetDatum(u.n_changed - fresh);
	values[4] = Int64GetDatum(fresh);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
