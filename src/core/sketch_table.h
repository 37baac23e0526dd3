/*
 * sketch_table.h
 *	  Inside a sketch: its tables, for sketch.c, sketch_merge.c and sketch_table.c only.
 *
 * The block: header, modules, kinds, names, slots of the index over features, features,
 * minima. What every event touches comes first, also among the names those of modules and
 * kinds: few cache lines, one after the other. Features refer to their names by offset,
 * slots to features by number + 1.
 */
#ifndef KPX_SKETCH_TABLE_H
#define KPX_SKETCH_TABLE_H

#include "sketch.h"

/* Weights are kept above this, so that an old feature stays known as seen. */
#define FLOOR_SKETCH 0x1p-1000
#define FLOOR_FINISHED 0x1p-900
/* Weights are rescaled when the newest event is so many half-lives ahead of their scale. */
#define HEADROOM 256
#define KEPT_FEATURES (KPX_MAX_SKETCH_FEATURES / 2)
#define NO_MINIMA UINT32_MAX
#define LARGEST_WEIGHT 1e300

typedef struct Module
{
	uint32_t name;
	uint32_t length;
	uint32_t features;
	uint32_t minima; /* number of its block of minima, or NO_MINIMA */
	uint32_t hours[24];
	uint32_t weekdays[7];
	double lost;
	double lost_timeless;
} Module;

typedef struct Kind
{
	uint32_t name;
	uint16_t length;
	uint16_t module;
	uint64_t count;
	uint64_t dated;
	int64_t first;
	int64_t last;
	uint64_t values;
	int64_t value;
	uint64_t durations;
	int64_t duration;
} Kind;

typedef struct Feature
{
	uint32_t hash;
	uint32_t name;
	uint16_t length;
	uint16_t module;
	double weight;
	double timeless;
} Feature;

typedef struct Minima
{
	uint32_t n;
	uint32_t value[KPX_PROFILE_MINIMA];
} Minima;

struct KpxSketch
{
	KpxSketchShape shape; /* room */
	KpxSketchShape used; /* of it */
	int64_t half_life;
	int64_t exponent; /* weights are sums / 2^exponent */
	int64_t newest; /* the exponent to finish with */
	KpxSketchShape wanted;
	bool dated; /* any weight with a time so far */
};

static inline Module *
modules_of(const KpxSketch *s)
{
	return (Module *) (s + 1);
}

static inline Kind *
kinds_of(const KpxSketch *s)
{
	return (Kind *) (modules_of(s) + s->shape.modules);
}

static inline char *
names_of(const KpxSketch *s)
{
	return (char *) (kinds_of(s) + s->shape.kinds);
}

/* Twice as many slots as features. */
static inline uint32_t *
slots_of(const KpxSketch *s)
{
	return (uint32_t *) (names_of(s) + ((s->shape.names + 7) & ~UINT32_C(7)));
}

static inline Feature *
features_of(const KpxSketch *s)
{
	return (Feature *) (slots_of(s) + 2 * s->shape.features);
}

static inline Minima *
minima_of(const KpxSketch *s)
{
	return (Minima *) (features_of(s) + s->shape.features);
}

/* Appends a name; there must be room. */
extern uint32_t kpx_table_add_name(KpxSketch *s, const char *bytes, uint32_t length);
extern void kpx_table_index_feature(KpxSketch *s, uint32_t f);
extern void kpx_table_index_features(KpxSketch *s);
/* Is there room for so much more? Otherwise sets the wanted shape. */
extern bool kpx_table_has_room(KpxSketch *s, KpxSketchShape more);

/* Number of the module or kind, or how many there are when it is new. */
extern uint32_t kpx_table_find_module(const KpxSketch *s, KpxName name);
extern uint32_t kpx_table_find_kind(const KpxSketch *s, uint32_t module, KpxName name);
extern Feature *kpx_table_find_feature(const KpxSketch *s, uint32_t module, KpxName name, uint32_t hash);
/* The same, made when it is new; there must be room. */
extern Module *kpx_table_need_module(KpxSketch *s, uint32_t m, KpxName name);
extern Kind *kpx_table_need_kind(KpxSketch *s, uint32_t k, uint32_t module, KpxName name);

/* Of sketch.c, for merging. */
extern double kpx_sketch_scale(double weight, int64_t shift);
extern void kpx_sketch_reach_exponent(KpxSketch *s, int64_t e);
extern void kpx_sketch_begin_minima(KpxSketch *s, uint32_t m);
extern void kpx_sketch_add_minimum(uint32_t *values, uint32_t *n, uint32_t value);
extern void kpx_sketch_insert_feature(KpxSketch *s, uint32_t m, KpxName name, uint32_t hash, double weight, double timeless);

static inline KpxName
feature_name(const KpxSketch *s, const Feature *f)
{
	return (KpxName){names_of(s) + f->name, f->length};
}

#endif /* KPX_SKETCH_TABLE_H */
