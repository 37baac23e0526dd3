/*
 * segment_store.c
 *	  Segments in the tables kpx.segmentation, kpx.segment*, and reading them back.
 */
#include "segment.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "ingest.h"

#define POPULAR_ITEMS 200 /* kept of each module and segment */
#define MEMBERS_A_STATEMENT 10000

/* As they are stored, in the order of KpxFeatureKind. */
static const char *const kind_names[] = {"events", "value", "items", "recency", "hours", "weekend", "interest", "number", "boolean", "date",
										 "level", "other", "missing", "factor"};

/* ------------------------------------------------------------ rights */

bool
kpx_may_use_segmentation(KpxRegistry *registry, const char *owner, const int *modules, int n)
{
	if (kpx_has_role(owner))
		return true;
	for (int i = 0; i < n; i++)
	{
		KpxModule *module = kpx_find_module_by_id(registry, modules[i]);

		if (module == NULL || !kpx_may_read_sources(module))
			return false;
	}
	return n > 0;
}

static int *
int_array(Datum datum, int *n)
{
	Datum *elements;
	bool *nulls;
	int *values;

	deconstruct_array(DatumGetArrayTypeP(datum), INT4OID, sizeof(int32), true, TYPALIGN_INT, &elements, &nulls, n);
	values = palloc(sizeof(int) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		values[i] = DatumGetInt32(elements[i]);
	return values;
}

/* ------------------------------------------------------------ writing */

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
		const char *texts[] = {kind_names[feature->kind], feature->module, feature->name, feature->level};
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

	for (size_t begin = 0; begin < data->n; begin += MEMBERS_A_STATEMENT)
	{
		int n = (int) Min(MEMBERS_A_STATEMENT, data->n - begin);
		MemoryContext old = MemoryContextSwitchTo(batch);
		Datum *users = palloc(sizeof(Datum) * n);
		Datum *segments = palloc(sizeof(Datum) * n);
		Datum values[3] = {Int64GetDatum(id)};

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
		{
			users[i] = kpx_id_to_datum(data->kind, data->users[begin + i], TEXTOID);
			segments[i] = Int32GetDatum((int32) clusters->label[begin + i] + 1);
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

/* ------------------------------------------------------------ reading */

static char *
text_value(HeapTuple row, TupleDesc desc, int column)
{
	return SPI_getvalue(row, desc, column);
}

static double
number_value(HeapTuple row, TupleDesc desc, int column)
{
	bool null;

	return DatumGetFloat8(SPI_getbinval(row, desc, column, &null));
}

static KpxFeatureKind
kind_of(const char *name, int64 id)
{
	for (int kind = 0; kind < (int) lengthof(kind_names); kind++)
		if (strcmp(kind_names[kind], name) == 0)
			return (KpxFeatureKind) kind;
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("segmentation " INT64_FORMAT " has a feature of unknown kind \"%s\"", id, name), errhint("Run kpx_cluster again.")));
}

static char *
copied(MemoryContext context, const char *string)
{
	return string ? MemoryContextStrdup(context, string) : NULL;
}

static void
load_features(KpxSegmentation *s, MemoryContext context)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(s->id)};

	kpx_catalog_execute("SELECT kind, module, name, level, part, mean, sd, weight FROM kpx.segment_feature WHERE segmentation_id = $1 ORDER BY position",
						1, types, values, NULL, true);
	s->n_features = (int) Min(SPI_processed, KPX_MAX_FEATURES);
	s->features = MemoryContextAllocZero(context, sizeof(KpxFeature) * Max(s->n_features, 1));
	for (int f = 0; f < s->n_features; f++)
	{
		HeapTuple row = SPI_tuptable->vals[f];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool null;

		s->features[f] = (KpxFeature){kind_of(text_value(row, desc, 1), s->id), copied(context, text_value(row, desc, 2)),
									  copied(context, text_value(row, desc, 3)), copied(context, text_value(row, desc, 4)),
									  DatumGetInt32(SPI_getbinval(row, desc, 5, &null)), number_value(row, desc, 6),
									  number_value(row, desc, 7), number_value(row, desc, 8)};
		if (s->features[f].module == NULL)
			s->features[f].module = "";
		if (s->features[f].name == NULL)
			s->features[f].name = "";
		if (s->features[f].level == NULL)
			s->features[f].level = "";
	}
}

static void
corrupt(int64 id)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("the centres of segmentation " INT64_FORMAT " do not fit its features", id), errhint("Run kpx_cluster again.")));
}

static void
load_segments(KpxSegmentation *s, MemoryContext context)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(s->id)};
	int features = Max(s->n_features, 1);
	MemoryContext old;

	kpx_catalog_execute("SELECT label, size, centre FROM kpx.segment WHERE segmentation_id = $1 ORDER BY segment", 1, types, values, NULL, true);
	if (SPI_processed < 1 || SPI_processed > KPX_MAX_SEGMENTS)
		corrupt(s->id);
	s->k = (int) SPI_processed;
	old = MemoryContextSwitchTo(context);
	s->segments = palloc0(sizeof(KpxSegment) * s->k);
	s->means = kpx_means_at(kpx_alloc_aligned(context, kpx_means_size(s->k, features), 1), s->k, features);
	for (int j = 0; j < s->k; j++)
	{
		HeapTuple row = SPI_tuptable->vals[j];
		TupleDesc desc = SPI_tuptable->tupdesc;
		Datum *elements;
		bool *nulls;
		int n;
		bool null;

		s->segments[j].label = pstrdup(text_value(row, desc, 1));
		s->segments[j].size = DatumGetInt64(SPI_getbinval(row, desc, 2, &null));
		deconstruct_array(DatumGetArrayTypeP(SPI_getbinval(row, desc, 3, &null)), FLOAT4OID, sizeof(float4), true, TYPALIGN_INT, &elements, &nulls, &n);
		if (n != s->n_features)
			corrupt(s->id);
		for (int f = 0; f < n; f++)
		{
			if (nulls[f] || !isfinite(DatumGetFloat4(elements[f])))
				corrupt(s->id);
			s->means.centre[(size_t) j * s->means.ld + f] = DatumGetFloat4(elements[f]);
		}
	}
	MemoryContextSwitchTo(old);
}

/* Owner and modules of the model of a segmentation; false when it is gone. */
static bool
model_usable(KpxRegistry *registry, int64 model)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(model)};
	MemoryContext context = CurrentMemoryContext;
	KpxCatalog catalog;
	char *owner = NULL;
	int modules[KPX_MAX_PROFILE_MODULES];
	int n = 0;
	bool null;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT m.owner, p.module_id FROM kpx.model m JOIN kpx.model_module p ON p.model_id = m.id WHERE m.id = $1", 1, types,
						values, NULL, true);
	for (uint64 i = 0; i < SPI_processed && n < KPX_MAX_PROFILE_MODULES; i++)
	{
		owner = MemoryContextStrdup(context, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
		modules[n++] = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &null));
	}
	kpx_catalog_end(&catalog);
	return owner && kpx_may_use_segmentation(registry, owner, modules, n);
}

/* What kpx.segmentation says of one. */
typedef struct Row
{
	int64 id;
	char *name;
	char *owner;
	int64 model;
	int *modules;
	int n_modules;
} Row;

/* By name, or those with a module (0: all), newest first. */
static Row *
find_rows(const char *name, int module, int *n)
{
	Oid types[] = {TEXTOID, INT4OID};
	Datum values[] = {name ? CStringGetTextDatum(name) : (Datum) 0, Int32GetDatum(module)};
	char nulls[] = {name ? ' ' : 'n', ' ', '\0'};
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	KpxCatalog catalog;
	Row *rows;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT id, name, owner, model_id, module_ids FROM kpx.segmentation WHERE ($1 IS NULL OR name = $1)"
						" AND ($2 = 0 OR $2 = ANY (module_ids)) ORDER BY created_at DESC, id DESC",
						2, types, values, nulls, true);
	old = MemoryContextSwitchTo(context);
	*n = (int) SPI_processed;
	rows = palloc(sizeof(Row) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool null;

		rows[i].id = DatumGetInt64(SPI_getbinval(row, desc, 1, &null));
		rows[i].name = pstrdup(text_value(row, desc, 2));
		rows[i].owner = pstrdup(text_value(row, desc, 3));
		rows[i].model = DatumGetInt64(SPI_getbinval(row, desc, 4, &null));
		rows[i].model = null ? 0 : rows[i].model;
		rows[i].modules = int_array(SPI_getbinval(row, desc, 5, &null), &rows[i].n_modules);
	}
	MemoryContextSwitchTo(old);
	kpx_catalog_end(&catalog);
	return rows;
}

static KpxSegmentation *
load_row(KpxRegistry *registry, const Row *row)
{
	KpxSegmentation *s = palloc0(sizeof(KpxSegmentation));
	MemoryContext context = CurrentMemoryContext;
	KpxCatalog catalog;

	s->id = row->id;
	s->name = row->name;
	s->owner = row->owner;
	s->modules = palloc(sizeof(KpxModule *) * Max(row->n_modules, 1));
	for (int m = 0; m < row->n_modules; m++)
	{
		KpxModule *module = kpx_find_module_by_id(registry, row->modules[m]);

		/* A module that was dropped, or lost its sources, says nothing any more. */
		if (module && module->n_sources > 0)
			s->modules[s->n_modules++] = module;
	}
	kpx_catalog_begin(&catalog, true);
	load_features(s, context);
	load_segments(s, context);
	kpx_catalog_end(&catalog);
	if (row->model && model_usable(registry, row->model))
		s->model = kpx_model(registry, row->model);
	return s;
}

KpxSegmentation *
kpx_segmentation_load(KpxRegistry *registry, const char *name, const KpxModule *module)
{
	int n;
	Row *rows = find_rows(name, module ? module->id : 0, &n);

	for (int i = 0; i < n; i++)
	{
		if (kpx_may_use_segmentation(registry, rows[i].owner, rows[i].modules, rows[i].n_modules))
			return load_row(registry, &rows[i]);
		if (name)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied for segments \"%s\"", name),
					 errdetail("The current role neither owns them nor may select from all event sources of their modules."),
					 errhint("Grant SELECT on them, or membership in the owner's role.")));
	}
	return NULL;
}

PG_FUNCTION_INFO_V1(kpx_may_use_segmentation_sql);
Datum
kpx_may_use_segmentation_sql(PG_FUNCTION_ARGS)
{
	Oid types[] = {INT8OID};
	Datum values[] = {PG_GETARG_DATUM(0)};
	MemoryContext context = CurrentMemoryContext;
	KpxCatalog catalog;
	char *owner = NULL;
	int *modules = NULL;
	int n = 0;
	bool null;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT owner, module_ids FROM kpx.segmentation WHERE id = $1", 1, types, values, NULL, true);
	if (SPI_processed == 1)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		owner = pstrdup(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
		modules = int_array(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null), &n);
		MemoryContextSwitchTo(old);
	}
	kpx_catalog_end(&catalog);
	PG_RETURN_BOOL(owner && kpx_may_use_segmentation(kpx_registry(), owner, modules, n));
}
