/*
 * tfidf.c
 *	  Terms of documents to weighted sparse rows: vocabulary, TF-IDF and BM25.
 */
#include "tfidf.h"

#include <math.h>
#include <stdlib.h>

int
kpx_compare_terms(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *) a;
	uint64_t y = *(const uint64_t *) b;

	return x < y ? -1 : x > y;
}

size_t
kpx_count_terms(uint64_t *term, size_t n, uint32_t *count)
{
	size_t kept = 0;

	if (n > 1)
		qsort(term, n, sizeof(uint64_t), kpx_compare_terms);
	for (size_t i = 0; i < n; i++)
	{
		if (kept > 0 && term[kept - 1] == term[i])
			count[kept - 1]++;
		else
		{
			term[kept] = term[i];
			count[kept++] = 1;
		}
	}
	return kept;
}

/* The least df that at most limit terms reach. */
static uint32_t
least_common(const uint32_t *df, size_t n, uint32_t least, size_t limit)
{
	uint64_t low = least;
	uint64_t high = UINT32_MAX;

	while (low < high)
	{
		uint64_t middle = low + (high - low) / 2;
		size_t terms = 0;

		for (size_t i = 0; i < n; i++)
			terms += df[i] >= middle;
		if (terms <= limit)
			high = middle;
		else
			low = middle + 1;
	}
	return (uint32_t) low;
}

size_t
kpx_vocabulary_select(uint64_t *term, uint32_t *df, size_t n, uint32_t least, size_t limit)
{
	size_t kept = 0;

	least = least_common(df, n, least, limit);
	for (size_t i = 0; i < n && kept < limit; i++)
	{
		if (df[i] < least)
			continue;
		term[kept] = term[i];
		df[kept++] = df[i];
	}
	return kept;
}

int64_t
kpx_vocabulary_find(const KpxVocabulary *vocabulary, uint64_t term)
{
	size_t low = 0;
	size_t high = vocabulary->n;

	if (vocabulary->term == NULL)
		return vocabulary->n ? (int64_t) (term % vocabulary->n) : -1;
	while (low < high)
	{
		size_t middle = low + (high - low) / 2;

		if (vocabulary->term[middle] < term)
			low = middle + 1;
		else
			high = middle;
	}
	return low < vocabulary->n && vocabulary->term[low] == term ? (int64_t) low : -1;
}

static double
weight_of(const KpxVocabulary *v, KpxWeighting weighting, double tf, double df, double length)
{
	double n = (double) v->documents;

	if (weighting == KPX_WEIGHT_TFIDF)
		return (1 + log(tf)) * (log((1 + n) / (1 + df)) + 1);
	return tf * (KPX_BM25_K1 + 1) /
		   (tf + KPX_BM25_K1 * (1 - KPX_BM25_B + KPX_BM25_B * length / (v->mean_length > 0 ? v->mean_length : 1))) *
		   log(1 + (n - df + 0.5) / (df + 0.5));
}

/* Insertion into a row that mostly arrives in order: equal columns of a hashed vocabulary add up. */
static size_t
put_weight(uint32_t *index, float *value, size_t n, uint32_t column, double weight)
{
	size_t at = n;

	while (at > 0 && index[at - 1] > column)
		at--;
	if (at > 0 && index[at - 1] == column)
	{
		value[at - 1] += (float) weight;
		return n;
	}
	for (size_t i = n; i > at; i--)
	{
		index[i] = index[i - 1];
		value[i] = value[i - 1];
	}
	index[at] = column;
	value[at] = (float) weight;
	return n + 1;
}

size_t
kpx_weigh_terms(const KpxVocabulary *vocabulary, KpxWeighting weighting, const uint64_t *term, const uint32_t *count,
				size_t n, uint32_t *index, float *value)
{
	size_t kept = 0;
	double length = 0;
	double norm = 0;

	for (size_t i = 0; i < n; i++)
		length += count[i];
	for (size_t i = 0; i < n; i++)
	{
		int64_t column = kpx_vocabulary_find(vocabulary, term[i]);

		if (column < 0)
			continue;
		kept = put_weight(index, value, kept, (uint32_t) column,
						  weight_of(vocabulary, weighting, count[i], vocabulary->df[column], length) *
							  (vocabulary->weight ? vocabulary->weight[column] : 1.0f));
	}
	for (size_t i = 0; i < kept; i++)
		norm += (double) value[i] * value[i];
	for (size_t i = 0; i < kept && norm > 0; i++)
		value[i] = (float) (value[i] / sqrt(norm));
	return kept;
}

void
kpx_sparse_normalize(const KpxSparse *a, size_t rows_begin, size_t rows_end)
{
	for (size_t i = rows_begin; i < rows_end; i++)
	{
		double norm = 0;

		for (uint64_t e = a->offset[i]; e < a->offset[i + 1]; e++)
			norm += (double) a->value[e] * a->value[e];
		for (uint64_t e = a->offset[i]; e < a->offset[i + 1] && norm > 0; e++)
			a->value[e] = (float) (a->value[e] / sqrt(norm));
	}
}
