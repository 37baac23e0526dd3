/*
 * segment_encode.c
 *	  The profile and the attributes of a user as a row of floats: raw values, then standardised.
 */
#include "segment_encode.h"

#include <math.h>

#include "core/factor.h"
#include "clock.h"

const char kpx_category_prefix[] = "category:";

int
kpx_segment_factors(const KpxModel *model)
{
	if (model == NULL || model->n_parts == 0 || model->part[0].algorithm != &kpx_ials)
		return 0;
	return ((const KpxFixed *) model->part[0].derived)->factors;
}

/* ------------------------------------------------------------ one user's raw values */

static bool
name_is(KpxName name, const char *string)
{
	return name.length == strlen(string) && memcmp(name.bytes, string, name.length) == 0;
}

static const KpxProfileModule *
find_profile_module(const KpxProfile *profile, const char *name)
{
	for (uint32 m = 0; m < profile->n_modules; m++)
		if (name_is(profile->modules[m].name, name))
			return &profile->modules[m];
	return NULL;
}

static const KpxProfileKind *
find_profile_kind(const KpxProfile *profile, const KpxProfileModule *module, const char *name)
{
	for (uint32 i = 0; i < module->kinds; i++)
		if (name_is(profile->kinds[module->kind + i].name, name))
			return &profile->kinds[module->kind + i];
	return NULL;
}

static double
recency(const KpxProfile *profile, const KpxProfileModule *module)
{
	int64 last = PG_INT64_MIN;
	double days;

	for (uint32 i = 0; i < module->kinds; i++)
		if (profile->kinds[module->kind + i].dated > 0)
			last = Max(last, profile->kinds[module->kind + i].last);
	if (last == PG_INT64_MIN)
		return NAN;
	days = ((double) kpx_transaction_start() - (double) last) / (double) USECS_PER_DAY;
	return log1p(Max(days, 0));
}

static double
module_value(const KpxFeature *f, const KpxProfile *profile)
{
	const KpxProfileModule *module = find_profile_module(profile, f->module);
	const KpxProfileKind *kind;

	if (module == NULL)
		return f->kind == KPX_FEATURE_RECENCY ? NAN : 0;
	if (f->kind == KPX_FEATURE_ITEMS)
		return log1p(kpx_profile_items(profile, module));
	if (f->kind == KPX_FEATURE_RECENCY)
		return recency(profile, module);
	kind = find_profile_kind(profile, module, f->name);
	if (kind == NULL)
		return 0;
	if (f->kind == KPX_FEATURE_EVENTS)
		return log1p((double) kind->count);
	return log1p(Max((double) kind->value / KPX_PROFILE_UNIT, 0));
}

/* Shares of the dated events of all modules. */
static double
time_share(const KpxFeature *f, const KpxProfile *profile)
{
	double part = 0;
	double all = 0;

	for (uint32 m = 0; m < profile->n_modules; m++)
	{
		const KpxProfileModule *module = &profile->modules[m];

		if (f->kind == KPX_FEATURE_WEEKEND)
			for (int d = 0; d < 7; d++)
			{
				all += module->weekdays[d];
				part += d >= 5 ? module->weekdays[d] : 0;
			}
		else
			for (int h = 0; h < 24; h++)
			{
				all += module->hours[h];
				part += h / 6 == f->part ? module->hours[h] : 0;
			}
	}
	return all > 0 ? part / all : NAN;
}

bool
kpx_category_name(KpxName name)
{
	return name.length > sizeof(kpx_category_prefix) - 1 && name.length < KPX_FEATURE_KEY &&
		   memcmp(name.bytes, kpx_category_prefix, sizeof(kpx_category_prefix) - 1) == 0;
}

double
kpx_category_weight(const KpxProfile *profile)
{
	double total = 0;

	for (uint32 i = 0; i < profile->n_features; i++)
		if (kpx_category_name(profile->features[i].name))
			total += profile->features[i].weight + profile->features[i].timeless;
	return total;
}

static int
find_interest(const KpxFeature *features, int n, KpxName name)
{
	KpxName bare = {name.bytes + sizeof(kpx_category_prefix) - 1, name.length - (uint32) (sizeof(kpx_category_prefix) - 1)};

	for (int f = 0; f < n; f++)
		if (features[f].kind == KPX_FEATURE_INTEREST && name_is(bare, features[f].name))
			return f;
	return -1;
}

static void
encode_interests(const KpxFeature *features, int n, const KpxProfile *profile, float *raw)
{
	double total = kpx_category_weight(profile);

	for (int f = 0; f < n; f++)
		if (features[f].kind == KPX_FEATURE_INTEREST)
			raw[f] = total > 0 ? 0 : NAN;
	for (uint32 i = 0; i < profile->n_features && total > 0; i++)
		if (kpx_category_name(profile->features[i].name))
		{
			int f = find_interest(features, n, profile->features[i].name);

			if (f >= 0)
				raw[f] += (float) ((profile->features[i].weight + profile->features[i].timeless) / total);
		}
}

void
kpx_encode_profile(const KpxFeature *features, int n, const KpxProfile *profile, float *raw)
{
	for (int f = 0; f < n; f++)
		switch (features[f].kind)
		{
			case KPX_FEATURE_EVENTS:
			case KPX_FEATURE_VALUE:
			case KPX_FEATURE_ITEMS:
			case KPX_FEATURE_RECENCY:
				raw[f] = (float) module_value(&features[f], profile);
				break;
			case KPX_FEATURE_HOURS:
			case KPX_FEATURE_WEEKEND:
				raw[f] = (float) time_share(&features[f], profile);
				break;
			default:
				break;
		}
	encode_interests(features, n, profile, raw);
}

static float
attribute_value(const KpxFeature *features, int n, int at, const KpxAttribute *value)
{
	const KpxFeature *f = &features[at];

	if (f->kind == KPX_FEATURE_MISSING)
		return value->missing;
	if (f->kind == KPX_FEATURE_LEVEL)
		return !value->missing && strcmp(value->text, f->level) == 0;
	if (f->kind != KPX_FEATURE_OTHER)
		return value->missing ? NAN : (float) value->value;
	if (value->missing)
		return 0;
	for (int i = 0; i < n; i++)
		if (features[i].kind == KPX_FEATURE_LEVEL && strcmp(features[i].name, f->name) == 0 && strcmp(features[i].level, value->text) == 0)
			return 0;
	return 1;
}

static bool
is_attribute(const KpxFeature *f)
{
	return f->kind >= KPX_FEATURE_NUMBER && f->kind <= KPX_FEATURE_MISSING;
}

/* What a user without a row in the source of the attributes has. */
void
kpx_encode_no_attributes(const KpxFeature *features, int n, const KpxAttributeColumn *columns, int n_columns, float *raw)
{
	static const KpxAttribute missing = {.missing = true};

	for (int f = 0; f < n; f++)
		for (int c = 0; is_attribute(&features[f]) && c < n_columns; c++)
			if (strcmp(columns[c].name, features[f].name) == 0)
				raw[f] = attribute_value(features, n, f, &missing);
}

void
kpx_encode_attributes(const KpxFeature *features, int n, const KpxAttributeColumn *columns, int n_columns,
					  const KpxAttribute *attributes, float *raw)
{
	for (int f = 0; f < n; f++)
		for (int c = 0; is_attribute(&features[f]) && c < n_columns; c++)
			if (strcmp(columns[c].name, features[f].name) == 0)
				raw[f] = attribute_value(features, n, f, &attributes[c]);
}

/* The vector of the user's history over these modules, made one long. */
void
kpx_encode_factors(const KpxFeature *features, int n, const KpxModel *model, KpxHistory *history, KpxScratch *scratch, float *raw)
{
	const float *x;
	double length = 0;
	int factors = kpx_segment_factors(model);

	kpx_history_fade(history, model);
	x = history->n > 0 ? kpx_model_fold_in(model, history, scratch) : NULL;
	for (int k = 0; x && k < factors; k++)
		length += (double) x[k] * x[k];
	for (int f = 0; f < n; f++)
		if (features[f].kind == KPX_FEATURE_FACTOR)
			raw[f] = length > 0 ? (float) (x[features[f].part] / sqrt(length)) : NAN;
}

void
kpx_encode_standardise(const KpxFeature *features, int n, float *raw)
{
	for (int f = 0; f < n; f++)
	{
		double z = isnan(raw[f]) ? 0 : (raw[f] - features[f].mean) / features[f].sd;

		raw[f] = (float) (Max(Min(z, KPX_FEATURE_LIMIT), -KPX_FEATURE_LIMIT) * features[f].weight);
	}
}

/* ------------------------------------------------------------ one user, now */

typedef struct One
{
	KpxSegmentation *segmentation;
	const KpxAttributes *columns;
	float *raw;
	bool any;
} One;

static void
one_profile(void *state, KpxId user, const KpxProfile *profile)
{
	One *one = state;

	kpx_encode_profile(one->segmentation->features, one->segmentation->n_features, profile, one->raw);
	one->any = true;
}

static void
one_attributes(void *state, KpxId user, int first, int n, const KpxAttribute *attributes)
{
	One *one = state;

	kpx_encode_attributes(one->segmentation->features, one->segmentation->n_features, one->columns->columns + first, n, attributes, one->raw);
	for (int c = 0; c < n; c++)
		one->any |= !attributes[c].missing;
}

/* Of the model's history only what the segmentation's modules say, as in training. */
static void
one_vector(KpxSegmentation *s, KpxId user, KpxIdKind kind, const KpxModule *target, float *raw)
{
	KpxHistory *history = kpx_history_read(kpx_registry(), s->model, target, &user, 1, kind, KPX_FOR_ANSWERS);
	KpxScratch scratch = {.context = CurrentMemoryContext};
	uint32 kept = 0;

	for (uint32 i = 0; i < history->n; i++)
		for (int m = 0; m < s->model->n_modules; m++)
			for (int j = 0; j < s->n_modules; j++)
				if (s->model->modules[m].module_id == s->modules[j]->id && history->index[i] >= s->model->modules[m].base &&
					history->index[i] < s->model->modules[m].base + s->model->modules[m].items)
				{
					history->index[kept] = history->index[i];
					history->weight[kept] = history->weight[i];
					if (history->time)
						history->time[kept] = history->time[i];
					kept++;
				}
	history->n = kept;
	kpx_encode_factors(s->features, s->n_features, s->model, history, &scratch, raw);
}

bool
kpx_segment_encode_user(KpxSegmentation *s, KpxId user, const KpxModule *target, float *x)
{
	KpxIdKind kind = kpx_user_kind(s->modules, s->n_modules);
	KpxConsents *consents = kpx_consents_read(kpx_registry(), KPX_FOR_ANSWERS, s->modules, s->n_modules, kind, &user, 1);
	One one = {.segmentation = s, .raw = x};

	for (int f = 0; f < s->n_features; f++)
		x[f] = NAN;
	one.columns = kpx_attributes_read(kind, &user, NULL, NULL);
	kpx_encode_no_attributes(s->features, s->n_features, one.columns->columns, one.columns->n_columns, x);
	(void) kpx_attributes_read(kind, &user, one_attributes, &one);
	(void) kpx_profiles_read(s->modules, s->n_modules, consents, target, 0, true, &user, one_profile, &one);
	if (s->model)
		one_vector(s, user, kind, target, x);
	kpx_encode_standardise(s->features, s->n_features, x);
	return one.any;
}

double
kpx_feature_original(const KpxFeature *f, double encoded)
{
	double raw = encoded / f->weight * f->sd + f->mean;

	return f->kind <= KPX_FEATURE_RECENCY ? Max(expm1(raw), 0) : raw;
}
