/*
 * history.h
 *	  A user's interactions, read from the event sources at call time.
 */
#ifndef KPX_HISTORY_H
#define KPX_HISTORY_H

#include "consent.h"
#include "ids.h"
#include "model.h"
#include "registry.h"

/* Interactions of one user with items of a model, each item once, and what they hide. */
typedef struct KpxHistory
{
	uint32 n;
	uint32 *index; /* item in the model, increasing */
	float *weight;
	uint32 *time; /* of the last event, kpx_event_second; 0 = none; NULL = none at all */
	uint32 n_hidden;
	uint32 *hidden; /* items not to be offered again, increasing, may repeat */
} KpxHistory;

/*
 * Newest rows of these users (of kind, as an array value of the kind's type) from all sources of
 * the model's modules, as the current user; one history a user, in the order of users. Only of
 * modules whose events the user lets be used, for this purpose, for target (NULL: for all the model's modules; see
 * consent.h); none of users who were forgotten. Errors: those of the relations and of consent
 * sources, 22023, 22008, 42804.
 */
extern KpxHistory *kpx_history_read(KpxRegistry *registry, const KpxModel *model, const KpxModule *target, const KpxId *users,
									int n_users, KpxIdKind kind, KpxPurpose purpose);

/*
 * Weights of interactions fade with their age before the user's newest one: halved every
 * half_life of their module. Modules without half-life, interactions without time stay.
 */
extern void kpx_history_fade(KpxHistory *history, const KpxModel *model);

/* An item a user had to do with, as text; may come more than once. */
typedef struct KpxPastItem
{
	char *item;
	bool hides; /* not to be offered again */
} KpxPastItem;

/* The user's newest rows from the sources of one module, with no model and without asking for consent. */
extern KpxPastItem *kpx_history_items(KpxModule *module, KpxId user, KpxIdKind kind, int *n);

/* Items given by the caller as a history of weight 1 each, hiding themselves. */
extern KpxHistory kpx_history_from_items(const KpxModelModule *module, const KpxId *items, int n);

/*
 * Ids are told apart by their bytes. = of a nondeterministic collation is not: what to add to
 * "alias.column = value" for such a column, else "". Plain = stays too, for the column's index.
 */
extern const char *kpx_and_same_bytes(Oid relation, const char *alias, const char *column, const char *value);

/* Kind of the model's user ids; when the model has no source left, integer. */
extern KpxIdKind kpx_model_user_kind(KpxRegistry *registry, const KpxModel *model);

/* Which of these items are in the item table and available now: fills keep[n]. */
extern void kpx_items_available(KpxModule *module, KpxIdKind kind, const KpxId *items, int n, bool *keep);

#endif /* KPX_HISTORY_H */
