/*
 * clock.c
 *	  Time and chance, as a simulation may set them.
 *
 * A simulated platform lives months in a minute: caps, gaps, budgets, attribution windows and
 * recency must see its time. kpxrec.simulated_time is for superusers, as who sets the
 * clock forward escapes every cap.
 */
#include "clock.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "utils/timestamp.h"

#include "core/rng.h"

double kpx_simulated_time = 0;

static TimestampTz
simulated(void)
{
	return (TimestampTz) ((kpx_simulated_time - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (double) SECS_PER_DAY) * USECS_PER_SEC);
}

TimestampTz
kpx_now(void)
{
	return kpx_simulated_time > 0 ? simulated() : GetCurrentTimestamp();
}

TimestampTz
kpx_transaction_start(void)
{
	return kpx_simulated_time > 0 ? simulated() : GetCurrentTransactionStartTimestamp();
}

double
kpx_chance(const char *about, uint64 n)
{
	if (kpx_simulated_time > 0)
		return kpx_uniform((uint64) simulated(), hash_bytes_extended((const unsigned char *) about, (int) strlen(about), 0), n);
	return pg_prng_double(&pg_global_prng_state);
}
