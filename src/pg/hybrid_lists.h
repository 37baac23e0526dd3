/*
 * hybrid_lists.h
 *	  What the weights of a hybrid model are fitted on: interactions held out of a training, each in
 *	  a list of items that could have been chosen.
 */
#ifndef KPX_HYBRID_LISTS_H
#define KPX_HYBRID_LISTS_H

#include "hybrid.h"

typedef struct KpxHeldOut
{
	uint32 user;
	uint32 item;
} KpxHeldOut;

typedef struct KpxHolder
{
	const KpxData *data;
	KpxData rest; /* data without what is held out */
	uint8 *cold; /* [items] */
	KpxHeldOut *pair; /* by module, then user */
	size_t *begin; /* [n_modules + 1] */
} KpxHolder;

/* Holds out of h->data an interaction of some users, the newest where times are known, and all those with a tenth of the items, which are cold. */
extern void kpx_holder_fill(KpxHolder *h, uint64 seed);

typedef struct KpxLists
{
	const KpxModel *of[KPX_VOICES]; /* the model a method's part is in, trained on the rest; NULL = left out */
	int part[KPX_VOICES];
	const KpxModel *trained;
	const KpxHolder *holder;
	int m;
	uint64 *offset; /* [lists + 1] */
	float *score; /* offset[lists] x KPX_BLEND_SCORES; of each list the item chosen first */
	size_t lists;
} KpxLists;

/*
 * Lists of module l->m, in the current context: the items that some method, or popularity, would put among the first
 * for the user, without what the user may not be shown. A chosen item that is none of them makes no list: where no
 * method finds it no weights would.
 */
extern void kpx_lists_make(KpxLists *l);

#endif /* KPX_HYBRID_LISTS_H */
