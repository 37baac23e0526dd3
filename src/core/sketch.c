/*
 * sketch.c
 *	  Accumulating events into a profile: counting, and weights of features.
 */
#include "sketch_table.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------ behaviour */

static bool
name_fits(KpxName name, uint32_t longest)
{
	return name.length >= 1 && name.length <= longest;
}

static bool
time_fits(int64_t at)
{
	return at >= KPX_PROFILE_MIN_TIME && at <= KPX_PROFILE_MAX_TIME;
}

static int64_t
floor_divide(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static void
count_up(uint32_t *n)
{
	*n += *n < UINT32_MAX;
}

static void
count_time(Module *module, Kind *kind, int64_t at)
{
	int64_t day = floor_divide(at, INT64_C(86400000000));
	int64_t hour = (at - day * INT64_C(86400000000)) / INT64_C(3600000000);

	/* Day 0 was a Saturday. */
	count_up(&module->hours[hour]);
	count_up(&module->weekdays[((day + 5) % 7 + 7) % 7]);
	kind->first = kind->dated == 0 || at < kind->first ? at : kind->first;
	kind->last = kind->dated == 0 || at > kind->last ? at : kind->last;
	kind->dated++;
}

/* Are there few enough kinds in this module for another one? */
static bool
kind_fits(const KpxSketch *s, uint32_t module)
{
	uint32_t n = 0;

	for (uint32_t k = 0; k < s->used.kinds; k++)
		n += kinds_of(s)[k].module == module;
	return n < KPX_MAX_PROFILE_KINDS;
}

KpxStatus
kpx_sketch_count(KpxSketch *s, const KpxProfileEvent *event)
{
	uint32_t m;
	uint32_t k;
	Module *module;
	Kind *kind;
	int64_t sum;

	if (!name_fits(event->module, KPX_MAX_PROFILE_NAME) || !name_fits(event->kind, KPX_MAX_PROFILE_NAME) ||
		(event->dated && !time_fits(event->at)))
		return KPX_BAD_ARGUMENT;
	m = kpx_table_find_module(s, event->module);
	k = kpx_table_find_kind(s, m, event->kind);
	if (m == s->used.modules || k == s->used.kinds)
	{
		KpxSketchShape more = {m == s->used.modules, k == s->used.kinds, 0, event->module.length + event->kind.length, 0};

		if (m == KPX_MAX_PROFILE_MODULES || (k == s->used.kinds && !kind_fits(s, m)))
			return KPX_TOO_BIG;
		if (!kpx_table_has_room(s, more))
			return KPX_MORE;
	}
	else if ((event->valued && __builtin_add_overflow(kinds_of(s)[k].value, event->value, &sum)) ||
			 (event->timed && __builtin_add_overflow(kinds_of(s)[k].duration, event->duration, &sum)))
		return KPX_TOO_BIG;
	module = kpx_table_need_module(s, m, event->module);
	kind = kpx_table_need_kind(s, k, m, event->kind);
	kind->count++;
	if (event->dated)
		count_time(module, kind, event->at);
	kind->values += event->valued;
	kind->value += event->valued ? event->value : 0;
	kind->durations += event->timed;
	kind->duration += event->timed ? event->duration : 0;
	return KPX_OK;
}

/* ------------------------------------------------------------ features */

/* value into the sorted minima, unless it is there or larger than all of a full list. */
void
kpx_sketch_add_minimum(uint32_t *values, uint32_t *n, uint32_t value)
{
	uint32_t low = 0;
	uint32_t high = *n;

	while (low < high)
	{
		uint32_t middle = (low + high) / 2;

		if (values[middle] < value)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == KPX_PROFILE_MINIMA || (low < *n && values[low] == value))
		return;
	if (*n == KPX_PROFILE_MINIMA)
		(*n)--;
	memmove(values + low + 1, values + low, (*n - low) * sizeof(uint32_t));
	values[low] = value;
	(*n)++;
}

/* Begins the minima of a module with the items among its features; there must be room. */
void
kpx_sketch_begin_minima(KpxSketch *s, uint32_t m)
{
	Minima *minima;

	if (modules_of(s)[m].minima != NO_MINIMA)
		return;
	modules_of(s)[m].minima = s->used.minima;
	minima = &minima_of(s)[s->used.minima++];
	minima->n = 0;
	for (uint32_t f = 0; f < s->used.features; f++)
		if (features_of(s)[f].module == m && kpx_name_is_item(feature_name(s, &features_of(s)[f])))
			kpx_sketch_add_minimum(minima->value, &minima->n, features_of(s)[f].hash);
}

/* A feature's weight as of the newest event: what decides which ones stay. */
static double
strength(const KpxSketch *s, const Feature *f)
{
	return ldexp(f->weight, (int) (s->exponent - s->newest)) + f->timeless;
}

/* The k-th largest (from 0) of n values, which are reordered (Hoare 1961, quickselect). */
static double
kth_largest(double *a, size_t n, size_t k)
{
	size_t begin = 0;
	size_t end = n;

	while (end - begin > 1)
	{
		double pivot = a[begin + (end - begin - 1) / 2]; /* never the last one */
		size_t i = begin;
		size_t j = end - 1;

		for (;;)
		{
			double swap;

			while (a[i] > pivot)
				i++;
			while (a[j] < pivot)
				j--;
			if (i >= j)
				break;
			swap = a[i];
			a[i++] = a[j];
			a[j--] = swap;
		}
		/* all before i are at least, all from j + 1 on at most the pivot */
		if (k <= j)
			end = j + 1;
		else
			begin = j + 1;
	}
	return a[k];
}

/*
 * Drops all but the KEPT_FEATURES strongest of a full module. Of those that are as strong as
 * the weakest kept, the ones with the smallest hashes stay, and those equal in that as well.
 */
static void
drop_weak(KpxSketch *s, uint32_t m)
{
	double values[KPX_MAX_SKETCH_FEATURES];
	Module *module = &modules_of(s)[m];
	Feature *features = features_of(s);
	uint32_t n = 0;
	uint32_t ties = KEPT_FEATURES;
	uint32_t kept = 0;
	double least;
	double hash;

	for (uint32_t f = 0; f < s->used.features; f++)
		if (features[f].module == m)
			values[n++] = strength(s, &features[f]);
	least = kth_largest(values, n, KEPT_FEATURES - 1);
	n = 0;
	for (uint32_t f = 0; f < s->used.features; f++)
	{
		double value = features[f].module == m ? strength(s, &features[f]) : 0;

		if (features[f].module == m && value == least)
			values[n++] = -(double) features[f].hash;
		else if (features[f].module == m && value > least)
			ties--;
	}
	hash = -kth_largest(values, n, ties - 1);
	for (uint32_t f = 0; f < s->used.features; f++)
	{
		double value = features[f].module == m ? strength(s, &features[f]) : 0;

		if (features[f].module == m && (value < least || (value == least && features[f].hash > hash)))
		{
			module->lost = fmax(module->lost, features[f].weight);
			module->lost_timeless = fmax(module->lost_timeless, features[f].timeless);
			module->features--;
		}
		else
			features[kept++] = features[f];
	}
	s->used.features = kept;
	kpx_table_index_features(s);
}

/* A new feature, with what may have been lost of it; there must be room. */
void
kpx_sketch_insert_feature(KpxSketch *s, uint32_t m, KpxName name, uint32_t hash, double weight, double timeless)
{
	Module *module = &modules_of(s)[m];
	Feature *f;

	if (module->features == KPX_MAX_SKETCH_FEATURES)
	{
		kpx_sketch_begin_minima(s, m);
		drop_weak(s, m);
	}
	if (module->minima != NO_MINIMA && kpx_name_is_item(name))
		kpx_sketch_add_minimum(minima_of(s)[module->minima].value, &minima_of(s)[module->minima].n, hash);
	f = &features_of(s)[s->used.features];
	f->hash = hash;
	f->name = kpx_table_add_name(s, name.bytes, name.length);
	f->length = (uint16_t) name.length;
	f->module = (uint16_t) m;
	f->weight = weight + module->lost;
	f->timeless = timeless + module->lost_timeless;
	module->features++;
	kpx_table_index_feature(s, s->used.features++);
}

/* weight x 2^shift, but not so small that it vanishes. */
double
kpx_sketch_scale(double weight, int64_t shift)
{
	if (!(weight > 0) || shift == 0)
		return weight;
	return fmax(ldexp(weight, (int) (shift < -4000 ? -4000 : shift)), FLOOR_SKETCH);
}

/* Makes exponent one at which weights of exponent e can be added. */
void
kpx_sketch_reach_exponent(KpxSketch *s, int64_t e)
{
	if (!s->dated)
		s->exponent = s->newest = e;
	s->dated = true;
	s->newest = e > s->newest ? e : s->newest;
	if (e <= s->exponent + HEADROOM)
		return;
	for (uint32_t f = 0; f < s->used.features; f++)
		features_of(s)[f].weight = kpx_sketch_scale(features_of(s)[f].weight, s->exponent - e);
	for (uint32_t m = 0; m < s->used.modules; m++)
		modules_of(s)[m].lost = kpx_sketch_scale(modules_of(s)[m].lost, s->exponent - e);
	s->exponent = e;
}

/* Weight of an event at a time, in the scale of the sketch. */
static double
forward_weight(KpxSketch *s, double weight, int64_t at)
{
	int64_t period = floor_divide(at, s->half_life);
	double part = (double) (at - period * s->half_life) / (double) s->half_life;

	kpx_sketch_reach_exponent(s, period + 1);
	return kpx_sketch_scale(weight * exp2(part - 1), period + 1 - s->exponent);
}

KpxStatus
kpx_sketch_interest(KpxSketch *s, KpxName module, KpxName feature, double weight, bool dated, int64_t at)
{
	uint32_t m;
	uint32_t hash;
	Feature *f;
	double timeless = 0;

	if (!name_fits(module, KPX_MAX_PROFILE_NAME) || !name_fits(feature, KPX_MAX_FEATURE_NAME) ||
		!(weight >= 0 && weight <= KPX_PROFILE_MAX_WEIGHT) || (dated && !time_fits(at)))
		return KPX_BAD_ARGUMENT;
	if (!(weight > 0))
		return KPX_OK;
	m = kpx_table_find_module(s, module);
	hash = kpx_name_hash(feature);
	f = kpx_table_find_feature(s, m, feature, hash);
	if (f == NULL)
	{
		bool fresh = m == s->used.modules;
		bool full = !fresh && modules_of(s)[m].features == KPX_MAX_SKETCH_FEATURES && modules_of(s)[m].minima == NO_MINIMA;
		KpxSketchShape more = {fresh, 0, 1, (fresh ? module.length : 0) + feature.length, full};

		if (m == KPX_MAX_PROFILE_MODULES)
			return KPX_TOO_BIG;
		if (!kpx_table_has_room(s, more))
			return KPX_MORE;
		(void) kpx_table_need_module(s, m, module);
	}
	if (s->half_life && dated)
		weight = forward_weight(s, weight, at);
	else if (s->half_life)
	{
		timeless = weight;
		weight = 0;
	}
	if (f == NULL)
		kpx_sketch_insert_feature(s, m, feature, hash, weight, timeless);
	else
	{
		f->weight = fmin(f->weight + weight, LARGEST_WEIGHT);
		f->timeless = fmin(f->timeless + timeless, LARGEST_WEIGHT);
	}
	return KPX_OK;
}
