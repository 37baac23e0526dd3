/*
 * fuse_test.c
 *	  Soft one-hot numbers, centred embeddings, fused modalities against their definitions.
 */
#include "core/fuse.h"
#include "test.h"

static void
test_knots(void)
{
	double value[101];
	double knot[KPX_KNOTS];
	double same[5] = {3, 3, 3, 3, 3};

	for (int i = 0; i <= 100; i++)
		value[i] = i * i;
	CHECK_EQ(kpx_quantile_knots(value, 101, knot), KPX_KNOTS);
	CHECK_NEAR(knot[0], 0, 0);
	CHECK_NEAR(knot[4], 2500, 0);
	CHECK_NEAR(knot[8], 10000, 0);
	CHECK_EQ(kpx_quantile_knots(same, 5, knot), 1);
	CHECK_EQ(kpx_quantile_knots(value, 0, knot), 0);
	(void) kpx_quantile_knots(value, 101, knot);
	for (double x = -5; x < 11000; x += 13.7)
	{
		float point[2];
		double t = 0;

		for (int k = 0; k + 1 < KPX_KNOTS; k++)
			if (x > knot[k])
				t = (k + fmin(1, (x - knot[k]) / (knot[k + 1] - knot[k]))) / (KPX_KNOTS - 1);
		kpx_rank_point(knot, KPX_KNOTS, x, point);
		CHECK_NEAR(atan2(point[1], point[0]) / M_PI, t, 1e-6);
		CHECK_NEAR(point[0] * point[0] + point[1] * point[1], 1, 1e-6);
	}
}

static void
test_embeddings(void)
{
	float x[3] = {1, NAN, 2};
	float mean[3] = {1, 1, 1};

	CHECK_EQ(kpx_embedding_check(x, 3), KPX_NOT_FINITE);
	x[1] = INFINITY;
	CHECK_EQ(kpx_embedding_check(x, 3), KPX_NOT_FINITE);
	x[1] = 0;
	CHECK_EQ(kpx_embedding_check(x, 3), KPX_OK);
	CHECK(kpx_centre_unit(x, mean, 3));
	CHECK_NEAR(x[0], 0, 1e-6);
	CHECK_NEAR(x[1], -sqrt(0.5), 1e-6);
	CHECK_NEAR(x[2], sqrt(0.5), 1e-6);
	x[0] = x[1] = x[2] = 1;
	CHECK(!kpx_centre_unit(x, mean, 3));
	CHECK_NEAR(x[0], 0, 0);
	CHECK_EQ(kpx_embedding_check((const float[]){0, 0}, 2), KPX_BAD_ARGUMENT);
}

/* The cosine of whole items is the weighted mean of the cosines of their modalities. */
static void
test_fusion(void)
{
	const uint32_t begin[] = {0, 2, 5, 6};
	const float weight[] = {1, 0.5f, 2};
	float a[6];
	float b[6];
	double expected = 0;
	double cosine = 0;

	for (int i = 0; i < 6; i++)
	{
		a[i] = (float) kpx_normal(1, 1, (uint64_t) i);
		b[i] = (float) kpx_normal(1, 2, (uint64_t) i);
	}
	for (int m = 0; m < 3; m++)
	{
		CHECK(kpx_centre_unit(a + begin[m], NULL, begin[m + 1] - begin[m]));
		CHECK(kpx_centre_unit(b + begin[m], NULL, begin[m + 1] - begin[m]));
		for (uint32_t i = begin[m]; i < begin[m + 1]; i++)
			expected += weight[m] / 3.5 * a[i] * b[i];
	}
	CHECK(kpx_fuse(a, begin, weight, 3));
	CHECK(kpx_fuse(b, begin, weight, 3));
	for (int i = 0; i < 6; i++)
		cosine += (double) a[i] * b[i];
	CHECK_NEAR(cosine, expected, 1e-6);
	/* an item without its second modality is of length 1 all the same */
	a[0] = 1;
	a[1] = a[2] = a[3] = a[4] = 0;
	a[5] = -1;
	CHECK(kpx_fuse(a, begin, weight, 3));
	CHECK_NEAR(a[0] * a[0] + a[5] * a[5], 1, 1e-6);
	CHECK_NEAR(a[5] * a[5], 2.0 / 3, 1e-6);
	memset(a, 0, sizeof(a));
	CHECK(!kpx_fuse(a, begin, weight, 3));
}

int
main(void)
{
	test_knots();
	test_embeddings();
	test_fusion();
	return test_done();
}
