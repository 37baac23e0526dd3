/*
 * sketch.h
 *	  Accumulating events into a profile, in one block of memory that the caller provides.
 *
 * A sketch holds the kinds and features seen so far in tables of bounded size, with an index
 * by hash over the features. When a module has more than KPX_MAX_SKETCH_FEATURES, the weaker
 * half is dropped and what comes anew starts with the largest weight dropped (Misra-Gries in
 * the form of space saving, Metwally et al. 2005; mergeable, Agarwal et al. 2012). With up to
 * that many features in a module everything is exact, and adding and merging may happen in
 * any order.
 *
 * Order of use: kpx_sketch_init on kpx_sketch_bytes of a shape; then any of count, interest
 * and merge. When they return KPX_MORE nothing has changed: kpx_sketch_wanted says the shape
 * to move the sketch to (kpx_sketch_move) before the same call again.
 */
#ifndef KPX_SKETCH_H
#define KPX_SKETCH_H

#include "profile.h"

/* How much a block has room for. */
typedef struct KpxSketchShape
{
	uint32_t modules;
	uint32_t kinds;
	uint32_t features;
	uint32_t names; /* bytes of all names */
	uint32_t minima; /* modules with minima */
} KpxSketchShape;

typedef struct KpxSketch KpxSketch;

/* One event, as the aggregate gets it. */
typedef struct KpxProfileEvent
{
	KpxName module;
	KpxName kind;
	bool dated;
	bool valued;
	bool timed; /* has a duration */
	int64_t at;
	int64_t value; /* x KPX_PROFILE_UNIT */
	int64_t duration; /* seconds x KPX_PROFILE_UNIT */
} KpxProfileEvent;

/* Room for one event of a kind with a feature, or two. */
extern KpxSketchShape kpx_sketch_smallest(void);
/* Bytes of a block of this shape (a multiple of 8, below 2^31). */
extern size_t kpx_sketch_bytes(const KpxSketchShape *shape);
/* An empty sketch; memory 8-byte aligned. half_life as in profile.h: 0, or within its limits. */
extern KpxSketch *kpx_sketch_init(void *memory, const KpxSketchShape *shape, int64_t half_life);
/* Fetches what the next event will touch into the cache: worth it among many sketches. */
static inline void
kpx_sketch_prefetch(const KpxSketch *sketch)
{
	for (int line = 0; line < 9; line++)
		__builtin_prefetch((const char *) sketch + 64 * line, 1);
}

extern int64_t kpx_sketch_half_life(const KpxSketch *sketch);
/* The shape that the call which returned KPX_MORE needs. */
extern KpxSketchShape kpx_sketch_wanted(const KpxSketch *sketch);
/* Moves a sketch into new memory of a wanted shape; the old one can be freed. */
extern KpxSketch *kpx_sketch_move(const KpxSketch *from, void *memory, const KpxSketchShape *shape);

/*
 * Counts one event. Names have 1 to KPX_MAX_PROFILE_NAME bytes, at lies in the years 1 to
 * 9999: KPX_BAD_ARGUMENT. KPX_TOO_BIG: more modules or kinds than a profile can have, or a
 * sum that does not fit.
 */
extern KpxStatus kpx_sketch_count(KpxSketch *sketch, const KpxProfileEvent *event);

/*
 * Adds weight (0 to KPX_PROFILE_MAX_WEIGHT; 0 adds nothing) to a feature of a module. With a
 * half-life, at says when; dated false: it does not age. Errors as above.
 */
extern KpxStatus kpx_sketch_interest(KpxSketch *sketch, KpxName module, KpxName feature, double weight, bool dated,
									 int64_t at);

/* Adds a profile of the same half-life; KPX_BAD_ARGUMENT otherwise, KPX_TOO_BIG as above. */
extern KpxStatus kpx_sketch_merge(KpxSketch *sketch, const KpxProfile *profile);

/* Counts of the arrays kpx_sketch_profile fills at most, into profile. */
extern void kpx_sketch_profile_size(const KpxSketch *sketch, KpxProfile *profile);

/*
 * The sketch as a profile: the arrays are the caller's, in those sizes; names point into the
 * sketch. limit: features kept of each module, the strongest (ties: by hash, then by name).
 * The sketch stays as it is.
 */
extern void kpx_sketch_profile(const KpxSketch *sketch, uint32_t limit, KpxProfile *profile);

#endif /* KPX_SKETCH_H */
