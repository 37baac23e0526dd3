/*
 * feedback.h
 *	  What a policy would have earned, from the log of another: off-policy estimators.
 *
 * Row i of the log was shown with probability propensity[i], earned reward[i], and
 * would be shown by the judged policy with probability[i]; w = probability /
 * propensity. Estimated is the mean reward of a row under the judged policy:
 *
 *	  ips            mean w r                              Horvitz, Thompson 1952
 *	  clipped_ips    mean min(w, clip) r                   Ionides 2008
 *	  snips          sum w r / sum w                       Swaminathan, Joachims 2015
 *	  clipped_snips  the same with min(w, clip)
 *	  direct         mean direct                           the reward model alone
 *	  dr             mean [baseline + w (r - q)]           Dudik, Langford, Li 2011
 *	  switch_dr      the same, with w = 0 where w > switch_at    Wang, Agarwal, Dudik 2017
 *
 * q is the model's reward of what was shown, baseline its expectation under the
 * judged policy. Rows of one unit (a slate, a user) are one observation: standard
 * errors and bootstrap work on sums by unit.
 */
#ifndef KPX_FEEDBACK_H
#define KPX_FEEDBACK_H

#include "matrix.h"

typedef enum KpxEstimator
{
	KPX_IPS,
	KPX_CLIPPED_IPS,
	KPX_SNIPS,
	KPX_CLIPPED_SNIPS,
	KPX_DIRECT,
	KPX_DR,
	KPX_SWITCH_DR,
	KPX_ESTIMATORS
} KpxEstimator;

/* All arrays [n]; not owned. */
typedef struct KpxLog
{
	size_t n;
	const double *reward;
	const double *propensity; /* in (0, 1] */
	const double *probability; /* in [0, 1] */
	const double *predicted; /* q, or NULL: no model, the last three estimators are NaN */
	const double *baseline; /* with predicted */
	const double *direct; /* with predicted */
	const uint32_t *unit; /* from 0; or NULL: every row is one */
} KpxLog;

/* How many rows cannot be used, by reason; the caller makes errors of them. */
typedef struct KpxLogFaults
{
	size_t not_finite; /* any array holds NaN or an infinity */
	size_t propensity_zero; /* propensity <= 0 */
	size_t propensity_above_one; /* beyond rounding */
	size_t probability_outside; /* below 0 or above 1 beyond rounding */
} KpxLogFaults;

/* Adds rows [begin, end) to faults. */
extern void kpx_log_check(const KpxLog *log, size_t begin, size_t end, KpxLogFaults *faults);

/* Sums over the rows of one unit: a cache line. */
typedef struct KpxUnitSums
{
	double rows;
	double wr;
	double w;
	double clipped_wr;
	double clipped_w;
	double direct;
	double dr;
	double switch_dr;
} KpxUnitSums;

/*
 * Adds rows [begin, end) to sums[unit]; sums (one a unit, zeroed by the caller). clip,
 * switch_at > 0. Precondition: no faults.
 */
extern void kpx_log_sums(const KpxLog *log, double clip, double switch_at, size_t begin, size_t end, KpxUnitSums *sums);

/* total += s, field by field. */
extern void kpx_unit_sums_add(KpxUnitSums *total, const KpxUnitSums *s);

/* Of all rows' weights. */
typedef struct KpxWeights
{
	double sum;
	double squares;
	double clipped_sum;
	double clipped_squares;
	double largest;
} KpxWeights;

/* Adds rows [begin, end) to weights. */
extern void kpx_log_weights(const KpxLog *log, double clip, size_t begin, size_t end, KpxWeights *weights);

/* Kish's effective sample size: sum^2 / squares; 0 when there is no weight. */
extern double kpx_effective_sample_size(double sum, double squares);

/* Value from summed units; NaN when it is not defined (no rows, no weight). */
extern double kpx_estimate(KpxEstimator estimator, const KpxUnitSums *total);

/*
 * Standard error of kpx_estimate(estimator, total) over units sums[0..units): of a
 * mean with units - 1 degrees of freedom, of a ratio by linearisation. NaN for fewer
 * than two units or where the value is NaN. deviations: of all units by the function
 * below, which adds those of units [begin, end).
 */
extern double kpx_estimate_std_error(KpxEstimator estimator, const KpxUnitSums *total, size_t units, double deviations);
extern double kpx_estimate_deviations(KpxEstimator estimator, const KpxUnitSums *sums, const KpxUnitSums *total, size_t begin,
									  size_t end);

/* Sums over the units that a bootstrap replicate drew; by estimator, of squares and products of its numerators and denominators. */
typedef struct KpxReplicate
{
	KpxUnitSums total;
	double squares[KPX_ESTIMATORS];
	double products[KPX_ESTIMATORS];
	double denominators[KPX_ESTIMATORS];
} KpxReplicate;

/*
 * Adds draws [begin, end) of a bootstrap replicate to drawn (zeroed by the caller): a
 * replicate is units draws with replacement, of (seed, replicate, draw).
 */
extern void kpx_bootstrap_add(const KpxUnitSums *sums, size_t units, uint64_t seed, uint64_t replicate, size_t begin,
							  size_t end, KpxReplicate *drawn);

/*
 * How many of its own standard errors a replicate is above value, which is that of all units.
 * Infinite where the replicate's contributions are all alike but its value differs; NaN where
 * it has no value. With t_p the p-quantile over replicates, [value - t_(1-p) s, value - t_p s] is the
 * bootstrap-t interval, s the standard error of value (Efron 1979; Hall 1988, 1992).
 */
extern double kpx_bootstrap_t(KpxEstimator estimator, const KpxReplicate *drawn, size_t units, double value);

/* The p-quantile (0..1) of values[n], which is sorted, by linear interpolation, infinite where it leans on an infinite one; NaN when n is 0. */
extern double kpx_quantile(const double *values, size_t n, double p);

/* Sorts values[n], NaN last; returns how many are not NaN. */
extern size_t kpx_sort_values(double *values, size_t n);

/*
 * A reward model from the log itself: the mean reward of each cell (an action in a
 * context), fitted on the other half of the units and smoothed towards the half's mean
 * with the weight of one row, so that no row predicts itself.
 */
typedef struct KpxCells
{
	size_t cells;
	size_t contexts;
	const uint32_t *cell; /* [n] of the log */
	const uint32_t *context; /* [cells]: of a cell */
} KpxCells;

/* Doubles of workspace for the three below, which are called in this order. */
extern size_t kpx_cells_workspace(const KpxCells *cells);

/* Adds rows [begin, end) to the cells; workspace zeroed by the caller before the first. */
extern void kpx_cells_add(const KpxLog *log, const KpxCells *cells, uint64_t seed, size_t begin, size_t end, double *workspace);

/* Once all rows are there. */
extern void kpx_cells_finish(const KpxCells *cells, double *workspace);

/*
 * Fills predicted, baseline and direct of rows [begin, end). The policy's probability of a
 * cell is its rows' (when they agree and a context's sum to 1), else the share of the
 * context's weight: sum w of the cell / sum w of the context. direct also carries the
 * cell's residuals, weighted by policy / empirical frequency, so that its spread over units
 * is that of the fitted means; its mean is the post-stratified mean reward.
 */
extern void kpx_cells_predict(const KpxLog *log, const KpxCells *cells, uint64_t seed, size_t begin, size_t end,
							  const double *workspace, double *predicted, double *baseline, double *direct);

/* Mean of the Beta(prior_weight * prior, prior_weight * (1 - prior)) posterior: (successes + prior_weight * prior) / (trials + prior_weight). */
extern double kpx_smoothed_rate(double successes, double trials, double prior, double prior_weight);

#endif /* KPX_FEEDBACK_H */
