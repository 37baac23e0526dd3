/*
 * consent.h
 *	  Which module's data a user lets be used for which module's offers.
 */
#ifndef KPX_PG_CONSENT_H
#define KPX_PG_CONSENT_H

#include "kpxrec.h"

#include "history.h"
#include "registry.h"

typedef struct KpxConsent
{
	const KpxRegistry *registry;
	bool *allowed; /* [source * n_modules + target], numbers in the registry; NULL: nobody is asked, everything is allowed */
} KpxConsent;

/*
 * What the relation, with columns user_id, source and target, says of a user (as text), read as
 * the caller: a row lets module source be used for target, a module may always use its own. InvalidOid:
 * everything is allowed. Errors: those of the relation; 42P01 with the name it had when it is gone.
 */
extern KpxConsent kpx_consent_read(const KpxRegistry *registry, Oid relation, const char *relation_name, const char *user_id);

extern bool kpx_consent_allows(const KpxConsent *consent, const KpxModule *source, const KpxModule *target);

/* The modules whose events may speak for offers of target; NULL: all. */
extern const KpxHistoryScope *kpx_consent_scope(const KpxConsent *consent, const KpxModule *target);

#endif /* KPX_PG_CONSENT_H */
