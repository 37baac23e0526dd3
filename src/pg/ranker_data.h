/*
 * ranker_data.h
 *	  Logged impressions with their outcomes, as a ranker learns from them.
 */
#ifndef KPX_RANKER_DATA_H
#define KPX_RANKER_DATA_H

#include "kpxrec.h"

#include "core/ranking.h"
#include "core/signals.h"
#include "registry.h"

/* All impressions of a user are in one of these. */
typedef enum KpxRankerSplit
{
	KPX_SPLIT_TRAIN, /* 70 of 100 users */
	KPX_SPLIT_DEV, /* 15 */
	KPX_SPLIT_TEST, /* 15 */
	KPX_SPLITS
} KpxRankerSplit;

typedef struct KpxRankerData
{
	KpxImpressions impressions; /* dense features as logged: not standardised */
	float *dense;
	uint32 *category;
	uint8 *label;
	int n_pairs;
	int max_pairs;
	char **pairs;
	uint32 *row[KPX_SPLITS]; /* rows of each */
	size_t n[KPX_SPLITS];
	int64 clicks;
	int64 conversions;
	int64 train_clicks;
	int64 train_conversions;
} KpxRankerData;

/*
 * The newest impressions of these modules, at most so many, in the current context. Errors:
 * 53200 over the memory budget; XX001 for signals of another length.
 */
extern KpxRankerData *kpx_ranker_data(KpxModule **modules, int n_modules, int64 most, uint64 seed);

#endif /* KPX_RANKER_DATA_H */
