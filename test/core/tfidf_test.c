/*
 * tfidf_test.c
 *	  Weights against the formulas spelled out in double over all documents.
 */
#include "core/tfidf.h"
#include "test.h"

#define DOCUMENTS 60
#define WORDS 25

/* How often document d has word w. */
static uint32_t
occurs(uint64_t d, uint64_t w)
{
	uint64_t r = kpx_random(5, d, w) % 10;

	return r < 6 ? 0 : r < 9 ? 1
							 : (uint32_t) (2 + kpx_random(6, d, w) % 4);
}

static uint64_t
name(uint64_t w)
{
	return kpx_mix64(w + 1000);
}

/* Distinct terms and counts of a document, by way of kpx_count_terms. */
static size_t
document(uint64_t d, uint64_t *term, uint32_t *count)
{
	size_t n = 0;

	for (uint64_t w = 0; w < WORDS; w++)
		for (uint32_t i = 0; i < occurs(d, w); i++)
			term[n++] = name((w * 7) % WORDS);
	/* shuffled by the stride; undo it in the expectation */
	return kpx_count_terms(term, n, count);
}

static uint32_t
document_has(uint64_t d, uint64_t term)
{
	for (uint64_t w = 0; w < WORDS; w++)
		if (name((w * 7) % WORDS) == term)
			return occurs(d, w);
	return 0;
}

static int
by_value(const void *a, const void *b)
{
	return *(const uint64_t *) a < *(const uint64_t *) b ? -1 : *(const uint64_t *) a > *(const uint64_t *) b;
}

/* Sorts all and counts how often each is there. */
static size_t
distinct(uint64_t *all, size_t n, uint64_t *term, uint32_t *df)
{
	size_t kept = 0;

	qsort(all, n, sizeof(uint64_t), by_value);
	for (size_t i = 0; i < n; i++)
		if (kept && term[kept - 1] == all[i])
			df[kept - 1]++;
		else
		{
			term[kept] = all[i];
			df[kept++] = 1;
		}
	return kept;
}

static void
test_weights(KpxWeighting weighting)
{
	uint64_t *all = test_alloc(DOCUMENTS * WORDS * sizeof(uint64_t));
	uint64_t terms[DOCUMENTS * WORDS];
	uint32_t dfs[DOCUMENTS * WORDS];
	uint64_t term[WORDS * 6];
	uint32_t count[WORDS * 6];
	uint32_t index[WORDS];
	float value[WORDS];
	KpxVocabulary v = {0, terms, dfs, NULL, DOCUMENTS, 0};
	size_t n = 0;
	double length = 0;

	for (uint64_t d = 0; d < DOCUMENTS; d++)
	{
		size_t k = document(d, term, count);

		memcpy(all + n, term, k * sizeof(uint64_t));
		n += k;
		for (size_t i = 0; i < k; i++)
			length += count[i];
	}
	v.mean_length = length / DOCUMENTS;
	v.n = kpx_vocabulary_select(terms, dfs, distinct(all, n, terms, dfs), 1, 1000);
	CHECK_EQ(v.n, WORDS);
	for (uint64_t d = 0; d < DOCUMENTS; d++)
	{
		size_t k = document(d, term, count);
		size_t kept = kpx_weigh_terms(&v, weighting, term, count, k, index, value);
		double expected[WORDS];
		double norm = 0;
		double own = 0;

		CHECK_EQ(kept, k);
		for (uint64_t w = 0; w < WORDS; w++)
			own += occurs(d, w);
		for (size_t i = 0; i < kept; i++)
		{
			double tf = document_has(d, terms[index[i]]);
			double df = 0;

			for (uint64_t e = 0; e < DOCUMENTS; e++)
				df += document_has(e, terms[index[i]]) > 0;
			CHECK_EQ(dfs[index[i]], df);
			expected[i] = weighting == KPX_WEIGHT_TFIDF
							  ? (1 + log(tf)) * (log((1 + DOCUMENTS) / (1 + df)) + 1)
							  : tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * own / v.mean_length)) * log(1 + (DOCUMENTS - df + 0.5) / (df + 0.5));
			norm += expected[i] * expected[i];
			CHECK(i == 0 || index[i - 1] < index[i]);
		}
		for (size_t i = 0; i < kept; i++)
			CHECK_NEAR(value[i], expected[i] / sqrt(norm), 1e-6);
	}
	free(all);
}

static void
test_vocabulary(void)
{
	const uint64_t terms[] = {10, 20, 30, 40};
	const uint32_t dfs[] = {4, 1, 2, 3};
	uint64_t term[4];
	uint32_t df[4];
	KpxVocabulary v = {0, term, df, NULL, 5, 1}, hashed = {16, NULL, df, NULL, 5, 1};

	memcpy(term, terms, sizeof(term));
	memcpy(df, dfs, sizeof(df));
	v.n = kpx_vocabulary_select(term, df, 4, 2, 10);
	CHECK_EQ(v.n, 3);
	CHECK_EQ(term[1], 30);
	CHECK_EQ(df[2], 3);
	CHECK_EQ(kpx_vocabulary_find(&v, 40), 2);
	CHECK_EQ(kpx_vocabulary_find(&v, 20), -1);
	memcpy(term, terms, sizeof(term));
	memcpy(df, dfs, sizeof(df));
	v.n = kpx_vocabulary_select(term, df, 4, 1, 2); /* the two commonest */
	CHECK_EQ(v.n, 2);
	CHECK_EQ(term[0], 10);
	CHECK_EQ(term[1], 40);
	CHECK_EQ(kpx_vocabulary_select(term, df, 0, 1, 10), 0);
	CHECK_EQ(kpx_vocabulary_find(&hashed, 35), 3);
}

/* Two terms of one hashed column add up. */
static void
test_hashed(void)
{
	uint32_t df[4] = {1, 1, 1, 1};
	KpxVocabulary v = {4, NULL, df, NULL, 10, 1};
	uint64_t term[] = {3, 6, 7};
	uint32_t count[] = {1, 1, 1};
	uint32_t index[3];
	float value[3];

	CHECK_EQ(kpx_weigh_terms(&v, KPX_WEIGHT_TFIDF, term, count, 3, index, value), 2);
	CHECK_EQ(index[0], 2);
	CHECK_EQ(index[1], 3);
	CHECK_NEAR(value[1] / value[0], 2, 1e-6);
	CHECK_NEAR(value[0] * value[0] + value[1] * value[1], 1, 1e-6);
	CHECK_EQ(kpx_weigh_terms(&v, KPX_WEIGHT_TFIDF, term, count, 0, index, value), 0);
}

/* Nothing to weigh, and terms that weigh nothing. */
static void
test_nothing(void)
{
	uint32_t df[2] = {1, 1};
	float weight[2] = {0, 0};
	KpxVocabulary no_columns = {0, NULL, df, NULL, 10, 1};
	KpxVocabulary weightless = {2, NULL, df, weight, 10, 0}; /* no documents had a length */
	uint64_t term[] = {2, 1};
	uint32_t count[] = {1, 1};
	uint32_t index[2];
	float value[2];
	uint64_t offset[] = {0, 0, 2, 4};
	float entries[] = {0, 0, 3, 4};
	KpxSparse rows = {3, 2, offset, (uint32_t[]){0, 1, 0, 1}, entries};

	CHECK_EQ(kpx_vocabulary_find(&no_columns, 7), -1);
	CHECK_EQ(kpx_weigh_terms(&no_columns, KPX_WEIGHT_BM25, term, count, 2, index, value), 0);
	CHECK_EQ(kpx_weigh_terms(&weightless, KPX_WEIGHT_BM25, term, count, 2, index, value), 2);
	CHECK(value[0] == 0 && value[1] == 0);
	CHECK_EQ(kpx_count_terms(term, 0, count), 0);
	CHECK_EQ(kpx_count_terms(term, 1, count), 1);
	CHECK_EQ(kpx_count_terms(term, 2, count), 2);
	CHECK(term[0] == 1 && term[1] == 2);
	kpx_sparse_normalize(&rows, 0, 3);
	CHECK(entries[0] == 0 && entries[1] == 0);
	CHECK_NEAR(entries[2], 0.6, 1e-6);
	CHECK_NEAR(entries[3], 0.8, 1e-6);
	CHECK_EQ(kpx_vocabulary_select(term, df, 2, 1, 0), 0);
}

int
main(void)
{
	test_weights(KPX_WEIGHT_TFIDF);
	test_weights(KPX_WEIGHT_BM25);
	test_vocabulary();
	test_hashed();
	test_nothing();
	return test_done();
}
