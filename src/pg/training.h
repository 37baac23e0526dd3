/*
 * training.h
 *	  One training of a model, in phases.
 *
 * begin and read look at tables: they need a snapshot and take ACCESS SHARE on what they read, as
 * any query does. compute needs nothing but memory and processors. store writes. kpx_train runs
 * all in the caller's transaction; a worker (job_train.c) each in a transaction of its own, so
 * that nobody waits for it, nor vacuum, while it computes. All that a phase makes lies in the
 * memory context that is current when it is called: the same for all of them, and one that
 * outlives the transactions.
 */
#ifndef KPX_TRAINING_H
#define KPX_TRAINING_H

#include "algorithm.h"

#include "portability/instr_time.h"

typedef struct KpxTraining
{
	int n_modules;
	KpxModule **modules;
	KpxParams *params;
	char *name; /* of the model */
	KpxData *data;
	KpxFit fit;
	KpxModel *model;
	KpxTrainingReport report;
} KpxTraining;

/*
 * Checks what is to be trained; name: of the model, or NULL for the names of its modules. given:
 * params as jsonb, or 0. Errors: 22023, 42602, 55000 when a module has no event source.
 */
extern void kpx_training_begin(KpxTraining *training, KpxModule **modules, int n, const KpxAlgorithm *algorithm, Datum given,
							   const char *name);

/* 42602 unless a model can have this name. */
extern void kpx_check_model_name(const char *name);

/* 42501 unless the current user owns all of its modules, as activating takes. */
extern void kpx_training_require_owner(const KpxTraining *training);

/* One training of a name at a time, to the end of the transaction or of the session. 55P03 when there is another. */
extern void kpx_training_lock(const KpxTraining *training, bool session);

/* Reads events and content; want: what of data beyond the algorithm's needs, see kpx_ingest. */
extern void kpx_training_read(KpxTraining *training, int want);

extern void kpx_training_compute(KpxTraining *training);

/*
 * In a transaction after the one that read: are the extension, its modules and all relations
 * still what they were? The extension cannot be dropped before this transaction ends. Errors:
 * 55000, 42704, 42P01.
 */
extern void kpx_training_recheck(KpxTraining *training);

/* Writes the model, as the current user's; sets training->model->id. It is not active. */
extern void kpx_training_store(KpxTraining *training);

/* Seconds since *start, which becomes now. */
extern double kpx_seconds_since(instr_time *start);

#endif /* KPX_TRAINING_H */
