/*
 * replay.h
 *	  Logged slates with what they earned, to be seen again under another policy.
 */
#ifndef KPX_REPLAY_H
#define KPX_REPLAY_H

#include "kpxrec.h"

#include "core/feedback.h"
#include "slate.h"

/* What a row earns. */
typedef enum KpxReward
{
	KPX_REVENUE,
	KPX_CONVERSION,
	KPX_CLICK
} KpxReward;

typedef struct KpxReplaySlate
{
	KpxLoggedSlate *slate;
	int shown;
	int *item; /* [shown] candidates */
	double *propensity; /* [shown] given what stands above */
	double *reward; /* [shown] */
	bool *dismissed; /* [shown] */
} KpxReplaySlate;

typedef struct KpxReplay
{
	int n;
	KpxReplaySlate *slates;
	size_t rows; /* shown in all */
	KpxReward reward;
} KpxReplay;

/*
 * Slates since then that the current role may see (it logged them, or owns all their
 * modules) and whose modules are all registered. Errors: 53200.
 */
extern KpxReplay *kpx_replay_read(TimestampTz since, KpxReward reward);

/* One replay of slates [first, first + step, ...) under a policy; arrays are in the current context. */
typedef struct KpxReplayLog
{
	KpxLog log; /* rewards in slates: the mean over rows is the mean of a slate */
	double *dismissed; /* [log.n] 1: the shown item was dismissed */
	size_t units;
	double diversity; /* mean share of different modules and categories in the policy's own slates */
} KpxReplayLog;

extern KpxReplayLog kpx_replay(const KpxReplay *replay, const KpxPolicy *policy, int first, int step, uint64 seed);

#endif /* KPX_REPLAY_H */
