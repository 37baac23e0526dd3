/*
 * signals_test.c
 *	  The ranker's features: their values in small cases, what is missing, and their bounds.
 */
#include "core/signals.h"
#include "test.h"

int
main(void)
{
	const float similarity[] = {0.5f, NAN, -0.25f, 1};
	const float weight[] = {1, 100, 2, 1};
	const double prices[] = {9, NAN, 99, -1};
	float mean;
	float largest;

	kpx_signal_similarity(similarity, weight, 4, &mean, &largest);
	CHECK_NEAR(mean, (0.5 - 0.5 + 1) / 4, 1e-7);
	CHECK_NEAR(largest, 1, 0);
	kpx_signal_similarity(similarity, weight, 0, &mean, &largest);
	CHECK(isnan(mean) && isnan(largest));
	kpx_signal_similarity(similarity + 1, weight + 1, 1, &mean, &largest);
	CHECK(isnan(mean) && isnan(largest));
	kpx_signal_similarity(similarity + 2, weight + 2, 1, &mean, &largest);
	CHECK_NEAR(largest, -0.25, 0);

	CHECK_NEAR(kpx_signal_module(0, 0, 5), 0, 1e-7);
	CHECK_NEAR(kpx_signal_module(9, 15, 5), log(10.0 / 20 * 5), 1e-6);
	CHECK(kpx_signal_module(0, 15, 5) < 0);
	CHECK_NEAR(kpx_signal_category(0, 0), 0.5, 0);
	CHECK_NEAR(kpx_signal_category(3, 3), 3.5 / 4, 1e-7);

	CHECK_NEAR(kpx_signal_price(9, prices, weight, 1), 0, 1e-7);
	CHECK_NEAR(kpx_signal_price(9, prices, weight, 4), -fabs(log(10) - (log(10) + 2 * log(100)) / 3), 1e-6);
	CHECK(isnan(kpx_signal_price(NAN, prices, weight, 4)));
	CHECK(isnan(kpx_signal_price(9, prices + 1, weight + 1, 1)));
	CHECK(isnan(kpx_signal_price(9, prices, weight, 0)));

	CHECK_NEAR(kpx_signal_popularity(0.01, 90), 0, 1e-6);
	CHECK(isfinite(kpx_signal_popularity(0, 90)));
	CHECK_NEAR(kpx_signal_segment(0.03, 0.03, 50), 0, 1e-6);
	CHECK_NEAR(kpx_signal_segment(0.04, 0.02, 100), log(4.1 / 2.1), 1e-6);
	CHECK_NEAR(kpx_signal_segment(NAN, 0.02, 100), log(0.1 / 2.1), 1e-6);
	CHECK_NEAR(kpx_signal_log(0), 0, 0);
	CHECK(isnan(kpx_signal_log(-1)) && isnan(kpx_signal_log(NAN)));
	CHECK_NEAR(kpx_signal_logit(0.5), 0, 1e-7);
	CHECK(isfinite(kpx_signal_logit(0)) && isfinite(kpx_signal_logit(1)));
	return test_done();
}
