/*
 * search.c
 *	  The search for the k best among vectors like those of a trained catalogue: how many are looked at and scored, and
 *	  what that takes beside scoring all of them. Ends with an error when the two find different items.
 *
 * search ROWS FACTORS. 400 topics share a spectrum that falls like 1 / sqrt(k); lengths fall with popularity (Zipf); a
 * user is the mean of three topics. Times are processor time.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/rng.h"
#include "core/topk_pruned.h"

#define TOPICS 400
#define USERS 50
#define K 18

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static void *
aligned(size_t bytes)
{
	void *memory = aligned_alloc(64, kpx_align(bytes));

	if (memory == NULL)
		exit(1);
	memset(memory, 0, kpx_align(bytes));
	return memory;
}

/* Column k of a vector of stream, before its length. */
static double
number(uint64_t stream, size_t row, size_t k)
{
	return kpx_normal(stream, row, k) / sqrt(sqrt((double) k + 1));
}

static int
by_number(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return x < y ? -1 : x > y;
}

static double
median(double *value)
{
	qsort(value, USERS, sizeof(double), by_number);
	return value[USERS / 2];
}

static KpxLengths
make_items(size_t rows, int factors)
{
	size_t ld = kpx_ld(factors);
	float *items = aligned(rows * ld * sizeof(float));
	float *length = aligned(rows * sizeof(float));
	uint32_t *order = aligned(rows * sizeof(uint32_t));
	int8_t *codes = aligned(kpx_codes_size(rows, ld));
	float *scale = aligned(rows * sizeof(float));
	float *residual = aligned(rows * sizeof(float));
	void *workspace = aligned(kpx_order_by_length_workspace_size(rows));
	double start;

	for (size_t i = 0; i < rows; i++)
		for (size_t k = 0; k < (size_t) factors; k++)
			items[i * ld + k] = (float) (pow((double) (i / TOPICS) + 1, -0.2) * (number(1, i % TOPICS, k) + 0.5 * number(2, i, k)));
	start = now();
	kpx_row_lengths(items, ld, 0, rows, length);
	kpx_order_by_length(rows, length, order, workspace);
	kpx_codes_make(items, ld, order, length, 0, rows, codes, scale, residual);
	printf("search: order and codes of %zu x %d in %.2f s\n", rows, factors, now() - start);
	free(workspace);
	return (KpxLengths){items, ld, rows, order, length, {codes, scale, residual}};
}

/* Of n positions, those whose bound reaches the threshold. */
static size_t
count_reaching(const KpxLengths *lengths, const KpxSearch *search, size_t looked, float threshold)
{
	float bound[KPX_SEARCH_BLOCK];
	int32_t product[KPX_SEARCH_BLOCK];
	size_t n = 0;

	for (size_t i = 0; i < looked; i += KPX_SEARCH_BLOCK)
	{
		size_t rows = lengths->rows - i < KPX_SEARCH_BLOCK ? lengths->rows - i : KPX_SEARCH_BLOCK;

		kpx_code_bounds(&lengths->codes, lengths->ld, i, rows, &search->query, lengths->length[i], product, bound);
		for (size_t j = 0; j < rows; j++)
			n += bound[j] >= threshold;
	}
	return n;
}

int
main(int argc, char **argv)
{
	size_t rows = argc > 2 ? strtoull(argv[1], NULL, 10) : 0;
	int factors = argc > 2 ? atoi(argv[2]) : 0;
	KpxLengths lengths;
	float *score;
	float *x;
	double looked[USERS];
	double scored[USERS];
	double pruned[USERS];
	double all[USERS];

	if (rows < K || factors < 1 || factors > KPX_MAX_FACTORS)
		return 1;
	lengths = make_items(rows, factors);
	score = aligned(rows * sizeof(float));
	x = aligned(lengths.ld * sizeof(float));
	for (size_t u = 0; u < USERS; u++)
	{
		KpxHit hits[K];
		KpxHit expected[K];
		KpxSearch search = {.x = x, .top = {hits, K, 0}};
		size_t i = 0;
		double start;

		for (size_t k = 0; k < (size_t) factors; k++)
			x[k] = (float) ((number(1, 3 * u % TOPICS, k) + number(1, (3 * u + 1) % TOPICS, k) + number(1, (3 * u + 2) % TOPICS, k)) / 3 + 0.3 * number(3, u, k));
		start = now();
		kpx_search_begin(&search, lengths.ld);
		while (i < rows && kpx_search_step(&lengths, i, i + KPX_SEARCH_BLOCK < rows ? i + KPX_SEARCH_BLOCK : rows, &search))
			i += KPX_SEARCH_BLOCK;
		(void) kpx_top_finish(&search.top);
		pruned[u] = now() - start;
		start = now();
		kpx_scores(lengths.items, lengths.ld, 0, rows, x, score);
		(void) kpx_topk(score, rows, NULL, K, expected);
		all[u] = now() - start;
		for (size_t j = 0; j < K; j++)
			if (hits[j].item != expected[j].item || hits[j].score != expected[j].score)
				return 1;
		looked[u] = (double) (i < rows ? i : rows);
		scored[u] = (double) count_reaching(&lengths, &search, i, hits[K - 1].score);
	}
	printf("search: the %d best of %zu x %d: %.0f us, %.0f of them looked at, %.0f reach the last of the best by their bound; "
		   "scoring all %.0f us; medians of %d users, the same items to the last bit\n",
		   K, rows, factors, 1e6 * median(pruned), median(looked), median(scored), 1e6 * median(all), USERS);
	return 0;
}
