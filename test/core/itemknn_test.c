/*
 * itemknn_test.c
 *	  Weights and likenesses against the formulas in double.
 */
#include "core/itemknn.h"
#include "sparse.h"

static double
weighted(const Sparse *s, uint32_t u, uint32_t i, KpxWeighting weighting, double k1, double b, const double *length, double mean)
{
	double w = s->x[(size_t) u * s->items + i];
	double n = 0;
	double idf;

	if (weighting == KPX_WEIGHT_COSINE || w == 0)
		return w;
	for (uint32_t j = 0; j < s->items; j++)
		n += s->x[(size_t) u * s->items + j] > 0;
	idf = fmax(log(s->items / (1 + n)), 0.01);
	if (weighting == KPX_WEIGHT_TFIDF)
		return sqrt(w) * idf;
	return w * (k1 + 1) / (w + k1 * (1 - b + b * length[i] / mean)) * idf;
}

static void
test_knn(uint32_t users, uint32_t items, double density, KpxWeighting weighting, double a, double shrinkage, double budget)
{
	Sparse s = sparse_make(users, items, density, true, 5);
	double *length = test_alloc(sizeof(double) * items);
	double *norm = test_alloc(sizeof(double) * items);
	double *by = test_alloc(sizeof(double) * items);
	double *v = test_alloc(sizeof(double) * users * items);
	float *value = test_alloc(sizeof(float) * (s.entries + 1));
	float *t_value = test_alloc(sizeof(float) * (s.entries + 1));
	uint32_t *t_index = test_alloc(sizeof(uint32_t) * (s.entries + 1));
	uint64_t *cursor = test_alloc(sizeof(uint64_t) * items);
	KpxRows by_user = {s.by_user.offset, s.by_user.index, value};
	KpxRows by_item = {s.by_item.offset, t_index, t_value};
	KpxRowSums row = row_make(items);
	double mean = 0;

	for (uint32_t i = 0; i < items; i++)
	{
		length[i] = 0;
		for (uint32_t u = 0; u < users; u++)
			length[i] += s.x[(size_t) u * items + i];
		mean += length[i] / items;
	}
	kpx_knn_weigh(&s.by_user, 0, users / 2, items, weighting, 1.2, 0.75, length, mean, value);
	kpx_knn_weigh(&s.by_user, users / 2, users, items, weighting, 1.2, 0.75, length, mean, value);
	memcpy(cursor, s.by_item.offset, sizeof(uint64_t) * items);
	kpx_csr_transpose_scatter(s.by_user.offset, s.by_user.index, value, 0, users, cursor, t_index, t_value);
	for (uint32_t i = 0; i < items; i++)
	{
		norm[i] = 0;
		for (uint32_t u = 0; u < users; u++)
		{
			v[(size_t) u * items + i] = weighted(&s, u, i, weighting, 1.2, 0.75, length, mean);
			norm[i] += v[(size_t) u * items + i] * v[(size_t) u * items + i];
		}
	}
	for (uint32_t i = 0; i < items; i++)
		by[i] = pow(norm[i], 1 - a);
	for (uint32_t t = 0; t < items; t++)
	{
		KpxCursor at = {.row = t};

		while (kpx_knn_row(&by_user, &by_item, &at, budget, &row) == KPX_MORE)
			;
		kpx_knn_links(&row, pow(norm[t], a), by, shrinkage);
		for (uint32_t j = 0; j < items; j++)
		{
			double dot = 0;
			double size = pow(norm[t], a) * pow(norm[j], 1 - a) + shrinkage;

			for (uint32_t u = 0; u < users; u++)
				dot += v[(size_t) u * items + t] * v[(size_t) u * items + j];
			CHECK_NEAR(row.sum[j], size > 0 ? dot / size : 0, 2e-5);
		}
		row_clear(&row);
	}
	row_free(&row);
	sparse_free(&s);
	free(length);
	free(norm);
	free(by);
	free(v);
	free(value);
	free(t_value);
	free(t_index);
	free(cursor);
}

int
main(void)
{
	for (int weighting = KPX_WEIGHT_COSINE; weighting <= KPX_WEIGHT_BM25; weighting++)
	{
		test_knn(60, 40, 0.1, (KpxWeighting) weighting, 0.5, 0, 1e9);
		test_knn(60, 40, 0.1, (KpxWeighting) weighting, 0.2, 3, 5);
		test_knn(7, 90, 0.3, (KpxWeighting) weighting, 0.9, 0.5, 1);
	}
	test_knn(1, 1, 0, KPX_WEIGHT_COSINE, 0.5, 0, 1);
	return test_done();
}
