/*
 * progress.c
 *	  How far a long statement is: shown to others by the view kpx_stat_progress while it runs.
 *
 * One slot a backend in main shared memory, written by that backend only. As in the server's own
 * statistics of activity, a counter is odd while the slot is being written, so a reader who saw
 * it odd or changed looks again; nobody waits for anybody. A slot is emptied by kpx_progress_end
 * or when its (sub)transaction aborts, which includes the end of the process.
 */
#include "progress.h"

#include <math.h>
#include <sys/resource.h>

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "mb/pg_wchar.h"
#include "port/atomics.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/timestamp.h"

#include "shared_memory.h"

typedef struct Slot
{
	pg_atomic_uint32 changes; /* odd while it is being written */
	KpxProgress progress;
} Slot;

static KpxProgress mine = {.loss = NAN};
static Slot *slot = NULL;
#define MAX_DEPTH 8
static int depth = 0; /* of what began inside what */
static int level[MAX_DEPTH]; /* of the transaction in which each began */

static size_t
slots_bytes(void)
{
	return sizeof(Slot) * MaxBackends;
}

static void
slots_init(void *memory, LWLockPadded *locks)
{
	for (int i = 0; i < MaxBackends; i++)
		pg_atomic_init_u32(&((Slot *) memory)[i].changes, 0);
}

static KpxShared shared = {.name = "kpxrec progress", .bytes = slots_bytes, .init = slots_init};

void
kpx_progress_init(void)
{
	kpx_shared_request(&shared);
}

/* ------------------------------------------------------------ writing */

static Slot *
own_slot(void)
{
#if PG_VERSION_NUM >= 170000
	int i = MyProcNumber;
#else
	int i = MyBackendId - 1;
#endif

	return shared.memory && i >= 0 && i < MaxBackends ? (Slot *) shared.memory + i : NULL;
}

/* Kilobytes in Linux and the BSDs. */
static uint64
peak_memory(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64) usage.ru_maxrss * 1024 : 0;
}

static void
publish(void)
{
	uint32 changes;

	mine.peak_memory = peak_memory();
	if (slot == NULL)
		return;
	changes = pg_atomic_read_u32(&slot->changes);
	pg_atomic_write_u32(&slot->changes, changes + 1);
	pg_write_barrier();
	slot->progress = mine;
	pg_write_barrier();
	pg_atomic_write_u32(&slot->changes, changes + 2);
}

static void
finish(void)
{
	depth = 0;
	mine.pid = 0;
	publish();
}

static void
at_transaction(XactEvent event, void *arg)
{
	if (depth > 0 && event == XACT_EVENT_ABORT)
		finish();
}

static void
at_subtransaction(SubXactEvent event, SubTransactionId own, SubTransactionId parent, void *arg)
{
	if (depth == 0 || event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (depth > 0 && level[Min(depth, MAX_DEPTH) - 1] >= GetCurrentTransactionNestLevel())
		depth--;
	if (depth == 0)
		finish();
}

static void
copy_name(char *to, size_t size, const char *from)
{
	int length = pg_mbcliplen(from, (int) strlen(from), (int) size - 1);

	memcpy(to, from, length);
	to[length] = '\0';
}

void
kpx_progress_begin(const char *what, const char *object)
{
	static bool registered = false;

	if (depth < MAX_DEPTH)
		level[depth] = GetCurrentTransactionNestLevel();
	if (depth++ > 0)
		return;
	if (!registered)
	{
		RegisterXactCallback(at_transaction, NULL);
		RegisterSubXactCallback(at_subtransaction, NULL);
		registered = true;
	}
	slot = own_slot();
	mine = (KpxProgress){.pid = MyProcPid, .database = MyDatabaseId, .user = GetUserId(), .loss = NAN};
	mine.started_at = mine.phase_started_at = GetCurrentTimestamp();
	copy_name(mine.what, sizeof(mine.what), what);
	copy_name(mine.object, sizeof(mine.object), object);
	publish();
}

void
kpx_progress_end(void)
{
	if (depth > 0 && --depth == 0)
		finish();
}

void
kpx_progress_phase(const char *phase, uint64 total)
{
	if (depth != 1)
		return;
	copy_name(mine.phase, sizeof(mine.phase), phase);
	mine.phase_started_at = GetCurrentTimestamp();
	mine.total = total;
	mine.done = 0;
	publish();
}

void
kpx_progress_step(uint64 done)
{
	if (depth != 1)
		return;
	mine.done = done;
	publish();
}

void
kpx_progress_rows(uint64 rows)
{
	if (depth == 0)
		return;
	mine.rows += rows;
	publish();
}

void
kpx_progress_loss(uint64 iteration, double loss)
{
	elog(DEBUG1, "kpxrec: iteration " UINT64_FORMAT ", loss %.8g", iteration, loss);
	if (depth == 0)
		return;
	if (depth == 1)
		mine.done = iteration;
	mine.loss = loss;
	publish();
}

const KpxProgress *
kpx_progress(void)
{
	mine.peak_memory = peak_memory();
	return &mine;
}

/* ------------------------------------------------------------ reading */

static KpxProgress
read_slot(Slot *from)
{
	KpxProgress copy;
	uint32 before;
	uint32 after;

	do
	{
		CHECK_FOR_INTERRUPTS();
		before = pg_atomic_read_u32(&from->changes);
		pg_read_barrier();
		copy = from->progress;
		pg_read_barrier();
		after = pg_atomic_read_u32(&from->changes);
	} while (before != after || before % 2 != 0);
	return copy;
}

/* The server shows its own statistics by the same rule. */
static bool
may_see(const KpxProgress *p)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) || has_privs_of_role(GetUserId(), p->user);
}

/* Until the phase ends, if it goes on as it went. */
static Interval *
remaining(const KpxProgress *p)
{
	Interval *interval = palloc0(sizeof(Interval));
	double passed = (double) (GetCurrentTimestamp() - p->phase_started_at);

	interval->time = (int64) (passed * (double) (p->total - Min(p->done, p->total)) / (double) p->done);
	return interval;
}

/* Another database may have another encoding. */
static Datum
text_or_null(const char *string, bool *null)
{
	*null = string[0] == '\0' || !pg_verify_mbstr(GetDatabaseEncoding(), string, (int) strlen(string), true);
	return *null ? (Datum) 0 : CStringGetTextDatum(string);
}

static Datum
name_or_null(char *string, bool *null)
{
	*null = string == NULL;
	return *null ? (Datum) 0 : DirectFunctionCall1(namein, CStringGetDatum(string));
}

PG_FUNCTION_INFO_V1(kpx_stat_progress);
Datum
kpx_stat_progress(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; shared.memory && i < MaxBackends; i++)
	{
		KpxProgress p = read_slot((Slot *) shared.memory + i);
		Datum values[14];
		bool nulls[14] = {false};

		if (p.pid == 0 || !may_see(&p))
			continue;
		values[0] = Int32GetDatum(p.pid);
		values[1] = name_or_null(get_database_name(p.database), &nulls[1]);
		values[2] = name_or_null(GetUserNameFromId(p.user, true), &nulls[2]);
		values[3] = text_or_null(p.what, &nulls[3]);
		values[4] = text_or_null(p.object, &nulls[4]);
		values[5] = text_or_null(p.phase, &nulls[5]);
		values[6] = Int64GetDatum((int64) p.done);
		values[7] = Int64GetDatum((int64) p.total);
		nulls[7] = p.total == 0;
		values[8] = Float8GetDatum(p.loss);
		nulls[8] = isnan(p.loss);
		values[9] = Int64GetDatum((int64) p.rows);
		values[10] = Int64GetDatum((int64) p.peak_memory);
		values[11] = TimestampTzGetDatum(p.started_at);
		values[12] = TimestampTzGetDatum(p.phase_started_at);
		nulls[13] = p.total == 0 || p.done == 0;
		values[13] = nulls[13] ? (Datum) 0 : IntervalPGetDatum(remaining(&p));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
