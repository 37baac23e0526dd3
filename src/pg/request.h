/*
 * request.h
 *	  What one call asks for: its arguments, model, user and candidates.
 */
#ifndef KPX_REQUEST_H
#define KPX_REQUEST_H

#include "kpxrec.h"

#include "utils/array.h"

#include "core/topk.h"
#include "algorithm.h"
#include "calls.h"
#include "history.h"
#include "model.h"
#include "registry.h"

/* What one call works on. */
typedef struct KpxRequest
{
	KpxRegistry *registry;
	KpxModule *module;
	KpxModel *model;
	KpxModelModule *target;
	int k;
	int skip;
	bool keep_seen;
	Oid item_type; /* of the answer */
	uint8 *excluded; /* bitmap over target's items: not among candidates, or in exclude; or NULL */
	uint8 *asked; /* bitmap of those whose availability is known, or NULL; see kpx_request_remember */
	uint8 *available; /* bitmap of those that are available */
	KpxScratch scratch; /* of the model's algorithms */
	float *score; /* see kpx_request_scores */
	KpxCall call; /* for the statistics */
} KpxRequest;

/* Who is asked about, and what the model makes of them. */
typedef struct KpxTaste
{
	bool has_user; /* false: known by a list of items only */
	KpxId user;
	KpxIdKind user_kind;
	KpxHistory history;
	void *state; /* of the model's fold-in; NULL: the model cannot speak for them */
	const float *scores; /* of target's items by the model when they are known already, or NULL */
	uint8 *excluded; /* bitmap of target's items that they must not be shown, when it is known already, or NULL */
	KpxHit *first; /* kpx_request_first(q, q->k + q->skip) best of what is not excluded, when they are known already, or NULL */
	size_t n_first;
} KpxTaste;

/* Argument n as a C string; 22004 when NULL. */
extern char *kpx_text_argument(FunctionCallInfo fcinfo, int n, const char *name);

/* Argument n, or otherwise when NULL; 22023 below low. */
extern int kpx_count_argument(FunctionCallInfo fcinfo, int n, const char *name, int otherwise, int low);

/* A value the caller gave as an id of the expected kind; text stands for any kind when from_text. 42804. */
extern KpxId kpx_id_argument(Datum value, Oid type, KpxIdKind expected, bool from_text, const char *what);

/*
 * The type of argument n, item_type, of which only the type counts. 22023 for a value: that is
 * a k that is not an integer and was taken for item_type.
 */
extern Oid kpx_witness_argument(FunctionCallInfo fcinfo, int n);

/* Elements of an array argument as ids; 22004 for NULLs, 2202E for more than one dimension. */
extern KpxId *kpx_id_array_argument(ArrayType *array, KpxIdKind expected, bool from_text, const char *what, int *n);

/*
 * The module's active model, or this one when it is not 0; without either, ids that a scorer stands
 * in with (scorer.h); 55000 when none does.
 */
extern void kpx_request_begin(KpxRequest *q, KpxRegistry *registry, KpxModule *module, int64 model);

/* The same, the model from argument model_argument. */
extern void kpx_request_open(KpxRequest *q, const char *module, FunctionCallInfo fcinfo, int model_argument);

/* The same for the user in argument 0, whom a challenger may answer (lifecycle.h). */
extern void kpx_request_open_for(KpxRequest *q, const char *module, FunctionCallInfo fcinfo, int model_argument, Oid user_type,
								 bool from_text);
/* Lets this model answer; 0 = who stands in. */
extern void kpx_request_use_model(KpxRequest *q, int64 id);

/* The answer's item type, which must be able to hold the module's ids; 42804. */
extern void kpx_request_item_type(KpxRequest *q, Oid type);

/* Sets excluded from the arguments candidates and exclude. */
extern void kpx_request_candidates(KpxRequest *q, FunctionCallInfo fcinfo, int candidates, int exclude, bool from_text);

/* Sets taste->state from taste->history. */
extern void kpx_request_fold_in(KpxRequest *q, KpxTaste *taste);

/* Reads the user's history, as far as it may be used for q->module, and folds it in. */
extern KpxTaste kpx_request_user(KpxRequest *q, KpxId user, KpxIdKind kind);

/* Memory for the scores of target's items, 64-byte aligned. */
extern float *kpx_request_scores(KpxRequest *q);

/*
 * From now on the item table is asked about each item once, for all lists of one statement, which sees one state
 * of the table. In the current context.
 */
extern void kpx_request_remember(KpxRequest *q);
/* Asks at once about the items of several lists of hits, list l having n[l]; after kpx_request_remember. */
extern void kpx_request_ask(KpxRequest *q, const KpxHit *const *hits, const size_t *n, int lists);

/*
 * The wanted best of score[target->items], or of what the model finds for taste when score is
 * NULL, that are not excluded and are available now, best first; returns how many. Asks the item
 * table about the kpx_request_first best candidates, and about more when some of those are not
 * available. The bits of those asked about are set in excluded.
 */
extern size_t kpx_request_best(KpxRequest *q, uint64 wanted, const KpxTaste *taste, const float *score, uint8 *excluded,
							   KpxHit **hits);
extern size_t kpx_request_first(const KpxRequest *q, uint64 wanted);

#endif /* KPX_REQUEST_H */
