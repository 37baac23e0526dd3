/*
 * identity.h
 *	  Reading and writing what belongs to another role as that role.
 */
#ifndef KPX_IDENTITY_H
#define KPX_IDENTITY_H

#include "kpxrec.h"

/* Who it was before, and the settings. */
typedef struct KpxIdentity
{
	Oid user;
	int security;
	int guc_level; /* 0: nothing was changed */
} KpxIdentity;

/*
 * The current user is role until leave, with these flags of security added (miscadmin.h), and search_path is
 * pinned. After an error the server takes both back.
 */
extern void kpx_identity_enter(KpxIdentity *before, Oid role, int security);
extern void kpx_identity_leave(const KpxIdentity *before);

/*
 * For whoever reads all modules without being asked about one: as the owner (a role's name) in a
 * security-restricted operation, as autovacuum and REFRESH MATERIALIZED VIEW do, unless that is the
 * current user. A view's functions then have the rights of whoever wrote them. False, with a
 * WARNING, and nothing was entered: there is no such role any more.
 */
extern bool kpx_identity_enter_owner(KpxIdentity *before, const char *owner, const char *module);

/*
 * May the current user read relations of this role's modules without having named one? Superusers only
 * those of superusers, and of roles they were made a member of: being allowed everything is not trusting everybody.
 */
extern bool kpx_reads_unasked(const char *owner);

#endif /* KPX_IDENTITY_H */
