/*
 * ranker.c
 *	  Trained rankers: the active one, cached in the session, and what it says.
 */
#include "ranker.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"

/* What was read, and when: the registry's generation counts changes of kpx.ranker, too. */
static MemoryContext cache = NULL;
static const KpxTrainedRanker *active = NULL;
static uint64 read_at = 0;
static bool has_read = false;

char *
kpx_ranker_pair(int home_module, int module)
{
	return psprintf("%d>%d", home_module, module);
}

uint32
kpx_ranker_level(const KpxTrainedRanker *ranker, const char *pair)
{
	for (int p = 0; p < ranker->n_pairs; p++)
		if (strcmp(ranker->pairs[p], pair) == 0)
			return (uint32) (KPX_SIGNALS + p);
	return KPX_NO_CATEGORY;
}

void
kpx_ranker_probabilities(const KpxTrainedRanker *ranker, const KpxImpressions *impressions, size_t row, bool at_position,
						 double *click, double *both)
{
	double click_logit;
	double both_logit;

	kpx_ranker_outcome_logits(&ranker->ranker, impressions, row, at_position, &click_logit, &both_logit);
	*click = kpx_sigmoid(ranker->platt[0].slope * click_logit + ranker->platt[0].intercept);
	*both = kpx_sigmoid(ranker->platt[1].slope * both_logit + ranker->platt[1].intercept);
	*both = Min(*both, *click);
}

/* Column of the row at hand as doubles; false when it has another length or NULLs. */
static bool
doubles(int column, double *to, size_t n)
{
	bool null;
	ArrayType *array = DatumGetArrayTypeP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &null));

	if (null || ARR_NDIM(array) != 1 || ARR_HASNULL(array) || (size_t) ArrayGetNItems(1, ARR_DIMS(array)) != n)
		return false;
	memcpy(to, ARR_DATA_PTR(array), n * sizeof(double));
	for (size_t i = 0; i < n; i++)
		if (isnan(to[i]) || isinf(to[i]))
			return false;
	return true;
}

static void
take_lists(KpxTrainedRanker *t)
{
	bool null;
	Datum *elements;

	deconstruct_array(DatumGetArrayTypeP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null)), INT4OID, 4, true,
					  TYPALIGN_INT, &elements, NULL, &t->n_modules);
	t->modules = MemoryContextAlloc(cache, sizeof(int) * Max(t->n_modules, 1));
	for (int m = 0; m < t->n_modules; m++)
		t->modules[m] = DatumGetInt32(elements[m]);
	deconstruct_array(DatumGetArrayTypeP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 6, &null)), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, NULL, &t->n_pairs);
	t->pairs = MemoryContextAlloc(cache, sizeof(char *) * Max(t->n_pairs, 1));
	for (int p = 0; p < t->n_pairs; p++)
		t->pairs[p] = MemoryContextStrdup(cache, TextDatumGetCString(elements[p]));
}

/* From the row that was read, into the cache. */
static KpxTrainedRanker *
take_ranker(void)
{
	HeapTuple tuple = SPI_tuptable->vals[0];
	TupleDesc desc = SPI_tuptable->tupdesc;
	KpxTrainedRanker *t = MemoryContextAllocZero(cache, sizeof(KpxTrainedRanker));
	double platt[4];
	bool null;
	int factors = DatumGetInt32(SPI_getbinval(tuple, desc, 4, &null));
	int positions = DatumGetInt32(SPI_getbinval(tuple, desc, 5, &null));
	bool good;

	t->id = DatumGetInt64(SPI_getbinval(tuple, desc, 1, &null));
	t->convert_trained = DatumGetBool(SPI_getbinval(tuple, desc, 3, &null));
	take_lists(t);
	good = kpx_ranker_layout(&t->ranker, KPX_SIGNALS + t->n_pairs, factors, positions) == KPX_OK;
	if (good)
	{
		t->ranker.parameter = MemoryContextAlloc(cache, sizeof(double) * t->ranker.parameters);
		good = doubles(7, t->mean, KPX_SIGNALS) && doubles(8, t->sd, KPX_SIGNALS) && doubles(9, platt, 4) &&
			   doubles(10, t->ranker.parameter, t->ranker.parameters);
	}
	for (int s = 0; good && s < KPX_SIGNALS; s++)
		good = t->sd[s] > 0;
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED), errmsg("ranker " INT64_FORMAT " is corrupt", t->id),
				 errhint("Train another one: kpx_train_ranker.")));
	t->platt[0] = (KpxPlatt){platt[0], platt[1]};
	t->platt[1] = (KpxPlatt){platt[2], platt[3]};
	return t;
}

const KpxTrainedRanker *
kpx_active_ranker(KpxRegistry *registry)
{
	KpxCatalog catalog;

	if (has_read && read_at == registry->generation)
		return active;
	has_read = false;
	active = NULL;
	if (cache == NULL)
		cache = AllocSetContextCreate(TopMemoryContext, "kpxrec ranker", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(cache);
	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT id, modules, convert_trained, factors, positions, pairs, mean, sd, platt, parameters"
						" FROM kpx.ranker WHERE active",
						0, NULL, NULL, NULL, true);
	if (SPI_processed == 1)
		active = take_ranker();
	kpx_catalog_end(&catalog);
	read_at = registry->generation;
	has_read = true;
	return active;
}

bool
kpx_ranker_is_active(KpxRegistry *registry)
{
	return kpx_active_ranker(registry) != NULL;
}
