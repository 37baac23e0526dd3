/*
 * segment.h
 *	  Segments: groups of users by clustering their profiles; encoding a profile as a row of floats.
 *
 * Arrows: segment (SQL) -> segment_train -> segment_arena; segment_store -> segment_label; segment_load -> segment_cache;
 *	  segment_rows -> segment_survey -> segment_encode.
 */
#ifndef KPX_PG_SEGMENT_H
#define KPX_PG_SEGMENT_H

#include "kpxrec.h"
#include "ids.h"
#include "model.h"
#include "profile.h"
#include "registry.h"
#include "request.h"

#include "core/segment.h"

typedef enum KpxFeatureKind
{
	KPX_FEATURE_EVENTS, /* log(1 + events) of a kind in a module */
	KPX_FEATURE_VALUE, /* log(1 + sum of values) */
	KPX_FEATURE_ITEMS, /* log(1 + distinct items) of a module */
	KPX_FEATURE_RECENCY, /* log(1 + days since the last event) in a module */
	KPX_FEATURE_HOURS, /* share of the dated events in a quarter of the day, UTC */
	KPX_FEATURE_WEEKEND, /* share on Saturday and Sunday */
	KPX_FEATURE_INTEREST, /* share of the interests in categories */
	KPX_FEATURE_NUMBER, /* attribute */
	KPX_FEATURE_BOOLEAN,
	KPX_FEATURE_DATE, /* days since 2000-01-01 */
	KPX_FEATURE_LEVEL, /* 1 when a categorical attribute has this level */
	KPX_FEATURE_OTHER, /* 1 when it has one too rare to be a feature */
	KPX_FEATURE_MISSING, /* 1 when an attribute is missing */
	KPX_FEATURE_FACTOR /* of the folded-in vector, made one long */
} KpxFeatureKind;

#define KPX_FEATURE_KINDS (KPX_FEATURE_FACTOR + 1)

/* What a kind of feature tells of. */
typedef enum KpxFeatureBlock
{
	KPX_FEATURES_BEHAVIOUR, /* how much, how often and when */
	KPX_FEATURES_INTERESTS,
	KPX_FEATURES_ATTRIBUTES,
	KPX_FEATURES_FACTORS,
	KPX_FEATURE_BLOCKS
} KpxFeatureBlock;

static inline KpxFeatureBlock
kpx_feature_block(KpxFeatureKind kind)
{
	if (kind < KPX_FEATURE_INTEREST)
		return KPX_FEATURES_BEHAVIOUR;
	if (kind == KPX_FEATURE_INTEREST)
		return KPX_FEATURES_INTERESTS;
	return kind == KPX_FEATURE_FACTOR ? KPX_FEATURES_FACTORS : KPX_FEATURES_ATTRIBUTES;
}

/* A column of the encoded rows: (raw - mean) / sd * weight, 0 when raw is missing. */
typedef struct KpxFeature
{
	KpxFeatureKind kind;
	char *module; /* EVENTS to RECENCY */
	char *name; /* kind of event, category or attribute */
	char *level; /* LEVEL */
	int part; /* quarter of the day, or number of the factor */
	double mean;
	double sd; /* > 0 */
	double weight;
} KpxFeature;

/* Encoded values are cut here: one extreme user does not make a group. */
#define KPX_FEATURE_LIMIT 4.0

typedef struct KpxSegment
{
	char *label;
	int64 size;
} KpxSegment;

/* A stored segmentation, read back. */
typedef struct KpxSegmentation
{
	int64 id;
	char *name;
	char *owner;
	int n_modules;
	KpxModule **modules;
	KpxModel *model; /* of the factors, or NULL */
	int n_features;
	KpxFeature *features;
	int k;
	KpxSegment *segments;
	KpxMeans means; /* centres */
} KpxSegmentation;

/* Parameters of kpx_cluster as used. */
typedef struct KpxClusterParams
{
	double min_k;
	double max_k;
	double restarts;
	double iterations;
	double tolerance;
	double sample;
	double interests;
	double factors;
	double min_users;
	double members;
	double seed;
} KpxClusterParams;

/* ------------------------------------------------------------ segment_rows.c */

/* All users with events, encoded. */
typedef struct KpxEncoded
{
	KpxIdKind kind;
	size_t n;
	size_t capacity;
	KpxId *users; /* increasing */
	int n_features;
	KpxFeature *features;
	KpxPoints points; /* x is written here */
	float *x; /* the same, to write to */
} KpxEncoded;

/* Reads and encodes all users of these modules; model: for factors, or NULL. Errors: those of reading; 53200. */
extern KpxEncoded *kpx_segment_encode(KpxModule **modules, int n_modules, KpxModel *model, const KpxClusterParams *params);

/* ------------------------------------------------------------ segment_encode.c */

/*
 * Encodes one user as of now to x (kpx_ld(n_features) floats, 64-byte aligned), by the events
 * that may be used for target (NULL: for all modules of the segments; consent.h); false when
 * there are neither events nor attributes.
 */
extern bool kpx_segment_encode_user(KpxSegmentation *s, KpxId user, const KpxModule *target, float *x);

/* A mean of encoded values in original units. */
extern double kpx_feature_original(const KpxFeature *feature, double encoded);

/* Number of factors of a model that has vectors of users, 0 otherwise. */
extern int kpx_segment_factors(const KpxModel *model);

/* ------------------------------------------------------------ segment_train.c */

typedef struct KpxClusters
{
	int k;
	KpxMeans means; /* k centres; count[j] users */
	uint32_t *label; /* of each row */
	double inertia;
	double silhouette; /* NaN for one segment */
	int iterations;
	int workers;
} KpxClusters;

/* k 0: by silhouette. NOTICEs when there are fewer groups than asked for. */
extern KpxClusters *kpx_segment_train(KpxEncoded *data, int k, const KpxClusterParams *params);

/* ------------------------------------------------------------ segment_label.c */

/* Centre in original units, features by lift, and label of segment j. */
extern char *kpx_segment_centroid_json(const KpxEncoded *data, const KpxMeans *means, int j);
extern char *kpx_segment_features_json(const KpxEncoded *data, const KpxMeans *means, int j);
extern char *kpx_segment_label(const KpxEncoded *data, const KpxMeans *means, int j);

/* ------------------------------------------------------------ segment_store.c */

/* Names of the kinds of features, as stored. */
extern const char *const kpx_feature_kinds[KPX_FEATURE_KINDS];

/* Locks the name to the end of the transaction: 55P03 when somebody else has it, 42501 when it belongs to somebody else. */
extern void kpx_segmentation_begin(const char *name);

/* After kpx_segmentation_begin: deletes what has this name; false when nothing has. */
extern bool kpx_segmentation_drop(const char *name);

/* After kpx_segmentation_begin: replaces what has this name; k as asked for. Returns the id. */
extern int64 kpx_segmentation_store(const char *name, KpxModule **modules, int n_modules, const KpxModel *model,
									const KpxEncoded *data, const KpxClusters *clusters, int k, const KpxClusterParams *params);

/* ------------------------------------------------------------ segment_load.c */

/*
 * By name (42501 when it may not be used), or the newest of a module or at all that may be;
 * NULL: there is none. XX001 when it is damaged.
 */
extern KpxSegmentation *kpx_segmentation_load(KpxRegistry *registry, const char *name, const KpxModule *module);

/* Whether the current user owns it, or may read all event sources of its modules. */
extern bool kpx_may_use_segmentation(KpxRegistry *registry, const char *owner, const int *modules, int n);

/* ------------------------------------------------------------ segment.c */

/* A user's segment, looked for once for all modules of a slate; begin with zeros. */
typedef struct KpxSegmentFound
{
	int64 segmentation; /* id; 0: not looked for yet */
	int segment; /* number from 0; -1: the user has no profile */
} KpxSegmentFound;

/*
 * What the user's segment goes for, by the newest segmentation of the request's module, when the
 * request may see all of its modules: shares of target's items to share, NaN for those beyond
 * the stored ones. Returns the segment's label, NULL when there is nothing. found: of the same user.
 */
extern const char *kpx_segment_taste(const KpxRequest *q, const KpxTaste *taste, KpxSegmentFound *found, float *share);

/* ------------------------------------------------------------ segment_cache.c */

/* Encoding, segments and centres of id, valid to the end of the transaction; NULL: not kept. Nobody may write to them. */
extern const KpxSegmentation *kpx_segment_cache_find(uint64 generation, int64 id);

/* Takes context, in which s lies with all it points to, if there is room; otherwise it stays the caller's. */
extern void kpx_segment_cache_keep(uint64 generation, const KpxSegmentation *s, MemoryContext context);

#endif /* KPX_PG_SEGMENT_H */
