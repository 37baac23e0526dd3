/*
 * segment.c
 *	  k-means: Lloyd's iterations with Hamerly's bounds, distances by matrix products.
 */
#include "segment.h"

#include <math.h>
#include <string.h>

#include "kernel.h"

#define TILE KPX_LANE

typedef struct Workspace
{
	float *gathered; /* [TILE][ld]: rows of one tile that do not lie side by side */
	float *transposed; /* [ld][TILE] */
	float *best; /* [TILE] */
	float *second; /* [TILE] */
	uint32_t *which; /* [TILE] */
	size_t *row; /* [TILE]: rows that wait for a tile to fill */
} Workspace;

static bool
in_range(int k, int features)
{
	return k >= 1 && k <= KPX_MAX_SEGMENTS && features >= 1 && features <= KPX_MAX_FEATURES;
}

size_t
kpx_means_size(int k, int features)
{
	size_t rows = (size_t) k;

	if (!in_range(k, features))
		return 0;
	return kpx_align(rows * kpx_ld(features) * (sizeof(float) + sizeof(double))) + 4 * kpx_align(rows * sizeof(float)) +
		   kpx_align(rows * sizeof(double));
}

size_t
kpx_means_sums_size(int k, int features)
{
	if (!in_range(k, features))
		return 0;
	return kpx_align(((size_t) k * kpx_ld(features) + (size_t) k + 1) * sizeof(double));
}

size_t
kpx_means_workspace_size(int features)
{
	if (!in_range(1, features))
		return 0;
	return TILE * ((2 * kpx_ld(features) + 2) * sizeof(float) + sizeof(uint32_t) + sizeof(size_t));
}

static Workspace
workspace_parts(void *memory, size_t ld)
{
	Workspace ws;

	ws.gathered = memory;
	ws.transposed = ws.gathered + TILE * ld;
	ws.best = ws.transposed + TILE * ld;
	ws.second = ws.best + TILE;
	ws.which = (uint32_t *) (ws.second + TILE);
	ws.row = (void *) (ws.which + TILE); /* all parts are multiples of 64 bytes */
	return ws;
}

KpxMeans
kpx_means_at(void *memory, int k, int features)
{
	size_t rows = (size_t) k;
	size_t ld = kpx_ld(features);
	char *at = memory;
	KpxMeans means = {.k = k, .features = features, .ld = ld};

	means.sum = (void *) at;
	means.centre = (void *) (at + rows * ld * sizeof(double));
	at += kpx_align(rows * ld * (sizeof(float) + sizeof(double)));
	means.norm = (void *) at;
	means.moved = (void *) (at + kpx_align(rows * sizeof(float)));
	means.others_moved = (void *) (at + 2 * kpx_align(rows * sizeof(float)));
	means.half_gap = (void *) (at + 3 * kpx_align(rows * sizeof(float)));
	means.count = (void *) (at + 4 * kpx_align(rows * sizeof(float)));
	return means;
}

KpxMeansSums
kpx_means_sums_at(void *memory, int k, int features)
{
	KpxMeansSums sums;

	sums.sum = memory;
	sums.count = sums.sum + (size_t) k * kpx_ld(features);
	sums.changed = sums.count + k;
	return sums;
}

KpxStatus
kpx_means_norms(const KpxPoints *points, size_t begin, size_t end)
{
	const KpxKernels *kernels = kpx_kernels();

	for (size_t i = begin; i < end; i++)
	{
		const float *x = points->x + i * points->ld;

		points->norm[i] = kernels->dot(x, x, points->ld);
		if (!isfinite(points->norm[i]))
			return KPX_NOT_FINITE;
	}
	return KPX_OK;
}

/*
 * How far |x|^2 - 2 x.c + |c|^2 can be from the truth, over |x|^2 + |c|^2: each of the
 * three sums of up to features + 2 rounded terms.
 */
static float
rounding(int features)
{
	return (float) (features + 4) * 0x1.0p-23f;
}

/* ------------------------------------------------------------ a tile of distances */

/* The n rows that wait, transposed. */
static void
transpose_rows(const KpxPoints *points, const Workspace *ws, size_t n)
{
	const float *x = ws->gathered;

	if (ws->row[n - 1] - ws->row[0] == n - 1)
		x = points->x + ws->row[0] * points->ld;
	else
		for (size_t i = 0; i < n; i++)
			memcpy(ws->gathered + i * points->ld, points->x + ws->row[i] * points->ld, points->ld * sizeof(float));
	kpx_kernels()->transpose(x, points->ld, n, ws->transposed, TILE);
}

static void
take_row(const KpxPoints *points, size_t i, uint32_t from, uint32_t to, KpxMeansSums *sums)
{
	const KpxKernels *kernels = kpx_kernels();
	const float *x = points->x + i * points->ld;

	if (from != KPX_NO_SEGMENT)
	{
		kernels->add_row(x, -1.0f, points->ld, sums->sum + from * points->ld);
		sums->count[from] -= 1;
	}
	kernels->add_row(x, 1.0f, points->ld, sums->sum + to * points->ld);
	sums->count[to] += 1;
	*sums->changed += 1;
}

/* Labels and bounds of the n rows that wait. */
static void
assign_tile(const KpxPoints *points, const KpxMeans *means, KpxLabels *labels, const Workspace *ws, size_t n,
			float norm_max, KpxMeansSums *sums)
{
	float error = rounding(points->features);
	float upper[TILE] = {0};
	float lower[TILE] = {0};

	transpose_rows(points, ws, n);
	kpx_kernels()->nearest_two(ws->transposed, (size_t) means->features, means->centre, means->ld, (size_t) means->k,
							   means->norm, ws->best, ws->second, ws->which);
	for (size_t t = 0; t < n; t++)
	{
		float norm = points->norm[ws->row[t]];

		upper[t] = ws->best[t] + norm + error * (norm + means->norm[ws->which[t]]);
		lower[t] = ws->second[t] + norm - error * (norm + norm_max);
	}
	for (size_t t = 0; t < TILE; t++)
	{
		upper[t] = sqrtf(upper[t] > 0 ? upper[t] : 0);
		lower[t] = sqrtf(lower[t] > 0 ? lower[t] : 0);
	}
	for (size_t t = 0; t < n; t++)
	{
		size_t i = ws->row[t];

		if (labels->label[i] != ws->which[t])
			take_row(points, i, labels->label[i], ws->which[t], sums);
		labels->label[i] = ws->which[t];
		labels->upper[i] = upper[t];
		labels->lower[i] = lower[t];
	}
}

size_t
kpx_means_slice(int k, int features)
{
	size_t rows = (size_t) (4e7 / ((double) k * features));

	return rows < 256 ? 256 : rows > 32768 ? 32768
										   : rows & ~(size_t) 255;
}

/* ------------------------------------------------------------ iterations */

void
kpx_means_begin(KpxMeans *means)
{
	memset(means->sum, 0, (size_t) means->k * means->ld * sizeof(double));
	memset(means->count, 0, (size_t) means->k * sizeof(double));
	kpx_means_recentre(means);
}

void
kpx_means_reset(KpxLabels *labels, size_t begin, size_t end)
{
	for (size_t i = begin; i < end; i++)
	{
		labels->label[i] = KPX_NO_SEGMENT;
		labels->upper[i] = INFINITY;
		labels->lower[i] = 0;
	}
}

/* Whether row i keeps its centre for sure, after its bounds followed the centres. */
static inline bool
keeps(const KpxPoints *points, const KpxMeans *means, const KpxLabels *labels, size_t i)
{
	uint32_t label = labels->label[i];
	float upper;
	float lower;
	float bound;

	if (label == KPX_NO_SEGMENT)
		return false;
	upper = (labels->upper[i] + means->moved[label]) * (1 + 0x1.0p-23f);
	lower = (labels->lower[i] - means->others_moved[label]) * (1 - 0x1.0p-23f);
	bound = lower > means->half_gap[label] ? lower : means->half_gap[label];
	if (upper > bound)
		upper = sqrtf(kpx_kernels()->distance(points->x + i * points->ld, means->centre + label * means->ld, points->ld)) *
				(1 + rounding(points->features));
	labels->upper[i] = upper;
	labels->lower[i] = lower;
	return upper <= bound;
}

void
kpx_means_assign(const KpxPoints *points, const KpxMeans *means, KpxLabels *labels, size_t begin, size_t end,
				 void *workspace, KpxMeansSums *sums)
{
	Workspace ws = workspace_parts(workspace, points->ld);
	float norm_max = 0;
	size_t waiting = 0;

	for (int j = 0; j < means->k; j++)
		norm_max = means->norm[j] > norm_max ? means->norm[j] : norm_max;
	for (size_t i = begin; i < end; i++)
	{
		if (keeps(points, means, labels, i))
			continue;
		ws.row[waiting++] = i;
		if (waiting == TILE)
		{
			assign_tile(points, means, labels, &ws, waiting, norm_max, sums);
			waiting = 0;
		}
	}
	if (waiting > 0)
		assign_tile(points, means, labels, &ws, waiting, norm_max, sums);
}

double
kpx_means_collect(KpxMeans *means, KpxMeansSums *sums)
{
	size_t n = (size_t) means->k * means->ld;
	double changed = *sums->changed;

	for (size_t i = 0; i < n; i++)
		means->sum[i] += sums->sum[i];
	for (int j = 0; j < means->k; j++)
		means->count[j] += sums->count[j];
	memset(sums->sum, 0, n * sizeof(double));
	memset(sums->count, 0, (size_t) means->k * sizeof(double));
	*sums->changed = 0;
	return changed;
}

int
kpx_means_empty(const KpxMeans *means)
{
	for (int j = 0; j < means->k; j++)
		if (means->count[j] < 0.5)
			return j;
	return -1;
}

size_t
kpx_means_farthest(const KpxPoints *points, const KpxMeans *means, const KpxLabels *labels, size_t begin, size_t end,
				   float *distance)
{
	size_t farthest = begin;

	*distance = -1;
	for (size_t i = begin; i < end; i++)
	{
		float d = 0;

		/* The only row of a centre may be far from where the centre was. */
		if (means->count[labels->label[i]] > 1.5)
			d = kpx_kernels()->distance(points->x + i * points->ld, means->centre + labels->label[i] * means->ld, points->ld);
		if (d > *distance)
		{
			*distance = d;
			farthest = i;
		}
	}
	return farthest;
}

void
kpx_means_move(const KpxPoints *points, KpxMeans *means, KpxLabels *labels, size_t row, int j)
{
	KpxMeansSums sums = {means->sum, means->count, &(double){0}};

	memset(means->sum + (size_t) j * means->ld, 0, means->ld * sizeof(double));
	means->count[j] = 0;
	take_row(points, row, labels->label[row], (uint32_t) j, &sums);
	labels->label[row] = (uint32_t) j;
	labels->upper[row] = INFINITY;
	labels->lower[row] = 0;
}

static float
rounded_up(double x)
{
	return nextafterf((float) x, INFINITY);
}

/* norm, others_moved, half_gap from centre and moved. */
static void
describe_centres(KpxMeans *means)
{
	const KpxKernels *kernels = kpx_kernels();
	float error = rounding(means->features);

	for (int j = 0; j < means->k; j++)
	{
		const float *centre = means->centre + (size_t) j * means->ld;
		float gap = INFINITY;
		float most = 0;

		means->norm[j] = kernels->dot(centre, centre, means->ld);
		for (int other = 0; other < means->k; other++)
			if (other != j)
			{
				gap = fminf(gap, kernels->distance(centre, means->centre + (size_t) other * means->ld, means->ld));
				most = fmaxf(most, means->moved[other]);
			}
		means->half_gap[j] = 0.5f * sqrtf(gap) * (1 - error);
		means->others_moved[j] = most;
	}
}

double
kpx_means_recentre(KpxMeans *means)
{
	double total = 0;

	for (int j = 0; j < means->k; j++)
	{
		float *centre = means->centre + (size_t) j * means->ld;
		const double *sum = means->sum + (size_t) j * means->ld;
		double moved = 0;

		for (int f = 0; f < means->features && means->count[j] > 0.5; f++)
		{
			float to = (float) (sum[f] / means->count[j]);
			double by = (double) to - centre[f];

			moved += by * by;
			centre[f] = to;
		}
		means->moved[j] = moved > 0 ? rounded_up(sqrt(moved)) : 0;
		total += moved;
	}
	describe_centres(means);
	return total;
}

/* ------------------------------------------------------------ results */

double
kpx_means_inertia(const KpxPoints *points, const KpxMeans *means, const KpxLabels *labels, size_t begin, size_t end)
{
	double inertia = 0;

	for (size_t i = begin; i < end; i++)
		inertia += kpx_kernels()->distance(points->x + i * points->ld, means->centre + labels->label[i] * means->ld, points->ld);
	return inertia;
}

int
kpx_means_nearest(const KpxMeans *means, const float *x, double *distance)
{
	int nearest = 0;

	*distance = INFINITY;
	for (int j = 0; j < means->k; j++)
	{
		double d = kpx_kernels()->distance(x, means->centre + (size_t) j * means->ld, means->ld);

		if (d < *distance)
		{
			*distance = d;
			nearest = j;
		}
	}
	return nearest;
}
