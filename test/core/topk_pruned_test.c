/*
 * topk_pruned_test.c
 *	  The search by length finds exactly what looking at everything finds.
 */
#include "core/topk_pruned.h"
#include "test.h"

#include <float.h>

typedef struct World
{
	size_t rows;
	size_t ld;
	float *items;
	float *length;
	uint32_t *order;
	int8_t *codes;
	float *scale;
	float *residual;
} World;

static KpxLengths
lengths_of(const World *w)
{
	return (KpxLengths){w->items, w->ld, w->rows, w->order, w->length, {w->codes, w->scale, w->residual}};
}

/* Lengths, order and codes of the rows as they are now. */
static void
prepare(World *w)
{
	void *workspace = test_alloc(kpx_order_by_length_workspace_size(w->rows));
	size_t half = w->rows / 2 / KPX_CODE_ROWS * KPX_CODE_ROWS;

	kpx_row_lengths(w->items, w->ld, 0, w->rows / 2, w->length);
	kpx_row_lengths(w->items, w->ld, w->rows / 2, w->rows, w->length);
	kpx_order_by_length(w->rows, w->length, w->order, workspace);
	kpx_codes_make(w->items, w->ld, w->order, w->length, 0, half, w->codes, w->scale, w->residual);
	kpx_codes_make(w->items, w->ld, w->order, w->length, half, w->rows, w->codes, w->scale, w->residual);
	free(workspace);
}

/* Lengths fall like those of Zipf's popularity; levels > 0 makes many rows equal. */
static World
make_world(size_t rows, int factors, double exponent, int levels)
{
	World w = {.rows = rows, .ld = kpx_ld(factors)};

	w.items = test_alloc(rows * w.ld * sizeof(float));
	w.length = test_alloc(rows * sizeof(float));
	w.order = test_alloc(rows * sizeof(uint32_t));
	w.codes = test_alloc(kpx_codes_size(rows, w.ld));
	w.scale = test_alloc(rows * sizeof(float));
	w.residual = test_alloc(rows * sizeof(float));
	memset(w.items, 0, rows * w.ld * sizeof(float));
	for (size_t i = 0; i < rows; i++)
	{
		size_t like = levels ? (size_t) test_below(1, i, (uint64_t) levels) : i;
		double scale = pow((double) test_below(2, like, rows) + 1, -exponent);

		for (size_t k = 0; k < (size_t) factors; k++)
			w.items[i * w.ld + k] = (float) (scale * kpx_normal(3, like, k));
	}
	prepare(&w);
	return w;
}

static void
free_world(World *w)
{
	free(w->items);
	free(w->length);
	free(w->order);
	free(w->codes);
	free(w->scale);
	free(w->residual);
}

static void
test_order(const World *w)
{
	uint8_t *seen = test_alloc(w->rows);

	memset(seen, 0, w->rows);
	for (size_t j = 0; j < w->rows; j++)
	{
		double square = 0;

		for (size_t k = 0; k < w->ld; k++)
			square += (double) w->items[w->order[j] * w->ld + k] * w->items[w->order[j] * w->ld + k];
		CHECK(w->length[j] >= sqrt(square));
		CHECK_NEAR(w->length[j], sqrt(square), 1e-6);
		CHECK(j == 0 || w->length[j - 1] > w->length[j] || (w->length[j - 1] == w->length[j] && w->order[j - 1] < w->order[j]));
		CHECK(!seen[w->order[j]]);
		seen[w->order[j]] = 1;
	}
	free(seen);
}

/* How many positions were looked at. */
static size_t
search_all(const KpxLengths *lengths, KpxSearch *search)
{
	size_t begin = 0;

	kpx_search_begin(search, lengths->ld);
	while (begin < lengths->rows)
	{
		size_t end = begin + KPX_SEARCH_BLOCK < lengths->rows ? begin + KPX_SEARCH_BLOCK : lengths->rows;

		if (!kpx_search_step(lengths, begin, end, search))
			break;
		begin = end;
	}
	return begin;
}

static size_t
test_one(const World *w, size_t k, const uint8_t *excluded, const float *x)
{
	KpxLengths lengths = lengths_of(w);
	float *score = test_alloc(w->rows * sizeof(float));
	KpxHit *expected = test_alloc(k * sizeof(KpxHit));
	KpxHit *hits = test_alloc(k * sizeof(KpxHit));
	KpxSearch search = {.x = x, .excluded = excluded, .top = {hits, k, 0}};
	size_t looked = search_all(&lengths, &search);
	size_t n;

	kpx_scores(w->items, w->ld, 0, w->rows, x, score);
	n = kpx_topk(score, w->rows, excluded, k, expected);
	CHECK_EQ(kpx_top_finish(&search.top), n);
	for (size_t i = 0; i < n; i++)
	{
		CHECK_EQ(hits[i].item, expected[i].item);
		CHECK(hits[i].score == expected[i].score);
	}
	free(score);
	free(expected);
	free(hits);
	return looked;
}

#define USERS 9

/* No score is above its bound; the bounds are near enough to be of use; of numbers too small for codes there is nothing but the length. */
static void
test_bounds(const World *w, const float *x)
{
	KpxLengths lengths = lengths_of(w);
	float *score = test_alloc(w->rows * sizeof(float));
	float bound[KPX_SEARCH_BLOCK];
	int32_t product[KPX_SEARCH_BLOCK];
	KpxCodeQuery query;
	double length = 0;

	for (size_t k = 0; k < w->ld; k++)
		length += (double) x[k] * x[k];
	length = sqrt(length);
	kpx_code_query(x, w->ld, &query);
	kpx_scores(w->items, w->ld, 0, w->rows, x, score);
	for (size_t begin = 0; begin < w->rows; begin += KPX_SEARCH_BLOCK)
	{
		size_t n = w->rows - begin < KPX_SEARCH_BLOCK ? w->rows - begin : KPX_SEARCH_BLOCK;

		kpx_code_bounds(&lengths.codes, w->ld, begin, n, &query, w->length[begin], product, bound);
		for (size_t j = 0; j < n; j++)
		{
			CHECK(bound[j] >= score[w->order[begin + j]]);
			if (query.scale > 0 && w->residual[begin + j] < 0.1 * w->length[begin + j])
				CHECK(bound[j] <= (double) score[w->order[begin + j]] + 0.05 * length * w->length[begin] + FLT_MIN * 2);
		}
	}
	free(score);
}

/* Numbers near the ends of what floats hold. */
static void
test_extremes(void)
{
	static const float sizes[] = {1e-44f, 1e-38f, 1e-34f, 1e-20f, 1, 1e15f};
	World w = make_world(300, 20, 0.5, 0);
	float *x = test_alloc(w.ld * sizeof(float));

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
	{
		for (size_t k = 0; k < w.ld; k++)
			x[k] = k < 20 ? sizes[s] * (float) kpx_normal(8, s, k) : 0;
		for (size_t i = 0; i < w.rows; i++)
			for (size_t k = 0; k < 20; k++)
				w.items[i * w.ld + k] = sizes[i % 6] * (float) kpx_normal(9, i, k);
		prepare(&w);
		test_bounds(&w, x);
		test_one(&w, 5, NULL, x);
	}
	free(x);
	free_world(&w);
}

static void
test_world(size_t rows, int factors, double exponent, int levels)
{
	World w = make_world(rows, factors, exponent, levels);
	float *x = test_alloc(USERS * w.ld * sizeof(float));
	uint8_t *excluded = test_alloc(rows / 8 + 1);
	size_t looked = 0;

	memset(excluded, 0, rows / 8 + 1);
	for (size_t i = 0; i < rows; i++)
		if (kpx_uniform(5, 0, i) < 0.3)
			kpx_bit_set(excluded, i);
	memset(x, 0, USERS * w.ld * sizeof(float));
	/* The last user's vector is zero: all scores are equal. */
	for (size_t u = 0; u + 1 < USERS; u++)
		for (size_t k = 0; k < (size_t) factors; k++)
			x[u * w.ld + k] = (float) (kpx_normal(6, u, k) * pow(10, (double) u - 4));
	test_order(&w);
	for (size_t u = 0; u < USERS; u++)
	{
		size_t one = test_one(&w, 10, NULL, x + u * w.ld);

		test_bounds(&w, x + u * w.ld);
		looked += u + 1 < USERS ? one : 0;
		test_one(&w, 1, excluded, x + u * w.ld);
		test_one(&w, 300, excluded, x + u * w.ld);
	}
	if (rows >= 5000 && exponent > 0.5 && levels == 0)
		CHECK(looked < (USERS - 1) * rows / 4);
	free_world(&w);
	free(x);
	free(excluded);
}

/* A bound that is met exactly: the row comes late, in another block, and ties with the worst hit. */
static void
test_tie(void)
{
	size_t rows = KPX_SEARCH_BLOCK + 2;
	World w = make_world(rows, 2, 0, 0);
	float *x = test_alloc(w.ld * sizeof(float));

	memset(x, 0, w.ld * sizeof(float));
	x[0] = 1;
	for (size_t i = 0; i < rows; i++)
	{
		w.items[i * w.ld] = 1;
		w.items[i * w.ld + 1] = i < 2 ? 0 : 1;
	}
	prepare(&w);
	CHECK_EQ(w.order[rows - 1], 1);
	test_one(&w, 2, NULL, x); /* rows 0 and 1 win by their number */
	free(x);
	free_world(&w);
}

int
main(void)
{
	static const size_t sizes[] = {1, 3, 4, 5, 255, 256, 257, 1000, 5000};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
	{
		test_world(sizes[i], 1, 1, 0);
		test_world(sizes[i], 17, 0.8, 0);
		test_world(sizes[i], 64, 0, 0);
		test_world(sizes[i], 8, 0.8, 7);
	}
	test_tie();
	test_extremes();
	CHECK_EQ(kpx_codes_size(SIZE_MAX, 16), SIZE_MAX);
	CHECK_EQ(kpx_codes_size(9, 16), 256);
	CHECK_EQ(kpx_order_by_length_workspace_size(SIZE_MAX), SIZE_MAX);
	return test_done();
}
