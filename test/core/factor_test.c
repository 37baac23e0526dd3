/*
 * factor_test.c
 *	  iALS against the dense normal equations, its loss against the definition.
 */
#include "core/factor.h"
#include "test.h"

#define ITEMS 700

/* A fixed side in its Gram basis, items of two modules with unobserved weights of their own. */
typedef struct Side
{
	KpxFixed fixed;
	float *original; /* before the rotation */
	float *rotated;
	float *gram;
	float *basis;
	double u[ITEMS]; /* unobserved weight of each row */
} Side;

static Side
make_side(int d, uint64_t seed)
{
	size_t ld = kpx_ld(d);
	Side side;
	double *gram = calloc((size_t) (d * d), sizeof(double));
	double *work = test_alloc(kpx_gram_basis_workspace(d) * sizeof(double));
	float *scratch = test_alloc((size_t) d * ld * sizeof(float) + KPX_ROTATE_ROWS * ld * sizeof(float));
	size_t first = ITEMS / 3;

	side.original = test_alloc(ITEMS * ld * sizeof(float));
	side.rotated = test_alloc(ITEMS * ld * sizeof(float));
	side.gram = test_alloc(ld * sizeof(float));
	side.basis = test_alloc((size_t) d * ld * sizeof(float));
	memset(side.original, 0, ITEMS * ld * sizeof(float));
	/* Columns of very different size, so that the eigenvalues spread. */
	for (size_t i = 0; i < ITEMS; i++)
		for (int k = 0; k < d; k++)
			side.original[i * ld + (size_t) k] =
				(float) (kpx_normal(seed, i, (uint64_t) k) * 0.5 / (1 + k % 7) + (k == 0 ? 0.4 : 0));
	for (size_t i = 0; i < ITEMS; i++)
		side.u[i] = i < first ? 1.0 : 0.25;
	kpx_gram_add(d, side.original, 0, first, 1.0, scratch, gram);
	kpx_gram_add(d, side.original, first, ITEMS, 0.25, scratch, gram);
	CHECK_EQ(kpx_gram_basis(d, gram, work, side.gram, side.basis), KPX_OK);
	memcpy(side.rotated, side.original, ITEMS * ld * sizeof(float));
	kpx_rotate_rows(d, side.basis, 0, 100, scratch, side.rotated);
	kpx_rotate_rows(d, side.basis, 100, ITEMS, scratch, side.rotated);
	side.fixed = (KpxFixed){d, side.rotated, side.gram, 0.03, (double) first + 0.25 * (double) (ITEMS - first), 0.01};
	free(gram);
	free(work);
	free(scratch);
	return side;
}

static void
free_side(Side *side)
{
	free(side->original);
	free(side->rotated);
	free(side->gram);
	free(side->basis);
}

static double
dot(const float *a, const float *b, int d)
{
	double sum = 0;

	for (int k = 0; k < d; k++)
		sum += (double) a[k] * b[k];
	return sum;
}

/* The basis is orthonormal, the Gram matrix diagonal in it, and scores are unchanged. */
static void
test_gram_identities(int d)
{
	Side side = make_side(d, 21);
	size_t ld = kpx_ld(d);
	double trace = 0;
	double trace_rotated = 0;

	for (int i = 0; i < d; i++)
		for (int j = 0; j <= i; j++)
		{
			double gram = 0;

			CHECK_NEAR(dot(side.basis + (size_t) i * ld, side.basis + (size_t) j * ld, d), i == j, 1e-5);
			for (size_t r = 0; r < ITEMS; r++)
				gram += side.u[r] * side.rotated[r * ld + (size_t) i] * side.rotated[r * ld + (size_t) j];
			CHECK_NEAR(gram, i == j ? (double) side.gram[i] : 0, 2e-4);
			CHECK(i == 0 || side.gram[i] <= side.gram[i - 1]);
		}
	for (size_t k = (size_t) d; k < ld; k++)
		CHECK(side.gram[k] == 0 && side.rotated[5 * ld + k] == 0);
	for (size_t r = 0; r < 50; r++)
		CHECK_NEAR(dot(side.rotated + r * ld, side.rotated + (r + 50) * ld, d),
				   dot(side.original + r * ld, side.original + (r + 50) * ld, d), 1e-5);
	for (size_t r = 0; r < ITEMS; r++)
		trace += side.u[r] * dot(side.original + r * ld, side.original + r * ld, d);
	for (int k = 0; k < d; k++)
		trace_rotated += side.gram[k];
	CHECK_NEAR(trace_rotated, trace, 1e-5);
	free_side(&side);
}

/* Gaussian elimination with partial pivoting; a (d x d) and b are overwritten, b the solution. */
static void
solve_dense(double *a, double *b, int d)
{
	for (int p = 0; p < d; p++)
	{
		int best = p;

		for (int i = p + 1; i < d; i++)
			if (fabs(a[i * d + p]) > fabs(a[best * d + p]))
				best = i;
		for (int j = 0; j < d; j++)
		{
			double keep = a[p * d + j];

			a[p * d + j] = a[best * d + j];
			a[best * d + j] = keep;
		}
		double keep = b[p];
		b[p] = b[best];
		b[best] = keep;
		for (int i = p + 1; i < d; i++)
		{
			double by = a[i * d + p] / a[p * d + p];

			for (int j = p; j < d; j++)
				a[i * d + j] -= by * a[p * d + j];
			b[i] -= by * b[p];
		}
	}
	for (int p = d; p-- > 0;)
	{
		for (int j = p + 1; j < d; j++)
			b[p] -= a[p * d + j] * b[j];
		b[p] /= a[p * d + p];
	}
}

/* The minimised function written out, over the side's rows. */
static double
objective(const Side *side, const uint32_t *index, const float *weight, size_t n, const double *x, double *penalty)
{
	int d = side->fixed.factors;
	size_t ld = kpx_ld(d);
	double value = 0;
	double total = 0;
	double norm = 0;

	for (size_t r = 0; r < ITEMS; r++)
	{
		double score = 0;

		for (int k = 0; k < d; k++)
			score += x[k] * side->rotated[r * ld + (size_t) k];
		value += side->fixed.unobserved * side->u[r] * score * score;
		for (size_t j = 0; j < n; j++)
			if ((index[j] & 0x7FFFFFFF) == r)
				value += weight[j] * (score - 1) * (score - 1);
	}
	for (size_t j = 0; j < n; j++)
		total += weight[j];
	for (int k = 0; k < d; k++)
		norm += x[k] * x[k];
	*penalty = side->fixed.regularization * (total + side->fixed.unobserved * side->fixed.unobserved_rows) * norm;
	return value + *penalty;
}

/* x of the normal equations with the whole, unrotated-in-structure Gram matrix. */
static void
reference_row(const Side *side, const uint32_t *index, const float *weight, size_t n, double *x)
{
	int d = side->fixed.factors;
	size_t ld = kpx_ld(d);
	double *a = calloc((size_t) (d * d), sizeof(double));
	double total = 0;

	memset(x, 0, (size_t) d * sizeof(double));
	for (size_t j = 0; j < n; j++)
		total += weight[j];
	for (int i = 0; i < d; i++)
		a[i * d + i] = side->fixed.regularization * (total + side->fixed.unobserved * side->fixed.unobserved_rows);
	for (size_t r = 0; r < ITEMS; r++)
		for (int i = 0; i < d; i++)
			for (int j = 0; j < d; j++)
				a[i * d + j] += side->fixed.unobserved * side->u[r] * side->rotated[r * ld + (size_t) i] *
								side->rotated[r * ld + (size_t) j];
	for (size_t e = 0; e < n; e++)
	{
		const float *y = side->rotated + (size_t) (index[e] & 0x7FFFFFFF) * ld;

		for (int i = 0; i < d; i++)
		{
			x[i] += weight[e] * (double) y[i];
			for (int j = 0; j < d; j++)
				a[i * d + j] += weight[e] * (double) y[i] * y[j];
		}
	}
	solve_dense(a, x, d);
	free(a);
}

/* Rows of every interesting length: none, short (dual), about factors, about a block, long. */
typedef struct Problem
{
	KpxRows rows;
	uint64_t *offset;
	uint32_t *index;
	float *weight;
	size_t n;
} Problem;

static Problem
make_problem(int d)
{
	size_t lengths[] = {0, 1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 63, 64, 65, 99, 101,
						(size_t) d - 1, (size_t) d, (size_t) d + 1, 127, 128, 129, 300, ITEMS};
	Problem p;
	uint64_t at = 0;

	p.n = sizeof(lengths) / sizeof(lengths[0]);
	p.offset = test_alloc((p.n + 1) * sizeof(uint64_t));
	p.index = test_alloc(p.n * ITEMS * sizeof(uint32_t));
	p.weight = test_alloc(p.n * ITEMS * sizeof(float));
	for (size_t r = 0; r < p.n; r++)
	{
		p.offset[r] = at;
		for (size_t j = 0; j < lengths[r]; j++, at++)
		{
			p.index[at] = (uint32_t) (j * ITEMS / lengths[r]) | (j % 3 == 0 ? UINT32_C(0x80000000) : 0);
			p.weight[at] = (float) (0.2 + 3 * kpx_uniform(31, r, j));
		}
	}
	p.offset[p.n] = at;
	p.rows = (KpxRows){p.offset, p.index, p.weight};
	return p;
}

static void
free_problem(Problem *p)
{
	free(p->offset);
	free(p->index);
	free(p->weight);
}

static void
test_rows(int d)
{
	Side side = make_side(d, 22);
	Problem p = make_problem(d);
	size_t ld = kpx_ld(d);
	void *workspace = test_alloc(kpx_solve_workspace_size(d));
	float *out = test_alloc(p.n * ld * sizeof(float));
	float *again = test_alloc(p.n * ld * sizeof(float));
	double *x = test_alloc((size_t) d * sizeof(double));
	KpxSolveSums sums = {0, 0};
	KpxCursor cursor = {0};
	double expected = 0,
		   penalty = 0;
	int calls = 0;

	CHECK_EQ(kpx_solve_rows(&side.fixed, &p.rows, p.n, &cursor, INFINITY, workspace, out, &sums), KPX_OK);
	CHECK_EQ(cursor.row, p.n);
	for (size_t r = 0; r < p.n; r++)
	{
		size_t n = (size_t) (p.offset[r + 1] - p.offset[r]);
		const uint32_t *index = p.index + p.offset[r];
		const float *weight = p.weight + p.offset[r];
		double part;

		reference_row(&side, index, weight, n, x);
		for (int k = 0; k < d; k++)
			CHECK_NEAR(out[r * ld + (size_t) k], x[k], 2e-4);
		for (size_t k = (size_t) d; k < ld; k++)
			CHECK(out[r * ld + k] == 0);
		expected += objective(&side, index, weight, n, x, &part);
		penalty += part;

		/* Folding in the same history is the training row, but for rounding. */
		CHECK_EQ(kpx_fold_in(&side.fixed, index, weight, n, workspace, again), KPX_OK);
		for (size_t k = 0; k < ld; k++)
			CHECK_NEAR(again[k], out[r * ld + k], 2e-4);
	}
	CHECK_NEAR(sums.objective, expected, 1e-4);
	CHECK_NEAR(sums.penalty, penalty, 1e-3);

	/* Stopping after every scrap of work changes nothing. */
	cursor = (KpxCursor){0};
	sums = (KpxSolveSums){0, 0};
	while (kpx_solve_rows(&side.fixed, &p.rows, p.n, &cursor, 1, workspace, again, &sums) == KPX_MORE)
		calls++;
	CHECK(calls > 3); /* short rows of a window are one scrap */
	CHECK(memcmp(again, out, p.n * ld * sizeof(float)) == 0);
	CHECK_NEAR(sums.objective, expected, 1e-4);

	/* Nor does the range it is asked in. */
	cursor = (KpxCursor){.row = 9};
	memset(again, 0, p.n * ld * sizeof(float));
	CHECK_EQ(kpx_solve_rows(&side.fixed, &p.rows, 20, &cursor, INFINITY, workspace, again, &sums), KPX_OK);
	CHECK(memcmp(again + 9 * ld, out + 9 * ld, 11 * ld * sizeof(float)) == 0);
	CHECK(again[20 * ld] == 0 && again[8 * ld] == 0);
	free(workspace);
	free(out);
	free(again);
	free(x);
	free_problem(&p);
	free_side(&side);
}

/* More rows than a window, of all lengths: against rows alone, and bit by bit the same in whatever ranges. */
static void
test_lanes(int d)
{
	enum
	{
		ROWS = 2 * 256 + 77
	};
	Side side = make_side(d, 24);
	size_t ld = kpx_ld(d);
	uint64_t *offset = test_alloc((ROWS + 1) * sizeof(uint64_t));
	uint32_t *index = test_alloc(ROWS * 80 * sizeof(uint32_t));
	float *weight = test_alloc(ROWS * 80 * sizeof(float));
	KpxRows rows = {offset, index, weight};
	void *workspace = test_alloc(kpx_solve_workspace_size(d));
	float *out = test_alloc(ROWS * ld * sizeof(float));
	float *again = test_alloc(ROWS * ld * sizeof(float));
	KpxSolveSums sums = {0, 0},
				 alone = {0, 0},
				 ranges = {0, 0};
	KpxCursor cursor = {0};

	offset[0] = 0;
	for (size_t r = 0; r < ROWS; r++)
	{
		offset[r + 1] = offset[r] + test_below(41, r, 80);
		for (uint64_t j = offset[r]; j < offset[r + 1]; j++)
		{
			index[j] = (uint32_t) test_below(42, j, ITEMS) | (j % 3 == 0 ? UINT32_C(0x80000000) : 0);
			weight[j] = (float) (0.2 + 3 * kpx_uniform(43, r, j));
		}
	}
	CHECK_EQ(kpx_solve_rows(&side.fixed, &rows, ROWS, &cursor, INFINITY, workspace, out, &sums), KPX_OK);
	for (size_t r = 0; r < ROWS; r++)
	{
		KpxRows one = {offset + r, index, weight};

		cursor = (KpxCursor){0};
		CHECK_EQ(kpx_solve_rows(&side.fixed, &one, 1, &cursor, INFINITY, workspace, again, &alone), KPX_OK);
		for (size_t k = 0; k < ld; k++)
			CHECK_NEAR(again[k], out[r * ld + k], 1e-5);
	}
	CHECK_NEAR(alone.objective, sums.objective, 1e-6);
	CHECK_NEAR(alone.penalty, sums.penalty, 1e-5);

	/* ranges of 1, 2, 3, ... rows */
	for (size_t begin = 0, width = 1; begin < ROWS; begin += width++)
	{
		cursor = (KpxCursor){.row = begin};
		CHECK_EQ(kpx_solve_rows(&side.fixed, &rows, begin + width < ROWS ? begin + width : ROWS, &cursor, INFINITY, workspace, again, &ranges), KPX_OK);
	}
	CHECK(memcmp(again + ld, out + ld, (ROWS - 1) * ld * sizeof(float)) == 0);

	weight[offset[300]] = NAN;
	cursor = (KpxCursor){0};
	CHECK_EQ(kpx_solve_rows(&side.fixed, &rows, ROWS, &cursor, INFINITY, workspace, again, &sums), KPX_NOT_FINITE);
	free(offset);
	free(index);
	free(weight);
	free(workspace);
	free(out);
	free(again);
	free_side(&side);
}

/* What the parts of a score add up to. */
static void
test_contributions(int d)
{
	Side side = make_side(d, 23);
	Problem p = make_problem(d);
	size_t ld = kpx_ld(d);
	void *workspace = test_alloc(kpx_solve_workspace_size(d));
	float *x = test_alloc(ld * sizeof(float));
	double *part = test_alloc(ITEMS * sizeof(double));

	for (size_t r = 0; r < p.n; r++)
	{
		size_t n = (size_t) (p.offset[r + 1] - p.offset[r]);
		const float *target = side.rotated + 123 * ld;
		double sum = 0;

		CHECK_EQ(kpx_fold_in(&side.fixed, p.index + p.offset[r], p.weight + p.offset[r], n, workspace, x), KPX_OK);
		kpx_contributions(&side.fixed, p.index + p.offset[r], p.weight + p.offset[r], n, x, target, part);
		for (size_t j = 0; j < n; j++)
			sum += part[j];
		CHECK_NEAR(sum, dot(x, target, d), 1e-4);
	}
	free(workspace);
	free(x);
	free(part);
	free_problem(&p);
	free_side(&side);
}

/* Alternating between two sides makes the whole loss smaller every time. */
static void
test_loss_decreases(void)
{
	enum
	{
		D = 12,
		USERS = 300,
		THINGS = 200,
		LD = 16
	};
	uint64_t u_offset[USERS + 1],
		t_offset[THINGS + 1],
		at = 0;
	static uint32_t u_index[USERS * THINGS],
		t_index[USERS * THINGS];
	static float u_weight[USERS * THINGS],
		t_weight[USERS * THINGS];
	float *users = test_alloc(USERS * LD * sizeof(float));
	float *things = test_alloc(THINGS * LD * sizeof(float));
	float *scratch = test_alloc(KPX_ROTATE_ROWS * LD * sizeof(float));
	double *work = test_alloc(kpx_gram_basis_workspace(D) * sizeof(double));
	void *workspace = test_alloc(kpx_solve_workspace_size(D));
	float diagonal[LD] __attribute__((aligned(64)));
	float basis[D * LD] __attribute__((aligned(64)));
	double gram[D * D];
	double before = INFINITY;

	for (uint64_t u = 0; u < USERS; u++)
	{
		u_offset[u] = at;
		for (uint64_t t = 0; t < THINGS; t++)
			if (kpx_uniform(41, u, t) < (u % 5 == t % 5 ? 0.3 : 0.02))
			{
				u_index[at] = (uint32_t) t;
				u_weight[at++] = 1;
			}
	}
	u_offset[USERS] = at;
	at = 0;
	for (uint64_t t = 0; t < THINGS; t++)
	{
		t_offset[t] = at;
		for (uint64_t u = 0; u < USERS; u++)
			if (kpx_uniform(41, u, t) < (u % 5 == t % 5 ? 0.3 : 0.02))
			{
				t_index[at] = (uint32_t) u;
				t_weight[at++] = 1;
			}
	}
	t_offset[THINGS] = at;
	kpx_init_rows(D, 5, 0, THINGS, things);
	for (int half = 0; half < 16; half++)
	{
		bool solve_users = half % 2 == 0;
		float *fixed_rows = solve_users ? things : users;
		size_t n_fixed = solve_users ? THINGS : USERS;
		size_t n_out = solve_users ? USERS : THINGS;
		KpxRows rows = {solve_users ? u_offset : t_offset, solve_users ? u_index : t_index,
						solve_users ? u_weight : t_weight};
		KpxFixed fixed = {D, fixed_rows, diagonal, 0.1, (double) n_fixed, 0.02};
		KpxCursor cursor = {0};
		KpxSolveSums sums = {0, 0};
		double loss = 0;

		memset(gram, 0, sizeof(gram));
		kpx_gram_add(D, fixed_rows, 0, n_fixed, 1, scratch, gram);
		CHECK_EQ(kpx_gram_basis(D, gram, work, diagonal, basis), KPX_OK);
		kpx_rotate_rows(D, basis, 0, n_fixed, scratch, fixed_rows);
		CHECK_EQ(kpx_solve_rows(&fixed, &rows, n_out, &cursor, INFINITY, workspace, solve_users ? users : things, &sums), KPX_OK);

		/* The whole loss from its definition. */
		for (size_t u = 0; u < USERS; u++)
		{
			uint64_t e = u_offset[u];

			for (size_t t = 0; t < THINGS; t++)
			{
				double score = dot(users + u * LD, things + t * LD, D);

				loss += 0.1 * score * score;
				if (e < u_offset[u + 1] && u_index[e] == t)
				{
					loss += (score - 1) * (score - 1);
					e++;
				}
			}
			loss += 0.02 * ((double) (u_offset[u + 1] - u_offset[u]) + 0.1 * THINGS) * dot(users + u * LD, users + u * LD, D);
		}
		/* The users' half minimises all but the penalty of the things. */
		if (solve_users)
			CHECK_NEAR(sums.objective, loss, 1e-3);
		for (size_t t = 0; t < THINGS; t++)
			loss += 0.02 * ((double) (t_offset[t + 1] - t_offset[t]) + 0.1 * USERS) * dot(things + t * LD, things + t * LD, D);
		/* The first half starts from random things; from then on it can only fall. */
		CHECK(loss < before * (1 + 1e-6));
		before = loss;
	}
	CHECK(before > 0);
	free(users);
	free(things);
	free(scratch);
	free(work);
	free(workspace);
}

static void
test_refusals(void)
{
	Side side = make_side(16, 24);
	void *workspace = test_alloc(kpx_solve_workspace_size(16));
	float x[16] __attribute__((aligned(64)));
	uint32_t index[2] = {3, 8};
	float nan_weight[2] = {1, NAN};
	float infinite_weight[2] = {1, INFINITY};
	double gram[4] = {1, NAN, NAN, 1};
	double work[64];
	float diagonal[16],
		basis[32];

	CHECK_EQ(kpx_fold_in(&side.fixed, index, nan_weight, 2, workspace, x), KPX_NOT_FINITE);
	CHECK_EQ(kpx_fold_in(&side.fixed, index, infinite_weight, 2, workspace, x), KPX_NOT_FINITE);
	CHECK_EQ(kpx_gram_basis(2, gram, work, diagonal, basis), KPX_NOT_FINITE);
	CHECK_EQ(kpx_solve_workspace_size(0), 0);
	CHECK_EQ(kpx_solve_workspace_size(KPX_MAX_FACTORS + 1), 0);
	CHECK(kpx_solve_workspace_size(KPX_MAX_FACTORS) > 0);
	free(workspace);
	free_side(&side);
}

/* Starting rows depend on (seed, row) only. */
static void
test_init(void)
{
	float *a = test_alloc(50 * 32 * sizeof(float));
	float *b = test_alloc(50 * 32 * sizeof(float));
	double squares = 0;

	kpx_init_rows(20, 7, 0, 50, a);
	kpx_init_rows(20, 7, 30, 50, b);
	kpx_init_rows(20, 7, 0, 30, b);
	CHECK(memcmp(a, b, 50 * 32 * sizeof(float)) == 0);
	for (size_t i = 0; i < 50 * 32; i++)
		squares += (double) a[i] * a[i];
	CHECK_NEAR(squares / 50, 0.01, 0.15);
	kpx_init_rows(20, 8, 0, 50, b);
	CHECK(memcmp(a, b, 50 * 32 * sizeof(float)) != 0);
	free(a);
	free(b);
}

/* Rows of a matrix are replaced: its Gram matrix corrected by them, turned, is that of the new rows turned. */
static void
test_replaced_rows(int d)
{
	enum
	{
		ROWS = 60,
		REPLACED = 7
	};
	size_t ld = kpx_ld(d);
	size_t dd = (size_t) (d * d);
	Side side = make_side(d, 11);
	float *matrix = test_alloc(ROWS * ld * sizeof(float));
	float *other = test_alloc(REPLACED * ld * sizeof(float));
	float *scratch = test_alloc(((size_t) d + KPX_ROTATE_ROWS) * ld * sizeof(float));
	double *gram = calloc(dd, sizeof(double));
	double *work = test_alloc(2 * dd * sizeof(double));

	kpx_init_rows(d, 5, 0, ROWS, matrix);
	kpx_init_rows(d, 6, 0, REPLACED, other);
	kpx_gram_add(d, matrix, 0, ROWS, 0.5, scratch, gram);
	kpx_gram_add(d, matrix, 10, 10 + REPLACED, -0.5, scratch, gram);
	kpx_gram_add(d, other, 0, REPLACED, 0.5, scratch, gram);
	memcpy(matrix + 10 * ld, other, REPLACED * ld * sizeof(float));
	kpx_gram_turn(d, side.basis, gram, work);
	kpx_rotate_rows(d, side.basis, 0, ROWS, scratch, matrix);
	for (int i = 0; i < d; i++)
		for (int k = 0; k < d; k++)
		{
			double brute = 0;

			for (size_t row = 0; row < ROWS; row++)
				brute += 0.5 * matrix[row * ld + (size_t) i] * matrix[row * ld + (size_t) k];
			CHECK_NEAR(gram[i * d + k], brute, 1e-5);
		}
	free(matrix);
	free(other);
	free(scratch);
	free(gram);
	free(work);
	free_side(&side);
}

int
main(void)
{
	static const int sizes[] = {1, 5, 15, 16, 17, 64, 100, 129};

	CHECK(kpx_blas_works());
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
	{
		test_gram_identities(sizes[i]);
		test_rows(sizes[i]);
		test_contributions(sizes[i]);
		test_replaced_rows(sizes[i]);
	}
	test_lanes(1);
	test_lanes(24);
	test_lanes(64);
	test_lanes(200);
	test_loss_decreases();
	test_refusals();
	test_init();
	return test_done();
}
