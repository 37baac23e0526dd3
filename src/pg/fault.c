/*
 * fault.c
 *	  What happens at the places of fault.h.
 */
#include "kpxrec.h"

#include "fault.h"

#ifdef KPX_FAULTS

#include <signal.h>

#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/wait_event.h"

static char *setting = NULL;
static int passed = 0; /* the place of the setting, since it was set */

static void
assign(const char *value, void *extra)
{
	passed = 0;
}

void
kpx_fault_init(void)
{
	DefineCustomStringVariable("kpxrec.fault", "What goes wrong where, as place:action:n.", NULL, &setting, "", PGC_SUSET, 0,
							   NULL, assign, NULL);
}

static void
happen(const char *action, const char *place)
{
	if (strcmp(action, "crash") == 0)
		(void) kill(MyProcPid, SIGKILL);
	else if (strcmp(action, "oom") == 0)
		(void) MemoryContextAllocHuge(CurrentMemoryContext, MaxAllocHugeSize);
	else if (strcmp(action, "sleep") == 0)
	{
		for (int i = 0; i < 600; i++)
		{
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 100, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
	}
	else
		ereport(ERROR, (errcode(ERRCODE_IO_ERROR), errmsg("fault at \"%s\"", place)));
}

void
kpx_fault(const char *place)
{
	size_t length = strlen(place);
	char action[16];
	int n = 1;

	if (setting == NULL || strncmp(setting, place, length) != 0 || setting[length] != ':')
		return;
	if (sscanf(setting + length + 1, "%15[a-z]:%d", action, &n) < 1 || ++passed != n)
		return;
	happen(action, place);
}

#endif
