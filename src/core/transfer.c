/*
 * transfer.c
 *	  Layout of a model that travels between clusters.
 */
#include "transfer.h"

#include <string.h>

_Static_assert(sizeof(KpxPackageHeader) == 32, "the header has no padding");
_Static_assert(sizeof(KpxPackedHeader) == 16, "the header has no padding");

KpxStatus
kpx_package_open(const void *bytes, size_t length, KpxPackage *package)
{
	KpxPackageHeader *header = &package->header;

	memset(package, 0, sizeof(*package));
	if (length < sizeof(*header))
		return KPX_CORRUPT;
	memcpy(header, bytes, sizeof(*header));
	if (header->magic == __builtin_bswap32(KPX_PACKAGE_MAGIC))
		return KPX_UNSUPPORTED;
	if (header->magic != KPX_PACKAGE_MAGIC)
		return KPX_CORRUPT;
	if (header->version > KPX_PACKAGE_VERSION)
		return KPX_UNSUPPORTED;
	if (header->version != KPX_PACKAGE_VERSION || header->reserved != 0 || header->bytes != length ||
		header->metadata_bytes > length - sizeof(*header))
		return KPX_CORRUPT;
	package->metadata = (const char *) bytes + sizeof(*header);
	package->at = package->metadata + header->metadata_bytes;
	package->end = (const char *) bytes + length;
	package->blocks_left = header->blocks;
	return KPX_OK;
}

KpxStatus
kpx_package_next(KpxPackage *package, KpxPacked *block)
{
	size_t left = (size_t) (package->end - package->at);

	if (package->blocks_left == 0)
		return left == 0 ? KPX_OK : KPX_CORRUPT;
	if (left < sizeof(block->header))
		return KPX_CORRUPT;
	memcpy(&block->header, package->at, sizeof(block->header));
	left -= sizeof(block->header);
	if (block->header.name_bytes > left || block->header.data_bytes > left - block->header.name_bytes)
		return KPX_CORRUPT;
	block->name = package->at + sizeof(block->header);
	block->data = block->name + block->header.name_bytes;
	package->at = block->data + block->header.data_bytes;
	package->blocks_left--;
	return KPX_MORE;
}
