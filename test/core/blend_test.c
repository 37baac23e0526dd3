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

/* NDCG against counting by hand, with ties, an empty list and ranks beyond the depth. */
static void
test_ndcg(void)
{
	const float three[] = {1, 2, 2, 1, 0, 3, 5, 5, 5, 5};
	const uint64_t at[] = {0, 2, 2, 6, 10};
	KpxBlendLists lists = {1, 4, at, three};
	double beta[1] = {1};
	float value[4];

	kpx_blend_ndcg(&lists, 0, 4, beta, 10, -1, value);
	CHECK_NEAR(value[0], 1 / log2(3), 1e-6); /* second of two */
	CHECK_NEAR(value[1], 0, 1e-12);
	CHECK_NEAR(value[2], 1 / log2(3), 1e-6); /* 3 above 2 */
	CHECK_NEAR(value[3], (1 + 1 / log2(3) + 0.5 + 1 / log2(5)) / 4, 1e-6);
	kpx_blend_ndcg(&lists, 2, 4, beta, 1, -1, value);
	CHECK_NEAR(value[0], 0, 1e-12);
	CHECK_NEAR(value[1], 0.25, 1e-6);
}

/* New items among the candidates (their second score) are left out where asked, the chosen one never is. */
static void
test_ndcg_without(void)
{
	const float four[] = {1, 0, 2, 1, 3, 0, 3, 1, 1, 1, 2, 0};
	const uint64_t at[] = {0, 4, 6};
	KpxBlendLists lists = {2, 2, at, four};
	double beta[2] = {1, 0};
	float value[2];

	kpx_blend_ndcg(&lists, 0, 2, beta, 10, -1, value);
	CHECK_NEAR(value[0], 1 / log2(5), 1e-6);
	kpx_blend_ndcg(&lists, 0, 2, beta, 10, 1, value);
	CHECK_NEAR(value[0], 1 / log2(3), 1e-6);
	CHECK_NEAR(value[1], 1 / log2(3), 1e-6);
}

/* The weights of two scores with the least loss on the lists whose number modulo 2 is not left_out. */
static void
fit_two(const KpxBlendLists *lists, size_t left_out, double *beta)
{
	const double prior[2] = {0};

	beta[0] = beta[1] = 0;
	for (int i = 0; i < 30; i++)
	{
		double gradient[2] = {0};
		double hessian[4] = {0};
		double step[2];

		for (size_t l = 0; l < lists->lists; l++)
			if (l % 2 != left_out)
				(void) kpx_blend_loss(lists, l, l + 1, beta, gradient, hessian);
		CHECK(kpx_blend_step(2, beta, gradient, hessian, 2, prior, step));
		for (int k = 0; k < 2; k++)
			beta[k] += fmax(-2, fmin(2, step[k]));
	}
}

/*
 * Two scores, the second a noisy hint of the choice. The first is right in share of the lists and, where it
 * is wrong, wrong by so much that the logit must not trust it: what it costs there outweighs what it gains.
 */
static KpxBlendLists
planted(double share, float wrong)
{
	static const int candidates = 20;

	for (size_t l = 0; l < LISTS; l++)
		for (int c = 0; c < candidates; c++)
		{
			float *to = &score[(l * (size_t) candidates + (size_t) c) * 2];
			bool right = kpx_uniform(21, 0, l) < share;

			to[0] = c ? (float) kpx_uniform(22, l, (uint64_t) c) : right ? 1.05f
																		 : wrong;
			to[1] = (float) kpx_normal(23, l, (uint64_t) c) + (c ? 0 : 0.5f);
			offset[l] = l * (size_t) candidates;
		}
	offset[LISTS] = LISTS * (size_t) candidates;
	return (KpxBlendLists){2, LISTS, offset, score};
}

/* Which part the cross-fitted blend of a planted case gives way to. */
static int
gives_way(double share, float wrong)
{
	static float value[3 * LISTS];
	KpxBlendLists lists = planted(share, wrong);
	const double part[2][2] = {{1, 0}, {0, 1}};
	double fold[2][2];

	fit_two(&lists, 0, fold[0]);
	fit_two(&lists, 1, fold[1]);
	for (size_t l = 0; l < LISTS; l++)
	{
		kpx_blend_ndcg(&lists, l, l + 1, fold[l % 2], 10, -1, &value[l]);
		for (int k = 0; k < 2; k++)
			kpx_blend_ndcg(&lists, l, l + 1, part[k], 10, -1, &value[((size_t) k + 1) * LISTS + l]);
	}
	return kpx_blend_gives_way(value, LISTS, 2);
}

static void
test_guard(void)
{
	const float better[] = {0, 0, 0, 0, 1, 0.5f, 1, 0.5f, 1, 1, 1, 0};
	const float even[] = {0.5f, 0.5f, 1, 0};
	const float ahead[] = {1, 1, 1, 1, 0.5f, 0.4f, 0.6f, 0.5f};

	CHECK(gives_way(0.6, -30) == 0); /* blending cannot help */
	CHECK(gives_way(0, 0.8f) == -1); /* it does: both scores are hints, of different kinds */
	CHECK(gives_way(0, 0.5f) == 1); /* the first score says nothing: the blend is the second, but for what was fitted to noise */
	CHECK(kpx_blend_gives_way(better, 4, 2) == 0); /* means 0.75 and 0.75: the first */
	CHECK(kpx_blend_gives_way(better, 1, 2) == -1); /* one list says nothing */
	CHECK(kpx_blend_gives_way(better, 0, 2) == -1);
	CHECK(kpx_blend_gives_way(even, 2, 1) == 0); /* a blend that is no better does not earn its place */
	CHECK(kpx_blend_gives_way(ahead, 4, 1) == -1); /* by 0.5, four times as sure */
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
	const float behaviour[] = {0.1f, 0.2f, NAN};
	const float content[] = {0.3f, 0.4f, 0.5f};
	const float popularity[] = {0.5f, 0.6f, 0.7f};
	const uint8_t is_cold[] = {0, 1, 0};
	float out[3];

	kpx_blend_begin(popularity, 4, -1, is_cold, 3, out);
	kpx_blend_add(behaviour, 2, 5, is_cold, 3, out);
	kpx_blend_add(content, 3, 6, is_cold, 3, out);
	CHECK_NEAR(out[0], 0.2 + 0.9 + 2, 1e-6);
	CHECK_NEAR(out[1], 1 + 2.4 - 1, 1e-6);
	CHECK_NEAR(out[2], 1.5 + 2.8, 1e-6); /* no opinion */
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
	test_ndcg();
	test_ndcg_without();
	test_guard();
	return test_done();
}
