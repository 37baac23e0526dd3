/*
 * fuzz.h
 *	  What the fuzz targets have in common: numbers drawn from the input, and a check that aborts.
 *
 * A target is one function, LLVMFuzzerTestOneInput. `make fuzz` links it with libFuzzer, `make
 * check` with replay.c, which runs the files of its corpus. Inputs lie in buffers of exactly
 * their size, so that the address sanitizer sees the first byte read outside.
 */
#ifndef KPX_FUZZ_H
#define KPX_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/matrix.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#define FUZZ_CHECK(condition) \
	do \
	{ \
		if (!(condition)) \
		{ \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

typedef struct FuzzInput
{
	const uint8_t *at;
	size_t left;
} FuzzInput;

/* Copies size bytes out of the input; zeroes stand for what it lacks. */
static inline void
fuzz_take(FuzzInput *input, void *to, size_t size)
{
	size_t n = size < input->left ? size : input->left;

	memset(to, 0, size);
	if (n)
		memcpy(to, input->at, n);
	input->at += n;
	input->left -= n;
}

static inline uint8_t
fuzz_byte(FuzzInput *input)
{
	uint8_t byte;

	fuzz_take(input, &byte, 1);
	return byte;
}

static inline int64_t
fuzz_number(FuzzInput *input)
{
	int64_t number;

	fuzz_take(input, &number, sizeof(number));
	return number;
}

/* Memory of exactly this size, of at least a byte, 16-byte aligned. */
static inline void *
fuzz_alloc(size_t n, size_t size)
{
	void *memory = malloc(n * size > 0 ? n * size : 1);

	FUZZ_CHECK(memory != NULL);
	return memory;
}

#endif /* KPX_FUZZ_H */
