/*
 * tfidf.h
 *	  Terms of documents to weighted sparse rows: vocabulary, TF-IDF and BM25.
 *
 * A term is the 63-bit hash of its bytes (tokens.h). An exact vocabulary gives every term
 * a column of its own (among a million terms two share a hash with a chance of 6e-8); a
 * hashed one maps terms to a fixed number of columns (Weinberger et al. 2009, "Feature
 * Hashing", without signs: counts stay counts).
 *
 * Weights of a term that occurs tf times in a document, df documents of N having it:
 *	  TF-IDF	(1 + ln tf) (ln((1 + N) / (1 + df)) + 1), sublinear and smoothed
 *	  BM25		tf (k1 + 1) / (tf + k1 (1 - b + b length / mean length)) ln(1 + (N - df + 1/2) / (df + 1/2))
 * (Salton, Buckley 1988; Robertson, Zaragoza 2009). Rows are then scaled to length 1.
 */
#ifndef KPX_TFIDF_H
#define KPX_TFIDF_H

#include "matrix.h"

/* Compressed sparse rows of floats; columns increase within a row. */
typedef struct KpxSparse
{
	size_t rows;
	size_t cols;
	uint64_t *offset; /* rows + 1 */
	uint32_t *index; /* below cols */
	float *value;
} KpxSparse;

typedef enum KpxWeighting
{
	KPX_WEIGHT_TFIDF,
	KPX_WEIGHT_BM25
} KpxWeighting;

#define KPX_BM25_K1 1.2
#define KPX_BM25_B 0.75

/* Terms by column. */
typedef struct KpxVocabulary
{
	size_t n; /* columns */
	uint64_t *term; /* [n] increasing; NULL: hashed, a term's column is its hash modulo n */
	uint32_t *df; /* [n] documents with the term */
	float *weight; /* [n] multiplies a term's weight (coherence.h), or NULL */
	uint64_t documents; /* N */
	double mean_length; /* terms a document */
} KpxVocabulary;

/* Order of two terms, for qsort and bsearch. */
extern int kpx_compare_terms(const void *a, const void *b);

/*
 * Adds up what a document has twice: term[0..n) is sorted, equal ones are merged, count[i]
 * becomes how often term i was there. Returns how many are left.
 */
extern size_t kpx_count_terms(uint64_t *term, size_t n, uint32_t *count);

/*
 * The vocabulary of n distinct terms (increasing) with the documents each is in: terms in
 * fewer than least documents are dropped, and so are the rarest until at most limit are
 * left. Works in place; returns the number of columns.
 */
extern size_t kpx_vocabulary_select(uint64_t *term, uint32_t *df, size_t n, uint32_t least, size_t limit);

/* Column of a term, or -1. */
extern int64_t kpx_vocabulary_find(const KpxVocabulary *vocabulary, uint64_t term);

/*
 * One document's weights: its n distinct terms and their counts to columns (increasing)
 * and values of a row of length 1; returns how many. Unknown terms are passed over.
 * index, value: room for n.
 */
extern size_t kpx_weigh_terms(const KpxVocabulary *vocabulary, KpxWeighting weighting, const uint64_t *term,
							  const uint32_t *count, size_t n, uint32_t *index, float *value);

/* Scales rows [rows_begin, rows_end) to length 1; rows of zeroes stay. */
extern void kpx_sparse_normalize(const KpxSparse *a, size_t rows_begin, size_t rows_end);

#endif /* KPX_TFIDF_H */
