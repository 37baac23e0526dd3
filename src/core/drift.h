/*
 * drift.h
 *	  How far two samples are apart: the population stability index.
 *
 * PSI = sum over bins of (b - a) ln(b / a), with a and b the shares of the reference and of the
 * recent sample in a bin: the symmetrised Kullback-Leibler divergence (Jeffreys 1946; Siddiqi
 * 2006, "Credit Risk Scorecards"). Usual reading: below 0.1 stable, above 0.25 another population.
 */
#ifndef KPX_DRIFT_H
#define KPX_DRIFT_H

#include "matrix.h"

/*
 * Of counts reference[bins] and recent[bins]. Half a count is added to each, so that an empty bin
 * says little rather than infinitely much. NaN when either sample is empty or bins < 2.
 */
extern double kpx_psi(const uint64_t *reference, const uint64_t *recent, size_t bins);

/*
 * What PSI is expected to be when both samples come from one distribution and only chance tells
 * them apart: (bins - 1) (1 / n + 1 / m), the mean of its chi-squared limit (Yurdakul 2018,
 * "Statistical Properties of Population Stability Index"). bins: those that are not empty in both.
 */
extern double kpx_psi_noise(const uint64_t *reference, const uint64_t *recent, size_t bins);

#endif /* KPX_DRIFT_H */
