/*
 * content.h
 *	  Algorithm "content" as a component of others, and its way with items that came later.
 */
#ifndef KPX_PG_CONTENT_H
#define KPX_PG_CONTENT_H

#include "algorithm.h"
#include "content_encode.h"

/* The part of a model that is of algorithm "content", or -1. */
extern int kpx_content_part(const KpxModel *model);

/* The first part that knows items by what users did with them, or -1. */
extern int kpx_behaviour_part(const KpxModel *model);

/* Whether a module of data has any content. */
extern bool kpx_any_content(const KpxData *data);

/* What the items of data are: the read of algorithms with content. 55000 when no module has any registered. */
extern KpxContent *kpx_content_of(const KpxData *data, const KpxParams *params);

/* Numbers of a content vector of this part. */
extern int kpx_content_dim(const KpxModel *model, int part);

/* The vectors of a part, items x kpx_ld(dim). */
extern const float *kpx_content_vectors(const KpxModel *model, int part);

/* Vectors, in the space of the part, of the items base[m] .. of ids[m] that came after training. */
extern float *kpx_content_encode_new(const KpxModel *model, int part, KpxModule **modules, int n_modules, const KpxIds *ids,
									 const uint32 *base);

#endif /* KPX_PG_CONTENT_H */
