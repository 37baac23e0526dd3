/*
 * segment_test.c
 *	  k-means against brute-force Lloyd in double and known values; silhouettes; bounds.
 */
#include "core/segment.h"
#include "test.h"

/* Fisher's iris data, in millimetres: sepal length and width, petal length and width of 150 flowers. */
static const unsigned char iris[600] = {
	51, 35, 14, 2, 49, 30, 14, 2, 47, 32, 13, 2, 46, 31, 15, 2, 50, 36, 14, 2, 54, 39, 17, 4,
	46, 34, 14, 3, 50, 34, 15, 2, 44, 29, 14, 2, 49, 31, 15, 1, 54, 37, 15, 2, 48, 34, 16, 2,
	48, 30, 14, 1, 43, 30, 11, 1, 58, 40, 12, 2, 57, 44, 15, 4, 54, 39, 13, 4, 51, 35, 14, 3,
	57, 38, 17, 3, 51, 38, 15, 3, 54, 34, 17, 2, 51, 37, 15, 4, 46, 36, 10, 2, 51, 33, 17, 5,
	48, 34, 19, 2, 50, 30, 16, 2, 50, 34, 16, 4, 52, 35, 15, 2, 52, 34, 14, 2, 47, 32, 16, 2,
	48, 31, 16, 2, 54, 34, 15, 4, 52, 41, 15, 1, 55, 42, 14, 2, 49, 31, 15, 2, 50, 32, 12, 2,
	55, 35, 13, 2, 49, 36, 14, 1, 44, 30, 13, 2, 51, 34, 15, 2, 50, 35, 13, 3, 45, 23, 13, 3,
	44, 32, 13, 2, 50, 35, 16, 6, 51, 38, 19, 4, 48, 30, 14, 3, 51, 38, 16, 2, 46, 32, 14, 2,
	53, 37, 15, 2, 50, 33, 14, 2, 70, 32, 47, 14, 64, 32, 45, 15, 69, 31, 49, 15, 55, 23, 40, 13,
	65, 28, 46, 15, 57, 28, 45, 13, 63, 33, 47, 16, 49, 24, 33, 10, 66, 29, 46, 13, 52, 27, 39, 14,
	50, 20, 35, 10, 59, 30, 42, 15, 60, 22, 40, 10, 61, 29, 47, 14, 56, 29, 36, 13, 67, 31, 44, 14,
	56, 30, 45, 15, 58, 27, 41, 10, 62, 22, 45, 15, 56, 25, 39, 11, 59, 32, 48, 18, 61, 28, 40, 13,
	63, 25, 49, 15, 61, 28, 47, 12, 64, 29, 43, 13, 66, 30, 44, 14, 68, 28, 48, 14, 67, 30, 50, 17,
	60, 29, 45, 15, 57, 26, 35, 10, 55, 24, 38, 11, 55, 24, 37, 10, 58, 27, 39, 12, 60, 27, 51, 16,
	54, 30, 45, 15, 60, 34, 45, 16, 67, 31, 47, 15, 63, 23, 44, 13, 56, 30, 41, 13, 55, 25, 40, 13,
	55, 26, 44, 12, 61, 30, 46, 14, 58, 26, 40, 12, 50, 23, 33, 10, 56, 27, 42, 13, 57, 30, 42, 12,
	57, 29, 42, 13, 62, 29, 43, 13, 51, 25, 30, 11, 57, 28, 41, 13, 63, 33, 60, 25, 58, 27, 51, 19,
	71, 30, 59, 21, 63, 29, 56, 18, 65, 30, 58, 22, 76, 30, 66, 21, 49, 25, 45, 17, 73, 29, 63, 18,
	67, 25, 58, 18, 72, 36, 61, 25, 65, 32, 51, 20, 64, 27, 53, 19, 68, 30, 55, 21, 57, 25, 50, 20,
	58, 28, 51, 24, 64, 32, 53, 23, 65, 30, 55, 18, 77, 38, 67, 22, 77, 26, 69, 23, 60, 22, 50, 15,
	69, 32, 57, 23, 56, 28, 49, 20, 77, 28, 67, 20, 63, 27, 49, 18, 67, 33, 57, 21, 72, 32, 60, 18,
	62, 28, 48, 18, 61, 30, 49, 18, 64, 28, 56, 21, 72, 30, 58, 16, 74, 28, 61, 19, 79, 38, 64, 20,
	64, 28, 56, 22, 63, 28, 51, 15, 61, 26, 56, 14, 77, 30, 61, 23, 63, 34, 56, 24, 64, 31, 55, 18,
	60, 30, 48, 18, 69, 31, 54, 21, 67, 31, 56, 24, 69, 31, 51, 23, 58, 27, 51, 19, 68, 32, 59, 23,
	67, 33, 57, 25, 67, 30, 52, 23, 63, 25, 50, 19, 65, 30, 52, 20, 62, 34, 54, 23, 59, 30, 51, 18};
/* Rows and all that a run over them needs. */
typedef struct Bed
{
	KpxPoints points;
	KpxLabels labels;
	float *x;
	void *means_memory;
	void *sums_memory;
	void *workspace;
	size_t sums_size;
	int slots;
	int k;
} Bed;

static Bed
bed_make(size_t n, int features, int k, int slots)
{
	Bed bed = {{n, features, kpx_ld(features), NULL, NULL}, .slots = slots, .k = k};
	size_t workspace = kpx_means_run_workspace_size(features);

	bed.x = test_alloc(n * bed.points.ld * sizeof(float));
	memset(bed.x, 0, n * bed.points.ld * sizeof(float));
	bed.points.x = bed.x;
	bed.points.norm = test_alloc(n * sizeof(float));
	bed.labels = (KpxLabels){test_alloc(n * sizeof(uint32_t)), test_alloc(n * sizeof(float)), test_alloc(n * sizeof(float))};
	bed.means_memory = test_alloc(kpx_means_size(k, features));
	bed.sums_size = kpx_means_sums_size(k, features);
	bed.sums_memory = test_alloc(bed.sums_size * (size_t) slots);
	memset(bed.sums_memory, 0, bed.sums_size * (size_t) slots);
	bed.workspace = test_alloc(workspace);
	return bed;
}

static void
bed_free(Bed *bed)
{
	free(bed->x);
	free(bed->points.norm);
	free(bed->labels.label);
	free(bed->labels.upper);
	free(bed->labels.lower);
	free(bed->means_memory);
	free(bed->sums_memory);
	free(bed->workspace);
}

static float *
at(const Bed *bed, size_t i)
{
	return bed->x + i * bed->points.ld;
}

/* groups > 0: normal groups spread times as far from each other as they are wide; 0: noise. */
static void
fill_random(Bed *bed, uint64_t seed, int groups, double spread)
{
	for (size_t i = 0; i < bed->points.n; i++)
		for (int f = 0; f < bed->points.features; f++)
		{
			double value = kpx_normal(seed, i, (uint64_t) f);

			if (groups > 0)
				value += spread * kpx_normal(seed + 1, i % (size_t) groups, (uint64_t) f);
			at(bed, i)[f] = (float) value;
		}
}

static Bed
iris_bed(int k)
{
	Bed bed = bed_make(150, 4, k, 1);

	for (size_t i = 0; i < 150; i++)
		for (size_t f = 0; f < 4; f++)
			at(&bed, i)[f] = (float) iris[4 * i + f] / 10;
	CHECK_EQ(kpx_means_norms(&bed.points, 0, 150), KPX_OK);
	return bed;
}

/* One run of k-means++ and Lloyd, so much work at a time. */
static KpxMeansRun
run_whole(Bed *bed, uint64_t seed, double budget)
{
	KpxMeansRun run = {.points = &bed->points, .means = kpx_means_at(bed->means_memory, bed->k, bed->points.features), .labels = bed->labels, .sums = kpx_means_sums_at(bed->sums_memory, bed->k, bed->points.features), .workspace = bed->workspace, .seed = seed, .iterations = 300};
	KpxStatus status;

	do
		status = kpx_means_run(&run, budget);
	while (status == KPX_MORE);
	CHECK_EQ(status, KPX_OK);
	return run;
}

static double
exact_distance(const float *a, const float *b, int features)
{
	double sum = 0;

	for (int f = 0; f < features; f++)
		sum += ((double) a[f] - b[f]) * ((double) a[f] - b[f]);
	return sum;
}

/* ------------------------------------------------------------ known values */

static double
silhouette(Bed *bed, const uint32_t *label)
{
	double *size = test_alloc((size_t) bed->k * sizeof(double));
	void *workspace = test_alloc(kpx_silhouette_workspace_size(bed->k));
	double total = 0;
	size_t n = bed->points.n;

	memset(size, 0, (size_t) bed->k * sizeof(double));
	for (size_t i = 0; i < n; i++)
		size[label[i]]++;
	kpx_silhouette_add(&bed->points, label, size, bed->k, 0, n / 3, workspace, &total);
	kpx_silhouette_add(&bed->points, label, size, bed->k, n / 3, n, workspace, &total);
	free(size);
	free(workspace);
	return total / (double) n;
}

/* scikit-learn 1.2.1, 50 restarts: inertia and silhouette. */
static void
test_iris(int k, double inertia, double score)
{
	Bed bed = iris_bed(k);
	double best = INFINITY;

	for (uint64_t seed = 1; seed <= 10; seed++)
	{
		KpxMeansRun run = run_whole(&bed, seed, 1e6);

		CHECK(run.inertia >= inertia * (1 - 1e-6));
		if (run.inertia < best * (1 - 1e-9))
		{
			best = run.inertia;
			if (run.inertia < inertia * (1 + 1e-6))
				CHECK_NEAR(silhouette(&bed, bed.labels.label), score, 1e-3);
		}
	}
	CHECK_NEAR(best, inertia, 1e-6);
	bed_free(&bed);
}

/* ------------------------------------------------------------ brute force */

typedef struct Brute
{
	double *centre; /* [k][features] */
	uint32_t *label;
	int iterations;
	double inertia;
} Brute;

static double
brute_distance(const float *x, const double *c, int features)
{
	double sum = 0;

	for (int f = 0; f < features; f++)
		sum += (x[f] - c[f]) * (x[f] - c[f]);
	return sum;
}

static size_t
brute_assign(const Bed *bed, Brute *b)
{
	size_t changed = 0;

	b->inertia = 0;
	for (size_t i = 0; i < bed->points.n; i++)
	{
		double best = INFINITY;
		uint32_t which = 0;

		for (int j = 0; j < bed->k; j++)
		{
			double d = brute_distance(at(bed, i), b->centre + j * bed->points.features, bed->points.features);

			if (d < best)
			{
				best = d;
				which = (uint32_t) j;
			}
		}
		changed += b->label[i] != which;
		b->label[i] = which;
		b->inertia += best;
	}
	return changed;
}

static void
brute_recentre(const Bed *bed, Brute *b)
{
	int d = bed->points.features;

	for (int j = 0; j < bed->k; j++)
	{
		double n = 0;

		for (size_t i = 0; i < bed->points.n; i++)
			n += b->label[i] == (uint32_t) j;
		for (int f = 0; f < d && n > 0; f++)
		{
			double sum = 0;

			for (size_t i = 0; i < bed->points.n; i++)
				sum += b->label[i] == (uint32_t) j ? at(bed, i)[f] : 0;
			b->centre[j * d + f] = sum / n;
		}
	}
}

static Brute
brute_lloyd(const Bed *bed, int iterations)
{
	int d = bed->points.features;
	Brute b = {test_alloc((size_t) bed->k * (size_t) d * sizeof(double)), test_alloc(bed->points.n * sizeof(uint32_t)), 0, 0};

	for (int j = 0; j < bed->k; j++)
		for (int f = 0; f < d; f++)
			b.centre[j * d + f] = at(bed, (size_t) j)[f];
	for (size_t i = 0; i < bed->points.n; i++)
		b.label[i] = KPX_NO_SEGMENT;
	for (b.iterations = 1; brute_assign(bed, &b) > 0 && b.iterations < iterations; b.iterations++)
		brute_recentre(bed, &b);
	return b;
}

/* Bounds must hold against distances in double. */
static void
check_bounds(const Bed *bed, const KpxMeans *means)
{
	size_t bad = 0;

	for (size_t i = 0; i < bed->points.n; i++)
	{
		double own = 0;
		double other = INFINITY;

		for (int j = 0; j < bed->k; j++)
		{
			double d = sqrt(exact_distance(at(bed, i), means->centre + (size_t) j * means->ld, means->features));

			if ((uint32_t) j == bed->labels.label[i])
				own = d;
			else
				other = fmin(other, d);
		}
		bad += !(own <= bed->labels.upper[i]) || !(other >= bed->labels.lower[i]);
	}
	CHECK_EQ(bad, 0);
}

/* Lloyd from the first k rows over slots, walked forwards or backwards; stops when nothing changes. */
static int
slots_lloyd(Bed *bed, KpxMeans *means, bool backwards, int iterations, bool bounds)
{
	size_t n = bed->points.n;
	int done = 0;

	for (int j = 0; j < bed->k; j++)
		memcpy(means->centre + (size_t) j * means->ld, at(bed, (size_t) j), means->ld * sizeof(float));
	memset(means->moved, 0, (size_t) bed->k * sizeof(float));
	kpx_means_begin(means);
	kpx_means_reset(&bed->labels, 0, n);
	for (;;)
	{
		double changed = 0;

		for (int turn = 0; turn < bed->slots; turn++)
		{
			size_t s = (size_t) (backwards ? bed->slots - 1 - turn : turn);
			KpxMeansSums sums = kpx_means_sums_at((char *) bed->sums_memory + s * bed->sums_size, bed->k, bed->points.features);
			size_t end = n * (s + 1) / (size_t) bed->slots;

			for (size_t begin = n * s / (size_t) bed->slots; begin < end; begin += 100)
				kpx_means_assign(&bed->points, means, &bed->labels, begin, begin + 100 < end ? begin + 100 : end,
								 bed->workspace, &sums);
		}
		for (int s = 0; s < bed->slots; s++)
		{
			KpxMeansSums sums = kpx_means_sums_at((char *) bed->sums_memory + (size_t) s * bed->sums_size, bed->k, bed->points.features);

			changed += kpx_means_collect(means, &sums);
		}
		if (bounds)
			check_bounds(bed, means);
		if (++done == iterations || changed == 0)
			return done;
		for (int empty; (empty = kpx_means_empty(means)) >= 0;)
		{
			float distance;

			kpx_means_move(&bed->points, means, &bed->labels, kpx_means_farthest(&bed->points, means, &bed->labels, 0, n, &distance), empty);
			CHECK(distance > 0);
		}
		kpx_means_recentre(means);
	}
}

static void
test_brute(size_t n, int features, int k, int groups, double spread)
{
	Bed bed = bed_make(n, features, k, 4);
	KpxMeans means = kpx_means_at(bed.means_memory, k, features);
	Brute brute;
	int done;
	size_t different = 0;

	fill_random(&bed, n + (uint64_t) k, groups, spread);
	CHECK_EQ(kpx_means_norms(&bed.points, 0, n), KPX_OK);
	brute = brute_lloyd(&bed, 100);
	done = slots_lloyd(&bed, &means, false, 100, true);
	CHECK_EQ(done, brute.iterations);
	for (size_t i = 0; i < n; i++)
		different += brute.label[i] != bed.labels.label[i];
	CHECK_EQ(different, 0);
	CHECK_NEAR(kpx_means_inertia(&bed.points, &means, &bed.labels, 0, n), brute.inertia, 1e-5);
	for (size_t i = 0; i < n; i += 7)
	{
		double distance;

		CHECK_EQ(kpx_means_nearest(&means, at(&bed, i), &distance), bed.labels.label[i]);
		CHECK_NEAR(distance, brute_distance(at(&bed, i), brute.centre + bed.labels.label[i] * (size_t) features, features), 1e-4);
	}
	free(brute.centre);
	free(brute.label);
	bed_free(&bed);
}

/* ------------------------------------------------------------ sharing, budgets */

static void
test_order_of_slots(void)
{
	Bed a = bed_make(5000, 21, 13, 8);
	Bed b = bed_make(5000, 21, 13, 8);
	KpxMeans of_a = kpx_means_at(a.means_memory, 13, 21);
	KpxMeans of_b = kpx_means_at(b.means_memory, 13, 21);

	fill_random(&a, 5, 9, 0.7);
	fill_random(&b, 5, 9, 0.7);
	kpx_means_norms(&a.points, 0, 5000);
	kpx_means_norms(&b.points, 0, 5000);
	CHECK_EQ(slots_lloyd(&a, &of_a, false, 40, false), slots_lloyd(&b, &of_b, true, 40, false));
	CHECK(memcmp(of_a.centre, of_b.centre, 13 * of_a.ld * sizeof(float)) == 0);
	CHECK(memcmp(a.labels.label, b.labels.label, 5000 * sizeof(uint32_t)) == 0);
	bed_free(&a);
	bed_free(&b);
}

static void
test_budget(void)
{
	Bed a = bed_make(70000, 10, 6, 1);
	Bed b = bed_make(70000, 10, 6, 1);
	KpxMeansRun of_a;
	KpxMeansRun of_b;
	KpxMeansRun stopped = {0};

	fill_random(&a, 8, 6, 1);
	fill_random(&b, 8, 6, 1);
	kpx_means_norms(&a.points, 0, 70000);
	kpx_means_norms(&b.points, 0, 70000);
	of_a = run_whole(&a, 3, INFINITY);
	of_b = run_whole(&b, 3, 1);
	CHECK(of_a.inertia == of_b.inertia);
	CHECK_EQ(of_a.done, of_b.done);
	CHECK(memcmp(of_a.means.centre, of_b.means.centre, 6 * of_a.means.ld * sizeof(float)) == 0);
	stopped = of_a;
	stopped.phase = 0;
	CHECK_EQ(kpx_means_run(&stopped, 1), KPX_MORE);
	bed_free(&a);
	bed_free(&b);
}

/* ------------------------------------------------------------ first centres */

/* Groups far apart: k-means++ puts one centre into each, plain random rows would not. */
static void
test_seeding(void)
{
	int found = 0;

	for (uint64_t seed = 1; seed <= 20; seed++)
	{
		Bed bed = bed_make(2000, 8, 25, 1);
		KpxMeansRun run;
		bool seen[25] = {false};
		int groups = 0;

		fill_random(&bed, 77, 25, 30);
		kpx_means_norms(&bed.points, 0, 2000);
		run = run_whole(&bed, seed, 1e9);
		for (size_t i = 0; i < 25; i++)
			if (!seen[bed.labels.label[i]])
			{
				seen[bed.labels.label[i]] = true;
				groups++;
			}
		found += groups == 25 && run.means.k == 25;
		bed_free(&bed);
	}
	CHECK(found >= 18);
}

/* The second of two centres is drawn by squared distance: rows at 0, 1, 3 (many at 0). */
static void
test_draws(void)
{
	int far = 0;
	int n = 0;

	for (uint64_t seed = 1; seed <= 4000; seed++)
	{
		Bed bed = bed_make(1000, 1, 2, 1);
		KpxMeansRun run = {.points = &bed.points, .means = kpx_means_at(bed.means_memory, 2, 1), .labels = bed.labels, .sums = kpx_means_sums_at(bed.sums_memory, 2, 1), .workspace = bed.workspace, .seed = seed, .iterations = 1};

		at(&bed, 998)[0] = 1;
		at(&bed, 999)[0] = 3;
		kpx_means_norms(&bed.points, 0, 1000);
		while (run.phase < 2 && kpx_means_run(&run, 1e-9) == KPX_MORE)
			;
		if (run.means.centre[0] == 0 && run.phase == 2)
		{
			n++;
			far += run.candidate[0] == 999;
			CHECK(run.candidate[0] >= 998);
		}
		bed_free(&bed);
	}
	/* Probability 9 / 10; five standard deviations. */
	CHECK(n > 3900);
	CHECK_NEAR((double) far / n, 0.9, 5 * sqrt(0.09 / n));
}

static void
test_few_values(void)
{
	for (int values = 1; values <= 4; values++)
	{
		Bed bed = bed_make(100, 3, 9, 1);
		KpxMeansRun run;

		for (size_t i = 0; i < 100; i++)
			for (int f = 0; f < 3; f++)
				at(&bed, i)[f] = (float) (0.1 + 0.7 * (double) (i % (size_t) values) + f);
		kpx_means_norms(&bed.points, 0, 100);
		run = run_whole(&bed, 1, INFINITY);
		CHECK_EQ(run.means.k, values);
		CHECK_NEAR(run.inertia, 0, 1e-9);
		for (int j = 0; j < run.means.k; j++)
			CHECK(run.means.count[j] > 0);
		bed_free(&bed);
	}
}

/* Centres that no row is nearest to get the farthest rows. */
static void
test_empty(void)
{
	Bed bed = bed_make(300, 2, 5, 3);
	KpxMeans means = kpx_means_at(bed.means_memory, 5, 2);

	fill_random(&bed, 12, 5, 10);
	for (int f = 0; f < 2; f++)
		for (size_t i = 1; i < 4; i++)
			at(&bed, i)[f] = at(&bed, 0)[f]; /* four equal first centres */
	kpx_means_norms(&bed.points, 0, 300);
	slots_lloyd(&bed, &means, false, 100, true);
	CHECK_EQ(kpx_means_empty(&means), -1);
	bed_free(&bed);
}

/* ------------------------------------------------------------ silhouette */

static double
brute_silhouette(const Bed *bed, const uint32_t *label)
{
	double total = 0;

	for (size_t i = 0; i < bed->points.n; i++)
	{
		double sum[40] = {0};
		double size[40] = {0};
		double a;
		double b = INFINITY;

		for (size_t j = 0; j < bed->points.n; j++)
		{
			sum[label[j]] += sqrt(exact_distance(at(bed, i), at(bed, j), bed->points.features));
			size[label[j]]++;
		}
		if (size[label[i]] == 1)
			continue;
		a = sum[label[i]] / (size[label[i]] - 1);
		for (int c = 0; c < bed->k; c++)
			if ((uint32_t) c != label[i] && size[c] > 0)
				b = fmin(b, sum[c] / size[c]);
		total += isfinite(b) ? (b - a) / fmax(a, b) : 0;
	}
	return total / (double) bed->points.n;
}

static void
test_silhouette(size_t n, int features, int k)
{
	Bed bed = bed_make(n, features, k, 1);

	fill_random(&bed, n, k, 1.5);
	kpx_means_norms(&bed.points, 0, n);
	for (size_t i = 0; i < n; i++)
		bed.labels.label[i] = (uint32_t) (i % 11 == 0 ? test_below(1, i, (uint64_t) k) : i % (size_t) k);
	if (k > 2)
		for (size_t i = 0; i < n; i++)
			bed.labels.label[i] = i == 0 ? 0 : bed.labels.label[i] == 0 ? 1
										   : bed.labels.label[i] == 2   ? 1
																		: bed.labels.label[i];
	CHECK_NEAR(silhouette(&bed, bed.labels.label), brute_silhouette(&bed, bed.labels.label), 1e-4);
	bed_free(&bed);
}

/* ------------------------------------------------------------ arguments */

static void
test_arguments(void)
{
	Bed bed = bed_make(20, 3, 2, 1);
	KpxMeansRun run = {.points = &bed.points, .iterations = 0};

	fill_random(&bed, 1, 0, 0);
	at(&bed, 7)[2] = NAN;
	CHECK_EQ(kpx_means_norms(&bed.points, 0, 20), KPX_NOT_FINITE);
	CHECK_EQ(kpx_means_norms(&bed.points, 0, 7), KPX_OK);
	at(&bed, 7)[2] = 1e30f;
	CHECK_EQ(kpx_means_norms(&bed.points, 0, 20), KPX_NOT_FINITE);
	CHECK_EQ(kpx_means_run(&run, 1), KPX_BAD_ARGUMENT);
	run.iterations = 1;
	bed.points.n = 0;
	CHECK_EQ(kpx_means_run(&run, 1), KPX_BAD_ARGUMENT);
	bed.points.n = 20;
	CHECK_EQ(kpx_means_size(0, 4), 0);
	CHECK_EQ(kpx_means_size(KPX_MAX_SEGMENTS + 1, 4), 0);
	CHECK_EQ(kpx_means_sums_size(4, 0), 0);
	CHECK_EQ(kpx_means_workspace_size(KPX_MAX_FEATURES + 1), 0);
	CHECK(kpx_means_slice(1000, 4096) >= 256 && kpx_means_slice(1, 1) <= 32768);
	bed_free(&bed);
}

int
main(void)
{
	test_iris(2, 152.34795176035797, 0.6810461692117465);
	test_iris(3, 78.85144142614602, 0.5528190123564102);
	test_brute(1, 1, 1, 0, 0);
	test_brute(40, 3, 1, 0, 0);
	test_brute(400, 1, 7, 0, 0);
	test_brute(1000, 17, 2, 0, 0);
	test_brute(1500, 5, 33, 10, 1);
	test_brute(1500, 40, 70, 20, 0.5);
	test_brute(3000, 32, 12, 12, 6);
	test_order_of_slots();
	test_budget();
	test_seeding();
	test_draws();
	test_few_values();
	test_empty();
	test_silhouette(2, 1, 1);
	test_silhouette(50, 2, 2);
	test_silhouette(700, 33, 5);
	test_silhouette(333, 4, 33);
	test_arguments();
	return test_done();
}
