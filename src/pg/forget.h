/*
 * forget.h
 *	  Users who were forgotten: told by a keyed hash of their id, never by the id.
 */
#ifndef KPX_FORGET_H
#define KPX_FORGET_H

#include "kpxrec.h"
#include "ids.h"
#include "registry.h"

/*
 * A lock on one user until the transaction ends. Who writes a row that names a user takes it,
 * asks kpx_is_forgotten, then writes; who forgets takes it, too: so nothing is written behind
 * the forgetting's back. user_id: the id as text, as the tables have it.
 */
extern void kpx_lock_user(const char *user_id);

/*
 * The same for who writes rows of many users, at the end of its work (share), and who forgets
 * one (exclusive). Hold it from before kpx_forgotten_load to the end of the transaction.
 */
extern void kpx_lock_all_users(bool share);

/* With a new snapshot in any isolation level; costs nothing while nobody was ever forgotten. */
extern bool kpx_is_forgotten(const KpxRegistry *registry, const char *user_id);

/* All who were forgotten, to ask for many users; NULL when there is nobody. */
typedef struct KpxForgotten KpxForgotten;
extern KpxForgotten *kpx_forgotten_load(const KpxRegistry *registry);
/* forgotten may be NULL. About a microsecond. */
extern bool kpx_forgotten_has(const KpxForgotten *forgotten, KpxIdKind kind, KpxId id);

/* Leaves a user's tombstone; inside kpx_catalog_begin, with both locks. */
extern void kpx_bury(const char *user_id);

/* The first event source that is there, and the kind of id that users have in it and in all; NULL when none is. */
extern const KpxSource *kpx_registered_user_kind(const KpxRegistry *registry, KpxIdKind *kind);

/*
 * An argument that is a user's id, as the text that stands for it in our tables: text is read
 * as an id of the kind that the registered event sources have, if there are any. Errors: 42804,
 * and those of reading an id.
 */
extern char *kpx_user_text(const KpxRegistry *registry, Datum value, Oid type);

#endif /* KPX_FORGET_H */
