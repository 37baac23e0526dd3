/*
 * consent.h
 *	  Which module's events of a user may be used for which other module.
 *
 * One check for everything that reads events: training leaves out what is not shared, answers
 * and slates do not read it. It is made anew by every call, so what was revoked counts from the
 * next statement on.
 */
#ifndef KPX_CONSENT_H
#define KPX_CONSENT_H

#include "kpxrec.h"
#include "ids.h"
#include "registry.h"

/* What events are used for. */
typedef enum KpxPurpose
{
	KPX_FOR_TRAINING,
	KPX_FOR_ANSWERS
} KpxPurpose;

/* As our table and consent sources have them, in the order of KpxPurpose. */
extern const char *const kpx_purpose_names[];

/* Setting kpxrec.require_consent: whether pairs of modules without a rule of their own require consent. */
extern bool kpx_require_consent_setting;

/* Does using source's events for target require the user's consent? */
extern bool kpx_consent_required(const KpxRegistry *registry, const KpxModule *source, const KpxModule *target);

typedef struct KpxConsents KpxConsents;

/*
 * What users have consented to among these modules (not copied), and who of them was forgotten.
 * Reads consent of n_users users (of kind), or, when users is NULL, of all, into the current
 * memory context: our own table, then the registered consent sources as the caller. Reads nothing
 * when no pair of these modules requires consent. Errors: those of the relations; 42804 for a
 * source with ids of another kind; 53200.
 */
extern KpxConsents *kpx_consents_read(const KpxRegistry *registry, KpxPurpose purpose, KpxModule **modules, int n_modules,
									  KpxIdKind kind, const KpxId *users, int n_users);

/* Nothing is asked of anybody, and nobody was ever forgotten: all may be used. */
extern bool kpx_consents_open(const KpxConsents *consents);

/*
 * May the user's events in source be used for target; target NULL: for all of the modules together,
 * as joint training does. A module's own events may, unless the user was forgotten. Modules that
 * were not among those read: only for themselves.
 */
extern bool kpx_consents_allow(KpxConsents *consents, KpxId user, const KpxModule *source, const KpxModule *target);

/* Whether what may be used for a and for b is the same. */
extern bool kpx_consents_alike(KpxConsents *consents, KpxId user, const KpxModule *a, const KpxModule *b);

#endif /* KPX_CONSENT_H */
