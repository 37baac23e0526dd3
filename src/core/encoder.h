/*
 * encoder.h
 *	  Layout of what was learned of a catalogue's content, as bytes of a model.
 *
 * Fields one after the other, in the byte order of the machine: version, weighting, stop words, two bags
 * of terms (text, attributes), quantiles of the columns of numbers, projections of embeddings, weights.
 * Whole numbers have 64 bits; arrays stand behind their length, names behind theirs. Nothing is aligned.
 * The reader trusts nothing: it is total over all byte strings, and what it accepts can be computed with.
 */
#ifndef KPX_ENCODER_H
#define KPX_ENCODER_H

#include "fuse.h"
#include "tfidf.h"

#define KPX_ENCODER_VERSION 1
#define KPX_MAX_EMBEDDINGS 16 /* names of embeddings */
#define KPX_MAX_MODALITIES (2 + KPX_MAX_EMBEDDINGS) /* text, attributes and these */
#define KPX_MAX_ENCODER_NAME 256 /* bytes of a column's name */

/* A bag of terms; arrays point into the bytes and need not be aligned. */
typedef struct KpxStoredBag
{
	int rank; /* 0: there is none, and the rest is zero */
	uint64_t n;
	uint64_t documents;
	double mean_length;
	const char *term; /* uint64[n], increasing; NULL: hashed */
	const char *df; /* uint32[n] */
	const char *weight; /* float[n], or NULL */
	const char *right; /* float[n][rank] */
} KpxStoredBag;

typedef struct KpxStoredKnots
{
	const char *name;
	size_t name_bytes;
	int n; /* 0 to KPX_KNOTS, increasing */
	double knot[KPX_KNOTS];
} KpxStoredKnots;

typedef struct KpxStoredProjection
{
	const char *name;
	size_t name_bytes;
	uint32_t d;
	int rank;
	const char *mean; /* float[d] */
	const char *right; /* float[d][rank], or NULL: rank = d */
} KpxStoredProjection;

typedef struct KpxStoredEncoder
{
	KpxWeighting weighting;
	bool builtin_stop; /* the built-in stop words count as such */
	uint32_t n_stop;
	const char *stop; /* uint64[n_stop], never decreasing */
	KpxStoredBag text;
	KpxStoredBag attributes;
	uint32_t n_knots;
	const char *knots; /* n_knots times what kpx_encoder_knots reads */
	int n_projections;
	KpxStoredProjection projection[KPX_MAX_EMBEDDINGS];
	float weight[KPX_MAX_MODALITIES]; /* 2 + n_projections, at least 0 */
} KpxStoredEncoder;

/*
 * Opens length bytes as an encoder. KPX_CORRUPT: another version, shorter or longer than it says, numbers out
 * of range, terms or quantiles that do not increase, a float that is not finite, or vectors of more than
 * KPX_MAX_FACTORS numbers.
 */
extern KpxStatus kpx_encoder_open(const void *bytes, size_t length, KpxStoredEncoder *encoder);

/* The quantiles at this place of an encoder that was opened; where the next are. */
extern const char *kpx_encoder_knots(const char *at, KpxStoredKnots *knots);

#endif /* KPX_ENCODER_H */
