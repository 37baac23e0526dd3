/*
 * feedback.c
 *	  Off-policy estimators over sums by unit.
 */
#include "feedback.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "rng.h"

/* Products of probabilities may exceed 1 by rounding. */
#define ROUNDING 1e-9

static bool
row_is_finite(const KpxLog *log, size_t i)
{
	if (!isfinite(log->reward[i]) || !isfinite(log->propensity[i]) || !isfinite(log->probability[i]))
		return false;
	return !log->predicted || (isfinite(log->predicted[i]) && isfinite(log->baseline[i]) && isfinite(log->direct[i]));
}

void
kpx_log_check(const KpxLog *log, size_t begin, size_t end, KpxLogFaults *faults)
{
	for (size_t i = begin; i < end; i++)
	{
		if (!row_is_finite(log, i))
		{
			faults->not_finite++;
			continue;
		}
		faults->propensity_zero += log->propensity[i] <= 0;
		faults->propensity_above_one += log->propensity[i] > 1 + ROUNDING;
		faults->probability_outside += log->probability[i] < 0 || log->probability[i] > 1 + ROUNDING;
	}
}

void
kpx_log_sums(const KpxLog *log, double clip, double switch_at, size_t begin, size_t end, KpxUnitSums *sums)
{
	for (size_t i = begin; i < end; i++)
	{
		KpxUnitSums *s = &sums[log->unit ? log->unit[i] : i];
		double w = log->probability[i] / log->propensity[i];
		double clipped = fmin(w, clip);

		s->rows++;
		s->wr += w * log->reward[i];
		s->w += w;
		s->clipped_wr += clipped * log->reward[i];
		s->clipped_w += clipped;
		if (log->predicted)
		{
			double residual = log->reward[i] - log->predicted[i];

			s->direct += log->direct[i];
			s->dr += log->baseline[i] + w * residual;
			s->switch_dr += log->baseline[i] + (w <= switch_at ? w * residual : 0);
		}
		else
			s->direct = s->dr = s->switch_dr = NAN;
	}
}

void
kpx_log_weights(const KpxLog *log, double clip, size_t begin, size_t end, KpxWeights *weights)
{
	for (size_t i = begin; i < end; i++)
	{
		double w = log->probability[i] / log->propensity[i];
		double clipped = fmin(w, clip);

		weights->sum += w;
		weights->squares += w * w;
		weights->clipped_sum += clipped;
		weights->clipped_squares += clipped * clipped;
		weights->largest = fmax(weights->largest, w);
	}
}

double
kpx_effective_sample_size(double sum, double squares)
{
	return squares > 0 ? sum * sum / squares : 0;
}

/* An estimate is the ratio of two sums: which of KpxUnitSums they are. */
#define SUM(field) (offsetof(KpxUnitSums, field) / sizeof(double))

static const size_t ratio_of[KPX_ESTIMATORS][2] = {
	[KPX_IPS] = {SUM(wr), SUM(rows)},
	[KPX_CLIPPED_IPS] = {SUM(clipped_wr), SUM(rows)},
	[KPX_SNIPS] = {SUM(wr), SUM(w)},
	[KPX_CLIPPED_SNIPS] = {SUM(clipped_wr), SUM(clipped_w)},
	[KPX_DIRECT] = {SUM(direct), SUM(rows)},
	[KPX_DR] = {SUM(dr), SUM(rows)},
	[KPX_SWITCH_DR] = {SUM(switch_dr), SUM(rows)},
};

static void
parts(KpxEstimator estimator, const KpxUnitSums *s, double *numerator, double *denominator)
{
	*numerator = ((const double *) s)[ratio_of[estimator][0]];
	*denominator = ((const double *) s)[ratio_of[estimator][1]];
}

double
kpx_estimate(KpxEstimator estimator, const KpxUnitSums *total)
{
	double numerator;
	double denominator;

	parts(estimator, total, &numerator, &denominator);
	return denominator > 0 ? numerator / denominator : NAN;
}

void
kpx_unit_sums_add(KpxUnitSums *total, const KpxUnitSums *s)
{
	total->rows += s->rows;
	total->wr += s->wr;
	total->w += s->w;
	total->clipped_wr += s->clipped_wr;
	total->clipped_w += s->clipped_w;
	total->direct += s->direct;
	total->dr += s->dr;
	total->switch_dr += s->switch_dr;
}

double
kpx_estimate_deviations(KpxEstimator estimator, const KpxUnitSums *sums, const KpxUnitSums *total, size_t begin, size_t end)
{
	double value = kpx_estimate(estimator, total);
	double squares = 0;

	for (size_t u = begin; u < end; u++)
	{
		double numerator;
		double denominator;

		parts(estimator, &sums[u], &numerator, &denominator);
		numerator -= value * denominator;
		squares += numerator * numerator;
	}
	return squares;
}

double
kpx_estimate_std_error(KpxEstimator estimator, const KpxUnitSums *total, size_t units, double deviations)
{
	double numerator;
	double denominator;
	bool ratio = estimator == KPX_SNIPS || estimator == KPX_CLIPPED_SNIPS;

	if (units < 2 || isnan(kpx_estimate(estimator, total)))
		return NAN;
	if (!ratio)
		deviations *= (double) units / (double) (units - 1);
	parts(estimator, total, &numerator, &denominator);
	return sqrt(deviations) / denominator;
}

void
kpx_bootstrap_add(const KpxUnitSums *sums, size_t units, uint64_t seed, uint64_t replicate, size_t begin, size_t end,
				  KpxReplicate *drawn)
{
	for (size_t draw = begin; draw < end; draw++)
	{
		/* the high word of a 128-bit product: uniform in [0, units) */
		const KpxUnitSums *s = &sums[(size_t) (((unsigned __int128) kpx_random(seed, replicate, draw) * units) >> 64)];

		kpx_unit_sums_add(&drawn->total, s);
		for (int e = 0; e < KPX_ESTIMATORS; e++)
		{
			double numerator;
			double denominator;

			parts(e, s, &numerator, &denominator);
			drawn->squares[e] += numerator * numerator;
			drawn->products[e] += numerator * denominator;
			drawn->denominators[e] += denominator * denominator;
		}
	}
}

double
kpx_bootstrap_t(KpxEstimator estimator, const KpxReplicate *drawn, size_t units, double value)
{
	double own = kpx_estimate(estimator, &drawn->total);
	double deviations = drawn->squares[estimator] - own * (2 * drawn->products[estimator] - own * drawn->denominators[estimator]);
	double error = kpx_estimate_std_error(estimator, &drawn->total, units, fmax(deviations, 0));

	if (fabs(own - value) <= ROUNDING * fabs(value))
		return 0;
	/* what is left of equal contributions is rounding */
	if (deviations <= 1e-12 * drawn->squares[estimator])
		return copysign(INFINITY, own - value);
	return (own - value) / error;
}

static int
compare_values(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	if (isnan(x) || isnan(y))
		return isnan(x) - isnan(y);
	return x < y ? -1 : x > y;
}

size_t
kpx_sort_values(double *values, size_t n)
{
	if (n > 1)
		qsort(values, n, sizeof(double), compare_values);
	while (n > 0 && isnan(values[n - 1]))
		n--;
	return n;
}

double
kpx_quantile(const double *values, size_t n, double p)
{
	double at = p * (double) (n - 1);
	size_t low = (size_t) at;

	if (n == 0)
		return NAN;
	if (low + 1 >= n)
		return values[n - 1];
	if (isinf(values[low]) || isinf(values[low + 1]))
		return isinf(values[low]) || at > (double) low ? values[isinf(values[low]) ? low : low + 1] : values[low];
	return values[low] + (at - (double) low) * (values[low + 1] - values[low]);
}

/* ------------------------------------------------------------ a reward model from the log */

/* Which half a unit belongs to. */
static size_t
half_of(const KpxLog *log, uint64_t seed, size_t i)
{
	return kpx_random(seed, UINT64_C(0x68616C66), log->unit ? log->unit[i] : i) >> 63;
}

/* Of a cell: sums by half, over all rows, and the policy's probability. */
typedef struct Cell
{
	double rows[2];
	double reward[2];
	double weight;
	double probability; /* first row's; NaN once rows differ */
} Cell;

/* Of a context. */
typedef struct Context
{
	double rows;
	double weight;
	double probability; /* sum over its cells; NaN when unknown */
	double baseline[2];
} Context;

/* Over all rows, by half. */
typedef struct Halves
{
	double rows[2];
	double reward[2];
	double mean[2];
} Halves;

size_t
kpx_cells_workspace(const KpxCells *cells)
{
	return (sizeof(Halves) + cells->cells * sizeof(Cell) + cells->contexts * sizeof(Context)) / sizeof(double);
}

static Cell *
cells_of(const double *workspace)
{
	return (Cell *) ((Halves *) workspace + 1);
}

static Context *
contexts_of(const KpxCells *cells, const double *workspace)
{
	return (Context *) (cells_of(workspace) + cells->cells);
}

void
kpx_cells_add(const KpxLog *log, const KpxCells *cells, uint64_t seed, size_t begin, size_t end, double *workspace)
{
	Halves *all = (Halves *) workspace;

	for (size_t i = begin; i < end; i++)
	{
		Cell *c = &cells_of(workspace)[cells->cell[i]];
		size_t h = half_of(log, seed, i);

		if (c->rows[0] + c->rows[1] == 0)
			c->probability = log->probability[i];
		else if (fabs(c->probability - log->probability[i]) > ROUNDING)
			c->probability = NAN;
		c->rows[h]++;
		c->reward[h] += log->reward[i];
		c->weight += log->probability[i] / log->propensity[i];
		all->rows[h]++;
		all->reward[h] += log->reward[i];
	}
}

/* What half h, from the other half's rows, says about a cell. */
static double
cell_reward(const Cell *c, int h, const double *mean)
{
	return kpx_smoothed_rate(c->reward[1 - h], c->rows[1 - h], mean[1 - h], 1);
}

static double
cell_probability(const Cell *c, const Context *context)
{
	if (fabs(context->probability - 1) < 1e-6) /* false for NaN */
		return c->probability;
	return context->weight > 0 ? c->weight / context->weight : 0;
}

void
kpx_cells_finish(const KpxCells *cells, double *workspace)
{
	Halves *all = (Halves *) workspace;
	const Cell *cell = cells_of(workspace);
	Context *context = contexts_of(cells, workspace);

	for (int h = 0; h < 2; h++)
		all->mean[h] = all->rows[h] > 0 ? all->reward[h] / all->rows[h]
										: (all->reward[0] + all->reward[1]) / fmax(all->rows[0] + all->rows[1], 1);
	for (size_t c = 0; c < cells->cells; c++)
	{
		Context *x = &context[cells->context[c]];

		x->rows += cell[c].rows[0] + cell[c].rows[1];
		x->weight += cell[c].weight;
		x->probability += cell[c].probability;
	}
	for (size_t c = 0; c < cells->cells; c++)
	{
		Context *x = &context[cells->context[c]];

		for (int h = 0; h < 2; h++)
			x->baseline[h] += cell_probability(&cell[c], x) * cell_reward(&cell[c], h, all->mean);
	}
}

void
kpx_cells_predict(const KpxLog *log, const KpxCells *cells, uint64_t seed, size_t begin, size_t end, const double *workspace,
				  double *predicted, double *baseline, double *direct)
{
	const Halves *all = (const Halves *) workspace;

	for (size_t i = begin; i < end; i++)
	{
		const Cell *c = &cells_of(workspace)[cells->cell[i]];
		const Context *x = &contexts_of(cells, workspace)[cells->context[cells->cell[i]]];
		size_t h = half_of(log, seed, i);
		double frequency = (c->rows[0] + c->rows[1]) / x->rows;

		predicted[i] = cell_reward(c, (int) h, all->mean);
		baseline[i] = x->baseline[h];
		direct[i] = baseline[i] + cell_probability(c, x) / frequency * (log->reward[i] - predicted[i]);
	}
}

double
kpx_smoothed_rate(double successes, double trials, double prior, double prior_weight)
{
	return (successes + prior_weight * prior) / (trials + prior_weight);
}
