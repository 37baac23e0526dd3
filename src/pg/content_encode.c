/*
 * content_encode.c
 *	  From what items are to vectors: what is learned of a catalogue, and its use.
 *
 * Text: terms weighted by TF-IDF or BM25 and by their coherence, reduced by randomized SVD.
 * Attributes: one-hot, numbers by their rank; reduced likewise when there are many values.
 * Embeddings: centred, reduced when they are long. Then fused (core/fuse.h).
 * Old and new items are encoded by the same code: vectors are rows times what was learned.
 */
#include "content_parts.h"

#include "core/svd.h"
#include "core/tokens.h"

const char *const kpx_weightings[] = {"tfidf", "bm25", NULL};

static void
bad_json(const char *key, const char *expected)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("parameter \"%s\" must be %s", key, expected)));
}

KpxStopWords
kpx_stop_words(Jsonb *json)
{
	KpxStopWords stop = {.builtin = json == NULL};
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;

	if (json == NULL)
		return stop;
	if (!JB_ROOT_IS_ARRAY(json) || JB_ROOT_IS_SCALAR(json))
		bad_json("stop_words", "an array of words, [] for none");
	stop.term = palloc(sizeof(uint64) * Max(JB_ROOT_COUNT(json), 1));
	it = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		KpxTokenizer tokenizer;
		KpxToken word;

		if (token != WJB_ELEM)
			continue;
		if (value.type != jbvString)
			bad_json("stop_words", "an array of words, [] for none");
		kpx_tokenizer_init(&tokenizer, value.val.string.val, value.val.string.len);
		if (kpx_token_next(&tokenizer, &word))
			stop.term[stop.n++] = kpx_term_hash(0, word.bytes, word.length);
	}
	if (stop.n > 1)
		qsort(stop.term, stop.n, sizeof(uint64), kpx_compare_terms);
	return stop;
}

static const char *
modality_name(const KpxEncoder *e, int m)
{
	return m == 0 ? "text" : m == 1 ? "attributes"
									: e->projections[m - 2].name;
}

/* {"text": 1, "attributes": 0.5, "image": 2} */
static void
take_weights(KpxEncoder *e, Jsonb *json)
{
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;
	char *key = NULL;

	for (int m = 0; m < e->n_modalities; m++)
		e->weight[m] = m == 1 ? 0.5f : 1.0f;
	if (json == NULL)
		return;
	if (!JB_ROOT_IS_OBJECT(json))
		bad_json("modality_weights", "an object such as {\"text\": 1, \"attributes\": 0.5}");
	it = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		double weight;
		int m = 0;

		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		if (token != WJB_VALUE)
			continue;
		if (value.type != jbvNumeric)
			bad_json("modality_weights", "an object of numbers");
		weight = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value.val.numeric)));
		while (m < e->n_modalities && strcmp(modality_name(e, m), key) != 0)
			m++;
		if (m == e->n_modalities || !(weight >= 0 && weight <= 1e6))
		{
			StringInfoData known;

			initStringInfo(&known);
			for (m = 0; m < e->n_modalities; m++)
				appendStringInfo(&known, "%s%s", m ? ", " : "", modality_name(e, m));
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("parameter \"modality_weights\": \"%s\" is not a modality of these modules, or %g is not a weight", key, weight),
					 errhint("Modalities: %s; weights are between 0 and 1e6.", known.data)));
		}
		e->weight[m] = (float) weight;
	}
}

static void
fit_projection(KpxProjection *p, const KpxEmbeddings *e, int factors, int64 seed)
{
	double *mean = kpx_alloc(CurrentMemoryContext, e->d, sizeof(double));
	KpxSparse a;

	*p = (KpxProjection){.name = pstrdup(e->name), .d = e->d, .rank = (int) Min(e->d, (uint32) factors)};
	p->mean = kpx_alloc(CurrentMemoryContext, e->d, sizeof(float));
	memset(mean, 0, e->d * sizeof(double));
	for (size_t i = 0; i < e->n; i++)
		for (uint32 k = 0; k < e->d; k++)
			mean[k] += e->value[i * e->d + k];
	for (uint32 k = 0; k < e->d; k++)
		p->mean[k] = e->n > 1 ? (float) (mean[k] / e->n) : 0;
	pfree(mean);
	if (e->d <= (uint32) factors)
		return;
	a = kpx_sparse_new(e->n, e->d, e->n * e->d);
	for (size_t i = 0; i < e->n; i++)
	{
		float *x = a.value + i * e->d;

		if (i % 256 == 0)
			CHECK_FOR_INTERRUPTS();
		a.offset[i] = i * e->d;
		memcpy(x, e->value + i * e->d, e->d * sizeof(float));
		(void) kpx_centre_unit(x, p->mean, e->d);
		for (uint32 k = 0; k < e->d; k++)
			a.index[i * e->d + k] = k;
	}
	a.offset[e->n] = e->n * e->d;
	p->right = kpx_reduce(&a, &p->rank, 1, seed);
	kpx_sparse_free(&a);
}

int
kpx_encoder_dim(const KpxEncoder *e)
{
	return (int) e->begin[e->n_modalities];
}

void
kpx_encoder_lay_out(KpxEncoder *e)
{
	e->n_modalities = 2 + e->n_projections;
	e->begin[0] = 0;
	e->begin[1] = e->begin[0] + e->text.rank;
	e->begin[2] = e->begin[1] + e->attributes.rank;
	for (int p = 0; p < e->n_projections; p++)
		e->begin[p + 3] = e->begin[p + 2] + e->projections[p].rank;
}

KpxEncoder *
kpx_encoder_fit(const KpxContent *content, const KpxParams *params, const KpxStopWords *stop)
{
	KpxEncoder *e = palloc0(sizeof(KpxEncoder));

	e->weighting = (int) kpx_param(params, "weighting");
	e->stop = *stop;
	if (content->n_embeddings > KPX_MAX_EMBEDDINGS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a model can have embeddings of at most %d names, found %d", KPX_MAX_EMBEDDINGS, content->n_embeddings)));
	kpx_text_fit(e, content, params);
	kpx_attributes_fit(e, content, params);
	e->projections = palloc0(sizeof(KpxProjection) * Max(content->n_embeddings, 1));
	for (int c = 0; c < content->n_embeddings; c++)
		fit_projection(&e->projections[c], &content->embeddings[c], (int) kpx_param(params, "embedding_factors"), params->seed);
	e->n_projections = content->n_embeddings;
	kpx_encoder_lay_out(e);
	take_weights(e, kpx_param_json(params, "modality_weights"));
	if (kpx_encoder_dim(e) > KPX_MAX_FACTORS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("content vectors would have %d numbers, at most %d are possible", kpx_encoder_dim(e), KPX_MAX_FACTORS),
				 errhint("Lower text_factors, attribute_factors or embedding_factors.")));
	return e;
}

/* x += sum value[i] right[index[i]], then length 1. */
static void
project(const float *right, int rank, const uint32 *index, const float *value, size_t n, float *scratch, float *x)
{
	kpx_svd_project(right, (size_t) rank, rank, index, value, n, scratch);
	memcpy(x, scratch, sizeof(float) * rank);
	(void) kpx_centre_unit(x, NULL, (size_t) rank);
}

static void
project_embedding(const KpxProjection *p, const float *value, float *copy, float *scratch, float *x)
{
	memcpy(copy, value, p->d * sizeof(float));
	(void) kpx_centre_unit(copy, p->mean, p->d);
	if (p->right == NULL)
	{
		memcpy(x, copy, p->d * sizeof(float));
		return;
	}
	memset(scratch, 0, sizeof(float) * p->rank);
	for (uint32 k = 0; k < p->d; k++)
		for (int r = 0; r < p->rank; r++)
			scratch[r] += copy[k] * p->right[(size_t) k * p->rank + r];
	memcpy(x, scratch, sizeof(float) * p->rank);
	(void) kpx_centre_unit(x, NULL, (size_t) p->rank);
}

/* Which of the embeddings read belong to projection p; NULL when none do. 22023 when they changed dimension. */
static const KpxEmbeddings *
embeddings_of(const KpxProjection *p, const KpxContent *content)
{
	for (int c = 0; c < content->n_embeddings; c++)
		if (strcmp(content->embeddings[c].name, p->name) == 0)
		{
			if (content->embeddings[c].n && content->embeddings[c].d != p->d)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("embeddings \"%s\" have %u numbers, the model was trained on %u", p->name,
								content->embeddings[c].d, p->d),
						 errhint("Train again.")));
			return &content->embeddings[c];
		}
	return NULL;
}

void
kpx_encoder_apply(const KpxEncoder *e, const KpxContent *content, float *vectors)
{
	int dim = kpx_encoder_dim(e);
	size_t ld = kpx_ld(dim);
	size_t most = Max(kpx_longest(&content->text, content->items), kpx_longest(&content->attributes, content->items)) +
				  2 * (size_t) content->n_numbers + 1;
	uint64 *term = kpx_alloc(CurrentMemoryContext, most, sizeof(uint64));
	uint32 *count = kpx_alloc(CurrentMemoryContext, most, sizeof(uint32));
	uint32 *index = kpx_alloc(CurrentMemoryContext, most, sizeof(uint32));
	float *weight = kpx_alloc(CurrentMemoryContext, most, sizeof(float));
	float *value = kpx_alloc(CurrentMemoryContext, most, sizeof(float));
	float *scratch = kpx_alloc_aligned(CurrentMemoryContext, kpx_ld(KPX_MAX_FACTORS), sizeof(float));
	uint32 widest = 1;
	float *copy;

	for (int p = 0; p < e->n_projections; p++)
		widest = Max(widest, e->projections[p].d);
	copy = kpx_alloc(CurrentMemoryContext, widest, sizeof(float));
	memset(vectors, 0, sizeof(float) * ld * content->items);
	for (uint32 i = 0; i < content->items; i++)
	{
		float *x = vectors + i * ld;
		size_t n;

		CHECK_FOR_INTERRUPTS();
		if (e->text.rank && content->text.length[i])
		{
			n = kpx_text_weigh(e, &content->text, i, count, index, value);
			project(e->text.right, e->text.rank, index, value, n, scratch, x + e->begin[0]);
		}
		n = e->attributes.rank ? kpx_attribute_terms(e, content, i, term, weight) : 0;
		n = n ? kpx_attribute_row(&e->attributes.vocabulary, term, weight, n, index, value) : 0;
		if (n)
			project(e->attributes.right, e->attributes.rank, index, value, n, scratch, x + e->begin[1]);
		for (int p = 0; p < e->n_projections; p++)
		{
			const KpxEmbeddings *from = embeddings_of(&e->projections[p], content);

			if (from && from->n && from->row[i])
				project_embedding(&e->projections[p], from->value + (from->row[i] - 1) * (size_t) from->d, copy, scratch, x + e->begin[p + 2]);
		}
		(void) kpx_fuse(x, e->begin, e->weight, e->n_modalities);
	}
}
