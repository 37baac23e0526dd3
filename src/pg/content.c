/*
 * content.c
 *	  Algorithm "content": items are what their texts, attributes and embeddings say.
 *
 * Item vectors are those of the encoder (content_encode.h), turned into the eigenvectors of
 * their Gram matrix, in which a user's vector is the one that implicit ALS would fold in (core/
 * factor.h): ridge regression of what the user took, against all that was there to take. So
 * what all items share does not count, and a score splits exactly into past items.
 *
 * Numbers: dim, regularization, unobserved weight, items of training, bytes of the encoder. Arrays: factors (items x
 * dim), gram (the diagonal), basis (dim x dim, the turn), encoder (bytes).
 */
#include "content.h"

#include <math.h>

#include "core/factor.h"
#include "core/topk.h"

enum
{
	DIM,
	REGULARIZATION,
	UNOBSERVED,
	UNOBSERVED_ROWS,
	ENCODER_BYTES,
	N_NUMBERS
};

static const KpxParamSpec specs[] = {KPX_CONTENT_PARAMS, {NULL}};

int
kpx_content_part(const KpxModel *model)
{
	for (int p = 0; p < model->n_parts; p++)
		if (model->part[p].algorithm == &kpx_content)
			return p;
	return -1;
}

int
kpx_behaviour_part(const KpxModel *model)
{
	for (int p = 0; p < model->n_parts; p++)
		if (model->part[p].algorithm != &kpx_content && model->part[p].algorithm != &kpx_popular &&
			model->part[p].algorithm != &kpx_hybrid)
			return p;
	return -1;
}

int
kpx_content_dim(const KpxModel *model, int part)
{
	return (int) model->part[part].number[DIM];
}

const float *
kpx_content_vectors(const KpxModel *model, int part)
{
	return kpx_part_array(&model->part[part], "factors");
}

/* Turns rows into the space whose axes are the rows of basis. */
static void
turn(int dim, const float *basis, uint32 items, float *vectors)
{
	float *scratch = kpx_alloc_aligned(CurrentMemoryContext, KPX_ROTATE_ROWS * kpx_ld(dim), sizeof(float));

	for (uint32 i = 0; i < items; i += KPX_ROTATE_ROWS)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_rotate_rows(dim, basis, i, Min(i + KPX_ROTATE_ROWS, items), scratch, vectors);
	}
}

/* The eigenvectors of the vectors' Gram matrix; vectors are turned into them. */
static void
to_gram_basis(int dim, uint32 items, float *vectors, float *diagonal, float *basis)
{
	size_t d = (size_t) dim;
	double *gram = kpx_alloc_aligned(CurrentMemoryContext, d * d, sizeof(double));
	double *workspace = kpx_alloc_aligned(CurrentMemoryContext, kpx_gram_basis_workspace(dim), sizeof(double));
	float *scratch = kpx_alloc_aligned(CurrentMemoryContext, d * kpx_ld(dim), sizeof(float));
	KpxStatus status;
	int step = 0;

	for (uint32 i = 0; i < items; i += 1024)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_gram_add(dim, vectors, i, Min(i + 1024, items), 1.0, scratch, gram);
	}
	while ((status = kpx_gram_basis_step(step, dim, gram, workspace, diagonal, basis)) == KPX_MORE)
	{
		step++;
		CHECK_FOR_INTERRUPTS();
	}
	if (status != KPX_OK)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("the items' content holds numbers that are too extreme")));
	turn(dim, basis, items, vectors);
}

bool
kpx_any_content(const KpxData *data)
{
	for (int m = 0; m < data->n_modules; m++)
		if (kpx_has_content(data->modules[m]))
			return true;
	return false;
}

KpxContent *
kpx_content_of(const KpxData *data, const KpxParams *params)
{
	KpxStopWords stop = kpx_stop_words(kpx_param_json(params, "stop_words"));

	if (!kpx_any_content(data))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no module to train has registered content"),
				 errdetail("Content is what title, text_columns, category, price, attributes and embeddings of kpx_add_module name."),
				 errhint("Register the module with some of them, or use another algorithm.")));
	return kpx_content_read(data->modules, data->n_modules, data->item_ids, data->item_base, &stop, false);
}

static void
fit(KpxFit *fit)
{
	const KpxData *data = fit->data;
	const KpxParams *params = fit->params;
	KpxStopWords stop = kpx_stop_words(kpx_param_json(params, "stop_words"));
	KpxEncoder *encoder;
	bytea *bytes;
	KpxPart *part;
	double number[N_NUMBERS];
	int dim;

	encoder = kpx_encoder_fit(fit->content, params, &stop);
	dim = Max(kpx_encoder_dim(encoder), 1);
	bytes = kpx_encoder_store(encoder);
	number[DIM] = dim;
	number[REGULARIZATION] = kpx_param(params, "content_regularization");
	number[UNOBSERVED] = kpx_param(params, "content_unobserved_weight");
	number[UNOBSERVED_ROWS] = data->items;
	number[ENCODER_BYTES] = VARSIZE_ANY_EXHDR(bytes);
	kpx_check_budget((size_t) data->items * kpx_ld(dim) * sizeof(float), "content vectors");
	part = kpx_part_add(fit, &kpx_content, number, N_NUMBERS);
	memcpy(kpx_part_array(part, "encoder"), VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	if (kpx_encoder_dim(encoder) > 0)
	{
		float *vectors = kpx_part_array(part, "factors");
		float *diagonal = kpx_alloc_aligned(CurrentMemoryContext, kpx_ld(dim), sizeof(float));
		float *basis = kpx_alloc_aligned(CurrentMemoryContext, (size_t) dim * kpx_ld(dim), sizeof(float));

		kpx_encoder_apply(encoder, fit->content, vectors);
		to_gram_basis(dim, data->items, vectors, diagonal, basis);
		memcpy(kpx_part_array(part, "gram"), diagonal, sizeof(float) * dim);
		for (int i = 0; i < dim; i++)
			memcpy((float *) kpx_part_array(part, "basis") + (size_t) i * dim, basis + i * kpx_ld(dim), sizeof(float) * dim);
	}
}

static bool
shape(const KpxModel *model, KpxPart *part)
{
	double dim = part->number[DIM];
	double bytes = part->number[ENCODER_BYTES];

	if (part->n_numbers != N_NUMBERS || !(dim >= 1 && dim <= KPX_MAX_FACTORS) || dim != rint(dim) ||
		!(bytes >= 0 && bytes <= MaxAllocSize) || bytes != rint(bytes))
		return false;
	return kpx_part_declare(part, "factors", KPX_BLOCK_FACTORS, model->items, (uint32) dim) &&
		   kpx_part_declare(part, "gram", KPX_BLOCK_GRAM, 1, (uint32) dim) &&
		   kpx_part_declare(part, "basis", KPX_BLOCK_FLOATS, (uint64) dim, (uint32) dim) &&
		   kpx_part_declare(part, "encoder", KPX_BLOCK_BYTES, (uint64) bytes, 1);
}

/* Numbers and arrays begin as those of implicit ALS, which does all that follows. */
static bool
open_part(KpxModel *model, int number)
{
	return kpx_ials.open(model, number);
}

/* What the user took of which content is known; NULL when of none. */
static void *
fold_in(const KpxModel *model, int part, const KpxHistory *history, KpxScratch *scratch)
{
	const KpxFixed *fixed = model->part[part].derived;
	void *taste = kpx_ials.fold_in(model, part, history, scratch);
	const float *x = taste;
	bool any = false;

	for (int k = 0; k < fixed->factors && x; k++)
		any = any || x[k] != 0;
	return any ? taste : NULL;
}

static void
score(const KpxModel *model, int part, const void *taste, uint32 begin, uint32 end, float *score)
{
	kpx_ials.score(model, part, taste, begin, end, score);
}

static void
score_batch(const KpxModel *model, int part, void *const *tastes, int n, uint32 begin, uint32 end, float *score)
{
	kpx_ials.score_batch(model, part, tastes, n, begin, end, score);
}

static void
contributions(const KpxModel *model, int part, const void *taste, const KpxHistory *history, uint32 item, double *contribution)
{
	kpx_ials.contributions(model, part, taste, history, item, contribution);
}

static void
similar(const KpxModel *model, int part, uint32 item, uint32 begin, uint32 end, float *score)
{
	kpx_ials.similar(model, part, item, begin, end, score);
}

static const float *
vector(const KpxModel *model, int part, uint32 item, int *length)
{
	return kpx_ials.vector(model, part, item, length);
}

float *
kpx_content_encode_new(const KpxModel *model, int number, KpxModule **modules, int n_modules, const KpxIds *ids, const uint32 *base)
{
	const KpxPart *part = &model->part[number];
	int dim = (int) part->number[DIM];
	uint32 items = base[n_modules];
	float *vectors = kpx_alloc_aligned(CurrentMemoryContext, (size_t) items * kpx_ld(dim), sizeof(float));
	KpxEncoder *encoder = kpx_encoder_load(kpx_part_array(part, "encoder"), (size_t) part->number[ENCODER_BYTES]);
	float *basis = kpx_alloc_aligned(CurrentMemoryContext, (size_t) dim * kpx_ld(dim), sizeof(float));

	if (encoder == NULL || Max(kpx_encoder_dim(encoder), 1) != dim)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED), errmsg("model " INT64_FORMAT " is corrupt: its encoder of content", model->id),
				 errhint("Train again.")));
	if (kpx_encoder_dim(encoder) == 0)
		return vectors;
	kpx_encoder_apply(encoder, kpx_content_read(modules, n_modules, ids, base, &encoder->stop, true), vectors);
	for (int i = 0; i < dim; i++)
		memcpy(basis + i * kpx_ld(dim), (float *) kpx_part_array(part, "basis") + (size_t) i * dim, sizeof(float) * dim);
	turn(dim, basis, items, vectors);
	return vectors;
}

const KpxAlgorithm kpx_content = {"content", specs, false, fit, shape, open_part, fold_in, score, score_batch,
								  contributions, similar, vector, true, kpx_content_of};
