/*
 * kpxrec.h
 *	  What all rooms of src/pg share: settings, access to our catalog, memory.
 */
#ifndef KPXREC_H
#define KPXREC_H

#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "core/matrix.h"

#define KPX_VERSION "0.2.0"

/* Settings; documented in docs/reference.md. */
extern int kpx_cache_size; /* kB */
extern int kpx_history_limit;
extern double kpx_memory_factor;
extern int kpx_min_parallel_interactions;

/* SPI as the extension's owner with a pinned search path: for fixed SQL on schema kpx only. */
typedef struct KpxCatalog
{
	Oid user;
	int security;
	int guc_level;
	bool snapshot;
} KpxCatalog;

/* Schema kpx; 55000 when the extension is not in this database. */
extern Oid kpx_schema(void);

/* fresh: read with a new snapshot, as the server reads its own catalogs. */
extern void kpx_catalog_begin(KpxCatalog *catalog, bool fresh);
extern void kpx_catalog_end(KpxCatalog *catalog);

/*
 * Runs one statement inside kpx_catalog_begin; nulls: 'n' a NULL argument, or NULL. The current memory
 * context is the caller's before and after, not SPI's.
 */
extern int kpx_catalog_execute(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls,
							   bool read_only);

/* The same, planned once a session: plan is a static variable of the caller's, NULL at first. */
extern int kpx_catalog_execute_planned(SPIPlanPtr *plan, const char *sql, int nargs, Oid *types, Datum *values, const char *nulls,
									   bool read_only);

/* Bytes n * size in context, 64-byte aligned start not promised; 54000 when it does not fit. */
extern void *kpx_alloc(MemoryContext context, size_t n, size_t size);
/* The same, aligned to 64 bytes and zeroed; freed with its context only. */
extern void *kpx_alloc_aligned(MemoryContext context, size_t n, size_t size);

/* CRC-32C of a header, the 4 bytes at its crc_at taken as zero, and of the bytes behind it. */
extern uint32 kpx_crc(const void *header, size_t header_bytes, size_t crc_at, const void *behind, size_t bytes);

/* Raises when BLAS does not work on this CPU. */
extern void kpx_require_blas(void);

/* maintenance_work_mem x kpxrec.memory_factor in bytes, and the refusal to go over it. */
extern size_t kpx_memory_budget(void);
extern void kpx_check_budget(size_t needed, const char *doing);

/* Raises 42501 unless the current user has the privileges of owner. */
extern bool kpx_has_role(const char *owner);
extern void kpx_require_owner(const char *owner, const char *what, const char *name);

#endif /* KPXREC_H */
