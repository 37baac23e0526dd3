/*
 * outdated.c
 *	  C functions that only objects of older versions of the extension call.
 *
 * A new library serves them until ALTER EXTENSION kpxrec UPDATE is run. Where a function's arguments or results have
 * changed, the new form has a symbol of its own, and the old symbol is here.
 */
#include "kpxrec.h"

#define OUTDATED(symbol) \
	PG_FUNCTION_INFO_V1(symbol); \
	Datum symbol(PG_FUNCTION_ARGS) \
	{ \
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), \
						errmsg("this function is of an older kpxrec than the library, which is version %s", KPX_VERSION), \
						errhint("Run ALTER EXTENSION kpxrec UPDATE."))); \
	}
