/*
 * slate_campaign.c
 *	  Budgets and quotas of modules, over all users: what is left of them, and their prices.
 *
 * Each has a row in kpx.campaign, which a slate that is logged locks until its transaction
 * ends, unless a budget is used up: slates that can show the module are serialised, and nothing is overspent. Rows are locked in the
 * order of module, then budget before quota, by everybody.
 *
 * Prices pace what is spent, by online dual descent (core/policy.h): a budget's price is taken
 * off the worth of an item for each unit it uses up; a quota's for each impression, and its
 * subsidy is added.
 */
#include "fault.h"
#include "slate.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

/* A step of a price: this share of what an impression of the module is worth. */
#define STEP 0.02
/* Rounding of sums of money, relative to the budget. */
#define TOLERANCE 1e-9

static double
budget_cost(const KpxBudget *budget, const KpxRankItem *item)
{
	return budget->per_impression + budget->per_click * item->p_click + budget->per_conversion * item->p_click * item->p_convert;
}

/* ------------------------------------------------------------ reading */

/* A row of kpx.campaign; zeros when there is none. */
typedef struct Row
{
	double spent; /* and reserved */
	double offered;
	double price;
	double subsidy;
} Row;

static Row
read_row(const KpxSlateRequest *r, int m, const char *kind, TimestampTz from, bool lock)
{
	static SPIPlanPtr read_plan = NULL;
	static SPIPlanPtr insert_plan = NULL;
	static SPIPlanPtr lock_plan = NULL;
	Oid types[] = {INT4OID, TEXTOID, TIMESTAMPTZOID};
	Datum values[] = {Int32GetDatum(r->modules[m]->id), CStringGetTextDatum(kind), TimestampTzGetDatum(from)};
	Row row = {0};
	bool null;

	if (lock)
	{
		kpx_catalog_execute_planned(&insert_plan,
									"INSERT INTO kpx.campaign (module_id, kind, starts_at, stepped_at) VALUES ($1, $2, $3, $3) ON CONFLICT DO NOTHING",
									3, types, values, NULL, false);
		/* The lock reads the row as it is now, also in a transaction with an older snapshot: it fails there (40001) rather than overspend. */
		kpx_catalog_execute_planned(&lock_plan,
									"SELECT spent + reserved, offered, price, subsidy FROM kpx.campaign WHERE module_id = $1 AND kind = $2 AND starts_at = $3 FOR UPDATE",
									3, types, values, NULL, false);
	}
	else
		kpx_catalog_execute_planned(&read_plan,
									"SELECT spent + reserved, offered, price, subsidy FROM kpx.campaign WHERE module_id = $1 AND kind = $2 AND starts_at = $3",
									3, types, values, NULL, true);
	if (SPI_processed == 1)
		row = (Row){DatumGetFloat8(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null)),
					DatumGetFloat8(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null)),
					DatumGetFloat8(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &null)),
					DatumGetFloat8(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 4, &null))};
	return row;
}

static int
dearer(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return (x < y) - (x > y);
}

/* How many candidates of the module can be paid for, whichever are chosen. */
static uint32
affordable(const KpxSlateRequest *r, const KpxBudget *budget, int m, double left)
{
	double *cost = palloc(sizeof(double) * Max(r->n, 1));
	int n = 0;
	uint32 room = 0;

	for (int i = 0; i < r->n; i++)
		if (r->items[i].module == m && !r->offers[i].rule)
			cost[n++] = budget_cost(budget, &r->items[i]);
	qsort(cost, n, sizeof(double), dearer);
	left += TOLERANCE * budget->limit;
	while (room < n && cost[room] <= left)
		left -= cost[room++];
	pfree(cost);
	return room;
}

static void
apply_budget(KpxSlateRequest *r, const KpxBudget *budget, int m)
{
	Row row = read_row(r, m, "budget", budget->from, false);
	uint32 room = affordable(r, budget, m, budget->limit - row.spent);

	/* A budget that is used up is not locked: its slates would wait for each other to learn that. */
	if (r->log && room > 0)
	{
		row = read_row(r, m, "budget", budget->from, true);
		room = affordable(r, budget, m, budget->limit - row.spent);
		r->campaigns[m].budget = budget;
	}
	if (room == 0 && !r->closed[m])
		r->closed[m] = budget->in_impressions ? psprintf("budget: %.0f impressions spent", budget->limit)
											  : psprintf("budget: %.6g of %.6g spent or reserved", row.spent, budget->limit);
	r->room[m] = Min(r->room[m], room);
	for (int i = 0; i < r->n; i++)
		if (r->items[i].module == m)
			r->offers[i].cost += row.price * budget_cost(budget, &r->items[i]);
}

static void
apply_quota(KpxSlateRequest *r, const KpxQuota *quota, int m)
{
	Row row = read_row(r, m, "quota", quota->from, r->log);
	double left = floor(quota->max_share * row.offered + 1 + TOLERANCE - row.spent);

	r->campaigns[m].quota = quota;
	if (quota->max_share < 1)
	{
		if (left <= 0 && !r->closed[m])
			r->closed[m] = psprintf("quota: %.3g %% of impressions", 100 * quota->max_share);
		r->room[m] = (uint32) Min((double) r->room[m], Max(left, 0));
	}
	for (int i = 0; i < r->n; i++)
		if (r->items[i].module == m)
			r->offers[i].cost += row.price - row.subsidy;
}

void
kpx_slate_campaigns(KpxSlateRequest *r)
{
	int last = 0;

	r->campaigns = palloc0(sizeof(KpxCampaign) * r->n_modules);
	for (;;)
	{
		int next = -1;
		const KpxSettings *s;

		for (int m = 0; m < r->n_modules; m++)
			if (r->modules[m]->id > last && (next < 0 || r->modules[m]->id < r->modules[next]->id))
				next = m;
		if (next < 0)
			return;
		last = r->modules[next]->id;
		s = kpx_policy_module(r->policy, r->modules[next]->name);
		if (s && !isnan(s->budget.limit) && r->now >= s->budget.from && r->now < s->budget.to)
			apply_budget(r, &s->budget, next);
		if (s && s->quota.set && r->now >= s->quota.from && r->now < s->quota.to)
			apply_quota(r, &s->quota, next);
	}
}

/* ------------------------------------------------------------ spending */

static double
seconds_between(TimestampTz from, TimestampTz to)
{
	return (double) (to - from) / USECS_PER_SEC;
}

/* Mean over the module's candidates of what showing one is worth before prices. */
static double
mean_worth(const KpxSlateRequest *r, int m)
{
	double sum = 0;
	int n = 0;

	for (int i = 0; i < r->n; i++)
		if (r->items[i].module == m)
		{
			sum += r->offers[i].worth + r->offers[i].cost;
			n++;
		}
	return n ? Max(sum / n, 0) : 0;
}

static double
mean_cost(const KpxSlateRequest *r, const KpxBudget *budget, int m)
{
	double sum = 0;
	int n = 0;

	for (int i = 0; i < r->n; i++)
		if (r->items[i].module == m)
		{
			sum += budget_cost(budget, &r->items[i]);
			n++;
		}
	return n ? sum / n : 0;
}

/* Both updates: kpx_dual_price, in the row. */
static void
spend_budget(const KpxSlateRequest *r, int m, const KpxPlace *places, int n)
{
	static SPIPlanPtr plan = NULL;
	const KpxBudget *budget = r->campaigns[m].budget;
	double cost = mean_cost(r, budget, m);
	double step = cost > 0 ? STEP * mean_worth(r, m) / (cost * cost) : 0;
	double spent = 0;
	double expected = 0; /* with clicks and conversions */

	for (int i = 0; i < n; i++)
		if (r->items[places[i].item].module == m)
		{
			spent += budget->per_impression;
			expected += budget_cost(budget, &r->items[places[i].item]);
		}
	{
		Oid types[] = {INT4OID, TIMESTAMPTZOID, FLOAT8OID, FLOAT8OID, FLOAT8OID, TIMESTAMPTZOID, FLOAT8OID};
		Datum values[] = {Int32GetDatum(r->modules[m]->id), TimestampTzGetDatum(budget->from), Float8GetDatum(spent), Float8GetDatum(step),
						  Float8GetDatum(budget->limit / seconds_between(budget->from, budget->to)), TimestampTzGetDatum(r->now),
						  Float8GetDatum(expected)};

		kpx_catalog_execute_planned(&plan,
									"UPDATE kpx.campaign SET spent = spent + $3, reserved = reserved + $7 - $3, stepped_at = $6,"
									" price = greatest(price + $4 * ($7 - $5 * greatest(extract(epoch FROM $6 - stepped_at)::float8, 0)), 0)"
									" WHERE module_id = $1 AND kind = 'budget' AND starts_at = $2",
									7, types, values, NULL, false);
	}
}

static void
spend_quota(const KpxSlateRequest *r, int m, const KpxPlace *places, int n)
{
	static SPIPlanPtr plan = NULL;
	const KpxQuota *quota = r->campaigns[m].quota;
	double shown = 0;
	double level = 0; /* what is shown is worth before prices, on average: what a subsidy competes with */
	double largest = 0;

	for (int i = 0; i < n; i++)
	{
		double worth = r->offers[places[i].item].worth + r->offers[places[i].item].cost;

		shown += r->items[places[i].item].module == m;
		level += worth / n;
		largest = Max(largest, worth);
	}
	{
		/* a subsidy of more than twice what anything shown is worth would do nothing but outlast its cause */
		Oid types[] = {INT4OID, TIMESTAMPTZOID, FLOAT8OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, TIMESTAMPTZOID};
		Datum values[] = {Int32GetDatum(r->modules[m]->id),
						  TimestampTzGetDatum(quota->from),
						  Float8GetDatum(shown),
						  Float8GetDatum(n),
						  Float8GetDatum(STEP * mean_worth(r, m)),
						  Float8GetDatum(STEP * level),
						  Float8GetDatum(quota->max_share * n),
						  Float8GetDatum(quota->min_share * n),
						  Float8GetDatum(quota->min_impressions / seconds_between(quota->from, quota->to)),
						  Float8GetDatum(2 * largest),
						  TimestampTzGetDatum(r->now)};

		kpx_catalog_execute_planned(&plan,
									"UPDATE kpx.campaign SET spent = spent + $3, offered = offered + $4, stepped_at = $11,"
									" price = greatest(price + $5 * ($3 - $7), 0),"
									" subsidy = least(greatest(subsidy + $6 * ($8 + $9 * greatest(extract(epoch FROM $11 - stepped_at)::float8, 0) - $3), 0), $10)"
									" WHERE module_id = $1 AND kind = 'quota' AND starts_at = $2",
									11, types, values, NULL, false);
	}
}

void
kpx_slate_spend(const KpxSlateRequest *r, const KpxPlace *places, int n)
{
	KpxCatalog catalog;
	bool any = false;

	for (int m = 0; m < r->n_modules; m++)
		any |= r->campaigns[m].budget || r->campaigns[m].quota;
	if (!any)
		return;
	kpx_catalog_begin(&catalog, false);
	for (int m = 0; m < r->n_modules; m++)
	{
		KPX_FAULT("spend");
		if (r->campaigns[m].budget)
			spend_budget(r, m, places, n);
		if (r->campaigns[m].quota)
			spend_quota(r, m, places, n);
	}
	kpx_catalog_end(&catalog);
}
