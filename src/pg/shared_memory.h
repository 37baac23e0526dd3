/*
 * shared_memory.h
 *	  Main shared memory, which a preloaded library may ask for, and segments of dynamic shared memory.
 */
#ifndef KPX_SHARED_MEMORY_H
#define KPX_SHARED_MEMORY_H

#include "kpxrec.h"

#include "storage/dsm.h"
#include "storage/lwlock.h"

/* One structure in main shared memory; static, a file's own. */
typedef struct KpxShared
{
	const char *name; /* in pg_shmem_allocations, and of its tranche of locks */
	size_t (*bytes)(void); /* called when MaxBackends is known */
	int locks;
	void (*init)(void *memory, LWLockPadded *locks); /* of memory that is zeroed; locks[locks] */
	void *memory; /* NULL: the library is not preloaded, or the server has not come so far */
	struct KpxShared *next;
} KpxShared;

/* Asks for it: to be called while the server preloads libraries. */
extern void kpx_shared_request(KpxShared *shared);

/* Is the library preloaded, and its shared memory there? */
extern bool kpx_preloaded(void);

/*
 * A segment of this size whose mapping belongs to the current resource owner; NULL when
 * the system has not enough memory or no free segment (containers often have 64 MB of
 * /dev/shm), or in parallel mode. Never raises an error but cancellation.
 */
extern dsm_segment *kpx_segment_create(size_t bytes);

#endif /* KPX_SHARED_MEMORY_H */
