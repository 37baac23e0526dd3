/*
 * classify.c
 *	  Judging and calibrating predicted probabilities of a yes-or-no outcome.
 */
#include "classify.h"

#include <math.h>
#include <string.h>

/* Probabilities are not negative, so that their bits as integers are in order. */
static uint32_t
sort_key(KpxPrediction p)
{
	uint32_t bits;

	memcpy(&bits, &p.probability, sizeof(bits));
	return bits;
}

void
kpx_sort_predictions(KpxPrediction *prediction, size_t n, KpxPrediction *scratch)
{
	KpxPrediction *from = prediction;
	KpxPrediction *to = scratch;

	for (int shift = 0; shift < 32; shift += 8)
	{
		size_t start[257] = {0};
		KpxPrediction *swap = from;

		for (size_t i = 0; i < n; i++)
			start[((sort_key(from[i]) >> shift) & 255) + 1]++;
		for (int b = 0; b < 256; b++)
			start[b + 1] += start[b];
		for (size_t i = 0; i < n; i++)
			to[start[(sort_key(from[i]) >> shift) & 255]++] = from[i];
		from = to;
		to = swap;
	}
}

double
kpx_auc(const KpxPrediction *sorted, size_t n)
{
	double positives = 0;
	double negatives = 0;
	double below = 0; /* pairs in the right order, ties half */

	for (size_t i = 0; i < n;)
	{
		double tied_positives = 0;
		double tied_negatives = 0;
		size_t j = i;

		for (; j < n && sorted[j].probability == sorted[i].probability; j++)
			if (sorted[j].outcome)
				tied_positives++;
			else
				tied_negatives++;
		below += tied_positives * (negatives + tied_negatives / 2);
		positives += tied_positives;
		negatives += tied_negatives;
		i = j;
	}
	return below / (positives * negatives);
}

double
kpx_log_loss(const KpxPrediction *prediction, size_t n)
{
	double total = 0;

	for (size_t i = 0; i < n; i++)
	{
		double p = fmin(fmax(prediction[i].probability, 1e-7), 1 - 1e-7);

		total -= log(prediction[i].outcome ? p : 1 - p);
	}
	return total / (double) n;
}

double
kpx_f1(uint64_t tp, uint64_t fp, uint64_t fn)
{
	return tp == 0 ? 0 : 2.0 * (double) tp / (2.0 * (double) tp + (double) fp + (double) fn);
}

double
kpx_best_threshold(const KpxPrediction *sorted, size_t n)
{
	uint64_t positives = 0;
	uint64_t tp = 0;
	uint64_t fp = 0;
	double best = -1;
	double threshold = 0.5;

	for (size_t i = 0; i < n; i++)
		positives += sorted[i].outcome;
	for (size_t i = n; i-- > 0;)
	{
		double f1;

		tp += sorted[i].outcome;
		fp += !sorted[i].outcome;
		if (i > 0 && sorted[i - 1].probability == sorted[i].probability)
			continue;
		f1 = kpx_f1(tp, fp, positives - tp);
		if (f1 > best)
		{
			best = f1;
			threshold = sorted[i].probability;
		}
	}
	return threshold;
}

KpxConfusion
kpx_confusion(const KpxPrediction *prediction, size_t n, double threshold)
{
	KpxConfusion c = {threshold, 0, 0, 0, 0};

	for (size_t i = 0; i < n; i++)
	{
		bool called = prediction[i].probability >= threshold;

		if (prediction[i].outcome)
			*(called ? &c.true_positive : &c.false_negative) += 1;
		else
			*(called ? &c.false_positive : &c.true_negative) += 1;
	}
	return c;
}

void
kpx_calibration(const KpxPrediction *sorted, size_t n, int bins, KpxCalibrationBin *bin)
{
	for (int b = 0; b < bins; b++)
	{
		size_t begin = (size_t) ((double) n * b / bins);
		size_t end = b + 1 == bins ? n : (size_t) ((double) n * (b + 1) / bins);
		double predicted = 0;
		double observed = 0;

		for (size_t i = begin; i < end; i++)
		{
			predicted += sorted[i].probability;
			observed += sorted[i].outcome;
		}
		bin[b] = (KpxCalibrationBin){end - begin, end > begin ? predicted / (double) (end - begin) : NAN,
									 end > begin ? observed / (double) (end - begin) : NAN};
	}
}

/* ------------------------------------------------------------ Platt */

typedef struct Fit
{
	const double *logit;
	const uint8_t *outcome;
	size_t n;
	double target[2]; /* of outcome 0 and 1: smoothed, so that a separable set has a finite answer */
} Fit;

static double
softplus(double x)
{
	return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static double
objective(const Fit *fit, KpxPlatt p)
{
	double total = 0;

	for (size_t i = 0; i < fit->n; i++)
	{
		double x = p.slope * fit->logit[i] + p.intercept;

		total += softplus(x) - fit->target[fit->outcome[i]] * x;
	}
	return total;
}

/* Newton with backtracking; the slope stays what it is unless both are free. */
static KpxPlatt
newton(const Fit *fit, KpxPlatt p, bool both)
{
	double value = objective(fit, p);

	for (int iteration = 0; iteration < 100; iteration++)
	{
		double h11 = 1e-12,
			   h22 = 1e-12,
			   h12 = 0,
			   g1 = 0,
			   g2 = 0;
		double d1 = 0,
			   d2,
			   step = 1;

		for (size_t i = 0; i < fit->n; i++)
		{
			double z = fit->logit[i];
			double x = p.slope * z + p.intercept;
			double e = exp(-fabs(x));
			double s = (x >= 0 ? 1 : e) / (1 + e);
			double w = e / ((1 + e) * (1 + e));
			double g = s - fit->target[fit->outcome[i]];

			g1 += g * z;
			g2 += g;
			h11 += w * z * z;
			h12 += w * z;
			h22 += w;
		}
		if (fabs(g2) < 1e-9 * (double) fit->n && (!both || fabs(g1) < 1e-9 * (double) fit->n))
			break;
		if (both)
		{
			double determinant = h11 * h22 - h12 * h12;

			if (!(determinant > 0))
				break;
			d1 = -(h22 * g1 - h12 * g2) / determinant;
			d2 = -(h11 * g2 - h12 * g1) / determinant;
		}
		else
			d2 = -g2 / h22;
		for (; step >= 1e-10; step /= 2)
		{
			KpxPlatt next = {p.slope + step * d1, p.intercept + step * d2};
			double next_value = objective(fit, next);

			if (next_value < value + 1e-4 * step * (g1 * d1 + g2 * d2))
			{
				p = next;
				value = next_value;
				break;
			}
		}
		if (step < 1e-10)
			break;
	}
	return p;
}

KpxPlatt
kpx_platt_fit(const double *logit, const uint8_t *outcome, size_t n)
{
	Fit fit = {logit, outcome, n, {0, 1}};
	KpxPlatt platt = {1, 0};
	double positives = 0;

	if (n == 0)
		return platt;
	for (size_t i = 0; i < n; i++)
		positives += outcome[i];
	fit.target[1] = (positives + 1) / (positives + 2);
	fit.target[0] = 1 / ((double) n - positives + 2);
	if (positives > 0 && positives < (double) n)
		platt = newton(&fit, platt, true);
	if (!(platt.slope > 0) || positives == 0 || positives == (double) n)
		platt = newton(&fit, (KpxPlatt){1, 0}, false);
	return platt;
}
