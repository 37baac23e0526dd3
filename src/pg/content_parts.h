/*
 * content_parts.h
 *	  What the parts of the encoder (content_encode.h) share: each modality's file makes sparse rows
 *	  over a vocabulary and has them reduced.
 */
#ifndef KPX_CONTENT_PARTS_H
#define KPX_CONTENT_PARTS_H

#include "content_encode.h"

#include "core/svd.h"

/* Room for rows of so many entries in all, over cols columns, within the memory budget (53200). */
extern KpxSparse kpx_sparse_new(size_t rows, size_t cols, size_t entries);
extern void kpx_sparse_free(KpxSparse *a);

/* Largest number of terms of an item. */
extern uint32 kpx_longest(const KpxTerms *terms, uint32 items);

/* Distinct terms and the documents each is in, in order of terms: to v's term, df, n, documents and mean_length (zeroed before). */
extern void kpx_count_documents(const KpxTerms *terms, uint32 items, KpxVocabulary *v);

/* Runs the SVD of a to rank dimensions; its arrays are in the current context. 53200, 22003. */
extern void kpx_decompose(const KpxSparse *a, int rank, int64 seed, KpxSvd *svd);

/* right (cols x *rank) of a, columns scaled by (singular / largest)^(smoothing - 1); *rank is lowered to what a has. */
extern float *kpx_reduce(const KpxSparse *a, int *rank, double smoothing, int64 seed);

/* Text. Learns vocabulary, weights and projection to e->text. */
extern void kpx_text_fit(KpxEncoder *e, const KpxContent *content, const KpxParams *params);

/* Weighted terms of one item, at most terms->length[item]; returns how many. count: scratch of that size. */
extern size_t kpx_text_weigh(const KpxEncoder *e, const KpxTerms *terms, uint32 item, uint32 *count, uint32 *index, float *value);

/* Attributes. Learns knots, vocabulary and projection to e. */
extern void kpx_attributes_fit(KpxEncoder *e, const KpxContent *content, const KpxParams *params);

/* The item's categories and numbers as terms and values; returns how many, at most the item's terms and two a column of numbers. */
extern size_t kpx_attribute_terms(const KpxEncoder *e, const KpxContent *content, uint32 item, uint64 *term, float *value);

/* Known ones of n terms to columns, in order, and values to length 1; returns how many. */
extern size_t kpx_attribute_row(const KpxVocabulary *v, const uint64 *term, const float *value, size_t n, uint32 *index, float *to);

#endif /* KPX_CONTENT_PARTS_H */
