/*
 * calls.c
 *	  What counting an answer costs: kpx_call_begin and kpx_call_end as they are compiled into the
 *	  library, on shared memory, by one process and by two at once on the same counters.
 */
#include "../../src/pg/calls.c"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#undef printf /* the server has its own */

#define CALLS 5000000

Oid MyDatabaseId = 5;
const KpxScorer *const kpx_scorers[] = {NULL};

TimestampTz
GetCurrentTimestamp(void)
{
	return 1;
}

/* CPU time, so that others on the machine do not count. */
static void
run(const char *who)
{
	struct timespec begin;
	struct timespec end;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
	for (int i = 0; i < CALLS; i++)
	{
		KpxCall call = {.lists = 1, .items = 10, .filled = {1}};

		kpx_call_begin(&call);
		kpx_models_found[KPX_FROM_SESSION]++;
		kpx_call_end(&call, KPX_CALL_RECOMMEND, 7);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	printf("counting a call, %s: %.0f ns of processor time\n", who,
		   ((double) (end.tv_sec - begin.tv_sec) * 1e9 + (double) (end.tv_nsec - begin.tv_nsec)) / CALLS);
}

int
main(void)
{
	shared.memory = mmap(NULL, sizeof(Table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	table_init(shared.memory, NULL);
	run("alone");
	fflush(stdout);
	if (fork() == 0)
	{
		run("two processes on the same counters");
		return 0;
	}
	run("two processes on the same counters");
	wait(NULL);
	return pg_atomic_read_u64(&find_entry(shared.memory, key_of(5, 7))->counters[KPX_CALL_RECOMMEND].calls) == 3 * CALLS ? 0 : 1;
}
