/*
 * content_encode.h
 *	  From what items are to vectors: what is learned of a catalogue, and its use.
 */
#ifndef KPX_CONTENT_ENCODE_H
#define KPX_CONTENT_ENCODE_H

#include "content_read.h"
#include "params.h"

#include "core/encoder.h"

/* Sparse rows over a vocabulary to rank numbers: row . right. */
typedef struct KpxBag
{
	KpxVocabulary vocabulary;
	int rank; /* 0: there is no such modality */
	float *right; /* vocabulary.n x rank */
} KpxBag;

typedef struct KpxKnots
{
	char *name;
	int n;
	double knot[KPX_KNOTS];
} KpxKnots;

typedef struct KpxProjection
{
	char *name;
	uint32 d;
	int rank;
	float *mean; /* d */
	float *right; /* d x rank, or NULL: rank = d and nothing is projected */
} KpxProjection;

typedef struct KpxEncoder
{
	int weighting; /* KpxWeighting */
	KpxStopWords stop;
	KpxBag text;
	KpxBag attributes;
	int n_knots;
	KpxKnots *knots; /* by column of numbers */
	int n_projections;
	KpxProjection *projections;
	int n_modalities;
	uint32 begin[KPX_MAX_MODALITIES + 1]; /* columns of each in the vector: text, attributes, embeddings */
	float weight[KPX_MAX_MODALITIES];
} KpxEncoder;

/* The parameters below, for the list of an algorithm that has content. */
#define KPX_CONTENT_PARAMS \
	{"text_factors", KPX_PARAM_INT, 128, 1, 512}, \
		{"attribute_factors", KPX_PARAM_INT, 64, 1, 512}, \
		{"embedding_factors", KPX_PARAM_INT, 64, 1, 512}, \
		{"weighting", KPX_PARAM_CHOICE, 0, 0, 0, kpx_weightings}, \
		{"min_documents", KPX_PARAM_INT, 2, 1, 1000000}, \
		{"max_terms", KPX_PARAM_INT, 50000, 1, 10000000}, \
		{"hashed_terms", KPX_PARAM_INT, 0, 0, 10000000}, \
		{"coherence", KPX_PARAM_FLOAT, 0.5, 0, 4}, \
		{"smoothing", KPX_PARAM_FLOAT, 1.5, 0, 4}, \
		{"stop_words", KPX_PARAM_JSON}, \
		{"modality_weights", KPX_PARAM_JSON}, \
		{"content_regularization", KPX_PARAM_FLOAT, 0.02, 1e-6, 1e6}, \
	{ \
		"content_unobserved_weight", KPX_PARAM_FLOAT, 0.02, 1e-6, 1e3 \
	}

extern const char *const kpx_weightings[];

/* The parameter stop_words: NULL = built in. 22023. */
extern KpxStopWords kpx_stop_words(Jsonb *json);

/* Learns an encoder of what was read. Errors: 22023, 54000 more than KPX_MAX_FACTORS numbers, 53200. */
extern KpxEncoder *kpx_encoder_fit(const KpxContent *content, const KpxParams *params, const KpxStopWords *stop);

/* Sets n_modalities and begin. */
extern void kpx_encoder_lay_out(KpxEncoder *encoder);

/* Numbers of a vector; 0 when no item has any content. */
extern int kpx_encoder_dim(const KpxEncoder *encoder);

/* Vectors of the items, kpx_ld(dim) floats each, of length 1 or, without content, 0. */
extern void kpx_encoder_apply(const KpxEncoder *encoder, const KpxContent *content, float *vectors);

/* The encoder as bytes, and back (in the current context); NULL when they are not one. */
extern bytea *kpx_encoder_store(const KpxEncoder *encoder);
extern KpxEncoder *kpx_encoder_load(const char *bytes, size_t length);

#endif /* KPX_CONTENT_ENCODE_H */
