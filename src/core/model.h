/*
 * model.h
 *	  Layout of one stored block of a trained model.
 *
 * A block is a 64-byte header followed by payload_bytes of payload, all in the
 * byte order of the machine that wrote it; the header says which. The reader
 * trusts nothing: kpx_block_check is total over all byte strings.
 */
#ifndef KPX_MODEL_H
#define KPX_MODEL_H

#include "matrix.h"

#define KPX_BLOCK_MAGIC UINT32_C(0x4258504B) /* "KPXB" read on a little-endian machine */
#define KPX_BLOCK_VERSION 1

typedef enum KpxBlockKind
{
	KPX_BLOCK_IDS_INT = 1, /* int64[rows], increasing */
	KPX_BLOCK_IDS_UUID, /* 16 bytes a row, increasing by memcmp */
	KPX_BLOCK_IDS_TEXT, /* uint64[rows + 1] byte offsets, then the bytes, increasing by memcmp/length */
	KPX_BLOCK_FACTORS, /* float[rows][cols] */
	KPX_BLOCK_GRAM, /* float[rows = 1][cols]: diagonal of the weighted Gram matrix */
	KPX_BLOCK_POPULARITY, /* float[rows]: share of the module's interaction weight, 0..1 */
	KPX_BLOCK_FLOATS, /* float[rows][cols], any number of columns */
	KPX_BLOCK_OFFSETS, /* uint64[rows], never decreasing */
	KPX_BLOCK_INDEXES, /* uint32[rows]; what they may be the algorithm checks */
	KPX_BLOCK_BYTES /* bytes[rows] */
} KpxBlockKind;

typedef struct KpxBlockHeader
{
	uint32_t magic;
	uint16_t version;
	uint16_t kind;
	uint32_t crc; /* CRC-32C of the whole block with this field zero; the caller computes it */
	uint32_t cols;
	uint64_t rows; /* rows in this block */
	uint64_t first_row; /* index of its first row in the module's (or model's) array */
	uint64_t payload_bytes;
	uint64_t reserved[3]; /* zero */
} KpxBlockHeader;

/* Fills a header for a block of this shape; crc is left zero. KPX_TOO_BIG on overflow. */
extern KpxStatus kpx_block_header(KpxBlockKind kind, uint64_t first_row, uint64_t rows, uint32_t cols,
								  uint64_t payload_bytes, KpxBlockHeader *header);

/*
 * Checks length bytes as a block and copies its header out. KPX_UNSUPPORTED: other
 * byte order or a version above ours; KPX_CORRUPT: shorter than it says, longer than
 * it says, unknown kind, sizes that disagree, text offsets that decrease or leave the
 * payload, ids that do not increase, or a float that is not finite. Never reads
 * outside bytes[0..length). bytes need not be aligned.
 */
extern KpxStatus kpx_block_check(const void *bytes, size_t length, KpxBlockHeader *header);

/* Bytes of one element of a kind; 0 for text ids, whose size varies. */
extern size_t kpx_block_element(KpxBlockKind kind);

/* Payload of a block that passed the check. */
extern const void *kpx_block_payload(const void *bytes);

#endif /* KPX_MODEL_H */
