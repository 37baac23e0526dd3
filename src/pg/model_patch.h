/*
 * model_patch.h
 *	  Changes of a few items of a stored model, written beside it.
 *
 * A patch has some items' ids, popularity and rows of numbers; who reads the model applies all patches in their order. Small
 * arrays are written anew each time. So a change costs what it changes, until the patches are a quarter
 * of the model, or many: then all is written anew.
 *
 * Blocks of kpx.model_block, seq being the number of the patch: patch_ids, patch_popularity and patch_rows at the position
 * of each module that has items in it; and one patch_axes for all. Only models of one part can have patches, and of its
 * arrays only "factors" has a row an item.
 *
 * An update turns the coordinates of all items. Stored rows stay as they are: rows of patches are written in the coordinates
 * the model was first written in, and the axes say where those lie now. Row i of axes [factors][ld] is the i-th unit vector, turned; a
 * stored row times axes is what answers use.
 */
#ifndef KPX_MODEL_PATCH_H
#define KPX_MODEL_PATCH_H

#include "model.h"

/* Inside kpx_catalog_begin. */
extern bool kpx_has_patches(int64 model);

/*
 * Inside kpx_catalog_begin, while reading: from what was written first (base, all its arrays read) and the patches makes the ids,
 * popularity and arrays of model, whose metadata are there, in its own context. XX001.
 */
extern void kpx_patches_apply(KpxModel *base, KpxModel *model);

/* The axes of the stored model, for whoever is about to turn its coordinates; in the current context. The model's row is locked. */
extern float *kpx_patch_axes(const KpxModel *model);

/*
 * Stores the changed items (their n indexes in the model, increasing) as a patch, or all when that is better. Some
 * of them may be new: the stored model does not know them. axes: as kpx_patch_axes gave them, turned like the model's rows.
 */
extern void kpx_patch_store(KpxModel *model, const uint32 *changed, uint32 n, const float *axes);

#endif /* KPX_MODEL_PATCH_H */
