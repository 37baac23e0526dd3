/*
 * off_policy.h
 *	  Judging a policy from the log of another: the rows that kpx_evaluate_policy returns.
 */
#ifndef KPX_OFF_POLICY_H
#define KPX_OFF_POLICY_H

#include "kpxrec.h"

#include "core/feedback.h"

typedef struct KpxOffPolicyOptions
{
	bool wanted[KPX_ESTIMATORS];
	double clip;
	double switch_at;
	double bootstrap; /* replicates */
	double seed;
	double confidence;
} KpxOffPolicyOptions;

/* From the arguments estimators text[] (or NULL: all) and params jsonb; 22023. */
extern KpxOffPolicyOptions kpx_off_policy_options(FunctionCallInfo fcinfo, int estimators, int params);

/*
 * Puts one row an estimator into the result, and warns where overlap is too thin. units:
 * how many log->unit are. what: names the log in messages. Errors: 22023 for rows that
 * cannot be used, by count and reason; 53200.
 */
extern void kpx_off_policy_report(FunctionCallInfo fcinfo, const KpxLog *log, size_t units, const KpxOffPolicyOptions *options,
								  const char *what);

typedef struct KpxInterval
{
	double value;
	double error; /* standard error */
	double low; /* NaN, as high: no replicates */
	double high;
} KpxInterval;

/* Of all estimators, from sums[units]: value, standard error and bootstrap-t interval. interval: [KPX_ESTIMATORS]. */
extern void kpx_off_policy_intervals(const KpxUnitSums *sums, size_t units, const KpxOffPolicyOptions *options, KpxInterval *interval);

#endif /* KPX_OFF_POLICY_H */
