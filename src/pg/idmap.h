/*
 * idmap.h
 *	  Ids to dense indexes, in order of arrival.
 */
#ifndef KPX_IDMAP_H
#define KPX_IDMAP_H

#include "ids.h"

typedef struct KpxIdMap KpxIdMap;

extern KpxIdMap *kpx_idmap_create(MemoryContext context, KpxIdKind kind);
/* Index of id, added when new. 54000 at 2^31 - 1 ids. */
extern uint32 kpx_idmap_add(KpxIdMap *map, KpxId id);
extern uint32 kpx_idmap_count(const KpxIdMap *map);
/* Bytes the map takes, about. */
extern size_t kpx_idmap_bytes(const KpxIdMap *map);

/*
 * The ids in increasing order, allocated in context; position[i] (palloc'd there too)
 * is where id number i of arrival went. The map can be dropped afterwards.
 */
extern KpxIds kpx_idmap_sorted(KpxIdMap *map, MemoryContext context, uint32 **position);
extern void kpx_idmap_free(KpxIdMap *map);

#endif /* KPX_IDMAP_H */
