/*
 * block.c
 *	  Any bytes as a stored block: what passes the check can be read as its kind says.
 */
#include "fuzz.h"

#include <math.h>

#include "core/model.h"

/* Reads every element as a loader does. */
static void
read_payload(const KpxBlockHeader *header, const char *payload)
{
	size_t element = kpx_block_element(header->kind);
	uint64_t before = 0;

	if (header->kind == KPX_BLOCK_IDS_TEXT)
	{
		for (uint64_t i = 0; i <= header->rows; i++)
		{
			uint64_t offset;

			memcpy(&offset, payload + i * sizeof(offset), sizeof(offset));
			FUZZ_CHECK(offset >= before && offset <= header->payload_bytes - (header->rows + 1) * sizeof(offset));
			before = offset;
		}
		return;
	}
	FUZZ_CHECK(element > 0 && header->rows * header->cols * element == header->payload_bytes);
	for (uint64_t i = 0; i < header->rows * header->cols; i++)
	{
		float value = 0;
		char bytes[16];

		memcpy(bytes, payload + i * element, element);
		if (header->kind == KPX_BLOCK_FACTORS || header->kind == KPX_BLOCK_GRAM || header->kind == KPX_BLOCK_POPULARITY ||
			header->kind == KPX_BLOCK_FLOATS)
			memcpy(&value, bytes, sizeof(value));
		FUZZ_CHECK(isfinite(value));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	KpxBlockHeader header;
	KpxBlockHeader again;

	if (kpx_block_check(bytes, length, &header) != KPX_OK)
		return 0;
	FUZZ_CHECK(header.payload_bytes == length - sizeof(header));
	read_payload(&header, kpx_block_payload(bytes));
	FUZZ_CHECK(kpx_block_header(header.kind, header.first_row, header.rows, header.cols, header.payload_bytes, &again) == KPX_OK);
	again.crc = header.crc;
	FUZZ_CHECK(memcmp(&again, &header, sizeof(header)) == 0);
	return 0;
}
