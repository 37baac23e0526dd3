/*
 * model.h
 *	  Trained models: storing them in kpx.model*, reading them into the session's cache.
 */
#ifndef KPX_PG_MODEL_H
#define KPX_PG_MODEL_H

#include "kpxrec.h"
#include "ids.h"
#include "registry.h"

#include "core/factor.h"

typedef struct KpxModelModule
{
	int module_id;
	char *name;
	uint32 base; /* index of its first item in the model */
	uint32 items;
	KpxIds ids;
	double observed; /* multiplies the weights of its events */
	uint64 users;
	uint64 interactions;
} KpxModelModule;

/* A model in memory; what training makes and what answers use. */
typedef struct KpxModel
{
	int64 id;
	char *name;
	char *owner;
	MemoryContext context;
	size_t bytes;
	uint64 used; /* when last, for eviction */
	TimestampTz created_at;
	struct dsm_segment *segment; /* the shared memory its numbers lie in, or NULL */
	uint64 generation; /* of the registry when it was last seen to exist */
	int n_modules;
	KpxModelModule *modules;
	uint32 items;
	float *popularity; /* [items]: share of the module's interaction weight */
	KpxFixed fixed; /* matrix [items][kpx_ld(factors)] */
} KpxModel;

/* How a training run went, for its row in kpx.model. */
typedef struct KpxTrainingReport
{
	const char *algorithm;
	Datum params; /* jsonb: all parameters as used */
	uint64 users;
	uint64 interactions;
	int iterations;
	double loss;
	double read_seconds;
	double train_seconds;
} KpxTrainingReport;

/* Writes a model; sets its id and returns its version. */
extern int kpx_model_store(KpxModel *model, const KpxTrainingReport *report);
/* Makes it answer for these of its modules that are registered. */
extern void kpx_model_activate(int64 model);

/*
 * The model with this id from the cache or the tables, after checking that the current
 * user may be answered from it. Valid to the end of the transaction. Errors: 42704
 * gone, 42501, XX001 corrupt, 0A000 other version or machine, 53200 over kpxrec.cache_size.
 */
extern KpxModel *kpx_model(KpxRegistry *registry, int64 id);
extern KpxModelModule *kpx_model_module(KpxModel *model, const char *name);

#endif /* KPX_PG_MODEL_H */
