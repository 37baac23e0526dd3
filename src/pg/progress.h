/*
 * progress.h
 *	  How far a long statement is: shown to others by the view kpx_stat_progress while it runs.
 *
 * Without preloading nobody else can look, but all calls work, and the process itself can read
 * how far it is (kpx_progress). Nothing here raises an error or takes a lock.
 */
#ifndef KPX_PROGRESS_H
#define KPX_PROGRESS_H

#include "kpxrec.h"

#include "datatype/timestamp.h"

/* One process' progress. Names that are too long are cut. */
typedef struct KpxProgress
{
	int pid; /* 0: nothing is under way */
	Oid database;
	Oid user; /* the current one at the beginning */
	TimestampTz started_at;
	TimestampTz phase_started_at;
	uint64 done; /* of the phase */
	uint64 total; /* 0: not known */
	uint64 rows; /* read from the platform's tables so far */
	uint64 peak_memory; /* bytes resident at most since the process began, shared memory it touched among them */
	double loss; /* NaN: none yet */
	char what[32]; /* the function */
	char object[NAMEDATALEN]; /* model, segments, modules, ... */
	char phase[32];
} KpxProgress;

/* Asks for shared memory; called while the server preloads libraries. */
extern void kpx_progress_init(void);

/*
 * A statement begins; kpx_progress_end when it has succeeded, an error ends it by itself. What
 * begins inside another is a part of it: until its end, phases and steps are ignored, losses not.
 */
extern void kpx_progress_begin(const char *what, const char *object);
extern void kpx_progress_end(void);

/* The next phase, of so many steps (0 = not known); then how many of them are done. Cheap, but not for every row. */
extern void kpx_progress_phase(const char *phase, uint64 total);
extern void kpx_progress_step(uint64 done);

/* So many more rows were read. */
extern void kpx_progress_rows(uint64 rows);

/* So many iterations (steps of the phase) are done, and the loss is this; also a line at debug1. */
extern void kpx_progress_loss(uint64 iteration, double loss);

/*
 * This process' own: what is under way, or, with pid 0, how what ended last did: its last phase
 * with done and total, and rows; peak_memory is read anew.
 */
extern const KpxProgress *kpx_progress(void);

#endif /* KPX_PROGRESS_H */
