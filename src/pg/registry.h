/*
 * registry.h
 *	  The registered modules and event sources, cached in the session.
 */
#ifndef KPX_REGISTRY_H
#define KPX_REGISTRY_H

#include "kpxrec.h"
#include "ids.h"

#include "datatype/timestamp.h"

typedef struct KpxSource
{
	int id;
	Oid relation;
	char *relation_name; /* as it was called at registration, for messages */
	char *kind;
	char *user_id;
	char *item_id;
	char *occurred_at; /* or NULL */
	char *weight_column; /* or NULL */
	char *value; /* or NULL */
	char *duration; /* or NULL; seconds, or an interval */
	double weight;
	bool hides;
	double half_life; /* seconds; 0 = none */
	/* Prepared by recommend: the user's newest rows. */
	SPIPlanPtr history_plan;
	KpxIdKind user_kind;
	KpxIdKind item_kind;
} KpxSource;

/* A model that answers a share of the users in place of the active one. */
typedef struct KpxTraffic
{
	int64 model;
	double share; /* of the module's users, above 0 and at most 1 */
} KpxTraffic;

typedef struct KpxModule
{
	int id;
	char *name;
	char *owner;
	Oid items;
	char *items_name;
	char *item_id;
	char *available; /* or NULL */
	/* What an item is (content.h): columns of the item table, all or none of them. */
	char *title; /* or NULL */
	char *category; /* or NULL */
	char *price; /* or NULL */
	int n_text_columns;
	char **text_columns;
	int n_attributes;
	char **attributes;
	int n_embeddings;
	char **embeddings;
	char *text_search_config; /* qualified name, or NULL */
	double repeat_after; /* seconds; < 0 = never */
	int64 active_model; /* 0 = none */
	int n_traffic;
	KpxTraffic *traffic; /* by model; shares sum to at most 1 */
	int n_sources;
	KpxSource *sources;
	/* Prepared by recommend: which of these items are there and available. */
	SPIPlanPtr available_plan;
	SPIPlanPtr facts_plan; /* item_facts.c */
	SPIPlanPtr boosted_facts_plan; /* with column boost */
	char *boost;
	KpxIdKind item_kind;
} KpxModule;

/* A relation of the platform that says what users have consented to; the names are of its columns. */
typedef struct KpxConsentSource
{
	int id;
	Oid relation;
	char *relation_name;
	char *user_id;
	char *source_module;
	char *target_module;
	char *purpose; /* or NULL */
	char *allowed; /* or NULL */
} KpxConsentSource;

/* Whether a pair of modules (ids) requires consent, whatever the setting says. */
typedef struct KpxConsentRule
{
	int source;
	int target;
	bool required;
} KpxConsentRule;

typedef struct KpxRegistry
{
	MemoryContext context;
	char *schema; /* of the extension's functions */
	uint64 generation;
	uint8 *forget_key; /* of the tombstones (forget.c); NULL while nobody was ever forgotten */
	int n_modules;
	KpxModule *modules; /* by id */
	int n_consent_sources;
	KpxConsentSource *consent_sources; /* by id */
	int n_consent_rules;
	KpxConsentRule *consent_rules;
	struct KpxRegistry *next_stale;
	bool kept;
} KpxRegistry;

/*
 * The registry as of now. Valid to the end of the transaction, though perhaps not
 * current after the next statement. Errors: 55000 when the installed extension is not
 * of this library's version.
 */
extern KpxRegistry *kpx_registry(void);

/* Keeps it to the end of the session, for a process that works on over several transactions. */
extern void kpx_registry_keep(KpxRegistry *registry);

/* Errors: 42704 naming those that exist. */
extern KpxModule *kpx_find_module(KpxRegistry *registry, const char *name);
/* 42501 unless the current user has the privileges of the owner of every module there is. */
extern void kpx_require_all_modules(const KpxRegistry *registry);
extern KpxModule *kpx_find_module_by_id(KpxRegistry *registry, int id);

/* The module's kind of item id, from the item table's column. Errors: 42P01, 42703, 42804. */
extern KpxIdKind kpx_module_item_kind(const KpxModule *module);

/* schema.name of a relation, quoted; 42P01 with what/name when it is gone. */
extern char *kpx_relation_sql(Oid relation, const char *relation_name, const char *what, const char *name);

/* Type of a column; 42703 listing nothing when it is not there. */
extern Oid kpx_column_type(Oid relation, const char *column);

/* How rows are ordered by this time so that those without one come last: an index on it serves plain DESC. */
extern const char *kpx_newest_first(Oid relation, const char *column);

/*
 * Whether the current user may select the columns the sources of this module need; false
 * when it has no source any more, so that nothing vouches for the user.
 */
extern bool kpx_may_read_sources(const KpxModule *module);

/* Counts invalidations, for caches that hang on the registry. */
extern uint64 kpx_registry_generation(void);

#endif /* KPX_REGISTRY_H */
