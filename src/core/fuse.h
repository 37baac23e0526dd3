/*
 * fuse.h
 *	  Numbers and embeddings of items made comparable, and several modalities made one vector.
 *
 * A number is encoded by its rank t in 0..1 among its column's, found from quantiles (knots),
 * as a point (cos pi t, sin pi t) on a half circle: the cosine of two numbers falls from 1 to
 * -1 with the difference of their ranks, whatever the scale, and no outlier counts for more
 * than its rank. An embedding is centred by its column's mean, which takes
 * out the direction that all of them share. Each modality of an item is a vector of length
 * 1 or, when the item lacks it, 0; fused is
 *
 *	  (sqrt(w_1 / W) x_1, sqrt(w_2 / W) x_2, ...),	W = sum of w_m over what the item has
 *
 * so that the cosine of two items that have everything is the weighted mean of the cosines
 * of their modalities, and an item that lacks some is compared by what it has.
 */
#ifndef KPX_FUSE_H
#define KPX_FUSE_H

#include "matrix.h"

#define KPX_KNOTS 9

/*
 * Distinct quantiles (0, 1/8, .. 1) of value[0..n), increasing, to knot (room for
 * KPX_KNOTS); returns how many. value must be sorted and finite.
 */
extern int kpx_quantile_knots(const double *value, size_t n, double *knot);

/* The point of x on the half circle; n >= 2. x outside the knots counts as the end. */
extern void kpx_rank_point(const double *knot, int n, double x, float point[2]);

/* What is wrong with an embedding of n numbers: KPX_NOT_FINITE, KPX_BAD_ARGUMENT when all are 0. */
extern KpxStatus kpx_embedding_check(const float *x, size_t n);

/* x := (x - mean) / |x - mean|; false, and zeroes, when nothing is left. mean may be NULL. */
extern bool kpx_centre_unit(float *x, const float *mean, size_t n);

/*
 * Scales in place the modalities of one item: modality m has the numbers begin[m] ..
 * begin[m + 1] - 1 of x, length 1 or 0. Returns whether the item has any.
 */
extern bool kpx_fuse(float *x, const uint32_t *begin, const float *weight, int modalities);

#endif /* KPX_FUSE_H */
