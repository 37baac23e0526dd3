/*
 * job_guard.h
 *	  The guard: a model that a job trained is judged before it answers.
 *
 * Some users' newest interactions are kept out of the training: those that came after the
 * active model was made, which neither of the two has learned from. Both rank all items for
 * these users, from the same histories, and the new one must not be worse than the active one by
 * more than a margin. Where too few interactions are new, or have no times, random ones are
 * kept out, which the active model knows: then the new one must not be worse than popularity; nor
 * when the active model is dropped before it can be asked.
 */
#ifndef KPX_JOB_GUARD_H
#define KPX_JOB_GUARD_H

#include "training.h"

#include "metrics.h"

typedef struct KpxGuard
{
	double margin; /* of the value it is held against; < 0: no guard */
	int64 *active; /* [modules]: the model that answers for each; 0 = none */
	bool newest; /* the pairs are newer than the active models */
	KpxPairs *pairs; /* [modules] */
	KpxMetrics metrics; /* of the new model, on the pairs */
} KpxGuard;

/* Finds the active models and takes the pairs out of training->data; in the transaction that reads. */
extern void kpx_guard_hold_out(KpxGuard *guard, KpxTraining *training);

/*
 * Judges training->model, in a transaction with a snapshot. True: it may answer. *why: what was
 * measured, in the current context, as are guard->metrics.
 */
extern bool kpx_guard_judge(KpxGuard *guard, const KpxTraining *training, char **why);

/*
 * Whether the active models are still those it was judged against, or gone without another in their
 * place: then any model that passed is better than none. The caller has locked the modules.
 */
extern bool kpx_guard_still_valid(const KpxGuard *guard, const KpxTraining *training);

#endif /* KPX_JOB_GUARD_H */
