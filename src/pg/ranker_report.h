/*
 * ranker_report.h
 *	  How a ranker does on users it has not learnt from.
 */
#ifndef KPX_RANKER_REPORT_H
#define KPX_RANKER_REPORT_H

#include "ranker.h"
#include "ranker_data.h"

/*
 * Judges a stored ranker on dev and test users and stores the report. auc: of clicks and of
 * conversions given a click, on test users; NaN when all outcomes are the same.
 */
extern void kpx_ranker_judge(const KpxTrainedRanker *ranker, const KpxRankerData *data, double auc[2]);

#endif /* KPX_RANKER_REPORT_H */
