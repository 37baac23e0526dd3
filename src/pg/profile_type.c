/*
 * profile_type.c
 *	  The type kpx_profile: input and output, comparison, fusing, distance.
 *
 * A value is a varlena whose payload is the flat form of core/profile.h, which is the same
 * on every machine and is also what travels in binary. Values are checked whenever they
 * are decoded.
 */
#include "profile.h"

#include "common/hashfn.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/fmgrprotos.h"

#include "profile_json.h"

/* ------------------------------------------------------------ values */

void
kpx_profile_provide(KpxProfile *profile)
{
	profile->modules = palloc(sizeof(KpxProfileModule) * Max(profile->n_modules, 1));
	profile->kinds = palloc(sizeof(KpxProfileKind) * Max(profile->n_kinds, 1));
	profile->features = kpx_alloc(CurrentMemoryContext, profile->n_features, sizeof(KpxProfileFeature));
	profile->minima = kpx_alloc(CurrentMemoryContext, profile->n_minima, sizeof(uint32));
}

KpxProfile *
kpx_profile_from_bytes(const char *bytes, size_t length, bool *unsupported)
{
	KpxProfile *profile = palloc(sizeof(KpxProfile));
	KpxStatus status = kpx_profile_check(bytes, length, profile);

	*unsupported = status == KPX_UNSUPPORTED;
	if (status != KPX_OK)
		return NULL;
	kpx_profile_provide(profile);
	kpx_profile_decode(bytes, length, profile);
	return profile;
}

KpxProfile *
kpx_profile_from_datum(Datum value)
{
	struct varlena *flat = PG_DETOAST_DATUM_PACKED(value);
	bool unsupported;
	KpxProfile *profile = kpx_profile_from_bytes(VARDATA_ANY(flat), VARSIZE_ANY_EXHDR(flat), &unsupported);

	if (unsupported)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the profile was written by a later version of kpxrec"), errhint("Upgrade kpxrec.")));
	if (profile == NULL)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("a kpx_profile value is corrupt")));
	return profile;
}

Datum
kpx_profile_to_datum(const KpxProfile *profile)
{
	size_t bound;
	bytea *flat;

	if (kpx_profile_bound(profile, &bound) != KPX_OK)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("a profile of more than 1 GB")));
	flat = palloc(VARHDRSZ + bound);
	SET_VARSIZE(flat, VARHDRSZ + kpx_profile_encode(profile, VARDATA(flat)));
	return PointerGetDatum(flat);
}

/* ------------------------------------------------------------ sketches */

KpxSketch *
kpx_sketch_create(MemoryContext context, int64 half_life)
{
	KpxSketchShape shape = kpx_sketch_smallest();

	return kpx_sketch_init(MemoryContextAlloc(context, kpx_sketch_bytes(&shape)), &shape, half_life);
}

KpxSketch *
kpx_sketch_grow(MemoryContext context, KpxSketch *sketch)
{
	KpxSketchShape shape = kpx_sketch_wanted(sketch);
	KpxSketch *grown = kpx_sketch_move(sketch, kpx_alloc(context, kpx_sketch_bytes(&shape), 1), &shape);

	pfree(sketch);
	return grown;
}

KpxSketch *
kpx_sketch_fuse(MemoryContext context, KpxSketch *sketch, const KpxProfile *profile)
{
	KpxStatus status;

	while ((status = kpx_sketch_merge(sketch, profile)) == KPX_MORE)
		sketch = kpx_sketch_grow(context, sketch);
	if (status == KPX_BAD_ARGUMENT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("profiles of different half-lives cannot be fused"),
				 errdetail("One has %g seconds, the other %g (0 is none).", kpx_sketch_half_life(sketch) / 1e6,
						   profile->half_life / 1e6),
				 errhint("Compute both with the same half_life.")));
	if (status != KPX_OK)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the profiles have too many modules or kinds of events together, or sums that are too large"),
				 errdetail("A profile has at most %d modules and %d kinds in each.", KPX_MAX_PROFILE_MODULES, KPX_MAX_PROFILE_KINDS)));
	return sketch;
}

KpxProfile *
kpx_sketch_finish(const KpxSketch *sketch, uint32 limit)
{
	KpxProfile *profile = palloc(sizeof(KpxProfile));

	kpx_sketch_profile_size(sketch, profile);
	kpx_profile_provide(profile);
	kpx_sketch_profile(sketch, limit, profile);
	return profile;
}

/* ------------------------------------------------------------ input and output */

PG_FUNCTION_INFO_V1(kpx_profile_in);
Datum
kpx_profile_in(PG_FUNCTION_ARGS)
{
	return kpx_profile_to_datum(kpx_profile_from_json(PG_GETARG_CSTRING(0)));
}

PG_FUNCTION_INFO_V1(kpx_profile_out);
Datum
kpx_profile_out(PG_FUNCTION_ARGS)
{
	StringInfoData out;

	initStringInfo(&out);
	kpx_profile_to_json(&out, kpx_profile_from_datum(PG_GETARG_DATUM(0)));
	PG_RETURN_CSTRING(out.data);
}

PG_FUNCTION_INFO_V1(kpx_profile_to_jsonb);
Datum
kpx_profile_to_jsonb(PG_FUNCTION_ARGS)
{
	return DirectFunctionCall1(jsonb_in, kpx_profile_out(fcinfo));
}

/* Every name is text of the database's encoding without zero bytes. */
static bool
names_are_text(const KpxProfile *profile)
{
	for (uint32 i = 0; i < profile->n_modules; i++)
		if (!pg_verifymbstr(profile->modules[i].name.bytes, (int) profile->modules[i].name.length, true))
			return false;
	for (uint32 i = 0; i < profile->n_kinds; i++)
		if (!pg_verifymbstr(profile->kinds[i].name.bytes, (int) profile->kinds[i].name.length, true))
			return false;
	for (uint32 i = 0; i < profile->n_features; i++)
		if (!pg_verifymbstr(profile->features[i].name.bytes, (int) profile->features[i].name.length, true))
			return false;
	return true;
}

PG_FUNCTION_INFO_V1(kpx_profile_recv);
Datum
kpx_profile_recv(PG_FUNCTION_ARGS)
{
	StringInfo message = (StringInfo) PG_GETARG_POINTER(0);
	int length = message->len - message->cursor;
	const char *bytes = pq_getmsgbytes(message, length);
	bool unsupported;
	KpxProfile *profile = kpx_profile_from_bytes(bytes, (size_t) length, &unsupported);
	bytea *flat;

	if (unsupported)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("the binary profile is of a later version")));
	if (profile == NULL || !names_are_text(profile))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION), errmsg("invalid binary representation of a kpx_profile")));
	flat = palloc(VARHDRSZ + length);
	memcpy(VARDATA(flat), bytes, length);
	SET_VARSIZE(flat, VARHDRSZ + length);
	PG_RETURN_POINTER(flat);
}

PG_FUNCTION_INFO_V1(kpx_profile_send);
Datum
kpx_profile_send(PG_FUNCTION_ARGS)
{
	struct varlena *flat = PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));
	StringInfoData out;

	pq_begintypsend(&out);
	pq_sendbytes(&out, VARDATA_ANY(flat), VARSIZE_ANY_EXHDR(flat));
	PG_RETURN_BYTEA_P(pq_endtypsend(&out));
}

/* ------------------------------------------------------------ comparison */

static bool
same_bytes(FunctionCallInfo fcinfo)
{
	struct varlena *a = PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));
	struct varlena *b = PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(1));

	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) && memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

PG_FUNCTION_INFO_V1(kpx_profile_eq);
Datum
kpx_profile_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(same_bytes(fcinfo));
}

PG_FUNCTION_INFO_V1(kpx_profile_ne);
Datum
kpx_profile_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!same_bytes(fcinfo));
}

PG_FUNCTION_INFO_V1(kpx_profile_hash);
Datum
kpx_profile_hash(PG_FUNCTION_ARGS)
{
	struct varlena *flat = PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));

	return hash_any((unsigned char *) VARDATA_ANY(flat), (int) VARSIZE_ANY_EXHDR(flat));
}

static double
cosine(FunctionCallInfo fcinfo)
{
	KpxProfile *a = kpx_profile_from_datum(PG_GETARG_DATUM(0));
	KpxProfile *b = kpx_profile_from_datum(PG_GETARG_DATUM(1));
	KpxInterest *interests_a = palloc(sizeof(KpxInterest) * Max(a->n_features, 1));
	KpxInterest *interests_b = palloc(sizeof(KpxInterest) * Max(b->n_features, 1));
	uint32 n_a = kpx_profile_interests(a, -1, interests_a);
	uint32 n_b = kpx_profile_interests(b, -1, interests_b);

	return kpx_interests_cosine(interests_a, n_a, interests_b, n_b);
}

PG_FUNCTION_INFO_V1(kpx_similarity);
Datum
kpx_similarity(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(cosine(fcinfo));
}

PG_FUNCTION_INFO_V1(kpx_profile_distance);
Datum
kpx_profile_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(1 - cosine(fcinfo));
}

PG_FUNCTION_INFO_V1(kpx_profile_fuse);
Datum
kpx_profile_fuse(PG_FUNCTION_ARGS)
{
	KpxProfile *a = kpx_profile_from_datum(PG_GETARG_DATUM(0));
	KpxProfile *b = kpx_profile_from_datum(PG_GETARG_DATUM(1));
	KpxSketch *sketch = kpx_sketch_create(CurrentMemoryContext, a->half_life);

	sketch = kpx_sketch_fuse(CurrentMemoryContext, sketch, a);
	sketch = kpx_sketch_fuse(CurrentMemoryContext, sketch, b);
	return kpx_profile_to_datum(kpx_sketch_finish(sketch, KPX_PROFILE_INTERESTS));
}
