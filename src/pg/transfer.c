/*
 * transfer.c
 *	  kpx_export_model, kpx_import_model: a model as one bytea, from one cluster to another.
 *
 * core/transfer.h has the layout. Metadata is JSON made of the rows of our tables. A CRC-32C
 * over all of it notices every changed byte; what passes it is still not trusted: the model is
 * read as any stored one is, with all its checks, before the call returns.
 */
#include "kpxrec.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/jsonb.h"

#include "core/transfer.h"
#include "model.h"
#include "registry.h"
#include "training.h"

#define MAX_NAME 63 /* bytes of a block's name */

static uint32
package_crc(const KpxPackageHeader *header, const char *behind, size_t bytes)
{
	return kpx_crc(header, sizeof(*header), offsetof(KpxPackageHeader, crc), behind, bytes);
}

/* ------------------------------------------------------------ export */

/* The rows of the model but its blocks, as JSON; module ids are another cluster's business. */
static const char metadata_query[] =
	"SELECT jsonb_build_object("
	"'model', (SELECT to_jsonb(m) - '{id,version,owner,trained_by}'::text[] FROM kpx.model m WHERE m.id = $1),"
	"'modules', (SELECT jsonb_agg(to_jsonb(mm) - '{model_id,module_id}'::text[] ORDER BY mm.position)"
	" FROM kpx.model_module mm WHERE mm.model_id = $1),"
	"'parts', (SELECT jsonb_agg(to_jsonb(p) - 'model_id' ORDER BY p.position) FROM kpx.model_part p WHERE p.model_id = $1))::text";

static void
append_metadata(StringInfo package, int64 id, KpxPackageHeader *header)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(id)};
	char *json;

	kpx_catalog_execute(metadata_query, 1, types, values, NULL, true);
	json = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	/* In UTF-8, whatever the database speaks. */
	json = (char *) pg_do_encoding_conversion((unsigned char *) json, (int) strlen(json), GetDatabaseEncoding(), PG_UTF8);
	header->metadata_bytes = (uint32) strlen(json);
	appendBinaryStringInfo(package, json, (int) header->metadata_bytes);
}

static void
append_blocks(StringInfo package, int64 id, KpxPackageHeader *header)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(id)};
	Portal portal = SPI_cursor_open_with_args(NULL,
											  "SELECT kind, position, seq, data FROM kpx.model_block WHERE model_id = $1"
											  " ORDER BY kind, position, seq",
											  1, types, values, NULL, true, 0);

	for (SPI_cursor_fetch(portal, true, 1); SPI_processed > 0; SPI_cursor_fetch(portal, true, 1))
	{
		HeapTuple row = SPI_tuptable->vals[0];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool null;
		char *name = SPI_getvalue(row, desc, 1);
		Datum stored = SPI_getbinval(row, desc, 4, &null);
		bytea *data = DatumGetByteaPP(stored);
		KpxPackedHeader block = {(uint32) DatumGetInt32(SPI_getbinval(row, desc, 2, &null)),
								 (uint32) DatumGetInt32(SPI_getbinval(row, desc, 3, &null)), (uint32) strlen(name),
								 (uint32) VARSIZE_ANY_EXHDR(data)};

		CHECK_FOR_INTERRUPTS();
		appendBinaryStringInfo(package, (char *) &block, sizeof(block));
		appendBinaryStringInfo(package, name, (int) block.name_bytes);
		appendBinaryStringInfo(package, VARDATA_ANY(data), (int) block.data_bytes);
		header->blocks++;
		if ((Pointer) data != DatumGetPointer(stored))
			pfree(data);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
}

/* Before memory of that size is asked for. */
static void
check_size(int64 id)
{
	Oid types[] = {INT8OID};
	Datum values[] = {Int64GetDatum(id)};
	bool null;
	int64 bytes;

	kpx_catalog_execute("SELECT coalesce(sum(octet_length(data) + 128), 0)::int8 FROM kpx.model_block WHERE model_id = $1", 1, types, values,
						NULL, true);
	bytes = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	if (bytes > (int64) MaxAllocSize - (1 << 20))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("model " INT64_FORMAT " has " INT64_FORMAT " MB, a value of type bytea can have 1024 MB at most", id, bytes >> 20),
				 errhint("Move it with pg_dump, or by replication; or train with fewer factors.")));
}

PG_FUNCTION_INFO_V1(kpx_export_model);
Datum
kpx_export_model(PG_FUNCTION_ARGS)
{
	int64 id = PG_GETARG_INT64(0);
	KpxPackageHeader header = {.magic = KPX_PACKAGE_MAGIC, .version = KPX_PACKAGE_VERSION};
	KpxCatalog catalog;
	StringInfoData package;

	kpx_require_owner(kpx_model_owner(id), "model", psprintf(INT64_FORMAT, id));
	initStringInfo(&package);
	appendStringInfoSpaces(&package, VARHDRSZ + sizeof(header));
	kpx_catalog_begin(&catalog, true);
	check_size(id);
	append_metadata(&package, id, &header);
	append_blocks(&package, id, &header);
	kpx_catalog_end(&catalog);
	header.bytes = (uint64) package.len - VARHDRSZ;
	header.crc = package_crc(&header, package.data + VARHDRSZ + sizeof(header), header.bytes - sizeof(header));
	memcpy(package.data + VARHDRSZ, &header, sizeof(header));
	SET_VARSIZE(package.data, package.len);
	PG_RETURN_BYTEA_P(package.data);
}

/* ------------------------------------------------------------ import */

static void
corrupt(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("this is not a whole model: %s", what),
			 errhint("Export it again with kpx_export_model, and see that all bytes arrive.")));
}

static KpxPackage
open_package(const bytea *data)
{
	KpxPackage package;
	size_t length = VARSIZE_ANY_EXHDR(data);

	switch (kpx_package_open(VARDATA_ANY(data), length, &package))
	{
		case KPX_OK:
			break;
		case KPX_UNSUPPORTED:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("the model was exported by a newer kpxrec or on another kind of machine"),
					 errhint("Upgrade kpxrec, or train here.")));
			break;
		default:
			corrupt("it does not begin as one, or has another length than it says");
	}
	if (package_crc(&package.header, package.metadata, length - sizeof(package.header)) != package.header.crc)
		corrupt("its checksum does not match");
	return package;
}

/* The metadata as a jsonb datum in the database's encoding. */
static Datum
metadata_of(const KpxPackage *package)
{
	char *json = pnstrdup(package->metadata, package->header.metadata_bytes);

	if (strlen(json) != package->header.metadata_bytes)
		corrupt("its metadata is no text");
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(pg_any_to_server(json, (int) strlen(json), PG_UTF8)));
}

/*
 * $1 metadata, $2 name, $3 owner; module ids are found by name here. Columns that the
 * other side did not know have their defaults.
 */
static const char insert_model[] =
	"INSERT INTO kpx.model (name, version, owner, algorithm, params, factors, users, items, interactions, iterations, loss, seconds, bytes,"
	" metrics, created_at, refreshed_at)"
	" SELECT $2, 1 + coalesce((SELECT max(version) FROM kpx.model WHERE name = $2), 0), $3, r.algorithm, r.params, r.factors, r.users,"
	" r.items, r.interactions, r.iterations, r.loss, r.seconds, r.bytes, r.metrics, clock_timestamp(), NULL"
	" FROM jsonb_populate_record(NULL::kpx.model, $1->'model') r RETURNING id";

static const char insert_modules[] =
	"INSERT INTO kpx.model_module (model_id, position, module_id, module, items, users, interactions, observed_weight, half_life, oldest_event,"
	" newest_event, events_at_newest)"
	" SELECT $4, r.position, m.id, r.module, r.items, r.users, r.interactions, r.observed_weight, coalesce(r.half_life, 0), r.oldest_event,"
	" r.newest_event, coalesce(r.events_at_newest, 0)"
	" FROM jsonb_populate_recordset(NULL::kpx.model_module, $1->'modules') r JOIN kpx.module m ON m.name = r.module COLLATE \"C\"";

static const char insert_parts[] =
	"INSERT INTO kpx.model_part (model_id, position, algorithm, numbers)"
	" SELECT $4, r.position, r.algorithm, r.numbers FROM jsonb_populate_recordset(NULL::kpx.model_part, $1->'parts') r";

/* As the view kpx_model_metrics reads them: what is no metric fails here and not there, for whoever looks. */
static const char check_metrics[] =
	"SELECT count(r), count((j.value->>'measured_at')::timestamptz) FROM jsonb_each((SELECT metrics FROM kpx.model WHERE id = $4)) j,"
	" jsonb_to_recordset(CASE jsonb_typeof(j.value->'rows') WHEN 'array' THEN j.value->'rows' END)"
	" r(value float8, std_error float8, popularity float8, popularity_std_error float8, users bigint)";

/* The name in the metadata. */
static char *
name_in(Datum metadata)
{
	Oid types[] = {JSONBOID};
	Datum values[] = {metadata};
	MemoryContext context = CurrentMemoryContext;
	KpxCatalog catalog;
	char *name;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT coalesce($1->'model'->>'name', '')", 1, types, values, NULL, true);
	name = MemoryContextStrdup(context, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	kpx_catalog_end(&catalog);
	return name;
}

/* The metadata must name modules that are registered here. */
static void
require_modules(Datum metadata)
{
	Oid types[] = {JSONBOID};
	Datum values[] = {metadata};
	KpxRegistry *registry = kpx_registry();
	MemoryContext context = CurrentMemoryContext;
	KpxCatalog catalog;
	char **names;
	int n;

	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT r.module FROM jsonb_populate_recordset(NULL::kpx.model_module, $1->'modules') r", 1, types, values, NULL, true);
	n = (int) SPI_processed;
	names = MemoryContextAllocZero(context, sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		char *name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);

		names[i] = name ? MemoryContextStrdup(context, name) : NULL;
	}
	kpx_catalog_end(&catalog);
	if (n == 0)
		corrupt("it names no modules");
	for (int i = 0; i < n; i++)
	{
		if (names[i] == NULL)
			corrupt("a module has no name");
		(void) kpx_find_module(registry, names[i]);
	}
}

static void
insert_blocks(int64 id, KpxPackage *package)
{
	Oid types[] = {INT8OID, TEXTOID, INT4OID, INT4OID, BYTEAOID};
	KpxPacked block;
	KpxStatus status;

	while ((status = kpx_package_next(package, &block)) == KPX_MORE)
	{
		Datum values[5] = {Int64GetDatum(id)};
		bytea *data;

		CHECK_FOR_INTERRUPTS();
		if (block.header.name_bytes > MAX_NAME || strspn(pnstrdup(block.name, block.header.name_bytes), "abcdefghijklmnopqrstuvwxyz_") != block.header.name_bytes)
			corrupt("a block has a name that is none");
		data = palloc(VARHDRSZ + block.header.data_bytes);
		SET_VARSIZE(data, VARHDRSZ + block.header.data_bytes);
		memcpy(VARDATA(data), block.data, block.header.data_bytes);
		values[1] = PointerGetDatum(cstring_to_text_with_len(block.name, (int) block.header.name_bytes));
		values[2] = Int32GetDatum((int32) block.header.position);
		values[3] = Int32GetDatum((int32) block.header.seq);
		values[4] = PointerGetDatum(data);
		kpx_catalog_execute("INSERT INTO kpx.model_block (model_id, kind, position, seq, data) VALUES ($1, $2, $3, $4, $5)", 5, types, values,
							NULL, false);
		pfree(data);
	}
	if (status != KPX_OK)
		corrupt("its blocks are not as long as they say");
}

/* Ids that cannot be those of the module's items here would answer nothing, and say so only later. */
static void
check_kinds(KpxRegistry *registry, const KpxModel *model)
{
	for (int m = 0; m < model->n_modules; m++)
	{
		const KpxModelModule *trained = &model->modules[m];
		KpxIdKind here = kpx_module_item_kind(kpx_find_module(registry, trained->name));

		if (trained->items > 0 && here != trained->ids.kind)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("the model has %s ids for module \"%s\", its items have %s ids here", kpx_id_kind_name(trained->ids.kind),
							trained->name, kpx_id_kind_name(here)),
					 errhint("Register the same items under this name, or train here.")));
	}
}

PG_FUNCTION_INFO_V1(kpx_import_model);
Datum
kpx_import_model(PG_FUNCTION_ARGS)
{
	Oid types[] = {JSONBOID, TEXTOID, NAMEOID, INT8OID};
	Datum values[4] = {0};
	KpxTraining training = {0}; /* for its lock: as any other who makes a version of this name */
	KpxPackage package;
	KpxCatalog catalog;
	bool null;
	int64 id;

	PreventCommandIfReadOnly("kpx_import_model()");
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"data\" must not be NULL")));
	package = open_package(PG_GETARG_BYTEA_PP(0));
	values[0] = metadata_of(&package);
	training.name = PG_ARGISNULL(1) ? name_in(values[0]) : text_to_cstring(PG_GETARG_TEXT_PP(1));
	kpx_check_model_name(training.name);
	kpx_training_lock(&training, false);
	values[1] = CStringGetTextDatum(training.name);
	values[2] = DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(GetUserId(), false)));
	require_modules(values[0]);
	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute(insert_model, 3, types, values, NULL, false);
	id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	values[3] = Int64GetDatum(id);
	kpx_catalog_execute(insert_modules, 4, types, values, NULL, false);
	kpx_catalog_execute(insert_parts, 4, types, values, NULL, false);
	kpx_catalog_execute(check_metrics, 4, types, values, NULL, false);
	insert_blocks(id, &package);
	kpx_catalog_end(&catalog);
	CommandCounterIncrement();
	check_kinds(kpx_registry(), kpx_model(kpx_registry(), id));
	PG_RETURN_INT64(id);
}
