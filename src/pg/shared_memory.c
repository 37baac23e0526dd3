/*
 * shared_memory.c
 *	  A segment of dynamic shared memory, if there is room for one.
 *
 * dsm_create raises an error when memory is short; it is caught in a subtransaction.
 */
#include "shared_memory.h"

#include "access/xact.h"
#include "utils/resowner.h"

dsm_segment *
kpx_segment_create(size_t bytes)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	dsm_segment *volatile segment = NULL;

	if (IsInParallelMode())
		return NULL;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		segment = dsm_create(bytes, DSM_CREATE_NULL_IF_MAXSEGMENTS);
		if (segment)
			dsm_pin_mapping(segment);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		segment = NULL;
	}
	PG_END_TRY();
	if (segment)
		dsm_unpin_mapping(segment);
	return segment;
}
