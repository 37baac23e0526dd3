/*
 * profile_json.h
 *	  Profiles as JSON text, and back.
 */
#ifndef KPX_PROFILE_JSON_H
#define KPX_PROFILE_JSON_H

#include "profile.h"

/* Reads what kpx_profile_to_json writes; 22P02 otherwise. */
extern KpxProfile *kpx_profile_from_json(char *text);

/* A millionth-counted number, in full: 1250000 is 1.25. */
extern void kpx_json_units(StringInfo out, int64 value);
/* A time (microseconds since 2000-01-01) as a JSON string in UTC. */
extern void kpx_json_time(StringInfo out, int64 at);
/* What the user did in a module, as JSON pairs without braces. */
extern void kpx_json_behaviour(StringInfo out, const KpxProfile *profile, const KpxProfileModule *module);
extern void kpx_json_name(StringInfo out, KpxName name);
extern void kpx_json_number(StringInfo out, double value);

#endif /* KPX_PROFILE_JSON_H */
