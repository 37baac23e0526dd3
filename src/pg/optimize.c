/*
 * optimize.c
 *	  kpx_optimize_policy: a better version of the policy, from the log; proposed, not activated.
 *
 * Gradient ascent on an estimate of total revenue a slate, R_cross + R_home, over logit
 * lambda, logit epsilon and the logarithm of each module's weight.
 *
 * The estimate is switch-DR place by place (KpxReplayView.by_place) of clicks times what a click is expected
 * to earn, its model calibrated by pair of modules on the slates that are not judged. Conversions are so few
 * that what they earned would drown all but large differences. Estimates of whole slates multiply the
 * weights of all places, and drown differences of a few per cent in noise.
 *
 * The estimate is piecewise constant (a slate changes or does not), so slopes are differences
 * over steps wide enough that many of the logged slates change. A parameter moves by how far
 * its difference is beyond its standard error, and not at all within it; a step is accepted only
 * when it improves by more than its standard error. Guard-rails, the dismissal rate and the
 * diversity of slates, enter by Lagrange multipliers that grow while they are violated.
 *
 * The slates of each half of the users are climbed on and the result judged on the other half, as a
 * paired difference, because an estimate at its own maximum flatters. Proposed is the middle of the two.
 */
#include "kpxrec.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "json_params.h"
#include "off_policy.h"
#include "replay.h"

#define MOST_WEIGHT 30 /* above it the reward model is trusted alone: switch-DR */
#define WIDTH 0.7 /* of differences, to both sides */
#define FEWEST_USERS 20
#define MOST_MODULES 32
#define MOST_PARAMETERS (2 + MOST_MODULES)

typedef struct Options
{
	double iterations;
	double slates; /* at most so many of each half */
	double max_dismissal; /* NaN: 1.1 times the logged rate */
	double min_diversity; /* NaN: 0.9 times that of the policy in charge */
	double min_epsilon;
	double seed;
} Options;

/* A policy that can be turned by its parameters. */
typedef struct Dial
{
	KpxPolicy *policy;
	int n_modules;
	KpxModule *module[MOST_MODULES];
	double base_weight[MOST_MODULES];
	double min_epsilon;
	int n; /* parameters */
	double x[MOST_PARAMETERS];
} Dial;

/* What a policy is estimated to do on the slates of one half. */
typedef struct Outcome
{
	double value;
	double dismissal;
	double diversity;
} Outcome;

typedef struct Climb
{
	const KpxReplay *replay;
	const Options *options;
	const KpxPolicy *base; /* in charge */
	int half; /* climbed on */
	double share; /* of the users of a half */
	double *calibration[2]; /* by each half's slates */
	double scale; /* value to begin with */
	double most_dismissal;
	double least_diversity;
	double multiplier[2];
} Climb;

static double
logistic(double x)
{
	return 1 / (1 + exp(-x));
}

static double
logit(double p)
{
	p = Min(Max(p, 1e-3), 1 - 1e-3);
	return log(p / (1 - p));
}

/* The module's own scope, made when there is none. */
static KpxSettings *
module_settings(KpxPolicy *policy, const char *module)
{
	KpxSettings *found = unconstify(KpxSettings *, kpx_policy_module(policy, module));
	KpxScope *scope;

	if (found)
		return found;
	policy->scopes = policy->scopes ? repalloc(policy->scopes, sizeof(KpxScope) * (policy->n_scopes + 1)) : palloc(sizeof(KpxScope));
	scope = &policy->scopes[policy->n_scopes++];
	scope->home = NULL;
	scope->module = pstrdup(module);
	scope->settings = kpx_policy_parse((Datum) 0)->all;
	return &scope->settings;
}

static double
epsilon_of(const Dial *dial, const double *x)
{
	return dial->min_epsilon + (0.5 - dial->min_epsilon) * logistic(x[1]);
}

static void
turn(Dial *dial, const double *x)
{
	dial->policy->all.lambda = logistic(x[0]);
	dial->policy->all.epsilon = epsilon_of(dial, x);
	for (int m = 0; m < dial->n_modules; m++)
		module_settings(dial->policy, dial->module[m]->name)->weight = dial->base_weight[m] * exp(x[2 + m]);
}

/* The dial at the policy as it is; modules are those of the log. */
static void
set_dial(Dial *dial, const KpxReplay *replay, KpxPolicy *policy, double min_epsilon)
{
	double epsilon = KPX_POLICY_NUMBER(policy, NULL, NULL, epsilon);

	*dial = (Dial){.policy = policy, .min_epsilon = min_epsilon};
	for (int i = 0; i < replay->n; i++)
		for (int m = 0; m < replay->slates[i].slate->n_modules; m++)
		{
			KpxModule *module = replay->slates[i].slate->modules[m];
			int at = 0;

			while (at < dial->n_modules && dial->module[at] != module)
				at++;
			if (at == dial->n_modules && at < MOST_MODULES)
			{
				dial->base_weight[at] = KPX_POLICY_NUMBER(policy, NULL, module->name, weight);
				dial->module[dial->n_modules++] = module;
			}
		}
	dial->n = 2 + dial->n_modules;
	dial->x[0] = logit(KPX_POLICY_NUMBER(policy, NULL, NULL, lambda));
	dial->x[1] = logit((epsilon - min_epsilon) / (0.5 - min_epsilon));
}

/* What users' slates contribute to the value. */
typedef struct Contributions
{
	size_t n; /* users */
	size_t slates;
	KpxUnitSums *sum; /* [n] */
} Contributions;

static KpxReplayPart
part_of(const Climb *climb, int half)
{
	return (KpxReplayPart){half, climb->share, (uint64) climb->options->seed};
}

/* A policy on the slates of a half, the reward model calibrated on the other. each: in the current context. */
static Outcome
judge(const Climb *climb, const KpxPolicy *policy, int half, Contributions *each)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "kpxrec judge", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(work);
	KpxReplayView view = {part_of(climb, half), true, climb->calibration[1 - half]};
	KpxReplayLog log = kpx_replay(climb->replay, policy, &view);
	KpxUnitSums *dismissals = kpx_alloc_aligned(work, log.users, sizeof(KpxUnitSums));
	KpxUnitSums total = {0};
	KpxUnitSums all_dismissals = {0};
	KpxLog dismissed = log.log;
	Outcome outcome;

	*each = (Contributions){log.users, log.slates, kpx_alloc(old, log.users, sizeof(KpxUnitSums))};
	memset(each->sum, 0, log.users * sizeof(KpxUnitSums));
	kpx_log_sums(&log.log, MOST_WEIGHT, MOST_WEIGHT, 0, log.log.n, each->sum);
	dismissed.reward = log.dismissed;
	dismissed.predicted = NULL;
	kpx_log_sums(&dismissed, MOST_WEIGHT, MOST_WEIGHT, 0, log.log.n, dismissals);
	for (size_t u = 0; u < log.users; u++)
	{
		kpx_unit_sums_add(&total, &each->sum[u]);
		kpx_unit_sums_add(&all_dismissals, &dismissals[u]);
	}
	outcome = (Outcome){kpx_estimate(KPX_SWITCH_DR, &total), kpx_estimate(KPX_CLIPPED_SNIPS, &all_dismissals), log.diversity};
	if (isnan(outcome.dismissal))
		outcome.dismissal = 0;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
	return outcome;
}

static double
violation(const Climb *climb, const Outcome *o, int guard)
{
	if (guard == 0)
		return fmax(o->dismissal - climb->most_dismissal, 0) / fmax(climb->most_dismissal, 1e-3);
	return fmax(climb->least_diversity - o->diversity, 0) / fmax(climb->least_diversity, 1e-3);
}

/* Paired differences, user by user; to: [before->n], may be after's. */
static void
compare(const Contributions *before, const Contributions *after, KpxUnitSums *to)
{
	for (size_t u = 0; u < before->n; u++)
		to[u] = (KpxUnitSums){.rows = after->sum[u].rows, .switch_dr = after->sum[u].switch_dr - before->sum[u].switch_dr};
}

/* The Lagrangian, in units of the value to begin with. */
static double
height(const Climb *climb, Dial *dial, const double *x, Contributions *each)
{
	Outcome o;
	double h;

	turn(dial, x);
	o = judge(climb, dial->policy, climb->half, each);
	h = o.value / climb->scale;
	for (int g = 0; g < 2; g++)
		h -= climb->multiplier[g] * violation(climb, &o, g);
	return h;
}

/* How much higher to is than from, beyond the standard error of what they earn; below 0: not surely. */
static double
beyond_noise(double gain, const Climb *climb, const Contributions *from, const Contributions *to)
{
	KpxUnitSums *difference = kpx_alloc(CurrentMemoryContext, from->n, sizeof(KpxUnitSums));
	KpxUnitSums total = {0};
	double error;

	compare(from, to, difference);
	for (size_t u = 0; u < from->n; u++)
		kpx_unit_sums_add(&total, &difference[u]);
	error = kpx_estimate_std_error(KPX_SWITCH_DR, &total, from->n,
								   kpx_estimate_deviations(KPX_SWITCH_DR, difference, &total, 0, from->n));
	pfree(difference);
	return gain - error / climb->scale;
}

/* Where to go from x: each parameter by how far its difference stands out of its noise; returns the length. */
static double
direction(const Climb *climb, Dial *dial, double *towards)
{
	double length = 0;

	for (int i = 0; i < dial->n; i++)
	{
		double x = dial->x[i];
		Contributions up;
		Contributions down;
		double gain;
		double sure;

		dial->x[i] = x + WIDTH;
		gain = height(climb, dial, dial->x, &up);
		dial->x[i] = x - WIDTH;
		gain -= height(climb, dial, dial->x, &down);
		dial->x[i] = x;
		sure = fmax(beyond_noise(fabs(gain), climb, &down, &up), 0);
		towards[i] = gain == 0 ? 0 : copysign(sure / fabs(gain), gain);
		length += towards[i] * towards[i];
		pfree(up.sum);
		pfree(down.sum);
	}
	return sqrt(length);
}

/* One step from dial->x; false when none improves. */
static bool
take_step(Climb *climb, Dial *dial, double *stride)
{
	double towards[MOST_PARAMETERS];
	double next[MOST_PARAMETERS];
	double length = direction(climb, dial, towards);
	Contributions here;
	Contributions there;
	double height_here = height(climb, dial, dial->x, &here);
	bool taken = false;

	for (*stride = Min(*stride * 2, 2); length > 0 && *stride > 0.02 && !taken; *stride /= taken ? 1 : 2)
	{
		double gain;

		for (int i = 0; i < dial->n; i++)
			next[i] = Min(Max(dial->x[i] + *stride * towards[i] / length, -6), 6);
		gain = height(climb, dial, next, &there) - height_here;
		taken = gain > 1e-4 && beyond_noise(gain, climb, &here, &there) > 0;
		pfree(there.sum);
	}
	if (taken)
		memcpy(dial->x, next, sizeof(double) * dial->n);
	pfree(here.sum);
	return taken;
}

/* Climbs until no step improves and no guard-rail is violated; returns the iterations done. */
static int
ascend(Climb *climb, Dial *dial, bool *converged)
{
	double stride = 1;
	int done = 0;

	*converged = false;
	while (done < (int) climb->options->iterations && !*converged)
	{
		Contributions each;
		Outcome o;

		*converged = !take_step(climb, dial, &stride);
		done++;
		turn(dial, dial->x);
		o = judge(climb, dial->policy, climb->half, &each);
		pfree(each.sum);
		for (int g = 0; g < 2; g++)
			if (violation(climb, &o, g) > 0)
			{
				climb->multiplier[g] += 5 * violation(climb, &o, g);
				if (violation(climb, &o, g) >= 0.01)
				{
					*converged = false;
					stride = 1;
				}
			}
	}
	return done;
}

/* ------------------------------------------------------------ the proposal */

/* {"all": {...}, "modules": {...}} of what was turned. */
static char *
proposal(const Dial *dial)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"all\": {\"lambda\": %.6f, \"epsilon\": %.6f}, \"modules\": {", dial->policy->all.lambda, dial->policy->all.epsilon);
	for (int m = 0; m < dial->n_modules; m++)
	{
		appendStringInfoString(&json, m ? ", " : "");
		escape_json(&json, dial->module[m]->name);
		appendStringInfo(&json, ": {\"weight\": %.6g}", kpx_policy_module(dial->policy, dial->module[m]->name)->weight);
	}
	appendStringInfoString(&json, "}}");
	return json.data;
}

/* A version of the base with the proposal merged into it. */
static int64
insert_version(int64 base, const char *change, const char *expected)
{
	Oid types[] = {INT8OID, JSONBOID, JSONBOID, NAMEOID};
	Datum values[] = {Int64GetDatum(base), DirectFunctionCall1(jsonb_in, CStringGetDatum(change)),
					  DirectFunctionCall1(jsonb_in, CStringGetDatum(expected)),
					  DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(GetUserId(), false)))};
	KpxCatalog catalog;
	int64 id;
	bool null;

	kpx_catalog_begin(&catalog, false);
	kpx_catalog_execute(
		"WITH base AS (SELECT coalesce((SELECT settings FROM kpx.policy WHERE id = $1), '{}'::jsonb) AS s),"
		" modules AS (SELECT jsonb_object_agg(k, coalesce(s#>ARRAY['modules', k], '{}') || coalesce($2#>ARRAY['modules', k], '{}')) AS m"
		" FROM base, LATERAL (SELECT jsonb_object_keys(coalesce(s->'modules', '{}')) UNION SELECT jsonb_object_keys($2->'modules')) u(k))"
		" INSERT INTO kpx.policy (owner, settings, based_on, active, comment, expected)"
		" SELECT $4, s || jsonb_build_object('all', coalesce(s->'all', '{}') || ($2->'all'), 'modules', m), nullif($1, 0), false,"
		" 'proposed by kpx_optimize_policy', $3"
		" FROM base, modules RETURNING id",
		4, types, values, NULL, false);
	id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	kpx_catalog_end(&catalog);
	return id;
}

static Options
options_argument(FunctionCallInfo fcinfo)
{
	Options o = {.iterations = 30, .slates = 1000, .max_dismissal = NAN, .min_diversity = NAN, .min_epsilon = 0.02, .seed = 1};
	KpxJsonParam known[] = {
		{"iterations", &o.iterations, 1, 1000, true},
		{"slates", &o.slates, 10, 1e7, true},
		{"max_dismissal", &o.max_dismissal, 0, 1, false},
		{"min_diversity", &o.min_diversity, 0, 1, false},
		{"min_epsilon", &o.min_epsilon, 0.001, 0.4, false},
		{"seed", &o.seed, -9007199254740992.0, 9007199254740992.0, true},
	};

	if (!PG_ARGISNULL(0))
		kpx_json_params(PG_GETARG_DATUM(0), "params", known, lengthof(known));
	return o;
}

/* What climbing on both halves comes to. */
typedef struct Ascent
{
	int iterations;
	bool converged;
	int64 slates;
	Outcome before; /* means of the halves */
	Outcome after;
	size_t users;
	KpxUnitSums *difference; /* [users] after - before, judged on the half that was not climbed on */
	double x[MOST_PARAMETERS]; /* the middle of the two */
} Ascent;

static void
add_outcome(Outcome *to, const Outcome *o)
{
	to->value += o->value / 2;
	to->dismissal += o->dismissal / 2;
	to->diversity += o->diversity / 2;
}

/* Climbs on one half from where the dial stands, judges on the other. */
static void
climb_half(Climb *climb, Dial dial, Ascent *result)
{
	bool converged;
	Contributions before;
	Contributions after;
	Outcome o;

	o = judge(climb, climb->base, climb->half, &before);
	climb->scale = fmax(fabs(o.value), 1e-9);
	climb->multiplier[0] = climb->multiplier[1] = 1;
	climb->most_dismissal = isnan(climb->options->max_dismissal) ? 1.1 * o.dismissal + 1e-3 : climb->options->max_dismissal;
	climb->least_diversity = isnan(climb->options->min_diversity) ? 0.9 * o.diversity : climb->options->min_diversity;
	o = judge(climb, climb->base, 1 - climb->half, &before);
	add_outcome(&result->before, &o);
	result->iterations += ascend(climb, &dial, &converged);
	result->converged &= converged;
	turn(&dial, dial.x);
	o = judge(climb, dial.policy, 1 - climb->half, &after);
	add_outcome(&result->after, &o);
	result->difference = repalloc_huge(result->difference, (result->users + before.n + 1) * sizeof(KpxUnitSums));
	compare(&before, &after, result->difference + result->users);
	result->users += before.n;
	result->slates += (int64) before.slates;
	for (int i = 0; i < dial.n; i++)
		result->x[i] += dial.x[i] / 2;
}

static void
put_result(FunctionCallInfo fcinfo, int64 id, const Ascent *r, const KpxInterval *lift, const char *change)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum values[14] = {
		Int64GetDatum(id),
		Int32GetDatum(r->iterations),
		BoolGetDatum(r->converged),
		Int64GetDatum(r->slates),
		Float8GetDatum(r->before.value),
		Float8GetDatum(r->after.value),
		Float8GetDatum(lift->value),
		Float8GetDatum(lift->low),
		Float8GetDatum(lift->high),
		Float8GetDatum(r->before.dismissal),
		Float8GetDatum(r->after.dismissal),
		Float8GetDatum(r->before.diversity),
		Float8GetDatum(r->after.diversity),
		DirectFunctionCall1(jsonb_in, CStringGetDatum(change)),
	};
	bool nulls[14] = {id == 0};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(kpx_optimize_policy);
Datum
kpx_optimize_policy(PG_FUNCTION_ARGS)
{
	Options options = options_argument(fcinfo);
	KpxRegistry *registry = kpx_registry();
	KpxOffPolicyOptions judged = {.bootstrap = 1000, .seed = options.seed, .confidence = 0.95};
	KpxInterval interval[KPX_ESTIMATORS];
	const KpxInterval *lift = &interval[KPX_SWITCH_DR];
	KpxReplay *replay;
	Climb climb = {.options = &options, .base = kpx_policy(0)};
	Dial dial;
	Ascent result = {.converged = true, .difference = palloc(sizeof(KpxUnitSums))};
	int64 id = 0;
	char *change;

	InitMaterializedSRF(fcinfo, 0);
	PreventCommandIfReadOnly("kpx_optimize_policy()");
	for (int m = 0; m < registry->n_modules; m++)
		kpx_require_owner(registry->modules[m].owner, "module", registry->modules[m].name);
	replay = kpx_replay_read(PG_ARGISNULL(1) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(1), KPX_REVENUE);
	if (replay->n < 100 || replay->users < FEWEST_USERS)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%d logged slates of %zu users are too few to optimise on, expected at least 100 of %d", replay->n, replay->users,
						FEWEST_USERS),
				 errhint("Log slates with kpx_recommend_slate(..., log => true), with a policy whose epsilon is above 0.")));
	climb.replay = replay;
	climb.share = 2 * options.slates / replay->n;
	for (int half = 0; half < 2; half++)
	{
		KpxReplayPart part = part_of(&climb, half);

		climb.calibration[half] = kpx_replay_calibration(replay, &part);
	}
	set_dial(&dial, replay, kpx_policy(0), options.min_epsilon);
	for (climb.half = 0; climb.half < 2; climb.half++)
		climb_half(&climb, dial, &result);
	turn(&dial, result.x);
	change = proposal(&dial);
	kpx_off_policy_intervals(result.difference, result.users, &judged, interval);
	if (lift->value > 0)
		id = insert_version(climb.base->id, change,
							psprintf("{\"lift\": %.9g, \"std_error\": %.9g, \"value\": %.9g, \"slates\": " INT64_FORMAT "}", lift->value,
									 lift->error, result.after.value, result.slates));
	else
		ereport(NOTICE,
				(errmsg("no better policy was found"),
				 errdetail("Of the versions climbed to on one half of the users, the mean on the other half is %.4g lower.", -lift->value)));
	put_result(fcinfo, id, &result, lift, change);
	return (Datum) 0;
}
