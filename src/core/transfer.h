/*
 * transfer.h
 *	  Layout of a model that travels between clusters: one string of bytes.
 *
 * A header, metadata (JSON, what the tables of the model say but its blocks), then the
 * blocks of the model as they are stored (core/model.h), each behind a small header of its
 * own. Numbers are in the byte order of the machine that wrote it. The reader trusts
 * nothing: it is total over all byte strings.
 */
#ifndef KPX_TRANSFER_H
#define KPX_TRANSFER_H

#include "matrix.h"

#define KPX_PACKAGE_MAGIC UINT32_C(0x4D58504B) /* "KPXM" read on a little-endian machine */
#define KPX_PACKAGE_VERSION 1

typedef struct KpxPackageHeader
{
	uint32_t magic;
	uint16_t version;
	uint16_t reserved; /* zero */
	uint32_t crc; /* CRC-32C of the whole package with this field zero; the caller computes it */
	uint32_t metadata_bytes;
	uint64_t bytes; /* of the whole package */
	uint64_t blocks;
} KpxPackageHeader;

typedef struct KpxPackedHeader
{
	uint32_t position;
	uint32_t seq;
	uint32_t name_bytes;
	uint32_t data_bytes;
} KpxPackedHeader;

/* One block; name and data point into the package, are not terminated and need not be aligned. */
typedef struct KpxPacked
{
	KpxPackedHeader header;
	const char *name;
	const char *data;
} KpxPacked;

typedef struct KpxPackage
{
	KpxPackageHeader header;
	const char *metadata; /* header.metadata_bytes */
	const char *at; /* the next block */
	const char *end;
	uint64_t blocks_left;
} KpxPackage;

/*
 * Opens length bytes as a package. KPX_UNSUPPORTED: other byte order or a version above ours;
 * KPX_CORRUPT: no package, or not as long as it says. The checksum is the caller's to compare.
 */
extern KpxStatus kpx_package_open(const void *bytes, size_t length, KpxPackage *package);

/* The next block: KPX_MORE when there was one, KPX_OK at the proper end, KPX_CORRUPT otherwise. */
extern KpxStatus kpx_package_next(KpxPackage *package, KpxPacked *block);

#endif /* KPX_TRANSFER_H */
