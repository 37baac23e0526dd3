/*
 * clock.h
 *	  Time and chance, as a simulation may set them.
 */
#ifndef KPX_CLOCK_H
#define KPX_CLOCK_H

#include "kpxrec.h"

#include "datatype/timestamp.h"

/* kpxrec.simulated_time: seconds since 1970; 0: time is the clock's. */
extern double kpx_simulated_time;

/* The moment it is; and the moment the transaction began. The same moment in a simulation. */
extern TimestampTz kpx_now(void);
extern TimestampTz kpx_transaction_start(void);

/*
 * A uniform number in [0, 1): the server's generator, or in a simulation a hash of the moment,
 * who it is about and n, so that the same simulation draws the same.
 */
extern double kpx_chance(const char *about, uint64 n);

#endif /* KPX_CLOCK_H */
