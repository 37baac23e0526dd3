/*
 * popular.c
 *	  Algorithm "popular": every user is offered what most people took.
 *
 * The baseline, and a choice for modules with next to no data. No numbers, no arrays: all
 * models carry popularity.
 */
#include "algorithm.h"

static const KpxParamSpec specs[] = {{NULL}};

static void
fit(KpxFit *fit)
{
	(void) kpx_part_add(fit, &kpx_popular, NULL, 0);
}

static bool
shape(const KpxModel *model, KpxPart *part)
{
	return part->n_numbers == 0;
}

static bool
open_part(KpxModel *model, int part)
{
	return true;
}

/* It never speaks for a user: the scorer of popularity (scorer.h) does, and says so as the reason. */
static void *
fold_in(const KpxModel *model, int part, const KpxHistory *history, KpxScratch *scratch)
{
	return NULL;
}

static void
score(const KpxModel *model, int part, const void *taste, uint32 begin, uint32 end, float *score)
{
	memcpy(score, model->popularity + begin, sizeof(float) * (end - begin));
}

static void
contributions(const KpxModel *model, int part, const void *taste, const KpxHistory *history, uint32 item, double *contribution)
{
	memset(contribution, 0, sizeof(double) * history->n);
}

/* Items sold equally well are alike as far as this one knows. */
static void
similar(const KpxModel *model, int part, uint32 item, uint32 begin, uint32 end, float *score)
{
	score = memset(score, 0, sizeof(float) * (end - begin));
	for (uint32 i = begin; i < end; i++)
	{
		float high = Max(model->popularity[i], model->popularity[item]);

		score[i - begin] = high > 0 ? Min(model->popularity[i], model->popularity[item]) / high : 0;
	}
}

const KpxAlgorithm kpx_popular = {"popular", specs, false, fit, shape, open_part, fold_in, score, NULL, contributions, similar, NULL};
