/*
 * content_store.c
 *	  An encoder as bytes of a model (core/encoder.h), and back.
 */
#include "content_encode.h"

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
	put_number(&to, KPX_ENCODER_VERSION);
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

/* n elements, aligned. */
static void *
copied(const char *from, uint64 n, size_t size)
{
	return from ? memcpy(kpx_alloc(CurrentMemoryContext, Max(n, 1), size), from, n * size) : NULL;
}

static void
load_bag(const KpxStoredBag *from, KpxBag *bag)
{
	bag->rank = from->rank;
	bag->vocabulary = (KpxVocabulary){.n = from->n, .documents = from->documents, .mean_length = from->mean_length};
	bag->vocabulary.term = copied(from->term, from->n, sizeof(uint64));
	bag->vocabulary.df = copied(from->df, from->n, sizeof(uint32));
	bag->vocabulary.weight = copied(from->weight, from->n, sizeof(float));
	bag->right = copied(from->right, from->n * from->rank, sizeof(float));
}

static void
load_knots(const KpxStoredEncoder *from, KpxEncoder *e)
{
	const char *at = from->knots;

	e->n_knots = (int) from->n_knots;
	e->knots = kpx_alloc(CurrentMemoryContext, Max(e->n_knots, 1), sizeof(KpxKnots));
	for (int k = 0; k < e->n_knots; k++)
	{
		KpxStoredKnots knots;

		at = kpx_encoder_knots(at, &knots);
		e->knots[k].name = pnstrdup(knots.name, knots.name_bytes);
		e->knots[k].n = knots.n;
		memcpy(e->knots[k].knot, knots.knot, sizeof(knots.knot));
	}
}

static void
load_projections(const KpxStoredEncoder *from, KpxEncoder *e)
{
	e->n_projections = from->n_projections;
	e->projections = palloc0(sizeof(KpxProjection) * Max(e->n_projections, 1));
	for (int p = 0; p < e->n_projections; p++)
	{
		const KpxStoredProjection *stored = &from->projection[p];

		e->projections[p] = (KpxProjection){pnstrdup(stored->name, stored->name_bytes), stored->d, stored->rank};
		e->projections[p].mean = copied(stored->mean, stored->d, sizeof(float));
		e->projections[p].right = copied(stored->right, (uint64) stored->d * stored->rank, sizeof(float));
	}
}

KpxEncoder *
kpx_encoder_load(const char *bytes, size_t length)
{
	KpxEncoder *e = palloc0(sizeof(KpxEncoder));
	KpxStoredEncoder stored;

	if (kpx_encoder_open(bytes, length, &stored) != KPX_OK)
		return NULL;
	e->weighting = stored.weighting;
	e->stop = (KpxStopWords){stored.builtin_stop, stored.n_stop, copied(stored.stop, stored.n_stop, sizeof(uint64))};
	load_bag(&stored.text, &e->text);
	load_bag(&stored.attributes, &e->attributes);
	load_knots(&stored, e);
	load_projections(&stored, e);
	kpx_encoder_lay_out(e);
	memcpy(e->weight, stored.weight, sizeof(float) * e->n_modalities);
	return e;
}
