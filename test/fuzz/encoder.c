/*
 * encoder.c
 *	  Any bytes as an encoder of content: what is accepted encodes a document without leaving its arrays.
 */
#include "fuzz.h"

#include <math.h>

#include "core/encoder.h"

static void *
copied(const char *from, uint64_t n, size_t size)
{
	return from ? memcpy(fuzz_alloc(n, size), from, n * size) : NULL;
}

/* Weighs terms that are there and terms that are not. */
static void
weigh(const KpxStoredEncoder *e, const KpxStoredBag *bag)
{
	KpxVocabulary v = {.n = bag->n, .documents = bag->documents, .mean_length = bag->mean_length};
	uint64_t term[4] = {0, 1, 2, INT64_MAX};
	uint32_t count[4] = {1, 2, 3, UINT32_MAX};
	uint32_t index[4];
	float value[4];
	size_t n;

	v.term = copied(bag->term, bag->n, sizeof(uint64_t));
	v.df = copied(bag->df, bag->n, sizeof(uint32_t));
	v.weight = copied(bag->weight, bag->n, sizeof(float));
	if (v.term && v.n)
		term[2] = v.term[v.n / 2];
	n = kpx_weigh_terms(&v, e->weighting, term, count, 4, index, value);
	FUZZ_CHECK(n <= 4);
	for (size_t i = 0; i < n; i++)
		FUZZ_CHECK(index[i] < v.n);
	free(v.term);
	free(v.df);
	free(v.weight);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	KpxStoredEncoder e;
	const char *at;

	if (kpx_encoder_open(bytes, length, &e) != KPX_OK)
		return 0;
	at = e.knots;
	for (uint32_t k = 0; k < e.n_knots; k++)
	{
		KpxStoredKnots knots;
		float point[2];

		at = kpx_encoder_knots(at, &knots);
		FUZZ_CHECK(at <= (const char *) bytes + length);
		if (knots.n >= 2)
		{
			kpx_rank_point(knots.knot, knots.n, 0, point);
			FUZZ_CHECK(isfinite(point[0]) && isfinite(point[1]));
		}
	}
	if (e.text.rank)
		weigh(&e, &e.text);
	if (e.attributes.rank)
		weigh(&e, &e.attributes);
	return 0;
}
