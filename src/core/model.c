/*
 * model.c
 *	  Layout of one stored block of a trained model.
 */
#include "model.h"

#include <string.h>

_Static_assert(sizeof(KpxBlockHeader) == 64, "the header has no padding");

KpxStatus
kpx_block_header(KpxBlockKind kind, uint64_t first_row, uint64_t rows, uint32_t cols, uint64_t payload_bytes,
				 KpxBlockHeader *header)
{
	if (rows > UINT64_MAX / 4 / sizeof(uint64_t) || payload_bytes > UINT64_MAX / 4)
		return KPX_TOO_BIG;
	memset(header, 0, sizeof(*header));
	header->magic = KPX_BLOCK_MAGIC;
	header->version = KPX_BLOCK_VERSION;
	header->kind = (uint16_t) kind;
	header->cols = cols;
	header->rows = rows;
	header->first_row = first_row;
	header->payload_bytes = payload_bytes;
	return KPX_OK;
}

static uint64_t
load64(const char *bytes, uint64_t i)
{
	uint64_t value;

	memcpy(&value, bytes + i * sizeof(value), sizeof(value));
	return value;
}

static bool
ints_increase(const char *payload, uint64_t rows)
{
	for (uint64_t i = 1; i < rows; i++)
		if ((int64_t) load64(payload, i - 1) >= (int64_t) load64(payload, i))
			return false;
	return true;
}

static bool
uuids_increase(const char *payload, uint64_t rows)
{
	for (uint64_t i = 1; i < rows; i++)
		if (memcmp(payload + (i - 1) * 16, payload + i * 16, 16) >= 0)
			return false;
	return true;
}

/* Offsets from 0, never decreasing, ending at the payload's end; strings increasing. */
static bool
texts_increase(const char *payload, uint64_t rows, uint64_t length)
{
	const char *text = payload + (rows + 1) * sizeof(uint64_t);

	if (load64(payload, 0) != 0 || load64(payload, rows) != length)
		return false;
	for (uint64_t i = 0; i < rows; i++)
		if (load64(payload, i) > load64(payload, i + 1) || load64(payload, i + 1) > length)
			return false;
	for (uint64_t i = 1; i < rows; i++)
	{
		uint64_t a = load64(payload, i - 1);
		uint64_t b = load64(payload, i);
		uint64_t a_length = b - a;
		uint64_t b_length = load64(payload, i + 1) - b;
		int order = memcmp(text + a, text + b, (size_t) (a_length < b_length ? a_length : b_length));

		if (order > 0 || (order == 0 && a_length >= b_length))
			return false;
	}
	return true;
}

static bool
floats_finite(const char *payload, uint64_t n)
{
	uint32_t odd = 0;

	/* Without a branch, so that several are looked at at a time: the exponents of infinity and NaN are all ones. */
	for (uint64_t i = 0; i < n; i++)
	{
		uint32_t bits;

		memcpy(&bits, payload + i * sizeof(bits), sizeof(bits));
		odd |= (bits & UINT32_C(0x7F800000)) == UINT32_C(0x7F800000);
	}
	return odd == 0;
}

static bool
offsets_grow(const char *payload, uint64_t rows)
{
	for (uint64_t i = 1; i < rows; i++)
		if (load64(payload, i - 1) > load64(payload, i))
			return false;
	return true;
}

size_t
kpx_block_element(KpxBlockKind kind)
{
	switch (kind)
	{
		case KPX_BLOCK_IDS_INT:
		case KPX_BLOCK_OFFSETS:
			return sizeof(uint64_t);
		case KPX_BLOCK_IDS_UUID:
			return 16;
		case KPX_BLOCK_FACTORS:
		case KPX_BLOCK_GRAM:
		case KPX_BLOCK_POPULARITY:
		case KPX_BLOCK_FLOATS:
		case KPX_BLOCK_INDEXES:
			return sizeof(float);
		case KPX_BLOCK_BYTES:
			return 1;
		default:
			return 0;
	}
}

/* Does rows x cols x size equal bytes, without overflow? */
static bool
shape_is(const KpxBlockHeader *header, uint64_t size)
{
	uint64_t cells;
	uint64_t bytes;

	return !__builtin_mul_overflow(header->rows, header->cols, &cells) &&
		   !__builtin_mul_overflow(cells, size, &bytes) && bytes == header->payload_bytes;
}

static bool
payload_ok(const KpxBlockHeader *header, const char *payload)
{
	uint64_t offsets;

	switch (header->kind)
	{
		case KPX_BLOCK_IDS_INT:
			return header->cols == 1 && shape_is(header, sizeof(int64_t)) && ints_increase(payload, header->rows);
		case KPX_BLOCK_IDS_UUID:
			return header->cols == 1 && shape_is(header, 16) && uuids_increase(payload, header->rows);
		case KPX_BLOCK_IDS_TEXT:
			return header->cols == 1 && header->rows < UINT64_MAX &&
				   !__builtin_mul_overflow(header->rows + 1, sizeof(uint64_t), &offsets) &&
				   offsets <= header->payload_bytes &&
				   texts_increase(payload, header->rows, header->payload_bytes - offsets);
		case KPX_BLOCK_GRAM:
			return header->rows == 1 && shape_is(header, sizeof(float)) && floats_finite(payload, header->cols);
		case KPX_BLOCK_POPULARITY:
			return header->cols == 1 && shape_is(header, sizeof(float)) && floats_finite(payload, header->rows);
		case KPX_BLOCK_FACTORS:
			return header->cols >= 1 && header->cols <= KPX_MAX_FACTORS && shape_is(header, sizeof(float)) &&
				   floats_finite(payload, header->rows * header->cols);
		case KPX_BLOCK_FLOATS:
			return header->cols >= 1 && shape_is(header, sizeof(float)) &&
				   floats_finite(payload, header->rows * header->cols);
		case KPX_BLOCK_OFFSETS:
			return header->cols == 1 && shape_is(header, sizeof(uint64_t)) && offsets_grow(payload, header->rows);
		case KPX_BLOCK_INDEXES:
			return header->cols == 1 && shape_is(header, sizeof(uint32_t));
		case KPX_BLOCK_BYTES:
			return header->cols == 1 && shape_is(header, 1);
		default:
			return false;
	}
}

KpxStatus
kpx_block_check(const void *bytes, size_t length, KpxBlockHeader *header)
{
	memset(header, 0, sizeof(*header));
	if (length < sizeof(*header))
		return KPX_CORRUPT;
	memcpy(header, bytes, sizeof(*header));
	if (header->magic == __builtin_bswap32(KPX_BLOCK_MAGIC))
		return KPX_UNSUPPORTED;
	if (header->magic != KPX_BLOCK_MAGIC)
		return KPX_CORRUPT;
	if (header->version > KPX_BLOCK_VERSION)
		return KPX_UNSUPPORTED;
	if (header->version != KPX_BLOCK_VERSION || header->payload_bytes != length - sizeof(*header) ||
		header->reserved[0] || header->reserved[1] || header->reserved[2])
		return KPX_CORRUPT;
	return payload_ok(header, (const char *) bytes + sizeof(*header)) ? KPX_OK : KPX_CORRUPT;
}

const void *
kpx_block_payload(const void *bytes)
{
	return (const char *) bytes + sizeof(KpxBlockHeader);
}
