/* policy_test.c: the greedy against all feasible sets, and its probabilities against counts. */
#include "test.h"

#include "core/policy.h"

#define N 9
#define K 4
#define MODULES 3

typedef struct Case
{
	KpxCandidate candidate[N];
	uint32_t room[MODULES];
	double mix[MODULES];
	KpxSlateRules rules;
} Case;

static void
make_case(Case *c, uint64_t seed, double diversity, double calibration, uint32_t room)
{
	double sum = 0;

	for (uint64_t i = 0; i < N; i++)
	{
		uint64_t category = test_below(seed, 100 + i, 5);

		c->candidate[i] = (KpxCandidate){.module = (uint32_t) test_below(seed, i, MODULES),
										 .category = category == 4 ? KPX_NO_CATEGORY : (uint32_t) category,
										 .value = kpx_uniform(seed, 1, i),
										 .cost = kpx_uniform(seed, 3, i) / 4,
										 .spread = kpx_uniform(seed, 4, i)};
		/* of a module and category: the same for all of them */
		if (category < 4)
			c->candidate[i].share = 0.1 * (double) (1 + (c->candidate[i].module + 2 * category + seed) % 3);
	}
	for (int m = 0; m < MODULES; m++)
	{
		c->room[m] = room;
		c->mix[m] = 0.1 + kpx_uniform(seed, 2, (uint64_t) m);
		sum += c->mix[m];
	}
	for (int m = 0; m < MODULES; m++)
		c->mix[m] /= sum;
	c->rules = (KpxSlateRules){.k = K, .modules = MODULES, .room = c->room, .category_room = room, .diversity = diversity, .calibration = calibration, .mix = c->mix, .epsilon = 0, .top = 1};
	c->rules.category_calibration = calibration / 2;
}

static double
kernel(const KpxCandidate *a, const KpxCandidate *b, bool same)
{
	if (same)
		return 2;
	return 0.5 * (a->module == b->module) + (a->category == b->category && a->category != KPX_NO_CATEGORY ? 0.5 : 0);
}

/* F of a set (bits) by its definition: determinant by elimination. */
static double
worth(const Case *c, unsigned set, double scale)
{
	double a[N][N];
	int member[N];
	int n = 0;
	double f = 0;
	double logdet = 0;
	int count[MODULES] = {0};
	int alike[MODULES][4] = {{0}};
	double share[MODULES][4] = {{0}};

	for (int i = 0; i < N; i++)
		if (set >> i & 1)
			member[n++] = i;
	for (int i = 0; i < n; i++)
	{
		f += c->candidate[member[i]].value;
		count[c->candidate[member[i]].module]++;
		if (c->candidate[member[i]].category != KPX_NO_CATEGORY)
		{
			alike[c->candidate[member[i]].module][c->candidate[member[i]].category]++;
			share[c->candidate[member[i]].module][c->candidate[member[i]].category] = c->candidate[member[i]].share;
		}
		for (int j = 0; j < n; j++)
			a[i][j] = kernel(&c->candidate[member[i]], &c->candidate[member[j]], i == j);
	}
	for (int i = 0; i < n; i++)
	{
		logdet += log(a[i][i]);
		for (int j = i + 1; j < n; j++)
			for (int l = n - 1; l >= i; l--)
				a[j][l] -= a[j][i] / a[i][i] * a[i][l];
	}
	f += c->rules.diversity * scale * logdet;
	for (int m = 0; m < MODULES; m++)
	{
		f += c->rules.calibration * scale * c->mix[m] * log(1 + count[m] / (0.1 * K * c->mix[m]));
		for (int g = 0; g < 4; g++)
			if (alike[m][g] > 0)
				f += c->rules.category_calibration * scale * share[m][g] * log(1 + alike[m][g] / (0.1 * K * share[m][g]));
	}
	return f;
}

static bool
feasible(const Case *c, unsigned set)
{
	uint32_t module[MODULES] = {0};
	uint32_t category[MODULES][4] = {{0}};
	size_t n = 0;

	for (int i = 0; i < N; i++)
		if (set >> i & 1)
		{
			const KpxCandidate *x = &c->candidate[i];

			n++;
			if (++module[x->module] > c->room[x->module])
				return false;
			if (x->category != KPX_NO_CATEGORY && ++category[x->module][x->category] > c->rules.category_room)
				return false;
		}
	return n <= c->rules.k;
}

static double
best_worth(const Case *c, double scale)
{
	double best = 0;

	for (unsigned set = 0; set < 1u << N; set++)
		if (feasible(c, set))
			best = fmax(best, worth(c, set, scale));
	return best;
}

/* Greedy; checks every gain against the definition on the way. */
static double
greedy(const Case *c, void *workspace, double *scale)
{
	KpxSlate slate;
	unsigned set = 0;
	uint32_t choice;
	double probability;

	kpx_slate_begin(&slate, c->candidate, N, &c->rules, workspace);
	*scale = slate.scale;
	while (kpx_slate_choices(&slate, &choice, &probability) == 1)
	{
		CHECK_NEAR(probability, 1, 0);
		for (int i = 0; i < N; i++)
			if (!(set >> i & 1))
			{
				CHECK_NEAR(kpx_slate_gain(&slate, (size_t) i), worth(c, set | 1u << i, *scale) - worth(c, set, *scale), 1e-9);
				CHECK(kpx_slate_gain(&slate, (size_t) i) <= kpx_slate_gain(&slate, choice) ||
					  kpx_slate_fits(&slate, (size_t) i) != KPX_FITS);
				CHECK_EQ(kpx_slate_fits(&slate, (size_t) i) == KPX_FITS, feasible(c, set | 1u << i));
			}
		kpx_slate_add(&slate, choice);
		set |= 1u << choice;
		CHECK(feasible(c, set));
	}
	return worth(c, set, *scale);
}

static void
test_guarantees(void)
{
	Case c;
	double least_free = 1;
	double least_matroid = 1;
	double scale;
	size_t size;
	void *workspace;

	make_case(&c, 0, 1, 1, K);
	size = kpx_slate_workspace(N, &c.rules);
	workspace = test_alloc(size);
	for (uint64_t seed = 1; seed <= 60; seed++)
	{
		double value;

		/* k alone binds: 1 - 1/e */
		make_case(&c, seed, 0.5 + seed % 3, seed % 2, K);
		value = greedy(&c, workspace, &scale);
		least_free = fmin(least_free, value / best_worth(&c, scale));
		/* the whole matroid: 1/2 */
		make_case(&c, seed, 0.5 + seed % 3, seed % 2, 1 + seed % 2);
		value = greedy(&c, workspace, &scale);
		least_matroid = fmin(least_matroid, value / best_worth(&c, scale));
		/* values alone: the best */
		make_case(&c, seed, 0, 0, 1 + seed % 2);
		value = greedy(&c, workspace, &scale);
		CHECK_NEAR(value, best_worth(&c, scale), 1e-12);
	}
	CHECK(least_free >= 1 - exp(-1));
	CHECK(least_matroid >= 0.5);
	free(workspace);
}

/* F is monotone and submodular: gains are not negative and do not grow. */
static void
test_submodular(void)
{
	Case c;

	for (uint64_t seed = 1; seed <= 40; seed++)
	{
		make_case(&c, seed, 1, 1, K);
		for (uint64_t t = 0; t < 50; t++)
		{
			unsigned small = (unsigned) test_below(seed, 1000 + 3 * t, 1u << N);
			unsigned large = small | (unsigned) test_below(seed, 1001 + 3 * t, 1u << N);
			unsigned i = 1u << test_below(seed, 1002 + 3 * t, N);

			if (large & i)
				continue;
			CHECK(worth(&c, large | i, 1) - worth(&c, large, 1) >= -1e-12);
			CHECK(worth(&c, small | i, 1) - worth(&c, small, 1) >= worth(&c, large | i, 1) - worth(&c, large, 1) - 1e-9);
		}
	}
}

/* All slates of two positions: probabilities sum to 1 and are what draws show. */
static void
test_exploration(void)
{
	Case c;
	double exact[N][N] = {{0}};
	double sum = 0;
	double chi = 0;
	int cells = 0;
	int count[N][N] = {{0}};
	size_t choices;
	uint32_t choice[3];
	double probability[3];
	KpxSlate slate;
	void *workspace;
	enum
	{
		DRAWS = 20000
	};

	make_case(&c, 7, 1, 0.5, 2);
	c.rules.epsilon = 0.3;
	c.rules.top = 3;
	workspace = test_alloc(kpx_slate_workspace(N, &c.rules));
	kpx_slate_begin(&slate, c.candidate, N, &c.rules, workspace);
	choices = kpx_slate_choices(&slate, choice, probability);
	CHECK_EQ(choices, 3);
	CHECK_NEAR(probability[0], 0.8, 1e-12);
	CHECK_NEAR(probability[1], 0.1, 1e-12);
	for (size_t a = 0; a < choices; a++)
	{
		uint32_t second[3];
		double p[3];
		size_t n;

		kpx_slate_begin(&slate, c.candidate, N, &c.rules, workspace);
		kpx_slate_add(&slate, choice[a]);
		n = kpx_slate_choices(&slate, second, p);
		for (size_t b = 0; b < n; b++)
			exact[choice[a]][second[b]] = probability[a] * p[b];
	}
	for (uint64_t d = 0; d < DRAWS; d++)
	{
		uint32_t first;

		kpx_slate_begin(&slate, c.candidate, N, &c.rules, workspace);
		choices = kpx_slate_choices(&slate, choice, probability);
		first = choice[kpx_slate_draw(probability, choices, kpx_uniform(11, 0, d))];
		kpx_slate_add(&slate, first);
		choices = kpx_slate_choices(&slate, choice, probability);
		count[first][choice[kpx_slate_draw(probability, choices, kpx_uniform(11, 1, d))]]++;
	}
	for (int a = 0; a < N; a++)
		for (int b = 0; b < N; b++)
		{
			sum += exact[a][b];
			CHECK(exact[a][b] > 0 || count[a][b] == 0);
			if (exact[a][b] > 0)
			{
				chi += pow(count[a][b] - DRAWS * exact[a][b], 2) / (DRAWS * exact[a][b]);
				cells++;
			}
		}
	CHECK_NEAR(sum, 1, 1e-12);
	CHECK_EQ(cells, 9);
	CHECK(chi < 26.1); /* chi square, 8 degrees of freedom, 0.1 % */
	free(workspace);
}

/* A standard normal variable, by Box and Muller. */
static double
normal(uint64_t seed, uint64_t i)
{
	return sqrt(-2 * log(kpx_uniform(seed, 0, i))) * cos(6.283185307179586 * kpx_uniform(seed, 1, i));
}

/*
 * Thompson's probabilities are the shares of draws in which each candidate is the best: of
 * certain and of badly known ones, near each other and far, with gains beside what is drawn.
 */
static void
test_best_probabilities(void)
{
	enum
	{
		CANDIDATES = 6,
		DRAWS = 40000
	};
	double worst = 0;
	double table[KPX_NORMAL_TABLE];

	kpx_normal_table(table);
	for (uint64_t seed = 1; seed <= 24; seed++)
	{
		double gain[CANDIDATES], mean[CANDIDATES], spread[CANDIDATES], p[CANDIDATES], work[KPX_BEST_WORK(CANDIDATES)];
		double share[CANDIDATES] = {0};
		double sum = 0;

		for (uint64_t i = 0; i < CANDIDATES; i++)
		{
			mean[i] = 0.5 + kpx_uniform(seed, 10, i);
			spread[i] = i == 5 && seed % 4 == 0 ? 0 : mean[i] * pow(10, -2 * kpx_uniform(seed, 11, i)) * (1 + (double) (seed % 3));
			gain[i] = mean[i] + (seed % 2 ? 0.3 * kpx_uniform(seed, 12, i) : 0);
		}
		kpx_best_probabilities(table, gain, mean, spread, CANDIDATES, p, work);
		for (uint64_t d = 0; d < DRAWS; d++)
		{
			double best = -1;
			int which = 0;

			for (int i = 0; i < CANDIDATES; i++)
			{
				double sigma = sqrt(log1p(spread[i] * spread[i] / (mean[i] * mean[i])));
				double x = gain[i] - mean[i] + mean[i] * exp(sigma * normal(seed, d * CANDIDATES + (uint64_t) i) - sigma * sigma / 2);

				if (x > best)
				{
					best = x;
					which = i;
				}
			}
			share[which] += 1.0 / DRAWS;
		}
		for (int i = 0; i < CANDIDATES; i++)
		{
			sum += p[i];
			worst = fmax(worst, fabs(p[i] - share[i]) - 4 * sqrt(share[i] * (1 - share[i]) / DRAWS + 1e-9));
		}
		CHECK_NEAR(sum, 1, 1e-12);
	}
	CHECK(worst < 0.01); /* of the grid, beyond four standard errors of the draws */
}

static void
test_best_edges(void)
{
	double p[3];
	double work[KPX_BEST_WORK(3)];
	double table[KPX_NORMAL_TABLE];

	kpx_normal_table(table);
	/* certain: the first of the best */
	kpx_best_probabilities(table, (double[]){1, 2, 2}, (double[]){1, 2, 2}, (double[]){0, 0, 0}, 3, p, work);
	CHECK(p[0] == 0 && p[1] == 1 && p[2] == 0);
	/* a mean of nothing is certain, whatever its spread */
	kpx_best_probabilities(table, (double[]){0.5, 0}, (double[]){0.5, 0}, (double[]){0, 9}, 2, p, work);
	CHECK(p[0] == 1 && p[1] == 0);
	kpx_best_probabilities(table, (double[]){3}, (double[]){1}, (double[]){1}, 1, p, work);
	CHECK_NEAR(p[0], 1, 1e-12);
	/* alike: by symmetry */
	kpx_best_probabilities(table, (double[]){1, 1}, (double[]){1, 1}, (double[]){2, 2}, 2, p, work);
	CHECK_NEAR(p[0], 0.5, 1e-12);
	/* as little as it can get */
	kpx_best_probabilities(table, (double[]){1e-300, 1e-300}, (double[]){1e-300, 1e-300}, (double[]){1, 1}, 2, p, work);
	CHECK_NEAR(p[0] + p[1], 1, 1e-12);
	/* two known as well as a coin: the variance of a product of independent means */
	CHECK_NEAR(kpx_rate_spread(0.5, 3, 0.5, 3), sqrt(0.0625 * 0.0625 + 2 * 0.0625 * 0.25), 1e-15);
}

/* A place is drawn from Thompson's probabilities, mixed with the uniform ones. */
static void
test_thompson(void)
{
	Case c;
	uint32_t choice[5];
	double probability[5];
	double gain[5], mean[5], spread[5], expected[5], work[KPX_BEST_WORK(5)], table[KPX_NORMAL_TABLE];
	int count[5] = {0};
	double chi = 0;
	double sum = 0;
	size_t n;
	KpxSlate slate;
	void *workspace;
	enum
	{
		DRAWS = 20000
	};

	kpx_normal_table(table);
	make_case(&c, 3, 1, 0.5, 3);
	c.rules.epsilon = 0.1;
	c.rules.top = 5;
	c.rules.thompson = true;
	workspace = test_alloc(kpx_slate_workspace(N, &c.rules));
	kpx_slate_begin(&slate, c.candidate, N, &c.rules, workspace);
	n = kpx_slate_choices(&slate, choice, probability);
	CHECK_EQ(n, 5);
	kpx_slate_add(&slate, choice[0]);
	n = kpx_slate_choices(&slate, choice, probability);
	CHECK_EQ(n, 5);
	for (size_t i = 0; i < n; i++)
	{
		gain[i] = kpx_slate_gain(&slate, choice[i]);
		mean[i] = c.candidate[choice[i]].value + c.candidate[choice[i]].cost;
		spread[i] = c.candidate[choice[i]].spread;
	}
	kpx_best_probabilities(table, gain, mean, spread, n, expected, work);
	for (size_t i = 0; i < n; i++)
	{
		CHECK_NEAR(probability[i], 0.1 / 5 + 0.9 * expected[i], 1e-12);
		sum += probability[i];
	}
	CHECK_NEAR(sum, 1, 1e-12);
	CHECK(probability[0] < 0.95);
	for (uint64_t d = 0; d < DRAWS; d++)
		count[kpx_slate_draw(probability, n, kpx_uniform(13, 0, d))]++;
	for (size_t i = 0; i < n; i++)
		chi += pow(count[i] - DRAWS * probability[i], 2) / (DRAWS * probability[i]);
	CHECK(chi < 18.5); /* chi square, 4 degrees of freedom, 0.1 % */
	free(workspace);
}

/* KL of the wished shares and the slate's smoothed ones, as calibrated recommendations measure it. */
static double
divergence(const Case *c, unsigned set)
{
	double kl = 0;

	for (int m = 0; m < MODULES; m++)
	{
		double n = 0;

		for (int i = 0; i < N; i++)
			n += (set >> i & 1) && (int) c->candidate[i].module == m;
		kl += c->mix[m] * log(c->mix[m] / ((n / K + 0.1 * c->mix[m]) / 1.1));
	}
	return kl;
}

/* Alike in worth, k items come as near to the user's mix as any k can. */
static void
test_calibration(void)
{
	Case c;

	for (uint64_t seed = 1; seed <= 40; seed++)
	{
		void *workspace;
		KpxSlate slate;
		uint32_t choice;
		double probability;
		unsigned set = 0;
		double least = INFINITY;

		make_case(&c, seed, 0, 1, K);
		c.rules.category_calibration = 0;
		for (int i = 0; i < N; i++)
			c.candidate[i].value = 1;
		workspace = test_alloc(kpx_slate_workspace(N, &c.rules));
		kpx_slate_begin(&slate, c.candidate, N, &c.rules, workspace);
		while (kpx_slate_choices(&slate, &choice, &probability) == 1)
		{
			kpx_slate_add(&slate, choice);
			set |= 1u << choice;
		}
		for (unsigned other = 0; other < 1u << N; other++)
			if (__builtin_popcount(other) == K)
				least = fmin(least, divergence(&c, other));
		CHECK_NEAR(divergence(&c, set), least, 1e-12);
		free(workspace);
	}
}

static void
test_edges(void)
{
	KpxCandidate candidate[3] = {{.category = KPX_NO_CATEGORY, .value = -1}, {.category = KPX_NO_CATEGORY, .value = NAN}, {.category = KPX_NO_CATEGORY, .value = 0}};
	uint32_t room[1] = {5};
	KpxSlateRules rules = {.k = 3, .modules = 1, .room = room, .category_room = 5, .diversity = 1, .calibration = 0, .mix = NULL, .epsilon = 0.5, .top = 4};
	void *workspace = test_alloc(kpx_slate_workspace(3, &rules));
	uint32_t choice[4];
	double probability[4];
	KpxSlate slate;

	kpx_slate_begin(&slate, candidate, 3, &rules, workspace);
	CHECK_EQ(kpx_slate_fits(&slate, 0), KPX_NO_VALUE);
	CHECK_EQ(kpx_slate_fits(&slate, 1), KPX_NO_VALUE);
	CHECK_EQ(kpx_slate_choices(&slate, choice, probability), 1);
	CHECK_NEAR(probability[0], 1, 1e-15);
	kpx_slate_add(&slate, 2);
	CHECK_EQ(kpx_slate_fits(&slate, 2), KPX_TAKEN);
	CHECK_EQ(kpx_slate_choices(&slate, choice, probability), 0);
	kpx_slate_begin(&slate, candidate, 0, &rules, workspace);
	CHECK_EQ(kpx_slate_choices(&slate, choice, probability), 0);
	/* sizes that do not fit, whichever array they are of */
	rules.k = 1;
	CHECK_EQ(kpx_slate_workspace(SIZE_MAX / 4, &rules), 0);
	CHECK_EQ(kpx_slate_workspace(SIZE_MAX / 8, &rules), 0); /* fits, but not in whole lines */
	CHECK_EQ(kpx_slate_workspace(SIZE_MAX / 16, &rules), 0);
	CHECK_EQ(kpx_slate_workspace(SIZE_MAX / 17, &rules), 0);
	CHECK(kpx_slate_workspace(SIZE_MAX / 20, &rules) > 0);
	rules.k = SIZE_MAX / 2;
	CHECK_EQ(kpx_slate_workspace(3, &rules), 0);
	rules.k = SIZE_MAX / 4;
	CHECK_EQ(kpx_slate_workspace(0, &rules), 0);
	rules.k = 3;
	rules.modules = SIZE_MAX / 2;
	CHECK_EQ(kpx_slate_workspace(3, &rules), 0);
	rules.modules = 1;
	rules.thompson = true;
	rules.top = SIZE_MAX / 2;
	CHECK_EQ(kpx_slate_workspace(3, &rules), 0);
	rules.top = SIZE_MAX / 7;
	CHECK_EQ(kpx_slate_workspace(3, &rules), 0);
	CHECK_NEAR(kpx_dual_price(1, 0.5, 3, 1), 2, 1e-15);
	CHECK_NEAR(kpx_dual_price(1, 0.5, 0, 5), 0, 0);
	free(workspace);
}

/* An even stream of users under a budget: the price keeps the spending even and shows to those worth most. */
static void
test_dual_price(void)
{
	enum
	{
		USERS = 20000,
		BUDGET = 4000
	};
	double price = 0;
	int spent = 0;
	int half = 0;
	double earned = 0;
	double best = 0;

	for (uint64_t u = 0; u < USERS; u++)
	{
		double value = kpx_uniform(3, 0, u);
		bool show = value > price && spent < BUDGET;

		spent += show;
		earned += show ? value : 0;
		price = kpx_dual_price(price, 0.01, show, (double) BUDGET / USERS);
		if (u == USERS / 2)
			half = spent;
	}
	/* the best that knows the future: the upper fifth of values */
	best = BUDGET * 0.9;
	CHECK(spent <= BUDGET && spent > 0.97 * BUDGET);
	CHECK(abs(half - BUDGET / 2) < 0.05 * BUDGET);
	CHECK(earned > 0.97 * best);
}

int
main(void)
{
	test_guarantees();
	test_submodular();
	test_exploration();
	test_best_probabilities();
	test_best_edges();
	test_thompson();
	test_calibration();
	test_edges();
	test_dual_price();
	return test_done();
}
