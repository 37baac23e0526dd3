/*
 * content_reduce.c
 *	  Sparse rows of what items are, the vocabulary they are over, and their reduction by randomized SVD.
 */
#include "content_parts.h"

#include <math.h>

#include "core/svd.h"
#include "idmap.h"

KpxSparse
kpx_sparse_new(size_t rows, size_t cols, size_t entries)
{
	kpx_check_budget(entries * 8 + rows * 8, "encoding the items' content");
	return (KpxSparse){rows, cols, kpx_alloc(CurrentMemoryContext, rows + 1, sizeof(uint64)),
					   kpx_alloc(CurrentMemoryContext, Max(entries, 1), sizeof(uint32)),
					   kpx_alloc(CurrentMemoryContext, Max(entries, 1), sizeof(float))};
}

void
kpx_sparse_free(KpxSparse *a)
{
	pfree(a->offset);
	pfree(a->index);
	pfree(a->value);
}

/* Largest number of terms of an item. */
uint32
kpx_longest(const KpxTerms *terms, uint32 items)
{
	uint32 most = 0;

	for (uint32 i = 0; i < items; i++)
		most = Max(most, terms->length[i]);
	return most;
}

/* Distinct terms and the documents each is in, in order. */
void
kpx_count_documents(const KpxTerms *terms, uint32 items, KpxVocabulary *v)
{
	KpxIdMap *map = kpx_idmap_create(CurrentMemoryContext, KPX_ID_INT);
	uint32 *df = NULL;
	size_t size = 0;
	uint32 *position;
	KpxIds sorted;

	for (uint32 i = 0; i < items; i++)
	{
		CHECK_FOR_INTERRUPTS();
		for (uint32 t = 0; t < terms->length[i]; t++)
		{
			uint32 index = kpx_idmap_add(map, (KpxId){(int64) terms->term[terms->begin[i] + t], NULL, 0});

			if (index >= size)
			{
				size_t bigger = Max(4096, size * 2);
				uint32 *copy = kpx_alloc(CurrentMemoryContext, bigger, sizeof(uint32));

				memset(copy, 0, bigger * sizeof(uint32));
				if (size)
				{
					memcpy(copy, df, size * sizeof(uint32));
					pfree(df);
				}
				df = copy;
				size = bigger;
			}
			df[index]++;
			v->mean_length += terms->value[terms->begin[i] + t];
		}
		v->documents += terms->length[i] > 0;
	}
	v->mean_length = v->documents ? v->mean_length / v->documents : 0;
	v->n = kpx_idmap_count(map);
	sorted = kpx_idmap_sorted(map, CurrentMemoryContext, &position);
	v->term = (uint64 *) sorted.numbers;
	v->df = kpx_alloc(CurrentMemoryContext, Max(v->n, 1), sizeof(uint32));
	for (size_t i = 0; i < v->n; i++)
		v->df[position[i]] = df[i];
	kpx_idmap_free(map);
}

/* Runs the SVD; its arrays are left to the caller. */
void
kpx_decompose(const KpxSparse *a, int rank, int64 seed, KpxSvd *svd)
{
	size_t ld;
	KpxStatus status;

	*svd = (KpxSvd){.a = a, .rank = rank, .sketch = kpx_svd_sketch(a, rank), .power = KPX_SVD_POWER, .seed = (uint64) seed};
	ld = kpx_ld(svd->sketch);
	kpx_check_budget((a->rows + a->cols) * ld * sizeof(float) + kpx_svd_workspace_size(svd->sketch), "encoding the items' content");
	svd->left = kpx_alloc_aligned(CurrentMemoryContext, a->rows * ld, sizeof(float));
	svd->right = kpx_alloc_aligned(CurrentMemoryContext, a->cols * ld, sizeof(float));
	svd->singular = kpx_alloc_aligned(CurrentMemoryContext, ld, sizeof(float));
	svd->workspace = kpx_alloc_aligned(CurrentMemoryContext, kpx_svd_workspace_size(svd->sketch), 1);
	(void) kpx_svd_begin(svd);
	while ((status = kpx_svd_step(svd)) == KPX_MORE)
		CHECK_FOR_INTERRUPTS();
	if (status != KPX_OK)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("the items' content holds numbers that are too extreme")));
}

/* right (cols x *rank) of a, columns scaled by (singular / largest)^(smoothing - 1). */
float *
kpx_reduce(const KpxSparse *a, int *rank, double smoothing, int64 seed)
{
	MemoryContext result = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(result, "kpxrec svd", ALLOCSET_DEFAULT_SIZES);
	float *right;
	KpxSvd svd;
	int kept = 0;

	MemoryContextSwitchTo(work);
	kpx_decompose(a, *rank, seed, &svd);
	while (kept < Min(*rank, svd.sketch) && svd.singular[kept] > 1e-5f * svd.singular[0])
		kept++;
	right = kpx_alloc(result, Max(a->cols * kept, 1), sizeof(float));
	for (size_t c = 0; c < a->cols; c++)
		for (int k = 0; k < kept; k++)
			right[c * kept + k] = svd.right[c * kpx_ld(svd.sketch) + k] *
								  (float) pow(svd.singular[k] / svd.singular[0], smoothing - 1);
	MemoryContextSwitchTo(result);
	MemoryContextDelete(work);
	*rank = kept;
	return right;
}
