/*
 * transition.h
 *	  What people do after what: a Markov chain over items.
 *
 * Counts for every target i the items j that the same user took shortly before, at most
 * window steps back and strictly earlier; d steps back count decay^(d - 1):
 *
 *	  link(j, i) = count(j, i) / (people of j + shrinkage)
 *
 * the smoothed probability of i after j (Rendle, Freudenthaler, Schmidt-Thieme 2010,
 * "Factorizing personalized Markov chains", without the factorisation).
 */
#ifndef KPX_TRANSITION_H
#define KPX_TRANSITION_H

#include "factor.h"
#include "links.h"

/*
 * order[offset[u]..offset[u + 1]): the entries of user u (positions from the row's
 * begin) by time, oldest first, ties by item; for users [begin, end).
 */
extern void kpx_time_order(const KpxRows *rows, const uint32_t *time, size_t begin, size_t end, uint32_t *order);

/*
 * Adds the counts of target to row: by_item's entries are users. place: where entry e of
 * by_user stands in its user's order (the inverse of order). Entries without time (0) do not count.
 */
extern void kpx_transition_row(const KpxRows *by_user, const uint32_t *time, const uint32_t *order,
							   const uint32_t *place, const KpxRows *by_item, uint32_t target, uint32_t window,
							   double decay, KpxRowSums *row);

/* Turns counts into links. */
extern void kpx_transition_links(KpxRowSums *row, const KpxRows *by_item, double shrinkage);

/*
 * What a history starts from: weight[j] of its n entries becomes decay^(entries that are
 * newer) for the window newest, 0 for the others; all 1 without times (NULL).
 */
extern void kpx_transition_start(const uint32_t *time, size_t n, uint32_t window, double decay, float *weight);

#endif /* KPX_TRANSITION_H */
