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

void
kpx_top_offer(KpxTop *top, KpxHit hit, const uint8_t *excluded)
{
	if (hit.score != hit.score || (excluded && kpx_bit_get(excluded, hit.item)))
		return;
	if (top->n < top->k)
	{
		top->hits[top->n] = hit;
		sift_up(top->hits, top->n++);
	}
	else if (worse(top->hits[0], hit))
	{
		top->hits[0] = hit;
		sift_down(top->hits, top->n);
	}
}

/* Heapsort: the worst to the end, again and again. */
size_t
kpx_top_finish(KpxTop *top)
{
	for (size_t end = top->n; end-- > 1;)
	{
		KpxHit worst = top->hits[0];

		top->hits[0] = top->hits[end];
		sift_down(top->hits, end);
		top->hits[end] = worst;
	}
	return top->n;
}

size_t
kpx_topk(const float *score, size_t n, const uint8_t *excluded, size_t k, KpxHit *hits)
{
	const KpxKernels *kernels = kpx_kernels();
	KpxTop top = {hits, k, 0};
	size_t i = 0;

	while (k > 0 && i < n)
	{
		size_t end;

		/* Once the heap is full, most lines of 16 have no score that reaches its worst. */
		if (top.n == k)
			i = kernels->next_above(score, i, n, hits[0].score);
		end = i + KPX_LANE < n ? i + KPX_LANE : n;
		for (; i < end; i++)
			kpx_top_offer(&top, (KpxHit){(uint32_t) i, score[i]}, excluded);
	}
	return kpx_top_finish(&top);
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
