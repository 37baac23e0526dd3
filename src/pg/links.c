/*
 * links.c
 *	  What algorithms that learn links between items have in common.
 */
#include "links.h"

#include <math.h>

#include "core/links.h"

void
kpx_links_fit(KpxFit *fit, const KpxAlgorithm *algorithm, const KpxLinkPlan *plan, const double *own, int n)
{
	uint32 items = fit->model->items;
	KpxLinkResult result;
	KpxPart *part;
	double number[KPX_PART_NUMBERS];
	uint64 *cursor = kpx_alloc(CurrentMemoryContext, Max(items, 1), sizeof(uint64));

	kpx_link_train(fit->data, plan, &result);
	number[0] = (double) result.entries;
	memcpy(number + 1, own, sizeof(double) * n);
	part = kpx_part_add(fit, algorithm, number, 1 + n);
	kpx_links_turn(items, result.keep, result.count, result.index, result.weight, kpx_part_array(part, "offset"), cursor,
				   kpx_part_array(part, "target"), kpx_part_array(part, "link"));
	fit->workers = Max(fit->workers, result.workers);
	pfree(cursor);
	pfree(result.count);
	pfree(result.index);
	pfree(result.weight);
}

bool
kpx_links_shape(const KpxModel *model, KpxPart *part)
{
	double entries = part->n_numbers >= 1 ? part->number[0] : -1;

	if (!(entries >= 0 && entries <= (double) model->items * model->items) || entries != rint(entries))
		return false;
	return kpx_part_declare(part, "offset", KPX_BLOCK_OFFSETS, (uint64) model->items + 1, 1) &&
		   kpx_part_declare(part, "target", KPX_BLOCK_INDEXES, (uint64) entries, 1) &&
		   kpx_part_declare(part, "link", KPX_BLOCK_FLOATS, (uint64) entries, 1);
}

bool
kpx_links_open(KpxModel *model, int number)
{
	KpxPart *part = &model->part[number];
	KpxLinks *links = MemoryContextAlloc(model->context, sizeof(KpxLinks));

	*links = (KpxLinks){model->items, kpx_part_array(part, "offset"), kpx_part_array(part, "target"), kpx_part_array(part, "link")};
	part->derived = links;
	return kpx_links_valid(links, (uint64) part->number[0]);
}

void *
kpx_links_fold_in(const KpxModel *model, int part, const KpxHistory *history, KpxScratch *scratch)
{
	KpxLinkTaste *taste;

	if (history->n == 0)
		return NULL;
	taste = palloc(sizeof(KpxLinkTaste));
	*taste = (KpxLinkTaste){history->n, history->index, history->weight};
	return taste;
}

void
kpx_links_scores(const KpxModel *model, int part, const void *taste, uint32 begin, uint32 end, float *score)
{
	const KpxLinkTaste *from = taste;

	kpx_links_score(model->part[part].derived, from->index, from->weight, from->n, begin, end, score);
}

void
kpx_links_contributions(const KpxModel *model, int part, const void *taste, const KpxHistory *history, uint32 item,
						double *contribution)
{
	const KpxLinkTaste *from = taste;

	for (uint32 j = 0; j < from->n; j++)
		contribution[j] = (double) from->weight[j] * kpx_links_weight(model->part[part].derived, from->index[j], item);
}

void
kpx_links_similar(const KpxModel *model, int part, uint32 item, uint32 begin, uint32 end, float *score)
{
	float one = 1;

	kpx_links_score(model->part[part].derived, &item, &one, 1, begin, end, score);
}
