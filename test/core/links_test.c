/*
 * links_test.c
 *	  Links between items against dense matrices in double.
 */
#include "core/links.h"
#include "test.h"

#define ITEMS 40

/* Dense link(from, to) of rows by target whose best were kept, and the same turned around. */
static void
test_turn(uint32_t keep)
{
	static double dense[ITEMS][ITEMS];
	static double kept[ITEMS][ITEMS];
	static const float once = 1;
	float sum[ITEMS] = {0};
	uint8_t seen[ITEMS] = {0};
	uint32_t touched[ITEMS + 1];
	float compact[ITEMS];
	KpxHit hits[ITEMS];
	uint32_t *index = test_alloc(ITEMS * keep * sizeof(uint32_t));
	float *weight = test_alloc(ITEMS * keep * sizeof(float));
	uint32_t count[ITEMS];
	uint64_t offset[ITEMS + 1];
	uint64_t cursor[ITEMS];
	KpxRowSums row = {sum, seen, touched, 0};
	uint32_t *to_index = test_alloc(ITEMS * keep * sizeof(uint32_t));
	float *to_weight = test_alloc(ITEMS * keep * sizeof(float));
	KpxLinks links = {ITEMS, offset, to_index, to_weight};

	memset(kept, 0, sizeof(kept));
	for (uint32_t t = 0; t < ITEMS; t++)
	{
		for (uint32_t j = 0; j < ITEMS; j++)
		{
			dense[j][t] = test_below(1, t * ITEMS + j, 3) ? kpx_normal(2, t, j) : 0;
			if (dense[j][t] == 0 && t % 2)
				continue;
			kpx_row_add(&row, &j, &once, 1, (float) (0.25 * dense[j][t]));
			kpx_row_add(&row, &j, &once, 1, (float) (0.75 * dense[j][t]));
			if (t % 5 == 0) /* a sum that passes through zero is one entry still */
			{
				kpx_row_add(&row, &j, &once, 1, (float) -dense[j][t]);
				kpx_row_add(&row, &j, &once, 1, (float) dense[j][t]);
			}
		}
		count[t] = kpx_row_best(&row, t, keep, compact, hits, index + t * keep, weight + t * keep);
		CHECK_EQ(row.n, 0);
		for (uint32_t e = 0; e < count[t]; e++)
		{
			uint32_t j = index[t * keep + e];
			uint32_t larger = 0;

			CHECK(j != t && (e == 0 || j > index[t * keep + e - 1]));
			CHECK_NEAR(weight[t * keep + e], dense[j][t], 1e-5);
			for (uint32_t i = 0; i < ITEMS; i++)
				larger += i != t && fabs(dense[i][t]) > fabs(dense[j][t]) + 1e-5;
			CHECK(larger < keep);
			kept[j][t] = weight[t * keep + e];
		}
	}
	for (uint32_t i = 0; i < ITEMS; i++)
		CHECK(sum[i] == 0 && seen[i] == 0);
	kpx_links_turn(ITEMS, keep, count, index, weight, offset, cursor, to_index, to_weight);
	CHECK(kpx_links_valid(&links, offset[ITEMS]));
	CHECK(!kpx_links_valid(&links, offset[ITEMS] + 1));
	for (uint32_t j = 0; j < ITEMS; j++)
		for (uint32_t t = 0; t < ITEMS; t++)
			CHECK_EQ(kpx_links_weight(&links, j, t) == (float) kept[j][t], 1);

	/* Scores of a history, all and in a range. */
	{
		uint32_t history[] = {3, 17 | UINT32_C(0x80000000), 39};
		float weights[] = {1, 0.5f, 2};
		float score[ITEMS];

		for (uint32_t begin = 0; begin < ITEMS; begin += 13)
		{
			kpx_links_score(&links, history, weights, 3, begin, ITEMS, score);
			for (uint32_t t = begin; t < ITEMS; t++)
			{
				double expected = kept[3][t] + 0.5 * kept[17][t] + 2 * kept[39][t];
				bool linked = kept[3][t] != 0 || kept[17][t] != 0 || kept[39][t] != 0;

				CHECK_EQ(linked, score[t - begin] == score[t - begin]);
				if (linked)
					CHECK_NEAR(score[t - begin], expected, 1e-5);
			}
		}
	}

	/* Damage: what is not in order or out of range is refused. */
	offset[3] = offset[ITEMS] + 5;
	CHECK(!kpx_links_valid(&links, offset[ITEMS]));
	kpx_links_turn(ITEMS, keep, count, index, weight, offset, cursor, to_index, to_weight);
	to_index[0] = ITEMS;
	CHECK(!kpx_links_valid(&links, offset[ITEMS]));
	free(index);
	free(weight);
	free(to_index);
	free(to_weight);
}

int
main(void)
{
	test_turn(1);
	test_turn(7);
	test_turn(ITEMS);
	return test_done();
}
