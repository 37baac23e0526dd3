/*
 * factor_lanes.h
 *	  Short rows of implicit ALS, eight at a time.
 */
#ifndef KPX_FACTOR_LANES_H
#define KPX_FACTOR_LANES_H

#include "factor.h"

/* Rows that are sorted by length before they are solved eight by eight. */
#define KPX_LANES_WINDOW 256

/* A row of at most so many entries is solved this way: its system and entries then fit into a small second-level cache. */
extern size_t kpx_lanes_longest(int factors);

/* Bytes of workspace, 64-byte aligned. */
extern size_t kpx_lanes_workspace_size(int factors);

/*
 * Solves the rows of [begin, end), at most KPX_LANES_WINDOW, that have 1 .. kpx_lanes_longest entries, as
 * kpx_solve_rows does; others are left alone. A row's solution does not depend on which others are in the range.
 * spent: multiply-adds, about. KPX_NOT_FINITE when a weight is not finite.
 */
extern KpxStatus kpx_solve_lanes(const KpxFixed *fixed, const KpxRows *rows, size_t begin, size_t end, void *workspace,
								 float *out, KpxSolveSums *sums, double *spent);

#endif /* KPX_FACTOR_LANES_H */
