/*
 * ranking.c
 *	  Two heads, P(click) and P(convert | click), learnt from all impressions at once.
 *
 * ranking.h has the model. Losses and their derivatives are written in terms of
 * log-probabilities, so that no logit is too large for them.
 */
#include "ranking.h"

#include <math.h>
#include <string.h>

#include "rng.h"

enum
{
	CLICK,
	CONVERT
};

KpxStatus
kpx_ranker_layout(KpxRanker *ranker, int features, int factors, int positions)
{
	size_t at = 0;
	size_t latent;

	if (features < 0 || features > KPX_MAX_RANKER_FEATURES || factors < 0 || factors > KPX_MAX_RANKER_FACTORS ||
		positions < 1 || positions > KPX_MAX_RANKER_POSITIONS)
		return KPX_BAD_ARGUMENT;
	ranker->features = features;
	ranker->factors = factors;
	ranker->positions = positions;
	ranker->parameter = NULL;
	latent = (size_t) features * (size_t) factors;
	ranker->intercept[CLICK] = at++;
	ranker->intercept[CONVERT] = at++;
	ranker->position = at;
	at += (size_t) positions;
	ranker->undecayed = at;
	for (int head = CLICK; head <= CONVERT; head++)
	{
		ranker->weight[head] = at;
		at += (size_t) features;
	}
	for (int head = CLICK; head <= CONVERT; head++)
	{
		ranker->latent[head] = at;
		at += latent;
	}
	ranker->parameters = at;
	return KPX_OK;
}

static double
logit(double p)
{
	return log(p / (1 - p));
}

void
kpx_ranker_init(KpxRanker *ranker, double click_rate, double convert_rate, uint64_t seed)
{
	memset(ranker->parameter, 0, ranker->parameters * sizeof(double));
	ranker->parameter[ranker->intercept[CLICK]] = logit(click_rate);
	ranker->parameter[ranker->intercept[CONVERT]] = logit(convert_rate);
	for (size_t k = ranker->latent[CLICK]; k < ranker->parameters; k++)
		ranker->parameter[k] = 0.05 * kpx_normal(seed, 0, k);
}

double
kpx_sigmoid(double x)
{
	double e = exp(-fabs(x));

	return (x >= 0 ? 1 : e) / (1 + e);
}

/* log(sigmoid(x)) */
static double
log_sigmoid(double x)
{
	return fmin(x, 0) - log1p(exp(-fabs(x)));
}

/* Sum over the features of an impression of weight[feature] * value. */
static double
linear(const double *weight, const KpxImpressions *imp, size_t row)
{
	const float *dense = imp->dense + row * (size_t) imp->numeric;
	const uint32_t *category = imp->category + row * (size_t) imp->categorical;
	double sum = 0;

	for (int j = 0; j < imp->numeric; j++)
		sum += weight[j] * dense[j];
	for (int j = 0; j < imp->categorical; j++)
		if (category[j] != KPX_NO_CATEGORY)
			sum += weight[category[j]];
	return sum;
}

/* sum[f] = sum of latent[feature][f] * value; returns the pairwise term of Lemma 3.1. */
static double
pairwise(const double *latent, int factors, const KpxImpressions *imp, size_t row, double *sum)
{
	const float *dense = imp->dense + row * (size_t) imp->numeric;
	const uint32_t *category = imp->category + row * (size_t) imp->categorical;
	double total = 0;

	for (int f = 0; f < factors; f++)
	{
		double s = 0;
		double squares = 0;

		for (int j = 0; j < imp->numeric; j++)
		{
			double t = latent[(size_t) j * (size_t) factors + (size_t) f] * dense[j];

			s += t;
			squares += t * t;
		}
		for (int j = 0; j < imp->categorical; j++)
			if (category[j] != KPX_NO_CATEGORY)
			{
				double t = latent[category[j] * (size_t) factors + (size_t) f];

				s += t;
				squares += t * t;
			}
		sum[f] = s;
		total += s * s - squares;
	}
	return total / 2;
}

static double
head_logit(const KpxRanker *ranker, int head, const KpxImpressions *imp, size_t row, double *sum)
{
	const double *p = ranker->parameter;
	double x = p[ranker->intercept[head]] + linear(p + ranker->weight[head], imp, row);

	if (ranker->factors > 0)
		x += pairwise(p + ranker->latent[head], ranker->factors, imp, row, sum);
	return x;
}

void
kpx_ranker_logits(const KpxRanker *ranker, const KpxImpressions *impressions, size_t row, double *click, double *convert)
{
	double sum[KPX_MAX_RANKER_FACTORS];

	*click = head_logit(ranker, CLICK, impressions, row, sum);
	*convert = head_logit(ranker, CONVERT, impressions, row, sum);
}

/* Where the position effect of an impression is; 0 at the first position, which has none. */
static size_t
position_effect(const KpxRanker *ranker, const KpxImpressions *imp, size_t row)
{
	int position = imp->position[row];

	return position == 0 ? 0 : ranker->position + (size_t) (position < ranker->positions ? position : ranker->positions - 1);
}

/*
 * Loss of an impression with these logits, and its derivatives by them. With p q <= 1
 * both ways: 1 - p q = (1 - p) + p (1 - q).
 */
static double
impression_loss(double a, double b, uint8_t label, double *by_a, double *by_b)
{
	double p = kpx_sigmoid(a);
	double q = kpx_sigmoid(b);
	double not_p = kpx_sigmoid(-a);
	double not_q = kpx_sigmoid(-b);
	double loss;

	if (label & KPX_CLICKED)
	{
		loss = -log_sigmoid(a);
		*by_a = -not_p;
	}
	else
	{
		loss = -log_sigmoid(-a);
		*by_a = p;
	}
	if (label & KPX_CONVERTED)
	{
		loss -= log_sigmoid(a) + log_sigmoid(b);
		*by_a -= not_p;
		*by_b = -not_q;
	}
	else
	{
		double not_pq = not_p + p * not_q;
		double odds = not_pq > 0 ? p * q / not_pq : 1 / (not_p + not_q + 1e-300);

		loss -= not_pq > 0 ? log(not_pq) : fmax(log_sigmoid(-a), log_sigmoid(-b));
		*by_a += odds * not_p;
		*by_b = odds * not_q;
	}
	return loss;
}

void
kpx_ranker_outcome_logits(const KpxRanker *ranker, const KpxImpressions *impressions, size_t row, bool at_position,
						  double *click, double *both)
{
	size_t effect = at_position ? position_effect(ranker, impressions, row) : 0;
	double convert;
	double not_both;

	kpx_ranker_logits(ranker, impressions, row, click, &convert);
	*click += effect ? ranker->parameter[effect] : 0;
	not_both = kpx_sigmoid(-*click) + kpx_sigmoid(*click) * kpx_sigmoid(-convert);
	*both = log_sigmoid(*click) + log_sigmoid(convert) - log(fmax(not_both, 1e-300));
}

double
kpx_ranker_loss(const KpxRanker *ranker, const KpxImpressions *impressions, const uint32_t *order, size_t begin, size_t end)
{
	double total = 0;

	for (size_t i = begin; i < end; i++)
	{
		size_t row = order ? order[i] : i;
		size_t effect = position_effect(ranker, impressions, row);
		double click;
		double convert;
		double by_a;
		double by_b;

		kpx_ranker_logits(ranker, impressions, row, &click, &convert);
		total += impression_loss(click + (effect ? ranker->parameter[effect] : 0), convert, impressions->label[row], &by_a, &by_b);
	}
	return total;
}

/* gradient of one head: by its logit times the derivative of the logit. */
static void
add_head(const KpxRanker *ranker, int head, const KpxImpressions *imp, size_t row, double by, const double *sum,
		 double *gradient)
{
	const float *dense = imp->dense + row * (size_t) imp->numeric;
	const uint32_t *category = imp->category + row * (size_t) imp->categorical;
	const double *latent = ranker->parameter + ranker->latent[head];
	double *weight_gradient = gradient + ranker->weight[head];
	double *latent_gradient = gradient + ranker->latent[head];
	size_t factors = (size_t) ranker->factors;

	gradient[ranker->intercept[head]] += by;
	for (int j = 0; j < imp->numeric; j++)
	{
		double x = dense[j];

		weight_gradient[j] += by * x;
		for (size_t f = 0; f < factors; f++)
			latent_gradient[(size_t) j * factors + f] += by * x * (sum[f] - latent[(size_t) j * factors + f] * x);
	}
	for (int j = 0; j < imp->categorical; j++)
		if (category[j] != KPX_NO_CATEGORY)
		{
			size_t at = category[j] * factors;

			weight_gradient[category[j]] += by;
			for (size_t f = 0; f < factors; f++)
				latent_gradient[at + f] += by * (sum[f] - latent[at + f]);
		}
}

double
kpx_ranker_gradient(const KpxRanker *ranker, const KpxImpressions *impressions, const uint32_t *order,
					size_t begin, size_t end, double *gradient)
{
	double total = 0;

	for (size_t i = begin; i < end; i++)
	{
		size_t row = order ? order[i] : i;
		size_t effect = position_effect(ranker, impressions, row);
		double click_sum[KPX_MAX_RANKER_FACTORS];
		double convert_sum[KPX_MAX_RANKER_FACTORS];
		double a = head_logit(ranker, CLICK, impressions, row, click_sum);
		double b = head_logit(ranker, CONVERT, impressions, row, convert_sum);
		double by_a;
		double by_b;

		total += impression_loss(a + (effect ? ranker->parameter[effect] : 0), b, impressions->label[row], &by_a, &by_b);
		if (effect)
			gradient[effect] += by_a;
		add_head(ranker, CLICK, impressions, row, by_a, click_sum, gradient);
		add_head(ranker, CONVERT, impressions, row, by_b, convert_sum, gradient);
	}
	return total;
}

/* One AdamW step on the mean gradient of n impressions. */
static void
adamw_step(KpxAdamW *adam, KpxRanker *ranker, double n)
{
	const double beta1 = 0.9;
	const double beta2 = 0.999;
	double *p = ranker->parameter;
	double correct1;
	double correct2;

	adam->step++;
	correct1 = 1 - pow(beta1, (double) adam->step);
	correct2 = 1 - pow(beta2, (double) adam->step);
	for (size_t k = 0; k < ranker->parameters; k++)
	{
		double g = adam->gradient[k] / n;

		adam->first[k] = beta1 * adam->first[k] + (1 - beta1) * g;
		adam->second[k] = beta2 * adam->second[k] + (1 - beta2) * g * g;
		if (k >= ranker->undecayed)
			p[k] -= adam->rate * adam->decay * p[k];
		p[k] -= adam->rate * (adam->first[k] / correct1) / (sqrt(adam->second[k] / correct2) + 1e-8);
	}
}

KpxStatus
kpx_ranker_epoch(KpxRanker *ranker, const KpxImpressions *impressions, const uint32_t *order, size_t n, size_t batch,
				 KpxAdamW *adam, size_t *cursor, double budget, double *loss)
{
	double row_cost = 4.0 * (impressions->numeric + impressions->categorical + 4) * (1 + ranker->factors) + 100;

	if (batch == 0)
		return KPX_BAD_ARGUMENT;
	while (*cursor < n)
	{
		size_t end = n - *cursor < batch ? n : *cursor + batch;

		if (budget <= 0)
			return KPX_MORE;
		memset(adam->gradient, 0, ranker->parameters * sizeof(double));
		*loss += kpx_ranker_gradient(ranker, impressions, order, *cursor, end, adam->gradient);
		adamw_step(adam, ranker, (double) (end - *cursor));
		budget -= row_cost * (double) (end - *cursor) + 20.0 * (double) ranker->parameters;
		*cursor = end;
		if (!isfinite(*loss))
			return KPX_NOT_FINITE;
	}
	return KPX_OK;
}

void
kpx_shuffle(uint32_t *order, size_t n, uint64_t seed, uint64_t epoch)
{
	for (size_t i = n; i > 1; i--)
	{
		size_t j = (size_t) (kpx_random(seed, epoch, i) % i);
		uint32_t swap = order[i - 1];

		order[i - 1] = order[j];
		order[j] = swap;
	}
}

void
kpx_moments(const float *dense, int numeric, const uint32_t *order, size_t n, double *mean, double *sd)
{
	for (int j = 0; j < numeric; j++)
	{
		double known = 0;
		double m = 0;
		double m2 = 0;

		/* Welford 1962 */
		for (size_t i = 0; i < n; i++)
		{
			double x = dense[(size_t) order[i] * (size_t) numeric + (size_t) j];
			double delta = x - m;

			if (isnan(x))
				continue;
			known++;
			m += delta / known;
			m2 += delta * (x - m);
		}
		mean[j] = m;
		sd[j] = known > 0 ? sqrt(m2 / known) : 0;
		if (!(sd[j] > 1e-6 * (1 + fabs(m))))
			sd[j] = 1;
	}
}

void
kpx_standardise(float *row, int numeric, const double *mean, const double *sd)
{
	for (int j = 0; j < numeric; j++)
		row[j] = isnan(row[j]) ? 0 : (float) ((row[j] - mean[j]) / sd[j]);
}
