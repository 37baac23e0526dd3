/*
 * replay.c
 *	  Runs a fuzz target over the files it is given, without libFuzzer.
 */
#include "fuzz.h"

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
	{
		FILE *file = fopen(argv[i], "rb");
		uint8_t *bytes;
		long length;

		FUZZ_CHECK(file && fseek(file, 0, SEEK_END) == 0 && (length = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0);
		bytes = fuzz_alloc((size_t) length, 1);
		FUZZ_CHECK(fread(bytes, 1, (size_t) length, file) == (size_t) length);
		fclose(file);
		fprintf(stderr, "%s\n", argv[i]);
		(void) LLVMFuzzerTestOneInput(bytes, (size_t) length);
		free(bytes);
	}
	return argc > 1 ? 0 : 1;
}
