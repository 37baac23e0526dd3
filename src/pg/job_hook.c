/*
 * job_hook.c
 *	  DROP EXTENSION kpxrec and ALTER EXTENSION kpxrec UPDATE end the runs of their database first.
 *
 * They lock our tables, which a run that is not a training may hold for long. A training holds no
 * lock, but would compute on for nobody.
 */
#include "job.h"

#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/acl.h"

static ProcessUtility_hook_type previous_hook = NULL;

static bool
changes_extension(Node *statement)
{
	DropStmt *drop = (DropStmt *) statement;
	ListCell *cell;

	if (IsA(statement, AlterExtensionStmt))
		return strcmp(((AlterExtensionStmt *) statement)->extname, "kpxrec") == 0;
	if (!IsA(statement, DropStmt) || drop->removeType != OBJECT_EXTENSION)
		return false;
	foreach (cell, drop->objects)
		if (strcmp(strVal(lfirst(cell)), "kpxrec") == 0)
			return true;
	return false;
}

static bool
may_change_extension(void)
{
	Oid extension = get_extension_oid("kpxrec", true);

#if PG_VERSION_NUM >= 160000
	return OidIsValid(extension) && object_ownercheck(ExtensionRelationId, extension, GetUserId());
#else
	return OidIsValid(extension) && pg_extension_ownercheck(extension, GetUserId());
#endif
}

static void
process_utility(PlannedStmt *statement, const char *query, bool read_only_tree, ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *receiver, QueryCompletion *completion)
{
	bool changes = kpx_job_shared() && changes_extension(statement->utilityStmt) && may_change_extension();

	if (changes)
		kpx_runs_terminate();
	if (previous_hook)
		previous_hook(statement, query, read_only_tree, context, params, environment, receiver, completion);
	else
		standard_ProcessUtility(statement, query, read_only_tree, context, params, environment, receiver, completion);
	/* Of a version that was not the library's, no job ran, and no scheduler looks any more. */
	if (changes)
		kpx_job_wake_at_commit(false);
}

void
kpx_job_hook_init(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
