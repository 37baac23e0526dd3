/*
 * algorithm.c
 *	  The algorithms there are, and what all models have in common.
 */
#include "algorithm.h"

#include <math.h>

#include "core/ingest.h"
#include "progress.h"

static const KpxAlgorithm *const algorithms[] = {&kpx_ials, &kpx_ease, &kpx_itemknn, &kpx_transition, &kpx_rules, &kpx_popular, &kpx_content, &kpx_hybrid};

const KpxAlgorithm *
kpx_find_algorithm(const char *name)
{
	for (int i = 0; i < (int) lengthof(algorithms); i++)
		if (strcmp(algorithms[i]->name, name) == 0)
			return algorithms[i];
	return NULL;
}

const KpxAlgorithm *
kpx_algorithm(const char *name)
{
	const KpxAlgorithm *algorithm = kpx_find_algorithm(name);
	StringInfoData known;

	if (algorithm)
		return algorithm;
	initStringInfo(&known);
	for (int i = 0; i < (int) lengthof(algorithms); i++)
		appendStringInfo(&known, "%s%s", i ? ", " : "", algorithms[i]->name);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("algorithm \"%s\" is not known", name), errhint("Known algorithms: %s.", known.data)));
}

void *
kpx_scratch(KpxScratch *scratch, int part, size_t bytes)
{
	if (scratch->memory[part] == NULL)
		scratch->memory[part] = kpx_alloc_aligned(scratch->context, bytes, 1);
	return scratch->memory[part];
}

/* ------------------------------------------------------------ parts */

bool
kpx_part_declare(KpxPart *part, const char *name, KpxBlockKind kind, uint64 rows, uint32 cols)
{
	if (part->n_arrays == KPX_PART_ARRAYS)
		return false;
	part->array[part->n_arrays++] = (KpxArray){name, kind, rows, cols, kind == KPX_BLOCK_FACTORS ? kpx_ld((int) cols) : cols, NULL};
	return true;
}

bool
kpx_part_declare_derived(KpxPart *part, const char *name, KpxBlockKind kind, uint64 rows, uint32 cols)
{
	if (!kpx_part_declare(part, name, kind, rows, cols))
		return false;
	part->array[part->n_arrays - 1].derived = true;
	return true;
}

void
kpx_model_derive(KpxModel *model)
{
	for (int p = 0; p < model->n_parts; p++)
		if (model->part[p].algorithm->derive)
			model->part[p].algorithm->derive(model, p);
}

void *
kpx_part_array(const KpxPart *part, const char *name)
{
	for (int a = 0; a < part->n_arrays; a++)
		if (strcmp(part->array[a].name, name) == 0)
			return part->array[a].data;
	return NULL;
}

KpxPart *
kpx_part_add(KpxFit *fit, const KpxAlgorithm *algorithm, const double *number, int n)
{
	KpxModel *model = fit->model;
	KpxPart *part = &model->part[fit->part];

	if (fit->part >= KPX_MAX_PARTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("a model can have at most %d parts", KPX_MAX_PARTS)));
	Assert(n <= KPX_PART_NUMBERS && part->algorithm == NULL);
	part->algorithm = algorithm;
	part->n_numbers = n;
	memcpy(part->number, number, sizeof(double) * n);
	if (!algorithm->shape(model, part))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("the model is too large for algorithm \"%s\"", algorithm->name)));
	for (int a = 0; a < part->n_arrays; a++)
	{
		KpxArray *array = &part->array[a];

		array->data = kpx_alloc_aligned(CurrentMemoryContext, array->rows, array->ld * kpx_block_element(array->kind));
	}
	model->n_parts = Max(model->n_parts, fit->part + 1);
	return part;
}

/* ------------------------------------------------------------ training */

static void
fill_popularity(KpxModel *model, const KpxData *data)
{
	double *total = kpx_alloc(CurrentMemoryContext, Max(model->items, 1), sizeof(double));

	memset(total, 0, sizeof(double) * model->items);
	for (uint64 j = 0; j < data->offset[data->users]; j++)
		total[KPX_ITEM(data->index[j])] += data->weight[j];
	for (int m = 0; m < model->n_modules; m++)
	{
		KpxModelModule *module = &model->modules[m];
		double all = 0;

		for (uint32 i = module->base; i < module->base + module->items; i++)
			all += total[i];
		for (uint32 i = module->base; i < module->base + module->items; i++)
			model->popularity[i] = all > 0 ? (float) (total[i] / all) : 0;
	}
	pfree(total);
}

KpxModel *
kpx_model_of(const KpxData *data, const KpxParams *params)
{
	KpxModel *model = palloc0(sizeof(KpxModel));

	model->context = CurrentMemoryContext;
	model->n_modules = data->n_modules;
	model->modules = palloc0(sizeof(KpxModelModule) * data->n_modules);
	model->items = data->items;
	for (int m = 0; m < data->n_modules; m++)
		model->modules[m] = (KpxModelModule){.module_id = data->modules[m]->id,
											 .name = data->modules[m]->name,
											 .base = data->item_base[m],
											 .items = data->item_base[m + 1] - data->item_base[m],
											 .ids = data->item_ids[m],
											 .observed = params->observed[m],
											 .half_life = params->half_life[m],
											 .users = data->module_users[m],
											 .interactions = data->module_interactions[m],
											 .window = data->window[m]};
	model->popularity = kpx_alloc_aligned(CurrentMemoryContext, data->items, sizeof(float));
	fill_popularity(model, data);
	return model;
}

void
kpx_fit_read(const KpxData *data, const KpxParams *params, KpxFit *fit)
{
	*fit = (KpxFit){.data = data, .params = params, .loss = NAN};
	if (params->algorithm->read)
	{
		kpx_progress_phase("reading content", 0);
		fit->content = params->algorithm->read(data, params);
	}
}

KpxModel *
kpx_fit_compute(KpxFit *fit)
{
	const KpxParams *params = fit->params;

	kpx_require_blas();
	fit->model = kpx_model_of(fit->data, params);
	kpx_progress_phase(psprintf("training %s", params->algorithm->name), 0);
	params->algorithm->fit(fit);
	kpx_model_derive(fit->model);
	for (int p = 0; p < fit->model->n_parts; p++)
		if (!fit->model->part[p].algorithm->open(fit->model, p))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("algorithm \"%s\" made a model that cannot be used", params->algorithm->name)));
	return fit->model;
}

KpxModel *
kpx_fit(const KpxData *data, const KpxParams *params, KpxFit *fit)
{
	kpx_fit_read(data, params, fit);
	return kpx_fit_compute(fit);
}

/* ------------------------------------------------------------ answering */

void *
kpx_model_fold_in(const KpxModel *model, const KpxHistory *history, KpxScratch *scratch)
{
	return model->n_parts ? model->part[0].algorithm->fold_in(model, 0, history, scratch) : NULL;
}

void
kpx_model_score(const KpxModel *model, const void *taste, uint32 begin, uint32 end, float *score)
{
	model->part[0].algorithm->score(model, 0, taste, begin, end, score);
}

void
kpx_model_score_batch(const KpxModel *model, void *const *tastes, int n, uint32 begin, uint32 end, float *score)
{
	const KpxAlgorithm *algorithm = model->part[0].algorithm;

	if (algorithm->score_batch)
		algorithm->score_batch(model, 0, tastes, n, begin, end, score);
	else
		for (int u = 0; u < n; u++)
			algorithm->score(model, 0, tastes[u], begin, end, score + (size_t) u * (end - begin));
}

bool
kpx_model_searches(const KpxModel *model)
{
	return model->n_parts > 0 && model->part[0].algorithm->best != NULL;
}

void
kpx_model_best(const KpxModel *model, uint32 begin, uint32 end, size_t k, KpxWanted *users, int n)
{
	model->part[0].algorithm->best(model, 0, begin, end, k, users, n);
}

void
kpx_model_contributions(const KpxModel *model, const void *taste, const KpxHistory *history, uint32 item, double *contribution)
{
	model->part[0].algorithm->contributions(model, 0, taste, history, item, contribution);
}
