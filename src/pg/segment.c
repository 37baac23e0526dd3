/*
 * segment.c
 *	  kpx_cluster, kpx_segment_of, kpx_drop_segments; what is popular in a user's segment as a scorer.
 */
#include "segment.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "factor.h"
#include "floor.h"
#include "ingest.h"
#include "json_params.h"
#include "progress.h"
#include "request.h"
#include "scorer.h"

/* ------------------------------------------------------------ kpx_cluster */

static KpxClusterParams
read_params(FunctionCallInfo fcinfo, int argument)
{
	KpxClusterParams p = {.min_k = 2, .max_k = 10, .restarts = 8, .iterations = 100, .tolerance = 1e-4, .sample = 20000, .interests = 20, .factors = 8, .min_users = Max(2, kpx_min_users), .members = 0, .seed = 1};
	const KpxJsonParam known[] = {
		{"min_k", &p.min_k, 2, KPX_MAX_SEGMENTS, true},
		{"max_k", &p.max_k, 2, KPX_MAX_SEGMENTS, true},
		{"restarts", &p.restarts, 1, 100, true},
		{"iterations", &p.iterations, 1, 10000, true},
		{"tolerance", &p.tolerance, 0, 1, false},
		{"sample", &p.sample, 1000, 10000000, true},
		{"interests", &p.interests, 0, 200, true},
		{"factors", &p.factors, 0, 64, true},
		{"min_users", &p.min_users, Max(2, kpx_min_users), 1000000, true},
		{"members", &p.members, 0, 1, true},
		{"seed", &p.seed, -9007199254740992.0, 9007199254740992.0, true},
	};

	if (!PG_ARGISNULL(argument))
		kpx_json_params(PG_GETARG_DATUM(argument), "params", known, lengthof(known));
	if (p.min_k > p.max_k)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter \"min_k\" must not be above \"max_k\": %g and %g", p.min_k, p.max_k)));
	return p;
}

static char *
name_argument(FunctionCallInfo fcinfo, int n)
{
	char *name = kpx_text_argument(fcinfo, n, "name");

	if (name[0] == '\0' || strlen(name) > 255)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME), errmsg("a name of segments must have 1 to 255 bytes, found %zu", strlen(name))));
	return name;
}

/* The first of the modules' active models that has vectors of users. */
static KpxModel *
active_model(KpxModule **modules, int n)
{
	for (int m = 0; m < n; m++)
		if (modules[m]->active_model != 0)
		{
			KpxModel *model = kpx_model(kpx_registry(), modules[m]->active_model);

			if (kpx_segment_factors(model) > 0)
				return model;
		}
	return NULL;
}

static int
k_argument(FunctionCallInfo fcinfo, int n)
{
	int k = kpx_count_argument(fcinfo, n, "k", 0, PG_ARGISNULL(n) ? 0 : 1);

	if (k > KPX_MAX_SEGMENTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"k\" must be at most %d, found %d", KPX_MAX_SEGMENTS, k)));
	return k;
}

/* At least two segments of the least size must be possible. */
static void
check_enough(const KpxEncoded *data, int k, KpxClusterParams *params)
{
	double most = floor((double) data->n / params->min_users);

	if (data->n_features == 0 || most < Max(k, k ? 1 : 2))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("too few users to cluster: %zu with events, %d features that tell them apart", data->n, data->n_features),
				 errdetail("A segment has at least %g users.", params->min_users),
				 errhint("Register more event or attribute sources, or lower k or the parameter \"min_users\".")));
	if (k == 0)
	{
		params->max_k = Min(params->max_k, most);
		params->min_k = Min(params->min_k, params->max_k);
	}
}

PG_FUNCTION_INFO_V1(kpx_cluster);
Datum
kpx_cluster(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[8];
	bool nulls[8] = {false};
	char *name = name_argument(fcinfo, 0);
	int n;
	KpxModule **modules;
	int k;
	KpxClusterParams params;
	KpxModel *model;
	KpxEncoded *data;
	KpxClusters *clusters;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("kpx_cluster must be called for a record")));
	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"modules\" must not be NULL")));
	modules = kpx_modules_argument(PG_GETARG_ARRAYTYPE_P(1), kpx_registry(), &n);
	k = k_argument(fcinfo, 2);
	params = read_params(fcinfo, 3);
	PreventCommandIfReadOnly("kpx_cluster()");
	kpx_segmentation_begin(name);
	kpx_progress_begin("kpx_cluster", name);
	kpx_progress_phase("reading profiles", 0);
	model = params.factors > 0 ? active_model(modules, n) : NULL;
	data = kpx_segment_encode(modules, n, model, &params);
	check_enough(data, k, &params);
	clusters = kpx_segment_train(data, k, &params);
	if (k && clusters->k < k)
		ereport(NOTICE,
				(errmsg("%d segments instead of %d: the others would have had fewer than %g users", clusters->k, k, params.min_users)));
	kpx_progress_phase("storing segments", 0);
	values[0] = Int64GetDatum(kpx_segmentation_store(name, modules, n, model, data, clusters, k, &params));
	kpx_progress_end();
	values[1] = Int32GetDatum(clusters->k);
	values[2] = Int64GetDatum((int64) data->n);
	values[3] = Int32GetDatum(data->n_features);
	values[4] = Float8GetDatum(clusters->inertia);
	values[5] = Float8GetDatum(clusters->silhouette);
	nulls[5] = isnan(clusters->silhouette);
	values[6] = Int32GetDatum(clusters->iterations);
	values[7] = Int32GetDatum(clusters->workers);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

PG_FUNCTION_INFO_V1(kpx_drop_segments);
Datum
kpx_drop_segments(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	PreventCommandIfReadOnly("kpx_drop_segments()");
	kpx_segmentation_begin(name);
	if (!kpx_segmentation_drop(name))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("segments \"%s\" do not exist", name), errhint("See the view kpx_segments.")));
	PG_RETURN_VOID();
}

/* ------------------------------------------------------------ kpx_segment_of */

/* The number of the user's segment, by what may be used for target (NULL: jointly); -1 when there is no profile. */
static int
nearest(KpxSegmentation *s, KpxId user, const KpxModule *target, double *distance)
{
	float *x = kpx_alloc_aligned(CurrentMemoryContext, s->means.ld, sizeof(float));

	if (s->n_modules == 0 || !kpx_segment_encode_user(s, user, target, x))
		return -1;
	return kpx_means_nearest(&s->means, x, distance);
}

static Datum
segment_of(FunctionCallInfo fcinfo, Oid user_type, bool from_text)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	KpxRegistry *registry = kpx_registry();
	char *name = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	KpxSegmentation *s;
	Datum values[4];
	bool nulls[4] = {false};
	double distance;
	int segment;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	s = kpx_segmentation_load(registry, name, NULL);
	if (s == NULL)
		ereport(ERROR,
				(errcode(name ? ERRCODE_UNDEFINED_OBJECT : ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 name ? errmsg("segments \"%s\" do not exist", name) : errmsg("there are no segments that you may use"),
				 errhint("Make them with kpx_cluster; see the view kpx_segments.")));
	if (s->n_modules == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the modules of segments \"%s\" are not registered any more", s->name), errhint("Run kpx_cluster again.")));
	segment = nearest(s, kpx_id_argument(PG_GETARG_DATUM(0), user_type, kpx_user_kind(s->modules, s->n_modules), from_text, "user_id"), NULL, &distance);
	if (segment < 0)
		return (Datum) 0;
	values[0] = CStringGetTextDatum(s->name);
	values[1] = Int32GetDatum(segment + 1);
	values[2] = CStringGetTextDatum(s->segments[segment].label);
	values[3] = Float8GetDatum(sqrt(distance));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(kpx_segment_of);
Datum
kpx_segment_of(PG_FUNCTION_ARGS)
{
	return segment_of(fcinfo, get_fn_expr_argtype(fcinfo->flinfo, 0), false);
}

PG_FUNCTION_INFO_V1(kpx_segment_of_text);
Datum
kpx_segment_of_text(PG_FUNCTION_ARGS)
{
	return segment_of(fcinfo, TEXTOID, true);
}

/* ------------------------------------------------------------ the scorer */

/* Shares of the items of module in a segment to score, NaN for others; false when nothing is known. */
static bool
segment_shares(const KpxSegmentation *s, int segment, const KpxRequest *q, float *score)
{
	Oid types[] = {INT8OID, INT4OID, INT4OID};
	Datum values[] = {Int64GetDatum(s->id), Int32GetDatum(segment + 1), Int32GetDatum(q->target->module_id)};
	KpxCatalog catalog;
	bool any = false;

	for (uint32 i = 0; i < q->target->items; i++)
		score[i] = NAN;
	kpx_catalog_begin(&catalog, true);
	kpx_catalog_execute("SELECT item_id, share FROM kpx.segment_item WHERE segmentation_id = $1 AND segment = $2 AND module_id = $3", 3, types,
						values, NULL, true);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		bool null;
		int64 item = kpx_ids_find(&q->target->ids, kpx_id_from_text(q->target->ids.kind, SPI_getvalue(row, SPI_tuptable->tupdesc, 1)));

		if (item < 0)
			continue;
		score[item] = DatumGetFloat4(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &null));
		any = true;
	}
	kpx_catalog_end(&catalog);
	return any;
}

const char *
kpx_segment_taste(const KpxRequest *q, const KpxTaste *taste, KpxSegmentFound *found, float *share)
{
	KpxSegmentation *s;
	KpxConsents *consents;
	double distance;

	if (!taste->has_user)
		return NULL;
	s = kpx_segmentation_load(q->registry, NULL, q->module);
	if (s == NULL || s->n_modules == 0 || kpx_user_kind(s->modules, s->n_modules) != taste->user_kind)
		return NULL;
	/* a segment says what the user does in all of its modules */
	consents = kpx_consents_read(q->registry, KPX_FOR_ANSWERS, s->modules, s->n_modules, taste->user_kind, &taste->user, 1);
	for (int m = 0; m < s->n_modules; m++)
		if (!kpx_consents_allow(consents, taste->user, s->modules[m], q->module))
			return NULL;
	if (found->segmentation != s->id)
		*found = (KpxSegmentFound){s->id, nearest(s, taste->user, q->module, &distance)};
	return found->segment >= 0 && segment_shares(s, found->segment, q, share) ? s->segments[found->segment].label : NULL;
}

/* For a user the model cannot speak for, but who has a profile. */
static const float *
segment_score(KpxRequest *q, KpxTaste *taste, void **note, float *buffer)
{
	KpxSegmentFound found = {0};

	if (taste->state != NULL)
		return NULL;
	*note = unconstify(char *, kpx_segment_taste(q, taste, &found, buffer));
	return *note ? buffer : NULL;
}

static char *
segment_reason(KpxRequest *q, KpxTaste *taste, void *note, uint32 item)
{
	return psprintf("segment %s", (char *) note);
}

const KpxScorer kpx_segment_scorer = {"segment", NULL, segment_score, segment_reason};
