/*
 * similar_users.c
 *	  kpx_similar_users: who is like a user, by interests and by factors.
 *
 * Profiles of all users that the caller may read come one after the other (profile_read.c);
 * their interests are compared as they come, their histories are folded in by batches.
 * Nothing but the best k is kept.
 */
#include "kpxrec.h"

#include <math.h>

#include "catalog/pg_type.h"

#include "core/topk.h"
#include "ingest.h"
#include "profile.h"
#include "request.h"
#include "users.h"

#define USERS_A_BATCH 256

typedef struct Candidate
{
	KpxId id;
	double interests;
} Candidate;

typedef struct Similar
{
	KpxRegistry *registry;
	KpxModel *model; /* with factors, or NULL */
	size_t ld;
	KpxScratch scratch;
	KpxIdKind kind;
	KpxId user;
	const float *x; /* of the user; NULL: no factors */
	double norm;
	KpxInterest *interests; /* of the user */
	uint32 n_interests;
	KpxBestUsers best;
	MemoryContext context; /* of one batch */
	Candidate candidates[USERS_A_BATCH];
	int n;
} Similar;

static double
product(const Similar *s, const float *a, const float *b)
{
	float dot;

	kpx_scores(a, s->ld, 0, 1, b, &dot);
	return dot;
}

static void
offer(Similar *s, const Candidate *candidate, const float *x)
{
	double parts[KPX_USER_PARTS] = {candidate->interests, 0};
	double norm = x ? sqrt(product(s, x, x)) : 0;

	if (norm > 0)
		parts[1] = Max(-1.0, Min(1.0, product(s, x, s->x) / (norm * s->norm)));
	kpx_best_users_offer(&s->best, candidate->id, s->x ? (parts[0] + parts[1]) / 2 : parts[0], parts);
}

static void
compare_batch(Similar *s)
{
	MemoryContext old = MemoryContextSwitchTo(s->context);
	KpxId ids[USERS_A_BATCH];
	KpxHistory *histories = NULL;

	for (int u = 0; u < s->n; u++)
		ids[u] = s->candidates[u].id;
	if (s->x && s->n)
		histories = kpx_history_read(s->registry, s->model, NULL, ids, s->n, s->kind, KPX_FOR_ANSWERS);
	for (int u = 0; u < s->n; u++)
	{
		CHECK_FOR_INTERRUPTS();
		offer(s, &s->candidates[u], histories ? kpx_model_fold_in(s->model, &histories[u], &s->scratch) : NULL);
	}
	s->n = 0;
	MemoryContextSwitchTo(old);
	MemoryContextReset(s->context);
}

static void
take_profile(void *state, KpxId user, const KpxProfile *profile)
{
	Similar *s = state;
	KpxInterest *interests;
	uint32 n;
	MemoryContext old;

	if (kpx_id_compare(s->kind, user, s->user) == 0)
		return;
	interests = palloc(sizeof(KpxInterest) * Max(profile->n_features, 1));
	n = kpx_profile_interests(profile, -1, interests);
	s->candidates[s->n].interests = kpx_interests_cosine(s->interests, s->n_interests, interests, n);
	old = MemoryContextSwitchTo(s->context);
	s->candidates[s->n++].id = kpx_id_copy(user);
	MemoryContextSwitchTo(old);
	if (s->n == USERS_A_BATCH)
		compare_batch(s);
}

/* The model asked for, or the first active one of these modules; NULL when it has no factors. */
static KpxModel *
find_model(FunctionCallInfo fcinfo, int argument, KpxRegistry *registry, KpxModule **modules, int n)
{
	int64 id = PG_ARGISNULL(argument) ? 0 : PG_GETARG_INT64(argument);
	KpxModel *model;

	for (int m = 0; m < n && id == 0; m++)
		id = modules[m]->active_model;
	if (id == 0)
		return NULL;
	kpx_require_blas();
	model = kpx_model(registry, id);
	/* Only there is what a user folds into a vector beside those of the items. */
	return model->n_parts && model->part[0].algorithm == &kpx_ials ? model : NULL;
}

static void
fold_in_user(Similar *s)
{
	int factors;

	if (s->model == NULL || s->model->items == 0)
		return;
	(void) kpx_ials.vector(s->model, 0, 0, &factors);
	s->ld = kpx_ld(factors);
	s->scratch.context = CurrentMemoryContext;
	if (s->kind != kpx_model_user_kind(s->registry, s->model))
		return;
	s->x = kpx_model_fold_in(s->model, kpx_history_read(s->registry, s->model, NULL, &s->user, 1, s->kind, KPX_FOR_ANSWERS), &s->scratch);
	s->norm = s->x ? sqrt(product(s, s->x, s->x)) : 0;
	if (!(s->norm > 0))
		s->x = NULL;
}

static void
put_users(FunctionCallInfo fcinfo, const Similar *s, Oid user_type)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	for (int i = 0; i < s->best.n; i++)
	{
		const KpxBestUser *user = &s->best.users[i];
		Datum values[5] = {Int32GetDatum(i + 1), kpx_id_to_datum(s->kind, user->id, user_type), Float8GetDatum(user->score),
						   Float8GetDatum(user->part[0]), Float8GetDatum(user->part[1])};
		bool nulls[5] = {false, false, false, false, s->x == NULL};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

static Datum
similar_users(FunctionCallInfo fcinfo, Oid user_type, bool from_text)
{
	Similar *s = palloc0(sizeof(Similar));
	KpxModule **modules;
	KpxProfile *profile;
	int64 half_life;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	s->best.k = kpx_count_argument(fcinfo, 1, "k", 10, 1);
	s->best.context = CurrentMemoryContext;
	half_life = kpx_half_life_argument(fcinfo, 3);
	s->registry = kpx_registry();
	modules = kpx_profile_modules(fcinfo, 2, &n);
	s->kind = kpx_user_kind(modules, n);
	s->user = kpx_id_argument(PG_GETARG_DATUM(0), user_type, s->kind, from_text, "user_id");
	profile = kpx_profile_of_user(modules, n, half_life, s->user);
	if (profile == NULL)
		return (Datum) 0;
	s->interests = palloc(sizeof(KpxInterest) * Max(profile->n_features, 1));
	s->n_interests = kpx_profile_interests(profile, -1, s->interests);
	s->model = find_model(fcinfo, 4, s->registry, modules, n);
	fold_in_user(s);
	s->context = AllocSetContextCreate(CurrentMemoryContext, "kpxrec similar users", ALLOCSET_DEFAULT_SIZES);
	(void) kpx_profiles_read(modules, n, kpx_consents_read(s->registry, KPX_FOR_ANSWERS, modules, n, s->kind, NULL, 0), NULL, half_life, true, NULL,
							 take_profile, s);
	compare_batch(s);
	kpx_best_users_sort(&s->best);
	put_users(fcinfo, s, user_type);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(kpx_similar_users);
Datum
kpx_similar_users(PG_FUNCTION_ARGS)
{
	return similar_users(fcinfo, get_fn_expr_argtype(fcinfo->flinfo, 0), false);
}

PG_FUNCTION_INFO_V1(kpx_similar_users_text);
Datum
kpx_similar_users_text(PG_FUNCTION_ARGS)
{
	return similar_users(fcinfo, TEXTOID, true);
}
