/*
 * algorithm.h
 *	  What an algorithm is: one table of functions, behind which every model looks alike.
 *
 * A model (model.h) is made of parts; part 0 is the algorithm that was asked for, further
 * parts are components it made use of. A part has a few numbers and a few named arrays over
 * the model's items. Storing, checksums, the shared cache and activation know numbers and
 * arrays only; what they mean is known by the part's algorithm. To add one:
 *
 *	1. write its numbers in src/core, its KpxAlgorithm in src/pg, and name it in algorithm.c;
 *	2. fit calls kpx_part_add and fills the arrays that its own shape has declared;
 *	   an algorithm of components calls the fit of each with fit->part at a further part;
 *	3. open is handed whatever was stored: it must refuse what would read out of bounds.
 *
 * Functions take the model and the number of their part, so that one algorithm can stand in
 * several parts of one model. Items are indexes in the model; scores of a range begin..end
 * are written from score[0] on. NaN says that the algorithm has no opinion of an item.
 */
#ifndef KPX_ALGORITHM_H
#define KPX_ALGORITHM_H

#include "core/topk.h"

#include "history.h"
#include "ingest.h"
#include "model.h"
#include "params.h"

/* One training run: what goes in and what comes out besides the model's parts. */
typedef struct KpxFit
{
	const KpxData *data; /* stays as it is */
	const KpxParams *params;
	KpxModel *model; /* modules, ids and popularity are there; arrays belong into the current context */
	int part; /* the part to make */
	int iterations;
	double loss; /* NaN: none */
	double *losses; /* [n_losses]: after each iteration; in the context that was current */
	int n_losses;
	int workers;
	struct KpxContent *content; /* what read returned, or NULL */
} KpxFit;

/* One user whose best items are looked for. */
typedef struct KpxWanted
{
	void *taste;
	const uint8 *excluded; /* bitmap over the range, or NULL */
	KpxHit *hits; /* room for k; items count from the range's beginning */
	size_t found;
} KpxWanted;

/* Memory that functions below may keep between users, one piece a part; see kpx_scratch. */
typedef struct KpxScratch
{
	MemoryContext context;
	void *memory[KPX_MAX_PARTS];
} KpxScratch;

/* Scratch of at least bytes for a part, 64-byte aligned; a part always asks for the same size. */
extern void *kpx_scratch(KpxScratch *scratch, int part, size_t bytes);

struct KpxAlgorithm
{
	const char *name;
	const KpxParamSpec *params; /* ends with a NULL name */
	bool times; /* fit needs data->time */

	void (*fit)(KpxFit *fit);

	/* Declares the arrays of a part from its numbers and the model's items; false when the numbers are out of range. */
	bool (*shape)(const KpxModel *model, KpxPart *part);

	/*
	 * Called once the arrays are there, after training as after reading them: checks all that the
	 * functions below rely on, fills part->derived (in model->context). False: corrupt.
	 */
	bool (*open)(KpxModel *model, int part);

	/* What the functions below need of a user, in the current context; NULL when the history says nothing. 22003. */
	void *(*fold_in)(const KpxModel *model, int part, const KpxHistory *history, KpxScratch *scratch);

	void (*score)(const KpxModel *model, int part, const void *taste, uint32 begin, uint32 end, float *score);

	/* score of n users, user u's at score[u * (end - begin)]; NULL = one by one. */
	void (*score_batch)(const KpxModel *model, int part, void *const *tastes, int n, uint32 begin, uint32 end, float *score);

	/* contribution[j] of history entry j to the score of item: they sum to the score. */
	void (*contributions)(const KpxModel *model, int part, const void *taste, const KpxHistory *history, uint32 item,
						  double *contribution);

	/* How alike item and each item of begin..end are, at most 1. */
	void (*similar)(const KpxModel *model, int part, uint32 item, uint32 begin, uint32 end, float *score);

	/* The item's vector and its length; NULL (the function, too) when it has none. */
	const float *(*vector)(const KpxModel *model, int part, uint32 item, int *length);

	/* Defaults: none of these. */
	bool catalogue; /* its models have all items of the item tables, not only those of events */

	/* Reads, as the current user, what fit needs besides data: fit itself must look at no table (training.h). */
	struct KpxContent *(*read)(const KpxData *data, const KpxParams *params);

	/* Fills the derived arrays from the others. */
	void (*derive)(KpxModel *model, int part);

	/*
	 * The k best items of begin..end, which are those of one module, for each of n users, best first, as
	 * if all were scored: for an algorithm that need not score all. Part 0 only.
	 */
	void (*best)(const KpxModel *model, int part, uint32 begin, uint32 end, size_t k, KpxWanted *users, int n);
};

extern const KpxAlgorithm kpx_ials;
extern const KpxAlgorithm kpx_ease;
extern const KpxAlgorithm kpx_itemknn;
extern const KpxAlgorithm kpx_transition;
extern const KpxAlgorithm kpx_rules;
extern const KpxAlgorithm kpx_popular;
extern const KpxAlgorithm kpx_content;
extern const KpxAlgorithm kpx_hybrid;

/* The algorithm of this name; 22023 listing those there are. kpx_find_algorithm: NULL instead. */
extern const KpxAlgorithm *kpx_algorithm(const char *name);
extern const KpxAlgorithm *kpx_find_algorithm(const char *name);

/* A model of data without parts: modules, ids, popularity. */
extern KpxModel *kpx_model_of(const KpxData *data, const KpxParams *params);

/* Makes fit->part a part of this algorithm with these numbers, its arrays allocated and zeroed. */
extern KpxPart *kpx_part_add(KpxFit *fit, const KpxAlgorithm *algorithm, const double *number, int n);

/* The part's array of this name; NULL when it has none. */
extern void *kpx_part_array(const KpxPart *part, const char *name);

/* Adds an array to a part: to be called by shape. False when the part is full. */
extern bool kpx_part_declare(KpxPart *part, const char *name, KpxBlockKind kind, uint64 rows, uint32 cols);
/* The same for an array that derive fills, with at most a row an item. */
extern bool kpx_part_declare_derived(KpxPart *part, const char *name, KpxBlockKind kind, uint64 rows, uint32 cols);

/* Fills the derived arrays of all parts. */
extern void kpx_model_derive(KpxModel *model);

/*
 * Trains a whole model of the algorithm of params. In two steps: kpx_fit_read reads all that is to
 * be read of tables, kpx_fit_compute needs a transaction but neither snapshot nor locks.
 */
extern KpxModel *kpx_fit(const KpxData *data, const KpxParams *params, KpxFit *fit);
extern void kpx_fit_read(const KpxData *data, const KpxParams *params, KpxFit *fit);
extern KpxModel *kpx_fit_compute(KpxFit *fit);

/* Functions of the model's part 0; a model without parts has no opinion (fold_in: NULL). */
extern void *kpx_model_fold_in(const KpxModel *model, const KpxHistory *history, KpxScratch *scratch);
extern void kpx_model_score(const KpxModel *model, const void *taste, uint32 begin, uint32 end, float *score);
extern void kpx_model_score_batch(const KpxModel *model, void *const *tastes, int n, uint32 begin, uint32 end, float *score);
/* false: nobody can search this model, its items must be scored. */
extern bool kpx_model_searches(const KpxModel *model);
extern void kpx_model_best(const KpxModel *model, uint32 begin, uint32 end, size_t k, KpxWanted *users, int n);
extern void kpx_model_contributions(const KpxModel *model, const void *taste, const KpxHistory *history, uint32 item,
									double *contribution);

#endif /* KPX_ALGORITHM_H */
