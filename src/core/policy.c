/*
 * policy.c
 *	  Choosing a slate by greedy, with exact probabilities.
 */
#include "policy.h"

#include <math.h>
#include <string.h>

/* Pseudo-count of calibration, as a share of k. */
#define CALIBRATION_FLOOR 0.1

static bool
add_array(size_t *total, size_t n, size_t size)
{
	size_t bytes;

	/* 63: kpx_align itself must not wrap around */
	return kpx_mul_size(n, size, &bytes) && bytes <= SIZE_MAX - 63 && kpx_add_size(*total, kpx_align(bytes), total);
}

/* Doubles of slate->match. */
static size_t
match_size(size_t top)
{
	return KPX_NORMAL_TABLE + 3 * top + KPX_BEST_WORK(top);
}

size_t
kpx_slate_workspace(size_t n, const KpxSlateRules *rules)
{
	size_t total = 0;
	size_t column;

	if (!kpx_mul_size(n, rules->k, &column) || !add_array(&total, column, sizeof(double)) ||
		!add_array(&total, n, sizeof(double)) || !add_array(&total, n, sizeof(bool)) ||
		!add_array(&total, rules->modules, sizeof(uint32_t)) || !add_array(&total, rules->k, sizeof(uint32_t)) ||
		(rules->thompson && (rules->top > SIZE_MAX / 16 || !add_array(&total, match_size(rules->top), sizeof(double)))))
		return 0;
	return total;
}

/* Mean of the k largest values, found by k passes: n and k are small. */
static double
scale_of(const KpxCandidate *candidate, size_t n, size_t k, bool *seen)
{
	double sum = 0;
	size_t taken = 0;

	memset(seen, 0, n * sizeof(bool));
	while (taken < k && taken < n)
	{
		size_t best = n;

		for (size_t i = 0; i < n; i++)
			if (!seen[i] && candidate[i].value >= 0 && (best == n || candidate[i].value > candidate[best].value))
				best = i;
		if (best == n)
			break;
		seen[best] = true;
		sum += candidate[best].value;
		taken++;
	}
	return taken ? fmax(sum / (double) taken, 1e-300) : 1e-300;
}

void
kpx_slate_begin(KpxSlate *slate, const KpxCandidate *candidate, size_t n, const KpxSlateRules *rules, void *workspace)
{
	char *at = workspace;

	*slate = (KpxSlate){.candidate = candidate, .n = n, .rules = rules};
	slate->column = (double *) at;
	at += kpx_align(n * rules->k * sizeof(double));
	slate->residual = (double *) at;
	at += kpx_align(n * sizeof(double));
	slate->taken = (bool *) at;
	at += kpx_align(n * sizeof(bool));
	slate->module_count = (uint32_t *) at;
	at += kpx_align(rules->modules * sizeof(uint32_t));
	slate->used = (uint32_t *) at;
	at += kpx_align(rules->k * sizeof(uint32_t));
	slate->match = rules->thompson ? (double *) at : NULL;
	if (rules->thompson)
		kpx_normal_table(slate->match);
	slate->scale = scale_of(candidate, n, rules->k, slate->taken);
	memset(slate->taken, 0, n * sizeof(bool));
	memset(slate->module_count, 0, rules->modules * sizeof(uint32_t));
	for (size_t i = 0; i < n; i++)
		slate->residual[i] = 2; /* I + K on the diagonal */
}

static bool
same_category(const KpxCandidate *a, const KpxCandidate *b)
{
	return a->category == b->category && a->category != KPX_NO_CATEGORY;
}

/* How many of its module and category are shown. */
static uint32_t
alike(const KpxSlate *slate, const KpxCandidate *c)
{
	uint32_t n = 0;

	for (size_t s = 0; s < slate->shown; s++)
	{
		const KpxCandidate *other = &slate->candidate[slate->used[s]];

		n += other->module == c->module && same_category(other, c);
	}
	return n;
}

KpxPlaceFit
kpx_slate_fits(const KpxSlate *slate, size_t i)
{
	const KpxCandidate *c = &slate->candidate[i];

	if (slate->taken[i])
		return KPX_TAKEN;
	if (!(c->value >= 0))
		return KPX_NO_VALUE;
	if (slate->shown >= slate->rules->k)
		return KPX_SLATE_FULL;
	if (slate->module_count[c->module] >= slate->rules->room[c->module])
		return KPX_MODULE_FULL;
	return alike(slate, c) >= slate->rules->category_room ? KPX_CATEGORY_FULL : KPX_FITS;
}

/* What one more of a share p, of which count are shown, adds to a calibration term. */
static double
calibration_gain(const KpxSlateRules *rules, double p, double count)
{
	double floor = CALIBRATION_FLOOR * (double) rules->k * p;

	return p > 0 ? p * log((floor + count + 1) / (floor + count)) : 0;
}

double
kpx_slate_gain(const KpxSlate *slate, size_t i)
{
	const KpxSlateRules *rules = slate->rules;
	const KpxCandidate *c = &slate->candidate[i];
	double gain = c->value;

	if (rules->diversity > 0)
		gain += rules->diversity * slate->scale * log(slate->residual[i]);
	if (rules->calibration > 0 && rules->mix)
		gain += rules->calibration * slate->scale * calibration_gain(rules, rules->mix[c->module], slate->module_count[c->module]);
	if (rules->category_calibration > 0)
		gain += rules->category_calibration * slate->scale * calibration_gain(rules, c->share, alike(slate, c));
	return gain;
}

/* Gains of the n choices to Thompson's probabilities. */
static void
match_probabilities(const KpxSlate *slate, const uint32_t *choice, double *probability, size_t n)
{
	double *gain = slate->match + KPX_NORMAL_TABLE;
	double *mean = gain + n;
	double *spread = mean + n;

	memcpy(gain, probability, n * sizeof(double));
	for (size_t c = 0; c < n; c++)
	{
		mean[c] = slate->candidate[choice[c]].value + slate->candidate[choice[c]].cost;
		spread[c] = slate->candidate[choice[c]].spread;
	}
	kpx_best_probabilities(slate->match, gain, mean, spread, n, probability, spread + n);
}

size_t
kpx_slate_choices(const KpxSlate *slate, uint32_t *choice, double *probability)
{
	size_t top = slate->rules->top;
	size_t n = 0;

	for (size_t i = 0; i < slate->n; i++)
	{
		double gain;
		size_t at;

		if (kpx_slate_fits(slate, i) != KPX_FITS)
			continue;
		gain = kpx_slate_gain(slate, i);
		if (n == top && gain <= probability[n - 1])
			continue;
		/* insertion into the best so far; probability holds gains until the end */
		for (at = n < top ? n++ : n - 1; at > 0 && gain > probability[at - 1]; at--)
		{
			choice[at] = choice[at - 1];
			probability[at] = probability[at - 1];
		}
		choice[at] = (uint32_t) i;
		probability[at] = gain;
	}
	if (slate->rules->thompson && n > 0)
		match_probabilities(slate, choice, probability, n);
	for (size_t c = 0; c < n; c++)
	{
		double best = slate->rules->thompson ? probability[c] : c == 0;

		probability[c] = slate->rules->epsilon / (double) n + (1 - slate->rules->epsilon) * best;
	}
	return n;
}

void
kpx_slate_add(KpxSlate *slate, size_t i)
{
	size_t k = slate->rules->k;
	size_t at = slate->shown;
	const KpxCandidate *c = &slate->candidate[i];
	const double *own = slate->column + i * k;
	double root = sqrt(slate->residual[i]);

	if (slate->rules->diversity > 0)
		for (size_t j = 0; j < slate->n; j++)
		{
			const KpxCandidate *other = &slate->candidate[j];
			double *column = slate->column + j * k;
			double e = 0.5 * (other->module == c->module) + 0.5 * same_category(other, c);

			if (slate->taken[j] || j == i)
				continue;
			for (size_t s = 0; s < at; s++)
				e -= own[s] * column[s];
			column[at] = e / root;
			/* at least 1 in exact arithmetic */
			slate->residual[j] = fmax(slate->residual[j] - column[at] * column[at], 1);
		}
	slate->taken[i] = true;
	slate->module_count[c->module]++;
	slate->used[at] = (uint32_t) i;
	slate->shown++;
}

size_t
kpx_slate_draw(const double *probability, size_t choices, double u)
{
	size_t c = 0;

	while (c + 1 < choices && u >= probability[c])
		u -= probability[c++];
	return c;
}

double
kpx_dual_price(double price, double step, double spent, double due)
{
	return fmax(price + step * (spent - due), 0);
}
