/*
 * measure.h
 *	  kpx_measure: what the lists of a module are like, and how far its events have drifted.
 */
#ifndef KPX_MEASURE_H
#define KPX_MEASURE_H

#include "model.h"

#include "core/spread.h"

/* Lists for a sample of users. NaN: not to be had. */
typedef struct KpxListMeasure
{
	uint64 users;
	int k;
	KpxSpread spread;
	double diversity;
	double fallback_share;
} KpxListMeasure;

/*
 * The k best items of the module for up to n_users of those with an event in any of the model's
 * modules since then: always the same of them, chosen by a hash. As the current user. Errors:
 * those of the relations.
 */
extern KpxListMeasure kpx_measure_lists(KpxRegistry *registry, KpxModule *module, KpxModel *model, int n_users, int k,
										TimestampTz since);

/* One feature in the window before training and in the one that ends now. */
typedef struct KpxDrift
{
	const char *feature;
	double psi; /* of new items: their share of recent interactions; NaN: too few to say */
	double noise; /* what chance makes of it; NaN likewise */
	double threshold;
	uint64 reference;
	uint64 recent;
} KpxDrift;

#define KPX_DRIFT_FEATURES 5

/* A length of time before each of two moments. */
typedef struct KpxWindows
{
	TimestampTz end[2]; /* training; now */
	int64 length; /* microseconds */
} KpxWindows;

/*
 * Drift of a module of the model; [KPX_DRIFT_FEATURES]. As the current user, one query a module.
 * Errors: those of the relations.
 */
extern void kpx_measure_drift(KpxRegistry *registry, KpxModule *module, const KpxModel *model, const KpxWindows *windows, KpxDrift *drift);

#endif /* KPX_MEASURE_H */
