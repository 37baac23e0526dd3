/*
 * ingest.h
 *	  Reading the event sources of modules into interactions.
 */
#ifndef KPX_PG_INGEST_H
#define KPX_PG_INGEST_H

#include "kpxrec.h"
#include "ids.h"
#include "registry.h"

#include "datatype/timestamp.h"

struct KpxIdMap;

#define KPX_NO_ITEM PG_UINT32_MAX
#define KPX_BLOCK_EVENTS (1 << 20) /* memory for events is taken for so many at a time */

/* Times of the events that were read, those without one or of the future left out. */
typedef struct KpxWindow
{
	TimestampTz oldest; /* DT_NOEND: no event has a time */
	TimestampTz newest; /* DT_NOBEGIN: no event has a time */
	uint64 at_newest; /* events of just that time: more of them later are new ones */
} KpxWindow;

/* A window without events, and one with one more. */
#define KPX_NO_WINDOW ((KpxWindow){DT_NOEND, DT_NOBEGIN, 0})
extern void kpx_window_add(KpxWindow *window, TimestampTz at);

/*
 * Interactions of users with the items of all modules, items of module m being
 * item_base[m] .. item_base[m + 1] - 1 in order of their ids; users in order of ids.
 */
typedef struct KpxData
{
	MemoryContext context;
	int n_modules;
	KpxModule **modules;
	KpxIds *item_ids; /* [n_modules] */
	uint32 *item_base; /* [n_modules + 1] */
	KpxIds user_ids;
	uint32 users;
	uint32 items;
	uint64 *offset; /* [users + 1] */
	uint32 *index; /* item, with KPX_HIDES */
	float *weight;
	uint32 *time; /* of an interaction's last event, see kpx_event_second; NULL unless asked for */
	uint64 *module_interactions; /* [n_modules] */
	uint64 *module_users; /* [n_modules] */
	KpxWindow *window; /* [n_modules] */
	uint32 **last_item; /* [n_modules][users], KPX_NO_ITEM = none; only if asked for */
} KpxData;

#define KPX_WANT_LAST 1 /* each user's last item a module */
#define KPX_WANT_TIMES 2 /* the time of each interaction */
#define KPX_WANT_CATALOGUE 4 /* items of the item tables, too, that no event has */

/*
 * Reads all event sources of these modules as the current user. observed[m]
 * multiplies the weights of module m. want: of the above.
 * Errors: those of the relations; 22023 NaN, infinite, negative weights; 22008
 * infinite times; 53200 over the memory budget; 42804 ids of different kinds.
 */
extern KpxData *kpx_ingest(KpxModule **modules, int n_modules, const double *observed, int want);

/*
 * Baskets for rules: rows are users, or users in periods of basket_length microseconds
 * (0 = users alone); which items are in them, at any weight above zero, is all that
 * counts. user_ids are then numbers of baskets; no weights, no hides bits. Errors as above;
 * 55000 for a source without times when there are periods.
 */
extern KpxData *kpx_ingest_baskets(KpxModule **modules, int n_modules, int64 basket_length);

/* Recounts interactions and users a module (after a split took some out). */
extern void kpx_data_count(KpxData *data);

/* What kind of id users have in these modules; 42804 when they differ. */
extern KpxIdKind kpx_user_kind(KpxModule **modules, int n_modules);

/* Checks a source against the catalog again: kinds of its ids (item kind returned) and its name in SQL. */
extern KpxIdKind kpx_source_check(const KpxModule *module, const KpxSource *source, KpxIdKind *user_kind, char **relation_sql);

/* Whole seconds since 2000-01-01, at least 1 and at most 2^32 - 1; 0 means no time. */
extern uint32 kpx_event_second(TimestampTz occurred_at);

/* Age of an event in seconds at the transaction's start. */
extern double kpx_event_age(TimestampTz occurred_at);

#endif /* KPX_PG_INGEST_H */
