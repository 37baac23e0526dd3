/*
 * sketch_merge.c
 *	  Profiles into a sketch, and a sketch into a profile.
 */
#include "sketch_table.h"

#include <math.h>
#include <string.h>

#define FEW_FEATURES 64

/* ------------------------------------------------------------ merging */

/* Room for all of a profile, as if nothing of it were here yet. */
static KpxSketchShape
room_for(const KpxSketch *s, const KpxProfile *p)
{
	KpxSketchShape more = {0, 0, p->n_features, 0, 0};

	for (uint32_t i = 0; i < p->n_modules; i++)
	{
		uint32_t m = kpx_table_find_module(s, p->modules[i].name);
		bool fresh = m == s->used.modules;
		uint32_t features = p->modules[i].features + (fresh ? 0 : modules_of(s)[m].features);

		more.modules += fresh;
		more.names += fresh ? p->modules[i].name.length : 0;
		more.minima += (p->modules[i].sketched || features > KPX_MAX_SKETCH_FEATURES) &&
					   (fresh || modules_of(s)[m].minima == NO_MINIMA);
		for (uint32_t k = p->modules[i].kind; k < p->modules[i].kind + p->modules[i].kinds; k++)
			if (kpx_table_find_kind(s, m, p->kinds[k].name) == s->used.kinds)
			{
				more.kinds++;
				more.names += p->kinds[k].name.length;
			}
	}
	for (uint32_t f = 0; f < p->n_features; f++)
		more.names += p->features[f].name.length;
	return more;
}

static void
add_up(uint32_t *a, uint32_t b)
{
	*a = b > UINT32_MAX - *a ? UINT32_MAX : *a + b;
}

/* Does everything of a profile's module fit into the limits and sums of ours? */
static bool
module_fits(const KpxSketch *s, const KpxProfile *p, const KpxProfileModule *from)
{
	uint32_t m = kpx_table_find_module(s, from->name);
	uint32_t kinds = 0;

	for (uint32_t k = 0; k < s->used.kinds; k++)
		kinds += kinds_of(s)[k].module == m;
	for (uint32_t i = from->kind; i < from->kind + from->kinds; i++)
	{
		uint32_t k = kpx_table_find_kind(s, m, p->kinds[i].name);
		const Kind *ours = &kinds_of(s)[k];
		uint64_t count;
		int64_t sum;

		if (k == s->used.kinds)
			kinds++;
		else if (__builtin_add_overflow(ours->value, p->kinds[i].value, &sum) ||
				 __builtin_add_overflow(ours->duration, p->kinds[i].duration, &sum) ||
				 __builtin_add_overflow(ours->count, p->kinds[i].count, &count) || count > INT64_MAX)
			return false;
	}
	return kinds <= KPX_MAX_PROFILE_KINDS;
}

static void
merge_kind(KpxSketch *s, uint32_t m, const KpxProfileKind *from)
{
	Kind *kind = kpx_table_need_kind(s, kpx_table_find_kind(s, m, from->name), m, from->name);

	if (from->dated)
	{
		kind->first = kind->dated == 0 || from->first < kind->first ? from->first : kind->first;
		kind->last = kind->dated == 0 || from->last > kind->last ? from->last : kind->last;
	}
	kind->count += from->count;
	kind->dated += from->dated;
	kind->values += from->values;
	kind->value += from->value;
	kind->durations += from->durations;
	kind->duration += from->duration;
}

/* Index of a name among the features of a profile's module, or -1. */
static int64_t
profile_feature(const KpxProfile *p, const KpxProfileModule *module, KpxName name)
{
	uint32_t low = module->feature;
	uint32_t high = module->feature + module->features;

	while (low < high)
	{
		uint32_t middle = low + (high - low) / 2;
		int order = kpx_name_compare(p->features[middle].name, name);

		if (order == 0)
			return middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

/* Features of a profile's module; what one side lost may have been of any the other has. */
static void
merge_features(KpxSketch *s, uint32_t m, const KpxProfile *p, const KpxProfileModule *from)
{
	int64_t shift = p->exponent - s->exponent;
	double lost = kpx_sketch_scale(from->lost, shift);

	if (from->sketched || modules_of(s)[m].minima != NO_MINIMA)
	{
		Minima *minima;

		kpx_sketch_begin_minima(s, m);
		minima = &minima_of(s)[modules_of(s)[m].minima];
		for (uint32_t i = from->minimum; i < from->minimum + from->minima; i++)
			kpx_sketch_add_minimum(minima->value, &minima->n, p->minima[i]);
	}
	for (uint32_t f = 0; f < s->used.features && (lost > 0 || from->lost_timeless > 0); f++)
	{
		Feature *ours = &features_of(s)[f];

		if (ours->module == m && profile_feature(p, from, feature_name(s, ours)) < 0)
		{
			ours->weight = fmin(ours->weight + lost, LARGEST_WEIGHT);
			ours->timeless = fmin(ours->timeless + from->lost_timeless, LARGEST_WEIGHT);
		}
	}
	for (uint32_t i = from->feature; i < from->feature + from->features; i++)
	{
		const KpxProfileFeature *theirs = &p->features[i];
		uint32_t hash = kpx_name_hash(theirs->name);
		Feature *ours = kpx_table_find_feature(s, m, theirs->name, hash);

		if (ours == NULL)
			kpx_sketch_insert_feature(s, m, theirs->name, hash, fmin(kpx_sketch_scale(theirs->weight, shift), LARGEST_WEIGHT), theirs->timeless);
		else
		{
			ours->weight = fmin(ours->weight + kpx_sketch_scale(theirs->weight, shift), LARGEST_WEIGHT);
			ours->timeless = fmin(ours->timeless + theirs->timeless, LARGEST_WEIGHT);
		}
	}
	modules_of(s)[m].lost = fmin(modules_of(s)[m].lost + lost, LARGEST_WEIGHT);
	modules_of(s)[m].lost_timeless = fmin(modules_of(s)[m].lost_timeless + from->lost_timeless, LARGEST_WEIGHT);
}

/* Exponent 0 may mean that nothing has a time. */
static bool
has_dated_weight(const KpxProfile *p)
{
	for (uint32_t i = 0; i < p->n_modules; i++)
	{
		if (p->modules[i].lost > 0)
			return p->half_life > 0;
		for (uint32_t f = p->modules[i].feature; f < p->modules[i].feature + p->modules[i].features; f++)
			if (p->features[f].weight > 0)
				return p->half_life > 0;
	}
	return false;
}

KpxStatus
kpx_sketch_merge(KpxSketch *s, const KpxProfile *p)
{
	uint32_t fresh = 0;

	if (p->half_life != s->half_life)
		return KPX_BAD_ARGUMENT;
	for (uint32_t i = 0; i < p->n_modules; i++)
	{
		fresh += kpx_table_find_module(s, p->modules[i].name) == s->used.modules;
		if (!module_fits(s, p, &p->modules[i]))
			return KPX_TOO_BIG;
	}
	if (s->used.modules + fresh > KPX_MAX_PROFILE_MODULES)
		return KPX_TOO_BIG;
	if (!kpx_table_has_room(s, room_for(s, p)))
		return KPX_MORE;
	if (has_dated_weight(p))
		kpx_sketch_reach_exponent(s, p->exponent);
	for (uint32_t i = 0; i < p->n_modules; i++)
	{
		const KpxProfileModule *from = &p->modules[i];
		uint32_t m = kpx_table_find_module(s, from->name);
		Module *module = kpx_table_need_module(s, m, from->name);

		for (uint32_t k = from->kind; k < from->kind + from->kinds; k++)
			merge_kind(s, m, &p->kinds[k]);
		for (int h = 0; h < 24; h++)
			add_up(&module->hours[h], from->hours[h]);
		for (int d = 0; d < 7; d++)
			add_up(&module->weekdays[d], from->weekdays[d]);
		merge_features(s, m, p, from);
	}
	return KPX_OK;
}

/* ------------------------------------------------------------ finishing */

void
kpx_sketch_profile_size(const KpxSketch *s, KpxProfile *profile)
{
	memset(profile, 0, sizeof(*profile));
	profile->n_modules = s->used.modules;
	profile->n_kinds = s->used.kinds;
	profile->n_features = s->used.features;
	profile->n_minima = s->used.modules * KPX_PROFILE_MINIMA;
}

/* Numbers of the modules in order of their names. */
static void
order_modules(const KpxSketch *s, uint8_t *order)
{
	const Module *modules = modules_of(s);

	for (uint32_t m = 0; m < s->used.modules; m++)
	{
		KpxName name = {names_of(s) + modules[m].name, modules[m].length};
		uint32_t at = m;

		for (; at > 0; at--)
		{
			const Module *before = &modules[order[at - 1]];

			if (kpx_name_compare((KpxName){names_of(s) + before->name, before->length}, name) < 0)
				break;
			order[at] = order[at - 1];
		}
		order[at] = (uint8_t) m;
	}
}

/* The kinds of module m behind the first ones of profile, by name; returns how many. */
static uint32_t
take_kinds(const KpxSketch *s, uint32_t m, KpxProfileKind *to)
{
	uint32_t n = 0;

	for (uint32_t k = 0; k < s->used.kinds; k++)
	{
		const Kind *from = &kinds_of(s)[k];
		KpxProfileKind kind = {{names_of(s) + from->name, from->length}, from->count, from->dated, from->first, from->last, from->values, from->value, from->durations, from->duration};
		uint32_t at = n;

		if (from->module != m)
			continue;
		for (; at > 0 && kpx_name_compare(to[at - 1].name, kind.name) > 0; at--)
			to[at] = to[at - 1];
		to[at] = kind;
		n++;
	}
	return n;
}

static bool
stronger(const KpxProfileFeature *a, const KpxProfileFeature *b)
{
	double x = a->weight + a->timeless;
	double y = b->weight + b->timeless;
	uint32_t hash_a;
	uint32_t hash_b;

	if (x != y)
		return x > y;
	hash_a = kpx_name_hash(a->name);
	hash_b = kpx_name_hash(b->name);
	if (hash_a != hash_b)
		return hash_a < hash_b;
	return kpx_name_compare(a->name, b->name) < 0;
}

static bool
earlier(const KpxProfileFeature *a, const KpxProfileFeature *b)
{
	return kpx_name_compare(a->name, b->name) < 0;
}

/* Heapsort: at most KPX_MAX_SKETCH_FEATURES. */
static void
sort_features(KpxProfileFeature *a, size_t n, bool (*before)(const KpxProfileFeature *, const KpxProfileFeature *))
{
	for (size_t begin = n / 2, end = n; end > 1;)
	{
		KpxProfileFeature feature;
		size_t root;
		size_t child;

		if (begin > 0)
			feature = a[root = --begin];
		else
		{
			feature = a[--end];
			a[end] = a[root = 0];
		}
		for (; (child = 2 * root + 1) < end; root = child)
		{
			if (child + 1 < end && before(&a[child], &a[child + 1]))
				child++;
			if (!before(&feature, &a[child]))
				break;
			a[root] = a[child];
		}
		a[root] = feature;
	}
}

/* Eight bytes of a name from begin on, as a number that orders as they do. */
static uint64_t
name_key(KpxName name, uint32_t begin)
{
	uint64_t key = 0;

	for (uint32_t i = begin; i < begin + 8; i++)
		key = key << 8 | (i < name.length ? (unsigned char) name.bytes[i] : 0);
	return key;
}

/* Bytes that all n names begin with. */
static uint32_t
common_prefix(const KpxProfileFeature *a, uint32_t n)
{
	uint32_t prefix = a[0].name.length;

	for (uint32_t i = 1; i < n; i++)
	{
		uint32_t same = 0;

		while (same < prefix && same < a[i].name.length && a[i].name.bytes[same] == a[0].name.bytes[same])
			same++;
		prefix = same;
	}
	return prefix;
}

typedef struct Key
{
	uint64_t key;
	uint32_t feature;
} Key;

static bool
key_before(const KpxProfileFeature *a, Key x, Key y)
{
	return x.key != y.key ? x.key < y.key : kpx_name_compare(a[x.feature].name, a[y.feature].name) < 0;
}

/*
 * Few features by name: what they all begin with (item:module/) says nothing, so the eight
 * bytes after it are compared as one number, and small keys are moved instead of features.
 */
static void
sort_few(KpxProfileFeature *a, uint32_t n)
{
	Key keys[FEW_FEATURES];
	KpxProfileFeature sorted[FEW_FEATURES];
	uint32_t prefix = n > 0 ? common_prefix(a, n) : 0;

	for (uint32_t i = 0; i < n; i++)
	{
		Key key = {name_key(a[i].name, prefix), i};
		uint32_t at = i;

		for (; at > 0 && key_before(a, key, keys[at - 1]); at--)
			keys[at] = keys[at - 1];
		keys[at] = key;
	}
	for (uint32_t i = 0; i < n; i++)
		sorted[i] = a[keys[i].feature];
	memcpy(a, sorted, n * sizeof(*a));
}

/* Leaves the limit strongest features of a module; what is dropped adds to what is lost. */
static void
cut_features(KpxProfile *p, KpxProfileModule *module, uint32_t limit)
{
	KpxProfileFeature *features = p->features + module->feature;

	if (module->features <= limit)
		return;
	if (!module->sketched)
		for (uint32_t f = 0; f < module->features; f++)
			if (kpx_name_is_item(features[f].name))
				kpx_sketch_add_minimum(p->minima + module->minimum, &module->minima, kpx_name_hash(features[f].name));
	module->sketched = true;
	sort_features(features, module->features, stronger);
	for (uint32_t f = limit; f < module->features; f++)
	{
		module->lost = fmax(module->lost, features[f].weight);
		module->lost_timeless = fmax(module->lost_timeless, features[f].timeless);
	}
	module->features = limit;
}

/* Everything of a module but its kinds and features. */
static KpxProfileModule
take_module(const KpxSketch *s, uint32_t m, uint32_t minimum, KpxProfile *p)
{
	const Module *from = &modules_of(s)[m];
	KpxProfileModule module = {.name = {names_of(s) + from->name, from->length}};

	memcpy(module.hours, from->hours, sizeof(module.hours));
	memcpy(module.weekdays, from->weekdays, sizeof(module.weekdays));
	module.sketched = from->minima != NO_MINIMA;
	module.lost = kpx_sketch_scale(from->lost, s->exponent - s->newest);
	module.lost_timeless = from->lost_timeless;
	module.minimum = minimum;
	if (module.sketched)
	{
		module.minima = minima_of(s)[from->minima].n;
		memcpy(p->minima + minimum, minima_of(s)[from->minima].value, module.minima * sizeof(uint32_t));
	}
	return module;
}

void
kpx_sketch_profile(const KpxSketch *s, uint32_t limit, KpxProfile *p)
{
	double floor = limit < KPX_MAX_SKETCH_FEATURES ? FLOOR_FINISHED : FLOOR_SKETCH;
	uint32_t cursor[KPX_MAX_PROFILE_MODULES];
	uint8_t order[KPX_MAX_PROFILE_MODULES];
	uint32_t feature = 0;

	p->half_life = s->half_life;
	p->exponent = s->dated ? s->newest : 0;
	p->n_modules = s->used.modules;
	p->n_features = s->used.features;
	p->n_minima = s->used.modules * KPX_PROFILE_MINIMA;
	p->n_kinds = 0;
	order_modules(s, order);
	for (uint32_t i = 0; i < s->used.modules; i++)
	{
		p->modules[i] = take_module(s, order[i], i * KPX_PROFILE_MINIMA, p);
		p->modules[i].kind = p->n_kinds;
		p->modules[i].kinds = take_kinds(s, order[i], p->kinds + p->n_kinds);
		p->n_kinds += p->modules[i].kinds;
		p->modules[i].feature = cursor[order[i]] = feature;
		p->modules[i].features = modules_of(s)[order[i]].features;
		feature += p->modules[i].features;
	}
	for (uint32_t f = 0; f < s->used.features; f++)
	{
		const Feature *from = &features_of(s)[f];
		double weight = kpx_sketch_scale(from->weight, s->exponent - s->newest);

		p->features[cursor[from->module]++] = (KpxProfileFeature){
			feature_name(s, from), weight > 0 ? fmax(weight, floor) : 0, from->timeless};
	}
	for (uint32_t i = 0; i < s->used.modules; i++)
	{
		cut_features(p, &p->modules[i], limit);
		if (p->modules[i].features <= FEW_FEATURES)
			sort_few(p->features + p->modules[i].feature, p->modules[i].features);
		else
			sort_features(p->features + p->modules[i].feature, p->modules[i].features, earlier);
	}
}
