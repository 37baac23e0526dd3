/*
 * transfer_test.c
 *	  Packages: a good one is read back, every truncation and damage is noticed or harmless.
 *
 * As in model_test.c, in buffers of exactly their size.
 */
#include "core/transfer.h"
#include "test.h"

static size_t
put(char *to, size_t at, const void *bytes, size_t n)
{
	memcpy(to + at, bytes, n);
	return at + n;
}

/* Two blocks, "ids" of 5 bytes and "gram" of none, behind metadata of 3. */
static char *
package(size_t *length)
{
	KpxPackedHeader first = {1, 2, 3, 5};
	KpxPackedHeader second = {0, 0, 4, 0};
	KpxPackageHeader header = {KPX_PACKAGE_MAGIC, KPX_PACKAGE_VERSION, 0, 0, 3, 0, 2};
	char *all = malloc(256);
	size_t at = sizeof(header);

	at = put(all, at, "{ }", 3);
	at = put(all, at, &first, sizeof(first));
	at = put(all, at, "ids", 3);
	at = put(all, at, "12345", 5);
	at = put(all, at, &second, sizeof(second));
	at = put(all, at, "gram", 4);
	header.bytes = *length = at;
	(void) put(all, 0, &header, sizeof(header));
	return all;
}

/* Reads all of it; touches every byte it is given. */
static KpxStatus
read_all(const char *bytes, size_t length, int *blocks)
{
	char *exact = malloc(length ? length : 1);
	KpxPackage opened;
	KpxPacked block;
	KpxStatus status;
	volatile int sum = 0;

	*blocks = 0;
	memcpy(exact, bytes, length);
	status = kpx_package_open(exact, length, &opened);
	if (status == KPX_OK)
	{
		for (uint32_t i = 0; i < opened.header.metadata_bytes; i++)
			sum += opened.metadata[i];
		while ((status = kpx_package_next(&opened, &block)) == KPX_MORE)
		{
			for (uint32_t i = 0; i < block.header.name_bytes; i++)
				sum += block.name[i];
			for (uint32_t i = 0; i < block.header.data_bytes; i++)
				sum += block.data[i];
			(*blocks)++;
		}
	}
	(void) sum;
	free(exact);
	return status;
}

static void
good(void)
{
	size_t length;
	char *all = package(&length);
	KpxPackage opened;
	KpxPacked block;

	CHECK_EQ(kpx_package_open(all, length, &opened), KPX_OK);
	CHECK(memcmp(opened.metadata, "{ }", 3) == 0);
	CHECK_EQ(kpx_package_next(&opened, &block), KPX_MORE);
	CHECK(block.header.position == 1 && block.header.seq == 2);
	CHECK(block.header.name_bytes == 3 && memcmp(block.name, "ids", 3) == 0);
	CHECK(block.header.data_bytes == 5 && memcmp(block.data, "12345", 5) == 0);
	CHECK_EQ(kpx_package_next(&opened, &block), KPX_MORE);
	CHECK(block.header.name_bytes == 4 && block.header.data_bytes == 0);
	CHECK_EQ(kpx_package_next(&opened, &block), KPX_OK);
	free(all);
}

static void
damaged(void)
{
	size_t length;
	char *all = package(&length);
	char *bad = malloc(length);
	int blocks;

	for (size_t n = 0; n < length; n++)
		CHECK_EQ(read_all(all, n, &blocks), KPX_CORRUPT);
	for (size_t at = 0; at < length; at++)
		for (int value = 0; value < 256; value++)
		{
			memcpy(bad, all, length);
			bad[at] = (char) value;
			(void) read_all(bad, length, &blocks);
			CHECK(blocks <= 2);
		}
	for (uint64_t trial = 0; trial < 20000; trial++)
	{
		memcpy(bad, all, length);
		for (uint64_t i = 0; i <= test_below(1, trial, 8); i++)
			bad[kpx_random(2, trial, i) % length] = (char) kpx_random(3, trial, i);
		(void) read_all(bad, length, &blocks);
	}
	memcpy(bad, all, length);
	bad[4]++;
	CHECK_EQ(read_all(bad, length, &blocks), KPX_UNSUPPORTED);
	for (int i = 0; i < 4; i++)
		bad[i] = all[3 - i];
	CHECK_EQ(read_all(bad, length, &blocks), KPX_UNSUPPORTED);
	free(bad);
	free(all);
}

int
main(void)
{
	good();
	damaged();
	return test_done();
}
