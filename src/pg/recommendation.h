/*
 * recommendation.h
 *	  What other rooms need of recommendation views.
 */
#ifndef KPX_RECOMMENDATION_H
#define KPX_RECOMMENDATION_H

#include "kpxrec.h"
#include "ids.h"

#include "datatype/timestamp.h"

/* One recommendation view. */
typedef struct KpxRecommendation
{
	Oid view; /* may be gone */
	Oid rows; /* its table */
	Oid owner; /* of the table */
	char *rows_sql; /* qualified and quoted */
	char *view_name; /* as it was registered, for messages */
	char *module;
	int k;
	Interval *active; /* or NULL */
} KpxRecommendation;

/* How a refresh went. */
typedef struct KpxRefreshed
{
	int64 model; /* 0: none */
	uint64 users;
	uint64 rows;
	uint64 changed;
	double seconds;
} KpxRefreshed;

/* Views of a module (NULL: of all); those whose table somebody dropped are taken off the list. */
extern KpxRecommendation *kpx_recommendations(const char *module, int *n);

/*
 * Brings one up to date, as its owner, who is looked up again: what was read may be old. Errors: 55P03 when another
 * session does, 42501 when it was given away, 42P01 when it was dropped; those of kpx_recommend_for.
 */
extern KpxRefreshed kpx_recommendation_refresh(KpxRecommendation *what);

/*
 * Deletes a user's rows (id as text) from all recommendation views, whoever owns them, each as the owner of its table; returns
 * how many. kept: names of those tables (char *) that could not be written, each with a WARNING. The caller holds kpx_lock_all_users, so that no refresh brings them back. Who may ask is the caller's to decide.
 */
extern uint64 kpx_recommendations_forget(const char *user_id, List **kept);

/* schema.name of a relation, quoted. */
extern char *kpx_qualified_name(Oid relation);

#endif /* KPX_RECOMMENDATION_H */
