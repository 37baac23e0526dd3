/*
 * model_block.h
 *	  Reading a model from, and writing it to, the blocks of kpx.model_block.
 */
#ifndef KPX_MODEL_BLOCK_H
#define KPX_MODEL_BLOCK_H

#include "model.h"

#include "core/model.h"

/* Reads a model into a memory context of its own; NULL when there is none of this id. */
extern KpxModel *kpx_model_load(int64 id);

/* Is it there still, and not another one of the same number, after DROP and CREATE EXTENSION? */
extern bool kpx_model_is_current(const KpxModel *model);

/* Reads all that is stored of a model, and forgets it. Errors: XX001, 0A000, 53200, as answers from it would. */
extern void kpx_model_verify(int64 id);

/* Checksum of a block as its header's crc has it; payload: header->payload_bytes. */
extern uint32 kpx_block_crc(const KpxBlockHeader *header, const void *payload);

/* The array of the popularity of the module at position. */
extern KpxArray kpx_popularity_array(const KpxModel *model, int position);

#endif /* KPX_MODEL_BLOCK_H */
