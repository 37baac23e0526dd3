/*
 * coherence.h
 *	  How much the documents that share a term are about the same thing.
 *
 * Inverse document frequency cannot tell "beginners" from "guitar": both are in a tenth of
 * a catalogue of courses. What can is whether the documents that have the term resemble
 * each other in all else. After Salton, Yang, Yu 1975, "A Theory of Term Importance in
 * Automatic Text Analysis" (the discrimination value), computed in the space of a truncated
 * SVD, where it costs one pass over the entries: with x_d the vector of document d and z_d
 * = x_d - a_dt v_t what it would be without term t, scaled to length 1,
 *
 *	  c_t = mean over pairs d != e of documents with t of z_d . z_e
 *
 * which is (|sum z_d|^2 - n) / (n (n - 1)). Few documents say little, so c_t is drawn
 * towards the mean of all terms as if KPX_COHERENCE_PRIOR pairs had had that; it is never
 * below the mean coherence of all documents, what a term that says nothing would have.
 */
#ifndef KPX_COHERENCE_H
#define KPX_COHERENCE_H

#include "matrix.h"
#include "tfidf.h"

#define KPX_COHERENCE_PRIOR 10

/*
 * Adds rows [rows_begin, rows_end) of a to sum ((cols + 1) x kpx_ld(rank) floats, zeroed by
 * the caller first; the last row sums all documents) and n (cols + 1 counts, zeroed first).
 * left, right: of the SVD of a, leading dimension ld (svd.h); the first rank columns count.
 */
extern void kpx_coherence_add(const KpxSparse *a, size_t rows_begin, size_t rows_end, const float *left,
							  const float *right, size_t ld, int rank, float *sum, uint32_t *n);

/* weight[t] = (c_t / mean)^exponent for all columns. */
extern void kpx_coherence_weights(const float *sum, const uint32_t *n, size_t cols, int rank, double exponent,
								  float *weight);

#endif /* KPX_COHERENCE_H */
