/*
 * tokens_test.c
 *	  Tokens of known texts; arbitrary bytes never break the tokenizer.
 */
#include "core/tokens.h"
#include "test.h"

/* Tokens of text joined by '|'. */
static void
expect(const char *text, size_t length, const char *expected)
{
	KpxTokenizer tokenizer;
	KpxToken token;
	char joined[1024] = "";
	size_t at = 0;

	kpx_tokenizer_init(&tokenizer, text, length);
	while (kpx_token_next(&tokenizer, &token) && at + token.length + 2 < sizeof(joined))
	{
		if (at)
			joined[at++] = '|';
		memcpy(joined + at, token.bytes, token.length);
		at += token.length;
	}
	joined[at] = '\0';
	if (strcmp(joined, expected) != 0)
		printf("\"%s\": found %s, expected %s\n", text, joined, expected);
	CHECK(strcmp(joined, expected) == 0);
}

static void
test_words(void)
{
#define EXPECT(text, expected) expect((text), sizeof(text) - 1, (expected))
	EXPECT("", "");
	EXPECT(" -- ", "");
	EXPECT("Learn Python 3, quickly!", "learn|python|3|quickly");
	EXPECT("don't", "don|t");
	EXPECT("C++ and c# but C+ not", "c++|and|c#|but|c|not");
	EXPECT("abc++ #tag", "abc|tag");
	EXPECT("Ünïcödé ÀÉÎ Ñandú Łódź", "unicode|aei|nandu|lodz");
	EXPECT("e\xCC\x81t\xCC\x81", "et"); /* combining acute */
	EXPECT("ΑΘΉΝΑΣ αθήνας", "αθηνασ|αθηνασ");
	EXPECT("МОСКВА Ёлка ёлка", "москва|елка|елка");
	EXPECT("ＰＹＴＨＯＮ　３", "python|3"); /* full-width, ideographic space */
	EXPECT("straße Ærø", "straße|æro");
	EXPECT("a\xC2\xA0"
		   "b\xE2\x80\x94"
		   "c",
		   "a|b|c"); /* no-break space, dash */
	EXPECT("😀 smile", "smile");
}

static void
test_cjk(void)
{
	EXPECT("中", "中");
	EXPECT("数据库", "数|数据|据|据库|库");
	EXPECT("学Python编程", "学|python|编|编程|程");
	EXPECT("数据 库", "数|数据|据|库");
	EXPECT("数据，库", "数|数据|据|库");
	EXPECT("ひらカタ", "ひ|ひら|ら|らカ|カ|カタ|タ");
	EXPECT("한국", "한|한국|국");
	EXPECT("𠀀中", "𠀀|𠀀中|中"); /* outside the basic plane */
}

static void
test_invalid(void)
{
	EXPECT("a\xFF"
		   "b",
		   "a|b");
	EXPECT("\xC0\x80x", "x"); /* overlong */
	EXPECT("x\xED\xA0\x80y", "x|y"); /* surrogate */
	EXPECT("x\xE4\xB8", "x"); /* cut short */
	EXPECT("x\xF4\x90\x80\x80y", "x|y"); /* above U+10FFFF */
	EXPECT("a\0b", "a|b");
}

static void
test_long_word(void)
{
	char text[400];
	KpxTokenizer tokenizer;
	KpxToken token;

	memset(text, 'x', sizeof(text));
	kpx_tokenizer_init(&tokenizer, text, sizeof(text));
	CHECK(kpx_token_next(&tokenizer, &token));
	CHECK_EQ(token.length, KPX_TOKEN_BYTES);
	CHECK(!kpx_token_next(&tokenizer, &token));
	/* Two-byte letters are not cut in half. */
	for (size_t i = 0; i < sizeof(text); i += 2)
		memcpy(text + i, "\xD0\xB6", 2);
	text[0] = ' ';
	text[1] = 'a';
	kpx_tokenizer_init(&tokenizer, text, sizeof(text));
	CHECK(kpx_token_next(&tokenizer, &token));
	CHECK_EQ(token.length, KPX_TOKEN_BYTES - 1);
}

/* Every code point: decoding what is encoded, folding is idempotent, tokens stay valid. */
static void
test_all_code_points(void)
{
	for (uint32_t code = 0; code <= 0x10FFFF; code++)
	{
		char text[4];
		size_t n = code < 0x80 ? 1 : code < 0x800 ? 2
								 : code < 0x10000 ? 3
												  : 4;
		size_t bytes;
		int32_t decoded;
		uint32_t folded = kpx_fold(code);

		for (size_t i = n; i-- > 0;)
			text[i] = (char) (i        ? 0x80 | (code >> 6 * (n - 1 - i) & 0x3F)
							  : n == 1 ? code
									   : (0xF00u >> n & 0xFF) | code >> 6 * (n - 1));
		decoded = kpx_utf8_decode(text, n, &bytes);
		if (code >= 0xD800 && code <= 0xDFFF)
			CHECK_EQ(decoded, -1);
		else if (decoded != (int32_t) code || bytes != n)
			CHECK_EQ(decoded, code);
		if (kpx_fold(folded) != folded)
			CHECK_EQ(kpx_fold(folded), folded);
	}
}

static void
test_random_bytes(void)
{
	for (uint64_t round = 0; round < 20000; round++)
	{
		size_t n = (size_t) test_below(1, round, 40);
		char *text = malloc(n ? n : 1); /* exactly as long, so that the sanitizer sees a byte too far */
		KpxTokenizer tokenizer;
		KpxToken token;
		size_t tokens = 0;

		for (size_t i = 0; i < n; i++)
		{
			uint64_t r = kpx_random(2, round, i);

			text[i] = (char) (round % 2 ? r : (unsigned char) "a\xE4\xB8\xAD\xCC\x81+#\xFF\xD0\xB6"[r % 11]);
		}
		kpx_tokenizer_init(&tokenizer, text, n);
		while (kpx_token_next(&tokenizer, &token))
		{
			tokens++;
			if (token.length < 1 || token.length > KPX_TOKEN_BYTES)
				CHECK(false);
			for (size_t at = 0, bytes; at < token.length; at += bytes)
				if (kpx_utf8_decode(token.bytes + at, token.length - at, &bytes) < 0)
					CHECK(false);
		}
		CHECK(tokens <= 2 * n);
		free(text);
	}
}

static void
test_stop_words(void)
{
	const char *yes[] = {"a", "the", "yourselves", "的", "都", "一"};
	const char *no[] = {"guitar", "thee", "", "zzz", "数据"};
	KpxToken token;

	for (size_t i = 0; i < 6; i++)
	{
		token.length = (uint32_t) strlen(yes[i]);
		memcpy(token.bytes, yes[i], token.length);
		CHECK(kpx_is_stop_word(&token));
	}
	for (size_t i = 0; i < 5; i++)
	{
		token.length = (uint32_t) strlen(no[i]);
		memcpy(token.bytes, no[i], token.length);
		CHECK(!kpx_is_stop_word(&token));
	}
	CHECK(kpx_term_hash(0, "a", 1) != kpx_term_hash(0, "b", 1));
	CHECK(kpx_term_hash(0, "a", 1) != kpx_term_hash(1, "a", 1));
}

int
main(void)
{
	test_words();
	test_cjk();
	test_invalid();
	test_long_word();
	test_all_code_points();
	test_random_bytes();
	test_stop_words();
	return test_done();
}
