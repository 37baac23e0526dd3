/*
 * segment_load.c
 *	  Segments read back from the tables kpx.segmentation, kpx.segment*; who may use them.
 */
#include "segment.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/acl.h"
#include "utils/array.h"

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
	for (int kind = 0; kind < KPX_FEATURE_KINDS; kind++)
		if (strcmp(kpx_feature_kinds[kind], name) == 0)
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

	kpx_catalog_execute("SELECT label, size, centre FROM kpx.segment WHERE segmentation_id = $1 ORDER BY segment", 1, types, values, NULL, true);
	if (SPI_processed < 1 || SPI_processed > KPX_MAX_SEGMENTS)
		corrupt(s->id);
	s->k = (int) SPI_processed;
	s->segments = MemoryContextAllocZero(context, sizeof(KpxSegment) * s->k);
	s->means = kpx_means_at(kpx_alloc_aligned(context, kpx_means_size(s->k, features), 1), s->k, features);
	for (int j = 0; j < s->k; j++)
	{
		HeapTuple row = SPI_tuptable->vals[j];
		TupleDesc desc = SPI_tuptable->tupdesc;
		Datum *elements;
		bool *nulls;
		int n;
		bool null;

		s->segments[j].label = copied(context, text_value(row, desc, 1));
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
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTOID, INT4OID};
	Datum values[] = {name ? CStringGetTextDatum(name) : (Datum) 0, Int32GetDatum(module)};
	char nulls[] = {name ? ' ' : 'n', ' ', '\0'};
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	KpxCatalog catalog;
	Row *rows;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute_planned(&plan,
								"SELECT id, name, owner, model_id, module_ids FROM kpx.segmentation WHERE ($1 IS NULL OR name = $1)"
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

/* Encoding and centres, kept in the session if there is room. */
static const KpxSegmentation *
encoding_of(KpxRegistry *registry, int64 id)
{
	const KpxSegmentation *known = kpx_segment_cache_find(registry->generation, id);
	MemoryContext context;
	KpxSegmentation *s;
	KpxCatalog catalog;

	if (known)
		return known;
	context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec segments", ALLOCSET_SMALL_SIZES);
	s = MemoryContextAllocZero(context, sizeof(KpxSegmentation));
	s->id = id;
	kpx_catalog_begin(&catalog, true);
	load_features(s, context);
	load_segments(s, context);
	kpx_catalog_end(&catalog);
	kpx_segment_cache_keep(registry->generation, s, context);
	return s;
}

static KpxSegmentation *
load_row(KpxRegistry *registry, const Row *row)
{
	KpxSegmentation *s = palloc(sizeof(KpxSegmentation));

	*s = *encoding_of(registry, row->id);
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
	if (row->model && model_usable(registry, row->model))
		s->model = kpx_model(registry, row->model);
	return s;
}

/*
 * Unasked, only segments of one's own or of who owns all of their modules speak: reading others' as the caller
 * would run whatever stands behind the modules that somebody put beside this one.
 */
static bool
serves(KpxRegistry *registry, const Row *row)
{
	Oid owner = get_role_oid(row->owner, true);

	if (owner == GetUserId())
		return true;
	for (int m = 0; m < row->n_modules; m++)
	{
		KpxModule *module = kpx_find_module_by_id(registry, row->modules[m]);
		Oid of_module = module ? get_role_oid(module->owner, true) : InvalidOid;

		if (module && !(OidIsValid(owner) && OidIsValid(of_module) && has_privs_of_role(owner, of_module)))
			return false;
	}
	return true;
}

KpxSegmentation *
kpx_segmentation_load(KpxRegistry *registry, const char *name, const KpxModule *module)
{
	int n;
	Row *rows = find_rows(name, module ? module->id : 0, &n);

	for (int i = 0; i < n; i++)
	{
		if (name == NULL && !serves(registry, &rows[i]))
			continue;
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
