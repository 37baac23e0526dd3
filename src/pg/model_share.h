/*
 * model_share.h
 *	  Numbers of models in shared memory, so that sessions need no copies of their own.
 */
#ifndef KPX_MODEL_SHARE_H
#define KPX_MODEL_SHARE_H

#include "model.h"

/* Asks for what the cache needs; called while the server preloads libraries. */
extern void kpx_share_init(void);

/*
 * Points ids, popularity and the arrays of the parts of a model, whose metadata are there, into a
 * shared copy; false when there is none. The mapping goes with kpx_share_release.
 */
extern bool kpx_share_attach(KpxModel *model);

/* Puts a whole model's numbers into shared memory, as far as there is room; the model is not changed. */
extern void kpx_share_publish(KpxModel *model);

extern void kpx_share_release(KpxModel *model);

#endif /* KPX_MODEL_SHARE_H */
