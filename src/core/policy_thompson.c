/*
 * policy_thompson.c
 *	  The probability of each candidate to be the best, when each is known but roughly.
 *
 * The largest of independent variables has the distribution M = prod F_i. The part of it
 * that is candidate i's is the integral of M d(ln F_i), since dM = M sum d(ln F_j): cell by
 * cell, the growth of M is shared in proportion to the growth of the ln F_i. So the
 * probabilities sum to 1 whatever the grid, and each is as exact as its cells are small.
 *
 * Nearly all of the time went into erfc and logarithms of it, one a cell and candidate: hence the
 * table of ln of the normal distribution. Between its points it is off by at most h^2 / 8 = 0.0005,
 * its second derivative being between -1 and 0.
 */
#include "policy.h"

#include <math.h>
#include <string.h>

#define CELLS 64
#define LOG_NOTHING (-690.0) /* of a probability of 0, without infinities */
/* In standard deviations of logarithms: how far the grid reaches below the best candidate, and above all; and the table, to both sides. */
#define BELOW 4
#define ABOVE 4
#define REACH 6
#define TABLE_STEP (2.0 * REACH / (KPX_NORMAL_TABLE - 1))

double
kpx_rate_spread(double click, double click_observations, double convert, double convert_observations)
{
	double c = click * (1 - click) / (click_observations + 1);
	double v = convert * (1 - convert) / (convert_observations + 1);

	return sqrt(c * v + c * convert * convert + v * click * click);
}

/* Standard deviation of the logarithm; 0: certain. */
static double
sigma_of(double mean, double spread)
{
	double ratio = fmin(spread / mean, 1e3);

	return mean > 0 && spread > 0 ? sqrt(log1p(ratio * ratio)) : 0;
}

void
kpx_normal_table(double *table)
{
	for (int i = 0; i < KPX_NORMAL_TABLE; i++)
		table[i] = log(0.5 * erfc((REACH - i * TABLE_STEP) / sqrt(2)));
}

/* ln of the normal distribution at z, from the table. */
static double
log_normal_probability(const double *table, double z)
{
	double at = (z + REACH) / TABLE_STEP;
	int i;

	if (!(at > 0))
		return LOG_NOTHING;
	if (at >= KPX_NORMAL_TABLE - 1)
		return 0;
	i = (int) at;
	return table[i] + (at - i) * (table[i + 1] - table[i]);
}

/* What is known of a candidate's gain: base + exp(centre + sigma * a normal variable). */
typedef struct KpxGain
{
	double base;
	double centre;
	double sigma; /* 0: certain */
	double full; /* what it surely does not exceed; if it is certain, its gain */
} KpxGain;

static KpxGain
gain_of(double gain, double mean, double spread)
{
	double sigma = sigma_of(mean, spread);
	double centre = sigma > 0 ? log(mean) - sigma * sigma / 2 : 0;

	return (KpxGain){gain - mean, centre, sigma, sigma > 0 ? gain - mean + exp(centre + REACH * sigma) : gain};
}

/* The gain that is z standard deviations of the logarithm above the median. */
static double
quantile(const KpxGain *g, double z)
{
	return g->sigma > 0 ? g->base + exp(g->centre + z * g->sigma) : g->full;
}

/* ln of the probability of a gain up to x. */
static double
log_probability(const double *table, const KpxGain *g, double x)
{
	if (x >= g->full)
		return 0;
	if (g->sigma == 0 || !(x > g->base))
		return LOG_NOTHING;
	return log_normal_probability(table, (log(x - g->base) - g->centre) / g->sigma);
}

void
kpx_best_probabilities(const double *table, const double *gain, const double *mean, const double *spread, size_t n,
					   double *probability, double *work)
{
	KpxGain *known = (KpxGain *) work;
	double *last = work + KPX_BEST_WORK(n) - 2 * n;
	double *now = last + n;
	double low = -INFINITY;
	double high = -INFINITY;
	double bend = 0; /* makes cells small near low, where logarithms are steep */
	double ratio;
	double all; /* of the grid, in cells of the first one's size */
	double reach = 1; /* ratio to the power of the cell */
	double before = 0;
	size_t first = 0;

	for (size_t i = 0; i < n; i++)
	{
		known[i] = gain_of(gain[i], mean[i], spread[i]);
		if (quantile(&known[i], -BELOW) > low)
		{
			low = quantile(&known[i], -BELOW);
			first = i;
		}
		high = fmax(high, quantile(&known[i], ABOVE));
		bend = fmax(bend, fmin(ABOVE * known[i].sigma, 8));
		probability[i] = 0;
	}
	if (!(high > low))
	{
		probability[first] = 1; /* certain, and above all others */
		return;
	}
	ratio = exp(bend / CELLS);
	all = expm1(bend);
	for (size_t i = 0; i < n; i++)
		last[i] = i == first && known[i].sigma == 0 ? LOG_NOTHING /* its step is the first thing that happens */
													: log_probability(table, &known[i], low);
	for (int cell = 1; cell <= CELLS; cell++)
	{
		double x = cell == CELLS ? high : low + (high - low) * ((reach *= ratio) - 1) / all;
		double growth = 0;
		double after = 0;

		for (size_t i = 0; i < n; i++)
		{
			now[i] = log_probability(table, &known[i], x);
			growth += now[i] - last[i];
			after += now[i];
		}
		after = exp(after);
		for (size_t i = 0; i < n && growth > 0; i++)
			probability[i] += (after - before) * (now[i] - last[i]) / growth;
		memcpy(last, now, n * sizeof(double));
		before = after;
	}
	for (size_t i = 0; i < n; i++)
		probability[i] /= before; /* what the grid reaches of 1 */
}
