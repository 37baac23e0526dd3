/*
 * identity.c
 *	  Reading and writing what belongs to another role as that role.
 */
#include "identity.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"

void
kpx_identity_enter(KpxIdentity *before, Oid role, int security)
{
	GetUserIdAndSecContext(&before->user, &before->security);
	SetUserIdAndSecContext(role, before->security | security);
	before->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

void
kpx_identity_leave(const KpxIdentity *before)
{
	if (before->guc_level == 0)
		return;
	AtEOXact_GUC(false, before->guc_level);
	SetUserIdAndSecContext(before->user, before->security);
}

bool
kpx_identity_enter_owner(KpxIdentity *before, const char *owner, const char *module)
{
	Oid role = get_role_oid(owner, true);

	before->guc_level = 0;
	if (!OidIsValid(role))
	{
		ereport(WARNING,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("module \"%s\" is passed over: its owner, role \"%s\", does not exist", module, owner),
				 errhint("Drop the module, or create the role.")));
		return false;
	}
	if (role != GetUserId())
		kpx_identity_enter(before, role, SECURITY_RESTRICTED_OPERATION);
	return true;
}

bool
kpx_reads_unasked(const char *owner)
{
	Oid role = get_role_oid(owner, true);

	return !superuser() || (OidIsValid(role) && (superuser_arg(role) || is_member_of_role_nosuper(GetUserId(), role)));
}
