/*
 * encoder.c
 *	  Layout of what was learned of a catalogue's content, as bytes of a model.
 */
#include "encoder.h"

#include <math.h>
#include <string.h>

typedef struct From
{
	const char *at;
	size_t left;
	bool good;
} From;

/* n elements as they are; NULL when there are not that many bytes. */
static const char *
take_array(From *from, uint64_t n, size_t size)
{
	const char *at = from->at;

	if (!from->good || n > from->left / size)
	{
		from->good = false;
		return NULL;
	}
	from->at += n * size;
	from->left -= n * size;
	return at;
}

static void
take(From *from, void *to, size_t size)
{
	const char *at = take_array(from, 1, size);

	if (at)
		memcpy(to, at, size);
	else
		memset(to, 0, size);
}

/* A whole number of at most this; 0 when it is not. */
static uint64_t
take_number(From *from, uint64_t most)
{
	uint64_t number;

	take(from, &number, sizeof(number));
	if (number > most)
		from->good = false;
	return from->good ? number : 0;
}

static const char *
take_name(From *from, size_t *bytes)
{
	const char *name;

	*bytes = (size_t) take_number(from, KPX_MAX_ENCODER_NAME);
	name = take_array(from, *bytes, 1);
	if (name && memchr(name, '\0', *bytes))
		from->good = false;
	return name;
}

static const char *
take_floats(From *from, uint64_t n)
{
	const char *floats = take_array(from, n, sizeof(float));

	for (uint64_t i = 0; floats && i < n; i++)
	{
		float value;

		memcpy(&value, floats + i * sizeof(value), sizeof(value));
		if (!isfinite(value))
			from->good = false;
	}
	return floats;
}

/* 64-bit hashes, each at least as large as the one before, or larger. */
static const char *
take_hashes(From *from, uint64_t n, bool distinct)
{
	const char *hashes = take_array(from, n, sizeof(uint64_t));
	uint64_t before = 0;

	for (uint64_t i = 0; hashes && i < n; i++)
	{
		uint64_t hash;

		memcpy(&hash, hashes + i * sizeof(hash), sizeof(hash));
		if (i > 0 && (hash < before || (distinct && hash == before)))
			from->good = false;
		before = hash;
	}
	return hashes;
}

static void
take_bag(From *from, KpxStoredBag *bag)
{
	bool exact;
	bool weighted;

	bag->rank = (int) take_number(from, KPX_MAX_FACTORS);
	if (bag->rank == 0)
		return;
	bag->n = take_number(from, UINT32_MAX);
	exact = take_number(from, 1) != 0;
	weighted = take_number(from, 1) != 0;
	bag->documents = take_number(from, UINT32_MAX);
	take(from, &bag->mean_length, sizeof(bag->mean_length));
	if (!isfinite(bag->mean_length))
		from->good = false;
	bag->term = exact ? take_hashes(from, bag->n, true) : NULL;
	bag->df = take_array(from, bag->n, sizeof(uint32_t));
	bag->weight = weighted ? take_floats(from, bag->n) : NULL;
	bag->right = take_floats(from, bag->n * (uint64_t) bag->rank);
}

static void
take_knots(From *from, KpxStoredKnots *knots)
{
	knots->name = take_name(from, &knots->name_bytes);
	knots->n = (int) take_number(from, KPX_KNOTS);
	take(from, knots->knot, sizeof(knots->knot));
	for (int i = 0; i < knots->n; i++)
		if (!isfinite(knots->knot[i]) || (i > 0 && knots->knot[i] <= knots->knot[i - 1]))
			from->good = false;
}

static void
take_projection(From *from, KpxStoredProjection *p)
{
	bool projected;

	p->name = take_name(from, &p->name_bytes);
	p->d = (uint32_t) take_number(from, INT32_MAX);
	p->rank = (int) take_number(from, KPX_MAX_FACTORS);
	projected = take_number(from, 1) != 0;
	if (!projected && p->rank != (int) p->d)
		from->good = false;
	p->mean = take_floats(from, p->d);
	p->right = projected ? take_floats(from, (uint64_t) p->d * (uint64_t) p->rank) : NULL;
}

/* Numbers of a vector: the ranks of all modalities. */
static int
dimension(const KpxStoredEncoder *e)
{
	int dim = e->text.rank + e->attributes.rank;

	for (int p = 0; p < e->n_projections; p++)
		dim += e->projection[p].rank;
	return dim;
}

KpxStatus
kpx_encoder_open(const void *bytes, size_t length, KpxStoredEncoder *e)
{
	From from = {bytes, length, true};
	KpxStoredKnots knots;

	memset(e, 0, sizeof(*e));
	if (take_number(&from, KPX_ENCODER_VERSION) != KPX_ENCODER_VERSION)
		return KPX_CORRUPT;
	e->weighting = (KpxWeighting) take_number(&from, KPX_WEIGHT_BM25);
	e->builtin_stop = take_number(&from, 1) != 0;
	e->n_stop = (uint32_t) take_number(&from, UINT32_MAX);
	e->stop = take_hashes(&from, e->n_stop, false);
	take_bag(&from, &e->text);
	take_bag(&from, &e->attributes);
	e->n_knots = (uint32_t) take_number(&from, INT32_MAX);
	e->knots = from.at;
	for (uint32_t k = 0; k < e->n_knots && from.good; k++)
		take_knots(&from, &knots);
	e->n_projections = (int) take_number(&from, KPX_MAX_EMBEDDINGS);
	for (int p = 0; p < e->n_projections; p++)
		take_projection(&from, &e->projection[p]);
	for (int m = 0; m < 2 + e->n_projections; m++)
	{
		take(&from, &e->weight[m], sizeof(float));
		if (!(e->weight[m] >= 0 && isfinite(e->weight[m])))
			from.good = false;
	}
	return from.good && from.left == 0 && dimension(e) <= KPX_MAX_FACTORS ? KPX_OK : KPX_CORRUPT;
}

const char *
kpx_encoder_knots(const char *at, KpxStoredKnots *knots)
{
	From from = {at, SIZE_MAX, true}; /* it was checked */

	take_knots(&from, knots);
	return from.at;
}
