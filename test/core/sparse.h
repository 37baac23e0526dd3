/*
 * sparse.h
 *	  A random sparse matrix of users and items, dense in double and as both sides in rows.
 */
#ifndef KPX_TEST_SPARSE_H
#define KPX_TEST_SPARSE_H

#include "core/factor.h"
#include "core/ingest.h"
#include "core/links.h"
#include "test.h"

typedef struct Sparse
{
	uint32_t users;
	uint32_t items;
	double *x; /* users x items */
	KpxRows by_user;
	KpxRows by_item;
	uint64_t entries;
} Sparse;

/* weights: 1, or anything up to 3. */
static inline Sparse
sparse_make(uint32_t users, uint32_t items, double density, bool weighted, uint64_t seed)
{
	Sparse s = {users, items, test_alloc(sizeof(double) * users * items), {0}, {0}, 0};
	uint64_t *offset = test_alloc(sizeof(uint64_t) * (users + 1));
	uint32_t *index = test_alloc(sizeof(uint32_t) * users * items);
	float *weight = test_alloc(sizeof(float) * users * items);
	uint64_t *t_offset = test_alloc(sizeof(uint64_t) * (items + 1));
	uint64_t *cursor = test_alloc(sizeof(uint64_t) * (items + 1));
	uint32_t *t_index = test_alloc(sizeof(uint32_t) * users * items);
	float *t_weight = test_alloc(sizeof(float) * users * items);

	for (uint32_t u = 0; u < users; u++)
	{
		offset[u] = s.entries;
		for (uint32_t i = 0; i < items; i++)
		{
			double *cell = &s.x[(size_t) u * items + i];

			*cell = 0;
			if (kpx_uniform(seed, u, i) >= density * (i % 7 == 3 ? 3 : 1))
				continue;
			*cell = (float) (weighted ? 3 * kpx_uniform(seed + 1, u, i) : 1);
			index[s.entries] = i;
			weight[s.entries++] = (float) *cell;
		}
	}
	offset[users] = s.entries;
	memset(t_offset, 0, sizeof(uint64_t) * (items + 1));
	kpx_csr_transpose_count(index, s.entries, t_offset);
	(void) kpx_csr_offsets(t_offset, items);
	memcpy(cursor, t_offset, sizeof(uint64_t) * items);
	kpx_csr_transpose_scatter(offset, index, weight, 0, users, cursor, t_index, t_weight);
	free(cursor);
	s.by_user = (KpxRows){offset, index, weight};
	s.by_item = (KpxRows){t_offset, t_index, t_weight};
	return s;
}

static inline void
sparse_free(Sparse *s)
{
	free(s->x);
	free((void *) s->by_user.offset);
	free((void *) s->by_user.index);
	free((void *) s->by_user.weight);
	free((void *) s->by_item.offset);
	free((void *) s->by_item.index);
	free((void *) s->by_item.weight);
}

/* An empty row of sums for items. */
static inline KpxRowSums
row_make(uint32_t items)
{
	KpxRowSums row = {test_alloc(sizeof(float) * items), test_alloc(items), test_alloc(sizeof(uint32_t) * (items + 1)), 0};

	memset(row.sum, 0, sizeof(float) * items);
	memset(row.seen, 0, items);
	return row;
}

static inline void
row_clear(KpxRowSums *row)
{
	for (uint32_t i = 0; i < row->n; i++)
	{
		row->sum[row->touched[i]] = 0;
		row->seen[row->touched[i]] = 0;
	}
	row->n = 0;
}

static inline void
row_free(KpxRowSums *row)
{
	free(row->sum);
	free(row->seen);
	free(row->touched);
}

#endif /* KPX_TEST_SPARSE_H */
