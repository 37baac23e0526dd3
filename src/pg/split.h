/*
 * split.h
 *	  Which interactions are held out of training, to judge with.
 */
#ifndef KPX_SPLIT_H
#define KPX_SPLIT_H

#include "ingest.h"

/* One held-out interaction; item or user KPX_NO_ITEM when training does not know it. */
typedef struct KpxPair
{
	uint32 user;
	uint32 item;
	uint64 unknown_user; /* hashes that tell unknown users and items apart, else 0 */
	uint64 unknown_item;
} KpxPair;

/* Those of one module, by user. */
typedef struct KpxPairs
{
	KpxPair *pair;
	size_t n;
	size_t size;
} KpxPairs;

typedef enum KpxSplit
{
	KPX_SPLIT_LEAVE_ONE_OUT,
	KPX_SPLIT_LAST_BY_TIME,
	KPX_SPLIT_RANDOM
} KpxSplit;

/* 22023 listing those there are. */
extern KpxSplit kpx_parse_split(const char *name);

/* What kpx_ingest must be asked for; 55000 when an event source has no times and the split needs them. */
extern int kpx_split_needs(KpxSplit split, KpxModule **modules, int n);

/* Moves held-out interactions from data to pairs[n_modules] (zeroed), and counts data again. */
extern void kpx_split_data(KpxData *data, KpxSplit split, uint64 seed, KpxPairs *pairs);

/* The same with the pairs of a relation (module, user_id, item_id), read as the caller. 55000 when there are none. */
extern void kpx_hold_out(KpxData *data, Oid relation, KpxPairs *pairs);

/* Of those who hold out otherwise: adds a pair; moves entry from of data down to *to, which goes one up. */
extern void kpx_pairs_add(KpxPairs *pairs, KpxPair pair);
extern void kpx_data_move(KpxData *data, uint64 from, uint64 *to);

#endif /* KPX_SPLIT_H */
