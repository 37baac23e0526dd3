/*
 * blend_test.c
 *	  The blending loss: gradient and Hessian against differences, and known weights found again.
 */
#include "core/blend.h"
#include "test.h"

#define SCORES 3
#define LISTS 2000
#define CANDIDATES 20

static float score[LISTS * CANDIDATES * SCORES];
static uint64_t offset[LISTS + 1];

/* Lists whose chosen item was drawn from the model with these weights. */
static KpxBlendLists
lists_of(const double *beta)
{
	for (size_t l = 0; l <= LISTS; l++)
		offset[l] = l * CANDIDATES;
	for (size_t l = 0; l < LISTS; l++)
	{
		double total = 0;
		double u = kpx_uniform(8, 0, l);
		size_t chosen = CANDIDATES - 1;
		double p[CANDIDATES];

		for (size_t c = 0; c < CANDIDATES; c++)
		{
			double x = 0;

			for (int k = 0; k < SCORES; k++)
			{
				float f = (float) kpx_normal(9, l, c * SCORES + (size_t) k);

				score[(l * CANDIDATES + c) * SCORES + (size_t) k] = f;
				x += beta[k] * f;
			}
			total += p[c] = exp(x);
		}
		for (size_t c = 0; c < CANDIDATES; c++)
		{
			u -= p[c] / total;
			if (u < 0)
			{
				chosen = c;
				break;
			}
		}
		for (int k = 0; k < SCORES; k++)
		{
			float *first = &score[l * CANDIDATES * SCORES + (size_t) k];
			float *other = &score[(l * CANDIDATES + chosen) * SCORES + (size_t) k];
			float t = *first;

			*first = *other;
			*other = t;
		}
	}
	return (KpxBlendLists){SCORES, LISTS, offset, score};
}

static void
test_gradient(const KpxBlendLists *lists)
{
	double beta[SCORES] = {0.4, -0.3, 1.1};
	double gradient[SCORES] = {0};
	double hessian[SCORES * SCORES] = {0};
	double loss = kpx_blend_loss(lists, 0, 50, beta, gradient, hessian);
	const double h = 1e-5;

	CHECK_NEAR(kpx_blend_loss(lists, 0, 20, beta, NULL, NULL) + kpx_blend_loss(lists, 20, 50, beta, NULL, NULL), loss, 1e-12);
	for (int k = 0; k < SCORES; k++)
	{
		double up[SCORES];
		double down[SCORES];
		double gradient_up[SCORES] = {0};
		double gradient_down[SCORES] = {0};
		double unused[SCORES * SCORES] = {0};

		memcpy(up, beta, sizeof(up));
		memcpy(down, beta, sizeof(down));
		up[k] += h;
		down[k] -= h;
		CHECK_NEAR((kpx_blend_loss(lists, 0, 50, up, gradient_up, unused) - kpx_blend_loss(lists, 0, 50, down, gradient_down, unused)) / (2 * h),
				   gradient[k], 1e-6);
		for (int j = 0; j < SCORES; j++)
			CHECK_NEAR((gradient_up[j] - gradient_down[j]) / (2 * h), hessian[k * SCORES + j], 1e-6);
	}
}

static void
test_recovery(const double *truth)
{
	KpxBlendLists lists = lists_of(truth);
	double beta[SCORES] = {0};
	const double prior[SCORES] = {0};

	test_gradient(&lists);
	for (int i = 0; i < 20; i++)
	{
		double gradient[SCORES] = {0};
		double hessian[SCORES * SCORES] = {0};
		double step[SCORES];

		kpx_blend_loss(&lists, 0, LISTS, beta, gradient, hessian);
		CHECK(kpx_blend_step(SCORES, beta, gradient, hessian, 1e-3, prior, step));
		for (int k = 0; k < SCORES; k++)
			beta[k] += step[k];
	}
	/* four standard errors: 1 / sqrt(lists x variance of a score within a list), about 0.03 */
	for (int k = 0; k < SCORES; k++)
		CHECK(fabs(beta[k] - truth[k]) < 0.12);
}

static void
test_edges(void)
{
	double beta[2] = {0, 0};
	double gradient[2] = {0, 0};
	double hessian[4] = {0, 0, 0, 0};
	double step[2];
	const float same[] = {1, 2, 1, 2, 1, 2};
	const uint64_t at[] = {0, 0, 3};
	KpxBlendLists lists = {2, 2, at, same};

	/* nothing to tell candidates apart, and an empty list */
	CHECK_NEAR(kpx_blend_loss(&lists, 0, 2, beta, gradient, hessian), log(3), 1e-12);
	CHECK(!kpx_blend_step(2, beta, gradient, hessian, 0, beta, step));
	CHECK(kpx_blend_step(2, beta, gradient, hessian, 1, beta, step));
	CHECK_NEAR(step[0], 0, 1e-12);
}

static void
test_scores(void)
{
	const float warm[] = {2, 3, 4};
	const float cold[] = {5, 6, -1};
	const float behaviour[] = {0.1f, 0.2f};
	const float content[] = {0.3f, 0.4f};
	const float popularity[] = {0.5f, 0.6f};
	const uint8_t is_cold[] = {0, 1};
	float out[2];

	kpx_blend_scores(warm, cold, behaviour, content, popularity, is_cold, 2, out);
	CHECK_NEAR(out[0], 0.2 + 0.9 + 2, 1e-6);
	CHECK_NEAR(out[1], 1 + 2.4 - 1, 1e-6);
	kpx_blend_scores(warm, cold, NULL, content, popularity, is_cold, 2, out);
	CHECK_NEAR(out[0], 0.9 + 2, 1e-6);
	CHECK_NEAR(kpx_blend_popularity(0, 10), 0, 0);
	CHECK_NEAR(kpx_blend_popularity(10, 10), 1, 1e-6);
	CHECK_NEAR(kpx_blend_popularity(3, 10), log(4) / log(11), 1e-6);
}

int
main(void)
{
	test_scores();
	test_recovery((const double[]){1, 0.5, 0});
	test_recovery((const double[]){2, -1, 0.3});
	test_edges();
	return test_done();
}
