/*
 * segment_rows.c
 *	  All users with events as rows of floats.
 *
 * Users are read twice: first to see which features there are (segment_survey.c), then to encode.
 */
#include "segment_encode.h"

#include <math.h>

#include "ingest.h"

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
	KpxSurvey *survey;
	const KpxAttributes *columns;
} Filling;

/* First pass: counts what there is, and keeps the ids. */
static void
first_pass(void *state, KpxId user, const KpxProfile *profile)
{
	Filling *filling = state;
	KpxEncoded *data = filling->data;
	MemoryContext old;

	kpx_survey_profile(filling->survey, user, profile);
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
	int64 row = kpx_encoded_find(data, user);

	CHECK_FOR_INTERRUPTS();
	if (row >= 0)
		kpx_encode_profile(data->features, data->n_features, profile, data->x + (size_t) row * data->points.ld);
}

static void
second_attributes(void *state, KpxId user, int first, int n, const KpxAttribute *attributes)
{
	Filling *filling = state;
	KpxEncoded *data = filling->data;
	int64 row = kpx_encoded_find(data, user);

	CHECK_FOR_INTERRUPTS();
	if (row >= 0)
		kpx_encode_attributes(data->features, data->n_features, filling->columns->columns + first, n, attributes,
							  data->x + (size_t) row * data->points.ld);
}

/* How much what was not observed in each module weighs in the model; 1 where the model does not know the module. */
static double *
observed_weights(KpxModule **modules, int n_modules, const KpxModel *model)
{
	double *observed = palloc(sizeof(double) * n_modules);

	for (int m = 0; m < n_modules; m++)
	{
		observed[m] = 1;
		for (int i = 0; i < model->n_modules; i++)
			if (model->modules[i].module_id == modules[m]->id)
				observed[m] = model->modules[i].observed;
	}
	return observed;
}

/* The model's number of each of the events' items, KPX_NO_ITEM for those it does not know. */
static uint32 *
model_items(const KpxData *events, KpxModule **modules, int n_modules, const KpxModel *model)
{
	uint32 *item = kpx_alloc(CurrentMemoryContext, Max(events->items, 1), sizeof(uint32));

	for (uint32 i = 0; i < events->items; i++)
		item[i] = KPX_NO_ITEM;
	for (int m = 0; m < n_modules; m++)
		for (int j = 0; j < model->n_modules; j++)
		{
			const KpxIds *from = &events->item_ids[m];
			const KpxIds *to = &model->modules[j].ids;

			if (model->modules[j].module_id != modules[m]->id || from->kind != to->kind)
				continue;
			for (uint32 i = events->item_base[m]; i < events->item_base[m + 1]; i++)
			{
				int64 found = kpx_ids_find(to, kpx_ids_get(from, i - events->item_base[m]));

				if (found >= 0)
					item[i] = model->modules[j].base + (uint32) found;
			}
		}
	return item;
}

/* The interactions of user u as a history of the model's items. */
static KpxHistory
history_of(const KpxData *events, uint32 u, const uint32 *item)
{
	uint64 n = events->offset[u + 1] - events->offset[u];
	KpxHistory history = {0};

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
	return history;
}

/* The vectors of all users, by the interactions that were ingested. */
static void
fill_factors(KpxEncoded *data, KpxModule **modules, int n_modules, KpxModel *model)
{
	KpxScratch scratch = {.context = CurrentMemoryContext};
	MemoryContext one = AllocSetContextCreate(CurrentMemoryContext, "kpxrec one user", ALLOCSET_DEFAULT_SIZES);
	MemoryContext reading = AllocSetContextCreate(CurrentMemoryContext, "kpxrec events", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(reading);
	KpxData *events = kpx_ingest(modules, n_modules, observed_weights(modules, n_modules, model), KPX_WANT_TIMES);
	uint32 *item = model_items(events, modules, n_modules, model);

	for (uint32 u = 0; u < events->users; u++)
	{
		int64 row = kpx_encoded_find(data, kpx_ids_get(&events->user_ids, u));
		MemoryContext old;
		KpxHistory history;

		CHECK_FOR_INTERRUPTS();
		if (row < 0)
			continue;
		old = MemoryContextSwitchTo(one);
		history = history_of(events, u, item);
		kpx_encode_factors(data->features, data->n_features, model, &history, &scratch, data->x + (size_t) row * data->points.ld);
		MemoryContextSwitchTo(old);
		MemoryContextReset(one);
	}
	MemoryContextSwitchTo(before);
	MemoryContextDelete(reading);
}

/* Mean and deviation of column f. */
static void
measure_column(KpxEncoded *data, int f)
{
	double sum = 0;
	double squares = 0;
	double n = 0;

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
}

/* Means and deviations of the columns; those of the factors share one deviation and weight. */
static void
measure(KpxEncoded *data)
{
	double factors = 0;
	int n_factors = 0;

	for (int f = 0; f < data->n_features; f++)
	{
		CHECK_FOR_INTERRUPTS();
		measure_column(data, f);
		if (data->features[f].kind == KPX_FEATURE_FACTOR)
		{
			factors += data->features[f].sd * data->features[f].sd;
			n_factors++;
		}
	}
	for (int f = 0; f < data->n_features; f++)
		if (data->features[f].kind == KPX_FEATURE_FACTOR)
		{
			data->features[f].sd = sqrt(factors / n_factors);
			data->features[f].weight = sqrt(Min(1, KPX_GROUP_WORTH / n_factors));
		}
}

/* A constant column says nothing: the others move up. */
static void
drop_constant(KpxEncoded *data)
{
	int kept = 0;

	for (int f = 0; f < data->n_features; f++)
	{
		KpxFeature *feature = &data->features[f];

		CHECK_FOR_INTERRUPTS();
		if (!(feature->sd > 1e-6 * Max(1, fabs(feature->mean))))
			continue;
		for (size_t i = 0; kept != f && i < data->n; i++)
			data->x[i * data->points.ld + kept] = data->x[i * data->points.ld + f];
		data->features[kept++] = *feature;
	}
	data->n_features = kept;
}

/*
 * Behaviour, interests, attributes and factors each count as at most so many numbers, or modules
 * with many kinds of events, which all tell how active somebody is, would outvote the rest.
 */
static void
balance(KpxEncoded *data)
{
	static const double worth[KPX_FEATURE_BLOCKS] = {KPX_GROUP_WORTH / 2, KPX_GROUP_WORTH, KPX_GROUP_WORTH, KPX_GROUP_WORTH};
	double squares[KPX_FEATURE_BLOCKS] = {0};

	for (int f = 0; f < data->n_features; f++)
		squares[kpx_feature_block(data->features[f].kind)] += data->features[f].weight * data->features[f].weight;
	for (int f = 0; f < data->n_features; f++)
	{
		KpxFeatureBlock block = kpx_feature_block(data->features[f].kind);

		if (squares[block] > worth[block])
			data->features[f].weight *= sqrt(worth[block] / squares[block]);
	}
}

/* Raw to encoded values; rows become as long as the features that were kept need. */
static void
standardise_rows(KpxEncoded *data)
{
	int kept = data->n_features;
	size_t ld = kpx_ld(Max(kept, 1));

	for (size_t i = 0; i < data->n; i++)
	{
		float *row = data->x + i * ld;

		if (i % 4096 == 0)
			CHECK_FOR_INTERRUPTS();
		memmove(row, data->x + i * data->points.ld, Min(ld, data->points.ld) * sizeof(float));
		kpx_encode_standardise(data->features, kept, row);
		memset(row + kept, 0, (ld - (size_t) kept) * sizeof(float));
	}
	data->points.ld = ld;
	data->points.features = Max(kept, 1);
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
	KpxSurvey survey = {.tallies = kpx_survey_tallies(), .data = data};
	Filling filling = {data, CurrentMemoryContext, &survey, NULL};
	KpxConsents *consents; /* of both passes: they must see the same users */

	data->kind = kpx_user_kind(modules, n_modules);
	consents = kpx_consents_read(kpx_registry(), KPX_FOR_TRAINING, modules, n_modules, data->kind, NULL, 0);
	(void) kpx_profiles_read(modules, n_modules, consents, NULL, 0, true, NULL, first_pass, &filling);
	survey.columns = filling.columns = kpx_attributes_read(data->kind, NULL, NULL, NULL);
	survey.levels = palloc0(sizeof(uint64) * Max(survey.columns->n_columns, 1));
	survey.present = palloc0(sizeof(uint64) * Max(survey.columns->n_columns, 1));
	(void) kpx_attributes_read(data->kind, NULL, kpx_survey_attributes, &survey);
	kpx_survey_features(data, &survey, modules, n_modules, model, params);
	hash_destroy(survey.tallies);
	make_matrix(data);
	for (size_t i = 0; i < data->n; i++)
		kpx_encode_no_attributes(data->features, data->n_features, filling.columns->columns, filling.columns->n_columns, data->x + i * data->points.ld);
	(void) kpx_profiles_read(modules, n_modules, consents, NULL, 0, true, NULL, second_pass, &filling);
	(void) kpx_attributes_read(data->kind, NULL, second_attributes, &filling);
	if (params->factors > 0 && kpx_segment_factors(model) > 0)
		fill_factors(data, modules, n_modules, model);
	measure(data);
	drop_constant(data);
	balance(data);
	standardise_rows(data);
	return data;
}
