/*
 * segment.h
 *	  k-means: groups of rows around k centres.
 *
 * Lloyd's iterations pruned by Hamerly 2010, "Making k-means even faster": a row keeps an
 * upper bound of the distance to its own centre and a lower bound of the distance to any
 * other; both move with the centres, and while they do not cross, the row need not be read.
 * Rows that must be looked at are gathered into tiles whose squared distances
 * |x|^2 - 2 x.c + |c|^2 come from one matrix product. Bounds are widened by the rounding
 * errors of that, so pruning changes nothing but ties. First centres by greedy k-means++
 * (Arthur, Vassilvitskii 2007; several candidates a step, as the authors propose).
 *
 * Storage in float, sums in double. The product loses digits when the rows lie far from the
 * origin: subtract the columns' means first.
 *
 * kpx_means_run does all of it on one process, a budget at a time. To share the iterations,
 * cut the rows into the same slots always, walk each slot in the same slices, keep a
 * KpxMeansSums a slot and add those up in order; then the result does not depend on how many
 * processes share the slots:
 *
 *	  iteration: kpx_means_assign | kpx_means_collect, kpx_means_farthest and kpx_means_move
 *	  while a cluster is empty, kpx_means_recentre; in the end kpx_means_assign, kpx_means_inertia
 */
#ifndef KPX_SEGMENT_H
#define KPX_SEGMENT_H

#include "matrix.h"

#define KPX_MAX_SEGMENTS 1000
#define KPX_MAX_FEATURES 4096
#define KPX_NO_SEGMENT UINT32_MAX

/* Candidates for the next centre that k-means++ looks at, at most. */
#define KPX_SEED_TRIES 9

/* The rows: n x ld floats, 64-byte aligned, ld = kpx_ld(features), padding 0. */
typedef struct KpxPoints
{
	size_t n;
	int features;
	size_t ld;
	const float *x;
	float *norm; /* [n]: |x|^2, set by kpx_means_norms */
} KpxPoints;

/* What is known of each row. */
typedef struct KpxLabels
{
	uint32_t *label; /* [n]: its centre, or KPX_NO_SEGMENT */
	float *upper; /* [n]: >= distance to its centre */
	float *lower; /* [n]: <= distance to all others; during k-means++: squared distance to the nearest */
} KpxLabels;

/* The centres, and how they moved last. Memory: kpx_means_size, parts by kpx_means_at. */
typedef struct KpxMeans
{
	int k;
	int features;
	size_t ld;
	float *centre; /* [k][ld] */
	float *norm; /* [k]: |centre|^2 */
	float *moved; /* [k]: >= how far it moved */
	float *others_moved; /* [k]: >= how far any other moved */
	float *half_gap; /* [k]: <= half the distance to the nearest other centre */
	double *sum; /* [k][ld] of its rows */
	double *count; /* [k] of its rows */
} KpxMeans;

/* What the rows of one slot change in the sums. Memory: kpx_means_sums_size. */
typedef struct KpxMeansSums
{
	double *sum; /* [k][ld] */
	double *count; /* [k] */
	double *changed; /* [1]: rows that went to another centre */
} KpxMeansSums;

/* Bytes, 0 when k or features is out of range; memory is to be 64-byte aligned. */
extern size_t kpx_means_size(int k, int features);
extern size_t kpx_means_sums_size(int k, int features);
extern size_t kpx_means_workspace_size(int features);
extern KpxMeans kpx_means_at(void *memory, int k, int features);
extern KpxMeansSums kpx_means_sums_at(void *memory, int k, int features);

/* Norms of rows [begin, end). KPX_NOT_FINITE when one is not finite. */
extern KpxStatus kpx_means_norms(const KpxPoints *points, size_t begin, size_t end);

/* Rows that take a few milliseconds at most, unless k and features are huge: a slice. */
extern size_t kpx_means_slice(int k, int features);

/* ------------------------------------------------------------ iterations */

/* Centres were set: their norms and gaps; nothing moved, no rows. */
extern void kpx_means_begin(KpxMeans *means);

/* Forgets the labels of rows [begin, end). */
extern void kpx_means_reset(KpxLabels *labels, size_t begin, size_t end);

/* Brings rows [begin, end) to their nearest centres; sums is added to. About (end - begin) k features multiply-adds. */
extern void kpx_means_assign(const KpxPoints *points, const KpxMeans *means, KpxLabels *labels,
							 size_t begin, size_t end, void *workspace, KpxMeansSums *sums);

/* Adds a slot's sums to the centres' and clears them; returns how many rows changed. */
extern double kpx_means_collect(KpxMeans *means, KpxMeansSums *sums);

/* A centre without rows, or -1. */
extern int kpx_means_empty(const KpxMeans *means);

/* The row of [begin, end) farthest from its centre, and its squared distance; the first of equals. */
extern size_t kpx_means_farthest(const KpxPoints *points, const KpxMeans *means, const KpxLabels *labels,
								 size_t begin, size_t end, float *distance);

/* Gives row to the empty centre j. */
extern void kpx_means_move(const KpxPoints *points, KpxMeans *means, KpxLabels *labels, size_t row, int j);

/* Centres become the means of their rows; returns the sum of squared moves. A centre without rows stays. */
extern double kpx_means_recentre(KpxMeans *means);

/* Sum of squared distances of rows [begin, end) to their centres. */
extern double kpx_means_inertia(const KpxPoints *points, const KpxMeans *means, const KpxLabels *labels,
								size_t begin, size_t end);

/* The centre nearest to x (ld floats), and its squared distance; the first of equals. */
extern int kpx_means_nearest(const KpxMeans *means, const float *x, double *distance);

/* ------------------------------------------------------------ one process */

/* A whole run of k-means++ and Lloyd's iterations. */
typedef struct KpxMeansRun
{
	const KpxPoints *points; /* with norms */
	KpxMeans means; /* k becomes smaller when the rows have fewer different values */
	KpxLabels labels;
	KpxMeansSums sums;
	void *workspace; /* kpx_means_run_workspace_size */
	uint64_t seed;
	int iterations; /* at most */
	double tolerance; /* stop when the sum of squared moves is not above */
	/* how far it is; begin with zeroes */
	int phase;
	int seeded; /* centres chosen */
	size_t row;
	double total;
	size_t candidate[KPX_SEED_TRIES];
	double potential[KPX_SEED_TRIES];
	double changed;
	/* results */
	int done; /* iterations */
	double inertia;
} KpxMeansRun;

extern size_t kpx_means_run_workspace_size(int features);

/*
 * Goes on for about budget multiply-adds: KPX_MORE, call again, or KPX_OK, then means,
 * labels, done and inertia are final.
 */
extern KpxStatus kpx_means_run(KpxMeansRun *run, double budget);

/* ------------------------------------------------------------ silhouette */

/* Bytes of workspace for k clusters. */
extern size_t kpx_silhouette_workspace_size(int k);

/*
 * Adds the silhouette coefficients (Rousseeuw 1987, Euclidean distances, 0 for a row alone
 * in its cluster) of rows [begin, end) among all rows of points to *total. size: rows of
 * each cluster. n features multiply-adds a row. For large data give it a sample.
 */
extern void kpx_silhouette_add(const KpxPoints *points, const uint32_t *label, const double *size, int k,
							   size_t begin, size_t end, void *workspace, double *total);

#endif /* KPX_SEGMENT_H */
