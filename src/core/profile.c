/*
 * profile.c
 *	  A profile as a flat string of bytes.
 *
 * The flat form is the same on every machine: whole numbers as base-128 varints (LEB128,
 * shortest form only), signed ones zigzagged, doubles as eight bytes and minima as four,
 * least significant first.
 *
 *	version, half_life, exponent (signed; with a half-life only), modules;
 *	each module: name, kinds, each kind: name, count, dated, [first (signed), last - first],
 *	values, [value (signed)], durations, [duration (signed)]; then [hours, weekdays] when
 *	any kind is dated; sketched, when 1: lost, [lost_timeless], minima, the minima;
 *	features, each feature: name (length doubled, plus 1 with timeless), weight, [timeless].
 */
#include "profile.h"

#include <math.h>
#include <string.h>

_Static_assert(sizeof(double) == sizeof(uint64_t), "doubles have eight bytes");

/* ------------------------------------------------------------ names */

int
kpx_name_compare(KpxName a, KpxName b)
{
	int order = memcmp(a.bytes, b.bytes, a.length < b.length ? a.length : b.length);

	if (order != 0)
		return order;
	return a.length < b.length ? -1 : a.length > b.length;
}

static inline uint64_t
load(const unsigned char *p, uint32_t n)
{
	uint64_t word = 0;

	for (uint32_t i = 0; i < n; i++)
		word |= (uint64_t) p[i] << (8 * i);
	return word;
}

uint32_t
kpx_name_hash(KpxName name)
{
	const unsigned char *p = (const unsigned char *) name.bytes;
	uint64_t hash = name.length * UINT64_C(0x9E3779B97F4A7C15);
	uint32_t n = name.length;
	uint64_t rest;

	/* Constant counts are single loads; the last one overlaps what came before it. */
	for (; n > 8; n -= 8, p += 8)
	{
		hash = (hash ^ load(p, 8)) * UINT64_C(0xBF58476D1CE4E5B9);
		hash ^= hash >> 29;
	}
	if (name.length >= 8)
		rest = load(p + n - 8, 8);
	else if (n >= 4)
		rest = load(p, 4) | load(p + n - 4, 4) << 32;
	else
		rest = load(p, n);
	hash = (hash ^ rest) * UINT64_C(0x94D049BB133111EB);
	hash ^= hash >> 32;
	hash *= UINT64_C(0xBF58476D1CE4E5B9);
	return (uint32_t) (hash >> 32);
}

bool
kpx_name_is_item(KpxName name)
{
	return name.length > 5 && memcmp(name.bytes, "item:", 5) == 0;
}

/* ------------------------------------------------------------ reading */

/* What is left to read; bad once something was not as it must be. */
typedef struct Reader
{
	const unsigned char *at;
	const unsigned char *end;
	bool bad;
} Reader;

static uint64_t
get_varint(Reader *r)
{
	uint64_t value = 0;

	for (int shift = 0; shift < 64; shift += 7)
	{
		unsigned char byte;

		if (r->at == r->end)
			break;
		byte = *r->at++;
		if (shift == 63 && byte > 1)
			break;
		value |= (uint64_t) (byte & 0x7F) << shift;
		if (byte < 0x80)
		{
			if (byte == 0 && shift > 0)
				break; /* not the shortest form */
			return value;
		}
	}
	r->bad = true;
	return 0;
}

/* A whole number of [low, high]. */
static uint64_t
get_count(Reader *r, uint64_t low, uint64_t high)
{
	uint64_t value = get_varint(r);

	if (value < low || value > high)
		r->bad = true;
	return r->bad ? low : value;
}

static int64_t
get_signed(Reader *r, int64_t low, int64_t high)
{
	uint64_t raw = get_varint(r);
	int64_t value = (int64_t) (raw >> 1) ^ -(int64_t) (raw & 1);

	if (value < low || value > high)
		r->bad = true;
	return r->bad ? low : value;
}

/* A weight: finite, at least 0, and not -0. */
static double
get_weight(Reader *r)
{
	uint64_t word;
	double value;

	if (r->end - r->at < 8)
	{
		r->bad = true;
		return 0;
	}
	word = load(r->at, 8);
	r->at += 8;
	memcpy(&value, &word, sizeof(value));
	if (!(value >= 0) || isinf(value) || signbit(value))
	{
		r->bad = true;
		return 0;
	}
	return value;
}

static uint32_t
get_minimum(Reader *r)
{
	uint32_t value;

	if (r->end - r->at < 4)
	{
		r->bad = true;
		return 0;
	}
	value = (uint32_t) load(r->at, 4);
	r->at += 4;
	return value;
}

static KpxName
get_bytes(Reader *r, uint32_t length)
{
	KpxName name = {(const char *) r->at, 0};

	if ((size_t) (r->end - r->at) < length)
		r->bad = true;
	if (r->bad)
		return name;
	name.length = length;
	r->at += length;
	return name;
}

static KpxName
get_name(Reader *r)
{
	return get_bytes(r, (uint32_t) get_count(r, 1, KPX_MAX_PROFILE_NAME));
}

static KpxProfileKind
get_kind(Reader *r)
{
	KpxProfileKind kind = {.name = get_name(r)};

	kind.count = get_count(r, 1, INT64_MAX);
	kind.dated = get_count(r, 0, kind.count);
	if (kind.dated)
	{
		kind.first = get_signed(r, KPX_PROFILE_MIN_TIME, KPX_PROFILE_MAX_TIME);
		kind.last = kind.first + (int64_t) get_count(r, 0, (uint64_t) (KPX_PROFILE_MAX_TIME - kind.first));
	}
	kind.values = get_count(r, 0, kind.count);
	if (kind.values)
		kind.value = get_signed(r, INT64_MIN, INT64_MAX);
	kind.durations = get_count(r, 0, kind.count);
	if (kind.durations)
		kind.duration = get_signed(r, INT64_MIN, INT64_MAX);
	return kind;
}

/* Everything about a module but its name's place among the others: fills m, and the kinds unless NULL. */
static void
get_behaviour(Reader *r, KpxProfileModule *m, KpxProfileKind *kinds)
{
	KpxName before = {"", 0};
	bool dated = false;

	m->kinds = (uint32_t) get_count(r, 0, KPX_MAX_PROFILE_KINDS);
	for (uint32_t k = 0; k < m->kinds && !r->bad; k++)
	{
		KpxProfileKind kind = get_kind(r);

		if (!r->bad && kpx_name_compare(before, kind.name) >= 0)
			r->bad = true;
		before = kind.name;
		dated |= kind.dated > 0;
		if (kinds)
			kinds[m->kind + k] = kind;
	}
	for (int h = 0; h < 24 && dated; h++)
		m->hours[h] = (uint32_t) get_count(r, 0, UINT32_MAX);
	for (int d = 0; d < 7 && dated; d++)
		m->weekdays[d] = (uint32_t) get_count(r, 0, UINT32_MAX);
}

static void
get_lost(Reader *r, KpxProfileModule *m, bool decays, uint32_t *minima)
{
	uint32_t before = 0;

	m->sketched = get_count(r, 0, 1) == 1;
	if (!m->sketched)
		return;
	m->lost = get_weight(r);
	m->lost_timeless = decays ? get_weight(r) : 0;
	m->minima = (uint32_t) get_count(r, 0, KPX_PROFILE_MINIMA);
	for (uint32_t i = 0; i < m->minima && !r->bad; i++)
	{
		uint32_t value = get_minimum(r);

		if (i > 0 && value <= before)
			r->bad = true;
		before = value;
		if (minima)
			minima[m->minimum + i] = value;
	}
}

static void
get_features(Reader *r, KpxProfileModule *m, bool decays, KpxProfileFeature *features)
{
	KpxName before = {"", 0};

	m->features = (uint32_t) get_count(r, 0, KPX_MAX_SKETCH_FEATURES);
	for (uint32_t f = 0; f < m->features && !r->bad; f++)
	{
		uint64_t length = get_count(r, 2, 2 * KPX_MAX_FEATURE_NAME + 1);
		KpxProfileFeature feature = {.name = get_bytes(r, (uint32_t) (length >> 1))};

		feature.weight = get_weight(r);
		feature.timeless = length & 1 ? get_weight(r) : 0;
		if (length & 1 ? !decays || !(feature.timeless > 0) : !(feature.weight > 0))
			r->bad = true;
		if (!r->bad && kpx_name_compare(before, feature.name) >= 0)
			r->bad = true;
		before = feature.name;
		if (features)
			features[m->feature + f] = feature;
	}
}

/* Reads everything; fills the arrays when profile has them, and its counts. */
static void
get_profile(Reader *r, KpxProfile *profile, bool fill)
{
	KpxName before = {"", 0};

	profile->n_kinds = profile->n_features = profile->n_minima = 0;
	profile->half_life = (int64_t) get_count(r, 0, KPX_PROFILE_MAX_HALF_LIFE);
	if (profile->half_life && profile->half_life < KPX_PROFILE_MIN_HALF_LIFE)
		r->bad = true;
	profile->exponent = 0;
	if (profile->half_life && !r->bad)
		profile->exponent = get_signed(r, KPX_PROFILE_MIN_TIME / profile->half_life, KPX_PROFILE_MAX_TIME / profile->half_life + 1);
	profile->n_modules = (uint32_t) get_count(r, 0, KPX_MAX_PROFILE_MODULES);
	for (uint32_t i = 0; i < profile->n_modules && !r->bad; i++)
	{
		KpxProfileModule m = {.name = get_name(r)};

		m.kind = profile->n_kinds;
		m.feature = profile->n_features;
		m.minimum = profile->n_minima;
		if (!r->bad && kpx_name_compare(before, m.name) >= 0)
			r->bad = true;
		before = m.name;
		get_behaviour(r, &m, fill ? profile->kinds : NULL);
		get_lost(r, &m, profile->half_life > 0, fill ? profile->minima : NULL);
		get_features(r, &m, profile->half_life > 0, fill ? profile->features : NULL);
		profile->n_kinds += m.kinds;
		profile->n_features += m.features;
		profile->n_minima += m.minima;
		if (fill)
			profile->modules[i] = m;
	}
}

KpxStatus
kpx_profile_check(const void *bytes, size_t length, KpxProfile *profile)
{
	Reader r = {bytes, (const unsigned char *) bytes + length, false};
	uint64_t version;

	memset(profile, 0, sizeof(*profile));
	version = get_varint(&r);
	if (r.bad || version == 0)
		return KPX_CORRUPT;
	if (version != KPX_PROFILE_VERSION)
		return KPX_UNSUPPORTED;
	get_profile(&r, profile, false);
	return r.bad || r.at != r.end ? KPX_CORRUPT : KPX_OK;
}

void
kpx_profile_decode(const void *bytes, size_t length, KpxProfile *profile)
{
	Reader r = {bytes, (const unsigned char *) bytes + length, false};

	(void) get_varint(&r);
	get_profile(&r, profile, true);
}

/* ------------------------------------------------------------ writing */

static unsigned char *
put_varint(unsigned char *at, uint64_t value)
{
	while (value >= 0x80)
	{
		*at++ = (unsigned char) (value | 0x80);
		value >>= 7;
	}
	*at++ = (unsigned char) value;
	return at;
}

static unsigned char *
put_signed(unsigned char *at, int64_t value)
{
	return put_varint(at, ((uint64_t) value << 1) ^ (uint64_t) (value < 0 ? -1 : 0));
}

static unsigned char *
put_word(unsigned char *at, uint64_t word, int n)
{
	for (int i = 0; i < n; i++)
		*at++ = (unsigned char) (word >> (8 * i));
	return at;
}

static unsigned char *
put_weight(unsigned char *at, double value)
{
	uint64_t word;

	memcpy(&word, &value, sizeof(word));
	return put_word(at, word, 8);
}

static unsigned char *
put_bytes(unsigned char *at, KpxName name)
{
	memcpy(at, name.bytes, name.length);
	return at + name.length;
}

static unsigned char *
put_name(unsigned char *at, KpxName name)
{
	return put_bytes(put_varint(at, name.length), name);
}

static unsigned char *
put_kind(unsigned char *at, const KpxProfileKind *kind)
{
	at = put_name(at, kind->name);
	at = put_varint(at, kind->count);
	at = put_varint(at, kind->dated);
	if (kind->dated)
	{
		at = put_signed(at, kind->first);
		at = put_varint(at, (uint64_t) kind->last - (uint64_t) kind->first);
	}
	at = put_varint(at, kind->values);
	if (kind->values)
		at = put_signed(at, kind->value);
	at = put_varint(at, kind->durations);
	return kind->durations ? put_signed(at, kind->duration) : at;
}

static unsigned char *
put_behaviour(unsigned char *at, const KpxProfile *profile, const KpxProfileModule *m)
{
	bool dated = false;

	at = put_varint(at, m->kinds);
	for (uint32_t k = m->kind; k < m->kind + m->kinds; k++)
	{
		at = put_kind(at, &profile->kinds[k]);
		dated |= profile->kinds[k].dated > 0;
	}
	for (int h = 0; h < 24 && dated; h++)
		at = put_varint(at, m->hours[h]);
	for (int d = 0; d < 7 && dated; d++)
		at = put_varint(at, m->weekdays[d]);
	return at;
}

static unsigned char *
put_interests(unsigned char *at, const KpxProfile *profile, const KpxProfileModule *m)
{
	at = put_varint(at, m->sketched);
	if (m->sketched)
	{
		at = put_weight(at, m->lost);
		if (profile->half_life)
			at = put_weight(at, m->lost_timeless);
		at = put_varint(at, m->minima);
		for (uint32_t i = m->minimum; i < m->minimum + m->minima; i++)
			at = put_word(at, profile->minima[i], 4);
	}
	at = put_varint(at, m->features);
	for (uint32_t f = m->feature; f < m->feature + m->features; f++)
	{
		const KpxProfileFeature *feature = &profile->features[f];
		bool timeless = feature->timeless > 0;

		at = put_bytes(put_varint(at, 2 * (uint64_t) feature->name.length + timeless), feature->name);
		at = put_weight(at, feature->weight);
		if (timeless)
			at = put_weight(at, feature->timeless);
	}
	return at;
}

KpxStatus
kpx_profile_bound(const KpxProfile *profile, size_t *bytes)
{
	/* The longest varints, at most 10 bytes each, of the counts everything can have. */
	uint64_t total = 4 * 10 + (uint64_t) profile->n_minima * 4;

	for (uint32_t i = 0; i < profile->n_modules; i++)
		total += profile->modules[i].name.length + 38 * 5 + 16 + 16;
	for (uint32_t i = 0; i < profile->n_kinds; i++)
		total += profile->kinds[i].name.length + 9 * 10;
	for (uint32_t i = 0; i < profile->n_features; i++)
		total += profile->features[i].name.length + 5 + 16;
	*bytes = (size_t) total;
	return total > (UINT64_C(1) << 30) ? KPX_TOO_BIG : KPX_OK;
}

size_t
kpx_profile_encode(const KpxProfile *profile, void *bytes)
{
	unsigned char *at = put_varint(bytes, KPX_PROFILE_VERSION);

	at = put_varint(at, (uint64_t) profile->half_life);
	if (profile->half_life)
		at = put_signed(at, profile->exponent);
	at = put_varint(at, profile->n_modules);
	for (uint32_t i = 0; i < profile->n_modules; i++)
	{
		at = put_name(at, profile->modules[i].name);
		at = put_behaviour(at, profile, &profile->modules[i]);
		at = put_interests(at, profile, &profile->modules[i]);
	}
	return (size_t) (at - (unsigned char *) bytes);
}
