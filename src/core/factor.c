/*
 * factor.c
 *	  Implicit ALS: solving one side's factors exactly while the other is fixed.
 *
 * factor.h has the equations. Rows with fewer entries than factors are solved in
 * their dual form, eight of the shortest at a time (factor_lanes.c), the others by
 * accumulating the normal equations block by block.
 * Everything here works on one thread; ranges of rows are independent.
 */
#include "factor.h"

#include <math.h>
#include <string.h>

#include <cblas.h>

#include "cholesky.h"
#include "factor_lanes.h"
#include "kernel.h"
#include "rng.h"

/* Entries gathered at a time in the normal equations of a long row: 128 x 64 floats fit into L1. */
#define BLOCK 128

/* What LAPACK's dsyevd does, in three calls, so that the caller can look at interrupts between. */
extern void dsytrd_(const char *uplo, const int *n, double *a, const int *lda, double *d, double *e, double *tau,
					double *work, const int *lwork, int *info);
extern void dstedc_(const char *compz, const int *n, double *d, double *e, double *z, const int *ldz, double *work,
					const int *lwork, int *iwork, const int *liwork, int *info);
extern void dormtr_(const char *side, const char *uplo, const char *trans, const int *m, const int *n, const double *a,
					const int *lda, const double *tau, double *c, const int *ldc, double *work, const int *lwork,
					int *info);

/* The solver's scratch memory; all parts are 64-byte aligned. */
typedef struct Workspace
{
	size_t ld;
	float *scale; /* ld: D^-1/2 */
	float *gathered; /* max(factors, BLOCK) x ld: S */
	float *transposed; /* ld x ld: S' of a short row */
	float *root; /* max(factors, BLOCK) padded: s, then z */
	float *system; /* ld x ld: I + SS' or I + S'S */
	float *right; /* ld: S's */
	float *v; /* ld */
	void *lanes; /* of factor_lanes.c */
} Workspace;

static size_t
gathered_rows(int factors)
{
	return kpx_ld(factors > BLOCK ? factors : BLOCK);
}

size_t
kpx_solve_workspace_size(int factors)
{
	if (factors < 1 || factors > KPX_MAX_FACTORS)
		return 0;
	return sizeof(float) * (gathered_rows(factors) * (kpx_ld(factors) + 1) +
							kpx_ld(factors) * (2 * kpx_ld(factors) + 3)) +
		   kpx_lanes_workspace_size(factors);
}

static Workspace
workspace_parts(int factors, void *memory)
{
	Workspace ws;
	size_t ld = kpx_ld(factors);

	ws.ld = ld;
	ws.gathered = memory;
	ws.root = ws.gathered + gathered_rows(factors) * ld;
	ws.system = ws.root + gathered_rows(factors);
	ws.transposed = ws.system + ld * ld;
	ws.scale = ws.transposed + ld * ld;
	ws.right = ws.scale + ld;
	ws.v = ws.right + ld;
	ws.lanes = ws.v + ld;
	return ws;
}

/* D^-1/2 for a row of observed weight total; returns lambda (W + a U). */
static double
row_scale(const KpxFixed *fixed, double total, float *scale)
{
	double ridge = fixed->regularization * (total + fixed->unobserved * fixed->unobserved_rows);

	kpx_kernels()->scale(fixed->gram, kpx_ld(fixed->factors), (float) fixed->unobserved, (float) ridge, scale);
	return ridge;
}

static double
weight_total(const float *weight, size_t n)
{
	double total = 0;

	for (size_t j = 0; j < n; j++)
		total += weight[j];
	return total;
}

static double
dot_double(const float *a, const float *b, size_t n)
{
	double sum = 0;

	for (size_t k = 0; k < n; k++)
		sum += (double) a[k] * b[k];
	return sum;
}

/* Writes x = D^-1/2 v and adds to the sums. */
static KpxStatus
finish_row(const Workspace *ws, double ridge, double objective, float *x, KpxSolveSums *sums)
{
	for (size_t k = 0; k < ws->ld; k++)
		x[k] = ws->scale[k] * ws->v[k];
	sums->objective += objective;
	sums->penalty += ridge * (double) kpx_kernels()->dot(x, x, ws->ld);
	return isfinite(sums->objective) && isfinite(sums->penalty) ? KPX_OK : KPX_NOT_FINITE;
}

/* Entries (index, weight) of one row, and how many more lie behind them. */
typedef struct Entries
{
	const uint32_t *index;
	const float *weight;
	size_t n;
	size_t known; /* entries of index that exist, for prefetching */
} Entries;

/* Bytes of vectors that are asked of memory before they are needed: an eighth of a small second-level cache. */
#define FETCHED_BYTES 65536

/* Lets ahead reach FETCHED_BYTES beyond entry here, which is needed next, or to the last entry. */
static void
look_ahead(KpxAhead *ahead, uint64_t here, uint64_t last)
{
	size_t reach = (size_t) here + FETCHED_BYTES / (ahead->ld * sizeof(float));

	ahead->end = reach < last ? reach : (size_t) last;
	if (ahead->next < here)
		ahead->next = (size_t) here;
	if (ahead->next > ahead->end)
		ahead->next = ahead->end;
}

/* I + SS' of the gathered rows. */
static void
dual_system(const Workspace *ws, size_t n, size_t ldk, KpxAhead *ahead)
{
	const KpxKernels *kernels = kpx_kernels();

	memset(ws->system, 0, ldk * ldk * sizeof(float));
	if (n <= 4)
		kernels->gram_few(ws->gathered, ws->ld, n, ws->system, ldk);
	else
	{
		kernels->transpose(ws->gathered, ws->ld, n, ws->transposed, ldk);
		kernels->gram(ws->transposed, ldk, ws->ld, n, ws->system, ldk, ahead);
	}
	for (size_t i = 0; i < n; i++)
		ws->system[i * ldk + i] += 1.0f;
}

/* A row of fewer entries than factors, by the dual system. */
static KpxStatus
solve_short(const KpxFixed *fixed, const Workspace *ws, const Entries *e, KpxAhead *ahead, float *x, KpxSolveSums *sums)
{
	const KpxKernels *kernels = kpx_kernels();
	double ridge = row_scale(fixed, weight_total(e->weight, e->n), ws->scale);
	size_t ldk = kpx_ld((int) e->n);

	kernels->gather(fixed->matrix, ws->ld, ws->scale, e->index, e->weight, e->n, e->known, ws->gathered, ws->root);
	dual_system(ws, e->n, ldk, ahead);
	if (!kpx_cholesky(ws->system, ldk, e->n))
		return KPX_NOT_FINITE;
	memcpy(ws->right, ws->root, e->n * sizeof(float));
	kpx_cholesky_solve(ws->system, ldk, e->n, ws->right);
	memset(ws->v, 0, ws->ld * sizeof(float));
	kernels->combine(ws->gathered, ws->ld, e->n, ws->right, ws->v);
	return finish_row(ws, ridge, dot_double(ws->root, ws->right, e->n), x, sums);
}

/* Starts the normal equations of a long row: system = I (upper), right = 0. */
static void
start_long(const Workspace *ws, int factors)
{
	memset(ws->system, 0, ws->ld * ws->ld * sizeof(float));
	for (int k = 0; k < factors; k++)
		ws->system[(size_t) k * ws->ld + k] = 1.0f;
	memset(ws->right, 0, ws->ld * sizeof(float));
}

/* Adds n <= BLOCK entries to the normal equations. */
static void
accumulate_long(const KpxFixed *fixed, const Workspace *ws, const Entries *e, KpxAhead *ahead)
{
	const KpxKernels *kernels = kpx_kernels();

	kernels->gather(fixed->matrix, ws->ld, ws->scale, e->index, e->weight, e->n, e->known, ws->gathered, ws->root);
	kernels->gram(ws->gathered, ws->ld, e->n, (size_t) fixed->factors, ws->system, ws->ld, ahead);
	kernels->combine(ws->gathered, ws->ld, e->n, ws->root, ws->right);
}

static KpxStatus
finish_long(const KpxFixed *fixed, const Workspace *ws, double total, double ridge, float *x, KpxSolveSums *sums)
{
	if (!kpx_cholesky(ws->system, ws->ld, (size_t) fixed->factors))
		return KPX_NOT_FINITE;
	memcpy(ws->v, ws->right, ws->ld * sizeof(float));
	kpx_cholesky_solve(ws->system, ws->ld, (size_t) fixed->factors, ws->v);
	return finish_row(ws, ridge, total - dot_double(ws->right, ws->v, ws->ld), x, sums);
}

/* A row of as many entries as factors or more; goes on at cursor->done. */
static KpxStatus
solve_long(const KpxFixed *fixed, const Workspace *ws, const Entries *all, KpxCursor *cursor, double *budget, KpxAhead *ahead,
		   uint64_t begin, uint64_t last, float *x, KpxSolveSums *sums)
{
	double d = fixed->factors;
	double total = weight_total(all->weight, all->n);
	double ridge = row_scale(fixed, total, ws->scale);

	if (cursor->done == 0)
		start_long(ws, fixed->factors);
	while (cursor->done < all->n)
	{
		size_t done = (size_t) cursor->done;
		Entries block = {all->index + done, all->weight + done, all->n - done < BLOCK ? all->n - done : BLOCK, all->known - done};

		if (*budget <= 0)
			return KPX_MORE;
		look_ahead(ahead, begin + done + block.n, last);
		accumulate_long(fixed, ws, &block, ahead);
		cursor->done += block.n;
		*budget -= (double) block.n * d * d / 2;
	}
	*budget -= d * d * d / 6;
	return finish_long(fixed, ws, total, ridge, x, sums);
}

/* The short rows of the next window, if there is more than one row: side by side is no faster for one alone. */
static KpxStatus
solve_window(const KpxFixed *fixed, const Workspace *ws, const KpxRows *rows, size_t rows_end, KpxCursor *cursor, double *budget,
			 float *out, KpxSolveSums *sums)
{
	size_t end = rows_end - cursor->row < KPX_LANES_WINDOW ? rows_end : cursor->row + KPX_LANES_WINDOW;
	double spent;
	KpxStatus status = kpx_solve_lanes(fixed, rows, cursor->row, end, ws->lanes, out, sums, &spent);

	cursor->lanes_end = end;
	*budget -= spent;
	return status;
}

/* The row of the cursor, when it is not one of those solved already. */
static KpxStatus
solve_row(const KpxFixed *fixed, const Workspace *ws, const KpxRows *rows, size_t rows_end, KpxCursor *cursor, double *budget,
		  KpxAhead *ahead, float *out, KpxSolveSums *sums)
{
	uint64_t begin = rows->offset[cursor->row];
	uint64_t last = rows->offset[rows_end];
	size_t n = (size_t) (rows->offset[cursor->row + 1] - begin);
	Entries all = {rows->index + begin, rows->weight + begin, n, (size_t) (last - begin)};
	double d = fixed->factors;
	float *x = out + cursor->row * ws->ld;

	if (n == 0)
	{
		memset(x, 0, ws->ld * sizeof(float));
		*budget -= d;
		return KPX_OK;
	}
	if (cursor->row < cursor->lanes_end && n <= kpx_lanes_longest(fixed->factors))
		return KPX_OK;
	if (n >= (size_t) fixed->factors)
		return solve_long(fixed, ws, &all, cursor, budget, ahead, begin, last, x, sums);
	look_ahead(ahead, begin + n, last);
	*budget -= (double) n * (double) n * (d / 2 + (double) n / 6) + 4 * (double) n * d + 1000;
	return solve_short(fixed, ws, &all, ahead, x, sums);
}

KpxStatus
kpx_solve_rows(const KpxFixed *fixed, const KpxRows *rows, size_t rows_end, KpxCursor *cursor, double budget,
			   void *workspace, float *out, KpxSolveSums *sums)
{
	Workspace ws = workspace_parts(fixed->factors, workspace);
	KpxAhead ahead = {fixed->matrix, ws.ld, rows->index, 0, 0};

	while (cursor->row < rows_end)
	{
		KpxStatus status = KPX_OK;

		if (budget <= 0)
			return KPX_MORE;
		if (cursor->row >= cursor->lanes_end && rows_end > 1)
			status = solve_window(fixed, &ws, rows, rows_end, cursor, &budget, out, sums);
		if (status == KPX_OK)
			status = solve_row(fixed, &ws, rows, rows_end, cursor, &budget, &ahead, out, sums);
		if (status != KPX_OK)
			return status;
		cursor->row++;
		cursor->done = 0;
	}
	return KPX_OK;
}

KpxStatus
kpx_fold_in(const KpxFixed *fixed, const uint32_t *index, const float *weight, size_t n, void *workspace, float *x)
{
	uint64_t offset[2] = {0, n};
	KpxRows rows = {offset, index, weight};
	KpxCursor cursor = {0};
	KpxSolveSums sums = {0, 0};

	return kpx_solve_rows(fixed, &rows, 1, &cursor, INFINITY, workspace, x, &sums);
}

void
kpx_contributions(const KpxFixed *fixed, const uint32_t *index, const float *weight, size_t n,
				  const float *x, const float *target, double *contribution)
{
	size_t ld = kpx_ld(fixed->factors);
	double ridge = fixed->regularization *
				   (weight_total(weight, n) + fixed->unobserved * fixed->unobserved_rows);
	double scaled[KPX_MAX_FACTORS]; /* target in the metric of the system: few divisions */
	double user[KPX_MAX_FACTORS];
	const KpxKernels *kernels = kpx_kernels();

	for (size_t k = 0; k < ld; k++)
	{
		scaled[k] = k < (size_t) fixed->factors ? target[k] / (fixed->unobserved * fixed->gram[k] + ridge) : 0;
		user[k] = x[k];
	}
	for (size_t j = 0; j < n; j++)
	{
		const float *y = fixed->matrix + (size_t) (index[j] & 0x7FFFFFFF) * ld;

		contribution[j] = weight[j] * (1.0 - kernels->dot_wide(y, user, ld)) * kernels->dot_wide(y, scaled, ld);
	}
}

void
kpx_init_rows(int factors, uint64_t seed, size_t rows_begin, size_t rows_end, float *matrix)
{
	size_t ld = kpx_ld(factors);
	double deviation = 0.1 / sqrt(factors);

	for (size_t row = rows_begin; row < rows_end; row++)
	{
		float *x = matrix + row * ld;

		memset(x, 0, ld * sizeof(float));
		for (int k = 0; k < factors; k++)
			x[k] = (float) (deviation * kpx_normal(seed, row, (uint64_t) k));
	}
}

void
kpx_gram_add(int factors, const float *matrix, size_t rows_begin, size_t rows_end, double scale,
			 float *scratch, double *gram)
{
	size_t ld = kpx_ld(factors);
	size_t d = (size_t) factors;

	/* Float sums over at most 1024 rows, double over the blocks. */
	for (size_t begin = rows_begin; begin < rows_end; begin += 1024)
	{
		size_t n = rows_end - begin < 1024 ? rows_end - begin : 1024;

		cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, factors, (int) n, 1.0f, matrix + begin * ld, (int) ld,
					0.0f, scratch, (int) ld);
		for (size_t i = 0; i < d; i++)
			for (size_t j = i; j < d; j++)
				gram[i * d + j] += scale * scratch[i * ld + j];
	}
	for (size_t i = 0; i < d; i++)
		for (size_t j = 0; j < i; j++)
			gram[i * d + j] = gram[j * d + i];
}

/* Doubles of work for dstedc (1 + 4 n + n^2) and for dsytrd and dormtr (their block size is at most 64). */
static size_t
lapack_work(size_t d)
{
	size_t merge = 1 + 4 * d + d * d;

	return merge > 64 * d ? merge : 64 * d;
}

size_t
kpx_gram_basis_workspace(int factors)
{
	size_t d = (size_t) factors;

	/* eigenvalues, off-diagonal, tau, eigenvectors, work and, as ints, dstedc's iwork (3 + 5 n). */
	return 3 * d + d * d + lapack_work(d) + (3 + 5 * d);
}

/* Eigenvalues, ascending, and eigenvectors, one a column of LAPACK's, to rows, largest first. */
static void
put_basis(int factors, const double *values, const double *vectors, float *diagonal, float *basis)
{
	size_t ld = kpx_ld(factors);
	size_t d = (size_t) factors;

	memset(diagonal, 0, ld * sizeof(float));
	memset(basis, 0, d * ld * sizeof(float));
	for (size_t k = 0; k < d; k++)
	{
		const double *vector = vectors + (d - 1 - k) * d;
		double value = values[d - 1 - k];
		size_t largest = 0;

		for (size_t j = 1; j < d; j++)
			if (fabs(vector[j]) > fabs(vector[largest]))
				largest = j;
		for (size_t j = 0; j < d; j++)
			basis[k * ld + j] = (float) (vector[largest] < 0 ? -vector[j] : vector[j]);
		diagonal[k] = value > 0 ? (float) value : 0.0f;
	}
}

KpxStatus
kpx_gram_basis_step(int step, int factors, double *gram, double *workspace, float *diagonal, float *basis)
{
	size_t d = (size_t) factors;
	double *values = workspace;
	double *off_diagonal = values + d;
	double *tau = off_diagonal + d;
	double *vectors = tau + d;
	double *work = vectors + d * d;
	int lwork = (int) lapack_work(d);
	int *iwork = (void *) (work + lwork); /* doubles are aligned for ints */
	int liwork = 3 + 5 * factors;
	int info = 0;

	if (step == 0)
	{
		for (size_t k = 0; k < d * d; k++)
			if (!isfinite(gram[k]))
				return KPX_NOT_FINITE;
		dsytrd_("L", &factors, gram, &factors, values, off_diagonal, tau, work, &lwork, &info);
		return info == 0 ? KPX_MORE : KPX_NOT_FINITE;
	}
	if (step == 1)
	{
		dstedc_("I", &factors, values, off_diagonal, vectors, &factors, work, &lwork, iwork, &liwork, &info);
		return info == 0 ? KPX_MORE : KPX_NOT_FINITE;
	}
	dormtr_("L", "L", "N", &factors, &factors, gram, &factors, tau, vectors, &factors, work, &lwork, &info);
	if (info != 0)
		return KPX_NOT_FINITE;
	put_basis(factors, values, vectors, diagonal, basis);
	return KPX_OK;
}

KpxStatus
kpx_gram_basis(int factors, double *gram, double *workspace, float *diagonal, float *basis)
{
	KpxStatus status;
	int step = 0;

	while ((status = kpx_gram_basis_step(step, factors, gram, workspace, diagonal, basis)) == KPX_MORE)
		step++;
	return status;
}

void
kpx_gram_turn(int factors, const float *basis, double *gram, double *workspace)
{
	size_t ld = kpx_ld(factors);
	size_t d = (size_t) factors;
	double *turn = workspace;
	double *half = workspace + d * d;

	for (size_t i = 0; i < d; i++)
		for (size_t k = 0; k < d; k++)
			turn[i * d + k] = basis[i * ld + k];
	cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, factors, factors, factors, 1.0, turn, factors, gram, factors,
				0.0, half, factors);
	cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, factors, factors, factors, 1.0, half, factors, turn, factors,
				0.0, gram, factors);
}

void
kpx_rotate_rows(int factors, const float *basis, size_t rows_begin, size_t rows_end, float *scratch, float *matrix)
{
	size_t ld = kpx_ld(factors);

	for (size_t begin = rows_begin; begin < rows_end; begin += KPX_ROTATE_ROWS)
	{
		size_t n = rows_end - begin < KPX_ROTATE_ROWS ? rows_end - begin : KPX_ROTATE_ROWS;

		memcpy(scratch, matrix + begin * ld, n * ld * sizeof(float));
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int) n, factors, factors, 1.0f, scratch, (int) ld,
					basis, (int) ld, 0.0f, matrix + begin * ld, (int) ld);
	}
}

bool
kpx_blas_works(void)
{
	enum
	{
		N = 24
	};
	float a[N * N],
		product[N * N],
		lower[N * N] = {0};
	double gram[N * N],
		vectors[N * N];
	double workspace[3 * N + N * N + 64 * N + 3 + 5 * N];
	float values[(N + 15) / 16 * 16],
		basis[N * ((N + 15) / 16 * 16)];
	double trace = 0,
		   total = 0;

	for (int i = 0; i < N * N; i++)
		a[i] = (float) kpx_normal(7, 0, (uint64_t) i);
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, N, N, N, 1.0f, a, N, a, N, 0.0f, product, N);
	cblas_ssyrk(CblasRowMajor, CblasUpper, CblasNoTrans, N, N, 1.0f, a, N, 0.0f, lower, N);
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++)
		{
			gram[i * N + j] = dot_double(a + i * N, a + j * N, N);
			if (!(fabs(gram[i * N + j] - product[i * N + j]) < 1e-3) ||
				(j >= i && !(fabs(gram[i * N + j] - lower[i * N + j]) < 1e-3)))
				return false;
		}
	for (int i = 0; i < N; i++)
		trace += gram[i * N + i];
	memcpy(vectors, gram, sizeof(gram));
	if (kpx_gram_basis(N, vectors, workspace, values, basis) != KPX_OK)
		return false;
	for (int k = 0; k < N; k++)
		total += values[k];
	return fabs(total - trace) < 1e-3 * trace;
}
