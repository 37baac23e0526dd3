/*
 * calls.h
 *	  Statistics of answers in shared memory, for the view kpx_stat_recommend.
 *
 * A call collects what happens in a KpxCall of its own and adds it up in shared memory when it has
 * succeeded: a few atomic additions, no lock. Without preloading all of this does nothing.
 */
#ifndef KPX_CALLS_H
#define KPX_CALLS_H

#include "kpxrec.h"

#include "portability/instr_time.h"

#define KPX_MAX_SCORERS 8

typedef enum KpxCallKind
{
	KPX_CALL_RECOMMEND,
	KPX_CALL_RECOMMEND_FROM,
	KPX_CALL_RECOMMEND_FOR,
	KPX_CALL_SLATE,
	KPX_CALL_SIMILAR,
	KPX_CALL_KINDS
} KpxCallKind;

/* Where models were found. */
typedef enum KpxModelSource
{
	KPX_FROM_SESSION, /* its cache */
	KPX_FROM_SHARED, /* shared memory */
	KPX_FROM_TABLES,
	KPX_MODEL_SOURCES
} KpxModelSource;

/* How often this process found one there; counted by kpx_model. */
extern uint64 kpx_models_found[KPX_MODEL_SOURCES];

typedef struct KpxCall
{
	instr_time start; /* zero: not counted */
	uint64 models[KPX_MODEL_SOURCES]; /* kpx_models_found at the start */
	uint32 lists;
	uint32 empty; /* lists */
	uint64 items;
	uint32 fell_back; /* lists that not the model alone has filled */
	uint32 filled[KPX_MAX_SCORERS]; /* lists to which this scorer gave items */
} KpxCall;

/* Asks for shared memory; called while the server preloads libraries. */
extern void kpx_calls_init(void);

/* Starts the clock of a zeroed call. */
extern void kpx_call_begin(KpxCall *call);

/* What belongs to another call is added to it: the lists of a slate. */
extern void kpx_call_join(KpxCall *call, const KpxCall *part);

/* The call succeeded. module: its id, or 0. */
extern void kpx_call_end(const KpxCall *call, KpxCallKind kind, int module);

/* Calls that found no room in the statistics. */
extern uint64 kpx_calls_lost(void);

#endif /* KPX_CALLS_H */
