/*
 * consent.c
 *	  Which module's data a user lets be used for which module's offers, read on every call.
 */
#include "consent.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

/* A row: the user lets source be used for target; names that are not registered say nothing. */
static void
allow(KpxConsent *consent, const char *source, const char *target)
{
	const KpxRegistry *registry = consent->registry;

	if (source == NULL || target == NULL)
		return;
	for (int s = 0; s < registry->n_modules; s++)
		for (int t = 0; t < registry->n_modules; t++)
			if (strcmp(registry->modules[s].name, source) == 0 && strcmp(registry->modules[t].name, target) == 0)
				consent->allowed[s * registry->n_modules + t] = true;
}

KpxConsent
kpx_consent_read(const KpxRegistry *registry, Oid relation, const char *relation_name, const char *user_id)
{
	KpxConsent consent = {.registry = registry};
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(user_id)};

	if (!OidIsValid(relation))
		return consent;
	consent.allowed = palloc0(sizeof(bool) * registry->n_modules * registry->n_modules);
	for (int m = 0; m < registry->n_modules; m++)
		consent.allowed[m * registry->n_modules + m] = true;
	SPI_connect();
	if (SPI_execute_with_args(
			psprintf("SELECT c.source::pg_catalog.text, c.target::pg_catalog.text FROM %s c WHERE c.user_id OPERATOR(pg_catalog.=) $1::%s",
					 kpx_relation_sql(relation, relation_name, "policy", "consent"),
					 format_type_be_qualified(kpx_column_type(relation, "user_id"))),
			1, types, values, NULL, true, 0) != SPI_OK_SELECT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("cannot read the consent relation %s", relation_name)));
	for (uint64 row = 0; row < SPI_processed; row++)
		allow(&consent, SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1),
			  SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 2));
	SPI_finish();
	return consent;
}

bool
kpx_consent_allows(const KpxConsent *consent, const KpxModule *source, const KpxModule *target)
{
	const KpxRegistry *registry = consent->registry;

	return consent->allowed == NULL || consent->allowed[(source - registry->modules) * registry->n_modules + (target - registry->modules)];
}

const KpxHistoryScope *
kpx_consent_scope(const KpxConsent *consent, const KpxModule *target)
{
	const KpxRegistry *registry = consent->registry;
	KpxHistoryScope *scope;

	if (consent->allowed == NULL)
		return NULL;
	scope = palloc(sizeof(KpxHistoryScope));
	*scope = (KpxHistoryScope){0, palloc(sizeof(int) * registry->n_modules)};
	for (int s = 0; s < registry->n_modules; s++)
		if (kpx_consent_allows(consent, &registry->modules[s], target))
			scope->modules[scope->n++] = registry->modules[s].id;
	return scope;
}
