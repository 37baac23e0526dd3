/*
 * shared_memory.c
 *	  Main shared memory for a preloaded library, and a segment of dynamic shared memory, if there is room for one.
 *
 * dsm_create raises an error when memory is short; it is caught in a subtransaction.
 */
#include "fault.h"
#include "shared_memory.h"

#include "access/xact.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/resowner.h"

static KpxShared *requested = NULL;
static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static void
request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	for (KpxShared *s = requested; s; s = s->next)
	{
		RequestAddinShmemSpace(MAXALIGN(s->bytes()));
		if (s->locks > 0)
			RequestNamedLWLockTranche(s->name, s->locks);
	}
}

static void
startup(void)
{
	if (previous_startup_hook)
		previous_startup_hook();
	for (KpxShared *s = requested; s; s = s->next)
	{
		bool found;

		LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
		s->memory = ShmemInitStruct(s->name, s->bytes(), &found);
		if (!found)
		{
			memset(s->memory, 0, s->bytes());
			s->init(s->memory, s->locks > 0 ? GetNamedLWLockTranche(s->name) : NULL);
		}
		LWLockRelease(AddinShmemInitLock);
	}
}

void
kpx_shared_request(KpxShared *shared)
{
	if (requested == NULL)
	{
		previous_request_hook = shmem_request_hook;
		shmem_request_hook = request;
		previous_startup_hook = shmem_startup_hook;
		shmem_startup_hook = startup;
	}
	shared->next = requested;
	requested = shared;
}

bool
kpx_preloaded(void)
{
	return requested != NULL && requested->memory != NULL;
}

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
		KPX_FAULT("segment");
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
