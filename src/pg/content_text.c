/*
 * content_text.c
 *	  Texts of items to rows of weighted terms: TF-IDF or BM25, and how coherent a term's documents are.
 */
#include "content_parts.h"

#include "core/coherence.h"
#include "core/svd.h"

#define COHERENCE_FACTORS 64

/* Weighted terms of one item; returns how many. count: scratch. */
size_t
kpx_text_weigh(const KpxEncoder *e, const KpxTerms *terms, uint32 item, uint32 *count, uint32 *index, float *value)
{
	for (uint32 t = 0; t < terms->length[item]; t++)
		count[t] = (uint32) terms->value[terms->begin[item] + t];
	return kpx_weigh_terms(&e->text.vocabulary, e->weighting, terms->term + terms->begin[item], count, terms->length[item],
						   index, value);
}

static KpxSparse
text_rows(const KpxEncoder *e, const KpxTerms *terms, uint32 items)
{
	KpxSparse a = kpx_sparse_new(items, e->text.vocabulary.n, terms->n);
	uint32 *count = kpx_alloc(CurrentMemoryContext, Max(kpx_longest(terms, items), 1), sizeof(uint32));
	uint64 n = 0;

	for (uint32 i = 0; i < items; i++)
	{
		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		a.offset[i] = n;
		n += kpx_text_weigh(e, terms, i, count, a.index + n, a.value + n);
	}
	a.offset[items] = n;
	pfree(count);
	return a;
}

/* An exact vocabulary to one of so many columns: documents are added up. */
static void
hash_vocabulary(KpxVocabulary *v, size_t columns)
{
	uint32 *df = kpx_alloc(CurrentMemoryContext, columns, sizeof(uint32));

	memset(df, 0, columns * sizeof(uint32));
	for (size_t i = 0; i < v->n; i++)
		df[v->term[i] % columns] = (uint32) Min((uint64) df[v->term[i] % columns] + v->df[i], v->documents);
	v->n = columns;
	v->term = NULL;
	v->df = df;
}

/* Weights of the terms by how coherent their documents are. */
static void
weigh_by_coherence(KpxEncoder *e, const KpxSparse *a, double exponent, int64 seed)
{
	MemoryContext result = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(result, "kpxrec coherence", ALLOCSET_DEFAULT_SIZES);
	float *weight = kpx_alloc(result, a->cols, sizeof(float));
	float *sum;
	uint32 *n;
	KpxSvd svd;
	int rank;

	MemoryContextSwitchTo(work);
	kpx_decompose(a, COHERENCE_FACTORS, seed, &svd);
	rank = Min(svd.rank, svd.sketch);
	sum = kpx_alloc_aligned(work, (a->cols + 1) * kpx_ld(rank), sizeof(float));
	n = kpx_alloc_aligned(work, a->cols + 1, sizeof(uint32));
	for (size_t i = 0; i < a->rows; i += 128)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_coherence_add(a, i, Min(i + 128, a->rows), svd.left, svd.right, kpx_ld(svd.sketch), rank, sum, n);
	}
	kpx_coherence_weights(sum, n, a->cols, rank, exponent, weight);
	e->text.vocabulary.weight = weight;
	MemoryContextSwitchTo(result);
	MemoryContextDelete(work);
}

void
kpx_text_fit(KpxEncoder *e, const KpxContent *content, const KpxParams *params)
{
	KpxVocabulary *v = &e->text.vocabulary;
	size_t hashed = (size_t) kpx_param(params, "hashed_terms");
	KpxSparse a;

	if (content->text.n == 0)
		return;
	kpx_count_documents(&content->text, content->items, v);
	if (hashed > 0)
		hash_vocabulary(v, hashed);
	else
		v->n = kpx_vocabulary_select(v->term, v->df, v->n, v->documents < 100 ? 1 : (uint32) kpx_param(params, "min_documents"),
									 (size_t) kpx_param(params, "max_terms"));
	if (v->n == 0)
		return;
	a = text_rows(e, &content->text, content->items);
	if (kpx_param(params, "coherence") > 0)
	{
		weigh_by_coherence(e, &a, kpx_param(params, "coherence"), params->seed);
		kpx_sparse_free(&a);
		a = text_rows(e, &content->text, content->items);
	}
	e->text.rank = (int) kpx_param(params, "text_factors");
	e->text.right = kpx_reduce(&a, &e->text.rank, kpx_param(params, "smoothing"), params->seed);
	kpx_sparse_free(&a);
}
