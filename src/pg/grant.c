/*
 * grant.c
 *	  kpx_grant: rights to execute functions, by level.
 *
 * What everybody may do is read: answers, and views that show what one owns or may read. Which level a
 * function is for follows from the two lists below; of what is in neither, the VOLATILE ones, which write or train, are for
 * those who train, and the others for PUBLIC. What somebody has granted or revoked since does not change a level.
 * The functions themselves still ask who owns what and who may read the tables.
 */
#include "kpxrec.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

typedef enum Level
{
	LEVEL_PUBLIC,
	LEVEL_SERVE,
	LEVEL_TRAIN,
	LEVEL_ADMIN
} Level;

static const char *const level_names[] = {"public", "serve", "train", "admin"};

/* They write, but only that something was shown, and what came of it. */
static const char *const serve[] = {"kpx_recommend_slate", "kpx_feedback", NULL};

/* They speak for users, or for all modules, or hand out rights. */
static const char *const admin[] = {
	"kpx_set_consent", "kpx_consent_of", "kpx_require_consent", "kpx_add_consent_source", "kpx_drop_consent_source",
	"kpx_add_user_attributes", "kpx_forget_user", "kpx_publish", "kpx_grant", "kpx_stat_reset", NULL};

static bool
among(const char *const *names, const char *name)
{
	for (int i = 0; names[i]; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static Level
level_of(const char *name, char volatility)
{
	if (among(serve, name))
		return LEVEL_SERVE;
	if (among(admin, name))
		return LEVEL_ADMIN;
	return volatility == PROVOLATILE_VOLATILE ? LEVEL_TRAIN : LEVEL_PUBLIC;
}

PG_FUNCTION_INFO_V1(kpx_function_level);
Datum
kpx_function_level(PG_FUNCTION_ARGS)
{
	char *name = get_func_name(PG_GETARG_OID(0));

	if (name == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(level_names[level_of(name, func_volatile(PG_GETARG_OID(0)))]));
}

static Level
level_argument(const char *level)
{
	for (int i = LEVEL_SERVE; i <= LEVEL_ADMIN; i++)
		if (strcmp(level, level_names[i]) == 0)
			return (Level) i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("level \"%s\" is not known", level),
			 errhint("Known levels: serve, train, admin.")));
}

/* Public is a keyword of GRANT; any other name is a role's. */
static char *
grantee(const char *role)
{
	if (strcmp(role, "public") == 0)
		return "PUBLIC";
	(void) get_role_oid(role, false);
	return pstrdup(quote_identifier(role));
}

/* The extension's functions as (signature, name, volatility); inside kpx_catalog_begin. */
static void
read_functions(void)
{
	kpx_catalog_execute("SELECT p.oid::regprocedure::text, p.proname::text, p.provolatile"
						" FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'"
						" JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'kpxrec'"
						" WHERE p.pronamespace <> 'kpx'::regnamespace ORDER BY 1",
						0, NULL, NULL, NULL, true);
}

PG_FUNCTION_INFO_V1(kpx_grant);
Datum
kpx_grant(PG_FUNCTION_ARGS)
{
	char *to = grantee(NameStr(*PG_GETARG_NAME(0)));
	Level level = level_argument(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	KpxCatalog catalog;
	char **signatures;
	int n = 0;

	PreventCommandIfReadOnly("kpx_grant()");
	kpx_catalog_begin(&catalog, false);
	read_functions();
	signatures = palloc(sizeof(char *) * Max(SPI_processed, 1));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool null;
		char volatility = DatumGetChar(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 3, &null));

		if (level_of(SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2), volatility) <= level)
			signatures[n++] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
	}
	for (int i = 0; i < n; i++)
		kpx_catalog_execute(psprintf("GRANT EXECUTE ON FUNCTION %s TO %s", signatures[i], to), 0, NULL, NULL, NULL, false);
	kpx_catalog_end(&catalog);
	PG_RETURN_INT32(n);
}
