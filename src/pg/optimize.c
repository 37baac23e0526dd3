/*
 * optimize.c
 *	  kpx_optimize_policy: a better version of the policy, from the log; proposed, not activated.
 *
 * Gradient ascent on the switch-DR estimate of total revenue a slate, R_cross + R_home,
 * over logit lambda, logit epsilon and the logarithm of each module's weight. The
 * estimate is piecewise constant in them (a slate changes or does not), so gradients are
 * central differences over steps wide enough that many of the logged slates change, and
 * each step is accepted only when it improves by more than its standard error. Guard-rails, the dismissal rate and the
 * diversity of slates, enter by Lagrange multipliers that grow while they are violated.
 * One half of the slates is climbed on; lift and interval come from the other half, as a
 * paired difference, because the estimate at its own maximum flatters.
 */
#include "kpxrec.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "core/evaluate.h"
#include "json_params.h"
#include "replay.h"

#define MOST_WEIGHT 30 /* above it the reward model is trusted alone: switch-DR */
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
	int step; /* of slates in a half */
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

/* half: 0 or 1. sums, units: of its slates, when wanted. */
static Outcome
judge(const Climb *climb, const KpxPolicy *policy, int half, KpxUnitSums **sums, size_t *units)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "kpxrec judge", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(work);
	KpxReplayLog log = kpx_replay(climb->replay, policy, half, climb->step, (uint64) climb->options->seed);
	KpxUnitSums *own = kpx_alloc_aligned(sums ? old : work, log.units, sizeof(KpxUnitSums));
	KpxUnitSums total = {0};
	KpxLog dismissed = log.log;
	KpxUnitSums *dismissals = kpx_alloc_aligned(work, log.units, sizeof(KpxUnitSums));
	KpxUnitSums all_dismissals = {0};
	Outcome outcome;

	kpx_log_sums(&log.log, MOST_WEIGHT, MOST_WEIGHT, 0, log.log.n, own);
	dismissed.reward = log.dismissed;
	dismissed.predicted = NULL;
	kpx_log_sums(&dismissed, MOST_WEIGHT, MOST_WEIGHT, 0, log.log.n, dismissals);
	for (size_t u = 0; u < log.units; u++)
	{
		kpx_unit_sums_add(&total, &own[u]);
		kpx_unit_sums_add(&all_dismissals, &dismissals[u]);
	}
	outcome = (Outcome){kpx_estimate(KPX_SWITCH_DR, &total), kpx_estimate(KPX_CLIPPED_SNIPS, &all_dismissals), log.diversity};
	if (isnan(outcome.dismissal))
		outcome.dismissal = 0;
	MemoryContextSwitchTo(old);
	if (sums)
	{
		/* contributions to the value of a slate */
		for (size_t u = 0; u < log.units; u++)
			own[u].switch_dr *= (double) log.units / (double) log.log.n;
		*sums = own;
		*units = log.units;
	}
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

/* Paired difference of what slates earn. */
static KpxMean
compare(const KpxUnitSums *before, const KpxUnitSums *after, size_t units)
{
	KpxMean difference = {0};

	for (size_t u = 0; u < units; u++)
		kpx_mean_add(&difference, after[u].switch_dr - before[u].switch_dr);
	return difference;
}

/* Whether a step earns more by at least its standard error, slate by slate. */
static bool
beyond_noise(const Climb *climb, Dial *dial, const double *next)
{
	KpxUnitSums *before;
	KpxUnitSums *after;
	size_t units;
	KpxMean difference;

	turn(dial, dial->x);
	(void) judge(climb, dial->policy, 0, &before, &units);
	turn(dial, next);
	(void) judge(climb, dial->policy, 0, &after, &units);
	difference = compare(before, after, units);
	return difference.mean > kpx_mean_std_error(&difference);
}

/* The Lagrangian, in units of the value to begin with. */
static double
height(const Climb *climb, Dial *dial, const double *x)
{
	Outcome o;
	double h;

	turn(dial, x);
	o = judge(climb, dial->policy, 0, NULL, NULL);
	h = o.value / climb->scale;
	for (int g = 0; g < 2; g++)
		h -= climb->multiplier[g] * violation(climb, &o, g);
	return h;
}

/* Climbs until no step of the gradient's direction improves; returns the iterations done. */
static int
ascend(Climb *climb, Dial *dial, bool *converged)
{
	const double width = 0.4;
	double stride = 1;
	int done = 0;

	*converged = false;
	while (done < (int) climb->options->iterations && !*converged)
	{
		double gradient[MOST_PARAMETERS];
		double norm = 0;
		double here = height(climb, dial, dial->x);
		double next[MOST_PARAMETERS];
		double there = here;
		Outcome o;

		for (int i = 0; i < dial->n; i++)
		{
			double x = dial->x[i];
			double up;

			dial->x[i] = x + width;
			up = height(climb, dial, dial->x);
			dial->x[i] = x - width;
			gradient[i] = (up - height(climb, dial, dial->x)) / (2 * width);
			dial->x[i] = x;
			norm += gradient[i] * gradient[i];
		}
		norm = sqrt(norm);
		for (stride = Min(stride * 2, 2); norm > 0 && stride > 0.02; stride /= 2)
		{
			for (int i = 0; i < dial->n; i++)
				next[i] = Min(Max(dial->x[i] + stride * gradient[i] / norm, -6), 6);
			there = height(climb, dial, next);
			if (there > here + 1e-4 && beyond_noise(climb, dial, next))
				break;
		}
		done++;
		*converged = norm == 0 || stride <= 0.02;
		if (!*converged)
			memcpy(dial->x, next, sizeof(double) * dial->n);
		turn(dial, dial->x);
		o = judge(climb, dial->policy, 0, NULL, NULL);
		for (int g = 0; g < 2; g++)
			if (violation(climb, &o, g) > 0)
			{
				climb->multiplier[g] += 5 * violation(climb, &o, g);
				*converged = *converged && violation(climb, &o, g) < 0.01;
			}
	}
	turn(dial, dial->x);
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
		" INSERT INTO kpx.policy (owner, settings, based_on, active, comment, expected, consent, consent_name)"
		" SELECT $4, s || jsonb_build_object('all', coalesce(s->'all', '{}') || ($2->'all'), 'modules', m), nullif($1, 0), false,"
		" 'proposed by kpx_optimize_policy', $3, (SELECT consent FROM kpx.policy WHERE id = $1), (SELECT consent_name FROM kpx.policy WHERE id = $1)"
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

static void
put_result(FunctionCallInfo fcinfo, int64 id, int iterations, bool converged, size_t units, const Outcome *before, const Outcome *after,
		   const KpxMean *difference, const char *change)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	double error = kpx_mean_std_error(difference);
	Datum values[14] = {
		Int64GetDatum(id),
		Int32GetDatum(iterations),
		BoolGetDatum(converged),
		Int64GetDatum((int64) units),
		Float8GetDatum(before->value),
		Float8GetDatum(after->value),
		Float8GetDatum(difference->mean),
		Float8GetDatum(difference->mean - 1.959964 * error),
		Float8GetDatum(difference->mean + 1.959964 * error),
		Float8GetDatum(before->dismissal),
		Float8GetDatum(after->dismissal),
		Float8GetDatum(before->diversity),
		Float8GetDatum(after->diversity),
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
	KpxPolicy *policy = kpx_policy(0);
	KpxReplay *replay;
	Climb climb = {.options = &options, .multiplier = {1, 1}};
	Dial dial;
	Outcome before;
	Outcome after;
	KpxUnitSums *sums_before;
	KpxUnitSums *sums_after;
	size_t units;
	KpxMean difference;
	bool converged;
	int iterations;
	int64 id = 0;
	char *change;

	InitMaterializedSRF(fcinfo, 0);
	PreventCommandIfReadOnly("kpx_optimize_policy()");
	for (int m = 0; m < registry->n_modules; m++)
		kpx_require_owner(registry->modules[m].owner, "module", registry->modules[m].name);
	replay = kpx_replay_read(PG_ARGISNULL(1) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(1), KPX_REVENUE);
	if (replay->n < 100)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%d logged slates are too few to optimise on, expected at least 100", replay->n),
				 errhint("Log slates with kpx_recommend_slate(..., log => true), with a policy whose epsilon is above 0.")));
	climb.replay = replay;
	climb.step = 2 * Max(1, (int) ceil(replay->n / 2.0 / options.slates));
	before = judge(&climb, policy, 0, NULL, NULL);
	climb.scale = fmax(fabs(before.value), 1e-9);
	climb.most_dismissal = isnan(options.max_dismissal) ? 1.1 * before.dismissal + 1e-3 : options.max_dismissal;
	climb.least_diversity = isnan(options.min_diversity) ? 0.9 * before.diversity : options.min_diversity;
	before = judge(&climb, policy, 1, &sums_before, &units);
	set_dial(&dial, replay, policy, options.min_epsilon);
	iterations = ascend(&climb, &dial, &converged);
	after = judge(&climb, dial.policy, 1, &sums_after, &units);
	difference = compare(sums_before, sums_after, units);
	change = proposal(&dial);
	if (difference.mean > 0)
		id = insert_version(policy->id, change,
							psprintf("{\"lift\": %.9g, \"std_error\": %.9g, \"value\": %.9g, \"slates\": %zu}", difference.mean,
									 kpx_mean_std_error(&difference), after.value, units));
	else
		ereport(NOTICE,
				(errmsg("no better policy was found"),
				 errdetail("On the slates that were not climbed on, the best one earns %.4g less.", fabs(difference.mean))));
	put_result(fcinfo, id, iterations, converged, units, &before, &after, &difference, change);
	return (Datum) 0;
}
