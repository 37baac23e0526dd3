/*
 * noise.h
 *	  Publishing counts under differential privacy.
 */
#ifndef KPX_PG_NOISE_H
#define KPX_PG_NOISE_H

#include "kpxrec.h"

/* Setting kpxrec.privacy_budget: epsilon that may be spent in all. */
extern double kpx_privacy_budget;

#endif /* KPX_PG_NOISE_H */
