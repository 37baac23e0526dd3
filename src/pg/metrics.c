/*
 * metrics.c
 *	  What a model reached on held-out events beside popularity: as rows, and kept with the model.
 */
#include "metrics.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

void
kpx_metrics_add(KpxMetrics *metrics, const char *module, size_t k, uint64 users, const KpxJudgement *own, const KpxJudgement *popular)
{
	int n = metrics->n + KPX_METRICS + 1;

	metrics->metric = metrics->metric ? repalloc(metrics->metric, sizeof(KpxMetric) * n) : palloc(sizeof(KpxMetric) * n);
	for (int m = 0; m < KPX_METRICS; m++)
		metrics->metric[metrics->n++] = (KpxMetric){.module = module,
													.name = psprintf("%s@%zu", kpx_metric_names[m], k),
													.value = own->mean[m].mean,
													.popularity = popular->mean[m].mean,
													.std_error = kpx_mean_std_error(&own->mean[m]),
													.popularity_std_error = kpx_mean_std_error(&popular->mean[m]),
													.users = users};
	metrics->metric[metrics->n++] = (KpxMetric){.module = module,
												.name = psprintf("coverage@%zu", k),
												.value = own->coverage,
												.popularity = popular->coverage,
												.std_error = NAN,
												.popularity_std_error = NAN,
												.users = users};
}

void
kpx_metric_row(const KpxMetric *metric, Datum *values, bool *nulls)
{
	double number[] = {metric->value, metric->std_error, metric->popularity, metric->popularity_std_error};

	values[0] = CStringGetTextDatum(metric->module);
	values[1] = CStringGetTextDatum(metric->name);
	nulls[0] = nulls[1] = false;
	for (int i = 0; i < (int) lengthof(number); i++)
	{
		values[2 + i] = Float8GetDatum(number[i]);
		nulls[2 + i] = metric->users == 0 || isnan(number[i]);
	}
	values[6] = Int64GetDatum((int64) metric->users);
	nulls[6] = false;
}

void
kpx_metrics_keep(const KpxMetrics *metrics, int64 model, const char *key, const char *split, const char *message)
{
	static const Oid element[KPX_METRIC_COLUMNS] = {TEXTOID, TEXTOID, FLOAT8OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, INT8OID};
	Oid types[4 + KPX_METRIC_COLUMNS] = {INT8OID, TEXTOID, TEXTOID, TEXTOID};
	Datum values[4 + KPX_METRIC_COLUMNS] = {Int64GetDatum(model), CStringGetTextDatum(key), CStringGetTextDatum(split)};
	char given[4 + KPX_METRIC_COLUMNS + 1] = "   n       ";
	Datum *column[KPX_METRIC_COLUMNS];
	bool *missing[KPX_METRIC_COLUMNS];
	int lower = 1;
	KpxCatalog catalog;

	if (message)
	{
		values[3] = CStringGetTextDatum(message);
		given[3] = ' ';
	}
	for (int c = 0; c < KPX_METRIC_COLUMNS; c++)
	{
		column[c] = palloc(sizeof(Datum) * Max(metrics->n, 1));
		missing[c] = palloc(sizeof(bool) * Max(metrics->n, 1));
	}
	for (int i = 0; i < metrics->n; i++)
	{
		Datum row[KPX_METRIC_COLUMNS];
		bool nulls[KPX_METRIC_COLUMNS];

		kpx_metric_row(&metrics->metric[i], row, nulls);
		for (int c = 0; c < KPX_METRIC_COLUMNS; c++)
		{
			column[c][i] = row[c];
			missing[c][i] = nulls[c];
		}
	}
	for (int c = 0; c < KPX_METRIC_COLUMNS; c++)
	{
		int n = metrics->n;

		types[4 + c] = get_array_type(element[c]);
		values[4 + c] = PointerGetDatum(element[c] == TEXTOID ? construct_md_array(column[c], missing[c], 1, &n, &lower, TEXTOID, -1, false, TYPALIGN_INT)
															  : construct_md_array(column[c], missing[c], 1, &n, &lower, element[c], 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	}
	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("UPDATE kpx.model SET metrics = coalesce(metrics, '{}') || jsonb_build_object($2, jsonb_build_object('split', $3, 'message', $4,"
						" 'measured_at', clock_timestamp(), 'rows', (SELECT jsonb_agg(to_jsonb(r)) FROM unnest($5, $6, $7, $8, $9, $10, $11)"
						" r(module, metric, value, std_error, popularity, popularity_std_error, users)))) WHERE id = $1",
						lengthof(values), types, values, given, false);
	kpx_catalog_end(&catalog);
}
