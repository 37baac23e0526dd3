/*
 * policy.h
 *	  Choosing a slate: which of n candidates to show, in which order, with which
 *	  probability.
 *
 * The worth of a set S of candidates, v their values, s a scale of values:
 *
 *	  F(S) = sum v + diversity s log det(I + K_S) + calibration s C(S) + category_calibration s D(S)
 *
 * K is the similarity of candidates: 1/2 for the same module plus 1/2 for the same
 * category, 1 on the diagonal. log det(I + K_S) is the quality-free part of a
 * determinantal point process (Kulesza, Taskar 2012), regularised by I so that it is
 * monotone and submodular; its greedy is Chen, Zhang, Zhou 2018's, one Cholesky column
 * an item. C(S) = sum_m p_m log(1 + n_m(S) / (0.1 k p_m)) pulls the shares n_m / k of
 * modules to the mix p (Steck 2018, "Calibrated recommendations"): but for a constant it is
 * -KL(p | q), q_m = (n_m / k + 0.1 p_m) / 1.1 being the slate's shares smoothed towards p,
 * which is Steck's measure with alpha = 1 / 11, and monotone. D(S) is the same over
 * categories of modules, with the shares that the candidates carry.
 *
 * Constraints: at most k in all, room[m] of module m, category_room of a module and
 * category: a laminar matroid. All four terms are monotone submodular, so greedy
 * reaches 1 - 1/e of the best F when k alone binds (Nemhauser, Wolsey, Fisher 1978),
 * 1/2 under the whole matroid (Fisher, Nemhauser, Wolsey 1978), and the best F exactly
 * when diversity and both calibrations are 0 (a linear function on a matroid).
 *
 * Exploration: each position shows the greedy choice with probability 1 - epsilon, and
 * with epsilon one of the `top` best feasible ones, uniformly. With Thompson sampling the
 * 1 - epsilon are shared among those by the probability of being the best, given what is
 * known of them (Thompson 1933): the choice is drawn from these probabilities rather than
 * by drawing worths, so that the probability of what is shown, given what is shown above
 * it, is exact either way.
 */
#ifndef KPX_POLICY_H
#define KPX_POLICY_H

#include "matrix.h"

#define KPX_NO_CATEGORY UINT32_MAX

typedef struct KpxCandidate
{
	uint32_t module; /* < modules of the rules */
	uint32_t category; /* the same number is the same category, in any module; or KPX_NO_CATEGORY */
	double value; /* what it is worth to show it; below 0: never shown */
	double cost; /* taken off its worth for what it uses up: it is expected to earn value + cost */
	double spread; /* standard deviation of what is known of its earnings; 0: certain. For Thompson sampling */
	double share; /* the user's share of its module and category, 0: not known. For category_calibration */
} KpxCandidate;

typedef struct KpxSlateRules
{
	size_t k;
	size_t modules;
	const uint32_t *room; /* [modules] */
	uint32_t category_room; /* at least 1 */
	double diversity; /* >= 0 */
	double calibration; /* >= 0 */
	const double *mix; /* [modules], sum 1; or NULL: no calibration */
	double epsilon; /* 0 .. 1 */
	size_t top; /* at least 1 */
	double category_calibration; /* >= 0 */
	bool thompson;
} KpxSlateRules;

/* A slate in the making; workspace and candidates are the caller's. */
typedef struct KpxSlate
{
	const KpxCandidate *candidate;
	size_t n;
	const KpxSlateRules *rules;
	double scale;
	size_t shown; /* so far */
	bool *taken; /* [n] */
	double *residual; /* [n] variance of a candidate that the shown ones do not explain */
	double *column; /* [n][k] Cholesky */
	uint32_t *module_count; /* [modules] */
	uint32_t *used; /* [k] candidates shown, in order */
	double *match; /* for Thompson sampling: the table, and room for choices; NULL without */
} KpxSlate;

/* Bytes of workspace (8-byte aligned) for n candidates; 0 when that does not fit. */
extern size_t kpx_slate_workspace(size_t n, const KpxSlateRules *rules);

/* An empty slate. scale becomes the mean of the k largest values (of those >= 0), at least 1e-300. */
extern void kpx_slate_begin(KpxSlate *slate, const KpxCandidate *candidate, size_t n, const KpxSlateRules *rules,
							void *workspace);

/* Why a candidate cannot come next. */
typedef enum KpxPlaceFit
{
	KPX_FITS,
	KPX_TAKEN,
	KPX_NO_VALUE, /* value below 0 */
	KPX_SLATE_FULL,
	KPX_MODULE_FULL,
	KPX_CATEGORY_FULL
} KpxPlaceFit;

extern KpxPlaceFit kpx_slate_fits(const KpxSlate *slate, size_t i);

/* F(S + i) - F(S), for a candidate that fits or not. */
extern double kpx_slate_gain(const KpxSlate *slate, size_t i);

/*
 * The choices for the next position: up to rules->top candidates that fit, by gain (ties:
 * lower index first), and their probabilities, which sum to 1. Returns how many; 0 when
 * nothing fits. choice, probability: [top].
 */
extern size_t kpx_slate_choices(const KpxSlate *slate, uint32_t *choice, double *probability);

/* Shows candidate i next. Precondition: it fits. */
extern void kpx_slate_add(KpxSlate *slate, size_t i);

/*
 * Standard deviation of the product of two rates that are known as the means of independent
 * Beta posteriors, click with so many pseudo-observations in all, convert likewise.
 */
extern double kpx_rate_spread(double click, double click_observations, double convert, double convert_observations);

/*
 * Thompson's probabilities: that each of n candidates has the largest gain, when candidate i gains
 * gain[i] - mean[i] + X_i, X_i independent and log-normal with this mean and spread (standard
 * deviation); certain where either is not above 0. They sum to 1. Of candidates that are certain
 * and equal, the first is the best. table: from kpx_normal_table; work: [KPX_BEST_WORK(n)].
 */
extern void kpx_best_probabilities(const double *table, const double *gain, const double *mean, const double *spread, size_t n,
								   double *probability, double *work);
#define KPX_BEST_WORK(n) (6 * (n))

/* Fills table[KPX_NORMAL_TABLE]: ln of the normal distribution, which the above needs. */
extern void kpx_normal_table(double *table);
#define KPX_NORMAL_TABLE 193

/* Number of the choice that a uniform u in (0, 1) draws. */
extern size_t kpx_slate_draw(const double *probability, size_t choices, double u);

/*
 * The price of what a campaign limits, after a slate, by a step of online dual descent
 * (Balseiro, Lu, Mirrokni 2020): price + step (spent - due), not below 0. due: what an even
 * spending would have spent since the last step. For a campaign that must not get less than it
 * is due, the same with spent and due exchanged is what is added to worth.
 */
extern double kpx_dual_price(double price, double step, double spent, double due);

#endif /* KPX_POLICY_H */
