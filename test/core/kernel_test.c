/*
 * kernel_test.c
 *	  Every instruction set level this CPU has, against plain loops in double.
 */
#include "core/kernel.h"
#include "test.h"

static float *
numbers(size_t rows, size_t columns, size_t ld, uint64_t stream)
{
	float *a = test_alloc(rows * ld * sizeof(float));

	for (size_t i = 0; i < rows; i++)
		for (size_t j = 0; j < ld; j++)
			a[i * ld + j] = j < columns ? (float) kpx_normal(51, stream, i * 4096 + j) : 0;
	return a;
}

static void
test_gather(const KpxKernels *kernels, size_t n, size_t d)
{
	size_t ld = kpx_ld((int) d);
	float *matrix = numbers(50, d, ld, 1);
	float *scale = numbers(1, d, ld, 2);
	uint32_t *index = test_alloc((n + 1) * sizeof(uint32_t));
	float *weight = test_alloc((n + 1) * sizeof(float));
	float *s = test_alloc((n + 1) * ld * sizeof(float));
	float *root = test_alloc((n + 1) * sizeof(float));

	for (size_t j = 0; j < n; j++)
	{
		index[j] = (uint32_t) test_below(1, j, 50) | (j % 2 ? UINT32_C(0x80000000) : 0);
		weight[j] = (float) kpx_uniform(2, 0, j);
	}
	kernels->gather(matrix, ld, scale, index, weight, n, n, s, root);
	for (size_t j = 0; j < n; j++)
	{
		CHECK_NEAR(root[j], sqrt(weight[j]), 1e-6);
		for (size_t k = 0; k < ld; k++)
			CHECK_NEAR(s[j * ld + k], sqrt(weight[j]) * scale[k] * matrix[(index[j] & 0x7FFFFFFF) * ld + k], 1e-5);
	}
	free(matrix);
	free(scale);
	free(index);
	free(weight);
	free(s);
	free(root);
}

static void
test_scale(const KpxKernels *kernels, size_t ld)
{
	float *diagonal = test_alloc(ld * sizeof(float));
	float *scale = test_alloc(ld * sizeof(float));

	for (size_t k = 0; k < ld; k++)
		diagonal[k] = k % 5 == 4 ? 0 : (float) (1000 * kpx_uniform(3, 0, k));
	kernels->scale(diagonal, ld, 0.02f, 0.7f, scale);
	for (size_t k = 0; k < ld; k++)
		CHECK_NEAR(scale[k], 1 / sqrt(0.02 * diagonal[k] + 0.7), 1e-6);
	free(diagonal);
	free(scale);
}

static void
test_products(const KpxKernels *kernels, size_t n, size_t rows)
{
	size_t ld = kpx_ld((int) n);
	float *a = numbers(rows, n, ld, 3);
	float *t = test_alloc(ld * kpx_ld((int) rows) * sizeof(float));
	float *c = test_alloc(ld * ld * sizeof(float));
	float *z = numbers(1, rows, kpx_ld((int) rows), 4);
	float *v = numbers(1, n, ld, 5);
	size_t ldr = kpx_ld((int) rows);
	static const uint32_t soon[] = {0, 0x80000000};
	KpxAhead ahead = {a, ld, soon, rows > 1 ? 0 : 2, 2};

	memset(c, 0, ld * ld * sizeof(float));
	kernels->gram(a, ld, rows, n, c, ld, &ahead);
	CHECK_EQ(ahead.next, ahead.end);
	kernels->gram(a, ld, rows, n, c, ld, &ahead); /* it adds */
	for (size_t i = 0; i < n; i++)
		for (size_t j = i; j < n; j++)
		{
			double sum = 0;

			for (size_t r = 0; r < rows; r++)
				sum += 2.0 * a[r * ld + i] * a[r * ld + j];
			CHECK_NEAR(c[i * ld + j], sum, 2e-4);
		}

	kernels->transpose(a, ld, rows, t, ldr);
	for (size_t i = 0; i < ld; i++)
		for (size_t j = 0; j < ldr; j++)
			CHECK(t[i * ldr + j] == (j < rows ? a[j * ld + i] : 0));

	kernels->combine(a, ld, rows, z, v);
	for (size_t k = 0; k < n; k++)
	{
		double sum = kpx_normal(51, 5, k);

		for (size_t r = 0; r < rows; r++)
			sum += (double) a[r * ld + k] * z[r];
		CHECK_NEAR(v[k], sum, 1e-4);
	}
	free(a);
	free(t);
	free(c);
	free(z);
	free(v);
}

static void
test_few(const KpxKernels *kernels, size_t n, size_t d)
{
	size_t ld = kpx_ld((int) d);
	float *a = numbers(n, d, ld, 6);
	double *wide = test_alloc(ld * sizeof(double));
	float c[4 * 16];

	for (size_t k = 0; k < ld; k++)
		wide[k] = a[k];
	kernels->gram_few(a, ld, n, c, 16);
	for (size_t i = 0; i < n; i++)
		for (size_t j = i; j < n; j++)
		{
			double sum = 0;

			for (size_t k = 0; k < d; k++)
				sum += (double) a[i * ld + k] * a[j * ld + k];
			CHECK_NEAR(c[i * 16 + j], sum, 1e-5);
			CHECK_NEAR(kernels->dot(a + i * ld, a + j * ld, ld), sum, 1e-5);
			CHECK(i > 0 || fabs(kernels->dot_wide(a + j * ld, wide, ld) - sum) < 1e-12);
		}
	free(wide);
	free(a);
}

/* cholesky and its solution are tested in full by cholesky_test on the best level; here each level. */
static void
test_system(const KpxKernels *kernels, size_t n)
{
	size_t ld = kpx_ld((int) n);
	float *s = numbers(n, n, ld, 7);
	float *a = test_alloc(ld * ld * sizeof(float));
	float *b = test_alloc(ld * sizeof(float));
	double *system = test_alloc(n * n * sizeof(double));

	memset(a, 0, ld * ld * sizeof(float));
	for (size_t i = 0; i < n; i++)
	{
		b[i] = (float) kpx_normal(52, 0, i);
		for (size_t j = 0; j < n; j++)
		{
			system[i * n + j] = i == j;
			for (size_t k = 0; k < n; k++)
				system[i * n + j] += 0.1 * s[k * ld + i] * s[k * ld + j];
			if (j >= i)
				a[i * ld + j] = (float) system[i * n + j];
		}
	}
	CHECK(kernels->cholesky(a, ld, n));
	kernels->cholesky_solve(a, ld, n, b);
	for (size_t i = 0; i < n; i++)
	{
		double sum = 0;

		for (size_t j = 0; j < n; j++)
			sum += system[i * n + j] * b[j];
		CHECK_NEAR(sum, (float) kpx_normal(52, 0, i), 1e-3);
	}
	for (size_t i = n; i < ld; i++)
		CHECK(b[i] == 0);
	free(s);
	free(a);
	free(b);
	free(system);
}

static void
test_search(const KpxKernels *kernels)
{
	float *items = numbers(40, 33, 48, 8);
	float *x = numbers(1, 33, 48, 9);
	float score[40];
	float rising[64];

	kernels->scores(items, 48, 40, x, score);
	for (size_t i = 0; i < 40; i++)
	{
		double sum = 0;

		for (size_t k = 0; k < 33; k++)
			sum += (double) items[i * 48 + k] * x[k];
		CHECK_NEAR(score[i], sum, 1e-5);
	}
	/* A row's score is the same to the last bit wherever it stands. */
	for (size_t n = 0; n <= 40; n++)
	{
		uint32_t index[40];
		float there[40];

		for (size_t j = 0; j < n; j++)
			index[j] = (uint32_t) ((j * 7 + n) % 40);
		kernels->scores_at(items, 48, index, n, n, x, there);
		for (size_t j = 0; j < n; j++)
			CHECK(there[j] == score[index[j]]);
		kernels->scores(items, 48, n, x, there);
		for (size_t j = 0; j < n; j++)
			CHECK(there[j] == score[j]);
	}
	for (int i = 0; i < 64; i++)
		rising[i] = (float) i;
	CHECK_EQ(kernels->next_above(rising, 0, 60, 15.0f), 0);
	CHECK_EQ(kernels->next_above(rising, 0, 60, 15.5f), 16);
	CHECK_EQ(kernels->next_above(rising, 16, 60, 47.0f), 32);
	CHECK_EQ(kernels->next_above(rising, 0, 60, 100.0f), 48);
	CHECK_EQ(kernels->next_above(rising, 0, 10, 0.0f), 0);
	rising[20] = NAN;
	CHECK_EQ(kernels->next_above(rising, 0, 32, 31.5f), 32);
	free(items);
	free(x);
}

/* Products of eight-bit numbers, the largest among them, against plain sums. */
static void
test_codes(const KpxKernels *kernels, size_t ld, size_t groups)
{
	size_t rows = groups * KPX_CODE_ROWS;
	int8_t *codes = test_alloc(rows * ld + 1);
	int8_t *x = test_alloc(ld);
	int32_t *product = test_alloc((rows + 1) * sizeof(int32_t));

	for (size_t i = 0; i < rows * ld; i++)
		codes[i] = (int8_t) (i % 2 == 0 ? (i / 64 % 2 ? 127 : -127) : (int) test_below(22, i, 255) - 127);
	for (size_t n = 16; n <= ld; n += ld - 16 ? ld - 16 : 16)
	{
		float *y = numbers(1, n, ld, 23);
		float most = kernels->largest(y, ld);
		float square = kernels->encode(y, ld, 127 / most, most / 127, x);
		double lost = 0;
		double largest = 0;

		for (size_t k = 0; k < ld; k++)
		{
			largest = fabs((double) y[k]) > largest ? fabs((double) y[k]) : largest;
			CHECK(x[k] >= -127 && fabs((double) x[k] - y[k] * 127.0 / most) < 0.5001);
			lost += pow(y[k] - (double) (most / 127) * x[k], 2);
		}
		CHECK(largest == most);
		CHECK_NEAR(square, lost, 1e-4 * lost);
		free(y);
	}
	for (size_t k = 0; k < ld; k++)
		x[k] = (int8_t) (k % 3 == 0 ? 127 : k % 3 == 1 ? -127
													   : (int) test_below(21, k, 255) - 127);
	product[rows] = 4711;
	kernels->code_products(codes, ld, groups, x, product);
	for (size_t i = 0; i < rows; i++)
	{
		const int8_t *row = codes + i / KPX_CODE_ROWS * KPX_CODE_ROWS * ld + 4 * (i % KPX_CODE_ROWS);
		int32_t sum = 0;

		for (size_t k = 0; k < ld; k++)
			sum += x[k] * row[k / 4 * 4 * KPX_CODE_ROWS + k % 4];
		CHECK_EQ(product[i], sum);
	}
	CHECK_EQ(product[rows], 4711);
	free(codes);
	free(x);
	free(product);
}

/* The two nearest of k rows of d numbers to 16 rows, single distances, sums in double. */
static void
test_nearest(const KpxKernels *kernels, size_t k, size_t d)
{
	size_t ld = kpx_ld((int) d);
	float *x = numbers(KPX_LANE, d, ld, 11);
	float *centre = numbers(k, d, ld, 12);
	float *transposed = test_alloc(ld * KPX_LANE * sizeof(float));
	float *norm = test_alloc(k * sizeof(float));
	float *best = test_alloc(KPX_LANE * sizeof(float));
	float *second = test_alloc(KPX_LANE * sizeof(float));
	uint32_t *which = test_alloc(KPX_LANE * sizeof(uint32_t));
	double *sum = test_alloc(ld * sizeof(double));

	for (size_t c = 0; c < k; c++)
		norm[c] = kernels->dot(centre + c * ld, centre + c * ld, ld);
	kernels->transpose(x, ld, KPX_LANE, transposed, KPX_LANE);
	kernels->nearest_two(transposed, d, centre, ld, k, norm, best, second, which);
	memset(sum, 0, ld * sizeof(double));
	for (size_t i = 0; i < KPX_LANE; i++)
	{
		double least = INFINITY;
		double next = INFINITY;
		size_t at = 0;

		for (size_t c = 0; c < k; c++)
		{
			double distance = 0;
			double value = 0;

			for (size_t f = 0; f < d; f++)
			{
				distance += pow((double) x[i * ld + f] - centre[c * ld + f], 2);
				value += (double) centre[c * ld + f] * centre[c * ld + f] - 2.0 * x[i * ld + f] * centre[c * ld + f];
			}
			CHECK_NEAR(kernels->distance(x + i * ld, centre + c * ld, ld), distance, 1e-5);
			next = value < least ? least : fmin(next, value);
			if (value < least)
			{
				least = value;
				at = c;
			}
		}
		CHECK_NEAR(best[i], least, 1e-4);
		CHECK_EQ(which[i], at);
		if (k == 1)
			CHECK(isinf(second[i]));
		else
			CHECK_NEAR(second[i], next, 1e-4);
		kernels->add_row(x + i * ld, i == 0 ? -1.0f : 1.0f, ld, sum);
	}
	for (size_t f = 0; f < ld; f++)
	{
		double total = 0;

		for (size_t i = 0; i < KPX_LANE; i++)
			total += (i == 0 ? -1.0 : 1.0) * x[i * ld + f];
		CHECK_NEAR(sum[f], total, 1e-12);
	}
	free(x);
	free(centre);
	free(transposed);
	free(norm);
	free(best);
	free(second);
	free(which);
	free(sum);
}

/* z of one lane by the other way round: (I + S'S) (S'z) = S's, so that x = D^-1/2 S'z solves the normal equations. */
static void
check_lane(size_t lane, size_t n, size_t d, const float *matrix, size_t ld, const uint32_t *index, const float *root,
		   const float *scale, const float *x)
{
	for (size_t k = 0; k < d; k++)
	{
		double left = x[k] / scale[k * KPX_LANES + lane];
		double right = 0;

		for (size_t j = 0; j < n; j++)
		{
			const float *y = matrix + (index[j * KPX_LANES + lane] & 0x7FFFFFFF) * ld;
			double w = root[j * KPX_LANES + lane];
			double score = 0;

			for (size_t q = 0; q < d; q++)
				score += (double) x[q] * y[q];
			left += w * w * scale[k * KPX_LANES + lane] * y[k] * score;
			right += w * w * scale[k * KPX_LANES + lane] * y[k];
		}
		CHECK_NEAR(left, right, 1e-3);
	}
}

/* Eight rows, lane r with n - r entries. */
static void
test_lanes(const KpxKernels *kernels, size_t n, size_t d)
{
	size_t ld = kpx_ld((int) d);
	size_t padded = (n + 3) & ~(size_t) 3;
	float *matrix = numbers(200, d, ld, 9);
	float *diagonal = numbers(1, d, ld, 10);
	uint32_t *index = test_alloc(padded * KPX_LANES * sizeof(uint32_t));
	float *root = test_alloc(padded * KPX_LANES * sizeof(float));
	float *scale = test_alloc(ld * KPX_LANES * sizeof(float));
	float *gathered = test_alloc(padded * ld * KPX_LANES * sizeof(float));
	float *system = test_alloc(padded * padded * KPX_LANES * sizeof(float));
	float *z = test_alloc(padded * KPX_LANES * sizeof(float));
	float *x = test_alloc(ld * KPX_LANES * sizeof(float));
	float *ridge = test_alloc(KPX_LANES * sizeof(float));
	float *square = test_alloc(KPX_LANES * sizeof(float));
	float *out[KPX_LANES];
	KpxAhead ahead = {matrix, ld, index, 0, padded * KPX_LANES};

	for (size_t k = 0; k < d; k++)
		diagonal[k] = fabsf(diagonal[k]);
	for (size_t r = 0; r < KPX_LANES; r++)
	{
		out[r] = x + r * ld;
		ridge[r] = (float) (0.5 + 0.3 * (double) r);
		for (size_t j = 0; j < padded; j++)
		{
			index[j * KPX_LANES + r] = (uint32_t) test_below(11, j * KPX_LANES + r, 200) | (j % 2 ? UINT32_C(0x80000000) : 0);
			root[j * KPX_LANES + r] = j + r < n ? (float) (0.2 + kpx_uniform(12, r, j)) : 0;
		}
	}
	kernels->lanes_scale(diagonal, ld, 0.1f, ridge, scale);
	kernels->lanes_gather(matrix, ld, scale, index, root, padded, gathered);
	memcpy(z, root, padded * KPX_LANES * sizeof(float));
	CHECK_EQ(kernels->lanes_dual(gathered, ld, padded, system, z, &ahead), 0xFF);
	CHECK_EQ(ahead.next, ahead.end);
	kernels->lanes_combine(gathered, ld, padded, z, scale, out, square);
	for (size_t r = 0; r < KPX_LANES; r++)
	{
		double sum = 0;

		for (size_t k = 0; k < ld; k++)
		{
			CHECK_NEAR(scale[k * KPX_LANES + r], 1 / sqrt(0.1 * diagonal[k] + ridge[r]), 1e-6);
			sum += (double) out[r][k] * out[r][k];
		}
		CHECK_NEAR(square[r], sum, 1e-4);
		check_lane(r, n, d, matrix, ld, index, root, scale, out[r]);
	}

	/* one lane that is no number says so, and spoils no other */
	memcpy(z, root, padded * KPX_LANES * sizeof(float));
	gathered[3] = NAN;
	CHECK_EQ(kernels->lanes_dual(gathered, ld, padded, system, z, &ahead), 0xFF & ~8);
	kernels->lanes_combine(gathered, ld, padded, z, scale, out, square);
	check_lane(2, n, d, matrix, ld, index, root, scale, out[2]);
	check_lane(7, n, d, matrix, ld, index, root, scale, out[7]);
	free(matrix);
	free(diagonal);
	free(index);
	free(root);
	free(scale);
	free(gathered);
	free(system);
	free(z);
	free(x);
	free(ridge);
	free(square);
}

int
main(void)
{
	static const size_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 23, 24, 25, 31, 32, 33, 40, 47, 48, 49, 63, 64, 65, 100};
	int levels = 0;

	for (int level = 0; level < 8; level++)
	{
		const KpxKernels *kernels = kpx_kernels_level(level);

		if (kernels == NULL)
			continue;
		levels++;
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		{
			test_gather(kernels, sizes[i], 33);
			test_scale(kernels, kpx_ld((int) sizes[i]));
			test_products(kernels, sizes[i], 1);
			test_products(kernels, sizes[i], 19);
			test_products(kernels, 64, sizes[i]);
			test_system(kernels, sizes[i]);
			test_nearest(kernels, sizes[i], 19);
			test_nearest(kernels, 6, sizes[i]);
			test_lanes(kernels, sizes[i], 33);
		}
		for (size_t n = 1; n <= 4; n++)
			test_few(kernels, n, 37);
		test_search(kernels);
		for (size_t groups = 0; groups <= 9; groups++)
			test_codes(kernels, groups % 2 ? 16 : KPX_MAX_FACTORS, groups);
	}
	CHECK(levels >= 1);
	CHECK(kpx_kernels_level(-1) == NULL);
	return test_done();
}
