/*
 * segment_survey.c
 *	  Which features there are to tell users apart by.
 *
 * A feature is kept only when at least min_users users have it, so that what is stored (the
 * names of levels and categories) says nothing of a single one.
 *
 * Levels of a categorical attribute, hours, categories and factors are weighed down together,
 * so that an attribute of many levels is worth about as much as a number.
 */
#include "segment_encode.h"

#include <math.h>

/* A categorical column of more levels is an identifier rather than a characteristic. */
#define MAX_LEVELS 1000
#define MAX_CATEGORIES 10000
#define KEPT_LEVELS 20

/* ------------------------------------------------------------ counting */

/* key: a kind of feature, a module or column and a name, separated by \001. */
typedef struct Tally
{
	char key[KPX_FEATURE_KEY + 4 * NAMEDATALEN];
	uint64 users; /* users that have it */
	uint64 dated; /* users with a time (of events) or a value */
	double share; /* of interests */
} Tally;

HTAB *
kpx_survey_tallies(void)
{
	HASHCTL control = {.keysize = sizeof(((Tally *) 0)->key), .entrysize = sizeof(Tally), .hcxt = CurrentMemoryContext};

	return hash_create("kpxrec features", 1024, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/* The tally of a key; NULL when it is new and there is no room for new ones. */
static Tally *
tally(KpxSurvey *survey, const char *key, bool room)
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

void
kpx_survey_profile(void *state, KpxId user, const KpxProfile *profile)
{
	KpxSurvey *survey = state;
	double total = kpx_category_weight(profile);

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

		if (!kpx_category_name(name))
			continue;
		t = tally(survey, key_of('i', "", 0, name.bytes + sizeof(kpx_category_prefix) - 1, name.length - sizeof(kpx_category_prefix) + 1),
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

int64
kpx_encoded_find(const KpxEncoded *data, KpxId user)
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

void
kpx_survey_attributes(void *state, KpxId user, int first, int n, const KpxAttribute *attributes)
{
	KpxSurvey *survey = state;

	CHECK_FOR_INTERRUPTS();
	if (kpx_encoded_find(survey->data, user) < 0)
		return;
	for (int c = 0; c < n; c++)
	{
		const KpxAttributeColumn *column = &survey->columns->columns[first + c];
		Tally *t;

		if (attributes[c].missing)
			continue;
		survey->present[first + c]++;
		if (column->kind != KPX_ATTRIBUTE_CATEGORY || strlen(attributes[c].text) >= KPX_FEATURE_KEY)
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
sorted_tallies(KpxSurvey *survey, const char *prefix, uint64 min_users, int *n)
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
add_module_features(KpxEncoded *data, KpxSurvey *survey, const char *module, uint64 min_users)
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
add_behaviour_features(KpxEncoded *data, KpxSurvey *survey, KpxModule **modules, int n_modules, uint64 min_users)
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
add_interest_features(KpxEncoded *data, KpxSurvey *survey, int limit, uint64 min_users)
{
	int n;
	Tally **categories = sorted_tallies(survey, "i\001\001", min_users, &n);

	n = Min(n, limit);
	for (int i = 0; i < n; i++)
		add_feature(data, (KpxFeature){KPX_FEATURE_INTEREST, .name = pstrdup(categories[i]->key + 3), .weight = sqrt(Min(1, KPX_GROUP_WORTH / n))});
}

static void
add_level_features(KpxEncoded *data, KpxSurvey *survey, char *column, uint64 present, uint64 min_users)
{
	char *prefix = psprintf("l\001%s\001", column);
	int n;
	Tally **levels = sorted_tallies(survey, prefix, Max(min_users, survey->users / 100), &n);
	uint64 kept = 0;

	n = Min(n, KEPT_LEVELS);
	for (int i = 0; i < n; i++)
	{
		kept += levels[i]->users;
		add_feature(data, (KpxFeature){KPX_FEATURE_LEVEL, .name = column, .level = pstrdup(levels[i]->key + strlen(prefix)), .weight = sqrt(Min(1, KPX_GROUP_WORTH / 2 / n))});
	}
	if (n > 0 && present >= kept + min_users)
		add_feature(data, (KpxFeature){KPX_FEATURE_OTHER, .name = column, .weight = sqrt(Min(1, KPX_GROUP_WORTH / 2 / n))});
}

static void
add_attribute_features(KpxEncoded *data, KpxSurvey *survey, uint64 min_users)
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

void
kpx_survey_features(KpxEncoded *data, KpxSurvey *survey, KpxModule **modules, int n_modules, KpxModel *model, const KpxClusterParams *params)
{
	uint64 min_users = (uint64) params->min_users;
	int factors = Min((int) params->factors, kpx_segment_factors(model));

	add_behaviour_features(data, survey, modules, n_modules, min_users);
	add_interest_features(data, survey, (int) params->interests, min_users);
	add_attribute_features(data, survey, min_users);
	for (int k = 0; k < factors; k++)
		add_feature(data, (KpxFeature){KPX_FEATURE_FACTOR, .part = k, .weight = 1});
}
