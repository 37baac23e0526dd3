/*
 * transition_test.c
 *	  Counts of what follows what against all pairs.
 */
#include "core/transition.h"
#include "sparse.h"

static void
test_transitions(uint32_t users, uint32_t items, double density, uint32_t window, double decay, uint32_t moments)
{
	Sparse s = sparse_make(users, items, density, false, 21);
	uint32_t *time = test_alloc(sizeof(uint32_t) * (s.entries + 1));
	uint32_t *order = test_alloc(sizeof(uint32_t) * (s.entries + 1));
	uint32_t *place = test_alloc(sizeof(uint32_t) * (s.entries + 1));
	KpxRowSums row = row_make(items);

	for (uint64_t e = 0; e < s.entries; e++)
		time[e] = (uint32_t) test_below(3, e, moments);
	kpx_time_order(&s.by_user, time, 0, users, order);
	for (uint32_t u = 0; u < users; u++)
		for (uint64_t e = s.by_user.offset[u]; e < s.by_user.offset[u + 1]; e++)
		{
			uint64_t begin = s.by_user.offset[u];

			place[begin + order[e]] = (uint32_t) (e - begin);
			if (e > begin)
				CHECK(time[begin + order[e - 1]] < time[begin + order[e]] ||
					  (time[begin + order[e - 1]] == time[begin + order[e]] && order[e - 1] < order[e]));
		}
	for (uint32_t t = 0; t < items; t++)
	{
		double *expected = test_alloc(sizeof(double) * items);

		for (uint32_t i = 0; i < items; i++)
			expected[i] = 0;
		for (uint32_t u = 0; u < users; u++)
		{
			uint64_t begin = s.by_user.offset[u];
			uint64_t end = s.by_user.offset[u + 1];

			for (uint64_t own = begin; own < end; own++)
				for (uint64_t before = begin; s.by_user.index[own] == t && before < end; before++)
				{
					uint32_t between = 0;

					if (time[before] == 0 || time[before] >= time[own])
						continue;
					for (uint64_t e = begin; e < end; e++)
						between += time[e] < time[own] && place[e] > place[before];
					if (between < window)
						expected[s.by_user.index[before]] += pow(decay, between);
				}
		}
		kpx_transition_row(&s.by_user, time, order, place, &s.by_item, t, window, decay, &row);
		kpx_transition_links(&row, &s.by_item, 2.5);
		for (uint32_t j = 0; j < items; j++)
			CHECK_NEAR(row.sum[j], expected[j] / ((double) (s.by_item.offset[j + 1] - s.by_item.offset[j]) + 2.5), 1e-5);
		row_clear(&row);
		free(expected);
	}
	row_free(&row);
	sparse_free(&s);
	free(time);
	free(order);
	free(place);
}

static void
test_start(void)
{
	uint32_t time[] = {10, 50, 20, 50, 0};
	float weight[5];

	kpx_transition_start(time, 5, 3, 0.5, weight);
	CHECK_NEAR(weight[1], 1, 0);
	CHECK_NEAR(weight[3], 1, 0);
	CHECK_NEAR(weight[2], 0.25, 1e-7);
	CHECK_NEAR(weight[0], 0, 0);
	CHECK_NEAR(weight[4], 0, 0);
	kpx_transition_start(NULL, 2, 3, 0.5, weight);
	CHECK_NEAR(weight[1], 1, 0);
}

int
main(void)
{
	test_transitions(50, 20, 0.3, 3, 0.7, 1000);
	test_transitions(50, 20, 0.3, 3, 0.7, 4); /* many ties, some without time */
	test_transitions(20, 60, 0.5, 100, 1, 50);
	test_start();
	return test_done();
}
