/*
 * topk.c
 *	  Exact maximum inner product search: scores of all items, and the k best.
 */
#include "topk.h"

#include <math.h>
#include <string.h>

#include <cblas.h>

#include "kernel.h"

void
kpx_scores(const float *items, size_t ld, size_t rows_begin, size_t rows_end, const float *x, float *score)
{
	kpx_kernels()->scores(items + rows_begin * ld, ld, rows_end - rows_begin, x, score);
}

void
kpx_scores_batch(const float *items, size_t ld, size_t rows, const float *x, size_t users, float *score, size_t score_ld)
{
	if (rows == 0 || users == 0)
		return;
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int) users, (int) rows, (int) ld, 1.0f, x, (int) ld,
				items, (int) ld, 0.0f, score, (int) score_ld);
}

void
kpx_cosines(const float *matrix, size_t ld, size_t item, size_t begin, size_t end, float *score)
{
	const KpxKernels *kernels = kpx_kernels();
	const float *x = matrix + item * ld;
	float own = kernels->dot(x, x, ld);

	kernels->scores(matrix + begin * ld, ld, end - begin, x, score);
	for (size_t i = begin; i < end; i++)
	{
		const float *y = matrix + i * ld;
		float norm = kernels->dot(y, y, ld);

		score[i - begin] = norm > 0 && own > 0 ? score[i - begin] / sqrtf(norm * own) : 0;
	}
}

/* Does a come after b in the order of answers? */
static bool
worse(KpxHit a, KpxHit b)
{
	return a.score < b.score || (a.score == b.score && a.item > b.item);
}

/* The heap's root is the worst hit. */
static void
sift_down(KpxHit *heap, size_t n)
{
	KpxHit hit = heap[0];
	size_t root = 0;

	for (;;)
	{
		size_t child = 2 * root + 1;

		if (child >= n)
			break;
		if (child + 1 < n && worse(heap[child + 1], heap[child]))
			child++;
		if (!worse(heap[child], hit))
			break;
		heap[root] = heap[child];
		root = child;
	}
	heap[root] = hit;
}

static void
sift_up(KpxHit *heap, size_t at)
{
	KpxHit hit = heap[at];

	while (at > 0 && worse(hit, heap[(at - 1) / 2]))
	{
		heap[at] = heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	heap[at] = hit;
}

static void
consider(const float *score, size_t i, const uint8_t *excluded, size_t k, KpxHit *heap, size_t *n)
{
	KpxHit hit = {(uint32_t) i, score[i]};

	if (score[i] != score[i] || (excluded && kpx_bit_get(excluded, i)))
		return;
	if (*n < k)
	{
		heap[*n] = hit;
		sift_up(heap, (*n)++);
	}
	else if (worse(heap[0], hit))
	{
		heap[0] = hit;
		sift_down(heap, *n);
	}
}

static size_t
fill_heap(const float *score, size_t n, const uint8_t *excluded, size_t k, KpxHit *heap)
{
	const KpxKernels *kernels = kpx_kernels();
	size_t found = 0;
	size_t i = 0;

	while (i < n)
	{
		size_t end;

		/* Once the heap is full, most lines of 16 have no score that reaches its worst. */
		if (found == k)
			i = kernels->next_above(score, i, n, heap[0].score);
		end = i + KPX_LANE < n ? i + KPX_LANE : n;
		for (; i < end; i++)
			consider(score, i, excluded, k, heap, &found);
	}
	return found;
}

size_t
kpx_topk(const float *score, size_t n, const uint8_t *excluded, size_t k, KpxHit *hits)
{
	size_t found;

	if (k == 0)
		return 0;
	found = fill_heap(score, n, excluded, k, hits);
	/* Heapsort: the worst to the end, again and again. */
	for (size_t end = found; end-- > 1;)
	{
		KpxHit worst = hits[0];

		hits[0] = hits[end];
		sift_down(hits, end);
		hits[end] = worst;
	}
	return found;
}

size_t
kpx_rank(const float *score, size_t n, const uint8_t *excluded, uint32_t item)
{
	KpxHit own = {item, score[item]};
	size_t rank = 0;

	for (size_t i = 0; i < n; i++)
		if (i != item && !(excluded && kpx_bit_get(excluded, i)) && worse(own, (KpxHit){(uint32_t) i, score[i]}))
			rank++;
	return rank;
}

void
kpx_mean_score(float *a, const float *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		a[i] = isnan(a[i]) ? b[i] : isnan(b[i]) ? a[i]
												: (a[i] + b[i]) / 2;
}
