/*
 * ranker_report.c
 *	  How a ranker does on users it has not learnt from: kpx_ranker_report.
 *
 * Three heads are judged: click and click_and_convert on all impressions, convert on those
 * that were clicked. Probabilities are the calibrated ones at the positions shown. What is
 * called positive is what reaches the threshold with the highest F1 on dev users.
 */
#include "ranker_report.h"

#include <math.h>

#include "catalog/pg_type.h"

#define DECILES 10

typedef enum Head
{
	CLICK,
	CLICK_AND_CONVERT,
	CONVERT,
	HEADS
} Head;

static const char *const head_names[] = {"click", "click_and_convert", "convert"};

/* Predictions of one head on one split, sorted. */
static KpxPrediction *
predictions(const KpxTrainedRanker *ranker, const KpxRankerData *data, KpxRankerSplit split, Head head, size_t *n)
{
	size_t rows = data->n[split];
	KpxPrediction *made = kpx_alloc(CurrentMemoryContext, Max(rows, 1), sizeof(KpxPrediction));
	KpxPrediction *scratch = kpx_alloc(CurrentMemoryContext, Max(rows, 1), sizeof(KpxPrediction));

	*n = 0;
	for (size_t i = 0; i < rows; i++)
	{
		uint32 row = data->row[split][i];
		uint8 label = data->label[row];
		double click;
		double both;

		if (i % 4096 == 0)
			CHECK_FOR_INTERRUPTS();
		if (head == CONVERT && !(label & KPX_CLICKED))
			continue;
		kpx_ranker_probabilities(ranker, &data->impressions, row, true, &click, &both);
		made[(*n)++] = (KpxPrediction){(float) (head == CLICK ? click : head == CONVERT ? both / click
																						: both),
									   (label & (head == CLICK ? KPX_CLICKED : KPX_CONVERTED)) != 0};
	}
	kpx_sort_predictions(made, *n, scratch);
	pfree(scratch);
	return made;
}

/* One row of the report; NaN becomes NULL. */
static void
put(int64 ranker, const char *split, Head head, const char *metric, const char *label, double value, uint64 n)
{
	Oid types[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, FLOAT8OID, INT8OID};
	Datum values[] = {Int64GetDatum(ranker), CStringGetTextDatum(split), CStringGetTextDatum(head_names[head]), CStringGetTextDatum(metric),
					  CStringGetTextDatum(label), Float8GetDatum(value), Int64GetDatum((int64) n)};

	kpx_catalog_execute("INSERT INTO kpx.ranker_report VALUES ($1, $2, $3, $4, $5, $6, $7)", 7, types, values,
						isnan(value) ? "     n " : NULL, false);
}

static void
put_class(int64 ranker, const char *split, Head head, const char *label, uint64 hit, uint64 called_wrongly, uint64 missed)
{
	put(ranker, split, head, "precision", label, hit + called_wrongly ? (double) hit / (double) (hit + called_wrongly) : NAN, hit + called_wrongly);
	put(ranker, split, head, "recall", label, hit + missed ? (double) hit / (double) (hit + missed) : NAN, hit + missed);
	put(ranker, split, head, "f1", label, kpx_f1(hit, called_wrongly, missed), hit + missed);
}

static void
put_head(int64 ranker, const char *split, Head head, const KpxPrediction *p, size_t n, double threshold)
{
	KpxConfusion c = kpx_confusion(p, n, threshold);
	KpxCalibrationBin bin[DECILES];

	put(ranker, split, head, "auc", "", kpx_auc(p, n), n);
	put(ranker, split, head, "log_loss", "", kpx_log_loss(p, n), n);
	put(ranker, split, head, "threshold", "", threshold, n);
	put_class(ranker, split, head, "yes", c.true_positive, c.false_positive, c.false_negative);
	put_class(ranker, split, head, "no", c.true_negative, c.false_negative, c.false_positive);
	kpx_calibration(p, n, DECILES, bin);
	for (int b = 0; b < DECILES; b++)
	{
		put(ranker, split, head, "predicted", psprintf("decile %d", b + 1), bin[b].predicted, bin[b].n);
		put(ranker, split, head, "observed", psprintf("decile %d", b + 1), bin[b].observed, bin[b].n);
	}
}

void
kpx_ranker_judge(const KpxTrainedRanker *ranker, const KpxRankerData *data, double auc[2])
{
	KpxCatalog catalog;

	kpx_catalog_begin(&catalog, false);
	for (int head = CLICK; head < HEADS; head++)
	{
		size_t n_dev;
		size_t n_test;
		KpxPrediction *dev = predictions(ranker, data, KPX_SPLIT_DEV, head, &n_dev);
		KpxPrediction *test = predictions(ranker, data, KPX_SPLIT_TEST, head, &n_test);
		double threshold = kpx_best_threshold(dev, n_dev);

		put_head(ranker->id, "dev", head, dev, n_dev, threshold);
		put_head(ranker->id, "test", head, test, n_test, threshold);
		if (head != CLICK_AND_CONVERT)
			auc[head == CONVERT] = kpx_auc(test, n_test);
		pfree(dev);
		pfree(test);
	}
	kpx_catalog_end(&catalog);
}

/* The ranker asked for, or the active one; its owner's. 42704, 42501. */
static int64
find_ranker(FunctionCallInfo fcinfo, KpxRegistry *registry)
{
	const KpxTrainedRanker *active = kpx_active_ranker(registry);
	int64 id = PG_ARGISNULL(0) ? (active ? active->id : 0) : PG_GETARG_INT64(0);
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(id)};
	MemoryContext context = CurrentMemoryContext;
	KpxCatalog catalog;
	char *owner = NULL;

	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("there is no active ranker"),
				 errhint("Train one with kpx_train_ranker.")));
	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT owner FROM kpx.ranker WHERE id = $1", 1, types, values, NULL, true);
	if (SPI_processed == 1)
		owner = MemoryContextStrdup(context, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	kpx_catalog_end(&catalog);
	if (owner == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("ranker " INT64_FORMAT " does not exist", id)));
	kpx_require_owner(owner, "ranker", psprintf(INT64_FORMAT, id));
	return id;
}

PG_FUNCTION_INFO_V1(kpx_ranker_report);
Datum
kpx_ranker_report(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid types[] = {INT8OID};
	Datum values[1];
	KpxCatalog catalog;

	InitMaterializedSRF(fcinfo, 0);
	values[0] = Int64GetDatum(find_ranker(fcinfo, kpx_registry()));
	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT split, head, metric, label, value, n FROM kpx.ranker_report WHERE ranker_id = $1"
						" ORDER BY split, head, metric, length(label), label",
						1, types, values, NULL, true);
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(rsinfo->setResult, SPI_tuptable->vals[i]);
	kpx_catalog_end(&catalog);
	return (Datum) 0;
}
