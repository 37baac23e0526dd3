/*
 * lifecycle.h
 *	  Which model answers whom.
 */
#ifndef KPX_LIFECYCLE_H
#define KPX_LIFECYCLE_H

#include "ids.h"
#include "registry.h"

/*
 * The model that answers this user in the module: a challenger with the probability of its
 * share, else the active one; 0 = none. Depends on the user, the challengers and their shares
 * alone, so that a user keeps their model while a share grows.
 */
extern int64 kpx_model_for_user(const KpxModule *module, KpxIdKind kind, KpxId user);
/* The same of an id as text. 22P02. */
extern int64 kpx_model_for_text(KpxRegistry *registry, const KpxModule *module, const char *user_id);

#endif /* KPX_LIFECYCLE_H */
