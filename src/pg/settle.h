/*
 * settle.h
 *	  Budgets in money: what was expected of impressions becomes what they cost.
 */
#ifndef KPX_SETTLE_H
#define KPX_SETTLE_H

#include "registry.h"

/*
 * Settles the module's budgets with the feedback recorded so far. window: seconds after an
 * impression in which events can be its doing. Serialised by the caller, whose transaction keeps the
 * campaigns' rows locked from here on.
 */
extern void kpx_settle(const KpxModule *module, double window);

#endif /* KPX_SETTLE_H */
