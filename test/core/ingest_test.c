/*
 * ingest_test.c
 *	  Events to rows against a dense matrix of sums.
 */
#include "core/ingest.h"
#include "test.h"

typedef struct Csr
{
	uint64_t *offset;
	uint32_t *index;
	float *weight;
	uint64_t entries;
} Csr;

static Csr
build(const KpxEvent *events, size_t n, uint32_t users, uint32_t items, const uint32_t *item_map, size_t block)
{
	Csr csr;
	uint64_t *cursor = test_alloc(users * sizeof(uint64_t));
	uint64_t *kept = test_alloc(users * sizeof(uint64_t));

	csr.offset = test_alloc((users + 1) * sizeof(uint64_t));
	csr.index = test_alloc(n * sizeof(uint32_t));
	csr.weight = test_alloc(n * sizeof(float));
	memset(csr.offset, 0, (users + 1) * sizeof(uint64_t));
	for (size_t i = 0; i < n; i += block)
		CHECK_EQ(kpx_csr_count(events + i, n - i < block ? n - i : block, users, items, csr.offset), KPX_OK);
	CHECK_EQ(kpx_csr_offsets(csr.offset, users), n);
	memcpy(cursor, csr.offset, users * sizeof(uint64_t));
	for (size_t i = 0; i < n; i += block)
		kpx_csr_scatter(events + i, n - i < block ? n - i : block, item_map, cursor, csr.index, csr.weight);
	kpx_csr_dedupe(csr.offset, 0, users / 2, csr.index, csr.weight, kept);
	kpx_csr_dedupe(csr.offset, users / 2, users, csr.index, csr.weight, kept);
	csr.entries = kpx_csr_compact(csr.offset, kept, users, csr.index, csr.weight);
	free(cursor);
	free(kept);
	return csr;
}

static void
test_rows(size_t n, uint32_t users, uint32_t items, size_t block, bool renamed)
{
	KpxEvent *events = test_alloc(n * sizeof(KpxEvent));
	double *dense = calloc((size_t) users * items, sizeof(double));
	bool *hides = calloc((size_t) users * items, sizeof(bool));
	uint32_t *map = test_alloc(items * sizeof(uint32_t));
	uint64_t *t_offset = test_alloc((items + 1) * sizeof(uint64_t));
	uint64_t *cursor = test_alloc(items * sizeof(uint64_t));
	uint32_t *t_index = test_alloc(n * sizeof(uint32_t));
	float *t_weight = test_alloc(n * sizeof(float));
	uint64_t expected = 0;
	Csr csr;

	for (uint32_t i = 0; i < items; i++)
		map[i] = items - 1 - i;
	for (size_t i = 0; i < n; i++)
	{
		/* Squared: some users have very many events, so that rows of all lengths are sorted. */
		double u = kpx_uniform(1, n, i);
		uint32_t user = (uint32_t) (u * u * users);
		uint32_t item = (uint32_t) test_below(2, i, items);
		bool hide = test_below(3, i, 4) == 0;
		float weight = test_below(4, i, 10) == 0 ? 0 : (float) kpx_uniform(5, n, i);
		uint32_t name = renamed ? map[item] : item;

		events[i] = (KpxEvent){user, item | (hide ? KPX_HIDES : 0), weight};
		dense[(size_t) user * items + name] += weight;
		hides[(size_t) user * items + name] |= hide;
	}
	csr = build(events, n, users, items, renamed ? map : NULL, block);
	for (uint32_t user = 0; user < users; user++)
	{
		uint64_t at = csr.offset[user];

		for (uint32_t item = 0; item < items; item++)
		{
			size_t cell = (size_t) user * items + item;

			if (!(dense[cell] > 0) && !hides[cell])
				continue;
			expected++;
			CHECK(at < csr.offset[user + 1]);
			CHECK_EQ(csr.index[at], item | (hides[cell] ? KPX_HIDES : 0));
			CHECK_NEAR(csr.weight[at], dense[cell], 1e-6);
			at++;
		}
		CHECK_EQ(at, csr.offset[user + 1]);
	}
	CHECK_EQ(csr.entries, expected);

	/* In ranges, as a caller that looks at interrupts does. */
	memset(t_offset, 0, (items + 1) * sizeof(uint64_t));
	for (uint64_t j = 0; j < csr.entries; j += 7)
		kpx_csr_transpose_count(csr.index + j, (size_t) (csr.entries - j < 7 ? csr.entries - j : 7), t_offset);
	kpx_csr_offsets(t_offset, items);
	memcpy(cursor, t_offset, items * sizeof(uint64_t));
	for (uint32_t user = 0; user < users; user += 3)
		kpx_csr_transpose_scatter(csr.offset, csr.index, csr.weight, user, user + 3 < users ? user + 3 : users, cursor,
								  t_index, t_weight);
	CHECK_EQ(t_offset[items], csr.entries);
	for (uint32_t item = 0; item < items; item++)
		for (uint64_t at = t_offset[item]; at < t_offset[item + 1]; at++)
		{
			CHECK(at == t_offset[item] || t_index[at - 1] < t_index[at]);
			CHECK_NEAR(t_weight[at], dense[(size_t) t_index[at] * items + item], 1e-6);
		}
	free(csr.offset);
	free(csr.index);
	free(csr.weight);
	free(events);
	free(dense);
	free(hides);
	free(map);
	free(t_offset);
	free(cursor);
	free(t_index);
	free(t_weight);
}

static void
test_times(void)
{
	/* Users 0 and 1; item 4 of user 0 twice; a weightless event that was dropped. */
	KpxEvent events[] = {{0, 4, 1}, {1, 2 | KPX_HIDES, 1}, {0, 1, 1}, {0, 4, 1}, {1, 3, 0}, {0, 9, 1}};
	uint32_t at[] = {50, 20, 0, 40, 99, 7};
	Csr csr = build(events, 6, 2, 10, NULL, 2);
	uint32_t time[6] = {0};

	CHECK_EQ(csr.entries, 4);
	kpx_csr_times(events, at, 3, csr.offset, csr.index, time);
	kpx_csr_times(events + 3, at + 3, 3, csr.offset, csr.index, time);
	CHECK_EQ(time[0], 0);
	CHECK_EQ(time[1], 50);
	CHECK_EQ(time[2], 7);
	CHECK_EQ(time[3], 20);
	free(csr.offset);
	free(csr.index);
	free(csr.weight);
}

static void
test_out_of_range(void)
{
	uint64_t count[3] = {0, 0, 0};
	KpxEvent user = {3, 0, 1};
	KpxEvent item = {0, 5, 1};
	KpxEvent good = {2, 4 | KPX_HIDES, 1};

	CHECK_EQ(kpx_csr_count(&user, 1, 3, 5, count), KPX_BAD_ARGUMENT);
	CHECK_EQ(kpx_csr_count(&item, 1, 3, 5, count), KPX_BAD_ARGUMENT);
	CHECK_EQ(kpx_csr_count(&good, 1, 3, 5, count), KPX_OK);
	CHECK_EQ(count[0] + count[1] + count[2], 1);
}

int
main(void)
{
	test_rows(1, 1, 1, 1, false);
	test_rows(200, 10, 7, 64, false);
	test_rows(200, 10, 7, 1000, true);
	test_rows(5000, 5, 300, 999, true);
	test_rows(20000, 300, 120, 4096, false);
	test_out_of_range();
	test_times();
	CHECK_NEAR(kpx_decay(0, 30), 1, 0);
	CHECK_NEAR(kpx_decay(30, 30), 0.5, 1e-12);
	CHECK_NEAR(kpx_decay(90, 30), 0.125, 1e-12);
	CHECK_NEAR(kpx_decay(-5, 30), 1, 0);
	CHECK_NEAR(kpx_decay(1e9, 1), 0, 0);
	return test_done();
}
