/*
 * slate.h
 *	  One slate in the making: what was asked, the candidates, what the policy allows.
 */
#ifndef KPX_PG_SLATE_H
#define KPX_PG_SLATE_H

#include "kpxrec.h"

#include "core/policy.h"
#include "consent.h"
#include "policy.h"
#include "ranking.h"
#include "recommend.h"

/* What the policy makes of a candidate; beside its KpxRankItem. */
typedef struct KpxOffer
{
	double boost; /* 1 without */
	double value; /* of a conversion, without boost */
	double cost; /* what prices of campaigns take off its worth */
	double worth; /* of showing it */
	double spread; /* standard deviation of what is known of its earnings */
	double share; /* the user's, of its module and category; 0: not known */
	const char *rule; /* what keeps it out; NULL: it may be shown */
	KpxListed listed; /* of the candidate step */
	char *reason; /* why it is a candidate; filled for what is shown */
} KpxOffer;

/* One chosen position. */
typedef struct KpxPlace
{
	int item; /* number among the candidates */
	double propensity;
	bool explored; /* not the greedy choice */
} KpxPlace;

/* The campaigns of a module that run now; NULL: none. */
typedef struct KpxCampaign
{
	const KpxBudget *budget;
	const KpxQuota *quota;
} KpxCampaign;

typedef struct KpxSlateRequest
{
	KpxRegistry *registry;
	KpxPolicy *policy;
	char *user_id; /* as text */
	KpxModule *home; /* or NULL */
	KpxModule **modules;
	int n_modules;
	KpxId user; /* the same as an id */
	KpxConsents *consents; /* the user's, about all modules */
	KpxRequest *requests; /* [n_modules] of the candidate step */
	KpxTaste *tastes; /* [n_modules] the user, as each module may see them */
	KpxCall call; /* for the statistics */
	int k; /* asked for */
	bool log;
	TimestampTz now;
	Datum context; /* jsonb, or 0 */
	KpxRankItem *items;
	KpxOffer *offers;
	int n;
	const char *ranker;
	int room_in_all;
	uint32 *room; /* [n_modules] */
	KpxCampaign *campaigns; /* [n_modules] */
	double *mix; /* [n_modules] the user's; sums to 1 */
	const char **closed; /* [n_modules] the rule that closes a module, or NULL */
} KpxSlateRequest;

/* slate_items.c: fills consents, items and offers (boost, value) of all modules, as the caller. */
extern void kpx_slate_items(KpxSlateRequest *r);
/* The reasons of what is shown. */
extern void kpx_slate_reasons(KpxSlateRequest *r, const KpxPlace *places, int n);
/* mix, the user's shares of events by module, equal without any; and the offers' shares by module and category. */
extern void kpx_slate_mix(KpxSlateRequest *r);
/* Price x margin, or the value set for it. */
extern double kpx_slate_value(const KpxPolicy *policy, const char *home, const char *module, double price);

/* slate_state.c: caps, gaps, quiet hours, dismissals, campaigns to room, closed, and the offers' rules and costs. */
extern void kpx_slate_state(KpxSlateRequest *r);

/* slate_campaign.c: budgets and quotas to room, closed and the offers' costs; inside kpx_catalog_begin. */
extern void kpx_slate_campaigns(KpxSlateRequest *r);
/* Counts what was shown against budgets and quotas, and moves their prices. */
extern void kpx_slate_spend(const KpxSlateRequest *r, const KpxPlace *places, int n);

/* slate_log.c: writes the slate and its impressions; returns its id. */
extern int64 kpx_slate_write(KpxSlateRequest *r, const KpxPlace *places, int n);

/* slate.c: the offers' worth and spread, and the rules of the choice; shared with judging logged slates. */
extern void kpx_slate_worth(const KpxPolicy *policy, const char *home, const char *const *modules, const KpxRankItem *items,
							KpxOffer *offers, int n);
extern KpxSlateRules kpx_slate_rules(const KpxPolicy *policy, int k, int n_modules, const uint32 *room, const double *mix);
/* Candidates of core, numbered categories; those with a rule get the value -1. */
extern KpxCandidate *kpx_slate_candidates(const KpxRankItem *items, const KpxOffer *offers, int n);

/* A slate as it was logged; the policy it is seen under decides values and worth. */
typedef struct KpxLoggedSlate
{
	int64 slate_id;
	TimestampTz occurred_at;
	char *user_id;
	int64 policy_id;
	char *owner; /* role that logged it */
	char *ranker;
	int k;
	int n_modules;
	KpxModule **modules;
	KpxModule *home; /* or NULL */
	uint32 *room;
	double *mix;
	int n;
	KpxRankItem *items;
	KpxOffer *offers; /* value and worth are filled by kpx_logged_slate_value */
} KpxLoggedSlate;

/* slate_read.c: columns of kpx.slate that kpx_logged_slate reads, in this order. */
#define KPX_LOGGED_SLATE_COLUMNS \
	"s.slate_id, s.occurred_at, s.user_id, s.policy_id, s.owner, s.ranker, s.k, s.home_module_id, s.modules, s.rooms," \
	" s.mix, s.c_module, s.c_item, s.c_category, s.c_score, s.c_click, s.c_convert, s.c_price, s.c_boost, s.c_rule, s.c_spread," \
	" s.c_share, s.c_cost"
#define KPX_N_LOGGED_SLATE_COLUMNS 23

/* From a row of those columns, in the current context; NULL when one of its modules is not registered any more. */
extern KpxLoggedSlate *kpx_logged_slate(KpxRegistry *registry, HeapTuple tuple, TupleDesc desc);
/* The offers' value and worth under a policy. */
extern void kpx_logged_slate_value(KpxLoggedSlate *slate, const KpxPolicy *policy);
/* Number of the candidate with this module and item; -1: none. */
extern int kpx_logged_slate_find(const KpxLoggedSlate *slate, int module_id, const char *item_id);

#endif /* KPX_PG_SLATE_H */
