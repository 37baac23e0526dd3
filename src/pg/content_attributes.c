/*
 * content_attributes.c
 *	  Categories and numbers of items to rows: one-hot, and numbers by their rank; reduced when there are many values.
 */
#include "content_parts.h"

#include <math.h>

#include "core/tokens.h"

#define MAX_ATTRIBUTE_VALUES 100000

static int
compare_doubles(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return x < y ? -1 : x > y;
}

static void
fit_knots(KpxEncoder *e, const KpxContent *content)
{
	e->n_knots = content->n_numbers;
	e->knots = palloc0(sizeof(KpxKnots) * Max(e->n_knots, 1));
	for (int c = 0; c < content->n_numbers; c++)
	{
		/* A sample is enough for quantiles. */
		uint32 step = Max(1, content->items / 100000);
		double *known = kpx_alloc(CurrentMemoryContext, Max(content->items / step + 1, 1), sizeof(double));
		size_t n = 0;

		for (uint32 i = 0; i < content->items; i += step)
			if (!isnan(content->numbers[c].value[i]))
				known[n++] = content->numbers[c].value[i];
		if (n > 1)
			qsort(known, n, sizeof(double), compare_doubles);
		e->knots[c].name = pstrdup(content->numbers[c].name);
		e->knots[c].n = kpx_quantile_knots(known, n, e->knots[c].knot);
		pfree(known);
	}
}

/* The item's categories and numbers as terms and values; returns how many. */
size_t
kpx_attribute_terms(const KpxEncoder *e, const KpxContent *content, uint32 item, uint64 *term, float *value)
{
	const KpxTerms *terms = &content->attributes;
	size_t n = 0;

	for (; n < terms->length[item]; n++)
	{
		term[n] = terms->term[terms->begin[item] + n];
		value[n] = terms->value[terms->begin[item] + n];
	}
	for (int c = 0; c < content->n_numbers; c++)
	{
		double x = content->numbers[c].value[item];
		const KpxKnots *knots = NULL;
		float point[2];

		for (int k = 0; k < e->n_knots && knots == NULL; k++)
			if (strcmp(e->knots[k].name, content->numbers[c].name) == 0)
				knots = &e->knots[k];
		if (knots == NULL || isnan(x) || knots->n < 2)
			continue;
		kpx_rank_point(knots->knot, knots->n, x, point);
		for (int k = 0; k < 2; k++)
		{
			term[n] = kpx_term_hash(kpx_term_hash(2, knots->name, strlen(knots->name)), (const char *) &k, sizeof(k));
			value[n++] = point[k];
		}
	}
	return n;
}

/* Known terms to columns, in order; length 1. */
size_t
kpx_attribute_row(const KpxVocabulary *v, const uint64 *term, const float *value, size_t n, uint32 *index, float *to)
{
	size_t kept = 0;
	double norm = 0;

	for (size_t i = 0; i < n; i++)
	{
		int64 column = kpx_vocabulary_find(v, term[i]);

		if (column < 0)
			continue;
		index[kept] = (uint32) column;
		to[kept++] = value[i];
		norm += (double) value[i] * value[i];
	}
	for (size_t i = 0; i < kept && norm > 0; i++)
		to[i] = (float) (to[i] / sqrt(norm));
	return kept;
}

void
kpx_attributes_fit(KpxEncoder *e, const KpxContent *content, const KpxParams *params)
{
	KpxTerms all = {0};
	size_t most = kpx_longest(&content->attributes, content->items) + 2 * (size_t) content->n_numbers;
	size_t size = content->attributes.n + 2 * (size_t) content->n_numbers * content->items;
	KpxBag *bag = &e->attributes;
	KpxSparse a;
	uint64 n = 0;

	fit_knots(e, content);
	if (size == 0)
		return;
	kpx_check_budget(size * 12, "encoding the items' attributes");
	all.term = kpx_alloc(CurrentMemoryContext, size + most, sizeof(uint64));
	all.value = kpx_alloc(CurrentMemoryContext, size + most, sizeof(float));
	all.begin = kpx_alloc(CurrentMemoryContext, content->items, sizeof(uint64));
	all.length = kpx_alloc(CurrentMemoryContext, content->items, sizeof(uint32));
	for (uint32 i = 0; i < content->items; i++)
	{
		all.begin[i] = all.n;
		all.length[i] = (uint32) kpx_attribute_terms(e, content, i, all.term + all.n, all.value + all.n);
		all.n += all.length[i];
	}
	kpx_count_documents(&all, content->items, &bag->vocabulary);
	bag->vocabulary.n = kpx_vocabulary_select(bag->vocabulary.term, bag->vocabulary.df, bag->vocabulary.n, 1, MAX_ATTRIBUTE_VALUES);
	if (bag->vocabulary.n == 0)
		return;
	bag->rank = (int) kpx_param(params, "attribute_factors");
	if (bag->vocabulary.n <= (size_t) bag->rank)
	{
		/* one-hot as it is */
		bag->rank = (int) bag->vocabulary.n;
		bag->right = kpx_alloc(CurrentMemoryContext, (size_t) bag->rank * bag->rank, sizeof(float));
		for (int i = 0; i < bag->rank * bag->rank; i++)
			bag->right[i] = i % (bag->rank + 1) == 0;
		return;
	}
	a = kpx_sparse_new(content->items, bag->vocabulary.n, all.n);
	for (uint32 i = 0; i < content->items; i++)
	{
		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		a.offset[i] = n;
		n += kpx_attribute_row(&bag->vocabulary, all.term + all.begin[i], all.value + all.begin[i], all.length[i], a.index + n, a.value + n);
	}
	a.offset[content->items] = n;
	bag->right = kpx_reduce(&a, &bag->rank, 1, params->seed);
	kpx_sparse_free(&a);
}
