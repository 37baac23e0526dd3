/*
 * metrics.h
 *	  What a model reached on held-out events beside popularity: as rows, and kept with the model.
 */
#ifndef KPX_METRICS_H
#define KPX_METRICS_H

#include "judge.h"

/* One metric of one module; at k, a list's length. */
typedef struct KpxMetric
{
	const char *module;
	char *name; /* such as ndcg@10 */
	double value;
	double popularity;
	double std_error; /* over users; NaN: the metric is none of users */
	double popularity_std_error;
	uint64 users; /* 0: nobody had anything held out, and there are no values */
} KpxMetric;

typedef struct KpxMetrics
{
	KpxMetric *metric;
	int n;
} KpxMetrics;

/* Adds a module's: all of kpx_metric_names, and coverage. In the current context, which keeps module, too. */
extern void kpx_metrics_add(KpxMetrics *metrics, const char *module, size_t k, uint64 users, const KpxJudgement *own,
							const KpxJudgement *popular);

/*
 * A metric as columns: module, metric, value, std_error, popularity, popularity_std_error (float8, NULL where there is
 * none), users (int8).
 */
#define KPX_METRIC_COLUMNS 7
extern void kpx_metric_row(const KpxMetric *metric, Datum *values, bool *nulls);

/*
 * Writes them into kpx.model.metrics under key, over what was there: {split, message, measured_at, rows}. message: or NULL.
 * The caller has checked that the role may.
 */
extern void kpx_metrics_keep(const KpxMetrics *metrics, int64 model, const char *key, const char *split, const char *message);

#endif /* KPX_METRICS_H */
