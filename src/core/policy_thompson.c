/*
 * policy_thompson.c
 *	  The probability of each candidate to be the best, when each is known but roughly.
 *
 * The largest of independent variables has the distribution M = prod F_i. The part of it
 * that is candidate i's is the integral of M d(ln F_i), since dM = M sum d(ln F_j): cell by
 * cell, the growth of M is shared in proportion to the growth of the ln F_i. So the
 * probabilities sum to 1 whatever the grid, and each is as exact as its cells are small.
 */
#include "policy.h"

#include <math.h>
#include <string.h>

#define CELLS 96
#define LOG_NOTHING (-690.0) /* of a probability of 0, without infinities */
/* The grid reaches from where the best candidate has 6 standard deviations of the logarithm below it to 5 above. */
#define BELOW 6
#define ABOVE 5

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

/* The gain that is z standard deviations of the logarithm above the median. */
static double
quantile(double gain, double mean, double sigma, double z)
{
	return sigma > 0 ? gain - mean + mean * exp(z * sigma - sigma * sigma / 2) : gain;
}

/* ln of the probability of a gain up to x. */
static double
log_probability(double gain, double mean, double sigma, double x)
{
	double y = x - (gain - mean);

	if (sigma == 0)
		return x >= gain ? 0 : LOG_NOTHING;
	if (!(y > 0))
		return LOG_NOTHING;
	return fmax(log(0.5 * erfc(-(log(y / mean) + sigma * sigma / 2) / (sigma * sqrt(2)))), LOG_NOTHING);
}

void
kpx_best_probabilities(const double *gain, const double *mean, const double *spread, size_t n, double *probability, double *work)
{
	double *sigma = work;
	double *last = work + n;
	double *now = work + 2 * n;
	double low = -INFINITY;
	double high = -INFINITY;
	double bend = 0; /* makes cells small near low, where logarithms are steep */
	double before = 0;
	size_t first = 0;

	for (size_t i = 0; i < n; i++)
	{
		sigma[i] = sigma_of(mean[i], spread[i]);
		if (quantile(gain[i], mean[i], sigma[i], -BELOW) > low)
		{
			low = quantile(gain[i], mean[i], sigma[i], -BELOW);
			first = i;
		}
		high = fmax(high, quantile(gain[i], mean[i], sigma[i], ABOVE));
		bend = fmax(bend, fmin(ABOVE * sigma[i], 8));
		probability[i] = 0;
	}
	if (!(high > low))
	{
		probability[first] = 1; /* certain, and above all others */
		return;
	}
	for (size_t i = 0; i < n; i++)
		last[i] = i == first && sigma[i] == 0 ? LOG_NOTHING /* its step is the first thing that happens */
											  : log_probability(gain[i], mean[i], sigma[i], low);
	for (int cell = 1; cell <= CELLS; cell++)
	{
		double x = low + (high - low) * expm1(bend * cell / CELLS) / expm1(bend);
		double growth = 0;
		double after = 0;

		for (size_t i = 0; i < n; i++)
		{
			now[i] = log_probability(gain[i], mean[i], sigma[i], x);
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
