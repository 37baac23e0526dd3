/*
 * classify.h
 *	  Judging and calibrating predicted probabilities of a yes-or-no outcome.
 *
 * AUC: Hanley, McNeil 1982 (the Mann-Whitney statistic, ties count half). Calibration:
 * Platt 2000 with the targets and the Newton method of Lin, Lin, Weng 2007.
 */
#ifndef KPX_CLASSIFY_H
#define KPX_CLASSIFY_H

#include "matrix.h"

/* One prediction: what was said, in probability, and what came. */
typedef struct KpxPrediction
{
	float probability;
	uint8_t outcome; /* 0 or 1 */
} KpxPrediction;

/* Sorts by probability, increasing. O(n log n), radix: no worst case. scratch: n entries. */
extern void kpx_sort_predictions(KpxPrediction *prediction, size_t n, KpxPrediction *scratch);

/* Of sorted predictions; NaN when all outcomes are the same. */
extern double kpx_auc(const KpxPrediction *sorted, size_t n);

/* Mean of -log(probability of what came), probabilities kept 1e-7 away from 0 and 1; NaN for n = 0. */
extern double kpx_log_loss(const KpxPrediction *prediction, size_t n);

/* What happens when everything from threshold on is called positive. */
typedef struct KpxConfusion
{
	double threshold;
	uint64_t true_positive;
	uint64_t false_positive;
	uint64_t false_negative;
	uint64_t true_negative;
} KpxConfusion;

/* The threshold (one of the predicted probabilities) with the highest F1 of the positive class; of sorted predictions. */
extern double kpx_best_threshold(const KpxPrediction *sorted, size_t n);
extern KpxConfusion kpx_confusion(const KpxPrediction *prediction, size_t n, double threshold);

/* 2 tp / (2 tp + fp + fn); 0 when nothing is positive. */
extern double kpx_f1(uint64_t tp, uint64_t fp, uint64_t fn);

/* Equal shares of sorted predictions: what was predicted and what came, on average. */
typedef struct KpxCalibrationBin
{
	uint64_t n;
	double predicted;
	double observed;
} KpxCalibrationBin;

extern void kpx_calibration(const KpxPrediction *sorted, size_t n, int bins, KpxCalibrationBin *bin);

/* calibrated logit = slope * logit + intercept */
typedef struct KpxPlatt
{
	double slope;
	double intercept;
} KpxPlatt;

/*
 * Fits on logits and outcomes. The slope stays positive: where the fit would turn the
 * order around (or there is only one outcome), slope 1 and the intercept alone is fitted.
 */
extern KpxPlatt kpx_platt_fit(const double *logit, const uint8_t *outcome, size_t n);

#endif /* KPX_CLASSIFY_H */
