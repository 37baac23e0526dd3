/*
 * settle.c
 *	  Budgets in money: what was expected of impressions becomes what they cost.
 *
 * A logged slate pays for its impressions and reserves what their clicks and conversions are
 * expected to cost (slate_campaign.c). Here a click or conversion that was recorded is charged in full and its
 * reserve given back; and when an impression is older than the attribution window, what is
 * left of its reserve is given back too. Each happens once: feedback is marked as settled, and closed_at of a
 * campaign says up to when reserves have been given back. Terms are those of the policy's version that showed
 * the impression.
 */
#include "settle.h"

#include "kpxrec.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "clock.h"

/* The impressions i of module $1 that counted in the budget c, with its terms b as they were shown: FROM and WHERE. */
#define BUDGETED_FROM \
	" kpx.campaign c, kpx.impression i, kpx.policy p," \
	" LATERAL (SELECT coalesce((t->>'per_click')::float8, 0) AS per_click, coalesce((t->>'per_conversion')::float8, 0) AS per_conversion," \
	"  (t->>'from')::timestamptz AS starts_at, (t->>'to')::timestamptz AS ends_at" \
	"  FROM (SELECT p.settings#>ARRAY['modules', $2, 'budget'] AS t) t WHERE t ? 'spend') b"
#define BUDGETED_WHERE \
	" c.module_id = $1 AND c.kind = 'budget' AND b.starts_at = c.starts_at AND p.id = i.policy_id" \
	" AND i.module_id = $1 AND i.occurred_at >= c.starts_at AND i.occurred_at < b.ends_at"

/* Locked from here on. */
static bool
has_budgets(int module_id)
{
	Oid types[] = {INT4OID};
	Datum values[] = {Int32GetDatum(module_id)};

	kpx_catalog_execute("SELECT FROM kpx.campaign WHERE module_id = $1 AND kind = 'budget' ORDER BY starts_at FOR UPDATE", 1, types, values,
						NULL, false);
	return SPI_processed > 0;
}

void
kpx_settle(const KpxModule *module, double window)
{
	Oid types[] = {INT4OID, TEXTOID, TIMESTAMPTZOID};
	Datum values[] = {Int32GetDatum(module->id), CStringGetTextDatum(module->name),
					  TimestampTzGetDatum(kpx_now() - (TimestampTz) (window * USECS_PER_SEC))};
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	if (has_budgets(module->id))
	{
		/* A conversion is a click too, and an impression's click is charged once: with the first of the two to be settled. */
		kpx_catalog_execute("WITH new AS (UPDATE kpx.feedback f SET settled = true FROM" BUDGETED_FROM " WHERE" BUDGETED_WHERE
							" AND NOT f.settled AND f.kind IN ('click', 'conversion') AND f.slate_id = i.slate_id AND f.rank = i.rank"
							" AND f.impression_at = i.occurred_at"
							" RETURNING f.slate_id, f.rank, f.kind, c.starts_at, b.per_click, b.per_conversion, i.p_click, i.p_convert,"
							"  coalesce(i.occurred_at < c.closed_at, false) AS released),"
							" one AS (SELECT starts_at, released, per_click * p_click AS click_reserve, per_conversion * p_click * p_convert AS conversion_reserve,"
							"  CASE WHEN EXISTS (SELECT FROM kpx.feedback f WHERE f.slate_id = n.slate_id AND f.rank = n.rank AND f.settled"
							"   AND f.kind IN ('click', 'conversion')) THEN 0 ELSE 1 END AS clicks,"
							"  count(*) FILTER (WHERE kind = 'conversion') AS conversions, per_click, per_conversion"
							"  FROM new n GROUP BY slate_id, rank, starts_at, released, per_click, per_conversion, p_click, p_convert),"
							" due AS (SELECT starts_at, sum(clicks * per_click + conversions * per_conversion) AS cost,"
							"  sum(CASE WHEN released THEN 0 ELSE clicks * click_reserve + conversions * conversion_reserve END) AS reserve FROM one GROUP BY 1)"
							" UPDATE kpx.campaign c SET spent = c.spent + due.cost, reserved = greatest(c.reserved - due.reserve, 0)"
							" FROM due WHERE c.module_id = $1 AND c.kind = 'budget' AND c.starts_at = due.starts_at",
							2, types, values, NULL, false);
		/* Only settled feedback counts as having used its reserve: what arrived since the statement above is charged next time, as released. */
		kpx_catalog_execute("WITH old AS (SELECT c.starts_at, sum(CASE WHEN f.click THEN 0 ELSE b.per_click * i.p_click END"
							"  + CASE WHEN f.conversion THEN 0 ELSE b.per_conversion * i.p_click * i.p_convert END) AS reserve"
							" FROM" BUDGETED_FROM ", LATERAL (SELECT count(*) > 0 AS click, count(*) FILTER (WHERE kind = 'conversion') > 0 AS conversion"
							"  FROM kpx.feedback f WHERE f.slate_id = i.slate_id AND f.rank = i.rank AND f.settled AND f.kind IN ('click', 'conversion')) f"
							" WHERE" BUDGETED_WHERE " AND i.occurred_at >= coalesce(c.closed_at, '-infinity') AND i.occurred_at < $3 GROUP BY 1)"
							" UPDATE kpx.campaign c SET closed_at = greatest(c.closed_at, $3),"
							" reserved = greatest(c.reserved - coalesce((SELECT reserve FROM old WHERE old.starts_at = c.starts_at), 0), 0)"
							" WHERE c.module_id = $1 AND c.kind = 'budget'",
							3, types, values, NULL, false);
	}
	kpx_catalog_end(&catalog);
}
