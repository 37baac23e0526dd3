/*
 * ranking.h
 *	  Two heads, P(click) and P(convert | click), learnt from all impressions at once.
 *
 * Ma, Zhao, Huang, Wang, Hu, Zhu, Gai 2018, "Entire Space Multi-Task Model" (ESMM): with
 * p = P(click) and q = P(convert | click), the loss of an impression is
 *
 *	  -[c log p + (1 - c) log(1 - p)] - [v log(p q) + (1 - v) log(1 - p q)],
 *
 * c = clicked, v = clicked and converted. Both terms are over all impressions, so q is
 * never fitted on clicked ones alone (sample selection bias).
 *
 * A head is logistic: p = sigmoid(f(x) + position effect), f linear or a second-order
 * factorization machine (Rendle 2010, eq. (1) and Lemma 3.1). The effect of the position
 * is additive in the logit of the click and zero at the first position, so that serving
 * without it is the click at the first position (Guo et al. 2019, "PAL", in logit form).
 * A conversion is taken not to depend on the position once clicked.
 *
 * Training: AdamW (Loshchilov, Hutter 2019, alg. 2). Double throughout: models are small.
 */
#ifndef KPX_RANKING_H
#define KPX_RANKING_H

#include "matrix.h"

#define KPX_MAX_RANKER_FEATURES (1 << 20)
#define KPX_MAX_RANKER_FACTORS 64
#define KPX_MAX_RANKER_POSITIONS 1024
#define KPX_NO_CATEGORY UINT32_MAX

/*
 * Impressions. Features are numbered 0 .. numeric - 1 for the numeric ones, each present
 * in every impression (standardise them first), and from numeric on for the levels of
 * categorical ones: category[i * categorical + j] is such a number or KPX_NO_CATEGORY.
 */
typedef struct KpxImpressions
{
	size_t n;
	int numeric;
	int categorical;
	const float *dense; /* n x numeric */
	const uint32_t *category; /* n x categorical */
	const uint16_t *position; /* n, from 0; those beyond the last known count as the last */
	const uint8_t *label; /* n: KPX_CLICKED | KPX_CONVERTED; converted implies clicked */
} KpxImpressions;

#define KPX_CLICKED 1
#define KPX_CONVERTED 2

/* A ranker: parameter is one array, laid out by the offsets that kpx_ranker_layout sets. */
typedef struct KpxRanker
{
	int features; /* numeric and levels together */
	int factors; /* of the factorization machine; 0 = linear */
	int positions;
	double *parameter;
	/* intercepts and position effects come first: they are not decayed */
	size_t intercept[2]; /* click, convert */
	size_t position;
	size_t weight[2]; /* features */
	size_t latent[2]; /* features x factors */
	size_t undecayed;
	size_t parameters;
} KpxRanker;

/* Sets the layout; parameter is left to the caller. KPX_BAD_ARGUMENT when out of range. */
extern KpxStatus kpx_ranker_layout(KpxRanker *ranker, int features, int factors, int positions);

/*
 * Intercepts from these rates (both in (0, 1)), weights 0, latent vectors small normal
 * numbers of seed.
 */
extern void kpx_ranker_init(KpxRanker *ranker, double click_rate, double convert_rate, uint64_t seed);

/* Logits of one impression's features at the first position: click and convert given click. */
extern void kpx_ranker_logits(const KpxRanker *ranker, const KpxImpressions *impressions, size_t row,
							  double *click, double *convert);

extern double kpx_sigmoid(double logit);

/*
 * Logits of a click and of a click with conversion, p q: what Platt's line calibrates.
 * at_position: where it was shown; else at the first position.
 */
extern void kpx_ranker_outcome_logits(const KpxRanker *ranker, const KpxImpressions *impressions, size_t row,
									  bool at_position, double *click, double *both);

/* Sum of the loss over these rows; order (or NULL: all in order) names rows [begin, end). */
extern double kpx_ranker_loss(const KpxRanker *ranker, const KpxImpressions *impressions, const uint32_t *order,
							  size_t begin, size_t end);

/* Adds the gradient of that sum to gradient (ranker->parameters doubles); returns the sum. */
extern double kpx_ranker_gradient(const KpxRanker *ranker, const KpxImpressions *impressions, const uint32_t *order,
								  size_t begin, size_t end, double *gradient);

typedef struct KpxAdamW
{
	double rate; /* alpha */
	double decay; /* lambda, decoupled */
	uint64_t step; /* steps done, start with 0 */
	double *first; /* parameters doubles, start with 0 */
	double *second; /* parameters doubles, start with 0 */
	double *gradient; /* parameters doubles of scratch */
} KpxAdamW;

/*
 * One pass over order[0..n) in batches, from batch *cursor (start with 0) on. Stops with
 * KPX_MORE after about budget multiply-adds; call again. *loss is added to.
 * KPX_NOT_FINITE when it diverges.
 */
extern KpxStatus kpx_ranker_epoch(KpxRanker *ranker, const KpxImpressions *impressions, const uint32_t *order, size_t n,
								  size_t batch, KpxAdamW *adam, size_t *cursor, double budget, double *loss);

/* order[0..n) shuffled (Fisher-Yates) by (seed, epoch). */
extern void kpx_shuffle(uint32_t *order, size_t n, uint64_t seed, uint64_t epoch);

/*
 * Mean and standard deviation of each numeric feature over rows named by order, NaN left out;
 * sd is 1 for a constant one. kpx_standardise applies them to one row; NaN becomes the mean.
 */
extern void kpx_moments(const float *dense, int numeric, const uint32_t *order, size_t n, double *mean, double *sd);
extern void kpx_standardise(float *row, int numeric, const double *mean, const double *sd);

#endif /* KPX_RANKING_H */
