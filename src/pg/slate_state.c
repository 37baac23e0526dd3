/*
 * slate_state.c
 *	  What the policy allows this user now: caps, gaps, quiet hours, dismissals.
 *
 * Caps count impressions that were logged. They are exact under concurrency: a slate
 * that is logged holds a lock on its user until the transaction ends, and counts with a
 * snapshot taken after it got the lock, in any isolation level.
 */
#include "slate.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

/* Impressions of a user that caps look at. */
typedef struct Shown
{
	int home;
	int module;
	char *item;
	double age; /* seconds */
} Shown;

typedef struct History
{
	int n;
	Shown *shown;
} History;

/* ------------------------------------------------------------ which settings apply */

/* The three scopes that speak about module m: all, module, pair; NULL where there is none. */
static void
scopes_of(const KpxSlateRequest *r, int m, const KpxSettings **scope)
{
	scope[0] = &r->policy->all;
	scope[1] = kpx_policy_module(r->policy, r->modules[m]->name);
	scope[2] = r->home ? kpx_policy_pair(r->policy, r->home->name, r->modules[m]->name) : NULL;
}

static double
longest(const KpxCaps *caps)
{
	double seconds = 0;

	for (int c = 0; c < caps->n; c++)
		seconds = Max(seconds, caps->cap[c].seconds);
	return seconds;
}

/* How far back caps and gaps look. */
static double
horizon(const KpxSlateRequest *r)
{
	double seconds = 0;

	for (int m = 0; m < r->n_modules; m++)
	{
		const KpxSettings *scope[3];

		scopes_of(r, m, scope);
		for (int s = 0; s < 3; s++)
			if (scope[s])
			{
				seconds = Max(seconds, longest(&scope[s]->caps));
				seconds = Max(seconds, longest(&scope[s]->item_caps));
				if (!isnan(scope[s]->min_gap))
					seconds = Max(seconds, scope[s]->min_gap);
			}
	}
	return seconds;
}

/* ------------------------------------------------------------ reading */

static History
read_history(const KpxSlateRequest *r, MemoryContext context)
{
	static SPIPlanPtr plan = NULL;
	double seconds = horizon(r);
	Oid types[] = {TEXTOID, TIMESTAMPTZOID, FLOAT8OID};
	Datum values[] = {CStringGetTextDatum(r->user_id), TimestampTzGetDatum(r->now), Float8GetDatum(seconds)};
	History history = {0, NULL};

	if (seconds == 0)
		return history;
	kpx_catalog_execute_planned(&plan,
								"SELECT home_module_id, module_id, item_id, extract(epoch FROM $2 - occurred_at)::float8 FROM kpx.impression"
								" WHERE user_id = $1 AND occurred_at > $2 - make_interval(secs => $3)",
								3, types, values, NULL, true);
	history.n = (int) SPI_processed;
	history.shown = kpx_alloc(context, Max(history.n, 1), sizeof(Shown));
	for (int i = 0; i < history.n; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool null;

		history.shown[i] = (Shown){DatumGetInt32(SPI_getbinval(tuple, desc, 1, &null)), DatumGetInt32(SPI_getbinval(tuple, desc, 2, &null)),
								   MemoryContextStrdup(context, SPI_getvalue(tuple, desc, 3)),
								   DatumGetFloat8(SPI_getbinval(tuple, desc, 4, &null))};
	}
	return history;
}

/* ------------------------------------------------------------ caps and gaps */

/* Impressions within seconds that a scope counts: 0 all, 1 of the module, 2 of the pair. */
static int
count_shown(const KpxSlateRequest *r, const History *history, int scope, int m, double seconds)
{
	int n = 0;

	for (int i = 0; i < history->n; i++)
		n += history->shown[i].age < seconds && (scope < 1 || history->shown[i].module == r->modules[m]->id) &&
			 (scope < 2 || history->shown[i].home == r->home->id);
	return n;
}

static const char *
seconds_text(double seconds)
{
	double unit = seconds >= 86400 ? 86400 : seconds >= 3600 ? 3600
															 : 1;

	return psprintf("%g %s%s", seconds / unit, unit == 86400 ? "day" : unit == 3600 ? "hour"
																					: "second",
					seconds == unit ? "" : "s");
}

/* A scope's caps to what is left; closes the module when nothing is. */
static void
apply_caps(KpxSlateRequest *r, const History *history, const KpxSettings *settings, int scope, int m)
{
	static const char *const names[] = {"cap", "module cap", "pair cap"};

	for (int c = 0; c < settings->caps.n; c++)
	{
		const KpxCap *cap = &settings->caps.cap[c];
		int left = cap->n - count_shown(r, history, scope, m, cap->seconds);

		if (left <= 0 && !r->closed[m])
			r->closed[m] = psprintf("%s: %d in %s", names[scope], cap->n, seconds_text(cap->seconds));
		left = Max(left, 0);
		if (scope == 0)
			r->room_in_all = Min(r->room_in_all, left);
		else
			r->room[m] = Min(r->room[m], (uint32) left);
	}
	if (!isnan(settings->min_gap) && settings->min_gap > 0 && count_shown(r, history, scope, m, settings->min_gap) > 0 && !r->closed[m])
		r->closed[m] = psprintf("min_gap: %s", seconds_text(settings->min_gap));
}

static void
apply_item_caps(KpxSlateRequest *r, const History *history, const KpxSettings *settings, int m)
{
	for (int c = 0; c < settings->item_caps.n; c++)
		for (int i = 0; i < r->n; i++)
		{
			const KpxCap *cap = &settings->item_caps.cap[c];
			int n = 0;

			if (r->items[i].module != m || r->offers[i].rule)
				continue;
			for (int h = 0; h < history->n; h++)
				n += history->shown[h].module == r->modules[m]->id && history->shown[h].age < cap->seconds &&
					 strcmp(history->shown[h].item, r->items[i].id) == 0;
			if (n >= cap->n)
				r->offers[i].rule = psprintf("item cap: %d in %s", cap->n, seconds_text(cap->seconds));
		}
}

/* ------------------------------------------------------------ quiet hours */

static bool
quiet_now(const KpxSlateRequest *r, const KpxSettings *settings)
{
	Timestamp local;
	int minute;

	if (!settings || !settings->quiet)
		return false;
	if (settings->quiet_zone)
		local = DatumGetTimestamp(DirectFunctionCall2(timestamptz_zone, CStringGetTextDatum(settings->quiet_zone), TimestampTzGetDatum(r->now)));
	else
		local = DatumGetTimestamp(DirectFunctionCall1(timestamptz_timestamp, TimestampTzGetDatum(r->now)));
	minute = (int) (((local % USECS_PER_DAY) + USECS_PER_DAY) % USECS_PER_DAY / (60 * USECS_PER_SEC));
	if (settings->quiet_from < settings->quiet_to)
		return minute >= settings->quiet_from && minute < settings->quiet_to;
	return minute >= settings->quiet_from || minute < settings->quiet_to;
}

/* ------------------------------------------------------------ dismissals */

static void
apply_dismissals(KpxSlateRequest *r)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTOID, TIMESTAMPTZOID};
	Datum values[] = {CStringGetTextDatum(r->user_id), TimestampTzGetDatum(r->now)};

	kpx_catalog_execute_planned(&plan,
								"SELECT module_id, category, item_id, extract(epoch FROM $2 - dismissed_at)::float8 FROM kpx.dismissal WHERE user_id = $1",
								2, types, values, NULL, true);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		HeapTuple tuple = SPI_tuptable->vals[row];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool null;
		int module = DatumGetInt32(SPI_getbinval(tuple, desc, 1, &null));
		char *category = SPI_getvalue(tuple, desc, 2);
		char *item = SPI_getvalue(tuple, desc, 3);
		double age = DatumGetFloat8(SPI_getbinval(tuple, desc, 4, &null));

		for (int i = 0; i < r->n; i++)
		{
			const KpxRankItem *it = &r->items[i];
			const char *name = r->modules[it->module]->name;

			if (r->modules[it->module]->id != module || age >= KPX_POLICY_NUMBER(r->policy, NULL, name, dismissed_for) || r->offers[i].rule)
				continue;
			if (item && strcmp(item, it->id) == 0)
				r->offers[i].rule = "dismissed: item";
			else if (category && it->category && strcmp(category, it->category) == 0)
				r->offers[i].rule = "dismissed: category";
			else if (!item && !category)
				r->offers[i].rule = "dismissed: module";
		}
	}
}

/* ------------------------------------------------------------ all of it */

void
kpx_slate_state(KpxSlateRequest *r)
{
	const char *home = r->home ? r->home->name : NULL;
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	KpxCatalog catalog;
	History history;

	r->room_in_all = r->k;
	r->room = palloc(sizeof(uint32) * r->n_modules);
	r->closed = palloc0(sizeof(char *) * r->n_modules);
	kpx_catalog_begin(&catalog, true);
	old = MemoryContextSwitchTo(context); /* what is remembered outlives the catalog session */
	history = read_history(r, context);
	for (int m = 0; m < r->n_modules; m++)
	{
		const KpxSettings *scope[3];

		r->room[m] = (uint32) KPX_POLICY_NUMBER(r->policy, home, r->modules[m]->name, max_per_slate);
		scopes_of(r, m, scope);
		for (int s = 0; s < 3; s++)
		{
			if (!scope[s])
				continue;
			if (quiet_now(r, scope[s]))
				r->closed[m] = "quiet hours";
			apply_caps(r, &history, scope[s], s, m);
			apply_item_caps(r, &history, scope[s], m);
		}
	}
	apply_dismissals(r);
	kpx_slate_campaigns(r);
	MemoryContextSwitchTo(old);
	kpx_catalog_end(&catalog);
	for (int i = 0; i < r->n; i++)
		if (r->closed[r->items[i].module])
			r->offers[i].rule = r->closed[r->items[i].module];
}
