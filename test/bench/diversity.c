/*
 * diversity.c: MMR or log det, for the greedy of core/policy.c.
 *
 *	  gcc -std=gnu11 -O3 -Isrc -o /tmp/diversity test/bench/diversity.c src/core/policy.c -lm && /tmp/diversity
 *
 * Planted: users who are half as interested in an item for each one of its category above it in
 * the slate, and a tenth less for each one of its module. Both methods see the same values
 * and the same similarity (1/2 module + 1/2 category); each at every weight of a grid. Printed:
 * revenue of a slate, relative to no diversity, at each method's best weight, and what
 * the slates look like there.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/policy.h"
#include "core/rng.h"

enum
{
	N = 60,
	MODULES = 3,
	CATEGORIES = 8,
	K = 6,
	USERS = 4000,
	GRID = 13
};

static void
candidates_of(uint64_t user, double spread, KpxCandidate *c)
{
	double taste[CATEGORIES];

	for (uint64_t t = 0; t < CATEGORIES; t++)
		taste[t] = exp(spread * kpx_normal(1, user, t));
	for (uint64_t i = 0; i < N; i++)
	{
		c[i].module = (uint32_t) (kpx_uniform(2, user, i) * MODULES);
		c[i].category = (uint32_t) (kpx_uniform(3, user, i) * CATEGORIES);
		c[i].value = taste[c[i].category] * kpx_uniform(4, user, i);
	}
}

static double
revenue(const KpxCandidate *c, const uint32_t *shown, double *categories)
{
	double sum = 0;

	for (int p = 0; p < K; p++)
	{
		double v = c[shown[p]].value;
		int alike = 0;

		for (int q = 0; q < p; q++)
		{
			v *= c[shown[q]].category == c[shown[p]].category ? 0.5 : 1;
			v *= c[shown[q]].module == c[shown[p]].module ? 0.9 : 1;
			alike += c[shown[q]].category == c[shown[p]].category;
		}
		*categories += alike == 0;
		sum += v;
	}
	return sum;
}

static void
by_mmr(const KpxCandidate *c, double weight, double scale, uint32_t *shown)
{
	int taken[N] = {0};

	for (int p = 0; p < K; p++)
	{
		int best = -1;
		double best_gain = 0;

		for (int i = 0; i < N; i++)
		{
			double most = 0;

			if (taken[i])
				continue;
			for (int q = 0; q < p; q++)
				most = fmax(most, 0.5 * (c[i].module == c[shown[q]].module) + 0.5 * (c[i].category == c[shown[q]].category));
			if (best < 0 || c[i].value - weight * scale * most > best_gain)
			{
				best = i;
				best_gain = c[i].value - weight * scale * most;
			}
		}
		taken[best] = 1;
		shown[p] = (uint32_t) best;
	}
}

static double
by_log_det(const KpxCandidate *c, double weight, void *workspace, uint32_t *shown)
{
	uint32_t room[MODULES] = {K, K, K};
	KpxSlateRules rules = {.k = K, .modules = MODULES, .room = room, .category_room = K, .diversity = weight, .calibration = 0, .mix = NULL, .epsilon = 0, .top = 1};
	KpxSlate slate;
	double probability;

	kpx_slate_begin(&slate, c, N, &rules, workspace);
	for (int p = 0; p < K && kpx_slate_choices(&slate, &shown[p], &probability); p++)
		kpx_slate_add(&slate, shown[p]);
	return slate.scale;
}

int
main(void)
{
	static const double grid[GRID] = {0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1, 1.5, 2, 3, 5};
	uint32_t room[MODULES] = {K, K, K};
	KpxSlateRules rules = {.k = K, .modules = MODULES, .room = room, .category_room = K, .diversity = 1, .calibration = 0, .mix = NULL, .epsilon = 0, .top = 1};
	void *workspace = aligned_alloc(64, kpx_slate_workspace(N, &rules));

	printf("| tastes | method | best weight | revenue against none | standard error | different categories of %d |\n|---|---|---:|---:|---:|---:|\n", K);
	for (int s = 0; s < 2; s++)
		for (int method = 0; method < 2; method++)
		{
			double best = -1;
			double at = 0;
			double best_error = 0;
			double best_categories = 0;

			for (int g = 0; g < GRID; g++)
			{
				double sum = 0;
				double squares = 0;
				double categories = 0;
				double unused = 0;

				for (uint64_t u = 0; u < USERS; u++)
				{
					KpxCandidate c[N];
					uint32_t shown[K];
					uint32_t plain[K];
					double scale;
					double ratio;

					candidates_of(u, s == 0 ? 0.5 : 1.2, c);
					scale = by_log_det(c, 0, workspace, plain);
					if (method == 0)
						by_mmr(c, grid[g], scale, shown);
					else
						by_log_det(c, grid[g], workspace, shown);
					ratio = revenue(c, shown, &categories) / revenue(c, plain, &unused);
					sum += ratio;
					squares += ratio * ratio;
				}
				if (sum / USERS > best)
				{
					best = sum / USERS;
					at = grid[g];
					best_error = sqrt((squares / USERS - best * best) / USERS);
					best_categories = categories / USERS;
				}
			}
			printf("| %s | %s | %g | %+.1f %% | %.1f %% | %.2f |\n", s == 0 ? "broad" : "narrow", method == 0 ? "MMR" : "log det", at, 100 * (best - 1), 100 * best_error,
				   best_categories);
		}
	free(workspace);
	return 0;
}
