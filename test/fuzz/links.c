/*
 * links.c
 *	  Any arrays as the links of a model: those that pass the check are followed inside their bounds.
 */
#include "fuzz.h"

#include "core/links.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	FuzzInput input = {bytes, length};
	uint32_t items = fuzz_byte(&input) % 16;
	uint32_t entries = fuzz_byte(&input) % 64;
	uint64_t *offset = fuzz_alloc((size_t) items + 1, sizeof(uint64_t));
	uint32_t *target = fuzz_alloc(entries, sizeof(uint32_t));
	float *weight = fuzz_alloc(entries, sizeof(float));
	float *score = fuzz_alloc(items, sizeof(float));
	KpxLinks links = {items, offset, target, weight};

	/* mostly small numbers, so that some pass */
	for (uint32_t i = 0; i <= items; i++)
	{
		uint8_t byte = fuzz_byte(&input);

		offset[i] = byte < 255 ? byte : (uint64_t) fuzz_number(&input);
	}
	for (uint32_t i = 0; i < entries; i++)
	{
		uint8_t byte = fuzz_byte(&input);

		target[i] = byte < 255 ? byte : (uint32_t) fuzz_number(&input);
		weight[i] = (float) (int8_t) fuzz_byte(&input);
	}
	if (kpx_links_valid(&links, entries))
		for (uint32_t i = 0; i < items; i++)
		{
			uint32_t from = i | (fuzz_byte(&input) & 1 ? UINT32_C(1) << 31 : 0);
			float one = 1;

			kpx_links_score(&links, &from, &one, 1, 0, items, score);
			for (uint32_t to = 0; to < items; to++)
				FUZZ_CHECK(score[to] == kpx_links_weight(&links, i, to) || (score[to] != score[to] && kpx_links_weight(&links, i, to) == 0));
			kpx_links_score(&links, &from, &one, 1, i, items, score);
		}
	free(offset);
	free(target);
	free(weight);
	free(score);
	return 0;
}
