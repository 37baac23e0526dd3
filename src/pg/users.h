/*
 * users.h
 *	  All users one after the other, and the best k of them.
 */
#ifndef KPX_USERS_H
#define KPX_USERS_H

#include "kpxrec.h"
#include "ids.h"
#include "model.h"
#include "registry.h"

typedef void (*KpxUserSink)(void *state, KpxId user);

/*
 * Hands the different users of kind to sink, in order of ids, as the current user: those in
 * column user_id of relation, or, when it is InvalidOid, those with an event since then
 * (DT_NOBEGIN: ever; events without time always count) in a source of these modules;
 * but none who was forgotten. * Errors: those of the relations, 42703, 42804.
 */
extern void kpx_users_read(KpxModule **modules, int n_modules, Oid relation, KpxIdKind kind, TimestampTz since, KpxUserSink sink, void *state);

/* Modules of a model that are registered; returns how many. */
extern int kpx_registered_modules(KpxRegistry *registry, const KpxModel *model, KpxModule ***modules);

#define KPX_USER_PARTS 2

typedef struct KpxBestUser
{
	KpxId id; /* its bytes are owned */
	uint64 arrival;
	double score;
	double part[KPX_USER_PARTS]; /* what the score is made of */
} KpxBestUser;

/* The k best so far: a heap whose root is the worst. Memory grows with what is kept only. */
typedef struct KpxBestUsers
{
	MemoryContext context;
	int k;
	int n;
	int size;
	uint64 arrivals;
	KpxBestUser *users;
} KpxBestUsers;

/* Takes a user if it is among the k best; ties: who came first. parts: KPX_USER_PARTS, or NULL. */
extern void kpx_best_users_offer(KpxBestUsers *best, KpxId id, double score, const double *parts);
/* Sorts them best first; nothing can be offered afterwards. */
extern void kpx_best_users_sort(KpxBestUsers *best);

/* A copy of an id, its bytes in the current context. */
extern KpxId kpx_id_copy(KpxId id);

#endif /* KPX_USERS_H */
