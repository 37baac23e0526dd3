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
	uint32 user; /* number among the users of the log */
	int shown;
	int *item; /* [shown] candidates */
	double *propensity; /* [shown] given what stands above */
	double *reward; /* [shown] */
	bool *clicked; /* [shown] or converted */
	bool *dismissed; /* [shown] */
} KpxReplaySlate;

typedef struct KpxReplay
{
	KpxRegistry *registry;
	int n;
	KpxReplaySlate *slates;
	size_t rows; /* shown in all */
	size_t users;
	KpxReward reward;
} KpxReplay;

/*
 * Slates since then that the current role may see (it logged them, or owns all their
 * modules) and whose modules are all registered. Errors: 53200.
 */
extern KpxReplay *kpx_replay_read(TimestampTz since, KpxReward reward);

/*
 * Whose slates: those of one half of the users, or of all, and of these a share. A user's slates are
 * like each other, so they stay together.
 */
typedef struct KpxReplayPart
{
	int half; /* 0 or 1; KPX_BOTH_HALVES */
	double share; /* 0 .. 1 */
	uint64 seed; /* of both */
} KpxReplayPart;

#define KPX_BOTH_HALVES (-1)

/*
 * Which slates are replayed, and how. by_place: a place's weight
 * is its own, probability over propensity given what stands above it in the log, instead of the
 * product down to it. That judges the policy place by place, above it the policy that logged:
 * it says less than a whole slate would, with far less noise. calibration: of the reward model, from
 * kpx_replay_calibration, or NULL. With it what a place earned is its click times what the model expects of
 * a click: there are many times as many clicks as conversions, so that is far less noisy, and as right as the
 * calibrated P(convert | click).
 */
typedef struct KpxReplayView
{
	KpxReplayPart part;
	bool by_place;
	const double *calibration;
} KpxReplayView;

/* One replay of slates under a policy; arrays are in the current context. */
typedef struct KpxReplayLog
{
	KpxLog log; /* rewards in slates: the mean over rows is the mean of a slate. Units are users */
	double *dismissed; /* [log.n] 1: the shown item was dismissed */
	size_t slates;
	size_t users;
	double diversity; /* mean share of different modules and categories in the policy's own slates */
} KpxReplayLog;

extern KpxReplayLog kpx_replay(const KpxReplay *replay, const KpxPolicy *policy, const KpxReplayView *view);

/*
 * By pair of modules, in a part of the slates: clicks observed over expected, then conversions of what was
 * clicked; all with 10 added. For revenue and conversions; one array in the current context.
 */
extern double *kpx_replay_calibration(const KpxReplay *replay, const KpxReplayPart *part);

#endif /* KPX_REPLAY_H */
