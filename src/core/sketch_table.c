/*
 * sketch_table.c
 *	  The tables inside a sketch: their block, growing it, finding and adding rows.
 */
#include "sketch_table.h"

#include <string.h>

/* ------------------------------------------------------------ blocks */

KpxSketchShape
kpx_sketch_smallest(void)
{
	return (KpxSketchShape){1, 2, 8, 160, 0};
}

size_t
kpx_sketch_bytes(const KpxSketchShape *shape)
{
	size_t bytes = sizeof(KpxSketch) + shape->modules * sizeof(Module) + shape->kinds * sizeof(Kind) +
				   shape->features * (sizeof(Feature) + 2 * sizeof(uint32_t)) + shape->minima * sizeof(Minima) + ((shape->names + 7) & ~UINT32_C(7));

	return (bytes + 7) & ~(size_t) 7;
}

KpxSketch *
kpx_sketch_init(void *memory, const KpxSketchShape *shape, int64_t half_life)
{
	KpxSketch *s = memory;

	memset(s, 0, sizeof(*s));
	s->shape = *shape;
	s->half_life = half_life;
	memset(slots_of(s), 0, 2 * shape->features * sizeof(uint32_t));
	return s;
}

int64_t
kpx_sketch_half_life(const KpxSketch *sketch)
{
	return sketch->half_life;
}

KpxSketchShape
kpx_sketch_wanted(const KpxSketch *sketch)
{
	return sketch->wanted;
}

void
kpx_table_index_feature(KpxSketch *s, uint32_t f)
{
	uint32_t n = 2 * s->shape.features;
	uint32_t *slots = slots_of(s);
	const Feature *feature = &features_of(s)[f];
	uint32_t at = (uint32_t) (((uint64_t) (feature->hash ^ feature->module * UINT32_C(0x9E3779B1)) * n) >> 32);

	while (slots[at])
		at = at + 1 == n ? 0 : at + 1;
	slots[at] = f + 1;
}

void
kpx_table_index_features(KpxSketch *s)
{
	memset(slots_of(s), 0, 2 * s->shape.features * sizeof(uint32_t));
	for (uint32_t f = 0; f < s->used.features; f++)
		kpx_table_index_feature(s, f);
}

/* Appends a name; there must be room. */
uint32_t
kpx_table_add_name(KpxSketch *s, const char *bytes, uint32_t length)
{
	uint32_t at = s->used.names;

	memcpy(names_of(s) + at, bytes, length);
	s->used.names += length;
	return at;
}

KpxSketch *
kpx_sketch_move(const KpxSketch *from, void *memory, const KpxSketchShape *shape)
{
	KpxSketch *s = memory;
	const char *names = names_of(from);

	*s = *from;
	s->shape = *shape;
	s->used.names = 0;
	memcpy(modules_of(s), modules_of(from), from->used.modules * sizeof(Module));
	memcpy(kinds_of(s), kinds_of(from), from->used.kinds * sizeof(Kind));
	memcpy(features_of(s), features_of(from), from->used.features * sizeof(Feature));
	memcpy(minima_of(s), minima_of(from), from->used.minima * sizeof(Minima));
	for (uint32_t m = 0; m < s->used.modules; m++)
		modules_of(s)[m].name = kpx_table_add_name(s, names + modules_of(s)[m].name, modules_of(s)[m].length);
	for (uint32_t k = 0; k < s->used.kinds; k++)
		kinds_of(s)[k].name = kpx_table_add_name(s, names + kinds_of(s)[k].name, kinds_of(s)[k].length);
	for (uint32_t f = 0; f < s->used.features; f++)
		features_of(s)[f].name = kpx_table_add_name(s, names + features_of(s)[f].name, features_of(s)[f].length);
	kpx_table_index_features(s);
	return s;
}

/* Bytes of the names that are still referred to. */
static uint32_t
live_names(const KpxSketch *s)
{
	uint32_t total = 0;

	for (uint32_t m = 0; m < s->used.modules; m++)
		total += modules_of(s)[m].length;
	for (uint32_t k = 0; k < s->used.kinds; k++)
		total += kinds_of(s)[k].length;
	for (uint32_t f = 0; f < s->used.features; f++)
		total += features_of(s)[f].length;
	return total;
}

/* The spare bytes up to a power of two, which allocators round to, become room for features. */
static void
fill_block(KpxSketchShape *shape)
{
	size_t bytes = kpx_sketch_bytes(shape);
	size_t block = 256;
	size_t name = shape->features ? shape->names / shape->features + 1 : 16;
	size_t more;

	while (block < bytes)
		block *= 2;
	more = (block - bytes) / (sizeof(Feature) + 2 * sizeof(uint32_t) + name);
	shape->features += (uint32_t) more;
	bytes = kpx_sketch_bytes(shape);
	shape->names += (uint32_t) (block - bytes) & ~UINT32_C(7);
}

/*
 * Is there room for so much more? Otherwise sets the shape to move to: half as much again of
 * what is used and what is needed.
 */
bool
kpx_table_has_room(KpxSketch *s, KpxSketchShape more)
{
	KpxSketchShape *w = &s->wanted;

	if (s->used.modules + more.modules <= s->shape.modules && s->used.kinds + more.kinds <= s->shape.kinds &&
		s->used.features + more.features <= s->shape.features && s->used.names + more.names <= s->shape.names &&
		s->used.minima + more.minima <= s->shape.minima)
		return true;
	w->modules = s->used.modules + more.modules;
	w->kinds = s->used.kinds + more.kinds;
	w->features = s->used.features + more.features;
	w->features += w->features / 4;
	w->names = live_names(s) + more.names;
	w->names += w->names / 4;
	w->minima = s->used.minima + more.minima;
	fill_block(w);
	return false;
}

/* ------------------------------------------------------------ finding */

/* Are n bytes the same? Most names are short: two overlapping words. */
static inline bool
same_bytes(const char *a, const char *b, uint32_t n)
{
	uint64_t x[2];
	uint64_t y[2];

	if (n < 8 || n > 16)
		return memcmp(a, b, n) == 0;
	memcpy(&x[0], a, 8);
	memcpy(&y[0], b, 8);
	memcpy(&x[1], a + n - 8, 8);
	memcpy(&y[1], b + n - 8, 8);
	return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

static inline bool
same_name(const KpxSketch *s, uint32_t at, uint32_t length, KpxName name)
{
	return length == name.length && same_bytes(names_of(s) + at, name.bytes, length);
}

/* Number of the module, or used.modules when it is new. */
uint32_t
kpx_table_find_module(const KpxSketch *s, KpxName name)
{
	const Module *modules = modules_of(s);
	uint32_t m = 0;

	while (m < s->used.modules && !same_name(s, modules[m].name, modules[m].length, name))
		m++;
	return m;
}

uint32_t
kpx_table_find_kind(const KpxSketch *s, uint32_t module, KpxName name)
{
	const Kind *kinds = kinds_of(s);
	uint32_t k = 0;

	while (k < s->used.kinds && (kinds[k].module != module || !same_name(s, kinds[k].name, kinds[k].length, name)))
		k++;
	return k;
}

Feature *
kpx_table_find_feature(const KpxSketch *s, uint32_t module, KpxName name, uint32_t hash)
{
	uint32_t n = 2 * s->shape.features;
	const uint32_t *slots = slots_of(s);
	uint32_t at = (uint32_t) (((uint64_t) (hash ^ module * UINT32_C(0x9E3779B1)) * n) >> 32);

	for (; slots[at]; at = at + 1 == n ? 0 : at + 1)
	{
		Feature *f = &features_of(s)[slots[at] - 1];

		if (f->hash == hash && f->module == module && same_name(s, f->name, f->length, name))
			return f;
	}
	return NULL;
}

/* The module, made when it is new; there must be room. */
Module *
kpx_table_need_module(KpxSketch *s, uint32_t m, KpxName name)
{
	Module *module = &modules_of(s)[m];

	if (m < s->used.modules)
		return module;
	memset(module, 0, sizeof(*module));
	module->name = kpx_table_add_name(s, name.bytes, name.length);
	module->length = name.length;
	module->minima = NO_MINIMA;
	s->used.modules++;
	return module;
}

Kind *
kpx_table_need_kind(KpxSketch *s, uint32_t k, uint32_t module, KpxName name)
{
	Kind *kind = &kinds_of(s)[k];

	if (k < s->used.kinds)
		return kind;
	memset(kind, 0, sizeof(*kind));
	kind->name = kpx_table_add_name(s, name.bytes, name.length);
	kind->length = (uint16_t) name.length;
	kind->module = (uint16_t) module;
	s->used.kinds++;
	return kind;
}
