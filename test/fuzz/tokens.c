/*
 * tokens.c
 *	  Any bytes as text: tokens are valid, short, folded, and soon at an end.
 */
#include "fuzz.h"

#include "core/tokens.h"

static void
check_token(const KpxToken *token)
{
	size_t bytes;

	FUZZ_CHECK(token->length >= 1 && token->length <= KPX_TOKEN_BYTES);
	for (size_t at = 0; at < token->length; at += bytes)
	{
		int32_t code = kpx_utf8_decode(token->bytes + at, token->length - at, &bytes);

		FUZZ_CHECK(code >= 0 && bytes >= 1 && at + bytes <= token->length);
		FUZZ_CHECK(kpx_fold((uint32_t) code) == (uint32_t) code);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	KpxTokenizer tokenizer;
	KpxToken token;
	size_t tokens = 0;

	kpx_tokenizer_init(&tokenizer, (const char *) bytes, length);
	while (kpx_token_next(&tokenizer, &token))
	{
		check_token(&token);
		(void) kpx_is_stop_word(&token);
		FUZZ_CHECK((int64_t) kpx_term_hash(tokens, token.bytes, token.length) >= 0);
		FUZZ_CHECK(++tokens <= 2 * length); /* a character and a pair, at least a byte each */
	}
	FUZZ_CHECK(!kpx_token_next(&tokenizer, &token));
	return 0;
}
