/*
 * ranker_data.c
 *	  Logged impressions with their outcomes, as a ranker learns from them.
 */
#include "ranker_data.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/array.h"

#include "ranker.h"

#define ROWS_A_FETCH 10000

/* Arrays for n impressions. */
static KpxRankerData *
make_data(size_t n)
{
	KpxRankerData *data = palloc0(sizeof(KpxRankerData));
	uint16 *position = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(uint16));

	data->dense = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(float) * KPX_SIGNALS);
	data->category = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(uint32));
	data->label = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(uint8));
	for (int s = 0; s < KPX_SPLITS; s++)
		data->row[s] = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(uint32));
	data->impressions = (KpxImpressions){0, KPX_SIGNALS, 1, data->dense, data->category, position, data->label};
	return data;
}

/* Number of a pair's level, added when new. */
static uint32
level_of(KpxRankerData *data, int home, int module, MemoryContext context)
{
	char *pair = kpx_ranker_pair(home, module);
	MemoryContext old;

	for (int p = 0; p < data->n_pairs; p++)
		if (strcmp(data->pairs[p], pair) == 0)
			return (uint32) (KPX_SIGNALS + p);
	old = MemoryContextSwitchTo(context);
	if (data->n_pairs == data->max_pairs)
	{
		data->max_pairs = data->max_pairs ? data->max_pairs * 2 : 16;
		data->pairs = data->pairs ? repalloc(data->pairs, sizeof(char *) * data->max_pairs) : palloc(sizeof(char *) * data->max_pairs);
	}
	data->pairs[data->n_pairs] = pstrdup(pair);
	MemoryContextSwitchTo(old);
	return (uint32) (KPX_SIGNALS + data->n_pairs++);
}

static KpxRankerSplit
split_of(const char *user, uint64 seed)
{
	uint64 hundredth = hash_bytes_extended((const unsigned char *) user, (int) strlen(user), seed) % 100;

	return hundredth < 70 ? KPX_SPLIT_TRAIN : hundredth < 85 ? KPX_SPLIT_DEV
															 : KPX_SPLIT_TEST;
}

/* home, module, rank, user, signals, clicked, converted */
static void
take_row(KpxRankerData *data, HeapTuple tuple, TupleDesc desc, uint64 seed, MemoryContext context)
{
	bool null;
	size_t i = data->impressions.n;
	ArrayType *signals = DatumGetArrayTypeP(SPI_getbinval(tuple, desc, 5, &null));
	bool converted = DatumGetBool(SPI_getbinval(tuple, desc, 7, &null));
	bool clicked = converted || DatumGetBool(SPI_getbinval(tuple, desc, 6, &null));
	KpxRankerSplit split = split_of(SPI_getvalue(tuple, desc, 4), seed);
	int rank = DatumGetInt32(SPI_getbinval(tuple, desc, 3, &null));

	if (ARR_NDIM(signals) != 1 || ARR_HASNULL(signals) || ARR_DIMS(signals)[0] != KPX_SIGNALS)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED), errmsg("an impression was logged with other signals than this version has"),
				 errhint("Expire older impressions with kpx_expire_impressions.")));
	memcpy(data->dense + i * KPX_SIGNALS, ARR_DATA_PTR(signals), sizeof(float) * KPX_SIGNALS);
	data->category[i] = level_of(data, DatumGetInt32(SPI_getbinval(tuple, desc, 1, &null)),
								 DatumGetInt32(SPI_getbinval(tuple, desc, 2, &null)), context);
	((uint16 *) data->impressions.position)[i] = (uint16) Min(rank - 1, UINT16_MAX);
	data->label[i] = (clicked ? KPX_CLICKED : 0) | (converted ? KPX_CONVERTED : 0);
	data->row[split][data->n[split]++] = (uint32) i;
	data->clicks += clicked;
	data->conversions += converted;
	data->train_clicks += clicked && split == KPX_SPLIT_TRAIN;
	data->train_conversions += converted && split == KPX_SPLIT_TRAIN;
	data->impressions.n++;
}

#define IMPRESSIONS_OF_MODULES \
	"(SELECT slate_id, rank, home_module_id, module_id, user_id, signals FROM kpx.impression" \
	" WHERE module_id = ANY ($1) ORDER BY slate_id DESC, rank LIMIT $2) i"

KpxRankerData *
kpx_ranker_data(KpxModule **modules, int n_modules, int64 most, uint64 seed)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext row = AllocSetContextCreate(context, "kpxrec impressions", ALLOCSET_DEFAULT_SIZES);
	Oid types[] = {INT4ARRAYOID, INT8OID};
	Datum *ids = palloc(sizeof(Datum) * n_modules);
	Datum values[2];
	KpxCatalog catalog;
	KpxRankerData *data;
	Portal portal;
	size_t n;
	bool null;

	for (int m = 0; m < n_modules; m++)
		ids[m] = Int32GetDatum(modules[m]->id);
	values[0] = PointerGetDatum(construct_array(ids, n_modules, INT4OID, 4, true, TYPALIGN_INT));
	values[1] = Int64GetDatum(most);
	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("SELECT count(*) FROM " IMPRESSIONS_OF_MODULES, 2, types, values, NULL, true);
	n = (size_t) DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	kpx_check_budget(n * (sizeof(float) * KPX_SIGNALS + 5 * sizeof(uint32)), "training the ranker");
	MemoryContextSwitchTo(context);
	data = make_data(n);
	portal = SPI_cursor_open_with_args(
		NULL,
		"SELECT i.home_module_id, i.module_id, i.rank, i.user_id, i.signals, coalesce(f.clicked, false), coalesce(f.converted, false)"
		" FROM " IMPRESSIONS_OF_MODULES
		" LEFT JOIN (SELECT slate_id, rank, bool_or(kind = 'click') AS clicked, bool_or(kind = 'conversion') AS converted"
		"  FROM kpx.feedback GROUP BY slate_id, rank) f ON f.slate_id = i.slate_id AND f.rank = i.rank"
		" ORDER BY i.slate_id DESC, i.rank",
		2, types, values, NULL, true, 0);
	do
	{
		SPI_cursor_fetch(portal, true, ROWS_A_FETCH);
		MemoryContextSwitchTo(row);
		for (uint64 i = 0; i < SPI_processed && data->impressions.n < n; i++)
		{
			CHECK_FOR_INTERRUPTS();
			take_row(data, SPI_tuptable->vals[i], SPI_tuptable->tupdesc, seed, context);
			MemoryContextReset(row);
		}
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0);
	SPI_cursor_close(portal);
	kpx_catalog_end(&catalog);
	MemoryContextSwitchTo(context);
	MemoryContextDelete(row);
	return data;
}
