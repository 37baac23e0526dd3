/*
 * ids.c
 *	  Ids of users and items: which types they may have, and sorted lists of them.
 */
#include "ids.h"

#include "catalog/pg_type.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/array.h"
#include "utils/uuid.h"

bool
kpx_id_kind(Oid type, KpxIdKind *kind)
{
	switch (getBaseType(type))
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
			*kind = KPX_ID_INT;
			return true;
		case UUIDOID:
			*kind = KPX_ID_UUID;
			return true;
		case TEXTOID:
		case VARCHAROID:
			*kind = KPX_ID_TEXT;
			return true;
		default:
			return false;
	}
}

KpxIdKind
kpx_require_id_kind(Oid type, const char *what)
{
	KpxIdKind kind;

	if (!kpx_id_kind(type, &kind))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("%s has type %s, which cannot be an id", what, format_type_be(type)),
				 errdetail("Ids are smallint, integer, bigint, text, varchar or uuid."),
				 errhint("Register a view that casts it.")));
	return kind;
}

const char *
kpx_id_kind_name(KpxIdKind kind)
{
	static const char *const names[] = {"integer", "uuid", "text"};

	return names[kind];
}

const char *const kpx_id_type_sql[] = {"pg_catalog.int8", "pg_catalog.uuid", "pg_catalog.text"};

Oid
kpx_id_kind_type(KpxIdKind kind)
{
	static const Oid types[] = {INT8OID, UUIDOID, TEXTOID};

	return types[kind];
}

KpxId
kpx_id_from_datum(KpxIdKind kind, Oid type, Datum value)
{
	KpxId id = {0, NULL, 0};

	if (kind == KPX_ID_INT)
	{
		/* Called for every row: only domains need the catalog. */
		if (type != INT8OID && type != INT4OID && type != INT2OID)
			type = getBaseType(type);
		id.number = type == INT8OID ? DatumGetInt64(value) : type == INT4OID ? DatumGetInt32(value)
																			 : DatumGetInt16(value);
	}
	else if (kind == KPX_ID_UUID)
	{
		id.bytes = (const char *) DatumGetUUIDP(value)->data;
		id.length = UUID_LEN;
	}
	else
	{
		id.bytes = VARDATA_ANY(DatumGetPointer(value));
		id.length = VARSIZE_ANY_EXHDR(DatumGetPointer(value));
		if (id.length > KPX_MAX_ID_LENGTH)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("an id of %u bytes is too long", id.length),
					 errdetail("Ids have at most %d bytes.", KPX_MAX_ID_LENGTH)));
	}
	return id;
}

Datum
kpx_id_array(KpxIdKind kind, const KpxId *ids, int n)
{
	Datum *elements = kpx_alloc(CurrentMemoryContext, Max(n, 1), sizeof(Datum));
	Oid type = kpx_id_kind_type(kind);
	int16 length;
	bool by_value;
	char align;

	for (int i = 0; i < n; i++)
		elements[i] = kpx_id_to_datum(kind, ids[i], type);
	get_typlenbyvalalign(type, &length, &by_value, &align);
	return PointerGetDatum(construct_array(elements, n, type, length, by_value, align));
}

char *
kpx_id_to_cstring(KpxIdKind kind, KpxId id)
{
	if (kind == KPX_ID_INT)
		return psprintf(INT64_FORMAT, id.number);
	if (kind == KPX_ID_UUID)
		return DatumGetCString(DirectFunctionCall1(uuid_out, PointerGetDatum(id.bytes)));
	return pnstrdup(id.bytes, id.length);
}

static Datum
base_datum(KpxIdKind kind, KpxId id, Oid base)
{
	KpxIdKind wanted;

	if (!kpx_id_kind(base, &wanted) || (wanted != kind && wanted != KPX_ID_TEXT))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("%s ids cannot be given as type %s", kpx_id_kind_name(kind), format_type_be(base)),
				 errhint("Pass a witness of the right type: item_type => NULL::%s.", format_type_be(kpx_id_kind_type(kind)))));
	if (wanted != kind)
		return CStringGetTextDatum(kpx_id_to_cstring(kind, id));
	if (kind == KPX_ID_INT)
	{
		if ((base == INT4OID && id.number != (int32) id.number) || (base == INT2OID && id.number != (int16) id.number))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("item id " INT64_FORMAT " is out of range for type %s", id.number, format_type_be(base)),
					 errhint("Pass the user id as bigint, for instance 42::bigint, or a witness: item_type => NULL::bigint.")));
		return base == INT8OID ? Int64GetDatum(id.number) : base == INT4OID ? Int32GetDatum((int32) id.number)
																			: Int16GetDatum((int16) id.number);
	}
	if (kind == KPX_ID_UUID)
	{
		pg_uuid_t *uuid = palloc(sizeof(pg_uuid_t));

		memcpy(uuid->data, id.bytes, UUID_LEN);
		return UUIDPGetDatum(uuid);
	}
	return PointerGetDatum(cstring_to_text_with_len(id.bytes, id.length));
}

Datum
kpx_id_to_datum(KpxIdKind kind, KpxId id, Oid type)
{
	Oid base = getBaseType(type);
	Datum value = base_datum(kind, id, base);

	if (base != type)
		domain_check(value, false, type, NULL, NULL);
	return value;
}

char *
kpx_id_sql(KpxIdKind kind, const char *text)
{
	switch (kind)
	{
		case KPX_ID_INT:
			return psprintf("CASE WHEN %s OPERATOR(pg_catalog.~) '^-?[0-9]{1,18}$' THEN %s::pg_catalog.int8 END", text, text);
		case KPX_ID_UUID:
			return psprintf("CASE WHEN %s OPERATOR(pg_catalog.~) '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN %s::pg_catalog.uuid END", text, text);
		default:
			return pstrdup(text);
	}
}

KpxId
kpx_id_from_text(KpxIdKind kind, const char *text)
{
	Datum value;

	if (kind == KPX_ID_INT)
		value = DirectFunctionCall1(int8in, CStringGetDatum(text));
	else if (kind == KPX_ID_UUID)
		value = DirectFunctionCall1(uuid_in, CStringGetDatum(text));
	else
		value = CStringGetTextDatum(text);
	return kpx_id_from_datum(kind, kpx_id_kind_type(kind), value);
}

/* 32 hexadecimal digits with hyphens, as uuid_out writes them, to 16 bytes. */
static bool
read_uuid(const char *text, char *bytes)
{
	if (strlen(text) != 36)
		return false;
	for (int i = 0, digit = 0; i < 36; i++)
	{
		bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
		const char *hex = "0123456789abcdef";
		const char *found = strchr(hex, text[i]);

		if (hyphen ? text[i] != '-' : found == NULL)
			return false;
		if (hyphen)
			continue;
		bytes[digit / 2] = digit % 2 ? (char) ((bytes[digit / 2] << 4) | (found - hex)) : (char) (found - hex);
		digit++;
	}
	return true;
}

bool
kpx_id_try_text(KpxIdKind kind, const char *text, KpxId *id)
{
	char *end;

	*id = (KpxId){0, text, (uint32) strlen(text)};
	if (kind == KPX_ID_UUID)
	{
		char *bytes = palloc(UUID_LEN);

		id->bytes = bytes;
		id->length = UUID_LEN;
		return read_uuid(text, bytes);
	}
	if (kind == KPX_ID_TEXT)
		return true;
	id->bytes = NULL;
	id->length = 0;
	errno = 0;
	id->number = strtoll(text, &end, 10);
	return errno == 0 && end != text && *end == '\0';
}

int
kpx_id_compare(KpxIdKind kind, KpxId a, KpxId b)
{
	int order;

	if (kind == KPX_ID_INT)
		return a.number < b.number ? -1 : a.number > b.number;
	order = memcmp(a.bytes, b.bytes, Min(a.length, b.length));
	if (order != 0)
		return order;
	return a.length < b.length ? -1 : a.length > b.length;
}

KpxId
kpx_ids_get(const KpxIds *ids, uint64 i)
{
	KpxId id = {0, NULL, 0};

	if (ids->kind == KPX_ID_INT)
		id.number = ids->numbers[i];
	else if (ids->kind == KPX_ID_UUID)
	{
		id.bytes = ids->bytes + i * UUID_LEN;
		id.length = UUID_LEN;
	}
	else
	{
		id.bytes = ids->bytes + ids->offsets[i];
		id.length = (uint32) (ids->offsets[i + 1] - ids->offsets[i]);
	}
	return id;
}

KpxIds
kpx_ids_without(const KpxIds *ids, const bool *without)
{
	KpxIds kept = {.kind = ids->kind};
	size_t total = 0;
	int64 *numbers = ids->kind == KPX_ID_INT ? kpx_alloc(CurrentMemoryContext, Max(ids->n, 1), sizeof(int64)) : NULL;
	uint64 *offsets = ids->kind == KPX_ID_TEXT ? kpx_alloc(CurrentMemoryContext, ids->n + 1, sizeof(uint64)) : NULL;
	char *bytes;

	for (uint64 i = 0; i < ids->n; i++)
		total += without[i] ? 0 : kpx_ids_get(ids, i).length;
	bytes = ids->kind == KPX_ID_INT ? NULL : kpx_alloc(CurrentMemoryContext, Max(total, 1), 1);
	total = 0;
	for (uint64 i = 0; i < ids->n; i++)
	{
		KpxId id = kpx_ids_get(ids, i);

		if (without[i])
			continue;
		if (numbers)
			numbers[kept.n] = id.number;
		else
			memcpy(bytes + total, id.bytes, id.length);
		if (offsets)
			offsets[kept.n] = total;
		total += id.length;
		kept.n++;
	}
	if (offsets)
		offsets[kept.n] = total;
	kept.numbers = numbers;
	kept.bytes = bytes;
	kept.offsets = offsets;
	return kept;
}

int64
kpx_ids_find(const KpxIds *ids, KpxId id)
{
	uint64 low = 0;
	uint64 high = ids->n;

	while (low < high)
	{
		uint64 middle = low + (high - low) / 2;
		int order = kpx_id_compare(ids->kind, kpx_ids_get(ids, middle), id);

		if (order == 0)
			return (int64) middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}
