/*
 * policy_simulation_test.c: a platform whose users have hidden tastes, tire of being
 * marketed to, and spend more at some times than at others.
 *
 * First: serve, log, feed back and count rates, day by day, under a weekly cap on other modules'
 * items; the total revenue must be above that of two plain policies, by intervals over seeds. Then:
 * 95 % intervals of off-policy estimates must cover the truth as often as they say.
 */
#include "test.h"

#include "core/evaluate.h"
#include "core/feedback.h"
#include "core/policy.h"

enum
{
	MODULES = 3,
	CATEGORIES = 4,
	PER_MODULE = 12, /* candidates of a module */
	N = MODULES * PER_MODULE,
	USERS = 150,
	DAYS = 112,
	K = 3,
	TOP = 6,
	SEEDS = 12
};

/* ------------------------------------------------------------ the platform */

typedef struct World
{
	uint64_t seed;
	double taste[USERS][CATEGORIES]; /* mean 1 */
	double appeal[N]; /* of an item to everybody */
	double convert[N];
	double value[N];
	KpxCandidate item[N];
	double score[USERS][N]; /* what a recommender knows: the taste, blurred */
	double tired[USERS]; /* recent marketing from other modules */
} World;

static void
make_world(World *w, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->seed = seed;
	for (uint64_t u = 0; u < USERS; u++)
		for (uint64_t c = 0; c < CATEGORIES; c++)
			w->taste[u][c] = kpx_uniform(seed, 1, u * CATEGORIES + c) < 0.3 ? 2.4 : 0.4;
	for (uint64_t i = 0; i < N; i++)
	{
		w->appeal[i] = 0.03 + 0.1 * kpx_uniform(seed, 2, i);
		w->convert[i] = 0.1 + 0.2 * kpx_uniform(seed, 3, i);
		w->value[i] = (1 + i / PER_MODULE) * (1 + 4 * kpx_uniform(seed, 4, i));
		w->item[i] = (KpxCandidate){.module = (uint32_t) i / PER_MODULE, .category = (uint32_t) test_below(seed, 900 + i, CATEGORIES)};
	}
	for (uint64_t u = 0; u < USERS; u++)
		for (uint64_t i = 0; i < N; i++)
			w->score[u][i] = w->taste[u][w->item[i].category] * exp(0.4 * kpx_normal(seed, 77, u * N + i));
}

/* Clicks fall once a user is tired, and rise in season; a category shown above in the slate is clicked half as often. */
static double
true_click(const World *w, int user, int item, double season, bool seen_above)
{
	return w->appeal[item] * w->taste[user][w->item[item].category] * exp(-0.35 * fmax(w->tired[user] - 2, 0)) * season * (seen_above ? 0.5 : 1);
}

static bool
category_above(const World *w, const int *shown, int n, int item)
{
	for (int p = 0; p < n; p++)
		if (w->item[shown[p]].category == w->item[item].category)
			return true;
	return false;
}

/* Expected revenue of a slate; tires the user by what comes from other modules. */
static double
serve(World *w, int user, int home, const int *shown, int n, double season)
{
	double revenue = 0;

	for (int p = 0; p < n; p++)
		revenue += true_click(w, user, shown[p], season, category_above(w, shown, p, shown[p])) * w->convert[shown[p]] * w->value[shown[p]];
	for (int p = 0; p < n; p++)
		w->tired[user] += w->item[shown[p]].module != (uint32_t) home ? 0.4 : 0;
	return revenue;
}

static double
season_of(int day)
{
	return 1 + 0.3 * sin(2 * 3.14159265358979 * day / 28);
}

/* ------------------------------------------------------------ the learner */

typedef struct Learner
{
	double impressions[N];
	double clicks[N];
	double conversions[N];
	int cross[USERS][7]; /* impressions from other modules, by day of the week */
} Learner;

enum
{
	WEEKLY_CAP = 4
};

/* The fallback ranking: smoothed rates, the prior scaled by the score. */
static void
expect(const Learner *l, const World *w, int user, double *click, double *convert)
{
	for (int m = 0; m < MODULES; m++)
	{
		double impressions = 0;
		double clicks = 0;
		double conversions = 0;
		double mean = 0;

		for (int i = m * PER_MODULE; i < (m + 1) * PER_MODULE; i++)
		{
			impressions += l->impressions[i];
			clicks += l->clicks[i];
			conversions += l->conversions[i];
			mean += w->score[user][i] / PER_MODULE;
		}
		for (int i = m * PER_MODULE; i < (m + 1) * PER_MODULE; i++)
		{
			double favour = fmin(fmax(w->score[user][i] / mean, 0.25), 4);
			double prior = kpx_smoothed_rate(clicks, impressions, 0.05, 20) * favour;

			/* rates of the item, times how well it fits this user */
			click[i] = kpx_smoothed_rate(l->clicks[i] * favour, l->impressions[i], prior, 20);
			convert[i] = kpx_smoothed_rate(l->conversions[i], l->clicks[i], kpx_smoothed_rate(conversions, clicks, 0.1, 20), 20);
		}
	}
}

/* A slate by the policy; q, propensity by place. Returns how many places. */
static int
slate_of(const World *w, const double *click, const double *convert, int home, double lambda, uint32_t cross_room, double epsilon,
		 uint64_t stream, void *workspace, int *shown, double *propensity)
{
	KpxCandidate candidate[N];
	uint32_t room[MODULES];
	KpxSlateRules rules = {.k = K, .modules = MODULES, .room = room, .category_room = K, .diversity = 0.2, .calibration = 0, .mix = NULL, .epsilon = epsilon, .top = TOP};
	KpxSlate slate;
	uint32_t choice[TOP];
	double probability[TOP];
	size_t choices;
	int n = 0;

	for (int m = 0; m < MODULES; m++)
		room[m] = m == home ? K : cross_room;
	for (int i = 0; i < N; i++)
	{
		bool cross = w->item[i].module != (uint32_t) home;

		candidate[i] = w->item[i];
		candidate[i].value = 2 * (cross ? lambda : 1 - lambda) * click[i] * convert[i] * w->value[i];
	}
	kpx_slate_begin(&slate, candidate, N, &rules, workspace);
	while ((choices = kpx_slate_choices(&slate, choice, probability)) > 0)
	{
		size_t drawn = kpx_slate_draw(probability, choices, kpx_uniform(w->seed ^ 0xABCD, stream, (uint64_t) n));

		shown[n] = (int) choice[drawn];
		propensity[n++] = probability[drawn];
		kpx_slate_add(&slate, choice[drawn]);
		/* the cap is on all other modules together */
		if (w->item[choice[drawn]].module != (uint32_t) home)
		{
			cross_room = cross_room ? cross_room - 1 : 0;
			for (int m = 0; m < MODULES; m++)
				if (m != home)
					room[m] = slate.module_count[m] + cross_room;
		}
	}
	return n;
}

/* ------------------------------------------------------------ the policies */

typedef enum Policy
{
	POPULAR_AT_HOME,
	CROSS_SELL_ALWAYS,
	OURS
} Policy;

static int
plain_slate(const World *w, Policy policy, const double *popularity, const double *worth, int home, int *shown)
{
	bool taken[N] = {false};

	for (int p = 0; p < K; p++)
	{
		int best = -1;

		for (int i = 0; i < N; i++)
		{
			bool at_home = w->item[i].module == (uint32_t) home;
			const double *by = policy == POPULAR_AT_HOME ? popularity : worth;

			if (!taken[i] && at_home == (policy == POPULAR_AT_HOME) && (best < 0 || by[i] > by[best]))
				best = i;
		}
		taken[best] = true;
		shown[p] = best;
	}
	return K;
}

static void
learn(Learner *l, const World *w, int user, const int *shown, int n, double season, uint64_t stream)
{
	for (int p = 0; p < n; p++)
	{
		int i = shown[p];

		l->impressions[i]++;
		if (kpx_uniform(w->seed, 5000 + (uint64_t) p, stream) < true_click(w, user, i, season, category_above(w, shown, p, i)))
		{
			l->clicks[i]++;
			l->conversions[i] += kpx_uniform(w->seed, 6000 + (uint64_t) p, stream) < w->convert[i];
		}
	}
}

/* Revenue of all days. */
static double
run(uint64_t seed, Policy policy, void *workspace)
{
	World *w = test_alloc(sizeof(World));
	Learner *l = test_alloc(sizeof(Learner));
	double popularity[N];
	double total = 0;

	make_world(w, seed);
	memset(l, 0, sizeof(*l));
	for (int i = 0; i < N; i++)
	{
		/* what everybody likes, known from the start */
		popularity[i] = 0;
		for (int u = 0; u < USERS; u++)
			popularity[i] += w->appeal[i] * w->taste[u][w->item[i].category] * w->convert[i] * w->value[i] / USERS;
	}
	for (int day = 0; day < DAYS; day++)
		for (int u = 0; u < USERS; u++)
		{
			uint64_t stream = (uint64_t) day * USERS + (uint64_t) u;
			int home = (int) test_below(seed, 100000 + stream, MODULES);
			double click[N];
			double convert[N];
			double worth[N];
			double propensity[K];
			int shown[K];
			int n;
			int week = 0;
			int before = 0;

			l->cross[u][day % 7] = 0;
			for (int d = 0; d < 7; d++)
				week += l->cross[u][d];
			expect(l, w, u, click, convert);
			for (int i = 0; i < N; i++)
				worth[i] = click[i] * convert[i] * w->value[i];
			if (policy == OURS)
				n = slate_of(w, click, convert, home, 0.5, week < WEEKLY_CAP ? (uint32_t) (WEEKLY_CAP - week) : 0, 0.1, stream, workspace,
							 shown, propensity);
			else
				n = plain_slate(w, policy, popularity, worth, home, shown);
			learn(l, w, u, shown, n, season_of(day), stream);
			for (int p = 0; p < n; p++)
				before += w->item[shown[p]].module != (uint32_t) home;
			l->cross[u][day % 7] = before;
			total += serve(w, u, home, shown, n, season_of(day));
			w->tired[u] *= 0.85;
		}
	free(l);
	free(w);
	return total;
}

static void
test_revenue(void *workspace)
{
	KpxMean over_home = {0};
	KpxMean over_cross = {0};
	KpxMean level = {0};

	for (uint64_t seed = 1; seed <= SEEDS; seed++)
	{
		double ours = run(seed, OURS, workspace);
		double home = run(seed, POPULAR_AT_HOME, workspace);
		double cross = run(seed, CROSS_SELL_ALWAYS, workspace);

		kpx_mean_add(&over_home, ours / home - 1);
		kpx_mean_add(&over_cross, ours / cross - 1);
		kpx_mean_add(&level, ours);
	}
	printf("revenue over %d seeds: %+.1f %% (+- %.1f) against popularity at home, %+.1f %% (+- %.1f) against cross-selling always\n", SEEDS,
		   100 * over_home.mean, 220 * kpx_mean_std_error(&over_home), 100 * over_cross.mean, 220 * kpx_mean_std_error(&over_cross));
	/* 2.2: t of 11 degrees of freedom, 95 % */
	CHECK(over_home.mean - 2.2 * kpx_mean_std_error(&over_home) > 0);
	CHECK(over_cross.mean - 2.2 * kpx_mean_std_error(&over_cross) > 0);
}

/* ------------------------------------------------------------ off-policy coverage */

enum
{
	SLATES = 400, /* of a log */
	LOGS = 300,
	PLACES = 2,
	LOG_TOP = 18, /* the log explores so widely that it shows all that the judged policy does */
	JUDGED_TOP = 4
};

/* One visit: who, where, and what the ranking expects (wrong by a factor that differs by item). */
typedef struct Visit
{
	int user;
	int home;
	double click[N];
} Visit;

static void
make_visit(Visit *v, const World *w, uint64_t stream, uint64_t i)
{
	v->user = (int) test_below(stream, 2 * i, USERS);
	v->home = (int) test_below(stream, 2 * i + 1, MODULES);
	for (int c = 0; c < N; c++)
		v->click[c] = w->appeal[c] * w->score[v->user][c];
}

static void
desk(const World *w, const Visit *v, double lambda, double epsilon, KpxCandidate *candidate, KpxSlateRules *rules, const uint32_t *room, size_t top)
{
	*rules = (KpxSlateRules){.k = PLACES, .modules = MODULES, .room = room, .category_room = K, .diversity = 0.2, .calibration = 0, .mix = NULL, .epsilon = epsilon, .top = top};
	for (int i = 0; i < N; i++)
	{
		candidate[i] = w->item[i];
		candidate[i].value = 2 * (w->item[i].module != (uint32_t) v->home ? lambda : 1 - lambda) * v->click[i] * w->convert[i] * w->value[i];
	}
}

static double
mean_reward(const World *w, const Visit *v, const int *above, int n, int item)
{
	return true_click(w, v->user, item, 1, category_above(w, above, n, item)) * w->convert[item] * w->value[item];
}

/* The judged policy's value at a visit, by all its slates. */
static double
exact_value(const World *w, const Visit *v, double lambda, double epsilon, void *workspace)
{
	KpxCandidate candidate[N];
	uint32_t room[MODULES] = {K, K, K};
	KpxSlateRules rules;
	KpxSlate slate;
	uint32_t first[LOG_TOP];
	uint32_t second[LOG_TOP];
	double p[LOG_TOP];
	double q[LOG_TOP];
	double value = 0;
	size_t n;

	desk(w, v, lambda, epsilon, candidate, &rules, room, JUDGED_TOP);
	kpx_slate_begin(&slate, candidate, N, &rules, workspace);
	n = kpx_slate_choices(&slate, first, p);
	for (size_t a = 0; a < n; a++)
	{
		int above = (int) first[a];
		size_t m;

		value += p[a] * mean_reward(w, v, NULL, 0, above);
		kpx_slate_begin(&slate, candidate, N, &rules, workspace);
		kpx_slate_add(&slate, first[a]);
		m = kpx_slate_choices(&slate, second, q);
		for (size_t b = 0; b < m; b++)
			value += p[a] * q[b] * mean_reward(w, v, &above, 1, (int) second[b]);
	}
	return value;
}

typedef struct Rows
{
	double reward[SLATES * PLACES];
	double propensity[SLATES * PLACES];
	double probability[SLATES * PLACES];
	double predicted[SLATES * PLACES];
	double baseline[SLATES * PLACES];
	uint32_t unit[SLATES * PLACES];
} Rows;

/* One visit logged by (0.5, 0.6), with its rows for the judged policy. */
static void
log_visit(Rows *rows, const World *w, const Visit *v, uint64_t stream, uint64_t i, double lambda, double epsilon, void *workspace)
{
	KpxCandidate candidate[N];
	uint32_t room[MODULES] = {K, K, K};
	KpxSlateRules rules;
	KpxSlate slate;
	uint32_t choice[LOG_TOP];
	double probability[LOG_TOP];
	int shown[PLACES];
	double drawn = 1;
	double reached = 1;

	desk(w, v, 0.5, 0.8, candidate, &rules, room, LOG_TOP);
	kpx_slate_begin(&slate, candidate, N, &rules, workspace);
	for (uint64_t p = 0; p < PLACES; p++)
	{
		size_t n = kpx_slate_choices(&slate, choice, probability);
		size_t c = kpx_slate_draw(probability, n, kpx_uniform(stream, 10 + p, i));
		uint64_t row = i * PLACES + p;
		double click;

		shown[p] = (int) choice[c];
		drawn *= probability[c];
		rows->propensity[row] = drawn;
		rows->unit[row] = (uint32_t) i;
		click = true_click(w, v->user, shown[p], 1, category_above(w, shown, (int) p, shown[p]));
		rows->reward[row] = kpx_uniform(stream, 20 + p, i) < click && kpx_uniform(stream, 30 + p, i) < w->convert[shown[p]] ? w->value[shown[p]] : 0;
		kpx_slate_add(&slate, choice[c]);
	}
	desk(w, v, lambda, epsilon, candidate, &rules, room, JUDGED_TOP);
	kpx_slate_begin(&slate, candidate, N, &rules, workspace);
	drawn = 1;
	for (uint64_t p = 0; p < PLACES; p++)
	{
		uint64_t row = i * PLACES + p;
		size_t n = reached > 0 ? kpx_slate_choices(&slate, choice, probability) : 0;
		double own = 0;

		rows->baseline[row] = 0;
		for (size_t c = 0; c < n; c++)
		{
			int item = (int) choice[c];

			rows->baseline[row] += reached / drawn * probability[c] * v->click[item] * w->convert[item] * w->value[item];
			own = item == shown[p] ? probability[c] : own;
		}
		reached *= own;
		drawn = rows->propensity[row];
		rows->probability[row] = reached;
		rows->predicted[row] = v->click[shown[p]] * w->convert[shown[p]] * w->value[shown[p]];
		if (reached > 0)
			kpx_slate_add(&slate, (size_t) shown[p]);
	}
}

static void
test_coverage(void *workspace)
{
	World *w = test_alloc(sizeof(World));
	Rows *rows = test_alloc(sizeof(Rows));
	KpxUnitSums *sums = test_alloc(sizeof(KpxUnitSums) * SLATES);
	const double lambda = 0.55;
	const double epsilon = 0.6;
	double truth = 0;
	int covered[KPX_ESTIMATORS] = {0};

	make_world(w, 3);
	/* often enough that 400 slates are many for the normal distribution */
	for (int i = 0; i < N; i++)
	{
		w->appeal[i] *= 3;
		w->convert[i] *= 2.5;
	}
	for (uint64_t i = 0; i < 10000; i++)
	{
		Visit v;

		make_visit(&v, w, 999, i);
		truth += exact_value(w, &v, lambda, epsilon, workspace) / 10000 / PLACES;
	}
	for (uint64_t l = 0; l < LOGS; l++)
	{
		KpxLog log = {SLATES * PLACES, rows->reward, rows->propensity, rows->probability, rows->predicted, rows->baseline, rows->baseline, rows->unit};
		KpxUnitSums total = {0};

		for (uint64_t i = 0; i < SLATES; i++)
		{
			Visit v;

			make_visit(&v, w, 10000 + l, i);
			log_visit(rows, w, &v, 10000 + l, i, lambda, epsilon, workspace);
		}
		memset(sums, 0, sizeof(KpxUnitSums) * SLATES);
		kpx_log_sums(&log, 1e9, 1e9, 0, log.n, sums);
		for (int u = 0; u < SLATES; u++)
			kpx_unit_sums_add(&total, &sums[u]);
		for (int e = 0; e < KPX_ESTIMATORS; e++)
			covered[e] += fabs(kpx_estimate(e, &total) - truth) < 1.959964 * kpx_estimate_std_error(e, &total, SLATES, kpx_estimate_deviations(e, sums, &total, 0, SLATES));
	}
	printf("95 %% intervals cover the simulated truth: ips %.1f %%, snips %.1f %%, dr %.1f %% of %d logs\n", 100.0 * covered[KPX_IPS] / LOGS,
		   100.0 * covered[KPX_SNIPS] / LOGS, 100.0 * covered[KPX_DR] / LOGS, LOGS);
	/* 95 % of 300, +- 3.5 binomial standard errors */
	CHECK(covered[KPX_IPS] >= 272 && covered[KPX_IPS] <= 298);
	CHECK(covered[KPX_SNIPS] >= 272 && covered[KPX_SNIPS] <= 298);
	CHECK(covered[KPX_DR] >= 272 && covered[KPX_DR] <= 298);
	free(sums);
	free(rows);
	free(w);
}

int
main(void)
{
	uint32_t room[MODULES] = {0};
	KpxSlateRules rules = {.k = K, .modules = MODULES, .room = room, .category_room = 1, .diversity = 0, .calibration = 0, .mix = NULL, .epsilon = 0, .top = 1};
	void *workspace = test_alloc(kpx_slate_workspace(N, &rules));

	test_revenue(workspace);
	test_coverage(workspace);
	free(workspace);
	return test_done();
}
