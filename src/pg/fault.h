/*
 * fault.h
 *	  Places where tests let things go wrong: compiled in with -DKPX_FAULTS only, else nothing.
 *
 * Setting kpxrec.fault, 'place:action' or 'place:action:n', makes the n-th passing (1) of KPX_FAULT("place")
 * in a process raise an input/output error (error), run out of memory (oom), die by SIGKILL as a
 * crash would have it (crash), or take a minute (sleep). test/t/050_faults.pl visits all places.
 */
#ifndef KPX_FAULT_H
#define KPX_FAULT_H

#ifdef KPX_FAULTS
extern void kpx_fault_init(void); /* defines the setting */
extern void kpx_fault(const char *place);
#define KPX_FAULT(place) kpx_fault(place)
#else
#define kpx_fault_init() ((void) 0)
#define KPX_FAULT(place) ((void) 0)
#endif

#endif /* KPX_FAULT_H */
