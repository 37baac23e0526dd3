/*
 * shared_memory.h
 *	  A segment of dynamic shared memory, if there is room for one.
 */
#ifndef KPX_SHARED_MEMORY_H
#define KPX_SHARED_MEMORY_H

#include "kpxrec.h"

#include "storage/dsm.h"

/*
 * A segment of this size whose mapping belongs to the current resource owner; NULL when
 * the system has not enough memory or no free segment (containers often have 64 MB of
 * /dev/shm), or in parallel mode. Never raises an error but cancellation.
 */
extern dsm_segment *kpx_segment_create(size_t bytes);

#endif /* KPX_SHARED_MEMORY_H */
