/*
 * ranking.c
 *	  What each candidate is expected to do: by the active ranker, else by smoothed rates.
 *
 * P(click) of an item in a pair of modules (where it is shown, where it comes from) is
 * the mean of a Beta posterior: (clicks + 20 m) / (impressions + 20). Its prior mean m is
 * the pair's own rate, (clicks + 20 x 0.05) / (impressions + 20) over all its items, times
 * the item's score over the mean score of the module's candidates, kept within 1/4 and 4:
 * before anybody has seen an item, what sets it apart is how well it fits the user.
 * P(convert | click) is smoothed likewise, from a prior of 0.1 and without the score. The
 * counts are those of kpx_attribute's last run.
 *
 * The active ranker speaks for the modules that it was trained for, and the smoothed rates
 * are among its signals.
 */
#include "ranking.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "core/feedback.h"
#include "core/policy.h"
#include "ranker.h"

#define PRIOR_WEIGHT 20
#define PRIOR_CLICK 0.05
#define PRIOR_CONVERT 0.1
#define MOST_FAVOUR 4
#define LEAST 1e-6
#define MOST 0.95

/* Counts of one item in the request's pair of modules. */
typedef struct Counts
{
	double impressions;
	double clicks;
	double conversions;
} Counts;

static ArrayType *
text_array(Datum *elements, int n)
{
	return construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT);
}

/* Rows of kpx.item_rate that concern the request, to the items' counts and the modules' totals. */
static void
read_counts(const KpxRankRequest *r, Counts *item, Counts *total)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {INT4OID, INT4ARRAYOID, TEXTARRAYOID};
	Datum values[3];
	Datum *ids = palloc(sizeof(Datum) * (r->n + 1));
	Datum *modules = palloc(sizeof(Datum) * r->n_modules);
	KpxCatalog catalog;

	for (int i = 0; i < r->n; i++)
		ids[i] = CStringGetTextDatum(r->items[i].id);
	ids[r->n] = CStringGetTextDatum("");
	for (int m = 0; m < r->n_modules; m++)
		modules[m] = Int32GetDatum(r->modules[m]->id);
	values[0] = Int32GetDatum(r->home ? r->home->id : 0);
	values[1] = PointerGetDatum(construct_array(modules, r->n_modules, INT4OID, 4, true, TYPALIGN_INT));
	values[2] = PointerGetDatum(text_array(ids, r->n + 1));
	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute_planned(&plan, "SELECT module_id, item_id, sum(impressions)::float8, sum(clicks)::float8, sum(conversions)::float8 FROM kpx.item_rate"
									   " WHERE home_module_id = $1 AND module_id = ANY ($2) AND item_id = ANY ($3) GROUP BY 1, 2",
								3, types, values, NULL, true);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		HeapTuple tuple = SPI_tuptable->vals[row];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool null;
		int module = DatumGetInt32(SPI_getbinval(tuple, desc, 1, &null));
		char *id = SPI_getvalue(tuple, desc, 2);
		Counts counts = {DatumGetFloat8(SPI_getbinval(tuple, desc, 3, &null)), DatumGetFloat8(SPI_getbinval(tuple, desc, 4, &null)),
						 DatumGetFloat8(SPI_getbinval(tuple, desc, 5, &null))};

		for (int m = 0; m < r->n_modules; m++)
			if (id[0] == '\0' && r->modules[m]->id == module)
				total[m] = counts;
		for (int i = 0; i < r->n; i++)
			if (r->modules[r->items[i].module]->id == module && strcmp(r->items[i].id, id) == 0)
				item[i] = counts;
	}
	kpx_catalog_end(&catalog);
}

static double
within(double value, double low, double high)
{
	return value < low ? low : value > high ? high
											: value;
}

/* p_click and p_convert of all candidates; item: their counts. */
static void
smoothed_rates(KpxRankRequest *r, Counts *item)
{
	Counts *total = palloc0(sizeof(Counts) * r->n_modules);
	double *mean = palloc0(sizeof(double) * r->n_modules);
	int *count = palloc0(sizeof(int) * r->n_modules);

	read_counts(r, item, total);
	for (int i = 0; i < r->n; i++)
	{
		mean[r->items[i].module] += r->items[i].score;
		count[r->items[i].module]++;
	}
	for (int i = 0; i < r->n; i++)
	{
		KpxRankItem *it = &r->items[i];
		const Counts *pair = &total[it->module];
		double average = mean[it->module] / count[it->module];
		double favour = average > 0 ? within(it->score / average, 1.0 / MOST_FAVOUR, MOST_FAVOUR) : 1;
		double click = kpx_smoothed_rate(pair->clicks, pair->impressions, PRIOR_CLICK, PRIOR_WEIGHT);
		double convert = kpx_smoothed_rate(pair->conversions, pair->clicks, PRIOR_CONVERT, PRIOR_WEIGHT);

		it->p_click = within(kpx_smoothed_rate(item[i].clicks, item[i].impressions, within(click * favour, LEAST, MOST), PRIOR_WEIGHT),
							 LEAST, MOST);
		it->p_convert = within(kpx_smoothed_rate(item[i].conversions, item[i].clicks, convert, PRIOR_WEIGHT), LEAST, MOST);
	}
}

static bool
speaks_for(const KpxTrainedRanker *ranker, int module)
{
	for (int m = 0; m < ranker->n_modules; m++)
		if (ranker->modules[m] == module)
			return true;
	return false;
}

/* What the ranker says of a candidate, at the first position. */
static void
rank_by(const KpxTrainedRanker *ranker, const KpxRankRequest *r, KpxRankItem *item)
{
	float dense[KPX_SIGNALS];
	int module = r->modules[item->module]->id;
	uint32 pair = kpx_ranker_level(ranker, kpx_ranker_pair(r->home ? r->home->id : 0, module));
	KpxImpressions one = {1, KPX_SIGNALS, 1, dense, &pair, NULL, NULL};
	double click;
	double both;

	if (item->signal == NULL || !speaks_for(ranker, module))
		return;
	memcpy(dense, item->signal, sizeof(dense));
	kpx_standardise(dense, KPX_SIGNALS, ranker->mean, ranker->sd);
	kpx_ranker_probabilities(ranker, &one, 0, false, &click, &both);
	item->p_click = within(click, LEAST, MOST);
	if (ranker->convert_trained)
		item->p_convert = within(both / click, LEAST, MOST);
}

const char *
kpx_rank_candidates(KpxRankRequest *r)
{
	const KpxTrainedRanker *ranker = kpx_active_ranker(r->registry);
	Counts *counts = palloc0(sizeof(Counts) * Max(r->n, 1));

	if (r->n > 0)
		smoothed_rates(r, counts);
	for (int i = 0; i < r->n; i++)
	{
		KpxRankItem *item = &r->items[i];

		if (item->signal)
		{
			item->signal[KPX_SIGNAL_CLICK_RATE] = kpx_signal_logit(item->p_click);
			item->signal[KPX_SIGNAL_CONVERT_RATE] = kpx_signal_logit(item->p_convert);
		}
		if (ranker)
			rank_by(ranker, r, item);
		/* a ranker's estimate is taken to be known as well as the item's smoothed rate */
		item->spread = kpx_rate_spread(item->p_click, counts[i].impressions + PRIOR_WEIGHT, item->p_convert, counts[i].clicks + PRIOR_WEIGHT);
	}
	return ranker ? psprintf("ranker " INT64_FORMAT, ranker->id) : "smoothed rates";
}
