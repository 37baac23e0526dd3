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

/* A block as it is stored: its header, and its payload in memory of its own. */
typedef struct KpxStoredBlock
{
	int seq;
	KpxBlockHeader header;
	char *payload;
} KpxStoredBlock;

/* Inside kpx_catalog_begin: the blocks of a kind and position, by seq, each checked as those of a model are. */
extern KpxStoredBlock *kpx_blocks_read(int64 model, const char *kind, int position, int *n);

/* XX001: model id is corrupt, and why. */
extern void kpx_model_corrupt(int64 id, const char *what) pg_attribute_noreturn();

#define KPX_BLOCK_BYTES (8 * 1024 * 1024)
#define KPX_IDS_A_BLOCK (KPX_BLOCK_BYTES / 64)

/* Inside kpx_catalog_begin: write ids, and an array, in blocks that are numbered from seq. */
extern void kpx_store_ids(int64 model, const char *kind, const KpxIds *ids, int position, int seq);
extern void kpx_store_array(int64 model, const KpxArray *array, int position, int seq);
/* How many rows one block takes. */
extern uint64 kpx_rows_a_block(const KpxArray *array);

#endif /* KPX_MODEL_BLOCK_H */
