/*
 * rules.c
 *	  Any arrays as a table of rules: those that pass the check match any history inside their bounds.
 */
#include "fuzz.h"

#include "core/rules.h"

#define HISTORY 8

static void
match(const KpxRuleTable *table, FuzzInput *input)
{
	uint32_t history[HISTORY];
	uint32_t n = 0;
	uint64_t most;
	KpxRuleMatch *matches;
	size_t found;

	for (uint32_t item = 0; item < table->items && n < HISTORY; item++)
		if (fuzz_byte(input) & 1)
			history[n++] = item;
	most = kpx_rule_table_most(table, history, n);
	matches = fuzz_alloc(most, sizeof(KpxRuleMatch));
	found = kpx_rule_table_match(table, history, n, matches);
	FUZZ_CHECK(found <= most);
	for (size_t i = 0; i < found; i++)
		FUZZ_CHECK(matches[i].target < table->items && (i == 0 || matches[i].target > matches[i - 1].target));
	free(matches);
}

static uint64_t
small(FuzzInput *input)
{
	uint8_t byte = fuzz_byte(input);

	return byte < 255 ? byte : (uint64_t) fuzz_number(input);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	FuzzInput input = {bytes, length};
	uint32_t items = fuzz_byte(&input) % 16;
	uint32_t rules = fuzz_byte(&input) % 16;
	uint32_t rests = fuzz_byte(&input) % 32;
	uint64_t *offset = fuzz_alloc((size_t) items + 1, sizeof(uint64_t));
	uint32_t *target = fuzz_alloc(rules, sizeof(uint32_t));
	float *confidence = fuzz_alloc(rules, sizeof(float));
	uint64_t *rest_offset = fuzz_alloc((size_t) rules + 1, sizeof(uint64_t));
	uint32_t *rest = fuzz_alloc(rests, sizeof(uint32_t));
	KpxRuleTable table = {items, offset, target, confidence, rest_offset, rest};

	for (uint32_t i = 0; i <= items; i++)
		offset[i] = small(&input);
	for (uint32_t i = 0; i < rules; i++)
	{
		uint8_t byte = fuzz_byte(&input);

		target[i] = (uint32_t) small(&input);
		if (byte < 250)
			confidence[i] = (float) byte / 249;
		else
			fuzz_take(&input, &confidence[i], sizeof(float));
	}
	for (uint32_t i = 0; i <= rules; i++)
		rest_offset[i] = small(&input);
	for (uint32_t i = 0; i < rests; i++)
		rest[i] = (uint32_t) small(&input);
	if (kpx_rule_table_valid(&table, rules, rests))
		match(&table, &input);
	free(offset);
	free(target);
	free(confidence);
	free(rest_offset);
	free(rest);
	return 0;
}
