/*
 * profile_test.c
 *	  Sketches and flat profiles against brute force in double; any byte may lie.
 */
#include "core/profile.h"
#include "core/sketch.h"

#include "test.h"

#define DAY INT64_C(86400000000)

/* A sketch that grows by itself. */
typedef struct Grown
{
	KpxSketch *sketch;
	int moves;
} Grown;

static Grown
start(int64_t half_life)
{
	KpxSketchShape shape = kpx_sketch_smallest();

	return (Grown){kpx_sketch_init(test_alloc(kpx_sketch_bytes(&shape)), &shape, half_life), 0};
}

static void
grow(Grown *g)
{
	KpxSketchShape shape = kpx_sketch_wanted(g->sketch);
	KpxSketch *moved = kpx_sketch_move(g->sketch, test_alloc(kpx_sketch_bytes(&shape)), &shape);

	free(g->sketch);
	g->sketch = moved;
	g->moves++;
}

static KpxName
name_of(const char *text)
{
	return (KpxName){text, (uint32_t) strlen(text)};
}

static KpxStatus
interest(Grown *g, const char *module, const char *feature, double weight, bool dated, int64_t at)
{
	KpxStatus status;

	while ((status = kpx_sketch_interest(g->sketch, name_of(module), name_of(feature), weight, dated, at)) == KPX_MORE)
		grow(g);
	return status;
}

static KpxStatus
count(Grown *g, const char *module, const char *kind, bool dated, int64_t at, int64_t value)
{
	KpxProfileEvent event = {name_of(module), name_of(kind), dated, value != 0, false, at, value, 0};
	KpxStatus status;

	while ((status = kpx_sketch_count(g->sketch, &event)) == KPX_MORE)
		grow(g);
	return status;
}

static KpxStatus
merge(Grown *g, const KpxProfile *p)
{
	KpxStatus status;

	while ((status = kpx_sketch_merge(g->sketch, p)) == KPX_MORE)
		grow(g);
	return status;
}

static void
provide(KpxProfile *p)
{
	p->modules = test_alloc(sizeof(KpxProfileModule) * p->n_modules);
	p->kinds = test_alloc(sizeof(KpxProfileKind) * p->n_kinds);
	p->features = test_alloc(sizeof(KpxProfileFeature) * p->n_features);
	p->minima = test_alloc(sizeof(uint32_t) * p->n_minima);
}

static void
release(KpxProfile *p)
{
	free(p->modules);
	free(p->kinds);
	free(p->features);
	free(p->minima);
}

typedef struct Flat
{
	unsigned char *bytes;
	size_t length;
} Flat;

static Flat
encode(const KpxProfile *p)
{
	Flat flat;
	size_t bound;

	CHECK_EQ(kpx_profile_bound(p, &bound), KPX_OK);
	flat.bytes = test_alloc(bound);
	flat.length = kpx_profile_encode(p, flat.bytes);
	CHECK(flat.length <= bound);
	return flat;
}

static Flat
finish(const Grown *g, uint32_t limit)
{
	KpxProfile p;
	Flat flat;

	kpx_sketch_profile_size(g->sketch, &p);
	provide(&p);
	kpx_sketch_profile(g->sketch, limit, &p);
	flat = encode(&p);
	release(&p);
	return flat;
}

/* What it decodes to encodes to the same bytes. */
static KpxProfile
decode(Flat flat)
{
	KpxProfile p;
	Flat again;

	CHECK_EQ(kpx_profile_check(flat.bytes, flat.length, &p), KPX_OK);
	provide(&p);
	kpx_profile_decode(flat.bytes, flat.length, &p);
	again = encode(&p);
	CHECK(again.length == flat.length && memcmp(again.bytes, flat.bytes, flat.length) == 0);
	free(again.bytes);
	return p;
}

static bool
same(Flat a, Flat b)
{
	return a.length == b.length && memcmp(a.bytes, b.bytes, a.length) == 0;
}

/* The digits a name ends with. */
static int
number_of(KpxName name)
{
	int number = 0;

	for (uint32_t i = 0; i < name.length; i++)
		if (name.bytes[i] >= '0' && name.bytes[i] <= '9')
			number = 10 * number + name.bytes[i] - '0';
	return number;
}

/* ------------------------------------------------------------ random events */

#define MODULES 3
#define KINDS 4
#define HALF_LIFE (30 * DAY)

static const char *const module_names[MODULES] = {"videos", "courses", "a"};
static const char *const kind_names[KINDS] = {"view", "purchase", "like", "rate"};

typedef struct Event
{
	int module;
	int kind;
	int feature;
	bool dated;
	int64_t at;
	int64_t value;
	double weight;
} Event;

static Event
event_at(uint64_t seed, uint64_t i, int features)
{
	Event e;
	double u = kpx_uniform(seed, 1, i);

	e.module = (int) test_below(seed + 1, i, MODULES);
	e.kind = (int) test_below(seed + 2, i, KINDS);
	e.feature = (int) (u * u * features);
	e.dated = test_below(seed + 3, i, 10) != 0;
	/* thirty years around the epoch: about 365 half-lives */
	e.at = (int64_t) test_below(seed + 4, i, 10950) * DAY - 3650 * DAY + (int64_t) test_below(seed + 5, i, (uint64_t) DAY);
	e.value = test_below(seed + 6, i, 3) == 0 ? (int64_t) test_below(seed + 7, i, 1000000000) - 500000000 : 0;
	/* whole numbers, so that sums without decay are exact in any order */
	e.weight = (double) (1 + test_below(seed + 8, i, 5));
	return e;
}

static void
add_event(Grown *g, const Event *e)
{
	char feature[40];

	snprintf(feature, sizeof(feature), e->feature % 3 ? "item:%s/%d" : "category:%s%d", module_names[e->module], e->feature);
	CHECK_EQ(count(g, module_names[e->module], kind_names[e->kind], e->dated, e->at, e->value), KPX_OK);
	CHECK_EQ(interest(g, module_names[e->module], feature, e->weight, e->dated, e->at), KPX_OK);
}

/* Every count and weight of n events against sums made the slow way. */
static void
test_against_sums(int64_t half_life, uint64_t seed, int n, int features)
{
	Grown g = start(half_life);
	Flat flat;
	KpxProfile p;

	for (int i = 0; i < n; i++)
	{
		Event e = event_at(seed, (uint64_t) i, features);

		add_event(&g, &e);
	}
	flat = finish(&g, KPX_MAX_SKETCH_FEATURES);
	p = decode(flat);
	for (uint32_t m = 0; m < p.n_modules; m++)
	{
		const KpxProfileModule *module = &p.modules[m];
		uint32_t hours = 0;
		uint32_t weekdays = 0;
		uint64_t dated = 0;
		int which = 0;
		int items = 0;

		while (strncmp(module_names[which], module->name.bytes, module->name.length) != 0)
			which++;
		for (int h = 0; h < 24; h++)
			hours += module->hours[h];
		for (int d = 0; d < 7; d++)
			weekdays += module->weekdays[d];
		for (uint32_t k = module->kind; k < module->kind + module->kinds; k++)
		{
			const KpxProfileKind *kind = &p.kinds[k];
			uint64_t events = 0;
			int64_t value = 0;
			int64_t first = INT64_MAX;

			dated += kind->dated;
			for (int i = 0; i < n; i++)
			{
				Event e = event_at(seed, (uint64_t) i, features);

				if (e.module == which && strncmp(kind_names[e.kind], kind->name.bytes, kind->name.length) == 0)
				{
					events++;
					value += e.value;
					first = e.dated && e.at < first ? e.at : first;
				}
			}
			CHECK_EQ(kind->count, events);
			CHECK_EQ(kind->value, value);
			CHECK_EQ(kind->first, first);
		}
		CHECK_EQ(hours, dated);
		CHECK_EQ(weekdays, dated);
		for (uint32_t f = module->feature; f < module->feature + module->features; f++)
		{
			const KpxProfileFeature *feature = &p.features[f];
			double weight = 0;
			double timeless = 0;
			int number = number_of(feature->name);

			items += kpx_name_is_item(feature->name);
			for (int i = 0; i < n; i++)
			{
				Event e = event_at(seed, (uint64_t) i, features);

				if (e.module != which || e.feature != number)
					continue;
				if (half_life == 0)
					weight += e.weight;
				else if (e.dated)
					weight += e.weight * exp2((double) e.at / (double) half_life - (double) p.exponent);
				else
					timeless += e.weight;
			}
			CHECK_NEAR(weight > 0 ? feature->weight / weight : 1 + feature->weight, 1, 1e-9);
			CHECK_NEAR(feature->timeless, timeless, 1e-12);
		}
		CHECK_NEAR(kpx_profile_items(&p, module), items, 0);
		CHECK(!module->sketched && module->lost == 0);
	}
	CHECK_EQ(p.n_modules, MODULES);
	CHECK(g.moves > 0);
	release(&p);
	free(flat.bytes);
	free(g.sketch);
}

/* Parts merged through their flat forms, in any order, are as the whole: to the byte without decay. */
static void
test_merging(int64_t half_life, int n, int features, int parts)
{
	Grown whole = start(half_life);
	Grown sum = start(half_life);
	Flat a;
	Flat b;
	KpxProfile p;
	KpxProfile q;

	for (int i = 0; i < n; i++)
	{
		Event e = event_at(77, (uint64_t) i, features);

		add_event(&whole, &e);
	}
	for (int part = parts - 1; part >= 0; part--)
	{
		Grown g = start(half_life);
		Flat flat;

		for (int i = part; i < n; i += parts)
		{
			Event e = event_at(77, (uint64_t) i, features);

			add_event(&g, &e);
		}
		flat = finish(&g, KPX_MAX_SKETCH_FEATURES);
		p = decode(flat);
		CHECK_EQ(merge(&sum, &p), KPX_OK);
		release(&p);
		free(flat.bytes);
		free(g.sketch);
	}
	a = finish(&whole, KPX_PROFILE_INTERESTS);
	b = finish(&sum, KPX_PROFILE_INTERESTS);
	if (half_life == 0)
		CHECK(same(a, b));
	p = decode(a);
	q = decode(b);
	CHECK_EQ(p.exponent, q.exponent);
	CHECK_EQ(p.n_features, q.n_features);
	for (uint32_t f = 0; f < p.n_features; f++)
	{
		CHECK(kpx_name_compare(p.features[f].name, q.features[f].name) == 0);
		CHECK_NEAR((p.features[f].weight + p.features[f].timeless) / (q.features[f].weight + q.features[f].timeless), 1, 1e-12);
	}
	release(&p);
	release(&q);
	free(a.bytes);
	free(b.bytes);
	free(whole.sketch);
	free(sum.sketch);
}

/* ------------------------------------------------------------ bounds */

/* Above capacity: weights are never too low, never more than lost too high, and lost is bounded. */
static void
test_space_saving(int n, int features, double skew)
{
	double *truth = calloc((size_t) features, sizeof(double));
	double total = 0;
	Grown parts[2] = {start(0), start(0)};
	Flat flat;
	KpxProfile p;
	int items = 0;

	for (int i = 0; i < n; i++)
	{
		int f = (int) (pow(kpx_uniform(5, 1, (uint64_t) i), skew) * features);
		char name[20];

		snprintf(name, sizeof(name), "item:%d", f);
		CHECK_EQ(interest(&parts[i % 2], "m", name, 1, false, 0), KPX_OK);
		items += truth[f] == 0;
		truth[f] += 1;
		total += 1;
	}
	flat = finish(&parts[0], KPX_MAX_SKETCH_FEATURES);
	p = decode(flat);
	CHECK_EQ(merge(&parts[1], &p), KPX_OK);
	release(&p);
	free(flat.bytes);
	for (int finished = 0; finished < 2; finished++)
	{
		flat = finish(&parts[1], finished ? KPX_PROFILE_INTERESTS : KPX_MAX_SKETCH_FEATURES);
		p = decode(flat);
		CHECK(p.modules[0].sketched);
		CHECK(p.n_features <= (finished ? KPX_PROFILE_INTERESTS : KPX_MAX_SKETCH_FEATURES));
		if (!finished)
			CHECK(p.modules[0].lost <= 3 * total / (KPX_MAX_SKETCH_FEATURES / 2));
		for (uint32_t f = 0; f < p.n_features; f++)
		{
			double true_weight = truth[number_of(p.features[f].name)];

			CHECK(p.features[f].weight >= true_weight);
			CHECK(p.features[f].weight <= true_weight + p.modules[0].lost);
		}
		/* the heaviest is never dropped, as it weighs more than what is lost */
		CHECK(truth[0] <= p.modules[0].lost || kpx_name_compare(p.features[0].name, name_of("item:0")) == 0);
		CHECK_NEAR(kpx_profile_items(&p, &p.modules[0]) / items, 1, 0.27); /* three standard errors */
		release(&p);
		free(flat.bytes);
	}
	free(truth);
	free(parts[0].sketch);
	free(parts[1].sketch);
}

static void
test_limits(void)
{
	Grown g = start(HALF_LIFE);
	char name[KPX_MAX_FEATURE_NAME + 2];
	KpxProfile p = {0};
	Flat flat;

	memset(name, 'x', sizeof(name));
	name[KPX_MAX_FEATURE_NAME + 1] = 0;
	CHECK_EQ(interest(&g, "m", name, 1, false, 0), KPX_BAD_ARGUMENT);
	name[KPX_MAX_FEATURE_NAME] = 0;
	CHECK_EQ(interest(&g, "m", name, 1, false, 0), KPX_OK);
	CHECK_EQ(interest(&g, "m", "", 1, false, 0), KPX_BAD_ARGUMENT);
	CHECK_EQ(interest(&g, "", "f", 1, false, 0), KPX_BAD_ARGUMENT);
	CHECK_EQ(interest(&g, "m", "f", -1, false, 0), KPX_BAD_ARGUMENT);
	CHECK_EQ(interest(&g, "m", "f", (double) NAN, false, 0), KPX_BAD_ARGUMENT);
	CHECK_EQ(interest(&g, "m", "f", (double) INFINITY, false, 0), KPX_BAD_ARGUMENT);
	CHECK_EQ(interest(&g, "m", "f", 1, true, KPX_PROFILE_MAX_TIME + 1), KPX_BAD_ARGUMENT);
	CHECK_EQ(interest(&g, "m", "f", KPX_PROFILE_MAX_WEIGHT, true, KPX_PROFILE_MIN_TIME), KPX_OK);
	CHECK_EQ(interest(&g, "m", "f", KPX_PROFILE_MAX_WEIGHT, true, KPX_PROFILE_MAX_TIME), KPX_OK);
	CHECK_EQ(count(&g, "m", "k", true, KPX_PROFILE_MIN_TIME, INT64_MAX), KPX_OK);
	CHECK_EQ(count(&g, "m", "k", true, KPX_PROFILE_MAX_TIME, 1), KPX_TOO_BIG);
	CHECK_EQ(count(&g, "m", "k", true, KPX_PROFILE_MAX_TIME + 1, 0), KPX_BAD_ARGUMENT);
	CHECK_EQ(count(&g, "m", "k", true, KPX_PROFILE_MIN_TIME - 1, 0), KPX_BAD_ARGUMENT);
	CHECK_EQ(count(&g, "", "k", false, 0, 0), KPX_BAD_ARGUMENT);
	CHECK_EQ(count(&g, "m", "", false, 0, 0), KPX_BAD_ARGUMENT);
	name[KPX_MAX_PROFILE_NAME + 1] = 0;
	CHECK_EQ(count(&g, name, "k", false, 0, 0), KPX_BAD_ARGUMENT);
	CHECK_EQ(count(&g, "m", name, false, 0, 0), KPX_BAD_ARGUMENT);
	for (int i = 1; i < KPX_MAX_PROFILE_KINDS; i++)
	{
		snprintf(name, sizeof(name), "kind %d", i);
		CHECK_EQ(count(&g, "m", name, false, 0, 0), KPX_OK);
	}
	CHECK_EQ(count(&g, "m", "one more", false, 0, 0), KPX_TOO_BIG);
	for (int i = 1; i < KPX_MAX_PROFILE_MODULES; i++)
	{
		snprintf(name, sizeof(name), "module %d", i);
		CHECK_EQ(count(&g, name, "k", false, 0, 0), KPX_OK);
	}
	CHECK_EQ(count(&g, "one more", "k", false, 0, 0), KPX_TOO_BIG);
	CHECK_EQ(interest(&g, "one more", "f", 1, false, 0), KPX_TOO_BIG);
	CHECK_EQ(kpx_sketch_merge(g.sketch, &p), KPX_BAD_ARGUMENT);
	flat = finish(&g, KPX_PROFILE_INTERESTS);
	p = decode(flat);
	CHECK_EQ(p.n_modules, KPX_MAX_PROFILE_MODULES);
	release(&p);
	free(flat.bytes);
	free(g.sketch);
}

static KpxStatus
lasting(Grown *g, int64_t duration)
{
	KpxProfileEvent event = {name_of("m"), name_of("k"), false, false, true, 0, 0, duration};
	KpxStatus status;

	while ((status = kpx_sketch_count(g->sketch, &event)) == KPX_MORE)
		grow(g);
	return status;
}

/* Sums that do not fit are refused and change nothing, one by one as in a profile that is merged. */
static void
test_overflow(void)
{
	Grown g = start(0);
	Grown h = start(0);
	Flat before;
	Flat other;
	Flat unchanged;
	Flat after;
	KpxProfile p;

	CHECK_EQ(lasting(&g, INT64_MAX), KPX_OK);
	CHECK_EQ(lasting(&g, 1), KPX_TOO_BIG);
	CHECK_EQ(lasting(&h, 1), KPX_OK);
	before = finish(&g, KPX_PROFILE_INTERESTS);
	other = finish(&h, KPX_PROFILE_INTERESTS);
	p = decode(other);
	CHECK_EQ(merge(&g, &p), KPX_TOO_BIG);
	p.kinds[0].duration = 0;
	p.kinds[0].count = INT64_MAX;
	CHECK_EQ(merge(&g, &p), KPX_TOO_BIG);
	p.kinds[0].count = UINT64_MAX;
	CHECK_EQ(merge(&g, &p), KPX_TOO_BIG);
	unchanged = finish(&g, KPX_PROFILE_INTERESTS);
	CHECK(same(before, unchanged));
	p.kinds[0].count = 1;
	p.kinds[0].dated = 1;
	p.kinds[0].first = p.kinds[0].last = 0;
	for (int hour = 0; hour < 24; hour++)
		p.modules[0].hours[hour] = UINT32_MAX;
	CHECK_EQ(merge(&g, &p), KPX_OK);
	CHECK_EQ(merge(&g, &p), KPX_OK);
	release(&p);
	free(other.bytes);
	after = finish(&g, KPX_PROFILE_INTERESTS);
	CHECK_EQ(kpx_profile_check(after.bytes, after.length, &p), KPX_OK);
	provide(&p);
	kpx_profile_decode(after.bytes, after.length, &p);
	CHECK_EQ(p.modules[0].hours[3], UINT32_MAX); /* saturated */
	CHECK_EQ(p.kinds[0].count, 3);
	release(&p);
	free(before.bytes);
	free(unchanged.bytes);
	free(after.bytes);
	free(g.sketch);
	free(h.sketch);
}

/* Hundreds of half-lives apart: nothing overflows, what is old stays known. */
static void
test_decades(void)
{
	Grown g = start(KPX_PROFILE_MIN_HALF_LIFE);
	Flat flat;
	KpxProfile p;

	CHECK_EQ(interest(&g, "m", "item:old", 1, true, -7300 * DAY), KPX_OK);
	CHECK_EQ(interest(&g, "m", "item:new", 1, true, 9490 * DAY), KPX_OK);
	CHECK_EQ(interest(&g, "m", "item:new", 1, true, 9490 * DAY - KPX_PROFILE_MIN_HALF_LIFE), KPX_OK);
	CHECK_EQ(interest(&g, "m", "item:older", 1, true, -9000 * DAY), KPX_OK);
	flat = finish(&g, KPX_PROFILE_INTERESTS);
	p = decode(flat);
	CHECK_EQ(p.n_features, 3);
	CHECK_NEAR(p.features[0].weight, 0.75, 1e-12);
	CHECK(p.features[1].weight > 0 && p.features[1].weight < 1e-200);
	CHECK_NEAR(kpx_profile_items(&p, &p.modules[0]), 3, 0);
	release(&p);
	free(flat.bytes);
	free(g.sketch);
}

/* ------------------------------------------------------------ hostile bytes */

/* A changed flat form is refused, or is one: then it encodes to itself and merges. */
static bool
survives(const unsigned char *bytes, size_t length)
{
	unsigned char *exact = test_alloc(length ? length : 1);
	KpxProfile p;
	bool accepted;

	/* in a block of its own, so that the address sanitizer sees one byte too many */
	free(exact);
	exact = malloc(length ? length : 1);
	memcpy(exact, bytes, length);
	accepted = kpx_profile_check(exact, length, &p) == KPX_OK;
	if (accepted)
	{
		Grown g = start(p.half_life);
		Flat flat = {exact, length};

		p = decode(flat);
		(void) merge(&g, &p);
		(void) merge(&g, &p);
		flat = finish(&g, KPX_PROFILE_INTERESTS);
		release(&p);
		p = decode(flat);
		release(&p);
		free(flat.bytes);
		free(g.sketch);
	}
	free(exact);
	return accepted;
}

static void
test_mutations(Flat flat)
{
	unsigned char *changed = test_alloc(flat.length + 1);
	int accepted = 0;

	for (size_t i = 0; i < flat.length; i++)
		CHECK(!survives(flat.bytes, i));
	memcpy(changed, flat.bytes, flat.length);
	changed[flat.length] = 0;
	CHECK(!survives(changed, flat.length + 1));
	for (size_t i = 0; i < flat.length; i++)
		for (int bit = 0; bit < 9; bit++)
		{
			unsigned char before = changed[i];

			changed[i] = bit < 8 ? (unsigned char) (before ^ (1 << bit)) : (unsigned char) ~before;
			accepted += survives(changed, flat.length);
			changed[i] = before;
		}
	CHECK(accepted > 0); /* some bits of a weight or letter may be anything */
	for (uint64_t i = 0; i < 20000; i++)
	{
		for (int n = 0; n < 4; n++)
			changed[test_below(40 + n, i, flat.length)] = (unsigned char) test_below(50 + n, i, 256);
		accepted += survives(changed, flat.length);
		memcpy(changed, flat.bytes, flat.length);
	}
	free(changed);
}

static void
test_hostile(void)
{
	for (int half_life = 0; half_life < 2; half_life++)
	{
		Grown g = start(half_life ? HALF_LIFE : 0);
		Flat flat;

		for (int i = 0; i < 20; i++)
		{
			Event e = event_at(11, (uint64_t) i, 10);

			add_event(&g, &e);
		}
		flat = finish(&g, 4); /* sketched */
		CHECK(flat.length < 1000);
		test_mutations(flat);
		flat.bytes[0] = 2;
		CHECK_EQ(kpx_profile_check(flat.bytes, flat.length, &(KpxProfile){0}), KPX_UNSUPPORTED);
		free(flat.bytes);
		free(g.sketch);
	}
	CHECK_EQ(kpx_profile_check("", 0, &(KpxProfile){0}), KPX_CORRUPT);
}

/* ------------------------------------------------------------ interests */

static void
test_interests(void)
{
	Grown g = start(0);
	Grown h = start(0);
	KpxInterest a[4];
	KpxInterest b[4];
	KpxProfile p;
	KpxProfile q;
	Flat flat_p;
	Flat flat_q;

	interest(&g, "m", "x", 3, false, 0);
	interest(&g, "n", "x", 1, false, 0);
	interest(&g, "n", "y", 3, false, 0);
	interest(&h, "k", "y", 5e-200, false, 0);
	flat_p = finish(&g, KPX_PROFILE_INTERESTS);
	flat_q = finish(&h, KPX_PROFILE_INTERESTS);
	p = decode(flat_p);
	q = decode(flat_q);
	CHECK_EQ(kpx_profile_interests(&p, 1, a), 2);
	CHECK_EQ(kpx_profile_interests(&p, -1, a), 2);
	CHECK_EQ(kpx_profile_interests(&q, -1, b), 1);
	CHECK_NEAR(a[0].weight, 4, 0);
	CHECK_NEAR(kpx_interests_cosine(a, 2, b, 1), 3.0 / 5.0, 1e-15);
	CHECK_NEAR(kpx_interests_cosine(a, 2, a, 2), 1, 1e-15);
	CHECK_NEAR(kpx_interests_cosine(a, 2, b, 0), 0, 0);
	a[0].weight = 2;
	kpx_interests_rank(a, 2);
	CHECK(a[0].name.bytes[0] == 'y' && a[1].name.bytes[0] == 'x');
	release(&p);
	release(&q);
	free(flat_p.bytes);
	free(flat_q.bytes);
	free(g.sketch);
	free(h.sketch);
}

/* Taking modules out against never having counted their events, for all sets of modules. */
static void
test_keeping(int64_t half_life)
{
	static const int by_name[MODULES] = {2, 1, 0}; /* number in module_names of the profile's modules */

	for (unsigned set = 0; set < 1u << MODULES; set++)
	{
		Grown all = start(half_life);
		Grown some = start(half_life);
		bool keep[MODULES];
		Flat a;
		Flat b;
		KpxProfile p;
		KpxProfile q;
		Flat kept;

		for (int i = 0; i < 400; i++)
		{
			Event e = event_at(91, (uint64_t) i, 300);

			/* modules end at different times, so that exponents differ */
			e.at -= e.module * 2000 * DAY;
			add_event(&all, &e);
			if (set & (1u << e.module))
				add_event(&some, &e);
		}
		for (int m = 0; m < MODULES; m++)
			keep[m] = (set & (1u << by_name[m])) != 0;
		a = finish(&all, KPX_PROFILE_INTERESTS);
		b = finish(&some, KPX_PROFILE_INTERESTS);
		p = decode(a);
		q = decode(b);
		CHECK_EQ(p.n_modules, MODULES);
		kpx_profile_keep(&p, keep);
		kept = encode(&p);
		CHECK_EQ(p.n_modules, q.n_modules);
		CHECK_EQ(p.exponent, q.exponent);
		CHECK_EQ(p.n_features, q.n_features);
		for (uint32_t f = 0; f < p.n_features; f++)
		{
			CHECK(kpx_name_compare(p.features[f].name, q.features[f].name) == 0);
			CHECK_NEAR((p.features[f].weight + p.features[f].timeless) / (q.features[f].weight + q.features[f].timeless), 1, 1e-12);
		}
		if (half_life == 0)
			CHECK(same(kept, b));
		release(&p);
		release(&q);
		free(a.bytes);
		free(b.bytes);
		free(kept.bytes);
		free(all.sketch);
		free(some.sketch);
	}
}

int
main(void)
{
	test_against_sums(0, 3, 500, 100);
	test_against_sums(HALF_LIFE, 3, 500, 100);
	test_against_sums(400 * DAY, 4, 900, 300);
	test_merging(0, 3000, 400, 5);
	test_merging(0, 3000, 400, 3000);
	test_merging(HALF_LIFE, 3000, 400, 7);
	test_space_saving(20000, 3000, 3);
	test_space_saving(20000, 2000, 1);
	test_space_saving(5000, 600, 1);
	test_limits();
	test_overflow();
	test_decades();
	test_hostile();
	test_interests();
	test_keeping(0);
	test_keeping(HALF_LIFE);
	return test_done();
}
