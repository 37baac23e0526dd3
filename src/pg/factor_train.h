/*
 * factor_train.h
 *	  One run of iALS over ingested data, by this process and parallel workers.
 */
#ifndef KPX_FACTOR_TRAIN_H
#define KPX_FACTOR_TRAIN_H

#include "algorithm.h"

#include "core/factor.h"

/* The fit of algorithm "ials". */
extern void kpx_factor_train(KpxFit *fit);

/* Makes fit->part a part of "ials" of these numbers; returns where its matrix and gram are to be written. */
extern KpxFixed *kpx_ials_part(KpxFit *fit, const KpxFixed *fixed);

#endif /* KPX_FACTOR_TRAIN_H */
