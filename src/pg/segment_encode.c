/*
 * segment_encode.c
 *	  Profiles and attributes of users as rows of floats.
 *
 * Users are read twice: first to see which features there are, then to encode. A feature is
 * kept only when at least min_users users have it, so that what is stored (the names of
 * levels and categories) says nothing of a single one.
 *
 * Counts, values and days are skewed: their logarithm is standardised. Levels of a categorical
 * attribute, hours, categories and factors are weighed down together, so that an attribute
 * of many levels is worth about as much as a number.
 */
#include "segment.h"

#include <math.h>

#include "access/xact.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "algorithm.h"
#include "core/factor.h"
#include "history.h"
#include "ingest.h"

#define KEY_BYTES 256
/* A categorical column of more levels is an identifier rather than a characteristic. */
#define MAX_LEVELS 1000
#define MAX_CATEGORIES 10000
#define KEPT_LEVELS 20
/* Groups of features that belong together count as about so many numbers. */
#define GROUP_WORTH 4.0

static const char category_prefix[] = "category:";

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
	days = ((double) GetCurrentTransactionStartTimestamp() - (double) last) / (double) USECS_PER_DAY;
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

static bool
is_category(KpxName name)
{
	return name.length > sizeof(category_prefix) - 1 && name.length < KEY_BYTES &&
		   memcmp(name.bytes, category_prefix, sizeof(category_prefix) - 1) == 0;
}

static double
category_weight(const KpxProfile *profile)
{
	double total = 0;

	for (uint32 i = 0; i < profile->n_features; i++)
		if (is_category(profile->features[i].name))
			total += profile->features[i].weight + profile->features[i].timeless;
	return total;
}

static int
find_interest(const KpxFeature *features, int n, KpxName name)
{
	KpxName bare = {name.bytes + sizeof(category_prefix) - 1, name.length - (uint32) (sizeof(category_prefix) - 1)};

	for (int f = 0; f < n; f++)
		if (features[f].kind == KPX_FEATURE_INTEREST && name_is(bare, features[f].name))
			return f;
	return -1;
}

static void
encode_interests(const KpxFeature *features, int n, const KpxProfile *profile, float *raw)
{
	double total = category_weight(profile);

	for (int f = 0; f < n; f++)
		if (features[f].kind == KPX_FEATURE_INTEREST)
			raw[f] = total > 0 ? 0 : NAN;
	for (uint32 i = 0; i < profile->n_features && total > 0; i++)
		if (is_category(profile->features[i].name))
		{
			int f = find_interest(features, n, profile->features[i].name);

			if (f >= 0)
				raw[f] += (float) ((profile->features[i].weight + profile->features[i].timeless) / total);
		}
}

static void
encode_profile(const KpxFeature *features, int n, const KpxProfile *profile, float *raw)
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
static void
encode_no_attributes(const KpxFeature *features, int n, const KpxAttributeColumn *columns, int n_columns, float *raw)
{
	static const KpxAttribute missing = {.missing = true};

	for (int f = 0; f < n; f++)
		for (int c = 0; is_attribute(&features[f]) && c < n_columns; c++)
			if (strcmp(columns[c].name, features[f].name) == 0)
				raw[f] = attribute_value(features, n, f, &missing);
}

static void
encode_attributes(const KpxFeature *features, int n, const KpxAttributeColumn *columns, int n_columns,
				  const KpxAttribute *attributes, float *raw)
{
	for (int f = 0; f < n; f++)
		for (int c = 0; is_attribute(&features[f]) && c < n_columns; c++)
			if (strcmp(columns[c].name, features[f].name) == 0)
				raw[f] = attribute_value(features, n, f, &attributes[c]);
}

/* The vector of the user's history over these modules, made one long. */
static void
encode_factors(const KpxFeature *features, int n, const KpxModel *model, KpxHistory *history, KpxScratch *scratch, float *raw)
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

static void
standardise(const KpxFeature *features, int n, float *raw)
{
	for (int f = 0; f < n; f++)
	{
		double z = isnan(raw[f]) ? 0 : (raw[f] - features[f].mean) / features[f].sd;

		raw[f] = (float) (Max(Min(z, KPX_FEATURE_LIMIT), -KPX_FEATURE_LIMIT) * features[f].weight);
	}
}

/* ------------------------------------------------------------ which features there are */

/* key: a kind of feature, a module or column and a name, separated by \001. */
typedef struct Tally
{
	char key[KEY_BYTES + 4 * NAMEDATALEN];
	uint64 users; /* users that have it */
	uint64 dated; /* users with a time (of events) or a value */
	double share; /* of interests */
} Tally;

typedef struct Survey
{
	HTAB *tallies;
	uint64 users;
	uint64 categories;
	const KpxAttributes *columns;
	uint64 *levels; /* [columns]: different levels seen */
	uint64 *present; /* [columns]: users with a value */
	const KpxEncoded *data; /* users with events */
} Survey;

static HTAB *
make_tallies(void)
{
	HASHCTL control = {.keysize = sizeof(((Tally *) 0)->key), .entrysize = sizeof(Tally), .hcxt = CurrentMemoryContext};

	return hash_create("kpxrec features", 1024, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/* The tally of a key; NULL when it is new and there is no room for new ones. */
static Tally *
tally(Survey *survey, const char *key, bool room)
{
	bool found;
	Tally *t = hash_search(survey->tallies, key, room ? HASH_ENTER : HASH_FIND, &found);

	if (t && !found)
		t->users = t->dated = 0, t->share = 0;
	return t;
}

static char *
key_of(char kind, const char *module, size_t module_length, const char *name, size_t length)
{
	return psprintf("%c\001%.*s\001%.*s", kind, (int) module_length, module, (int) length, name);
}

static void
survey_profile(void *state, KpxId user, const KpxProfile *profile)
{
	Survey *survey = state;
	double total = category_weight(profile);

	CHECK_FOR_INTERRUPTS();
	survey->users++;
	for (uint32 m = 0; m < profile->n_modules; m++)
		for (uint32 i = 0; i < profile->modules[m].kinds; i++)
		{
			const KpxProfileKind *kind = &profile->kinds[profile->modules[m].kind + i];
			KpxName name = profile->modules[m].name;
			Tally *t = tally(survey, key_of('e', name.bytes, name.length, kind->name.bytes, kind->name.length), true);

			t->users++;
			t->dated += kind->dated > 0;
			t->share += kind->values > 0;
		}
	for (uint32 i = 0; i < profile->n_features && total > 0; i++)
	{
		KpxName name = profile->features[i].name;
		Tally *t;

		if (!is_category(name))
			continue;
		t = tally(survey, key_of('i', "", 0, name.bytes + sizeof(category_prefix) - 1, name.length - sizeof(category_prefix) + 1),
				  survey->categories < MAX_CATEGORIES);
		if (t == NULL)
			continue;
		survey->categories += t->users == 0;
		t->users++;
		t->share += (profile->features[i].weight + profile->features[i].timeless) / total;
	}
}

static int
compare_users(const void *a, const void *b, void *kind)
{
	return kpx_id_compare(*(KpxIdKind *) kind, *(const KpxId *) a, *(const KpxId *) b);
}

static int64
find_user(const KpxEncoded *data, KpxId user)
{
	KpxIdKind kind = data->kind;
	size_t low = 0;
	size_t high = data->n;

	while (low < high)
	{
		size_t middle = (low + high) / 2;
		int order = compare_users(&data->users[middle], &user, &kind);

		if (order == 0)
			return (int64) middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

static void
survey_attributes(void *state, KpxId user, int first, int n, const KpxAttribute *attributes)
{
	Survey *survey = state;

	CHECK_FOR_INTERRUPTS();
	if (find_user(survey->data, user) < 0)
		return;
	for (int c = 0; c < n; c++)
	{
		const KpxAttributeColumn *column = &survey->columns->columns[first + c];
		Tally *t;

		if (attributes[c].missing)
			continue;
		survey->present[first + c]++;
		if (column->kind != KPX_ATTRIBUTE_CATEGORY || strlen(attributes[c].text) >= KEY_BYTES)
			continue;
		t = tally(survey, key_of('l', column->name, strlen(column->name), attributes[c].text, strlen(attributes[c].text)),
				  survey->levels[first + c] <= MAX_LEVELS);
		if (t == NULL)
			continue;
		survey->levels[first + c] += t->users == 0;
		t->users++;
	}
}

/* ------------------------------------------------------------ the list of features */

static void
add_feature(KpxEncoded *data, KpxFeature feature)
{
	if (data->n_features == KPX_MAX_FEATURES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("profiles have more than %d features to cluster by", KPX_MAX_FEATURES),
				 errhint("Register fewer attribute columns, or name fewer modules.")));
	feature.sd = 1;
	data->features = data->features ? repalloc(data->features, sizeof(KpxFeature) * (data->n_features + 1)) : palloc(sizeof(KpxFeature));
	data->features[data->n_features++] = feature;
}

/* Tallies of one kind, most users first, ties by key: what is kept does not depend on the order of rows. */
static int
compare_tallies(const void *a, const void *b)
{
	const Tally *x = *(Tally *const *) a;
	const Tally *y = *(Tally *const *) b;

	if (x->users != y->users)
		return x->users > y->users ? -1 : 1;
	return strcmp(x->key, y->key);
}

static Tally **
sorted_tallies(Survey *survey, const char *prefix, uint64 min_users, int *n)
{
	Tally **list = palloc(sizeof(Tally *) * (hash_get_num_entries(survey->tallies) + 1));
	HASH_SEQ_STATUS scan;
	Tally *t;

	*n = 0;
	hash_seq_init(&scan, survey->tallies);
	while ((t = hash_seq_search(&scan)) != NULL)
		if (strncmp(t->key, prefix, strlen(prefix)) == 0 && t->users >= min_users)
			list[(*n)++] = t;
	qsort(list, (size_t) *n, sizeof(Tally *), compare_tallies);
	return list;
}

static void
add_module_features(KpxEncoded *data, Survey *survey, const char *module, uint64 min_users)
{
	char *prefix = psprintf("e\001%s\001", module);
	int n;
	Tally **kinds = sorted_tallies(survey, prefix, min_users, &n);
	bool dated = false;

	for (int i = 0; i < n; i++)
	{
		char *kind = pstrdup(kinds[i]->key + strlen(prefix));

		add_feature(data, (KpxFeature){KPX_FEATURE_EVENTS, pstrdup(module), kind, .weight = 1});
		if (kinds[i]->share >= min_users)
			add_feature(data, (KpxFeature){KPX_FEATURE_VALUE, pstrdup(module), kind, .weight = 1});
		dated |= kinds[i]->dated >= min_users;
	}
	if (n > 0)
		add_feature(data, (KpxFeature){KPX_FEATURE_ITEMS, pstrdup(module), .weight = 0.5});
	if (dated)
		add_feature(data, (KpxFeature){KPX_FEATURE_RECENCY, pstrdup(module), .weight = 1});
}

static void
add_behaviour_features(KpxEncoded *data, Survey *survey, KpxModule **modules, int n_modules, uint64 min_users)
{
	bool dated = false;

	for (int m = 0; m < n_modules; m++)
		add_module_features(data, survey, modules[m]->name, min_users);
	for (int f = 0; f < data->n_features; f++)
		dated |= data->features[f].kind == KPX_FEATURE_RECENCY;
	for (int part = 0; dated && part < 4; part++)
		add_feature(data, (KpxFeature){KPX_FEATURE_HOURS, .part = part, .weight = 0.5});
	if (dated)
		add_feature(data, (KpxFeature){KPX_FEATURE_WEEKEND, .weight = 0.5});
}

static void
add_interest_features(KpxEncoded *data, Survey *survey, int limit, uint64 min_users)
{
	int n;
	Tally **categories = sorted_tallies(survey, "i\001\001", min_users, &n);

	n = Min(n, limit);
	for (int i = 0; i < n; i++)
		add_feature(data, (KpxFeature){KPX_FEATURE_INTEREST, .name = pstrdup(categories[i]->key + 3), .weight = sqrt(Min(1, GROUP_WORTH / n))});
}

static void
add_level_features(KpxEncoded *data, Survey *survey, char *column, uint64 present, uint64 min_users)
{
	char *prefix = psprintf("l\001%s\001", column);
	int n;
	Tally **levels = sorted_tallies(survey, prefix, Max(min_users, survey->users / 100), &n);
	uint64 kept = 0;

	n = Min(n, KEPT_LEVELS);
	for (int i = 0; i < n; i++)
	{
		kept += levels[i]->users;
		add_feature(data, (KpxFeature){KPX_FEATURE_LEVEL, .name = column, .level = pstrdup(levels[i]->key + strlen(prefix)), .weight = sqrt(Min(1, GROUP_WORTH / 2 / n))});
	}
	if (n > 0 && present >= kept + min_users)
		add_feature(data, (KpxFeature){KPX_FEATURE_OTHER, .name = column, .weight = sqrt(Min(1, GROUP_WORTH / 2 / n))});
}

static void
add_attribute_features(KpxEncoded *data, Survey *survey, uint64 min_users)
{
	for (int c = 0; c < survey->columns->n_columns; c++)
	{
		const KpxAttributeColumn *column = &survey->columns->columns[c];
		char *name = pstrdup(column->name);

		if (survey->present[c] < min_users || survey->levels[c] > MAX_LEVELS)
			continue;
		if (column->kind == KPX_ATTRIBUTE_CATEGORY)
			add_level_features(data, survey, name, survey->present[c], min_users);
		else
			add_feature(data, (KpxFeature){column->kind == KPX_ATTRIBUTE_NUMBER ? KPX_FEATURE_NUMBER : column->kind == KPX_ATTRIBUTE_BOOLEAN ? KPX_FEATURE_BOOLEAN
																																			 : KPX_FEATURE_DATE,
										   .name = name, .weight = 1});
		if (survey->users >= survey->present[c] + min_users)
			add_feature(data, (KpxFeature){KPX_FEATURE_MISSING, .name = name, .weight = 0.5});
	}
}

/* ------------------------------------------------------------ all users */

static KpxId
copy_id(KpxIdKind kind, KpxId id)
{
	if (kind != KPX_ID_INT)
		id.bytes = memcpy(palloc(Max(id.length, 16)), id.bytes, kind == KPX_ID_UUID ? 16 : id.length);
	return id;
}

typedef struct Filling
{
	KpxEncoded *data;
	MemoryContext context;
	Survey *survey;
	const KpxAttributes *columns;
} Filling;

/* First pass: counts what there is, and keeps the ids. */
static void
first_pass(void *state, KpxId user, const KpxProfile *profile)
{
	Filling *filling = state;
	KpxEncoded *data = filling->data;
	MemoryContext old;

	survey_profile(filling->survey, user, profile);
	old = MemoryContextSwitchTo(filling->context);
	if (data->n == data->capacity)
	{
		data->capacity = Max(1024, 2 * data->capacity);
		kpx_check_budget(data->capacity * (sizeof(KpxId) + 64), "clustering users");
		data->users = data->users ? repalloc_huge(data->users, data->capacity * sizeof(KpxId)) : kpx_alloc(filling->context, data->capacity, sizeof(KpxId));
	}
	data->users[data->n++] = copy_id(data->kind, user);
	MemoryContextSwitchTo(old);
}

/* Second pass: users of the first, encoded. */
static void
second_pass(void *state, KpxId user, const KpxProfile *profile)
{
	KpxEncoded *data = ((Filling *) state)->data;
	int64 row = find_user(data, user);

	CHECK_FOR_INTERRUPTS();
	if (row >= 0)
		encode_profile(data->features, data->n_features, profile, data->x + (size_t) row * data->points.ld);
}

static void
second_attributes(void *state, KpxId user, int first, int n, const KpxAttribute *attributes)
{
	Filling *filling = state;
	KpxEncoded *data = filling->data;
	int64 row = find_user(data, user);

	CHECK_FOR_INTERRUPTS();
	if (row >= 0)
		encode_attributes(data->features, data->n_features, filling->columns->columns + first, n, attributes,
						  data->x + (size_t) row * data->points.ld);
}

/* The vectors of all users, by the interactions that were ingested. */
static void
fill_factors(KpxEncoded *data, KpxModule **modules, int n_modules, KpxModel *model)
{
	double *observed = palloc(sizeof(double) * n_modules);
	KpxScratch scratch = {.context = CurrentMemoryContext};
	MemoryContext one = AllocSetContextCreate(CurrentMemoryContext, "kpxrec one user", ALLOCSET_DEFAULT_SIZES);
	MemoryContext reading = AllocSetContextCreate(CurrentMemoryContext, "kpxrec events", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(reading);
	KpxData *events;
	uint32 *item; /* of the events' items: the model's */

	for (int m = 0; m < n_modules; m++)
	{
		observed[m] = 1;
		for (int i = 0; i < model->n_modules; i++)
			if (model->modules[i].module_id == modules[m]->id)
				observed[m] = model->modules[i].observed;
	}
	events = kpx_ingest(modules, n_modules, observed, KPX_WANT_TIMES);
	item = kpx_alloc(CurrentMemoryContext, Max(events->items, 1), sizeof(uint32));
	for (uint32 i = 0; i < events->items; i++)
		item[i] = KPX_NO_ITEM;
	for (int m = 0; m < n_modules; m++)
		for (int j = 0; j < model->n_modules; j++)
			for (uint32 i = events->item_base[m]; model->modules[j].module_id == modules[m]->id && i < events->item_base[m + 1]; i++)
			{
				int64 found = events->item_ids[m].kind == model->modules[j].ids.kind ? kpx_ids_find(&model->modules[j].ids, kpx_ids_get(&events->item_ids[m], i - events->item_base[m])) : -1;

				if (found >= 0)
					item[i] = model->modules[j].base + (uint32) found;
			}
	for (uint32 u = 0; u < events->users; u++)
	{
		int64 row = find_user(data, kpx_ids_get(&events->user_ids, u));
		uint64 n = events->offset[u + 1] - events->offset[u];
		MemoryContext old;
		KpxHistory history = {0};

		CHECK_FOR_INTERRUPTS();
		if (row < 0)
			continue;
		old = MemoryContextSwitchTo(one);
		history.index = palloc(sizeof(uint32) * Max(n, 1));
		history.weight = palloc(sizeof(float) * Max(n, 1));
		history.time = palloc(sizeof(uint32) * Max(n, 1));
		for (uint64 j = events->offset[u]; j < events->offset[u + 1]; j++)
			if (item[events->index[j] & 0x7FFFFFFF] != KPX_NO_ITEM)
			{
				history.index[history.n] = item[events->index[j] & 0x7FFFFFFF];
				history.weight[history.n] = events->weight[j];
				history.time[history.n++] = events->time ? events->time[j] : 0;
			}
		encode_factors(data->features, data->n_features, model, &history, &scratch, data->x + (size_t) row * data->points.ld);
		MemoryContextSwitchTo(old);
		MemoryContextReset(one);
	}
	MemoryContextSwitchTo(before);
	MemoryContextDelete(reading);
}

/* Means and deviations of the columns; those of the factors share one. A constant column says nothing. */
static void
measure(KpxEncoded *data)
{
	double factors = 0;
	int n_factors = 0;
	int kept = 0;
	size_t ld;

	for (int f = 0; f < data->n_features; f++)
	{
		double sum = 0;
		double squares = 0;
		double n = 0;

		CHECK_FOR_INTERRUPTS();
		for (size_t i = 0; i < data->n; i++)
		{
			float raw = data->x[i * data->points.ld + f];

			if (!isnan(raw))
			{
				sum += raw;
				n++;
			}
		}
		data->features[f].mean = n > 0 ? sum / n : 0;
		for (size_t i = 0; i < data->n; i++)
		{
			float raw = data->x[i * data->points.ld + f];

			if (!isnan(raw))
				squares += (raw - data->features[f].mean) * (raw - data->features[f].mean);
		}
		data->features[f].sd = n > 1 ? sqrt(squares / n) : 0;
		if (data->features[f].kind == KPX_FEATURE_FACTOR)
		{
			factors += n > 1 ? squares / n : 0;
			n_factors++;
		}
	}
	for (int f = 0; f < data->n_features; f++)
	{
		KpxFeature *feature = &data->features[f];

		if (feature->kind == KPX_FEATURE_FACTOR)
		{
			feature->sd = sqrt(factors / n_factors);
			feature->weight = sqrt(Min(1, GROUP_WORTH / n_factors));
		}
		if (!(feature->sd > 1e-6 * Max(1, fabs(feature->mean))))
			continue;
		for (size_t i = 0; kept != f && i < data->n; i++)
			data->x[i * data->points.ld + kept] = data->x[i * data->points.ld + f];
		data->features[kept++] = *feature;
	}
	ld = kpx_ld(Max(kept, 1));
	for (size_t i = 0; i < data->n; i++)
	{
		float *row = data->x + i * ld;

		if (i % 4096 == 0)
			CHECK_FOR_INTERRUPTS();
		memmove(row, data->x + i * data->points.ld, Min(ld, data->points.ld) * sizeof(float));
		standardise(data->features, kept, row);
		memset(row + kept, 0, (ld - (size_t) kept) * sizeof(float));
	}
	data->points.ld = ld;
	data->points.features = Max(kept, 1);
	data->n_features = kept;
}

static void
list_features(KpxEncoded *data, Survey *survey, KpxModule **modules, int n_modules, KpxModel *model, const KpxClusterParams *params)
{
	uint64 min_users = (uint64) params->min_users;
	int factors = Min((int) params->factors, kpx_segment_factors(model));

	add_behaviour_features(data, survey, modules, n_modules, min_users);
	add_interest_features(data, survey, (int) params->interests, min_users);
	add_attribute_features(data, survey, min_users);
	for (int k = 0; k < factors; k++)
		add_feature(data, (KpxFeature){KPX_FEATURE_FACTOR, .part = k, .weight = 1});
}

/* The matrix, full of missing values. */
static void
make_matrix(KpxEncoded *data)
{
	size_t ld = kpx_ld(Max(data->n_features, 1));
	size_t bytes;

	if (!kpx_mul_size(data->n, ld * sizeof(float), &bytes))
		bytes = SIZE_MAX / 2;
	/* beside it: ids, bounds and labels, twice in shared memory for a moment */
	kpx_check_budget(2 * bytes + data->n * (sizeof(KpxId) + 32), "clustering users");
	data->x = kpx_alloc_aligned(CurrentMemoryContext, data->n * ld, sizeof(float));
	for (size_t i = 0; i < data->n * ld; i++)
		data->x[i] = NAN;
	data->points = (KpxPoints){data->n, data->n_features, ld, data->x, kpx_alloc_aligned(CurrentMemoryContext, data->n, sizeof(float))};
}

KpxEncoded *
kpx_segment_encode(KpxModule **modules, int n_modules, KpxModel *model, const KpxClusterParams *params)
{
	KpxEncoded *data = palloc0(sizeof(KpxEncoded));
	Survey survey = {.tallies = make_tallies(), .data = data};
	Filling filling = {data, CurrentMemoryContext, &survey, NULL};

	data->kind = kpx_user_kind(modules, n_modules);
	(void) kpx_profiles_read(modules, n_modules, 0, true, NULL, first_pass, &filling);
	survey.columns = filling.columns = kpx_attributes_read(data->kind, NULL, NULL, NULL);
	survey.levels = palloc0(sizeof(uint64) * Max(survey.columns->n_columns, 1));
	survey.present = palloc0(sizeof(uint64) * Max(survey.columns->n_columns, 1));
	(void) kpx_attributes_read(data->kind, NULL, survey_attributes, &survey);
	list_features(data, &survey, modules, n_modules, model, params);
	hash_destroy(survey.tallies);
	make_matrix(data);
	for (size_t i = 0; i < data->n; i++)
		encode_no_attributes(data->features, data->n_features, filling.columns->columns, filling.columns->n_columns, data->x + i * data->points.ld);
	(void) kpx_profiles_read(modules, n_modules, 0, true, NULL, second_pass, &filling);
	(void) kpx_attributes_read(data->kind, NULL, second_attributes, &filling);
	if (params->factors > 0 && kpx_segment_factors(model) > 0)
		fill_factors(data, modules, n_modules, model);
	measure(data);
	return data;
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

	encode_profile(one->segmentation->features, one->segmentation->n_features, profile, one->raw);
	one->any = true;
}

static void
one_attributes(void *state, KpxId user, int first, int n, const KpxAttribute *attributes)
{
	One *one = state;

	encode_attributes(one->segmentation->features, one->segmentation->n_features, one->columns->columns + first, n, attributes, one->raw);
	for (int c = 0; c < n; c++)
		one->any |= !attributes[c].missing;
}

/* Of the model's history only what the segmentation's modules say, as in training. */
static void
one_vector(KpxSegmentation *s, KpxId user, KpxIdKind kind, float *raw)
{
	KpxHistory *history = kpx_history_read(kpx_registry(), s->model, &user, 1, kind);
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
	encode_factors(s->features, s->n_features, s->model, history, &scratch, raw);
}

bool
kpx_segment_encode_user(KpxSegmentation *s, KpxId user, float *x)
{
	KpxIdKind kind = kpx_user_kind(s->modules, s->n_modules);
	One one = {.segmentation = s, .raw = x};

	for (int f = 0; f < s->n_features; f++)
		x[f] = NAN;
	one.columns = kpx_attributes_read(kind, &user, NULL, NULL);
	encode_no_attributes(s->features, s->n_features, one.columns->columns, one.columns->n_columns, x);
	(void) kpx_attributes_read(kind, &user, one_attributes, &one);
	(void) kpx_profiles_read(s->modules, s->n_modules, 0, true, &user, one_profile, &one);
	if (s->model)
		one_vector(s, user, kind, x);
	standardise(s->features, s->n_features, x);
	return one.any;
}

/* ------------------------------------------------------------ for people */

char *
kpx_feature_title(const KpxFeature *f)
{
	switch (f->kind)
	{
		case KPX_FEATURE_EVENTS:
			return psprintf("%s %s events", f->module, f->name);
		case KPX_FEATURE_VALUE:
			return psprintf("%s %s value", f->module, f->name);
		case KPX_FEATURE_ITEMS:
			return psprintf("%s items", f->module);
		case KPX_FEATURE_RECENCY:
			return psprintf("%s days since last", f->module);
		case KPX_FEATURE_HOURS:
			return psprintf("hours %d-%d", 6 * f->part, 6 * f->part + 6);
		case KPX_FEATURE_WEEKEND:
			return "weekend";
		case KPX_FEATURE_INTEREST:
			return psprintf("interest %s", f->name);
		case KPX_FEATURE_LEVEL:
			return psprintf("%s = %s", f->name, f->level);
		case KPX_FEATURE_OTHER:
			return psprintf("%s other", f->name);
		case KPX_FEATURE_MISSING:
			return psprintf("%s missing", f->name);
		case KPX_FEATURE_FACTOR:
			return psprintf("factor %d", f->part + 1);
		default:
			return f->name;
	}
}

double
kpx_feature_original(const KpxFeature *f, double encoded)
{
	double raw = encoded / f->weight * f->sd + f->mean;

	return f->kind <= KPX_FEATURE_RECENCY ? Max(expm1(raw), 0) : raw;
}
