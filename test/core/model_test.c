/*
 * model_test.c
 *	  Stored blocks: good ones pass, every truncation and damage is noticed or harmless.
 *
 * Blocks are checked in buffers of exactly their size, so that the address sanitizer
 * sees the first byte read outside.
 */
#include "core/model.h"
#include "test.h"

static char *
block(KpxBlockKind kind, uint64_t rows, uint32_t cols, const void *payload, size_t bytes, size_t *length)
{
	KpxBlockHeader header;
	char *all;

	CHECK_EQ(kpx_block_header(kind, 7, rows, cols, bytes, &header), KPX_OK);
	*length = sizeof(header) + bytes;
	all = malloc(*length);
	memcpy(all, &header, sizeof(header));
	memcpy(all + sizeof(header), payload, bytes);
	return all;
}

static KpxStatus
check(const void *bytes, size_t length)
{
	KpxBlockHeader header;
	char *exact = malloc(length ? length : 1);
	KpxStatus status;

	memcpy(exact, bytes, length);
	status = kpx_block_check(exact, length, &header);
	free(exact);
	return status;
}

/* Every prefix is refused; any byte of the header or offsets changed never reads outside. */
static void
damage(const char *good, size_t length)
{
	char *bad = malloc(length);

	CHECK_EQ(check(good, length), KPX_OK);
	for (size_t n = 0; n < length; n++)
		CHECK(check(good, n) != KPX_OK);
	for (size_t at = 0; at < length; at++)
		for (int bit = 0; bit < 8; bit++)
		{
			memcpy(bad, good, length);
			bad[at] ^= (char) (1 << bit);
			(void) check(bad, length);
		}
	for (uint64_t trial = 0; trial < 20000; trial++)
	{
		memcpy(bad, good, length);
		for (uint64_t i = 0; i <= test_below(1, trial, 8); i++)
			bad[kpx_random(2, trial, i) % length] = (char) kpx_random(3, trial, i);
		(void) check(bad, length);
	}
	free(bad);
}

static void
test_ints(void)
{
	int64_t ids[] = {INT64_MIN, -1, 0, 5, INT64_MAX};
	size_t length;
	char *good = block(KPX_BLOCK_IDS_INT, 5, 1, ids, sizeof(ids), &length);
	KpxBlockHeader header;

	CHECK_EQ(kpx_block_check(good, length, &header), KPX_OK);
	CHECK_EQ(header.rows, 5);
	CHECK_EQ(header.first_row, 7);
	CHECK(memcmp(kpx_block_payload(good), ids, sizeof(ids)) == 0);
	damage(good, length);
	free(good);
	ids[3] = 0; /* twice the same id */
	good = block(KPX_BLOCK_IDS_INT, 5, 1, ids, sizeof(ids), &length);
	CHECK_EQ(check(good, length), KPX_CORRUPT);
	free(good);
}

static void
test_texts(void)
{
	struct
	{
		uint64_t offset[4];
		char text[6];
	} ids = {{0, 0, 2, 6}, {'a', 'b', 'a', 'b', 'c', 'd'}};
	size_t bytes = 4 * sizeof(uint64_t) + 6;
	size_t length;
	char *good = block(KPX_BLOCK_IDS_TEXT, 3, 1, &ids, bytes, &length);

	damage(good, length);
	free(good);
	ids.offset[1] = 3; /* decreasing */
	good = block(KPX_BLOCK_IDS_TEXT, 3, 1, &ids, bytes, &length);
	CHECK_EQ(check(good, length), KPX_CORRUPT);
	free(good);
	ids.offset[1] = 0;
	ids.offset[3] = UINT64_MAX;
	good = block(KPX_BLOCK_IDS_TEXT, 3, 1, &ids, bytes, &length);
	CHECK_EQ(check(good, length), KPX_CORRUPT);
	free(good);
	good = block(KPX_BLOCK_IDS_TEXT, UINT64_MAX / 64, 1, &ids, bytes, &length);
	CHECK_EQ(check(good, length), KPX_CORRUPT);
	free(good);
}

static void
test_uuids(void)
{
	unsigned char ids[48] = {0};
	size_t length;
	char *good;

	ids[16] = 1;
	ids[32] = 255;
	good = block(KPX_BLOCK_IDS_UUID, 3, 1, ids, sizeof(ids), &length);
	damage(good, length);
	free(good);
	ids[16] = 0;
	good = block(KPX_BLOCK_IDS_UUID, 3, 1, ids, sizeof(ids), &length);
	CHECK_EQ(check(good, length), KPX_CORRUPT);
	free(good);
}

static void
test_floats(void)
{
	float values[12];
	size_t length;
	char *good;

	for (int i = 0; i < 12; i++)
		values[i] = (float) kpx_normal(4, 0, (uint64_t) i);
	good = block(KPX_BLOCK_FACTORS, 3, 4, values, sizeof(values), &length);
	damage(good, length);
	free(good);
	good = block(KPX_BLOCK_FACTORS, 4, 4, values, sizeof(values), &length);
	CHECK_EQ(check(good, length), KPX_CORRUPT);
	free(good);
	good = block(KPX_BLOCK_FACTORS, 0, KPX_MAX_FACTORS + 1, values, 0, &length);
	CHECK_EQ(check(good, length), KPX_CORRUPT);
	free(good);
	good = block(KPX_BLOCK_GRAM, 1, 12, values, sizeof(values), &length);
	CHECK_EQ(check(good, length), KPX_OK);
	free(good);
	good = block(KPX_BLOCK_POPULARITY, 12, 1, values, sizeof(values), &length);
	CHECK_EQ(check(good, length), KPX_OK);
	free(good);
	values[11] = NAN;
	good = block(KPX_BLOCK_POPULARITY, 12, 1, values, sizeof(values), &length);
	CHECK_EQ(check(good, length), KPX_CORRUPT);
	free(good);
	values[11] = INFINITY;
	good = block(KPX_BLOCK_GRAM, 1, 12, values, sizeof(values), &length);
	CHECK_EQ(check(good, length), KPX_CORRUPT);
	free(good);
}

static void
test_arrays(void)
{
	float values[6] = {1, -2, 3, 0, 5, 6};
	uint64_t offsets[4] = {0, 2, 2, 9};
	uint32_t indexes[3] = {7, 0, UINT32_MAX};
	size_t length;
	char *good = block(KPX_BLOCK_FLOATS, 3, 2, values, sizeof(values), &length);

	damage(good, length);
	free(good);
	good = block(KPX_BLOCK_FLOATS, 1, KPX_MAX_FACTORS * 2, values, sizeof(values), &length);
	CHECK_EQ(check(good, length), KPX_CORRUPT);
	free(good);
	good = block(KPX_BLOCK_OFFSETS, 4, 1, offsets, sizeof(offsets), &length);
	damage(good, length);
	free(good);
	offsets[2] = 1; /* decreasing */
	good = block(KPX_BLOCK_OFFSETS, 4, 1, offsets, sizeof(offsets), &length);
	CHECK_EQ(check(good, length), KPX_CORRUPT);
	free(good);
	good = block(KPX_BLOCK_INDEXES, 3, 1, indexes, sizeof(indexes), &length);
	damage(good, length);
	free(good);
	good = block(KPX_BLOCK_BYTES, 24, 1, values, sizeof(values), &length);
	damage(good, length);
	free(good);
	values[4] = NAN;
	good = block(KPX_BLOCK_FLOATS, 3, 2, values, sizeof(values), &length);
	CHECK_EQ(check(good, length), KPX_CORRUPT);
	free(good);
	CHECK_EQ(kpx_block_element(KPX_BLOCK_OFFSETS), 8);
	CHECK_EQ(kpx_block_element(KPX_BLOCK_INDEXES), 4);
	CHECK_EQ(kpx_block_element(KPX_BLOCK_IDS_UUID), 16);
	CHECK_EQ(kpx_block_element(KPX_BLOCK_IDS_TEXT), 0);
}

static void
test_header(void)
{
	KpxBlockHeader header;
	float value = 1;
	size_t length;
	char *other = block(KPX_BLOCK_GRAM, 1, 1, &value, sizeof(value), &length);
	uint32_t magic = __builtin_bswap32(KPX_BLOCK_MAGIC);
	uint16_t version = KPX_BLOCK_VERSION + 1;

	CHECK_EQ(kpx_block_header(KPX_BLOCK_GRAM, 0, UINT64_MAX, 1, 8, &header), KPX_TOO_BIG);
	CHECK_EQ(kpx_block_header(KPX_BLOCK_GRAM, 0, 1, 1, UINT64_MAX, &header), KPX_TOO_BIG);
	memcpy(other + offsetof(KpxBlockHeader, version), &version, sizeof(version));
	CHECK_EQ(check(other, length), KPX_UNSUPPORTED);
	memcpy(other, &magic, sizeof(magic));
	CHECK_EQ(check(other, length), KPX_UNSUPPORTED);
	memset(other, 0, 4);
	CHECK_EQ(check(other, length), KPX_CORRUPT);
	free(other);
}

int
main(void)
{
	test_ints();
	test_texts();
	test_uuids();
	test_floats();
	test_arrays();
	test_header();
	return test_done();
}
