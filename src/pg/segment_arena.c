/*
 * segment_arena.c
 *	  The memory of one clustering run: its layout, and what is put into it first.
 */
#include "segment_arena.h"

#include "core/rng.h"

#define SILHOUETTE_ROWS 3000

static size_t
reserve(size_t *total, size_t n, size_t size)
{
	size_t at = *total;
	size_t bytes;

	if (!kpx_mul_size(n, size, &bytes) || bytes > SIZE_MAX / 4 || at > SIZE_MAX / 4)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("there are too many users to cluster")));
	*total = at + kpx_align(bytes);
	return at;
}

static void
layout_rows(KpxClusterRows *rows, size_t n, size_t ld, size_t *total)
{
	rows->n = n;
	rows->x = reserve(total, n, ld * sizeof(float));
	rows->norm = reserve(total, n, sizeof(float));
}

void
kpx_cluster_layout(KpxClusterRun *s, const KpxEncoded *data, int k, const KpxClusterParams *params)
{
	size_t total = kpx_align(sizeof(KpxClusterRun));
	size_t n_jobs;

	memset(s, 0, sizeof(*s));
	s->features = data->points.features;
	s->ld = data->points.ld;
	s->low_k = k ? k : (int) params->min_k;
	s->high_k = k ? k : (int) params->max_k;
	s->restarts = (int) params->restarts;
	s->iterations = (int) params->iterations;
	s->tolerance = params->tolerance;
	s->min_users = params->min_users;
	s->seed = (uint64) (int64) params->seed;
	n_jobs = (size_t) (s->high_k - s->low_k + 1) * s->restarts;
	layout_rows(&s->all, data->n, s->ld, &total);
	layout_rows(&s->sample, Min(data->n, (size_t) params->sample), s->ld, &total);
	layout_rows(&s->small, Min(data->n, SILHOUETTE_ROWS), s->ld, &total);
	s->label = reserve(&total, data->n, sizeof(uint32));
	s->upper = reserve(&total, data->n, sizeof(float));
	s->lower = reserve(&total, data->n, sizeof(float));
	s->means = reserve(&total, kpx_means_size(s->high_k, s->features), 1);
	s->sums_bytes = kpx_means_sums_size(s->high_k, s->features);
	s->sums = reserve(&total, KPX_CLUSTER_SLOTS, s->sums_bytes);
	s->jobs = reserve(&total, n_jobs, sizeof(double));
	s->found = reserve(&total, n_jobs, sizeof(int));
	s->centres = reserve(&total, n_jobs * s->high_k, s->ld * sizeof(float));
	s->scores = reserve(&total, s->high_k - s->low_k + 1, sizeof(double));
	s->bytes = total;
}

/* KpxClusterRows of all, one from each of n equal ranges of them. */
static void
draw_sample(KpxClusterProcess *p, const KpxClusterRows *rows, uint64 stream)
{
	KpxClusterRun *s = p->shared;
	const float *from = kpx_cluster_at(p, s->all.x);
	const float *norm = kpx_cluster_at(p, s->all.norm);
	float *to = kpx_cluster_at(p, rows->x);
	float *to_norm = kpx_cluster_at(p, rows->norm);

	for (size_t i = 0; i < rows->n; i++)
	{
		size_t begin = (size_t) ((double) i * s->all.n / rows->n);
		size_t end = (size_t) ((double) (i + 1) * s->all.n / rows->n);
		size_t row = begin + (size_t) (kpx_uniform(s->seed, stream, i) * (double) (end - begin));

		row = Min(row, s->all.n - 1);
		memcpy(to + i * s->ld, from + row * s->ld, s->ld * sizeof(float));
		to_norm[i] = norm[row];
	}
}

void
kpx_cluster_fill(KpxClusterProcess *p, const KpxEncoded *data)
{
	KpxClusterRun *s = p->shared;
	KpxPoints points = kpx_cluster_points(p, &s->all);
	double norms = 0;

	for (size_t begin = 0; begin < data->n; begin += 4096)
	{
		size_t end = Min(begin + 4096, data->n);

		CHECK_FOR_INTERRUPTS();
		memcpy((float *) kpx_cluster_at(p, s->all.x) + begin * s->ld, data->x + begin * s->ld, (end - begin) * s->ld * sizeof(float));
		if (kpx_means_norms(&points, begin, end) != KPX_OK)
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("profiles have numbers that are too extreme to cluster")));
		for (size_t i = begin; i < end; i++)
			norms += points.norm[i];
	}
	/* Columns have mean 0, so the norms are the variance. */
	s->move_limit = s->tolerance * norms / data->n / s->features;
	memset(kpx_cluster_at(p, s->sums), 0, KPX_CLUSTER_SLOTS * s->sums_bytes);
	draw_sample(p, &s->sample, 1);
	draw_sample(p, &s->small, 2);
}
