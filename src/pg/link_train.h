/*
 * link_train.h
 *	  Making links between items: one run over ingested data, by this process and workers.
 */
#ifndef KPX_LINK_TRAIN_H
#define KPX_LINK_TRAIN_H

#include "algorithm.h"

typedef enum KpxLinkKind
{
	KPX_LINK_KNN,
	KPX_LINK_EASE,
	KPX_LINK_EASE_DUAL, /* from the users' side */
	KPX_LINK_TRANSITION
} KpxLinkKind;

typedef struct KpxLinkPlan
{
	KpxLinkKind kind;
	uint32 keep; /* links a target; 0 = all */
	/* item-kNN */
	int weighting;
	double k1;
	double b;
	double asymmetry;
	double shrinkage; /* transitions, too */
	/* EASE */
	double regularization;
	/* transitions */
	uint32 window;
	double decay;
} KpxLinkPlan;

/* Links by target: count[items] entries from target * keep on; in the current memory context. */
typedef struct KpxLinkResult
{
	uint32 keep;
	uint32 *count;
	uint32 *index;
	float *weight;
	uint64 entries;
	int workers;
} KpxLinkResult;

/* 53200 over the memory budget, 22003 when the Gram matrix cannot be inverted. */
extern void kpx_link_train(const KpxData *data, const KpxLinkPlan *plan, KpxLinkResult *result);

#endif /* KPX_LINK_TRAIN_H */
