/*
 * classify_test.c
 *	  AUC, thresholds and calibration against brute force and planted truths.
 */
#include "core/classify.h"
#include "test.h"

static double
sigmoid(double x)
{
	return 1 / (1 + exp(-x));
}

/* Every pair looked at. */
static double
brute_auc(const KpxPrediction *p, size_t n)
{
	double right = 0;
	double pairs = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			if (p[i].outcome && !p[j].outcome)
			{
				pairs++;
				right += p[i].probability > p[j].probability ? 1 : p[i].probability == p[j].probability ? 0.5
																										: 0;
			}
	return right / pairs;
}

static void
test_random(size_t n, int levels)
{
	KpxPrediction *p = test_alloc(n * sizeof(KpxPrediction));
	KpxPrediction *scratch = test_alloc(n * sizeof(KpxPrediction));
	double best = -1;
	double loss = 0;
	KpxConfusion c;

	for (size_t i = 0; i < n; i++)
	{
		double u = kpx_uniform(1, n, i);

		p[i].probability = (float) (levels ? floor(u * levels) / levels : u);
		p[i].outcome = kpx_uniform(2, n, i) < u;
		loss -= log(fmin(fmax(p[i].outcome ? p[i].probability : 1 - (double) p[i].probability, 1e-7), 1 - 1e-7));
	}
	CHECK_NEAR(kpx_log_loss(p, n), loss / (double) n, 1e-9);
	kpx_sort_predictions(p, n, scratch);
	for (size_t i = 1; i < n; i++)
		CHECK(p[i - 1].probability <= p[i].probability);
	CHECK_NEAR(kpx_auc(p, n), brute_auc(p, n), 1e-12);
	for (size_t i = 0; i < n; i++)
	{
		c = kpx_confusion(p, n, p[i].probability);
		CHECK_EQ(c.true_positive + c.false_positive + c.false_negative + c.true_negative, n);
		best = fmax(best, kpx_f1(c.true_positive, c.false_positive, c.false_negative));
	}
	c = kpx_confusion(p, n, kpx_best_threshold(p, n));
	CHECK_NEAR(kpx_f1(c.true_positive, c.false_positive, c.false_negative), best, 1e-12);
	free(p);
	free(scratch);
}

static void
test_edges(void)
{
	KpxPrediction same[3] = {{0.5f, 1}, {0.5f, 1}, {0.7f, 1}};
	KpxCalibrationBin bin[4];
	KpxPrediction p[8];

	CHECK(isnan(kpx_auc(same, 3)));
	CHECK(isnan(kpx_log_loss(same, 0)));
	CHECK_NEAR(kpx_f1(0, 5, 0), 0, 0);
	for (int i = 0; i < 8; i++)
		p[i] = (KpxPrediction){(float) i / 8, i >= 4};
	kpx_calibration(p, 8, 4, bin);
	CHECK_EQ(bin[0].n, 2);
	CHECK_NEAR(bin[0].predicted, 1.0 / 16, 1e-7);
	CHECK_NEAR(bin[1].observed, 0, 0);
	CHECK_NEAR(bin[3].observed, 1, 0);
	kpx_calibration(p, 2, 4, bin);
	CHECK_EQ(bin[0].n + bin[1].n + bin[2].n + bin[3].n, 2);
}

/* Logits distorted by a known line: 100,000 outcomes, standard error of the slope about 0.01. */
static void
test_platt(void)
{
	size_t n = 100000;
	double *logit = test_alloc(n * sizeof(double));
	uint8_t *outcome = test_alloc(n);
	KpxPlatt platt;
	double mean = 0;
	double rate = 0;

	for (size_t i = 0; i < n; i++)
	{
		double truth = 1.5 * kpx_normal(7, 0, i) - 2;

		logit[i] = (truth + 0.7) / 0.5; /* truth = 0.5 logit - 0.7 */
		outcome[i] = kpx_uniform(7, 1, i) < sigmoid(truth);
	}
	platt = kpx_platt_fit(logit, outcome, n);
	CHECK_NEAR(platt.slope, 0.5, 0.03);
	CHECK_NEAR(platt.intercept, -0.7, 0.05);
	for (size_t i = 0; i < n; i++)
	{
		mean += sigmoid(platt.slope * logit[i] + platt.intercept);
		rate += outcome[i];
	}
	CHECK_NEAR(mean / (double) n, rate / (double) n, 1e-4);
	/* a head that ranks the wrong way round keeps its order and gets the right mean */
	for (size_t i = 0; i < n; i++)
		logit[i] = -logit[i];
	platt = kpx_platt_fit(logit, outcome, n);
	CHECK_NEAR(platt.slope, 1, 0);
	mean = 0;
	for (size_t i = 0; i < n; i++)
		mean += sigmoid(logit[i] + platt.intercept);
	CHECK_NEAR(mean / (double) n, rate / (double) n, 1e-4);
	memset(outcome, 0, n);
	platt = kpx_platt_fit(logit, outcome, n);
	CHECK(isfinite(platt.intercept) && platt.slope == 1);
	platt = kpx_platt_fit(logit, outcome, 0);
	CHECK(platt.slope == 1 && platt.intercept == 0);
	free(logit);
	free(outcome);
}

/* Separable: the smoothed targets keep the answer finite. */
static void
test_separable(void)
{
	double logit[6] = {-3, -2, -1, 1, 2, 3};
	uint8_t outcome[6] = {0, 0, 0, 1, 1, 1};
	KpxPlatt platt = kpx_platt_fit(logit, outcome, 6);

	CHECK(isfinite(platt.slope) && platt.slope > 0 && isfinite(platt.intercept));
	CHECK(fabs(platt.intercept) < 1e-6);
}

int
main(void)
{
	test_random(200, 0);
	test_random(200, 7);
	test_random(2, 0);
	test_random(333, 2);
	test_edges();
	test_platt();
	test_separable();
	return test_done();
}
