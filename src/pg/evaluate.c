/*
 * evaluate.c
 *	  kpx_evaluate: hold events out, train on the rest, rank all items; and the metrics
 *	  over arrays.
 *
 * Nothing is stored: the model lives in this call's memory. All items the user may be
 * shown are ranked, never a sample (Krichene, Rendle 2020, "On Sampled Metrics for
 * Item Recommendation").
 */
#include "kpxrec.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "core/evaluate.h"
#include "core/ingest.h"
#include "core/rng.h"
#include "core/topk.h"
#include "factor.h"
#include "factor_params.h"
#include "factor_train.h"
#include "ingest.h"
#include "registry.h"

/* One held-out interaction; item or user KPX_NO_ITEM when training does not know it. */
typedef struct Pair
{
	uint32 user;
	uint32 item;
	KpxId unknown_user; /* number: a hash that tells unknown users apart */
} Pair;

typedef struct Pairs
{
	Pair *pair;
	size_t n;
	size_t size;
} Pairs;

static void
add_pair(Pairs *pairs, Pair pair)
{
	if (pairs->n == pairs->size)
	{
		size_t size = Max(1024, pairs->size * 2);
		Pair *bigger = kpx_alloc(CurrentMemoryContext, size, sizeof(Pair));

		if (pairs->n)
		{
			memcpy(bigger, pairs->pair, pairs->n * sizeof(Pair));
			pfree(pairs->pair);
		}
		pairs->pair = bigger;
		pairs->size = size;
	}
	pairs->pair[pairs->n++] = pair;
}

/* ------------------------------------------------------------ splits */

typedef enum Split
{
	LEAVE_ONE_OUT,
	LAST_BY_TIME,
	RANDOM
} Split;

static Split
parse_split(const char *name)
{
	if (strcmp(name, "leave_one_out") == 0)
		return LEAVE_ONE_OUT;
	if (strcmp(name, "last_by_time") == 0)
		return LAST_BY_TIME;
	if (strcmp(name, "random") == 0)
		return RANDOM;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("split \"%s\" is not known", name),
			 errhint("Known splits: leave_one_out, last_by_time, random.")));
}

/* Is entry j (the n-th of count of this user in module m) held out? */
static bool
held_out(const KpxData *data, Split split, int m, uint32 user, uint64 n, uint64 count, uint32 item, uint64 seed)
{
	if (count < 2)
		return false;
	if (split == LEAVE_ONE_OUT)
		return kpx_random(seed, (uint64) m, user) % count == n;
	if (split == LAST_BY_TIME)
		return data->last_item[m][user] == item;
	return kpx_uniform(seed, user, item) < 0.2;
}

/* Moves held-out entries of one user from data (written back at *to) to pairs. */
static void
split_user(KpxData *data, Split split, uint32 user, uint64 begin, uint64 end, uint64 seed, uint64 *to, Pairs *pairs)
{
	int m = 0;

	for (uint64 j = begin; j < end;)
	{
		uint64 first = j;
		uint64 last;

		while (KPX_ITEM(data->index[j]) >= data->item_base[m + 1])
			m++;
		for (last = j; last < end && KPX_ITEM(data->index[last]) < data->item_base[m + 1]; last++)
			;
		for (; j < last; j++)
		{
			uint32 item = KPX_ITEM(data->index[j]);

			if (held_out(data, split, m, user, j - first, last - first, item, seed))
				add_pair(&pairs[m], (Pair){user, item, {0}});
			else
			{
				data->index[*to] = data->index[j];
				data->weight[(*to)++] = data->weight[j];
			}
		}
	}
}

static void
split_data(KpxData *data, Split split, uint64 seed, Pairs *pairs)
{
	uint64 to = 0;
	uint64 begin = 0;

	for (uint32 user = 0; user < data->users; user++)
	{
		uint64 end = data->offset[user + 1];

		if (user % 4096 == 0)
			CHECK_FOR_INTERRUPTS();
		data->offset[user] = to;
		split_user(data, split, user, begin, end, seed, &to, pairs);
		begin = end;
	}
	data->offset[data->users] = to;
}

static int
compare_pairs(const void *a, const void *b)
{
	const Pair *x = a;
	const Pair *y = b;

	if (x->user != y->user)
		return x->user < y->user ? -1 : 1;
	if (x->unknown_user.number != y->unknown_user.number)
		return x->unknown_user.number < y->unknown_user.number ? -1 : 1;
	return x->item < y->item ? -1 : x->item > y->item;
}

static bool
is_pair(const Pairs *pairs, uint32 user, uint32 item)
{
	Pair key = {user, item, {0}};

	return pairs->n > 0 && bsearch(&key, pairs->pair, pairs->n, sizeof(Pair), compare_pairs) != NULL;
}

/* Takes pairs out of the training data, so that a held-out relation may overlap it. */
static void
remove_pairs(KpxData *data, const Pairs *pairs)
{
	uint64 to = 0;
	uint64 begin = 0;

	for (uint32 user = 0; user < data->users; user++)
	{
		uint64 end = data->offset[user + 1];
		int m = 0;

		if (user % 4096 == 0)
			CHECK_FOR_INTERRUPTS();
		data->offset[user] = to;
		for (uint64 j = begin; j < end; j++)
		{
			while (KPX_ITEM(data->index[j]) >= data->item_base[m + 1])
				m++;
			if (is_pair(&pairs[m], user, KPX_ITEM(data->index[j])))
				continue;
			data->index[to] = data->index[j];
			data->weight[to++] = data->weight[j];
		}
		begin = end;
	}
	data->offset[data->users] = to;
}

/* Reads (module, user_id, item_id) rows as the caller. */
static void
read_pairs(KpxData *data, Oid relation, Pairs *pairs)
{
	char *name = kpx_relation_sql(relation, "held_out", "argument", "held_out");
	MemoryContext context = CurrentMemoryContext;
	size_t total = 0;

	for (int i = 0; i < 3; i++)
		(void) kpx_column_type(relation, ((const char *const[]){"module", "user_id", "item_id"})[i]);
	SPI_connect();
	if (SPI_execute(psprintf("SELECT module::pg_catalog.text, user_id::pg_catalog.text, item_id::pg_catalog.text FROM %s", name),
					true, 0) != SPI_OK_SELECT)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("cannot read %s", name)));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		char *module = SPI_getvalue(tuple, desc, 1);
		char *user = SPI_getvalue(tuple, desc, 2);
		char *item = SPI_getvalue(tuple, desc, 3);
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		if (module == NULL || user == NULL || item == NULL)
			continue;
		old = MemoryContextSwitchTo(context);
		for (int m = 0; m < data->n_modules; m++)
			if (strcmp(module, data->modules[m]->name) == 0)
			{
				KpxId user_id = kpx_id_from_text(data->user_ids.kind, user);
				int64 u = kpx_ids_find(&data->user_ids, user_id);
				int64 it = kpx_ids_find(&data->item_ids[m], kpx_id_from_text(data->item_ids[m].kind, item));
				Pair pair = {KPX_NO_ITEM, KPX_NO_ITEM, {0}};

				if (u >= 0)
					pair.user = (uint32) u;
				else
					pair.unknown_user.number = (int64) hash_bytes_extended((unsigned char *) user, (int) strlen(user), 0);
				if (it >= 0)
					pair.item = data->item_base[m] + (uint32) it;
				add_pair(&pairs[m], pair);
			}
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	for (int m = 0; m < data->n_modules; m++)
	{
		total += pairs[m].n;
		if (pairs[m].n > 1)
			qsort(pairs[m].pair, pairs[m].n, sizeof(Pair), compare_pairs);
	}
	if (total == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relation %s holds no pairs of the modules to evaluate", name),
				 errhint("Its column module must hold registered names, for instance \"%s\".", data->modules[0]->name)));
}

/* ------------------------------------------------------------ judging */

enum
{
	RECALL,
	HIT_RATE,
	NDCG,
	MRR,
	MAP,
	N_METRICS
};

static const char *const metric_names[] = {"recall", "hit_rate", "ndcg", "mrr", "map"};

typedef double (*Metric)(const uint64_t *, size_t, size_t, size_t);

static const Metric metrics[] = {kpx_metric_recall, kpx_metric_hit_rate, kpx_metric_ndcg, kpx_metric_mrr,
								 kpx_metric_average_precision};

/* Sums of one method on one module. */
typedef struct Judgement
{
	KpxMean mean[N_METRICS];
	uint8 *shown; /* bitmap of items in any list */
} Judgement;

static void
judge_list(Judgement *judgement, const KpxHit *hits, size_t n, uint32 base, const Pair *pairs, size_t relevant, size_t k)
{
	uint64_t *ranks = palloc(sizeof(uint64_t) * Max(relevant, 1));
	size_t found = 0;

	for (size_t r = 0; r < n; r++)
	{
		kpx_bit_set(judgement->shown, hits[r].item);
		for (size_t i = 0; i < relevant; i++)
			if (pairs[i].item == base + hits[r].item)
			{
				ranks[found++] = r;
				break;
			}
	}
	for (int m = 0; m < N_METRICS; m++)
		kpx_mean_add(&judgement->mean[m], metrics[m](ranks, found, relevant, k));
	pfree(ranks);
}

typedef struct Judge
{
	const KpxData *data;
	const KpxModel *model;
	size_t k;
	void *workspace;
	float *x;
	float *score;
	uint8 *excluded;
	KpxHit *hits;
	Judgement own;
	Judgement popular;
	uint64 users;
} Judge;

/* Judges the lists of one user, whose held-out pairs these are. */
static void
judge_user(Judge *j, int m, const Pair *pairs, size_t relevant)
{
	const KpxModelModule *module = &j->model->modules[m];
	size_t ld = kpx_ld(j->model->fixed.factors);
	const float *popularity = j->model->popularity + module->base;
	const float *score = popularity;
	uint32 user = pairs[0].user;
	size_t n;

	memset(j->excluded, 0, module->items / 8 + 1);
	if (user != KPX_NO_ITEM && j->data->offset[user] < j->data->offset[user + 1])
	{
		uint64 begin = j->data->offset[user];
		uint64 end = j->data->offset[user + 1];

		for (uint64 e = begin; e < end; e++)
		{
			uint32 item = KPX_ITEM(j->data->index[e]);

			if ((j->data->index[e] & KPX_HIDES) && item >= module->base && item < module->base + module->items)
				kpx_bit_set(j->excluded, item - module->base);
		}
		if (kpx_fold_in(&j->model->fixed, j->data->index + begin, j->data->weight + begin, end - begin, j->workspace, j->x) != KPX_OK)
			ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("event weights are too extreme")));
		kpx_scores(j->model->fixed.matrix + module->base * ld, ld, 0, module->items, j->x, j->score);
		score = j->score;
	}
	n = kpx_topk(score, module->items, j->excluded, j->k, j->hits);
	judge_list(&j->own, j->hits, n, module->base, pairs, relevant, j->k);
	n = kpx_topk(popularity, module->items, j->excluded, j->k, j->hits);
	judge_list(&j->popular, j->hits, n, module->base, pairs, relevant, j->k);
	j->users++;
}

static void
put_metric(FunctionCallInfo fcinfo, const char *module, const char *metric, size_t k, double value, double error,
		   double popular, double popular_error, uint64 users, bool errors)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum values[7] = {CStringGetTextDatum(module), CStringGetTextDatum(psprintf("%s@%zu", metric, k)),
					   Float8GetDatum(value), Float8GetDatum(error), Float8GetDatum(popular), Float8GetDatum(popular_error),
					   Int64GetDatum((int64) users)};
	bool nulls[7] = {false, false, users == 0, users == 0 || !errors, users == 0, users == 0 || !errors, false};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static double
share_shown(const uint8 *shown, uint32 items)
{
	uint32 n = 0;

	for (uint32 i = 0; i < items; i++)
		n += kpx_bit_get(shown, i);
	return items ? (double) n / items : 0;
}

static void
judge_module(FunctionCallInfo fcinfo, const KpxData *data, const KpxModel *model, int m, const Pairs *pairs, size_t k)
{
	const KpxModelModule *module = &model->modules[m];
	size_t take = Min(k, Max(module->items, 1));
	Judge j = {.data = data, .model = model, .k = k};

	j.workspace = kpx_alloc_aligned(CurrentMemoryContext, kpx_solve_workspace_size(model->fixed.factors), 1);
	j.x = kpx_alloc_aligned(CurrentMemoryContext, kpx_ld(model->fixed.factors), sizeof(float));
	j.score = kpx_alloc_aligned(CurrentMemoryContext, module->items, sizeof(float));
	j.excluded = palloc0(module->items / 8 + 1);
	j.own.shown = palloc0(module->items / 8 + 1);
	j.popular.shown = palloc0(module->items / 8 + 1);
	j.hits = kpx_alloc(CurrentMemoryContext, take, sizeof(KpxHit));
	j.k = take;
	for (size_t i = 0; i < pairs->n;)
	{
		size_t end = i + 1;

		CHECK_FOR_INTERRUPTS();
		while (end < pairs->n && pairs->pair[end].user == pairs->pair[i].user &&
			   pairs->pair[end].unknown_user.number == pairs->pair[i].unknown_user.number)
			end++;
		judge_user(&j, m, pairs->pair + i, end - i);
		i = end;
	}
	for (int metric = 0; metric < N_METRICS; metric++)
		put_metric(fcinfo, module->name, metric_names[metric], k, j.own.mean[metric].mean,
				   kpx_mean_std_error(&j.own.mean[metric]), j.popular.mean[metric].mean,
				   kpx_mean_std_error(&j.popular.mean[metric]), j.users, true);
	put_metric(fcinfo, module->name, "coverage", k, share_shown(j.own.shown, module->items), 0,
			   share_shown(j.popular.shown, module->items), 0, j.users, false);
}

PG_FUNCTION_INFO_V1(kpx_evaluate);
Datum
kpx_evaluate(PG_FUNCTION_ARGS)
{
	int n;
	KpxModule **modules;
	KpxParams *params;
	Split split;
	int k;
	uint64 seed;
	KpxData *data;
	KpxModel *model;
	KpxTrainResult result;
	Pairs *pairs;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"modules\" must not be NULL")));
	modules = kpx_modules_argument(PG_GETARG_ARRAYTYPE_P(0), kpx_registry(), &n);
	k = PG_ARGISNULL(1) ? 10 : PG_GETARG_INT32(1);
	if (k < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"k\" must be at least 1, found %d", k)));
	split = PG_ARGISNULL(2) ? LEAVE_ONE_OUT : parse_split(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	kpx_check_algorithm(PG_ARGISNULL(3) ? "ials" : text_to_cstring(PG_GETARG_TEXT_PP(3)));
	params = kpx_params_parse(PG_ARGISNULL(4) ? (Datum) 0 : PG_GETARG_DATUM(4), kpx_module_names(modules, n), n);
	seed = PG_ARGISNULL(6) ? 1 : (uint64) PG_GETARG_INT64(6);
	if (PG_ARGISNULL(5) && split == LAST_BY_TIME)
		for (int m = 0; m < n; m++)
			for (int s = 0; s < modules[m]->n_sources; s++)
				if (modules[m]->sources[s].occurred_at == NULL)
					ereport(ERROR,
							(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							 errmsg("split \"last_by_time\" needs times, event source %d of module \"%s\" has none",
									modules[m]->sources[s].id, modules[m]->name),
							 errhint("Register the source with occurred_at, or use split => 'leave_one_out'.")));
	data = kpx_ingest(modules, n, params->observed, params->factors, PG_ARGISNULL(5) && split == LAST_BY_TIME);
	pairs = palloc0(sizeof(Pairs) * n);
	if (PG_ARGISNULL(5))
		split_data(data, split, seed, pairs);
	else
	{
		read_pairs(data, PG_GETARG_OID(5), pairs);
		remove_pairs(data, pairs);
	}
	kpx_data_count(data);
	model = kpx_factor_train(data, params, &result);
	for (int m = 0; m < n; m++)
		judge_module(fcinfo, data, model, m, &pairs[m], (size_t) k);
	return (Datum) 0;
}

/* ------------------------------------------------------------ metrics over arrays */

static Datum *
elements_of(ArrayType *array, TypeCacheEntry *type, int *n)
{
	Datum *elements;
	bool *nulls;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("lists of items must be one-dimensional arrays")));
	deconstruct_array(array, type->type_id, type->typlen, type->typbyval, type->typalign, &elements, &nulls, n);
	for (int i = 0; i < *n; i++)
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("lists of items must not contain NULL")));
	return elements;
}

static bool
among(TypeCacheEntry *type, Oid collation, Datum value, const Datum *list, int n)
{
	for (int i = 0; i < n; i++)
		if (DatumGetBool(FunctionCall2Coll(&type->eq_opr_finfo, collation, value, list[i])))
			return true;
	return false;
}

static Datum
array_metric(FunctionCallInfo fcinfo, Metric metric)
{
	TypeCacheEntry *type;
	Oid collation = PG_GET_COLLATION();
	Datum *recommended;
	Datum *relevant;
	int n_recommended;
	int n_relevant;
	int distinct = 0;
	uint64_t *ranks;
	size_t hits = 0;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	if (!PG_ARGISNULL(2) && PG_GETARG_INT32(2) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"k\" must be at least 1, found %d", PG_GETARG_INT32(2))));
	type = lookup_type_cache(ARR_ELEMTYPE(PG_GETARG_ARRAYTYPE_P(0)), TYPECACHE_EQ_OPR_FINFO);
	if (!OidIsValid(type->eq_opr_finfo.fn_oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("type %s has no equality operator", format_type_be(type->type_id))));
	recommended = elements_of(PG_GETARG_ARRAYTYPE_P(0), type, &n_recommended);
	relevant = elements_of(PG_GETARG_ARRAYTYPE_P(1), type, &n_relevant);
	for (int i = 0; i < n_relevant; i++)
		if (!among(type, collation, relevant[i], relevant, distinct))
			relevant[distinct++] = relevant[i];
	if (distinct == 0)
		PG_RETURN_NULL(); /* undefined; avg() leaves it out, as trec_eval does */
	ranks = palloc(sizeof(uint64_t) * Max(n_recommended, 1));
	for (int r = 0; r < n_recommended; r++)
	{
		CHECK_FOR_INTERRUPTS();
		if (among(type, collation, recommended[r], relevant, distinct) &&
			!among(type, collation, recommended[r], recommended, r))
			ranks[hits++] = (uint64_t) r;
	}
	PG_RETURN_FLOAT8(metric(ranks, hits, (size_t) distinct,
							PG_ARGISNULL(2) ? (size_t) Max(n_recommended, 1) : (size_t) PG_GETARG_INT32(2)));
}

#define ARRAY_METRIC(name, metric) \
	PG_FUNCTION_INFO_V1(name); \
	Datum \
	name(PG_FUNCTION_ARGS) \
	{ \
		return array_metric(fcinfo, metric); \
	} \
	extern int kpx_macro_end_##name

ARRAY_METRIC(kpx_recall, kpx_metric_recall);
ARRAY_METRIC(kpx_hit_rate, kpx_metric_hit_rate);
ARRAY_METRIC(kpx_ndcg, kpx_metric_ndcg);
ARRAY_METRIC(kpx_mrr, kpx_metric_mrr);
ARRAY_METRIC(kpx_average_precision, kpx_metric_average_precision);
