/*
 * profile.h
 *	  A profile: what one user does and likes, as arrays and as a flat string of bytes.
 *
 * Behaviour is counted for each module and kind of event; interests are features with
 * weights, such as item:courses/17 or category:python, bounded to the strongest ones of
 * each module. sketch.h accumulates events into one of these.
 *
 * Times are microseconds since 2000-01-01 00:00 UTC. Values and durations are in
 * millionths, so that sums are exact and do not depend on their order.
 *
 * Interests decay forward (Cormode, Shkapenyuk, Srivastava, Xu 2009, "Forward decay"):
 * relative to a fixed landmark, the epoch above, the weight of an event at time t is
 * w 2^(t / half_life), and never changes. Stored is weight = sum / 2^exponent, where
 * exponent = floor(newest / half_life) + 1 for the newest event: the weight as of the end
 * of that event's half-life period. Dividing by a power of two is exact, so profiles of
 * the same half-life merge without any loss. Events without a time do not age; their
 * weights are kept apart (timeless).
 */
#ifndef KPX_PROFILE_H
#define KPX_PROFILE_H

#include "matrix.h"

#define KPX_PROFILE_VERSION 1
#define KPX_MAX_PROFILE_MODULES 255
#define KPX_MAX_PROFILE_KINDS 64 /* of a module */
#define KPX_MAX_PROFILE_NAME 63 /* bytes of a module's or kind's name, at least 1 */
#define KPX_MAX_FEATURE_NAME 1280 /* bytes of a feature, at least 1 */
#define KPX_PROFILE_INTERESTS 64 /* of a module in a finished profile */
#define KPX_MAX_SKETCH_FEATURES 512 /* of a module while accumulating */
#define KPX_PROFILE_MINIMA 128 /* of a module: see minima below */
#define KPX_PROFILE_UNIT 1000000 /* values and durations are counted in 1 / this */
#define KPX_PROFILE_MAX_WEIGHT 1e30
/* Times lie in years 1 to 9999. */
#define KPX_PROFILE_MIN_TIME INT64_C(-63082281600000000)
#define KPX_PROFILE_MAX_TIME INT64_C(252455615999999999)
#define KPX_PROFILE_MIN_HALF_LIFE INT64_C(60000000)
#define KPX_PROFILE_MAX_HALF_LIFE INT64_C(3155760000000000) /* 100 years */

/* Bytes that are not owned and not terminated. */
typedef struct KpxName
{
	const char *bytes;
	uint32_t length;
} KpxName;

/* The events of one kind in one module. */
typedef struct KpxProfileKind
{
	KpxName name;
	uint64_t count;
	uint64_t dated; /* with a time */
	int64_t first; /* when dated > 0 */
	int64_t last;
	uint64_t values; /* with a value */
	int64_t value; /* their sum */
	uint64_t durations; /* with a duration */
	int64_t duration; /* their sum, seconds x KPX_PROFILE_UNIT */
} KpxProfileKind;

typedef struct KpxProfileFeature
{
	KpxName name;
	double weight; /* of events with a time, as of the profile's exponent; or of all without half-life */
	double timeless; /* of events without a time, only with a half-life */
} KpxProfileFeature;

typedef struct KpxProfileModule
{
	KpxName name;
	uint32_t kind; /* its kinds begin here, in the profile's array */
	uint32_t kinds;
	uint32_t feature;
	uint32_t features;
	uint32_t hours[24]; /* dated events by UTC hour; saturating */
	uint32_t weekdays[7]; /* Monday first, UTC */
	/*
	 * Weights are never too low, and at most this too high (Metwally, Agrawal, El Abbadi 2005,
	 * space saving); what was left out weighed no more. Both 0: every feature is here, exactly.
	 */
	double lost;
	double lost_timeless;
	/*
	 * Only when features were lost: the smallest different hashes of all item: features, at
	 * most KPX_PROFILE_MINIMA, increasing (Bar-Yossef et al. 2002, k minimum values).
	 */
	uint32_t minimum; /* they begin here */
	uint32_t minima;
	bool sketched; /* minima say how many items there were; else the features do */
} KpxProfileModule;

typedef struct KpxProfile
{
	int64_t half_life; /* 0: nothing decays */
	int64_t exponent; /* 0 without half-life or weights */
	uint32_t n_modules;
	uint32_t n_kinds;
	uint32_t n_features;
	uint32_t n_minima;
	KpxProfileModule *modules; /* by name, as bytes */
	KpxProfileKind *kinds; /* of module after module, by name */
	KpxProfileFeature *features; /* the same */
	uint32_t *minima;
} KpxProfile;

/* Order of names: bytes, then length. */
extern int kpx_name_compare(KpxName a, KpxName b);
/* 32 bits from bytes; the same on every machine. */
extern uint32_t kpx_name_hash(KpxName name);
/* Whether this feature stands for an item: it begins with item: */
extern bool kpx_name_is_item(KpxName name);

/*
 * Checks length bytes as a flat profile: total over all strings of bytes, reads nothing
 * outside them, accepts only what kpx_profile_encode writes, so that equal profiles are
 * equal bytes. Sets the four counts of profile. KPX_UNSUPPORTED: a later version;
 * KPX_CORRUPT: anything else. Names are not checked as text.
 */
extern KpxStatus kpx_profile_check(const void *bytes, size_t length, KpxProfile *profile);

/*
 * Decodes what kpx_profile_check accepted into the arrays of profile, which the caller
 * provides in the sizes the check gave. Names point into bytes.
 */
extern void kpx_profile_decode(const void *bytes, size_t length, KpxProfile *profile);

/* An upper limit of the bytes kpx_profile_encode writes; KPX_TOO_BIG above 2^30. */
extern KpxStatus kpx_profile_bound(const KpxProfile *profile, size_t *bytes);
/* Writes the flat form and returns its length. The profile must be in order. */
extern size_t kpx_profile_encode(const KpxProfile *profile, void *bytes);

/*
 * Takes modules out of a profile, in place: those with keep[module] false. What remains is as if
 * there had never been events of the others, but for weights that had decayed to the least there is.
 */
extern void kpx_profile_keep(KpxProfile *profile, const bool *keep);

/* Different items of a module: exact, or estimated from the minima (standard error 9 %). */
extern double kpx_profile_items(const KpxProfile *profile, const KpxProfileModule *module);

/* A feature of any module, its weights in all modules added up. */
typedef struct KpxInterest
{
	KpxName name;
	double weight;
} KpxInterest;

/*
 * Interests of module (an index) or of all modules (-1) to interests (profile->n_features
 * entries), in order of names, each name once; weights as of the exponent. Returns how many.
 */
extern uint32_t kpx_profile_interests(const KpxProfile *profile, int module, KpxInterest *interests);

/* Sorts them strongest first, ties by name. */
extern void kpx_interests_rank(KpxInterest *interests, uint32_t n);

/* Cosine of two lists of interests in order of names, 0 to 1; 0 when either is empty. */
extern double kpx_interests_cosine(const KpxInterest *a, uint32_t n_a, const KpxInterest *b, uint32_t n_b);

#endif /* KPX_PROFILE_H */
