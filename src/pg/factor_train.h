/*
 * factor_train.h
 *	  One run of iALS over ingested data, by this process and parallel workers.
 */
#ifndef KPX_FACTOR_TRAIN_H
#define KPX_FACTOR_TRAIN_H

#include "factor_params.h"
#include "ingest.h"
#include "model.h"

typedef struct KpxTrainResult
{
	int iterations;
	double loss;
	int workers;
} KpxTrainResult;

/*
 * Trains on data; returns a model (id 0, allocated in the current memory context) whose
 * item ids are those of data.
 * data stays as it is.
 */
extern KpxModel *kpx_factor_train(KpxData *data, const KpxParams *params, KpxTrainResult *result);

#endif /* KPX_FACTOR_TRAIN_H */
