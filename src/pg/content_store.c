/*
 * content_store.c
 *	  An encoder as bytes of a model, and back.
 *
 * A version, then fields one after the other, arrays behind their length; the block around
 * it has a checksum and says the byte order (core/model.h). The reader trusts no length.
 */
#include "content_encode.h"

#define ENCODER_VERSION 1

/* ------------------------------------------------------------ writing */

static void
put(StringInfo to, const void *data, size_t bytes)
{
	if (bytes > MaxAllocSize || to->len + bytes > MaxAllocSize - 1)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("what was learned of the items' content is larger than 1 GB"),
				 errhint("Lower max_terms or text_factors.")));
	appendBinaryStringInfo(to, data, (int) bytes);
}

static void
put_number(StringInfo to, uint64 number)
{
	put(to, &number, sizeof(number));
}

static void
put_name(StringInfo to, const char *name)
{
	put_number(to, strlen(name));
	put(to, name, strlen(name));
}

static void
put_bag(StringInfo to, const KpxBag *bag)
{
	const KpxVocabulary *v = &bag->vocabulary;

	put_number(to, (uint64) bag->rank);
	if (bag->rank == 0)
		return;
	put_number(to, v->n);
	put_number(to, v->term != NULL);
	put_number(to, v->weight != NULL);
	put_number(to, v->documents);
	put(to, &v->mean_length, sizeof(double));
	if (v->term)
		put(to, v->term, v->n * sizeof(uint64));
	put(to, v->df, v->n * sizeof(uint32));
	if (v->weight)
		put(to, v->weight, v->n * sizeof(float));
	put(to, bag->right, v->n * bag->rank * sizeof(float));
}

bytea *
kpx_encoder_store(const KpxEncoder *e)
{
	StringInfoData to;
	bytea *bytes;

	initStringInfo(&to);
	put_number(&to, ENCODER_VERSION);
	put_number(&to, (uint64) e->weighting);
	put_number(&to, e->stop.builtin);
	put_number(&to, e->stop.n);
	put(&to, e->stop.term, e->stop.n * sizeof(uint64));
	put_bag(&to, &e->text);
	put_bag(&to, &e->attributes);
	put_number(&to, (uint64) e->n_knots);
	for (int k = 0; k < e->n_knots; k++)
	{
		put_name(&to, e->knots[k].name);
		put_number(&to, (uint64) e->knots[k].n);
		put(&to, e->knots[k].knot, sizeof(double) * KPX_KNOTS);
	}
	put_number(&to, (uint64) e->n_projections);
	for (int p = 0; p < e->n_projections; p++)
	{
		const KpxProjection *projection = &e->projections[p];

		put_name(&to, projection->name);
		put_number(&to, projection->d);
		put_number(&to, (uint64) projection->rank);
		put_number(&to, projection->right != NULL);
		put(&to, projection->mean, projection->d * sizeof(float));
		if (projection->right)
			put(&to, projection->right, (size_t) projection->d * projection->rank * sizeof(float));
	}
	put(&to, e->weight, sizeof(float) * e->n_modalities);
	bytes = palloc((Size) to.len + VARHDRSZ);
	SET_VARSIZE(bytes, to.len + VARHDRSZ);
	memcpy(VARDATA(bytes), to.data, to.len);
	pfree(to.data);
	return bytes;
}

/* ------------------------------------------------------------ reading */

typedef struct From
{
	const char *at;
	size_t left;
	bool good;
} From;

static void
get(From *from, void *to, size_t bytes)
{
	if (!from->good || bytes > from->left)
	{
		from->good = false;
		return;
	}
	memcpy(to, from->at, bytes);
	from->at += bytes;
	from->left -= bytes;
}

/* A number of at most this; 0 when it is not. */
static uint64
get_number(From *from, uint64 most)
{
	uint64 number = 0;

	get(from, &number, sizeof(number));
	if (number > most)
		from->good = false;
	return from->good ? number : 0;
}

/* n elements as they are; NULL when there are not that many bytes. */
static void *
get_array(From *from, uint64 n, size_t size)
{
	void *to;

	if (!from->good || n > from->left / size)
	{
		from->good = false;
		return NULL;
	}
	to = kpx_alloc(CurrentMemoryContext, Max(n, 1), size);
	get(from, to, n * size);
	return to;
}

static char *
get_name(From *from)
{
	uint64 length = get_number(from, 4 * NAMEDATALEN);
	char *name = palloc0(length + 1);

	get(from, name, length);
	return name;
}

static void
get_bag(From *from, KpxBag *bag)
{
	KpxVocabulary *v = &bag->vocabulary;
	bool exact;
	bool weighted;

	bag->rank = (int) get_number(from, KPX_MAX_FACTORS);
	if (bag->rank == 0)
		return;
	v->n = get_number(from, PG_UINT32_MAX);
	exact = get_number(from, 1) != 0;
	weighted = get_number(from, 1) != 0;
	v->documents = get_number(from, PG_UINT32_MAX);
	get(from, &v->mean_length, sizeof(double));
	v->term = exact ? get_array(from, v->n, sizeof(uint64)) : NULL;
	v->df = get_array(from, v->n, sizeof(uint32));
	v->weight = weighted ? get_array(from, v->n, sizeof(float)) : NULL;
	bag->right = get_array(from, v->n * bag->rank, sizeof(float));
}

static void
get_projections(From *from, KpxEncoder *e)
{
	e->n_projections = (int) get_number(from, KPX_MAX_MODALITIES - 2);
	e->projections = palloc0(sizeof(KpxProjection) * Max(e->n_projections, 1));
	for (int p = 0; p < e->n_projections; p++)
	{
		KpxProjection *projection = &e->projections[p];
		bool projected;

		projection->name = get_name(from);
		projection->d = (uint32) get_number(from, PG_INT32_MAX);
		projection->rank = (int) get_number(from, KPX_MAX_FACTORS);
		projected = get_number(from, 1) != 0;
		if (!projected && projection->rank != (int) projection->d)
			from->good = false;
		projection->mean = get_array(from, projection->d, sizeof(float));
		projection->right = projected ? get_array(from, (uint64) projection->d * projection->rank, sizeof(float)) : NULL;
	}
}

KpxEncoder *
kpx_encoder_load(const char *bytes, size_t length)
{
	KpxEncoder *e = palloc0(sizeof(KpxEncoder));
	From from = {bytes, length, true};

	if (get_number(&from, ENCODER_VERSION) != ENCODER_VERSION)
		return NULL;
	e->weighting = (int) get_number(&from, KPX_WEIGHT_BM25);
	e->stop.builtin = get_number(&from, 1) != 0;
	e->stop.n = (uint32) get_number(&from, PG_UINT32_MAX);
	e->stop.term = get_array(&from, e->stop.n, sizeof(uint64));
	get_bag(&from, &e->text);
	get_bag(&from, &e->attributes);
	e->n_knots = (int) get_number(&from, 100000);
	e->knots = palloc0(sizeof(KpxKnots) * Max(e->n_knots, 1));
	for (int k = 0; k < e->n_knots && from.good; k++)
	{
		e->knots[k].name = get_name(&from);
		e->knots[k].n = (int) get_number(&from, KPX_KNOTS);
		get(&from, e->knots[k].knot, sizeof(double) * KPX_KNOTS);
	}
	get_projections(&from, e);
	kpx_encoder_lay_out(e);
	get(&from, e->weight, sizeof(float) * e->n_modalities);
	return from.good && from.left == 0 && kpx_encoder_dim(e) <= KPX_MAX_FACTORS ? e : NULL;
}
