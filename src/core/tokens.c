/*
 * tokens.c
 *	  Text to tokens, for English and Chinese alike, without dictionaries.
 */
#include "tokens.h"

#include <stdlib.h>
#include <string.h>

#include "rng.h"

/* ------------------------------------------------------------ UTF-8 */

/* Smallest code point a sequence of this many bytes may encode. */
static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};

int32_t
kpx_utf8_decode(const char *text, size_t length, size_t *bytes)
{
	const unsigned char *s = (const unsigned char *) text;
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xC0 ? 0
							 : s[0] < 0xE0   ? 2
							 : s[0] < 0xF0   ? 3
							 : s[0] < 0xF8   ? 4
											 : 0;
	uint32_t code;

	*bytes = 1;
	if (n == 1)
		return s[0];
	if (n == 0 || n > length)
		return -1;
	code = s[0] & (0x7Fu >> n);
	for (size_t i = 1; i < n; i++)
	{
		if ((s[i] & 0xC0) != 0x80)
			return -1;
		code = code << 6 | (s[i] & 0x3Fu);
	}
	if (code < least[n] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
		return -1;
	*bytes = n;
	return (int32_t) code;
}

static size_t
encode(uint32_t code, char *to)
{
	if (code < 0x80)
	{
		to[0] = (char) code;
		return 1;
	}
	if (code < 0x800)
	{
		to[0] = (char) (0xC0 | code >> 6);
		to[1] = (char) (0x80 | (code & 0x3F));
		return 2;
	}
	if (code < 0x10000)
	{
		to[0] = (char) (0xE0 | code >> 12);
		to[1] = (char) (0x80 | (code >> 6 & 0x3F));
		to[2] = (char) (0x80 | (code & 0x3F));
		return 3;
	}
	to[0] = (char) (0xF0 | code >> 18);
	to[1] = (char) (0x80 | (code >> 12 & 0x3F));
	to[2] = (char) (0x80 | (code >> 6 & 0x3F));
	to[3] = (char) (0x80 | (code & 0x3F));
	return 4;
}

/* ------------------------------------------------------------ classes of characters */

typedef struct Range
{
	uint32_t first;
	uint32_t last;
} Range;

static bool
in_ranges(const Range *range, size_t n, uint32_t code)
{
	size_t low = 0;

	while (low < n)
	{
		size_t middle = low + (n - low) / 2;

		if (code > range[middle].last)
			low = middle + 1;
		else if (code < range[middle].first)
			n = middle;
		else
			return true;
	}
	return false;
}

/* Above ASCII: spaces, punctuation, symbols, private use, noncharacters. The rest are letters. */
static const Range separators[] = {
	{0x80, 0xA9}, {0xAB, 0xB1}, {0xB4, 0xB4}, {0xB6, 0xB8}, {0xBB, 0xBB}, {0xBF, 0xBF}, {0xD7, 0xD7}, {0xF7, 0xF7}, {0x2C2, 0x2C5}, {0x2D2, 0x2DF}, {0x375, 0x375}, {0x37E, 0x37E}, {0x384, 0x385}, {0x387, 0x387}, {0x3F6, 0x3F6}, {0x482, 0x482}, {0x55A, 0x55F}, {0x589, 0x58F}, {0x5BE, 0x5BE}, {0x5C0, 0x5C0}, {0x5C3, 0x5C3}, {0x5C6, 0x5C6}, {0x5F3, 0x5F4}, {0x600, 0x60F}, {0x61B, 0x61F}, {0x66A, 0x66D}, {0x6D4, 0x6D4}, {0x6DD, 0x6DE}, {0x700, 0x70F}, {0x964, 0x965}, {0x970, 0x970}, {0xE3F, 0xE3F}, {0xE4F, 0xE4F}, {0xE5A, 0xE5B}, {0xF01, 0xF17}, {0x104A, 0x104F}, {0x10FB, 0x10FB}, {0x1360, 0x1368}, {0x1400, 0x1400}, {0x166D, 0x166E}, {0x1680, 0x1680}, {0x169B, 0x169C}, {0x17D4, 0x17DB}, {0x1800, 0x180F}, {0x2000, 0x206F}, {0x207A, 0x207E}, {0x208A, 0x208E}, {0x20A0, 0x20CF}, {0x2100, 0x2101}, {0x2103, 0x2106}, {0x2114, 0x2114}, {0x2116, 0x2118}, {0x211E, 0x2123}, {0x2190, 0x245F}, {0x249C, 0x249C}, {0x2500, 0x2775}, {0x2794, 0x2BFF}, {0x2E00, 0x2E7F}, {0x2FF0, 0x3004}, {0x3008, 0x3020}, {0x3030, 0x3030}, {0x3036, 0x3037}, {0x303D, 0x303F}, {0x309B, 0x309C}, {0x30A0, 0x30A0}, {0x30FB, 0x30FB}, {0x3200, 0x33FF}, {0x4DC0, 0x4DFF}, {0xA490, 0xA4CF}, {0xD800, 0xF8FF}, {0xFD3E, 0xFD4F}, {0xFDFC, 0xFDFF}, {0xFE10, 0xFE1F}, {0xFE30, 0xFE6F}, {0xFEFF, 0xFEFF}, {0xFF00, 0xFF0F}, {0xFF1A, 0xFF20}, {0xFF3B, 0xFF40}, {0xFF5B, 0xFF65}, {0xFFE0, 0xFFFF}, {0x10100, 0x10102}, {0x1D000, 0x1D1FF}, {0x1F000, 0x1FBEF}, {0xE0000, 0x10FFFF}};

/* Written without spaces between words. */
static const Range unspaced[] = {
	{0xE01, 0xE3A}, {0xE40, 0xE4E}, {0xE81, 0xEDF}, {0x1000, 0x1049}, {0x1050, 0x109F}, {0x1100, 0x11FF}, {0x1780, 0x17D3}, {0x2E80, 0x2FDF}, {0x3005, 0x3007}, {0x3021, 0x302F}, {0x3031, 0x3035}, {0x3038, 0x303C}, {0x3041, 0x309A}, {0x309D, 0x309F}, {0x30A1, 0x30FA}, {0x30FC, 0x31FF}, {0x3400, 0x4DBF}, {0x4E00, 0xA48F}, {0xA960, 0xA97F}, {0xAC00, 0xD7FF}, {0xF900, 0xFAFF}, {0xFF66, 0xFFDF}, {0x1B000, 0x1B16F}, {0x20000, 0x3FFFF}};

static bool
is_letter(uint32_t code)
{
	if (code < 0x80)
		return (code >= 'a' && code <= 'z') || (code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z');
	return !in_ranges(separators, sizeof(separators) / sizeof(Range), code);
}

static bool
is_unspaced(uint32_t code)
{
	return code >= 0xE01 && in_ranges(unspaced, sizeof(unspaced) / sizeof(Range), code);
}

/* ------------------------------------------------------------ folding */

/* U+00C0 .. U+017F without accents; '*': by the rule for case instead. */
static const char latin[] =
	"aaaaaa*ceeeeiiii*nooooo*ouuuuy**aaaaaa*ceeeeiiii*nooooo*ouuuuy*y"
	"aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiii**jjkk*llllllllllnnnnnnn**oooooo**rrrrrrsssssssstttttt"
	"uuuuuuuuuuuuwwyyyzzzzzzs";

static const struct
{
	uint16_t from;
	uint16_t to;
} greek[] = {{0x386, 0x3B1}, {0x388, 0x3B5}, {0x389, 0x3B7}, {0x38A, 0x3B9}, {0x38C, 0x3BF}, {0x38E, 0x3C5}, {0x38F, 0x3C9}, {0x390, 0x3B9}, {0x3AA, 0x3B9}, {0x3AB, 0x3C5}, {0x3AC, 0x3B1}, {0x3AD, 0x3B5}, {0x3AE, 0x3B7}, {0x3AF, 0x3B9}, {0x3B0, 0x3C5}, {0x3C2, 0x3C3}, {0x3CA, 0x3B9}, {0x3CB, 0x3C5}, {0x3CC, 0x3BF}, {0x3CD, 0x3C5}, {0x3CE, 0x3C9}};

static uint32_t
fold_greek(uint32_t code)
{
	for (size_t i = 0; i < sizeof(greek) / sizeof(greek[0]); i++)
		if (greek[i].from == code)
			return greek[i].to;
	return code >= 0x391 && code <= 0x3A9 && code != 0x3A2 ? code + 0x20 : code;
}

static uint32_t
fold_cyrillic(uint32_t code)
{
	if (code == 0x401 || code == 0x451) /* io is written as ie more often than not */
		return 0x435;
	if (code < 0x410)
		return code + 0x50;
	if (code < 0x430)
		return code + 0x20;
	if (code >= 0x4C1 && code <= 0x4CE)
		return code & 1 ? code + 1 : code;
	if (code == 0x4C0)
		return 0x4CF;
	if ((code >= 0x460 && code <= 0x481) || (code >= 0x48A && code <= 0x52F))
		return code | 1;
	return code;
}

static uint32_t
fold_latin(uint32_t code)
{
	char base = code <= 0x17F ? latin[code - 0xC0] : '*';

	if (base != '*')
		return (uint32_t) base;
	if (code >= 0xC0 && code <= 0xDE)
		return code + 0x20;
	if (code >= 0x1CD && code <= 0x1DC)
		return code & 1 ? code + 1 : code;
	if ((code >= 0x132 && code <= 0x137) || (code >= 0x14A && code <= 0x153) || (code >= 0x1DE && code <= 0x1EF) ||
		(code >= 0x1F8 && code <= 0x21F) || (code >= 0x222 && code <= 0x233))
		return code | 1;
	return code == 0x1A0 || code == 0x1AF ? code + 1 : code;
}

static bool
is_mark(uint32_t code)
{
	return (code >= 0x300 && code <= 0x36F) || (code >= 0x483 && code <= 0x489) || (code >= 0x591 && code <= 0x5BD) ||
		   (code >= 0x64B && code <= 0x65F) || (code >= 0x1AB0 && code <= 0x1AFF) || (code >= 0x1DC0 && code <= 0x1DFF) ||
		   (code >= 0x20D0 && code <= 0x20FF) || (code >= 0xFE00 && code <= 0xFE0F) || (code >= 0xFE20 && code <= 0xFE2F);
}

uint32_t
kpx_fold(uint32_t code)
{
	if (code >= 0xFF01 && code <= 0xFF5E)
		code -= 0xFEE0;
	if (code < 0x80)
		return code >= 'A' && code <= 'Z' ? code + 0x20 : code;
	if (is_mark(code))
		return 0;
	if (code >= 0xC0 && code <= 0x24F)
		return fold_latin(code);
	if (code >= 0x386 && code <= 0x3CE)
		return fold_greek(code);
	if (code >= 0x400 && code <= 0x52F)
		return fold_cyrillic(code);
	if (code >= 0x531 && code <= 0x556)
		return code + 0x30;
	if (code >= 0x1E00 && code <= 0x1EFF && (code < 0x1E96 || code > 0x1E9F))
		return code | 1;
	if (code >= 0x10A0 && code <= 0x10C5)
		return code + 0x1C60;
	return code;
}

/* ------------------------------------------------------------ the tokenizer */

void
kpx_tokenizer_init(KpxTokenizer *tokenizer, const char *text, size_t length)
{
	*tokenizer = (KpxTokenizer){text, length, 0, 0, 0};
}

/* The folded letter at the tokenizer's place, 0 for a mark; -1 for what is no letter. */
static int32_t
look(const KpxTokenizer *t, size_t *bytes)
{
	int32_t code = kpx_utf8_decode(t->text + t->at, t->length - t->at, bytes);
	uint32_t folded;

	if (code < 0)
		return -1;
	folded = kpx_fold((uint32_t) code);
	if (folded == 0 && code != 0)
		return 0;
	return is_letter(folded) ? (int32_t) folded : -1;
}

static void
take_pair(KpxToken *token, uint32_t first, uint32_t second)
{
	token->length = (uint32_t) encode(first, token->bytes);
	if (second)
		token->length += (uint32_t) encode(second, token->bytes + token->length);
}

/* c++, c#: signs right behind a word of one letter. */
static void
take_signs(KpxTokenizer *t, KpxToken *token)
{
	size_t left = t->length - t->at;
	const char *sign = t->text + t->at;
	size_t n = left >= 2 && sign[0] == '+' && sign[1] == '+' ? 2 : left >= 1 && sign[0] == '#' ? 1
																							   : 0;

	if (token->length != 1 || token->bytes[0] < 'a')
		return;
	memcpy(token->bytes + 1, sign, n);
	token->length += (uint32_t) n;
	t->at += n;
}

/* A word of a script with spaces; the tokenizer is at its first letter. */
static void
take_word(KpxTokenizer *t, KpxToken *token)
{
	size_t bytes;
	bool full = false;

	token->length = 0;
	while (t->at < t->length)
	{
		int32_t code = look(t, &bytes);
		char encoded[4];
		size_t n;

		if (code < 0 || is_unspaced((uint32_t) code))
			break;
		t->at += bytes;
		if (code == 0)
			continue;
		n = encode((uint32_t) code, encoded);
		full |= token->length + n > KPX_TOKEN_BYTES;
		if (full)
			continue;
		memcpy(token->bytes + token->length, encoded, n);
		token->length += (uint32_t) n;
	}
	take_signs(t, token);
}

bool
kpx_token_next(KpxTokenizer *t, KpxToken *token)
{
	size_t bytes;

	if (t->pending)
	{
		take_pair(token, t->pending, 0);
		t->before = t->pending;
		t->pending = 0;
		return true;
	}
	while (t->at < t->length)
	{
		int32_t code = look(t, &bytes);

		if (code <= 0)
		{
			t->at += bytes;
			if (code < 0)
				t->before = 0;
			continue;
		}
		if (!is_unspaced((uint32_t) code))
		{
			t->before = 0;
			take_word(t, token);
			return true;
		}
		t->at += bytes;
		if (t->before)
		{
			take_pair(token, t->before, (uint32_t) code);
			t->pending = (uint32_t) code;
			return true;
		}
		take_pair(token, (uint32_t) code, 0);
		t->before = (uint32_t) code;
		return true;
	}
	return false;
}

/* ------------------------------------------------------------ terms */

/* FNV-1a, mixed: the multiplication alone leaves the low bits of short words alike. */
uint64_t
kpx_term_hash(uint64_t field, const char *bytes, size_t length)
{
	uint64_t hash = UINT64_C(0xCBF29CE484222325) ^ kpx_mix64(field);

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char) bytes[i]) * UINT64_C(0x100000001B3);
	return kpx_mix64(hash) >> 1;
}

/* Sorted by bytes. */
static const char *const stop_words[] = {
	"a", "about", "above", "after", "again", "against", "all", "am", "an", "and", "any", "are", "as", "at",
	"be", "because", "been", "before", "being", "below", "between", "both", "but", "by", "can", "could", "d", "did",
	"do", "does", "doing", "don", "down", "during", "each", "few", "for", "from", "further", "had", "has", "have",
	"having", "he", "her", "here", "hers", "herself", "him", "himself", "his", "how", "i", "if", "in", "into",
	"is", "it", "its", "itself", "just", "ll", "m", "me", "more", "most", "my", "myself", "no", "nor", "not",
	"now", "of", "off", "on", "once", "only", "or", "other", "our", "ours", "ourselves", "out", "over", "own",
	"re", "s", "same", "she", "should", "so", "some", "such", "t", "than", "that", "the", "their", "theirs", "them",
	"themselves", "then", "there", "these", "they", "this", "those", "through", "to", "too", "under", "until", "up",
	"ve", "very", "was", "we", "were", "what", "when", "where", "which", "while", "who", "whom", "why", "will",
	"with", "would", "you", "your", "yours", "yourself", "yourselves",
	"一", "不", "与", "个", "中", "为", "也", "了", "于", "他", "以", "们", "你", "再", "到", "又", "只", "可", "和", "在",
	"对", "就", "您", "我", "把", "是", "有", "来", "没", "的", "着", "等", "而", "被", "让", "还", "这", "那", "都", "麽"};

static int
compare_words(const KpxToken *token, const char *word)
{
	size_t length = strlen(word);
	int order = memcmp(token->bytes, word, token->length < length ? token->length : length);

	return order ? order : (token->length > length) - (token->length < length);
}

bool
kpx_is_stop_word(const KpxToken *token)
{
	size_t low = 0;
	size_t high = sizeof(stop_words) / sizeof(stop_words[0]);

	while (low < high)
	{
		size_t middle = low + (high - low) / 2;
		int order = compare_words(token, stop_words[middle]);

		if (order == 0)
			return true;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}
