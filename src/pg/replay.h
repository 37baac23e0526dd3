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
	KpxRegistry *registry;
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

/*
 * Which slates are replayed, first, first + step, ..., and how. by_place: a place's weight
 * is its own, probability over propensity given what stands above it in the log, instead of the
 * product down to it. That judges the policy place by place, above it the policy that logged:
 * it says less than a whole slate would, with far less noise. calibration: of the reward model, from
 * kpx_replay_calibration, or NULL.
 */
typedef struct KpxReplayView
{
	int first;
	int step;
	uint64 seed;
	bool by_place;
	const double *calibration;
} KpxReplayView;

/* One replay of slates under a policy; arrays are in the current context. */
typedef struct KpxReplayLog
{
	KpxLog log; /* rewards in slates: the mean over rows is the mean of a slate */
	double *dismissed; /* [log.n] 1: the shown item was dismissed */
	size_t units;
	double diversity; /* mean share of different modules and categories in the policy's own slates */
} KpxReplayLog;

extern KpxReplayLog kpx_replay(const KpxReplay *replay, const KpxPolicy *policy, const KpxReplayView *view);

/*
 * By pair of modules, conversions observed over expected in slates first, first + step, ..., both
 * with 10 added. For revenue and conversions; one array in the current context.
 */
extern double *kpx_replay_calibration(const KpxReplay *replay, int first, int step);

#endif /* KPX_REPLAY_H */
