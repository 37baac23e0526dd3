/*
 * tokens.h
 *	  Text to tokens, for English and Chinese alike, without dictionaries.
 *
 * A word is a run of Unicode letters and digits, folded: case (Latin, Greek, Cyrillic,
 * Armenian), full-width forms, accents of Latin and Greek letters, combining marks. Scripts
 * written without spaces (Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese) give each
 * character and each pair of neighbours: unigrams and bigrams, as in Lucene's CJK analyzer
 * with outputUnigrams. A single letter keeps what makes it a name: c++, c#, f#.
 *
 * Total over all byte strings: a byte that is not part of a valid UTF-8 sequence (Unicode
 * 15, table 3-7: no overlong forms, no surrogates) separates words and is otherwise passed
 * over. Tables are of code points, not of locales, so the result is the same everywhere.
 */
#ifndef KPX_TOKENS_H
#define KPX_TOKENS_H

#include "matrix.h"

/* Bytes of a token; a longer word is cut there, between characters. */
#define KPX_TOKEN_BYTES 64

typedef struct KpxToken
{
	uint32_t length; /* bytes, 1..KPX_TOKEN_BYTES */
	char bytes[KPX_TOKEN_BYTES]; /* valid UTF-8, not terminated */
} KpxToken;

/* Where the tokenizer is in text[0..length), which it does not own. */
typedef struct KpxTokenizer
{
	const char *text;
	size_t length;
	size_t at;
	uint32_t before; /* the unigram just given, of a script without spaces; 0 = none */
	uint32_t pending; /* a second unigram whose bigram was just given; 0 = none */
} KpxTokenizer;

extern void kpx_tokenizer_init(KpxTokenizer *tokenizer, const char *text, size_t length);

/* The next token, false at the end. */
extern bool kpx_token_next(KpxTokenizer *tokenizer, KpxToken *token);

/*
 * The code point at text[0..length), length > 0, and how many bytes it takes; -1 and 1 for
 * a byte that starts no valid sequence.
 */
extern int32_t kpx_utf8_decode(const char *text, size_t length, size_t *bytes);

/* Lower case, narrow form, without accent; 0 for a combining mark, which is dropped. */
extern uint32_t kpx_fold(uint32_t code);

/* 63 bits that name a term (it is never negative as int64); field tells words of one column from those of another. */
extern uint64_t kpx_term_hash(uint64_t field, const char *bytes, size_t length);

/* Whether a token is among the built-in English and Chinese function words. */
extern bool kpx_is_stop_word(const KpxToken *token);

#endif /* KPX_TOKENS_H */
