/*
 * policy.h
 *	  Versions of the policy: settings for everything, for a module, for a pair of modules.
 */
#ifndef KPX_PG_POLICY_H
#define KPX_PG_POLICY_H

#include "kpxrec.h"

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "registry.h"

#define KPX_MAX_CAPS 4
#define KPX_MAX_SLATE 100

/* At most n impressions a user within so many seconds. */
typedef struct KpxCap
{
	int n;
	double seconds;
} KpxCap;

typedef struct KpxCaps
{
	int n;
	KpxCap cap[KPX_MAX_CAPS];
} KpxCaps;

/* What a campaign may use up, over all users: impressions, or money by what they are expected to bring about. */
typedef struct KpxBudget
{
	double limit; /* NaN: none */
	bool in_impressions;
	double per_impression; /* of the limit; 1 in impressions */
	double per_click;
	double per_conversion;
	TimestampTz from;
	TimestampTz to;
} KpxBudget;

/* What share of impressions a module gets, over all users. */
typedef struct KpxQuota
{
	bool set;
	double min_share; /* of the impressions of slates that it takes part in */
	double max_share;
	double min_impressions;
	TimestampTz from;
	TimestampTz to;
} KpxQuota;

/* Settings of one scope; numbers that are not set are NaN. Intervals in seconds. */
typedef struct KpxSettings
{
	double lambda;
	double weight;
	double value;
	double margin;
	double min_gap;
	double dismissed_for;
	double max_per_slate;
	double max_per_category;
	double candidates;
	double diversity;
	double calibration;
	double category_calibration;
	double epsilon;
	double top;
	double thompson; /* 1: yes */
	double attribution_window;
	char *boost; /* a column of the item table, or NULL */
	KpxCaps caps;
	KpxCaps item_caps;
	bool quiet;
	int quiet_from; /* minutes of the day */
	int quiet_to;
	char *quiet_zone; /* or NULL: the session's */
	KpxBudget budget;
	KpxQuota quota;
	int n_conversions; /* kinds of events that count as conversions */
	char **conversions;
} KpxSettings;

typedef struct KpxScope
{
	char *home; /* NULL: any */
	char *module;
	KpxSettings settings;
} KpxScope;

typedef struct KpxPolicy
{
	int64 id; /* 0: none was ever set, the defaults */
	KpxSettings all;
	int n_scopes;
	KpxScope *scopes;
	Jsonb *document; /* as it is stored; NULL: the defaults */
} KpxPolicy;

/* The active version, or this one when id is not 0; 42704. */
extern KpxPolicy *kpx_policy(int64 id);

/* Settings of a jsonb document; module scopes that are not registered are kept. 22023. */
extern KpxPolicy *kpx_policy_parse(Datum settings);

/* Settings of the module alone, and of the pair; NULL when there are none. */
extern const KpxSettings *kpx_policy_module(const KpxPolicy *policy, const char *module);
extern const KpxSettings *kpx_policy_pair(const KpxPolicy *policy, const char *home, const char *module);

/* The most specific of pair, module, all and the default. offset: of a double in KpxSettings. */
extern double kpx_policy_number(const KpxPolicy *policy, const char *home, const char *module, size_t offset);
#define KPX_POLICY_NUMBER(policy, home, module, field) \
	kpx_policy_number(policy, home, module, offsetof(KpxSettings, field))

/* Takes a setting, its value (NULL: none), which scope it comes from, and its default (NULL: none), all as text. */
typedef void (*KpxPutSetting)(void *state, const char *key, const char *value, const char *set_for, const char *otherwise);

/*
 * Calls put for every setting that is in force for a module's items in slates of a home module (NULL: for everything): the
 * most specific, or all where scopes count together.
 */
extern void kpx_policy_in_force(const KpxPolicy *policy, const char *home, const char *module, KpxPutSetting put, void *state);

#endif /* KPX_PG_POLICY_H */
