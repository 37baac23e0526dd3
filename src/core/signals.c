/*
 * signals.c
 *	  What is known of a user and a candidate before anybody has seen it: the ranker's features.
 */
#include "signals.h"

#include <math.h>

void
kpx_signal_similarity(const float *similarity, const float *weight, size_t n, float *mean, float *largest)
{
	double sum = 0;
	double total = 0;
	float most = NAN;

	for (size_t j = 0; j < n; j++)
	{
		if (isnan(similarity[j]))
			continue;
		sum += (double) weight[j] * similarity[j];
		total += weight[j];
		if (!(most >= similarity[j]))
			most = similarity[j];
	}
	*mean = total > 0 ? (float) (sum / total) : NAN;
	*largest = most;
}

float
kpx_signal_module(double in_module, double in_all, int modules)
{
	return (float) log((in_module + 1) / (in_all + modules) * modules);
}

float
kpx_signal_category(double in_category, double in_module)
{
	return (float) ((in_category + 0.5) / (in_module + 1));
}

float
kpx_signal_price(double price, const double *prices, const float *weight, size_t n)
{
	double sum = 0;
	double total = 0;

	for (size_t j = 0; j < n; j++)
		if (prices[j] >= 0)
		{
			sum += weight[j] * log1p(prices[j]);
			total += weight[j];
		}
	return price >= 0 && total > 0 ? (float) -fabs(log1p(price) - sum / total) : NAN;
}

float
kpx_signal_popularity(double share, size_t items)
{
	return (float) log(share * (double) items + 0.1);
}

float
kpx_signal_segment(double share, double share_of_all, size_t items)
{
	return kpx_signal_popularity(isnan(share) ? 0 : share, items) - kpx_signal_popularity(share_of_all, items);
}

float
kpx_signal_log(double x)
{
	return x >= 0 ? (float) log1p(x) : NAN;
}

float
kpx_signal_logit(double p)
{
	p = fmin(fmax(p, 1e-6), 1 - 1e-6);
	return (float) log(p / (1 - p));
}
