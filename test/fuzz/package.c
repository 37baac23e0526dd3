/*
 * package.c
 *	  Any bytes as a model that travels, and each of its blocks as a block: what kpx_import_model is given.
 */
#include "fuzz.h"

#include "core/model.h"
#include "core/transfer.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	KpxPackage package;
	KpxPacked packed;
	const char *end = (const char *) bytes + length;
	KpxStatus status;
	uint64_t blocks = 0;

	if (kpx_package_open(bytes, length, &package) != KPX_OK)
		return 0;
	FUZZ_CHECK(package.metadata + package.header.metadata_bytes <= end);
	while ((status = kpx_package_next(&package, &packed)) == KPX_MORE)
	{
		KpxBlockHeader header;
		char *exact = fuzz_alloc(packed.header.data_bytes, 1);

		FUZZ_CHECK(packed.name + packed.header.name_bytes == packed.data && packed.data + packed.header.data_bytes <= end);
		memcpy(exact, packed.data, packed.header.data_bytes);
		(void) kpx_block_check(exact, packed.header.data_bytes, &header);
		free(exact);
		blocks++;
	}
	FUZZ_CHECK(status == KPX_CORRUPT || (status == KPX_OK && blocks == package.header.blocks && package.at == end));
	return 0;
}
