/*
 * ranking_test.c
 *	  Two-headed ranker: gradients against differences, recovery of planted parameters,
 *	  AUC beside the best there can be, positions, and arithmetic at extreme logits.
 */
#include "core/classify.h"
#include "core/ranking.h"
#include "test.h"

enum
{
	NUMERIC = 4,
	CATEGORICAL = 2,
	LEVELS = 7, /* 4 of one, 3 of the other */
	FEATURES = NUMERIC + LEVELS,
	POSITIONS = 5
};

typedef struct World
{
	KpxImpressions imp;
	float *dense;
	uint32_t *category;
	uint16_t *position;
	uint8_t *label;
	uint32_t *order;
	double *p_click; /* the true ones, at the shown position */
	double *p_both;
} World;

static World
make_world(size_t n, uint64_t seed)
{
	World w;

	w.dense = test_alloc(n * NUMERIC * sizeof(float));
	w.category = test_alloc(n * CATEGORICAL * sizeof(uint32_t));
	w.position = test_alloc(n * sizeof(uint16_t));
	w.label = test_alloc(n);
	w.order = test_alloc(n * sizeof(uint32_t));
	w.p_click = test_alloc(n * sizeof(double));
	w.p_both = test_alloc(n * sizeof(double));
	for (size_t i = 0; i < n; i++)
	{
		for (size_t j = 0; j < NUMERIC; j++)
			w.dense[i * NUMERIC + j] = (float) kpx_normal(seed, 1, i * NUMERIC + j);
		w.category[2 * i] = NUMERIC + (uint32_t) (kpx_random(seed, 2, i) % 4);
		w.category[2 * i + 1] = i % 11 == 0 ? KPX_NO_CATEGORY : NUMERIC + 4 + (uint32_t) (kpx_random(seed, 3, i) % 3);
		w.position[i] = (uint16_t) (kpx_random(seed, 4, i) % (POSITIONS + 2));
		w.order[i] = (uint32_t) i;
		w.label[i] = 0;
	}
	w.imp = (KpxImpressions){n, NUMERIC, CATEGORICAL, w.dense, w.category, w.position, w.label};
	return w;
}

static void
free_world(World *w)
{
	free(w->dense);
	free(w->category);
	free(w->position);
	free(w->label);
	free(w->order);
	free(w->p_click);
	free(w->p_both);
}

/* Labels drawn from a planted ranker. */
static void
draw_labels(World *w, const KpxRanker *truth, uint64_t seed)
{
	for (size_t i = 0; i < w->imp.n; i++)
	{
		double a;
		double b;
		int position = w->position[i] < POSITIONS ? w->position[i] : POSITIONS - 1;
		double p;
		double q;

		kpx_ranker_logits(truth, &w->imp, i, &a, &b);
		p = kpx_sigmoid(a + (position ? truth->parameter[truth->position + (size_t) position] : 0));
		q = kpx_sigmoid(b);
		w->p_click[i] = p;
		w->p_both[i] = p * q;
		if (kpx_uniform(seed, 5, i) < p)
			w->label[i] = (uint8_t) (KPX_CLICKED | (kpx_uniform(seed, 6, i) < q ? KPX_CONVERTED : 0));
	}
}

static KpxRanker
make_ranker(int factors)
{
	KpxRanker r;

	CHECK_EQ(kpx_ranker_layout(&r, FEATURES, factors, POSITIONS), KPX_OK);
	r.parameter = test_alloc(r.parameters * sizeof(double));
	return r;
}

/* Central differences in double: every parameter, linear and factorization machine. */
static void
test_gradient(int factors)
{
	World w = make_world(60, 11);
	KpxRanker r = make_ranker(factors);
	double *gradient = test_alloc(r.parameters * sizeof(double));
	double sum;

	for (size_t i = 0; i < w.imp.n; i++)
		w.label[i] = (uint8_t) (i % 5 == 0 ? 3 : i % 3 == 0 ? 1
															: 0);
	kpx_ranker_init(&r, 0.3, 0.4, 5);
	for (size_t k = 0; k < r.parameters; k++)
		r.parameter[k] += 0.3 * kpx_normal(12, 0, k);
	memset(gradient, 0, r.parameters * sizeof(double));
	sum = kpx_ranker_gradient(&r, &w.imp, w.order, 0, w.imp.n, gradient);
	CHECK_NEAR(sum, kpx_ranker_loss(&r, &w.imp, NULL, 0, w.imp.n), 1e-12);
	for (size_t k = 0; k < r.parameters; k++)
	{
		double keep = r.parameter[k];
		double up;
		double down;

		r.parameter[k] = keep + 1e-5;
		up = kpx_ranker_loss(&r, &w.imp, w.order, 0, w.imp.n);
		r.parameter[k] = keep - 1e-5;
		down = kpx_ranker_loss(&r, &w.imp, w.order, 0, w.imp.n);
		r.parameter[k] = keep;
		CHECK_NEAR(gradient[k], (up - down) / 2e-5, 1e-6);
	}
	free(r.parameter);
	free(gradient);
	free_world(&w);
}

static void
fit(KpxRanker *r, const World *w, int epochs, double rate)
{
	KpxAdamW adam = {rate, 1e-4, 0, NULL, NULL, NULL};

	adam.first = test_alloc(r->parameters * sizeof(double));
	adam.second = test_alloc(r->parameters * sizeof(double));
	adam.gradient = test_alloc(r->parameters * sizeof(double));
	memset(adam.first, 0, r->parameters * sizeof(double));
	memset(adam.second, 0, r->parameters * sizeof(double));
	for (int e = 0; e < epochs; e++)
	{
		size_t cursor = 0;
		double loss = 0;
		int calls = 0;
		KpxStatus status;

		if (e == epochs * 2 / 3)
			adam.rate = rate / 10;
		kpx_shuffle(w->order, w->imp.n, 3, (uint64_t) e);
		while ((status = kpx_ranker_epoch(r, &w->imp, w->order, w->imp.n, 512, &adam, &cursor, 1e6, &loss)) == KPX_MORE)
			calls++;
		CHECK_EQ(status, KPX_OK);
		CHECK(calls > 1);
	}
	free(adam.first);
	free(adam.second);
	free(adam.gradient);
}

static double
auc_of(const World *w, const double *p, uint8_t bit)
{
	KpxPrediction *prediction = test_alloc(w->imp.n * sizeof(KpxPrediction));
	KpxPrediction *scratch = test_alloc(w->imp.n * sizeof(KpxPrediction));
	double auc;

	for (size_t i = 0; i < w->imp.n; i++)
		prediction[i] = (KpxPrediction){(float) p[i], (w->label[i] & bit) != 0};
	kpx_sort_predictions(prediction, w->imp.n, scratch);
	auc = kpx_auc(prediction, w->imp.n);
	free(prediction);
	free(scratch);
	return auc;
}

/*
 * Planted parameters: 200,000 impressions, click rate near 0.2, conversions near 0.3 of
 * clicks. The standard error of a click weight is about 1 / sqrt(n p (1 - p)) = 0.006, of
 * a conversion weight about 1 / sqrt(n p q (1 - q)) = 0.011, more for the levels.
 */
static void
test_recovery(int factors)
{
	World w = make_world(200000, 21);
	World fresh = make_world(100000, 22);
	KpxRanker truth = make_ranker(factors);
	KpxRanker r = make_ranker(factors);
	double *click = test_alloc(fresh.imp.n * sizeof(double));
	double *both = test_alloc(fresh.imp.n * sizeof(double));

	memset(truth.parameter, 0, truth.parameters * sizeof(double));
	truth.parameter[truth.intercept[0]] = -1.5;
	truth.parameter[truth.intercept[1]] = -0.8;
	for (int j = 0; j < POSITIONS; j++)
		truth.parameter[truth.position + (size_t) j] = -0.3 * j;
	for (size_t k = truth.undecayed; k < truth.parameters; k++)
		truth.parameter[k] = 0.5 * kpx_normal(23, 0, k);
	draw_labels(&w, &truth, 24);
	draw_labels(&fresh, &truth, 25);
	kpx_ranker_init(&r, 0.2, 0.3, 1);
	fit(&r, &w, factors ? 12 : 6, 0.01);
	if (factors == 0)
		for (size_t j = 0; j < NUMERIC; j++)
		{
			CHECK_NEAR(r.parameter[r.weight[0] + j], truth.parameter[truth.weight[0] + j], 0.04);
			CHECK_NEAR(r.parameter[r.weight[1] + j], truth.parameter[truth.weight[1] + j], 0.07);
		}
	for (int j = 1; j < POSITIONS; j++)
		CHECK_NEAR(r.parameter[r.position + (size_t) j], -0.3 * j, 0.08);
	for (size_t i = 0; i < fresh.imp.n; i++)
	{
		double a;
		double b;
		int position = fresh.position[i] < POSITIONS ? fresh.position[i] : POSITIONS - 1;

		kpx_ranker_logits(&r, &fresh.imp, i, &a, &b);
		click[i] = kpx_sigmoid(a + (position ? r.parameter[r.position + (size_t) position] : 0));
		both[i] = click[i] * kpx_sigmoid(b);
	}
	/* the true probabilities rank best of all: within 0.01 of them */
	CHECK(auc_of(&fresh, click, KPX_CLICKED) > auc_of(&fresh, fresh.p_click, KPX_CLICKED) - 0.01);
	CHECK(auc_of(&fresh, both, KPX_CONVERTED) > auc_of(&fresh, fresh.p_both, KPX_CONVERTED) - 0.01);
	CHECK(auc_of(&fresh, fresh.p_click, KPX_CLICKED) > 0.65);
	free(click);
	free(both);
	free(truth.parameter);
	free(r.parameter);
	free_world(&w);
	free_world(&fresh);
}

/* Logits far beyond exp's range keep loss and gradient finite, and the loss right. */
static void
test_extremes(void)
{
	World w = make_world(3, 31);
	KpxRanker r = make_ranker(0);
	double *gradient = test_alloc(r.parameters * sizeof(double));
	const double logits[] = {-1e6, -800, -40, 0, 40, 800, 1e6};

	for (size_t i = 0; i < 3; i++)
		w.position[i] = 0;
	w.label[0] = 0;
	w.label[1] = KPX_CLICKED;
	w.label[2] = KPX_CLICKED | KPX_CONVERTED;
	for (size_t a = 0; a < 7; a++)
		for (size_t b = 0; b < 7; b++)
		{
			memset(r.parameter, 0, r.parameters * sizeof(double));
			memset(gradient, 0, r.parameters * sizeof(double));
			r.parameter[r.intercept[0]] = logits[a];
			r.parameter[r.intercept[1]] = logits[b];
			CHECK(isfinite(kpx_ranker_gradient(&r, &w.imp, NULL, 0, 3, gradient)));
			for (size_t k = 0; k < r.parameters; k++)
				CHECK(isfinite(gradient[k]));
		}
	CHECK_NEAR(kpx_sigmoid(-800) + kpx_sigmoid(800), 1, 1e-15);
	/* both happen with probability p q; the position is that of the click */
	memset(r.parameter, 0, r.parameters * sizeof(double));
	r.parameter[r.intercept[0]] = -1;
	r.parameter[r.intercept[1]] = 0.5;
	r.parameter[r.position + 2] = -0.7;
	w.position[1] = 2;
	for (int at = 0; at <= 1; at++)
	{
		double click;
		double both;

		kpx_ranker_outcome_logits(&r, &w.imp, 1, at, &click, &both);
		CHECK_NEAR(click, at ? -1.7 : -1, 1e-12);
		CHECK_NEAR(kpx_sigmoid(both), kpx_sigmoid(click) * kpx_sigmoid(0.5), 1e-12);
	}
	free(r.parameter);
	free(gradient);
	free_world(&w);
}

static void
test_small_parts(void)
{
	KpxRanker r;
	uint32_t order[100];
	bool seen[100] = {false};
	float dense[6] = {1, 7, 2, 7, 3, 7};
	uint32_t rows[3] = {0, 1, 2};
	double mean[2];
	double sd[2];

	CHECK_EQ(kpx_ranker_layout(&r, -1, 0, 1), KPX_BAD_ARGUMENT);
	CHECK_EQ(kpx_ranker_layout(&r, 10, KPX_MAX_RANKER_FACTORS + 1, 1), KPX_BAD_ARGUMENT);
	CHECK_EQ(kpx_ranker_layout(&r, KPX_MAX_RANKER_FEATURES + 1, 0, 1), KPX_BAD_ARGUMENT);
	CHECK_EQ(kpx_ranker_layout(&r, 10, 0, 0), KPX_BAD_ARGUMENT);
	CHECK_EQ(kpx_ranker_layout(&r, 10, 3, 2), KPX_OK);
	CHECK_EQ(r.parameters, 2 + 2 + 2 * 10 + 2 * 30);
	for (uint32_t i = 0; i < 100; i++)
		order[i] = i;
	kpx_shuffle(order, 100, 1, 1);
	for (int i = 0; i < 100; i++)
	{
		CHECK(order[i] < 100 && !seen[order[i]]);
		seen[order[i]] = true;
	}
	CHECK(order[0] != 0 || order[1] != 1 || order[2] != 2);
	kpx_moments(dense, 2, rows, 3, mean, sd);
	CHECK_NEAR(mean[0], 2, 1e-12);
	CHECK_NEAR(sd[0], sqrt(2.0 / 3), 1e-12);
	CHECK_NEAR(sd[1], 1, 0); /* constant */
	kpx_standardise(dense + 2, 2, mean, sd);
	CHECK_NEAR(dense[2], 0, 1e-7);
	CHECK_NEAR(dense[3], 0, 1e-7);
	dense[2] = NAN; /* not known */
	kpx_moments(dense, 2, rows, 3, mean, sd);
	CHECK_NEAR(mean[0], 2, 1e-12);
	CHECK_NEAR(sd[0], 1, 1e-12);
	kpx_standardise(dense + 2, 2, mean, sd);
	CHECK_NEAR(dense[2], 0, 0);
}

int
main(void)
{
	test_gradient(0);
	test_gradient(3);
	test_recovery(0);
	test_recovery(4);
	test_extremes();
	test_small_parts();
	return test_done();
}
