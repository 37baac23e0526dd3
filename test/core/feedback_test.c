/* feedback_test.c: off-policy estimators against brute force and against a planted truth. */
#include "test.h"

#include "core/feedback.h"

#define ROWS 1000
#define ACTIONS 5

static double
raw(KpxEstimator e, const KpxLog *log, double clip, double switch_at)
{
	double top = 0;
	double bottom = 0;

	for (size_t i = 0; i < log->n; i++)
	{
		double w = log->probability[i] / log->propensity[i];
		double r = log->reward[i];

		if (e == KPX_CLIPPED_IPS || e == KPX_CLIPPED_SNIPS)
			w = w > clip ? clip : w;
		bottom += e == KPX_SNIPS || e == KPX_CLIPPED_SNIPS ? w : 1;
		if (e == KPX_DIRECT)
			top += log->direct[i];
		else if (e == KPX_DR || e == KPX_SWITCH_DR)
			top += log->baseline[i] + (e == KPX_SWITCH_DR && w > switch_at ? 0 : w * (r - log->predicted[i]));
		else
			top += w * r;
	}
	return top / bottom;
}

/* All of it at once. */
static double
std_error(KpxEstimator e, const KpxUnitSums *sums, size_t units)
{
	KpxUnitSums total = {0};
	double deviations = 0;

	for (size_t u = 0; u < units; u++)
		kpx_unit_sums_add(&total, &sums[u]);
	deviations = kpx_estimate_deviations(e, sums, &total, 0, units / 3);
	return kpx_estimate_std_error(e, &total, units, deviations + kpx_estimate_deviations(e, sums, &total, units / 3, units));
}

/* A log of ROWS rows, two contexts, ACTIONS actions, with a planted mean reward of each. */
typedef struct Planted
{
	double reward[ROWS];
	double propensity[ROWS];
	double probability[ROWS];
	double predicted[ROWS];
	double baseline[ROWS];
	double direct[ROWS];
	uint32_t cell[ROWS];
	uint32_t context[2 * ACTIONS];
	double truth; /* of the judged policy, over the contexts' distribution */
} Planted;

static double
planted_mean(int x, int a)
{
	return 0.1 + 0.15 * ((3 * x + 2 * a) % ACTIONS);
}

static double
logging(int x, int a)
{
	return (1.0 + (a + x) % ACTIONS) / 15;
}

static double
judged(int x, int a)
{
	return a == (2 * x + 1) % ACTIONS ? 0.6 : 0.1;
}

static void
plant(Planted *p, uint64_t seed)
{
	p->truth = 0;
	for (int c = 0; c < 2 * ACTIONS; c++)
	{
		p->context[c] = (uint32_t) c / ACTIONS;
		p->truth += 0.5 * judged(c / ACTIONS, c % ACTIONS) * planted_mean(c / ACTIONS, c % ACTIONS);
	}
	for (uint64_t i = 0; i < ROWS; i++)
	{
		int x = kpx_uniform(seed, 1, i) < 0.5;
		double u = kpx_uniform(seed, 2, i);
		int a = 0;

		while (a < ACTIONS - 1 && u >= logging(x, a))
			u -= logging(x, a++);
		p->reward[i] = kpx_uniform(seed, 3, i) < planted_mean(x, a);
		p->propensity[i] = logging(x, a);
		p->probability[i] = judged(x, a);
		p->cell[i] = (uint32_t) (x * ACTIONS + a);
		/* a model that is wrong: it does not know the context */
		p->predicted[i] = 0.2 + 0.05 * a;
		p->baseline[i] = 0;
		for (int b = 0; b < ACTIONS; b++)
			p->baseline[i] += judged(x, b) * (0.2 + 0.05 * b);
		p->direct[i] = p->baseline[i];
	}
}

static KpxLog
planted_log(const Planted *p)
{
	return (KpxLog){ROWS, p->reward, p->propensity, p->probability, p->predicted, p->baseline, p->direct, NULL};
}

static KpxUnitSums
total_of(const KpxUnitSums *sums, size_t units)
{
	KpxUnitSums total = {0};
	double *to = (double *) &total;

	for (size_t u = 0; u < units; u++)
		for (size_t f = 0; f < sizeof(total) / sizeof(double); f++)
			to[f] += ((const double *) &sums[u])[f];
	return total;
}

static void
test_against_brute_force(void)
{
	Planted *p = test_alloc(sizeof(Planted));
	KpxUnitSums *sums = test_alloc(sizeof(KpxUnitSums) * ROWS);
	KpxLog log;
	KpxUnitSums total;
	KpxLogFaults faults = {0};
	KpxWeights weights = {0};
	double sum = 0;
	double squares = 0;

	plant(p, 1);
	log = planted_log(p);
	kpx_log_check(&log, 0, ROWS, &faults);
	CHECK_EQ(faults.not_finite + faults.propensity_zero + faults.propensity_above_one + faults.probability_outside, 0);
	memset(sums, 0, sizeof(KpxUnitSums) * ROWS);
	kpx_log_sums(&log, 2, 3, 0, 400, sums);
	kpx_log_sums(&log, 2, 3, 400, ROWS, sums);
	total = total_of(sums, ROWS);
	for (int e = 0; e < KPX_ESTIMATORS; e++)
		CHECK_NEAR(kpx_estimate(e, &total), raw(e, &log, 2, 3), 1e-12);
	kpx_log_weights(&log, 2, 0, ROWS, &weights);
	for (int i = 0; i < ROWS; i++)
	{
		sum += p->probability[i] / p->propensity[i];
		squares += pow(p->probability[i] / p->propensity[i], 2);
	}
	CHECK_NEAR(kpx_effective_sample_size(weights.sum, weights.squares), sum * sum / squares, 1e-10);
	test_check(weights.clipped_sum < weights.sum && weights.largest > 2, "clipping bites", __FILE__, __LINE__);
	free(sums);
	free(p);
}

/* Does the 95 % bootstrap-t interval of t[n] cover the truth? */
static bool
covers(double *t, size_t n, double value, double error, double truth)
{
	n = kpx_sort_values(t, n);
	return value - error * kpx_quantile(t, n, 0.975) <= truth && truth <= value - error * kpx_quantile(t, n, 0.025);
}

/* Standard errors and the bootstrap agree with the spread over many logs; intervals cover. */
static void
test_coverage(void)
{
	enum
	{
		LOGS = 400,
		REPLICATES = 200
	};
	Planted *p = test_alloc(sizeof(Planted));
	KpxUnitSums *sums = test_alloc(sizeof(KpxUnitSums) * ROWS);
	double *workspace;
	int covered[KPX_ESTIMATORS] = {0};
	int boot_covered = 0;
	double mean[KPX_ESTIMATORS] = {0};
	double squares[KPX_ESTIMATORS] = {0};
	double errors[KPX_ESTIMATORS] = {0};
	KpxCells cells = {2 * ACTIONS, 2, NULL, NULL};

	workspace = test_alloc(kpx_cells_workspace(&cells) * sizeof(double));
	for (uint64_t l = 0; l < LOGS; l++)
	{
		KpxLog log;
		KpxUnitSums total;
		double replicate[REPLICATES];

		plant(p, 1000 + l);
		log = planted_log(p);
		log.predicted = NULL;
		cells.cell = p->cell;
		cells.context = p->context;
		memset(workspace, 0, kpx_cells_workspace(&cells) * sizeof(double));
		kpx_cells_add(&log, &cells, 7, 0, 500, workspace);
		kpx_cells_add(&log, &cells, 7, 500, ROWS, workspace);
		kpx_cells_finish(&cells, workspace);
		kpx_cells_predict(&log, &cells, 7, 0, 300, workspace, p->predicted, p->baseline, p->direct);
		kpx_cells_predict(&log, &cells, 7, 300, ROWS, workspace, p->predicted, p->baseline, p->direct);
		log = planted_log(p);
		memset(sums, 0, sizeof(KpxUnitSums) * ROWS);
		kpx_log_sums(&log, 100, 100, 0, ROWS, sums);
		total = total_of(sums, ROWS);
		for (int e = 0; e < KPX_ESTIMATORS; e++)
		{
			double value = kpx_estimate(e, &total);
			double error = std_error(e, sums, ROWS);

			covered[e] += fabs(value - p->truth) < 1.959964 * error;
			mean[e] += value / LOGS;
			squares[e] += value * value / LOGS;
			errors[e] += error / LOGS;
		}
		if (l % 4 == 0)
		{
			for (uint64_t b = 0; b < REPLICATES; b++)
			{
				KpxReplicate drawn = {.squares = {0}};

				kpx_bootstrap_add(sums, ROWS, l, b, 0, 300, &drawn);
				kpx_bootstrap_add(sums, ROWS, l, b, 300, ROWS, &drawn);
				CHECK_NEAR(drawn.total.rows, ROWS, 0);
				replicate[b] = kpx_bootstrap_t(KPX_SNIPS, &drawn, ROWS, kpx_estimate(KPX_SNIPS, &total));
			}
			boot_covered += covers(replicate, REPLICATES, kpx_estimate(KPX_SNIPS, &total), std_error(KPX_SNIPS, sums, ROWS), p->truth);
		}
	}
	for (int e = 0; e < KPX_ESTIMATORS; e++)
	{
		double spread = sqrt(squares[e] - mean[e] * mean[e]);

		/* 95 % of 400, +- 3.5 binomial standard errors */
		CHECK(covered[e] >= 365 && covered[e] <= 395);
		CHECK_NEAR(errors[e] / spread, 1, 0.15);
		CHECK(fabs(mean[e] - p->truth) < 4 * spread / sqrt(LOGS));
	}
	CHECK(errors[KPX_DR] < errors[KPX_IPS]);
	CHECK(boot_covered >= 86 && boot_covered <= 100);
	free(workspace);
	free(sums);
	free(p);
}

/*
 * Revenue: one user in twelve buys, at prices from 1 to 110, mostly low ones; users have one to four
 * rows, which resemble each other. Bootstrap-t intervals cover at their nominal rate, intervals of
 * percentiles do not.
 */
static void
test_skewed_coverage(void)
{
	enum
	{
		LOGS = 400,
		USERS = 200,
		REPLICATES = 300
	};
	static const KpxEstimator judged[] = {KPX_IPS, KPX_SNIPS};
	double *column[3];
	uint32_t *unit = test_alloc(sizeof(uint32_t) * USERS * 4);
	KpxUnitSums *sums = test_alloc(sizeof(KpxUnitSums) * USERS);
	/* E(rewards of a user) / E(rows of a user): a price and 1.5 fifths of it over 2.5; rewards do not depend on the weights, whose mean is 1 */
	double truth = 0.08 * 109 / log(110) * (1 + 0.2 * 1.5) / 2.5;
	int covered[2] = {0};
	int by_percentiles = 0;

	for (int c = 0; c < 3; c++)
		column[c] = test_alloc(sizeof(double) * USERS * 4);
	for (uint64_t l = 0; l < LOGS; l++)
	{
		KpxLog log = {0, column[0], column[1], column[2], NULL, NULL, NULL, unit};
		KpxUnitSums total;
		double t[2][REPLICATES];
		double value[REPLICATES];

		for (uint64_t u = 0; u < USERS; u++)
		{
			bool buys = kpx_uniform(l, 11, u) < 0.08;
			double price = pow(110, kpx_uniform(l, 12, u));
			size_t rows = 1 + test_below(l + 77, u, 4);

			for (uint64_t r = 0; r < rows; r++)
			{
				/* shown with 0.6 and 0.4 by the log, 0.4 and 0.6 by the judged policy */
				bool first = kpx_uniform(l, 20 + r, u) < 0.6;

				column[0][log.n] = buys ? price * (r == 0 ? 1 : 0.2) : 0;
				column[1][log.n] = first ? 0.6 : 0.4;
				column[2][log.n] = first ? 0.4 : 0.6;
				unit[log.n++] = (uint32_t) u;
			}
		}
		memset(sums, 0, sizeof(KpxUnitSums) * USERS);
		kpx_log_sums(&log, 10, 10, 0, log.n, sums);
		total = total_of(sums, USERS);
		for (uint64_t b = 0; b < REPLICATES; b++)
		{
			KpxReplicate drawn = {.squares = {0}};

			kpx_bootstrap_add(sums, USERS, l, b, 0, USERS, &drawn);
			for (int e = 0; e < 2; e++)
				t[e][b] = kpx_bootstrap_t(judged[e], &drawn, USERS, kpx_estimate(judged[e], &total));
			value[b] = kpx_estimate(KPX_IPS, &drawn.total);
		}
		for (int e = 0; e < 2; e++)
			covered[e] += covers(t[e], REPLICATES, kpx_estimate(judged[e], &total), std_error(judged[e], sums, USERS), truth);
		CHECK_EQ(kpx_sort_values(value, REPLICATES), REPLICATES);
		by_percentiles += kpx_quantile(value, REPLICATES, 0.025) <= truth && truth <= kpx_quantile(value, REPLICATES, 0.975);
	}
	printf("skewed revenue, 16 buyers of 200: 95 %% intervals cover %.1f %% (ips), %.1f %% (snips); percentiles %.1f %%\n", 100.0 * covered[0] / LOGS,
		   100.0 * covered[1] / LOGS, 100.0 * by_percentiles / LOGS);
	/* 95 % of 400, +- 2.6 binomial standard errors */
	for (int e = 0; e < 2; e++)
		CHECK(covered[e] >= 369 && covered[e] <= 391);
	CHECK(by_percentiles < 369);
	for (int c = 0; c < 3; c++)
		free(column[c]);
	free(unit);
	free(sums);
}

/* A replicate's t by hand: from its draws, its own mean and its own standard error. */
static void
test_bootstrap_t(void)
{
	double reward[] = {1, 0, 2, 0, 5};
	double half[] = {0.5, 0.5, 0.5, 0.5, 0.5};
	KpxLog log = {5, reward, half, half, NULL, NULL, NULL, NULL};
	KpxUnitSums sums[5] = {{0}};
	double infinite[] = {-INFINITY, 1, 2, INFINITY};
	KpxReplicate drawn = {.squares = {0}};
	double mean = 0;
	double squares = 0;

	kpx_log_sums(&log, 10, 10, 0, 5, sums);
	kpx_bootstrap_add(sums, 5, 3, 1, 0, 5, &drawn);
	for (uint64_t d = 0; d < 5; d++)
		mean += reward[((unsigned __int128) kpx_random(3, 1, d) * 5) >> 64] / 5;
	for (uint64_t d = 0; d < 5; d++)
		squares += pow(reward[((unsigned __int128) kpx_random(3, 1, d) * 5) >> 64] - mean, 2);
	CHECK(squares > 0);
	CHECK_NEAR(kpx_bootstrap_t(KPX_IPS, &drawn, 5, 1.6), (mean - 1.6) / sqrt(squares / 4 / 5), 1e-12);
	CHECK_NEAR(kpx_bootstrap_t(KPX_IPS, &drawn, 5, mean), 0, 0);
	/* the same unit five times over */
	drawn = (KpxReplicate){.squares = {0}};
	for (int d = 0; d < 5; d++)
		kpx_bootstrap_add(sums + 2, 1, 3, 1, 0, 1, &drawn);
	CHECK(kpx_bootstrap_t(KPX_IPS, &drawn, 5, 1.6) == INFINITY);
	CHECK(kpx_bootstrap_t(KPX_IPS, &drawn, 5, 3) == -INFINITY);
	CHECK(isnan(kpx_bootstrap_t(KPX_DR, &drawn, 5, NAN)));
	CHECK(kpx_quantile(infinite, 4, 0.1) == -INFINITY);
	CHECK(kpx_quantile(infinite, 4, 0.9) == INFINITY);
	CHECK_NEAR(kpx_quantile(infinite, 4, 0.5), 1.5, 1e-12);
	CHECK_NEAR(kpx_quantile(infinite, 4, 1.0 / 3), 1, 1e-12);
}

/* A wrong model: direct is off, doubly robust is not. */
static void
test_wrong_model(void)
{
	Planted *p = test_alloc(sizeof(Planted));
	KpxUnitSums *sums = test_alloc(sizeof(KpxUnitSums) * ROWS);
	double direct = 0;
	double robust = 0;

	for (uint64_t l = 0; l < 200; l++)
	{
		KpxLog log;
		KpxUnitSums total;

		plant(p, 5000 + l);
		log = planted_log(p);
		memset(sums, 0, sizeof(KpxUnitSums) * ROWS);
		kpx_log_sums(&log, 10, 10, 0, ROWS, sums);
		total = total_of(sums, ROWS);
		direct += kpx_estimate(KPX_DIRECT, &total) / 200;
		robust += kpx_estimate(KPX_DR, &total) / 200;
	}
	CHECK(fabs(direct - p->truth) > 0.05);
	CHECK(fabs(robust - p->truth) < 0.01);
	free(sums);
	free(p);
}

/* Units: duplicating every row inside its unit changes neither value nor standard error. */
static void
test_units(void)
{
	double reward[] = {1, 0, 2, 0, 5};
	double propensity[] = {0.5, 0.25, 0.5, 1, 0.2};
	double probability[] = {0.25, 0.5, 0.5, 1, 0.2};
	double twice[3][10];
	uint32_t unit[10];
	KpxLog log = {5, reward, propensity, probability, NULL, NULL, NULL, NULL};
	KpxLog doubled = {10, twice[0], twice[1], twice[2], NULL, NULL, NULL, unit};
	KpxUnitSums a[5] = {{0}};
	KpxUnitSums b[5] = {{0}};
	KpxUnitSums total_a;
	KpxUnitSums total_b;

	for (uint32_t i = 0; i < 10; i++)
	{
		unit[i] = i / 2;
		twice[0][i] = reward[i / 2];
		twice[1][i] = propensity[i / 2];
		twice[2][i] = probability[i / 2];
	}
	kpx_log_sums(&log, 10, 10, 0, 5, a);
	kpx_log_sums(&doubled, 10, 10, 0, 10, b);
	total_a = total_of(a, 5);
	total_b = total_of(b, 5);
	for (int e = KPX_IPS; e <= KPX_CLIPPED_SNIPS; e++)
	{
		CHECK_NEAR(kpx_estimate(e, &total_a), kpx_estimate(e, &total_b), 1e-12);
		CHECK_NEAR(std_error(e, a, 5), std_error(e, b, 5), 1e-12);
	}
	CHECK(isnan(kpx_estimate(KPX_DR, &total_a)));
	CHECK(isnan(std_error(KPX_DR, a, 5)));
}

static void
test_edges(void)
{
	double reward[] = {1, 1, 1, 1, 1};
	double propensity[] = {0, NAN, 0.5, 1.5, -1};
	double probability[] = {0.5, 0.5, 1.5, 0.5, -0.5};
	double none[] = {0, 0};
	double half[] = {0.5, 0.5};
	double values[] = {3, NAN, 1, 2};
	KpxLog bad = {5, reward, propensity, probability, NULL, NULL, NULL, NULL};
	KpxLog weightless = {2, reward, half, none, NULL, NULL, NULL, NULL};
	KpxLogFaults faults = {0};
	KpxUnitSums sums[2] = {{0}};
	KpxUnitSums total = {0};

	kpx_log_check(&bad, 0, 5, &faults);
	CHECK_EQ(faults.not_finite, 1);
	CHECK_EQ(faults.propensity_zero, 2);
	CHECK_EQ(faults.propensity_above_one, 1);
	CHECK_EQ(faults.probability_outside, 2);
	/* any number of a row that is not finite */
	for (int column = 0; column < 6; column++)
	{
		double one[6] = {1, 0.5, 0.5, 0.1, 0.1, 0.1};
		KpxLog row = {1, &one[0], &one[1], &one[2], &one[3], &one[4], &one[5], NULL};

		faults = (KpxLogFaults){0};
		kpx_log_check(&row, 0, 1, &faults);
		CHECK_EQ(faults.not_finite, 0);
		one[column] = column % 2 ? NAN : INFINITY;
		kpx_log_check(&row, 0, 1, &faults);
		CHECK_EQ(faults.not_finite, 1);
	}
	CHECK_EQ(kpx_sort_values(values, 1), 1);
	CHECK_EQ(kpx_sort_values(values + 1, 1), 0);
	CHECK_EQ(kpx_sort_values(values, 0), 0);
	CHECK(isnan(kpx_estimate(KPX_IPS, &total)));
	CHECK(isnan(std_error(KPX_IPS, sums, 0)));
	kpx_log_sums(&weightless, 10, 10, 0, 2, sums);
	total = total_of(sums, 2);
	CHECK_NEAR(kpx_estimate(KPX_IPS, &total), 0, 0);
	CHECK(isnan(kpx_estimate(KPX_SNIPS, &total)));
	CHECK(isnan(std_error(KPX_SNIPS, sums, 2)));
	CHECK(isnan(std_error(KPX_IPS, sums, 1)));
	CHECK_NEAR(kpx_effective_sample_size(0, 0), 0, 0);
	CHECK_EQ(kpx_sort_values(values, 4), 3);
	CHECK_NEAR(kpx_quantile(values, 3, 0.25), 1.5, 1e-12);
	CHECK_NEAR(kpx_quantile(values, 3, 1), 3, 0);
	CHECK(isnan(kpx_quantile(values, 0, 0.5)));
	CHECK_NEAR(kpx_smoothed_rate(3, 10, 0.1, 20), 5.0 / 30, 1e-15);
}

int
main(void)
{
	test_against_brute_force();
	test_coverage();
	test_skewed_coverage();
	test_bootstrap_t();
	test_wrong_model();
	test_units();
	test_edges();
	return test_done();
}
