/*
 * profile_interests.c
 *	  What a profile says: how many items, which interests, how alike two users are; and a profile
 *	  without some of its modules.
 */
#include "profile.h"

#include <math.h>
#include <string.h>

double
kpx_profile_items(const KpxProfile *profile, const KpxProfileModule *module)
{
	const uint32_t *minima = profile->minima + module->minimum;
	uint32_t n = 0;

	if (module->sketched && module->minima < KPX_PROFILE_MINIMA)
		return module->minima;
	if (module->sketched)
		return (KPX_PROFILE_MINIMA - 1) * 0x1p32 / ((double) minima[KPX_PROFILE_MINIMA - 1] + 1);
	for (uint32_t f = module->feature; f < module->feature + module->features; f++)
		n += kpx_name_is_item(profile->features[f].name);
	return n;
}

/* Heapsort: no memory, never worse than n log n. */
static void
sift_down(KpxInterest *a, size_t root, size_t n, int (*compare)(const KpxInterest *, const KpxInterest *))
{
	for (;;)
	{
		size_t child = 2 * root + 1;
		KpxInterest swap;

		if (child >= n)
			return;
		if (child + 1 < n && compare(&a[child + 1], &a[child]) > 0)
			child++;
		if (compare(&a[root], &a[child]) >= 0)
			return;
		swap = a[root];
		a[root] = a[child];
		a[child] = swap;
		root = child;
	}
}

static void
sort_interests(KpxInterest *a, size_t n, int (*compare)(const KpxInterest *, const KpxInterest *))
{
	for (size_t root = n / 2; root-- > 0;)
		sift_down(a, root, n, compare);
	for (size_t end = n; end-- > 1;)
	{
		KpxInterest swap = a[0];

		a[0] = a[end];
		a[end] = swap;
		sift_down(a, 0, end, compare);
	}
}

static int
by_name(const KpxInterest *a, const KpxInterest *b)
{
	return kpx_name_compare(a->name, b->name);
}

static int
by_weight(const KpxInterest *a, const KpxInterest *b)
{
	if (a->weight != b->weight)
		return a->weight > b->weight ? -1 : 1;
	return kpx_name_compare(a->name, b->name);
}

void
kpx_interests_rank(KpxInterest *interests, uint32_t n)
{
	sort_interests(interests, n, by_weight);
}

uint32_t
kpx_profile_interests(const KpxProfile *profile, int module, KpxInterest *interests)
{
	uint32_t n = 0;
	uint32_t kept = 0;

	for (uint32_t m = 0; m < profile->n_modules; m++)
		for (uint32_t f = profile->modules[m].feature;
			 f < profile->modules[m].feature + profile->modules[m].features && (module < 0 || m == (uint32_t) module); f++)
			interests[n++] = (KpxInterest){profile->features[f].name, profile->features[f].weight + profile->features[f].timeless};
	if (module >= 0 || profile->n_modules < 2)
		return n;
	sort_interests(interests, n, by_name);
	for (uint32_t i = 0; i < n; i++)
	{
		if (kept > 0 && kpx_name_compare(interests[kept - 1].name, interests[i].name) == 0)
			interests[kept - 1].weight += interests[i].weight;
		else
			interests[kept++] = interests[i];
	}
	return kept;
}

/* floor(newest / half_life) + 1 of the profile's dated events; its exponent without any. */
static int64_t
newest_exponent(const KpxProfile *profile)
{
	int64_t newest = INT64_MIN;

	for (uint32_t k = 0; k < profile->n_kinds; k++)
		if (profile->kinds[k].dated > 0 && profile->kinds[k].last > newest)
			newest = profile->kinds[k].last;
	if (profile->half_life == 0 || newest == INT64_MIN)
		return profile->exponent;
	return newest / profile->half_life - (newest % profile->half_life < 0) + 1;
}

/* Weights as of another exponent: exact, since they are multiplied by a power of two. */
static void
move_exponent(KpxProfile *profile, int64_t exponent)
{
	int64_t shift = profile->exponent - exponent;
	int power = (int) (shift > 4000 ? 4000 : shift < -4000 ? -4000
														   : shift);

	for (uint32_t f = 0; f < profile->n_features; f++)
		profile->features[f].weight = fmin(ldexp(profile->features[f].weight, power), KPX_PROFILE_MAX_WEIGHT);
	for (uint32_t m = 0; m < profile->n_modules; m++)
		profile->modules[m].lost = fmin(ldexp(profile->modules[m].lost, power), KPX_PROFILE_MAX_WEIGHT);
	profile->exponent = exponent;
}

void
kpx_profile_keep(KpxProfile *profile, const bool *keep)
{
	KpxProfile kept = *profile;

	kept.n_modules = kept.n_kinds = kept.n_features = kept.n_minima = 0;
	for (uint32_t m = 0; m < profile->n_modules; m++)
	{
		KpxProfileModule module = profile->modules[m];

		if (!keep[m])
			continue;
		memmove(kept.kinds + kept.n_kinds, profile->kinds + module.kind, module.kinds * sizeof(KpxProfileKind));
		memmove(kept.features + kept.n_features, profile->features + module.feature, module.features * sizeof(KpxProfileFeature));
		memmove(kept.minima + kept.n_minima, profile->minima + module.minimum, module.minima * sizeof(uint32_t));
		module.kind = kept.n_kinds;
		module.feature = kept.n_features;
		module.minimum = kept.n_minima;
		kept.n_kinds += module.kinds;
		kept.n_features += module.features;
		kept.n_minima += module.minima;
		kept.modules[kept.n_modules++] = module;
	}
	if (kept.n_modules == 0)
		kept.exponent = 0;
	else if (kept.n_modules < profile->n_modules)
		move_exponent(&kept, newest_exponent(&kept));
	*profile = kept;
}

/* Sum of squares of weights divided by scale. */
static double
squares(const KpxInterest *a, uint32_t n, double scale)
{
	double sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += (a[i].weight / scale) * (a[i].weight / scale);
	return sum;
}

static double
largest(const KpxInterest *a, uint32_t n)
{
	double max = 0;

	for (uint32_t i = 0; i < n; i++)
		max = fmax(max, a[i].weight);
	return max;
}

double
kpx_interests_cosine(const KpxInterest *a, uint32_t n_a, const KpxInterest *b, uint32_t n_b)
{
	/* Scaled, so that squares of tiny and huge weights neither vanish nor overflow. */
	double scale_a = largest(a, n_a);
	double scale_b = largest(b, n_b);
	double dot = 0;
	uint32_t i = 0;
	uint32_t j = 0;

	if (!(scale_a > 0 && scale_b > 0))
		return 0;
	while (i < n_a && j < n_b)
	{
		int order = kpx_name_compare(a[i].name, b[j].name);

		if (order == 0)
			dot += (a[i++].weight / scale_a) * (b[j++].weight / scale_b);
		else if (order < 0)
			i++;
		else
			j++;
	}
	dot /= sqrt(squares(a, n_a, scale_a)) * sqrt(squares(b, n_b, scale_b));
	return dot > 1 ? 1 : dot;
}
