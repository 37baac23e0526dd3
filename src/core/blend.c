/*
 * blend.c
 *	  Weights of several scores, fitted on lists in which one item was chosen.
 */
#include "blend.h"

#include <math.h>
#include <string.h>

static double
utility(const float *score, const double *beta, int n)
{
	double sum = 0;

	for (int k = 0; k < n; k++)
		sum += beta[k] * score[k];
	return sum;
}

static double
list_loss(const KpxBlendLists *lists, size_t l, const double *beta, double *gradient, double *hessian)
{
	int n = lists->n_scores;
	const float *score = lists->score + lists->offset[l] * n;
	size_t candidates = lists->offset[l + 1] - lists->offset[l];
	double mean[KPX_BLEND_MAX] = {0};
	double square[KPX_BLEND_MAX * KPX_BLEND_MAX] = {0};
	double largest = -INFINITY;
	double total = 0;

	if (candidates == 0)
		return 0;
	for (size_t c = 0; c < candidates; c++)
		largest = fmax(largest, utility(score + c * n, beta, n));
	for (size_t c = 0; c < candidates; c++)
	{
		double e = exp(utility(score + c * n, beta, n) - largest);

		total += e;
		for (int i = 0; i < n && gradient; i++)
		{
			mean[i] += e * score[c * n + i];
			for (int j = 0; j < n; j++)
				square[i * n + j] += e * score[c * n + i] * score[c * n + j];
		}
	}
	for (int i = 0; i < n && gradient; i++)
	{
		gradient[i] += mean[i] / total - score[i];
		for (int j = 0; j < n && hessian; j++)
			hessian[i * n + j] += square[i * n + j] / total - mean[i] * mean[j] / (total * total);
	}
	return log(total) + largest - utility(score, beta, n);
}

double
kpx_blend_loss(const KpxBlendLists *lists, size_t begin, size_t end, const double *beta, double *gradient, double *hessian)
{
	double loss = 0;

	for (size_t l = begin; l < end; l++)
		loss += list_loss(lists, l, beta, gradient, hessian);
	return loss;
}

/* Mean of the gains of ranks above + 1 .. above + equal, those beyond depth being 0. */
static double
mean_gain(size_t above, size_t equal, size_t depth)
{
	double sum = 0;

	for (size_t rank = above + 1; rank <= above + equal && rank <= depth; rank++)
		sum += 1 / log2(1 + (double) rank);
	return sum / (double) equal;
}

void
kpx_blend_ndcg(const KpxBlendLists *lists, size_t begin, size_t end, const double *beta, size_t depth, int without, float *value)
{
	for (size_t l = begin; l < end; l++)
	{
		const float *score = lists->score + lists->offset[l] * lists->n_scores;
		size_t candidates = lists->offset[l + 1] - lists->offset[l];
		double chosen = candidates ? utility(score, beta, lists->n_scores) : 0;
		size_t above = 0;
		size_t equal = 1;

		for (size_t c = 1; c < candidates; c++)
		{
			double other;

			if (without >= 0 && score[c * lists->n_scores + without] != 0)
				continue;
			other = utility(score + c * lists->n_scores, beta, lists->n_scores);
			above += other > chosen;
			equal += other == chosen;
		}
		value[l - begin] = candidates ? (float) mean_gain(above, equal, depth) : 0;
	}
}

/* Mean of a - b over lists, and its standard error. */
static double
mean_difference(const float *a, const float *b, size_t lists, double *error)
{
	double mean = 0;
	double square = 0;

	for (size_t l = 0; l < lists; l++)
		mean += ((double) a[l] - b[l]) / (double) lists;
	for (size_t l = 0; l < lists; l++)
		square += ((double) a[l] - b[l] - mean) * ((double) a[l] - b[l] - mean);
	*error = sqrt(square / (double) (lists - 1) / (double) lists);
	return mean;
}

int
kpx_blend_gives_way(const float *value, size_t lists, int n_parts)
{
	int best = -1;
	double best_lead = 0;
	double best_error = 0;

	for (int part = 0; part < n_parts && lists > 1; part++)
	{
		double error;
		double lead = mean_difference(value, value + ((size_t) part + 1) * lists, lists, &error);

		if (best < 0 || lead < best_lead)
		{
			best = part;
			best_lead = lead;
			best_error = error;
		}
	}
	return best_lead > best_error ? -1 : best;
}

/* Solves a x = b in place of b by Cholesky; a is overwritten. */
static bool
solve(int n, double *a, double *b)
{
	for (int j = 0; j < n; j++)
	{
		for (int k = 0; k < j; k++)
			for (int i = j; i < n; i++)
				a[i * n + j] -= a[i * n + k] * a[j * n + k];
		if (!(a[j * n + j] > 0) || !isfinite(a[j * n + j]))
			return false;
		a[j * n + j] = sqrt(a[j * n + j]);
		for (int i = j + 1; i < n; i++)
			a[i * n + j] /= a[j * n + j];
	}
	for (int i = 0; i < n; i++)
	{
		for (int k = 0; k < i; k++)
			b[i] -= a[i * n + k] * b[k];
		b[i] /= a[i * n + i];
	}
	for (int i = n; i-- > 0;)
	{
		for (int k = i + 1; k < n; k++)
			b[i] -= a[k * n + i] * b[k];
		b[i] /= a[i * n + i];
	}
	return true;
}

bool
kpx_blend_step(int n, const double *beta, const double *gradient, const double *hessian, double penalty,
			   const double *prior, double *step)
{
	double a[KPX_BLEND_MAX * KPX_BLEND_MAX];

	for (int i = 0; i < n; i++)
	{
		for (int j = 0; j < n; j++)
			a[i * n + j] = hessian[i * n + j] + (i == j ? penalty : 0);
		step[i] = -(gradient[i] + penalty * (beta[i] - prior[i]));
	}
	return solve(n, a, step);
}

void
kpx_blend_begin(const float *popularity, float weight, float constant, const uint8_t *is_cold, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = is_cold[i] ? constant : weight * popularity[i];
}

void
kpx_blend_add(const float *score, float warm, float cold, const uint8_t *is_cold, size_t n, float *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] += isnan(score[i]) ? 0 : (is_cold[i] ? cold : warm) * score[i];
}

float
kpx_blend_popularity(double count, double most)
{
	return most > 0 && count > 0 ? (float) (log1p(count) / log1p(most)) : 0;
}
