/*
 * itemknn.h
 *	  Item-based nearest neighbours: likeness of items by the users they share.
 *
 * Sarwar, Karypis, Konstan, Riedl 2001; asymmetric cosine: Aiolli 2013, "Efficient top-N
 * recommendation for very large scale binary rated datasets"; BM25 with users as terms and
 * items as documents: Robertson, Zaragoza 2009. With v_i the column of item i, weighted:
 *
 *	  link(j, i) = v_i.v_j / (|v_i|^2a |v_j|^2(1 - a) + shrinkage)
 *
 * a = 0.5 is the cosine; a below it divides less by the target's size: popular targets gain.
 */
#ifndef KPX_ITEMKNN_H
#define KPX_ITEMKNN_H

#include "factor.h"
#include "links.h"

typedef enum KpxWeighting
{
	KPX_WEIGHT_COSINE, /* v = w */
	KPX_WEIGHT_TFIDF, /* v = sqrt(w) idf(user) */
	KPX_WEIGHT_BM25 /* v = w (k1 + 1) / (w + k1 (1 - b + b |i| / mean |i|)) idf(user) */
} KpxWeighting;

/*
 * Weights the entries of users [begin, end): from rows to value (an array like
 * rows->weight). item_length[items]: sum of an item's weights; mean_length: their mean.
 * idf(user) = ln(items / (1 + entries of the user)), not below 0.01.
 */
extern void kpx_knn_weigh(const KpxRows *rows, size_t begin, size_t end, uint32_t items, KpxWeighting weighting,
						  double k1, double b, const double *item_length, double mean_length, float *value);

/*
 * Adds v_target.v_j for all items j to row. by_user, by_item: the two sides of the
 * weighted interactions. Stops with KPX_MORE after about budget additions; call again with the
 * same cursor (start: {target, 0}).
 */
extern KpxStatus kpx_knn_row(const KpxRows *by_user, const KpxRows *by_item, KpxCursor *cursor, double budget,
							 KpxRowSums *row);

/* Turns sums of a whole row into links; own: |v_target|^2a, by[items]: |v_j|^2(1 - a). */
extern void kpx_knn_links(KpxRowSums *row, double own, const double *by, double shrinkage);

#endif /* KPX_ITEMKNN_H */
