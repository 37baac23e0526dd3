/*
 * content_read.h
 *	  What items are: their texts, attributes and embeddings, read from the item tables.
 */
#ifndef KPX_CONTENT_READ_H
#define KPX_CONTENT_READ_H

#include "ids.h"
#include "registry.h"

/* Terms of items, one item's after the other's in the order they were read. */
typedef struct KpxTerms
{
	uint64 *term;
	float *value; /* how often (texts) or how much (attributes) */
	size_t n;
	size_t size;
	uint64 *begin; /* [items] */
	uint32 *length; /* [items]; 0 = the item has none */
} KpxTerms;

/* One column of numbers: what it is called is "module.column". */
typedef struct KpxNumbers
{
	char *name;
	double *value; /* [items], NaN = none */
} KpxNumbers;

/* Embedding columns of one name, of one or more modules. */
typedef struct KpxEmbeddings
{
	char *name;
	uint32 d;
	float *value; /* n x d */
	size_t n;
	size_t size;
	uint32 *row; /* [items]: row + 1, 0 = none */
} KpxEmbeddings;

typedef struct KpxContent
{
	MemoryContext context;
	uint32 items;
	KpxTerms text; /* distinct terms of an item, increasing, with their counts */
	KpxTerms attributes; /* categories by value */
	int n_numbers;
	KpxNumbers *numbers;
	int n_embeddings;
	KpxEmbeddings *embeddings;
} KpxContent;

/* Words that do not count: the built-in list, or these (hashes of kpx_term_hash(0, ..), increasing). */
typedef struct KpxStopWords
{
	bool builtin;
	uint32 n;
	uint64 *term;
} KpxStopWords;

/* Whether the module has any column that says what its items are. */
extern bool kpx_has_content(const KpxModule *module);

/*
 * Reads items base[m] .. base[m + 1] - 1 of each module, whose ids are ids[m], as the current
 * user; some: these are few of the table's. Items that are not in the table have nothing.
 * Errors: those of the relation; 42703, 42804 when a column changed; 22023 naming the item:
 * an embedding of another dimension, with NaN, infinity or NULL, or all zero; 53200.
 */
extern KpxContent *kpx_content_read(KpxModule **modules, int n_modules, const KpxIds *ids, const uint32 *base,
									const KpxStopWords *stop, bool some);

#endif /* KPX_CONTENT_READ_H */
