/*
 * content_encode.c
 *	  From what items are to vectors: what is learned of a catalogue, and its use.
 *
 * Text: terms weighted by TF-IDF or BM25 and by their coherence, reduced by randomized SVD.
 * Attributes: one-hot, numbers by their rank; reduced likewise when there are many values.
 * Embeddings: centred, reduced when they are long. Then fused (core/fuse.h).
 * Old and new items are encoded by the same code: vectors are rows times what was learned.
 */
#include "content_encode.h"

#include <math.h>

#include "core/coherence.h"
#include "core/rng.h"
#include "core/svd.h"
#include "core/tokens.h"
#include "idmap.h"

#define MAX_ATTRIBUTE_VALUES 100000
#define COHERENCE_FACTORS 64

const char *const kpx_weightings[] = {"tfidf", "bm25", NULL};

/* ------------------------------------------------------------ parameters */

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

/* ------------------------------------------------------------ sparse rows */

static KpxSparse
new_sparse(size_t rows, size_t cols, size_t entries)
{
	kpx_check_budget(entries * 8 + rows * 8, "encoding the items' content");
	return (KpxSparse){rows, cols, kpx_alloc(CurrentMemoryContext, rows + 1, sizeof(uint64)),
					   kpx_alloc(CurrentMemoryContext, Max(entries, 1), sizeof(uint32)),
					   kpx_alloc(CurrentMemoryContext, Max(entries, 1), sizeof(float))};
}

static void
free_sparse(KpxSparse *a)
{
	pfree(a->offset);
	pfree(a->index);
	pfree(a->value);
}

/* Largest number of terms of an item. */
static uint32
longest(const KpxTerms *terms, uint32 items)
{
	uint32 most = 0;

	for (uint32 i = 0; i < items; i++)
		most = Max(most, terms->length[i]);
	return most;
}

/* Weighted terms of one item; returns how many. count: scratch. */
static size_t
weigh_text(const KpxEncoder *e, const KpxTerms *terms, uint32 item, uint32 *count, uint32 *index, float *value)
{
	for (uint32 t = 0; t < terms->length[item]; t++)
		count[t] = (uint32) terms->value[terms->begin[item] + t];
	return kpx_weigh_terms(&e->text.vocabulary, e->weighting, terms->term + terms->begin[item], count, terms->length[item],
						   index, value);
}

static KpxSparse
text_rows(const KpxEncoder *e, const KpxTerms *terms, uint32 items)
{
	KpxSparse a = new_sparse(items, e->text.vocabulary.n, terms->n);
	uint32 *count = kpx_alloc(CurrentMemoryContext, Max(longest(terms, items), 1), sizeof(uint32));
	uint64 n = 0;

	for (uint32 i = 0; i < items; i++)
	{
		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		a.offset[i] = n;
		n += weigh_text(e, terms, i, count, a.index + n, a.value + n);
	}
	a.offset[items] = n;
	pfree(count);
	return a;
}

/* Distinct terms and the documents each is in, in order. */
static void
count_documents(const KpxTerms *terms, uint32 items, KpxVocabulary *v)
{
	KpxIdMap *map = kpx_idmap_create(CurrentMemoryContext, KPX_ID_INT);
	uint32 *df = NULL;
	size_t size = 0;
	uint32 *position;
	KpxIds sorted;

	for (uint32 i = 0; i < items; i++)
	{
		CHECK_FOR_INTERRUPTS();
		for (uint32 t = 0; t < terms->length[i]; t++)
		{
			uint32 index = kpx_idmap_add(map, (KpxId){(int64) terms->term[terms->begin[i] + t], NULL, 0});

			if (index >= size)
			{
				size_t bigger = Max(4096, size * 2);
				uint32 *copy = kpx_alloc(CurrentMemoryContext, bigger, sizeof(uint32));

				memset(copy, 0, bigger * sizeof(uint32));
				if (size)
				{
					memcpy(copy, df, size * sizeof(uint32));
					pfree(df);
				}
				df = copy;
				size = bigger;
			}
			df[index]++;
			v->mean_length += terms->value[terms->begin[i] + t];
		}
		v->documents += terms->length[i] > 0;
	}
	v->mean_length = v->documents ? v->mean_length / v->documents : 0;
	v->n = kpx_idmap_count(map);
	sorted = kpx_idmap_sorted(map, CurrentMemoryContext, &position);
	v->term = (uint64 *) sorted.numbers;
	v->df = kpx_alloc(CurrentMemoryContext, Max(v->n, 1), sizeof(uint32));
	for (size_t i = 0; i < v->n; i++)
		v->df[position[i]] = df[i];
	kpx_idmap_free(map);
}

/* An exact vocabulary to one of so many columns: documents are added up. */
static void
hash_vocabulary(KpxVocabulary *v, size_t columns)
{
	uint32 *df = kpx_alloc(CurrentMemoryContext, columns, sizeof(uint32));

	memset(df, 0, columns * sizeof(uint32));
	for (size_t i = 0; i < v->n; i++)
		df[v->term[i] % columns] = (uint32) Min((uint64) df[v->term[i] % columns] + v->df[i], v->documents);
	v->n = columns;
	v->term = NULL;
	v->df = df;
}

/* ------------------------------------------------------------ reduction */

/* Runs the SVD; its arrays are left to the caller. */
static void
decompose(const KpxSparse *a, int rank, int64 seed, KpxSvd *svd)
{
	size_t ld;
	KpxStatus status;

	*svd = (KpxSvd){.a = a, .rank = rank, .sketch = kpx_svd_sketch(a, rank), .power = KPX_SVD_POWER, .seed = (uint64) seed};
	ld = kpx_ld(svd->sketch);
	kpx_check_budget((a->rows + a->cols) * ld * sizeof(float) + kpx_svd_workspace_size(svd->sketch), "encoding the items' content");
	svd->left = kpx_alloc_aligned(CurrentMemoryContext, a->rows * ld, sizeof(float));
	svd->right = kpx_alloc_aligned(CurrentMemoryContext, a->cols * ld, sizeof(float));
	svd->singular = kpx_alloc_aligned(CurrentMemoryContext, ld, sizeof(float));
	svd->workspace = kpx_alloc_aligned(CurrentMemoryContext, kpx_svd_workspace_size(svd->sketch), 1);
	(void) kpx_svd_begin(svd);
	while ((status = kpx_svd_step(svd)) == KPX_MORE)
		CHECK_FOR_INTERRUPTS();
	if (status != KPX_OK)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("the items' content holds numbers that are too extreme")));
}

/* right (cols x *rank) of a, columns scaled by (singular / largest)^(smoothing - 1). */
static float *
reduce(const KpxSparse *a, int *rank, double smoothing, int64 seed)
{
	MemoryContext result = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(result, "kpxrec svd", ALLOCSET_DEFAULT_SIZES);
	float *right;
	KpxSvd svd;
	int kept = 0;

	MemoryContextSwitchTo(work);
	decompose(a, *rank, seed, &svd);
	while (kept < Min(*rank, svd.sketch) && svd.singular[kept] > 1e-5f * svd.singular[0])
		kept++;
	right = kpx_alloc(result, Max(a->cols * kept, 1), sizeof(float));
	for (size_t c = 0; c < a->cols; c++)
		for (int k = 0; k < kept; k++)
			right[c * kept + k] = svd.right[c * kpx_ld(svd.sketch) + k] *
								  (float) pow(svd.singular[k] / svd.singular[0], smoothing - 1);
	MemoryContextSwitchTo(result);
	MemoryContextDelete(work);
	*rank = kept;
	return right;
}

/* Weights of the terms by how coherent their documents are. */
static void
weigh_by_coherence(KpxEncoder *e, const KpxSparse *a, double exponent, int64 seed)
{
	MemoryContext result = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(result, "kpxrec coherence", ALLOCSET_DEFAULT_SIZES);
	float *weight = kpx_alloc(result, a->cols, sizeof(float));
	float *sum;
	uint32 *n;
	KpxSvd svd;
	int rank;

	MemoryContextSwitchTo(work);
	decompose(a, COHERENCE_FACTORS, seed, &svd);
	rank = Min(svd.rank, svd.sketch);
	sum = kpx_alloc_aligned(work, (a->cols + 1) * kpx_ld(rank), sizeof(float));
	n = kpx_alloc_aligned(work, a->cols + 1, sizeof(uint32));
	for (size_t i = 0; i < a->rows; i += 128)
	{
		CHECK_FOR_INTERRUPTS();
		kpx_coherence_add(a, i, Min(i + 128, a->rows), svd.left, svd.right, kpx_ld(svd.sketch), rank, sum, n);
	}
	kpx_coherence_weights(sum, n, a->cols, rank, exponent, weight);
	e->text.vocabulary.weight = weight;
	MemoryContextSwitchTo(result);
	MemoryContextDelete(work);
}

static void
fit_text(KpxEncoder *e, const KpxContent *content, const KpxParams *params)
{
	KpxVocabulary *v = &e->text.vocabulary;
	size_t hashed = (size_t) kpx_param(params, "hashed_terms");
	KpxSparse a;

	if (content->text.n == 0)
		return;
	count_documents(&content->text, content->items, v);
	if (hashed > 0)
		hash_vocabulary(v, hashed);
	else
		v->n = kpx_vocabulary_select(v->term, v->df, v->n, v->documents < 100 ? 1 : (uint32) kpx_param(params, "min_documents"),
									 (size_t) kpx_param(params, "max_terms"));
	if (v->n == 0)
		return;
	a = text_rows(e, &content->text, content->items);
	if (kpx_param(params, "coherence") > 0)
	{
		weigh_by_coherence(e, &a, kpx_param(params, "coherence"), params->seed);
		free_sparse(&a);
		a = text_rows(e, &content->text, content->items);
	}
	e->text.rank = (int) kpx_param(params, "text_factors");
	e->text.right = reduce(&a, &e->text.rank, kpx_param(params, "smoothing"), params->seed);
	free_sparse(&a);
}

/* ------------------------------------------------------------ attributes */

static int
compare_doubles(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return x < y ? -1 : x > y;
}

static void
fit_knots(KpxEncoder *e, const KpxContent *content)
{
	e->n_knots = content->n_numbers;
	e->knots = palloc0(sizeof(KpxKnots) * Max(e->n_knots, 1));
	for (int c = 0; c < content->n_numbers; c++)
	{
		/* A sample is enough for quantiles. */
		uint32 step = Max(1, content->items / 100000);
		double *known = kpx_alloc(CurrentMemoryContext, Max(content->items / step + 1, 1), sizeof(double));
		size_t n = 0;

		for (uint32 i = 0; i < content->items; i += step)
			if (!isnan(content->numbers[c].value[i]))
				known[n++] = content->numbers[c].value[i];
		if (n > 1)
			qsort(known, n, sizeof(double), compare_doubles);
		e->knots[c].name = pstrdup(content->numbers[c].name);
		e->knots[c].n = kpx_quantile_knots(known, n, e->knots[c].knot);
		pfree(known);
	}
}

/* The item's categories and numbers as terms and values; returns how many. */
static size_t
attribute_terms(const KpxEncoder *e, const KpxContent *content, uint32 item, uint64 *term, float *value)
{
	const KpxTerms *terms = &content->attributes;
	size_t n = 0;

	for (; n < terms->length[item]; n++)
	{
		term[n] = terms->term[terms->begin[item] + n];
		value[n] = terms->value[terms->begin[item] + n];
	}
	for (int c = 0; c < content->n_numbers; c++)
	{
		double x = content->numbers[c].value[item];
		const KpxKnots *knots = NULL;
		float point[2];

		for (int k = 0; k < e->n_knots && knots == NULL; k++)
			if (strcmp(e->knots[k].name, content->numbers[c].name) == 0)
				knots = &e->knots[k];
		if (knots == NULL || isnan(x) || knots->n < 2)
			continue;
		kpx_rank_point(knots->knot, knots->n, x, point);
		for (int k = 0; k < 2; k++)
		{
			term[n] = kpx_term_hash(kpx_term_hash(2, knots->name, strlen(knots->name)), (const char *) &k, sizeof(k));
			value[n++] = point[k];
		}
	}
	return n;
}

/* Known terms to columns, in order; length 1. */
static size_t
attribute_row(const KpxVocabulary *v, const uint64 *term, const float *value, size_t n, uint32 *index, float *to)
{
	size_t kept = 0;
	double norm = 0;

	for (size_t i = 0; i < n; i++)
	{
		int64 column = kpx_vocabulary_find(v, term[i]);

		if (column < 0)
			continue;
		index[kept] = (uint32) column;
		to[kept++] = value[i];
		norm += (double) value[i] * value[i];
	}
	for (size_t i = 0; i < kept && norm > 0; i++)
		to[i] = (float) (to[i] / sqrt(norm));
	return kept;
}

static void
fit_attributes(KpxEncoder *e, const KpxContent *content, const KpxParams *params)
{
	KpxTerms all = {0};
	size_t most = longest(&content->attributes, content->items) + 2 * (size_t) content->n_numbers;
	size_t size = content->attributes.n + 2 * (size_t) content->n_numbers * content->items;
	KpxBag *bag = &e->attributes;
	KpxSparse a;
	uint64 n = 0;

	fit_knots(e, content);
	if (size == 0)
		return;
	kpx_check_budget(size * 12, "encoding the items' attributes");
	all.term = kpx_alloc(CurrentMemoryContext, size + most, sizeof(uint64));
	all.value = kpx_alloc(CurrentMemoryContext, size + most, sizeof(float));
	all.begin = kpx_alloc(CurrentMemoryContext, content->items, sizeof(uint64));
	all.length = kpx_alloc(CurrentMemoryContext, content->items, sizeof(uint32));
	for (uint32 i = 0; i < content->items; i++)
	{
		all.begin[i] = all.n;
		all.length[i] = (uint32) attribute_terms(e, content, i, all.term + all.n, all.value + all.n);
		all.n += all.length[i];
	}
	count_documents(&all, content->items, &bag->vocabulary);
	bag->vocabulary.n = kpx_vocabulary_select(bag->vocabulary.term, bag->vocabulary.df, bag->vocabulary.n, 1, MAX_ATTRIBUTE_VALUES);
	if (bag->vocabulary.n == 0)
		return;
	bag->rank = (int) kpx_param(params, "attribute_factors");
	if (bag->vocabulary.n <= (size_t) bag->rank)
	{
		/* one-hot as it is */
		bag->rank = (int) bag->vocabulary.n;
		bag->right = kpx_alloc(CurrentMemoryContext, (size_t) bag->rank * bag->rank, sizeof(float));
		for (int i = 0; i < bag->rank * bag->rank; i++)
			bag->right[i] = i % (bag->rank + 1) == 0;
		return;
	}
	a = new_sparse(content->items, bag->vocabulary.n, all.n);
	for (uint32 i = 0; i < content->items; i++)
	{
		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		a.offset[i] = n;
		n += attribute_row(&bag->vocabulary, all.term + all.begin[i], all.value + all.begin[i], all.length[i], a.index + n, a.value + n);
	}
	a.offset[content->items] = n;
	bag->right = reduce(&a, &bag->rank, 1, params->seed);
	free_sparse(&a);
}

/* ------------------------------------------------------------ embeddings */

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
	a = new_sparse(e->n, e->d, e->n * e->d);
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
	p->right = reduce(&a, &p->rank, 1, seed);
	free_sparse(&a);
}

/* ------------------------------------------------------------ the encoder */

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
	if (content->n_embeddings > KPX_MAX_MODALITIES - 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a model can have embeddings of at most %d names, found %d", KPX_MAX_MODALITIES - 2, content->n_embeddings)));
	fit_text(e, content, params);
	fit_attributes(e, content, params);
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
	size_t most = Max(longest(&content->text, content->items), longest(&content->attributes, content->items)) +
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
			n = weigh_text(e, &content->text, i, count, index, value);
			project(e->text.right, e->text.rank, index, value, n, scratch, x + e->begin[0]);
		}
		n = e->attributes.rank ? attribute_terms(e, content, i, term, weight) : 0;
		n = n ? attribute_row(&e->attributes.vocabulary, term, weight, n, index, value) : 0;
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
