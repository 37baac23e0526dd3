/*
 * blend.h
 *	  Weights of several scores, fitted on lists in which one item was chosen.
 *
 * The conditional logit (McFadden 1974; as a ranking loss: Cao et al. 2007, ListNet with
 * one relevant item): the chance that item c of a list is chosen is softmax over the list of
 * beta . f_c, f being the scores the methods give. Minimised is
 *
 *	  -sum over lists log P(chosen) + penalty / 2 |beta - prior|^2
 *
 * which is convex; a few Newton steps with halving find its minimum. Weights may be kept
 * from going below 0: a method that ranks against the others is left out.
 */
#ifndef KPX_BLEND_H
#define KPX_BLEND_H

#include "matrix.h"

#define KPX_BLEND_MAX 12

/* Lists one after the other: list l has candidates offset[l] .. offset[l + 1] - 1, the first is the chosen one. */
typedef struct KpxBlendLists
{
	int n_scores; /* 1..KPX_BLEND_MAX */
	size_t lists;
	const uint64_t *offset; /* lists + 1 */
	const float *score; /* candidates x n_scores */
} KpxBlendLists;

/*
 * Loss of lists [begin, end) at beta, without the penalty; gradient (n_scores) and hessian
 * (n_scores x n_scores, symmetric) are added to, and may be NULL.
 */
extern double kpx_blend_loss(const KpxBlendLists *lists, size_t begin, size_t end, const double *beta, double *gradient,
							 double *hessian);

/*
 * How well beta ranks the chosen items of lists [begin, end): value[l - begin] is list l's NDCG at depth
 * (1..), 1 / log2(1 + rank) when rank <= depth, else 0. Of equal scores each is as likely to come first:
 * the value is then the mean over the ranks they share. 0 for an empty list. NaN scores are not allowed.
 * Candidates, but the chosen, whose score number without is not 0 do not count; -1: all do.
 */
extern void kpx_blend_ndcg(const KpxBlendLists *lists, size_t begin, size_t end, const double *beta, size_t depth, int without,
						   float *value);

/*
 * The one standard error rule (Breiman, Friedman, Olshen, Stone 1984, 3.4.3), of n_parts ways to rank and their
 * blend: the best part, unless the blend's mean is above its by more than one standard error of the paired
 * difference; -1 for the blend, also of fewer than two lists. value: (1 + n_parts) x lists, the blend's first.
 */
extern int kpx_blend_gives_way(const float *value, size_t lists, int n_parts);

/* beta to the minimum of the penalised Newton model; false when the matrix is not positive definite. */
extern bool kpx_blend_step(int n, const double *beta, const double *gradient, const double *hessian, double penalty,
						   const double *prior, double *step);

/*
 * Scores of n items by several methods to one: begin with what needs no method, popularity times its weight for
 * items that were there at training and a constant for those that were not (is_cold), then add method after
 * method, weighed apart for the two kinds of items. NaN is no opinion and adds nothing.
 */
extern void kpx_blend_begin(const float *popularity, float weight, float constant, const uint8_t *is_cold, size_t n, float *out);
extern void kpx_blend_add(const float *score, float warm, float cold, const uint8_t *is_cold, size_t n, float *out);

/* How popular counted among items of a module: ln(1 + count) / ln(1 + most), 0..1. */
extern float kpx_blend_popularity(double count, double most);

#endif /* KPX_BLEND_H */
