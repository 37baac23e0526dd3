/*
 * model.h
 *	  Trained models: storing them in kpx.model*, reading them into the session's cache.
 */
#ifndef KPX_PG_MODEL_H
#define KPX_PG_MODEL_H

#include "kpxrec.h"
#include "ids.h"
#include "ingest.h"
#include "registry.h"

#include "core/model.h"

typedef struct KpxModelModule
{
	int module_id;
	char *name;
	uint32 base; /* index of its first item in the model */
	uint32 items;
	KpxIds ids;
	double observed; /* multiplies the weights of its events */
	double half_life; /* seconds after which an event counts half when a user is folded in; 0 = none */
	uint64 users;
	uint64 interactions;
	KpxWindow window; /* of its events */
} KpxModelModule;

#define KPX_MAX_PARTS 8
#define KPX_PART_NUMBERS 8
#define KPX_PART_ARRAYS 10

/* Numbers over items: rows x cols, ld elements from one row to the next. */
typedef struct KpxArray
{
	const char *name;
	KpxBlockKind kind;
	uint64 rows;
	uint32 cols;
	size_t ld;
	void *data; /* 64-byte aligned */
	bool derived; /* made from the others when a model is read; not stored */
} KpxArray;

typedef struct KpxAlgorithm KpxAlgorithm;

/* What one algorithm learned; algorithm.h says how it is used. */
typedef struct KpxPart
{
	const KpxAlgorithm *algorithm;
	int n_numbers;
	double number[KPX_PART_NUMBERS];
	int n_arrays;
	KpxArray array[KPX_PART_ARRAYS];
	void *derived; /* made by the algorithm's open, not stored */
} KpxPart;

/* A model in memory; what training makes and what answers use. */
typedef struct KpxModel
{
	int64 id;
	char *name;
	char *owner;
	MemoryContext context;
	size_t bytes;
	uint64 used; /* when last, for eviction */
	TimestampTz created_at; /* or when it was refreshed last: tells copies apart */
	struct dsm_segment *segment; /* the shared memory its numbers lie in, or NULL */
	uint64 generation; /* of the registry when it was last seen to exist */
	struct KpxModel *next_evicted;
	int n_modules;
	KpxModelModule *modules;
	uint32 items;
	float *popularity; /* [items]: share of the module's interaction weight */
	int n_parts; /* 0: nothing but ids, made where there is no model (scorer.h) */
	KpxPart part[KPX_MAX_PARTS];
} KpxModel;

/* How a training run went, for its row in kpx.model. */
typedef struct KpxTrainingReport
{
	const char *algorithm;
	Datum params; /* jsonb: all parameters as used */
	uint64 users;
	uint64 interactions;
	int factors; /* 0 = none */
	int iterations;
	double loss; /* NaN = none */
	const double *losses; /* [n_losses]: after each iteration */
	int n_losses;
	double read_seconds;
	double train_seconds;
} KpxTrainingReport;

/* Writes a model; sets its id and returns its version. */
extern int kpx_model_store(KpxModel *model, const KpxTrainingReport *report);
/* Writes a model that has more items than when it was stored, under its id. The caller has locked its row. */
extern void kpx_model_replace(KpxModel *model);
/* Until the transaction ends nobody drops this model. 42704 when somebody has. */
extern void kpx_model_lock(int64 model);
/* The same, and nobody changes which models answer for its modules, or drops those, in the order of their ids. */
extern void kpx_model_lock_modules(int64 model);
/* Makes it answer for these of its modules that are registered. */
extern void kpx_model_activate(int64 model);
/* Deletes it from all our tables; whoever calls has checked that they may. */
extern void kpx_model_delete(int64 model);
/* Owner of a model; 42704 when it does not exist. */
extern char *kpx_model_owner(int64 model);

/*
 * The model with this id from the cache or the tables, after checking that the current
 * user may be answered from it. Valid to the end of the transaction. Errors: 42704
 * gone, 42501, XX001 corrupt, 0A000 other version or machine, 53200 over kpxrec.cache_size.
 */
extern KpxModel *kpx_model(KpxRegistry *registry, int64 id);
/* The same, but NULL when it is gone. */
extern KpxModel *kpx_model_if_exists(KpxRegistry *registry, int64 id);
/* 53200 when a model of so many bytes can never be in the session's cache. */
extern void kpx_model_check_size(int64 id, size_t needed);
extern KpxModelModule *kpx_model_module(KpxModel *model, const char *name);

#endif /* KPX_PG_MODEL_H */
