/*
 * policy_parts.h
 *	  Values of settings, from jsonb. All raise 22023 that names the setting, and 22007 or 22008 for what is no time.
 */
#ifndef KPX_PG_POLICY_PARTS_H
#define KPX_PG_POLICY_PARTS_H

#include "policy.h"

/* "policy setting key must be expected" */
__attribute__((noreturn)) extern void kpx_setting_bad(const char *key, const char *expected);

extern char *kpx_setting_string(const JsonbValue *value);
extern bool kpx_setting_is_object(const JsonbValue *value);
extern double kpx_setting_number(const char *key, const JsonbValue *value, double low, double high, bool whole);
/* An interval, in seconds. */
extern double kpx_setting_seconds(const char *key, const JsonbValue *value, double low, double high);
/* Calls take for every key of an object. */
extern void kpx_setting_each(const JsonbValue *object, void (*take)(void *state, const char *key, const JsonbValue *value),
							 void *state);

extern void kpx_setting_caps(KpxCaps *caps, const char *key, const JsonbValue *value);
extern void kpx_setting_quiet(KpxSettings *settings, const JsonbValue *value);
extern void kpx_setting_budget(KpxBudget *budget, const JsonbValue *value);
extern void kpx_setting_quota(KpxQuota *quota, const JsonbValue *value);
extern void kpx_setting_conversions(KpxSettings *settings, const JsonbValue *value);

#endif /* KPX_PG_POLICY_PARTS_H */
