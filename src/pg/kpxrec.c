/*
 * kpxrec.c
 *	  Loading the library: settings; and access to our own tables.
 *
 * Our tables belong to the extension's owner and are read and written by fixed
 * statements only, with a pinned search path (see kpx_catalog_begin). The tables of
 * the platform are never touched that way: those are read as the caller.
 */
#include "kpxrec.h"

#include <sys/mman.h>

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "port/pg_crc32c.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "core/factor.h"
#include "consent.h"
#include "fault.h"
#include "floor.h"
#include "clock.h"
#include "calls.h"
#include "job.h"
#include "model_share.h"
#include "noise.h"
#include "progress.h"

PG_MODULE_MAGIC;

int kpx_cache_size = 256 * 1024;
int kpx_history_limit = 1000;
double kpx_memory_factor = 16.0;
int kpx_min_parallel_interactions = 100000;

static bool blas_works = false;

void _PG_init(void);

void
_PG_init(void)
{
	DefineCustomIntVariable("kpxrec.cache_size",
							"Memory a session may use for trained models.",
							"The least recently used models are dropped when another one needs room.",
							&kpx_cache_size, 256 * 1024, 1024, INT_MAX, PGC_USERSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("kpxrec.history_limit",
							"How many of a user's newest rows are read from each event source for an answer.",
							NULL, &kpx_history_limit, 1000, 1, 1000000, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomRealVariable("kpxrec.memory_factor",
							 "Training may use this many times maintenance_work_mem.",
							 NULL, &kpx_memory_factor, 16.0, 1.0, 100000.0, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("kpxrec.min_parallel_interactions",
							"Training of fewer interactions than this uses no parallel workers.",
							NULL, &kpx_min_parallel_interactions, 100000, 0, INT_MAX, PGC_USERSET, 0,
							NULL, NULL, NULL);
	DefineCustomRealVariable("kpxrec.simulated_time",
							 "The moment it is for slates, feedback, attribution and recency, in seconds since 1970; 0: the clock's.",
							 "For simulations: exploration is then drawn by a hash of this moment and the user.",
							 &kpx_simulated_time, 0.0, 0.0, 253402300799.0, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("kpxrec.min_users",
							"Items, rules and segments that rest on fewer users than this are not stored.",
							"1 stores all.", &kpx_min_users, 5, 1, 1000000, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomRealVariable("kpxrec.privacy_budget",
							 "Epsilon of differential privacy that kpx_publish may spend in all in a database.",
							 NULL, &kpx_privacy_budget, 0.0, 0.0, 1000000.0, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("kpxrec.require_consent",
							 "Events of a module are used for another module only with the user's consent.",
							 "See kpx_set_consent and kpx_add_consent_source; kpx_require_consent decides for a pair of modules.",
							 &kpx_require_consent_setting, false, PGC_SUSET, 0, NULL, NULL, NULL);
	if (process_shared_preload_libraries_in_progress)
	{
		kpx_share_init();
		kpx_progress_init();
		kpx_calls_init();
	}
	kpx_job_init();
	kpx_fault_init();
	MarkGUCPrefixReserved("kpxrec");

	/* Also makes OpenBLAS map its buffer now rather than in the middle of something. */
	blas_works = kpx_blas_works();
}

void
kpx_require_blas(void)
{
	if (!blas_works)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("OpenBLAS computes wrong results on this CPU"),
				 errhint("Rebuild kpxrec with another OpenBLAS (make OPENBLAS_DIR=...), or set OPENBLAS_CORETYPE in the server's environment.")));
}

PG_FUNCTION_INFO_V1(kpx_version);
Datum
kpx_version(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[2];
	bool nulls[2] = {false, true};
	KpxCatalog catalog;
	char *installed = NULL;
	MemoryContext context = CurrentMemoryContext;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("kpx_version must be called for a record")));
	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'kpxrec'",
						0, NULL, NULL, NULL, true);
	if (SPI_processed == 1)
		installed = MemoryContextStrdup(context, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	kpx_catalog_end(&catalog);
	values[0] = CStringGetTextDatum(KPX_VERSION);
	if (installed)
	{
		values[1] = CStringGetTextDatum(installed);
		nulls[1] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

PG_FUNCTION_INFO_V1(kpx_invalidate);
Datum
kpx_invalidate(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED), errmsg("kpx.invalidate must be called as a trigger")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	PG_RETURN_POINTER(NULL);
}

static void
no_schema(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("schema kpx does not exist in this database"), errhint("Run CREATE EXTENSION kpxrec.")));
}

Oid
kpx_schema(void)
{
	Oid namespace = get_namespace_oid("kpx", true);

	if (!OidIsValid(namespace))
		no_schema();
	return namespace;
}

static Oid
owner_of(Oid namespace)
{
	HeapTuple tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(namespace));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		no_schema();
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

void
kpx_catalog_begin(KpxCatalog *catalog, bool fresh)
{
	Oid namespace = kpx_schema();
	Oid owner = owner_of(namespace);

	GetUserIdAndSecContext(&catalog->user, &catalog->security);
	SetUserIdAndSecContext(owner, catalog->security | SECURITY_LOCAL_USERID_CHANGE);
	catalog->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	catalog->snapshot = fresh;
	if (fresh)
		PushActiveSnapshot(GetCatalogSnapshot(namespace));
	SPI_connect();
}

void
kpx_catalog_end(KpxCatalog *catalog)
{
	SPI_finish();
	if (catalog->snapshot)
		PopActiveSnapshot();
	AtEOXact_GUC(false, catalog->guc_level);
	SetUserIdAndSecContext(catalog->user, catalog->security);
}

/* A new library comes before ALTER EXTENSION UPDATE is run: until then our tables may lack what it looks for. */
static void
hint_at_update(void *arg)
{
	int code = geterrcode();

	if (code == ERRCODE_UNDEFINED_COLUMN || code == ERRCODE_UNDEFINED_TABLE || code == ERRCODE_UNDEFINED_FUNCTION)
		errhint("The library of kpxrec is version %s. When the extension in this database is older (see kpx_version()), run ALTER EXTENSION kpxrec UPDATE.",
				KPX_VERSION);
}

/* Around every statement on our tables. */
static void
push_hint(ErrorContextCallback *callback)
{
	callback->callback = hint_at_update;
	callback->arg = NULL;
	callback->previous = error_context_stack;
	error_context_stack = callback;
}

int
kpx_catalog_execute(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls, bool read_only)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorContextCallback callback;
	int result;

	push_hint(&callback);
	result = SPI_execute_with_args(sql, nargs, types, values, nulls, read_only, 0);
	error_context_stack = callback.previous;
	MemoryContextSwitchTo(context);
	if (result < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the tables of kpxrec cannot be used: %s", SPI_result_code_string(result))));
	return result;
}

int
kpx_catalog_execute_planned(SPIPlanPtr *plan, const char *sql, int nargs, Oid *types, Datum *values, const char *nulls, bool read_only)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorContextCallback callback;
	int result;

	push_hint(&callback);
	if (*plan == NULL)
	{
		SPIPlanPtr made = SPI_prepare(sql, nargs, types);

		if (made == NULL || SPI_keepplan(made) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the tables of kpxrec cannot be used: %s", SPI_result_code_string(SPI_result))));
		*plan = made;
	}
	result = SPI_execute_plan(*plan, values, nulls, read_only, 0);
	error_context_stack = callback.previous;
	MemoryContextSwitchTo(context);
	if (result < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the tables of kpxrec cannot be used: %s", SPI_result_code_string(result))));
	return result;
}

#define LARGE_PAGE (2 * 1024 * 1024)

/*
 * Asks for large pages for memory that is not used yet. Training gathers rows from all over a matrix:
 * in pages of 4 kB most of them miss the TLB, which made it a fifth to a half slower.
 */
static void *
large_pages(void *memory, size_t bytes)
{
#ifdef MADV_HUGEPAGE
	uintptr_t begin = TYPEALIGN(LARGE_PAGE, (uintptr_t) memory);
	uintptr_t end = TYPEALIGN_DOWN(LARGE_PAGE, (uintptr_t) memory + bytes);

	/* Refused where the kernel has none: then pages are small. */
	if (begin < end)
		(void) madvise((void *) begin, end - begin, MADV_HUGEPAGE);
#endif
	return memory;
}

void *
kpx_alloc(MemoryContext context, size_t n, size_t size)
{
	size_t bytes;

	if (!kpx_mul_size(n, size, &bytes) || bytes > MaxAllocHugeSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("an array of %zu elements of %zu bytes is too large", n, size)));
	return large_pages(MemoryContextAllocHuge(context, Max(bytes, 1)), bytes);
}

void *
kpx_alloc_aligned(MemoryContext context, size_t n, size_t size)
{
	size_t bytes;
	char *memory;

	if (!kpx_mul_size(n, size, &bytes) || !kpx_add_size(bytes, 64, &bytes))
		bytes = SIZE_MAX;
	memory = kpx_alloc(context, bytes, 1);
	memset(memory, 0, bytes);
	return (void *) TYPEALIGN(64, memory);
}

uint32
kpx_crc(const void *header, size_t header_bytes, size_t crc_at, const void *behind, size_t bytes)
{
	static const char zero[sizeof(uint32)] = {0};
	size_t rest = crc_at + sizeof(zero);
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, header, crc_at);
	COMP_CRC32C(crc, zero, sizeof(zero));
	COMP_CRC32C(crc, (const char *) header + rest, header_bytes - rest);
	COMP_CRC32C(crc, behind, bytes);
	FIN_CRC32C(crc);
	return crc;
}

size_t
kpx_memory_budget(void)
{
	return (size_t) (maintenance_work_mem * 1024.0 * kpx_memory_factor);
}

void
kpx_check_budget(size_t needed, const char *doing)
{
	size_t budget = kpx_memory_budget();

	if (needed > budget)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("%s needs about %zu MB of memory, %zu MB are allowed",
						doing, needed >> 20, budget >> 20),
				 errdetail("The limit is maintenance_work_mem (%d MB) times kpxrec.memory_factor (%g).",
						   maintenance_work_mem / 1024, kpx_memory_factor),
				 errhint("Increase maintenance_work_mem or kpxrec.memory_factor, or train on fewer events through a view.")));
}

bool
kpx_has_role(const char *owner)
{
	Oid role = get_role_oid(owner, true);

	return superuser() || (OidIsValid(role) && has_privs_of_role(GetUserId(), role));
}

void
kpx_require_owner(const char *owner, const char *what, const char *name)
{
	if (!kpx_has_role(owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of %s \"%s\"", what, name),
				 errdetail("It belongs to role \"%s\".", owner)));
}

PG_FUNCTION_INFO_V1(kpx_member_of);
Datum
kpx_member_of(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(kpx_has_role(NameStr(*PG_GETARG_NAME(0))));
}
