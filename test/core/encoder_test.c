/*
 * encoder_test.c
 *	  Stored encoders: a good one is read as it was written, every prefix and every value out of range is refused.
 */
#include "core/encoder.h"

#include "test.h"

/* An encoder of one stop word, two texts' terms, one hashed attribute, a price, and an embedding of each kind. */
typedef struct Bytes
{
	char at[1024];
	size_t n;
} Bytes;

static size_t
put(Bytes *to, const void *data, size_t n)
{
	memcpy(to->at + to->n, data, n);
	to->n += n;
	return to->n - n;
}

static size_t
put_number(Bytes *to, uint64_t number)
{
	return put(to, &number, sizeof(number));
}

/* Where the fields lie that the tests change. */
typedef struct Places
{
	size_t version, weighting, stop, rank, terms, term, mean_length, right, name, knots, knot, d, projected, weight;
} Places;

static Bytes
good(Places *p)
{
	Bytes b = {.n = 0};
	double mean_length = 3.5;
	double knot[KPX_KNOTS] = {1, 2, 5};
	float ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
	uint32_t df[2] = {2, 1};

	p->version = put_number(&b, KPX_ENCODER_VERSION);
	p->weighting = put_number(&b, KPX_WEIGHT_BM25);
	put_number(&b, 1);
	p->stop = put_number(&b, 1);
	put_number(&b, 77);
	p->rank = put_number(&b, 2);
	p->terms = put_number(&b, 2);
	put_number(&b, 1); /* exact */
	put_number(&b, 0); /* no weights */
	put_number(&b, 9);
	p->mean_length = put(&b, &mean_length, sizeof(mean_length));
	p->term = put_number(&b, 10);
	put_number(&b, 20);
	put(&b, df, sizeof(df));
	p->right = put(&b, ones, 4 * sizeof(float));
	for (int i = 0; i < 2; i++)
		put_number(&b, 1); /* rank, columns */
	put_number(&b, 0); /* hashed */
	put_number(&b, 1); /* weights */
	put_number(&b, 9);
	put(&b, &mean_length, sizeof(mean_length));
	put(&b, df, sizeof(uint32_t));
	put(&b, ones, 2 * sizeof(float));
	put_number(&b, 1);
	p->name = put_number(&b, 5) + sizeof(uint64_t);
	put(&b, "price", 5);
	p->knots = put_number(&b, 3);
	p->knot = put(&b, knot, sizeof(knot));
	put_number(&b, 2);
	put_number(&b, 1);
	put(&b, "e", 1);
	p->d = put_number(&b, 2);
	put_number(&b, 2);
	p->projected = put_number(&b, 0);
	put(&b, ones, 2 * sizeof(float));
	put_number(&b, 1);
	put(&b, "f", 1);
	put_number(&b, 3);
	put_number(&b, 1);
	put_number(&b, 1);
	put(&b, ones, 6 * sizeof(float));
	p->weight = put(&b, ones, 4 * sizeof(float));
	return b;
}

/* In a buffer of exactly its size, for the address sanitizer. */
static KpxStatus
open_exact(const Bytes *b, size_t n)
{
	KpxStoredEncoder e;
	char *exact = malloc(n ? n : 1);
	KpxStatus status;

	memcpy(exact, b->at, n);
	status = kpx_encoder_open(exact, n, &e);
	free(exact);
	return status;
}

static void
test_good(void)
{
	Places p;
	Bytes b = good(&p);
	KpxStoredEncoder e;
	KpxStoredKnots knots;

	CHECK_EQ(kpx_encoder_open(b.at, b.n, &e), KPX_OK);
	CHECK(e.weighting == KPX_WEIGHT_BM25 && e.builtin_stop && e.n_stop == 1);
	CHECK(e.text.rank == 2 && e.text.n == 2 && e.text.documents == 9 && e.text.mean_length == 3.5);
	CHECK(e.text.term == b.at + p.term && e.text.weight == NULL && e.text.right == b.at + p.right);
	CHECK(e.attributes.rank == 1 && e.attributes.term == NULL && e.attributes.weight != NULL);
	CHECK_EQ(e.n_knots, 1);
	(void) kpx_encoder_knots(e.knots, &knots);
	CHECK(knots.name_bytes == 5 && memcmp(knots.name, "price", 5) == 0 && knots.n == 3 && knots.knot[2] == 5);
	CHECK(e.n_projections == 2 && e.projection[0].right == NULL && e.projection[0].d == 2);
	CHECK(e.projection[1].right != NULL && e.projection[1].rank == 1 && e.projection[1].d == 3);
	CHECK(e.weight[3] == 1);
	CHECK_EQ(open_exact(&b, b.n), KPX_OK);
	for (size_t n = 0; n < b.n; n++)
		CHECK_EQ(open_exact(&b, n), KPX_CORRUPT);
	b.n++;
	CHECK_EQ(open_exact(&b, b.n), KPX_CORRUPT);
}

/* With size bytes changed at a place. */
static void
refused(size_t at, const void *to, size_t size)
{
	Places p;
	Bytes b = good(&p);

	memcpy(b.at + at, to, size);
	CHECK_EQ(open_exact(&b, b.n), KPX_CORRUPT);
}

static void
test_bad(void)
{
	Places p;
	uint64_t most = UINT64_MAX;
	uint64_t five = 5;
	uint64_t twenty = 20;
	double nan_double = NAN;
	float infinite = INFINITY;
	float negative = -1;

	(void) good(&p);
	refused(p.version, &five, sizeof(five));
	refused(p.weighting, &five, sizeof(five));
	refused(p.stop, &most, sizeof(most));
	refused(p.rank, &most, sizeof(most));
	refused(p.terms, &most, sizeof(most));
	refused(p.term, &twenty, sizeof(twenty)); /* the same term twice */
	refused(p.mean_length, &nan_double, sizeof(nan_double));
	refused(p.right, &infinite, sizeof(infinite));
	refused(p.name, "pr\0ce", 5);
	refused(p.knots, &twenty, sizeof(twenty));
	refused(p.knot, &nan_double, sizeof(nan_double));
	refused(p.knot + sizeof(double), "\0\0\0\0\0\0\0\0", sizeof(double));
	refused(p.d, &five, sizeof(five));
	refused(p.projected, &five, sizeof(five));
	refused(p.weight, &infinite, sizeof(infinite));
	refused(p.weight, &negative, sizeof(negative));
}

int
main(void)
{
	test_good();
	test_bad();
	return test_done();
}
