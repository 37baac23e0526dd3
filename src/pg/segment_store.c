/*
 * segment_store.c
 *	  Segments in the tables kpx.segmentation, kpx.segment*.
 */
#include "segment.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "fault.h"
#include "forget.h"
#include "ingest.h"

#define POPULAR_ITEMS 200 /* kept of each module and segment */
#define MEMBERS_A_STATEMENT 10000

/* As they are stored, in the order of KpxFeatureKind. */
const char *const kpx_feature_kinds[KPX_FEATURE_KINDS] = {"events", "value", "items", "recency", "hours", "weekend", "interest", "number", "boolean", "date",
														  "level", "other", "missing", "factor"};

/* Two sessions that make the same segments: the second fails at once. */
static void
lock_name(const char *name)
{
	LOCKTAG tag;
	uint64 hash = hash_bytes_extended((const unsigned char *) name, (int) strlen(name), 0);

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, 0x4B53);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("segments \"%s\" are being made by another session", name),
				 errhint("Wait for it, or cluster under another name.")));
}

/* Id and owner of a name; 0 when there is none. */
static int64
find_name(const char *name, char **owner)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(name)};
	MemoryContext context = CurrentMemoryContext;
	KpxCatalog catalog;
	int64 id = 0;
	bool null;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT id, owner FROM kpx.segmentation WHERE name = $1", 1, types, values, NULL, true);
	if (SPI_processed == 1)
	{
		id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
		*owner = MemoryContextStrdup(context, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2));
	}
	kpx_catalog_end(&catalog);
	return id;
}

void
kpx_segmentation_begin(const char *name)
{
	char *owner;

	lock_name(name);
	if (find_name(name, &owner) != 0)
		kpx_require_owner(owner, "segments", name);
}

bool
kpx_segmentation_drop(const char *name)
{
	static const char *const statements[] = {
		"DELETE FROM kpx.segment_member WHERE segmentation_id = $1",
		"DELETE FROM kpx.segment_item WHERE segmentation_id = $1",
		"DELETE FROM kpx.segment WHERE segmentation_id = $1",
		"DELETE FROM kpx.segment_feature WHERE segmentation_id = $1",
		"DELETE FROM kpx.segmentation WHERE id = $1",
	};
	Oid types[] = {INT8OID};
	Datum values[1];
	KpxCatalog catalog;
	char *owner;
	int64 id = find_name(name, &owner);

	if (id == 0)
		return false;
	values[0] = Int64GetDatum(id);
	kpx_catalog_begin(&catalog, false);
	for (int i = 0; i < (int) lengthof(statements); i++)
		kpx_catalog_execute(statements[i], 1, types, values, NULL, false);
	kpx_catalog_end(&catalog);
	return true;
}

static char *
params_json(int k, const KpxClusterParams *p)
{
	return psprintf("{\"k\": %s, \"min_k\": %.0f, \"max_k\": %.0f, \"restarts\": %.0f, \"iterations\": %.0f, \"tolerance\": %.15g,"
					" \"sample\": %.0f, \"interests\": %.0f, \"factors\": %.0f, \"min_users\": %.0f, \"members\": %.0f, \"seed\": %.0f}",
					k ? psprintf("%d", k) : "null", p->min_k, p->max_k, p->restarts, p->iterations, p->tolerance, p->sample, p->interests,
					p->factors, p->min_users, p->members, p->seed);
}

static int64
store_segmentation(const char *name, const char *owner, KpxModule **modules, int n, const KpxModel *model, const KpxEncoded *data,
				   const KpxClusters *clusters, int k, const KpxClusterParams *params)
{
	Oid types[] = {TEXTOID, NAMEOID, INT4ARRAYOID, TEXTARRAYOID, INT8OID, INT8OID, FLOAT8OID, FLOAT8OID, INT4OID, TEXTOID};
	Datum *ids = palloc(sizeof(Datum) * n);
	Datum *names = palloc(sizeof(Datum) * n);
	Datum values[10];
	char nulls[] = "          ";
	KpxCatalog catalog;
	int64 id;
	bool null;

	for (int m = 0; m < n; m++)
	{
		ids[m] = Int32GetDatum(modules[m]->id);
		names[m] = CStringGetTextDatum(modules[m]->name);
	}
	values[0] = CStringGetTextDatum(name);
	values[1] = DirectFunctionCall1(namein, CStringGetDatum(owner));
	values[2] = PointerGetDatum(construct_array(ids, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
	values[3] = PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
	values[4] = Int64GetDatum(model ? model->id : 0);
	nulls[4] = model ? ' ' : 'n';
	values[5] = Int64GetDatum((int64) data->n);
	values[6] = Float8GetDatum(clusters->inertia);
	values[7] = Float8GetDatum(clusters->silhouette);
	nulls[7] = isnan(clusters->silhouette) ? 'n' : ' ';
	values[8] = Int32GetDatum(clusters->iterations);
	values[9] = CStringGetTextDatum(params_json(k, params));
	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute("INSERT INTO kpx.segmentation (name, owner, module_ids, modules, model_id, users, inertia, silhouette, iterations, params)"
						" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb) RETURNING id",
						10, types, values, nulls, false);
	id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	kpx_catalog_end(&catalog);
	return id;
}

static void
store_features(int64 id, const KpxEncoded *data)
{
	Oid types[] = {INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, FLOAT8OID, FLOAT8OID, FLOAT8OID};

	for (int f = 0; f < data->n_features; f++)
	{
		const KpxFeature *feature = &data->features[f];
		const char *texts[] = {kpx_feature_kinds[feature->kind], feature->module, feature->name, feature->level};
		Datum values[10] = {Int64GetDatum(id), Int32GetDatum(f)};
		char nulls[] = "          ";

		for (int i = 0; i < 4; i++)
		{
			values[2 + i] = texts[i] ? CStringGetTextDatum(texts[i]) : (Datum) 0;
			nulls[2 + i] = texts[i] ? ' ' : 'n';
		}
		values[6] = Int32GetDatum(feature->part);
		values[7] = Float8GetDatum(feature->mean);
		values[8] = Float8GetDatum(feature->sd);
		values[9] = Float8GetDatum(feature->weight);
		kpx_catalog_execute("INSERT INTO kpx.segment_feature VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)", 10, types, values, nulls, false);
	}
}

/* Labels of two segments that read alike get a number. */
static char *
unique_label(char **labels, int j)
{
	int same = 1;

	for (int i = 0; i < j; i++)
		same += strncmp(labels[i], labels[j], strlen(labels[j])) == 0 &&
				(labels[i][strlen(labels[j])] == '\0' || strncmp(labels[i] + strlen(labels[j]), " (", 2) == 0);
	return same == 1 ? labels[j] : psprintf("%s (%d)", labels[j], same);
}

static void
store_segments(int64 id, const KpxEncoded *data, const KpxClusters *clusters)
{
	Oid types[] = {INT8OID, INT4OID, TEXTOID, INT8OID, FLOAT4ARRAYOID, TEXTOID, TEXTOID};
	Datum *centre = palloc(sizeof(Datum) * Max(data->n_features, 1));
	char **labels = palloc(sizeof(char *) * clusters->k);

	for (int j = 0; j < clusters->k; j++)
	{
		Datum values[7];

		for (int f = 0; f < data->n_features; f++)
			centre[f] = Float4GetDatum(clusters->means.centre[(size_t) j * clusters->means.ld + f]);
		labels[j] = kpx_segment_label(data, &clusters->means, j);
		labels[j] = unique_label(labels, j);
		values[0] = Int64GetDatum(id);
		values[1] = Int32GetDatum(j + 1);
		values[2] = CStringGetTextDatum(labels[j]);
		values[3] = Int64GetDatum((int64) clusters->means.count[j]);
		values[4] = PointerGetDatum(construct_array(centre, data->n_features, FLOAT4OID, sizeof(float4), true, TYPALIGN_INT));
		values[5] = CStringGetTextDatum(kpx_segment_centroid_json(data, &clusters->means, j));
		values[6] = CStringGetTextDatum(kpx_segment_features_json(data, &clusters->means, j));
		kpx_catalog_execute("INSERT INTO kpx.segment VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7::jsonb)", 7, types, values, NULL, false);
	}
}

static void
store_members(int64 id, const KpxEncoded *data, const KpxClusters *clusters)
{
	Oid types[] = {INT8OID, TEXTARRAYOID, INT4ARRAYOID};
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "kpxrec members", ALLOCSET_DEFAULT_SIZES);
	KpxForgotten *forgotten;

	/* users may have been forgotten since they were read */
	kpx_lock_all_users(true);
	forgotten = kpx_forgotten_load(kpx_registry());
	for (size_t begin = 0; begin < data->n; begin += MEMBERS_A_STATEMENT)
	{
		size_t end = Min(begin + MEMBERS_A_STATEMENT, data->n);
		int n = 0;
		MemoryContext old = MemoryContextSwitchTo(batch);
		Datum *users = palloc(sizeof(Datum) * (end - begin));
		Datum *segments = palloc(sizeof(Datum) * (end - begin));
		Datum values[3] = {Int64GetDatum(id)};

		CHECK_FOR_INTERRUPTS();
		KPX_FAULT("members");
		for (size_t i = begin; i < end; i++)
			if (!kpx_forgotten_has(forgotten, data->kind, data->users[i]))
			{
				users[n] = kpx_id_to_datum(data->kind, data->users[i], TEXTOID);
				segments[n++] = Int32GetDatum((int32) clusters->label[i] + 1);
			}
		values[1] = PointerGetDatum(construct_array(users, n, TEXTOID, -1, false, TYPALIGN_INT));
		values[2] = PointerGetDatum(construct_array(segments, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
		kpx_catalog_execute("INSERT INTO kpx.segment_member SELECT $1, u, s FROM unnest($2, $3) AS m(u, s)", 3, types, values, NULL, false);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
	}
}

/* ------------------------------------------------------------ what is popular in a segment */

typedef struct Popular
{
	uint32 item;
	double weight;
} Popular;

static int
compare_popular(const void *a, const void *b)
{
	const Popular *x = a;
	const Popular *y = b;

	if (x->weight != y->weight)
		return x->weight > y->weight ? -1 : 1;
	return x->item < y->item ? -1 : x->item > y->item;
}

/* weight[segment][item] and users[segment][item] of all interactions. */
static void
count_items(const KpxData *events, const KpxEncoded *data, const KpxClusters *clusters, double *weight, uint32 *users)
{
	size_t row = 0;

	for (uint32 u = 0; u < events->users; u++)
	{
		KpxId user = kpx_ids_get(&events->user_ids, u);

		if (u % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		while (row < data->n && kpx_id_compare(data->kind, data->users[row], user) < 0)
			row++;
		if (row == data->n || kpx_id_compare(data->kind, data->users[row], user) != 0)
			continue;
		for (uint64 j = events->offset[u]; j < events->offset[u + 1]; j++)
		{
			size_t at = (size_t) clusters->label[row] * events->items + (events->index[j] & 0x7FFFFFFF);

			weight[at] += events->weight[j];
			users[at]++;
		}
	}
}

static void
store_items_of(int64 id, int segment, const KpxData *events, int m, const double *weight, const uint32 *users, uint32 min_users)
{
	Oid types[] = {INT8OID, INT4OID, INT4OID, TEXTARRAYOID, FLOAT4ARRAYOID};
	uint32 begin = events->item_base[m];
	uint32 end = events->item_base[m + 1];
	Popular *popular = kpx_alloc(CurrentMemoryContext, Max(end - begin, 1), sizeof(Popular));
	Datum ids[POPULAR_ITEMS];
	Datum shares[POPULAR_ITEMS];
	Datum values[5] = {Int64GetDatum(id), Int32GetDatum(segment + 1), Int32GetDatum(events->modules[m]->id)};
	double all = 0;
	int n = 0;

	for (uint32 i = begin; i < end; i++)
	{
		all += weight[i];
		if (users[i] >= min_users && weight[i] > 0)
			popular[n++] = (Popular){i, weight[i]};
	}
	qsort(popular, (size_t) n, sizeof(Popular), compare_popular);
	n = Min(n, POPULAR_ITEMS);
	for (int i = 0; i < n; i++)
	{
		ids[i] = kpx_id_to_datum(events->item_ids[m].kind, kpx_ids_get(&events->item_ids[m], popular[i].item - begin), TEXTOID);
		shares[i] = Float4GetDatum((float) (popular[i].weight / all));
	}
	values[3] = PointerGetDatum(construct_array(ids, n, TEXTOID, -1, false, TYPALIGN_INT));
	values[4] = PointerGetDatum(construct_array(shares, n, FLOAT4OID, sizeof(float4), true, TYPALIGN_INT));
	if (n > 0)
		kpx_catalog_execute("INSERT INTO kpx.segment_item SELECT $1, $2, $3, i, s FROM unnest($4, $5) AS p(i, s)", 5, types, values, NULL, false);
	pfree(popular);
}

typedef struct Counts
{
	KpxData *events;
	double *weight;
	uint32 *users;
} Counts;

/* Reads as the caller, before anything is written. */
static Counts
read_popularity(KpxModule **modules, int n, const KpxEncoded *data, const KpxClusters *clusters)
{
	double *observed = palloc(sizeof(double) * n);
	Counts counts;
	size_t cells;

	for (int m = 0; m < n; m++)
		observed[m] = 1;
	counts.events = kpx_ingest(modules, n, observed, 0);
	cells = Max((size_t) counts.events->items * clusters->k, 1);
	kpx_check_budget(cells * (sizeof(double) + sizeof(uint32)), "counting what segments like");
	counts.weight = kpx_alloc_aligned(CurrentMemoryContext, cells, sizeof(double));
	counts.users = kpx_alloc_aligned(CurrentMemoryContext, cells, sizeof(uint32));
	count_items(counts.events, data, clusters, counts.weight, counts.users);
	return counts;
}

int64
kpx_segmentation_store(const char *name, KpxModule **modules, int n_modules, const KpxModel *model, const KpxEncoded *data,
					   const KpxClusters *clusters, int k, const KpxClusterParams *params)
{
	char *owner = GetUserNameFromId(GetUserId(), false);
	Counts counts = read_popularity(modules, n_modules, data, clusters);
	KpxCatalog catalog;
	int64 id;

	(void) kpx_segmentation_drop(name);
	id = store_segmentation(name, owner, modules, n_modules, model, data, clusters, k, params);
	kpx_catalog_begin(&catalog, false);
	store_features(id, data);
	store_segments(id, data, clusters);
	for (int j = 0; j < clusters->k; j++)
		for (int m = 0; m < n_modules; m++)
		{
			CHECK_FOR_INTERRUPTS();
			store_items_of(id, j, counts.events, m, counts.weight + (size_t) j * counts.events->items,
						   counts.users + (size_t) j * counts.events->items, (uint32) params->min_users);
		}
	if (params->members > 0)
		store_members(id, data, clusters);
	kpx_catalog_end(&catalog);
	return id;
}
